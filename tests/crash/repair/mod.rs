//! Damage of every kind: planted, found by name, repaired, found gone; and all else is as it was.

mod company;
mod few;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use ctrfs::driver::hash::digest;
use ctrfs::model::record::Row;
use redb::{ReadableTable, WriteTransaction};

use crate::images::{DAMAGES, IMAGE, LAYER, Stack, bytes, serials, stack};
use crate::rows::{DIGESTS, DOCS, HELD, META, OBJECTS, PLACES, ROWS, dump, edit, replace_row, serial};
use crate::support::images::{Image, names_in};
use crate::support::{CTRFS, Mounted, Random, is_mounted, kill, mountinfo, seed, text, wait_until};

/// What `ctrfs check` says and exits with.
fn check(tree: &Mounted, arguments: &[&str]) -> (String, i32) {
    let output = Command::new(CTRFS).arg("check").args(arguments).arg(&tree.store).output().unwrap();
    (text(&output), output.status.code().unwrap())
}

fn says(said: &str, line: &str) {
    assert!(said.lines().any(|own| own == line), "no line {line:?} in:\n{said}");
}

/// The files of a store and of what lies beside it, but for what the database itself is kept in.
fn files(store: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, dir: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                into.insert(name, vec![]);
                walk(root, &path, into);
            } else {
                into.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    for dir in ["layers", "ctr", "images"] {
        walk(store, &store.join(dir), &mut all);
    }
    all
}

/// The rows that two stores do not share.
fn differences(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().filter(|key| one.get(*key) != other.get(*key)).cloned().collect()
}

/// Damages of a stack after which something cannot be as it was: what repair needs, and how many
/// containers, images and layers are left.
const LOSSES: [(&str, &str, [usize; 3]); 3] = [
    ("a layer without a diff-id", "it has no diff-id: needs --force: container web goes with it", [0, 1, 1]),
    ("a layer of another size", "its files have 1 bytes, not 9: needs --force: container web goes with it", [0, 1, 1]),
    ("an image without a manifest", "its manifest is missing: needs --force: container web goes with it", [0, 1, 1]),
];

#[test]
fn rows_of_images_are_repaired() {
    let stack = stack();
    let tree = &stack.tree;
    let database = tree.store.join("ctrfs.redb");
    let (sound, rows, beside) = (fs::read(&database).unwrap(), dump(&tree.store), files(&tree.store));
    let layers = tree.store.join("layers");
    let kept = tree.store.with_file_name("kept");
    copy(&layers, &kept);
    for (what, damage, words) in DAMAGES {
        edit(&tree.store, |txn| damage(txn, &serials(&stack, txn)));
        let found = check(tree, &[]).0;
        assert!(found.contains(words), "{what}: {found}");
        let (said, status) = check(tree, &["--repair"]);
        match LOSSES.iter().find(|(name, ..)| name == what) {
            None => {
                assert!(
                    status == 0 && said.ends_with("ok: 1 containers, 0 pods, 2 images, 3 layers\n"),
                    "{what}: {said}"
                );
                assert!(said.lines().rev().skip(1).all(|line| line.ends_with(": mended")), "{what}: {said}");
                let after = differences(&rows, &dump(&tree.store));
                // When a directory of names changed last is lost with its row.
                let mended = after.iter().filter(|key| !(what.starts_with("a directory") && key.starts_with("rows")));
                let mended: Vec<_> = mended.collect();
                assert!(mended.is_empty(), "{what}: {mended:?}");
                assert!(files(&tree.store) == beside, "{what}: files changed");
            }
            Some((_, stays, left)) => {
                assert_eq!(status, 1, "{what}: {said}");
                assert!(said.contains(stays), "{what}: {said}");
                assert!(files(&tree.store) == beside, "{what}: files of what stays changed");
                let (said, status) = check(tree, &["--repair", "--force"]);
                let [ctrs, images, layered] = left;
                let end = format!("ok: {ctrs} containers, 0 pods, {images} images, {layered} layers\n");
                assert!(status == 0 && said.ends_with(&end), "{what}: {said}");
                assert!(said.contains(&format!("container-image-missing ctr/{}: ", stack.ctr)), "{what}: {said}");
                others_are_as_they_were(&stack, &rows, what);
                fs::remove_dir_all(&layers).unwrap();
                copy(&kept, &layers);
            }
        }
        fs::write(&database, &sound).unwrap();
    }
}

/// Of the image that has nothing to do with the damage, no row but the lists of who uses its layer.
fn others_are_as_they_were(stack: &Stack, rows: &BTreeMap<String, String>, what: &str) {
    let after = dump(&stack.tree.store);
    let (image, layer) = edit(&stack.tree.store, |txn| {
        let digests = txn.open_table(DIGESTS).unwrap();
        let of = |kind, id: &str| digests.get((kind, &bytes(id))).unwrap().expect("it is left").value();
        (of(IMAGE, &stack.base.id()), of(LAYER, &stack.base.layers()[0]))
    });
    let mut own = 0;
    for (key, value) in rows {
        let is_its = [format!("rows {image}"), format!("docs ({image}, 0)"), format!("docs ({image}, 2)")]
            .contains(key)
            || key.starts_with(&format!("places ({image}, "))
            || key.starts_with(&format!("tagged ({image}, "))
            || *key == format!("held ({layer}, {image})")
            || key.starts_with("tags \"localhost/base");
        own += usize::from(is_its);
        assert!(!is_its || after.get(key) == Some(value), "{what}: {key}");
    }
    assert_eq!(own, 7, "{what}");
    assert_eq!(fs::read(stack.tree.store.join("layers").join(&stack.base.layers()[0]).join("fs/file")).unwrap(), b"a");
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).output().unwrap();
    assert!(copied.status.success(), "{}", text(&copied));
}

fn change(txn: &WriteTransaction, serial: u64, change: fn(&mut Row)) {
    replace_row(txn, serial, |bytes| {
        let mut row: Row = postcard::from_bytes(&bytes).unwrap();
        change(&mut row);
        postcard::to_allocvec(&row).unwrap()
    });
}

/// Of a layer that is gone with its row: what is upon it cannot be.
#[test]
fn a_layer_that_is_not_there_takes_along_what_is_upon_it() {
    let stack = stack();
    let tree = &stack.tree;
    tree.mount();
    fs::remove_dir(tree.path("ctr/".to_owned().as_str()).join(&stack.ctr)).unwrap();
    tree.unmount();
    edit(&tree.store, |txn| {
        let bottom = serials_of_layers(&stack, txn)[0];
        txn.open_table(ROWS).unwrap().remove(bottom).unwrap();
    });
    let found = check(tree, &[]).0;
    assert!(
        found.contains(&format!("layer-missing layer/{}: the layer below it, #", stack.upon.layers()[1])),
        "{found}"
    );
    for image in [&stack.base, &stack.upon] {
        says(&found, &format!("image-layer-missing image/{}: its layer 0 is not in the store", image.id()));
    }
    let (said, status) = check(tree, &["--repair"]);
    assert!(status == 0 && said.ends_with("ok: 0 containers, 0 pods, 0 images, 0 layers\n"), "{said}");
    assert_eq!(names_in(&tree.store.join("layers")), [""; 0], "their directories go");
}

fn serials_of_layers(stack: &Stack, txn: &WriteTransaction) -> Vec<u64> {
    let digests = txn.open_table(DIGESTS).unwrap();
    stack.upon.layers().iter().map(|id| digests.get((LAYER, &bytes(id))).unwrap().unwrap().value()).collect()
}

#[test]
fn a_layer_that_nothing_needs_goes() {
    let stack = stack();
    let tree = &stack.tree;
    let lonely = digest(b"lonely").id().to_string();
    fs::create_dir_all(tree.store.join("layers").join(&lonely).join("fs")).unwrap();
    let rows = dump(&tree.store);
    edit(&tree.store, |txn| {
        let top = serials_of_layers(&stack, txn)[1];
        let mut row: Row =
            postcard::from_bytes(txn.open_table(ROWS).unwrap().get(top).unwrap().unwrap().value()).unwrap();
        let Row::Layer(head) = &mut row else { panic!("a layer") };
        (head.id, head.parent, head.size, head.entries) = (bytes(&lonely), None, 0, 0);
        let next =
            u64::from_le_bytes(txn.open_table(META).unwrap().get("next").unwrap().unwrap().value().try_into().unwrap());
        txn.open_table(META).unwrap().insert("next", (next + 1).to_le_bytes().as_slice()).unwrap();
        txn.open_table(ROWS).unwrap().insert(next, postcard::to_allocvec(&row).unwrap().as_slice()).unwrap();
        txn.open_table(DIGESTS).unwrap().insert((LAYER, &bytes(&lonely)), next).unwrap();
        txn.open_table(OBJECTS).unwrap().insert((LAYER, next), &bytes(&lonely)).unwrap();
    });
    assert_eq!(check(tree, &[]).0, format!("layer-unreferenced layer/{lonely}: no image has it\n"));
    let (said, _) = check(tree, &["--repair"]);
    let done = format!("layer-unreferenced layer/{lonely}: no image has it: removed\n");
    assert_eq!(said, done + "ok: 1 containers, 0 pods, 2 images, 3 layers\n");
    assert_eq!(differences(&rows, &dump(&tree.store)), [""; 0]);
    assert!(!tree.store.join("layers").join(&lonely).exists());
}

/// Of a layer's record the digest, which is no document of its own.
#[test]
fn a_record_without_a_whole_digest_is_forgotten() {
    let stack = stack();
    let tree = &stack.tree;
    let rows = dump(&tree.store);
    edit(&tree.store, |txn| {
        let top = serials_of_layers(&stack, txn)[1];
        txn.open_table(DOCS).unwrap().insert((top, 4), [7; 31].as_slice()).unwrap();
    });
    let line = format!("structure layer/{}: its record's digest has 31 bytes", stack.upon.layers()[1]);
    assert_eq!(check(tree, &[]), (format!("{line}\n"), 1));
    let end = "ok: 1 containers, 0 pods, 2 images, 3 layers\n";
    assert_eq!(check(tree, &["--repair"]), (format!("{line}: mended\n{end}"), 0));
    assert_eq!(differences(&rows, &dump(&tree.store)), [""; 0]);
    // A digest goes with its layer; the record is looked for, and is not there.
    edit(&tree.store, |txn| {
        let top = serials_of_layers(&stack, txn)[1];
        txn.open_table(DOCS).unwrap().insert((top, 4), [7; 32].as_slice()).unwrap();
    });
    let line = format!("layer-data-missing layer/{}: its record is gone", stack.upon.layers()[1]);
    assert_eq!(check(tree, &[]), (format!("{line}\n"), 1));
    let said = check(tree, &["--repair", "--force"]);
    assert!(said.0.starts_with(&format!("{line}: removed\n")) && said.1 == 0, "{}", said.0);
}

/// How an image's document is damaged, which of them, and what the check says.
type Data = (u8, fn(&mut Vec<u8>), &'static str, &'static str);

const DATA: [Data; 4] = [
    (0, |bytes| bytes.push(b' '), "image-data-incorrect-size", "its config has "),
    (2, |bytes| bytes.push(b' '), "image-data-incorrect-size", "its manifest has "),
    (0, |bytes| bytes[2] ^= 1, "image-data-modified", "the digest of its config is another"),
    (2, |bytes| another_digest(bytes), "image-data-modified", "its manifest does not name its config"),
];

fn another_digest(manifest: &mut [u8]) {
    let begin = manifest.windows(7).position(|part| part == b"sha256:").unwrap() + 7;
    manifest[begin] = if manifest[begin] == b'0' { b'1' } else { b'0' };
}

#[test]
fn an_image_whose_documents_are_not_its_own_goes() {
    let tree = Mounted::new();
    let (bad, good) = (Image::new("bad", &["a"]), Image::new("good", &["a", "b"]));
    bad.import(&tree, &["bad"]);
    good.import(&tree, &["good"]);
    tree.unmount();
    let database = tree.store.join("ctrfs.redb");
    let sound = fs::read(&database).unwrap();
    for (doc, damage, kind, words) in DATA {
        edit(&tree.store, |txn| {
            let image = txn.open_table(DIGESTS).unwrap().get((IMAGE, &bytes(&bad.id()))).unwrap().unwrap().value();
            let mut bytes = txn.open_table(DOCS).unwrap().get((image, doc)).unwrap().unwrap().value().to_vec();
            damage(&mut bytes);
            txn.open_table(DOCS).unwrap().insert((image, doc), bytes.as_slice()).unwrap();
        });
        let begin = format!("{kind} image/{}: {words}", bad.id());
        let found = check(&tree, &[]).0;
        assert!(found.starts_with(&begin) && found.lines().count() == 1, "{found}");
        let (said, status) = check(&tree, &["--repair"]);
        assert!(
            said.starts_with(&begin) && said.contains(": removed\nok: 0 containers, 0 pods, 1 images, 2 layers"),
            "{said}"
        );
        assert_eq!(status, 0);
        tree.mount();
        assert_eq!(names_in(&tree.path("image-name/localhost")), ["good:latest"]);
        tree.unmount();
        fs::write(&database, &sound).unwrap();
    }
}

/// A container whose image is not in the store any more goes by force only.
#[test]
fn a_container_without_its_image_stays_unless_forced() {
    let stack = stack();
    let tree = &stack.tree;
    edit(&tree.store, |txn| {
        let image = serials(&stack, txn).image;
        txn.open_table(ROWS).unwrap().remove(image).unwrap();
        txn.open_table(PLACES).unwrap().retain(|(of, _), _| of != image).unwrap();
        txn.open_table(HELD).unwrap().retain(|(_, of), _| of != image).unwrap();
    });
    let begin = format!("container-image-missing ctr/{}: its image, #", stack.ctr);
    assert!(check(tree, &[]).0.contains(&begin));
    let (said, status) = check(tree, &["--repair"]);
    assert!(said.contains(&begin) && said.contains(" is not in the store: needs --force\n"), "{said}");
    assert_eq!(status, 1);
    let (left, _) = check(tree, &[]);
    assert!(left.starts_with(&begin) && left.lines().count() == 1, "exactly what needs force: {left}");
    let (said, status) = check(tree, &["--repair", "--force"]);
    assert!(said.contains(&begin) && said.ends_with("ok: 0 containers, 0 pods, 1 images, 1 layers\n"), "{said}");
    assert_eq!(status, 0);
}

/// A store whose layers, documents and rows are damaged, some of it under a mounted container.
fn battered() -> (Mounted, Vec<Image>) {
    let tree = Mounted::new();
    let images: Vec<Image> = (0..8)
        .map(|n| Image::new(&n.to_string(), [&["a", "b"][..], &["a", "c"], &["d"], &["e", "f"]][n % 4]))
        .collect();
    for (n, image) in images.iter().enumerate() {
        image.import(&tree, &[&format!("i{n}")]);
    }
    (tree, images)
}

fn batter(tree: &Mounted, images: &[Image]) {
    for image in &images[1..3] {
        fs::remove_dir_all(tree.store.join("layers").join(image.layers().last().unwrap())).unwrap();
    }
    let top = tree.store.join("layers").join(&images[3].layers()[1]).join("fs");
    fs::write(top.join("file"), "longer").unwrap();
    for n in 0..5u8 {
        let id = digest(&[n]).id().to_string();
        fs::create_dir_all(tree.store.join("layers").join(&id).join("fs")).unwrap();
        fs::create_dir_all(tree.store.join("ctr").join(id).join("upper")).unwrap();
    }
}

/// What is left of a battered store: two images of the same layers.
const MENDED: &str = "ok: 0 containers, 0 pods, 2 images, 2 layers\n";

#[test]
fn a_repair_whose_server_is_killed_ends_well() {
    let mut random = Random(seed());
    let (tree, images) = battered();
    batter(&tree, &images);
    let mut order = Command::new(CTRFS);
    let order = order.args(["check", "--repair"]).arg(&tree.at).stdout(Stdio::piped()).stderr(Stdio::piped());
    for round in 0..8 {
        let repair = order.spawn().unwrap();
        thread::sleep(Duration::from_micros(random.next() % 40_000));
        tree.kill_server();
        let said = repair.wait_with_output().unwrap();
        // The request is sent to the next server.
        assert!(said.status.success(), "round {round}: {}", text(&said));
        assert!(text(&said).ends_with(MENDED), "round {round}: {}", text(&said));
        assert_eq!(tree.read("check"), MENDED, "round {round}");
        for n in (1..4).flat_map(|n| [n, n + 4]) {
            images[n].import(&tree, &[&format!("i{n}")]);
        }
        batter(&tree, &images);
    }
    assert!(tree.ctrfs(&["check", "--repair"]).status.success());
    wait_until("the trash is emptied", || names_in(&tree.store.join("trash")).is_empty());
}

#[test]
fn a_repair_that_is_killed_is_done_again() {
    let mut random = Random(seed());
    let (tree, images) = battered();
    tree.unmount();
    let kept = tree.store.with_file_name("kept");
    copy(&tree.store, &kept);
    for round in 0..8 {
        fs::remove_dir_all(&tree.store).unwrap();
        copy(&kept, &tree.store);
        batter(&tree, &images);
        let mut repair = Command::new(CTRFS);
        let mut repair = repair.args(["check", "--repair"]).arg(&tree.store).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_micros(random.next() % 40_000));
        kill(repair.id());
        repair.wait().unwrap();
        let (said, status) = check(&tree, &["--repair"]);
        assert!(status == 0 && said.ends_with(MENDED), "round {round}: {said}");
        let mut due = images[0].layers();
        due.sort();
        assert_eq!(names_in(&tree.store.join("layers")), due, "round {round}");
        assert_eq!(names_in(&tree.store.join("trash")), [""; 0], "round {round}");
    }
}

/// One of a thousand is damaged: the others are not touched, nor is anything mounted or unmounted.
#[test]
fn of_a_thousand_one_is_repaired() {
    let tree = Mounted::new();
    let document = |n: usize| format!("{{\"name\":\"c{n}\"}}\n");
    fs::write(tree.path("create/ctr"), (0..1000).map(document).collect::<String>()).unwrap();
    let bad = tree.id("c500");
    tree.unmount();
    edit(&tree.store, |txn| {
        let bad = serial(txn, &bad);
        replace_row(txn, bad, |_| vec![0xff; 40]);
    });
    let rows = dump(&tree.store);
    let number = edit(&tree.store, |txn| serial(txn, &bad));
    tree.mount();
    let mounts = || {
        let own = [tree.at.to_str().unwrap().to_owned(), tree.read("runtime-config/run-root").trim_end().to_owned()];
        let is_own = |line: &&str| own.iter().any(|path| line.contains(path));
        mountinfo().lines().filter(is_own).map(str::to_owned).collect::<Vec<_>>()
    };
    let mounted = mounts();
    assert_eq!(mounted.len(), 2);
    let found = tree.read("check");
    assert!(found.starts_with(&format!("structure ctr/{bad}: row {number} does not decode: ")), "{found}");
    let said = tree.ctrfs(&["check", "--repair"]);
    assert!(said.status.code() == Some(1) && text(&said).ends_with(": needs --force\n"), "{}", text(&said));
    assert_eq!(tree.read("check"), found);
    let said = tree.ctrfs(&["check", "--repair", "--force"]);
    assert!(text(&said).ends_with("ok: 999 containers, 0 pods, 0 images, 0 layers\n"), "{}", text(&said));
    assert_eq!(mounts(), mounted, "nothing was mounted or unmounted");
    assert!(is_mounted(&tree.at) && !tree.path("name/c500").exists());
    tree.unmount();
    let changed = differences(&rows, &dump(&tree.store));
    let is_its = |key: &String| {
        key.contains(&format!("ids {:?}", bytes(&bad)))
            || *key == "names \"c500\""
            || [format!("rows {number}"), format!("rows {}", number + 1)].contains(key)
            || key.starts_with(&format!("docs ({number}, "))
            || *key == format!("objects (0, {number})")
    };
    assert!(changed.iter().all(is_its), "{changed:?}");
    assert_eq!(changed.len(), 7, "{changed:?}");
}
