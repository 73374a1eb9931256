//! Trees written as tar streams, and what a writable layer changed.
//!
//! ```text
//! a tree             -> write_tree  ─┐
//! an upper + lowers  -> write_layer ─┴─> archive -> header     bytes: the same for the same tree
//!                    -> changes     ───> A, C, D
//!                    -> commit      ───> write_layer | unpack, the image's documents continued
//! ```
//!
//! Nothing is written to a tree, and nothing is mounted here: trees come as descriptors, the lowers
//! as one tree, merged. A tree may be in use meanwhile: what vanishes is left out, and a file that
//! shrinks is filled up with zeros, so that a stream is always whole.

mod archive;
mod changes;
mod commit;
mod header;
mod layer;
mod tree;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use changes::{Change, ChangeKind, changes};
pub use commit::{Author, CommitError, Documents, Sources, documents, unpack_layer};
pub use layer::write_layer;
pub use tree::{Names, write_tree};

use super::walk::Walk;
use crate::sys::errno::say;
use crate::sys::walk::Dir;

/// Why a tree was not written, or not compared.
#[derive(Debug)]
pub enum ExportError {
    /// An entry cannot be read.
    Entry {
        /// Where it is, from the top of the tree.
        path: PathBuf,
        /// What the kernel says.
        cause: io::Error,
    },
    /// The stream cannot be written.
    Output(io::Error),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExportError::Entry { path, cause } => write!(f, "/{} cannot be read: {}", path.display(), say(cause)),
            ExportError::Output(cause) => write!(f, "the archive cannot be written: {}", say(cause)),
        }
    }
}

impl std::error::Error for ExportError {}

/// What a stream does not hold, or not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// No archive can hold a socket.
    Socket(PathBuf),
    /// Something is mounted there: a directory is written without its entries, else nothing is.
    Mount(PathBuf),
    /// The file became shorter while it was read; zeros follow.
    Shrank(PathBuf),
    /// The xattr's name cannot stand in an archive.
    Xattr(PathBuf, String),
    /// In a layer the name would mean that something is removed.
    Reserved(PathBuf),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Socket(path) => write!(f, "/{}: a socket, left out", path.display()),
            Warning::Mount(path) => write!(f, "/{}: what is mounted there is left out", path.display()),
            Warning::Shrank(path) => write!(f, "/{}: became shorter meanwhile, zeros follow", path.display()),
            Warning::Xattr(path, name) => write!(f, "/{}: xattr {name:?} left out", path.display()),
            Warning::Reserved(path) => write!(f, "/{}: the name means a removal in a layer, left out", path.display()),
        }
    }
}

/// Who hears warnings.
pub type Warn<'a> = &'a mut dyn FnMut(Warning);

/// overlayfs's own xattrs: `user.overlay.*` where it was mounted with `userxattr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Whether it was.
    pub userxattr: bool,
}

impl Marks {
    /// Whether a directory hides what lower layers have in it.
    fn is_opaque(self, dir: &Dir) -> io::Result<bool> {
        dir.has_xattr(if self.userxattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" }, b"y")
    }
}

/// Whether an xattr belongs to the place where a file lies, not to the file.
fn is_local_xattr(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") || name == b"security.selinux"
}

/// An error at the walk's current entry.
fn at<T, N>(walk: &Walk<N>, result: io::Result<T>) -> Result<T, ExportError> {
    result.map_err(|cause| ExportError::Entry { path: path(walk.path()), cause })
}

fn path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(bytes).into()
}
