//! From a name in a directory to an inode; attributes and changes of attributes; paths for people.

use serde_json::{Map, Value};

use super::ino::{Ino, ROOT, ino, slot};
use super::items::{data_of, is_item};
use super::node::{Attr, FileKind, Head, Node, Object};
use super::plan::{Dir, Entry, Shape, entries_in};
use super::{Caller, Opened, Outcome, Place, Result, Tree};
use crate::engine::{Error, ItemPlace, Origin, View};
use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::record::{Kind, Nanos, Serial};

/// What an entry of `exited/` is called where it is refused.
const EXIT_CODE: &str = "the exit code of a container that is gone";

/// How long the kernel may keep an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lifetime {
    /// For ever: inode numbers that lose their meaning answer ESTALE.
    Forever,
    /// For this once: what answers to a name or prefix changes with other names.
    Once,
}

/// What a name in a directory leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entered {
    /// The inode.
    pub attr: Attr,
    /// How long the name leads there.
    pub lifetime: Lifetime,
}

/// A time to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetTime {
    /// The time it is.
    Now,
    /// This one.
    At(Nanos),
}

/// Attributes to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetAttr {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Whether an owner or group other than the present one is asked for.
    pub owner: bool,
    /// A new size.
    pub size: Option<u64>,
    /// A new time of reading.
    pub atime: Option<SetTime>,
    /// A new time of change.
    pub mtime: Option<SetTime>,
}

impl SetAttr {
    /// The time of change that is asked for, if any; `None` within for the present one.
    pub(super) fn changed(&self) -> Option<Option<Nanos>> {
        self.mtime.map(|time| match time {
            SetTime::Now => None,
            SetTime::At(nanos) => Some(nanos),
        })
    }
}

/// The document of an object that only has a name or an ID.
pub(super) fn naming(name: &str) -> Map<String, Value> {
    let key = if Id::parse(name).is_some() { "id" } else { "name" };
    Map::from_iter([(key.to_owned(), Value::from(name))])
}

impl Tree {
    /// What a name in a directory leads to; `None` when to nothing.
    ///
    /// # Errors
    /// An ambiguous prefix; [`Refusal::Gone`] when the directory is.
    pub fn lookup(&self, parent: Ino, name: &str) -> Result<Option<Entered>> {
        if let Some(entered) = self.pinned.lookup(parent, name) {
            return Ok(Some(entered));
        }
        let view = self.engine.view()?;
        let node = self.node(&view, parent)?;
        let (dir, object) = Tree::dir_of(&node)?;
        // An inode of a directory has one name in the kernel: what mounts are on has its own place only.
        let is_here = |entry: &Entry| !matches!((&node, entry.shape), (Node::Made(_), Shape::Mount(_)));
        let present =
            |entry: &&Entry| entry.name == name && is_here(entry) && object.is_none_or(|o| Tree::is_present(entry, o));
        if let Some(entry) = entries_in(dir).find(present) {
            let number = ino(object.map_or(0, |object| object.serial), entry.slot);
            let attr = self.attr(&view, number, &Node::Entry(entry, object.cloned()))?;
            return Ok(Some(Entered { attr, lifetime: Lifetime::Forever }));
        }
        let found = match (dir, object) {
            (Dir::Objects(kind), _) => listed_or_hidden(&view, kind, name)?,
            (Dir::Names, _) => view.name(name)?.map(|(binding, ..)| (ino(binding, slot::SELF), Lifetime::Forever)),
            (Dir::Ids, _) => by_id(&view, name)?.map(|serial| (ino(serial, slot::ID), Lifetime::Forever)),
            // One that is forgotten must not be found, though nobody tells the kernel.
            (Dir::Exited, _) => match Id::parse(name) {
                Some(id) => self.engine.exited(&view, &id)?.map(|e| (ino(e.serial, slot::SELF), Lifetime::Once)),
                None => None,
            },
            (Dir::Members, Some(pod)) => member(&view, pod.serial, name)?,
            (Dir::Dependencies, Some(ctr)) => edge(&view, name, |other| (other, ctr.serial), slot::SELF)?,
            (Dir::DependsOn, Some(ctr)) => edge(&view, name, |other| (ctr.serial, other), slot::DEPENDS_ON)?,
            (Dir::ImageNames, _) => tag_entry(&view, "", name)?,
            (Dir::Tags, _) => match &node {
                Node::TagDir { path, .. } => tag_entry(&view, path, name)?,
                _ => None,
            },
            (Dir::Layers, Some(image)) => place(&view, image.serial, name)?,
            (Dir::Flags, Some(ctr)) => flag(&view, ctr.serial, name)?,
            (Dir::Users, Some(object)) => user(&view, object, name)?,
            (Dir::Data, Some(owner)) => {
                let place = ItemPlace { kind: owner.kind, owner: owner.serial };
                view.item(place, name)?.map(|item| (ino(item, slot::SELF), Lifetime::Forever))
            }
            (Dir::Children, Some(layer)) => child(&view, layer.serial, name)?,
            _ => None,
        };
        let Some((number, lifetime)) = found else { return Ok(None) };
        let attr = self.attr(&view, number, &self.node(&view, number)?)?;
        Ok(Some(Entered { attr, lifetime }))
    }

    /// An inode's attributes, and how long they hold. A handle has the size of what it reads: that is
    /// where lseek(2) finds the end.
    ///
    /// # Errors
    /// [`Refusal::Gone`] when it means nothing any more.
    pub fn getattr(&self, number: Ino, fh: Option<u64>) -> Result<(Attr, Lifetime)> {
        if let Some(attr) = self.pinned.attr(number) {
            return Ok((attr, Lifetime::Forever));
        }
        let asked = self.engine.view().and_then(|view| match self.node(&view, number) {
            // An item may be open and taken away.
            Ok(Node::Item(_)) | Err(Error::Refused(Refusal::Gone)) => self.item_getattr(number, fh),
            node => Ok((self.attr(&view, number, &node?)?, Lifetime::Forever)),
        });
        match (asked, fh) {
            (Ok((attr, _)), Some(fh)) if !attr.exact => {
                let size = self.read_size(Opened { ino: number, fh })?;
                Ok((Attr { size, ..attr }, Lifetime::Once))
            }
            (Ok((attr, lifetime)), None) if attr.exact => Ok((attr, lifetime)),
            (Ok((attr, _)), _) => Ok((attr, Lifetime::Once)),
            (Err(error @ Error::Store(_)), _) => {
                self.pinned.attr_above(number).map(|attr| (attr, Lifetime::Forever)).ok_or(error)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Where a symlink leads.
    ///
    /// # Errors
    /// [`Refusal::Gone`] when it means nothing any more.
    pub fn readlink(&self, number: Ino) -> Result<String> {
        let view = self.engine.view()?;
        let node = self.node(&view, number)?;
        self.target(&view, &node)
    }

    /// Sets attributes to what they are, or refuses. Truncation alone changes nothing: shells truncate
    /// before they write.
    ///
    /// # Errors
    /// [`Refusal::NotYours`] for what would change; [`Refusal::ReadOnly`] for a truncation of what
    /// only shows.
    pub fn setattr(
        &self,
        origin: Origin,
        caller: Caller,
        number: Ino,
        fh: Option<u64>,
        set: SetAttr,
    ) -> Result<Outcome<Attr>> {
        let view = self.engine.view()?;
        let node = self.node(&view, number);
        if matches!(node, Ok(Node::Item(_))) || fh.is_some_and(is_item) {
            return self.set_item(origin, caller, number, fh, set);
        }
        let node = node?;
        let attr = self.attr(&view, number, &node)?;
        if let (Some(place), None) = (data_of(&node), set.size) {
            return self.set_data(origin, place, attr, set);
        }
        let other_time = |time| matches!(time, Some(SetTime::At(nanos)) if nanos != attr.changed);
        if set.mode.is_some_and(|mode| mode & 0o7777 != u32::from(attr.mode)) || set.owner {
            return Err(Refusal::NotYours { what: "modes and owners are given by the mount" }.into());
        }
        if other_time(set.mtime) || other_time(set.atime) {
            return Err(Refusal::NotYours { what: "times say when an entry changed" }.into());
        }
        match (&node, set.size) {
            (Node::Entry(entry, _), Some(_)) if attr.kind == FileKind::File && !entry.is_writable() => {
                Err(Refusal::ReadOnly { entry: entry.name }.into())
            }
            (Node::Exited { .. }, Some(_)) => Err(Refusal::ReadOnly { entry: EXIT_CODE }.into()),
            _ => Ok(Outcome { value: attr, changes: vec![] }),
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`Refusal::ReadOnly`] when it is to be written and only shows.
    pub fn open(&self, caller: Caller, number: Ino, write: bool) -> Result<Opened> {
        let view = self.engine.view()?;
        match self.node(&view, number)? {
            Node::Item(_) => Ok(self.open_item(caller, number, write)?.0),
            Node::Entry(entry, _) if write && !entry.is_writable() => {
                Err(Refusal::ReadOnly { entry: entry.name }.into())
            }
            Node::Exited { .. } if write => Err(Refusal::ReadOnly { entry: EXIT_CODE }.into()),
            _ => Ok(Opened { ino: number, fh: self.handles.open() }),
        }
    }

    /// Opens a directory and fixes its listing. Returns the handle.
    ///
    /// # Errors
    /// [`Refusal::Gone`].
    pub fn opendir(&self, number: Ino) -> Result<u64> {
        let view = self.engine.view()?;
        Ok(self.handles.open_dir(self.listing(&view, number)?))
    }

    /// An open directory's listing.
    ///
    /// # Errors
    /// [`Refusal::Gone`], when an earlier server opened it and it is gone since.
    pub fn opened_listing(&self, number: Ino, fh: u64) -> Result<std::sync::Arc<super::Listing>> {
        match self.handles.dir(fh) {
            Some(listing) => Ok(listing),
            None => Ok(self.handles.adopt_dir(fh, self.listing(&self.engine.view()?, number)?)),
        }
    }

    /// Closes a directory.
    pub fn releasedir(&self, fh: u64) {
        self.handles.close_dir(fh);
    }

    /// What a mkdir answers: the object's own directory where its ID was given, else a directory that
    /// the next lookup replaces by a symlink.
    pub(super) fn made(&self, view: &View, kind: Kind, serial: Serial, name: &str, listed: bool) -> Result<Entered> {
        let by_id = listed && Id::parse(name).is_some();
        let number = ino(serial, if by_id { slot::SELF } else { slot::MADE });
        let object = Object::new(serial, view.what(serial)?.ok_or(Refusal::Gone)?).ok_or(Refusal::Gone)?;
        debug_assert_eq!(object.kind, kind);
        let node = if by_id { Node::Object(object) } else { Node::Made(object) };
        let lifetime = if by_id { Lifetime::Forever } else { Lifetime::Once };
        Ok(Entered { attr: self.attr(view, number, &node)?, lifetime })
    }

    /// A path below the mount, for people.
    pub(super) fn path(&self, place: Place<'_>) -> String {
        let of = |number| self.engine.view().map_or_else(|_| "?".to_owned(), |view| self.path_of(&view, number));
        match place {
            Place::At(number) => of(number),
            Place::In(parent, name) if parent == ROOT => name.to_owned(),
            Place::In(parent, name) => format!("{}/{name}", of(parent)),
        }
    }

    fn path_of(&self, view: &View, number: Ino) -> String {
        let object = |kind: Kind, serial| match view.id_of(kind, serial) {
            Ok(Some(id)) => format!("{}/{id}", kind.dir()),
            _ => format!("{}/?", kind.dir()),
        };
        match self.node(view, number) {
            Ok(Node::Root) => ".".to_owned(),
            Ok(Node::Entry(entry, Some(o))) => format!("{}/{}", object(o.kind, o.serial), entry.name),
            Ok(Node::Entry(entry, None)) => {
                match super::plan::ENTRIES.iter().find(|above| above.shape == super::plan::Shape::Dir(entry.parent)) {
                    Some(above) => format!("{}/{}", above.name, entry.name),
                    None => entry.name.to_owned(),
                }
            }
            Ok(Node::Object(o) | Node::Made(o) | Node::Hidden(o) | Node::HiddenMember(o) | Node::IdLink(o)) => {
                object(o.kind, o.serial)
            }
            Ok(Node::Name { kind, object: serial, .. }) => object(kind, serial),
            Ok(Node::Edge { other: ctr, .. } | Node::Member { ctr, .. }) => object(Kind::Ctr, ctr),
            Ok(Node::User(o) | Node::Child(o)) => object(o.kind, o.serial),
            Ok(Node::Tag { name: path, .. } | Node::TagDir { path, .. }) => format!("image-name/{path}"),
            Ok(Node::Place { layer, .. }) => object(Kind::Layer, layer),
            Ok(Node::LayerImage { image, .. }) => object(Kind::Image, image),
            Ok(Node::Item(item)) => format!("{}/data/{}", object(item.kind, item.owner), item.key),
            Ok(Node::Flag { ctr, name, .. }) => format!("{}/flags/{name}", object(Kind::Ctr, ctr)),
            Ok(Node::Exited { id, .. }) => format!("exited/{id}"),
            Err(_) => "?".to_owned(),
        }
    }
}

/// What the target of a symlink at a path below `image-name/` may mean as an image, the likeliest first: a
/// path to a name or to an image, from wherever it is, or what is typed elsewhere for an image.
pub(super) fn meant_by(path: &str, target: &str) -> Vec<String> {
    let target = target.trim_end_matches('/');
    let below = |dir| match target.rsplit_once(dir) {
        Some((above, rest)) if above.is_empty() || above.ends_with('/') => Some(rest.to_owned()),
        _ => None,
    };
    let meant = [below("image-name/"), below("image/"), beside(path, target), Some(target.to_owned())];
    meant.into_iter().flatten().collect()
}

/// The container that the target of a symlink in `name/` means: a path to its directory or to another name
/// of it, from wherever it is, or what is typed elsewhere for a container.
pub(super) fn named_by(view: &View, target: &str) -> Result<Serial> {
    let target = target.trim_end_matches('/');
    let (above, last) = target.rsplit_once('/').unwrap_or(("", target));
    match above.rsplit('/').next().unwrap_or_default() {
        "pod" => Err(Refusal::NotYours { what: "a pod has one name; rename it with mv" }.into()),
        _ => match view.find(Kind::Ctr, last) {
            Err(Error::Refused(Refusal::NoSuch { .. })) if view.find(Kind::Pod, last).is_ok() => {
                Err(Refusal::NotYours { what: "a pod has one name; rename it with mv" }.into())
            }
            found => Ok(found?.serial),
        },
    }
}

/// A path from the directory that another path is in, unless it leads out of the topmost.
fn beside(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/').filter(|part| *part != ".") {
        match part {
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

type Hit = Option<(Ino, Lifetime)>;

/// Nothing there is no error on the way of a lookup.
fn absent<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Error::Refused(Refusal::NoSuch { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What `id/` has under this ID: of a pod and its infra container, the pod.
fn by_id(view: &View, name: &str) -> Result<Option<Serial>> {
    let Some(id) = Id::parse(name) else { return Ok(None) };
    Ok(view.object(&id)?.map(|(_, serial)| serial))
}

fn listed_or_hidden(view: &View, kind: Kind, name: &str) -> Result<Hit> {
    let Some(found) = absent(view.find(kind, name))? else { return Ok(None) };
    Ok(Some(match Id::parse(name) {
        Some(_) => (ino(found.serial, slot::SELF), Lifetime::Forever),
        None => (ino(found.serial, slot::HIDDEN), Lifetime::Once),
    }))
}

fn tag_entry(view: &View, dir: &str, name: &str) -> Result<Hit> {
    let path = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
    let found = match view.tag_dir(&path)? {
        Some(dir) => Some(dir),
        None => view.tag(&path)?.map(|(tag, _)| tag),
    };
    Ok(found.map(|serial| (ino(serial, slot::SELF), Lifetime::Forever)))
}

/// A flag that says something: one that an open file has just made is there for that file only.
fn flag(view: &View, ctr: Serial, name: &str) -> Result<Hit> {
    let said = view.flags(ctr)?.into_iter().find(|(own, _)| own == name);
    Ok(said.map(|(_, flag)| (ino(flag, slot::SELF), Lifetime::Forever)))
}

fn place(view: &View, image: Serial, name: &str) -> Result<Hit> {
    let position = name.parse::<u32>().ok().filter(|position| position.to_string() == name);
    let place = position.map_or(Ok(None), |position| view.place(image, position.into()))?;
    Ok(place.map(|place| (ino(place, slot::SELF), Lifetime::Forever)))
}

fn user(view: &View, object: &Object, name: &str) -> Result<Hit> {
    let Some(id) = Id::parse(name) else { return Ok(None) };
    if let Some(ctr) = view.object_of(Kind::Ctr, &id)? {
        let slot = match (&object.head, object.kind) {
            (_, Kind::Image) if view.users(object.serial)?.contains(&ctr) => slot::IMAGE_USER,
            (Some(Head::Layer(head)), _) if head.owner == Some(ctr) => slot::LAYER_USER,
            _ => return Ok(None),
        };
        return Ok(Some((ino(ctr, slot), Lifetime::Forever)));
    }
    if object.kind != Kind::Layer {
        return Ok(None);
    }
    let Some(image) = view.content(Kind::Image, &id)? else { return Ok(None) };
    Ok(view.place_of(object.serial, image)?.map(|place| (ino(place, slot::LAYER_IMAGE), Lifetime::Forever)))
}

fn child(view: &View, layer: Serial, name: &str) -> Result<Hit> {
    let Some(id) = Id::parse(name) else { return Ok(None) };
    let child = view.content(Kind::Layer, &id)?;
    let is_child = |child: &Serial| view.children(layer).is_ok_and(|children| children.contains(child));
    Ok(child.filter(is_child).map(|child| (ino(child, slot::CHILD), Lifetime::Forever)))
}

fn member(view: &View, pod: Serial, name: &str) -> Result<Hit> {
    let Some(found) = absent(view.find(Kind::Ctr, name))? else { return Ok(None) };
    let Some(member) = view.member(pod, found.serial)? else { return Ok(None) };
    Ok(Some(match Id::parse(name) {
        Some(_) => (ino(member, slot::SELF), Lifetime::Forever),
        None => (ino(found.serial, slot::HIDDEN_MEMBER), Lifetime::Once),
    }))
}

fn edge(view: &View, name: &str, ends: impl Fn(Serial) -> (Serial, Serial), place: u8) -> Result<Hit> {
    let Some(id) = Id::parse(name) else { return Ok(None) };
    let Some(other) = view.object_of(Kind::Ctr, &id)? else { return Ok(None) };
    let (from, to) = ends(other);
    Ok(view.edge(from, to)?.map(|edge| (ino(edge, place), Lifetime::Forever)))
}

#[cfg(test)]
mod tests {
    use super::meant_by;

    #[test]
    fn targets_are_paths_or_images() {
        let path = "quay.io/team/app:v2";
        for (target, meant) in [
            ("../../../image/0123", &["0123", "../../../image/0123"][..]),
            ("/run/ctrfs/image/0123/", &["0123", "quay.io/team//run/ctrfs/image/0123", "/run/ctrfs/image/0123"]),
            ("app:v1", &["quay.io/team/app:v1", "app:v1"]),
            ("./app:v1", &["quay.io/team/app:v1", "./app:v1"]),
            ("../../localhost/b:1", &["localhost/b:1", "../../localhost/b:1"]),
            ("../../../image-name/localhost/a/b:1", &["localhost/a/b:1", "../../../image-name/localhost/a/b:1"]),
            ("my-image/a", &["quay.io/team/my-image/a", "my-image/a"]),
        ] {
            assert_eq!(meant_by(path, target), meant, "{target}");
        }
    }
}
