//! This program, started again as another process: as the keeper, or as a server.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::time::{Duration, Instant};

use crate::sys;
use crate::sys::process::{PidFd, Stat};

use super::link::{self, FromKeeper, FromServer, KeeperLink, LinkError};

/// How long a process may be a zombie whose threads have not all ended, before it is given up.
const ZOMBIE_LIMIT: Duration = Duration::from_secs(1);

/// How long the last threads of a process that was killed may take.
const KILLED_LIMIT: Duration = Duration::from_millis(400);

/// The file that this process was started from.
#[derive(Debug, Clone)]
pub struct Program(PathBuf);

impl Program {
    /// Finds out the file; ask early, since it may be replaced later.
    pub fn this() -> io::Result<Self> {
        env::current_exe().map(Self)
    }

    /// The program that this process runs, whatever has become of its file.
    pub fn running() -> Self {
        Self("/proc/self/exe".into())
    }

    /// Starts a keeper. What it has to say comes over its standard output.
    pub fn start_keeper(&self, store: &Path, mountpoint: &Path, options: &str) -> io::Result<process::Child> {
        let arguments =
            [OsStr::new("keeper"), store.as_os_str(), mountpoint.as_os_str(), OsStr::new("-o"), OsStr::new(options)];
        self.spawn(|command| {
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        })
    }

    /// Starts a server, from what now has the file's name.
    pub fn start_server(
        &self,
        store: &Path,
        options: &str,
        device: BorrowedFd<'_>,
        lock: BorrowedFd<'_>,
    ) -> io::Result<Child> {
        let (link, theirs) = link::pair()?;
        let passed = [("--device", device), ("--link", theirs.as_fd()), ("--lock", lock)];
        let mut inherited = Vec::new();
        let mut arguments = vec![OsStr::new("server").to_owned(), store.into(), "-o".into(), options.into()];
        for (name, fd) in passed {
            let copy = sys::fd::inheritable(fd)?;
            arguments.push(name.into());
            arguments.push(copy.as_raw_fd().to_string().into());
            inherited.push(copy);
        }
        let mut process = self.spawn(|command| {
            command.args(&arguments);
        })?;
        match PidFd::open(process.id()) {
            Ok(pidfd) => Ok(Child { process, pidfd, link: Some(link), zombie_since: None }),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    // While a package is being replaced, its file may be absent; we still have it open.
    fn spawn(&self, prepare: impl Fn(&mut Command)) -> io::Result<process::Child> {
        let start = |file: &Path| {
            let mut command = Command::new(file);
            // Called by the mount helper's name it would be that.
            command.arg0(file.with_file_name("ctrfs"));
            prepare(&mut command);
            command.spawn()
        };
        match start(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => start(&Self::running().0),
            started => started,
        }
    }
}

/// A server, seen from the keeper.
#[derive(Debug)]
pub struct Child {
    process: process::Child,
    pidfd: PidFd,
    /// `None` once it has closed its end.
    link: Option<KeeperLink>,
    zombie_since: Option<Instant>,
}

/// What has become of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It runs.
    Alive,
    /// It has ended.
    Ended,
    /// It is dead, but for a thread that the kernel does not let go.
    Undead,
}

impl Child {
    /// What becomes readable when the server says something or ends.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.pidfd.as_fd()).chain(self.link.as_ref().map(AsFd::as_fd))
    }

    /// Tells the server something.
    pub fn send(&self, message: &FromKeeper) -> Result<(), LinkError> {
        self.link.as_ref().ok_or(LinkError::Closed)?.send(message)
    }

    /// What the server has said, if it has. One that talks nonsense is killed.
    pub fn hear(&mut self) -> Option<FromServer> {
        let link = self.link.as_ref()?;
        if !sys::fd::wait_readable(&[link.as_fd()], Some(Duration::ZERO)).ok()?[0] {
            return None;
        }
        match link.receive() {
            Ok(message) => Some(message),
            Err(LinkError::Closed) => {
                self.link = None;
                None
            }
            Err(error) => {
                log::error!("{error}");
                self.link = None;
                self.kill();
                None
            }
        }
    }

    /// Whether the server runs.
    ///
    /// The descriptor tells of the end of the last thread only. Threads of a killed server may wait
    /// in the kernel for a request to our own mount, which only the next server answers.
    pub fn fate(&mut self) -> Fate {
        match self.process.try_wait() {
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return Fate::Ended,
        }
        if !Stat::read(self.process.id()).is_ok_and(|stat| stat.state == 'Z') {
            self.zombie_since = None;
            return Fate::Alive;
        }
        match *self.zombie_since.get_or_insert_with(Instant::now) {
            // A write to the store that is under way must not land in the middle of the next server's.
            since if since.elapsed() >= ZOMBIE_LIMIT && !sys::process::is_at_work(self.process.id()) => Fate::Undead,
            _ => Fate::Alive,
        }
    }

    /// Whether all of it has ended.
    pub fn is_reaped(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
    }

    /// Waits for the server to end, kills it after `grace`, and says whether it has ended then.
    pub fn put_to_rest(&mut self, grace: Duration) -> bool {
        let _ = sys::fd::wait_readable(&[self.pidfd.as_fd()], Some(grace));
        if !self.is_reaped() {
            self.kill();
            let _ = sys::fd::wait_readable(&[self.pidfd.as_fd()], Some(KILLED_LIMIT));
        }
        self.is_reaped()
    }
}
