//! A writable layer made an image: its layer unpacked anew, so that what the store gets is what the
//! digest says, and the documents of the image it came from continued.

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, PipeWriter, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;

use serde_json::{Map, Value, json};

use super::{ExportError, Marks, Warn, write_layer};
use crate::driver::hash::digest;
use crate::driver::record::Known;
use crate::driver::unpack::{Claim, Limits, Options, UnpackError, Unpacked, unpack};
use crate::model::digest::Digest;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Why no image was made.
#[derive(Debug)]
pub enum CommitError {
    /// The layer cannot be read.
    Layer(ExportError),
    /// The layer cannot be unpacked.
    Unpack(UnpackError),
    /// It was called off.
    Cancelled,
    /// A document of the image below is not what it should be.
    Document {
        /// `manifest` or `config`.
        document: &'static str,
        /// What it lacks.
        lacks: &'static str,
    },
    /// No pipe or thread.
    System(io::Error),
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommitError::Layer(error) => error.fmt(f),
            CommitError::Unpack(error) => write!(f, "the new layer cannot be unpacked: {error}"),
            CommitError::Cancelled => f.write_str("interrupted"),
            CommitError::Document { document, lacks } => write!(f, "the image's {document} has no {lacks}"),
            CommitError::System(error) => error.fmt(f),
        }
    }
}

impl StdError for CommitError {}

/// The trees that a new layer is made of and lies upon.
#[derive(Debug)]
pub struct Sources<'a> {
    /// The writable layer.
    pub upper: BorrowedFd<'a>,
    /// The lowers, merged.
    pub lowers: BorrowedFd<'a>,
    /// The lowers one by one, topmost first.
    pub parents: &'a [OwnedFd],
    /// How overlayfs marks what is gone.
    pub marks: Marks,
    /// Whether device nodes can be made.
    pub devices: bool,
}

/// Unpacks a writable layer's tar stream into `root`, an empty directory. Also returns what its record needs
/// to know.
///
/// # Errors
/// What cannot be read or made; `root` is then to be removed.
pub fn unpack_layer(
    sources: &Sources<'_>,
    root: &Path,
    is_cancelled: &(dyn Fn() -> bool + Sync),
    warn: Warn<'_>,
) -> Result<(Unpacked, Known), CommitError> {
    let (reader, writer) = io::pipe().map_err(CommitError::System)?;
    let options = Options {
        userxattr: sources.marks.userxattr,
        parents: sources.parents,
        limits: Limits::default(),
        devices: sources.devices,
        progress: &|_| (),
    };
    let (written, unpacked) = thread::scope(|scope| {
        let unpacking = scope.spawn(|| unpack(reader, root, &Claim::default(), &options));
        let mut out = Cancellable { out: writer, is_cancelled };
        let written = write_layer(sources.upper, sources.lowers, sources.marks, &mut out, warn);
        // The reader sees the end of the stream.
        drop(out);
        (written, unpacking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    match (written, unpacked) {
        _ if is_cancelled() => Err(CommitError::Cancelled),
        // The reader went away first, and knows why.
        (Err(ExportError::Output(_)), Err(error)) => Err(CommitError::Unpack(error)),
        (Err(error), _) => Err(CommitError::Layer(error)),
        (Ok(()), unpacked) => unpacked.map_err(CommitError::Unpack),
    }
}

/// A pipe that breaks when nobody wants it any more.
struct Cancellable<'a> {
    out: PipeWriter,
    is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Write for Cancellable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match (self.is_cancelled)() {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => self.out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The documents of an image with one more layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    /// The manifest's text.
    pub manifest: String,
    /// The config's text.
    pub config: String,
    /// The digests of all layers, base first.
    pub diff_ids: Vec<Digest>,
}

/// Who made a layer, and when.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// RFC 3339.
    pub created: &'a str,
    /// What did it, in words.
    pub created_by: &'a str,
}

/// Continues the documents of the image below with a layer that is not compressed. All else of the
/// config stays as it is; the manifest's annotations speak of the image below, and do not.
///
/// # Errors
/// [`CommitError::Document`].
pub fn documents(
    manifest: &str,
    config: &str,
    layer: (Digest, u64),
    author: Author<'_>,
) -> Result<Documents, CommitError> {
    let (config, diff_ids) = continue_config(config, layer.0, author)?;
    Ok(Documents { manifest: continue_manifest(manifest, layer, &config)?, config, diff_ids })
}

fn continue_config(text: &str, diff_id: Digest, author: Author<'_>) -> Result<(String, Vec<Digest>), CommitError> {
    let lacks = |lacks| CommitError::Document { document: "config", lacks };
    let mut config: Map<String, Value> = serde_json::from_str(text).map_err(|_| lacks("JSON object"))?;
    let listed = config.get_mut("rootfs").and_then(|rootfs| rootfs.get_mut("diff_ids")).and_then(Value::as_array_mut);
    let listed = listed.ok_or_else(|| lacks("rootfs.diff_ids"))?;
    let below = listed.len();
    listed.push(diff_id.to_string().into());
    let diff_ids: Option<Vec<Digest>> = listed.iter().map(|id| id.as_str().and_then(Digest::parse)).collect();
    let diff_ids = diff_ids.ok_or_else(|| lacks("sha256 digests in rootfs.diff_ids"))?;

    config.insert("created".to_owned(), author.created.into());
    let history = config.entry("history").or_insert_with(|| json!([]));
    let history = history.as_array_mut().ok_or_else(|| lacks("array in history"))?;
    // Readers count the entries with a layer, so those that the image below does not tell are there.
    let told = history.iter().filter(|entry| entry.get("empty_layer") != Some(&Value::Bool(true))).count();
    history.extend((told..below).map(|_| json!({})));
    history.push(json!({"created": author.created, "created_by": author.created_by}));
    Ok((Value::Object(config).to_string(), diff_ids))
}

fn continue_manifest(text: &str, (digest_of_layer, size): (Digest, u64), config: &str) -> Result<String, CommitError> {
    let lacks = |lacks| CommitError::Document { document: "manifest", lacks };
    let manifest: Value = serde_json::from_str(text).map_err(|_| lacks("JSON object"))?;
    let is_docker = manifest["mediaType"] == DOCKER_MANIFEST || manifest["config"]["mediaType"] == DOCKER_CONFIG;
    let [of_manifest, of_config, of_layer] = match is_docker {
        true => [DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER],
        false => [OCI_MANIFEST, OCI_CONFIG, OCI_LAYER],
    };
    let descriptor = |media_type: &str, digest: Digest, size: u64| json!({"mediaType": media_type, "digest": digest.to_string(), "size": size});
    let mut layers = manifest["layers"].as_array().ok_or_else(|| lacks("layers"))?.clone();
    layers.push(descriptor(of_layer, digest_of_layer, size));
    let continued = json!({
        "schemaVersion": 2,
        "mediaType": of_manifest,
        "config": descriptor(of_config, digest(config.as_bytes()), config.len() as u64),
        "layers": layers,
    });
    Ok(continued.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHOR: Author<'_> = Author { created: "2026-01-02T03:04:05Z", created_by: "ctrfs commit web" };

    #[test]
    fn the_documents_go_on() {
        let (base, new) = (digest(b"base"), digest(b"new"));
        let config = format!(
            r#"{{"os":"linux","created":"2020-01-01T00:00:00Z","config":{{"Cmd":["sh"],"odd":1.10}},
                "rootfs":{{"type":"layers","diff_ids":["{base}"]}},
                "history":[{{"created_by":"a"}},{{"created_by":"b","empty_layer":true}}]}}"#
        );
        let manifest =
            r#"{"schemaVersion":2,"annotations":{"a":"b"},"config":{"data":"e30="},"layers":[{"digest":"x"}]}"#;
        let made = documents(manifest, &config, (new, 7), AUTHOR).unwrap();
        assert_eq!(made.diff_ids, [base, new]);
        let expected = r#"{"os":"linux","created":"2026-01-02T03:04:05Z","config":{"Cmd":["sh"],"odd":1.10},"#
            .to_string()
            + &format!(r#""rootfs":{{"type":"layers","diff_ids":["{base}","{new}"]}},"#)
            + r#""history":[{"created_by":"a"},{"created_by":"b","empty_layer":true},"#
            + r#"{"created":"2026-01-02T03:04:05Z","created_by":"ctrfs commit web"}]}"#;
        assert_eq!(made.config, expected);
        let id = digest(made.config.as_bytes());
        let expected = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"{OCI_CONFIG}","digest":"{id}","size":{}}},"#,
            made.config.len()
        ) + &format!(
            r#""layers":[{{"digest":"x"}},{{"mediaType":"{OCI_LAYER}","digest":"{new}","size":7}}]}}"#
        );
        assert_eq!(made.manifest, expected);
    }

    #[test]
    fn layers_without_history_get_an_entry_each() {
        let config = format!(r#"{{"rootfs":{{"diff_ids":["{0}","{0}"]}}}}"#, digest(b""));
        let manifest = format!(r#"{{"mediaType":"{DOCKER_MANIFEST}","layers":[]}}"#);
        let made = documents(&manifest, &config, (digest(b"new"), 7), AUTHOR).unwrap();
        assert!(made.config.contains(r#""history":[{},{},{"created":"#), "{}", made.config);
        assert!(made.manifest.contains(DOCKER_LAYER) && !made.manifest.contains("oci"), "{}", made.manifest);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let refused = |manifest, config| documents(manifest, config, (digest(b""), 0), AUTHOR).unwrap_err().to_string();
        assert_eq!(refused("{}", "{}"), "the image's config has no rootfs.diff_ids");
        assert_eq!(refused("{}", r#"{"rootfs":{"diff_ids":[]}}"#), "the image's manifest has no layers");
        assert_eq!(
            refused("{}", r#"{"rootfs":{"diff_ids":["sha512:00"]}}"#),
            "the image's config has no sha256 digests in rootfs.diff_ids"
        );
    }
}
