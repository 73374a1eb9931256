//! Listings: what a directory shows, fixed when it is opened.
//!
//! An entry's cookie follows from its inode number, and entries come in that order, so a listing that
//! a later server makes again goes on where the first stopped.

use std::collections::HashSet;
use std::fmt::{Display, Write};
use std::sync::Arc;

use super::ino::{Ino, ROOT, ino, slot};
use super::node::{FileKind, Head, Node, Object};
use super::plan::{Dir, Entry, Shape, Source, entries_in};
use super::{Result, Tree};
use crate::engine::View;
use crate::model::error::Refusal;
use crate::model::id::ID_DIGITS;
use crate::model::record::{Kind, Nanos, Serial};

/// The cookie of "..", the second entry of all.
const DOTS: u64 = 2;

/// A list of the whole store as it was last made, with the time of the change that it shows.
pub(super) type MadeList = parking_lot::Mutex<Option<(Nanos, Arc<Listing>)>>;

/// A directory's entries. Their names lie in one text: there may be many.
#[derive(Debug, Default)]
pub struct Listing {
    entries: Vec<Item>,
    names: String,
}

#[derive(Debug)]
struct Item {
    ino: Ino,
    kind: FileKind,
    cookie: u64,
    /// Where the name lies.
    begin: usize,
    end: usize,
}

/// One entry of a listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listed<'a> {
    /// The inode.
    pub ino: Ino,
    /// The kind of file.
    pub kind: FileKind,
    /// The name.
    pub name: &'a str,
    /// What a later read goes on behind.
    pub cookie: u64,
}

impl Listing {
    fn reserve(&mut self, entries: usize, bytes_of_a_name: usize) {
        self.entries.reserve(entries);
        self.names.reserve(entries * bytes_of_a_name);
    }

    /// The entries behind a cookie; behind 0, all.
    pub fn after(&self, cookie: u64) -> impl Iterator<Item = Listed<'_>> {
        let from = self.entries.partition_point(|entry| entry.cookie <= cookie);
        self.entries[from..].iter().map(|entry| {
            let Item { ino, kind, cookie, begin, end } = *entry;
            Listed { ino, kind, name: &self.names[begin..end], cookie }
        })
    }

    fn add(&mut self, ino: Ino, kind: FileKind, name: impl Display) {
        self.add_at(ino + DOTS, ino, kind, name);
    }

    fn add_at(&mut self, cookie: u64, ino: Ino, kind: FileKind, name: impl Display) {
        let begin = self.names.len();
        let _ = write!(self.names, "{name}");
        self.entries.push(Item { ino, kind, cookie, begin, end: self.names.len() });
    }
}

impl Tree {
    /// The kind of directory that a node is.
    pub(super) fn dir_of(node: &Node) -> Result<(Dir, Option<&Object>)> {
        match node {
            Node::Root => Ok((Dir::Root, None)),
            Node::Object(object) | Node::Made(object) => Ok((Dir::Object(object.kind), Some(object))),
            Node::Entry(Entry { shape: Shape::Dir(dir), .. }, object) => Ok((*dir, object.as_ref())),
            Node::Entry(Entry { shape: Shape::Mount(_), .. }, object) => Ok((Dir::Mountpoint, object.as_ref())),
            Node::TagDir { .. } => Ok((Dir::Tags, None)),
            _ => Err(Refusal::NotYours { what: "it is not a directory" }.into()),
        }
    }

    /// Everything that a directory shows. A list of the whole store may be long and is made once for
    /// each change of it.
    pub(super) fn listing(&self, view: &View, number: Ino) -> Result<Arc<Listing>> {
        let node = self.node(view, number)?;
        let Node::Entry(Entry { source: Source::List(list), shape: Shape::Dir(dir), .. }, None) = &node else {
            return self.make_listing(view, number, &node).map(Arc::new);
        };
        if *dir == Dir::Exited {
            // It changes with the time.
            return self.make_listing(view, number, &node).map(Arc::new);
        }
        let changed = view.list_changed(*list)?;
        let slot = &self.made_lists[*list as usize];
        if let Some((made, listing)) = &*slot.lock()
            && *made == changed
        {
            return Ok(Arc::clone(listing));
        }
        let listing = Arc::new(self.make_listing(view, number, &node)?);
        *slot.lock() = Some((changed, Arc::clone(&listing)));
        Ok(listing)
    }

    fn make_listing(&self, view: &View, number: Ino, node: &Node) -> Result<Listing> {
        let (dir, object) = Tree::dir_of(node)?;
        let mut listing = Listing::default();
        let above = if number == ROOT { ROOT } else { self.parent(view, node) };
        listing.add_at(1, number, FileKind::Dir, ".");
        listing.add_at(DOTS, above, FileKind::Dir, "..");
        match (object, node) {
            (Some(object), _) => list_object(&mut listing, view, dir, object)?,
            (None, Node::TagDir { path, .. }) => list_tags(&mut listing, view, path)?,
            (None, _) if dir == Dir::Exited => {
                for exited in self.engine.all_exited(view)? {
                    listing.add(ino(exited.serial, slot::SELF), FileKind::File, exited.id);
                }
            }
            (None, _) => list_store(&mut listing, view, dir)?,
        }
        for entry in entries_in(dir).filter(|entry| object.is_none_or(|object| Tree::is_present(entry, object))) {
            let number = ino(object.map_or(0, |object| object.serial), entry.slot);
            listing.add(number, entry.access.file_kind(), entry.name);
        }
        // Mostly in order already, which this sort likes.
        listing.entries.sort_by_key(|entry| entry.cookie);
        Ok(listing)
    }
}

fn list_store(listing: &mut Listing, view: &View, dir: Dir) -> Result<()> {
    let mut objects = |kind, place, file, but: &HashSet<Serial>| -> Result<()> {
        let objects = view.objects(kind)?;
        listing.reserve(objects.len(), ID_DIGITS);
        let listed = objects.into_iter().filter(|(serial, _)| !but.contains(serial));
        listed.for_each(|(serial, id)| listing.add(ino(serial, place), file, id));
        Ok(())
    };
    match dir {
        Dir::Objects(kind) => objects(kind, slot::SELF, FileKind::Dir, &HashSet::new())?,
        Dir::Ids => {
            // Each ID once: an infra container's is its pod's.
            let infra = view.all_infra()?.into_iter().map(|(_, ctr)| ctr).collect();
            objects(Kind::Ctr, slot::ID, FileKind::Link, &infra)?;
            objects(Kind::Pod, slot::ID, FileKind::Link, &HashSet::new())?;
        }
        Dir::Names => {
            view.names()?.into_iter().for_each(|(name, binding)| {
                listing.add(ino(binding, slot::SELF), FileKind::Link, name);
            });
        }
        Dir::ImageNames => list_tags(listing, view, "")?,
        _ => {}
    }
    Ok(())
}

fn list_tags(listing: &mut Listing, view: &View, path: &str) -> Result<()> {
    let (dirs, names) = view.tag_entries(path)?;
    dirs.into_iter().for_each(|(name, dir)| listing.add(ino(dir, slot::SELF), FileKind::Dir, name));
    names.into_iter().for_each(|(name, tag)| listing.add(ino(tag, slot::SELF), FileKind::Link, name));
    Ok(())
}

fn list_object(listing: &mut Listing, view: &View, dir: Dir, object: &Object) -> Result<()> {
    match (dir, object.kind) {
        (Dir::Flags, _) => {
            for (name, flag) in view.flags(object.serial)? {
                listing.add(ino(flag, slot::SELF), FileKind::File, name);
            }
        }
        (Dir::Layers, _) => {
            for (position, (place, _)) in view.layers_of(object.serial)?.into_iter().enumerate() {
                listing.add(ino(place, slot::SELF), FileKind::Link, position);
            }
        }
        (Dir::Users, Kind::Image) => {
            for ctr in view.users(object.serial)? {
                list_id(listing, view, Kind::Ctr, ctr, ino(ctr, slot::IMAGE_USER))?;
            }
        }
        (Dir::Users, _) => {
            for (place, image) in view.images_with(object.serial)? {
                list_id(listing, view, Kind::Image, image, ino(place, slot::LAYER_IMAGE))?;
            }
            if let Some(Head::Layer(head)) = &object.head
                && let Some(ctr) = head.owner
            {
                list_id(listing, view, Kind::Ctr, ctr, ino(ctr, slot::LAYER_USER))?;
            }
        }
        (Dir::Children, _) => {
            for child in view.children(object.serial)? {
                list_id(listing, view, Kind::Layer, child, ino(child, slot::CHILD))?;
            }
        }
        (Dir::Data, _) => {
            for (key, item) in view.items(object.serial)? {
                listing.add(ino(item, slot::SELF), FileKind::File, key);
            }
        }
        _ => list_edges(listing, view, dir, object)?,
    }
    Ok(())
}

fn list_id(listing: &mut Listing, view: &View, kind: Kind, serial: Serial, number: Ino) -> Result<()> {
    if let Some(id) = view.id_of(kind, serial)? {
        listing.add(number, FileKind::Link, id);
    }
    Ok(())
}

fn list_edges(listing: &mut Listing, view: &View, dir: Dir, object: &Object) -> Result<()> {
    let (pairs, place) = match dir {
        Dir::Dependencies => (view.needed_by(object.serial)?, slot::SELF),
        Dir::DependsOn => (view.needs(object.serial)?, slot::DEPENDS_ON),
        Dir::Members => (view.members(object.serial)?, slot::SELF),
        _ => return Ok(()),
    };
    for (serial, ctr) in pairs {
        list_id(listing, view, Kind::Ctr, ctr, ino(serial, place))?;
    }
    Ok(())
}
