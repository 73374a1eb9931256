//! `ctrfs commit`: a new image from what a container wrote.

use std::fs::{self, DirBuilder};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};

use super::error::Error;
use super::interruption::Interruption;
use super::rootfs::{Container, Layers, marks, open};
use super::tree::{At, Tree};
use super::{print, warn};
use crate::driver::export::{Author, CommitError, Documents, Sources, documents, unpack_layer};
use crate::driver::hash::chain;
use crate::driver::image::staging::Staging;
use crate::driver::unpack::Unpacked;
use crate::model::digest::Digest;
use crate::model::id::Id;
use crate::sys::{host, mounting};

/// Where the layer is unpacked, until its ID is known.
const UNNAMED: &str = "unnamed";
/// A layer's tree in its directory.
const TREE: &str = "fs";

/// The arguments of `ctrfs commit`.
#[derive(Debug, Args)]
pub(crate) struct Commit {
    /// The container's ID or name
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
        let tree = Tree::find(self.at)?;
        let layers = Container::find(&tree, &self.container, &what)?.into_layers(&what)?;
        let Some(upper) = &layers.upper else { return Err(Error::NeverMounted { what }) };
        let interruption = Interruption::listen()?;
        let store = tree.store()?;
        let staging = Staging::new(&store).map_err(|cause| Error::Directory { dir: store.join("staging"), cause })?;
        let unpacked = unpack(&layers, upper, staging.path(), &interruption)?;
        let author = Author {
            created: &humantime::format_rfc3339(SystemTime::now()).to_string(),
            created_by: &format!("ctrfs commit {}", self.container),
        };
        let base = |document: &str| tree.read(&format!("image/{}/{document}", layers.image));
        let layer = (unpacked.diff_id, unpacked.blob_size);
        let made = documents(&base("manifest")?, &base("config")?, layer, author).map_err(Error::Commit)?;
        let is_new = name_layer(&tree, &layers, staging.path(), unpacked.diff_id)?;
        if interruption.is_raised() {
            return Err(Error::Interrupted);
        }
        let request = request(staging.name(), &self.name, &made, is_new.then_some(&unpacked));
        let mut answer = String::new();
        tree.ask("create/image", &what, format!("{request}\n").as_bytes(), &mut answer)?;
        print(&answer)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Unpacks the container's layer, durably.
fn unpack(layers: &Layers, upper: &Path, staging: &Path, called_off: &Interruption) -> Result<Unpacked, Error> {
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
    let unpacked = unpacked.map_err(|error| match error {
        CommitError::Cancelled => Error::Interrupted,
        other => Error::Commit(other),
    })?;
    if unpacked.skipped.devices > 0 {
        warn(&format!("device nodes, which only root of the host can make, left out: {}", unpacked.skipped.devices));
    }
    mounting::sync_filesystem(&dir).map_err(unwritable)?;
    Ok(unpacked)
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

/// The document that asks for the image. Its last layer is described if it is new.
fn request(staging: &str, name: &str, made: &Documents, new: Option<&Unpacked>) -> Value {
    let mut layers: Vec<Value> = made.diff_ids.iter().map(|id| json!({"diff-id": id.to_string()})).collect();
    if let (Some(last), Some(new)) = (layers.last_mut(), new) {
        last["size"] = new.size.into();
        last["disk"] = new.disk.into();
        last["entries"] = new.entries.into();
    }
    json!({
        "staging": staging,
        "names": [name],
        "manifest": made.manifest,
        "config": made.config,
        "layers": layers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::hash::digest;

    #[test]
    fn only_a_new_layer_is_described() {
        let diff_ids = vec![digest(b"base"), digest(b"new")];
        let made = Documents { manifest: "{}".into(), config: "[]".into(), diff_ids: diff_ids.clone() };
        let new = Unpacked {
            diff_id: diff_ids[1],
            blob: diff_ids[1],
            blob_size: 1,
            size: 2,
            disk: 3,
            entries: 4,
            skipped: Default::default(),
        };
        let [base, last] = [diff_ids[0].to_string(), diff_ids[1].to_string()];
        let asked = request("s", "n", &made, Some(&new));
        let described = json!({"diff-id": last, "size": 2, "disk": 3, "entries": 4});
        assert_eq!(asked["layers"], json!([{"diff-id": base}, described]));
        assert_eq!(request("s", "n", &made, None)["layers"], json!([{"diff-id": base}, {"diff-id": last}]));
        assert_eq!(asked["names"], json!(["n"]));
    }
}
