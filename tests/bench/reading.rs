//! Reading, beside a tmpfs.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::measure::{Line, Report, Unit, in_turns, median, once, per_call};
use crate::population::{CONTAINERS, Population};
use crate::support::{CTRFS, Mounted, succeed};

const RUNS: usize = 9;
/// Each of these runs mounts anew.
const FRESH_RUNS: usize = 3;
const STATS: usize = 20_000;
const READS: usize = 4_000;
const OPENS: usize = 2_000;
/// More than any file here has.
const BUFFER: usize = 64 << 10;

const TMPFS: &str = "on tmpfs";
const STATES: &str = "for all state files on tmpfs";

pub(crate) fn measure(report: &mut Report, tree: &mut Mounted, population: &Population) {
    single_files(report, tree, population);
    listings(report, tree, population);
    everything_at_once(report, tree, population);
}

fn single_files(report: &mut Report, tree: &Mounted, population: &Population) {
    let below = Path::new(&population.ids[CONTAINERS / 2]).join("state");
    let (ours, theirs) = (tree.path("ctr").join(&below), population.copy.join(&below));

    let stat = |path: &Path| per_call(STATS, |_| assert!(path.symlink_metadata().is_ok()));
    report.seconds("`stat`", in_turns(RUNS, || stat(&ours), || stat(&theirs)), TMPFS, "1.1 µs");

    let mut buffer = vec![0; BUFFER];
    let files = (File::open(&ours).unwrap(), File::open(&theirs).unwrap());
    let mut pread = |file: &File| per_call(READS, |_| assert!(file.read_at(&mut buffer, 0).unwrap() > 0));
    let medians = (0..RUNS).map(|_| (pread(&files.0), pread(&files.1))).unzip();
    report.seconds("`pread` of an open file", both(medians), TMPFS, "22 µs");

    let mut read = |path: &Path| {
        per_call(OPENS, |_| {
            let mut file = File::open(path).unwrap();
            while file.read(&mut buffer).unwrap() > 0 {}
        })
    };
    let medians = (0..RUNS).map(|_| (read(&ours), read(&theirs))).unzip();
    report.seconds("open, read, close", both(medians), TMPFS, "79 µs");
}

fn both((ours, theirs): (Vec<f64>, Vec<f64>)) -> (f64, f64) {
    (median(ours), median(theirs))
}

fn listings(report: &mut Report, tree: &mut Mounted, population: &Population) {
    let (ours, theirs) = (tree.path("ctr"), population.copy.clone());
    let list = |dir: &Path| once(|| assert_eq!(fs::read_dir(dir).unwrap().count(), CONTAINERS));
    let medians = in_turns(RUNS, || list(&ours), || list(&theirs));
    report.seconds("`ls -U` of 10,000 containers", medians, TMPFS, "1.7–2.1 ms");

    let (mut first, mut second, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..FRESH_RUNS {
        tree.unmount();
        tree.mount();
        first.push(list_long(&ours));
        second.push(list_long(&ours));
        beside.push(list_long(&theirs));
    }
    let beside = median(beside);
    report.seconds("first `ls -l` of them", (median(first), beside), TMPFS, "");
    report.seconds("second `ls -l`", (median(second), beside), TMPFS, "");
}

/// Lists a directory, then asks for the attributes of each entry.
fn list_long(dir: &Path) -> f64 {
    once(|| {
        let entries: Vec<_> = fs::read_dir(dir).unwrap().map(Result::unwrap).collect();
        assert_eq!(entries.len(), CONTAINERS);
        entries.iter().for_each(|entry| assert!(entry.metadata().is_ok()));
    })
}

fn everything_at_once(report: &mut Report, tree: &Mounted, population: &Population) {
    let table = tree.path("table/ctr");
    let cat = || once(|| assert!(fs::read(&table).unwrap().len() > CONTAINERS * 64));
    let states = || once(|| population.read_copied_states());
    let medians = in_turns(RUNS, cat, states);
    report.seconds("`cat table/ctr` of 10,000", medians, STATES, "");

    let ps = || {
        let mut command = Command::new(CTRFS);
        command.arg("ps").env("CTRFS_AT", &tree.at).stdin(Stdio::null());
        once(|| drop(succeed(&mut command)))
    };
    let beside = Some((medians.1, STATES));
    let ours = median((0..RUNS).map(|_| ps()).collect());
    report.add(&Line { name: "`ctrfs ps` of 10,000", ours, beside, unit: Unit::Seconds, design: "" });
}
