//! The database file without redb's own lock: the keeper holds the store's lock for all servers that
//! follow one another, and the last one may not be buried yet when the next one opens the file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::reserve::Reserve;

#[derive(Debug)]
pub(super) struct Unlocked {
    file: File,
    /// Where a write finds space when the disk is full.
    reserve: Option<Arc<Reserve>>,
}

impl Unlocked {
    pub(super) fn open(path: &Path, reserve: Arc<Reserve>) -> io::Result<Unlocked> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Unlocked { file, reserve: Some(reserve) })
    }

    /// A file of a store that is being made.
    pub(super) fn new(file: File) -> Unlocked {
        Unlocked { file, reserve: None }
    }
}

impl StorageBackend for Unlocked {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        loop {
            let written = self.file.write_all_at(data, offset);
            match (&written, &self.reserve) {
                (Err(error), Some(reserve)) if error.kind() == io::ErrorKind::StorageFull && reserve.spend()? => {}
                _ => return written,
            }
        }
    }
}

/// A backend whose first failure is noted: from then on redb may refuse whatever it has not cached, until
/// the database is opened anew.
#[derive(Debug)]
pub(super) struct Noting<B> {
    backend: B,
    failed: Arc<AtomicBool>,
}

impl<B> Noting<B> {
    pub(super) fn new(backend: B) -> (Noting<B>, Arc<AtomicBool>) {
        let failed = Arc::default();
        (Noting { backend, failed: Arc::clone(&failed) }, failed)
    }

    fn noted<T>(&self, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|_| self.failed.store(true, Ordering::Release))
    }
}

impl<B: StorageBackend> StorageBackend for Noting<B> {
    fn len(&self) -> io::Result<u64> {
        self.noted(self.backend.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.noted(self.backend.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.noted(self.backend.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.noted(self.backend.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.noted(self.backend.write(offset, data))
    }
}

/// A copy of a database file in memory.
pub(super) fn copy(path: &Path) -> io::Result<InMemoryBackend> {
    const PIECE: usize = 1 << 20;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let memory = InMemoryBackend::new();
    memory.set_len(length)?;
    let mut piece = vec![0; PIECE];
    for offset in (0..length).step_by(PIECE) {
        let bytes = &mut piece[..PIECE.min((length - offset) as usize)];
        file.read_exact_at(bytes, offset)?;
        memory.write(offset, bytes)?;
    }
    Ok(memory)
}
