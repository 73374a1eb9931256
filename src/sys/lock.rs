//! Locks by flock(2): of a file whose content says who holds it, and of a directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};

/// A lock file that this process holds; dropped, the lock is free and the file empty.
///
/// The lock lives as long as any copy of the descriptor, in whatever process, is open.
#[derive(Debug)]
pub struct LockFile(Flock<File>);

/// What became of an attempt to lock.
#[derive(Debug)]
pub enum Attempt {
    /// The lock is ours.
    Held(LockFile),
    /// Somebody else holds it, and this is what they wrote about themselves.
    Taken(Vec<u8>),
}

impl LockFile {
    /// Locks the file at `path`, made with mode 0600 if absent, and writes `note` into it.
    pub fn try_lock(path: &Path, note: &[u8]) -> io::Result<Attempt> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut held) => {
                write_note(&mut held, note)?;
                Ok(Attempt::Held(Self(held)))
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut text = Vec::new();
                file.read_to_end(&mut text)?;
                Ok(Attempt::Taken(text))
            }
            Err((_, errno)) => Err(errno.into()),
        }
    }
}

/// A directory that this process has locked (flock(2)), until it is dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    _held: Flock<File>,
}

impl DirectoryLock {
    /// Locks the directory at `path`; `None` if somebody else has.
    pub fn try_lock(path: &Path) -> io::Result<Option<Self>> {
        match Flock::lock(File::open(path)?, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Ok(Some(Self { _held: held })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }
}

/// A lock that keeps holders of the lock file away, but not others who share it.
#[derive(Debug)]
pub struct SharedLock {
    _held: Option<Flock<File>>,
}

impl SharedLock {
    /// Shares the lock of the file at `path` and writes nothing; `Err` with the holder's note when
    /// somebody holds it. A file that is not there is held by nobody.
    pub fn try_lock(path: &Path) -> io::Result<Result<Self, Vec<u8>>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(Self { _held: None })),
            Err(error) => return Err(error),
        };
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(held) => Ok(Ok(Self { _held: Some(held) })),
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut text = Vec::new();
                file.read_to_end(&mut text)?;
                Ok(Err(text))
            }
            Err((_, errno)) => Err(errno.into()),
        }
    }
}

/// A lock of the kind that fcntl(2) makes, shared with others who only read, until it is dropped.
#[derive(Debug)]
pub struct ReadLock {
    _held: File,
}

impl ReadLock {
    /// Waits for the lock of the file at `path`. As one of an open file (F_OFD_SETLKW) it does not end
    /// when this process closes another copy of the file; those of processes heed it all the same.
    pub fn wait(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let whole =
            libc::flock { l_type: libc::F_RDLCK as _, l_whence: libc::SEEK_SET as _, l_start: 0, l_len: 0, l_pid: 0 };
        loop {
            match fcntl(&file, FcntlArg::F_OFD_SETLKW(&whole)) {
                Err(Errno::EINTR) => {}
                done => return done.map(|_| Self { _held: file }).map_err(Into::into),
            }
        }
    }
}

fn write_note(file: &mut File, note: &[u8]) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(note)
}

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // A stale note misleads nobody: it is only read while somebody holds the lock.
        let _ = self.0.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_learns_who_holds_it() {
        let path = std::env::temp_dir().join(format!("ctrfs-lock-test-{}", std::process::id()));
        let Attempt::Held(held) = LockFile::try_lock(&path, b"first\n").unwrap() else {
            panic!("a new file was locked")
        };
        match LockFile::try_lock(&path, b"second\n").unwrap() {
            Attempt::Taken(note) => assert_eq!(note, b"first\n"),
            Attempt::Held(_) => panic!("locked twice"),
        }
        drop(held);
        assert!(matches!(LockFile::try_lock(&path, b"third\n").unwrap(), Attempt::Held(_)));
        std::fs::remove_file(path).unwrap();
    }
}
