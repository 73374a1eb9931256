//! Signals as something to read from a descriptor.

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

/// SIGTERM, SIGINT and SIGHUP of this process, blocked and readable here.
#[derive(Debug)]
pub struct Notices(SignalFd);

impl Notices {
    /// Blocks the signals from now on. Call it while the process has one thread only.
    ///
    /// Child processes inherit the mask: see [`unblock_all`].
    pub fn block() -> io::Result<Self> {
        let set: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
        set.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&set, flags)?))
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

/// Undoes whatever signal mask the parent process left us.
pub fn unblock_all() -> io::Result<()> {
    SigSet::all().thread_unblock()?;
    Ok(())
}
