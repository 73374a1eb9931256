//! Work that goes on while something else dies, and the dying.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::{Mounted, Random, kill, wait_until};

/// Threads that repeat something until the end.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<(String, JoinHandle<u64>)>,
}

impl Load {
    pub(crate) fn new() -> Load {
        Load { stop: Arc::default(), threads: Vec::new() }
    }

    /// Repeats `work`, which is told its round; a panic in it fails the test.
    pub(crate) fn spawn(&mut self, name: &str, mut work: impl FnMut(u64) + Send + 'static) {
        let stop = Arc::clone(&self.stop);
        let run = move || {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                work(round);
                round += 1;
            }
            round
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run).unwrap();
        self.threads.push((name.to_owned(), thread));
    }

    /// Fails as soon as one has, with what was refused.
    pub(crate) fn must_go_on(&self, tree: &Mounted) {
        for (name, thread) in &self.threads {
            assert!(!thread.is_finished(), "{name} has failed; refusals:\n{}", tree.read("refusals"));
        }
    }

    /// Ends all, and says how often each did its work.
    pub(crate) fn end(mut self) -> Vec<(String, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads);
        wait_until("all work ends", || threads.iter().all(|(_, thread)| thread.is_finished()));
        let count = |(name, thread): (String, JoinHandle<u64>)| {
            let rounds = thread.join().unwrap_or_else(|_| panic!("{name} has failed"));
            assert!(rounds > 0, "{name} never did its work");
            (name, rounds)
        };
        threads.into_iter().map(count).collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How many kills a test makes: `CTRFS_KILLS`, or so many.
pub(crate) fn kills(usual: usize) -> usize {
    std::env::var("CTRFS_KILLS").map_or(usual, |text| text.parse().expect("CTRFS_KILLS is a number"))
}

/// The keeper starts three servers at once that die young, then waits ever longer. Every fourth is
/// left alone until it is old, so that the wait never comes.
const OLD: Duration = Duration::from_millis(1050);

/// Kills the server for the `round`th time, at a random moment of its life.
pub(crate) fn kill_at_random(tree: &Mounted, random: &mut Random, round: usize) {
    let server = tree.server();
    if round % 4 == 3 {
        thread::sleep(OLD);
    }
    thread::sleep(Duration::from_micros(random.below(40_000) as u64));
    kill(server);
    wait_until("another server comes", || tree.server() != server);
}

/// Kills keeper and server, as the end of the machine would.
pub(crate) fn kill_both(tree: &Mounted) {
    let (keeper, server) = (tree.keeper(), tree.server());
    kill(keeper);
    kill(server);
    wait_until("both are dead", || !crate::support::is_alive(keeper) && !crate::support::is_alive(server));
}

/// The lines of mountinfo for a mountpoint: mount ID, parent and device first.
pub(crate) fn mounts_at(path: &Path) -> Vec<String> {
    let all = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    all.lines().filter(|line| line.split(' ').nth(4) == path.to_str()).map(str::to_owned).collect()
}
