//! What an inode number means now, and its attributes.

use super::ino::{Ino, ROOT, ino, slot, split};
use super::plan::{Access, Dir, ENTRIES, Entry, Shape, Source, fixed, of_object};
use super::{Result, Tree};
use crate::engine::{View, What};
use crate::model::error::Refusal;
use crate::model::id::ID_DIGITS;
use crate::model::record::{CtrHead, Doc, Kind, Nanos, PodHead, Row, Serial, Stamp};
use crate::model::status::pod_status;

/// An object as the tree meets it; without a head when its record does not decode.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) serial: Serial,
    pub(super) head: Option<Head>,
}

#[derive(Clone, Debug)]
pub(super) enum Head {
    Ctr(Box<CtrHead>),
    Pod(Box<PodHead>),
}

impl Head {
    fn stamp(&self, doc: Doc) -> Stamp {
        match (self, doc) {
            (Head::Ctr(head), Doc::Config) => head.config,
            (Head::Ctr(head), Doc::State) => head.state,
            (Head::Pod(head), Doc::Config) => head.config,
            (Head::Pod(head), Doc::State) => head.state,
        }
    }

    fn made(&self) -> Nanos {
        match self {
            Head::Ctr(head) => head.made,
            Head::Pod(head) => head.made,
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Head::Ctr(head) => &head.name,
            Head::Pod(head) => &head.name,
        }
    }
}

impl Object {
    pub(super) fn new(serial: Serial, what: What) -> Option<Object> {
        let (kind, head) = match what {
            What::Damaged(kind) => (kind, None),
            What::Row(row) => match *row {
                Row::Ctr(head) => (Kind::Ctr, Some(Head::Ctr(Box::new(head)))),
                Row::Pod(head) => (Kind::Pod, Some(Head::Pod(Box::new(head)))),
                Row::Binding { .. } | Row::Edge { .. } | Row::Member { .. } => return None,
            },
        };
        Some(Object { kind, serial, head })
    }

    /// A document's version; 0 when the record does not decode.
    pub(super) fn version(&self, doc: Doc) -> u64 {
        self.head.as_ref().map_or(0, |head| head.stamp(doc).version)
    }
}

/// What an inode number means.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// The root directory.
    Root,
    /// An entry of the table, of an object or of the whole store.
    Entry(&'static Entry, Option<Object>),
    /// An object's directory.
    Object(Object),
    /// The directory that answered a mkdir by name.
    Made(Object),
    /// The unlisted symlink in `ctr/` or `pod/`.
    Hidden(Object),
    /// The unlisted symlink in a pod's `containers/`.
    HiddenMember(Object),
    /// `id/<id>`.
    IdLink(Object),
    /// `name/<name>`, to an object of this kind.
    Name { kind: Kind, object: Serial, changed: Nanos },
    /// A symlink in `dependencies/` or `depends-on/`, to the container at the other end.
    Edge { other: Serial, made: Nanos },
    /// A symlink in a pod's `containers/`.
    Member { ctr: Serial, made: Nanos },
}

/// What kind of file a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A symlink.
    Link,
}

/// A node's attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attr {
    /// The inode number.
    pub ino: Ino,
    /// The kind of file.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u16,
    /// The size in bytes; 0 for what is measured when read.
    pub size: u64,
    /// When it changed last.
    pub changed: Nanos,
}

/// Bytes of "../ctr/<id>".
const OBJECT_LINK: u64 = (7 + ID_DIGITS) as u64;
/// Bytes of "../../<id>".
const EDGE_LINK: u64 = (6 + ID_DIGITS) as u64;
/// Bytes of "../../../ctr/<id>" and "../../pod/<id>" less the ID.
const MEMBER_PREFIX: u64 = 13;
const POD_PREFIX: u64 = 10;

impl Tree {
    /// What an inode number means.
    ///
    /// # Errors
    /// [`Refusal::Gone`] when nothing any more; the kernel then looks its path up afresh.
    pub(super) fn node(&self, view: &View, number: Ino) -> Result<Node> {
        if number == ROOT {
            return Ok(Node::Root);
        }
        let (serial, place) = split(number);
        if serial == 0 {
            return Ok(fixed(place).map(|entry| Node::Entry(entry, None)).ok_or(Refusal::Gone)?);
        }
        let what = view.what(serial)?.ok_or(Refusal::Gone)?;
        if let What::Row(row) = &what {
            match **row {
                Row::Binding { kind, object, changed, .. } => return Ok(Node::Name { kind, object, changed }),
                Row::Edge { from, made, .. } if place == slot::SELF => return Ok(Node::Edge { other: from, made }),
                Row::Edge { to, made, .. } => return Ok(Node::Edge { other: to, made }),
                Row::Member { ctr, made, .. } => return Ok(Node::Member { ctr, made }),
                Row::Ctr(_) | Row::Pod(_) => {}
            }
        }
        let object = Object::new(serial, what).ok_or(Refusal::Gone)?;
        Ok(match place {
            slot::SELF => Node::Object(object),
            slot::HIDDEN => Node::Hidden(object),
            slot::MADE => Node::Made(object),
            slot::ID => Node::IdLink(object),
            slot::HIDDEN_MEMBER => Node::HiddenMember(object),
            _ => Node::Entry(of_object(object.kind, place).ok_or(Refusal::Gone)?, Some(object)),
        })
    }

    /// A node's attributes.
    pub(super) fn attr(&self, view: &View, number: Ino, node: &Node) -> Result<Attr> {
        let (kind, mode, size) = match node {
            Node::Root | Node::Object(_) | Node::Made(_) => (FileKind::Dir, 0o755, 0),
            Node::Hidden(_) => (FileKind::Link, 0o777, ID_DIGITS as u64),
            Node::HiddenMember(_) | Node::Member { .. } => (FileKind::Link, 0o777, MEMBER_PREFIX + ID_DIGITS as u64),
            Node::IdLink(_) | Node::Name { .. } => (FileKind::Link, 0o777, OBJECT_LINK),
            Node::Edge { .. } => (FileKind::Link, 0o777, EDGE_LINK),
            Node::Entry(entry, object) => {
                let kind = match entry.access {
                    Access::Dir => FileKind::Dir,
                    Access::Link => FileKind::Link,
                    Access::Secret | Access::Plain | Access::Shown => FileKind::File,
                };
                (kind, self.mode(entry.access), self.size(view, entry, object.as_ref())?)
            }
        };
        Ok(Attr { ino: number, kind, mode, size, changed: self.changed(view, node)? })
    }

    fn mode(&self, access: Access) -> u16 {
        match access {
            Access::Secret if self.shared_with_group => 0o640,
            Access::Secret => 0o600,
            Access::Plain => 0o644,
            Access::Shown => 0o444,
            Access::Dir => 0o755,
            Access::Link => 0o777,
        }
    }

    /// The exact size of what reading gives, 0 for what is measured.
    fn size(&self, view: &View, entry: &Entry, object: Option<&Object>) -> Result<u64> {
        let head = object.and_then(|object| object.head.as_ref());
        Ok(match (entry.shape, head) {
            (Shape::Doc(doc), Some(head)) => head.stamp(doc).size,
            (Shape::Value(field), Some(Head::Ctr(head))) => field.show(head).len() as u64 + 1,
            (Shape::Value(_), Some(Head::Pod(head))) => head.name.len() as u64 + 1,
            (Shape::PodStatus, Some(Head::Pod(head))) => pod_status(&head.counts).len() as u64 + 1,
            (Shape::Raw, Some(head)) => head.stamp(Doc::Config).size + head.stamp(Doc::State).size,
            (Shape::Raw, None) => object.map_or(Ok(0), |object| view.raw(object.serial).map(|raw| raw.len() as u64))?,
            (Shape::PodLink, _) => POD_PREFIX + ID_DIGITS as u64,
            (Shape::Setting(_) | Shape::Version, _) => self.fixed_text(view, entry.shape)?.len() as u64,
            _ => 0,
        })
    }

    fn changed(&self, view: &View, node: &Node) -> Result<Nanos> {
        let made = |object: &Object| object.head.as_ref().map_or(0, Head::made);
        Ok(match node {
            Node::Root => view.made()?,
            Node::Object(object)
            | Node::Made(object)
            | Node::Hidden(object)
            | Node::HiddenMember(object)
            | Node::IdLink(object) => made(object),
            Node::Name { changed, .. } => *changed,
            Node::Edge { made, .. } | Node::Member { made, .. } => *made,
            Node::Entry(entry, object) => match (entry.source, object.as_ref().and_then(|o| o.head.as_ref())) {
                (Source::Store, _) => view.made()?,
                (Source::List(list), _) => view.list_changed(list)?,
                (_, None) => 0,
                (Source::Made, Some(head)) => head.made(),
                (Source::Config, Some(head)) => head.stamp(Doc::Config).changed,
                (Source::State, Some(head)) => head.stamp(Doc::State).changed,
                (Source::Documents, Some(head)) => head.stamp(Doc::Config).changed.max(head.stamp(Doc::State).changed),
                (Source::Dependents, Some(Head::Ctr(head))) => head.dependents_changed,
                (Source::Members, Some(Head::Pod(head))) => head.members_changed,
                (Source::PodStatus, Some(Head::Pod(head))) => head.status_changed,
                (Source::Dependents | Source::Members | Source::PodStatus, Some(head)) => head.made(),
            },
        })
    }

    /// Where a symlink leads.
    pub(super) fn target(&self, view: &View, node: &Node) -> Result<String> {
        let id = |kind, serial| -> Result<_> { Ok(view.id_of(kind, serial)?.ok_or(Refusal::Gone)?) };
        let of = |object: &Object| id(object.kind, object.serial);
        Ok(match node {
            Node::Hidden(object) => of(object)?.to_string(),
            Node::HiddenMember(object) => format!("../../../ctr/{}", of(object)?),
            Node::IdLink(object) => format!("../{}/{}", object.kind.dir(), of(object)?),
            Node::Name { kind, object, .. } => format!("../{}/{}", kind.dir(), id(*kind, *object)?),
            Node::Edge { other, .. } => format!("../../{}", id(Kind::Ctr, *other)?),
            Node::Member { ctr, .. } => format!("../../../ctr/{}", id(Kind::Ctr, *ctr)?),
            Node::Entry(Entry { shape: Shape::PodLink, .. }, Some(object)) => match &object.head {
                Some(Head::Ctr(head)) => {
                    let (pod, _) = head.pod.ok_or(Refusal::Gone)?;
                    format!("../../pod/{}", id(Kind::Pod, pod)?)
                }
                _ => return Err(Refusal::Gone.into()),
            },
            _ => return Err(Refusal::NotYours { what: "it is not a symlink" }.into()),
        })
    }

    /// Whether an object has this entry now.
    pub(super) fn is_present(entry: &Entry, object: &Object) -> bool {
        match entry.shape {
            Shape::PodLink => matches!(&object.head, Some(Head::Ctr(head)) if head.pod.is_some()),
            _ => true,
        }
    }

    /// The inode of the directory above one.
    pub(super) fn parent(&self, node: &Node) -> Ino {
        match node {
            Node::Object(object) | Node::Made(object) => list_of(object.kind),
            Node::Entry(entry, Some(object)) if matches!(entry.parent, Dir::Object(_)) => {
                ino(object.serial, slot::SELF)
            }
            _ => ROOT,
        }
    }
}

/// The directory that lists the objects of a kind.
fn list_of(kind: Kind) -> Ino {
    let list = ENTRIES.iter().find(|entry| entry.shape == Shape::Dir(Dir::Objects(kind)));
    list.map_or(ROOT, |entry| ino(0, entry.slot))
}
