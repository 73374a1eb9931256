//! What a mount refuses, in which words, and what it accepts.

use std::fs;
use std::path::Path;
use std::process::Command;

use ctrfs::engine::SCHEMA;

use crate::rows::{META, edit};
use crate::support::{CTRFS, Mounted, Scratch, succeed, text};

fn refused(tree: &Mounted, options: &str) -> String {
    let output = tree.mount_command(options).output().unwrap();
    assert_ne!(output.status.code(), Some(0), "mounted with {options:?}");
    text(&output)
}

#[test]
fn a_newer_schema_is_refused() {
    let tree = Mounted::new();
    tree.unmount();
    let set = |number: u64| {
        edit(&tree.store, |txn| {
            txn.open_table(META).unwrap().insert("schema", number.to_le_bytes().as_slice()).unwrap();
        });
    };
    set(7);
    let check = Command::new(CTRFS).arg("check").arg(&tree.store).output().unwrap();
    for said in [refused(&tree, ""), text(&check)] {
        assert!(said.contains("schema 7") && said.contains(&format!("knows {SCHEMA}")), "{said}");
    }
    set(SCHEMA);
    tree.mount();
}

#[test]
fn a_store_in_use_is_refused_with_who_has_it_where() {
    let tree = Mounted::new();
    let other = Scratch::new();
    let output = Command::new(CTRFS).arg("mount").arg(&tree.store).arg(other.path()).output().unwrap();
    assert!(!output.status.success());
    let said = text(&output);
    assert!(said.contains(&format!("process {}", tree.keeper())), "{said}");
    assert!(said.contains(&format!("mounted on {}", tree.at.display())), "{said}");
}

#[test]
fn where_no_store_is_none_is_made() {
    let scratch = Scratch::new();
    let (store, at) = (scratch.path().join("store"), scratch.path().join("mnt"));
    fs::create_dir(&at).unwrap();
    for exists in [false, true] {
        if exists {
            fs::create_dir(&store).unwrap();
        }
        let output = Command::new(CTRFS).arg("mount").arg(&store).arg(&at).output().unwrap();
        assert!(!output.status.success());
        assert!(text(&output).contains(&*store.to_string_lossy()), "{}", text(&output));
        assert!(!store.join("ctrfs.redb").exists());
        if exists {
            assert!(text(&output).contains("no store there"), "{}", text(&output));
        }
    }
}

/// The option, the entry and two values of each setting of the runtime configuration.
fn settings(dir: &Path) -> [(&'static str, &'static str, String, String); 5] {
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    [
        ("static-dir", "static-dir", path("s1"), path("s2")),
        ("tmp-dir", "tmp-dir", path("t1"), path("t2")),
        ("runroot", "run-root", path("r1"), path("r2")),
        ("graph-root", "graph-root", path("g1"), path("g2")),
        ("graph-driver-name", "graph-driver-name", "vfs".to_owned(), "btrfs".to_owned()),
    ]
}

#[test]
fn the_first_opener_fixes_each_setting_and_another_value_is_refused() {
    let scratch = Scratch::new();
    for (option, entry, one, other) in settings(scratch.path()) {
        let given = format!("{option}={one}");
        let tree = Mounted::with_options(&given);
        assert_eq!(tree.read(&format!("runtime-config/{entry}")), format!("{one}\n"));
        tree.unmount();
        let said = refused(&tree, &format!("{option}={other}"));
        for part in [entry, &one, &other] {
            assert!(said.contains(part), "{option}: {part} is not in {said:?}");
        }
        assert!(!refused(&tree, "").is_empty(), "{option}: not saying is another value than {one}");
        succeed(&mut *tree.mount_command(&given));
    }
}

#[test]
fn a_default_and_the_same_value_given_are_one() {
    let tree = Mounted::new();
    let defaults: Vec<(&str, String)> = [("runroot", "run-root"), ("graph-root", "graph-root")]
        .into_iter()
        .chain([("graph-driver-name", "graph-driver-name")])
        .map(|(option, entry)| (option, tree.read(&format!("runtime-config/{entry}")).trim_end().to_owned()))
        .collect();
    assert_eq!(tree.read("runtime-config/static-dir"), "\n", "no default");
    assert_eq!(tree.read("runtime-config/tmp-dir"), "\n", "no default");
    assert_eq!(defaults[1].1, tree.store.to_string_lossy());
    for (option, value) in &defaults {
        tree.unmount();
        succeed(tree.mount_command(&format!("{option}={value}")));
    }
    tree.unmount();
    let said = refused(&tree, "static-dir=/x");
    assert!(said.contains("static-dir") && said.contains("not set") && said.contains("/x"), "{said}");
    let said = refused(&tree, &format!("graph-root={}/", defaults[1].1));
    assert!(said.contains("graph-root"), "a slash more is another path: {said}");
    tree.mount();
}

#[test]
fn a_mismatch_stores_nothing() {
    let tree = Mounted::with_options("graph-driver-name=vfs");
    tree.unmount();
    edit(&tree.store, |txn| {
        let runtime = redb::TableDefinition::<&str, &str>::new("runtime");
        txn.open_table(runtime).unwrap().remove("static-dir").unwrap();
    });
    let said = refused(&tree, "static-dir=/early,graph-driver-name=btrfs");
    assert!(said.contains("graph-driver-name"), "{said}");
    succeed(tree.mount_command("static-dir=/late,graph-driver-name=vfs"));
    assert_eq!(tree.read("runtime-config/static-dir"), "/late\n", "the refused mount left it unset");
}

#[test]
fn a_moved_store_opens_with_the_paths_inside_it() {
    let scratch = Scratch::new();
    let (one, other, at) = (scratch.path().join("one"), scratch.path().join("other"), scratch.path().join("mnt"));
    fs::create_dir(&at).unwrap();
    succeed(Command::new(CTRFS).arg("init").arg(&one));
    let mount = |store: &Path, option: &str| {
        succeed(Command::new(CTRFS).arg("mount").arg(store).arg(&at).args(["-o", option]));
    };
    let graph = |store: &Path| format!("graph-root={}", store.join("sub").display());
    let umount = || succeed(Command::new(CTRFS).arg("umount").arg(&at));
    mount(&one, &graph(&one));
    fs::create_dir(at.join("ctr/web")).unwrap();
    umount();
    fs::rename(&one, &other).unwrap();
    mount(&other, &graph(&other));
    assert_eq!(fs::read_to_string(at.join("runtime-config/graph-root")).unwrap(), format!("{}/sub\n", other.display()));
    assert_eq!(fs::read_to_string(at.join("ctr/web/name")).unwrap(), "web\n");
    umount();
    let stale = Command::new(CTRFS).arg("mount").arg(&other).arg(&at).args(["-o", &graph(&one)]).output().unwrap();
    assert!(!stale.status.success(), "where it was is another place now");
    assert!(text(&stale).contains("graph-root"), "{}", text(&stale));
}
