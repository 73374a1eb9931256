//! The rules of images: what a document that makes one has, and what its config says.

use crate::model::digest::Digest;
use crate::model::error::Refusal;
use crate::model::image_name::ImageName;
use crate::model::json::{Map, Value, parse};
use crate::model::keys::{is_time, text};

/// The most layers of an image: what an overlay of Linux takes, less the container's own.
pub const MAX_LAYERS: usize = 500;

/// An image that is to be made of what lies in a staging directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewImage {
    /// The name of the directory below `staging/`.
    pub staging: String,
    /// The names that it gets.
    pub names: Vec<ImageName>,
    /// The manifest's exact text.
    pub manifest: String,
    /// The config's exact text.
    pub config: String,
    /// Its layers, the base first.
    pub layers: Vec<NewLayer>,
    /// `created` of the config.
    pub created: Option<String>,
}

/// A layer of a new image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewLayer {
    /// The digest of its tar stream.
    pub diff_id: Digest,
    /// What it holds, where the importer did not find it in the store.
    pub new: Option<Figures>,
    /// The digest of its record, if it has one then.
    pub record: Option<Digest>,
}

/// What a layer holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Bytes of its files.
    pub size: u64,
    /// Bytes that they take on disk.
    pub disk: u64,
    /// How many entries it has.
    pub entries: u64,
}

/// The image that a document of `create/image` asks for.
///
/// # Errors
/// [`Refusal::BadKey`] for a key that is missing or cannot have its value, [`Refusal::BadName`].
pub fn new_image(document: &Map<String, Value>) -> Result<NewImage, Refusal> {
    if let Some(unknown) =
        document.keys().find(|key| !["staging", "names", "manifest", "config", "layers"].contains(&key.as_str()))
    {
        return Err(bad(unknown, "nothing: the keys are staging, names, manifest, config and layers"));
    }
    let staging = string(document, "staging", "the name of a directory in the store's staging/")?;
    if staging.is_empty() || !staging.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(bad("staging", "the name of a directory in the store's staging/"));
    }
    let names = match document.get("names") {
        None | Some(Value::Null) => vec![],
        Some(Value::Array(names)) => names.iter().map(image_name).collect::<Result<_, _>>()?,
        Some(_) => return Err(bad("names", "an array of strings")),
    };
    let manifest = string(document, "manifest", "the manifest's text")?;
    let config = string(document, "config", "the config's text")?;
    let layers = match document.get("layers") {
        Some(Value::Array(layers)) => layers.iter().map(new_layer).collect::<Result<Vec<_>, _>>()?,
        _ => return Err(bad("layers", LAYERS)),
    };
    if layers.len() > MAX_LAYERS {
        return Err(bad("layers", "500 layers at most, as many as an overlay takes"));
    }
    let parsed = object_of("config", config)?;
    if diff_ids(&parsed)? != layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>() {
        return Err(bad("layers", "the layers that rootfs.diff_ids of the config names, in order"));
    }
    Ok(NewImage {
        staging: staging.to_owned(),
        names,
        manifest: manifest.to_owned(),
        config: config.to_owned(),
        layers,
        created: text(&parsed, "created").filter(|created| is_time(created)).map(str::to_owned),
    })
}

/// The digest of the config that a manifest names.
///
/// # Errors
/// [`Refusal::BadKey`] when it names none.
pub fn config_digest(manifest: &str) -> Result<Digest, Refusal> {
    let manifest = object_of("manifest", manifest)?;
    let digest = manifest.get("config").and_then(|config| config.get("digest")).and_then(Value::as_str);
    digest.and_then(Digest::parse).ok_or_else(|| bad("manifest", "a manifest with the sha256 digest of its config"))
}

const LAYERS: &str = "an array of objects with diff-id, and size, disk, entries and perhaps tree of those that are new";

/// The digests of the layers that an image's config names, the base first.
///
/// # Errors
/// [`Refusal::BadKey`] when there are none.
pub fn diff_ids(config: &Map<String, Value>) -> Result<Vec<Digest>, Refusal> {
    let digests = config.get("rootfs").and_then(|rootfs| rootfs.get("diff_ids")).and_then(Value::as_array);
    let digests = digests.map(|digests| digests.iter().map(|d| d.as_str().and_then(Digest::parse)).collect());
    digests.flatten().ok_or_else(|| bad("config", "an image config with sha256 digests in rootfs.diff_ids"))
}

fn new_layer(layer: &Value) -> Result<NewLayer, Refusal> {
    let layer = layer.as_object().ok_or_else(|| bad("layers", LAYERS))?;
    let diff_id = layer.get("diff-id").and_then(Value::as_str).and_then(Digest::parse);
    let number = |key| layer.get(key).and_then(Value::as_u64);
    let figures = [number("size"), number("disk"), number("entries")];
    let record = layer.get("tree").and_then(Value::as_str).and_then(Digest::parse);
    let new = match figures {
        [Some(size), Some(disk), Some(entries)] => Some(Figures { size, disk, entries }),
        _ => None,
    };
    let expected = if new.is_some() { 4 + usize::from(record.is_some()) } else { 1 };
    match diff_id.filter(|_| layer.len() == expected) {
        Some(diff_id) => Ok(NewLayer { diff_id, new, record }),
        None => Err(bad("layers", LAYERS)),
    }
}

fn image_name(name: &Value) -> Result<ImageName, Refusal> {
    ImageName::parse(name.as_str().ok_or_else(|| bad("names", "an array of strings"))?)
}

fn object_of(key: &'static str, text: &str) -> Result<Map<String, Value>, Refusal> {
    match parse(text.as_bytes()) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(bad(key, "the text of a JSON object")),
    }
}

fn string<'a>(document: &'a Map<String, Value>, key: &str, rule: &'static str) -> Result<&'a str, Refusal> {
    document.get(key).and_then(Value::as_str).ok_or_else(|| bad(key, rule))
}

fn bad(key: &str, rule: &'static str) -> Refusal {
    Refusal::BadKey { key: key.to_owned(), rule }
}
