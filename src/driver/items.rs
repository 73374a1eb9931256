//! Files of callers, whose bytes lie beside the store: written as drafts, then given a place for good.
//!
//! ```text
//! drafts/<name>             what an open handle has written       ctr/<id>/data/<file>      for good
//!                                                                 images/<id>/data/<file>
//! ```
//!
//! A file that has its place is never written again: who wants other bytes makes a draft of them and
//! gives it another place. Files have numbers for names, so that a caller's key may be anything.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::dirs::{Dirs, Shelf, make, named, sorted_out};
use super::hash::Hasher;
use crate::model::digest::Digest;
use crate::model::id::Id;
use crate::sys::rename::sync_directory;

/// Where the drafts are in a store.
const DRAFTS: &str = "drafts";
/// How much of a file is looked at at a time.
const PIECE: usize = 1 << 20;

/// Bytes that are open for reading and do not change.
#[derive(Debug)]
pub struct Body {
    file: File,
    size: u64,
}

impl Body {
    /// Up to `size` bytes at `offset`.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn read_at(&self, offset: u64, size: usize) -> io::Result<Vec<u8>> {
        read_at(&self.file, offset, size)
    }

    /// How many there are.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// Bytes that are being written.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    file: File,
    size: u64,
    /// The digest so far, and of how many bytes; absent once they came out of order.
    hasher: Option<(Hasher, u64)>,
}

impl Draft {
    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether [`Draft::seal`] reads it anew.
    pub fn is_out_of_order(&self) -> bool {
        !matches!(&self.hasher, Some((_, hashed)) if *hashed == self.size)
    }

    /// Up to `size` bytes at `offset`.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn read_at(&self, offset: u64, size: usize) -> io::Result<Vec<u8>> {
        read_at(&self.file, offset, size)
    }

    /// Writes all of the bytes.
    ///
    /// # Errors
    /// What the filesystem says; some may have been written.
    pub fn write_at(&mut self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(data, offset)?;
        self.size = self.size.max(offset + data.len() as u64);
        match &mut self.hasher {
            Some((hasher, hashed)) if *hashed == offset => {
                hasher.update(data);
                *hashed += data.len() as u64;
            }
            hasher => *hasher = None,
        }
        Ok(())
    }

    /// Cuts it off, or lengthens it with zeroes that take no space.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn set_size(&mut self, size: u64) -> io::Result<()> {
        self.file.set_len(size)?;
        self.size = size;
        match &self.hasher {
            _ if size == 0 => self.hasher = Some((Hasher::default(), 0)),
            Some((_, hashed)) if *hashed > size => self.hasher = None,
            _ => {}
        }
        Ok(())
    }

    /// Waits until its bytes are on disk. Returns their digest.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn seal(&mut self) -> io::Result<Digest> {
        self.file.sync_all()?;
        let hasher = match &self.hasher {
            Some((hasher, hashed)) if *hashed == self.size => hasher.clone(),
            _ => hash(&self.file)?,
        };
        self.hasher = Some((hasher.clone(), self.size));
        Ok(hasher.finish())
    }

    /// Its bytes for reading, when they no longer change.
    pub fn into_body(self) -> Body {
        Body { file: self.file, size: self.size }
    }
}

impl Dirs {
    /// Begins a draft under a name, with the first `upto` bytes of what is there already. One that a
    /// server before began to fill is begun anew.
    ///
    /// # Errors
    /// What the filesystem says; there is no draft then.
    pub fn begin_draft(&self, name: u64, from: Option<&Body>, upto: u64) -> io::Result<Draft> {
        let path = self.draft(name);
        let filling = path.with_extension("new");
        let filled = fill(&filling, from, upto).and_then(|(file, size)| {
            fs::rename(&filling, &path)?;
            Ok((file, size))
        });
        match filled {
            Ok((file, size)) => Ok(Draft { path, file, size, hasher: (size == 0).then(|| (Hasher::default(), 0)) }),
            Err(error) => {
                let _ = fs::remove_file(&filling);
                Err(error)
            }
        }
    }

    /// The draft of this name that a server before left, if there is one.
    pub fn resume_draft(&self, name: u64) -> Option<Draft> {
        let path = self.draft(name);
        let file = OpenOptions::new().read(true).write(true).open(&path).ok()?;
        let found = file.metadata().ok()?;
        if found.nlink() > 1 {
            // It has a place as well, where it is not written again.
            return self.begin_draft(name, Some(&Body { file, size: found.len() }), u64::MAX).ok();
        }
        Some(Draft { path, file, size: found.len(), hasher: None })
    }

    /// Takes a draft's name away.
    pub fn drop_draft(&self, draft: &Draft) {
        if let Err(error) = fs::remove_file(&draft.path) {
            log::warn!("{} is left over: {error}", draft.path.display());
        }
    }

    /// Takes the drafts away that nobody is left to write: of all others `is_kept` knows the names.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn drop_drafts(&self, is_kept: impl Fn(u64) -> bool) -> io::Result<()> {
        let (drafts, strays) = sorted_out(&self.store().join(DRAFTS), draft_of)?;
        let left = drafts.into_iter().filter(|name| !is_kept(*name)).map(|name| self.draft(name));
        left.chain(strays).try_for_each(fs::remove_file)
    }

    /// Gives a sealed draft its place as well; on disk when it returns.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn place(&self, shelf: Shelf, id: Id, draft: &Draft, file: u64) -> io::Result<()> {
        let dir = self.items(shelf, id);
        if !dir.is_dir() {
            let above = self.path(shelf, id);
            make(&above)?;
            make(&dir)?;
            sync_directory(&above)?;
            above.parent().map_or(Ok(()), sync_directory)?;
        }
        fs::hard_link(&draft.path, dir.join(file.to_string()))?;
        sync_directory(&dir)
    }

    /// A file in its place, for reading.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn item(&self, shelf: Shelf, id: Id, file: u64) -> io::Result<Body> {
        let file = File::open(self.items(shelf, id).join(file.to_string()))?;
        let size = file.metadata()?.len();
        Ok(Body { file, size })
    }

    /// How long a file is that has its place.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn item_size(&self, shelf: Shelf, id: Id, file: u64) -> io::Result<u64> {
        let path = self.item_path(shelf, id, file);
        fs::symlink_metadata(&path).map(|found| found.len()).map_err(|error| named(&path, error))
    }

    /// Throws a file away, if it is there.
    pub fn discard_item(&self, shelf: Shelf, id: Id, file: u64) {
        let path = self.items(shelf, id).join(file.to_string());
        if let Err(error) = self.throw(&path) {
            log::warn!("it is left over: {error}");
        }
    }

    /// The numbers of the files that have a place, and what has no number for a name.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn item_files(&self, shelf: Shelf, id: Id) -> io::Result<(Vec<u64>, Vec<PathBuf>)> {
        sorted_out(&self.items(shelf, id), |name| name.parse().ok())
    }

    /// Where a file has its place.
    pub fn item_path(&self, shelf: Shelf, id: Id, file: u64) -> PathBuf {
        self.items(shelf, id).join(file.to_string())
    }

    fn items(&self, shelf: Shelf, id: Id) -> PathBuf {
        self.path(shelf, id).join("data")
    }

    fn draft(&self, name: u64) -> PathBuf {
        self.store().join(DRAFTS).join(format!("{name:016x}"))
    }
}

/// The name that a draft's file has; one that is being filled has none yet.
fn draft_of(file: &str) -> Option<u64> {
    u64::from_str_radix(file, 16).ok().filter(|name| file == format!("{name:016x}"))
}

fn fill(path: &Path, from: Option<&Body>, upto: u64) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let Some(body) = from else { return Ok((file, 0)) };
    // A descriptor's offset is moved; those who read the body name theirs.
    let mut source = &body.file;
    source.seek(SeekFrom::Start(0))?;
    // The standard library asks the kernel to copy, which on some filesystems shares the blocks.
    let copied = io::copy(&mut source.take(upto), &mut file)?;
    Ok((file, copied))
}

fn read_at(file: &File, offset: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    let mut filled = 0;
    while filled < size {
        match file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn hash(file: &File) -> io::Result<Hasher> {
    let (mut hasher, mut offset) = (Hasher::default(), 0);
    loop {
        let bytes = read_at(file, offset, PIECE)?;
        if bytes.is_empty() {
            return Ok(hasher);
        }
        hasher.update(&bytes);
        offset += bytes.len() as u64;
    }
}
