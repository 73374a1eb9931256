//! What a server serves: a store, opened and booted, under a tree.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::FS_TYPE;
use super::closers::CLOSERS;
use super::offline::comm;
use super::run_root;
use super::server::Connection;
use super::settings::Settings;
use crate::driver::dirs::Dirs;
use crate::driver::mounts::{MountError, Mounts};
use crate::driver::run_files::RunFiles;
use crate::driver::views;
use crate::engine::{self, Boot, BootError, Engine, Given, Outside, World};
use crate::fuse::session::Notifier;
use crate::fuse::{Adapter, Lanes, Owner, invalidate};
use crate::model::record::{Change, Moment};
use crate::model::runtime::Setting;
use crate::store::Store;
use crate::sys;
use crate::tree::{Setup, Tree};

/// The clock and the dice.
pub(super) const WORLD: World = World { now, random };

/// How often a server looks whether it can settle the store.
const IDLE: Duration = Duration::from_secs(1);
/// How long what is mounted may still change by what a killed server had begun, which waited for an
/// answer of ours.
const AFTERMATH: Duration = Duration::from_secs(5);
/// Of how many looks one takes out what is forgotten.
const FORGETS: u64 = 60;
/// The storage driver of a store that does not say.
const DEFAULT_DRIVER: &str = "overlay";

/// A store that is open.
pub(super) struct Backend {
    engine: Engine,
    store: PathBuf,
    run_root: PathBuf,
    shared_with_group: bool,
}

/// A filesystem ready to answer, and what is left to do once it does.
pub(super) struct Served {
    pub(super) filesystem: Adapter,
    tree: Arc<Tree>,
    notifier: Arc<OnceLock<Notifier>>,
    untold: Vec<Change>,
    lanes: Lanes,
}

/// Why a store cannot be served.
#[derive(Debug)]
pub(super) enum BackendError {
    Boot(BootError),
    BootId(io::Error),
    Engine(engine::Error),
    Handles(io::Error),
    Directories(io::Error),
    Mounts(MountError),
    Threads(io::Error),
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackendError::Boot(error) => error.fmt(f),
            BackendError::BootId(error) => write!(f, "the kernel's boot ID: {error}"),
            BackendError::Engine(error) => error.fmt(f),
            BackendError::Handles(error) => write!(f, "the directory of open handles: {error}"),
            BackendError::Directories(error) => write!(f, "the directories of layers and mounts: {error}"),
            BackendError::Mounts(error) => error.fmt(f),
            BackendError::Threads(error) => write!(f, "no thread can be started: {error}"),
        }
    }
}

impl From<BootError> for BackendError {
    fn from(error: BootError) -> BackendError {
        BackendError::Boot(error)
    }
}

impl Backend {
    /// Opens a store and compares its runtime configuration. Its lock is held by the keeper.
    pub(super) fn open(store: &Path, settings: &Settings) -> Result<Backend, BackendError> {
        let opened = Store::open(store, settings.cache_bytes).map_err(BootError::Open)?;
        let mut engine = Engine::new(opened, WORLD);
        if settings.transient {
            engine.set_transient();
        }
        let uuid = engine.uuid().map_err(BackendError::Engine)?;
        let default_run_root = run_root::default_path(&uuid);
        engine.compare_runtime(store, given(store, settings, &default_run_root))?;
        let run_root = settings.run_root.as_ref().map_or(default_run_root, PathBuf::from);
        Ok(Backend { engine, store: store.to_owned(), run_root, shared_with_group: settings.gid.is_some() })
    }

    /// Where the store's volatile files go.
    pub(super) fn run_root(&self) -> &Path {
        &self.run_root
    }

    /// Boots the engine for a connection. The mount is there, but nothing in it answers yet, so no
    /// path of it may be touched.
    pub(super) fn serve(mut self, connection: Connection, gid: Option<u32>) -> Result<Served, BackendError> {
        let boot_id = sys::host::boot_id().map_err(BackendError::BootId)?;
        let boot = Boot { boot_id, connection: connection.name };
        let outside = Outside {
            dirs: Arc::new(Dirs::open(&self.store).map_err(BackendError::Directories)?),
            mounts: Mounts::open(&connection.run_root).map_err(BackendError::Mounts)?,
            files: RunFiles::open(&connection.run_root).map_err(BackendError::Directories)?,
            tree: views::Tree::new(connection.mountpoint, FS_TYPE, self.store.clone()),
        };
        let generation = self.engine.boot(&boot, Some(outside)).map_err(BackendError::Engine)?;
        let untold = self.engine.untold().map_err(BackendError::Engine)?;
        let setup = Setup {
            generation,
            run_root: connection.run_root,
            store_path: self.store,
            shared_with_group: self.shared_with_group,
            comm,
            closers: CLOSERS,
        };
        let tree = Arc::new(Tree::new(self.engine, setup).map_err(BackendError::Handles)?);
        let owner = Owner { uid: connection.uid, gid: gid.unwrap_or(connection.gid) };
        let lanes = Lanes::open().map_err(BackendError::Threads)?;
        let filesystem = Adapter::new(Arc::clone(&tree), Arc::clone(&connection.notifier), owner, lanes.clone());
        Ok(Served { filesystem, tree, notifier: connection.notifier, untold, lanes })
    }
}

impl Served {
    /// The filesystem, what to do before it answers, and what to do beside it ever after.
    ///
    /// Before: tell the changes that an earlier server committed and may not have told. A request that
    /// is sent again could else be answered while the kernel still has what it changed.
    pub(super) fn split(self) -> (Adapter, impl FnOnce(), Beside) {
        let Served { filesystem, tree, notifier, untold, lanes } = self;
        let tell = move || {
            if let Some(notifier) = notifier.get() {
                invalidate(notifier, &untold);
            }
        };
        (filesystem, tell, Beside { tree, lanes })
    }
}

/// What a server does beside answering.
pub(super) struct Beside {
    tree: Arc<Tree>,
    lanes: Lanes,
}

impl Beside {
    /// Makes kernel and store agree on what is mounted, says so, and looks after the store from then on.
    pub(super) fn begin(&self, agreed: impl FnOnce() + Send + 'static) {
        let tree = Arc::clone(&self.tree);
        self.lanes.mount.run(move || {
            let since = Instant::now();
            while sys::process::has_undead_sibling() && since.elapsed() < AFTERMATH {
                thread::sleep(Duration::from_millis(2));
            }
            tree.reconcile();
            agreed();
        });
        let tree = Arc::clone(&self.tree);
        thread::spawn(move || {
            for turn in 1u64.. {
                tree.engine().empty_trash();
                thread::sleep(IDLE);
                if turn % FORGETS == 0
                    && let Err(error) = tree.engine().forget_exited()
                {
                    log::warn!("exit codes that are forgotten stay in the store: {error}");
                }
                tree.engine().settle();
            }
        });
    }

    /// Takes away what is mounted and nobody runs on, once the tree is unmounted.
    pub(super) fn end(self) {
        self.tree.engine().leave();
    }
}

fn given(store: &Path, settings: &Settings, run_root: &Path) -> Vec<Given> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let setting = |setting, given: &Option<String>, default: String| Given {
        setting,
        given: given.clone().unwrap_or_default(),
        default,
    };
    vec![
        setting(Setting::StaticDir, &settings.static_dir, String::new()),
        setting(Setting::TmpDir, &settings.tmp_dir, String::new()),
        // Its default depends on who mounts and from where, so that it is not stored as a path.
        setting(Setting::RunRoot, &settings.run_root.clone().filter(|path| *path != text(run_root)), String::new()),
        setting(Setting::GraphRoot, &settings.graph_root, text(store)),
        setting(Setting::GraphDriverName, &settings.graph_driver_name, DEFAULT_DRIVER.to_owned()),
    ]
}

fn now() -> Moment {
    let time = std::time::SystemTime::now();
    let nanos = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    Moment { nanos, text: humantime::format_rfc3339_nanos(time).to_string() }
}

fn random() -> [u8; 40] {
    sys::host::random().expect("the kernel gives random bytes without fail once it is up")
}
