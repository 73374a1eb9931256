//! Joining a FUSE connection that lives already.
//!
//! fuser 0.18 takes a descriptor and expects the kernel's INIT on it. A connection says INIT once,
//! and its first server had it. So fuser is given one end of a socket pair instead, INIT comes from
//! the other end, and then `/dev/fuse` is put in place of that end. This leans on details of fuser
//! 0.18 (it reads INIT in `Session::from_fd`, and all its threads use that one descriptor), which is
//! why Cargo.toml pins it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use fuser::{Config, Session, SessionACL};

pub use fuser::{Filesystem, Notifier};

use crate::sys;

/// A session that has joined its connection and is ready to run.
pub struct Joined<F: Filesystem> {
    session: Session<F>,
    /// Tells the kernel what has changed.
    pub notifier: Notifier,
}

/// Joins the connection of `device` with `filesystem`.
///
/// `init` is the kernel's INIT request; `first` says that nobody has answered it yet, as far as the
/// keeper knows.
pub fn join<F: Filesystem>(
    filesystem: F,
    device: OwnedFd,
    init: &[u8],
    first: bool,
    threads: usize,
) -> io::Result<Joined<F>> {
    let (ours, theirs) = UnixDatagram::pair()?;
    ours.send(init)?;
    let session = Session::from_fd(filesystem, theirs.into(), SessionACL::All, config(threads))?;

    let mut reply = vec![0; 4096];
    let length = ours.recv(&mut reply)?;
    if first {
        answer_init(&device, &reply[..length])?;
    }
    sys::fd::redirect(&device, session.as_fd())?;
    let notifier = session.notifier();
    Ok(Joined { session, notifier })
}

impl<F: Filesystem> Joined<F> {
    /// Serves requests until the filesystem is unmounted.
    pub fn run(self) -> io::Result<()> {
        self.session.run()
    }
}

/// Asks the kernel to send again what a dead server had read and not answered.
///
/// Kernels before 6.9 answer EINVAL; those requests then wait until somebody aborts the connection.
pub fn resend(device: impl AsFd) -> io::Result<()> {
    const FUSE_NOTIFY_RESEND: i32 = 7;
    // struct fuse_out_header: length, code in the place of the errno, unique 0 for a notification.
    let mut header = Vec::with_capacity(16);
    header.extend_from_slice(&16u32.to_ne_bytes());
    header.extend_from_slice(&FUSE_NOTIFY_RESEND.to_ne_bytes());
    header.extend_from_slice(&0u64.to_ne_bytes());
    write(&device, &header)
}

fn config(threads: usize) -> Config {
    // Config cannot be built in one expression outside fuser.
    let mut config = Config::default();
    config.acl = SessionACL::All;
    config.n_threads = Some(threads);
    // Requests read through a clone fail with ECONNABORTED when their server dies.
    config.clone_fd = false;
    config
}

fn answer_init(device: &OwnedFd, reply: &[u8]) -> io::Result<()> {
    match write(device, reply) {
        // The kernel knows of no such request: a server answered it and died before it said so.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

// One write is one message to the kernel.
fn write(device: &impl AsFd, message: &[u8]) -> io::Result<()> {
    File::from(device.as_fd().try_clone_to_owned()?).write_all(message)
}
