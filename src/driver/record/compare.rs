//! A tree held against its record.

use std::cmp::Ordering;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use super::content::content_of;
use super::read::Reader;
use super::tree::{Seen, Tree, Xattrs};
use super::{Entry, Hash, What};
use crate::driver::usage::Usage;
use crate::sys::errno::{is_damage, say};
use crate::sys::host;

/// The number of what the record does not have.
const NOWHERE: u64 = u64::MAX;
/// Differences that are told one by one.
const TOLD: u64 = 3;

/// A tree beside its record.
#[derive(Debug, Default)]
pub struct Compared {
    /// What the tree holds.
    pub usage: Usage,
    /// Where its entries differ.
    pub entries: Differences,
    /// Which files hold something else, or cannot be read.
    pub contents: Differences,
}

/// Differences: the first few, and how many there are. Shown as `etc/passwd has mode 0644, not 0600; ...`.
#[derive(Debug, Default)]
pub struct Differences {
    told: Vec<String>,
    count: u64,
}

impl Differences {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn tell(&mut self, path: &[u8], words: fmt::Arguments<'_>) {
        self.count += 1;
        if self.count <= TOLD {
            self.told.push(format!("{} {words}", shown(path)));
        }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told.join("; "))?;
        match self.count.saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Compares every entry of a tree with its record, which is whole, and if that is asked for what files
/// hold, as far as it was recorded.
///
/// # Errors
/// What the kernel says of the tree or the record, but for contents that are damaged on the disk;
/// [`io::ErrorKind::InvalidData`] of a record that never was one.
pub fn compare(tree: &Path, record: File, contents: bool) -> io::Result<Compared> {
    let (mut record, sight) = Reader::new(record)?;
    let sees_the_same = sight == host::sight()?;
    let mut tree = Tree::open(tree, if sees_the_same { Xattrs::Read } else { Xattrs::Unseen })?;
    let mut comparison = Comparison { sees_the_same, contents, found: Compared::default() };
    let (mut due, mut seen) = (record.next()?, tree.next()?);
    loop {
        let order = match (&due, &seen) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), Some(_)) => in_order(record.path(), tree.walk.path()),
        };
        match (order, &due, &seen) {
            (Ordering::Equal, Some(due), Some(seen)) => {
                let link = tree.link(&seen.meta, record.number());
                comparison.entry(due, seen, link, &tree)?;
            }
            (_, _, Some(seen)) if order == Ordering::Greater => {
                tree.link(&seen.meta, NOWHERE);
                comparison.found.entries.tell(tree.walk.path(), format_args!("is new"));
            }
            _ => comparison.found.entries.tell(record.path(), format_args!("is gone")),
        }
        if order.is_le() {
            due = record.next()?;
        }
        if order.is_ge() {
            seen = tree.next()?;
        }
    }
    Ok(Compared { usage: tree.usage, ..comparison.found })
}

/// As a walk meets them: what is below a directory comes before what is behind it.
fn in_order(one: &[u8], other: &[u8]) -> Ordering {
    let names = |path| <[u8]>::split(path, |byte| *byte == b'/');
    if one == other { Ordering::Equal } else { names(one).cmp(names(other)) }
}

struct Comparison {
    /// Whether owners and extended attributes look as they did to whoever recorded them.
    sees_the_same: bool,
    contents: bool,
    found: Compared,
}

impl Comparison {
    fn entry(&mut self, due: &Entry, seen: &Seen, link: Option<u64>, tree: &Tree<'_>) -> io::Result<()> {
        let (path, meta) = (tree.walk.path(), &seen.meta);
        let mut tell = |words: fmt::Arguments<'_>| self.found.entries.tell(path, words);
        if noun(&due.what) != noun(&seen.what) {
            tell(format_args!("is {}, not {}", noun(&seen.what), noun(&due.what)));
            return Ok(());
        }
        if meta.mode != due.mode {
            tell(format_args!("has mode {:04o}, not {:04o}", meta.mode, due.mode));
        }
        if self.sees_the_same && (meta.uid, meta.gid) != (due.uid, due.gid) {
            tell(format_args!("has owner {}:{}, not {}:{}", meta.uid, meta.gid, due.uid, due.gid));
        }
        match (&seen.what, &due.what) {
            (What::File { size, .. }, What::File { size: due, .. }) if size != due => {
                tell(format_args!("has {size} bytes, not {due}"));
            }
            (What::Symlink(target), What::Symlink(due)) if target != due => {
                tell(format_args!("leads to {}, not {}", shown(target), shown(due)));
            }
            (What::Character(major, minor), What::Character(due_major, due_minor))
            | (What::Block(major, minor), What::Block(due_major, due_minor))
                if (major, minor) != (due_major, due_minor) =>
            {
                tell(format_args!("is device {major}:{minor}, not {due_major}:{due_minor}"));
            }
            _ => {}
        }
        if meta.mtime != due.mtime {
            let ((s, ns), (due_s, due_ns)) = (meta.mtime, due.mtime);
            tell(format_args!("was modified at {s}.{ns:09}, not {due_s}.{due_ns:09}"));
        }
        if self.sees_the_same && seen.xattrs != due.xattrs {
            tell(format_args!("has other extended attributes"));
        }
        if link != due.link {
            tell(match (link, due.link) {
                (None, _) => format_args!("is no hard link any more"),
                (_, None) => format_args!("is a hard link"),
                _ => format_args!("is a hard link of another file"),
            });
        }
        if let (What::File { size, .. }, What::File { size: due_size, content: Some(content) }) =
            (&seen.what, &due.what)
            && self.contents
            && size == due_size
            // Of a file with several names once, unless one was another file's.
            && (link.is_none() || link != due.link)
        {
            self.content(tree, *size, *content)?;
        }
        Ok(())
    }

    fn content(&mut self, tree: &Tree<'_>, size: u64, due: Hash) -> io::Result<()> {
        let walk = &tree.walk;
        // Gone meanwhile: then so is the layer.
        let Some(pinned) = walk.dir().pin(walk.name())? else { return Ok(()) };
        let path = walk.path();
        match pinned.open().and_then(|file| content_of(&file, size)) {
            Ok(content) if content == due => {}
            Ok(_) => self.found.contents.tell(path, format_args!("has other content")),
            Err(error) if is_damage(&error) => {
                self.found.contents.tell(path, format_args!("cannot be read: {}", say(&error)));
            }
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {}", shown(path), say(&error)))),
        }
        Ok(())
    }
}

fn noun(what: &What) -> &'static str {
    match what {
        What::Directory => "a directory",
        What::File { .. } => "a file",
        What::Symlink(_) => "a symlink",
        What::Fifo => "a named pipe",
        What::Socket => "a socket",
        What::Character(0, 0) => "a whiteout",
        What::Character(..) => "a character device",
        What::Block(..) => "a block device",
    }
}

/// A path for people, in one line.
fn shown(path: &[u8]) -> String {
    match path {
        b"" => ".".to_owned(),
        path => String::from_utf8_lossy(path).escape_debug().to_string(),
    }
}
