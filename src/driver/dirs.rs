//! The directories beside the database: what is in them, and the order in which they change.
//!
//! ```text
//! layers/<id>/fs          a layer, never changed          ctr/<id>/{upper,ovl-work}   what is written upon layers
//! layers/<id>/tree        what it was like when it came   ctr/<id>/{data,artifacts,userdata}   files of callers,
//! staging/<name>/<id>     a layer in the making           images/<id>/data            as are these
//!                                                         trash/<name>                what is being deleted
//! ```
//!
//! A directory that the store does not know is rubbish, whatever is in it: it goes to `trash/` by a
//! rename, and is deleted from there.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::record;
use crate::model::id::Id;
use crate::sys;
use crate::sys::lock::DirectoryLock;

/// The directory of libpod's artifacts beside an upper directory.
pub const ARTIFACTS: &str = "artifacts";
/// The directory of what containers/storage calls a container's own, beside an upper directory.
pub const USERDATA: &str = "userdata";

/// A directory of directories that are named by IDs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Shelf {
    /// Layers.
    Layers,
    /// What is written upon layers.
    Uppers,
    /// What callers keep with images.
    Images,
}

impl Shelf {
    /// Its directory in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Shelf::Layers => "layers",
            Shelf::Uppers => "ctr",
            Shelf::Images => "images",
        }
    }
}

/// The directories of one store.
#[derive(Debug)]
pub struct Dirs {
    store: PathBuf,
    /// Makes names in `trash/`.
    discarded: AtomicU64,
}

impl Dirs {
    /// The directories of a store, made where they are absent.
    ///
    /// # Errors
    /// What the filesystem says, with the path.
    pub fn open(store: &Path) -> io::Result<Dirs> {
        let dirs = Dirs::at(store);
        for name in ["layers", "ctr", "images", "drafts", "staging", "trash", "empty"] {
            make(&store.join(name)).map_err(|error| named(&store.join(name), error))?;
        }
        Ok(dirs)
    }

    /// The directories of a store, to be looked at only.
    pub fn at(store: &Path) -> Dirs {
        Dirs { store: store.to_owned(), discarded: AtomicU64::new(0) }
    }

    /// Where a layer's tree is.
    pub fn layer(&self, id: Id) -> PathBuf {
        layer_in(&self.store, id)
    }

    /// Where the record of a layer's tree is.
    pub fn record(&self, id: Id) -> PathBuf {
        self.layer(id).with_file_name(record::FILE)
    }

    /// What stands for the layers of an image that has none.
    pub fn empty(&self) -> PathBuf {
        empty_in(&self.store)
    }

    /// The directory of what is written upon layers.
    pub fn upper(&self, id: Id) -> PathBuf {
        self.path(Shelf::Uppers, id)
    }

    /// The directory for what is being deleted.
    pub fn trash(&self) -> PathBuf {
        self.store.join("trash")
    }

    pub(super) fn store(&self) -> &Path {
        &self.store
    }

    /// The directory of an ID.
    pub fn path(&self, shelf: Shelf, id: Id) -> PathBuf {
        self.store.join(shelf.name()).join(id.to_string())
    }

    /// Makes the directory of what is written upon layers, if it is absent.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn make_upper(&self, id: Id) -> io::Result<PathBuf> {
        let path = self.upper(id);
        make(&path).map_err(|error| named(&path, error))?;
        Ok(path)
    }

    /// A directory for files of callers, beside what is written upon layers.
    pub fn beside_upper(&self, id: Id, name: &str) -> PathBuf {
        self.upper(id).join(name)
    }

    /// Makes a directory for files of callers, if it is absent.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn make_beside_upper(&self, id: Id, name: &str) -> io::Result<()> {
        self.make_upper(id)?;
        let path = self.beside_upper(id, name);
        make(&path).map_err(|error| named(&path, error))
    }

    /// Whether a staging directory has this layer, or gave it to `layers/` already.
    pub fn is_staged(&self, staging: &str, id: Id) -> bool {
        self.staged(staging, id).is_dir() || self.layer(id).is_dir()
    }

    fn staged(&self, staging: &str, id: Id) -> PathBuf {
        self.store.join("staging").join(staging).join(id.to_string())
    }

    /// Moves layers, unpacked and synced, from a staging directory to `layers/`; on disk when it
    /// returns. The store does not know them yet, so what is there under their names is rubbish, unless
    /// an earlier try put it there.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn adopt(&self, staging: &str, layers: &[Id]) -> io::Result<()> {
        for id in layers {
            let (from, to) = (self.staged(staging, *id), self.path(Shelf::Layers, *id));
            if from.is_dir() {
                self.discard(Shelf::Layers, *id)?;
                sys::rename::rename_new(&from, &to).map_err(|error| named(&to, error))?;
            }
        }
        sys::rename::sync_directory(&self.store.join(Shelf::Layers.name()))
    }

    /// Whether there is a directory for an ID.
    pub fn has(&self, shelf: Shelf, id: Id) -> bool {
        self.path(shelf, id).exists()
    }

    /// Moves a directory to the trash, if it is there.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn discard(&self, shelf: Shelf, id: Id) -> io::Result<()> {
        self.throw(&self.path(shelf, id))
    }

    /// Moves something to the trash, if it is there.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn throw(&self, path: &Path) -> io::Result<()> {
        loop {
            let number = self.discarded.fetch_add(1, Ordering::Relaxed);
            match sys::rename::rename_new(path, &self.trash().join(format!("{}-{number}", std::process::id()))) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                result => return result.map_err(|error| named(path, error)),
            }
        }
    }

    /// What lies on a shelf, in the order of the names. One that is not there is empty.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn listed(&self, shelf: Shelf) -> io::Result<Vec<OsString>> {
        let entries = entries_of(&self.store.join(shelf.name()))?;
        let mut names: Vec<OsString> = entries.iter().filter_map(|path| Some(path.file_name()?.to_owned())).collect();
        names.sort();
        Ok(names)
    }

    /// Whether a shelf has something of this name.
    pub fn has_entry(&self, shelf: Shelf, name: &OsStr) -> bool {
        fs::symlink_metadata(self.store.join(shelf.name()).join(name)).is_ok()
    }

    /// Moves what a shelf has of this name to the trash, if it is there.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn discard_entry(&self, shelf: Shelf, name: &OsStr) -> io::Result<()> {
        self.throw(&self.store.join(shelf.name()).join(name))
    }

    /// Whether what was written upon a container's layers is gone: the kernel's directory beside it is
    /// there, or it is `due`, and it is not.
    pub fn lacks_upper(&self, id: Id, due: bool) -> bool {
        let own = self.upper(id);
        !own.join("upper").is_dir() && (due || own.join("ovl-work").is_dir())
    }

    /// The IDs that a shelf has directories for, and what has no ID for a name.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn ids(&self, shelf: Shelf) -> io::Result<(Vec<Id>, Vec<PathBuf>)> {
        sorted_out(&self.store.join(shelf.name()), Id::parse)
    }

    /// The staging directories whose makers are gone, for those hold a lock on theirs, and how many makers
    /// live.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn stagings(&self) -> io::Result<(Vec<PathBuf>, usize)> {
        let (mut dead, mut living) = (Vec::new(), 0);
        for path in entries_of(&self.store.join("staging"))? {
            match DirectoryLock::try_lock(&path) {
                Ok(Some(_lock)) => dead.push(path),
                Ok(None) => living += 1,
                // Its maker has just taken it away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(named(&path, error)),
            }
        }
        Ok((dead, living))
    }

    /// Throws a staging directory away, unless it has a maker after all.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn discard_staging(&self, path: &Path) -> io::Result<()> {
        match DirectoryLock::try_lock(path) {
            Ok(Some(_lock)) => self.throw(path),
            Ok(None) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(named(path, error)),
        }
    }

    /// Throws the staging directories away whose makers are gone. Returns how many makers live.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn discard_abandoned(&self) -> io::Result<usize> {
        let (dead, living) = self.stagings()?;
        dead.iter().try_for_each(|staging| self.discard_staging(staging))?;
        Ok(living)
    }

    /// What is in the trash.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn trashed(&self) -> io::Result<Vec<PathBuf>> {
        entries_of(&self.trash())
    }

    /// Deletes what is in the trash. Goes on after a failure and tells the first.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn empty_trash(&self) -> io::Result<()> {
        let trash = File::open(self.trash())?;
        let mut first = Ok(());
        for entry in fs::read_dir(self.trash())? {
            let entry = entry?;
            let removed = sys::beneath::remove_tree(&trash, entry.file_name().as_bytes()).map(drop);
            first = first.and(removed.map_err(|error| named(&entry.path(), error)));
        }
        first
    }
}

/// Where a layer's tree is in a store.
pub fn layer_in(store: &Path, id: Id) -> PathBuf {
    store.join(Shelf::Layers.name()).join(id.to_string()).join("fs")
}

/// What stands for the layers of an image that has none.
pub fn empty_in(store: &Path) -> PathBuf {
    store.join("empty")
}

/// The entries of a directory whose names mean something, and the paths of the others. What is not
/// there has none.
pub(super) fn sorted_out<T>(dir: &Path, parse: impl Fn(&str) -> Option<T>) -> io::Result<(Vec<T>, Vec<PathBuf>)> {
    let (mut named, mut strays) = (Vec::new(), Vec::new());
    for path in entries_of(dir)? {
        match path.file_name().and_then(|name| name.to_str()).and_then(&parse) {
            Some(name) => named.push(name),
            None => strays.push(path),
        }
    }
    Ok((named, strays))
}

fn entries_of(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        Err(error) => Err(named(dir, error)),
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
    }
}

pub(super) fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// An error with the path that it is about.
pub fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
