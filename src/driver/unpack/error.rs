//! Why a layer cannot be unpacked.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::model::digest::Digest;
use crate::sys::errno;

/// Why a layer cannot be unpacked.
#[derive(Debug)]
pub enum UnpackError {
    /// The directory to unpack into cannot be opened or prepared.
    Root {
        /// The directory.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The blob's bytes cannot be had.
    Read(io::Error),
    /// The blob is not as long as claimed.
    BlobSize {
        /// The digest claimed.
        blob: Digest,
        /// The size claimed.
        claimed: u64,
        /// The bytes found.
        found: u64,
        /// Whether that is all; otherwise reading stopped there.
        ended: bool,
    },
    /// The blob is not the one claimed.
    BlobDigest {
        /// The digest claimed.
        claimed: Digest,
        /// The blob's digest.
        found: Digest,
    },
    /// The blob is right, but what it unpacks to is not what was claimed.
    DiffId {
        /// The blob's digest.
        blob: Digest,
        /// The diff-id claimed.
        claimed: Digest,
        /// The stream's digest.
        found: Digest,
    },
    /// The blob is compressed, and damaged or cut off.
    Decode {
        /// How it is compressed.
        form: &'static str,
        /// What the decoder says.
        source: io::Error,
    },
    /// The blob unpacks to more than any honest one.
    Ratio {
        /// The bytes that one byte may become.
        most: u64,
    },
    /// The stream is no sound tar archive.
    Tar {
        /// The last entry that was sound.
        after: Option<Vec<u8>>,
        /// What is wrong.
        reason: String,
    },
    /// An entry cannot be unpacked.
    Entry {
        /// Its path as the archive has it.
        path: Vec<u8>,
        /// Why.
        problem: Problem,
    },
}

impl UnpackError {
    /// Whether bytes that are not what they should be explain it.
    pub fn is_damage(&self) -> bool {
        match self {
            UnpackError::BlobSize { .. }
            | UnpackError::BlobDigest { .. }
            | UnpackError::DiffId { .. }
            | UnpackError::Decode { .. }
            | UnpackError::Tar { .. } => true,
            UnpackError::Root { .. } | UnpackError::Read(_) | UnpackError::Ratio { .. } | UnpackError::Entry { .. } => {
                false
            }
        }
    }
}

/// Why an entry cannot be unpacked.
#[derive(Debug)]
pub enum Problem {
    /// A path leads upwards.
    Upwards,
    /// A name cannot be a file's: what is wrong with it.
    Name(&'static str),
    /// A directory above it is a file, or a link that leads nowhere; its path.
    NoDirectory(Vec<u8>),
    /// A hard link to something that the layer does not hold; its target.
    NoTarget(Vec<u8>),
    /// An ID that the user namespace does not map.
    Unmapped {
        /// Owner.
        uid: u64,
        /// Group.
        gid: u64,
    },
    /// Something is more than a layer may have.
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The most.
        most: u64,
    },
    /// The filesystem has no room.
    NoSpace {
        /// Bytes that the entry needs.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The filesystem does not take an extended attribute.
    Xattr {
        /// The attribute.
        name: Vec<u8>,
        /// What the kernel says.
        source: io::Error,
    },
    /// The kernel refused a step.
    Kernel {
        /// What was tried.
        step: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnpackError::Root { path, source } => write!(f, "{}: {}", path.display(), errno::say(source)),
            UnpackError::Read(error) => write!(f, "the blob cannot be read: {}", errno::say(error)),
            UnpackError::BlobSize { blob, claimed, found, ended: true } => {
                write!(f, "the blob {blob} is damaged: it has {found} bytes, {claimed} are claimed")
            }
            UnpackError::BlobSize { blob, claimed, .. } => {
                write!(f, "the blob {blob} is damaged: it has more than the {claimed} bytes claimed")
            }
            UnpackError::BlobDigest { claimed, found } => {
                write!(f, "the blob {claimed} is damaged: its digest is {found}")
            }
            UnpackError::DiffId { blob, claimed, found } => {
                write!(f, "the blob {blob} unpacks to {found}, its diff-id is claimed to be {claimed}")
            }
            UnpackError::Decode { form, source } => write!(f, "the {form} stream is damaged or cut off: {source}"),
            UnpackError::Ratio { most } => {
                write!(f, "the blob unpacks to more than {most} times its size, which is refused")
            }
            UnpackError::Tar { after: None, reason } => write!(f, "no sound tar archive: {reason}"),
            UnpackError::Tar { after: Some(path), reason } => {
                write!(f, "no sound tar archive: {reason}, after the entry {}", shown(path))
            }
            UnpackError::Entry { path, problem } => write!(f, "entry {}: {problem}", shown(path)),
        }
    }
}

impl std::error::Error for UnpackError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Upwards => f.write_str("a path with '..' is refused"),
            Problem::Name(what) => f.write_str(what),
            Problem::NoDirectory(path) => write!(f, "{} above it leads to no directory of this layer", shown(path)),
            Problem::NoTarget(path) => write!(f, "a hard link to {}, which this layer does not hold", shown(path)),
            Problem::Unmapped { uid, gid } => {
                write!(f, "belongs to {uid}:{gid}, and this user namespace does not map both of these IDs")
            }
            Problem::TooMuch { what, most } => write!(f, "{what}, {most} are the most"),
            Problem::NoSpace { needed, free } => {
                write!(f, "no room for its {needed} bytes, {free} are free on this filesystem")
            }
            Problem::Xattr { name, source } => {
                write!(f, "cannot set its extended attribute {}: {}", shown(name), errno::say(source))
            }
            Problem::Kernel { step, source } => write!(f, "cannot {step}: {}", errno::say(source)),
        }
    }
}

/// Names the step at which the kernel refused.
pub(super) fn step(step: &'static str) -> impl Fn(io::Error) -> Problem {
    move |source| Problem::Kernel { step, source }
}

/// A path for people: one line, whatever the archive says.
fn shown(path: &[u8]) -> String {
    const MOST: usize = 256;
    let cut = if path.len() > MOST { "..." } else { "" };
    format!("'{}{cut}'", path[..path.len().min(MOST)].escape_ascii())
}
