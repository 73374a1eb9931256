//! The way into the tree that the views are attached in.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::sys::mounting::Place;
use crate::sys::{fd, mountinfo};

/// A mounted tree, as one finds it from outside.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// Its type in mountinfo.
    pub fs_type: &'static str,
    /// Its source in mountinfo.
    pub source: PathBuf,
}

impl Tree {
    /// The root directory of the tree. Whoever holds it keeps the tree from being unmounted, so nobody
    /// does for long; a thread that answers the tree's requests never asks.
    ///
    /// # Errors
    /// ENOTCONN where something else is mounted by now, or nothing.
    pub fn root(&self) -> io::Result<OwnedFd> {
        let root = fd::open_directory(&self.mountpoint)?;
        let place = Place::of(std::os::fd::AsFd::as_fd(&root))?;
        let mount = mountinfo::find(fd::mount_id(&root)?)?;
        let is_ours = mount.is_some_and(|mount| mount.fs_type == self.fs_type && mount.source == self.source);
        if !place.is_mount_root || !is_ours {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the tree is not mounted there any more"));
        }
        Ok(root.into())
    }
}
