//! The check and the repair of a mounted store: what lies beside its database.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use ctrfs::driver::hash::digest;
use nix::errno::Errno;

use crate::support::images::{Image, names_in};
use crate::support::{CTRFS, Mounted, Scratch, errno, mountinfo, text};

/// Two images of which one has one layer more, an image of its own layer, and a container upon the last.
struct Store {
    tree: Mounted,
    base: Image,
    upon: Image,
    apart: Image,
    ctr: String,
}

fn store() -> Store {
    let tree = Mounted::new();
    let (base, upon, apart) =
        (Image::new("base", &["a"]), Image::new("upon", &["a", "b"]), Image::new("apart", &["c"]));
    base.import(&tree, &["base"]);
    upon.import(&tree, &["quay.io/team/upon:v1"]);
    apart.import(&tree, &["apart"]);
    fs::write(tree.path("create/ctr"), "{\"name\":\"web\",\"image\":\"apart\"}\n").unwrap();
    let ctr = tree.id("web");
    Store { tree, base, upon, apart, ctr }
}

impl Store {
    fn layer(&self, image: &Image, position: usize) -> PathBuf {
        self.tree.store.join("layers").join(&image.layers()[position])
    }

    /// What the check finds in the tree, and by the command.
    fn found(&self) -> String {
        let mounts = mountinfo();
        let found = self.tree.read("check");
        let by_store = Command::new(CTRFS).arg("check").arg(&self.tree.store).output().unwrap();
        let by_mount = Command::new(CTRFS).arg("check").arg(&self.tree.at).output().unwrap();
        for output in [by_store, by_mount, self.tree.ctrfs(&["check"])] {
            assert_eq!(text(&output), found);
            assert_eq!(output.status.code(), Some(i32::from(!found.starts_with("ok"))));
        }
        assert_eq!(mountinfo(), mounts, "nothing is mounted or unmounted");
        found
    }

    fn repair(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let output = self.tree.ctrfs(&[&["check", "--repair"], arguments].concat());
        (text(&output), output.status.code())
    }

    /// What the tree and the directories say of all but some objects and layers.
    fn all_but(&self, gone: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut all = BTreeMap::new();
        for dir in ["ctr", "image", "layer"] {
            for id in names_in(&self.tree.path(dir)) {
                for entry in ["config", "state", "manifest", "names", "size", "diff-id", "status"] {
                    let path = self.tree.path(dir).join(&id).join(entry);
                    if let Ok(bytes) = fs::read(&path) {
                        all.insert(path, bytes);
                    }
                }
            }
        }
        walk(&self.tree.store.join("layers"), &mut all);
        walk(&self.tree.store.join("ctr"), &mut all);
        all.retain(|path, _| !gone.iter().any(|id| path.to_str().unwrap().contains(id)));
        all
    }
}

fn walk(dir: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => walk(&path, into),
            false => drop(into.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
}

/// Damage of a layer's files, of which kind it is, and the words.
type Damage = (&'static str, fn(&Path), &'static str);

const DAMAGES: [Damage; 4] = [
    ("layer-data-missing", |layer| fs::remove_dir_all(layer).unwrap(), "its directory is gone"),
    ("layer-data-missing", |layer| fs::remove_dir_all(layer.join("fs")).unwrap(), "its directory is gone"),
    (
        "layer-incorrect-size",
        |layer| fs::write(layer.join("fs/file"), "longer").unwrap(),
        "its files have 6 bytes, not 1",
    ),
    ("layer-content-modified", |layer| fs::write(layer.join("fs/more"), "").unwrap(), "it has 2 entries, not 1"),
];

#[test]
fn an_image_with_a_damaged_layer_goes_with_its_names() {
    for (kind, damage, words) in DAMAGES {
        let store = store();
        assert_eq!(store.found(), "ok: 1 containers, 0 pods, 3 images, 4 layers\n");
        let (top, upon) = (store.upon.layers()[1].clone(), store.upon.id());
        let others = store.all_but(&[&top, &upon]);
        damage(&store.layer(&store.upon, 1));
        let line = format!("{kind} layer/{top}: {words}");
        assert_eq!(store.found(), format!("{line}\n"));
        let spread = format!("image-layer-missing image/{upon}: a layer of it is damaged: removed");
        let end = "ok: 1 containers, 0 pods, 2 images, 3 layers";
        assert_eq!(store.repair(&[]), (format!("{line}: removed\n{spread}\n{end}\n"), Some(0)), "{kind}");
        assert_eq!(store.found(), format!("{end}\n"));
        assert_eq!(names_in(&store.tree.path("image-name")), ["localhost"]);
        assert!(!store.layer(&store.upon, 1).exists());
        assert!(store.all_but(&[]) == others, "{kind}: all else is as it was");
    }
}

/// With the base go both images; what is upon it too.
#[test]
fn damage_spreads_up() {
    let store = store();
    fs::remove_dir_all(store.layer(&store.base, 0)).unwrap();
    let others = store.all_but(&[&store.base.layers()[0], &store.upon.layers()[1], &store.base.id(), &store.upon.id()]);
    let (said, status) = store.repair(&[]);
    let mut lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.pop(), Some("ok: 1 containers, 0 pods, 1 images, 2 layers"), "{said}");
    let due = [
        format!("layer-data-missing layer/{}: its directory is gone: removed", store.base.layers()[0]),
        format!("image-layer-missing image/{}: a layer of it is damaged: removed", store.base.id()),
        format!("image-layer-missing image/{}: a layer of it is damaged: removed", store.upon.id()),
        format!("layer-missing layer/{}: a layer below it is damaged: removed", store.upon.layers()[1]),
    ];
    assert_eq!(lines, due);
    assert_eq!(status, Some(0));
    assert!(store.all_but(&[]) == others);
}

#[test]
fn a_container_goes_by_force_only_and_never_while_it_is_mounted() {
    let store = store();
    let layer = store.apart.layers()[0].clone();
    store.tree.echo("1", "ctr/web/mounted").unwrap();
    fs::write(store.tree.path("ctr/web/rootfs/own"), "x").unwrap();
    let before = store.all_but(&[&layer]);
    fs::write(store.layer(&store.apart, 0).join("fs/file"), "").unwrap();
    let line = format!("layer-incorrect-size layer/{layer}: its files have 0 bytes, not 1");
    for force in [&[][..], &["--force"]] {
        assert_eq!(store.repair(force), (format!("{line}: stays: container web is mounted\n"), Some(1)));
        assert_eq!(store.found(), format!("{line}\n"));
        assert!(store.all_but(&[&layer]) == before, "it and what it needs stay");
    }
    store.tree.echo("running", "ctr/web/status").unwrap();
    assert!(store.repair(&["--force"]).0.ends_with(": stays: container web is running or paused\n"));
    store.tree.echo("exited", "ctr/web/status").unwrap();
    store.tree.echo("0", "ctr/web/mounted").unwrap();

    let stays = format!("{line}: needs --force: container web goes with it\n");
    assert_eq!(store.repair(&[]), (stays, Some(1)));
    assert_eq!(fs::read_to_string(store.tree.store.join("ctr").join(&store.ctr).join("upper/own")).unwrap(), "x");
    let (said, status) = store.repair(&["--force"]);
    let with_it = format!("container-image-missing ctr/{}: what it needs is damaged: removed\n", store.ctr);
    assert!(said.contains(&with_it), "{said}");
    assert!(said.ends_with("ok: 0 containers, 0 pods, 2 images, 2 layers\n"), "{said}");
    assert_eq!(status, Some(0));
    assert!(!store.tree.store.join("ctr").join(&store.ctr).exists(), "its own files go");
}

/// Somebody deleted what a container wrote.
#[test]
fn a_container_without_what_it_wrote() {
    let store = store();
    assert!(store.found().starts_with("ok"), "one that was never mounted has nothing");
    store.tree.echo("1", "ctr/web/mounted").unwrap();
    let own = store.tree.store.join("ctr").join(&store.ctr);
    fs::rename(own.join("upper"), store.tree.store.with_file_name("upper")).unwrap();
    let line = format!("container-data-missing ctr/{}: what it wrote is gone: it has no upper directory", store.ctr);
    assert_eq!(store.found(), format!("{line}\n"));
    assert_eq!(store.repair(&["--force"]), (format!("{line}: stays: container web is mounted\n"), Some(1)));
    store.tree.echo("0", "ctr/web/mounted").unwrap();
    assert_eq!(store.found(), format!("{line}\n"));
    assert_eq!(store.repair(&[]), (format!("{line}: needs --force\n"), Some(1)));
    let others = store.all_but(&[&store.ctr]);
    let end = "ok: 0 containers, 0 pods, 3 images, 3 layers\n";
    assert_eq!(store.repair(&["--force"]), (format!("{line}: removed\n{end}"), Some(0)));
    assert!(store.all_but(&[]) == others);
}

#[test]
fn directories_of_nothing_are_thrown_away() {
    let store = store();
    let others = store.all_but(&[]);
    let nobody = digest(b"nobody").id().to_string();
    let mut due = Vec::new();
    let nobody = nobody.as_str();
    for (dir, name) in ["layers", "ctr", "images"].into_iter().flat_map(|dir| [(dir, nobody), (dir, "no-id")]) {
        fs::create_dir_all(store.tree.store.join(dir).join(name).join("fs")).unwrap();
        due.push(format!("layer-unaccounted {dir}/{name}: a directory that the store does not know"));
    }
    due.sort_by_key(|line| (!line.contains(" layers/"), line.clone()));
    assert_eq!(store.found().lines().collect::<Vec<_>>(), due);
    let (said, status) = store.repair(&[]);
    let mut lines: Vec<&str> = said.lines().collect();
    assert!(lines.pop().unwrap().starts_with("ok: "), "{said}");
    assert_eq!(lines, due.iter().map(|line| format!("{line}: thrown away")).collect::<Vec<_>>());
    assert_eq!(status, Some(0));
    assert!(store.all_but(&[]) == others);
    assert_eq!(names_in(&store.tree.store.join("ctr")), [""; 0]);
}

#[test]
fn a_sound_store_is_left_alone() {
    let store = store();
    let before = store.all_but(&[]);
    let times = |tree: &Mounted| {
        ["ctr", "image", "layer", "image-name"].map(|dir| fs::metadata(tree.path(dir)).unwrap().modified().unwrap())
    };
    let changed = times(&store.tree);
    for force in [&[][..], &["--force"]] {
        assert_eq!(store.repair(force), ("ok: 1 containers, 0 pods, 3 images, 4 layers\n".to_owned(), Some(0)));
    }
    assert!(store.all_but(&[]) == before);
    assert_eq!(times(&store.tree), changed);
}

/// The order in `control`, as callers write it.
#[test]
fn a_repair_is_an_order_that_stands_alone() {
    let store = store();
    fs::create_dir(store.tree.store.join("layers/no-id")).unwrap();
    let line = "layer-unaccounted layers/no-id: a directory that the store does not know: thrown away\n";
    let said = store.tree.sh(&["bash"], "exec 3<>control; printf '{\"verb\":\"rep' >&3; echo 'air\"}' >&3; cat <&3");
    assert_eq!(text(&said), line, "in pieces");
    let said = store.tree.sh(&["bash"], "exec 3<>control; echo '{\"verb\":\"repair\",\"force\":true}' >&3; cat <&3");
    assert_eq!(text(&said), "", "there is nothing to do");
    for (order, words) in [
        ("{\"verb\":\"repair\",\"force\":1}\n", "\"force\" takes true or false"),
        ("{\"verb\":\"repair\",\"ctr\":\"web\"}\n", "\"ctr\" takes nothing: \"repair\" has force"),
        (
            "{\"verb\":\"repair\"}{\"verb\":\"remove\",\"ctr\":\"web\"}\n",
            "\"verb\" takes one that stands alone in its write",
        ),
        ("{\"verb\":\"repair\"}{\"verb\":\"repair\"}\n", "\"verb\" takes one that stands alone in its write"),
    ] {
        let mut control = fs::OpenOptions::new().write(true).open(store.tree.path("control")).unwrap();
        assert_eq!(errno(control.write(order.as_bytes())), Errno::EINVAL, "{order}");
        let refusal: serde_json::Value = serde_json::from_str(&store.tree.last_refusal()).unwrap();
        assert!(refusal["reason"].as_str().unwrap().contains(words), "{order}: {refusal}");
    }
    assert!(store.tree.path("ctr/web/config").exists());
}

#[test]
fn wrong_command_lines_and_places_are_refused() {
    let ctrfs = |arguments: &[&str], place: &Path| {
        let output = Command::new(CTRFS).arg("check").args(arguments).arg(place).output().unwrap();
        (text(&output), output.status.code().unwrap())
    };
    let tree = Mounted::new();
    let (said, status) = ctrfs(&["--force"], &tree.store);
    assert!(status == 2 && said.contains("--repair"), "{said}");
    assert_eq!(ctrfs(&["--mend"], &tree.store).1, 2);
    let scratch = Scratch::new();
    let (said, status) = ctrfs(&["--repair"], scratch.path());
    assert!(status == 1 && said.contains("no store there"), "{said}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is made");
    let (said, status) = ctrfs(&["--repair"], &scratch.path().join("nowhere"));
    assert!(status == 1 && said.contains("No such file"), "{said}");
    tree.unmount();
    // As whoever is about to mount it.
    let holder = ctrfs::daemon::store_lock::StoreLock::take(&tree.store, Path::new("")).unwrap();
    let in_use = format!("the store is in use by process {}", std::process::id());
    for arguments in [&[][..], &["--repair"]] {
        let (said, status) = ctrfs(arguments, &tree.store);
        assert!(status == 1 && said.contains(&in_use), "{said}");
    }
    drop(holder);
    assert_eq!(ctrfs(&["--repair"], &tree.store), ("ok: 0 containers, 0 pods, 0 images, 0 layers\n".to_owned(), 0));
}
