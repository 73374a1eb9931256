//! Why an image cannot be had.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;

use crate::model::digest::Digest;
use crate::sys::errno::say;

/// Why an image cannot be had.
#[derive(Debug)]
pub enum ImageError {
    /// The words for a source are none.
    Source {
        /// The words.
        text: String,
        /// The rule that they break.
        rule: &'static str,
    },
    /// The words for a platform are none.
    PlatformText(String),
    /// A file or directory cannot be read or made.
    Io {
        /// The path or step.
        what: String,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// A document is not what it should be.
    Document {
        /// Which one.
        what: String,
        /// What is wrong with it.
        rule: String,
    },
    /// Something is longer than anything of its kind may be.
    TooLong {
        /// What it is.
        what: String,
        /// The most bytes.
        limit: u64,
    },
    /// A file that must be there is not.
    Missing {
        /// The layout, archive or store.
        place: String,
        /// The file in it.
        file: String,
    },
    /// A blob has not the digest that it was named by.
    Digest {
        /// Which blob.
        blob: String,
        /// The digest that it was named by.
        claimed: Digest,
        /// The one it has.
        found: Digest,
    },
    /// A blob has not the size that its descriptor says.
    Size {
        /// Which blob.
        blob: String,
        /// The size that its descriptor says.
        claimed: u64,
        /// The one it has.
        found: u64,
    },
    /// There are several images and none was named.
    Several {
        /// The layout, archive or store.
        place: String,
        /// What the images are called.
        names: Vec<String>,
    },
    /// No image has the name.
    NoSuch {
        /// The layout, archive or store.
        place: String,
        /// The name.
        name: String,
        /// What the images there are called.
        names: Vec<String>,
    },
    /// There is no image for the platform.
    Platform {
        /// The platform.
        wanted: String,
        /// Those there are.
        there: Vec<String>,
    },
    /// The manifest has not as many layers as the config.
    LayerCount {
        /// Layers of the manifest.
        manifest: usize,
        /// Layers of the config.
        config: usize,
    },
    /// Something is of a kind that cannot be imported.
    Unsupported {
        /// What it is.
        what: String,
        /// Why not.
        rule: &'static str,
    },
    /// A layer cannot be unpacked.
    Layer {
        /// Which one, for people.
        layer: String,
        /// Why not.
        cause: Box<dyn StdError + Send + Sync>,
    },
    /// An archive uncompresses to more than any honest one.
    Swollen {
        /// The archive.
        place: String,
        /// The bytes that one byte may become.
        most: u64,
    },
    /// There is no room for a copy of an archive.
    NoRoom {
        /// The archive.
        place: String,
        /// Bytes copied so far.
        copied: u64,
        /// Bytes free then.
        free: u64,
    },
    /// The one who asked for the import wants it no more.
    Cancelled,
}

impl ImageError {
    /// A failed call about `what`.
    pub(super) fn io(what: impl fmt::Display) -> impl FnOnce(io::Error) -> ImageError {
        move |cause| ImageError::Io { what: what.to_string(), cause }
    }

    /// A failed call on a path.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> ImageError {
        ImageError::io(path.display())
    }

    /// A document that breaks a rule.
    pub(super) fn document(what: impl Into<String>, rule: impl fmt::Display) -> ImageError {
        ImageError::Document { what: what.into(), rule: rule.to_string() }
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::Source { text, rule } => write!(f, "{text:?}: {rule}"),
            ImageError::PlatformText(text) => {
                write!(f, "{text:?}: a platform is OS/ARCHITECTURE[/VARIANT], such as linux/arm64")
            }
            ImageError::Io { what, cause } => write!(f, "{what}: {}", say(cause)),
            ImageError::Document { what, rule } => write!(f, "{what}: {rule}"),
            ImageError::TooLong { what, limit } => write!(f, "{what} is longer than {limit} bytes"),
            ImageError::Missing { place, file } => write!(f, "{place} has no {file}"),
            ImageError::Digest { blob, claimed, found } => {
                write!(f, "{blob} is damaged: it should have the digest {claimed} and has {found}")
            }
            ImageError::Size { blob, claimed, found } => {
                write!(f, "{blob} is damaged: it should have {claimed} bytes and has {found}")
            }
            ImageError::Several { place, names } => {
                write!(f, "{place} has several images; name one of them: {}", names.join(", "))
            }
            ImageError::NoSuch { place, name, names } if names.is_empty() => {
                write!(f, "{place} has no image {name}, nor any other that has a name")
            }
            ImageError::NoSuch { place, name, names } => {
                write!(f, "{place} has no image {name}; it has {}", names.join(", "))
            }
            ImageError::Platform { wanted, there } => {
                write!(f, "there is no image for {wanted}; there is {}", list(there))
            }
            ImageError::LayerCount { manifest, config } => {
                write!(f, "the manifest has {manifest} layers and the config {config}: they do not belong together")
            }
            ImageError::Unsupported { what, rule } => write!(f, "{what}: {rule}"),
            ImageError::Layer { layer, cause } => write!(f, "{layer}: {cause}"),
            ImageError::Swollen { place, most } => {
                write!(f, "{place} uncompresses to more than {most} times its size, which is refused")
            }
            ImageError::NoRoom { place, copied, free } => {
                write!(f, "{place}: no room for a copy of it: after {copied} bytes, {free} are free on this filesystem")
            }
            ImageError::Cancelled => f.write_str("interrupted; nothing was imported"),
        }
    }
}

fn list(words: &[String]) -> String {
    match words {
        [] => "none that names one".to_owned(),
        words => words.join(", "),
    }
}

impl StdError for ImageError {}
