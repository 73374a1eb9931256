//! `create/image`: all that it refuses, and what it does with what it takes.

use std::fs;

use nix::errno::Errno;
use serde_json::{Value, json};

use crate::support::images::{Image, create, names_in, staging_dir};
use crate::support::{Mounted, errno, wait_until};

/// A change that makes a good document a bad one.
type Spoil = fn(&mut Value);

/// What is wrong, how a document gets so, and the words of the refusal.
const BAD: &[(&str, Spoil, &str)] = &[
    ("a key that there is not", |d| d["extra"] = json!(1), "extra"),
    ("no staging", |d| drop(d.as_object_mut().unwrap().remove("staging")), "staging"),
    ("a staging elsewhere", |d| d["staging"] = json!("../../etc"), "staging"),
    ("a staging that is empty", |d| d["staging"] = json!(""), "staging"),
    ("a staging that is absent", |d| d["staging"] = json!("absent"), "neither in the store nor in the staging"),
    ("names that are none", |d| d["names"] = json!("one"), "names"),
    ("a bad name", |d| d["names"] = json!(["localhost/ok:1", "UPPER"]), "UPPER"),
    ("a name with a digest", |d| d["names"] = json!([format!("a@sha256:{}", "0".repeat(64))]), "no digest"),
    ("no manifest", |d| drop(d.as_object_mut().unwrap().remove("manifest")), "manifest"),
    ("a manifest that is no JSON", |d| d["manifest"] = json!("{"), "manifest"),
    ("a manifest without a config", |d| d["manifest"] = json!("{}"), "manifest"),
    ("another config", |d| d["config"] = json!(d["config"].as_str().unwrap().replace("amd64", "arm64")), "digest"),
    ("a config without layers", |d| d["config"] = json!("{}"), "rootfs.diff_ids"),
    ("layers in another order", |d| d["layers"].as_array_mut().unwrap().reverse(), "rootfs.diff_ids"),
    ("too few layers", |d| drop(d["layers"].as_array_mut().unwrap().pop()), "rootfs.diff_ids"),
    ("a layer of another kind", |d| d["layers"][0] = json!("sha256"), "diff-id"),
    ("a layer with an unknown key", |d| d["layers"][0]["extra"] = json!(1), "diff-id"),
    ("a record without a digest", |d| d["layers"][0]["tree"] = json!("sha256:0"), "diff-id"),
    ("a size below nothing", |d| d["layers"][0]["size"] = json!(-1), "diff-id"),
    ("a layer said to be there", |d| d["layers"][1] = json!({"diff-id": d["layers"][1]["diff-id"]}), "neither in"),
    ("501 layers", |d| d["layers"] = json!(vec![d["layers"][0].clone(); 501]), "500 layers"),
];

#[test]
fn what_is_wrong_is_refused_in_words_and_leaves_nothing() {
    let tree = Mounted::new();
    let image = Image::new("bad", &["base", "top"]);
    let good = image.stage(&tree, "good", &["localhost/good:1"]);
    for (what, spoil, words) in BAD {
        let mut document = good.clone();
        spoil(&mut document);
        assert_eq!(errno(create(&tree, &document)), Errno::EINVAL, "{what}");
        let refusal = tree.last_refusal();
        assert!(refusal.contains(words), "{what}: {refusal}");
        for dir in ["image", "layer", "image-name"] {
            assert_eq!(names_in(&tree.path(dir)), [""; 0], "{what}: {dir}");
        }
        assert_eq!(names_in(&tree.store.join("layers")), [""; 0], "{what}");
        assert_eq!(names_in(&staging_dir(&tree.store, "good")).len(), 2, "{what}: what is staged stays");
    }
    // A layer whose directory is missing although the document has it.
    fs::rename(staging_dir(&tree.store, "good").join(&image.layers()[1]), tree.store.join("away")).unwrap();
    assert_eq!(errno(create(&tree, &good)), Errno::EINVAL);
    assert!(tree.last_refusal().contains(&image.layers()[1]), "{}", tree.last_refusal());
    fs::rename(tree.store.join("away"), staging_dir(&tree.store, "good").join(&image.layers()[1])).unwrap();
    assert_eq!(create(&tree, &good).unwrap(), image.id(), "and the good one is taken");
}

/// Several documents are one step: what the first has made goes with the second.
#[test]
fn of_several_documents_all_are_taken_or_none() {
    let tree = Mounted::new();
    let (one, other) = (Image::new("one", &["a"]), Image::new("other", &["b"]));
    let first = one.stage(&tree, "one", &["one"]);
    let mut second = other.stage(&tree, "other", &["other"]);
    second["staging"] = json!("absent");
    let both = |second: &Value| fs::write(tree.path("create/image"), format!("{first}\n{second}\n"));
    assert_eq!(errno(both(&second)), Errno::EINVAL);
    assert_eq!(names_in(&tree.path("image")), [""; 0]);
    second["staging"] = json!("other");
    both(&second).unwrap();
    assert_eq!(names_in(&tree.path("image")).len(), 2);
    assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 2 images, 2 layers\n");
}

#[test]
fn an_image_that_is_there_gets_names_and_takes_them_from_others() {
    let tree = Mounted::new();
    let (one, other) = (Image::new("one", &["a", "b"]), Image::new("other", &["a", "c"]));
    one.import(&tree, &["busybox", "quay.io/team/app:v1"]);
    let at = format!("image/{}", one.id());
    assert_eq!(tree.read(&format!("{at}/names")), "localhost/busybox:latest\nquay.io/team/app:v1\n");
    let made = fs::metadata(tree.path(&at)).unwrap().modified().unwrap();
    one.import(&tree, &["busybox", "more:1"]);
    assert_eq!(tree.read(&format!("{at}/names")), "localhost/busybox:latest\nquay.io/team/app:v1\nlocalhost/more:1\n");
    assert_eq!(fs::metadata(tree.path(&at)).unwrap().modified().unwrap(), made, "it is the same image");

    let link = tree.path("image-name/localhost/busybox:latest");
    assert!(fs::read_link(&link).unwrap().ends_with(one.id()));
    other.import(&tree, &["busybox"]);
    assert!(fs::read_link(&link).unwrap().ends_with(other.id()), "the name has moved");
    assert_eq!(tree.read(&format!("{at}/names")), "quay.io/team/app:v1\nlocalhost/more:1\n");
    assert_eq!(tree.read(&format!("image/{}/names", other.id())), "localhost/busybox:latest\n");
    assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 2 images, 3 layers\n");
}

#[test]
fn layers_are_kept_once_and_go_with_the_last_image() {
    let tree = Mounted::new();
    let images = [Image::new("1", &["a", "b"]), Image::new("2", &["a", "b", "c"]), Image::new("3", &["a", "d"])];
    for image in &images {
        image.import(&tree, &[]);
    }
    let on_disk = || names_in(&tree.store.join("layers"));
    assert_eq!(on_disk().len(), 4);
    assert_eq!(names_in(&tree.path("layer")), on_disk());
    for (image, left) in images.iter().zip([4, 2, 0]) {
        for layer in image.layers() {
            assert_eq!(errno(fs::remove_dir(tree.path(&format!("layer/{layer}")))), Errno::EBUSY);
            assert!(tree.last_refusal().contains(&format!("image {}", &image.id()[..12])), "{}", tree.last_refusal());
        }
        fs::remove_dir(tree.path(&format!("image/{}", image.id()))).unwrap();
        assert_eq!(names_in(&tree.path("layer")).len(), left);
        assert_eq!(on_disk(), names_in(&tree.path("layer")));
        assert!(tree.read("check").starts_with("ok"), "{}", tree.read("check"));
    }
    wait_until("the trash is emptied", || names_in(&tree.store.join("trash")).is_empty());
}

/// A container's ID may be a layer's: what the container writes never becomes part of an image.
#[test]
fn a_layer_and_a_container_do_not_share_an_id() {
    let tree = Mounted::new();
    let (base, upon) = (Image::new("base", &["a"]), Image::new("upon", &["a", "b"]));
    base.import(&tree, &["base"]);
    let id = &upon.layers()[1];
    fs::write(tree.path("create/ctr"), format!("{{\"id\":\"{id}\",\"image\":\"base\"}}\n")).unwrap();
    let document = upon.stage(&tree, "upon", &[]);
    assert_eq!(errno(create(&tree, &document)), Errno::EEXIST);
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    upon.import(&tree, &[]);
    let ctr = format!("{{\"id\":\"{id}\",\"image\":\"base\"}}\n");
    assert_eq!(errno(fs::write(tree.path("create/ctr"), ctr)), Errno::EEXIST);
    assert!(tree.last_refusal().contains("belongs to a layer"), "{}", tree.last_refusal());
    assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 2 images, 2 layers\n");
}
