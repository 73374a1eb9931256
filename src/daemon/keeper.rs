//! The keeper: owns `/dev/fuse`, the store's lock, the mount and RUNROOT, and sees to it that there
//! is a server.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::sys;
use crate::sys::errno::say;
use crate::sys::mount::FuseMount;
use crate::sys::mountinfo;
use crate::sys::signal::{Notice, Notices};

use super::FS_TYPE;
use super::child::{Child, Fate, Program};
use super::link::{FromKeeper, FromServer, LinkError, Serve};
use super::mountpoint::{Mountpoint, MountpointError};
use super::run_root::{RunRoot, RunRootError};
use super::settings::Settings;
use super::store_lock::{LockError, StoreLock};

/// How often the keeper looks for what no descriptor tells it.
const TICK: Duration = Duration::from_secs(1);

/// How long a server gets to end by itself that may have somebody to answer still.
const GRACE: Duration = Duration::from_millis(400);

/// How long it gets when nobody is left: it takes away what is mounted, and each end may write to a disk.
const LEAVING: Duration = Duration::from_secs(30);

/// How long the kernel gets to say INIT after mount(2).
const INIT_DEADLINE: Duration = Duration::from_secs(5);

/// What the keeper tells whoever started it when the filesystem is mounted and served.
pub const READY: &str = "ok\n";

/// What the keeper is started for.
#[derive(Debug)]
pub struct Job {
    /// The store, an absolute path.
    pub store: PathBuf,
    /// The directory to mount on, an absolute path.
    pub mountpoint: PathBuf,
    /// The mount options.
    pub settings: Settings,
}

/// Why the filesystem could not be mounted, or not be kept.
#[derive(Debug)]
pub enum KeeperError {
    /// The process could not become a daemon, or lost its signals or descriptors.
    Process(io::Error),
    /// `/dev/fuse` cannot be opened.
    Device(io::Error),
    /// The store's lock cannot be had.
    Lock(LockError),
    /// The mountpoint is no place to mount on.
    Mountpoint(MountpointError),
    /// RUNROOT cannot be made ready.
    RunRoot(RunRootError),
    /// RUNROOT lies where the mount would hide it, and the keeper wait for itself.
    RunRootHidden(PathBuf),
    /// mount(2) failed.
    Mount(io::Error),
    /// The kernel did not say INIT.
    Init(io::Error),
    /// No server could be started.
    Spawn(io::Error),
    /// The server refuses the store, in its own words.
    Refused(String),
    /// The server ended before it served.
    ServerEnded,
    /// The server cannot be talked to.
    Link(LinkError),
    /// Whoever asked for the mount is gone.
    NobodyWaits,
    /// A signal ended the keeper before the filesystem was mounted.
    Ended,
}

impl fmt::Display for KeeperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(error) => write!(f, "the keeper cannot work: {}", say(error)),
            Self::Device(error) => {
                write!(f, "/dev/fuse: {}", say(error))?;
                match error.kind() {
                    io::ErrorKind::NotFound => f.write_str(" (`modprobe fuse` as root makes it)"),
                    io::ErrorKind::PermissionDenied => f.write_str(" (`chmod 0666 /dev/fuse` as root lets users in)"),
                    _ => Ok(()),
                }
            }
            Self::Lock(error) => error.fmt(f),
            Self::Mountpoint(error) => error.fmt(f),
            Self::RunRoot(error) => error.fmt(f),
            Self::RunRootHidden(path) => {
                write!(f, "the run root {} lies under the mountpoint", path.display())
            }
            Self::Mount(error) => write!(f, "mount(2) of type {FS_TYPE}: {}", say(error)),
            Self::Init(error) => write!(f, "/dev/fuse: no INIT from the kernel: {}", say(error)),
            Self::Spawn(error) => write!(f, "no server can be started: {}", say(error)),
            Self::Refused(sentence) => f.write_str(sentence),
            Self::ServerEnded => f.write_str("the server ended before it served (see the log)"),
            Self::Link(error) => error.fmt(f),
            Self::NobodyWaits => f.write_str("whoever asked for the mount is gone"),
            Self::Ended => f.write_str("ended by a signal before the filesystem was mounted"),
        }
    }
}

impl std::error::Error for KeeperError {}

/// The keeper's whole life. Tells `ready` either [`READY`] or a sentence that says why not.
pub fn run(job: Job, ready: File) -> ExitCode {
    super::log::init("ctrfs-keeper");
    let mut ready = Some(ready);
    let store = job.store.clone();
    let result = Keeper::new(job).and_then(|keeper| keeper.run(&mut ready));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{}: {error}", store.display());
            // After everything is undone: whoever waits may try again at once.
            if let Some(mut ready) = ready {
                let _ = ready.write_all(error.to_string().as_bytes());
            }
            ExitCode::FAILURE
        }
    }
}

struct Keeper {
    job: Job,
    program: Program,
    lock: StoreLock,
    device: OwnedFd,
    notices: Notices,
    /// A random name for the connection.
    connection: u64,
    mount: Option<Mounted>,
    /// Whether some server is known to have answered INIT.
    answered: bool,
    server: Option<Child>,
    /// Whether that server was told to serve: it hears of the end from the device, others wait for us.
    told: bool,
    /// Killed servers of which a thread is still in the kernel.
    undead: Vec<Child>,
    pace: Pace,
}

/// What is undone when the keeper ends.
struct Mounted {
    id: u64,
    init: Vec<u8>,
    run_root: RunRoot,
}

/// What the keeper has to react to.
enum Event {
    Notice(Notice),
    Message(FromServer),
    /// The server died, and the connection lives.
    Died,
    /// The filesystem was unmounted.
    Unmounted,
    /// It is time to look whether there is a server.
    Tick,
}

impl Keeper {
    fn new(job: Job) -> Result<Self, KeeperError> {
        let program = Program::this().map_err(KeeperError::Process)?;
        sys::process::become_daemon().map_err(KeeperError::Process)?;
        let notices = Notices::block().map_err(KeeperError::Process)?;
        let lock = StoreLock::take(&job.store, &job.mountpoint).map_err(KeeperError::Lock)?;
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").map_err(KeeperError::Device)?.into();
        let connection = u64::from_ne_bytes(sys::host::random().map_err(KeeperError::Process)?);
        Ok(Self {
            job,
            program,
            lock,
            device,
            notices,
            connection,
            mount: None,
            answered: false,
            server: None,
            told: false,
            undead: Vec::new(),
            pace: Pace::default(),
        })
    }

    fn run(mut self, ready: &mut Option<File>) -> Result<(), KeeperError> {
        let result = self.bring_up(ready).and_then(|()| self.keep());
        self.end();
        result
    }

    /// Mounts the filesystem and has it served; anything that goes wrong is the end.
    fn bring_up(&mut self, ready: &mut Option<File>) -> Result<(), KeeperError> {
        self.start_server().map_err(KeeperError::Spawn)?;
        loop {
            match self.wait()? {
                Event::Message(FromServer::Opened { run_root }) => {
                    self.mount(&PathBuf::from(run_root))?;
                    self.send_serve().map_err(KeeperError::Link)?;
                }
                Event::Message(FromServer::Serving) => self.answered = true,
                Event::Message(FromServer::Shown) => break,
                Event::Message(FromServer::Refused(sentence)) => {
                    return Err(KeeperError::Refused(sentence));
                }
                Event::Notice(Notice::End) => return Err(KeeperError::Ended),
                // It answered: the next one goes on.
                Event::Died if self.answered => break,
                Event::Died | Event::Unmounted => return Err(KeeperError::ServerEnded),
                Event::Notice(Notice::Renew) | Event::Tick => {}
            }
        }
        // Closed at once: whoever waits reads to the end.
        ready.take().map_or(Ok(()), |mut ready| ready.write_all(READY.as_bytes()).map_err(|_| KeeperError::NobodyWaits))
    }

    /// Sees to it that there is a server, until the filesystem is unmounted or a signal says so.
    fn keep(&mut self) -> Result<(), KeeperError> {
        loop {
            match self.wait()? {
                Event::Unmounted | Event::Notice(Notice::End) => return Ok(()),
                Event::Notice(Notice::Renew) => self.renew_server(),
                Event::Message(message) => self.heed(message),
                Event::Died => log::warn!("{}: the server died", self.job.store.display()),
                Event::Tick => {}
            }
            if self.server.is_none() && self.pace.remaining(Instant::now()).is_zero() {
                self.start_next();
            }
        }
    }

    fn start_next(&mut self) {
        if let Err(error) = self.start_server() {
            self.pace.died(Instant::now());
            log::error!("no server can be started: {error}");
        }
    }

    fn heed(&mut self, message: FromServer) {
        match message {
            FromServer::Opened { .. } => {
                if let Err(error) = self.send_serve() {
                    log::error!("{error}");
                }
            }
            FromServer::Serving => {
                self.answered = true;
                log::info!("{}: a new server serves", self.job.store.display());
            }
            FromServer::Shown => {}
            FromServer::Refused(sentence) => log::error!("the new server refuses: {sentence}"),
        }
    }

    fn start_server(&mut self) -> io::Result<()> {
        self.pace.started(Instant::now());
        self.told = false;
        let options = self.job.settings.to_option_string();
        // What has replaced our file may be no good, or be half written.
        let program = if self.pace.is_hopeless() { Program::running() } else { self.program.clone() };
        self.server = Some(program.start_server(&self.job.store, &options, self.device.as_fd(), self.lock.as_fd())?);
        Ok(())
    }

    fn renew_server(&mut self) {
        // This death is none of its doing.
        self.pace = Pace::default();
        if let Some(server) = &mut self.server {
            server.kill();
        }
    }

    fn send_serve(&mut self) -> Result<(), LinkError> {
        let (Some(mount), Some(server)) = (&self.mount, &self.server) else {
            return Err(LinkError::Closed);
        };
        let (uid, gid) = sys::process::owner();
        server.send(&FromKeeper::Serve(Serve {
            init: mount.init.clone(),
            first: !self.answered,
            connection: self.connection,
            uid,
            gid,
            mountpoint: self.job.mountpoint.as_path().into(),
            run_root: mount.run_root.path().into(),
        }))?;
        self.told = true;
        Ok(())
    }

    /// RUNROOT first: nothing may touch a path below the mountpoint between mount(2) and a server.
    fn mount(&mut self, run_root: &Path) -> Result<(), KeeperError> {
        if run_root.starts_with(&self.job.mountpoint) {
            return Err(KeeperError::RunRootHidden(run_root.into()));
        }
        let mountpoint = Mountpoint::resolve(&self.job.mountpoint).map_err(KeeperError::Mountpoint)?;
        let _claim = mountpoint.claim().map_err(KeeperError::Mountpoint)?;
        let run_root = RunRoot::prepare(run_root).map_err(KeeperError::RunRoot)?;
        match self.attach() {
            Ok((id, init)) => {
                self.mount = Some(Mounted { id, init, run_root });
                Ok(())
            }
            Err(error) => {
                report(run_root.remove());
                Err(error)
            }
        }
    }

    fn attach(&self) -> Result<(u64, Vec<u8>), KeeperError> {
        let (uid, gid) = sys::process::owner();
        let target = &self.job.mountpoint;
        let mount = FuseMount {
            device: self.device.as_fd(),
            source: &self.job.store,
            fs_type: FS_TYPE,
            uid,
            gid,
            allow_other: self.job.settings.allow_other,
            flags: self.job.settings.mount_flags(),
        };
        mount.attach(target).map_err(KeeperError::Mount)?;
        let attached = sys::fd::open_directory(target)
            .and_then(sys::fd::mount_id)
            .map_err(KeeperError::Mount)
            .and_then(|id| Ok((id, self.read_init().map_err(KeeperError::Init)?)));
        if attached.is_err() {
            report(sys::mount::detach(target).err());
        }
        attached
    }

    fn read_init(&self) -> io::Result<Vec<u8>> {
        if !sys::fd::wait_readable(&[self.device.as_fd()], Some(INIT_DEADLINE))?[0] {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // The kernel refuses a read with a buffer smaller than FUSE_MIN_READ_BUFFER, 8 KiB.
        let mut init = vec![0; 64 << 10];
        let length = File::from(self.device.try_clone()?).read(&mut init)?;
        init.truncate(length);
        Ok(init)
    }

    // `/dev/fuse` is not waited on: each request would wake the keeper. It is asked when the server
    // ends, which it does at once when the filesystem is unmounted, and at every tick.
    fn wait(&mut self) -> Result<Event, KeeperError> {
        let mut fds: Vec<BorrowedFd<'_>> = vec![self.notices.as_fd()];
        fds.extend(self.server.iter().flat_map(Child::descriptors));
        let ready = sys::fd::wait_readable(&fds, Some(self.patience())).map_err(KeeperError::Process)?;
        if ready[0]
            && let Some(notice) = self.notices.next().map_err(KeeperError::Process)?
        {
            return Ok(Event::Notice(notice));
        }
        self.undead.retain_mut(|child| !child.is_reaped());
        if let Some(message) = self.server.as_mut().and_then(Child::hear) {
            return Ok(Event::Message(message));
        }
        self.look_after_server()
    }

    fn patience(&self) -> Duration {
        match self.server {
            Some(_) => TICK,
            None => self.pace.remaining(Instant::now()).min(TICK),
        }
    }

    fn look_after_server(&mut self) -> Result<Event, KeeperError> {
        let fate = self.server.as_mut().map_or(Fate::Alive, Child::fate);
        match fate {
            Fate::Alive => {}
            Fate::Ended => self.server = None,
            Fate::Undead => self.undead.extend(self.server.take()),
        }
        if fate != Fate::Alive {
            self.pace.died(Instant::now());
        }
        let gone = sys::fd::has_failed(self.device.as_fd()).map_err(KeeperError::Process)?;
        Ok(match fate {
            _ if self.mount.is_some() && gone => Event::Unmounted,
            Fate::Ended | Fate::Undead => Event::Died,
            Fate::Alive => Event::Tick,
        })
    }

    /// Undoes everything and goes on after failures.
    fn end(mut self) {
        if let Some(mount) = &self.mount {
            report(detach(mount.id, &self.job.store).err());
        }
        let is_leaving = self.told && sys::fd::has_failed(self.device.as_fd()).unwrap_or(false);
        let grace = if is_leaving { LEAVING } else { GRACE };
        let mut dead = self.server.take().is_none_or(|mut server| server.put_to_rest(grace));
        for mut server in self.undead {
            dead &= server.put_to_rest(GRACE);
        }
        if let Some(mount) = self.mount {
            for error in mount.run_root.remove() {
                report(Some(error));
            }
        }
        if !dead {
            log::warn!("a server is stuck in the kernel; the store stays locked until it is not");
            self.lock.leave_to_heirs();
        }
    }
}

/// Detaches our own mount and no other, wherever it was moved to.
///
/// The kernel gives the ID of a mount that is gone to the next one; the source tells them apart,
/// for nobody else mounts this store while its lock is ours.
fn detach(id: u64, store: &Path) -> io::Result<()> {
    let Some(mount) = mountinfo::find(id)?.filter(|mount| mount.fs_type == FS_TYPE && mount.source == store) else {
        return Ok(());
    };
    let root = sys::fd::open_directory(&mount.mount_point)?;
    if sys::fd::mount_id(&root)? == id {
        sys::mount::detach_root(&root)
    } else {
        Err(io::ErrorKind::ResourceBusy.into())
    }
}

fn report(errors: impl IntoIterator<Item = io::Error>) {
    for error in errors {
        log::warn!("while ending: {error}");
    }
}

/// How fast servers that die young are replaced: three at once, then ever more slowly.
#[derive(Debug, Default)]
struct Pace {
    started: Option<Instant>,
    young_deaths: u32,
    next: Option<Instant>,
}

impl Pace {
    /// A server that lived this long did not die of its start.
    const YOUNG: Duration = Duration::from_secs(1);
    const FREE: u32 = 3;
    const FIRST: Duration = Duration::from_millis(100);
    /// 1.6 s: a reader is to wait for less than two seconds.
    const MAX_DOUBLINGS: u32 = 4;

    fn started(&mut self, now: Instant) {
        self.started = Some(now);
    }

    fn died(&mut self, now: Instant) {
        let young = self.started.is_some_and(|started| now - started < Self::YOUNG);
        self.young_deaths = if young { self.young_deaths + 1 } else { 0 };
        self.next = Some(now + self.delay());
    }

    fn delay(&self) -> Duration {
        match self.young_deaths.checked_sub(Self::FREE + 1) {
            None => Duration::ZERO,
            Some(doublings) => Self::FIRST * (1 << doublings.min(Self::MAX_DOUBLINGS)),
        }
    }

    /// Whether to try something else: every second time once several have died young.
    fn is_hopeless(&self) -> bool {
        self.young_deaths > Self::FREE && self.young_deaths.is_multiple_of(2)
    }

    fn remaining(&self, now: Instant) -> Duration {
        self.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_die_young_are_replaced_ever_more_slowly() {
        let mut pace = Pace::default();
        let now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..10 {
            pace.started(now);
            pace.died(now);
            delays.push(pace.remaining(now).as_millis());
        }
        assert_eq!(delays, [0, 0, 0, 100, 200, 400, 800, 1600, 1600, 1600]);
        pace.started(now);
        pace.died(now + Pace::YOUNG);
        assert!(pace.remaining(now + Pace::YOUNG).is_zero());
    }
}
