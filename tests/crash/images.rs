//! Images while servers and importers die, and while their records are damaged.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use ctrfs::model::record::Row;
use ctrfs::sys::lock::DirectoryLock;
use nix::errno::Errno;
use redb::{ReadableTable, WriteTransaction};

use crate::load::{Load, kill_at_random, kills};
use crate::rows::{
    CHILDREN, DIGESTS, DOCS, HELD, IDS, MOUNTED, PLACES, ROWS, TAG_DIRS, TAGGED, TAGS, USERS, edit, replace_row,
};
use crate::support::images::{Elsewhere, Image, Paths, create, names_in, staging_dir};
use crate::support::{CTRFS, Mounted, Random, errno, seed, text, wait_until};

pub(crate) const IMAGE: u8 = 2;
pub(crate) const LAYER: u8 = 3;
pub(crate) const UPON: &str = "quay.io/team/upon:v1";

fn layers_on_disk(tree: &Mounted) -> Vec<String> {
    names_in(&tree.store.join("layers"))
}

/// An importer whose server dies again and again: each image is made once, has its name, and its layers
/// lie where they belong.
#[test]
fn importers_do_not_notice_that_servers_are_killed() {
    let tree = Mounted::new();
    let mut random = Random(seed());
    let still = Image::new("still", &["a"]);
    still.import(&tree, &["still"]);
    let mut load = Load::new();
    for (n, words) in [&["a", "b"][..], &["a", "b", "c"], &["d"]].into_iter().enumerate() {
        let (image, view) = (Image::new(&n.to_string(), words), Elsewhere(tree.store.clone(), tree.at.clone()));
        load.spawn(&format!("importer {n}"), move |round| {
            let staging = format!("importer-{n}-{round}");
            let dir = staging_dir(view.store(), &staging);
            fs::create_dir(&dir).unwrap();
            let _lock = DirectoryLock::try_lock(&dir).unwrap().expect("nobody else has it");
            let name = format!("localhost/i{n}:{round}");
            // Somebody may remove the image that had a layer in between: then it is unpacked.
            let id = loop {
                match create(&view, &image.stage(&view, &staging, &[&name])) {
                    Ok(id) => break id,
                    Err(error) => assert_eq!(error.raw_os_error(), Some(Errno::EINVAL as i32), "{error}"),
                }
            };
            assert_eq!(id, image.id());
            let link = fs::read_link(view.at().join("image-name").join(&name)).unwrap();
            assert_eq!(link, Path::new("../../image").join(&id));
            fs::remove_dir_all(&dir).unwrap();
            fs::remove_dir(view.at().join("image").join(&id)).unwrap_or_else(|error| panic!("rmdir: {error}"));
            assert_eq!(errno(fs::symlink_metadata(view.at().join("image-name").join(&name))), Errno::ENOENT);
        });
    }
    for round in 0..kills(30) {
        load.must_go_on(&tree);
        kill_at_random(&tree, &mut random, round);
    }
    println!("{:?}", load.end());
    assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 1 images, 1 layers\n");
    tree.unmount();
    tree.mount();
    wait_until("what is left over is collected", || {
        layers_on_disk(&tree) == still.layers() && names_in(&tree.store.join("staging")).is_empty()
    });
    wait_until("the trash is emptied", || names_in(&tree.store.join("trash")).is_empty());
}

/// A server that has taken a layer over and dies before its commit leaves a directory that nothing
/// knows. It is rubbish, unless its importer lives and asks again.
#[test]
fn what_dead_servers_and_importers_leave_is_collected_and_what_living_ones_need_is_not() {
    let tree = Mounted::new();
    let (alive, dead) = (Image::new("alive", &["a"]), Image::new("dead", &["b"]));
    let document = alive.stage(&tree, "alive", &["alive"]);
    dead.stage(&tree, "dead", &["dead"]);
    let take_over = |image: &Image, staging: &str| {
        let layer = &image.layers()[0];
        fs::rename(staging_dir(&tree.store, staging).join(layer), tree.store.join("layers").join(layer)).unwrap();
    };
    take_over(&alive, "alive");
    let lock = DirectoryLock::try_lock(&staging_dir(&tree.store, "alive")).unwrap().unwrap();
    fs::create_dir_all(tree.store.join("ctr").join("0".repeat(64)).join("upper")).unwrap();
    fs::create_dir_all(tree.store.join("layers/no-id/fs")).unwrap();
    tree.kill_server();
    wait_until("what a dead importer staged goes", || names_in(&tree.store.join("staging")) == ["alive"]);
    wait_until("an upper of no container goes", || names_in(&tree.store.join("ctr")).is_empty());
    thread::sleep(Duration::from_millis(300));
    assert!(layers_on_disk(&tree).contains(&alive.layers()[0]), "its importer lives");
    assert_eq!(create(&tree, &document).unwrap(), alive.id());
    let repaired = tree.ctrfs(&["check", "--repair"]);
    let rubbish = "layer-unaccounted layers/no-id: a directory that the store does not know";
    assert_eq!(text(&repaired), format!("{rubbish}: stays: an import is under way\n"));
    assert_eq!(tree.read("check"), format!("{rubbish}\n"));

    drop(lock);
    dead.stage(&tree, "dead", &["dead"]);
    take_over(&dead, "dead");
    tree.kill_server();
    wait_until("a layer of nobody's goes", || layers_on_disk(&tree) == alive.layers());
    wait_until("the trash is emptied", || names_in(&tree.store.join("trash")).is_empty());
    assert_eq!(fs::read_to_string(tree.store.join("layers").join(&alive.layers()[0]).join("fs/file")).unwrap(), "a");
}

/// Two images, one upon the other's layer, with names, and a container.
pub(crate) struct Stack {
    pub(crate) tree: Mounted,
    pub(crate) base: Image,
    pub(crate) upon: Image,
    pub(crate) ctr: String,
}

pub(crate) fn stack() -> Stack {
    let (tree, base, upon) = (Mounted::new(), Image::new("base", &["a"]), Image::new("upon", &["a", "b"]));
    base.import(&tree, &["base"]);
    upon.import(&tree, &[UPON]);
    fs::write(tree.path("create/ctr"), "{\"name\":\"web\",\"image\":\"quay.io/team/upon:v1\"}\n").unwrap();
    let ctr = tree.id("web");
    tree.unmount();
    Stack { tree, base, upon, ctr }
}

/// The serials of what a stack has.
pub(crate) struct Serials {
    pub(crate) image: u64,
    pub(crate) bottom: u64,
    pub(crate) top: u64,
    pub(crate) own: u64,
    pub(crate) ctr: u64,
    pub(crate) tag: u64,
    pub(crate) tag_dir: u64,
    pub(crate) place: u64,
}

pub(crate) fn bytes(id: &str) -> [u8; 32] {
    std::array::from_fn(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap())
}

pub(crate) fn serials(stack: &Stack, txn: &WriteTransaction) -> Serials {
    let digests = txn.open_table(DIGESTS).unwrap();
    let content = |kind, id: &str| digests.get((kind, &bytes(id))).unwrap().expect("it is there").value();
    let image = content(IMAGE, &stack.upon.id());
    Serials {
        image,
        bottom: content(LAYER, &stack.upon.layers()[0]),
        top: content(LAYER, &stack.upon.layers()[1]),
        own: content(LAYER, &stack.ctr),
        ctr: txn.open_table(IDS).unwrap().get(&bytes(&stack.ctr)).unwrap().unwrap().value().1,
        tag: txn.open_table(TAGS).unwrap().get(UPON).unwrap().unwrap().value(),
        tag_dir: txn.open_table(TAG_DIRS).unwrap().get("quay.io/team").unwrap().unwrap().value(),
        place: txn.open_table(PLACES).unwrap().get((image, 1)).unwrap().unwrap().value(),
    }
}

/// What is done to a store, and what the check says of it.
pub(crate) type Damage = (&'static str, fn(&WriteTransaction, &Serials), &'static str);

pub(crate) fn change(txn: &WriteTransaction, serial: u64, change: fn(&mut Row)) {
    replace_row(txn, serial, |bytes| {
        let mut row: Row = postcard::from_bytes(&bytes).unwrap();
        change(&mut row);
        postcard::to_allocvec(&row).unwrap()
    });
}

pub(crate) const DAMAGES: &[Damage] = &[
    (
        "an ID that leads nowhere",
        |txn, _| txn.open_table(DIGESTS).unwrap().retain(|key, _| key.0 != IMAGE).unwrap(),
        "its ID does not lead to it",
    ),
    (
        "an ID that leads elsewhere",
        |txn, s| {
            let mut digests = txn.open_table(DIGESTS).unwrap();
            digests.insert((LAYER, &[7; 32]), s.image).unwrap();
        },
        "digests 0707",
    ),
    ("a name without a row", |txn, s| drop(txn.open_table(ROWS).unwrap().remove(s.tag).unwrap()), "is not this name's"),
    (
        "a name of no image",
        |txn, s| drop(txn.open_table(TAGGED).unwrap().remove((s.image, s.tag)).unwrap()),
        "image-name/quay.io/team/upon:v1: its image does not list it",
    ),
    (
        "a name that is listed twice",
        |txn, s| drop(txn.open_table(TAGGED).unwrap().insert((s.bottom, s.tag), ()).unwrap()),
        "lists no name",
    ),
    (
        "a name that is not listed",
        |txn, _| drop(txn.open_table(TAGS).unwrap().remove(UPON).unwrap()),
        "image-name/quay.io/team/upon:v1: does not lead to its image",
    ),
    (
        "names below nothing",
        |txn, _| drop(txn.open_table(TAG_DIRS).unwrap().remove("quay.io/team").unwrap()),
        "image-name/quay.io/team: a directory that is not listed",
    ),
    (
        "a directory below nothing",
        |txn, _| drop(txn.open_table(TAG_DIRS).unwrap().remove("quay.io").unwrap()),
        "image-name/quay.io: a directory that is not listed",
    ),
    (
        "a directory without a row",
        |txn, s| drop(txn.open_table(ROWS).unwrap().remove(s.tag_dir).unwrap()),
        "image-name/quay.io/team: row",
    ),
    (
        "a place without a row",
        |txn, s| drop(txn.open_table(ROWS).unwrap().remove(s.place).unwrap()),
        "is not this place's",
    ),
    (
        "a place that is not held",
        |txn, s| drop(txn.open_table(HELD).unwrap().remove((s.top, s.image)).unwrap()),
        "held ",
    ),
    (
        "a place of another layer",
        |txn, s| drop(txn.open_table(HELD).unwrap().insert((s.own, s.image), s.place).unwrap()),
        "no layer's place in an image",
    ),
    (
        "a position without a layer",
        |txn, s| drop(txn.open_table(PLACES).unwrap().remove((s.image, 0)).unwrap()),
        "places ",
    ),
    (
        "a layer that is not upon its parent",
        |txn, s| drop(txn.open_table(CHILDREN).unwrap().remove((s.bottom, s.top)).unwrap()),
        "the layer below does not list it",
    ),
    (
        "a layer upon a stranger",
        |txn, s| drop(txn.open_table(CHILDREN).unwrap().insert((s.top, s.bottom), ()).unwrap()),
        "no layer that is upon another",
    ),
    (
        "a layer without a base",
        |txn, s| {
            change(txn, s.top, |row| {
                if let Row::Layer(head) = row {
                    head.parent = None
                }
            })
        },
        "does not lie upon the one below",
    ),
    (
        "a layer without a diff-id",
        |txn, s| {
            change(txn, s.top, |row| {
                if let Row::Layer(head) = row {
                    head.diff_id = None
                }
            })
        },
        "it has no diff-id",
    ),
    (
        "a layer of another size",
        |txn, s| {
            change(txn, s.top, |row| {
                if let Row::Layer(head) = row {
                    head.size = 9
                }
            })
        },
        "its layers hold 10 bytes, not 2",
    ),
    (
        "a layer of another container",
        |txn, s| {
            change(txn, s.own, |row| {
                if let Row::Layer(head) = row {
                    head.owner = Some(1)
                }
            })
        },
        "it is not its container's",
    ),
    (
        "a layer that is gone",
        |txn, s| drop(txn.open_table(ROWS).unwrap().remove(s.own).unwrap()),
        "its layer is missing",
    ),
    (
        "a container that no image knows",
        |txn, s| drop(txn.open_table(USERS).unwrap().remove((s.image, s.ctr)).unwrap()),
        "its image does not list it",
    ),
    (
        "a container upon nothing",
        |txn, s| drop(txn.open_table(USERS).unwrap().insert((s.bottom, s.ctr), ()).unwrap()),
        "the container does not say so",
    ),
    (
        "a mount of nobody's",
        |txn, s| drop(txn.open_table(MOUNTED).unwrap().insert(s.ctr, ()).unwrap()),
        "no container that was asked to be",
    ),
    (
        "a mount that is not noted",
        |txn, s| {
            change(txn, s.ctr, |row| {
                if let Row::Ctr(head) = row {
                    head.mounted = true
                }
            })
        },
        "it was asked to be mounted and is not listed",
    ),
    (
        "an image without a manifest",
        |txn, s| drop(txn.open_table(DOCS).unwrap().remove((s.image, 2)).unwrap()),
        "its manifest is missing",
    ),
];

pub(crate) fn check(tree: &Mounted) -> String {
    text(&Command::new(CTRFS).arg("check").arg(&tree.store).output().unwrap())
}

#[test]
fn the_check_names_whatever_is_wrong_with_images() {
    let stack = stack();
    let database = stack.tree.store.join("ctrfs.redb");
    let sound = fs::read(&database).unwrap();
    assert_eq!(check(&stack.tree), "ok: 1 containers, 0 pods, 2 images, 3 layers\n");
    for (what, damage, words) in DAMAGES {
        edit(&stack.tree.store, |txn| damage(txn, &serials(&stack, txn)));
        let found = check(&stack.tree);
        assert!(found.contains(words), "{what}: {found}");
        fs::write(&database, &sound).unwrap();
    }
}

/// A row of a stack.
type Part = (&'static str, fn(&Serials) -> u64);

/// The rows of a stack, each of which may be damaged.
const PARTS: [Part; 8] = [
    ("image", |s| s.image),
    ("bottom layer", |s| s.bottom),
    ("top layer", |s| s.top),
    ("container's layer", |s| s.own),
    ("container", |s| s.ctr),
    ("name", |s| s.tag),
    ("directory of names", |s| s.tag_dir),
    ("place", |s| s.place),
];

/// Whatever row is damaged: the store starts, lists, and everything can be removed.
#[test]
fn a_damaged_row_goes_with_its_object() {
    let stack = stack();
    let Stack { tree, base, upon, ctr } = &stack;
    let database = tree.store.join("ctrfs.redb");
    let sound = fs::read(&database).unwrap();
    for (what, row) in PARTS {
        fs::write(&database, &sound).unwrap();
        for layer in upon.layers() {
            fs::create_dir_all(tree.store.join("layers").join(layer).join("fs")).unwrap();
        }
        edit(&tree.store, |txn| replace_row(txn, row(&serials(&stack, txn)), |_| vec![0xff; 40]));
        let found = check(tree);
        assert!(found.contains("does not decode"), "{what}: {found}");
        tree.mount();
        assert_eq!(tree.read("check"), found, "{what}");
        assert_eq!(names_in(&tree.path("image")).len(), 2, "{what}");
        assert_eq!(names_in(&tree.path("layer")).len(), 3, "{what}");
        assert_eq!(tree.read("table/image").lines().count(), 3, "{what}");
        assert_eq!(tree.read("table/ctr").lines().count(), 2, "{what}");
        assert_eq!(tree.read(&format!("image/{}/names", base.id())), "localhost/base:latest\n");
        assert_eq!(tree.read(&format!("image/{}/names", upon.id())), format!("{UPON}\n"), "{what}");
        assert_eq!(names_in(&tree.path(&format!("image/{}/layers", upon.id()))).len(), 2, "{what}");
        let remove = |path: &str| {
            let removed = fs::remove_dir(tree.path(path));
            removed.unwrap_or_else(|error| panic!("{what}: rmdir {path}: {error}: {}", tree.last_refusal()));
        };
        assert_eq!(errno(fs::remove_dir(tree.path(&format!("image/{}", upon.id())))), Errno::EBUSY, "{what}");
        remove(&format!("ctr/{ctr}"));
        remove(&format!("image/{}", upon.id()));
        remove(&format!("image/{}", base.id()));
        assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 0 images, 0 layers\n", "{what}");
        assert_eq!(names_in(&tree.path("image-name")), [""; 0], "{what}");
        assert_eq!(layers_on_disk(tree), [""; 0], "{what}");
        tree.unmount();
    }
}
