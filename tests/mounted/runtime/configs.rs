//! What a container is asked for and what its image says, as the process in it sees them.

use std::fs;

use serde_json::Value;

use super::{GREETING, Place};
use crate::support::{is_mounted, text};
use crate::tools::json;

#[test]
fn the_image_fills_what_the_container_leaves_open() {
    let place = Place::new();
    place.build("cat", &["--config.entrypoint", "/bin/cat", "--config.cmd", "/etc/greeting"]);
    place.import("cat", "cat");
    for (image, keys, expected) in [
        ("busybox", "", "from the image\n"),
        (
            "busybox",
            r#""command":["echo $A $PWD; echo $PATH"]"#,
            "1 /tmp\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
        ),
        ("busybox", r#""entrypoint":["/bin/echo","own"]"#, "own\n"),
        ("busybox", r#""entrypoint":[""],"command":["/bin/echo","bare"]"#, "bare\n"),
        (
            "busybox",
            r#""command":["echo $A $B $PWD"],"spec":{"process":{"env":["A=2","B=3"],"cwd":"/etc"}}"#,
            "2 3 /etc\n",
        ),
        ("busybox", r#""hostname":"lighthouse","command":["hostname; cat /etc/hostname"]"#, "lighthouse\nlighthouse"),
        ("cat", "", "good morning\n"),
        ("cat", r#""command":["/etc/hostname"],"hostname":"h""#, "h"),
    ] {
        place.mount_of(image, "web", keys);
        assert_eq!(place.stdout("web"), expected, "{keys}");
        place.remove("web");
    }
}

/// An ordinary user's namespace has one user only.
#[test]
fn root_a_user_is_looked_up_in_the_image() {
    let place = Place::new();
    place.build("user", &["--config.user", "web", "--config.entrypoint", "/bin/sh", "--config.entrypoint", "-c"]);
    place.import("user", "user");
    for (image, keys, expected) in [
        ("user", "", "1000 77 77 88\n"),
        ("user", r#","user":"root""#, "0 0 0\n"),
        ("user", r#","user":"web:extra""#, "1000 88 88\n"),
        ("busybox", r#","user":"4:5","groups":["extra"]"#, "4 5 5 88\n"),
    ] {
        place.mount_of(image, "web", &format!(r#""command":["echo $(id -u) $(id -g) $(id -G)"]{keys}"#));
        assert_eq!(place.stdout("web"), expected, "{image} {keys}");
        place.remove("web");
    }
    place.mount("web", r#""user":"nobody-here""#);
    assert!(fs::read(place.tree.path("ctr/web/config.json")).is_err());
    assert!(place.tree.last_refusal().contains("nobody-here"), "{}", place.tree.last_refusal());
}

#[test]
fn a_whole_spec_of_its_own_stays_as_it_is() {
    let place = Place::new();
    place.mount("model", "");
    let mut spec = json(&place.tree, "ctr/model/config.json");
    spec["process"]["args"] = vec!["/bin/cat", "/proc/sys/kernel/hostname", "/etc/greeting"].into();
    spec["hostname"] = "of-its-own".into();
    spec["root"]["path"] = "/nowhere".into();
    spec["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "bind");
    let id = place.mount("web", &format!(r#""spec":{spec}"#));
    let mut served = json(&place.tree, "ctr/web/config.json");
    assert_eq!(place.stdout("web"), format!("of-its-own\n{GREETING}\n"));
    // The rest is the same.
    let path = served["root"]["path"].as_str().unwrap().to_owned();
    assert!(path.ends_with(&format!("/p/{id}/rootfs")), "{path}");
    served["root"]["path"] = "/nowhere".into();
    let is_ours = |mount: &Value| mount["source"].as_str().is_some_and(|source| source.contains(&id));
    let mounts = served["mounts"].as_array_mut().unwrap();
    assert_eq!(mounts.iter().filter(|mount| is_ours(mount)).count(), 4, "shm, resolv.conf, hosts and hostname");
    mounts.retain(|mount| !is_ours(mount));
    assert_eq!(served, spec);
}

#[test]
fn without_shm_there_is_none() {
    let place = Place::new();
    let script = r#""command":["grep -c ' /dev/shm ' /proc/mounts; ls -d /dev/shm 2>&1"]"#;
    place.mount("web", &format!(r#""NoShm":true,{script}"#));
    assert!(is_mounted(&place.tree.path("ctr/web").canonicalize().unwrap().join("rootfs")));
    assert!(!is_mounted(&place.tree.path("ctr/web").canonicalize().unwrap().join("shm")));
    let said = text(&place.run("web"));
    assert!(said.starts_with("0\n") && said.contains("No such file"), "{said}");
}

#[test]
fn an_image_without_layers_is_one_too() {
    let place = Place::new();
    place.import("none", "none");
    place.mount_of("none", "web", r#""command":["/sh","-c","echo alone"]"#);
    assert_eq!(fs::read_dir(place.rootfs("web")).unwrap().count(), 0);
    assert_eq!((place.tree.read("ctr/web/size-rootfs"), place.ctrfs(&["diff", "web"])), ("0\n".into(), String::new()));
    fs::copy(place.scratch.path().join("root/bin/busybox"), place.rootfs("web").join("sh")).unwrap();
    assert_eq!(place.stdout("web"), "alone\n");
    assert!(place.ctrfs(&["diff", "web"]).contains("A /sh\n"));
    place.ctrfs(&["commit", "web", "one"]);
    place.mount_of("one", "again", r#""command":["/sh","-c","echo not alone"]"#);
    assert_eq!(place.stdout("again"), "not alone\n");
    let exported = place.scratch.path().join("none.tar");
    place.mount_of("none", "unused", "");
    place.ctrfs(&["export", "unused", exported.to_str().unwrap()]);
    assert!(exported.is_file());
    for name in ["web", "again", "unused"] {
        place.remove(name);
    }
}
