//! What a mount has made on its way, taken back unless it succeeds.

use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::MountError;

/// Directories and files made so far. Dropping it removes them, newest first; directories only if
/// they are empty.
#[derive(Debug, Default)]
pub(super) struct Undo {
    directories: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Undo {
    /// Makes a directory with exactly this mode; says whether it was not there before.
    pub(super) fn directory(&mut self, path: &Path, mode: u32) -> Result<bool, MountError> {
        match DirBuilder::new().mode(mode).create(path) {
            Ok(()) => self.directories.push(path.to_owned()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(MountError::step("make", path)(error)),
        }
        // The umask may have taken bits away.
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(MountError::step("set the mode of", path))?;
        Ok(true)
    }

    /// Names a directory that the kernel may make.
    pub(super) fn expect_directory(&mut self, path: PathBuf) {
        self.directories.push(path);
    }

    /// Writes a file.
    pub(super) fn write(&mut self, path: &Path, text: &str) -> Result<(), MountError> {
        if !path.exists() {
            self.files.push(path.to_owned());
        }
        fs::write(path, text).map_err(MountError::step("write", path))
    }

    /// All went well.
    pub(super) fn keep(mut self) {
        self.directories.clear();
        self.files.clear();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // What cannot be removed is found by name when it is used again.
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        for directory in self.directories.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
}
