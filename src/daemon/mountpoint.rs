//! What lies at the place where somebody wants to mount.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;
use crate::sys::errno::say;
use crate::sys::lock::DirectoryLock;
use crate::sys::mountinfo;

use super::FS_TYPE;

/// How long a mount of ours gets to show that it lives.
const PROBE: Duration = Duration::from_secs(5);

/// How many dead mounts on top of each other are cleared away.
const MAX_DEAD: usize = 64;

/// A directory to mount on, by the name that the kernel has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mountpoint(PathBuf);

/// What is mounted there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing: it is a plain directory.
    Nothing,
    /// A store is, and it answers (or is too busy to, which is not being dead).
    Live {
        /// The store.
        store: PathBuf,
    },
    /// One of our mounts is, and nobody will ever answer for it.
    Dead,
    /// Something that is not ours is.
    Other {
        /// Its type.
        fs_type: String,
    },
}

/// Why nothing can be mounted at a path.
#[derive(Debug)]
pub enum MountpointError {
    /// There is no such path.
    Missing(PathBuf),
    /// It is not a directory.
    NotADirectory(PathBuf),
    /// A store is mounted there already.
    Occupied {
        /// The path.
        mountpoint: PathBuf,
        /// The store.
        store: PathBuf,
    },
    /// Somebody else holds the directory's lock, as whoever mounts there does.
    Contended(PathBuf),
    /// More dead mounts lie there than are cleared away.
    TooManyDead(PathBuf),
    /// The kernel would not say, or would not take a dead mount away.
    Kernel(PathBuf, io::Error),
}

impl fmt::Display for MountpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => {
                write!(f, "{}: no such directory to mount on", path.display())
            }
            Self::NotADirectory(path) => {
                write!(f, "{}: not a directory, so nothing can be mounted on it", path.display())
            }
            Self::Occupied { mountpoint, store } => {
                write!(f, "{}: the store {} is mounted there (unmount it first)", mountpoint.display(), store.display())
            }
            Self::Contended(path) => {
                write!(f, "{}: another process is about to mount there (it has the directory locked)", path.display())
            }
            Self::TooManyDead(path) => {
                write!(f, "{}: more than {MAX_DEAD} dead mounts lie there", path.display())
            }
            Self::Kernel(path, error) => write!(f, "{}: {}", path.display(), say(error)),
        }
    }
}

impl std::error::Error for MountpointError {}

impl Mountpoint {
    /// Finds the directory, asking nothing of what is mounted on it.
    pub fn resolve(path: &Path) -> Result<Self, MountpointError> {
        let name = sys::fd::open_directory(path).and_then(sys::fd::path_of).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => MountpointError::Missing(path.into()),
            io::ErrorKind::NotADirectory => MountpointError::NotADirectory(path.into()),
            _ => MountpointError::Kernel(path.into(), error),
        })?;
        Ok(Self(name))
    }

    /// The path, absolute and free of symlinks.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What is mounted here now.
    pub fn inspect(&self) -> Result<Found, MountpointError> {
        let mounted = mountinfo::mounted_at(&self.0).map_err(|error| MountpointError::Kernel(self.0.clone(), error))?;
        Ok(match mounted {
            None => Found::Nothing,
            Some(mount) if mount.fs_type != FS_TYPE => Found::Other { fs_type: mount.fs_type },
            Some(_) if is_dead(&self.0) => Found::Dead,
            Some(mount) => Found::Live { store: mount.source },
        })
    }

    /// Clears the place for a mount, and keeps others like us from mounting there meanwhile: two
    /// stores would lie upon each other.
    pub fn claim(&self) -> Result<Option<DirectoryLock>, MountpointError> {
        // Before the lock, since a dead mount cannot be opened; and after it, for what came meanwhile.
        self.clear()?;
        let deadline = Instant::now() + PROBE;
        let lock = loop {
            match DirectoryLock::try_lock(&self.0) {
                Ok(Some(lock)) => break Some(lock),
                Ok(None) if Instant::now() >= deadline => return Err(MountpointError::Contended(self.0.clone())),
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                // One may mount on a directory that one may not read.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break None,
                Err(error) => return Err(MountpointError::Kernel(self.0.clone(), error)),
            }
        };
        self.clear()?;
        Ok(lock)
    }

    /// Takes away the dead mounts of ours; a live one is a refusal, anything else may stay.
    fn clear(&self) -> Result<(), MountpointError> {
        for _ in 0..MAX_DEAD {
            match self.inspect()? {
                Found::Nothing | Found::Other { .. } => return Ok(()),
                Found::Live { store } => {
                    let mountpoint = self.0.clone();
                    return Err(MountpointError::Occupied { mountpoint, store });
                }
                Found::Dead => {
                    sys::mount::detach(&self.0).map_err(|error| MountpointError::Kernel(self.0.clone(), error))?
                }
            }
        }
        Err(MountpointError::TooManyDead(self.0.clone()))
    }
}

/// Whether this store is mounted on this path, in our mount namespace, dead or alive.
pub fn is_mounted(store: &Path, mountpoint: &Path) -> bool {
    mountinfo::read()
        .unwrap_or_default()
        .iter()
        .any(|mount| mount.fs_type == FS_TYPE && mount.source == store && mount.mount_point == mountpoint)
}

// On a thread, since a live server may be slow; a thread left behind ends when it is answered.
fn is_dead(path: &Path) -> bool {
    let (tell, told) = mpsc::channel();
    let path = path.to_owned();
    thread::spawn(move || tell.send(sys::mount::is_disconnected(&path)));
    told.recv_timeout(PROBE).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        let at = |path: &str| Mountpoint::resolve(Path::new(path));
        assert_eq!(at("/proc").unwrap().inspect().unwrap(), Found::Other { fs_type: "proc".into() });
        assert_eq!(at("/proc/self/").unwrap().inspect().unwrap(), Found::Nothing);
        assert!(matches!(at("/proc/version"), Err(MountpointError::NotADirectory(_))));
        assert!(matches!(at("/proc/none"), Err(MountpointError::Missing(_))));
    }
}
