//! An image brought into a staging directory, in the form in which the store takes it over.

use std::fs::{self, DirBuilder};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::ImageError;
use super::manifest::{self, Coding, Described};
use super::watch::{Outcome, Step, Watch, Watched, check};
use super::{Content, Documents, Image, Layer, clone, rootfs};
use crate::driver::hash;
use crate::driver::record::{self, Complete, Known};
use crate::driver::unpack::{self, Claim, Limits, UnpackError, Unpacked};
use crate::model::digest::Digest;
use crate::model::id::Id;
use crate::sys::beneath;

/// The tree of a layer, below the layer's directory.
const TREE: &str = "fs";
/// A layer whose ID is not known yet.
const UNNAMED: &str = "unnamed";

/// How to import.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether overlayfs will look for its attributes as `user.overlay.*`.
    pub userxattr: bool,
    /// Whether device nodes can be made.
    pub devices: bool,
    /// How much a layer may hold.
    pub limits: Limits,
}

/// An image whose layers are all in the store or in the staging directory, and there for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The manifest, exactly.
    pub manifest: String,
    /// The config, exactly.
    pub config: String,
    /// What the image is called where it comes from.
    pub names: Vec<String>,
    /// The layers, base first.
    pub layers: Vec<ImportedLayer>,
}

/// A layer of such an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportedLayer {
    /// The digest of its tar stream.
    pub diff_id: Digest,
    /// What it holds, if it is new: its tree is `<layer ID>/fs` in the staging directory.
    pub new: Option<Figures>,
    /// Then, the digest of the record beside the tree.
    pub record: Option<Digest>,
}

/// What a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Apparent size: files with several names once, directories 0.
    pub size: u64,
    /// Bytes that it takes on the disk.
    pub disk: u64,
    /// Names in its tree, without the root.
    pub entries: u64,
}

impl From<&Unpacked> for Figures {
    fn from(unpacked: &Unpacked) -> Figures {
        Figures { size: unpacked.size, disk: unpacked.disk, entries: unpacked.entries }
    }
}

/// Unpacks the layers of an image that are not there yet into `staging`, and makes them durable.
/// `have` knows the tree of a layer that the store has. After a failure `staging` is to be removed.
///
/// # Errors
/// What is wrong with the image, or what the kernel refuses.
pub fn import(
    image: Image,
    staging: &Path,
    have: impl Fn(Id) -> Option<PathBuf>,
    options: &Options,
    watch: &dyn Watch,
) -> Result<Imported, ImageError> {
    let mut desk = Desk {
        staging,
        have: &have,
        options,
        watch,
        of: image.layers.len(),
        chain: None,
        below: Vec::new(),
        complete: Vec::new(),
        records: Vec::new(),
    };
    let (mut layers, mut streams) = (Vec::new(), Vec::new());
    for (at, layer) in image.layers.iter().enumerate() {
        check(watch)?;
        let (taken, stream) = desk.take(at + 1, layer)?;
        layers.push(taken);
        streams.extend(stream);
    }
    // Once for all layers; what is not durable now would be an image with holes after a power cut.
    desk.settle()?;
    for (layer, record) in layers.iter_mut().filter(|layer| layer.new.is_some()).zip(desk.records) {
        layer.record = Some(record);
    }
    check(watch)?;
    let (manifest, config) = match image.documents {
        Documents::Given { manifest, config } => (manifest, config),
        Documents::Unwritten(platform) => {
            let base = layers.first().ok_or_else(|| ImageError::document("image", "it has no layer"))?;
            let config = manifest::write_config(&platform, base.diff_id);
            (manifest::write_manifest(&config, &streams), config)
        }
    };
    let text = |bytes, what| String::from_utf8(bytes).map_err(|error| ImageError::document(what, error));
    Ok(Imported { manifest: text(manifest, "manifest")?, config: text(config, "config")?, names: image.names, layers })
}

/// A new layer's tree, what it holds, and what its record needs to know, where it was unpacked.
type Brought = (PathBuf, Figures, Option<Known>);

/// Where the layers of one image are put one upon the other.
struct Desk<'a> {
    staging: &'a Path,
    have: &'a dyn Fn(Id) -> Option<PathBuf>,
    options: &'a Options,
    watch: &'a dyn Watch,
    of: usize,
    /// The chain ID so far.
    chain: Option<Digest>,
    /// The trees so far, topmost first.
    below: Vec<OwnedFd>,
    /// Those of them that are new and not recorded yet, the lowest first.
    complete: Vec<Complete>,
    /// The digests of the records of those before.
    records: Vec<Digest>,
}

impl Desk<'_> {
    /// Takes a layer. A plain directory's is described, too, for a manifest.
    fn take(&mut self, number: usize, layer: &Layer) -> Result<(ImportedLayer, Option<Described>), ImageError> {
        let size = match &layer.content {
            Content::Blob { section, .. } => Some(section.size()),
            Content::Rootfs(_) | Content::Clone(_) => None,
        };
        let step = Step::Layer { number, of: self.of, diff_id: layer.diff_id, size };
        self.watch.begin(&step);
        let (diff_id, described, brought) = match layer.diff_id {
            Some(diff_id) => (diff_id, None, None),
            None => {
                let (unpacked, known) = self.bring_unnamed(layer)?;
                let stream = Described { digest: unpacked.blob, size: unpacked.blob_size, coding: Coding::Plain };
                (unpacked.diff_id, Some(stream), Some((Figures::from(&unpacked), known)))
            }
        };
        let chain = hash::chain(self.chain, diff_id);
        let (tree, new) = match (self.have)(chain.id()) {
            Some(tree) => {
                if brought.is_some() {
                    self.discard()?;
                }
                (tree, None)
            }
            None => {
                let (tree, figures, known) = match brought {
                    Some((figures, known)) => (self.name(chain)?, figures, Some(known)),
                    None => self.bring(chain, layer, diff_id)?,
                };
                self.complete.push((tree.clone(), known));
                self.settle_many()?;
                (tree, Some(figures))
            }
        };
        self.watch.end(&step, &new.map_or(Outcome::Present, Outcome::New));
        self.chain = Some(chain);
        self.below.insert(0, beneath::directory(&tree).map_err(ImageError::at(&tree))?);
        Ok((ImportedLayer { diff_id, new, record: None }, described))
    }

    /// Records what is complete, and makes it durable.
    fn settle(&mut self) -> Result<(), ImageError> {
        let complete = std::mem::take(&mut self.complete);
        self.records.extend(record::settle(&complete).map_err(ImageError::at(self.staging))?);
        Ok(())
    }

    /// The same, once what is known of it takes much memory.
    fn settle_many(&mut self) -> Result<(), ImageError> {
        let files = |(_, known): &Complete| known.as_ref().map_or(0, Known::count);
        if self.complete.iter().map(files).sum::<usize>() > record::MOST { self.settle() } else { Ok(()) }
    }

    /// Brings a layer whose ID is known.
    fn bring(&self, chain: Digest, layer: &Layer, diff_id: Digest) -> Result<Brought, ImageError> {
        let tree = self.make_tree(&chain.id().to_string())?;
        let (figures, known) = match &layer.content {
            Content::Clone(held) => (clone::clone(&held.diff, &tree, self.options.userxattr, self.watch)?, None),
            Content::Blob { section, claim } => {
                let stream = Watched { inner: section.clone(), watch: self.watch, counts: false };
                let claim = Claim { blob: *claim, diff_id: Some(diff_id) };
                let unpacked = self.unpack(stream, &tree, &claim).map_err(|cause| self.failed(diff_id, cause));
                let (unpacked, known) = unpacked?;
                self.tell_skipped(&unpacked);
                (Figures::from(&unpacked), Some(known))
            }
            Content::Rootfs(_) => return Err(ImageError::document("layer", "a plain directory has no digest")),
        };
        Ok((tree, figures, known))
    }

    /// Brings a layer whose ID shows only when it has been read.
    fn bring_unnamed(&self, layer: &Layer) -> Result<(Unpacked, Known), ImageError> {
        let Content::Rootfs(dir) = &layer.content else {
            return Err(ImageError::document("layer", "its digest is not known"));
        };
        let tree = self.make_tree(UNNAMED)?;
        let unpack = |reader| {
            let stream = Watched { inner: reader, watch: self.watch, counts: false };
            self.unpack(stream, &tree, &Claim::default())
        };
        let unpacked = rootfs::stream(dir, self.staging, self.watch, unpack);
        if self.watch.is_cancelled() {
            return Err(ImageError::Cancelled);
        }
        let (unpacked, known) = unpacked?;
        self.tell_skipped(&unpacked);
        Ok((unpacked, known))
    }

    fn unpack(
        &self,
        stream: impl std::io::Read + Send,
        tree: &Path,
        claim: &Claim,
    ) -> Result<(Unpacked, Known), UnpackError> {
        let options = unpack::Options {
            userxattr: self.options.userxattr,
            parents: &self.below,
            limits: self.options.limits.clone(),
            devices: self.options.devices,
            progress: &|bytes| self.watch.advance(bytes),
        };
        unpack::unpack(stream, tree, claim, &options)
    }

    fn failed(&self, diff_id: Digest, cause: UnpackError) -> ImageError {
        match self.watch.is_cancelled() {
            true => ImageError::Cancelled,
            false => ImageError::Layer { layer: format!("layer {diff_id}"), cause: Box::new(cause) },
        }
    }

    fn tell_skipped(&self, unpacked: &Unpacked) {
        let skipped = &unpacked.skipped;
        for (count, what) in [
            (skipped.devices, "device nodes, which only root of the host can make"),
            (skipped.xattrs, "extended attributes that no layer may bring"),
            (skipped.entries, "entries of kinds that no layer holds"),
        ] {
            if count > 0 {
                self.watch.warn(&format!("layer {}: left out {count} {what}", unpacked.diff_id));
            }
        }
    }

    fn make_tree(&self, name: &str) -> Result<PathBuf, ImageError> {
        let dir = self.staging.join(name);
        let tree = dir.join(TREE);
        DirBuilder::new().mode(0o700).create(&dir).map_err(ImageError::at(&dir))?;
        DirBuilder::new().mode(0o755).create(&tree).map_err(ImageError::at(&tree))?;
        Ok(tree)
    }

    /// Gives the unnamed layer its name.
    fn name(&self, chain: Digest) -> Result<PathBuf, ImageError> {
        let (old, dir) = (self.staging.join(UNNAMED), self.staging.join(chain.id().to_string()));
        fs::rename(&old, &dir).map_err(ImageError::at(&dir))?;
        Ok(dir.join(TREE))
    }

    /// Removes a layer that turned out to be in the store.
    fn discard(&self) -> Result<(), ImageError> {
        let dir = self.staging.join(UNNAMED);
        fs::remove_dir_all(&dir).map_err(ImageError::at(&dir))
    }
}
