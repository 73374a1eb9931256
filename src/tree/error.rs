//! The one place where an errno is chosen.

use std::ffi::OsStr;
use std::io;

use crate::engine::{Error, MountError, StoreError};
use crate::model::error::Refusal;

/// An errno with its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno {
    /// The number that the kernel knows.
    pub code: i32,
    /// The name that people know.
    pub name: &'static str,
}

macro_rules! errnos {
    ($($name:ident = $code:literal),* $(,)?) => {
        impl Errno {
            $(
                #[doc = concat!("`", stringify!($name), "`")]
                pub const $name: Errno = Errno { code: $code, name: stringify!($name) };
            )*
        }
    };
}

// The numbers of Linux on every architecture that Rust and FUSE share (asm-generic).
errnos! {
    EPERM = 1, ENOENT = 2, EIO = 5, EACCES = 13, EBUSY = 16, EEXIST = 17, EXDEV = 18, ENOTDIR = 20, EISDIR = 21,
    EINVAL = 22, EFBIG = 27, ENOSPC = 28, EROFS = 30, ENAMETOOLONG = 36, ENOTEMPTY = 39, ELOOP = 40, ENOTUNIQ = 76,
    ESTALE = 116, EDQUOT = 122,
}

/// The errno of an error.
pub fn errno(error: &Error) -> Errno {
    match error {
        Error::Refused(refusal) => refused(refusal),
        Error::Store(store) => failed(store),
        Error::Mount(mount) => unmounted(mount),
        Error::Outside(error) => kernel(error),
        Error::TakenBack(error, _) => errno(error),
    }
}

/// Whether an error says that there is no such thing: routine, and not noted.
pub fn is_absent(error: &Error) -> bool {
    matches!(error, Error::Refused(Refusal::Gone | Refusal::NoSuch { .. } | Refusal::NoKey { .. }))
}

/// Whether an error says that the bytes so far complete no document.
pub fn is_incomplete(error: &Error) -> bool {
    matches!(error, Error::Refused(Refusal::Incomplete { .. }))
}

/// A name as text. Names of the tree are UTF-8; no other name leads anywhere.
///
/// # Errors
/// [`Refusal::BadName`].
pub fn name_text(name: &OsStr) -> Result<&str, Error> {
    let bad = || Refusal::BadName { name: name.to_string_lossy().into_owned(), rule: "a name is UTF-8" };
    name.to_str().ok_or_else(|| bad().into())
}

fn refused(refusal: &Refusal) -> Errno {
    match refusal {
        Refusal::NoSuch { .. } | Refusal::NoKey { .. } => Errno::ENOENT,
        Refusal::IdTaken { .. } | Refusal::NameTaken { .. } | Refusal::TagTaken { .. } | Refusal::KeyTaken { .. } => {
            Errno::EEXIST
        }
        Refusal::AmbiguousPrefix { .. } => Errno::ENOTUNIQ,
        Refusal::HasDependents { .. }
        | Refusal::Live { .. }
        | Refusal::InUse { .. }
        | Refusal::Mounted { .. }
        | Refusal::Busy { .. }
        | Refusal::NotConfigured { .. }
        | Refusal::HasItems { .. }
        | Refusal::Infra { .. }
        | Refusal::LastName { .. } => Errno::EBUSY,
        Refusal::PodNotEmpty { .. } | Refusal::NamesBelow { .. } => Errno::ENOTEMPTY,
        Refusal::BadName { .. }
        | Refusal::NoName
        | Refusal::BadMap { .. }
        | Refusal::MapOverlaps { .. }
        | Refusal::BadFlag { .. }
        | Refusal::LoneLabel { .. }
        | Refusal::NotUtf8 { .. }
        | Refusal::BadJson(_)
        | Refusal::BadByte { .. }
        | Refusal::NotAnObject
        | Refusal::BadKey { .. }
        | Refusal::BadValue { .. }
        | Refusal::Incomplete { .. }
        | Refusal::GivenUp
        | Refusal::NoAccount { .. }
        | Refusal::NoRootfs { .. }
        | Refusal::NoLayer { .. }
        | Refusal::NeedsVolatile { .. }
        | Refusal::BadDigest { .. }
        | Refusal::UnknownVerb { .. }
        | Refusal::UnknownKey { .. } => Errno::EINVAL,
        Refusal::TooLarge { .. } => Errno::EFBIG,
        Refusal::LongKey { .. } => Errno::ENAMETOOLONG,
        Refusal::DependsOnItself { .. } => Errno::ELOOP,
        Refusal::CrossesPod { .. } | Refusal::OtherDirectory => Errno::EXDEV,
        Refusal::FixedKey { .. }
        | Refusal::FixedFlag { .. }
        | Refusal::PrefixNotExact { .. }
        | Refusal::NotYours { .. } => Errno::EPERM,
        Refusal::ReadOnly { .. } => Errno::EACCES,
        Refusal::Changed | Refusal::Gone => Errno::ESTALE,
        Refusal::Undecodable { .. } => Errno::EIO,
    }
}

fn unmounted(error: &MountError) -> Errno {
    match error {
        MountError::Overlay(refusal) | MountError::Shm(refusal) => kernel(&refusal.error),
        MountError::Step { error, .. } => kernel(error),
        MountError::TooManyLayers(_) | MountError::NoLayer | MountError::NoShmSize => Errno::EINVAL,
        MountError::InUse { .. } => Errno::EBUSY,
        MountError::Suspect(_) | MountError::NotMounted(..) => Errno::EIO,
        MountError::Several(errors) => errors.first().map_or(Errno::EIO, unmounted),
    }
}

/// The kernel's own errno where it is one that a caller of ours can meet, else EIO.
fn kernel(error: &io::Error) -> Errno {
    let code = error.raw_os_error();
    let known = [Errno::EPERM, Errno::EACCES, Errno::EBUSY, Errno::EINVAL, Errno::ENOSPC, Errno::EROFS, Errno::EDQUOT];
    known.into_iter().find(|known| Some(known.code) == code).unwrap_or(Errno::EIO)
}

fn failed(error: &StoreError) -> Errno {
    match error {
        StoreError::NoSpace => Errno::ENOSPC,
        StoreError::Database(_) | StoreError::Row { .. } | StoreError::Dangling { .. } | StoreError::Closed => {
            Errno::EIO
        }
    }
}
