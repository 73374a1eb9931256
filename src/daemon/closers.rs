//! Those who close a caller's own files, as the kernel tells of them.

use std::time::Duration;

use crate::driver::deadline::within;
use crate::sys;
use crate::tree::Closers;

/// How long /proc may take. It is never slow, but a process in the middle of an execve(2) can make its
/// readers wait until it has the answer that waits for them.
const DEADLINE: Duration = Duration::from_secs(2);

/// What a tree asks.
pub(super) const CLOSERS: Closers = Closers { is_killed: sys::process::is_killed, stays_open };

fn stays_open(closer: u32, opener: u32, inode: u64) -> bool {
    within(DEADLINE, move || sys::process::stays_open(closer, opener, inode)).unwrap_or(true)
}
