//! Reading: content is made whole by the read at offset 0, and later offsets go on in it, so that no
//! reader sees a mixture of two contents.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use super::handle::{Opened, State};
use super::items::is_item;
use super::keep::{ReadNote, warn_unkept};
use super::node::{Head, Node, Object};
use super::plan::Shape;
use super::{Result, Tree, control};
use crate::engine::{Part, SCHEMA, View};
use crate::model::digest::Digest;
use crate::model::error::Refusal;
use crate::model::record::{Doc, Kind};
use crate::model::runtime::Setting;
use crate::model::status::pod_status;

/// What a read from the start was given.
#[derive(Clone)]
pub(super) struct Content {
    bytes: Arc<[u8]>,
    /// The version of the document, for entries that are one.
    version: Option<u64>,
}

const CTR_EXAMPLE: &str = r#"{
  "name": "web",
  "pod": "",
  "labels": {"tier": "front"},
  "Dependencies": [],
  "netNsCtr": "",
  "command": ["httpd", "-f"],
  "stopTimeout": 10
}
"#;

const POD_EXAMPLE: &str = r#"{
  "name": "shop",
  "labels": {"tier": "front"},
  "cgroupParent": "/pods"
}
"#;

const SANDBOX_EXAMPLE: &str = r#"{
  "podName": "k8s_shop_default_5f0c6f2e_0",
  "podID": "3f0a7d0c5b2e4a8f9c1d6e7b8a90f1e2d3c4b5a69788796a5b4c3d2e1f001122",
  "imageName": "localhost/pause:latest",
  "imageID": "",
  "containerName": "k8s_POD_shop_default_5f0c6f2e_0",
  "metadataName": "shop",
  "uid": "5f0c6f2e",
  "namespace": "default",
  "attempt": 0,
  "mountLabel": ""
}
"#;

const IMAGE_EXAMPLE: &str = r#"{
  "staging": "5f0c6f2e",
  "names": ["localhost/busybox:latest"],
  "manifest": "{\"schemaVersion\": 2, \"config\": {\"digest\": \"sha256:...\"}}",
  "config": "{\"rootfs\": {\"type\": \"layers\", \"diff_ids\": [\"sha256:...\"]}}",
  "layers": [
    {"diff-id": "sha256:...", "size": 1991680, "disk": 1998848, "entries": 404, "tree": "sha256:..."}
  ]
}
"#;

impl Tree {
    /// Up to `size` bytes at `offset`.
    ///
    /// # Errors
    /// [`Refusal::Changed`] in the middle of a file that was opened by an earlier server and changed
    /// since; [`Refusal::Gone`]; [`Refusal::Undecodable`].
    pub fn read(&self, opened: Opened, offset: u64, size: usize) -> Result<Vec<u8>> {
        if is_item(opened.fh) {
            return self.read_item(opened, offset, size);
        }
        let view = self.engine.view()?;
        let node = self.node(&view, opened.ino);
        let handle = self.handles.file(opened.fh);
        let mut state = handle.state.lock();
        if node.as_ref().is_ok_and(|node| is_answer(&state, node)) {
            return self.read_output(opened.fh, &mut state, offset, size);
        }
        if offset > 0 && state.content.is_none() && state.inherited {
            if let Some(end) = self.inherit(&view, &node, opened.fh, &mut state, offset)? {
                return Ok(end);
            }
        } else if offset == 0 || state.content.is_none() {
            let content = self.content(&view, &node?)?;
            self.note(opened.fh, &mut state, &content);
            state.content = Some(content);
        }
        let bytes = state.content.as_ref().map_or(&[][..], |content| &content.bytes);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        Ok(bytes[start..bytes.len().min(start.saturating_add(size))].to_vec())
    }

    /// How many bytes a handle reads, of an entry whose size says nothing: those that it was given, or
    /// would be.
    pub(super) fn read_size(&self, opened: Opened) -> Result<u64> {
        let view = self.engine.view()?;
        let node = self.node(&view, opened.ino)?;
        let handle = self.handles.file(opened.fh);
        let mut state = handle.state.lock();
        if is_answer(&state, &node) {
            return Ok(state.saved.output_at.unwrap_or(0) + state.saved.output.len() as u64);
        }
        if state.content.is_none() {
            if state.inherited
                && let Some(note) = self.handles.keep.read_note(opened.fh)
            {
                return Ok(note.length);
            }
            let content = self.content(&view, &node)?;
            self.note(opened.fh, &mut state, &content);
            state.content = Some(content);
        }
        Ok(state.content.as_ref().map_or(0, |content| content.bytes.len() as u64))
    }

    /// Remembers what a read was given, for the server after this one and for compare-and-swap.
    fn note(&self, fh: u64, state: &mut State, content: &Content) {
        let (length, digest) = (content.bytes.len() as u64, digest(&content.bytes));
        let note = ReadNote { length, digest, version: content.version };
        warn_unkept(self.handles.keep.note_read(fh, note));
        state.saved.seen = content.version;
    }

    /// Goes on with a file that an earlier server began to read out.
    fn inherit(
        &self,
        view: &View,
        node: &Result<Node>,
        fh: u64,
        state: &mut State,
        offset: u64,
    ) -> Result<Option<Vec<u8>>> {
        let noted = self.handles.keep.read_note(fh);
        if noted.is_some_and(|note| offset >= note.length) {
            return Ok(Some(vec![]));
        }
        let content = self.content(view, node.as_ref().map_err(Clone::clone)?)?;
        match noted {
            None => self.note(fh, state, &content),
            Some(note) if note.digest == digest(&content.bytes) => {}
            Some(_) => return Err(Refusal::Changed.into()),
        }
        state.saved.seen = content.version;
        state.content = Some(content);
        Ok(None)
    }

    /// Results begin wherever the handle is read first after the write that made them.
    fn read_output(&self, fh: u64, state: &mut State, offset: u64, size: usize) -> Result<Vec<u8>> {
        let at = match state.saved.output_at {
            Some(at) => at,
            None => {
                state.saved.output_at = Some(offset);
                self.save(fh, state);
                offset
            }
        };
        let start = usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX).min(state.saved.output.len());
        Ok(state.saved.output[start..state.saved.output.len().min(start.saturating_add(size))].to_vec())
    }

    fn content(&self, view: &View, node: &Node) -> Result<Content> {
        let text = |text: String| Content { bytes: text.into_bytes().into(), version: None };
        match node {
            Node::Flag { value, .. } => return Ok(text(value.clone())),
            Node::Exited { code, .. } => return Ok(text(format!("{code}\n"))),
            _ => {}
        }
        let Node::Entry(entry, object) = node else {
            return Err(Refusal::NotYours { what: "it is a directory or a symlink" }.into());
        };
        let Some(object) = object else { return Ok(text(self.fixed_text(view, entry.shape)?)) };
        Ok(match entry.shape {
            Shape::Doc(doc) => doc_content(view, object, doc)?,
            Shape::Raw => Content { bytes: view.raw(object.serial)?.into(), version: None },
            Shape::Health => text(self.engine.health(view, object.kind, object.serial)?),
            Shape::Value(_) | Shape::PodStatus => text(value_text(entry.shape, object)?),
            Shape::Text(doc) => Content { bytes: view.text(object.serial, doc)?.into(), version: None },
            Shape::Mounted => {
                let id = view.id_of(object.kind, object.serial)?.ok_or(Refusal::Gone)?;
                text(format!("{}\n", u8::from(self.engine.is_mounted(id, Part::Rootfs))))
            }
            shape @ (Shape::CtrNames | Shape::Metadata | Shape::IdMap(_)) => Content {
                bytes: self.text(view, shape, object.serial)?.into(),
                version: Tree::text_version(view, shape, object.serial)?,
            },
            Shape::Bundle => Content { bytes: self.engine.bundle(view, object.serial)?.into(), version: None },
            Shape::Digests => text(view.digests(object.serial)?),
            Shape::SizeRw => text(format!("{}\n", self.engine.size_rw(view, object.serial)?)),
            Shape::Names | Shape::Size | Shape::DiffId | Shape::SizeRootfs | Shape::LayerName => {
                text(self.content_text(view, entry.shape, object)?)
            }
            _ => text(String::new()),
        })
    }

    /// The text of an entry of an image or layer.
    pub(super) fn content_text(&self, view: &View, shape: Shape, object: &Object) -> Result<String> {
        let line = |value: &dyn std::fmt::Display| format!("{value}\n");
        Ok(match (shape, &object.head) {
            (Shape::Names, _) => view.tags_of(object.serial)?.into_iter().map(|(name, _)| line(&name)).collect(),
            (Shape::Size, Some(Head::Image(head))) => line(&head.size),
            (Shape::Size, Some(Head::Layer(head))) => match head.owner {
                Some(ctr) => line(&self.engine.size_rw(view, ctr)?),
                None => line(&head.size),
            },
            (Shape::DiffId, Some(Head::Layer(head))) => {
                head.diff_id.map_or_else(String::new, |diff_id| line(&Digest::from_bytes(diff_id)))
            }
            (Shape::SizeRootfs, Some(Head::Ctr(head))) => match head.rootfs.image().map(|image| view.image(image)) {
                Some(image) => line(&image?.size),
                None => String::new(),
            },
            (Shape::LayerName, Some(Head::Layer(head))) => match head.owner {
                Some(ctr) => line(&format!("{}-layer", view.ctr_name(ctr)?)),
                None => String::new(),
            },
            _ => String::new(),
        })
    }

    /// The text of an entry of the whole store.
    pub(super) fn fixed_text(&self, view: &View, shape: Shape) -> Result<String> {
        Ok(match shape {
            Shape::Create(Kind::Ctr) => CTR_EXAMPLE.to_owned(),
            Shape::Create(_) => POD_EXAMPLE.to_owned(),
            Shape::CreateImage => IMAGE_EXAMPLE.to_owned(),
            Shape::CreateSandbox => SANDBOX_EXAMPLE.to_owned(),
            Shape::Control => control::examples(),
            Shape::Table(kind) => view.table(kind)?,
            Shape::Check => self.engine.check(false)?,
            Shape::Setting(Setting::RunRoot) => format!("{}\n", self.run_root.display()),
            Shape::Setting(setting) => view.runtime(setting, &self.store_path)? + "\n",
            Shape::Refusals => self.refusals.text(),
            Shape::Version => format!("ctrfs {}, schema {SCHEMA}\n", env!("CARGO_PKG_VERSION")),
            _ => String::new(),
        })
    }
}

/// Whether a handle reads the answer to what was written to it.
fn is_answer(state: &State, node: &Node) -> bool {
    let written = state.written || !state.saved.output.is_empty() || !state.saved.pending.is_empty();
    let answers =
        |shape| matches!(shape, Shape::Create(_) | Shape::CreateImage | Shape::CreateSandbox | Shape::Control);
    written && matches!(node, Node::Entry(entry, _) if answers(entry.shape))
}

fn doc_content(view: &View, object: &Object, doc: Doc) -> Result<Content> {
    let bytes = view.doc(object.serial, doc)?;
    Ok(Content { bytes: bytes.into(), version: object.head.as_ref().map(|_| object.version(doc)) })
}

fn value_text(shape: Shape, object: &Object) -> Result<String> {
    let why = || "its head does not decode".to_owned();
    let head = object.head.as_ref().ok_or_else(|| Refusal::Undecodable { part: "record", why: why() })?;
    Ok(match (shape, head) {
        (Shape::Value(field), Head::Ctr(head)) => field.show(head) + "\n",
        (Shape::PodStatus, Head::Pod(head)) => pod_status(&head.counts).to_owned() + "\n",
        _ => head.name().to_owned() + "\n",
    })
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
