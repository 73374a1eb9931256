//! What a layer was like when it came, entry by entry: the file `tree` beside its `fs`.
//!
//! ```text
//! unpack -> Known, by inode ─┐
//! the finished tree, walked ─┴─> settle -> zstd(sight, Entry, Entry, ...)  its SHA-256 goes to the store
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

/// Files that are known by heart, as what is kept of them takes memory; others are looked at, and of those
/// only what they hold is kept.
pub(super) const MOST: usize = 1 << 20;

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
    /// How many files it knows something of.
    pub(super) fn count(&self) -> usize {
        self.contents.len()
    }

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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::os::unix::fs::{FileExt, symlink};
    use std::path::PathBuf;

    use super::{Compared, Content, FILE, Known, State, compare, hash_of, settle, state};
    use crate::driver::usage::usage_at;
    use crate::sys::beneath;

    /// A tree of a few entries, removed at the end.
    struct Sample(PathBuf);

    impl Sample {
        fn new(name: &str) -> Sample {
            let dir = std::env::temp_dir().join(format!("ctrfs-record-test-{name}-{}", std::process::id()));
            let tree = dir.join("fs");
            fs::create_dir_all(tree.join("a/b")).unwrap();
            fs::write(tree.join("a/file"), vec![7; 10_000]).unwrap();
            fs::write(tree.join("a-file"), "x").unwrap();
            fs::hard_link(tree.join("a/file"), tree.join("a/b/again")).unwrap();
            symlink("a/file", tree.join("z")).unwrap();
            Sample(dir)
        }

        fn tree(&self) -> PathBuf {
            self.0.join("fs")
        }

        fn record(&self) -> PathBuf {
            self.0.join(FILE)
        }

        fn compare(&self, contents: bool) -> io::Result<Compared> {
            compare(&self.tree(), fs::File::open(self.record()).unwrap(), contents)
        }

        /// As whoever unpacked it.
        fn known(&self) -> Known {
            let mut known = Known::default();
            for name in ["a/file", "a-file"] {
                let bytes = fs::read(self.tree().join(name)).unwrap();
                let mut content = Content::new(bytes.len() as u64);
                content.take(0, &bytes);
                let look = beneath::look_at(fs::File::open(self.tree().join(name)).unwrap()).unwrap();
                known.file(&look, content.finish());
                if look.links > 1 {
                    known.linked(look.inode);
                }
            }
            known
        }
    }

    impl Drop for Sample {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_tree_is_as_it_was_recorded() {
        let sample = Sample::new("same");
        let mut digests = Vec::new();
        for known in [Some(sample.known()), None] {
            let has_contents = known.is_some();
            let digest = settle(&[(sample.tree(), known)]).unwrap()[0];
            assert!(matches!(state(&sample.record(), digest).unwrap(), State::Whole(_)));
            let compared = sample.compare(true).unwrap();
            assert!(compared.entries.is_empty() && compared.contents.is_empty(), "{compared:?}");
            assert_eq!(compared.usage, usage_at(&sample.tree()).unwrap());

            let file = fs::OpenOptions::new().write(true).open(sample.tree().join("a/b/again")).unwrap();
            let before = file.metadata().unwrap().modified().unwrap();
            file.write_all_at(&[8], 5000).unwrap();
            file.set_modified(before).unwrap();
            let compared = sample.compare(true).unwrap();
            let told = if has_contents { "a/b/again has other content" } else { "" };
            assert_eq!((compared.entries.to_string(), compared.contents.to_string().as_str()), (String::new(), told));
            assert!(sample.compare(false).unwrap().contents.is_empty());
            file.write_all_at(&[7], 5000).unwrap();
            file.set_modified(before).unwrap();

            fs::remove_file(sample.record()).unwrap();
            assert!(matches!(state(&sample.record(), digest).unwrap(), State::Gone));
            digests.push(digest);
        }
        assert_ne!(digests[0], digests[1]);
    }

    #[test]
    fn what_is_below_a_directory_is_told_before_what_is_behind_it() {
        let sample = Sample::new("order");
        settle(&[(sample.tree(), None)]).unwrap();
        let keep = |path: &str| fs::metadata(sample.tree().join(path)).unwrap().modified().unwrap();
        let (root, a) = (keep("."), keep("a"));
        for name in ["a/file", "a-file", "z"] {
            fs::remove_file(sample.tree().join(name)).unwrap();
        }
        fs::write(sample.tree().join("a/new"), "").unwrap();
        for (path, time) in [("a", a), (".", root)] {
            fs::File::open(sample.tree().join(path)).unwrap().set_modified(time).unwrap();
        }
        let differences = sample.compare(false).unwrap().entries;
        assert_eq!(differences.to_string(), "a/file is gone; a/new is new; a-file is gone; and 1 more");
    }

    #[test]
    fn a_damaged_record_is_none() {
        let sample = Sample::new("damaged");
        let digest = settle(&[(sample.tree(), Some(sample.known()))]).unwrap()[0];
        let whole = fs::read(sample.record()).unwrap();
        let mut damaged = [whole[..whole.len() - 1].to_vec(), [&whole[..], b"x"].concat(), vec![], b"none".to_vec()];
        for bytes in &mut damaged {
            fs::write(sample.record(), bytes).unwrap();
            assert!(matches!(state(&sample.record(), digest).unwrap(), State::Another));
            let error = sample.compare(false).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
    }

    #[test]
    fn what_is_no_file_is_no_record() {
        let sample = Sample::new("kinds");
        let digest = settle(&[(sample.tree(), None)]).unwrap()[0];
        fs::rename(sample.record(), sample.0.join("aside")).unwrap();
        symlink("aside", sample.record()).unwrap();
        assert!(matches!(state(&sample.record(), digest).unwrap(), State::Another));
        fs::remove_file(sample.record()).unwrap();
        let dir = beneath::directory(&sample.0).unwrap();
        beneath::make_node(&dir, FILE.as_bytes(), beneath::Kind::Fifo, 0, 0).unwrap();
        assert!(matches!(state(&sample.record(), digest).unwrap(), State::Another));
        fs::remove_file(sample.record()).unwrap();
        fs::create_dir(sample.record()).unwrap();
        assert!(matches!(state(&sample.record(), digest).unwrap(), State::Another));
    }

    #[test]
    fn a_record_that_has_no_end_is_none() {
        let sample = Sample::new("endless");
        let length = |bytes: u32| bytes.to_le_bytes();
        let sight = [&length(1)[..], &[0]].concat();
        for rows in [length(1 << 30).to_vec(), [&sight[..], &length(1 << 20)].concat()] {
            fs::write(sample.record(), zstd::encode_all(&rows[..], 1).unwrap()).unwrap();
            assert_eq!(sample.compare(false).unwrap_err().to_string(), "an entry that has no end");
        }
    }

    #[test]
    fn a_further_name_hides_no_other_content() {
        let sample = Sample::new("hidden");
        settle(&[(sample.tree(), Some(sample.known()))]).unwrap();
        let time = |path: &str| fs::metadata(sample.tree().join(path)).unwrap().modified().unwrap();
        let (a, root, file) = (time("a"), time("."), time("a/file"));
        fs::hard_link(sample.tree().join("a/file"), sample.tree().join("a/another")).unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(sample.tree().join("a/file"))
            .unwrap()
            .write_all_at(&[8], 5000)
            .unwrap();
        for (path, time) in [("a/file", file), ("a", a), (".", root)] {
            fs::File::open(sample.tree().join(path)).unwrap().set_modified(time).unwrap();
        }
        let compared = sample.compare(true).unwrap();
        assert!(compared.entries.to_string().starts_with("a/another is new; "), "{}", compared.entries);
        assert!(compared.contents.to_string().contains("a/file has other content"), "{}", compared.contents);
    }

    #[test]
    fn attributes_that_the_host_gives_do_not_count() {
        let own = [(b"user.a".to_vec(), b"1".to_vec())];
        let hosts = [(b"security.selinux".to_vec(), b"x".to_vec()), own[0].clone()];
        assert_eq!(hash_of(&own), hash_of(&hosts));
        assert_eq!(hash_of(&hosts[..1]), None);
        assert_ne!(hash_of(&own), hash_of(&[(b"user.a1".to_vec(), b"".to_vec())]));
    }
}
