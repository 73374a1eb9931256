//! Where images come from: layouts, archives, plain directories, other stores.
//!
//! ```text
//! words -> Source -> open -> Image: documents, and layers that can be read
//!                            import -> staging/<layer id>/fs, documents in one piece
//! layout (oci:, oci-archive:), docker (docker-archive:), podman (containers-storage:), rootfs (dir:)
//! ```
//!
//! A document is verified when it is opened, a layer while it is unpacked. Sources are only ever read;
//! what is written lies in the staging directory that the caller made and removes.

use std::path::{Path, PathBuf};

use files::{Files, Section};
use source::ArchiveFile;

use super::unpack::Limits;
use crate::model::digest::Digest;
use crate::model::image::MAX_LAYERS;

mod archive;
mod clone;
mod docker;
mod error;
mod files;
mod import;
mod layout;
mod manifest;
mod platform;
mod podman;
mod rootfs;
mod source;
mod spool;
pub mod staging;
mod watch;

pub use error::ImageError;
pub use import::{Figures, Imported, ImportedLayer, Options, import};
pub use platform::Platform;
pub use source::Source;
pub use watch::{Outcome, Step, Watch};

/// An image that can be imported.
#[derive(Debug)]
pub struct Image {
    /// What describes it.
    pub documents: Documents,
    /// What it is called where it comes from: whole names, or without a registry.
    pub names: Vec<String>,
    /// Its layers, base first.
    pub layers: Vec<Layer>,
}

/// The documents of an image.
#[derive(Debug)]
pub enum Documents {
    /// Byte for byte as they came; a docker archive has no manifest, so that one is written for it.
    Given {
        /// The manifest.
        manifest: Vec<u8>,
        /// The config, whose digest is the image's ID.
        config: Vec<u8>,
    },
    /// A plain directory has none: they are written when its digest is known.
    Unwritten(Platform),
}

/// A layer of an image.
#[derive(Debug)]
pub struct Layer {
    /// The digest of its tar stream; a plain directory's is not known until it has been read.
    pub diff_id: Option<Digest>,
    content: Content,
}

/// Where a layer's content is.
#[derive(Debug)]
enum Content {
    /// A tar stream, compressed or not, perhaps with the digest and size that it must have.
    Blob { section: Section, claim: Option<(Digest, u64)> },
    /// A plain directory.
    Rootfs(PathBuf),
    /// A layer of another store, unpacked, which nobody removes while the store is held.
    Clone(podman::Held),
}

/// Opens the image of a source. An archive that cannot be read in place is copied to `spool`, a
/// directory, where nothing remains of it, within `limits`. With `platform` the image must be for that one; without,
/// this machine's is taken where there is a choice.
///
/// # Errors
/// What is wrong with the source.
pub fn open(
    source: &Source,
    spool: &Path,
    platform: Option<&Platform>,
    limits: &Limits,
    watch: &dyn Watch,
) -> Result<Image, ImageError> {
    let archive = |file: &ArchiveFile| -> Result<Files, ImageError> {
        let spooled = spool::seekable(file, spool, limits, watch)?;
        Ok(Files::Archive(archive::Archive::read(spooled, file.to_string())?))
    };
    let image = match source {
        Source::Layout { dir, tag } => layout::open(&Files::of_directory(dir)?, tag.as_deref(), platform),
        Source::OciArchive { file, tag } => layout::open(&archive(file)?, tag.as_deref(), platform),
        Source::DockerArchive { file, name } => docker::open(&archive(file)?, name.as_deref(), platform),
        Source::Rootfs(dir) => rootfs::open(dir, platform),
        Source::ContainersStorage(name) => podman::open(name, platform),
    }?;
    match image.layers.len() {
        0..=MAX_LAYERS => Ok(image),
        layers => {
            let what = format!("an image of {layers} layers");
            Err(ImageError::Unsupported { what, rule: "500 are the most that an overlay takes" })
        }
    }
}
