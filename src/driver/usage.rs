//! How much a tree holds: the length of its files, the space they take, how many entries there are.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::walk::{Step, Walk};
use crate::sys::mounting;
use crate::sys::walk::{Dir, Kind, Meta};

/// What a tree holds; the directory at its top is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// The lengths of all files and symlinks, a file with several names once; directories count nothing.
    pub bytes: u64,
    /// What is allocated for them, directories included.
    pub disk: u64,
    /// How many names there are.
    pub entries: u64,
}

/// As [`usage`], of the directory at a path.
///
/// # Errors
/// As there; it is not there.
pub fn usage_at(path: &Path) -> io::Result<Usage> {
    usage(mounting::open(path)?.as_fd())
}

/// How many bytes the file, or the files below the directory, at a path have. What is not there has none.
///
/// # Errors
/// As [`usage`].
pub fn bytes_at(path: &Path) -> io::Result<u64> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => usage_at(path).map(|usage| usage.bytes),
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Looks through the tree below a directory, which others may be changing: what vanishes is not
/// counted. Stays on its filesystem and follows no symlinks.
///
/// # Errors
/// What the kernel says of an entry that is there and cannot be looked at.
pub fn usage(root: BorrowedFd<'_>) -> io::Result<Usage> {
    let mut walk = Walk::new(Dir::of(root)?, ())?;
    let (mut usage, mut linked) = (Usage::default(), HashSet::new());
    while let Some(step) = walk.next()? {
        let Step::Entry = step else { continue };
        let Some(meta) = walk.dir().look(walk.name())? else { continue };
        usage.count(&meta, !meta.is_linked() || linked.insert(meta.identity));
        if meta.kind == Kind::Directory {
            walk.enter(())?;
        }
    }
    Ok(usage)
}

impl Usage {
    /// Counts a name; `is_first` of those that its file has, as far as they have come.
    pub(super) fn count(&mut self, meta: &Meta, is_first: bool) {
        self.entries += 1;
        if is_first {
            self.disk += meta.disk;
            self.bytes += if meta.kind == Kind::Directory { 0 } else { meta.size };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn links_count_once_and_directories_nothing() {
        let root = std::env::temp_dir().join(format!("ctrfs-usage-test-{}", std::process::id()));
        fs::create_dir_all(root.join("d/e")).unwrap();
        let empty = usage(File::open(root.join("d/e")).unwrap().as_fd()).unwrap();
        assert_eq!(empty, Usage::default());

        fs::write(root.join("d/file"), vec![1; 10_000]).unwrap();
        fs::hard_link(root.join("d/file"), root.join("d/e/again")).unwrap();
        symlink("/", root.join("link")).unwrap();
        File::create(root.join("sparse")).unwrap().set_len(1 << 40).unwrap();

        let found = usage(File::open(&root).unwrap().as_fd()).unwrap();
        assert_eq!((found.bytes, found.entries), (10_000 + 1 + (1 << 40), 6));
        let names = ["d", "d/e", "d/file", "link", "sparse"];
        let blocks = names.map(|name| fs::symlink_metadata(root.join(name)).unwrap().blocks() * 512);
        assert_eq!(found.disk, blocks.iter().sum::<u64>());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn depth_costs_no_descriptors() {
        let root = std::env::temp_dir().join(format!("ctrfs-depth-test-{}", std::process::id()));
        let (mut dir, depth) = (root.clone(), 1500);
        for _ in 0..depth {
            dir.push("d");
        }
        fs::create_dir_all(&dir).unwrap();
        fs::write(root.join("z"), "last").unwrap();
        fs::write(root.join("d/z"), "second to last").unwrap();
        let found = usage(File::open(&root).unwrap().as_fd()).unwrap();
        assert_eq!((found.bytes, found.entries), (18, depth + 2));
        fs::remove_dir_all(root).unwrap();
    }
}
