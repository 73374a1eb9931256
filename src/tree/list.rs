//! Listings: what a directory shows, fixed when it is opened.
//!
//! An entry's cookie follows from its inode number, and entries come in that order, so a listing that
//! a later server makes again goes on where the first stopped.

use super::ino::{Ino, ROOT, ino, slot};
use super::node::{FileKind, Node, Object};
use super::plan::{Access, Dir, Entry, Shape, entries_in};
use super::{Result, Tree};
use crate::engine::View;
use crate::model::error::Refusal;
use crate::model::record::Kind;

/// One entry of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The inode.
    pub ino: Ino,
    /// The kind of file.
    pub kind: FileKind,
    /// The name.
    pub name: String,
    /// What a later read goes on behind.
    pub cookie: u64,
}

/// A directory's entries.
pub type Listing = Vec<Listed>;

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

    /// Everything that a directory shows.
    pub(super) fn listing(&self, view: &View, number: Ino) -> Result<Listing> {
        let node = self.node(view, number)?;
        let (dir, object) = Tree::dir_of(&node)?;
        let mut entries = match object {
            Some(object) => self.listed_of_object(view, dir, object)?,
            None => self.listed_of_store(view, dir)?,
        };
        for entry in entries_in(dir).filter(|entry| object.is_none_or(|object| Tree::is_present(entry, object))) {
            let kind = match entry.access {
                Access::Dir => FileKind::Dir,
                Access::Link => FileKind::Link,
                Access::Secret | Access::Plain | Access::Shown => FileKind::File,
            };
            entries.push((ino(object.map_or(0, |object| object.serial), entry.slot), kind, entry.name.to_owned()));
        }
        entries.sort_unstable_by_key(|(ino, ..)| *ino);
        let above = if number == ROOT { ROOT } else { self.parent(&node) };
        let dots = [(number, 1, "."), (above, 2, "..")];
        let dots = dots.map(|(ino, cookie, name)| Listed { ino, kind: FileKind::Dir, name: name.to_owned(), cookie });
        let listed = entries.into_iter().map(|(ino, kind, name)| Listed { ino, kind, name, cookie: ino + 2 });
        Ok(dots.into_iter().chain(listed).collect())
    }

    fn listed_of_store(&self, view: &View, dir: Dir) -> Result<Vec<(Ino, FileKind, String)>> {
        let objects = |kind, place, file: FileKind| -> Result<Vec<_>> {
            let objects = view.objects(kind)?.into_iter();
            Ok(objects.map(|(serial, id)| (ino(serial, place), file, id.to_string())).collect())
        };
        Ok(match dir {
            Dir::Objects(kind) => objects(kind, slot::SELF, FileKind::Dir)?,
            Dir::Ids => {
                let mut all = objects(Kind::Ctr, slot::ID, FileKind::Link)?;
                all.extend(objects(Kind::Pod, slot::ID, FileKind::Link)?);
                all
            }
            Dir::Names => {
                let names = view.names()?.into_iter();
                names.map(|(name, binding)| (ino(binding, slot::SELF), FileKind::Link, name)).collect()
            }
            _ => vec![],
        })
    }

    fn listed_of_object(&self, view: &View, dir: Dir, object: &Object) -> Result<Vec<(Ino, FileKind, String)>> {
        let (pairs, place) = match dir {
            Dir::Dependencies => (view.needed_by(object.serial)?, slot::SELF),
            Dir::DependsOn => (view.needs(object.serial)?, slot::DEPENDS_ON),
            Dir::Members => (view.members(object.serial)?, slot::SELF),
            _ => return Ok(vec![]),
        };
        let mut entries = Vec::with_capacity(pairs.len());
        for (serial, ctr) in pairs {
            if let Some(id) = view.id_of(Kind::Ctr, ctr)? {
                entries.push((ino(serial, place), FileKind::Link, id.to_string()));
            }
        }
        Ok(entries)
    }
}
