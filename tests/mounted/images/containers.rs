//! Containers upon images and upon directories: how they are asked for, and what is fixed then.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use nix::errno::Errno;
use serde_json::{Value, json};

use crate::support::images::{Image, names_in};
use crate::support::{Mounted, errno};

fn with_image() -> (Mounted, Image) {
    let (tree, image) = (Mounted::new(), Image::new("one", &["a", "b"]));
    image.import(&tree, &["busybox", "quay.io/team/app:v1"]);
    (tree, image)
}

fn create(tree: &Mounted, document: Value) -> io::Result<()> {
    fs::write(tree.path("create/ctr"), format!("{document}\n"))
}

fn append(tree: &Mounted, name: &str, document: Value) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(tree.path(&format!("ctr/{name}/config")))?;
    file.write_all(format!("{document}\n").as_bytes())
}

fn replace(tree: &Mounted, name: &str, document: Value) -> io::Result<()> {
    fs::write(tree.path(&format!("ctr/{name}/config")), format!("{document}\n"))
}

fn config(tree: &Mounted, name: &str) -> Value {
    serde_json::from_str(&tree.read(&format!("ctr/{name}/config"))).unwrap()
}

/// The two keys that libpod has for an image.
fn image_keys(tree: &Mounted, name: &str) -> (Value, Value) {
    let config = config(tree, name);
    assert_eq!(config.get("image"), None, "it is kept under libpod's keys");
    (config["rootfsImageID"].clone(), config["rootfsImageName"].clone())
}

fn has(tree: &Mounted, name: &str, entry: &str) -> bool {
    tree.path(&format!("ctr/{name}/{entry}")).symlink_metadata().is_ok()
}

#[test]
fn an_image_is_asked_for_by_whatever_means_it() {
    let (tree, image) = with_image();
    let id = image.id();
    let busybox = "localhost/busybox:latest";
    for (n, (text, name)) in [
        ("busybox", busybox),
        (busybox, busybox),
        ("quay.io/team/app:v1", "quay.io/team/app:v1"),
        (&id, busybox),
        (&format!("sha256:{id}"), busybox),
        (&id[..7], busybox),
    ]
    .into_iter()
    .enumerate()
    {
        let ctr = format!("c{n}");
        create(&tree, json!({"name": ctr, "image": text})).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(image_keys(&tree, &ctr), (json!(id), json!(name)), "{text}");
        let link = fs::read_link(tree.path(&format!("ctr/{ctr}/image"))).unwrap();
        assert_eq!(link, Path::new("../../image").join(&id));
        assert_eq!(tree.read(&format!("ctr/{ctr}/size-rootfs")), format!("{}\n", image.size()));
    }
    assert_eq!(names_in(&tree.path(&format!("image/{id}/used-by"))).len(), 6);
    for (text, refused) in [("absent", Errno::ENOENT), ("Bad", Errno::ENOENT), (&id[..3], Errno::ENOENT)] {
        assert_eq!(errno(create(&tree, json!({"name": "bad", "image": text}))), refused, "{text}");
    }
    for document in [
        json!({"image": 7}),
        json!({"image": "busybox", "rootfs": "/srv"}),
        json!({"rootfsImageID": id, "rootfs": "/srv"}),
        json!({"rootfs": "srv/tree"}),
        json!({"image": "busybox", "rootfsImageID": "0".repeat(64)}),
    ] {
        assert_eq!(errno(create(&tree, document.clone())), Errno::EINVAL, "{document}");
    }
    assert_eq!(names_in(&tree.path("ctr")).len(), 6, "what was refused left nothing");
    create(&tree, json!({"name": "named", "rootfsImageID": id})).unwrap();
    assert!(has(&tree, "named", "image"));
    create(&tree, json!({"name": "unknown", "rootfsImageID": "0".repeat(64)})).unwrap();
    assert!(!has(&tree, "unknown", "image"), "an image that is kept elsewhere is but a text");
    create(&tree, json!({"name": "empty", "image": "", "rootfs": ""})).unwrap();
    assert!(!has(&tree, "empty", "rootfs"));
}

#[test]
fn an_image_is_given_later_while_the_container_is_configured() {
    let (tree, image) = with_image();
    tree.make("web");
    for entry in ["image", "rootfs", "shm", "config.json", "size-rw", "size-rootfs"] {
        assert!(!has(&tree, "web", entry), "{entry}");
    }
    append(&tree, "web", json!({"image": "busybox"})).unwrap();
    for entry in ["image", "rootfs", "shm", "config.json", "size-rw", "size-rootfs"] {
        assert!(has(&tree, "web", entry), "{entry}");
    }
    assert_eq!(image_keys(&tree, "web").0, json!(image.id()));
    assert_eq!(tree.read("layer/web-layer/name"), "web-layer\n");

    tree.make("late");
    tree.echo("exited", "ctr/late/status").unwrap();
    assert_eq!(errno(append(&tree, "late", json!({"image": "busybox"}))), Errno::EBUSY);
    assert!(tree.last_refusal().contains("only one that is configured"), "{}", tree.last_refusal());
    assert!(!has(&tree, "late", "image"));

    // The text of an image that comes later asks for nothing, and hinders nothing.
    let other = Image::new("other", &["c"]);
    create(&tree, json!({"name": "text", "rootfsImageID": other.id()})).unwrap();
    tree.echo("running", "ctr/text/status").unwrap();
    other.import(&tree, &["other"]);
    append(&tree, "text", json!({"labels": {"a": "b"}})).unwrap();
    assert!(!has(&tree, "text", "image"));
    tree.echo("configured", "ctr/text/status").unwrap();
    append(&tree, "text", json!({"image": "other"})).unwrap();
    assert!(has(&tree, "text", "image"), "asked for, it is given");
}

#[test]
fn an_image_stays_once_it_is_there() {
    let (tree, image) = with_image();
    let other = Image::new("other", &["c"]);
    other.import(&tree, &["other"]);
    create(&tree, json!({"name": "web", "image": "quay.io/team/app:v1"})).unwrap();
    let keys = image_keys(&tree, "web");
    let before = tree.read("ctr/web/config");
    for document in [
        json!({"image": "other"}),
        json!({"rootfsImageID": other.id()}),
        json!({"rootfsImageName": "localhost/other:latest"}),
        json!({"rootfsImageID": ""}),
    ] {
        assert_eq!(errno(append(&tree, "web", document.clone())), Errno::EPERM, "{document}");
        assert_eq!(errno(replace(&tree, "web", document.clone())), Errno::EPERM, "{document}");
    }
    assert_eq!(errno(append(&tree, "web", json!({"rootfs": "/srv"}))), Errno::EINVAL);
    assert_eq!(errno(replace(&tree, "web", json!({"rootfs": "/srv"}))), Errno::EINVAL);
    for key in ["rootfsImageID", "rootfsImageName"] {
        assert_eq!(errno(append(&tree, "web", json!({key: null}))), Errno::EPERM, "{key}");
    }
    assert_eq!(tree.read("ctr/web/config"), before);
    append(&tree, "web", json!({"image": "busybox", "labels": {"a": "b"}})).unwrap();
    assert_eq!(image_keys(&tree, "web"), keys, "another name of the same image changes nothing");
    for document in [json!({"labels": {}}), json!({"image": "busybox"}), json!({"rootfsImageID": image.id()})] {
        replace(&tree, "web", document.clone()).unwrap_or_else(|error| panic!("{document}: {error}"));
        assert_eq!(image_keys(&tree, "web"), keys, "{document}");
    }
    // A container goes on calling its image what it was called.
    fs::remove_file(tree.path("image-name/quay.io/team/app:v1")).unwrap();
    append(&tree, "web", json!({"labels": {"c": "d"}})).unwrap();
    assert_eq!(image_keys(&tree, "web"), keys);
    assert_eq!(tree.read("check"), "ok: 1 containers, 0 pods, 2 images, 4 layers\n");
}

#[test]
fn a_directory_comes_and_goes() {
    let (tree, _) = with_image();
    create(&tree, json!({"name": "web", "rootfs": "/srv/tree"})).unwrap();
    let rootfs = tree.path(&format!("ctr/{}/rootfs", tree.id("web")));
    for entry in ["rootfs", "shm", "config.json"] {
        assert!(has(&tree, "web", entry), "{entry}");
    }
    assert!(!has(&tree, "web", "size-rw") && !has(&tree, "web", "image"));
    fs::metadata(&rootfs).unwrap();
    replace(&tree, "web", json!({"labels": {}})).unwrap();
    assert_eq!(errno(fs::metadata(&rootfs)), Errno::ENOENT, "the kernel does not know it any more");
    assert!(!has(&tree, "web", "rootfs") && !has(&tree, "web", "shm"));
    append(&tree, "web", json!({"rootfs": "/srv/other"})).unwrap();
    assert!(has(&tree, "web", "rootfs"));
    append(&tree, "web", json!({"NoShm": true})).unwrap();
    assert!(has(&tree, "web", "rootfs") && !has(&tree, "web", "shm"));
    append(&tree, "web", json!({"rootfs": null})).unwrap();
    append(&tree, "web", json!({"image": "busybox"})).unwrap();
    assert!(has(&tree, "web", "image"));
}

#[test]
fn what_is_used_stays_and_says_by_whom() {
    let (tree, image) = with_image();
    create(&tree, json!({"name": "web", "image": "busybox"})).unwrap();
    create(&tree, json!({"name": "db", "image": "busybox"})).unwrap();
    let at = tree.path(&format!("image/{}", image.id()));
    assert_eq!(errno(fs::remove_dir(&at)), Errno::EBUSY);
    let refusal = tree.last_refusal();
    assert!(refusal.contains("is used by web, db"), "{refusal}");
    let id = tree.id("web");
    assert_eq!(errno(fs::remove_dir(tree.path(&format!("layer/{id}")))), Errno::EBUSY);
    assert!(tree.last_refusal().contains("container web"), "{}", tree.last_refusal());

    // What lies on the disk goes with the container.
    let upper = tree.store.join("ctr").join(&id);
    fs::create_dir_all(upper.join("upper/dir")).unwrap();
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    assert!(!upper.exists());
    assert_eq!(errno(fs::metadata(tree.path(&format!("layer/{id}")))), Errno::ENOENT);
    assert_eq!(errno(fs::remove_dir(&at)), Errno::EBUSY);
    fs::remove_dir(tree.path(&format!("ctr/{}", tree.id("db")))).unwrap();
    fs::remove_dir(&at).unwrap();
    assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 0 images, 0 layers\n");
}
