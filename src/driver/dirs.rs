//! The directories beside the database: what is in them, and the order in which they change.
//!
//! ```text
//! layers/<id>/fs          a layer, never changed          ctr/<id>/{upper,ovl-work}   what is written upon layers
//! images/<id>/data        files of callers, as are        ctr/<id>/data
//! staging/<name>/<id>/fs  a layer in the making           trash/<name>                what is being deleted
//! ```
//!
//! A directory that the store does not know is rubbish, whatever is in it: it goes to `trash/` by a
//! rename, and is deleted from there.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::id::Id;
use crate::sys;
use crate::sys::lock::DirectoryLock;

/// A directory of directories that are named by IDs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shelf {
    /// Layers.
    Layers,
    /// What is written upon layers.
    Uppers,
    /// What callers keep with images.
    Images,
}

impl Shelf {
    const fn name(self) -> &'static str {
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

    /// What stands for the layers of an image that has none.
    pub fn empty(&self) -> PathBuf {
        empty_in(&self.store)
    }

    /// The directory of what is written upon layers.
    pub fn upper(&self, id: Id) -> PathBuf {
        self.shelf(Shelf::Uppers, id)
    }

    /// The directory for what is being deleted.
    pub fn trash(&self) -> PathBuf {
        self.store.join("trash")
    }

    pub(super) fn store(&self) -> &Path {
        &self.store
    }

    pub(super) fn shelf(&self, shelf: Shelf, id: Id) -> PathBuf {
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

    /// The directory for files of callers, beside what is written upon layers.
    pub fn artifacts(&self, id: Id) -> PathBuf {
        self.upper(id).join("artifacts")
    }

    /// Makes the directory for files of callers, if it is absent.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn make_artifacts(&self, id: Id) -> io::Result<()> {
        self.make_upper(id)?;
        let path = self.artifacts(id);
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
            let (from, to) = (self.staged(staging, *id), self.shelf(Shelf::Layers, *id));
            if from.is_dir() {
                self.discard(Shelf::Layers, *id)?;
                sys::rename::rename_new(&from, &to).map_err(|error| named(&to, error))?;
            }
        }
        sys::rename::sync_directory(&self.store.join(Shelf::Layers.name()))
    }

    /// Whether there is a directory for an ID.
    pub fn has(&self, shelf: Shelf, id: Id) -> bool {
        self.shelf(shelf, id).exists()
    }

    /// Moves a directory to the trash, if it is there.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn discard(&self, shelf: Shelf, id: Id) -> io::Result<()> {
        self.throw(&self.shelf(shelf, id))
    }

    pub(super) fn throw(&self, path: &Path) -> io::Result<()> {
        loop {
            let number = self.discarded.fetch_add(1, Ordering::Relaxed);
            match sys::rename::rename_new(path, &self.trash().join(format!("{}-{number}", std::process::id()))) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                result => return result.map_err(|error| named(path, error)),
            }
        }
    }

    /// The IDs that a shelf has directories for. What has no ID for a name is thrown away.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn ids(&self, shelf: Shelf) -> io::Result<Vec<Id>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(self.store.join(shelf.name()))? {
            let entry = entry?;
            match entry.file_name().to_str().and_then(Id::parse) {
                Some(id) => ids.push(id),
                None => self.throw(&entry.path())?,
            }
        }
        Ok(ids)
    }

    /// Throws away staging directories whose makers are gone: those hold a lock on theirs. Returns how
    /// many makers live.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn discard_abandoned(&self) -> io::Result<usize> {
        let mut living = 0;
        for entry in fs::read_dir(self.store.join("staging"))? {
            let path = entry?.path();
            match DirectoryLock::try_lock(&path) {
                Ok(Some(_lock)) => self.throw(&path)?,
                Ok(None) => living += 1,
                // Its maker has just taken it away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(named(&path, error)),
            }
        }
        Ok(living)
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

pub(super) fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
