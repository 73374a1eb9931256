//! Listings: what a directory shows, fixed when it is opened.
//!
//! An entry's cookie follows from its inode number, and entries come in that order, so a listing that
//! a later server makes again goes on where the first stopped.

use std::fmt::{Display, Write};
use std::sync::Arc;

use super::ino::{Ino, ROOT, ino, slot};
use super::node::{FileKind, Node, Object};
use super::plan::{Access, Dir, Entry, Shape, Source, entries_in};
use super::{Result, Tree};
use crate::engine::View;
use crate::model::error::Refusal;
use crate::model::id::ID_DIGITS;
use crate::model::record::{Kind, Nanos};

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
            _ => Err(Refusal::NotYours { what: "it is not a directory" }.into()),
        }
    }

    /// Everything that a directory shows. A list of the whole store may be long and is made once for
    /// each change of it.
    pub(super) fn listing(&self, view: &View, number: Ino) -> Result<Arc<Listing>> {
        let node = self.node(view, number)?;
        let Node::Entry(Entry { source: Source::List(list), shape: Shape::Dir(_), .. }, None) = &node else {
            return self.make_listing(view, number, &node).map(Arc::new);
        };
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
        let above = if number == ROOT { ROOT } else { self.parent(node) };
        listing.add_at(1, number, FileKind::Dir, ".");
        listing.add_at(DOTS, above, FileKind::Dir, "..");
        match object {
            Some(object) => list_object(&mut listing, view, dir, object)?,
            None => list_store(&mut listing, view, dir)?,
        }
        for entry in entries_in(dir).filter(|entry| object.is_none_or(|object| Tree::is_present(entry, object))) {
            let kind = match entry.access {
                Access::Dir => FileKind::Dir,
                Access::Link => FileKind::Link,
                Access::Secret | Access::Plain | Access::Shown => FileKind::File,
            };
            listing.add(ino(object.map_or(0, |object| object.serial), entry.slot), kind, entry.name);
        }
        // Mostly in order already, which this sort likes.
        listing.entries.sort_by_key(|entry| entry.cookie);
        Ok(listing)
    }
}

fn list_store(listing: &mut Listing, view: &View, dir: Dir) -> Result<()> {
    let mut objects = |kind, place, file| -> Result<()> {
        let objects = view.objects(kind)?;
        listing.reserve(objects.len(), ID_DIGITS);
        objects.into_iter().for_each(|(serial, id)| listing.add(ino(serial, place), file, id));
        Ok(())
    };
    match dir {
        Dir::Objects(kind) => objects(kind, slot::SELF, FileKind::Dir)?,
        Dir::Ids => {
            objects(Kind::Ctr, slot::ID, FileKind::Link)?;
            objects(Kind::Pod, slot::ID, FileKind::Link)?;
        }
        Dir::Names => {
            view.names()?.into_iter().for_each(|(name, binding)| {
                listing.add(ino(binding, slot::SELF), FileKind::Link, name);
            });
        }
        _ => {}
    }
    Ok(())
}

fn list_object(listing: &mut Listing, view: &View, dir: Dir, object: &Object) -> Result<()> {
    let (pairs, place) = match dir {
        Dir::Dependencies => (view.needed_by(object.serial)?, slot::SELF),
        Dir::DependsOn => (view.needs(object.serial)?, slot::DEPENDS_ON),
        Dir::Members => (view.members(object.serial)?, slot::SELF),
        _ => return Ok(()),
    };
    for (serial, ctr) in pairs {
        if let Some(id) = view.id_of(Kind::Ctr, ctr)? {
            listing.add(ino(serial, place), FileKind::Link, id);
        }
    }
    Ok(())
}
