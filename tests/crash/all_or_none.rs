//! What one write asks for happens whole or not at all, whenever the server or all of it dies.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use crate::load::{kill_at_random, kill_both, kills, mounts_at};
use crate::support::images::names_in;
use crate::support::{Mounted, Random, kill, seed, text, wait_until};

const LENGTH: usize = 5;

/// Five containers, each depending on the one before, as one write to `create/ctr`.
fn chain(round: usize, pod: &str) -> String {
    let one = |n: usize| match n {
        0 => format!("{{\"name\":\"c{round}-0\"{pod}}}\n"),
        _ => format!("{{\"name\":\"c{round}-{n}\"{pod},\"Dependencies\":[\"c{round}-{}\"]}}\n", n - 1),
    };
    (0..LENGTH).map(one).collect()
}

pub(crate) fn write_at_once(path: &Path, text: &str) -> std::io::Result<()> {
    let written = OpenOptions::new().write(true).open(path)?.write(text.as_bytes())?;
    assert_eq!(written, text.len());
    Ok(())
}

/// How many of a round's containers there are, each with its dependency.
fn found(tree: &Mounted, round: usize) -> usize {
    let name = |n: usize| tree.path(&format!("name/c{round}-{n}"));
    let present: Vec<usize> = (0..LENGTH).filter(|n| name(*n).symlink_metadata().is_ok()).collect();
    for n in present.iter().filter(|n| **n > 0) {
        let on = fs::read_dir(name(*n).join("depends-on")).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(on.collect::<Vec<_>>(), [tree.id(&format!("c{round}-{}", n - 1)).as_str()], "round {round}");
    }
    present.len()
}

/// The operation of another thread while something dies so many microseconds after it began, or before it
/// begins. What a dead mount answers is no verdict.
pub(crate) fn while_dying_at(
    instant: i64,
    operation: impl FnOnce() -> std::io::Result<()> + Send + 'static,
    die: impl FnOnce(),
) -> bool {
    let wait = |micros: i64| thread::sleep(Duration::from_micros(micros.max(0).unsigned_abs()));
    let late = move || {
        wait(-instant);
        operation()
    };
    while_dying(late, || {
        wait(instant);
        die();
    })
}

/// The operation of another thread while something dies. What a dead mount answers is no verdict.
pub(crate) fn while_dying(
    operation: impl FnOnce() -> std::io::Result<()> + Send + 'static,
    die: impl FnOnce(),
) -> bool {
    let operation = thread::spawn(operation);
    die();
    match operation.join().unwrap() {
        Ok(()) => true,
        Err(error) => {
            let errno = error.raw_os_error().map(Errno::from_raw);
            let dead = [Errno::ENOTCONN, Errno::ECONNABORTED, Errno::EIO].map(Some);
            assert!(dead.contains(&errno), "{error}");
            false
        }
    }
}

pub(crate) fn pause(random: &mut Random, at_most: Duration) {
    thread::sleep(Duration::from_micros(random.below(at_most.as_micros() as usize) as u64));
}

/// Which of the outcomes have been seen, so that a test that always kills too late fails. The instants to
/// kill at are looked for around the one that decides, however fast the machine is.
#[derive(Default)]
pub(crate) struct Seen {
    whole: usize,
    none: usize,
    /// Microseconds from the beginning of an operation.
    at: i64,
    /// How far the last step went, and whether it was towards later.
    step: (i64, bool),
}

impl Seen {
    /// When to kill.
    pub(crate) fn instant(&self, random: &mut Random) -> i64 {
        const SPREAD: usize = 200;
        self.at + random.below(SPREAD) as i64 - SPREAD as i64 / 2
    }

    /// What was found of `all`, and whether that means that the operation was done.
    pub(crate) fn count(&mut self, found: usize, all: usize, done: bool) {
        match found {
            0 => self.none += 1,
            _ => {
                assert_eq!(found, all, "a part");
                self.whole += 1;
            }
        }
        const LEAST: i64 = 50;
        const MOST: i64 = 5000;
        let later = !done;
        let step = if self.step.1 == later { (self.step.0 * 2).clamp(LEAST, MOST) } else { LEAST };
        self.step = (step, later);
        self.at += if later { step } else { -step };
    }

    pub(crate) fn must_be_both(&self) {
        println!("{} whole, {} none", self.whole, self.none);
        assert!(self.whole > 0 && self.none > 0, "the instants must differ");
    }
}

#[test]
fn a_chain_is_made_whole_although_servers_die() {
    let tree = Mounted::new();
    let mut random = Random(seed());
    for round in 0..kills(100) {
        let path = tree.path("create/ctr");
        let text = chain(round, "");
        let made = while_dying(
            move || write_at_once(&path, &text),
            || {
                if round % 4 == 3 {
                    kill_at_random(&tree, &mut random, round);
                } else {
                    pause(&mut random, Duration::from_millis(2));
                    kill(tree.server());
                }
            },
        );
        assert!(made, "the next server answers");
        assert_eq!(found(&tree, round), LENGTH, "round {round}");
    }
}

#[test]
fn a_chain_is_made_whole_or_not_at_all_when_everything_dies() {
    let tree = Mounted::new();
    let (mut random, mut seen) = (Random(seed()), Seen::default());
    for round in 0..kills(200) {
        let (path, text) = (tree.path("create/ctr"), chain(round, ""));
        let instant = seen.instant(&mut random);
        let made = while_dying_at(instant, move || write_at_once(&path, &text), || kill_both(&tree));
        tree.mount();
        assert_eq!(mounts_at(&tree.at).len(), 1, "the dead mount is gone");
        let found = found(&tree, round);
        assert!(!made || found == LENGTH, "round {round}: acknowledged, and {found} are there");
        seen.count(found, LENGTH, found > 0);
        assert!(tree.read("check").starts_with("ok"), "round {round}: {}", tree.read("check"));
    }
    seen.must_be_both();
}

#[test]
fn a_pod_goes_with_all_its_containers_or_stays_when_everything_dies() {
    let tree = Mounted::new();
    let (mut random, mut seen) = (Random(seed()), Seen::default());
    for round in 0..kills(150) {
        fs::create_dir(tree.path(&format!("pod/p{round}"))).unwrap();
        fs::write(tree.path("create/ctr"), chain(round, &format!(",\"pod\":\"p{round}\""))).unwrap();
        let order = format!("{{\"verb\":\"remove\",\"pod\":\"p{round}\",\"recursive\":true}}\n");
        let control: PathBuf = tree.path("control");
        let instant = seen.instant(&mut random);
        let gone = while_dying_at(instant, move || write_at_once(&control, &order), || kill_both(&tree));
        tree.mount();
        let pod = usize::from(tree.path(&format!("name/p{round}")).symlink_metadata().is_ok());
        let found = found(&tree, round) + pod;
        assert!(!gone || found == 0, "round {round}: acknowledged, and {found} are left");
        seen.count(found, LENGTH + 1, found == 0);
        assert!(tree.read("check").starts_with("ok"), "round {round}: {}", tree.read("check"));
    }
    seen.must_be_both();
}

#[test]
fn rm_recursive_succeeds_although_servers_die() {
    let tree = Mounted::new();
    let mut random = Random(seed());
    for round in 0..kills(40) {
        fs::create_dir(tree.path(&format!("pod/p{round}"))).unwrap();
        fs::write(tree.path("create/ctr"), chain(round, &format!(",\"pod\":\"p{round}\""))).unwrap();
        let (mut command, pod) = (std::process::Command::new(crate::support::CTRFS), format!("p{round}"));
        command.args(["rm", "--recursive", &pod]).env("CTRFS_AT", &tree.at);
        let mut running = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        kill_at_random(&tree, &mut random, round);
        let status = running.wait().unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut running.stderr.take().unwrap(), &mut said).unwrap();
        assert!(status.success(), "round {round}: {said}");
        assert_eq!(found(&tree, round), 0);
        assert!(tree.path(&format!("name/{pod}")).symlink_metadata().is_err());
    }
}

#[test]
fn wipe_succeeds_although_servers_die() {
    let tree = Mounted::new();
    let mut random = Random(seed());
    for round in 0..kills(30) {
        fs::create_dir(tree.path("pod/p")).unwrap();
        fs::write(tree.path("create/ctr"), chain(round, ",\"pod\":\"p\"")).unwrap();
        let ctrs: Vec<String> = (0..LENGTH).map(|n| tree.id(&format!("c{round}-{n}"))).collect();
        let pod = fs::read_link(tree.path("pod/p")).unwrap().to_str().unwrap().to_owned();
        let mut ids = [&[pod], &ctrs[..]].concat();
        for n in 0..LENGTH {
            tree.echo(&n.to_string(), &format!("ctr/c{round}-{n}/exit-code")).unwrap();
            fs::write(tree.path(&format!("ctr/c{round}-{n}/work/file")), "x").unwrap();
        }
        let mut command = std::process::Command::new(crate::support::CTRFS);
        command.args(["wipe", "--yes"]).arg(&tree.at).stdout(std::process::Stdio::piped());
        let running = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        kill_at_random(&tree, &mut random, round);
        let output = running.wait_with_output().unwrap();
        assert!(output.status.success(), "round {round}: {}", text(&output));
        let mut told: Vec<String> = text(&output).lines().map(str::to_owned).collect();
        ids.sort();
        told.sort();
        assert_eq!(told, ids, "round {round}");
        assert_eq!(names_in(&tree.path("id")), [""; 0]);
        for (n, id) in ctrs.iter().enumerate() {
            assert_eq!(tree.read(&format!("exited/{id}")), format!("{n}\n"), "round {round}");
        }
        assert_eq!(names_in(&tree.path("exited")).len(), (round + 1) * LENGTH);
    }
    wait_until("their directories go", || names_in(&tree.store.join("ctr")).is_empty());
}
