//! `work` and `run`: directories for the caller's own files that go with the container.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::errno::Errno;

use super::{id, run_root};
use crate::support::{Mounted, errno, wait_until};
use crate::tools::make_imaged;

fn target(tree: &Mounted, below: &str) -> PathBuf {
    let target = fs::read_link(tree.path(below)).unwrap();
    let size = fs::symlink_metadata(tree.path(below)).unwrap().len();
    assert_eq!(size, target.as_os_str().len() as u64, "{below}");
    target
}

#[test]
fn they_are_made_when_first_asked_for_and_go_with_the_container() {
    let tree = Mounted::new();
    let id = tree.make("web");
    let (work, run) = (tree.store.join("ctr").join(&id).join("userdata"), run_root(&tree).join("run").join(&id));
    fs::symlink_metadata(tree.path("ctr/web/work")).unwrap();
    assert!(!work.exists() && !run.exists(), "a look at the symlink is no question");
    assert_eq!((target(&tree, "ctr/web/work"), target(&tree, "ctr/web/run")), (work.clone(), run.clone()));
    for dir in [&work, &run] {
        assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o7777, 0o700, "{dir:?}");
        fs::write(dir.join("mine"), "x").unwrap();
    }
    assert_eq!(tree.read("ctr/web/work/mine") + &tree.read("ctr/web/run/mine"), "xx");
    tree.kill_server();
    assert_eq!(tree.read("ctr/web/work/mine") + &tree.read("ctr/web/run/mine"), "xx");
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    assert!(!work.exists() && !run.exists());
    wait_until("what was in it is deleted", || fs::read_dir(run_root(&tree).join("run")).unwrap().count() == 0);

    // Of the next container of that ID they are empty.
    fs::create_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    for name in ["work", "run"] {
        assert_eq!(fs::read_dir(target(&tree, &format!("ctr/{id}/{name}"))).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn only_the_volatile_one_goes_with_the_mount() {
    let tree = Mounted::new();
    tree.make("web");
    for name in ["work", "run"] {
        fs::write(tree.path(&format!("ctr/web/{name}/mine")), name).unwrap();
    }
    tree.unmount();
    tree.mount();
    assert_eq!(tree.read("ctr/web/work/mine"), "work");
    assert_eq!(errno(fs::read(tree.path("ctr/web/run/mine"))), Errno::ENOENT);
}

/// Mounting puts three files there, and unmounting takes no more away than them.
#[test]
fn files_of_callers_lie_beside_those_of_the_mount() {
    let tree = Mounted::new();
    make_imaged(&tree);
    let run = target(&tree, "ctr/imaged/run");
    fs::write(run.join("pidfile"), "1").unwrap();
    tree.echo("1", "ctr/imaged/mounted").unwrap();
    assert_eq!(fs::read_dir(&run).unwrap().count(), 4);
    tree.echo("0", "ctr/imaged/mounted").unwrap();
    assert_eq!(fs::read_dir(&run).unwrap().count(), 1);
    assert_eq!(tree.read("ctr/imaged/run/pidfile"), "1");
}

#[test]
fn a_server_collects_what_no_container_owns() {
    let tree = Mounted::new();
    let web = tree.make("web");
    let (kept, gone) = (target(&tree, "ctr/web/run"), run_root(&tree).join("run").join(id('a')));
    fs::create_dir(&gone).unwrap();
    fs::write(gone.join("file"), "x").unwrap();
    let work = tree.store.join("ctr").join(id('a')).join("userdata");
    fs::create_dir_all(&work).unwrap();
    tree.kill_server();
    wait_until("both are collected", || !gone.exists() && !work.exists());
    assert!(kept.exists() && kept.ends_with(&web));
}

/// The kernel may still ask for a symlink that it knows of a container that is gone.
#[test]
fn none_is_made_for_a_container_that_is_gone() {
    let tree = Mounted::new();
    let id = tree.make("web");
    let dir =
        nix::fcntl::open(&tree.path(&format!("ctr/{id}")), nix::fcntl::OFlag::O_PATH, nix::sys::stat::Mode::empty())
            .unwrap();
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    for name in ["work", "run"] {
        let link = nix::fcntl::readlinkat(&dir, name);
        assert!(matches!(link, Err(Errno::ESTALE | Errno::ENOENT)), "{name}: {link:?}");
    }
    assert!(!tree.store.join("ctr").join(&id).exists() && !run_root(&tree).join("run").join(&id).exists());
}
