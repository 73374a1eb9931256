//! The directory of RUNROOT that a container has: small files that it is given, the host's that they are
//! made from, and what callers put beside them.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::id::Id;
use crate::sys;

/// The most bytes that are read of a file of the host's or of a rootfs; the rest is as if it were not there.
const MAX_BYTES: u64 = 1 << 20;

/// The directories of small files, below RUNROOT/run.
#[derive(Debug)]
pub struct RunFiles {
    root: PathBuf,
    /// Makes names of what is being deleted.
    discarded: AtomicU64,
}

impl RunFiles {
    /// The directories below a RUNROOT, made if they are absent.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn open(run_root: &Path) -> io::Result<RunFiles> {
        let root = run_root.join("run");
        make(&root)?;
        Ok(RunFiles { root, discarded: AtomicU64::new(0) })
    }

    /// The directory of one key.
    pub fn path(&self, key: Id) -> PathBuf {
        self.root.join(key.to_string())
    }

    /// Makes the directory of one key, if it is absent.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn make(&self, key: Id) -> io::Result<()> {
        make(&self.path(key))
    }

    /// Writes a file of a key's directory, mode 0644. One that is there is another's now and stays, unless
    /// it is to be written `anew`.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn write(&self, key: Id, name: &str, content: &str, anew: bool) -> io::Result<()> {
        let path = self.path(key);
        let directory = match sys::beneath::directory(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(&path)?;
                sys::beneath::directory(&path)?
            }
            opened => opened?,
        };
        if anew {
            accept_missing(fs::remove_file(path.join(name)))?;
        }
        match sys::beneath::put_file(&directory, name.as_bytes(), 0o644, content.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            written => written,
        }
    }

    /// Removes files of a key's directory, and the directory unless callers have put something there.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn remove(&self, key: Id, names: &[&str]) -> io::Result<()> {
        let directory = self.path(key);
        names.iter().try_for_each(|name| accept_missing(fs::remove_file(directory.join(name))))?;
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => accept_missing(removed),
        }
    }

    /// Whether a key has a directory.
    pub fn has(&self, key: Id) -> bool {
        self.path(key).exists()
    }

    /// The keys that have directories. What has no key for a name is rubbish.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn keys(&self) -> io::Result<Vec<Id>> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            keys.extend(entry?.file_name().to_str().and_then(Id::parse));
        }
        Ok(keys)
    }

    /// Takes a key's directory, with what is in it, out of the way of the next of that key. It is deleted
    /// by [`RunFiles::empty_trash`].
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn discard(&self, key: Id) -> io::Result<()> {
        let number = self.discarded.fetch_add(1, Ordering::Relaxed);
        let aside = self.root.join(format!("trash-{}-{number}", std::process::id()));
        accept_missing(fs::rename(self.path(key), aside))
    }

    /// What lies beside the keys' directories and is being deleted.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn trash(&self) -> io::Result<Vec<PathBuf>> {
        let mut trash = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_str().and_then(Id::parse).is_none() {
                trash.push(entry.path());
            }
        }
        Ok(trash)
    }

    /// Deletes what is no key's. Goes on after a failure and tells the first.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn empty_trash(&self) -> io::Result<()> {
        let root = File::open(&self.root)?;
        let mut first = Ok(());
        for path in self.trash()? {
            let name = path.file_name().unwrap_or_default().as_bytes();
            first = first.and(sys::beneath::remove_tree(&root, name).map(drop));
        }
        first
    }
}

/// The host's resolver file: systemd-resolved's own where it runs, for /etc/resolv.conf then names a
/// server that only the host can reach. "" where there is none.
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
    host_file(Path::new("/etc/hosts"))
}

/// A small text file of a mounted rootfs; `None` where there is none. Symlinks are followed as the
/// container would; what is no regular file is none.
pub fn of_rootfs(rootfs: &Path, name: &str) -> Option<String> {
    let root = sys::beneath::directory(rootfs).ok()?;
    let file = sys::beneath::file_in_root(&root, name.as_bytes()).ok()??;
    whole_lines(file).ok()
}

fn host_file(path: &Path) -> io::Result<String> {
    match File::open(path).and_then(whole_lines) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {}", path.display(), sys::errno::say(&error)))),
        text => text,
    }
}

/// The lines of a file that end within its first [`MAX_BYTES`]: half a line would say something else.
fn whole_lines(file: File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        bytes.pop();
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn accept_missing(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => fs::metadata(path).map(drop),
    }
}
