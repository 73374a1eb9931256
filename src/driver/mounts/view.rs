//! Views: clones of primaries on directories of a tree that is served by this very program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::MountError;
use crate::sys::mounting::{self, Attributes, Place};

pub(super) fn show(primary: BorrowedFd<'_>, root: BorrowedFd<'_>, at: &Path) -> Result<(), MountError> {
    let wanted = Place::of(primary).map_err(MountError::step("look at", "the mount to show"))?;
    let tree = Place::of(root).map_err(MountError::step("look at", "the root of the tree"))?;
    loop {
        let directory = mounting::open_beneath(root, at).map_err(MountError::step("open", at))?;
        let there = Place::of(directory.as_fd()).map_err(MountError::step("look at", at))?;
        if there.mount == tree.mount {
            return put(primary, root, directory.as_fd(), at);
        }
        if there.inode == wanted.inode {
            return Ok(());
        }
        // The view of a primary that is gone.
        mounting::detach(directory.as_fd()).map_err(MountError::step("unmount", at))?;
    }
}

fn put(primary: BorrowedFd<'_>, root: BorrowedFd<'_>, directory: BorrowedFd<'_>, at: &Path) -> Result<(), MountError> {
    let trees = Attributes::of(root).map_err(MountError::step("look at", "the root of the tree"))?;
    // Any user of the host can walk here: an image's set-user-ID files must be plain files.
    let harmless = Attributes { no_suid: true, no_dev: true, ..trees };
    let clone = mounting::cloned(primary).map_err(MountError::step("clone the mount for", at))?;
    mounting::restrict(clone.as_fd(), harmless).map_err(MountError::step("restrict", at))?;
    mounting::attach(clone.as_fd(), directory).map_err(MountError::step("mount", at))
}

pub(super) fn hide(root: BorrowedFd<'_>, at: &Path) -> Result<Vec<OwnedFd>, MountError> {
    let tree = Place::of(root).map_err(MountError::step("look at", "the root of the tree"))?;
    let mut hidden = Vec::new();
    // A mountpoint and the directories above it are pinned in the kernel's cache: what is not
    // there is not mounted.
    while let Some(directory) = mounting::open_cached(root, at).map_err(MountError::step("open", at))? {
        let there = Place::of(directory.as_fd()).map_err(MountError::step("look at", at))?;
        if there.mount == tree.mount || !there.is_mount_root {
            break;
        }
        mounting::detach(directory.as_fd()).map_err(MountError::step("unmount", at))?;
        hidden.push(directory);
    }
    Ok(hidden)
}
