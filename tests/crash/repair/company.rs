//! Damage to the rows of containers and pods, and to the indexes that follow them.

use std::fs;

use ctrfs::model::record::Row;
use redb::{ReadableTable, WriteTransaction};

use super::{change, check, differences};
use crate::images::bytes;
use crate::rows::{
    DOCS, IDS, MEMBERS, META, NAMES, NEEDED, NEEDS, OBJECTS, REQUESTS, ROWS, dump, edit, replace_row, serial,
};
use crate::support::Mounted;

/// A pod with two containers of which one needs the other, and some beside it.
fn company() -> Mounted {
    let tree = Mounted::new();
    fs::write(tree.path("create/pod"), "{\"name\":\"shop\"}\n").unwrap();
    let documents = [
        r#"{"name":"db","pod":"shop"}"#,
        r#"{"name":"web","pod":"shop","Dependencies":["db"]}"#,
        r#"{"name":"other"}"#,
        r#"{"name":"friend","netNsCtr":"other"}"#,
    ];
    fs::write(tree.path("create/ctr"), documents.join("\n") + "\n").unwrap();
    tree
}

/// What is done to a store, by the IDs of `shop`, `db` and `web`; what the check says of it; and the
/// containers and pods that are left of 4 and 1 when it is repaired by force, if that is needed.
type Damage = (&'static str, fn(&WriteTransaction, &[String; 3]), &'static str, Option<[usize; 2]>);

fn tie(txn: &WriteTransaction, ids: &[String; 3]) -> (u64, u64, u64) {
    let (db, web) = (serial(txn, &ids[1]), serial(txn, &ids[2]));
    (db, web, txn.open_table(NEEDS).unwrap().get((web, db)).unwrap().expect("web needs db").value())
}

fn binding(txn: &WriteTransaction) -> u64 {
    txn.open_table(NAMES).unwrap().get("web").unwrap().unwrap().value()
}

fn member(txn: &WriteTransaction, ids: &[String; 3]) -> u64 {
    let key = (serial(txn, &ids[0]), serial(txn, &ids[2]));
    txn.open_table(MEMBERS).unwrap().get(key).unwrap().unwrap().value()
}

const COMPANY: &[Damage] = &[
    (
        "no ID",
        |txn, ids| drop(txn.open_table(IDS).unwrap().remove(&bytes(&ids[2])).unwrap()),
        "its ID does not lead to it",
        None,
    ),
    (
        "an ID of nobody's",
        |txn, _| drop(txn.open_table(IDS).unwrap().insert(&[7; 32], (0, 1 << 40)).unwrap()),
        "structure ids 0707",
        None,
    ),
    (
        "an ID of no kind",
        |txn, _| drop(txn.open_table(IDS).unwrap().insert(&[7; 32], (9, 1)).unwrap()),
        "there is no such kind of object",
        None,
    ),
    (
        "not listed",
        |txn, ids| {
            let web = serial(txn, &ids[2]);
            txn.open_table(OBJECTS).unwrap().remove((0, web)).unwrap();
        },
        "an object that has no ID",
        None,
    ),
    (
        "an object without a row",
        |txn, _| drop(txn.open_table(OBJECTS).unwrap().insert((0, 1 << 40), &[7; 32]).unwrap()),
        "is not this object's",
        None,
    ),
    (
        "the ID of another",
        |txn, ids| {
            let web = serial(txn, &ids[2]);
            let row = txn.open_table(ROWS).unwrap().get(web).unwrap().unwrap().value().to_vec();
            let mut rows = txn.open_table(ROWS).unwrap();
            let next = rows.iter().unwrap().next_back().unwrap().unwrap().0.value() + 1;
            rows.insert(next, row.as_slice()).unwrap();
        },
        "another object has the ID",
        None,
    ),
    (
        "serials that come again",
        |txn, _| drop(txn.open_table(META).unwrap().insert("next", 2u64.to_le_bytes().as_slice()).unwrap()),
        "the next serial is 2",
        None,
    ),
    (
        "a name lost",
        |txn, _| drop(txn.open_table(NAMES).unwrap().remove("web").unwrap()),
        "structure names web: ",
        None,
    ),
    (
        "a name of nobody's",
        |txn, _| drop(txn.open_table(NAMES).unwrap().insert("ghost", 1 << 40).unwrap()),
        "structure names ghost: does not lead to an object of that name",
        None,
    ),
    (
        "a name without a row",
        |txn, _| {
            let binding = binding(txn);
            txn.open_table(ROWS).unwrap().remove(binding).unwrap();
        },
        "structure names web: row",
        None,
    ),
    (
        "a name whose row does not decode",
        |txn, _| {
            let binding = binding(txn);
            replace_row(txn, binding, |_| vec![0xff; 9]);
        },
        "does not decode",
        None,
    ),
    (
        "a name of two",
        |txn, ids| {
            let db = serial(txn, &ids[1]);
            change(txn, db, |row| {
                if let Row::Ctr(head) = row {
                    head.name = "web".to_owned();
                }
            });
        },
        "its record does not follow from its documents",
        None,
    ),
    (
        "an edge without a row",
        |txn, ids| {
            let edge = tie(txn, ids).2;
            txn.open_table(ROWS).unwrap().remove(edge).unwrap();
        },
        "is not this edge's",
        None,
    ),
    (
        "an edge whose row does not decode",
        |txn, ids| {
            let edge = tie(txn, ids).2;
            replace_row(txn, edge, |_| vec![]);
        },
        "does not decode",
        None,
    ),
    (
        "half an edge",
        |txn, ids| {
            let (db, web, _) = tie(txn, ids);
            txn.open_table(NEEDS).unwrap().remove((web, db)).unwrap();
        },
        "a dependency that is not listed",
        None,
    ),
    (
        "the other half",
        |txn, ids| {
            let (db, web, _) = tie(txn, ids);
            txn.open_table(NEEDED).unwrap().remove((db, web)).unwrap();
        },
        "structure needed ",
        None,
    ),
    (
        "an edge to nobody",
        |txn, ids| {
            let web = serial(txn, &ids[2]);
            txn.open_table(NEEDS).unwrap().insert((web, 1 << 40), 1 << 41).unwrap();
        },
        "no dependency of one container on another",
        None,
    ),
    (
        "a pod that does not list it",
        |txn, ids| {
            let key = (serial(txn, &ids[0]), serial(txn, &ids[2]));
            txn.open_table(MEMBERS).unwrap().remove(key).unwrap();
        },
        "its pod does not list it",
        None,
    ),
    (
        "a pod that lists nobody",
        |txn, ids| {
            let pod = serial(txn, &ids[0]);
            txn.open_table(MEMBERS).unwrap().insert((pod, 1 << 40), 1 << 41).unwrap();
        },
        "the container does not say so",
        None,
    ),
    (
        "a membership without a row",
        |txn, ids| {
            let member = member(txn, ids);
            txn.open_table(ROWS).unwrap().remove(member).unwrap();
        },
        "is not this membership's",
        None,
    ),
    (
        "a count that is wrong",
        |txn, ids| {
            let pod = serial(txn, &ids[0]);
            change(txn, pod, |row| {
                if let Row::Pod(head) = row {
                    head.counts = [3; 9];
                }
            });
        },
        "its count of members by status is wrong",
        None,
    ),
    (
        "a document of another length",
        |txn, ids| {
            let web = serial(txn, &ids[2]);
            change(txn, web, |row| {
                if let Row::Ctr(head) = row {
                    head.state.size += 1;
                }
            });
        },
        "its state has",
        None,
    ),
    (
        "a document of nobody's",
        |txn, _| drop(txn.open_table(DOCS).unwrap().insert((1 << 40, 0), b"{}".as_slice()).unwrap()),
        "a document of no object",
        None,
    ),
    (
        "an answer that does not decode",
        |txn, _| drop(txn.open_table(REQUESTS).unwrap().insert((1, 2), [0xff; 3].as_slice()).unwrap()),
        "structure requests 1 2: does not decode",
        None,
    ),
    (
        "a record that does not decode",
        |txn, ids| {
            let web = serial(txn, &ids[2]);
            replace_row(txn, web, |_| vec![0xff; 40]);
        },
        "does not decode",
        Some([3, 1]),
    ),
    (
        "a record that another needs",
        |txn, ids| {
            let db = serial(txn, &ids[1]);
            replace_row(txn, db, |_| vec![0xff; 40]);
        },
        "does not decode",
        Some([2, 1]),
    ),
    (
        "a pod's record that does not decode",
        |txn, ids| {
            let pod = serial(txn, &ids[0]);
            replace_row(txn, pod, |_| vec![0xff; 40]);
        },
        "does not decode",
        Some([2, 0]),
    ),
    (
        "a config that is no JSON",
        |txn, ids| {
            let web = serial(txn, &ids[2]);
            let old = txn.open_table(DOCS).unwrap().get((web, 0)).unwrap().unwrap().value().to_vec();
            txn.open_table(DOCS)
                .unwrap()
                .insert((web, 0), &old[..old.len() - 1].iter().map(|_| b'x').chain([b'\n']).collect::<Vec<u8>>()[..])
                .unwrap();
        },
        "config",
        Some([3, 1]),
    ),
    (
        "a state that is missing",
        |txn, ids| {
            let web = serial(txn, &ids[2]);
            txn.open_table(DOCS).unwrap().remove((web, 1)).unwrap();
        },
        "its state is missing",
        Some([3, 1]),
    ),
    (
        "a pod that is gone",
        |txn, ids| {
            let pod = serial(txn, &ids[0]);
            txn.open_table(ROWS).unwrap().remove(pod).unwrap();
        },
        "its pod is gone",
        Some([2, 0]),
    ),
    (
        "a dependency across a border",
        |txn, ids| {
            let db = serial(txn, &ids[1]);
            change(txn, db, |row| {
                if let Row::Ctr(head) = row {
                    head.pod = None;
                }
            });
        },
        "crosses a pod's border",
        Some([3, 1]),
    ),
];

#[test]
fn rows_of_containers_and_pods_are_repaired() {
    let tree = company();
    let ids = [tree.read("pod/shop/config"), tree.id("db"), tree.id("web")];
    let shop: serde_json::Value = serde_json::from_str(&ids[0]).unwrap();
    let ids = [shop["id"].as_str().unwrap().to_owned(), ids[1].clone(), ids[2].clone()];
    let strangers = [tree.id("other"), tree.id("friend")];
    tree.unmount();
    let database = tree.store.join("ctrfs.redb");
    let (sound, rows) = (fs::read(&database).unwrap(), dump(&tree.store));
    for (what, damage, words, forced) in COMPANY {
        edit(&tree.store, |txn| damage(txn, &ids));
        let (found, status) = check(&tree, &[]);
        assert!(found.contains(words) && status == 1, "{what}: {found}");
        let (said, status) = check(&tree, &["--repair"]);
        assert!(said.contains(words), "{what}: {said}");
        match forced {
            None => {
                assert!(
                    status == 0 && said.ends_with("ok: 4 containers, 1 pods, 0 images, 0 layers\n"),
                    "{what}: {said}"
                );
                assert_eq!(differences(&rows, &dump(&tree.store)), [""; 0], "{what}");
            }
            Some([ctrs, pods]) => {
                assert!(status == 1 && said.contains(": needs --force"), "{what}: {said}");
                let left = check(&tree, &[]).0;
                assert!(left.contains(words), "{what}: {left}");
                let (said, status) = check(&tree, &["--repair", "--force"]);
                let end = format!("ok: {ctrs} containers, {pods} pods, 0 images, 0 layers\n");
                assert!(status == 0 && said.ends_with(&end), "{what}: {said}");
            }
        }
        let after = dump(&tree.store);
        edit(&tree.store, |txn| {
            for serial in strangers.iter().map(|id| serial(txn, id)) {
                for key in [format!("rows {serial}"), format!("docs ({serial}, 0)"), format!("docs ({serial}, 1)")] {
                    assert_eq!(after.get(&key), rows.get(&key), "{what}: {key}");
                    assert!(rows.contains_key(&key));
                }
            }
        });
        fs::write(&database, &sound).unwrap();
    }
}
