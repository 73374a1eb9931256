//! Damage to what few objects have: further names, metadata, flags, items, a pod's ID, exit codes.

use std::fs;

use ctrfs::model::record::{Item, Kind, More, Row};
use redb::{ReadableTable, WriteTransaction};

use super::{change, check, differences};
use crate::images::{IMAGE, bytes};
use crate::rows::{
    DATA, DIGESTS, DOCS, EXITED, FLAGS, INFRA, ITEMS, META, MORE, NAMES, ROWS, dump, edit, infra, replace_row, serial,
};
use crate::support::Mounted;
use crate::support::images::{Image, names_in};

/// A store that has some of everything.
struct Furnished {
    tree: Mounted,
    web: String,
    pod: String,
    gone: String,
    image: String,
}

/// The serials of what is in it.
struct Serials {
    web: u64,
    infra: u64,
    pod: u64,
    image: u64,
    flag: u64,
    item: u64,
    exited: u64,
    further: u64,
    next: u64,
}

const SOUND: &str = "ok: 3 containers, 1 pods, 1 images, 2 layers\n";

fn furnished() -> Furnished {
    let tree = Mounted::new();
    let image = Image::new("pause", &["base"]);
    image.import(&tree, &["pause"]);
    let pod = "ab".repeat(32);
    let sandbox = format!(r#"{{"podName":"p","podID":"{pod}","imageName":"pause","containerName":"i"}}"#);
    fs::write(tree.path("create/sandbox"), sandbox + "\n").unwrap();
    fs::write(tree.path("create/ctr"), "{\"name\":\"member\",\"pod\":\"p\"}\n").unwrap();
    let (web, gone) = (tree.make("web"), tree.make("gone"));
    fs::write(tree.path("ctr/web/names"), "web\nsecond\nthird\n").unwrap();
    fs::write(tree.path("ctr/web/metadata"), "text").unwrap();
    fs::write(tree.path("ctr/web/uidmap"), "0 1000 1\n").unwrap();
    fs::write(tree.path("ctr/web/flags/a"), "1\n").unwrap();
    fs::write(tree.path("ctr/web/flags/b"), "2\n").unwrap();
    for (key, content) in [("a", "aaaa"), ("b", "bb"), ("empty", "")] {
        fs::write(tree.path("ctr/web/data").join(key), content).unwrap();
    }
    fs::write(tree.path(&format!("image/{}/data/note", image.id())), "noted").unwrap();
    tree.echo("7", "ctr/gone/exit-code").unwrap();
    fs::remove_file(tree.path("ctr/gone")).unwrap();
    assert_eq!(tree.read("check"), SOUND);
    tree.unmount();
    Furnished { tree, web, pod, gone, image: image.id() }
}

impl Furnished {
    fn serials(&self, txn: &WriteTransaction) -> Serials {
        let web = serial(txn, &self.web);
        let next = txn.open_table(META).unwrap().get("next").unwrap().unwrap().value().try_into().unwrap();
        Serials {
            web,
            infra: infra(txn, &self.pod),
            pod: serial(txn, &self.pod),
            image: txn.open_table(DIGESTS).unwrap().get((IMAGE, &bytes(&self.image))).unwrap().unwrap().value(),
            flag: txn.open_table(FLAGS).unwrap().get((web, "a")).unwrap().unwrap().value(),
            item: txn.open_table(ITEMS).unwrap().get((web, "a")).unwrap().unwrap().value(),
            exited: txn.open_table(EXITED).unwrap().get(&bytes(&self.gone)).unwrap().unwrap().value(),
            further: txn.open_table(NAMES).unwrap().get("second").unwrap().unwrap().value(),
            next: u64::from_le_bytes(next),
        }
    }
}

/// What is done to a store, what the check says of it, and the entries that are others afterwards.
type Damage =
    (&'static str, fn(&WriteTransaction, &Serials, &Furnished), &'static str, fn(&Serials, &Furnished) -> Vec<String>);

fn drop_row(txn: &WriteTransaction, serial: u64) {
    txn.open_table(ROWS).unwrap().remove(serial).unwrap().expect("it was there");
}

fn put_row(txn: &WriteTransaction, serial: u64, row: &Row) {
    txn.open_table(ROWS).unwrap().insert(serial, postcard::to_allocvec(row).unwrap().as_slice()).unwrap();
    txn.open_table(META).unwrap().insert("next", (serial + 1).to_le_bytes().as_slice()).unwrap();
}

fn change_more(txn: &WriteTransaction, ctr: u64, change: impl FnOnce(&mut More)) {
    let mut table = txn.open_table(MORE).unwrap();
    let old = table.get(ctr).unwrap().map(|bytes| postcard::from_bytes(bytes.value()).unwrap());
    let mut more: More = old.unwrap_or_default();
    change(&mut more);
    table.insert(ctr, postcard::to_allocvec(&more).unwrap().as_slice()).unwrap();
}

fn nothing(_: &Serials, _: &Furnished) -> Vec<String> {
    vec![]
}

const FEW: &[Damage] = &[
    (
        "an item that is not listed",
        |txn, s, _| drop(txn.open_table(ITEMS).unwrap().remove((s.web, "a")).unwrap()),
        "/data/a: an item that is not listed",
        nothing,
    ),
    (
        "an item of nobody's",
        |txn, _, _| drop(txn.open_table(ITEMS).unwrap().insert((1 << 40, "x"), 1 << 41).unwrap()),
        "/data/x: row 2199023255552 is not this item's",
        nothing,
    ),
    (
        "an item of an object that is gone",
        |txn, s, _| {
            let key = "left".to_owned();
            let item = Item { kind: Kind::Ctr, owner: 1 << 40, key, file: 0, size: 0, digest: [0; 32], changed: 0 };
            put_row(txn, s.next, &Row::Item(item));
            txn.open_table(ITEMS).unwrap().insert((1 << 40, "left"), s.next).unwrap();
        },
        ": an item of no object",
        nothing,
    ),
    (
        "an item of another kind of object",
        |txn, s, _| {
            change(txn, s.item, |row| {
                if let Row::Item(item) = row {
                    item.kind = Kind::Image;
                }
            });
        },
        "/data/a: row",
        |s, _| vec![format!("items ({}, \"a\")", s.web), format!("rows {}", s.item)],
    ),
    (
        "an item without a row",
        |txn, s, _| drop_row(txn, s.item),
        "/data/a: row",
        |s, _| vec![format!("items ({}, \"a\")", s.web), format!("rows {}", s.item)],
    ),
    (
        "an item whose row does not decode",
        |txn, s, _| replace_row(txn, s.item, |_| vec![0xff; 9]),
        "does not decode",
        |s, _| vec![format!("items ({}, \"a\")", s.web), format!("rows {}", s.item)],
    ),
    (
        "changes of nobody's items",
        |txn, _, _| drop(txn.open_table(DATA).unwrap().insert(1 << 40, 1).unwrap()),
        "there is no such container or image",
        nothing,
    ),
    (
        "a flag that is not listed",
        |txn, s, _| drop(txn.open_table(FLAGS).unwrap().remove((s.web, "a")).unwrap()),
        "/flags/a: a flag that is not listed",
        nothing,
    ),
    (
        "a flag of nobody's",
        |txn, s, _| {
            let flag = Row::Flag { ctr: 1 << 40, name: "x".to_owned(), value: "1\n".to_owned(), changed: 1 };
            put_row(txn, s.next, &flag);
            txn.open_table(FLAGS).unwrap().insert((1 << 40, "x"), s.next).unwrap();
        },
        "/flags/x: no flag of a container",
        nothing,
    ),
    (
        "a flag without a row",
        |txn, s, _| drop_row(txn, s.flag),
        "/flags/a: no flag of a container",
        |s, _| vec![format!("flags ({}, \"a\")", s.web), format!("rows {}", s.flag)],
    ),
    (
        "a flag whose row does not decode",
        |txn, s, _| replace_row(txn, s.flag, |_| vec![0xff; 9]),
        "does not decode",
        |s, _| vec![format!("flags ({}, \"a\")", s.web), format!("rows {}", s.flag)],
    ),
    (
        "a container's row of what few have that does not decode",
        |txn, s, _| drop(txn.open_table(MORE).unwrap().insert(s.web, [0xff; 9].as_slice()).unwrap()),
        " does not decode: ",
        |s, _| vec![format!("docs ({}, 3)", s.web), format!("more {}", s.web)],
    ),
    (
        "such a row of nobody's",
        |txn, _, _| change_more(txn, 1 << 40, |more| more.volatile = true),
        "structure more 1099511627776: there is no such container",
        nothing,
    ),
    (
        "such a row of nobody's that does not decode",
        |txn, _, _| drop(txn.open_table(MORE).unwrap().insert(1 << 40, [0xff; 9].as_slice()).unwrap()),
        "structure more 1099511627776: there is no such container, and it does not decode",
        nothing,
    ),
    (
        "a further name lost",
        |txn, _, _| drop(txn.open_table(NAMES).unwrap().remove("second").unwrap()),
        "structure names second: does not lead to the object of that name",
        nothing,
    ),
    ("a further name without a row", |txn, s, _| drop_row(txn, s.further), "does not lead to its object", nothing),
    (
        "a further name whose row does not decode",
        |txn, s, _| replace_row(txn, s.further, |_| vec![0xff; 9]),
        "does not decode",
        nothing,
    ),
    (
        "a further name of which nothing is left",
        |txn, s, _| {
            drop_row(txn, s.further);
            txn.open_table(NAMES).unwrap().remove("second").unwrap();
        },
        ": the name second is not bound to it",
        |s, _| vec!["names \"second\"".to_owned(), format!("rows {}", s.further), format!("rows {}", s.next)],
    ),
    (
        "a further name that is another's",
        |txn, s, _| change_more(txn, s.web, |more| more.names.insert(1, "member".to_owned())),
        ": its further name member is not its own",
        nothing,
    ),
    (
        "a further name that it has already",
        |txn, s, _| change_more(txn, s.web, |more| more.names.push("web".to_owned())),
        ": its further name web is not its own",
        nothing,
    ),
    (
        "metadata that is gone",
        |txn, s, _| drop(txn.open_table(DOCS).unwrap().remove((s.web, 3)).unwrap()),
        ": its metadata is missing",
        |s, _| vec![format!("docs ({}, 3)", s.web), format!("more {}", s.web)],
    ),
    (
        "metadata of another length",
        |txn, s, _| change_more(txn, s.web, |more| more.metadata.size = 9),
        ": its metadata has 4 bytes, not 9",
        nothing,
    ),
    (
        "metadata of a pod",
        |txn, s, _| drop(txn.open_table(DOCS).unwrap().insert((s.pod, 3), b"x".as_slice()).unwrap()),
        "a document of no object",
        nothing,
    ),
    (
        "metadata of an image",
        |txn, s, _| drop(txn.open_table(DOCS).unwrap().insert((s.image, 3), b"x".as_slice()).unwrap()),
        "a document of no object",
        nothing,
    ),
    (
        "a pod's ID that does not lead to its infra container",
        |txn, _, f| drop(txn.open_table(INFRA).unwrap().remove(&bytes(&f.pod)).unwrap()),
        ": its ID does not lead to it",
        nothing,
    ),
    (
        "a pod's ID that leads to the pod",
        |txn, s, f| drop(txn.open_table(INFRA).unwrap().insert(&bytes(&f.pod), s.pod).unwrap()),
        ": its ID does not lead to it",
        nothing,
    ),
    (
        "a pod's ID of nobody's",
        |txn, _, _| drop(txn.open_table(INFRA).unwrap().insert(&[7; 32], 1 << 40).unwrap()),
        "structure infra 0707",
        nothing,
    ),
    (
        "an ID that leads to its container as an infra container",
        |txn, s, f| drop(txn.open_table(INFRA).unwrap().insert(&bytes(&f.web), s.web).unwrap()),
        ": no container of the pod with this ID",
        nothing,
    ),
    (
        "an infra container that does not say so",
        |txn, s, _| change_more(txn, s.infra, |more| more.infra = false),
        ": whether it carries its pod's ID is told in two ways",
        nothing,
    ),
    (
        "a container that says it is one",
        |txn, s, _| change_more(txn, s.web, |more| more.infra = true),
        ": whether it carries its pod's ID is told in two ways",
        nothing,
    ),
    (
        "an infra container whose ID leads nowhere, and that does not say so",
        |txn, s, f| {
            txn.open_table(INFRA).unwrap().remove(&bytes(&f.pod)).unwrap();
            change_more(txn, s.infra, |more| more.infra = false);
        },
        ": its ID does not lead to it",
        nothing,
    ),
    (
        "an exit code that is not listed",
        |txn, _, f| drop(txn.open_table(EXITED).unwrap().remove(&bytes(&f.gone)).unwrap()),
        ": does not lead to its exit code",
        nothing,
    ),
    (
        "an exit code of another ID",
        |txn, s, _| drop(txn.open_table(EXITED).unwrap().insert(&[7; 32], s.exited).unwrap()),
        "is not its exit code's",
        nothing,
    ),
    (
        "an exit code of a container that is there",
        |txn, s, f| {
            let exited = Row::Exited { id: bytes(&f.web), name: "web".to_owned(), code: 1, gone: 1 };
            put_row(txn, s.next, &exited);
            txn.open_table(EXITED).unwrap().insert(&bytes(&f.web), s.next).unwrap();
        },
        ": the container is there",
        nothing,
    ),
    (
        "an exit code without a row",
        |txn, s, _| drop_row(txn, s.exited),
        "is not its exit code's",
        |s, f| vec![format!("exited {:?}", bytes(&f.gone)), format!("rows {}", s.exited)],
    ),
    (
        "an exit code whose row does not decode",
        |txn, s, _| replace_row(txn, s.exited, |_| vec![0xff; 9]),
        "does not decode",
        |s, f| vec![format!("exited {:?}", bytes(&f.gone)), format!("rows {}", s.exited)],
    ),
];

#[test]
fn rows_of_what_few_have_are_repaired() {
    let store = furnished();
    let tree = &store.tree;
    let database = tree.store.join("ctrfs.redb");
    let (sound, rows) = (fs::read(&database).unwrap(), dump(&tree.store));
    for (what, damage, words, lost) in FEW {
        let serials = edit(&tree.store, |txn| {
            let serials = store.serials(txn);
            damage(txn, &serials, &store);
            serials
        });
        let (found, status) = check(tree, &[]);
        assert!(found.contains(words) && status == 1, "{what}: {found}");
        let (said, status) = check(tree, &["--repair"]);
        assert!(said.contains(words) && status == 0 && said.ends_with(SOUND), "{what}: {said}");
        assert!(said.lines().rev().skip(1).all(|line| line.ends_with(": mended")), "{what}: {said}");
        let mut due = lost(&serials, &store);
        due.sort();
        assert_eq!(differences(&rows, &dump(&tree.store)), due, "{what}");
        fs::write(&database, &sound).unwrap();
    }
}

/// Of a row that does not decode the names are known elsewhere; all else of it is lost.
#[test]
fn a_container_keeps_its_names() {
    let store = furnished();
    let tree = &store.tree;
    edit(&tree.store, |txn| {
        let web = store.serials(txn).web;
        txn.open_table(MORE).unwrap().insert(web, [0xff; 9].as_slice()).unwrap();
    });
    let found = check(tree, &[]).0;
    assert_eq!(found.lines().count(), 1, "neither its names nor its text are told beside it: {found}");
    tree.mount();
    let said = tree.ctrfs(&["check", "--repair"]);
    assert!(said.status.success(), "{said:?}");
    assert_eq!(tree.read("ctr/web/names"), "web\nsecond\nthird\n");
    assert_eq!([tree.read("ctr/web/metadata"), tree.read("ctr/web/uidmap")], ["", ""]);
    assert_eq!(names_in(&tree.path("ctr/web/flags")), ["a", "b"]);
    assert_eq!(tree.read("ctr/web/data/a"), "aaaa");
    fs::remove_file(tree.path("name/second")).unwrap();
    assert_eq!(tree.read("ctr/web/names"), "web\nthird\n");
    assert_eq!(tree.read("check"), SOUND);
}

/// Somebody may be about to write it.
#[test]
fn a_flag_that_says_nothing_is_none_of_the_findings() {
    let store = furnished();
    edit(&store.tree.store, |txn| {
        let flag = store.serials(txn).flag;
        change(txn, flag, |row| {
            if let Row::Flag { value, .. } = row {
                value.clear();
            }
        });
    });
    assert_eq!(check(&store.tree, &[]), (SOUND.to_owned(), 0));
}

/// A pod is not left without its infra container.
#[test]
fn a_sandbox_goes_with_its_infra_container() {
    let store = furnished();
    let tree = &store.tree;
    let number = edit(&tree.store, |txn| {
        let infra = store.serials(txn).infra;
        replace_row(txn, infra, |_| vec![0xff; 40]);
        infra
    });
    let begin = format!("structure ctr/{}: row {number} does not decode: ", store.pod);
    let found = check(tree, &[]).0;
    assert!(found.starts_with(&begin), "{found}");
    let (said, status) = check(tree, &["--repair"]);
    assert!(status == 1 && said.starts_with(&begin) && said.contains("needs --force"), "{said}");
    let (said, status) = check(tree, &["--repair", "--force"]);
    assert!(status == 0 && said.ends_with("ok: 1 containers, 0 pods, 1 images, 1 layers\n"), "{said}");
    assert!(said.contains(&format!("structure pod/{}: what it needs is damaged: removed", store.pod)), "{said}");
    tree.mount();
    assert_eq!(names_in(&tree.path("name")), ["second", "third", "web"]);
}

/// The file of an item, by its key.
fn file_of(store: &Furnished, image: bool, key: &str) -> std::path::PathBuf {
    let (shelf, id) = if image { ("images", &store.image) } else { ("ctr", &store.web) };
    let file = edit(&store.tree.store, |txn| {
        let serials = store.serials(txn);
        let owner = if image { serials.image } else { serials.web };
        let item = txn.open_table(ITEMS).unwrap().get((owner, key)).unwrap().unwrap().value();
        match postcard::from_bytes(txn.open_table(ROWS).unwrap().get(item).unwrap().unwrap().value()).unwrap() {
            Row::Item(item) => item.file,
            row => panic!("{row:?}"),
        }
    });
    store.tree.store.join(shelf).join(id).join("data").join(file.to_string())
}

#[test]
fn items_whose_files_are_not_their_own_are_dropped() {
    let store = furnished();
    let tree = &store.tree;
    let (missing, longer, noted) =
        (file_of(&store, false, "a"), file_of(&store, false, "b"), file_of(&store, true, "note"));
    let due = [
        format!("container-data-missing ctr/{}/data/a: its file is gone", store.web),
        format!("container-data-incorrect-size ctr/{}/data/b: its file has 3 bytes, not 2", store.web),
        format!("image-data-incorrect-size image/{}/data/note: its file has 0 bytes, not 5", store.image),
    ];
    let image_missing = format!("image-data-missing image/{}/data/note: its file is gone", store.image);
    for mounted in [false, true] {
        let kept = tree.store.with_file_name("kept");
        super::copy(&tree.store, &kept);
        fs::remove_file(&missing).unwrap();
        fs::write(&longer, "bbb").unwrap();
        fs::write(&noted, "").unwrap();
        if mounted {
            tree.mount();
        }
        assert_eq!(check(tree, &[]).0.lines().collect::<Vec<_>>(), due);
        let (said, status) = check(tree, &["--repair"]);
        let lines: Vec<String> = due.iter().map(|line| format!("{line}: dropped")).collect();
        assert_eq!(said, lines.join("\n") + "\n" + SOUND);
        assert_eq!(status, 0);
        assert!(!longer.exists() && !noted.exists(), "their files go");
        if !mounted {
            tree.mount();
        }
        assert_eq!(names_in(&tree.path("ctr/web/data")), ["empty"]);
        assert_eq!(names_in(&tree.path(&format!("image/{}/data", store.image))), [""; 0]);
        assert_eq!(tree.read("ctr/web/metadata"), "text");
        tree.unmount();
        fs::remove_dir_all(&tree.store).unwrap();
        super::copy(&kept, &tree.store);
        fs::remove_dir_all(&kept).unwrap();
    }
    fs::remove_file(&noted).unwrap();
    assert_eq!(check(tree, &["--repair"]), (format!("{image_missing}: dropped\n{SOUND}"), 0));
}
