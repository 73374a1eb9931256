//! File descriptors: handing them to a child, waiting on them, asking what they are.
#![allow(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use rustix::process::{Resource, Rlimit};

/// Whether flags of open(2) have O_APPEND.
pub fn is_append(flags: i32) -> bool {
    flags & libc::O_APPEND != 0
}

/// Whether flags of open(2) have O_EXCL.
pub fn is_exclusive(flags: i32) -> bool {
    flags & libc::O_EXCL != 0
}

/// Whether flags of open(2) have O_TRUNC.
pub fn is_truncating(flags: i32) -> bool {
    flags & libc::O_TRUNC != 0
}

/// A copy of `fd` that a child process inherits; drop it once the child runs.
pub fn inheritable(fd: impl AsFd) -> io::Result<OwnedFd> {
    // dup(2) is the one way to a descriptor that is born without FD_CLOEXEC.
    Ok(nix::unistd::dup(fd)?)
}

/// Takes over the descriptor that the parent process passed under this number.
///
/// Fails with EBADF when there is none. Each number can be taken once: whatever this process opens
/// itself, and whatever was taken before, has FD_CLOEXEC and is refused with EINVAL.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(Errno::EINVAL.into());
    }
    // SAFETY: the number is only asked for its flags; fcntl(2) answers EBADF if it is not open.
    let flags = fcntl(unsafe { BorrowedFd::borrow_raw(number) }, FcntlArg::F_GETFD)?;
    if FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC) {
        return Err(Errno::EINVAL.into());
    }
    // SAFETY: it is open, and nobody here owns it: everything opened by this process is born with
    // FD_CLOEXEC, but for `inheritable`, whose copies are owned and closed by the one who spawns.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(fd)
}

/// Closes whatever else the parent process left open for us by accident.
pub fn close_inherited() -> io::Result<()> {
    let numbers: Vec<RawFd> =
        fs::read_dir("/proc/self/fd")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for number in numbers {
        // Refused for the standard streams and for what this process opened itself.
        drop(inherited(number));
    }
    Ok(())
}

/// Makes the number of `target` refer to what `source` refers to (dup3(2)), with FD_CLOEXEC.
///
/// What `target` referred to before is closed; its owner now reads and writes `source`.
pub fn redirect(source: impl AsFd, target: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both numbers are open for the length of the call. The number of `target` stays open
    // and keeps its owner, who closes it once, as before.
    let result = unsafe { libc::dup3(source.as_fd().as_raw_fd(), target.as_raw_fd(), libc::O_CLOEXEC) };
    Errno::result(result)?;
    Ok(())
}

/// Two connected sockets that keep the borders of messages and tell when the other end is gone.
pub fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Opens a directory for naming it only (O_PATH): asks nothing of the filesystem it is on, so it
/// works on the root of a dead mount, too.
pub fn open_directory(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(path)
}

/// Opens a regular file below a directory for reading, by a path that no symlink is part of; EINVAL if
/// it is of another kind.
pub fn open_file_inside(directory: impl AsFd, path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, ResolveFlags};
    // A FIFO would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file: File = rustix::fs::openat2(directory, path, flags, Mode::empty(), how)?.into();
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(Errno::EINVAL.into()),
    }
}

/// Makes durable all that was written to the filesystem of an open file (syncfs(2)).
pub fn sync_filesystem(fd: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::syncfs(fd)?)
}

/// The path of an open file, as the kernel names it now.
pub fn path_of(fd: impl AsFd) -> io::Result<PathBuf> {
    fs::read_link(proc_path("fd", &fd))
}

/// The ID of the mount that an open file is on, as in `/proc/self/mountinfo`.
pub fn mount_id(fd: impl AsFd) -> io::Result<u64> {
    let text = fs::read_to_string(proc_path("fdinfo", &fd))?;
    text.lines()
        .find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "fdinfo without mnt_id"))
}

fn proc_path(directory: &str, fd: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/{directory}/{}", fd.as_fd().as_raw_fd()))
}

/// Waits until one of `fds` can be read, has failed or has been hung up; says for each whether so.
///
/// All false after `timeout`; with `None` it waits for ever. EINTR counts as an early timeout.
pub fn wait_readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    poll(&mut polled, timeout)?;
    Ok(polled.iter().map(|fd| !fd.revents().unwrap_or(PollFlags::empty()).is_empty()).collect())
}

/// Lets this process have as many descriptors as it may give itself.
pub fn raise_limit() -> io::Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    Ok(rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// Whether `fd` is in the error state now (POLLERR); for `/dev/fuse`: its connection is gone.
pub fn has_failed(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut polled = [PollFd::new(fd, PollFlags::empty())];
    poll(&mut polled, Some(Duration::ZERO))?;
    let events = polled[0].revents().unwrap_or(PollFlags::empty());
    Ok(events.contains(PollFlags::POLLERR))
}

fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    let timeout = match timeout {
        None => PollTimeout::NONE,
        // Rounded up: a wait of half a millisecond must not become a busy loop.
        Some(limit) => PollTimeout::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX),
    };
    match nix::poll::poll(fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
