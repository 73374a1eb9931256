//! What open handles leave to the server after this one: RUNROOT/handles.
//!
//! A handle with bytes that complete nothing yet, or with results not read yet, has a file here until
//! it is released. `reads` has, in a slot a handle, what its last read from the start was given. The
//! directory is on a tmpfs, so nothing here outlives the boot, and a write is a copy in memory.
//!
//! ```text
//! <fh, 16 hex digits>   records: kind u8, unique u64, length u32, bytes; a cut-off last one is void
//! reads                 slots of 32 bytes: fh; length, digest and version of what was read
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How many handles can have a read noted at a time.
const SLOTS: u64 = 1 << 16;
const SLOT_BYTES: u64 = 32;
const APPEND: u8 = 1;
const WHOLE: u8 = 2;
const HEADER: usize = 13;

/// A handle's state beyond what the store has.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Saved {
    /// The last request that changed it.
    pub(super) unique: u64,
    /// Bytes that complete nothing yet.
    pub(super) pending: Vec<u8>,
    /// Results, from where they are read on.
    pub(super) output: Vec<u8>,
    /// The file offset at which the results begin, once they are read.
    pub(super) output_at: Option<u64>,
    /// How many of the pending bytes a close has made the value.
    pub(super) closed_at: usize,
}

/// What a read from the start was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ReadNote {
    pub(super) length: u64,
    pub(super) digest: u64,
    /// The version of the document that the handle takes for the current one; 0 for what is no document.
    pub(super) version: u64,
}

/// The directory, open.
#[derive(Debug)]
pub(super) struct Keep {
    dir: PathBuf,
    reads: File,
}

impl Keep {
    pub(super) fn open(dir: PathBuf) -> io::Result<Keep> {
        fs::create_dir_all(&dir)?;
        let reads = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join("reads"))?;
        reads.set_len(SLOTS * SLOT_BYTES)?;
        Ok(Keep { dir, reads })
    }

    fn file(&self, fh: u64) -> PathBuf {
        self.dir.join(format!("{fh:016x}"))
    }

    /// Notes bytes that a write added to the pending ones.
    pub(super) fn append(&self, fh: u64, unique: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(self.file(fh))?;
        file.write_all(&record(APPEND, unique, bytes))
    }

    /// Notes a handle's whole state.
    pub(super) fn save(&self, fh: u64, saved: &Saved) -> io::Result<()> {
        let bytes = postcard::to_allocvec(saved).map_err(io::Error::other)?;
        let temporary = self.dir.join(format!("{fh:016x}.new"));
        fs::write(&temporary, record(WHOLE, saved.unique, &bytes))?;
        fs::rename(temporary, self.file(fh))
    }

    /// Forgets a handle.
    pub(super) fn remove(&self, fh: u64) {
        let _ = fs::remove_file(self.file(fh));
    }

    /// A handle's state as the server before left it.
    pub(super) fn load(&self, fh: u64) -> Option<Saved> {
        let bytes = fs::read(self.file(fh)).ok()?;
        let mut rest = bytes.as_slice();
        let mut saved = Saved::default();
        while let Some((kind, unique, payload, after)) = next_record(rest) {
            match kind {
                WHOLE => saved = postcard::from_bytes(payload).ok()?,
                _ => saved.pending.extend_from_slice(payload),
            }
            saved.unique = unique;
            rest = after;
        }
        Some(saved)
    }

    /// Notes what a read from the start was given.
    pub(super) fn note_read(&self, fh: u64, note: ReadNote) -> io::Result<()> {
        let mut slot = [0; SLOT_BYTES as usize];
        slot[..8].copy_from_slice(&fh.to_le_bytes());
        slot[8..16].copy_from_slice(&note.length.to_le_bytes());
        slot[16..24].copy_from_slice(&note.digest.to_le_bytes());
        slot[24..].copy_from_slice(&note.version.to_le_bytes());
        self.reads.write_all_at(&slot, fh % SLOTS * SLOT_BYTES)
    }

    /// What a handle's last read from the start was given, unless another handle has its slot.
    pub(super) fn read_note(&self, fh: u64) -> Option<ReadNote> {
        let mut slot = [0; SLOT_BYTES as usize];
        self.reads.read_exact_at(&mut slot, fh % SLOTS * SLOT_BYTES).ok()?;
        let number = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().expect("8 of 32 bytes"));
        (number(0) == fh).then(|| ReadNote { length: number(8), digest: number(16), version: number(24) })
    }
}

fn record(kind: u8, unique: u64, bytes: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER + bytes.len());
    record.push(kind);
    record.extend(unique.to_le_bytes());
    record.extend((bytes.len() as u32).to_le_bytes());
    record.extend(bytes);
    record
}

fn next_record(bytes: &[u8]) -> Option<(u8, u64, &[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let unique = u64::from_le_bytes(header[1..9].try_into().ok()?);
    let length = u32::from_le_bytes(header[9..13].try_into().ok()?) as usize;
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((header[0], unique, payload, rest))
}

#[cfg(test)]
mod tests {
    use super::{Keep, ReadNote, Saved};

    #[test]
    fn a_handle_comes_back_as_it_was() {
        let dir = std::env::temp_dir().join(format!("ctrfs-keep-{}", std::process::id()));
        let keep = Keep::open(dir.clone()).unwrap();
        assert_eq!(keep.load(7), None);
        let saved = Saved { unique: 4, pending: b"{".to_vec(), output: b"x\n".to_vec(), ..Saved::default() };
        keep.save(7, &saved).unwrap();
        keep.append(7, 6, b"\"a\"").unwrap();
        assert_eq!(keep.load(7), Some(Saved { unique: 6, pending: b"{\"a\"".to_vec(), ..saved.clone() }));

        let file = dir.join(format!("{:016x}", 7));
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(keep.load(7), Some(saved), "a cut-off record is void");

        let note = ReadNote { length: 3, digest: 9, version: 4 };
        keep.note_read(5, note).unwrap();
        assert_eq!(keep.read_note(5), Some(note));
        assert_eq!(keep.read_note(6), None);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
