//! Small files that a container is given, in a directory of RUNROOT, and the host's that they are made from.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::model::id::Id;
use crate::sys;

/// The most bytes that are read of a file of the host's or of a rootfs.
const MAX_BYTES: u64 = 1 << 20;

/// The directories of small files, below RUNROOT/run.
#[derive(Debug)]
pub struct RunFiles {
    root: PathBuf,
}

impl RunFiles {
    /// The directories below a RUNROOT, made if they are absent.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn open(run_root: &Path) -> io::Result<RunFiles> {
        let root = run_root.join("run");
        make(&root)?;
        Ok(RunFiles { root })
    }

    /// The directory of one key.
    pub fn path(&self, key: Id) -> PathBuf {
        self.root.join(key.to_string())
    }

    /// Writes a file of a key's directory, mode 0644.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn write(&self, key: Id, name: &str, content: &str) -> io::Result<()> {
        let directory = self.path(key);
        let path = directory.join(name);
        let create = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&path);
        let mut file = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(&directory)?;
                create()?
            }
            result => result?,
        };
        io::Write::write_all(&mut file, content.as_bytes())
    }

    /// Removes a key's directory and what is in it.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn remove(&self, key: Id) -> io::Result<()> {
        match sys::beneath::remove_tree(File::open(&self.root)?, key.to_string().as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map(drop),
        }
    }
}

/// The host's resolver file: systemd-resolved's own where it runs, for /etc/resolv.conf then names a
/// server that only the host can reach.
///
/// # Errors
/// It cannot be read.
pub fn host_resolv_conf() -> io::Result<String> {
    let resolved = Path::new("/run/systemd/resolve/resolv.conf");
    host_file(if resolved.exists() { resolved } else { Path::new("/etc/resolv.conf") })
}

/// The host's table of hosts, "" where there is none.
///
/// # Errors
/// It cannot be read.
pub fn host_hosts() -> io::Result<String> {
    match host_file(Path::new("/etc/hosts")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result,
    }
}

/// A small text file of a mounted rootfs; `None` where there is none. Symlinks are followed as the
/// container would; what is no regular file is none.
pub fn of_rootfs(rootfs: &Path, name: &str) -> Option<String> {
    let root = sys::beneath::directory(rootfs).ok()?;
    let file = sys::beneath::file_in_root(&root, name.as_bytes()).ok()??;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn host_file(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => fs::metadata(path).map(drop),
    }
}
