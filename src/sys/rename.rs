//! Renames that replace nothing, and directories made to last.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags};

/// Renames `from` to `to`, where nothing may be (RENAME_NOREPLACE).
///
/// # Errors
/// EEXIST where something is.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

/// Waits until the entries of a directory are on disk.
///
/// # Errors
/// What the kernel says.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
