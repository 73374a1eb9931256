//! What can go wrong with the store itself.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// A failure below the rules: the disk, the database, a damaged row. Cheap to clone, for one failed
/// commit answers every request in it.
#[derive(Clone, Debug)]
pub enum StoreError {
    /// No space is left for the database.
    NoSpace,
    /// The database refused: an I/O error or damage.
    Database(Arc<redb::Error>),
    /// A row that does not decode.
    Row {
        /// The serial of the row.
        serial: u64,
        /// What is wrong.
        why: String,
    },
    /// The database could not be opened again after an I/O error.
    Closed,
    /// An index points at what is not there.
    Dangling {
        /// The table.
        table: &'static str,
        /// The key, in words.
        key: String,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::NoSpace => f.write_str("no space is left for the store"),
            StoreError::Database(error) => write!(f, "the database failed: {error}"),
            StoreError::Row { serial, why } => write!(f, "row {serial} does not decode: {why}"),
            StoreError::Closed => f.write_str("the store is closed after an I/O error"),
            StoreError::Dangling { table, key } => write!(f, "{table} {key} points at nothing"),
        }
    }
}

impl std::error::Error for StoreError {}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> StoreError {
        match error.into() {
            redb::Error::Io(io) if io.raw_os_error() == Some(NO_SPACE) => StoreError::NoSpace,
            other => StoreError::Database(Arc::new(other)),
        }
    }
}

/// ENOSPC, as the kernel numbers it.
const NO_SPACE: i32 = 28;

/// Why a store could not be opened or made.
#[derive(Debug)]
pub enum OpenError {
    /// There is no store in the directory.
    NoStore(PathBuf),
    /// There is one already.
    Exists(PathBuf),
    /// The directory is not empty and holds no store.
    NotEmpty(PathBuf),
    /// It was written by a newer program.
    NewerSchema {
        /// The store.
        path: PathBuf,
        /// Its schema.
        found: u64,
    },
    /// The file is no store or is damaged.
    Damaged {
        /// The store.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Somebody else has it open.
    InUse {
        /// The store.
        path: PathBuf,
        /// Who, in words.
        by: String,
    },
    /// The filesystem refused.
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The database failed.
    Store(StoreError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::NoStore(path) => {
                write!(f, "{}: no store there (make one with `ctrfs init {0}`)", path.display())
            }
            OpenError::Exists(path) => write!(f, "{}: there is a store already", path.display()),
            OpenError::NotEmpty(path) => write!(f, "{}: not empty, and not a store", path.display()),
            OpenError::NewerSchema { path, found } => write!(
                f,
                "{}: the store has schema {found}; this program knows {} and older",
                path.display(),
                super::tables::SCHEMA
            ),
            OpenError::Damaged { path, why } => write!(f, "{}: not a sound store: {why}", path.display()),
            OpenError::InUse { path, by } => write!(f, "{}: the store is in use by {by}", path.display()),
            OpenError::Io { path, error } => write!(f, "{}: {error}", path.display()),
            OpenError::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> OpenError {
        OpenError::Store(error)
    }
}
