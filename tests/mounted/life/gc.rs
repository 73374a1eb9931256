//! `ctrfs gc`, and the order of that name: what belongs to nothing is told with its size and removed, and
//! what belongs to something stays.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ctrfs::sys::lock::DirectoryLock;
use nix::errno::Errno;

use super::{id, refused_order, run_root};
use crate::support::images::{Image, create as create_image, staging_dir};
use crate::support::{CTRFS, Mounted, Scratch, is_mounted, text};
use crate::tools::{ask, make_imaged};

fn gc(arguments: &[&str], target: &Path) -> Output {
    Command::new(CTRFS).arg("gc").args(arguments).arg(target).env_remove("CTRFS_AT").output().unwrap()
}

/// What was told: bytes by path.
fn told(output: &Output) -> BTreeMap<PathBuf, u64> {
    assert!(output.status.success(), "{}", text(output));
    lines(&String::from_utf8(output.stdout.clone()).unwrap())
}

fn lines(text: &str) -> BTreeMap<PathBuf, u64> {
    let line = |line: &str| {
        let (bytes, path) = line.split_once('\t').unwrap();
        (PathBuf::from(path), bytes.parse().unwrap())
    };
    text.lines().map(line).collect()
}

/// Puts rubbish in every place below a store; what must be told of it.
fn litter(store: &Path) -> BTreeMap<PathBuf, u64> {
    let nobody = id('a');
    let mut due = BTreeMap::new();
    let mut put = |path: &str, file: &str, bytes: usize| {
        let path = store.join(path);
        fs::create_dir_all(path.join(file).parent().unwrap()).unwrap();
        fs::write(path.join(file), vec![b'x'; bytes]).unwrap();
        *due.entry(path).or_insert(0) += bytes as u64;
    };
    put(&format!("layers/{nobody}"), "fs/etc/file", 5);
    put(&format!("layers/{nobody}"), "fs/other", 6);
    put("layers/stray", "fs/x", 1);
    for (dir, bytes) in [("upper", 7), ("userdata", 8), ("data", 9), ("artifacts", 10)] {
        put(&format!("ctr/{nobody}"), &format!("{dir}/1"), bytes);
    }
    put("ctr/stray name", "x", 2);
    put(&format!("images/{nobody}"), "data/1", 11);
    put("staging/dead", "layer/fs/x", 12);
    fs::write(store.join("ctr/a\tfile"), "123").unwrap();
    due.insert(store.join("ctr/a\\tfile"), 3);
    due
}

/// Makes a container of an image, and leaves nothing behind.
fn make_furnished(tree: &Mounted) {
    make_imaged(tree);
    fs::remove_dir(staging_dir(&tree.store, "small")).unwrap();
}

fn exists(path: &Path) -> bool {
    PathBuf::from(path.to_str().unwrap().replace("\\t", "\t")).exists()
}

/// Everything below a directory but the database, who has it, and what open files leave for a moment.
fn below(dir: &Path) -> Vec<String> {
    let found = Command::new("find").arg(dir).args(["-mindepth", "2"]).output().unwrap();
    let lines = text(&found);
    let mut lines: Vec<String> = lines.lines().filter(|line| !line.contains("/drafts/")).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_mounted_store_is_collected_through_its_tree() {
    let tree = Mounted::new();
    make_furnished(&tree);
    tree.echo("1", "ctr/imaged/mounted").unwrap();
    for entry in ["work", "run", "artifacts", "rootfs"] {
        fs::write(tree.path(&format!("ctr/imaged/{entry}/kept")), "x").unwrap();
    }
    fs::write(tree.path("ctr/imaged/data/kept"), "x").unwrap();
    let run = run_root(&tree).join("run").join(id('b'));
    fs::create_dir(&run).unwrap();
    fs::write(run.join("file"), "four").unwrap();
    let left = run_root(&tree).join("p").join(id('c'));
    fs::create_dir_all(left.join("rootfs")).unwrap();
    assert!(Command::new("mount").args(["-t", "tmpfs", "left"]).arg(left.join("rootfs")).status().unwrap().success());
    fs::create_dir(left.join("shm")).unwrap();
    let known = below(&tree.store);

    let mut due = litter(&tree.store);
    due.extend([(run.clone(), 4), (left.clone(), 0)]);
    // One that an importer holds is not rubbish, nor is a layer while somebody may ask for it again.
    let alive = staging_dir(&tree.store, "alive");
    fs::create_dir(&alive).unwrap();
    let lock = DirectoryLock::try_lock(&alive).unwrap().unwrap();
    let is_layer = |path: &PathBuf| path.starts_with(tree.store.join("layers"));
    let without_layers = due.clone().into_iter().filter(|(path, _)| !is_layer(path)).collect::<BTreeMap<_, _>>();
    let littered = below(&tree.store);
    assert_eq!(told(&gc(&[], &tree.at)), without_layers);
    drop(lock);
    fs::remove_dir(&alive).unwrap();

    for target in [&tree.at, &tree.store] {
        assert_eq!(told(&gc(&[], target)), due, "{target:?}");
    }
    assert_eq!(lines(&ask(&tree, "control", r#"{"verb":"gc","dry-run":true}"#).unwrap()), due);
    assert_eq!(below(&tree.store).len() + 1, littered.len(), "a dry run removes nothing");
    assert!(due.keys().all(|path| exists(path)));

    assert_eq!(told(&gc(&["--yes"], &tree.at)), due);
    assert!(!due.keys().any(|path| exists(path)));
    assert!(!is_mounted(&left.join("rootfs")));
    assert_eq!(below(&tree.store), known, "and nothing else");
    assert_eq!(told(&gc(&[], &tree.at)), BTreeMap::new());
    for entry in ["work", "run", "artifacts", "rootfs", "data"] {
        assert_eq!(tree.read(&format!("ctr/imaged/{entry}/kept")), "x", "{entry}");
    }
}

#[test]
fn a_store_that_is_not_mounted_is_collected_directly() {
    let tree = Mounted::new();
    make_furnished(&tree);
    fs::write(tree.path("ctr/imaged/work/kept"), "x").unwrap();
    fs::write(tree.path("ctr/imaged/data/kept"), "x").unwrap();
    tree.unmount();
    let known = below(&tree.store);
    let mut due = litter(&tree.store);
    fs::create_dir(tree.store.join("trash/old")).unwrap();
    fs::write(tree.store.join("trash/old/file"), "seven..").unwrap();
    due.insert(tree.store.join("trash/old"), 7);
    let before = fs::read(tree.store.join("ctrfs.redb")).unwrap();
    assert_eq!(told(&gc(&[], &tree.store)), due);
    assert!(fs::read(tree.store.join("ctrfs.redb")).unwrap() == before, "a dry run only reads");
    assert!(due.keys().all(|path| exists(path)));
    assert_eq!(told(&gc(&["--yes"], &tree.store)), due);
    assert_eq!(below(&tree.store), known);
    tree.mount();
    assert_eq!(tree.read("ctr/imaged/work/kept") + &tree.read("ctr/imaged/data/kept"), "xx");
}

/// The file of an item that no row names any more; its server died before it threw it away.
#[test]
fn files_that_no_item_has_are_rubbish() {
    let tree = Mounted::new();
    tree.make("web");
    fs::write(tree.path("ctr/web/data/kept"), "kept").unwrap();
    let data = tree.store.join("ctr").join(tree.id("web")).join("data");
    let unnamed = data.join("17");
    fs::write(&unnamed, "12345").unwrap();
    assert_eq!(told(&gc(&[], &tree.at)), [(unnamed.clone(), 5)].into());
    assert_eq!(told(&gc(&["--yes"], &tree.at)), [(unnamed.clone(), 5)].into());
    assert!(!unnamed.exists());
    assert_eq!(tree.read("ctr/web/data/kept"), "kept");
}

#[test]
fn an_importer_loses_nothing_to_a_collector() {
    let tree = Mounted::new();
    let image = Image::new("one", &["a", "b"]);
    fs::create_dir_all(staging_dir(&tree.store, "mine")).unwrap();
    let _lock = DirectoryLock::try_lock(&staging_dir(&tree.store, "mine")).unwrap().unwrap();
    let document = image.stage(&tree, "mine", &["one"]);
    assert_eq!(told(&gc(&["--yes"], &tree.at)), BTreeMap::new());
    assert_eq!(create_image(&tree, &document).unwrap(), image.id());
    assert_eq!(told(&gc(&["--yes"], &tree.at)), BTreeMap::new());
    assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 1 images, 2 layers\n");
    for layer in image.layers() {
        assert!(tree.store.join("layers").join(layer).join("fs/file").exists());
    }
}

#[test]
fn what_it_cannot_do_it_says() {
    let tree = Mounted::new();
    tree.make("web");
    for (order, words) in [
        (r#"{"verb":"gc","dry-run":1}"#, "the key \\\"dry-run\\\" takes true or false"),
        (r#"{"verb":"gc","ctr":"web"}"#, "the key \\\"ctr\\\" takes nothing"),
        (r#"{"verb":"gc"}{"verb":"remove","ctr":"web"}"#, "stands alone in its write"),
        (r#"{"verb":"remove","ctr":"web"}{"verb":"gc"}"#, "stands alone in its write"),
    ] {
        let (errno, said) = refused_order(&tree, order);
        assert_eq!(errno, Errno::EINVAL, "{order}");
        assert!(said.contains(words), "{order}: {said}");
    }
    assert!(tree.path("ctr/web").exists());
    let scratch = Scratch::new();
    let none = gc(&[], scratch.path());
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none).contains("no store there"), "{}", text(&none));
    assert!(text(&gc(&[], &scratch.path().join("nowhere"))).contains("No such file"));
}
