//! Open files and directories.
//!
//! A handle's number is the server's generation with a counter, so that a server knows those of the
//! servers before it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::ino::Ino;
use super::keep::{Keep, Saved};
use super::list::Listing;
use super::read::Content;
use super::refusals::Process;
use crate::engine::Error;
use crate::model::json::Scanner;

/// Bits of a handle's number below the generation.
const COUNTER_BITS: u32 = 48;
/// The bit of a handle's number that says that it is an item's.
pub(super) const ITEM_HANDLE: u64 = 1 << (COUNTER_BITS - 1);

/// One open file.
#[derive(Default)]
pub(super) struct Handle {
    /// Taken for the whole of a write: only users of this very handle ever wait.
    pub(super) state: Mutex<State>,
}

/// What an open file remembers.
#[derive(Default)]
pub(super) struct State {
    /// What the last read from the start was given.
    pub(super) content: Option<Content>,
    /// What also survives this server.
    pub(super) saved: Saved,
    /// Where in a document the pending bytes end.
    pub(super) scanner: Scanner,
    /// Whether a file in RUNROOT/handles speaks of it.
    pub(super) kept: bool,
    /// Whether an open by an earlier server made it.
    pub(super) inherited: bool,
    /// Whether anything was written to it.
    pub(super) written: bool,
    /// Where the last write ended, if it was as long as the kernel passes on at once; else 0.
    pub(super) cut_at: u64,
    /// Why it takes no more.
    pub(super) given_up_for: Option<Error>,
    /// Who closed one of its descriptors last in the middle of a document, for RELEASE does not say.
    pub(super) closer: Option<Process>,
}

impl State {
    /// Whether a close has nothing to judge.
    pub(super) fn is_at_rest(&self) -> bool {
        let pending = self.saved.pending.len();
        pending == 0 || self.saved.closed_at == pending
    }
}

/// All open handles.
pub(super) struct Handles {
    generation: u64,
    next: AtomicU64,
    files: RwLock<HashMap<u64, Arc<Handle>>>,
    dirs: RwLock<HashMap<u64, Arc<Listing>>>,
    pub(super) keep: Keep,
}

impl Handles {
    pub(super) fn new(generation: u64, keep: Keep) -> Handles {
        Handles {
            generation: generation % (1 << (64 - COUNTER_BITS)),
            next: AtomicU64::new(1),
            files: RwLock::default(),
            dirs: RwLock::default(),
            keep,
        }
    }

    /// A number that nothing else of this server has.
    pub(super) fn number(&self) -> u64 {
        let count = self.next.fetch_add(1, Ordering::Relaxed) % ITEM_HANDLE;
        (self.generation << COUNTER_BITS) | count
    }

    /// A number for an open item.
    pub(super) fn item_number(&self) -> u64 {
        self.number() | ITEM_HANDLE
    }

    /// Whether a server before this one gave a handle its number.
    pub(super) fn is_older(&self, fh: u64) -> bool {
        fh >> COUNTER_BITS != self.generation
    }

    /// Opens a file.
    pub(super) fn open(&self) -> u64 {
        let fh = self.number();
        self.files.write().insert(fh, Arc::default());
        fh
    }

    /// An open file; one of an earlier server comes back as that left it.
    pub(super) fn file(&self, fh: u64) -> Arc<Handle> {
        if let Some(handle) = self.files.read().get(&fh) {
            return Arc::clone(handle);
        }
        let saved = self.keep.load(fh);
        let mut state = State { kept: saved.is_some(), inherited: true, ..State::default() };
        state.saved = saved.unwrap_or_default();
        state.saved.seen = self.keep.read_note(fh).and_then(|note| note.version).or(state.saved.seen);
        for byte in &state.saved.pending {
            // Bytes of a value are no document; their scanner is never asked.
            let _ = state.scanner.step(*byte);
        }
        let handle = Arc::new(Handle { state: Mutex::new(state) });
        Arc::clone(self.files.write().entry(fh).or_insert(handle))
    }

    /// Closes a file and hands it out a last time.
    pub(super) fn close(&self, fh: u64) -> Arc<Handle> {
        let handle = self.file(fh);
        self.files.write().remove(&fh);
        handle
    }

    /// Opens a directory with its listing.
    pub(super) fn open_dir(&self, listing: Arc<Listing>) -> u64 {
        let fh = self.number();
        self.dirs.write().insert(fh, listing);
        fh
    }

    /// An open directory's listing, unless an earlier server made it.
    pub(super) fn dir(&self, fh: u64) -> Option<Arc<Listing>> {
        self.dirs.read().get(&fh).cloned()
    }

    /// Keeps a listing that was made again for a handle of an earlier server.
    pub(super) fn adopt_dir(&self, fh: u64, listing: Arc<Listing>) -> Arc<Listing> {
        self.dirs.write().insert(fh, Arc::clone(&listing));
        listing
    }

    /// Closes a directory.
    pub(super) fn close_dir(&self, fh: u64) {
        self.dirs.write().remove(&fh);
    }
}

/// A file and its handle, as an operation names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The inode.
    pub ino: Ino,
    /// The handle.
    pub fh: u64,
}
