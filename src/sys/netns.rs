//! What kind of namespace a file is.
#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// `NS_GET_NSTYPE` of `linux/nsfs.h`: `_IO(0xb7, 3)`.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// Whether a path leads to a network namespace (Linux 4.11 and later can tell).
///
/// # Errors
/// What open(2) says. A FIFO does not block it.
pub fn is_network_namespace(path: &Path) -> io::Result<bool> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    // SAFETY: the request takes no argument and only returns a number; the descriptor is open.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    Ok(kind == libc::CLONE_NEWNET)
}
