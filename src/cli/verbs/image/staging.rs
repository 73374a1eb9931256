//! A directory of the store in which an image is put together, locked while this process lives. What
//! is left of it by a process that was killed, the server removes.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::super::error::Error;
use crate::sys::lock::DirectoryLock;
use crate::sys::{beneath, host, process};

/// How often a new directory may be taken for an abandoned one before its lock is ours.
const ATTEMPTS: usize = 16;

/// Such a directory; dropped, it is gone.
#[derive(Debug)]
pub(super) struct Staging {
    shelf: PathBuf,
    name: String,
    _lock: DirectoryLock,
}

impl Staging {
    /// Makes one in a store.
    pub(super) fn new(store: &Path) -> Result<Staging, Error> {
        let shelf = store.join("staging");
        let failed = |cause| Error::Directory { dir: shelf.clone(), cause };
        let owner = fs::metadata(store).map_err(|cause| Error::Directory { dir: store.to_owned(), cause })?.uid();
        if owner != process::owner().0 {
            return Err(Error::OthersStore { store: store.to_owned(), owner });
        }
        for _ in 0..ATTEMPTS {
            let name = uuid(host::random().map_err(failed)?);
            let path = shelf.join(&name);
            DirBuilder::new().mode(0o700).recursive(true).create(&path).map_err(failed)?;
            match lock(&path) {
                Ok(Some(lock)) => return Ok(Staging { shelf, name, _lock: lock }),
                Ok(None) => {}
                Err(cause) => return Err(failed(cause)),
            }
        }
        Err(failed(io::ErrorKind::ResourceBusy.into()))
    }

    /// Its name below `staging/`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub(super) fn path(&self) -> PathBuf {
        self.shelf.join(&self.name)
    }
}

/// Locks a new directory, unless the server has seen it before it was locked and taken it away.
fn lock(path: &Path) -> io::Result<Option<DirectoryLock>> {
    match DirectoryLock::try_lock(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(Some(lock)) if path.is_dir() => Ok(Some(lock)),
        Ok(_) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What remains, the server removes: the lock ends with this process.
        let _ = File::open(&self.shelf).and_then(|shelf| beneath::remove_tree(shelf, self.name.as_bytes()));
    }
}

/// A random UUID (RFC 9562, version 4).
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Staging, uuid};

    #[test]
    fn a_random_uuid_says_that_it_is_one() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn it_goes_with_all_that_is_in_it() {
        let store = std::env::temp_dir().join(format!("ctrfs-staging-test-{}", std::process::id()));
        std::fs::create_dir(&store).unwrap();
        let staging = Staging::new(&store).unwrap();
        let path = staging.path();
        std::fs::create_dir_all(path.join("a/b")).unwrap();
        assert!(crate::sys::lock::DirectoryLock::try_lock(&path).unwrap().is_none());
        drop(staging);
        assert!(!path.exists());
        std::fs::remove_dir_all(store).unwrap();
    }
}
