//! Work that is called off by a signal, and cleans up behind itself.

use std::sync::atomic::{AtomicBool, Ordering};

use super::error::Error;
use crate::sys::signal::Notices;

/// SIGINT, SIGTERM and SIGHUP, which end nothing by themselves from now on, but for those that were ignored
/// before. For work that never waits for anybody: who waits must look here in between.
#[derive(Debug)]
pub(super) struct Interruption {
    notices: Notices,
    is_raised: AtomicBool,
}

impl Interruption {
    /// Listens; call it before there are other threads.
    pub(super) fn listen() -> Result<Interruption, Error> {
        let notices = Notices::block_unless_ignored().map_err(Error::Signals)?;
        Ok(Interruption { notices, is_raised: AtomicBool::new(false) })
    }

    /// Whether one of them has come.
    pub(super) fn is_raised(&self) -> bool {
        if matches!(self.notices.next(), Ok(Some(_))) {
            self.is_raised.store(true, Ordering::Relaxed);
        }
        self.is_raised.load(Ordering::Relaxed)
    }
}
