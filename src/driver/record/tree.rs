//! A tree gone through in the order of its record.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::{Hash, Known, What, hash_of};
use crate::driver::usage::Usage;
use crate::driver::walk::{Step, Walk};
use crate::sys::walk::{Dir, Identity, Kind, Meta};

/// A tree, its root first, then depth first, names in the order of their bytes.
pub(super) struct Tree<'a> {
    pub(super) walk: Walk<()>,
    root: Option<Seen>,
    xattrs: Xattrs<'a>,
    /// The numbers of the entries that are the first names of files with several.
    links: HashMap<Identity, u64>,
    /// Of all names that came, the root aside; of no use where files are known.
    pub(super) usage: Usage,
}

/// Where extended attributes are looked for.
#[derive(Clone, Copy)]
pub(super) enum Xattrs<'a> {
    /// In the tree.
    Read,
    /// In what is known, as is what files are like.
    Known(&'a Known),
    /// Nowhere: who cannot see all of them may not even be allowed to ask.
    Unseen,
}

/// An entry as it is. What a file holds is not looked at.
pub(super) struct Seen {
    pub(super) meta: Meta,
    pub(super) what: What,
    pub(super) xattrs: Option<Hash>,
}

impl Seen {
    fn new(meta: Meta, target: Vec<u8>, xattrs: Option<Hash>) -> Seen {
        let (major, minor) = meta.device;
        let what = match meta.kind {
            Kind::Directory => What::Directory,
            Kind::File => What::File { size: meta.size, content: None },
            Kind::Symlink => What::Symlink(target),
            Kind::Fifo => What::Fifo,
            Kind::Socket => What::Socket,
            Kind::Character => What::Character(major, minor),
            Kind::Block => What::Block(major, minor),
        };
        Seen { meta, what, xattrs }
    }
}

impl<'a> Tree<'a> {
    pub(super) fn open(path: &Path, xattrs: Xattrs<'a>) -> io::Result<Tree<'a>> {
        let root = Dir::open(path)?;
        let own = match xattrs {
            Xattrs::Unseen => None,
            Xattrs::Read | Xattrs::Known(_) => hash_of(&root.pin_self()?.xattrs()?),
        };
        let seen = Seen::new(root.meta()?, vec![], own);
        let walk = Walk::new(root, ())?;
        Ok(Tree { walk, root: Some(seen), xattrs, links: HashMap::new(), usage: Usage::default() })
    }

    /// The next entry, whose path is [`Walk::path`]; [`Tree::link`] is to be called for it.
    pub(super) fn next(&mut self) -> io::Result<Option<Seen>> {
        if let Some(root) = self.root.take() {
            return Ok(Some(root));
        }
        while let Some(step) = self.walk.next()? {
            let Step::Entry = step else { continue };
            let (dir, name) = (self.walk.dir(), self.walk.name());
            let known = match (self.xattrs, self.walk.file()) {
                (Xattrs::Known(known), Some(inode)) => known.meta(inode),
                _ => None,
            };
            let looked = if known.is_some() { known } else { dir.look(name)? };
            let Some(meta) = looked else { continue };
            let xattrs = match self.xattrs {
                Xattrs::Known(known) => known.xattrs.get(&meta.identity.2).copied(),
                Xattrs::Read => hash_of(&dir.xattrs(name)?.unwrap_or_default()),
                Xattrs::Unseen => None,
            };
            let target = match meta.kind {
                Kind::Symlink => dir.target(name)?.unwrap_or_default(),
                _ => vec![],
            };
            self.usage.count(&meta, self.came(&meta).is_none());
            if meta.kind == Kind::Directory {
                self.walk.enter(())?;
            }
            return Ok(Some(Seen::new(meta, target, xattrs)));
        }
        Ok(None)
    }

    /// Gives the entry that came last its number, unless its file came before: then the number of that
    /// name.
    pub(super) fn link(&mut self, meta: &Meta, number: u64) -> Option<u64> {
        let first = self.came(meta);
        if first.is_none() && meta.is_linked() {
            self.links.insert(meta.identity, number);
        }
        first
    }

    fn came(&self, meta: &Meta) -> Option<u64> {
        if meta.is_linked() { self.links.get(&meta.identity).copied() } else { None }
    }
}
