//! The server: opens the store and answers the kernel, until the filesystem is unmounted.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use crate::fuse::session::{self, Notifier};
use crate::sys;

use super::backend::{Backend, Served};
use super::link::{FromKeeper, FromServer, LinkError, Serve, ServerLink};
use super::settings::Settings;

/// The connection that a filesystem is made for.
#[derive(Debug)]
pub struct Connection {
    /// The connection's random name; request numbers are unique in it.
    pub name: u64,
    /// Whether this is the connection's first server.
    pub first: bool,
    /// The user who mounted.
    pub uid: u32,
    /// That user's group.
    pub gid: u32,
    /// Where it was mounted.
    pub mountpoint: PathBuf,
    /// The private tmpfs for this mount.
    pub run_root: PathBuf,
    /// The way to tell the kernel of changes; set before the first request arrives.
    pub notifier: Arc<OnceLock<Notifier>>,
}

/// What the keeper puts on a server's command line.
#[derive(Debug)]
pub struct Job {
    /// The store.
    pub store: PathBuf,
    /// The mount options.
    pub settings: Settings,
    /// The number of the inherited `/dev/fuse`.
    pub device: RawFd,
    /// The number of the inherited end of the link.
    pub link: RawFd,
    /// The number of the inherited lock of the store.
    pub lock: RawFd,
}

/// Why a server gives up.
#[derive(Debug)]
enum ServerError {
    Setup(std::io::Error),
    Link(LinkError),
    Refused(String),
    Session(std::io::Error),
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(error) => write!(f, "server: cannot start: {error}"),
            Self::Link(error) => write!(f, "server: {error}"),
            Self::Refused(sentence) => f.write_str(sentence),
            Self::Session(error) => write!(f, "server: the session failed: {error}"),
        }
    }
}

impl From<LinkError> for ServerError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// The server's whole life. Success means that the filesystem was unmounted.
pub fn run(job: &Job) -> ExitCode {
    super::log::init("ctrfs-server");
    match Server::start(job).and_then(|server| server.run(job)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{}: {error}", job.store.display());
            ExitCode::FAILURE
        }
    }
}

struct Server {
    device: OwnedFd,
    link: ServerLink,
    /// Never looked at: the store stays locked as long as this process lives, keeper or not.
    _lock: OwnedFd,
}

impl Server {
    fn start(job: &Job) -> Result<Self, ServerError> {
        // Without a keeper nobody would serve on after us, nor clean up: better a dead mount, which
        // the next mount replaces. If it is dead already, the link is closed and will tell.
        sys::process::die_with_parent().map_err(ServerError::Setup)?;
        sys::signal::unblock_all().map_err(ServerError::Setup)?;
        // Each open item is one.
        sys::fd::raise_limit().map_err(ServerError::Setup)?;
        let inherited = |number| sys::fd::inherited(number).map_err(ServerError::Setup);
        Ok(Self {
            device: inherited(job.device)?,
            link: ServerLink::from(inherited(job.link)?),
            _lock: inherited(job.lock)?,
        })
    }

    fn run(self, job: &Job) -> Result<(), ServerError> {
        let backend = self.or_refuse(Backend::open(&job.store, &job.settings))?;
        end_after_panic();
        let run_root = backend.run_root().into();
        self.link.send(&FromServer::Opened { run_root })?;

        let FromKeeper::Serve(serve) = self.link.receive()?;
        let notifier = Arc::new(OnceLock::new());
        let connection = connection(&serve, notifier.clone());
        let served = self.or_refuse(backend.serve(connection, job.settings.gid))?;
        self.serve(&serve, job.settings.threads, served, &notifier)
    }

    fn serve(
        self,
        serve: &Serve,
        threads: usize,
        served: Served,
        notifier: &OnceLock<Notifier>,
    ) -> Result<(), ServerError> {
        let device = self.device.try_clone().map_err(ServerError::Setup)?;
        let (filesystem, tell, beside) = served.split();
        let joined =
            session::join(filesystem, device, &serve.init, serve.first, threads).map_err(ServerError::Session)?;
        notifier.get_or_init(|| joined.notifier.clone());
        tell();
        self.link.send(&FromServer::Serving)?;
        if !serve.first {
            resend(self.device.as_fd());
        }
        let link = self.link.try_clone().map_err(ServerError::Link)?;
        let first = serve.first;
        beside.begin(move || {
            // A keeper of an earlier version does not know the word, but then it has seen a server before.
            if first && let Err(error) = link.send(&FromServer::Shown) {
                log::warn!("server: {error}");
            }
        });
        joined.run().map_err(ServerError::Session)?;
        beside.end();
        Ok(())
    }

    /// Tells the keeper, and through it whoever mounts, why this store cannot be served.
    fn or_refuse<T, E: fmt::Display>(&self, result: Result<T, E>) -> Result<T, ServerError> {
        result.map_err(|error| {
            let sentence = error.to_string();
            let _ = self.link.send(&FromServer::Refused(sentence.clone()));
            ServerError::Refused(sentence)
        })
    }
}

fn connection(serve: &Serve, notifier: Arc<OnceLock<Notifier>>) -> Connection {
    Connection {
        name: serve.connection,
        first: serve.first,
        uid: serve.uid,
        gid: serve.gid,
        mountpoint: serve.mountpoint.clone().into(),
        run_root: serve.run_root.clone().into(),
        notifier,
    }
}

fn resend(device: impl AsFd) {
    if let Err(error) = session::resend(device) {
        log::warn!("requests that the last server left unanswered are lost: {error}");
    }
}

// A thread of fuser that panics answers its request with EIO and is missed from then on. So the
// whole server makes room for a new one, after the answer is out.
fn end_after_panic() {
    std::panic::set_hook(Box::new(|panic| {
        log::error!("server: {panic}");
        thread::spawn(|| {
            thread::sleep(Duration::from_millis(100));
            std::process::abort();
        });
    }));
}
