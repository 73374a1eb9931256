//! A store of schema 1, as the program of that schema left it, under this one.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use serde_json::Value;

use crate::rows::{edit, replace_row, serial};
use crate::support::images::{Image, names_in};
use crate::support::{CTRFS, Mounted, errno, text};

const STORED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/schema-1/ctrfs.redb.zst");

/// What the earlier program's `table/ctr` had, less the IDs and times.
const CONTAINERS: [[&str; 6]; 8] = [
    ["damaged", "configured", "-", "-", "-", "-"],
    ["needs-plain", "configured", "-", "7", "-", "-"],
    ["back", "configured", "-", "-", "shop", "-"],
    ["front", "configured", "-", "-", "shop", "-"],
    ["on-image", "configured", "-", "-", "-", "docker.io/library/busybox:latest"],
    ["no-shm", "configured", "-", "-", "-", "-"],
    ["on-directory", "configured", "-", "-", "-", "-"],
    ["plain", "configured", "-", "-", "-", "-"],
];

/// The store, not mounted yet.
fn stored() -> Mounted {
    let tree = Mounted::new();
    tree.unmount();
    let mut database = File::create(tree.store.join("ctrfs.redb")).unwrap();
    zstd::stream::copy_decode(File::open(STORED).unwrap(), &mut database).unwrap();
    tree
}

fn check(store: &Path) -> String {
    text(&Command::new(CTRFS).arg("check").arg(store).output().unwrap())
}

fn columns(tree: &Mounted) -> Vec<Vec<String>> {
    let table = tree.read("table/ctr");
    table.lines().skip(1).map(|line| line.split('\t').skip(1).take(6).map(str::to_owned).collect()).collect()
}

#[test]
fn a_store_of_schema_1_is_as_it_was() {
    let tree = stored();
    tree.mount();
    assert_eq!(tree.read("check"), "ok: 8 containers, 1 pods, 0 images, 0 layers\n");
    assert_eq!(columns(&tree), CONTAINERS);
    assert!(tree.read("version").ends_with("schema 3\n"));
    let config = |name: &str| -> Value { serde_json::from_str(&tree.read(&format!("ctr/{name}/config"))).unwrap() };
    assert_eq!(config("needs-plain")["x-unknown"].to_string(), "1.50");
    assert_eq!(config("on-image")["rootfsImageID"], "0123456789abcdef".repeat(4));
    assert_eq!(config("back")["netNsCtr"], tree.id("front"));
    let state: Value = serde_json::from_str(&tree.read("ctr/needs-plain/state")).unwrap();
    assert_eq!(state["finishedTime"], "2026-01-02T03:04:06Z");
    let listed = |path: &str| names_in(&tree.path(path));
    assert_eq!(listed("ctr/back/depends-on"), [tree.id("front")]);
    assert_eq!(listed("ctr/plain/dependencies"), [tree.id("needs-plain")]);
    assert_eq!(listed("pod/shop/containers").len(), 2);
    for (name, entries) in [("plain", [false; 3]), ("on-directory", [true; 3]), ("no-shm", [true, true, false])] {
        for (entry, due) in ["rootfs", "config.json", "shm"].into_iter().zip(entries) {
            assert_eq!(tree.path(&format!("ctr/{name}/{entry}")).exists(), due, "{name}: {entry}");
        }
    }
    for name in ["image", "layer", "image-name"] {
        assert_eq!(listed(name), [""; 0]);
    }
    // The times of the directories that are new are the store's.
    assert!(fs::metadata(tree.path("image")).unwrap().modified().unwrap() > std::time::UNIX_EPOCH);

    // And goes on with images.
    Image::new("one", &["a"]).import(&tree, &["busybox"]);
    fs::write(tree.path("ctr/plain/config"), "{\"image\":\"busybox\"}\n").unwrap();
    assert!(tree.path("ctr/plain/image/manifest").exists());
    assert_eq!(tree.read("check"), "ok: 8 containers, 1 pods, 1 images, 2 layers\n");
    tree.unmount();
    tree.mount();
    assert_eq!(tree.read("check"), "ok: 8 containers, 1 pods, 1 images, 2 layers\n");
}

/// The check of the files opens a copy, and leaves them as they are.
#[test]
fn a_check_migrates_nothing() {
    let tree = stored();
    let before = fs::read(tree.store.join("ctrfs.redb")).unwrap();
    assert_eq!(check(&tree.store), "ok: 8 containers, 1 pods, 0 images, 0 layers\n");
    assert!(fs::read(tree.store.join("ctrfs.redb")).unwrap() == before);
}

#[test]
fn a_damaged_row_of_schema_1_is_left_as_it_is() {
    let tree = stored();
    tree.mount();
    let id = tree.id("damaged");
    tree.unmount();
    let tree = stored();
    edit(&tree.store, |txn| replace_row(txn, serial(txn, &id), |row| row[..row.len() / 2].to_vec()));
    let found = check(&tree.store);
    assert!(found.contains("does not decode"), "{found}");
    tree.mount();
    assert_eq!(columns(&tree).len(), 8);
    assert_eq!(columns(&tree)[1..], CONTAINERS[1..]);
    assert_ne!(tree.read(&format!("ctr/{id}/health")), "ok\n");
    assert!(!fs::read(tree.path(&format!("ctr/{id}/raw"))).unwrap().is_empty());
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    assert_eq!(errno(fs::metadata(tree.path("name/damaged"))), Errno::ENOENT);
    assert_eq!(tree.read("check"), "ok: 7 containers, 1 pods, 0 images, 0 layers\n");
}
