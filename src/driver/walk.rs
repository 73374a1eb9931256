//! A tree gone through depth first, names in the order of their bytes, while others may change it.
//!
//! Its depth costs memory, but neither stack nor descriptors: who owns the tree (a container) may nest
//! directories as deep as it likes. It stays on the filesystem that it began on.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::vec;

use crate::sys::walk::{Dir, Identity, Listed};

/// How many directories are held open; those above are opened again through `..`.
const MAX_OPEN: usize = 32;

/// The way to the current entry. Each level carries something of the caller's.
#[derive(Debug)]
pub(super) struct Walk<T> {
    levels: Vec<Level<T>>,
    path: Vec<u8>,
}

#[derive(Debug)]
struct Level<T> {
    dir: Option<Dir>,
    identity: Identity,
    names: vec::IntoIter<Listed>,
    /// The inode of the entry, if it is listed as a file.
    file: Option<u64>,
    /// How long the path of the directory is.
    length: usize,
    note: T,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Step<T> {
    /// An entry of the current directory: [`Walk::path`] and [`Walk::name`] are its.
    Entry,
    /// A directory is done, with the path that it was entered by.
    Left(T),
}

impl<T> Walk<T> {
    /// Begins at a directory.
    pub(super) fn new(root: Dir, note: T) -> io::Result<Walk<T>> {
        let mut walk = Walk { levels: Vec::new(), path: Vec::new() };
        walk.push(root, note)?;
        Ok(walk)
    }

    /// Goes on; `None` when the directory that it began at has been left.
    pub(super) fn next(&mut self) -> io::Result<Option<Step<T>>> {
        let Some(level) = self.levels.last_mut() else { return Ok(None) };
        self.path.truncate(level.length);
        if let Some(listed) = level.names.next() {
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(listed.name.as_bytes());
            level.file = listed.file;
            return Ok(Some(Step::Entry));
        }
        self.pop()
    }

    /// The path of the entry, or of the directory just left, from where it began: `etc/passwd`.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The path of the current directory.
    pub(super) fn directory(&self) -> &[u8] {
        &self.path[..self.levels.last().map_or(0, |level| level.length)]
    }

    /// The entry's name in its directory.
    pub(super) fn name(&self) -> &OsStr {
        let begin = self.path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        OsStr::from_bytes(&self.path[begin..])
    }

    /// The inode that the directory gives for the entry, if it gives it as a regular file's.
    pub(super) fn file(&self) -> Option<u64> {
        self.levels.last().and_then(|level| level.file)
    }

    /// The current directory.
    pub(super) fn dir(&self) -> &Dir {
        let dir = self.levels.last().and_then(|level| level.dir.as_ref());
        dir.expect("the deepest directory is open while there is an entry")
    }

    /// What the caller keeps for the current directory.
    pub(super) fn note(&mut self) -> &mut T {
        &mut self.levels.last_mut().expect("there is a directory while there is an entry").note
    }

    /// The names of the current directory that have not come yet.
    pub(super) fn ahead(&self) -> Vec<OsString> {
        let ahead = self.levels.last().map_or(&[][..], |level| level.names.as_slice());
        ahead.iter().map(|listed| listed.name.clone()).collect()
    }

    /// Goes into the entry, if it is a directory of this filesystem still; says whether.
    pub(super) fn enter(&mut self, note: T) -> io::Result<bool> {
        let Some(dir) = self.dir().enter(self.name())? else { return Ok(false) };
        self.push(dir, note)
    }

    fn push(&mut self, dir: Dir, note: T) -> io::Result<bool> {
        let meta = dir.meta()?;
        let is_foreign = |root: &Level<T>| meta.is_mount || !is_one_filesystem(root.identity, meta.identity);
        if self.levels.first().is_some_and(is_foreign) {
            return Ok(false);
        }
        let names = dir.listing()?.into_iter();
        // The root stays open: from there the walk goes on, whatever is moved away below.
        if let Some(above) = self.levels.len().checked_sub(MAX_OPEN).filter(|above| *above > 0) {
            self.levels[above].dir = None;
        }
        self.levels.push(Level {
            dir: Some(dir),
            identity: meta.identity,
            names,
            file: None,
            length: self.path.len(),
            note,
        });
        Ok(true)
    }

    fn pop(&mut self) -> io::Result<Option<Step<T>>> {
        let Some(left) = self.levels.pop() else { return Ok(None) };
        if let Some(above) = self.levels.last_mut().filter(|above| above.dir.is_none()) {
            above.dir = match &left.dir {
                Some(dir) => dir.parent_if(above.identity)?,
                None => None,
            };
            if above.dir.is_none() {
                // Moved elsewhere meanwhile: what is left of it cannot be found.
                above.names = Vec::new().into_iter();
            }
        }
        Ok(Some(Step::Left(left.note)))
    }
}

fn is_one_filesystem(one: Identity, other: Identity) -> bool {
    (one.0, one.1) == (other.0, other.1)
}
