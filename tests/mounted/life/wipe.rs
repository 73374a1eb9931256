//! `ctrfs wipe`, and the order of that name.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::errno::Errno;

use super::{refused_order, run_root};
use crate::support::images::names_in;
use crate::support::{CTRFS, Mounted, kill, mountinfo, succeed, text, wait_until};
use crate::tools::{ask, create, make_imaged, make_pod, need, store};

fn wipe(arguments: &[&str], target: &Path) -> Output {
    let mut command = Command::new(CTRFS);
    command.arg("wipe").args(arguments).arg(target).env_remove("CTRFS_AT").stdin(Stdio::null());
    command.output().unwrap()
}

fn removed(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", text(output));
    let mut ids: Vec<String> = text(output).lines().map(str::to_owned).collect();
    ids.sort();
    ids
}

/// A store with a pod, dependencies, an image, and a container that is mounted. All IDs but images' and
/// layers'.
fn furnished() -> (Mounted, Vec<String>) {
    let tree = Mounted::new();
    let mut ids = vec![make_pod(&tree, "shop"), make_imaged(&tree)[1].clone()];
    ids.extend(create(&tree, r#"{"name":"db","pod":"shop"}{"name":"web","pod":"shop","netNsCtr":"db"}"#));
    ids.extend(create(&tree, r#"{"name":"v","volatile":true,"Dependencies":["imaged"]}"#));
    tree.echo("1", "ctr/imaged/mounted").unwrap();
    fs::write(tree.path("ctr/imaged/rootfs/written"), "x").unwrap();
    for entry in ["work", "run", "data"] {
        fs::write(tree.path(&format!("ctr/web/{entry}/file")), "x").unwrap();
    }
    ids.sort();
    (tree, ids)
}

fn nothing_is_left(tree: &Mounted, ids: &[String]) {
    for dir in ["ctr", "pod", "name", "id"] {
        assert_eq!(names_in(&tree.path(dir)), [""; 0], "{dir}");
    }
    let mounts = mountinfo();
    assert!(!ids.iter().any(|id| mounts.contains(id.as_str())), "{mounts}");
    assert_eq!(names_in(&tree.store.join("ctr")), [""; 0]);
    for dir in ["p", "run"] {
        wait_until("RUNROOT is empty", || names_in(&run_root(tree).join(dir)).is_empty());
    }
    wait_until("the trash is emptied", || names_in(&tree.store.join("trash")).is_empty());
}

#[test]
fn containers_and_pods_go_in_one_step_and_images_stay() {
    let (tree, ids) = furnished();
    let line = ask(&tree, "control", r#"{"verb":"wipe","images":false}"#).unwrap();
    assert_eq!(line.lines().count(), 1);
    let mut answered: Vec<&str> = line.split_whitespace().collect();
    answered.sort_unstable();
    assert_eq!(answered, ids);
    nothing_is_left(&tree, &ids);
    assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 1 images, 2 layers\n");
    make_imaged_again(&tree);
    // An empty store is wiped as well.
    ask(&tree, "control", r#"{"verb":"remove","ctr":"imaged"}"#).unwrap();
    assert_eq!(ask(&tree, "control", r#"{"verb":"wipe"}"#).unwrap(), "\n");
}

fn make_imaged_again(tree: &Mounted) {
    create(tree, r#"{"name":"imaged","image":"small"}"#);
    tree.echo("1", "ctr/imaged/mounted").unwrap();
    assert_eq!(names_in(&tree.path("ctr/imaged/rootfs")), ["file0", "file1"]);
    tree.echo("0", "ctr/imaged/mounted").unwrap();
}

#[test]
fn with_images_everything_goes() {
    let (tree, mut ids) = furnished();
    ids.extend(names_in(&tree.path("image")));
    ids.extend(names_in(&tree.path("layer")).into_iter().filter(|layer| *layer != tree.id("imaged")));
    ids.sort();
    assert_eq!(removed(&wipe(&["--yes", "--images"], &tree.at)), ids);
    nothing_is_left(&tree, &ids);
    for dir in ["image", "image-name", "layer"] {
        assert_eq!(names_in(&tree.path(dir)), [""; 0], "{dir}");
    }
    assert_eq!(names_in(&tree.store.join("layers")), [""; 0]);
    assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 0 images, 0 layers\n");
}

#[test]
fn while_something_runs_nothing_goes() {
    let (tree, _) = furnished();
    for status in ["running", "paused"] {
        tree.echo(status, "ctr/db/status").unwrap();
        let before = store(&tree);
        for order in [r#"{"verb":"wipe"}"#, r#"{"verb":"wipe","images":true}"#] {
            let (errno, said) = refused_order(&tree, order);
            assert_eq!(errno, Errno::EBUSY, "{order}");
            assert!(said.contains(&format!("container db is {status}")), "{said}");
        }
        let output = wipe(&["--yes"], &tree.at);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains(&format!("wipe: container db is {status}")), "{}", text(&output));
        assert_eq!(store(&tree), before);
        assert_eq!(tree.read("ctr/imaged/rootfs/written"), "x", "it is mounted still");
    }
    tree.echo("stopped", "ctr/db/status").unwrap();
    for (order, words) in [
        (r#"{"verb":"wipe","images":"yes"}"#, "the key \\\"images\\\" takes true or false"),
        (r#"{"verb":"wipe","ctr":"db"}"#, "the key \\\"ctr\\\" takes nothing"),
    ] {
        let (errno, said) = refused_order(&tree, order);
        assert_eq!(errno, Errno::EINVAL, "{order}");
        assert!(said.contains(words), "{order}: {said}");
    }
}

#[test]
fn it_is_one_step_with_the_orders_beside_it() {
    let (tree, ids) = furnished();
    let orders = r#"{"verb":"wipe"}{"verb":"remove","ctr":"db"}"#;
    assert_eq!(refused_order(&tree, orders).0, Errno::ENOENT);
    assert_eq!(names_in(&tree.path("id")).len(), ids.len());
    let orders = r#"{"verb":"remove","ctr":"v"}{"verb":"wipe"}"#;
    assert_eq!(ask(&tree, "control", orders).unwrap().lines().count(), 2);
    nothing_is_left(&tree, &ids);
}

#[test]
fn a_store_that_is_not_mounted_is_wiped_directly() {
    let (tree, ids) = furnished();
    tree.echo("running", "ctr/db/status").unwrap();
    tree.unmount_while_live();
    let refused = wipe(&["--yes"], &tree.store);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("container db is running"), "{}", text(&refused));
    tree.mount();
    tree.echo("exited", "ctr/db/status").unwrap();
    tree.unmount();
    assert_eq!(removed(&wipe(&["--yes"], &tree.store)), ids);
    assert_eq!(names_in(&tree.store.join("ctr")), [""; 0]);
    tree.mount();
    assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 1 images, 2 layers\n");
}

#[test]
fn what_is_removed_is_told_though_its_files_stay() {
    let (tree, ids) = furnished();
    tree.unmount();
    let trash = tree.store.join("trash");
    fs::remove_dir(&trash).unwrap();
    fs::write(&trash, "").unwrap();
    let output = wipe(&["--yes"], &tree.store);
    assert_eq!(output.status.code(), Some(1));
    let mut told: Vec<&str> = str::from_utf8(&output.stdout).unwrap().lines().collect();
    told.sort();
    assert_eq!(told, ids);
    assert!(text(&output).ends_with("trash: Not a directory (os error 20)\n"), "{}", text(&output));
    fs::remove_file(&trash).unwrap();
    assert_eq!(removed(&wipe(&["--yes"], &tree.store)), [""; 0]);
}

/// A keeper that died leaves overlays behind, whose directories must not go from under them.
#[test]
fn what_is_still_mounted_keeps_an_unmounted_store_whole() {
    let (tree, ids) = furnished();
    let keeper = tree.keeper();
    kill(keeper);
    wait_until("the mount is dead", || fs::read_dir(&tree.at).is_err());
    succeed(Command::new("umount").arg("-l").arg(&tree.at));
    for arguments in [["--yes"].as_slice(), &["--images", "--yes"]] {
        let output = wipe(arguments, &tree.store);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains("is still mounted; mount the store first"), "{}", text(&output));
    }
    tree.mount();
    assert_eq!(tree.read("ctr/imaged/rootfs/written"), "x");
    assert_eq!(removed(&wipe(&["--yes"], &tree.store)), ids);
}

/// Answers on a terminal.
fn on_terminal(tree: &Mounted, answer: &str) -> Output {
    const TALK: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], "wipe", sys.argv[2]])
said = b""
while b"[y/N] " not in said:
    said += os.read(terminal, 1024)
os.write(terminal, sys.argv[3].encode() + b"\n")
try:
    while piece := os.read(terminal, 1024):
        said += piece
except OSError:
    pass
sys.stdout.buffer.write(said)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;
    need("python3", "python3");
    Command::new("python3").args(["-c", TALK, CTRFS]).arg(&tree.at).arg(answer).output().unwrap()
}

#[test]
fn it_asks_and_takes_nothing_but_yes_for_yes() {
    let tree = Mounted::new();
    let id = tree.make("web");
    let output = wipe(&[], &tree.at);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("no terminal to ask on"), "{}", text(&output));
    for no in ["", "n", "no", "yep", "N"] {
        let output = on_terminal(&tree, no);
        assert_eq!(output.status.code(), Some(1), "{no:?}: {}", text(&output));
        assert!(text(&output).contains("nothing was removed"), "{no:?}: {}", text(&output));
        assert!(tree.path("ctr/web").exists(), "{no:?}");
    }
    for yes in ["y", "YES"] {
        let id = if tree.path("ctr/web").exists() { id.clone() } else { tree.make("web") };
        let output = on_terminal(&tree, yes);
        assert_eq!(output.status.code(), Some(0), "{yes:?}: {}", text(&output));
        assert!(text(&output).contains(&format!("Remove all containers and pods of {}?", tree.at.display())));
        assert!(text(&output).contains(&id), "{}", text(&output));
        assert!(!tree.path("ctr/web").exists(), "{yes:?}");
    }
}
