//! A whole tree as a tar stream.

use std::io::Write;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use super::archive::Archive;
use super::{ExportError, Warn, Warning, at, path};
use crate::driver::walk::{Step, Walk};
use crate::sys::walk::{Dir, Kind};

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// For tar: every name stands for itself.
    All,
    /// For a layer: names that begin with `.wh.` are left out.
    Layer,
}

/// How the names of removed entries begin in a layer.
pub(super) const WHITEOUT: &[u8] = b".wh.";

/// Writes the tree below a directory, the directory itself first. The same tree gives the same bytes:
/// names are sorted, and nothing depends on where or when it is written. Files with holes are written
/// with their holes, so two trees are the same if their holes are, too.
///
/// # Errors
/// What cannot be read or written; the stream is then to be thrown away.
pub fn write_tree(root: BorrowedFd<'_>, names: Names, out: &mut dyn Write, warn: Warn<'_>) -> Result<(), ExportError> {
    let top = |cause| ExportError::Entry { path: path(b""), cause };
    let root = Dir::of(root).map_err(top)?;
    let mut archive = Archive::new(out, warn);
    archive.entry(b".", &root.pin_self().map_err(top)?, &root.meta().map_err(top)?)?;
    let mut walk = Walk::new(root, ()).map_err(top)?;
    while let Some(step) = next(&mut walk)? {
        let Step::Entry = step else { continue };
        let pinned = walk.dir().pin(walk.name());
        let Some(pinned) = at(&walk, pinned)? else { continue };
        let meta = at(&walk, pinned.meta())?;
        if names == Names::Layer && walk.name().as_bytes().starts_with(WHITEOUT) {
            archive.warn(Warning::Reserved(path(walk.path())));
            continue;
        }
        if meta.is_mount {
            archive.warn(Warning::Mount(path(walk.path())));
        }
        if meta.kind == Kind::Directory {
            archive.entry(walk.path(), &pinned, &meta)?;
            let entered = walk.enter(());
            at(&walk, entered)?;
        } else if !meta.is_mount {
            archive.entry(walk.path(), &pinned, &meta)?;
        }
    }
    archive.finish()
}

/// The walk's next step, or an error at the directory where it stands.
pub(super) fn next<T>(walk: &mut Walk<T>) -> Result<Option<Step<T>>, ExportError> {
    let step = walk.next();
    at(walk, step)
}
