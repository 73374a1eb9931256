//! Manifests and configs: which layers they name, and whether the two belong together.

use oci_spec::image::{Descriptor, ImageManifest, MediaType};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::ImageError;
use super::platform::Platform;
use crate::driver::hash;
use crate::model::digest::Digest;

/// What docker calls a config and a manifest.
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// What docker calls a layer, before what it says about compression.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";

/// What a descriptor in an index leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Index,
    Manifest,
}

/// What a descriptor in an index leads to.
pub(super) fn kind(descriptor: &Descriptor) -> Result<Kind, ImageError> {
    match descriptor.media_type() {
        MediaType::ImageIndex => Ok(Kind::Index),
        MediaType::ImageManifest => Ok(Kind::Manifest),
        MediaType::Other(other) if other == DOCKER_INDEX => Ok(Kind::Index),
        MediaType::Other(other) if other == DOCKER_MANIFEST => Ok(Kind::Manifest),
        other => Err(ImageError::Unsupported {
            what: format!("{} ({other})", descriptor.digest()),
            rule: "neither a manifest nor an index of manifests",
        }),
    }
}

/// The digest of a descriptor.
pub(super) fn digest_of(descriptor: &Descriptor) -> Result<Digest, ImageError> {
    Digest::parse(descriptor.digest().as_ref()).ok_or_else(|| ImageError::Unsupported {
        what: descriptor.digest().to_string(),
        rule: "only sha256 digests are known",
    })
}

/// Whether some bytes are what they were named by.
pub(super) fn verify(bytes: &[u8], what: &str, claimed: Digest, size: Option<u64>) -> Result<(), ImageError> {
    let found = bytes.len() as u64;
    if let Some(claimed) = size
        && claimed != found
    {
        return Err(ImageError::Size { blob: what.to_owned(), claimed, found });
    }
    match hash::digest(bytes) {
        found if found == claimed => Ok(()),
        found => Err(ImageError::Digest { blob: what.to_owned(), claimed, found }),
    }
}

/// Reads a document of JSON.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|error| ImageError::document(what, error))
}

/// A manifest that is fit to be imported.
pub(super) fn parse_manifest(bytes: &[u8], what: &str) -> Result<ImageManifest, ImageError> {
    let value: Value = parse(bytes, what)?;
    if value["schemaVersion"] != 2 {
        return Err(ImageError::document(what, "not a manifest of schema version 2"));
    }
    let manifest: ImageManifest = serde_json::from_value(value).map_err(|error| ImageError::document(what, error))?;
    match manifest.config().media_type() {
        MediaType::ImageConfig => {}
        MediaType::Other(other) if other == DOCKER_CONFIG => {}
        other => {
            let what = format!("{what} (config {other})");
            return Err(ImageError::Unsupported { what, rule: "an artifact, not the image of a container" });
        }
    }
    manifest.layers().iter().try_for_each(check_layer)?;
    Ok(manifest)
}

/// Whether a layer is of a kind that can be unpacked. How it is compressed, its own bytes say.
fn check_layer(layer: &Descriptor) -> Result<(), ImageError> {
    let name = layer.media_type().as_ref();
    let refuse = |rule| Err(ImageError::Unsupported { what: format!("layer {} ({name})", layer.digest()), rule });
    match layer.media_type() {
        _ if name.ends_with("+encrypted") => refuse("it is encrypted"),
        MediaType::ImageLayer | MediaType::ImageLayerGzip | MediaType::ImageLayerZstd => Ok(()),
        _ if name.contains(".nondistributable.") || name.starts_with(DOCKER_FOREIGN_LAYER) => {
            refuse("a foreign layer, which is not in the image and may not be passed on")
        }
        MediaType::Other(other) => match other.strip_prefix(DOCKER_LAYER) {
            Some("" | ".gzip" | ".zstd") => Ok(()),
            _ => refuse("not a kind of layer that is known"),
        },
        _ => refuse("not a kind of layer that is known"),
    }
}

/// What an import needs to know of a config.
#[derive(Debug, Deserialize)]
struct Config {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    rootfs: Rootfs,
}

#[derive(Debug, Deserialize)]
struct Rootfs {
    #[serde(rename = "type")]
    kind: Option<String>,
    // docker writes null for an image of no layers.
    diff_ids: Option<Vec<String>>,
}

/// The diff-ids of a config, base first. With `platform` the config must be for that one.
pub(super) fn diff_ids(bytes: &[u8], what: &str, platform: Option<&Platform>) -> Result<Vec<Digest>, ImageError> {
    let config: Config = parse(bytes, what)?;
    if config.rootfs.kind.as_deref().is_some_and(|kind| kind != "layers") {
        return Err(ImageError::document(what, "its rootfs is not of the type layers"));
    }
    let (os, arch) = (config.os.unwrap_or_default(), config.architecture.unwrap_or_default());
    if let Some(wanted) = platform
        && !wanted.is(&os, &arch, config.variant.as_deref())
    {
        return Err(ImageError::Platform { wanted: wanted.to_string(), there: vec![format!("{os}/{arch}")] });
    }
    let known = |text: String| {
        Digest::parse(&text).ok_or_else(|| ImageError::document(what, format!("{text:?} is no sha256 digest")))
    };
    config.rootfs.diff_ids.unwrap_or_default().into_iter().map(known).collect()
}

/// A blob as a manifest describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) coding: Coding,
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Gzip,
    Zstd,
}

impl Coding {
    /// What these first bytes of a file say.
    pub(super) fn of(begin: &[u8]) -> Coding {
        match begin {
            [0x1f, 0x8b, ..] => Coding::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Coding::Zstd,
            _ => Coding::Plain,
        }
    }

    fn media_type(self) -> MediaType {
        match self {
            Coding::Plain => MediaType::ImageLayer,
            Coding::Gzip => MediaType::ImageLayerGzip,
            Coding::Zstd => MediaType::ImageLayerZstd,
        }
    }
}

/// The manifest of an image that came without one.
pub(super) fn write_manifest(config: &[u8], layers: &[Described]) -> Vec<u8> {
    let descriptor = |media_type: MediaType, digest: Digest, size: u64| json!({"mediaType": media_type.as_ref(), "digest": digest.to_string(), "size": size});
    let layers: Vec<Value> =
        layers.iter().map(|layer| descriptor(layer.coding.media_type(), layer.digest, layer.size)).collect();
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageManifest.as_ref(),
        "config": descriptor(MediaType::ImageConfig, hash::digest(config), config.len() as u64),
        "layers": layers,
    })
    .to_string()
    .into_bytes()
}

/// The config of a plain directory that became the one layer of an image. It holds no time, so that
/// the same directory is the same image whenever it is imported.
pub(super) fn write_config(platform: &Platform, diff_id: Digest) -> Vec<u8> {
    let mut config = json!({
        "architecture": platform.arch(),
        "os": platform.os(),
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id.to_string()]},
    });
    if let Some(variant) = platform.variant() {
        config["variant"] = variant.into();
    }
    config.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::{Coding, Described, diff_ids, parse_manifest, verify, write_config, write_manifest};
    use crate::driver::hash::digest;
    use crate::driver::image::error::ImageError;
    use crate::driver::image::platform::Platform;

    const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

    fn manifest(config: &str, layer: &str) -> Vec<u8> {
        let digest = digest(b"");
        format!(
            r#"{{"schemaVersion": 2, "config": {{"mediaType": "{config}", "digest": "{digest}", "size": 0}},
                "layers": [{{"mediaType": "{layer}", "digest": "{digest}", "size": 0}}]}}"#
        )
        .into_bytes()
    }

    #[test]
    fn the_kinds_of_layers_are_told() {
        for layer in [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.docker.image.rootfs.diff.tar",
        ] {
            assert_eq!(parse_manifest(&manifest(OCI_CONFIG, layer), "m").unwrap().layers().len(), 1, "{layer}");
        }
        for (layer, word) in [
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "encrypted"),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "foreign"),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "foreign"),
            ("application/vnd.docker.image.rootfs.diff.tarball", "not a kind"),
            ("application/wasm", "not a kind"),
        ] {
            let error = parse_manifest(&manifest(OCI_CONFIG, layer), "m").unwrap_err();
            assert!(error.to_string().contains(word), "{layer}: {error}");
        }
    }

    #[test]
    fn an_artifact_is_no_image() {
        let layer = "application/vnd.oci.image.layer.v1.tar";
        let error = parse_manifest(&manifest("application/vnd.oci.empty.v1+json", layer), "m").unwrap_err();
        assert!(error.to_string().contains("artifact"), "{error}");
    }

    #[test]
    fn what_is_written_is_read() {
        let platform = Platform::parse("linux/arm/v7").unwrap();
        let config = write_config(&platform, digest(b"layer"));
        assert_eq!(diff_ids(&config, "config", Some(&platform)).unwrap(), [digest(b"layer")]);
        let other = Platform::parse("linux/arm64").unwrap();
        assert!(matches!(diff_ids(&config, "config", Some(&other)), Err(ImageError::Platform { .. })));
        let layer = Described { digest: digest(b"layer"), size: 5, coding: Coding::Plain };
        let manifest = parse_manifest(&write_manifest(&config, &[layer]), "manifest").unwrap();
        assert_eq!(manifest.config().size(), config.len() as u64);
        assert_eq!(manifest.layers()[0].digest().to_string(), digest(b"layer").to_string());
    }

    #[test]
    fn a_damaged_blob_is_named_with_both_digests() {
        assert!(verify(b"a", "blob", digest(b"a"), Some(1)).is_ok());
        let error = verify(b"b", "blob", digest(b"a"), Some(1)).unwrap_err().to_string();
        for part in ["blob", &digest(b"a").to_string(), &digest(b"b").to_string()] {
            assert!(error.contains(part), "{error}");
        }
        assert!(matches!(verify(b"a", "blob", digest(b"a"), Some(2)), Err(ImageError::Size { .. })));
    }
}
