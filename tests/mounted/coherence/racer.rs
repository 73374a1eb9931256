//! Racing processes: this test program started again, with a socket in place of its standard input.
//!
//! A racer either answers line by line, or runs free until its socket says so and then reports. An
//! operation that takes longer than it may ends its process, and the test is told which it was.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::support::Mounted;

/// What one operation may take on a busy machine; what hangs hangs for good.
const PATIENCE: Duration = Duration::from_secs(30);

/// A racing process, as the test sees it. Dropping it ends the process.
pub(super) struct Racer {
    name: String,
    child: Child,
    socket: BufReader<UnixStream>,
}

impl Racer {
    /// Starts a racer at the root of the tree.
    pub(super) fn start(tree: &Mounted, name: &str, arguments: &[&str]) -> Racer {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(2 * PATIENCE)).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "coherence::worker", "--ignored", "--nocapture"])
            .env("CTRFS_RACER", [&[name], arguments].concat().join("\t"))
            .current_dir(&tree.at)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Racer { name: format!("{name} {arguments:?}"), child, socket: BufReader::new(ours) }
    }

    /// Starts several, told apart by a number behind the arguments.
    pub(super) fn start_all(tree: &Mounted, count: usize, name: &str, arguments: &[&str]) -> Vec<Racer> {
        let number = |n: usize| n.to_string();
        (0..count).map(|n| Racer::start(tree, name, &[arguments, &[&number(n)]].concat())).collect()
    }

    /// Says a line and waits for the answer, which must be "ok".
    pub(super) fn agree(&mut self, line: &str) {
        self.say(line);
        let answer = self.hear();
        assert!(answer == "ok", "{}, told {line:?}: {answer}", self.name);
    }

    /// Ends a racer that runs free; returns how many rounds it ran. It must have met nothing wrong.
    pub(super) fn finish(mut self) -> usize {
        self.say("stop");
        let answer = self.hear();
        let rounds = answer.strip_prefix("ok ").and_then(|count| count.parse().ok());
        rounds.unwrap_or_else(|| panic!("{}: {answer}", self.name))
    }

    fn say(&mut self, line: &str) {
        // A racer that is gone has left a word why.
        let _ = writeln!(self.socket.get_mut(), "{line}");
    }

    fn hear(&mut self) -> String {
        let mut answer = String::new();
        match self.socket.read_line(&mut answer) {
            Ok(0) => "it ended without a word; see its own message above".to_owned(),
            Ok(_) => answer.trim_end().to_owned(),
            Err(error) => format!("no answer: {error}"),
        }
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends all and returns the rounds of all.
pub(super) fn finish_all(racers: Vec<Racer>) -> usize {
    racers.into_iter().map(Racer::finish).sum()
}

/// What a racing process is to do.
pub(super) struct Task {
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    socket: UnixStream,
    now: Arc<Mutex<(Instant, String)>>,
    rounds: usize,
}

impl Task {
    /// The task of this process, if it was started as a racer.
    pub(super) fn given() -> Option<Task> {
        let given = std::env::var("CTRFS_RACER").ok()?;
        let mut words = given.split('\t').map(str::to_owned);
        let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
        let now = Arc::new(Mutex::new((Instant::now(), String::new())));
        let task = Task { name: words.next()?, arguments: words.collect(), socket, now, rounds: 0 };
        task.watch();
        Some(task)
    }

    /// An argument that is a number.
    pub(super) fn number(&self, at: usize) -> usize {
        self.arguments[at].parse().unwrap()
    }

    /// Notes what is done next; it must be done in time.
    pub(super) fn doing(&self, what: impl Into<String>) {
        *self.now.lock() = (Instant::now(), what.into());
    }

    /// Answers each line: "ok", or what is wrong.
    pub(super) fn answer(&mut self, mut check: impl FnMut(&Task, &str) -> Result<(), String>) {
        let lines = BufReader::new(self.socket.try_clone().unwrap()).lines();
        for line in lines {
            let line = line.unwrap();
            let verdict = check(self, &line).map_or_else(|wrong| wrong, |()| "ok".to_owned());
            self.doing("");
            writeln!(self.socket, "{}", verdict.replace('\n', "\\n")).unwrap();
        }
    }

    /// Runs rounds until told to stop, then says how many, or what went wrong first.
    pub(super) fn run_free(&mut self, mut round: impl FnMut(&Task, usize) -> Result<(), String>) {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut socket, stopped) = (BufReader::new(self.socket.try_clone().unwrap()), Arc::clone(&stop));
        thread::spawn(move || {
            let _ = socket.read_line(&mut String::new());
            stopped.store(true, Ordering::Relaxed);
        });
        let mut verdict = Ok(());
        while verdict.is_ok() && !stop.load(Ordering::Relaxed) {
            verdict = round(self, self.rounds);
            self.rounds += 1;
        }
        self.doing("");
        let verdict = verdict.map_or_else(|wrong| wrong, |()| format!("ok {}", self.rounds));
        writeln!(self.socket, "{}", verdict.replace('\n', "\\n")).unwrap();
    }

    fn watch(&self) {
        let (now, mut socket) = (Arc::clone(&self.now), self.socket.try_clone().unwrap());
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_millis(200));
                let (since, what) = now.lock().clone();
                if !what.is_empty() && since.elapsed() > PATIENCE {
                    let _ = writeln!(socket, "it hangs in {what}");
                    std::process::exit(1);
                }
            }
        });
    }
}

/// Nothing, or a sentence of what is wrong.
pub(super) fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?} instead of {expected:?}")) }
}

/// A result, or a sentence that names the operation and the errno.
pub(super) fn done<T>(what: &str, result: std::io::Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error}"))
}

/// A result; `None` when the errno is one of those that may be.
pub(super) fn done_unless<T>(
    what: &str,
    result: std::io::Result<T>,
    may_be: &[nix::errno::Errno],
) -> Result<Option<T>, String> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if may_be.iter().any(|errno| error.raw_os_error() == Some(*errno as i32)) => Ok(None),
        Err(error) => Err(format!("{what}: {error}")),
    }
}
