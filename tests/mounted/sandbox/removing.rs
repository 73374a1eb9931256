//! Starting, stopping and removing.

use std::fs;
use std::process::Output;

use nix::errno::Errno;

use super::{POD, furnished, make, member, sandbox};
use crate::support::images::names_in;
use crate::support::{Mounted, errno, is_mounted, text};
use crate::tools::{ask, refused};

fn told(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
    text(output)
}

/// Nothing of containers and pods is left, in the tree or beside it.
fn all_gone(tree: &Mounted) {
    for dir in ["ctr", "pod", "name", "id"] {
        assert_eq!(names_in(&tree.path(dir)), [""; 0], "{dir}");
    }
    assert_eq!(names_in(&tree.store.join("ctr")), [""; 0]);
    assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 1 images, 2 layers\n");
}

#[test]
fn start_and_stop_mount_and_unmount() {
    let (tree, ids) = furnished(&["web"]);
    let rootfs = |id: &str| tree.path(&format!("ctr/{id}/rootfs"));
    for (word, id) in [("shop-infra", POD), (POD, POD), ("web", ids[0].as_str()), (&ids[0][..12], &ids[0])] {
        assert_eq!(told(&tree.ctrfs(&["start", word]), 0), format!("{}\n", rootfs(id).display()), "{word}");
        assert!(is_mounted(&rootfs(id)), "{word}");
        assert_eq!(fs::read_to_string(rootfs(id).join("file0")).unwrap(), "x");
        assert_eq!(tree.read(&format!("ctr/{id}/mounted")), "1\n");
    }
    let both = told(&tree.ctrfs(&["start", "web", "shop-infra"]), 0);
    assert_eq!(both, format!("{}\n{}\n", rootfs(&ids[0]).display(), rootfs(POD).display()));
    fs::write(rootfs(&ids[0]).join("mine"), "written").unwrap();
    assert!(!rootfs(POD).join("mine").exists(), "each has a layer of its own");
    for words in [&["stop", "web", POD][..], &["stop", "web"]] {
        assert_eq!(told(&tree.ctrfs(words), 0), "");
        assert!(!is_mounted(&rootfs(&ids[0])) && !is_mounted(&rootfs(POD)));
    }
    told(&tree.ctrfs(&["start", "web"]), 0);
    assert_eq!(fs::read_to_string(rootfs(&ids[0]).join("mine")).unwrap(), "written");
    tree.echo("running", "ctr/web/status").unwrap();
    assert_eq!(told(&tree.ctrfs(&["stop", "web"]), 1), "ctrfs: stop container web: container web is running\n");
    tree.echo("exited", "ctr/web/status").unwrap();
    fs::remove_dir(tree.path(&format!("ctr/{}", ids[0]))).unwrap();
    for gone in ["web", &ids[0], "nobody"] {
        for verb in ["start", "stop", "rm"] {
            let said = told(&tree.ctrfs(&[verb, gone]), 1);
            assert!(said.ends_with(&format!("container {gone}: no container has this ID or exact name\n")), "{said}");
        }
        for verb in ["stop", "rm"] {
            assert_eq!(told(&tree.ctrfs(&[verb, "--ignore", gone]), 0), "", "{verb} {gone}");
        }
    }
    assert!(told(&tree.ctrfs(&["stop", "--ignore", ""]), 1).contains("neither an ID nor a name"));
    assert_eq!(tree.ctrfs(&["start"]).status.code(), Some(2));
}

#[test]
fn the_infra_container_goes_with_its_pod_alone() {
    let (tree, ids) = furnished(&["web"]);
    let words = "it is the infra container of pod shop; it goes when the pod does";
    refused(&tree, "rmdir", Errno::EBUSY, words, || fs::remove_dir(tree.path(&format!("ctr/{POD}"))));
    refused(&tree, "unlink", Errno::EBUSY, words, || fs::remove_file(tree.path("ctr/shop-infra")));
    for one in ["shop-infra", POD] {
        let order = format!(r#"{{"verb":"remove","ctr":["web","{one}"]}}"#);
        refused(&tree, "write", Errno::EBUSY, words, || ask(&tree, "control", &order));
    }
    assert!(told(&tree.ctrfs(&["rm", "shop-infra"]), 1).contains(words));
    let words = "pod shop still has 1 containers";
    refused(&tree, "rmdir", Errno::ENOTEMPTY, words, || fs::remove_dir(tree.path(&format!("pod/{POD}"))));
    refused(&tree, "unlink", Errno::ENOTEMPTY, words, || fs::remove_file(tree.path("pod/shop")));
    fs::remove_dir(tree.path(&format!("ctr/{}", ids[0]))).unwrap();
    tree.echo("running", "ctr/shop-infra/status").unwrap();
    let words = "container shop-infra is running";
    refused(&tree, "rmdir", Errno::EBUSY, words, || fs::remove_dir(tree.path(&format!("pod/{POD}"))));
    tree.echo("exited", "ctr/shop-infra/status").unwrap();
    fs::remove_dir(tree.path(&format!("pod/{POD}"))).unwrap();
    all_gone(&tree);
    assert_eq!(errno(fs::metadata(tree.path(&format!("ctr/{POD}/config")))), Errno::ENOENT);
}

#[test]
fn a_pod_takes_the_mounts_of_its_infra_container_along() {
    let (tree, _) = furnished(&[]);
    let rootfs = tree.path(&format!("ctr/{POD}/rootfs"));
    // The same ID may come again.
    for _ in 0..3 {
        tree.echo("1", "ctr/shop-infra/mounted").unwrap();
        fs::write(rootfs.join("mine"), "x").unwrap();
        refused(&tree, "unlink", Errno::EBUSY, "container shop-infra is mounted", || {
            fs::remove_file(tree.path("pod/shop"))
        });
        fs::remove_dir(tree.path(&format!("pod/{POD}"))).unwrap();
        assert!(!is_mounted(&rootfs));
        all_gone(&tree);
        make(&tree, "sandbox", &sandbox()).unwrap();
        tree.echo("1", "ctr/shop-infra/mounted").unwrap();
        assert!(!rootfs.join("mine").exists(), "nothing is left of the one before");
        tree.echo("0", "ctr/shop-infra/mounted").unwrap();
    }
    fs::remove_file(tree.path("pod/shop")).unwrap();
    all_gone(&tree);
}

#[test]
fn data_of_the_infra_container_saves_its_pod_from_a_hasty_rm() {
    let (tree, _) = furnished(&[]);
    fs::write(tree.path("ctr/shop-infra/data/config.json"), "{}").unwrap();
    refused(&tree, "unlink", Errno::EBUSY, "shop-infra has files", || fs::remove_file(tree.path("pod/shop")));
    fs::remove_dir(tree.path(&format!("pod/{POD}"))).unwrap();
    all_gone(&tree);
}

#[test]
fn a_sandbox_goes_with_all_its_containers_in_one_step() {
    let (tree, ids) = furnished(&["web", "db"]);
    for name in ["shop-infra", "web"] {
        tree.echo("1", &format!("ctr/{name}/mounted")).unwrap();
    }
    let removed = ask(&tree, "control", r#"{"verb":"remove","pod":"shop","recursive":true}"#).unwrap();
    assert_eq!(removed, format!("{} {} {POD}\n", ids[0], ids[1]), "each ID once");
    all_gone(&tree);
    assert!(!is_mounted(&tree.path(&format!("ctr/{POD}/rootfs"))));
    make(&tree, "sandbox", &sandbox()).unwrap();
    make(&tree, "ctr", &member("web")).unwrap();
    tree.echo("running", "ctr/web/status").unwrap();
    assert!(told(&tree.ctrfs(&["rm", "--recursive", "shop"]), 1).ends_with("container web is running\n"));
    tree.echo("exited", "ctr/web/status").unwrap();
    assert!(told(&tree.ctrfs(&["rm", "--pod", "shop"]), 1).contains("still has 1 containers"));
    assert_eq!(told(&tree.ctrfs(&["rm", "--recursive", POD]), 0), "");
    all_gone(&tree);
    make(&tree, "sandbox", &sandbox()).unwrap();
    assert_eq!(told(&tree.ctrfs(&["rm", "--pod", "shop"]), 0), "");
    assert_eq!(told(&tree.ctrfs(&["rm", "--pod", "--ignore", "shop", POD]), 0), "");
    all_gone(&tree);
}
