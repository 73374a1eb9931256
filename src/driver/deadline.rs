//! Paths that a user chose: they may hang (a dead network filesystem) or lie in our own mount, where
//! the thread that asks would wait for itself. So a thread of its own walks them, and nobody waits
//! longer than the deadline.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How many walks may be hanging at a time; beyond that none is tried.
const MAX_WALKS: usize = 16;
static WALKS: AtomicUsize = AtomicUsize::new(0);

/// What `walk` returns, if it does in time. One that does not goes on by itself.
///
/// # Errors
/// ETIMEDOUT; EAGAIN when too many others hang.
pub fn within<T: Send + 'static>(deadline: Duration, walk: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    if WALKS.fetch_add(1, Ordering::Relaxed) >= MAX_WALKS {
        WALKS.fetch_sub(1, Ordering::Relaxed);
        return Err(io::Error::new(io::ErrorKind::WouldBlock, "too many other paths do not answer"));
    }
    let (answer, answered) = mpsc::channel();
    let spawned = thread::Builder::new().name("walk".to_owned()).spawn(move || {
        let result = walk();
        WALKS.fetch_sub(1, Ordering::Relaxed);
        // The asker may have given up; then nobody wants to know.
        let _ = answer.send(result);
    });
    if let Err(error) = spawned {
        WALKS.fetch_sub(1, Ordering::Relaxed);
        return Err(error);
    }
    answered.recv_timeout(deadline).map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it does not answer"))
}
