//! A store that is named as people like: by the mountpoint of its tree or by its own directory.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::tree::{At, Tree};

/// The argument that names a store.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The mountpoint of a tree, or a store's directory [default: $CTRFS_AT, else the only tree mounted]
    #[arg(value_name = "MOUNTPOINT|STORE")]
    target: Option<PathBuf>,
}

/// Where a store is acted on.
#[derive(Debug)]
pub(crate) enum Where {
    /// Through its tree.
    Tree(Tree),
    /// In its directory, for it is not mounted.
    Store(PathBuf),
}

impl Target {
    /// Finds it. A store that is mounted is acted on through its tree.
    pub(crate) fn find(self) -> Result<Where, Error> {
        let Some(named) = self.target else { return Tree::find(At::default()).map(Where::Tree) };
        let dir = fs::canonicalize(&named).map_err(|cause| Error::Directory { dir: named, cause })?;
        Ok(match Tree::mounted_at(&dir)?.map_or_else(|| Tree::of_store(&dir), |tree| Ok(Some(tree)))? {
            Some(tree) => Where::Tree(tree),
            None => Where::Store(dir),
        })
    }
}

impl Where {
    /// The mountpoint or the store, for people.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Where::Tree(tree) => tree.root(),
            Where::Store(dir) => dir,
        }
    }
}
