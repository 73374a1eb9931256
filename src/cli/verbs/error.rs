//! Why a verb failed, in words for the person who typed it.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::tree::Kind;
use crate::daemon::offline::OfflineError;
use crate::driver::export::{CommitError, ExportError};
use crate::driver::image::ImageError;
use crate::driver::mounts::MountError;
use crate::model::error::Refusal;
use crate::sys::errno::say;

/// Why a verb failed.
#[derive(Debug)]
pub(crate) enum Error {
    /// No ctrfs is mounted and none was named.
    NoMount,
    /// More than one ctrfs is mounted and none was named.
    SeveralMounts(Vec<PathBuf>),
    /// The directory named as the mount is not the root of a tree.
    NotATree(PathBuf),
    /// The kernel's list of mounts cannot be read.
    Mounts(io::Error),
    /// The tree's file for this request does not open.
    Entry { path: PathBuf, cause: io::Error },
    /// A call on the tree failed; `reason` is what `refusals` says about it.
    Call { what: String, cause: io::Error, reason: Option<String> },
    /// The tree gave fewer results than it was given documents.
    FewAnswers { documents: usize, answers: usize },
    /// Standard input cannot be read.
    Input(io::Error),
    /// Standard input holds no document.
    NoDocument,
    /// Standard input ends inside a document.
    CutDocument,
    /// The argument can be neither an ID nor a name.
    BadName(String),
    /// No object of the kind has this ID or exact name.
    NoSuch { what: String, kind: Kind },
    /// The name belongs to an object of the other kind.
    OtherKind { name: String, is: Kind },
    /// A table has no header, or a row does not have the header's columns.
    TableShape { table: &'static str, line: usize },
    /// A table has no column of this name.
    NoColumn { table: &'static str, column: String, columns: Vec<String> },
    /// The container has no root filesystem.
    NoRootfs { what: String },
    /// The container's files are a plain directory, with nothing below.
    NoLayers { what: String, rootfs: PathBuf },
    /// The container has no layer of its own yet.
    NeverMounted { what: String },
    /// The container was removed while its files were read.
    Removed { what: String },
    /// A document of the tree is no JSON.
    Document(String),
    /// The image's layers cannot be seen together.
    Layers(MountError),
    /// Files cannot be read, or not compared.
    Export(ExportError),
    /// No image can be made of them.
    Commit(CommitError),
    /// An archive would go to a terminal.
    Terminal,
    /// The file cannot be written.
    File { path: PathBuf, cause: io::Error },
    /// Nobody can be asked whether everything is to go.
    Unconfirmed,
    /// Whoever was asked said no.
    Declined,
    /// Signals cannot be waited for.
    Signals(io::Error),
    /// A signal came; what was begun has been removed.
    Interrupted,
    /// The directory cannot be looked at.
    Directory { dir: PathBuf, cause: io::Error },
    /// The store cannot be made or opened.
    Store(OfflineError),
    /// The store is another user's.
    OthersStore { store: PathBuf, owner: u32 },
    /// The image cannot be imported.
    Image(ImageError),
    /// The argument is no name of an image.
    ImageName(Refusal),
    /// Standard output cannot be written.
    Output(io::Error),
}

/// Exit status after SIGINT, as shells have it.
const INTERRUPTED: u8 = 130;

impl Error {
    /// The exit status of a verb that failed so.
    pub(super) fn status(&self) -> ExitCode {
        match self {
            Error::Interrupted | Error::Image(ImageError::Cancelled) => ExitCode::from(INTERRUPTED),
            _ => ExitCode::FAILURE,
        }
    }

    /// Whether the tree said that there is no such object.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Error::Call { cause, .. } => {
                matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::StaleNetworkFileHandle)
            }
            Error::NoSuch { .. } => true,
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoMount => f.write_str(
                "no ctrfs is mounted here; mount one with `mount -t ctrfs STORE MOUNTPOINT` \
                 (a new store is made with `ctrfs init STORE`)",
            ),
            Error::SeveralMounts(mounts) => {
                f.write_str("several ctrfs are mounted; choose one with --at MOUNTPOINT:")?;
                mounts.iter().try_for_each(|mount| write!(f, "\n  {}", mount.display()))
            }
            Error::NotATree(path) => {
                write!(f, "{}: not the mountpoint of a ctrfs", path.display())
            }
            Error::Mounts(cause) => write!(f, "/proc/self/mountinfo: {}", say(cause)),
            Error::Entry { path, cause } => write!(f, "{}: {}", path.display(), say(cause)),
            Error::Call { what, cause, reason } => match reason {
                Some(reason) => write!(f, "{what}: {reason}"),
                None => write!(f, "{what}: {}", say(cause)),
            },
            Error::FewAnswers { documents, answers } => {
                write!(f, "documents written: {documents}, results read back: {answers}")
            }
            Error::Input(cause) => write!(f, "standard input: {}", say(cause)),
            Error::NoDocument => f.write_str("no JSON document on standard input"),
            Error::CutDocument => f.write_str("standard input ends inside a JSON document; nothing was written"),
            Error::BadName(name) => write!(f, "{name:?} can be neither an ID nor a name"),
            Error::NoSuch { what, kind } => {
                write!(f, "{what}: no {} has this ID or exact name", kind.noun())
            }
            Error::OtherKind { name, is } => match is {
                Kind::Container => write!(f, "{name} is a container, not a pod"),
                Kind::Pod => write!(f, "{name} is a pod, not a container (see --pod)"),
            },
            Error::TableShape { table, line } => {
                write!(f, "{table}, line {line}: not a row under its header")
            }
            Error::NoColumn { table, column, columns } => {
                write!(f, "{table} has no column {column:?}; it has {}", columns.join(", "))
            }
            Error::NoRootfs { what } => write!(f, "{what}: it has neither an image nor a rootfs"),
            Error::NoLayers { what, rootfs } => {
                write!(f, "{what}: it has no image, its files are those of {}", rootfs.display())
            }
            Error::NeverMounted { what } => {
                write!(f, "{what}: it was never mounted, so that it has nothing but its image")
            }
            Error::Removed { what } => write!(f, "{what}: it was removed meanwhile"),
            Error::Document(entry) => write!(f, "{entry}: not JSON"),
            Error::Layers(cause) => cause.fmt(f),
            Error::Export(cause) => cause.fmt(f),
            Error::Commit(cause) => cause.fmt(f),
            Error::Terminal => f.write_str("no archive is written to a terminal; name a file, or redirect the output"),
            Error::Unconfirmed => {
                f.write_str("there is no terminal to ask on whether everything is to go; say so with --yes")
            }
            Error::Declined => f.write_str("nothing was removed"),
            Error::File { path, cause } => write!(f, "{}: {}", path.display(), say(cause)),
            Error::Signals(cause) => write!(f, "signals: {}", say(cause)),
            Error::Interrupted => f.write_str("interrupted; nothing was made"),
            Error::Directory { dir, cause } => write!(f, "{}: {}", dir.display(), say(cause)),
            Error::Store(cause) => cause.fmt(f),
            Error::OthersStore { store, owner } => {
                write!(f, "{}: the store belongs to user {owner}, who alone can import into it", store.display())
            }
            Error::Image(cause) => cause.fmt(f),
            Error::ImageName(cause) => cause.fmt(f),
            Error::Output(cause) => write!(f, "standard output: {}", say(cause)),
        }
    }
}

impl StdError for Error {}
