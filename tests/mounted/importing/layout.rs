//! OCI layouts written by hand.

use std::fs;
use std::path::{Path, PathBuf};

use ctrfs::driver::hash::digest;
use ctrfs::model::digest::Digest;
use serde_json::{Value, json};

use super::sh;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layout written by hand, to be right or wrong in any part.
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
}

impl Layout {
    pub(crate) fn new(dir: PathBuf) -> Layout {
        fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        Layout { dir }
    }

    /// A layout with an image of one layer; its tar stream, and the descriptors of layer and manifest.
    pub(crate) fn of_one(dir: &Path) -> (Layout, Vec<u8>, Value, Value) {
        let layout = Layout::new(dir.join("lay"));
        let tar = tar_of(dir, "a");
        let layer = layout.blob(LAYER, &tar);
        let manifest = layout.image(&[(&tar, layer.clone())]);
        (layout, tar, layer, manifest)
    }

    pub(crate) fn path(&self, digest: &Value) -> PathBuf {
        let digest = Digest::parse(digest["digest"].as_str().unwrap()).unwrap();
        self.dir.join("blobs/sha256").join(digest.id().to_string())
    }

    /// Adds a blob; its descriptor.
    pub(crate) fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let descriptor = json!({"mediaType": media_type, "digest": digest(bytes).to_string(), "size": bytes.len()});
        fs::write(self.path(&descriptor), bytes).unwrap();
        descriptor
    }

    pub(crate) fn document(&self, media_type: &str, document: &Value) -> Value {
        self.blob(media_type, document.to_string().as_bytes())
    }

    /// Adds an image of these layers: the plain stream, and the blob with its type.
    pub(crate) fn image(&self, layers: &[(&[u8], Value)]) -> Value {
        let diff_ids: Vec<String> = layers.iter().map(|(plain, _)| digest(plain).to_string()).collect();
        let config =
            json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let blobs: Vec<&Value> = layers.iter().map(|(_, blob)| blob).collect();
        let config = self.document(CONFIG, &config);
        self.document(MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": blobs}))
    }

    pub(crate) fn index(&self, entries: &[Value]) {
        fs::write(self.dir.join("index.json"), json!({"schemaVersion": 2, "manifests": entries}).to_string()).unwrap();
    }

    pub(crate) fn source(&self) -> String {
        format!("oci:{}", self.dir.display())
    }
}

pub(crate) fn with(descriptor: &Value, key: &str, value: Value) -> Value {
    let mut descriptor = descriptor.clone();
    descriptor[key] = value;
    descriptor
}

/// A tar stream of one file.
pub(crate) fn tar_of(dir: &Path, name: &str) -> Vec<u8> {
    fs::write(dir.join(name), name.repeat(1000)).unwrap();
    sh(dir, &format!("tar -c --owner=0 --group=0 {name} > {name}.tar"));
    fs::read(dir.join(format!("{name}.tar"))).unwrap()
}
