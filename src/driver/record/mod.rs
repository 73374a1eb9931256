//! What a layer was like when it came, entry by entry: the file `tree` beside its `fs`.
//!
//! ```text
//! unpack -> Known, by inode ─┐
//! the finished tree, walked ─┴─> settle -> zstd(maps, Entry, Entry, ...)   its SHA-256 goes to the store
//! the tree, walked again ──────> compare: the same order, so that neither is ever whole in memory
//! ```
//!
//! Of extended attributes those that the host gives (labels of `security.`, properties of a filesystem)
//! are no part of it. The number of the store's schema covers the format.

mod compare;
mod content;
mod read;
mod tree;
mod write;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

use crate::sys::beneath::{Look, Time};
use crate::sys::walk::{Kind, Meta, Xattr};

pub use compare::{Compared, Differences, compare};
pub(super) use content::Content;
pub use read::{State, state};
pub use write::{Complete, settle};

/// The file's name beside a layer's tree.
pub const FILE: &str = "tree";

/// Files that are known by heart, as what is kept of them takes memory; others are looked at.
const MOST: usize = 1 << 20;

/// XXH3-128: equal by chance only.
pub(super) type Hash = [u8; 16];

/// What whoever unpacked a tree knows of its entries, by inode, so that nobody needs to ask again.
#[derive(Debug, Default)]
pub struct Known {
    contents: HashMap<u64, Hash>,
    /// Files with one name, [`MOST`] at most.
    files: HashMap<u64, File>,
    /// Of those that have any.
    xattrs: HashMap<u64, Hash>,
}

impl Known {
    /// Notes a file that is complete.
    pub(super) fn file(&mut self, look: &Look, content: Hash) {
        self.contents.insert(look.inode, content);
        let Look { mode, uid, gid, modified, size, .. } = *look;
        if self.files.len() < MOST || self.files.contains_key(&look.inode) {
            self.files.insert(look.inode, File { mode, uid, gid, modified, size });
        }
    }

    /// Notes that a file has several names.
    pub(super) fn linked(&mut self, inode: u64) {
        self.files.remove(&inode);
    }

    /// Notes all extended attributes of an entry; an inode may have been another's before.
    pub(super) fn xattrs(&mut self, inode: u64, xattrs: &[Xattr]) {
        match hash_of(xattrs) {
            Some(hash) => drop(self.xattrs.insert(inode, hash)),
            None => drop(self.xattrs.remove(&inode)),
        }
    }

    /// What a file is like, by its inode.
    fn meta(&self, inode: u64) -> Option<Meta> {
        let File { mode, uid, gid, modified, size } = *self.files.get(&inode)?;
        Some(Meta {
            kind: Kind::File,
            identity: (0, 0, inode),
            links: 1,
            mode,
            uid,
            gid,
            size,
            disk: 0,
            mtime: (modified.seconds, modified.nanoseconds),
            device: (0, 0),
            is_mount: false,
        })
    }
}

/// A file as it was made.
#[derive(Debug)]
struct File {
    mode: u32,
    uid: u32,
    gid: u32,
    modified: Time,
    size: u64,
}

/// A name in the tree, or its root.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// How much of the path is that of the entry before.
    shared: u32,
    /// The rest of it.
    rest: Vec<u8>,
    what: What,
    mode: u32,
    uid: u32,
    gid: u32,
    /// Seconds and nanoseconds.
    mtime: (i64, u32),
    xattrs: Option<Hash>,
    /// The number of the entry that is the first name of the same file.
    link: Option<u64>,
}

/// What it is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    Directory,
    File { size: u64, content: Option<Hash> },
    Symlink(Vec<u8>),
    Fifo,
    Socket,
    Character(u32, u32),
    Block(u32, u32),
}

/// The hash of the extended attributes that belong to an entry, sorted by name; `None` if there are none.
fn hash_of(xattrs: &[Xattr]) -> Option<Hash> {
    let mut own = xattrs.iter().filter(|(name, _)| is_own(name)).peekable();
    own.peek()?;
    let mut hasher = XxHash3_128::new();
    for part in own.flat_map(|(name, value)| [name, value]) {
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part);
    }
    Some(hasher.finish_128().to_le_bytes())
}

fn is_own(name: &[u8]) -> bool {
    let is_acl = name.starts_with(b"system.posix_acl_");
    is_acl || name == b"security.capability" || name.starts_with(b"user.") || name.starts_with(b"trusted.")
}
