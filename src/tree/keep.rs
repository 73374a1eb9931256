//! What open handles leave to the server after this one: RUNROOT/handles.
//!
//! A handle with bytes that complete nothing yet, or with results not read yet, has a file here until
//! it is released. `reads` has, in a slot that a handle keeps until it is released, what its last read
//! from the start was given. The directory is on a tmpfs, so nothing here outlives the boot, and a write
//! is a copy in memory.
//!
//! ```text
//! <fh, 16 hex digits>   records: kind u8, unique u64, length u32, bytes; a cut-off last one is void
//! reads                 slots of 32 bytes: fh, length, digest and version of what was read; fh 0: free
//! ```

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

const SLOT_BYTES: u64 = 32;
/// No version is that high. One of 0 there is: that of a text which was never written.
const NO_VERSION: u64 = u64::MAX;
/// No handle is 0: they are counted from 1.
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

/// The directory, open.
#[derive(Debug)]
pub(super) struct Keep {
    dir: PathBuf,
    reads: File,
    slots: Mutex<Slots>,
}

/// Which handle has which slot of `reads`. Only its own requests change what a slot says.
#[derive(Debug, Default)]
struct Slots {
    of: HashMap<u64, (u64, ReadNote)>,
    free: Vec<u64>,
    /// How many the file has.
    count: u64,
}

impl Slots {
    /// The slots as a server before this one left them.
    fn load(mut reads: &File) -> io::Result<Slots> {
        let mut bytes = vec![];
        reads.read_to_end(&mut bytes)?;
        let mut slots = Slots::default();
        for slot in bytes.chunks_exact(SLOT_BYTES as usize) {
            match note_in(slot) {
                (NO_HANDLE, _) => slots.free.push(slots.count),
                (fh, note) => drop(slots.of.insert(fh, (slots.count, note))),
            }
            slots.count += 1;
        }
        Ok(slots)
    }

    /// Notes what a handle read, and where that is written.
    fn take(&mut self, fh: u64, note: ReadNote) -> u64 {
        let slot = self.of.get(&fh).map(|(slot, _)| *slot).or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        });
        self.of.insert(fh, (slot, note));
        slot
    }
}

impl Keep {
    pub(super) fn open(dir: PathBuf) -> io::Result<Keep> {
        fs::create_dir_all(&dir)?;
        let reads = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join("reads"))?;
        let slots = Mutex::new(Slots::load(&reads)?);
        Ok(Keep { dir, reads, slots })
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
        // What is added next must not be taken for the rest of a record that was cut off.
        if !rest.is_empty() {
            warn_unkept(self.save(fh, &saved));
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
        let place = self.slots.lock().take(fh, note) * SLOT_BYTES;
        self.reads.write_all_at(&slot, place)
    }

    /// What a handle's last read from the start was given; `None` when there was none.
    pub(super) fn read_note(&self, fh: u64) -> Option<ReadNote> {
        self.slots.lock().of.get(&fh).map(|(_, note)| *note)
    }

    /// All that is noted, with the handles.
    pub(super) fn notes(&self) -> Vec<(u64, ReadNote)> {
        self.slots.lock().of.iter().map(|(fh, (_, note))| (*fh, *note)).collect()
    }

    /// Forgets what a handle's reads were given.
    pub(super) fn forget_read(&self, fh: u64) -> io::Result<()> {
        let Some((slot, _)) = self.slots.lock().of.remove(&fh) else { return Ok(()) };
        self.reads.write_all_at(&NO_HANDLE.to_le_bytes(), slot * SLOT_BYTES)?;
        self.slots.lock().free.push(slot);
        Ok(())
    }
}

/// Says so where an open handle could not be kept: only the next server's clients would notice.
pub(super) fn warn_unkept(kept: io::Result<()>) {
    if let Err(error) = kept {
        log::warn!("an open handle cannot be kept for the next server: {error}");
    }
}

/// The handle and the note in a slot.
fn note_in(slot: &[u8]) -> (u64, ReadNote) {
    let number = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().expect("8 of 32 bytes"));
    let version = Some(number(24)).filter(|version| *version != NO_VERSION);
    (number(0), ReadNote { length: number(8), digest: number(16), version })
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
        assert_eq!(keep.load(7), Some(saved.clone()), "a cut-off record is void");
        keep.append(7, 8, b"\"b\"").unwrap();
        assert_eq!(keep.load(7), Some(Saved { unique: 8, pending: b"{\"b\"".to_vec(), ..saved }));

        let note = ReadNote { length: 3, digest: 9, version: Some(4) };
        keep.note_read(5, note).unwrap();
        assert_eq!((keep.read_note(5), keep.read_note(6)), (Some(note), None));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_note_stays_until_its_handle_is_released() {
        let dir = std::env::temp_dir().join(format!("ctrfs-notes-{}", std::process::id()));
        let mut keep = Keep::open(dir.clone()).unwrap();
        let held = ReadNote { length: 3, digest: 9, version: Some(4) };
        keep.note_read(7, held).unwrap();
        for fh in 100..200_000 {
            keep.note_read(fh, ReadNote { length: fh, digest: fh, version: None }).unwrap();
            keep.forget_read(fh).unwrap();
        }
        assert_eq!(std::fs::metadata(dir.join("reads")).unwrap().len(), 64, "slots are used again");
        keep.note_read(8, ReadNote { version: Some(5), ..held }).unwrap();
        keep.note_read(7, ReadNote { version: Some(6), ..held }).unwrap();

        keep = Keep::open(dir.clone()).unwrap();
        let mut notes = keep.notes();
        notes.sort_by_key(|(fh, _)| *fh);
        let of = |version| ReadNote { version: Some(version), ..held };
        assert_eq!(notes, [(7, of(6)), (8, of(5))]);
        keep.forget_read(7).unwrap();
        keep.note_read(9, held).unwrap();
        assert_eq!(Keep::open(dir.clone()).unwrap().read_note(7), None);
        assert_eq!(std::fs::metadata(dir.join("reads")).unwrap().len(), 64, "by the next server, too");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
