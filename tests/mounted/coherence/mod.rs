//! What any process sees at any time, raced: each rule of what the kernel may cache has a test that its
//! alternative lost. Racers are processes, for threads of one process share too much.
//!
//! `CTRFS_LONG=1` runs the full counts.

mod derived;
mod first_met;
mod listings;
mod messages;
mod racer;
mod reads;
mod renames;
mod storms;
mod torn;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// A number of rounds, or the full number.
fn rounds(ordinary: usize, full: usize) -> usize {
    if is_long() { full } else { ordinary }
}

/// How long racers run free.
fn a_while() -> Duration {
    Duration::from_secs(if is_long() { 60 } else { 10 })
}

/// A size as attributes have it, looked at twice. The kernel calls attributes valid a moment before it
/// sets the size (fuse_change_attributes), so beside a GETATTR of another process one look may still
/// show the old size. What is stale stays so at the second look, for nothing asks again in between.
fn settled_size(path: &Path) -> u64 {
    let look = || fs::symlink_metadata(path).unwrap().len();
    look();
    thread::sleep(Duration::from_micros(200));
    look()
}

fn is_long() -> bool {
    std::env::var_os("CTRFS_LONG").is_some()
}

/// What a racer does, started by a test; see [`racer::Racer`].
#[test]
#[ignore = "the body of the racing processes"]
fn worker() {
    let Some(mut task) = racer::Task::given() else { return };
    match task.name.as_str() {
        "derived" => derived::reader(&mut task),
        "torn-writer" => torn::writer(&mut task),
        "torn-reader" => torn::reader(&mut task),
        "first-met" => first_met::walker(&mut task),
        "lister" => listings::lister(&mut task),
        "maker" => listings::maker(&mut task),
        "finder" => renames::finder(&mut task),
        "present" => renames::present(&mut task),
        "reader" => reads::reader(&mut task),
        "storm-maker" => storms::maker(&mut task),
        "storm-walker" => storms::walker(&mut task),
        name => panic!("no racer is called {name}"),
    }
}
