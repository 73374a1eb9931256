//! What a user can ask for, one function each.
//!
//! The only place that has both a transaction and a driver in reach. It asks the model before it
//! writes, writes through the store, and returns what changed as values; it knows no inode, no errno
//! and no table.

mod boot;
mod bundle;
mod check;
mod create;
mod exited;
mod extras;
mod find;
mod garbage;
mod images;
mod items;
mod layers;
mod meanwhile;
mod mount;
mod names;
mod remove;
mod rename;
mod repair;
mod report;
mod rootfs;
mod sandbox;
mod view;
mod write;

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use self::items::FileNumbers;
use crate::driver::dirs::Dirs;
use crate::driver::mounts::Mounts;
use crate::driver::run_files::RunFiles;
use crate::driver::views::Tree;
use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::record::{Answer, Change, Moment, Serial};
use crate::store::{Done, Query, Store, Update};

pub use crate::driver::mounts::MountError;
pub use crate::store::{SCHEMA, StoreError};

use self::meanwhile::Helper;

pub use self::boot::{Boot, BootError, Given};
pub use self::bundle::OwnDir;
pub use self::exited::ExitCode;
pub use self::extras::IdMap;
pub use self::find::Found;
pub use self::garbage::Rubbish;
pub use self::items::{Body, Draft, MAX_ITEM, Place as ItemPlace};
pub use self::mount::{Kept, Part, Shown};
pub use self::remove::{Order, Patience};
pub use self::repair::Task;
pub use self::view::{View, What};
pub use self::write::Edit;

/// What the engine takes from outside: time and chance.
#[derive(Clone, Copy)]
pub struct World {
    /// The time.
    pub now: fn() -> Moment,
    /// Random bytes: 32 for an ID, 8 for a name.
    pub random: fn() -> [u8; 40],
}

/// The request behind an operation, so that one that is sent again is not done again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The kernel's number of the request on its connection.
    pub unique: u64,
    /// Whether the kernel sent it before, to a server that died.
    pub resent: bool,
}

/// Why an operation did not happen.
#[derive(Clone, Debug)]
pub enum Error {
    /// A rule is in the way.
    Refused(Refusal),
    /// The store failed.
    Store(StoreError),
    /// The kernel would not mount or unmount.
    Mount(Arc<MountError>),
    /// A file beside the store could not be used.
    Outside(Arc<io::Error>),
    /// What was committed had to be taken back: these changed twice.
    TakenBack(Box<Error>, Vec<Change>),
}

impl Error {
    fn outside(error: io::Error) -> Error {
        Error::Outside(Arc::new(error))
    }

    /// What changed for all that.
    pub fn changes(&self) -> &[Change] {
        match self {
            Error::TakenBack(_, changes) => changes,
            _ => &[],
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(refusal) => refusal.fmt(f),
            Error::Store(error) => error.fmt(f),
            Error::Mount(error) => error.fmt(f),
            Error::Outside(error) => error.fmt(f),
            Error::TakenBack(error, _) => error.fmt(f),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused(refusal)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        Error::Store(error)
    }
}

impl From<MountError> for Error {
    fn from(error: MountError) -> Error {
        Error::Mount(Arc::new(error))
    }
}

/// What lies beside the store: directories, mounts, small files, and the tree that shows the mounts.
pub struct Outside {
    /// Directories of layers.
    pub dirs: Arc<Dirs>,
    /// Mounts of rootfs and shm.
    pub mounts: Mounts,
    /// Files of containers that are mounted.
    pub files: RunFiles,
    /// Where the views are.
    pub tree: Tree,
}

type Result<T> = std::result::Result<T, Error>;

/// An open store with its rules.
pub struct Engine {
    store: Arc<Store>,
    world: World,
    connection: u64,
    /// Absent where a store is only looked at.
    outside: Option<Arc<Outside>>,
    /// The directories beside the store; absent where it is looked at without them.
    dirs: Option<Arc<Dirs>>,
    /// Containers that are being mounted, unmounted or removed.
    busy: Arc<Mutex<HashSet<Serial>>>,
    /// What transactions removed whose directories are not thrown away yet, once for each of them.
    leaving: Arc<Mutex<Vec<Id>>>,
    /// Held by whoever takes mounts away.
    taking: Mutex<()>,
    /// Held by whoever deletes what was thrown away.
    emptying: Mutex<()>,
    files: FileNumbers,
    /// Whether every new container is volatile.
    transient: bool,
    /// Absent with `outside`.
    helper: Option<Helper>,
}

impl Engine {
    /// The time.
    pub fn now(&self) -> Moment {
        (self.world.now)()
    }

    fn outside(&self) -> Result<&Arc<Outside>> {
        self.outside.as_ref().ok_or(Error::Store(StoreError::Closed))
    }

    /// One committed state to ask.
    ///
    /// # Errors
    /// What the store says.
    pub fn view(&self) -> Result<View> {
        Ok(View::new(self.store.snapshot()?))
    }

    /// Says that the answer of a request has arrived.
    pub fn arrived(&self, origin: Origin) {
        self.store.arrived(self.connection, origin.unique);
    }

    /// What transactions changed whose requests may not have been answered when the last server died.
    ///
    /// # Errors
    /// What the store says.
    pub fn untold(&self) -> Result<Vec<Change>> {
        Ok(self.store.snapshot()?.answers()?.into_iter().flat_map(|done| done.changes).collect())
    }

    /// Work for idle moments.
    pub fn settle(&self) {
        if let Err(error) = self.store.settle() {
            log::warn!("the store could not be settled: {error}");
        }
    }

    /// The answer that a request got from an earlier server.
    ///
    /// # Errors
    /// What the store says.
    pub fn answered(&self, origin: Origin) -> Result<Option<Done>> {
        match origin.resent {
            true => Ok(self.store.snapshot()?.answer(self.connection, origin.unique)?),
            false => Ok(None),
        }
    }

    /// As [`Engine::apply`], for a change that makes the store larger: refused where the disk is full.
    fn apply_growing(
        &self,
        origin: Origin,
        change: impl Fn(&Update<'_>, &World) -> Result<(Answer, Vec<Change>)> + Send + 'static,
    ) -> Result<Done> {
        if self.answered(origin)?.is_none() {
            self.store.room()?;
        }
        self.apply(origin, change)
    }

    /// Runs a change in a transaction of its own, unless its request was answered before. The answer
    /// and what changed are stored with the change.
    fn apply(
        &self,
        origin: Origin,
        change: impl Fn(&Update<'_>, &World) -> Result<(Answer, Vec<Change>)> + Send + 'static,
    ) -> Result<Done> {
        match self.answered(origin)? {
            Some(done) => Ok(done),
            None => self.step(origin, change)(),
        }
    }

    /// The transaction of [`Engine::apply`], for whichever thread is to run it.
    fn step(
        &self,
        origin: Origin,
        change: impl Fn(&Update<'_>, &World) -> Result<(Answer, Vec<Change>)> + Send + 'static,
    ) -> impl FnOnce() -> Result<Done> + Send + 'static {
        let (store, world, connection) = (Arc::clone(&self.store), self.world, self.connection);
        move || {
            store.update(move |update| {
                let (answer, changes) = change(update, &world)?;
                let done = Done { answer, changes };
                if !done.changes.is_empty() {
                    update.keep_answer(connection, origin.unique, &done)?;
                }
                Ok(done)
            })
        }
    }
}
