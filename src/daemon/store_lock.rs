//! The lock of a store: one process has it open, and others can say who.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::errno::say;
use crate::sys::lock::{Attempt, LockFile, SharedLock};

use super::mountpoint;

/// The lock's file in a store.
const LOCK_FILE: &str = "lock";

/// How long a holder that is not mounted gets to finish: a keeper whose mount was just taken away.
const PATIENCE: Duration = Duration::from_secs(2);

/// A store that this process, or one it passed the descriptor to, has for itself.
#[derive(Debug)]
pub struct StoreLock(LockFile);

/// Who has a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The number of the process, 0 if it did not say.
    pub pid: u32,
    /// Where it is mounted; empty if nowhere, yet or any more.
    pub mountpoint: PathBuf,
}

/// Why a store could not be locked.
#[derive(Debug)]
pub enum LockError {
    /// Somebody else has it.
    Taken(Holder),
    /// The lock's file cannot be opened or written.
    File(PathBuf, io::Error),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(Holder { pid, mountpoint }) if mountpoint.as_os_str().is_empty() => {
                write!(f, "the store is in use by process {pid}")
            }
            Self::Taken(Holder { pid, mountpoint }) => {
                write!(f, "the store is in use by process {pid}, mounted on {}", mountpoint.display())
            }
            Self::File(path, error) => write!(f, "{}: {}", path.display(), say(error)),
        }
    }
}

impl std::error::Error for LockError {}

impl StoreLock {
    /// Locks a store that is going to be mounted on `mountpoint`.
    ///
    /// A holder without a mount in sight is waited for, two seconds at most.
    pub fn take(store: &Path, mountpoint: &Path) -> Result<Self, LockError> {
        let note = note(std::process::id(), mountpoint);
        patiently(store, |path| {
            Ok(match LockFile::try_lock(path, &note)? {
                Attempt::Held(lock) => Ok(Self(lock)),
                Attempt::Taken(note) => Err(note),
            })
        })
    }

    /// Keeps a store from being mounted while it is looked at; writes nothing.
    ///
    /// A holder without a mount in sight is waited for, two seconds at most.
    pub fn share(store: &Path) -> Result<SharedLock, LockError> {
        patiently(store, SharedLock::try_lock)
    }

    /// Leaves the store locked until the last process that inherited the lock has ended.
    pub fn leave_to_heirs(self) {
        // Unlocking would free it for them, too; closing at our end does not.
        std::mem::forget(self);
    }
}

impl AsFd for StoreLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn patiently<T>(store: &Path, attempt: impl Fn(&Path) -> io::Result<Result<T, Vec<u8>>>) -> Result<T, LockError> {
    let path = store.join(LOCK_FILE);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt(&path) {
            Ok(Ok(lock)) => return Ok(lock),
            Ok(Err(note)) => {
                let mut holder = holder(&note);
                let is_mounted = mountpoint::is_mounted(store, &holder.mountpoint);
                if is_mounted || Instant::now() >= deadline {
                    holder.mountpoint = if is_mounted { holder.mountpoint } else { PathBuf::new() };
                    return Err(LockError::Taken(holder));
                }
            }
            Err(error) => return Err(LockError::File(path, error)),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn note(pid: u32, mountpoint: &Path) -> Vec<u8> {
    let mut note = format!("{pid} ").into_bytes();
    note.extend_from_slice(mountpoint.as_os_str().as_bytes());
    note.push(b'\n');
    note
}

fn holder(note: &[u8]) -> Holder {
    let note = note.strip_suffix(b"\n").unwrap_or(note);
    let mut parts = note.splitn(2, |byte| *byte == b' ');
    let pid = parts.next().and_then(|pid| std::str::from_utf8(pid).ok()?.parse().ok());
    let mountpoint = std::ffi::OsStr::from_bytes(parts.next().unwrap_or_default());
    Holder { pid: pid.unwrap_or(0), mountpoint: mountpoint.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_who_and_where() {
        let mountpoint = Path::new("/mnt/a b");
        assert_eq!(holder(&note(42, mountpoint)), Holder { pid: 42, mountpoint: mountpoint.into() });
        assert_eq!(holder(b""), Holder { pid: 0, mountpoint: PathBuf::new() });
    }
}
