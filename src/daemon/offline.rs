//! Work on a store that is not mounted.

use std::fmt;
use std::path::{Path, PathBuf};

use super::backend::WORLD;
use super::run_root;
use super::store_lock::{LockError, StoreLock};
use crate::driver::dirs::Dirs;
use crate::driver::mounts::is_left_mounted;
use crate::engine::{self, Engine};
use crate::model::runtime::Setting;
use crate::store::{self, OpenError, Store};
use crate::sys;

/// Memory for the pages of a store that is repaired.
const REPAIR_CACHE: usize = 64 << 20;

/// Why a store could not be made, checked or repaired.
#[derive(Debug)]
pub enum OfflineError {
    /// The store cannot be made or opened.
    Open(OpenError),
    /// It is in use.
    Lock(PathBuf, LockError),
    /// It cannot be read.
    Read(PathBuf, engine::Error),
}

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OfflineError::Open(error) => error.fmt(f),
            OfflineError::Lock(path, error) => write!(f, "{}: {error}", path.display()),
            OfflineError::Read(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for OfflineError {}

/// Makes a store.
///
/// # Errors
/// There is one, or other files are in the way, or what the filesystem says.
pub fn init(dir: &Path) -> Result<(), OfflineError> {
    let mut random = (WORLD.random)();
    // RFC 9562, version 4: 122 random bits.
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let hex: String = random[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let uuid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    store::create(dir, &uuid, (WORLD.now)().nanos).map_err(OfflineError::Open)
}

/// Asks every structural promise of a store, in a copy in memory: the store itself is only read.
/// Returns a line that begins with "ok", or a line for each finding.
///
/// # Errors
/// No store there, or in use, or not to be read.
pub fn check(dir: &Path) -> Result<String, OfflineError> {
    if !dir.join(store::FILE).exists() {
        return Err(OfflineError::Open(OpenError::NoStore(dir.to_owned())));
    }
    let _lock = StoreLock::share(dir).map_err(|error| OfflineError::Lock(dir.to_owned(), error))?;
    let store = Store::open_copy(dir).map_err(OfflineError::Open)?;
    let report = Engine::beside(store, WORLD, Dirs::of(dir)).check();
    report.map_err(|error| OfflineError::Read(dir.to_owned(), error))
}

/// Mends what [`check`] finds. Returns a line for each thing done, or left.
///
/// # Errors
/// No store there, or in use, or not to be read or written.
pub fn repair(dir: &Path, force: bool) -> Result<Vec<String>, OfflineError> {
    if !dir.join(store::FILE).exists() {
        return Err(OfflineError::Open(OpenError::NoStore(dir.to_owned())));
    }
    let _lock = StoreLock::take(dir, Path::new("")).map_err(|error| OfflineError::Lock(dir.to_owned(), error))?;
    let failed = |error| OfflineError::Read(dir.to_owned(), error);
    let store = Store::open(dir, REPAIR_CACHE).map_err(OfflineError::Open)?;
    store.verify().map_err(OfflineError::Open)?;
    let dirs = Dirs::open(dir).map_err(|error| failed(engine::Error::Outside(error.into())))?;
    let engine = Engine::beside(store, WORLD, dirs);
    let run_root = run_root_of(&engine, dir).map_err(failed)?;
    engine.repair_unmounted(force, move |id| is_left_mounted(&run_root, id)).map_err(failed)
}

/// Where a mount of a store has its volatile files.
fn run_root_of(engine: &Engine, dir: &Path) -> Result<PathBuf, engine::Error> {
    let stored = engine.view()?.runtime(Setting::RunRoot, dir)?;
    Ok(if stored.is_empty() { run_root::default_path(&engine.uuid()?) } else { stored.into() })
}

/// The name of a process, "" when it is gone.
pub(super) fn comm(pid: u32) -> String {
    sys::process::comm(pid).unwrap_or_default()
}
