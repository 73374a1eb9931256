//! What open handles leave to the server after this one: RUNROOT/handles.
//!
//! A handle with bytes that complete nothing yet, or with results not read yet, has a file here until
//! it is released. `reads` has, in a slot a handle, what its last read from the start was given. The
//! directory is on a tmpfs, so nothing here outlives the boot, and a write is a copy in memory.
//!
//! ```text
//! <fh, 16 hex digits>   records: kind u8, unique u64, length u32, bytes; a cut-off last one is void
//! reads                 slots of 32 bytes: fh, length, digest and version of what was read
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::handle::COUNTER_BITS;

/// How many handles can have a read noted at a time.
const SLOTS: u64 = 1 << 16;
const SLOT_BYTES: u64 = 32;
/// No version is 0: the store counts from 1.
const NO_VERSION: u64 = 0;
/// Nor is a handle.
const NO_HANDLE: u64 = 0;
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
    /// The version of the document that the handle has read.
    pub(super) seen: Option<u64>,
    /// How many of the pending bytes a close has made the value.
    pub(super) closed_at: usize,
    /// Whether a piece of a document or value was refused; the handle takes no more then.
    pub(super) given_up: bool,
}

/// What a read from the start was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ReadNote {
    pub(super) length: u64,
    pub(super) digest: u64,
    /// The version of the document, for entries that are one; the handle's own writes count as read.
    pub(super) version: Option<u64>,
}

/// What is known of a handle's reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Noted {
    /// The last from the start was given this.
    Read(ReadNote),
    /// There was none.
    Nothing,
    /// Another handle has the slot.
    Lost,
}

impl Noted {
    /// The version that was read, if that is known.
    pub(super) fn version(self) -> Option<u64> {
        match self {
            Noted::Read(note) => note.version,
            Noted::Nothing | Noted::Lost => None,
        }
    }
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
        slot[24..].copy_from_slice(&note.version.unwrap_or(NO_VERSION).to_le_bytes());
        self.reads.write_all_at(&slot, place(fh))
    }

    /// What a handle's last read from the start was given.
    pub(super) fn read_note(&self, fh: u64) -> Noted {
        let mut slot = [0; SLOT_BYTES as usize];
        if self.reads.read_exact_at(&mut slot, place(fh)).is_err() {
            return Noted::Lost;
        }
        match note_in(&slot) {
            (NO_HANDLE, _) => Noted::Nothing,
            (own, note) if own == fh => Noted::Read(note),
            _ => Noted::Lost,
        }
    }

    /// All that is noted, with the handles.
    pub(super) fn notes(&self) -> io::Result<Vec<(u64, ReadNote)>> {
        let mut slots = vec![0; (SLOTS * SLOT_BYTES) as usize];
        self.reads.read_exact_at(&mut slots, 0)?;
        let notes = slots.chunks_exact(SLOT_BYTES as usize).map(note_in);
        Ok(notes.filter(|(fh, _)| *fh != NO_HANDLE).collect())
    }

    /// Forgets what a handle's reads were given.
    pub(super) fn forget_read(&self, fh: u64) -> io::Result<()> {
        match self.read_note(fh) {
            Noted::Read(_) => self.reads.write_all_at(&NO_HANDLE.to_le_bytes(), place(fh)),
            Noted::Nothing | Noted::Lost => Ok(()),
        }
    }
}

/// The handle and the note in a slot.
fn note_in(slot: &[u8]) -> (u64, ReadNote) {
    let number = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().expect("8 of 32 bytes"));
    let version = Some(number(24)).filter(|version| *version != NO_VERSION);
    (number(0), ReadNote { length: number(8), digest: number(16), version })
}

/// Where a handle's slot lies. Each server counts its handles from 1, so the generation moves the
/// slots on, by Fibonacci hashing: the handles of two servers do not meet.
fn place(fh: u64) -> u64 {
    const STEP: u64 = 40_503;
    (fh.wrapping_add((fh >> COUNTER_BITS).wrapping_mul(STEP)) % SLOTS) * SLOT_BYTES
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
    use super::{COUNTER_BITS, Keep, Noted, ReadNote, SLOTS, Saved};

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

        let note = ReadNote { length: 3, digest: 9, version: Some(4) };
        keep.note_read(5, note).unwrap();
        assert_eq!(keep.read_note(5), Noted::Read(note));
        assert_eq!(keep.read_note(6), Noted::Nothing);
        assert_eq!(keep.notes().unwrap(), [(5, note)]);
        assert_eq!(keep.read_note(5 + SLOTS), Noted::Lost);
        assert_eq!(keep.read_note((1 << COUNTER_BITS) + 5), Noted::Nothing, "another server's handle");
        keep.forget_read(5 + SLOTS).unwrap();
        keep.forget_read(5).unwrap();
        assert_eq!(keep.read_note(5), Noted::Nothing);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
