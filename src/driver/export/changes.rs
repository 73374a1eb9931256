//! What an upper directory changed against its lowers, as `podman diff` tells it.
//!
//! Where podman guesses by size and time whether a directory changed, here its entries and all of its
//! attributes count; where podman calls an emptied and refilled directory deleted, here are its entries.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::tree::next;
use super::{ExportError, Marks, at, is_local_xattr, path};
use crate::driver::walk::{Step, Walk};
use crate::sys::walk::{Dir, Kind, Meta, Pinned};

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It was there before. A directory: its attributes differ, or entries were added or removed.
    Changed,
    /// It is gone, with all that was below it.
    Deleted,
}

impl ChangeKind {
    /// `A`, `C` or `D`.
    pub fn letter(self) -> char {
        match self {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        }
    }
}

/// A changed path, absolute in the merged tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Which one.
    pub path: PathBuf,
    /// What became of it.
    pub kind: ChangeKind,
}

/// What is known of a directory of the upper while the walk is in it.
#[derive(Debug, Clone, Copy)]
struct Note {
    /// Whether the lowers have it.
    is_below: bool,
    /// Whether its entries there are hidden.
    is_opaque: bool,
    /// Whether it counts as changed once an entry came or went.
    is_pending: bool,
}

/// Compares an upper directory with its lowers, merged: all changes, sorted by path.
///
/// # Errors
/// What cannot be read.
pub fn changes(upper: BorrowedFd<'_>, lowers: BorrowedFd<'_>, marks: Marks) -> Result<Vec<Change>, ExportError> {
    let top = |cause| ExportError::Entry { path: path(b""), cause };
    let (upper, lowers) = (Dir::of(upper).map_err(top)?, Dir::of(lowers).map_err(top)?);
    // The top itself is never told, and nothing makes overlayfs take it for opaque.
    let note = Note { is_below: true, is_opaque: false, is_pending: false };
    let walk = Walk::new(upper, note).map_err(top)?;
    let mut comparison = Comparison { walk, lowers, marks, found: Vec::new() };
    while let Some(step) = next(&mut comparison.walk)? {
        if let Step::Entry = step {
            comparison.entry()?;
        }
    }
    comparison.found.sort_unstable();
    Ok(comparison.found)
}

struct Comparison {
    walk: Walk<Note>,
    lowers: Dir,
    marks: Marks,
    found: Vec<Change>,
}

impl Comparison {
    fn entry(&mut self) -> Result<(), ExportError> {
        let meta = self.walk.dir().look(self.walk.name());
        let Some(meta) = at(&self.walk, meta)? else { return Ok(()) };
        let below = match self.walk.note().is_below {
            true => at(&self.walk, self.lowers.look(OsStr::from_bytes(self.walk.path())))?,
            false => None,
        };
        match (meta.is_whiteout(), &below) {
            (true, None) => return Ok(()),
            (true, Some(_)) => {
                self.tell(ChangeKind::Deleted);
                self.touch();
                return Ok(());
            }
            (false, None) => {
                self.tell(ChangeKind::Added);
                self.touch();
            }
            (false, Some(_)) => {}
        }
        let merged = below.as_ref().filter(|below| (below.kind, meta.kind) == (Kind::Directory, Kind::Directory));
        let is_same = match merged {
            Some(below) => at(&self.walk, self.is_same(&meta, below))?,
            None => false,
        };
        if below.is_some() && !is_same {
            self.tell(ChangeKind::Changed);
        }
        match meta.kind {
            Kind::Directory => self.enter(merged.is_some(), is_same),
            _ => Ok(()),
        }
    }

    fn enter(&mut self, is_below: bool, is_pending: bool) -> Result<(), ExportError> {
        let is_opaque = self.walk.note().is_opaque;
        let entered = self.walk.enter(Note { is_below, is_opaque, is_pending });
        if !at(&self.walk, entered)? || !is_below {
            return Ok(());
        }
        let is_marked = at(&self.walk, self.marks.is_opaque(self.walk.dir()))?;
        self.walk.note().is_opaque |= is_marked;
        if self.walk.note().is_opaque {
            self.hidden()?;
        }
        Ok(())
    }

    /// Tells the lowers' entries of an opaque directory that has just been entered, but for those that
    /// the upper has again.
    fn hidden(&mut self) -> Result<(), ExportError> {
        let names = match at(&self.walk, self.lowers.enter(OsStr::from_bytes(self.walk.path())))? {
            Some(dir) => at(&self.walk, dir.names())?,
            None => Vec::new(),
        };
        let own = self.walk.ahead();
        for name in names.into_iter().filter(|name| own.binary_search(name).is_err()) {
            self.push([self.walk.path(), name.as_bytes()].join(&b'/'), ChangeKind::Deleted);
            self.touch();
        }
        Ok(())
    }

    fn tell(&mut self, kind: ChangeKind) {
        self.push(self.walk.path().to_vec(), kind);
    }

    /// Tells the current directory, if entries that come and go are the first sign that it changed.
    fn touch(&mut self) {
        if std::mem::take(&mut self.walk.note().is_pending) {
            let directory = self.walk.directory().to_vec();
            self.push(directory, ChangeKind::Changed);
        }
    }

    fn push(&mut self, mut path: Vec<u8>, kind: ChangeKind) {
        if path.first() != Some(&b'/') {
            path.insert(0, b'/');
        }
        self.found.push(Change { path: OsString::from_vec(path).into(), kind });
    }

    /// Whether a directory of the upper is as it is in the lowers; overlayfs copies all of this up.
    fn is_same(&self, upper: &Meta, below: &Meta) -> io::Result<bool> {
        let essence = |meta: &Meta| (meta.mode, meta.uid, meta.gid, meta.mtime);
        if essence(upper) != essence(below) {
            return Ok(false);
        }
        let upper = self.walk.dir().pin(self.walk.name())?;
        let below = self.lowers.pin(OsStr::from_bytes(self.walk.path()))?;
        Ok(own_xattrs(upper)? == own_xattrs(below)?)
    }
}

fn own_xattrs(pinned: Option<Pinned>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut xattrs = pinned.map_or_else(|| Ok(Vec::new()), |pinned| pinned.xattrs())?;
    xattrs.retain(|(name, _)| !is_local_xattr(name));
    Ok(xattrs)
}
