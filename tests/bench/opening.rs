//! Mounting, starting again, and the memory that it takes.

use std::fs;
use std::process::{Command, Stdio};

use crate::measure::{Line, Report, Unit, median, once};
use crate::population::{CONTAINERS, Population};
use crate::support::{Mounted, kill, wait_until};

const RUNS: usize = 5;
const FINDS: usize = 10;

pub(crate) fn measure(report: &mut Report, tree: &Mounted, population: &Population) {
    let mount = || {
        once(|| {
            tree.mount();
            assert!(fs::read_dir(&tree.at).unwrap().count() > 0);
        })
    };
    let mut add = |name, seconds: Vec<f64>, design| {
        report.add(&Line { name, ours: median(seconds), beside: None, unit: Unit::Seconds, design });
    };

    let clean = (0..RUNS).map(|_| {
        tree.unmount();
        mount()
    });
    add("`ctrfs mount` until the root lists, ended by `umount`", clean.collect(), "");

    let killed = (0..RUNS).map(|number| {
        change(tree, population, number);
        let processes = [tree.keeper(), tree.server()];
        processes.into_iter().for_each(kill);
        wait_until("they are dead", || processes.iter().all(|pid| !crate::support::is_alive(*pid)));
        mount()
    });
    add("the same, all processes ended by `kill -9` after a write", killed.collect(), "");

    let server = (0..RUNS).map(|number| {
        change(tree, population, number);
        let server = tree.server();
        once(|| {
            kill(server);
            tree.read("version");
        })
    });
    add("`kill -9` of the server to the next answer", server.collect(), "");
}

/// Leaves a commit that no quick repair has followed.
fn change(tree: &Mounted, population: &Population, number: usize) {
    let word = ["stopped", "exited"][number % 2];
    tree.echo(word, &format!("ctr/{}/status", population.ids[CONTAINERS - 1])).unwrap();
}

/// Walking over everything must not make the server grow for good.
pub(crate) fn measure_memory(report: &mut Report, tree: &Mounted) {
    let server = tree.server();
    let find = || {
        let status = Command::new("find").arg(tree.path("ctr")).stdout(Stdio::null()).status();
        assert!(status.expect("find, of Debian's findutils").success());
    };
    find();
    let once = resident(server);
    (1..FINDS).for_each(|_| find());
    report.add(&Line {
        name: "the server's memory after ten `find`",
        ours: resident(server),
        beside: Some((once, "after one")),
        unit: Unit::Bytes,
        design: "",
    });
}

/// Bytes of a process that are in memory.
fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes * 1024.0
}
