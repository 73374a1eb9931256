//! What goes wrong with mounts.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::{MAX_LAYERS, Part};
use crate::model::id::Id;
use crate::sys::errno::say;
use crate::sys::mounting::Refusal;

/// Why something could not be mounted or unmounted.
#[derive(Debug)]
pub enum MountError {
    /// The kernel made no overlay.
    Overlay(Refusal),
    /// The kernel made no tmpfs for shared memory.
    Shm(Refusal),
    /// More layers than the kernel puts into one overlay.
    TooManyLayers(usize),
    /// An overlay of nothing.
    NoLayer,
    /// Shared memory of no bytes: for the kernel that means half of all memory, or no limit.
    NoShmSize,
    /// Another overlay writes to this upper directory; where, if it is mounted in this namespace.
    InUse {
        /// The upper directory.
        upper: PathBuf,
        /// Where the other overlay is mounted, as far as this mount namespace shows.
        mounted_at: Option<PathBuf>,
    },
    /// The upper directory was last mounted volatile in a boot that is over: what it holds may be
    /// torn.
    Suspect(PathBuf),
    /// A view of something that is not mounted.
    NotMounted(Id, Part),
    /// A step with a directory failed.
    Step {
        /// What was tried: `make`, `unmount`.
        step: &'static str,
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// All that went wrong where the first failure did not end the work.
    Several(Vec<MountError>),
}

impl MountError {
    /// For `map_err`: a failed step with `path`.
    pub(super) fn step<E: Into<io::Error>>(
        step: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> MountError {
        let path = path.into();
        move |error| MountError::Step { step, path, error: error.into() }
    }
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlay(refusal) => write!(f, "the kernel makes no overlay: {refusal}"),
            Self::Shm(refusal) => write!(f, "the kernel makes no tmpfs for shared memory: {refusal}"),
            Self::TooManyLayers(count) => write!(f, "{count} layers; an overlay takes {MAX_LAYERS} at most"),
            Self::NoLayer => f.write_str("no layer; an overlay takes at least one"),
            Self::NoShmSize => f.write_str("the size of shared memory is 0; it must be a number of bytes above"),
            Self::InUse { upper, mounted_at: Some(place) } => {
                write!(f, "{} is in use by the overlay mounted at {}", upper.display(), place.display())
            }
            Self::InUse { upper, mounted_at: None } => write!(
                f,
                "{} is in use by an overlay that another mount namespace has, or that is just ending",
                upper.display()
            ),
            Self::Suspect(upper) => write!(
                f,
                "{} was mounted volatile when the machine went down; what it holds may be torn",
                upper.display()
            ),
            Self::NotMounted(key, part) => write!(f, "the {part} of {key} is not mounted"),
            Self::Step { step, path, error } => write!(f, "cannot {step} {}: {}", path.display(), say(error)),
            Self::Several(errors) => {
                for (at, error) in errors.iter().enumerate() {
                    write!(f, "{}{error}", if at > 0 { "; " } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for MountError {}
