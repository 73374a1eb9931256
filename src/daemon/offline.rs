//! Work on a store that is not mounted.

use std::fmt;
use std::path::{Path, PathBuf};

use super::backend::WORLD;
use super::store_lock::{LockError, StoreLock};
use crate::engine::{self, Engine};
use crate::store::{self, OpenError, Store};
use crate::sys;

/// Why a store could not be made or checked.
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
    let lock = StoreLock::share(dir).map_err(|error| OfflineError::Lock(dir.to_owned(), error))?;
    let store = Store::open_copy(dir).map_err(OfflineError::Open)?;
    drop(lock);
    let report = Engine::new(store, WORLD).check(dir);
    report.map_err(|error| OfflineError::Read(dir.to_owned(), error))
}

/// The name of a process, "" when it is gone.
pub(super) fn comm(pid: u32) -> String {
    sys::process::comm(pid).unwrap_or_default()
}
