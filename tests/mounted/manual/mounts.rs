//! The page's parts on images, rootfs and mounts.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::*;
use crate::support::mountinfo;
use crate::tools::{IMAGE, make_image, staged_image};

fn state(tree: &Mounted, ctr: &str) -> Value {
    serde_json::from_str(&tree.read(&format!("ctr/{ctr}/state"))).unwrap()
}

fn config(tree: &Mounted, ctr: &str) -> Value {
    serde_json::from_str(&tree.read(&format!("ctr/{ctr}/config"))).unwrap()
}

/// The line of mountinfo of a mountpoint.
fn mounted_at(path: &str) -> Option<String> {
    mountinfo().lines().find(|line| line.split(' ').nth(4) == Some(path)).map(str::to_owned)
}

/// Where a container's primary is.
fn primary(tree: &Mounted, id: &str, part: &str) -> String {
    format!("{}/p/{id}/{part}", tree.read("runtime-config/run-root").trim_end())
}

/// The words of a section's items: `.It Ql a , b`.
fn items(section: &str) -> Vec<&str> {
    let text = PAGE.split(&format!(".Ss {section}\n")).nth(1).unwrap().split("\n.S").next().unwrap();
    let items = text.lines().filter_map(|line| line.strip_prefix(".It Ql "));
    items.flat_map(|line| line.split(" , ")).collect()
}

#[test]
fn an_image_is_made_of_the_keys_of_the_page() {
    let tree = Mounted::new();
    let document = staged_image(&tree);
    let mut keys: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
    let mut told = items("Images");
    keys.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, keys);
    let image = ask(&tree, "create/image", &document.to_string()).unwrap();
    let image = image.trim_end();
    assert_eq!(fs::read_dir(tree.store.join("staging/small")).unwrap().count(), 0, "the layers are moved away");
    assert_eq!(link(&tree, &format!("image-name/{IMAGE}")), format!("../../image/{image}"));
    assert_eq!(link(&tree, "image/small"), image, "the registry is localhost, the tag latest");
    assert_eq!(tree.read(&format!("image/{image}/config")), document["config"].as_str().unwrap());
    assert_eq!(tree.read(&format!("image/{image}/manifest")), document["manifest"].as_str().unwrap());
    assert_eq!(tree.read(&format!("image/{image}/size")), "2\n");

    let mut again = document;
    again["names"] = json!(["small:2"]);
    assert_eq!(ask(&tree, "create/image", &again.to_string()).unwrap().trim_end(), image);
    assert_eq!(tree.read(&format!("image/{image}/names")), "localhost/small:latest\nlocalhost/small:2\n");
}

#[test]
fn an_images_names_come_and_go() {
    let tree = Mounted::new();
    let image = make_image(&tree);
    sh(&tree, "cd image-name; ln -s small localhost/a:1; ln -s localhost/small:latest localhost/b:1");
    symlink(&image[..8], tree.path("image-name/localhost/c:1")).unwrap();
    sh(&tree, "cd image-name; mkdir a.example; mv -T localhost/c:1 a.example/c:1; rm localhost/small:latest");
    let names = "localhost/a:1\nlocalhost/b:1\na.example/c:1\n";
    assert_eq!(tree.read(&format!("image/{image}/names")), names);
    sh(&tree, "cd image-name; mkdir -p b.example/x; rmdir b.example/x b.example; rm a.example/c:1");
    assert_eq!(listing(&tree, "image-name"), ["localhost"], "a directory goes with its last name");
    fs::remove_dir(tree.path(&format!("image/{image}"))).unwrap();
    for dir in ["image", "image-name", "layer"] {
        assert_eq!(listing(&tree, dir), [""; 0], "{dir}");
    }
    assert_eq!(fs::read_dir(tree.store.join("layers")).unwrap().count(), 0);
}

#[test]
fn a_rootfs_is_an_image_or_a_directory() {
    let tree = Mounted::new();
    let image = make_image(&tree);
    sh(
        &tree,
        r#"echo '{"name":"a","image":"small"} {"name":"b","rootfsImageID":"sha256:else"}' >create/ctr; mkdir ctr/c"#,
    );
    let made = config(&tree, "a");
    assert_eq!((&made["rootfsImageID"], &made["rootfsImageName"]), (&json!(image), &json!(IMAGE)));
    assert!(made.get("image").is_none() && tree.path("ctr/b/image").symlink_metadata().is_err());
    let both = format!(r#"{{"image":"{image}","rootfs":"/"}}"#);
    assert_eq!(errno(append(&tree, "ctr/c/config", &both)), Errno::EINVAL);
    assert_eq!(errno(append(&tree, "ctr/c/config", r#"{"rootfs":"bin"}"#)), Errno::EINVAL);
    for there in [r#"{"rootfs":"/usr"}"#, r#"{"rootfs":"/"}"#, r#"{"rootfs":null,"image":"small"}"#] {
        append(&tree, "ctr/c/config", there).unwrap();
        assert!(tree.path("ctr/c/config.json").exists());
    }
    assert_eq!(errno(append(&tree, "ctr/c/config", r#"{"rootfsImageID":null}"#)), Errno::EPERM);
    let own = tree.id("c");
    assert_eq!(tree.read(&format!("layer/{own}/name")), "c-layer\n");
    assert_eq!(listing(&tree, &format!("layer/{own}/used-by")), [own]);
    tree.echo(r#"{"NoShm":true}"#, "ctr/c/config").unwrap();
    assert_eq!(config(&tree, "c")["rootfsImageID"], json!(image), "what leaves the image out keeps it");
    assert!(!tree.path("ctr/c/shm").exists());
}

#[test]
fn mounts_are_primaries_and_views() {
    let tree = Mounted::new();
    let [_, id] = make_imaged(&tree);
    let view = tree.path(&format!("ctr/{id}/rootfs")).display().to_string();
    for _ in 0..2 {
        tree.echo("1", "ctr/imaged/mounted").unwrap();
        assert_eq!(tree.read("ctr/imaged/mounted"), "1\n");
    }
    let at = primary(&tree, &id, "rootfs");
    assert_eq!(state(&tree, "imaged"), json!({"state": "configured", "mounted": true, "mountPoint": at}));
    append(&tree, "ctr/imaged/state", &format!(r#"{{"mounted":true,"mountPoint":"{at}"}}"#)).unwrap();
    assert_eq!(errno(append(&tree, "ctr/imaged/state", r#"{"mounted":false}"#)), Errno::EPERM);
    tree.echo(r#"{"state":"configured"}"#, "ctr/imaged/state").unwrap();
    assert_eq!(state(&tree, "imaged")["mounted"], true);

    assert_eq!(listing(&tree, "ctr/imaged/rootfs"), ["file0", "file1"]);
    let (ours, shown) = (mounted_at(&at).unwrap(), mounted_at(&view).unwrap());
    let harmless = |line: &str| line.split(' ').nth(5).unwrap().contains("nosuid,nodev");
    assert!(harmless(&shown) && !ours.contains("nosuid,nodev,noexec"), "{ours}\n{shown}");
    let shm = mounted_at(&primary(&tree, &id, "shm")).unwrap();
    assert!(shm.contains("size=65536k"), "{shm}");

    // A view that is lost is made again, and nothing that was written is lost with it.
    fs::write(tree.path("ctr/imaged/rootfs/written"), "12345").unwrap();
    succeed(Command::new("umount").arg(&view));
    assert_eq!(listing(&tree, "ctr/imaged/rootfs"), [""; 0]);
    tree.echo("1", "ctr/imaged/mounted").unwrap();
    assert_eq!(tree.read("ctr/imaged/rootfs/written"), "12345");
    succeed(Command::new("umount").arg(&view));
    tree.kill_server();
    wait_until("a new server shows it again", || tree.path("ctr/imaged/rootfs/written").exists());

    sh(&tree, "cd ctr/imaged/rootfs; ln written again; ln -s 123 link; mkdir -p d/e; rm file0");
    assert_eq!(tree.read("ctr/imaged/size-rw"), "8\n", "a file, once, and a symlink");
    assert_eq!(tree.read(&format!("layer/{id}/size")), "8\n");
    assert_eq!(tree.read("ctr/imaged/size-rootfs"), "2\n");
    tree.echo("running", "ctr/imaged/status").unwrap();
    assert_eq!(errno(tree.echo("0", "ctr/imaged/mounted")), Errno::EBUSY);
    tree.echo("exited", "ctr/imaged/status").unwrap();
    for _ in 0..2 {
        tree.echo("0", "ctr/imaged/mounted").unwrap();
        assert_eq!(tree.read("ctr/imaged/mounted"), "0\n");
    }
    assert_eq!(state(&tree, "imaged"), json!({"state": "exited"}));
    assert!(mounted_at(&at).is_none() && mounted_at(&view).is_none());
}

#[test]
fn the_bundle_has_the_primary_and_the_three_files() {
    let tree = Mounted::new();
    let [_, id] = make_imaged(&tree);
    append(&tree, "ctr/imaged/config", r#"{"hostname":"h","hostsAdd":["db;d:10.0.0.2"],"dnsServer":["10.0.0.1"]}"#)
        .unwrap();
    tree.echo("1", "ctr/imaged/mounted").unwrap();
    let run = format!("{}/run/{id}", tree.read("runtime-config/run-root").trim_end());
    let read = |name: &str| fs::read_to_string(format!("{run}/{name}")).unwrap();
    assert_eq!(read("hostname"), "h");
    assert!(read("hosts").ends_with("\n10.0.0.2 db d\n") || read("hosts") == "10.0.0.2 db d\n");
    assert!(read("resolv.conf").contains("nameserver 10.0.0.1\n"));
    let spec = |tree: &Mounted| -> Value { serde_json::from_str(&tree.read("ctr/imaged/config.json")).unwrap() };
    let made = spec(&tree);
    assert_eq!(made["root"]["path"], primary(&tree, &id, "rootfs"));
    assert_eq!((&made["process"]["args"], &made["hostname"]), (&json!(["true"]), &json!("h")));
    let source = |made: &Value, at: &str| {
        let mounts = made["mounts"].as_array().unwrap();
        mounts.iter().find(|mount| mount["destination"] == at).map(|mount| mount["source"].as_str().unwrap().to_owned())
    };
    assert_eq!(source(&made, "/dev/shm"), Some(primary(&tree, &id, "shm")));
    for (at, name) in [("/etc/resolv.conf", "resolv.conf"), ("/etc/hosts", "hosts"), ("/etc/hostname", "hostname")] {
        assert_eq!(source(&made, at), Some(format!("{run}/{name}")));
    }
    // Whole: the default fills in nothing; no UTS namespace: no host name.
    append(&tree, "ctr/imaged/config", r#"{"spec":{"ociVersion":"1.0.2"},"command":["x"],"UseImageHosts":true}"#)
        .unwrap();
    let made = spec(&tree);
    assert_eq!((made.get("hostname"), made.get("linux")), (None, None));
    assert_eq!((source(&made, "/etc/hostname"), source(&made, "/etc/hosts")), (None, None));
    assert_eq!(made["process"]["args"], json!(["x"]));
    // A name that the rootfs does not know.
    append(&tree, "ctr/imaged/config", r#"{"user":"nobody-here"}"#).unwrap();
    assert_eq!(errno(fs::read(tree.path("ctr/imaged/config.json"))), Errno::EINVAL);
    tree.echo("0", "ctr/imaged/mounted").unwrap();
    assert!(!Path::new(&run).exists());
}

#[test]
fn unmounting_leaves_what_runs_and_the_next_mount_takes_it_over() {
    let tree = Mounted::new();
    let [_, id] = make_imaged(&tree);
    sh(
        &tree,
        r#"echo '{"name":"idle","image":"small"}' >create/ctr; echo 1 >ctr/idle/mounted; echo 1 >ctr/imaged/mounted"#,
    );
    let idle = tree.id("idle");
    sh(&tree, "echo running >ctr/imaged/status; echo x >ctr/imaged/rootfs/w; echo x >ctr/idle/rootfs/w");
    let plain = Command::new("umount").arg(&tree.at).output().unwrap();
    assert!(text(&plain).contains("busy"), "{}", text(&plain));
    let [kept, gone] = [primary(&tree, &id, "rootfs"), primary(&tree, &idle, "rootfs")];
    let before = mounted_at(&kept);
    let refused = Command::new(CTRFS).arg("umount").arg(&tree.at).output().unwrap();
    assert!(text(&refused).contains("containers run in it: imaged"), "{}", text(&refused));
    succeed(Command::new(CTRFS).args(["umount", "--lazy"]).arg(&tree.at));
    wait_until("what is idle is gone", || mounted_at(&gone).is_none());
    assert_eq!(mounted_at(&kept), before);
    let remounted = || tree.mount_command("rw").output().unwrap();
    wait_until("the store is free", || remounted().status.success());
    assert_eq!(mounted_at(&kept), before, "it is the same mount");
    assert_eq!((tree.read("ctr/imaged/rootfs/w"), tree.read("ctr/idle/rootfs/w")), ("x\n".into(), "x\n".into()));
    kill(tree.keeper());
    wait_until("the mount is dead", || fs::read_dir(&tree.at).is_err());
    assert_eq!(mounted_at(&kept), before, "primaries outlive the keeper");
    tree.mount();
    assert_eq!(tree.read("ctr/imaged/rootfs/w"), "x\n");
    tree.echo("exited", "ctr/imaged/status").unwrap();
}
