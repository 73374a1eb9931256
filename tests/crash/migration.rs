//! Stores of earlier schemas, as the programs of those schemas left them, under this one.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use ctrfs::model::record::Row;
use nix::errno::Errno;
use redb::ReadableTable;
use serde_json::Value;

use crate::rows::{ROWS, edit, replace_row, serial};
use crate::support::images::{Image, names_in};
use crate::support::{CTRFS, Mounted, errno, text};

/// What the table of containers has of each, less the IDs and times.
type Columns = [&'static str; 6];

/// What the program of schema 1 had in its `table/ctr`.
const SCHEMA_1: [Columns; 8] = [
    ["damaged", "configured", "-", "-", "-", "-"],
    ["needs-plain", "configured", "-", "7", "-", "-"],
    ["back", "configured", "-", "-", "shop", "-"],
    ["front", "configured", "-", "-", "shop", "-"],
    ["on-image", "configured", "-", "-", "-", "docker.io/library/busybox:latest"],
    ["no-shm", "configured", "-", "-", "-", "-"],
    ["on-directory", "configured", "-", "-", "-", "-"],
    ["plain", "configured", "-", "-", "-", "-"],
];

/// What the program of schema 2 had in its `table/ctr`, but for what a reboot resets.
const SCHEMA_2: [Columns; 10] = [
    ["damaged", "configured", "-", "-", "-", "-"],
    ["new-name", "configured", "-", "-", "-", "-"],
    ["needs-plain", "configured", "-", "7", "-", "-"],
    ["back", "configured", "-", "-", "shop", "-"],
    ["front", "configured", "-", "3", "shop", "-"],
    ["fleeting", "configured", "-", "-", "-", "localhost/upon:latest"],
    ["on-image", "configured", "-", "-", "-", "localhost/base:latest"],
    ["no-shm", "configured", "-", "-", "-", "localhost/base:latest"],
    ["on-directory", "configured", "-", "-", "-", "-"],
    ["plain", "configured", "-", "-", "-", "-"],
];

/// What the program of schema 3 had in its `table/ctr`, but for what a reboot resets.
const SCHEMA_3: [Columns; 5] = [
    ["damaged", "configured", "-", "-", "-", "-"],
    ["back", "configured", "-", "7", "shop", "-"],
    ["front", "configured", "-", "-", "shop", "-"],
    ["on-image", "configured", "-", "-", "-", "localhost/base:latest"],
    ["plain", "configured", "-", "-", "-", "-"],
];

const OK_1: &str = "ok: 8 containers, 1 pods, 0 images, 0 layers\n";
const OK_2: &str = "ok: 10 containers, 1 pods, 2 images, 5 layers\n";
const OK_3: &str = "ok: 5 containers, 1 pods, 2 images, 3 layers\n";

/// The store of a schema, not mounted yet.
fn stored(schema: u32) -> Mounted {
    let tree = Mounted::new();
    tree.unmount();
    let mut database = File::create(tree.store.join("ctrfs.redb")).unwrap();
    let data = format!("{}/tests/data/schema-{schema}/ctrfs.redb.zst", env!("CARGO_MANIFEST_DIR"));
    zstd::stream::copy_decode(File::open(data).unwrap(), &mut database).unwrap();
    put_directories(&tree.store);
    tree
}

/// Makes the directories of layers and of a container that is mounted, which are not kept with a database.
fn put_directories(store: &Path) {
    let rows: Vec<Row> = edit(store, |txn| {
        let rows = txn.open_table(ROWS).unwrap();
        rows.iter().unwrap().filter_map(|entry| postcard::from_bytes(entry.unwrap().1.value()).ok()).collect()
    });
    for row in rows {
        match row {
            Row::Layer(layer) if layer.owner.is_none() => {
                let fs = store.join("layers").join(layer.id().to_string()).join("fs");
                let (path, text) = if layer.parent.is_none() { ("etc/file", "base\n") } else { ("upon", "upon\n") };
                fs::create_dir_all(fs.join(path).parent().unwrap()).unwrap();
                fs::write(fs.join(path), text).unwrap();
            }
            Row::Ctr(ctr) if ctr.mounted => {
                fs::create_dir_all(store.join("ctr").join(ctr.id().to_string()).join("upper")).unwrap();
            }
            _ => {}
        }
    }
}

fn check(store: &Path) -> String {
    text(&Command::new(CTRFS).arg("check").arg(store).output().unwrap())
}

fn columns(tree: &Mounted) -> Vec<Vec<String>> {
    let table = tree.read("table/ctr");
    table.lines().skip(1).map(|line| line.split('\t').skip(1).take(6).map(str::to_owned).collect()).collect()
}

/// The store of a schema, mounted: it is of this one then, sound, and has the same containers.
fn brought_up(schema: u32, ok: &str, containers: &[Columns]) -> Mounted {
    let tree = stored(schema);
    tree.mount();
    assert_eq!(tree.read("check"), ok);
    assert_eq!(columns(&tree), containers);
    assert!(tree.read("version").ends_with("schema 4\n"));
    tree
}

#[test]
fn a_store_of_schema_1_is_as_it_was() {
    let tree = brought_up(1, OK_1, &SCHEMA_1);
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

#[test]
fn a_store_of_schema_2_is_as_it_was() {
    let tree = brought_up(2, OK_2, &SCHEMA_2);
    let json = |path: &str| -> Value { serde_json::from_str(&tree.read(path)).unwrap() };
    assert_eq!(json("ctr/needs-plain/config")["x-unknown"].to_string(), "1.50");
    assert_eq!(json("ctr/needs-plain/state")["finishedTime"], "2026-01-02T03:04:06Z");
    let listed = |path: &str| names_in(&tree.path(path));
    assert_eq!(listed("ctr/back/depends-on"), [tree.id("front")]);
    assert_eq!(listed("ctr/plain/dependencies"), [tree.id("needs-plain")]);
    assert_eq!(listed("pod/shop/containers").len(), 2);
    assert_eq!(listed("name").len(), 11);
    let [base, upon] = ["base", "upon"].map(|name| fs::read_link(tree.path(&format!("image/{name}"))).unwrap());
    let [base, upon] = [&base, &upon].map(|link| link.to_str().unwrap());
    assert_eq!(tree.read("image/base/names"), "localhost/base:latest\nquay.io/team/base:v1\n");
    assert_eq!(json("ctr/on-image/config")["rootfsImageID"], base);
    assert_eq!(json("ctr/fleeting/config")["rootfsImageID"], upon);
    assert_eq!((listed("image/upon/layers"), listed("image/base/used-by").len()), (vec!["0".into(), "1".into()], 2));
    for (name, entries) in
        [("plain", [false; 3]), ("on-directory", [true; 3]), ("no-shm", [true, true, false]), ("on-image", [true; 3])]
    {
        for (entry, due) in ["rootfs", "config.json", "shm"].into_iter().zip(entries) {
            assert_eq!(tree.path(&format!("ctr/{name}/{entry}")).exists(), due, "{name}: {entry}");
        }
    }
    // What is new is there and empty, with the store's time.
    assert_eq!(listed("exited"), [""; 0]);
    assert_eq!(listed("ctr/plain/data"), [""; 0]);
    assert!(fs::metadata(tree.path("exited")).unwrap().modified().unwrap() > std::time::UNIX_EPOCH);

    // Volatile was then what a container wrote, not the container: who made it was promised no more.
    assert_eq!(json("ctr/fleeting/config")["volatile"], true);
    fs::write(tree.path("create/ctr"), "{\"Dependencies\":[\"fleeting\"]}\n").unwrap();

    // And it goes on.
    fs::write(tree.path("ctr/plain/data/key"), "value").unwrap();
    let id = tree.id("needs-plain");
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    assert_eq!(tree.read(&format!("exited/{id}")), "7\n");
    tree.unmount();
    tree.mount();
    assert_eq!(tree.read("ctr/plain/data/key") + &tree.read(&format!("exited/{id}")), "value7\n");
    assert_eq!(tree.read("check"), OK_2);
}

#[test]
fn a_store_of_schema_3_is_as_it_was() {
    let tree = brought_up(3, OK_3, &SCHEMA_3);
    let read = |entry: &str| tree.read(&format!("ctr/on-image/{entry}"));
    assert_eq!(
        ["names", "metadata", "flags/Note", "uidmap"].map(read),
        ["on-image\nfurther\n", "text", "[\n  1.50\n]\n", "0 1000 10\n"]
    );
    assert_eq!(names_in(&tree.path("ctr/front/dependencies")), [tree.id("back")]);

    // Of layers without a record the entries are counted; those that come now have one.
    let id = names_in(&tree.path("image/base/layers"))[0].clone();
    let base = fs::canonicalize(tree.path(&format!("image/base/layers/{id}"))).unwrap();
    let base = base.file_name().unwrap().to_str().unwrap();
    Image::new("one", &["a"]).import(&tree, &["one"]);
    fs::write(tree.store.join("layers").join(base).join("fs/more"), "").unwrap();
    assert_eq!(tree.read("check"), format!("layer-content-modified layer/{base}: it has 3 entries, not 2\n"));
    fs::remove_file(tree.store.join("layers").join(base).join("fs/more")).unwrap();
}

/// The check of the files opens a copy, and leaves them as they are.
#[test]
fn a_check_migrates_nothing() {
    for (schema, ok) in [(1, OK_1), (2, OK_2), (3, OK_3)] {
        let tree = stored(schema);
        let before = fs::read(tree.store.join("ctrfs.redb")).unwrap();
        assert_eq!(check(&tree.store), ok);
        assert!(fs::read(tree.store.join("ctrfs.redb")).unwrap() == before);
    }
}

#[test]
fn a_damaged_row_is_left_as_it_is() {
    damaged(1, &SCHEMA_1, "ok: 7 containers, 1 pods, 0 images, 0 layers\n");
    damaged(2, &SCHEMA_2, "ok: 9 containers, 1 pods, 2 images, 5 layers\n");
    damaged(3, &SCHEMA_3, "ok: 4 containers, 1 pods, 2 images, 3 layers\n");
}

fn damaged(schema: u32, containers: &[Columns], ok: &str) {
    let tree = stored(schema);
    tree.mount();
    let id = tree.id("damaged");
    tree.unmount();
    let tree = stored(schema);
    edit(&tree.store, |txn| replace_row(txn, serial(txn, &id), |row| row[..row.len() / 2].to_vec()));
    let found = check(&tree.store);
    assert!(found.contains("does not decode"), "{found}");
    tree.mount();
    assert_eq!(columns(&tree).len(), containers.len());
    assert_eq!(columns(&tree)[1..], containers[1..]);
    assert_ne!(tree.read(&format!("ctr/{id}/health")), "ok\n");
    assert!(!fs::read(tree.path(&format!("ctr/{id}/raw"))).unwrap().is_empty());
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    assert_eq!(errno(fs::metadata(tree.path("name/damaged"))), Errno::ENOENT);
    assert_eq!(tree.read("check"), ok);
}
