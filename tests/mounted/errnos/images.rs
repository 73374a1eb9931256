//! The rows of images, layers and mounts.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;

use nix::errno::Errno;

use super::id;
use crate::support::{Mounted, errno};
use crate::tools::{IMAGE, append, ask, assert_line, create, make_image, make_imaged, refusals, refused, staged_image};

#[test]
fn a_taken_image_name_is_eexist() {
    let tree = Mounted::new();
    let image = make_image(&tree);
    let at = |name: &str| tree.path("image-name/localhost").join(name);
    symlink(&image, at("other:1")).unwrap();
    let words = "the name localhost/small:latest belongs to an image";
    refused(&tree, "rename", Errno::EEXIST, words, || fs::rename(at("other:1"), at("small:latest")));
    assert_eq!(errno(symlink(&image, at("small:latest"))), Errno::EEXIST, "the kernel sees for itself");
    assert_eq!(errno(fs::create_dir(tree.path("image-name/localhost"))), Errno::EEXIST);
}

#[test]
fn an_image_or_layer_in_use_is_ebusy() {
    let tree = Mounted::new();
    let [image, imaged] = make_imaged(&tree);
    let rmdir = |path: String| fs::remove_dir(tree.path(&path));
    let rm = |path: String| fs::remove_file(tree.path(&path));
    let words = format!("image {} is used by imaged", &image[..12]);
    refused(&tree, "rmdir", Errno::EBUSY, &words, || rmdir(format!("image/{image}")));
    let layers: Vec<String> = (0..2)
        .map(|n| fs::read_link(tree.path(&format!("image/{image}/layers/{n}"))).unwrap())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    for (layer, by) in [(&layers[0], &layers[1]), (&layers[1], &image), (&imaged, &"imaged".to_owned())] {
        let words = format!("layer {} is used by ", &layer[..12]);
        refused(&tree, "rmdir", Errno::EBUSY, &words, || rmdir(format!("layer/{layer}")));
        assert!(tree.last_refusal().contains(&by[..by.len().min(12)]), "{}", tree.last_refusal());
    }
    // Neither is removed by a prefix, nor does rm remove what has no name there.
    refused(&tree, "unlink", Errno::EPERM, "is a prefix", || rm(format!("image/{}", &image[..12])));
    fs::remove_file(tree.path("ctr/imaged")).unwrap();
    rmdir(format!("image/{image}")).unwrap();
    assert_eq!(fs::read_dir(tree.path("layer")).unwrap().count(), 0);
}

#[test]
fn what_is_mounted_or_past_it_is_ebusy() {
    let tree = Mounted::new();
    let [image, imaged] = make_imaged(&tree);
    tree.make("plain");
    tree.echo("1", "ctr/imaged/mounted").unwrap();
    let refused = |op: &str, words: &str, call: &dyn Fn() -> io::Result<()>| {
        let count = refusals(&tree).len();
        assert_eq!(errno(call()), Errno::EBUSY, "{words}");
        assert_line(&refusals(&tree)[count], op, Errno::EBUSY, words);
    };
    refused("unlink", "container imaged is mounted", &|| fs::remove_file(tree.path("ctr/imaged")));
    tree.echo("running", "ctr/imaged/status").unwrap();
    refused("write", "container imaged is running", &|| tree.echo("0", "ctr/imaged/mounted"));
    refused("rmdir", "container imaged is running", &|| fs::remove_dir(tree.path(&format!("ctr/{imaged}"))));
    tree.echo("exited", "ctr/imaged/status").unwrap();
    fs::remove_dir(tree.path(&format!("ctr/{imaged}"))).unwrap();
    tree.echo("created", "ctr/plain/status").unwrap();
    let give = || append(&tree, "ctr/plain/config", format!(r#"{{"image":"{image}"}}"#));
    refused("write", "only one that is configured can be given a rootfs", &give);
    tree.echo("configured", "ctr/plain/status").unwrap();
    give().unwrap();
}

#[test]
fn image_names_below_a_directory_are_enotempty() {
    let tree = Mounted::new();
    make_image(&tree);
    let dir = || fs::remove_dir(tree.path("image-name/localhost"));
    refused(&tree, "rmdir", Errno::ENOTEMPTY, "localhost has image names in it", dir);
    fs::remove_file(tree.path("image-name").join(IMAGE)).unwrap();
    assert_eq!(errno(dir()), Errno::ENOENT, "it goes with its last name");
}

#[test]
fn an_image_that_is_not_what_it_says_is_einval() {
    let tree = Mounted::new();
    let good = staged_image(&tree);
    let with = |key: &str, value: serde_json::Value| {
        let mut document = good.clone();
        document[key] = value;
        document.to_string()
    };
    let layer = serde_json::json!([{"diff-id": format!("sha256:{}", id("0b"))}]);
    let config = format!(r#"{{"rootfs":{{"diff_ids":["sha256:{}"]}}}}"#, id("0b"));
    let manifest = |digest: &str| format!(r#"{{"config":{{"digest":"{digest}"}}}}"#);
    for (document, words) in [
        ("{}".to_owned(), "\"staging\" takes"),
        (with("extra", 1.into()), "\"extra\" takes nothing"),
        (with("staging", "../x".into()), "\"staging\" takes the name of a directory"),
        (with("staging", "nowhere".into()), "is neither in the store nor in the staging directory"),
        (with("names", serde_json::json!(["Bad"])), "bad name \"Bad\": a repository has lower-case letters"),
        (with("layers", layer), "\"layers\" takes the layers that rootfs.diff_ids"),
        (with("config", config.into()), "\"layers\" takes the layers that rootfs.diff_ids"),
        (with("manifest", "{}".into()), "\"manifest\" takes"),
        (
            with("manifest", manifest(&format!("sha256:{}", id("0c"))).into()),
            "the config should have the digest sha256:0c",
        ),
    ] {
        refused(&tree, "write", Errno::EINVAL, words, || ask(&tree, "create/image", &document));
    }
    assert_eq!(ask(&tree, "create/image", good.to_string()).unwrap().len(), 65);
}

#[test]
fn what_cannot_be_mounted_is_einval() {
    let tree = Mounted::new();
    tree.make("web");
    create(&tree, r#"{"name":"dir","rootfs":"/nowhere"}{"name":"away","rootfsImageID":"0"}"#);
    for (ctr, why) in [
        ("web", "its config has neither an image nor a rootfs"),
        ("dir", "cannot open /nowhere"),
        ("away", "the image that its config names is not in the store"),
    ] {
        let words = format!("container {ctr} has no rootfs to mount: {why}");
        refused(&tree, "write", Errno::EINVAL, &words, || tree.echo("1", &format!("ctr/{ctr}/mounted")));
    }
    refused(&tree, "write", Errno::EINVAL, "\"rootfs\" takes an absolute path", || {
        ask(&tree, "create/ctr", r#"{"rootfs":"here"}"#)
    });
}
