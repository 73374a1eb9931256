//! Containers whose rootfs is a directory of the user's, mounted as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use serde_json::json;

use crate::mounting::kill_both;
use crate::support::images::Image;
use crate::support::{CTRFS, Mounted, Scratch, errno, mountinfo, succeed, text, wait_until};
use crate::tools::{append, create, json, refused};

fn mounted_with(tree: &Mounted, rootfs: &Path) -> String {
    let id = create(tree, &json!({"name": "web", "rootfs": rootfs}).to_string()).remove(0);
    tree.echo("1", "ctr/web/mounted").unwrap();
    id
}

#[test]
fn its_config_changes_while_it_is_mounted_and_its_directory_does_not() {
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    mounted_with(&tree, scratch.path());
    append(&tree, "ctr/web/config", r#"{"labels":{"a":"b"}}"#).unwrap();
    append(&tree, "ctr/web/config", r#"{"rootfs_overlay":false}"#).unwrap();
    tree.echo("shop", "ctr/web/name").unwrap();
    let config = tree.read("ctr/shop/config");
    fs::write(tree.path("ctr/shop/config"), &config).unwrap();
    assert_eq!(json(&tree, "ctr/shop/config")["labels"], json!({"a": "b"}));
    for other in [r#"{"rootfs":"/srv"}"#, r#"{"rootfs":null}"#, r#"{"rootfs_overlay":true}"#] {
        let change = || append(&tree, "ctr/shop/config", other);
        refused(&tree, "write", Errno::EBUSY, "container shop is mounted", change);
    }
    assert_eq!(tree.read("ctr/shop/config"), config);
    tree.echo("0", "ctr/shop/mounted").unwrap();
    append(&tree, "ctr/shop/config", r#"{"rootfs":"/srv"}"#).unwrap();
}

#[test]
fn a_server_that_begins_leaves_the_small_files_of_what_is_mounted() {
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    let id = mounted_with(&tree, scratch.path());
    let run = format!("{}/run/{id}", tree.read("runtime-config/run-root").trim_end());
    let (hosts, resolv_conf) = (format!("{run}/hosts"), format!("{run}/resolv.conf"));
    let made = fs::read_to_string(&resolv_conf).unwrap();
    fs::write(&hosts, "of the engine's\n").unwrap();
    fs::remove_file(&resolv_conf).unwrap();
    tree.kill_server();
    wait_until("what is missing is made again", || Path::new(&resolv_conf).exists());
    assert_eq!(fs::read_to_string(&resolv_conf).unwrap(), made);
    tree.echo("1", "ctr/web/mounted").unwrap();
    assert_eq!(fs::read_to_string(&hosts).unwrap(), "of the engine's\n");
    // Each mount begins with files of its own.
    tree.echo("0", "ctr/web/mounted").unwrap();
    tree.echo("1", "ctr/web/mounted").unwrap();
    assert_ne!(fs::read_to_string(&hosts).unwrap(), "of the engine's\n");
}

#[test]
fn the_hosts_files_may_be_missing_or_long() {
    const SCRIPT: &str = r#"set -eu
        mount -t tmpfs none /etc
        mount -t tmpfs none /run
        trap 'umount -l "$at"' EXIT
        "$ctrfs" mount "$store" "$at"
        cd "$at/ctr/web"
        run=$(cat "$at/runtime-config/run-root")/run/$(readlink ../web)
        echo 1 > mounted
        cat "$run/resolv.conf" "$run/hosts"
        echo 0 > mounted
        yes '10.0.0.1 name' | head -n 80000 > /etc/hosts
        echo 1 > mounted
        test "$(sort -u "$run/hosts")" = '10.0.0.1 name'
        ln -s resolv.conf /etc/resolv.conf
        echo 1 > mounted
        rm "$run/resolv.conf"
        ! echo 1 > mounted 2> /dev/null
        tail -n 1 "$at/refusals"
    "#;
    let (tree, rootfs) = (Mounted::new(), Scratch::new());
    create(&tree, &json!({"name": "web", "rootfs": rootfs.path()}).to_string());
    tree.unmount();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", SCRIPT]).env("ctrfs", CTRFS).env("store", &tree.store).env("at", &tree.at);
    let said = text(&succeed(&mut command));
    assert_eq!(said.lines().count(), 1, "{said}");
    let why = r#""errno":"EIO","reason":"/etc/resolv.conf: Too many symbolic links encountered""#;
    assert!(said.contains(why), "{said}");
    // The namespace lasts as long as the keeper, which ends soon.
    wait_until("the keeper ends", || fs::read_to_string(tree.store.join("lock")).unwrap().is_empty());
    tree.mount();
}

#[test]
fn one_on_a_filesystem_that_is_dead_counts_as_mounted() {
    let (tree, dead) = (Mounted::new(), Mounted::new());
    let id = mounted_with(&tree, &dead.at);
    kill_both(&dead);

    assert_eq!(tree.read("ctr/web/mounted"), "1\n");
    assert_eq!(errno(fs::remove_file(tree.path("ctr/web"))), Errno::EBUSY);
    assert!(tree.last_refusal().contains("container web is mounted"));
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    let left: Vec<String> = mountinfo().lines().filter(|line| line.contains(&id)).map(str::to_owned).collect();
    assert_eq!(left, [""; 0]);
    dead.mount();
}

#[test]
fn a_text_in_the_place_of_an_image_s_id_is_no_image() {
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    fs::write(scratch.path().join("plain"), "").unwrap();
    Image::new("base", &["a"]).import(&tree, &["base"]);
    create(&tree, &json!({"name": "web", "rootfsImageID": "base", "rootfs": scratch.path()}).to_string());
    let exported = text(&tree.ctrfs(&["export", "web"]));
    assert!(exported.contains("plain\0"), "{exported}");
    for verb in [&["diff", "web"][..], &["commit", "web", "new"]] {
        let said = text(&tree.ctrfs(verb));
        assert!(said.contains(scratch.path().to_str().unwrap()), "{verb:?}: {said}");
    }
    create(&tree, r#"{"name":"bare","rootfsImageID":"base"}"#);
    let said = text(&tree.ctrfs(&["export", "bare"]));
    assert!(said.contains("neither an image nor a rootfs"), "{said}");
}

#[test]
fn an_export_keeps_the_mode_of_what_it_replaces() {
    let (tree, scratch, out) = (Mounted::new(), Scratch::new(), Scratch::new());
    mounted_with(&tree, scratch.path());
    let archive = out.path().join("web.tar");
    for mode in [0o600, 0o666] {
        fs::write(&archive, "old").unwrap();
        fs::set_permissions(&archive, fs::Permissions::from_mode(mode)).unwrap();
        let output = tree.ctrfs(&["export", "web", archive.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output));
        let meta = fs::metadata(&archive).unwrap();
        assert_eq!((meta.permissions().mode() & 0o7777, meta.len() >= 1024), (mode, true));
    }
    tree.echo("0", "ctr/web/mounted").unwrap();
}
