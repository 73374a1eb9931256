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
/// Where the tree keeps what open handles leave to the next server.
const HANDLES: &str = "handles";

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
    /// Makes the directory and mounts the tmpfs. One that is there already, of a keeper that died or that
    /// left it to containers which run, is taken over with all that is mounted in it.
    pub fn prepare(path: &Path) -> Result<Self, RunRootError> {
        make_directory(path)?;
        let failed = |error| RunRootError::Mount(path.into(), error);
        if is_run_root(path).map_err(failed)? {
            let lock = DirectoryLock::try_lock(path).map_err(failed)?;
            let lock = lock.ok_or_else(|| RunRootError::InUse(path.into()))?;
            // Of a connection that is dead, and so is whoever had them open.
            match fs::remove_dir_all(path.join(HANDLES)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
            return Ok(Self { path: path.into(), lock });
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

    /// Detaches the tmpfs and removes the directory, unless something is still mounted in it: containers
    /// run on that. Goes on after a failure.
    pub fn remove(self) -> Vec<io::Error> {
        let is_within =
            |mount: &mountinfo::Mount| mount.mount_point != self.path && mount.mount_point.starts_with(&self.path);
        match mountinfo::read() {
            Ok(mounts) if mounts.iter().any(is_within) => return vec![],
            Ok(_) => {}
            Err(error) => return vec![error],
        }
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
