//! The store of podman, buildah, skopeo and CRI-O (containers/storage), driver overlay.
//!
//! ```text
//! ROOT/overlay-images/images.json          images: names, topmost layer
//! ROOT/overlay-images/<image>/<key>        manifest and config ("=" and base64 where the key is no plain word)
//! ROOT/overlay-layers/layers.json          layers: parent, diff-id, state
//! ROOT/overlay/<layer>/diff                the layer, as overlayfs takes it
//! ```
//!
//! Read-only towards it. Its own lock is shared as long as layers are read: else one that is just being
//! removed would come in with half of its files.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::error::ImageError;
use super::files::Files;
use super::layout::is_called;
use super::manifest;
use super::platform::Platform;
use super::{Content, Documents, Image, Layer};
use crate::model::digest::Digest;
use crate::sys::host;
use crate::sys::lock::ReadLock;
use crate::sys::process;

const DRIVER: &str = "overlay";
/// What other drivers are called; their layers are laid out in other ways.
const OTHER_DRIVERS: [&str; 4] = ["vfs", "btrfs", "zfs", "aufs"];
/// Where podman keeps images of root, and below a user's data directory those of others.
const ROOT: &str = "/var/lib/containers/storage";
const USER_ROOT: &str = "containers/storage";
/// The key of an image's manifest.
const MANIFEST: &str = "manifest";
/// The fewest digits of an image ID that are taken for one.
const MIN_ID_DIGITS: usize = 6;

/// A layer in the store, and the lock that keeps it there.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) diff: PathBuf,
    _lock: Arc<ReadLock>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ImageRow {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    layer: Option<String>,
    #[serde(default)]
    big_data_digests: Option<HashMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct LayerRow {
    id: String,
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    diff_digest: Option<String>,
    #[serde(default)]
    flags: Option<HashMap<String, Value>>,
    #[serde(default)]
    uidmap: Option<Vec<Mapping>>,
    #[serde(default)]
    gidmap: Option<Vec<Mapping>>,
}

#[derive(Debug, Deserialize)]
struct Mapping {
    container_id: u64,
    host_id: u64,
}

/// Opens an image: `[ROOT/]NAME`, or `[DRIVER@ROOT+RUNROOT]NAME` with brackets, as skopeo has it.
pub(super) fn open(text: &str, platform: Option<&Platform>) -> Result<Image, ImageError> {
    let (root, name) = locate(text)?;
    check_store(&root)?;
    let place = root.display().to_string();
    let wait = |path: &str| {
        let path = root.join(path);
        ReadLock::wait(&path).map_err(ImageError::at(&path))
    };
    // In the order in which podman takes them.
    let layers_lock = Arc::new(wait("overlay-layers/layers.lock")?);
    let _images_lock = wait("overlay-images/images.lock")?;
    let images: Vec<ImageRow> = read_list(&root.join("overlay-images/images.json"))?;
    let image = select(&place, &images, &name)?;
    let layers: Vec<LayerRow> = read_list(&root.join("overlay-layers/layers.json"))?;

    let files = Files::of_directory(&root.join("overlay-images").join(checked_id(&image.id)?))?;
    let bytes = read_manifest(&files, image)?;
    let parsed = manifest::parse_manifest(&bytes, &format!("manifest of {name}"))?;
    let digest = manifest::digest_of(parsed.config())?;
    let config = files.document(&file_name(&digest.to_string()))?;
    manifest::verify(&config, &format!("config {digest}"), digest, None)?;
    let diff_ids = manifest::diff_ids(&config, &format!("config {digest}"), platform)?;
    let chain = chain(&place, image, &layers)?;
    if diff_ids.len() != chain.len() {
        return Err(ImageError::LayerCount { manifest: chain.len(), config: diff_ids.len() });
    }
    let layer = |(row, diff_id): (&LayerRow, Digest)| -> Result<Layer, ImageError> {
        check_layer(&root, row, diff_id)?;
        let held = Held { diff: root.join(DRIVER).join(&row.id).join("diff"), _lock: layers_lock.clone() };
        Ok(Layer { diff_id: Some(diff_id), content: Content::Clone(held) })
    };
    let layers = chain.into_iter().zip(diff_ids).map(layer).collect::<Result<_, _>>()?;
    let names = image.names.clone().unwrap_or_default();
    Ok(Image { documents: Documents::Given { manifest: bytes, config }, names, layers })
}

/// Where the root ends and the name begins.
fn locate(text: &str) -> Result<(PathBuf, String), ImageError> {
    if let Some((store, name)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let path = store.split_once('@').map_or(store, |(_, path)| path);
        let end = path.find(['+', ':']).unwrap_or(path.len());
        return Ok((path[..end].into(), name.to_owned()));
    }
    if !text.starts_with('/') {
        return Ok((default_root(), text.to_owned()));
    }
    let slashes = text.match_indices('/').map(|(at, _)| at).skip(1);
    let mut splits = slashes.map(|at| (PathBuf::from(&text[..at]), text[at + 1..].to_owned()));
    splits.find(|(root, _)| is_store(root)).ok_or_else(|| ImageError::Missing {
        place: text.to_owned(),
        file: "directory that is the store of podman (one with overlay-images)".to_owned(),
    })
}

fn is_store(root: &Path) -> bool {
    let mut drivers = OTHER_DRIVERS.into_iter().chain([DRIVER]);
    drivers.any(|driver| root.join(format!("{driver}-images")).is_dir())
}

fn default_root() -> PathBuf {
    if host::is_host_root() {
        return ROOT.into();
    }
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share"));
    let data = std::env::var_os("XDG_DATA_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from).or_else(home);
    data.map_or_else(|| ROOT.into(), |data| data.join(USER_ROOT))
}

/// Whether the store is one that can be read.
fn check_store(root: &Path) -> Result<(), ImageError> {
    let refuse = |rule| Err(ImageError::Unsupported { what: root.display().to_string(), rule });
    let layers = root.join(DRIVER);
    if !root.join("overlay-images").is_dir() {
        return match is_store(root) {
            true => refuse("this store of podman does not use the driver overlay, and no other can be read"),
            false => refuse("not the store of podman: it has no overlay-images"),
        };
    }
    let owner = fs::symlink_metadata(&layers).map_err(ImageError::at(&layers))?.uid();
    match owner == process::owner().0 {
        true => Ok(()),
        false => refuse("the store is another user's, whose files have other owners than they have for us"),
    }
}

/// A list that is not there is empty.
fn read_list<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Vec<T>, ImageError> {
    match fs::read(path) {
        Ok(text) => manifest::parse(&text, &path.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(ImageError::at(path)(cause)),
    }
}

/// The image that has this name, or whose ID begins so.
fn select<'a>(place: &str, images: &'a [ImageRow], name: &str) -> Result<&'a ImageRow, ImageError> {
    let names = |image: &'a ImageRow| image.names.as_deref().unwrap_or_default();
    let is_id = name.len() >= MIN_ID_DIGITS && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let by_name = |image: &&ImageRow| image.names.iter().flatten().any(|full| is_called(full, name));
    let mut found: Vec<&ImageRow> = images.iter().filter(by_name).collect();
    if found.is_empty() && is_id {
        found = images.iter().filter(|image| image.id.starts_with(name)).collect();
    }
    let list = |images: &mut dyn Iterator<Item = &'a ImageRow>| -> Vec<String> {
        let own = |image: &'a ImageRow| names(image).first().unwrap_or(&image.id).clone();
        images.map(own).collect()
    };
    let place = place.to_owned();
    match found[..] {
        [only] => Ok(only),
        [] => {
            let names = list(&mut images.iter().filter(|image| !names(image).is_empty()));
            Err(ImageError::NoSuch { place, name: name.to_owned(), names })
        }
        _ => Err(ImageError::Several { place, names: list(&mut found.into_iter()) }),
    }
}

fn read_manifest(files: &Files, image: &ImageRow) -> Result<Vec<u8>, ImageError> {
    let what = format!("manifest of image {}", image.id);
    let bytes = files.document(&file_name(MANIFEST))?;
    if let Some(text) = image.big_data_digests.as_ref().and_then(|digests| digests.get(MANIFEST)) {
        let claimed = Digest::parse(text).ok_or_else(|| ImageError::document(&what, format!("digest {text:?}")))?;
        manifest::verify(&bytes, &what, claimed, None)?;
    }
    let value: Value = manifest::parse(&bytes, &what)?;
    match value.get("manifests") {
        Some(_) => Err(ImageError::Unsupported { what, rule: "it is a list of manifests, and no image by itself" }),
        None => Ok(bytes),
    }
}

/// The layers of an image, base first.
fn chain<'a>(place: &str, image: &ImageRow, layers: &'a [LayerRow]) -> Result<Vec<&'a LayerRow>, ImageError> {
    let by_id: HashMap<&str, &LayerRow> = layers.iter().map(|row| (row.id.as_str(), row)).collect();
    let mut chain = Vec::new();
    let mut next = image.layer.as_deref().filter(|id| !id.is_empty());
    while let Some(id) = next {
        let row = by_id.get(id).ok_or_else(|| ImageError::Unsupported {
            what: format!("layer {id}"),
            rule: "it is not in this store; images of additional stores cannot be imported",
        })?;
        chain.push(*row);
        if chain.len() > layers.len() {
            return Err(ImageError::document(place, format!("layer {id} is its own parent")));
        }
        next = row.parent.as_deref().filter(|id| !id.is_empty());
    }
    chain.reverse();
    Ok(chain)
}

/// Whether a layer's directory is all that the layer is.
fn check_layer(root: &Path, row: &LayerRow, diff_id: Digest) -> Result<(), ImageError> {
    let refuse = |rule| Err(ImageError::Unsupported { what: format!("layer {}", row.id), rule });
    let dir = root.join(DRIVER).join(checked_id(&row.id)?);
    let is_set = |flag: &str| row.flags.as_ref().and_then(|flags| flags.get(flag)).is_some_and(|flag| *flag == true);
    let mut mappings = row.uidmap.iter().chain(&row.gidmap).flatten();
    if is_set("incomplete") {
        return refuse("it is not complete: podman was interrupted while it made it");
    }
    if mappings.any(|mapping| mapping.container_id != mapping.host_id) {
        return refuse("its files have the owners of a user namespace");
    }
    if dir.join("composefs-data").exists() {
        return refuse("its files are kept by composefs");
    }
    let diff = dir.join("diff");
    match fs::symlink_metadata(&diff) {
        Ok(entry) if entry.is_dir() => {}
        Ok(_) => return refuse("its files are in an additional layer store"),
        Err(cause) => return Err(ImageError::at(&diff)(cause)),
    }
    match row.diff_digest.as_deref().map(Digest::parse) {
        Some(Some(found)) if found == diff_id => Ok(()),
        Some(Some(found)) => Err(ImageError::Digest { blob: format!("layer {}", row.id), claimed: diff_id, found }),
        Some(None) => refuse("only sha256 digests are known"),
        None => refuse("its digest is not known: it was pulled in part only"),
    }
}

/// An ID becomes part of a path: it must be one.
fn checked_id(id: &str) -> Result<&str, ImageError> {
    match id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => Ok(id),
        false => Err(ImageError::document("containers/storage", format!("{id:?} is no ID"))),
    }
}

/// The file of a key of an image (containers/storage, makeBigDataBaseName).
fn file_name(key: &str) -> String {
    let is_plain = |b: u8| b == b'.' || b.is_ascii_digit() || b.is_ascii_lowercase();
    match key.bytes().all(is_plain) {
        true => key.to_owned(),
        false => format!("={}", base64(key.as_bytes())),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let at = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            match digit <= chunk.len() {
                true => text.push(char::from(DIGITS[(group >> (18 - 6 * digit)) as usize & 63])),
                false => text.push('='),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{ImageRow, LayerRow, base64, chain, file_name, locate, select};
    use crate::driver::image::error::ImageError;

    fn images() -> Vec<ImageRow> {
        let (a, b, c) = ("aa".repeat(32), "bb".repeat(32), "bbbbbc".to_owned() + &"0".repeat(58));
        let text = format!(
            r#"[{{"id": "{a}", "names": ["localhost/a:1", "quay.io/team/app:latest"], "layer": "l2"}},
                {{"id": "{b}", "names": ["localhost/b:1", "docker.io/library/a:1"]}}, {{"id": "{c}"}}]"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_image_is_found_by_name_or_id() {
        let images = images();
        for (name, place) in [("localhost/a:1", 0), ("team/app", 0), ("b:1", 1), ("aaaaaa", 0), ("bbbbbc", 2)] {
            assert_eq!(select("p", &images, name).unwrap().id, images[place].id, "{name}");
        }
        assert!(matches!(select("p", &images, "a:1"), Err(ImageError::Several { .. })));
        assert!(select("p", &images, "bbbbbbb").is_ok());
        assert!(matches!(select("p", &images, "aaaaa"), Err(ImageError::NoSuch { .. })));
        let Err(ImageError::NoSuch { names, .. }) = select("p", &images, "z") else { panic!("no z") };
        assert_eq!(names, ["localhost/a:1", "localhost/b:1"]);
    }

    #[test]
    fn layers_come_base_first() {
        let rows: Vec<LayerRow> =
            serde_json::from_str(r#"[{"id": "l2", "parent": "l1"}, {"id": "l1"}, {"id": "l3", "parent": "l3"}]"#)
                .unwrap();
        let mut image = images().remove(0);
        let ids = |image: &ImageRow| -> Vec<String> {
            chain("p", image, &rows).unwrap().iter().map(|row| row.id.clone()).collect()
        };
        assert_eq!(ids(&image), ["l1", "l2"]);
        image.layer = None;
        assert!(ids(&image).is_empty());
        for (layer, word) in [("l3", "own parent"), ("l4", "additional")] {
            image.layer = Some(layer.to_owned());
            let error = chain("p", &image, &rows).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn keys_become_files() {
        assert_eq!(file_name("manifest"), "manifest");
        assert_eq!(file_name("sha256:ab"), "=c2hhMjU2OmFi");
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn brackets_name_a_store() {
        for text in ["[overlay@/s+/run]a:1", "[/s]a:1", "[overlay@/s:overlay.x=y]a:1"] {
            assert_eq!(locate(text).unwrap(), ("/s".into(), "a:1".to_owned()));
        }
        assert!(locate("/no/such/store/a:1").is_err());
    }
}
