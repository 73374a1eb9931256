//! Signals as something to read from a descriptor.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// A signal that a daemon acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// SIGTERM or SIGINT: end in good order.
    End,
    /// SIGHUP: begin anew.
    Renew,
}

const SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// SIGTERM, SIGINT and SIGHUP of this process, blocked and readable here.
#[derive(Debug)]
pub struct Notices(SignalFd);

impl Notices {
    /// Blocks the signals from now on. Call it while the process has one thread only.
    ///
    /// Child processes inherit the mask: see [`unblock_all`].
    pub fn block() -> io::Result<Self> {
        Self::block_set(&SIGNALS.into_iter().collect())
    }

    /// As [`Notices::block`], but what this process ignores, as under nohup(1), it ignores further.
    pub fn block_unless_ignored() -> io::Result<Self> {
        let ignored = ignored()?;
        Self::block_set(&SIGNALS.into_iter().filter(|signal| ignored >> (*signal as u32 - 1) & 1 == 0).collect())
    }

    fn block_set(set: &SigSet) -> io::Result<Self> {
        set.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(set, flags)?))
    }

    /// The next signal that has arrived, if one has.
    pub fn next(&self) -> io::Result<Option<Notice>> {
        let Some(info) = self.0.read_signal()? else {
            return Ok(None);
        };
        Ok(Some(if info.ssi_signo == Signal::SIGHUP as u32 { Notice::Renew } else { Notice::End }))
    }
}

impl AsFd for Notices {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The signals that this process ignores: the lowest bit is that of signal 1.
fn ignored() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Undoes whatever signal mask the parent process left us.
pub fn unblock_all() -> io::Result<()> {
    SigSet::all().thread_unblock()?;
    Ok(())
}
