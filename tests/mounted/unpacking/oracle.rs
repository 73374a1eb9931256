//! The same streams through GNU tar.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::{Place, collect};
use crate::support::{Scratch, succeed};

/// An ordinary tree: files of all sizes around those of blocks and buffers, links, holes.
fn make(tree: &Path) {
    fs::create_dir(tree).unwrap();
    for (number, size) in [0, 1, 511, 512, 513, 4096, 65_537, 524_287, 524_288, 600_000, 3_000_000].iter().enumerate() {
        let dir = tree.join(format!("dir-{number}/below"));
        fs::create_dir_all(&dir).unwrap();
        let bytes: Vec<u8> = (0..*size).map(|at: u32| (at.wrapping_mul(at) >> 3) as u8).collect();
        fs::write(dir.join(format!("file of {size}")), bytes).unwrap();
        fs::hard_link(dir.join(format!("file of {size}")), tree.join(format!("link-{number}"))).unwrap();
        symlink(format!("../link-{number}"), dir.join("symlink")).unwrap();
    }
    let long = tree.join("n".repeat(120)).join("m".repeat(150));
    fs::create_dir_all(&long).unwrap();
    symlink("t".repeat(300), long.join("long")).unwrap();
    fs::write(tree.join("tool"), "#!").unwrap();
    fs::set_permissions(tree.join("tool"), Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(tree.join("dir-1"), Permissions::from_mode(0o3555)).unwrap();
    holes(&tree.join("holes"), 1 << 20, 9, 5_000_000);
    holes(&tree.join("many holes"), 1 << 16, 200, 20_000_000);
    File::create(tree.join("hole")).unwrap().set_len(1 << 20).unwrap();
}

/// A file with data after each of so many holes, and a hole at its end.
fn holes(path: &Path, every: u64, count: u64, size: u64) {
    let mut file = File::create(path).unwrap();
    for number in 0..count {
        file.seek(SeekFrom::Start(every * (number + 1))).unwrap();
        file.write_all(format!("data {number}").as_bytes()).unwrap();
    }
    file.set_len(size.max(every * (count + 1))).unwrap();
}

fn tree_of(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect(root, Path::new("."), &mut found);
    found
}

#[test]
fn an_ordinary_tree_is_as_gnu_tar_unpacks_it() {
    let scratch = Scratch::new();
    let tree = scratch.path().join("tree");
    make(&tree);
    let formats: [&[&str]; 7] = [
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
        &["--format=posix"],
        &["--format=posix", "--sparse", "--sparse-version=0.0"],
        &["--format=posix", "--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
        &["--format=oldgnu", "--sparse"],
    ];
    for (number, format) in formats.iter().enumerate() {
        let archive = scratch.path().join(format!("{number}.tar"));
        let (theirs, archive_name) = (scratch.path().join(number.to_string()), archive.to_str().unwrap());
        fs::create_dir(&theirs).unwrap();
        let tree_name = tree.to_str().unwrap();
        succeed(Command::new("tar").args(*format).args(["--numeric-owner", "-C", tree_name, "-cf", archive_name, "."]));
        let unpack = ["--same-owner", "--numeric-owner", "-xpf", archive_name, "-C", theirs.to_str().unwrap()];
        succeed(Command::new("tar").args(unpack));
        let place = Place::new();
        let unpacked =
            place.unpack(File::open(&archive).unwrap()).unwrap_or_else(|error| panic!("{format:?}: {error}"));
        assert_eq!(place.tree(), tree_of(&theirs), "{format:?}");
        if format.contains(&"--sparse") {
            assert!(unpacked.disk < 10_000_000 && unpacked.size > 30_000_000, "{format:?}: {unpacked:?}");
        }
    }
}
