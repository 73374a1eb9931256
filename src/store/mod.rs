//! The store: rows on disk, in redb.
//!
//! It holds what must be true of the rows alone (an ID or name belongs to one object, an index row has
//! its record, a reference its target) and knows no status, no rule of containers and no file but its
//! own. One [`Store`] owns `STORE/ctrfs.redb`; readers take a [`Snapshot`], writers go through
//! [`Store::update`], which returns when the change is on disk.

mod backend;
mod check;
mod commit;
mod content;
mod error;
mod items;
mod migrate;
mod more;
mod query;
mod reserve;
mod tables;
mod update;

use std::cell::Cell;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{MappedRwLockReadGuard, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use redb::{Database, ReadableDatabase, StorageBackend};

use self::backend::{Noting, Unlocked};
use self::commit::{Batch, Job, Line, Ran};
use self::reserve::Reserve;
use self::tables::meta;

use crate::model::record::{List, Nanos};

pub use self::check::{Fix, Mend, findings};
pub use self::content::Contents;
pub use self::error::{OpenError, StoreError};
pub use self::items::Items;
pub use self::more::{ExitCode, Extras};
pub use self::query::{Query, Rows, Snapshot, Update};
pub use self::tables::SCHEMA;
pub use self::update::{Done, Taken};

/// The database's file in a store.
pub const FILE: &str = "ctrfs.redb";
/// The file whose lock means that a store is in use.
pub const LOCK: &str = "lock";

/// The page cache of a copy that is already in memory.
const COPY_CACHE: usize = 1 << 20;

/// An open store.
pub struct Store {
    path: PathBuf,
    open: Box<dyn Fn() -> Result<Opened, OpenError> + Send + Sync>,
    db: RwLock<Option<Opened>>,
    line: Line,
    /// Answers that have arrived and can be dropped by the next transaction.
    arrived: Mutex<Vec<(u64, u64)>>,
    /// Whether something was committed since the last quick-repair commit.
    unsettled: AtomicBool,
    /// Space for when the disk is full; a store in memory has none.
    reserve: Option<Arc<Reserve>>,
}

/// The database, and whether an I/O error has made it useless since it was opened.
struct Opened {
    db: Database,
    failed: Arc<AtomicBool>,
}

impl Opened {
    fn is_useful(&self) -> bool {
        !self.failed.load(Ordering::Acquire)
    }

    /// Does something, after whose failure it is opened anew.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        work(&self.db).inspect_err(|_| self.failed.store(true, Ordering::Release))
    }
}

/// Makes a store in a directory that is absent or empty, under a UUID of its own.
///
/// # Errors
/// [`OpenError::Exists`], [`OpenError::NotEmpty`], or what the filesystem or database says.
pub fn create(dir: &Path, uuid: &str, now: Nanos) -> Result<(), OpenError> {
    let io = |error| OpenError::Io { path: dir.to_owned(), error };
    if dir.join(FILE).exists() {
        return Err(OpenError::Exists(dir.to_owned()));
    }
    match fs::read_dir(dir) {
        Ok(mut entries) => {
            // A new ext4 is as empty as a directory of its own can be.
            if entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "lost+found")) {
                return Err(OpenError::NotEmpty(dir.to_owned()));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().mode(0o700).create(dir).map_err(io)?;
        }
        Err(error) => return Err(io(error)),
    }
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(io)?;
    let temporary = dir.join("ctrfs.redb.new");
    let made = write_new(&temporary, uuid, now).and_then(|()| fs::rename(&temporary, dir.join(FILE)).map_err(io));
    if made.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    made?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)
}

fn write_new(path: &Path, uuid: &str, now: Nanos) -> Result<(), OpenError> {
    let io = |error| OpenError::Io { path: path.to_owned(), error };
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    let db = Database::builder().create_with_backend(Unlocked::new(file)).map_err(StoreError::from)?;
    let txn = db.begin_write().map_err(StoreError::from)?;
    {
        let update = Update { txn: &txn, wrote: Cell::new(false) };
        update.create_tables(uuid, now)?;
    }
    txn.commit().map_err(StoreError::from)?;
    Ok(())
}

impl Update<'_> {
    fn create_tables(&self, uuid: &str, now: Nanos) -> Result<(), StoreError> {
        let mut table = self.table(tables::META)?;
        table.insert(meta::SCHEMA, SCHEMA.to_le_bytes().as_slice())?;
        table.insert(meta::UUID, uuid.as_bytes())?;
        table.insert(meta::MADE, now.to_le_bytes().as_slice())?;
        drop(table);
        self.table(tables::RUNTIME)?;
        self.table(tables::IDS)?;
        self.table(tables::NAMES)?;
        self.table(tables::OBJECTS)?;
        self.table(tables::ROWS)?;
        self.table(tables::DOCS)?;
        self.table(tables::NEEDS)?;
        self.table(tables::NEEDED)?;
        self.table(tables::MEMBERS)?;
        for list in List::ALL {
            self.touch_list(list, now)?;
        }
        self.table(tables::REQUESTS)?;
        self.create_content_tables()?;
        self.create_more_tables()
    }
}

impl Store {
    /// Opens the store in a directory. `cache` is the memory for its pages, in bytes. The caller holds
    /// the store's lock.
    ///
    /// # Errors
    /// [`OpenError::NoStore`], [`OpenError::NewerSchema`], [`OpenError::Damaged`].
    pub fn open(dir: &Path, cache: usize) -> Result<Store, OpenError> {
        let (path, beside) = (dir.join(FILE), dir.join(reserve::FILE));
        if !path.exists() {
            return Err(OpenError::NoStore(dir.to_owned()));
        }
        let reserve = Reserve::open(&beside).map_err(|error| OpenError::Io { path: beside, error })?;
        let reserve = Arc::new(reserve);
        let backend = Arc::clone(&reserve);
        let mut store = Store::open_with_backend(dir, cache, move || Unlocked::open(&path, Arc::clone(&backend)))?;
        store.reserve = Some(reserve);
        Ok(store)
    }

    /// Opens a copy of a store in memory, so that looking at it writes nothing, not even a repair.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_copy(dir: &Path) -> Result<Store, OpenError> {
        let path = dir.join(FILE);
        let store = Store::open_with_backend(dir, COPY_CACHE, move || backend::copy(&path))?;
        store.verify()?;
        Ok(store)
    }

    /// Reads the whole file and compares all checksums, which opening one that was closed well does not.
    ///
    /// # Errors
    /// [`OpenError::Damaged`].
    pub fn verify(&self) -> Result<(), OpenError> {
        let mut db = self.db.write();
        let Opened { db, .. } = db.as_mut().ok_or(StoreError::Closed)?;
        match in_words(&self.path, || db.check_integrity().map_err(|error| error.to_string()))? {
            true => Ok(()),
            false => {
                Err(OpenError::Damaged { path: self.path.clone(), why: "it does not know its free pages".to_owned() })
            }
        }
    }

    /// Opens the store that `backend` leads to, called again whenever an I/O error makes it necessary
    /// to open it anew; `dir` is what errors call it. The one way in: a file, a copy in memory, or a
    /// disk that fails on purpose differ by their backend only.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with_backend<B: StorageBackend>(
        dir: &Path,
        cache: usize,
        backend: impl Fn() -> io::Result<B> + Send + Sync + 'static,
    ) -> Result<Store, OpenError> {
        let name = dir.to_owned();
        let open = move || {
            let backend = backend().map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => OpenError::NoStore(name.clone()),
                _ => OpenError::Io { path: name.join(FILE), error },
            })?;
            open_database(&name.join(FILE), backend, cache)
        };
        let store = Store {
            path: dir.join(FILE),
            db: RwLock::new(Some(open()?)),
            open: Box::new(open),
            line: Line::default(),
            arrived: Mutex::default(),
            unsettled: AtomicBool::new(true),
            reserve: None,
        };
        match in_words(&store.path, || store.snapshot()?.schema())? {
            SCHEMA => Ok(store),
            found if found > SCHEMA => Err(OpenError::NewerSchema { path: dir.to_owned(), found }),
            0 => Err(OpenError::Damaged { path: dir.to_owned(), why: "it has no schema".to_owned() }),
            found => {
                store.update(move |update| update.migrate(found))?;
                log::info!("the store {} was brought from schema {found} to {SCHEMA}", dir.display());
                Ok(store)
            }
        }
    }

    /// The last committed state.
    ///
    /// # Errors
    /// What the database says.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot(self.opened()?.db.begin_read()?))
    }

    /// Runs one request's checks and writes and commits them, all or nothing; returns once they are on
    /// disk. `job` checks everything before its first write and may run more than once.
    ///
    /// # Errors
    /// What `job` refused, or what kept the commit from the disk.
    pub fn update<T, E>(&self, mut job: impl FnMut(&Update<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let slot = Arc::new(Mutex::new(None));
        let result = Arc::clone(&slot);
        let job: Job = Box::new(move |update| {
            let outcome = job(update);
            let ran = if outcome.is_ok() { Ran::Wrote } else { Ran::Refused };
            *result.lock() = Some(outcome);
            ran
        });
        let committed = self.line.join(self, job);
        let outcome = slot.lock().take();
        match (committed, outcome) {
            (_, Some(Err(refused))) => Err(refused),
            (Err(error), _) => Err(error.into()),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Ok(()), None) => Err(StoreError::Closed.into()),
        }
    }

    /// Whether there is room for more. What makes the store larger asks this first.
    ///
    /// # Errors
    /// [`StoreError::NoSpace`] while the reserve is needed for what makes room.
    pub fn room(&self) -> Result<(), StoreError> {
        match &self.reserve {
            Some(reserve) if !reserve.is_whole() => Err(StoreError::NoSpace),
            _ => Ok(()),
        }
    }

    /// Says that the answer of a request has arrived, so that the next transaction can drop it.
    pub fn arrived(&self, connection: u64, unique: u64) {
        self.arrived.lock().push((connection, unique));
    }

    /// Makes a quick-repair commit if something was committed since the last: opening after a kill
    /// then takes no walk through the whole file.
    ///
    /// # Errors
    /// What the database says.
    pub fn settle(&self) -> Result<(), StoreError> {
        if !self.unsettled.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        self.opened()?.with(|db| {
            let mut txn = db.begin_write()?;
            txn.set_quick_repair(true);
            Ok(txn.commit()?)
        })
    }

    /// The database, opened anew where an I/O error has made it useless, in reading too.
    fn opened(&self) -> Result<MappedRwLockReadGuard<'_, Opened>, StoreError> {
        let useful = |db: &Option<Opened>| db.as_ref().is_some_and(Opened::is_useful);
        let mut db = self.db.read();
        if !useful(&db) {
            drop(db);
            let mut useless = self.db.write();
            // Of those that wait here, the first opens it for all.
            if !useful(&useless) {
                close(useless.take());
                let opened =
                    (self.open)().inspect_err(|error| log::error!("the store cannot be opened again: {error}"));
                *useless = opened.ok();
            }
            db = RwLockWriteGuard::downgrade(useless);
        }
        RwLockReadGuard::try_map(db, Option::as_ref).map_err(|_| StoreError::Closed)
    }
}

impl Batch for Store {
    fn run(&self, jobs: &mut dyn Iterator<Item = &mut Job>) -> Result<bool, StoreError> {
        self.opened()?.with(|db| {
            let txn = db.begin_write()?;
            let mut anything = false;
            for job in jobs {
                let update = Update { txn: &txn, wrote: Cell::new(false) };
                match job(&update) {
                    Ran::Refused if update.wrote.get() => {
                        txn.abort()?;
                        return Ok(false);
                    }
                    Ran::Refused | Ran::Wrote => anything |= update.wrote.get(),
                }
            }
            if !anything {
                txn.abort()?;
                return Ok(true);
            }
            let arrived = std::mem::take(&mut *self.arrived.lock());
            let update = Update { txn: &txn, wrote: Cell::new(false) };
            update.drop_answers(&arrived)?;
            txn.commit()?;
            self.unsettled.store(true, Ordering::Relaxed);
            Ok(true)
        })
    }
}

fn open_database(path: &Path, backend: impl StorageBackend, cache: usize) -> Result<Opened, OpenError> {
    let (backend, failed) = Noting::new(backend);
    if backend.len().map_err(|error| OpenError::Io { path: path.to_owned(), error })? == 0 {
        return Err(OpenError::Damaged { path: path.to_owned(), why: "the file is empty".to_owned() });
    }
    let db = in_words(path, || Database::builder().set_cache_size(cache).create_with_backend(backend))?;
    Ok(Opened { db, failed })
}

impl Drop for Store {
    fn drop(&mut self) {
        close(self.db.get_mut().take());
    }
}

/// Closing writes, and meets damage like opening.
fn close(db: Option<Opened>) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(db))).is_err() {
        log::error!("the store was not closed well: it is damaged");
    }
}

/// Damage in words: redb 4.4 asserts, rather than refuses, on some.
fn in_words<T, E: fmt::Display>(path: &Path, look: impl FnOnce() -> Result<T, E>) -> Result<T, OpenError> {
    let damaged = |why: String| OpenError::Damaged { path: path.to_owned(), why };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(look)) {
        Ok(looked) => looked.map_err(|error| damaged(error.to_string())),
        Err(_) => Err(damaged("the file is not a sound database".to_owned())),
    }
}
