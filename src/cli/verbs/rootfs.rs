//! Where the files of a container lie, read from the tree.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::Error;
use super::tree::{Kind, Tree};
use crate::driver::dirs::{empty_in, layer_in};
use crate::driver::export::Marks;
use crate::driver::mounts;
use crate::model::id::Id;
use crate::sys::host;

/// A container and what its root filesystem is made of.
#[derive(Debug)]
pub(super) struct Container {
    /// Its full ID.
    pub(super) id: String,
    /// Its inode in the tree, which none has that gets its ID after it.
    inode: u64,
    /// What its files are.
    pub(super) files: Files,
}

/// What a container's files are.
#[derive(Debug)]
pub(super) enum Files {
    /// A directory of somebody else's.
    Plain(PathBuf),
    /// Layers of an image, with or without one that it writes to.
    Layers(Layers),
}

/// The layers under a container.
#[derive(Debug)]
pub(super) struct Layers {
    /// The image's ID.
    pub(super) image: String,
    /// The image's layers: their IDs, topmost first.
    pub(super) ids: Vec<String>,
    /// Their trees; of an image without layers, an empty one.
    pub(super) lowers: Vec<PathBuf>,
    /// What the container wrote, if it was ever mounted.
    pub(super) upper: Option<PathBuf>,
}

impl Container {
    /// Finds a container by its ID, its name or a prefix.
    pub(super) fn find(tree: &Tree, word: &str, what: &str) -> Result<Container, Error> {
        let id = resolve(tree, word, what)?;
        let inode = inode(tree, &id, what)?;
        let entry = format!("ctr/{id}/config");
        let image = image(tree, &id, what)?;
        let config = tree.read(&entry)?;
        let config: Value = serde_json::from_str(&config).map_err(|_| Error::Document(entry))?;
        let rootfs = config["rootfs"].as_str().filter(|text| !text.is_empty());
        let files = match (image, rootfs) {
            (Some(image), _) => Files::Layers(Layers::find(tree, &id, image)?),
            (None, Some(rootfs)) => Files::Plain(rootfs.into()),
            (None, None) => return Err(Error::NoRootfs { what: what.to_owned() }),
        };
        Ok(Container { id, inode, files })
    }

    /// Its layers; a container without an image has nothing to compare with.
    pub(super) fn layers(&self, what: &str) -> Result<&Layers, Error> {
        match &self.files {
            Files::Layers(layers) => Ok(layers),
            Files::Plain(rootfs) => Err(Error::NoLayers { what: what.to_owned(), rootfs: rootfs.clone() }),
        }
    }

    /// What came of going through its files, if it is there still: they go after the container does, and
    /// who goes through them sees only that some are gone.
    pub(super) fn unless_removed<T>(&self, tree: &Tree, what: &str, came: Result<T, Error>) -> Result<T, Error> {
        match inode(tree, &self.id, what) {
            Ok(inode) if inode == self.inode => came,
            Err(error) if !error.is_gone() => came.and(Err(error)),
            _ => Err(Error::Removed { what: what.to_owned() }),
        }
    }
}

impl Layers {
    fn find(tree: &Tree, id: &str, image: String) -> Result<Layers, Error> {
        let store = tree.store()?;
        let mut numbered = tree.call(&format!("list the layers of image {image}"), |root| {
            let entries = fs::read_dir(root.join("image").join(&image).join("layers"))?;
            entries.map(|entry| numbered_layer(&entry?.path())).collect::<io::Result<Vec<(u32, String)>>>()
        })?;
        numbered.sort_unstable_by(|one, other| other.cmp(one));
        let ids: Vec<String> = numbered.into_iter().map(|(_, id)| id).collect();
        let mut lowers: Vec<PathBuf> =
            ids.iter().filter_map(|id| Id::parse(id)).map(|id| layer_in(&store, id)).collect();
        if lowers.is_empty() {
            lowers.push(empty_in(&store));
        }
        let upper = store.join("ctr").join(id).join("upper");
        let upper = match fs::metadata(&upper) {
            Ok(_) => Some(upper),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => None,
            Err(cause) => return Err(Error::Directory { dir: upper, cause }),
        };
        Ok(Layers { image, ids, lowers, upper })
    }

    /// The image's layers as one tree, mounted nowhere.
    pub(super) fn lowers_view(&self) -> Result<OwnedFd, Error> {
        mounts::lowers_view(&self.lowers, marks().userxattr).map_err(Error::Layers)
    }

    /// The image's layers and what the container wrote as one tree, mounted nowhere. Nothing can be
    /// written to it, so that the upper counts as one more lower.
    pub(super) fn whole_view(&self) -> Result<OwnedFd, Error> {
        let layers: Vec<PathBuf> = self.upper.iter().chain(&self.lowers).cloned().collect();
        mounts::lowers_view(&layers, marks().userxattr).map_err(Error::Layers)
    }
}

/// The full ID of a container that an ID, a name or a prefix means.
pub(super) fn resolve(tree: &Tree, word: &str, what: &str) -> Result<String, Error> {
    match tree.resolve(Kind::Container, word, what) {
        Err(error @ Error::NoSuch { .. }) => by_prefix(tree, word, what)?.ok_or(error),
        id => id,
    }
}

/// The inode of a container's directory.
fn inode(tree: &Tree, id: &str, what: &str) -> Result<u64, Error> {
    tree.call(what, |root| Ok(fs::symlink_metadata(root.join("ctr").join(id))?.ino()))
}

/// The ID of the image that a container has; a text in its config need not be one.
fn image(tree: &Tree, id: &str, what: &str) -> Result<Option<String>, Error> {
    match tree.call(what, |root| fs::read_link(root.join("ctr").join(id).join("image"))) {
        Err(error) if error.is_gone() => Ok(None),
        link => Ok(link?.file_name().and_then(|name| name.to_str()).map(str::to_owned)),
    }
}

/// The container whose ID alone begins like this.
fn by_prefix(tree: &Tree, word: &str, what: &str) -> Result<Option<String>, Error> {
    match tree.call(what, |root| fs::read_link(root.join("ctr").join(word))) {
        Err(error) if error.is_gone() => Ok(None),
        link => Ok(link?.to_str().map(str::to_owned)),
    }
}

/// An entry of `layers/`: its number, and the ID of the layer that it leads to.
fn numbered_layer(link: &Path) -> io::Result<(u32, String)> {
    let text = |path: Option<&std::ffi::OsStr>| path.and_then(|name| name.to_str().map(str::to_owned));
    let target = fs::read_link(link)?;
    let number = text(link.file_name()).and_then(|name| name.parse().ok());
    number.zip(text(target.file_name())).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The marks of overlayfs in stores of this user.
pub(super) fn marks() -> Marks {
    Marks { userxattr: !host::is_host_root() }
}

/// Opens a directory.
pub(super) fn open(dir: &Path) -> Result<File, Error> {
    File::open(dir).map_err(|cause| Error::Directory { dir: dir.to_owned(), cause })
}
