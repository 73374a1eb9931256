//! Those who close a caller's own files, as the kernel tells of them.

use std::time::Duration;

use crate::driver::deadline::within;
use crate::sys;
use crate::tree::Closers;

/// How long /proc may take. It is never slow, but a process in the middle of an execve(2) can make its
/// readers wait until it has the answer that waits for them.
const DEADLINE: Duration = Duration::from_secs(2);

/// What a tree asks.
pub(super) const CLOSERS: Closers = Closers { is_killed: sys::process::is_killed, is_one, has_open };

fn is_one(thread: u32, other: u32) -> bool {
    within(DEADLINE, move || sys::process::is_one(thread, other)).unwrap_or(false)
}

fn has_open(thread: u32, inode: u64) -> bool {
    within(DEADLINE, move || sys::process::has_open(thread, inode)).unwrap_or(true)
}
