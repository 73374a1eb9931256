//! Trees removed without leaving them.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use ctrfs::sys::beneath::{self, Freed};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::support::Scratch;

fn remove(dir: &Path, name: &str) -> io::Result<Freed> {
    beneath::remove_tree(beneath::directory(dir).unwrap(), name.as_bytes())
}

#[test]
fn links_are_removed_and_not_followed() {
    let scratch = Scratch::new();
    let tree = scratch.path().join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    fs::create_dir(scratch.path().join("outside")).unwrap();
    fs::write(scratch.path().join("outside/file"), "stays").unwrap();
    symlink("../outside", tree.join("link")).unwrap();
    symlink(scratch.path().join("outside"), tree.join("a/link")).unwrap();
    fs::write(tree.join("a/file"), "12345").unwrap();
    fs::hard_link(scratch.path().join("outside/file"), tree.join("a/b/linked")).unwrap();
    let links = "../outside".len() + scratch.path().join("outside").as_os_str().len();
    let freed = remove(scratch.path(), "tree").unwrap();
    assert_eq!((freed.entries, freed.size), (7, 5 + links as u64));
    assert!(!tree.exists());
    assert_eq!(fs::read_to_string(scratch.path().join("outside/file")).unwrap(), "stays");

    symlink("outside", scratch.path().join("tree")).unwrap();
    assert_eq!(remove(scratch.path(), "tree").unwrap().entries, 1);
    assert_eq!(remove(scratch.path(), "tree").unwrap(), Freed::default());
    assert!(scratch.path().join("outside/file").exists());
}

#[test]
fn deep_and_wide_trees_go() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path().join("tree")).unwrap();
    // Deeper than a path may be long, and than a process may have descriptors.
    let mut at: OwnedFd = beneath::directory(&scratch.path().join("tree")).unwrap();
    let deep = 5_000;
    for level in 0..deep {
        beneath::make_file(&at, b"file").unwrap();
        let name = if level % 100 == 0 { ".deep-1" } else { "directory" };
        beneath::make_directory(&at, name.as_bytes()).unwrap();
        at = beneath::entry(&at, name.as_bytes()).unwrap();
    }
    drop(at);
    let wide = 3_000;
    for number in 0..wide {
        fs::write(scratch.path().join(format!("tree/{number}-{}", "x".repeat(100))), "").unwrap();
    }
    assert_eq!(remove(scratch.path(), "tree").unwrap().entries, 2 * deep + wide + 1);
    assert!(!scratch.path().join("tree").exists());
}

#[test]
fn what_is_mounted_below_stays() {
    let scratch = Scratch::new();
    let tree = scratch.path().join("tree");
    let (mounted, file) = (tree.join("a/mounted"), tree.join("b/file"));
    fs::create_dir_all(&mounted).unwrap();
    fs::create_dir_all(tree.join("b")).unwrap();
    fs::create_dir_all(tree.join("z/z")).unwrap();
    fs::write(&file, "").unwrap();
    let none = None::<&str>;
    mount(Some("ctrfs-test"), &mounted, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    fs::write(mounted.join("kept"), "kept").unwrap();
    mount(Some(&mounted.join("kept")), &file, none, MsFlags::MS_BIND, none).unwrap();
    let error = remove(scratch.path(), "tree").unwrap_err();
    let kept = (fs::read_to_string(mounted.join("kept")), fs::read_to_string(&file), tree.join("z").exists());
    umount2(&file, MntFlags::MNT_DETACH).unwrap();
    umount2(&mounted, MntFlags::MNT_DETACH).unwrap();
    let number = error.raw_os_error().unwrap();
    assert!([Errno::EXDEV as i32, Errno::EBUSY as i32].contains(&number), "{error}");
    assert_eq!((kept.0.unwrap(), kept.1.unwrap(), kept.2), ("kept".to_owned(), "kept".to_owned(), false));
    remove(scratch.path(), "tree").unwrap();
    assert!(!tree.exists());
}
