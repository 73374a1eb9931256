//! `exited/`: exit codes that outlive their containers. That they are forgotten is tested where there is
//! a clock to set, in tests/unprivileged.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;

use crate::support::images::names_in;
use crate::support::{Mounted, errno};
use crate::tools::{ask, create, make_pod};

fn make_ended(tree: &Mounted, name: &str, code: &str) -> String {
    let id = tree.make(name);
    tree.echo(code, &format!("ctr/{name}/exit-code")).unwrap();
    id
}

#[test]
fn an_exit_code_outlives_its_container_server_and_mount() {
    let tree = Mounted::new();
    let (id, none) = (make_ended(&tree, "web", "137"), tree.make("never-ran"));
    assert_eq!(names_in(&tree.path("exited")), [""; 0], "it is there");
    let (at, before) = (tree.path(&format!("exited/{id}")), SystemTime::now());
    assert_eq!(errno(fs::metadata(&at)), Errno::ENOENT);
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    fs::remove_dir(tree.path(&format!("ctr/{none}"))).unwrap();
    let shows = || {
        assert_eq!(names_in(&tree.path("exited")), [id.as_str()]);
        assert_eq!(fs::read_to_string(&at).unwrap(), "137\n");
        let meta = fs::metadata(&at).unwrap();
        assert_eq!((meta.permissions().mode() & 0o7777, meta.len()), (0o444, 4));
        let gone = meta.modified().unwrap();
        // The kernel's clock for files is coarser than the server's.
        assert!(gone + Duration::from_secs(1) > before && gone <= SystemTime::now());
        (meta.ino(), gone)
    };
    let first = shows();
    let listed = fs::metadata(tree.path("exited")).unwrap().modified().unwrap();
    assert_eq!(listed, first.1, "the list changed then");
    tree.kill_server();
    assert_eq!(shows(), first);
    tree.unmount();
    tree.mount();
    assert_eq!(shows(), first);
    assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 0 images, 0 layers\n");
}

#[test]
fn every_way_to_remove_a_container_leaves_its_code() {
    let tree = Mounted::new();
    make_pod(&tree, "shop");
    let by_rm = make_ended(&tree, "a", "-1");
    let by_order = make_ended(&tree, "b", "0");
    create(&tree, r#"{"name":"c","pod":"shop"}"#);
    tree.echo("2147483647", "ctr/c/exit-code").unwrap();
    let by_pod = tree.id("c");
    let by_wipe = make_ended(&tree, "d", "3");
    fs::remove_file(tree.path("ctr/a")).unwrap();
    ask(&tree, "control", r#"{"verb":"remove","ctr":"b"}"#).unwrap();
    ask(&tree, "control", r#"{"verb":"remove","pod":"shop","recursive":true}"#).unwrap();
    ask(&tree, "control", r#"{"verb":"wipe"}"#).unwrap();
    for (id, code) in [(by_rm, "-1"), (by_order, "0"), (by_pod, "2147483647"), (by_wipe, "3")] {
        assert_eq!(tree.read(&format!("exited/{id}")), format!("{code}\n"));
    }
    // A removal that is refused leaves nothing.
    let id = make_ended(&tree, "web", "1");
    tree.echo("running", "ctr/web/status").unwrap();
    assert_eq!(errno(fs::remove_dir(tree.path(&format!("ctr/{id}")))), Errno::EBUSY);
    assert!(!tree.path(&format!("exited/{id}")).exists());
    tree.echo("exited", "ctr/web/status").unwrap();
}

#[test]
fn a_container_of_the_same_id_takes_the_code_away() {
    let tree = Mounted::new();
    let id = make_ended(&tree, "web", "7");
    let (dir, at) = (tree.path(&format!("ctr/{id}")), tree.path(&format!("exited/{id}")));
    fs::remove_dir(&dir).unwrap();
    let (open, old) = (File::open(&at).unwrap(), fs::metadata(&at).unwrap().ino());
    fs::create_dir(&dir).unwrap();
    assert_eq!(errno(fs::read(&at)), Errno::ENOENT);
    assert_eq!(names_in(&tree.path("exited")), [""; 0]);
    assert_eq!(errno(std::io::read_to_string(open)), Errno::ESTALE);
    tree.echo("8", &format!("ctr/{id}/exit-code")).unwrap();
    fs::remove_dir(&dir).unwrap();
    assert_eq!(fs::read_to_string(&at).unwrap(), "8\n");
    assert_ne!(fs::metadata(&at).unwrap().ino(), old);
}

#[test]
fn nobody_else_makes_changes_or_takes_away() {
    let tree = Mounted::new();
    let id = make_ended(&tree, "web", "7");
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    let at = tree.path(&format!("exited/{id}"));
    for result in [OpenOptions::new().write(true).open(&at), OpenOptions::new().append(true).open(&at)] {
        assert_eq!(errno(result), Errno::EACCES);
    }
    assert_eq!(nix::unistd::truncate(&at, 0), Err(Errno::EACCES));
    assert_eq!(errno(fs::remove_file(&at)), Errno::EPERM);
    assert_eq!(errno(fs::rename(&at, tree.path("exited/other"))), Errno::EPERM);
    assert_eq!(errno(fs::create_dir(tree.path(&format!("exited/{}", super::id('a'))))), Errno::EPERM);
    // By full ID only.
    for name in ["web", &id[..12], "x"] {
        assert_eq!(errno(fs::metadata(tree.path(&format!("exited/{name}")))), Errno::ENOENT, "{name}");
    }
    assert_eq!(fs::read_to_string(&at).unwrap(), "7\n");
}
