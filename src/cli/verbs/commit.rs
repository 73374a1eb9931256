//! `ctrfs commit`: a new image from what a container wrote.

use std::fs::{self, DirBuilder};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;

use super::error::Error;
use super::interruption::Interruption;
use super::new_image::{hand_over, stage};
use super::rootfs::{Container, Layers, marks, open};
use super::tree::{At, Tree};
use super::{print, warn};
use crate::driver::export::{Author, CommitError, Sources, documents, unpack_layer};
use crate::driver::hash::chain;
use crate::driver::image::{Figures, Imported, ImportedLayer};
use crate::driver::record;
use crate::driver::unpack::Unpacked;
use crate::model::digest::Digest;
use crate::model::id::Id;
use crate::model::image_name::ImageName;
use crate::sys::host;

/// Where the layer is unpacked, until its ID is known.
const UNNAMED: &str = "unnamed";
/// A layer's tree in its directory.
const TREE: &str = "fs";

/// The arguments of `ctrfs commit`.
#[derive(Debug, Args)]
pub(crate) struct Commit {
    /// The container's ID, name or prefix of an ID
    #[arg(value_name = "CTR")]
    container: String,
    /// The name that the image gets
    name: String,
    #[command(flatten)]
    at: At,
}

impl Commit {
    /// Makes the image and prints its ID.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let what = format!("commit container {}", self.container);
        let name = ImageName::parse(&self.name).map_err(Error::ImageName)?.to_string();
        let tree = Tree::find(self.at)?;
        let container = Container::find(&tree, &self.container, &what)?;
        let layers = container.layers(&what)?;
        let Some(upper) = &layers.upper else { return Err(Error::NeverMounted { what }) };
        let interruption = Interruption::listen()?;
        let staging = stage(&tree)?;
        let unpacked = unpack(layers, upper, &staging.path(), &interruption);
        let (unpacked, record) = container.unless_removed(&tree, &what, unpacked)?;
        let author = Author {
            created: &humantime::format_rfc3339(SystemTime::now()).to_string(),
            created_by: &format!("ctrfs commit {}", self.container),
        };
        let base = |document: &str| tree.read(&format!("image/{}/{document}", layers.image));
        let layer = (unpacked.diff_id, unpacked.blob_size);
        let made = documents(&base("manifest")?, &base("config")?, layer, author).map_err(Error::Commit)?;
        let is_new = name_layer(&tree, layers, &staging.path(), unpacked.diff_id)?;
        let mut layers: Vec<ImportedLayer> =
            made.diff_ids.iter().map(|diff_id| ImportedLayer { diff_id: *diff_id, new: None, record: None }).collect();
        if let Some(last) = layers.last_mut().filter(|_| is_new) {
            (last.new, last.record) = (Some(Figures::from(&unpacked)), record);
        }
        if interruption.is_raised() {
            return Err(Error::Interrupted);
        }
        let image = Imported { manifest: made.manifest, config: made.config, names: Vec::new(), layers };
        let id = hand_over(&tree, &what, &staging, &image, &[name])?;
        print(&id)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Unpacks the container's layer, durably. Also returns its record's digest.
fn unpack(
    layers: &Layers,
    upper: &Path,
    staging: &Path,
    called_off: &Interruption,
) -> Result<(Unpacked, Option<Digest>), Error> {
    let (dir, root) = (staging.join(UNNAMED), staging.join(UNNAMED).join(TREE));
    let unwritable = |cause| Error::Directory { dir: dir.clone(), cause };
    DirBuilder::new().mode(0o700).create(&dir).map_err(unwritable)?;
    DirBuilder::new().mode(0o755).create(&root).map_err(unwritable)?;
    let (upper, lowers) = (open(upper)?, layers.lowers_view()?);
    let parents = layers.lowers.iter().map(|tree| Ok(open(tree)?.into()));
    let sources = Sources {
        upper: upper.as_fd(),
        lowers: lowers.as_fd(),
        parents: &parents.collect::<Result<Vec<OwnedFd>, Error>>()?,
        marks: marks(),
        devices: host::is_host_root(),
    };
    let is_raised = || called_off.is_raised();
    let unpacked = unpack_layer(&sources, &root, &is_raised, &mut |warning| warn(&warning));
    let (unpacked, known) = unpacked.map_err(|error| match error {
        CommitError::Cancelled => Error::Interrupted,
        other => Error::Commit(other),
    })?;
    if unpacked.skipped.devices > 0 {
        warn(&format!("device nodes, which only root of the host can make, left out: {}", unpacked.skipped.devices));
    }
    let records = record::settle(&[(root, Some(known))]).map_err(unwritable)?;
    Ok((unpacked, records.first().copied()))
}

/// Gives the unpacked layer its ID for a name; says whether the store does not have it yet.
fn name_layer(tree: &Tree, layers: &Layers, staging: &Path, diff_id: Digest) -> Result<bool, Error> {
    let below = layers.ids.first().and_then(|id| Id::parse(id)).map(Digest::from);
    let id = chain(below, diff_id).id().to_string();
    let known = tree.call(&format!("look for layer {id}"), |root| root.join("layer").join(&id).try_exists())?;
    if !known {
        let named = staging.join(id);
        fs::rename(staging.join(UNNAMED), &named).map_err(|cause| Error::Directory { dir: named, cause })?;
    }
    Ok(!known)
}
