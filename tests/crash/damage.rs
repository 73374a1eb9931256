//! One damaged record of a hundred: it is listed, says what is wrong, can be looked at and removed, and
//! harms no other.

use std::fs;
use std::process::Command;

use nix::errno::Errno;
use redb::{ReadableTable, WriteTransaction};

use crate::rows::{NAMES, NEEDS, ROWS, edit, replace_doc, replace_row, serial};
use crate::support::{CTRFS, Mounted, errno, succeed, text};

/// A way to damage a container's record, and what is to be expected.
struct Damage {
    name: &'static str,
    do_it: fn(&WriteTransaction, u64),
    /// The document that cannot be read any more.
    unreadable: Option<&'static str>,
    /// What `raw` still has.
    raw: &'static [u8],
    /// Whether the container says so itself.
    in_health: bool,
    /// Whether all is well once the container is gone; else what it depended on must go too.
    heals: bool,
}

const fn damage(name: &'static str, do_it: fn(&WriteTransaction, u64)) -> Damage {
    Damage { name, do_it, unreadable: None, raw: b"", in_health: true, heals: true }
}

fn damages() -> [Damage; 10] {
    [
        damage("head cut off", |txn, serial| replace_row(txn, serial, |row| row[..row.len() / 2].to_vec())),
        Damage {
            raw: b"\xff\xff\xff\xff\xff\xff",
            ..damage("head garbage", |txn, serial| replace_row(txn, serial, |_| vec![0xff; 40]))
        },
        damage("head empty", |txn, serial| replace_row(txn, serial, |_| vec![])),
        Damage {
            unreadable: Some("config"),
            raw: b"{\"id\": \"cut o",
            ..damage("config cut off", |txn, serial| replace_doc(txn, serial, 0, b"{\"id\": \"cut o"))
        },
        Damage { unreadable: Some("config"), ..damage("config empty", |txn, serial| replace_doc(txn, serial, 0, b"")) },
        Damage {
            unreadable: Some("config"),
            raw: b"[1, 2]",
            ..damage("config of another type", |txn, serial| replace_doc(txn, serial, 0, b"[1, 2]"))
        },
        Damage {
            unreadable: Some("state"),
            raw: b"\x00\xfe garbage",
            ..damage("state garbage", |txn, serial| replace_doc(txn, serial, 1, b"\x00\xfe garbage"))
        },
        Damage {
            in_health: false,
            ..damage("name that leads nowhere", |txn, _| {
                let names = txn.open_table(NAMES).unwrap();
                let binding = names.get("c50").unwrap().unwrap().value();
                txn.open_table(ROWS).unwrap().remove(binding).unwrap();
            })
        },
        Damage {
            in_health: false,
            ..damage("edge without a row", |txn, serial| {
                let mut edges = Vec::new();
                for entry in txn.open_table(NEEDS).unwrap().iter().unwrap() {
                    let (key, edge) = entry.unwrap();
                    edges.extend((key.value().0 == serial).then_some(edge.value()));
                }
                assert_eq!(edges.len(), 1);
                txn.open_table(ROWS).unwrap().remove(edges[0]).unwrap();
            })
        },
        Damage {
            in_health: false,
            heals: false,
            ..damage("edge without its other half", |txn, serial| {
                let mut needs = txn.open_table(NEEDS).unwrap();
                needs.retain(|key, _| key.0 != serial).unwrap();
            })
        },
    ]
}

fn check_of(tree: &Mounted) -> String {
    text(&Command::new(CTRFS).arg("check").arg(&tree.store).output().unwrap())
}

fn hundred() -> (Mounted, Vec<String>) {
    let tree = Mounted::new();
    let document = |n: usize| match n {
        // The damaged one has a dependency, so that there is an edge to lose.
        50 => "{\"name\":\"c50\",\"Dependencies\":[\"c49\"]}\n".to_owned(),
        _ => format!("{{\"name\":\"c{n}\"}}\n"),
    };
    fs::write(tree.path("create/ctr"), (0..100).map(document).collect::<String>()).unwrap();
    let ids = (0..100).map(|n| tree.id(&format!("c{n}"))).collect();
    (tree, ids)
}

fn listed(tree: &Mounted) -> Vec<String> {
    let entries = fs::read_dir(tree.path("ctr")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn one_of_a_hundred(damage: &Damage) {
    let name = damage.name;
    let (tree, ids) = hundred();
    let bad = &ids[50];
    tree.unmount();
    edit(&tree.store, |txn| (damage.do_it)(txn, serial(txn, bad)));
    let unmounted = check_of(&tree);
    assert!(!unmounted.starts_with("ok"), "{name}: found by the check of the files");
    tree.mount();

    let mut all = ids.clone();
    all.sort();
    assert_eq!(listed(&tree), all, "{name}: all are listed");
    for (n, id) in ids.iter().enumerate().filter(|(n, _)| *n != 50) {
        for entry in ["config", "state", "status", "health"] {
            let text = tree.read(&format!("ctr/{id}/{entry}"));
            assert!(!text.is_empty(), "{name}: c{n}/{entry}");
        }
        assert_eq!(tree.id(&format!("c{n}")), *id);
    }
    assert_eq!(tree.read("table/ctr").lines().count(), 101, "{name}");
    let health = tree.read(&format!("ctr/{bad}/health"));
    assert_eq!(health != "ok\n", damage.in_health, "{name}: health is {health:?}");
    if let Some(document) = damage.unreadable {
        assert_eq!(errno(fs::read(tree.path(&format!("ctr/{bad}/{document}")))), Errno::EIO, "{name}");
    }
    let raw = fs::read(tree.path(&format!("ctr/{bad}/raw"))).unwrap();
    let has = damage.raw.is_empty() || raw.windows(damage.raw.len()).any(|part| part == damage.raw);
    assert!(has, "{name}: raw is {:?}", String::from_utf8_lossy(&raw));
    let mounted = tree.read("check");
    assert_eq!(mounted, unmounted, "{name}: the live store finds the same");

    tree.kill_server();
    assert_eq!(listed(&tree), all, "{name}: a new server starts");
    tree.unmount();
    tree.mount();
    fs::remove_dir(tree.path(&format!("ctr/{bad}"))).unwrap_or_else(|error| panic!("{name}: rmdir: {error}"));
    assert_eq!(listed(&tree).len(), 99, "{name}");
    if !damage.heals {
        assert!(!tree.read("check").starts_with("ok"), "{name}");
        fs::remove_dir(tree.path(&format!("ctr/{}", ids[49]))).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(tree.read("check").starts_with("ok: 9"), "{name}: {}", tree.read("check"));
}

#[test]
fn one_damaged_record_of_a_hundred_harms_no_other() {
    let failed: Vec<&str> = damages()
        .iter()
        .filter(|damage| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one_of_a_hundred(damage))).is_err())
        .map(|damage| damage.name)
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn a_good_config_heals_one_that_does_not_decode() {
    let tree = Mounted::new();
    let id = tree.make("web");
    tree.unmount();
    edit(&tree.store, |txn| replace_doc(txn, serial(txn, &id), 0, b"{\"id\""));
    tree.mount();
    let config = tree.path("ctr/web/config");
    assert_eq!(errno(fs::read(&config)), Errno::EIO);
    let append = fs::OpenOptions::new().append(true).open(&config).unwrap();
    assert_eq!(errno(std::io::Write::write(&mut &append, b"{\"labels\":{}}\n")), Errno::EIO, "nothing to merge into");
    fs::write(&config, "{\"labels\":{\"a\":\"b\"}}\n").unwrap();
    assert_eq!(tree.read("ctr/web/health"), "ok\n");
    assert!(tree.read("ctr/web/config").contains(&id), "its ID is known without the old config");
}

#[test]
fn a_damaged_pod_keeps_no_member_from_ending() {
    let tree = Mounted::new();
    fs::create_dir(tree.path("pod/p")).unwrap();
    let members = "{\"name\":\"m\",\"pod\":\"p\"}\n{\"name\":\"n\",\"pod\":\"p\"}\n";
    fs::write(tree.path("create/ctr"), members).unwrap();
    for member in ["m", "n"] {
        tree.echo("running", &format!("ctr/{member}/status")).unwrap();
    }
    let pod = fs::read_link(tree.path("pod/p")).unwrap();
    tree.unmount_while_live();
    edit(&tree.store, |txn| replace_row(txn, serial(txn, pod.to_str().unwrap()), |_| vec![0xff; 40]));
    tree.mount();
    assert_eq!(errno(fs::remove_dir(tree.path("ctr").join(tree.id("m")))), Errno::EBUSY);
    for member in ["m", "n"] {
        tree.echo("exited", &format!("ctr/{member}/status")).unwrap();
        assert_eq!(tree.read(&format!("ctr/{member}/status")), "exited\n");
    }
    fs::remove_dir(tree.path("ctr").join(tree.id("m"))).unwrap();
    let removed = tree.ctrfs(&["check", "--repair", "--force"]);
    assert!(tree.read("check").starts_with("ok"), "{}", text(&removed));
}

#[test]
fn a_damaged_file_is_refused_in_words() {
    let tree = Mounted::new();
    tree.unmount();
    let file = tree.store.join("ctrfs.redb");
    let good = fs::read(&file).unwrap();
    for (what, bytes) in [("empty", &b""[..]), ("text", b"no database"), ("cut off", &good[..good.len() / 3])] {
        fs::write(&file, bytes).unwrap();
        let mut check = Command::new(CTRFS);
        check.arg("check").arg(&tree.store);
        // mount(8) has exit statuses of its own.
        for (command, status) in [(tree.mount_command(""), 32), (&mut check, 1)] {
            let refused = command.output().unwrap();
            assert_eq!(refused.status.code(), Some(status), "{what}");
            assert!(text(&refused).contains("not a sound store"), "{what}: {}", text(&refused));
        }
    }
    fs::write(&file, good).unwrap();
    succeed(tree.mount_command(""));
}
