//! Images of a few bytes, staged as an importer stages them.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ctrfs::driver::hash::{chain, digest};
use ctrfs::model::digest::Digest;
use serde_json::{Value, json};

use super::Mounted;

/// A mounted store, known by its paths.
pub trait Paths {
    fn store(&self) -> &Path;
    fn at(&self) -> &Path;
}

impl Paths for Mounted {
    fn store(&self) -> &Path {
        &self.store
    }

    fn at(&self) -> &Path {
        &self.at
    }
}

/// The paths alone, for a thread of its own.
#[derive(Clone)]
pub struct Elsewhere(pub PathBuf, pub PathBuf);

impl Paths for Elsewhere {
    fn store(&self) -> &Path {
        &self.0
    }

    fn at(&self) -> &Path {
        &self.1
    }
}

/// An image of which each layer has one file, `file`, with the layer's word.
pub struct Image {
    pub manifest: String,
    pub config: String,
    words: Vec<&'static str>,
}

impl Image {
    /// One with these layers, the base first; `mark` makes its config another than that of its like.
    pub fn new(mark: &str, words: &[&'static str]) -> Image {
        Image::created("2026-01-02T03:04:05Z", mark, words)
    }

    /// The same, with this for the time when it was made.
    pub fn created(created: &str, mark: &str, words: &[&'static str]) -> Image {
        let diff_ids: Vec<String> = words.iter().map(|word| digest(word.as_bytes()).to_string()).collect();
        let config = json!({
            "created": created,
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"mark": mark}, "Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string();
        let claimed = digest(config.as_bytes()).to_string();
        let manifest = json!({"schemaVersion": 2, "config": {"digest": claimed, "size": config.len()}, "layers": []});
        Image { manifest: manifest.to_string(), config, words: words.to_vec() }
    }

    pub fn id(&self) -> String {
        digest(self.config.as_bytes()).id().to_string()
    }

    /// The IDs of the layers, the base first.
    pub fn layers(&self) -> Vec<String> {
        let mut below: Option<Digest> = None;
        let mut ids = Vec::new();
        for word in &self.words {
            let chained = chain(below, digest(word.as_bytes()));
            ids.push(chained.id().to_string());
            below = Some(chained);
        }
        ids
    }

    /// How many bytes its files have.
    pub fn size(&self) -> usize {
        self.words.iter().map(|word| word.len()).sum()
    }

    /// Unpacks the layers that the store does not have, and says so as `create/image` wants it.
    pub fn stage(&self, tree: &impl Paths, staging: &str, names: &[&str]) -> Value {
        let mut layers = Vec::new();
        for (id, word) in self.layers().iter().zip(&self.words) {
            let diff_id = digest(word.as_bytes()).to_string();
            if tree.at().join("layer").join(id).exists() {
                layers.push(json!({"diff-id": diff_id}));
                continue;
            }
            let dir = staging_dir(tree.store(), staging).join(id).join("fs");
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("file"), word).unwrap();
            layers.push(json!({"diff-id": diff_id, "size": word.len(), "disk": 4096, "entries": 1}));
        }
        json!({"staging": staging, "names": names, "manifest": self.manifest, "config": self.config, "layers": layers})
    }

    /// Imports it.
    pub fn import(&self, tree: &Mounted, names: &[&str]) -> String {
        let staging = format!("import-{}", self.id());
        let document = self.stage(tree, &staging, names);
        let id = create(tree, &document).unwrap_or_else(|error| panic!("{error}: {}", tree.last_refusal()));
        let _ = fs::remove_dir_all(staging_dir(&tree.store, &staging));
        assert_eq!(id, self.id());
        id
    }
}

/// Where an importer puts an image together.
pub fn staging_dir(store: &Path, name: &str) -> PathBuf {
    store.join("staging").join(name)
}

/// Writes a document to `create/image`; the ID that is read back.
pub fn create(tree: &impl Paths, document: &Value) -> io::Result<String> {
    let mut file = OpenOptions::new().read(true).write(true).open(tree.at().join("create/image"))?;
    file.write_all(document.to_string().as_bytes())?;
    let mut id = String::new();
    file.read_to_string(&mut id)?;
    Ok(id.trim_end().to_owned())
}

/// The names in a directory, sorted.
pub fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{dir:?}: {error}"));
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
