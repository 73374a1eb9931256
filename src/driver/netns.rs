//! Whether a path leads to a network namespace that can be joined.
//!
//! The path is the user's: it may hang (a dead network filesystem) or lie in our own mount, where the
//! thread that asks would wait for itself. So a thread of its own opens it, and nobody waits longer
//! than the deadline.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::sys::netns::is_network_namespace;

/// How many paths may be hanging at a time; beyond that none is tried.
const MAX_PROBES: usize = 16;
static PROBES: AtomicUsize = AtomicUsize::new(0);

/// Why a path is no namespace to join.
#[derive(Debug)]
pub enum Trouble {
    /// It cannot be opened.
    Open(io::Error),
    /// It is something else.
    NotNetwork,
    /// It did not open in time.
    Deadline,
    /// Too many others have not opened yet.
    Busy,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Open(error) => write!(f, "cannot be opened: {error}"),
            Trouble::NotNetwork => f.write_str("is not a network namespace"),
            Trouble::Deadline => f.write_str("does not answer"),
            Trouble::Busy => f.write_str("not tried: too many other paths do not answer"),
        }
    }
}

/// Opens `path` and looks at what it is, for no longer than `deadline`.
///
/// # Errors
/// What is in the way of joining it.
pub fn probe(path: &Path, deadline: Duration) -> Result<(), Trouble> {
    if PROBES.fetch_add(1, Ordering::Relaxed) >= MAX_PROBES {
        PROBES.fetch_sub(1, Ordering::Relaxed);
        return Err(Trouble::Busy);
    }
    let (answer, answered) = mpsc::channel();
    let path = path.to_owned();
    let spawned = thread::Builder::new().name("netns".to_owned()).spawn(move || {
        let result = match is_network_namespace(&path) {
            Err(error) => Err(Trouble::Open(error)),
            Ok(true) => Ok(()),
            Ok(false) => Err(Trouble::NotNetwork),
        };
        PROBES.fetch_sub(1, Ordering::Relaxed);
        // The asker may have given up; then nobody wants to know.
        let _ = answer.send(result);
    });
    if let Err(error) = spawned {
        PROBES.fetch_sub(1, Ordering::Relaxed);
        return Err(Trouble::Open(error));
    }
    answered.recv_timeout(deadline).unwrap_or(Err(Trouble::Deadline))
}
