//! The database file without redb's own lock: the keeper holds the store's lock for all servers that
//! follow one another, and the last one may not be buried yet when the next one opens the file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

#[derive(Debug)]
pub(super) struct Unlocked(pub(super) File);

impl Unlocked {
    pub(super) fn open(path: &Path) -> io::Result<Unlocked> {
        OpenOptions::new().read(true).write(true).open(path).map(Unlocked)
    }
}

impl StorageBackend for Unlocked {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
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
