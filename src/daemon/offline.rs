//! Work on a store that is not mounted.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backend::WORLD;
use super::settings::Settings;
use super::store_lock::{LockError, StoreLock};
use crate::driver::dirs::Dirs;
use crate::engine::{self, Boot, Engine, Order, Origin};
use crate::model::id::Id;
use crate::model::record::{Answer, Kind};
use crate::store::{self, OpenError, Store};
use crate::sys;
use crate::sys::mountinfo::{self, Mount};

/// Why a store could not be made, checked, repaired, collected or wiped.
#[derive(Debug)]
pub enum OfflineError {
    /// The store cannot be made or opened.
    Open(OpenError),
    /// It is in use.
    Lock(PathBuf, LockError),
    /// It cannot be read, or refuses.
    Read(PathBuf, engine::Error),
    /// The kernel's boot ID or its list of mounts cannot be read, or a directory of the store.
    Host(PathBuf, io::Error),
    /// Something of the store is mounted though the store is not.
    Mounted(PathBuf, PathBuf),
}

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OfflineError::Open(error) => error.fmt(f),
            OfflineError::Lock(path, error) => write!(f, "{}: {error}", path.display()),
            OfflineError::Read(path, error) => write!(f, "{}: {error}", path.display()),
            OfflineError::Host(path, error) => write!(f, "{}: {error}", path.display()),
            OfflineError::Mounted(path, at) => {
                write!(f, "{}: {} is still mounted; mount the store first", path.display(), at.display())
            }
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

/// Asks every structural promise of a store, in a copy in memory: the store itself is only read. With
/// `contents` what the files of layers hold is compared, too.
/// Returns a line that begins with "ok", or a line for each finding.
///
/// # Errors
/// No store there, or in use, or not to be read.
pub fn check(dir: &Path, contents: bool) -> Result<String, OfflineError> {
    is_store(dir)?;
    let _lock = StoreLock::share(dir).map_err(|error| OfflineError::Lock(dir.to_owned(), error))?;
    let store = Store::open_copy(dir).map_err(OfflineError::Open)?;
    let report = Engine::beside(store, WORLD, Dirs::at(dir)).check(contents);
    report.map_err(|error| OfflineError::Read(dir.to_owned(), error))
}

/// Mends what [`check`] finds. Returns a line for each thing done, or left.
///
/// # Errors
/// No store there, or in use, or not to be read or written.
pub fn repair(dir: &Path, force: bool, contents: bool) -> Result<Vec<String>, OfflineError> {
    let (_lock, store) = alone(dir)?;
    store.verify().map_err(OfflineError::Open)?;
    let failed = |error| OfflineError::Host(dir.to_owned(), error);
    let left: HashSet<Id> = left_mounted().map_err(failed)?.into_iter().map(|(id, _)| id).collect();
    let engine = Engine::beside(store, WORLD, Dirs::open(dir).map_err(failed)?);
    let repaired = engine.repair_unmounted(force, contents, move |id| left.contains(&id));
    repaired.map_err(|error| OfflineError::Read(dir.to_owned(), error))
}

/// What belongs to nothing in a store, a line each: bytes, a tab, the path. Unless it is only to be told it
/// is deleted.
///
/// # Errors
/// As [`check`]; a directory of the store cannot be read or emptied.
pub fn gc(dir: &Path, dry_run: bool) -> Result<Vec<String>, OfflineError> {
    if dry_run {
        is_store(dir)?;
        let _lock = StoreLock::share(dir).map_err(|error| OfflineError::Lock(dir.to_owned(), error))?;
        let engine = booted(dir, Store::open_copy(dir).map_err(OfflineError::Open)?)?;
        return collected(dir, &engine, &Dirs::at(dir).into(), false);
    }
    let (_lock, engine) = unmounted(dir)?;
    collect(dir, &engine)
}

/// Removes all containers and pods of a store, and its images if they are to go, too; then what belongs to
/// nothing any more. The IDs go to `removed` even when the latter fails.
///
/// # Errors
/// As [`gc`]; a container runs.
pub fn wipe(dir: &Path, images: bool, removed: &mut Vec<Id>) -> Result<(), OfflineError> {
    let (_lock, engine) = unmounted(dir)?;
    let origin = Origin { unique: 0, resent: false };
    let done = engine.carry_out(origin, vec![Order::Wipe { images }]);
    let done = done.map_err(|error| OfflineError::Read(dir.to_owned(), error))?;
    if let Answer::Removed(ids) = done.answer {
        removed.extend(ids.into_iter().flatten().map(Id::from_bytes));
    }
    collect(dir, &engine).map(drop)
}

fn is_store(dir: &Path) -> Result<(), OfflineError> {
    match dir.join(store::FILE).exists() {
        true => Ok(()),
        false => Err(OfflineError::Open(OpenError::NoStore(dir.to_owned()))),
    }
}

/// A store that nobody else has.
fn alone(dir: &Path) -> Result<(StoreLock, Store), OfflineError> {
    is_store(dir)?;
    let lock = StoreLock::take(dir, Path::new("")).map_err(|error| OfflineError::Lock(dir.to_owned(), error))?;
    let store = Store::open(dir, Settings::default().cache_bytes).map_err(OfflineError::Open)?;
    Ok((lock, store))
}

/// A store that nobody else has and of which nothing is mounted.
fn unmounted(dir: &Path) -> Result<(StoreLock, Engine), OfflineError> {
    let (lock, store) = alone(dir)?;
    let engine = booted(dir, store)?;
    // A keeper that died may have left mounts behind, which only the next one takes away.
    let left = left_mounted().map_err(|error| OfflineError::Host(dir.to_owned(), error))?;
    let is_ours =
        |id: &Id| engine.view().is_ok_and(|view| view.object_of(Kind::Ctr, id).is_ok_and(|object| object.is_some()));
    match left.into_iter().find(|(id, _)| is_ours(id)) {
        None => Ok((lock, engine)),
        Some((_, at)) => Err(OfflineError::Mounted(dir.to_owned(), at)),
    }
}

/// An engine whose states are those of this boot.
fn booted(dir: &Path, store: Store) -> Result<Engine, OfflineError> {
    let boot_id = sys::host::boot_id().map_err(|error| OfflineError::Host(dir.to_owned(), error))?;
    let mut engine = Engine::new(store, WORLD);
    let connection = u64::from_le_bytes((WORLD.random)()[..8].try_into().expect("40 bytes have 8"));
    let boot = Boot { boot_id, connection };
    engine.boot(&boot, None).map_err(|error| OfflineError::Read(dir.to_owned(), error))?;
    Ok(engine)
}

/// What is mounted of containers, of whatever store, and where.
fn left_mounted() -> io::Result<Vec<(Id, PathBuf)>> {
    let left = |mount: Mount| {
        let source = mount.source.to_str()?;
        let id = source.strip_prefix("ctrfs:").or_else(|| source.strip_prefix("ctrfs-shm:"))?;
        Some((Id::parse(id)?, mount.mount_point))
    };
    Ok(mountinfo::read()?.into_iter().filter_map(left).collect())
}

/// Deletes what belongs to nothing. Returns a line for each.
fn collect(dir: &Path, engine: &Engine) -> Result<Vec<String>, OfflineError> {
    let failed = |error| OfflineError::Host(dir.to_owned(), error);
    let dirs = Arc::new(Dirs::open(dir).map_err(failed)?);
    let lines = collected(dir, engine, &dirs, true)?;
    dirs.empty_trash().map_err(failed)?;
    Ok(lines)
}

fn collected(dir: &Path, engine: &Engine, dirs: &Arc<Dirs>, throw: bool) -> Result<Vec<String>, OfflineError> {
    let garbage = engine.garbage(dirs, throw).map_err(|error| OfflineError::Read(dir.to_owned(), error))?;
    Ok(garbage.iter().map(ToString::to_string).collect())
}

/// The name of a process, "" when it is gone.
pub(super) fn comm(pid: u32) -> String {
    sys::process::comm(pid).unwrap_or_default()
}
