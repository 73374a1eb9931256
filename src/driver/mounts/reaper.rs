//! The end of mounts that were taken out of the tree.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::model::id::Id;

/// How many may wait for their end: each holds descriptors. Beyond that whoever has more waits.
const MOST: usize = 128;

/// The one thread on which mounts end: the last end of an overlay writes its whole filesystem to the
/// disk. It goes with the last of its senders; what the end of the process leaves, the kernel ends.
#[derive(Debug)]
pub(super) struct Reaper {
    queue: SyncSender<(Id, Vec<OwnedFd>)>,
    ending: Arc<Ending>,
}

/// The keys with mounts that have not ended yet, once for each time they were handed over.
#[derive(Debug, Default)]
struct Ending {
    keys: Mutex<Vec<Id>>,
    one_less: Condvar,
}

impl Reaper {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Reaper> {
        let (queue, arrivals) = sync_channel::<(Id, Vec<OwnedFd>)>(MOST);
        let ending = Arc::new(Ending::default());
        let ended = Arc::clone(&ending);
        thread::Builder::new().name("reaper".to_owned()).spawn(move || {
            for (key, mounts) in arrivals {
                // close(2) returns once the mount is gone, if this was its last user.
                drop(mounts);
                ended.remove(key);
            }
        })?;
        Ok(Reaper { queue, ending })
    }

    /// Ends mounts of a key, soon.
    pub(super) fn end(&self, key: Id, mounts: Vec<OwnedFd>) {
        self.ending.keys.lock().push(key);
        if self.queue.send((key, mounts)).is_err() {
            // The thread is gone, and they ended here.
            self.ending.remove(key);
        }
    }

    /// Waits until no mount of a key is left here, not longer than `limit`.
    pub(super) fn wait(&self, key: Id, limit: Duration) {
        let until = Instant::now() + limit;
        let mut keys = self.ending.keys.lock();
        while keys.contains(&key) && !self.ending.one_less.wait_until(&mut keys, until).timed_out() {}
    }
}

impl Ending {
    fn remove(&self, key: Id) {
        let mut keys = self.keys.lock();
        if let Some(at) = keys.iter().position(|other| *other == key) {
            keys.swap_remove(at);
        }
        self.one_less.notify_all();
    }
}
