//! The way into the tree that the views are attached in.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::sys::mounting::Place;
use crate::sys::{fd, mountinfo};

/// A mounted tree, as one finds it from outside.
#[derive(Debug)]
pub struct Tree {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// Its type in mountinfo.
    pub fs_type: &'static str,
    /// Its source in mountinfo.
    pub source: PathBuf,
    /// The number of its filesystem, once it is known: nobody else gets it while we serve.
    device: OnceLock<(u32, u32)>,
}

impl Tree {
    /// The tree that is mounted there.
    pub fn new(mountpoint: PathBuf, fs_type: &'static str, source: PathBuf) -> Tree {
        Tree { mountpoint, fs_type, source, device: OnceLock::new() }
    }

    /// The root directory of the tree. Whoever holds it keeps the tree from being unmounted, so nobody
    /// does for long; a thread that answers the tree's requests never asks.
    ///
    /// # Errors
    /// ENOTCONN where something else is mounted by now, or nothing.
    pub fn root(&self) -> io::Result<OwnedFd> {
        let root = fd::open_directory(&self.mountpoint)?;
        let place = Place::of(root.as_fd())?;
        let is_ours = match self.device.get() {
            Some(device) => place.device() == *device,
            // The table of mounts may be long.
            None => {
                let mount = mountinfo::find(fd::mount_id(&root)?)?;
                mount.is_some_and(|mount| mount.fs_type == self.fs_type && mount.source == self.source)
            }
        };
        if !place.is_mount_root || !is_ours {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the tree is not mounted there any more"));
        }
        self.device.get_or_init(|| place.device());
        Ok(root.into())
    }

    /// Whether a directory lies in the tree.
    ///
    /// # Errors
    /// As [`Tree::root`].
    pub fn holds(&self, directory: BorrowedFd<'_>) -> io::Result<bool> {
        let root = self.root()?;
        Ok(Place::of(directory)?.device() == Place::of(root.as_fd())?.device())
    }
}
