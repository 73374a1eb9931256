//! What an inode number means now, and its attributes.

use super::ino::{Ino, ROOT, ino, slot, split};
use super::plan::{Access, Dir, ENTRIES, Entry, Shape, Source, fixed, of_object};
use super::{Result, Tree};
use crate::engine::{Part, View, What};
use crate::model::error::Refusal;
use crate::model::id::{ID_DIGITS, Id};
use crate::model::record::{
    CtrHead, Doc, ImageHead, Item, Kind, LayerHead, Nanos, PodHead, Rootfs, Row, Serial, Stamp,
};
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
    Image(Box<ImageHead>),
    Layer(Box<LayerHead>),
}

impl Head {
    fn stamp(&self, doc: Doc) -> Stamp {
        let fixed = |size, made| Stamp { version: 0, changed: made, size };
        match (self, doc) {
            (Head::Ctr(head), Doc::Config) => head.config,
            (Head::Ctr(head), _) => head.state,
            (Head::Pod(head), Doc::Config) => head.config,
            (Head::Pod(head), _) => head.state,
            (Head::Image(head), Doc::Config) => fixed(head.config, head.made),
            (Head::Image(head), _) => fixed(head.manifest, head.made),
            (Head::Layer(head), _) => fixed(0, head.made),
        }
    }

    fn made(&self) -> Nanos {
        match self {
            Head::Ctr(head) => head.made,
            Head::Pod(head) => head.made,
            Head::Image(head) => head.made,
            Head::Layer(head) => head.made,
        }
    }

    /// The name of a container or pod; images have several, and layers none of their own.
    pub(super) fn name(&self) -> &str {
        match self {
            Head::Ctr(head) => &head.name,
            Head::Pod(head) => &head.name,
            Head::Image(_) | Head::Layer(_) => "",
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
                Row::Image(head) => (Kind::Image, Some(Head::Image(Box::new(head)))),
                Row::Layer(head) => (Kind::Layer, Some(Head::Layer(Box::new(head)))),
                Row::Binding { .. }
                | Row::Edge { .. }
                | Row::Member { .. }
                | Row::Tag { .. }
                | Row::TagDir { .. }
                | Row::Item(_)
                | Row::Flag { .. }
                | Row::Exited { .. }
                | Row::Place { .. } => return None,
            },
        };
        Some(Object { kind, serial, head })
    }

    /// Whether reading an entry of it looks through a directory: what a container wrote.
    pub(super) fn is_measured(&self, shape: Shape) -> bool {
        match shape {
            Shape::SizeRw => true,
            Shape::Size => matches!(&self.head, Some(Head::Layer(head)) if head.owner.is_some()),
            _ => false,
        }
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
    /// An image's name.
    Tag { name: String, image: Serial, made: Nanos },
    /// A directory of image names.
    TagDir { path: String, changed: Nanos },
    /// A symlink in an image's `layers/`.
    Place { layer: Serial, made: Nanos },
    /// A symlink in `used-by/`, to a container.
    User(Object),
    /// A symlink in a layer's `used-by/`, to an image.
    LayerImage { image: Serial, made: Nanos },
    /// A symlink in `children/`.
    Child(Object),
    /// A file of the caller's own.
    Item(Box<Item>),
    /// A flag of a container.
    Flag { ctr: Serial, name: String, value: String, changed: Nanos },
    /// What a container that is gone ended with.
    Exited { id: Id, code: i64, gone: Nanos },
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
    /// The size in bytes.
    pub size: u64,
    /// Whether as many are read. What is gathered when it is read has a size all the same: with 0,
    /// the kernel would end sendfile(2) before it began, and many a program does not look further.
    pub exact: bool,
    /// When it changed last.
    pub changed: Nanos,
}

/// The size that is shown of what is gathered when it is read, as sysfs does.
const GATHERED: u64 = 4096;
/// Bytes of "../ctr/<id>".
const OBJECT_LINK: u64 = (7 + ID_DIGITS) as u64;
/// Bytes of "../../<id>".
const EDGE_LINK: u64 = (6 + ID_DIGITS) as u64;
/// Bytes of "../../../ctr/<id>" and "../../pod/<id>" less the ID.
const MEMBER_PREFIX: u64 = 13;
const POD_PREFIX: u64 = 10;
/// Bytes of "../../image/<id>" and "../<id>" less the ID.
const IMAGE_PREFIX: u64 = 12;
const PARENT_PREFIX: u64 = 3;

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
                Row::Tag { ref name, image, made } => return Ok(Node::Tag { name: name.clone(), image, made }),
                Row::TagDir { ref path, changed } => return Ok(Node::TagDir { path: path.clone(), changed }),
                Row::Place { layer, made, .. } if place == slot::SELF => return Ok(Node::Place { layer, made }),
                Row::Place { image, made, .. } => return Ok(Node::LayerImage { image, made }),
                Row::Item(ref item) => return Ok(Node::Item(Box::new(item.clone()))),
                Row::Flag { ctr, ref name, ref value, changed } => {
                    return Ok(Node::Flag { ctr, name: name.clone(), value: value.clone(), changed });
                }
                Row::Exited { gone, .. } if self.engine.is_forgotten(gone) => return Err(Refusal::Gone.into()),
                Row::Exited { id, code, gone, .. } => return Ok(Node::Exited { id: Id::from_bytes(id), code, gone }),
                Row::Ctr(_) | Row::Pod(_) | Row::Image(_) | Row::Layer(_) => {}
            }
        }
        let object = Object::new(serial, what).ok_or(Refusal::Gone)?;
        Ok(match place {
            slot::SELF => Node::Object(object),
            slot::HIDDEN => Node::Hidden(object),
            slot::MADE => Node::Made(object),
            slot::ID => Node::IdLink(object),
            slot::HIDDEN_MEMBER => Node::HiddenMember(object),
            slot::IMAGE_USER | slot::LAYER_USER => Node::User(object),
            slot::CHILD => Node::Child(object),
            _ => {
                let entry = of_object(object.kind, place).filter(|entry| Tree::is_present(entry, &object));
                Node::Entry(entry.ok_or(Refusal::Gone)?, Some(object))
            }
        })
    }

    /// A node's attributes.
    pub(super) fn attr(&self, view: &View, number: Ino, node: &Node) -> Result<Attr> {
        let mut exact = true;
        let (kind, mode, size) = match node {
            Node::Root | Node::Object(_) | Node::Made(_) | Node::TagDir { .. } => (FileKind::Dir, 0o755, 0),
            Node::Item(item) => (FileKind::File, self.mode(Access::Secret), item.size),
            Node::Flag { value, .. } => (FileKind::File, self.mode(Access::Plain), value.len() as u64),
            Node::Exited { code, .. } => (FileKind::File, self.mode(Access::Shown), format!("{code}\n").len() as u64),
            Node::Hidden(_) => (FileKind::Link, 0o777, ID_DIGITS as u64),
            Node::HiddenMember(_) | Node::Member { .. } => (FileKind::Link, 0o777, MEMBER_PREFIX + ID_DIGITS as u64),
            Node::IdLink(_) | Node::Name { .. } => (FileKind::Link, 0o777, OBJECT_LINK),
            Node::Edge { .. } | Node::Child(_) => (FileKind::Link, 0o777, EDGE_LINK),
            Node::Tag { .. } | Node::Place { .. } | Node::User(_) | Node::LayerImage { .. } => {
                (FileKind::Link, 0o777, self.target(view, node)?.len() as u64)
            }
            Node::Entry(entry, object) => {
                let (kind, size) = (entry.access.file_kind(), self.size(view, entry, object.as_ref())?);
                exact = kind != FileKind::File || size.is_some();
                (kind, self.mode(entry.access), size.unwrap_or(if exact { 0 } else { GATHERED }))
            }
        };
        Ok(Attr { ino: number, kind, mode, size, exact, changed: self.changed(view, node)? })
    }

    pub(super) fn mode(&self, access: Access) -> u16 {
        match access {
            Access::Secret if self.shared_with_group => 0o640,
            Access::Secret => 0o600,
            Access::Plain => 0o644,
            Access::Shown => 0o444,
            Access::Dir => 0o755,
            Access::Mountpoint => 0o750,
            Access::Link => 0o777,
        }
    }

    /// The exact size of what reading gives; `None` for what is gathered then.
    fn size(&self, view: &View, entry: &Entry, object: Option<&Object>) -> Result<Option<u64>> {
        let head = object.and_then(|object| object.head.as_ref());
        Ok(Some(match (entry.shape, head) {
            (Shape::Doc(doc), Some(head)) => head.stamp(doc).size,
            (Shape::Value(field), Some(Head::Ctr(head))) => field.show(head).len() as u64 + 1,
            (Shape::Value(_), Some(Head::Pod(head))) => head.name.len() as u64 + 1,
            (Shape::PodStatus, Some(Head::Pod(head))) => pod_status(&head.counts).len() as u64 + 1,
            (Shape::Raw, Some(head)) => head.stamp(Doc::Config).size + head.stamp(Doc::State).size,
            (Shape::Raw, None) => object.map_or(Ok(0), |object| view.raw(object.serial).map(|raw| raw.len() as u64))?,
            (Shape::PodLink, _) => POD_PREFIX + ID_DIGITS as u64,
            (Shape::ImageLink, _) => IMAGE_PREFIX + ID_DIGITS as u64,
            (Shape::Parent, _) => PARENT_PREFIX + ID_DIGITS as u64,
            (Shape::OwnDir(dir), _) => match object.map(|object| view.id_of(object.kind, object.serial)) {
                Some(id) => self.engine.own_dir(id?.ok_or(Refusal::Gone)?, dir)?.len() as u64,
                None => 0,
            },
            (Shape::Mounted, _) => 2,
            (Shape::Text(doc), Some(head)) => head.stamp(doc).size,
            (shape, _) if object.is_some_and(|object| object.is_measured(shape)) => return Ok(None),
            (shape @ (Shape::CtrNames | Shape::Metadata | Shape::IdMap(_)), Some(_)) => {
                object.map_or(Ok(0), |object| self.text_size(view, shape, object.serial))?
            }
            (Shape::Digests, _) => {
                object.map_or(Ok(0), |object| view.digests(object.serial).map(|text| text.len() as u64))?
            }
            (Shape::Names | Shape::Size | Shape::DiffId | Shape::SizeRootfs | Shape::LayerName, Some(_)) => object
                .map_or(Ok(0), |object| self.content_text(view, entry.shape, object).map(|text| text.len() as u64))?,
            (Shape::Setting(_) | Shape::Version, _) => self.fixed_text(view, entry.shape)?.len() as u64,
            _ => return Ok(None),
        }))
    }

    fn changed(&self, view: &View, node: &Node) -> Result<Nanos> {
        let made = |object: &Object| object.head.as_ref().map_or(0, Head::made);
        Ok(match node {
            Node::Root => view.made()?,
            Node::Object(object)
            | Node::Made(object)
            | Node::Hidden(object)
            | Node::HiddenMember(object)
            | Node::IdLink(object)
            | Node::User(object)
            | Node::Child(object) => made(object),
            Node::Name { changed, .. } => *changed,
            Node::Edge { made, .. }
            | Node::Member { made, .. }
            | Node::Tag { made, .. }
            | Node::Place { made, .. }
            | Node::LayerImage { made, .. } => *made,
            Node::TagDir { changed, .. } => *changed,
            Node::Item(item) => item.changed,
            Node::Flag { changed, .. } => *changed,
            Node::Exited { gone, .. } => *gone,
            Node::Entry(entry, object) => match (entry.source, object.as_ref().and_then(|o| o.head.as_ref())) {
                (Source::Store, _) => view.made()?,
                (Source::List(list), _) => view.list_changed(list)?,
                (_, None) => 0,
                (Source::Data, Some(head)) => {
                    let owner = object.as_ref().map_or(0, |object| object.serial);
                    view.data_changed(owner)?.unwrap_or(head.made())
                }
                (source @ (Source::Metadata | Source::Flags | Source::Maps), Some(head)) => {
                    let more = view.more(object.as_ref().map_or(0, |object| object.serial)).unwrap_or_default();
                    head.made().max(match source {
                        Source::Metadata => more.metadata.changed,
                        Source::Flags => more.flags_changed,
                        _ => more.maps_changed,
                    })
                }
                (Source::Names, Some(Head::Ctr(head))) => {
                    let more = view.more(object.as_ref().map_or(0, |object| object.serial)).unwrap_or_default();
                    head.config.changed.max(more.names_changed)
                }
                (Source::Made, Some(head)) => head.made(),
                (Source::Config, Some(head)) => head.stamp(Doc::Config).changed,
                (Source::State, Some(head)) => head.stamp(Doc::State).changed,
                (Source::Documents, Some(head)) => head.stamp(Doc::Config).changed.max(head.stamp(Doc::State).changed),
                (Source::Dependents, Some(Head::Ctr(head))) => head.dependents_changed,
                (Source::Members, Some(Head::Pod(head))) => head.members_changed,
                (Source::PodStatus, Some(Head::Pod(head))) => head.status_changed,
                (Source::Names, Some(Head::Image(head))) => head.names_changed,
                (Source::Users, Some(Head::Image(head))) => head.users_changed,
                (Source::Users, Some(Head::Layer(head))) => head.users_changed,
                (Source::Children, Some(Head::Layer(head))) => head.children_changed,
                (
                    Source::Dependents
                    | Source::Members
                    | Source::PodStatus
                    | Source::Names
                    | Source::Users
                    | Source::Children,
                    Some(head),
                ) => head.made(),
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
            Node::Entry(Entry { access: Access::Link, shape, .. }, Some(object)) => match (shape, &object.head) {
                (Shape::PodLink, Some(Head::Ctr(head))) => {
                    let (pod, _) = head.pod.ok_or(Refusal::Gone)?;
                    format!("../../pod/{}", id(Kind::Pod, pod)?)
                }
                (Shape::OwnDir(dir), _) => self.engine.make_own_dir(of(object)?, *dir)?,
                (Shape::ImageLink, Some(Head::Ctr(head))) => {
                    format!("../../image/{}", id(Kind::Image, head.rootfs.image().ok_or(Refusal::Gone)?)?)
                }
                (Shape::Parent, Some(Head::Layer(head))) => {
                    format!("../{}", id(Kind::Layer, head.parent.ok_or(Refusal::Gone)?)?)
                }
                _ => return Err(Refusal::Gone.into()),
            },
            Node::Tag { name, image, .. } => {
                let up = "../".repeat(name.matches('/').count() + 1);
                format!("{up}image/{}", id(Kind::Image, *image)?)
            }
            Node::Place { layer, .. } => format!("../../../layer/{}", id(Kind::Layer, *layer)?),
            Node::LayerImage { image, .. } => format!("../../../image/{}", id(Kind::Image, *image)?),
            Node::User(object) => format!("../../../ctr/{}", of(object)?),
            Node::Child(object) => format!("../../{}", of(object)?),
            _ => return Err(Refusal::NotYours { what: "it is not a symlink" }.into()),
        })
    }

    /// Whether an object has this entry now.
    pub(super) fn is_present(entry: &Entry, object: &Object) -> bool {
        match entry.shape {
            Shape::PodLink => matches!(&object.head, Some(Head::Ctr(head)) if head.pod.is_some()),
            Shape::ImageLink | Shape::SizeRw | Shape::SizeRootfs => {
                matches!(&object.head, Some(Head::Ctr(head)) if head.rootfs.image().is_some())
            }
            Shape::Mount(Part::Rootfs) | Shape::Bundle => {
                matches!(&object.head, Some(Head::Ctr(head)) if head.rootfs != Rootfs::None)
            }
            Shape::Mount(Part::Shm) => {
                matches!(&object.head, Some(Head::Ctr(head)) if head.rootfs != Rootfs::None && head.shm)
            }
            Shape::Parent => matches!(&object.head, Some(Head::Layer(head)) if head.parent.is_some()),
            Shape::DiffId => matches!(&object.head, Some(Head::Layer(head)) if head.diff_id.is_some()),
            Shape::LayerName => matches!(&object.head, Some(Head::Layer(head)) if head.owner.is_some()),
            _ => true,
        }
    }

    /// The inode of the directory above one.
    pub(super) fn parent(&self, view: &View, node: &Node) -> Ino {
        match node {
            Node::Object(object) | Node::Made(object) => list_of(object.kind),
            Node::TagDir { path, .. } => match path.rsplit_once('/') {
                Some((above, _)) => view.tag_dir(above).ok().flatten().map_or(ROOT, |dir| ino(dir, slot::SELF)),
                None => entry_of(Shape::Dir(Dir::ImageNames)),
            },
            Node::Entry(entry, Some(object)) if matches!(entry.parent, Dir::Object(_)) => {
                ino(object.serial, slot::SELF)
            }
            _ => ROOT,
        }
    }
}

/// The directory that lists the objects of a kind.
fn list_of(kind: Kind) -> Ino {
    entry_of(Shape::Dir(Dir::Objects(kind)))
}

/// The entry of the whole store with this shape.
fn entry_of(shape: Shape) -> Ino {
    ENTRIES.iter().find(|entry| entry.shape == shape).map_or(ROOT, |entry| ino(0, entry.slot))
}
