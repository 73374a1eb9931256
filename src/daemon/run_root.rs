//! RUNROOT: a private tmpfs for what a reboot, or the end of the mount, may take away.

use std::env;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::sys;
use crate::sys::errno::say;
use crate::sys::lock::DirectoryLock;
use crate::sys::mountinfo;

/// The source of the tmpfs in mountinfo, by which one of a dead keeper is known.
const SOURCE: &str = "ctrfs-run";

/// The directory with its tmpfs; [`RunRoot::remove`] takes both away.
#[derive(Debug)]
pub struct RunRoot {
    path: PathBuf,
    /// Held on the root of the tmpfs, so that nobody takes it for one of a dead keeper.
    lock: DirectoryLock,
}

/// Why the directory could not be made ready.
#[derive(Debug)]
pub enum RunRootError {
    /// It cannot be made.
    Make(PathBuf, io::Error),
    /// Something else has the name: a file, a symlink, or somebody else's directory.
    NotOurs(PathBuf),
    /// A living keeper uses it: that of a store with the same UUID, or with the same option.
    InUse(PathBuf),
    /// The tmpfs cannot be mounted.
    Mount(PathBuf, io::Error),
}

impl fmt::Display for RunRootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make(path, error) => {
                write!(f, "the run root {} cannot be made: {}", path.display(), say(error))
            }
            Self::NotOurs(path) => {
                write!(f, "the run root {} is not a directory that belongs to this user", path.display())
            }
            Self::InUse(path) => write!(
                f,
                "the run root {} is in use by another mount; if this store is a copy, choose \
                 another with -o runroot=",
                path.display()
            ),
            Self::Mount(path, error) => {
                write!(f, "no tmpfs can be mounted on the run root {}: {}", path.display(), say(error))?;
                if error.kind() == io::ErrorKind::PermissionDenied {
                    f.write_str(
                        " (to mount one must be root, or in a namespace of \
                         `unshare --user --map-root-user --mount`)",
                    )?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for RunRootError {}

/// Where RUNROOT is if no option says so.
pub fn default_path(uuid: &str) -> PathBuf {
    if sys::host::is_host_root() {
        return format!("/run/ctrfs-{uuid}").into();
    }
    // The variable outlives the directory: after `su`, and after the user's last session.
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute() && path.is_dir()) {
        Some(directory) => directory.join(format!("ctrfs-{uuid}")),
        None => format!("/tmp/ctrfs-{}-{uuid}", sys::process::owner().0).into(),
    }
}

impl RunRoot {
    /// Makes the directory and mounts the tmpfs; what a dead keeper left there is detached first.
    pub fn prepare(path: &Path) -> Result<Self, RunRootError> {
        make_directory(path)?;
        let failed = |error| RunRootError::Mount(path.into(), error);
        while is_run_root(path).map_err(failed)? {
            if DirectoryLock::try_lock(path).map_err(failed)?.is_none() {
                return Err(RunRootError::InUse(path.into()));
            }
            sys::mount::detach(path).map_err(failed)?;
        }
        Self::mount(path).map_err(|error| {
            let _ = fs::remove_dir(path);
            failed(error)
        })
    }

    fn mount(path: &Path) -> io::Result<Self> {
        sys::mount::private_tmpfs(SOURCE, path)?;
        match DirectoryLock::try_lock(path) {
            Ok(Some(lock)) => Ok(Self { path: path.into(), lock }),
            Ok(None) => Err(io::ErrorKind::ResourceBusy.into()),
            Err(error) => {
                let _ = sys::mount::detach(path);
                Err(error)
            }
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Detaches the tmpfs with all mounts in it and removes the directory; goes on after a failure.
    pub fn remove(self) -> Vec<io::Error> {
        let detached = match is_run_root(&self.path) {
            Ok(true) => sys::mount::detach(&self.path),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        drop(self.lock);
        [detached, fs::remove_dir(&self.path)].into_iter().filter_map(Result::err).collect()
    }
}

// In /tmp anybody may have been there before us.
fn make_directory(path: &Path) -> Result<(), RunRootError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| RunRootError::Make(path.into(), error))?;
    let found = fs::symlink_metadata(path).map_err(|error| RunRootError::Make(path.into(), error))?;
    if found.is_dir() && found.uid() == sys::process::owner().0 {
        Ok(())
    } else {
        Err(RunRootError::NotOurs(path.into()))
    }
}

fn is_run_root(path: &Path) -> io::Result<bool> {
    let mounted = mountinfo::mounted_at(path)?;
    Ok(mounted.is_some_and(|mount| mount.fs_type == "tmpfs" && mount.source == Path::new(SOURCE)))
}
