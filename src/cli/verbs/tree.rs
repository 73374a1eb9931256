//! Finding the mounted tree, and calls on it whose failures carry the tree's own reason.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::Error;
use super::refusals;
use crate::daemon::FS_TYPE;
use crate::sys::mount::is_disconnected;
use crate::sys::mountinfo::{self, Mount};

/// The option that names the tree.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct At {
    /// The mounted ctrfs to work on [default: $CTRFS_AT, else the only one mounted]
    #[arg(long, value_name = "MOUNTPOINT")]
    at: Option<PathBuf>,
}

/// What an ID or a name may stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A container, below `ctr/`.
    Container,
    /// A pod, below `pod/`.
    Pod,
}

impl Kind {
    /// The kind's directory in the tree.
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Kind::Container => "ctr",
            Kind::Pod => "pod",
        }
    }

    /// The kind's name for people.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Kind::Container => "container",
            Kind::Pod => "pod",
        }
    }
}

/// A mounted tree.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Finds the tree that the command line, the environment or the kernel's mounts name.
    pub(crate) fn find(at: At) -> Result<Tree, Error> {
        let root = match named(at.at, std::env::var_os("CTRFS_AT")) {
            Some(root) => root,
            None => only(&mountinfo::read().map_err(Error::Mounts)?)?,
        };
        // Without this a mistyped --at would let `rm` loose on somebody else's directory.
        let version = root.join("version");
        match fs::metadata(&version) {
            Ok(entry) if entry.is_file() => Ok(Tree { root }),
            Err(cause) if !is_absent(&cause) => Err(Error::Entry { path: version, cause }),
            _ => Err(Error::NotATree(root)),
        }
    }

    /// Finds the tree that is mounted on a directory.
    pub(crate) fn mounted_at(directory: &Path) -> Result<Option<Tree>, Error> {
        let mount = mountinfo::mounted_at(directory).map_err(Error::Mounts)?;
        Ok(mount.filter(is_tree).map(|_| Tree { root: directory.to_owned() }))
    }

    /// Finds the tree of a store, named by its canonical path, if it is mounted and not dead.
    pub(crate) fn of_store(store: &Path) -> Result<Option<Tree>, Error> {
        let mounts = mountinfo::read().map_err(Error::Mounts)?;
        Ok(of_source(&mounts, store, is_disconnected).map(|root| Tree { root }))
    }

    /// Where the tree is mounted.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of the store behind the tree.
    pub(crate) fn store(&self) -> Result<PathBuf, Error> {
        let mount = mountinfo::mounted_at(&self.root).map_err(Error::Mounts)?;
        mount.filter(is_tree).map(|mount| mount.source).ok_or_else(|| Error::NotATree(self.root.clone()))
    }

    /// The full ID that `name` is, or is the exact name of.
    pub(crate) fn resolve(&self, kind: Kind, name: &str, what: &str) -> Result<String, Error> {
        if is_id(name) {
            return Ok(name.to_owned());
        }
        if !is_one_component(name) {
            return Err(Error::BadName(name.to_owned()));
        }
        let no_such = || Error::NoSuch { what: what.to_owned(), kind };
        let target = match self.call(what, |root| fs::read_link(root.join("name").join(name))) {
            Err(error) if error.is_gone() => return Err(no_such()),
            target => target?,
        };
        match object(&target) {
            Some((found, id)) if found == kind => Ok(id),
            Some((is, _)) => Err(Error::OtherKind { name: name.to_owned(), is }),
            None => Err(no_such()),
        }
    }

    /// Calls `action` with the tree's root; its failure is told with the reason in `refusals`.
    pub(crate) fn call<T>(&self, what: &str, action: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, Error> {
        let since = SystemTime::now();
        action(&self.root).map_err(|cause| Error::Call {
            what: what.to_owned(),
            reason: refusals::reason(&self.root, &cause, since),
            cause,
        })
    }

    /// Reads a file of the tree.
    pub(crate) fn read(&self, entry: &str) -> Result<String, Error> {
        self.call(&format!("read {entry}"), |root| fs::read_to_string(root.join(entry)))
    }

    /// Writes documents to an entry in one write and reads the results from the same handle. They go
    /// to `answer` even on failure: the kernel cuts a very large write into several requests, and the
    /// first may have been done when a later one is refused.
    pub(crate) fn ask(&self, entry: &str, what: &str, documents: &[u8], answer: &mut String) -> Result<(), Error> {
        let path = self.root.join(entry);
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        let mut file = opened.map_err(|cause| Error::Entry { path, cause })?;
        self.call(what, |_| {
            let accepted = file.write(documents)?;
            let rest = file.write_all(&documents[accepted..]);
            let read = file.read_to_string(answer);
            rest.and(read).map(drop)
        })
    }
}

/// The object that an entry of `name/` leads to, `../ctr/<id>`.
fn object(target: &Path) -> Option<(Kind, String)> {
    let id = target.file_name()?.to_str()?;
    let directory = target.parent()?.file_name()?.to_str()?;
    let kind = [Kind::Container, Kind::Pod].into_iter().find(|kind| kind.directory() == directory)?;
    Some((kind, id.to_owned()))
}

pub(super) fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a path made with `name` stays in its directory.
fn is_one_component(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && PathBuf::from(name).file_name() == Some(name.as_ref())
}

fn is_absent(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn named(option: Option<PathBuf>, environment: Option<OsString>) -> Option<PathBuf> {
    option.or_else(|| environment.filter(|value| !value.is_empty()).map(PathBuf::from))
}

fn only(mounts: &[Mount]) -> Result<PathBuf, Error> {
    let mut found: Vec<PathBuf> =
        mounts.iter().filter(|mount| is_tree(mount)).map(|mount| mount.mount_point.clone()).collect();
    // Of two mounts on one directory only the upper can be reached.
    found.sort();
    found.dedup();
    match found.len() {
        0 => Err(Error::NoMount),
        1 => Ok(found.remove(0)),
        _ => Err(Error::SeveralMounts(found)),
    }
}

/// A bind mount of something inside a tree is no tree.
fn is_tree(mount: &Mount) -> bool {
    mount.fs_type == FS_TYPE && mount.root == Path::new("/")
}

fn of_source(mounts: &[Mount], store: &Path, is_dead: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let found = mounts.iter().filter(|mount| is_tree(mount) && mount.source == store);
    found.map(|mount| mount.mount_point.clone()).find(|root| !is_dead(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(mountpoint: &str, fstype: &str, source: &str) -> Mount {
        Mount {
            id: 1,
            parent: 0,
            device: (0, 1),
            root: "/".into(),
            mount_point: mountpoint.into(),
            options: String::new(),
            fs_type: fstype.into(),
            source: source.into(),
            super_options: String::new(),
        }
    }

    #[test]
    fn the_option_comes_before_the_environment() {
        let named = |option: Option<&str>, environment: Option<&str>| {
            super::named(option.map(Into::into), environment.map(Into::into))
        };
        assert_eq!(named(Some("/a"), Some("/b")), Some("/a".into()));
        assert_eq!(named(None, Some("/b")), Some("/b".into()));
        assert_eq!(named(None, Some("")), None);
        assert_eq!(named(None, None), None);
    }

    #[test]
    fn only_a_lone_mount_needs_no_name() {
        let mut mounts = vec![mount("/", "ext4", "/dev/vda"), mount("/f", "fuse.x", "/s")];
        assert!(matches!(only(&mounts), Err(Error::NoMount)));
        mounts.push(mount("/b", FS_TYPE, "/s"));
        assert_eq!(only(&mounts).unwrap(), PathBuf::from("/b"));
        mounts.push(mount("/b", FS_TYPE, "/t"));
        assert_eq!(only(&mounts).unwrap(), PathBuf::from("/b"));
        mounts.push(mount("/a", FS_TYPE, "/u"));
        let Err(Error::SeveralMounts(listed)) = only(&mounts) else {
            panic!("two mounts are not one");
        };
        assert_eq!(listed, [PathBuf::from("/a"), PathBuf::from("/b")]);
    }

    #[test]
    fn a_store_is_found_by_its_source() {
        let mounts = [mount("/a", "ext4", "/s"), mount("/b", FS_TYPE, "/s"), mount("/c", FS_TYPE, "/s")];
        let of_source = |store: &str, dead: &[&str]| {
            super::of_source(&mounts, Path::new(store), |root| dead.iter().any(|dead| root == Path::new(dead)))
        };
        assert_eq!(of_source("/s", &[]), Some("/b".into()));
        assert_eq!(of_source("/s", &["/b"]), Some("/c".into()));
        assert_eq!(of_source("/s", &["/b", "/c"]), None);
        assert_eq!(of_source("/t", &[]), None);
    }

    #[test]
    fn a_name_s_link_says_what_it_is() {
        assert_eq!(object(Path::new("../ctr/0a")), Some((Kind::Container, "0a".into())));
        assert_eq!(object(Path::new("../pod/0a")), Some((Kind::Pod, "0a".into())));
        assert_eq!(object(Path::new("../image/0a")), None);
        assert_eq!(object(Path::new("0a")), None);
    }

    #[test]
    fn ids_are_full() {
        assert!(is_id(&"0f".repeat(32)));
        assert!(!is_id(&"0F".repeat(32)));
        assert!(!is_id("0f0f0f"));
    }

    #[test]
    fn no_name_leaves_its_directory() {
        assert!(is_one_component("web"));
        for wrong in ["", ".", "..", "/", "a/b", "../a", "a/", "a/."] {
            assert!(!is_one_component(wrong), "{wrong}");
        }
    }
}
