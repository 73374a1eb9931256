//! RUNROOT: a private tmpfs for what a reboot, or the end of the mount, may take away.

use std::env;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::sys;
use crate::sys::mountinfo;

/// The source of the tmpfs in mountinfo, by which one of a dead keeper is known.
const SOURCE: &str = "ctrfs-run";

/// The directory with its tmpfs; [`RunRoot::remove`] takes both away.
#[derive(Debug)]
pub struct RunRoot(PathBuf);

/// Why the directory could not be made ready.
#[derive(Debug)]
pub enum RunRootError {
    /// It cannot be made.
    Make(PathBuf, io::Error),
    /// Something else has the name: a file, a symlink, or somebody else's directory.
    NotOurs(PathBuf),
    /// The tmpfs cannot be mounted.
    Mount(PathBuf, io::Error),
}

impl fmt::Display for RunRootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make(path, error) => {
                write!(f, "the run root {} cannot be made: {error}", path.display())
            }
            Self::NotOurs(path) => write!(
                f,
                "the run root {} is not a directory that belongs to this user",
                path.display()
            ),
            Self::Mount(path, error) => {
                write!(
                    f,
                    "no tmpfs can be mounted on the run root {}: {error}",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for RunRootError {}

/// Where RUNROOT is if no option says so.
pub fn default_path(uuid: &str) -> PathBuf {
    let (uid, _) = sys::process::owner();
    match env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty()) {
        _ if sys::host::is_host_root() => format!("/run/ctrfs-{uuid}").into(),
        Some(directory) => Path::new(&directory).join(format!("ctrfs-{uuid}")),
        None => format!("/tmp/ctrfs-{uid}-{uuid}").into(),
    }
}

impl RunRoot {
    /// Makes the directory and mounts the tmpfs; what a dead keeper left there is detached first.
    pub fn prepare(path: &Path) -> Result<Self, RunRootError> {
        make_directory(path)?;
        clear(path).map_err(|error| RunRootError::Mount(path.into(), error))?;
        sys::mount::private_tmpfs(SOURCE, path).map_err(|error| {
            let _ = fs::remove_dir(path);
            RunRootError::Mount(path.into(), error)
        })?;
        Ok(Self(path.into()))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Detaches the tmpfs with all mounts in it and removes the directory; goes on after a failure.
    pub fn remove(self) -> Vec<io::Error> {
        [clear(&self.0), fs::remove_dir(&self.0)]
            .into_iter()
            .filter_map(Result::err)
            .collect()
    }
}

// In /tmp anybody may have been there before us.
fn make_directory(path: &Path) -> Result<(), RunRootError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| RunRootError::Make(path.into(), error))?;
    let found =
        fs::symlink_metadata(path).map_err(|error| RunRootError::Make(path.into(), error))?;
    if found.is_dir() && found.uid() == sys::process::owner().0 {
        Ok(())
    } else {
        Err(RunRootError::NotOurs(path.into()))
    }
}

fn clear(path: &Path) -> io::Result<()> {
    while let Some(mount) = mountinfo::mounted_at(path)? {
        if mount.fs_type != "tmpfs" || mount.source != Path::new(SOURCE) {
            return Ok(());
        }
        sys::mount::detach(path)?;
    }
    Ok(())
}
