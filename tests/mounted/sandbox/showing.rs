//! What the tree shows of a sandbox, and that it does so whoever dies.

use std::fs;

use nix::errno::Errno;
use serde_json::{Value, json};

use super::{POD, furnished, link, make, member, sandbox, with, with_image};
use crate::support::images::names_in;
use crate::support::{errno, is_mounted, text};
use crate::tools::{IMAGE, create, json, store};

#[test]
fn a_pod_and_its_infra_container_share_an_id() {
    let (tree, image) = with_image();
    assert_eq!(make(&tree, "sandbox", &sandbox()).unwrap(), POD, "one ID for one document");
    for dir in ["ctr", "pod", "id"] {
        assert_eq!(names_in(&tree.path(dir)), [POD], "{dir}");
    }
    assert_eq!(names_in(&tree.path("name")), ["shop", "shop-infra"]);
    let (ctr, pod) = (format!("../ctr/{POD}"), format!("../pod/{POD}"));
    assert_eq!([link(&tree, "name/shop-infra"), link(&tree, "name/shop")], [ctr, pod.clone()]);
    assert_eq!(link(&tree, &format!("id/{POD}")), pod, "the pod");
    for path in ["ctr/shop-infra", "ctr/ababab", "pod/shop", "pod/ababab"] {
        assert_eq!(link(&tree, path), POD, "{path}");
    }
    for path in ["ctr/shop", "pod/shop-infra"] {
        assert_eq!(errno(fs::symlink_metadata(tree.path(path))), Errno::ENOENT, "{path}");
    }
    assert_eq!(names_in(&tree.path("pod/shop/containers")), [POD]);
    for name in [POD, "shop-infra", "ababab"] {
        assert_eq!(link(&tree, &format!("pod/shop/containers/{name}")), format!("../../../ctr/{POD}"));
    }
    assert_eq!(link(&tree, &format!("ctr/{POD}/pod")), format!("../../pod/{POD}"));
    assert_eq!(link(&tree, &format!("ctr/{POD}/image")), format!("../../image/{image}"));
    for path in [format!("image/{image}/used-by/{POD}"), format!("layer/{POD}/used-by/{POD}")] {
        assert_eq!(link(&tree, &path), format!("../../../ctr/{POD}"), "{path}");
    }
    assert_eq!(json(&tree, &format!("pod/{POD}/state")), json!({"InfraContainerID": POD}));
    let config = json(&tree, &format!("ctr/{POD}/config"));
    assert_eq!([&config["id"], &config["name"], &config["pod"]], [POD, "shop-infra", POD]);
    assert_eq!([&config["rootfsImageID"], &config["rootfsImageName"]], [image.as_str(), IMAGE]);
    assert!(config.get("podName").is_none(), "CRI's keys are kept as metadata: {config}");
    assert_eq!(json(&tree, &format!("pod/{POD}/config"))["name"], "shop");
    assert_eq!(tree.read("check"), "ok: 1 containers, 1 pods, 1 images, 3 layers\n");
}

#[test]
fn tables_and_status_count_the_infra_container() {
    let (tree, ids) = furnished(&["web"]);
    let cells = |table: &str| -> Vec<String> {
        tree.read(table).lines().skip(1).flat_map(|line| line.split('\t').take(6)).map(str::to_owned).collect()
    };
    assert_eq!(cells("table/ctr")[..6], [&ids[0], "web", "configured", "-", "-", "shop"]);
    assert_eq!(cells("table/ctr")[6..], [POD, "shop-infra", "configured", "-", "-", "shop"]);
    assert_eq!(cells("table/pod")[..4], [POD, "shop", "created", "2"]);
    tree.echo("running", "ctr/shop-infra/status").unwrap();
    assert_eq!(tree.read("pod/shop/status"), "degraded\n");
    tree.echo("running", "ctr/web/status").unwrap();
    assert_eq!(tree.read("pod/shop/status"), "running\n");
    let rows = text(&tree.ctrfs(&["ps", "-f", "pod=shop"]));
    assert!(rows.contains("shop-infra") && rows.contains("web"), "{rows}");
    for name in ["web", "shop-infra"] {
        tree.echo("exited", &format!("ctr/{name}/status")).unwrap();
    }
    assert_eq!(tree.read("pod/shop/status"), "exited\n");
}

/// Metadata with the time taken out.
fn timeless(text: &str) -> String {
    let (begin, rest) = text.split_once(r#""created-at":"#).unwrap_or_else(|| panic!("{text}"));
    let time = rest.split([',', '}']).next().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((now - 600..=now).contains(&time.parse().unwrap()), "{text}");
    format!("{begin}\"created-at\":0{}", &rest[time.len()..])
}

#[test]
fn metadata_is_what_cri_o_writes() {
    let (tree, image) = with_image();
    let others = json!({
        "imageName": null, "imageID": image, "metadataName": "<shop>&\u{2028}", "uid": "u-1", "namespace": "default",
        "attempt": 3, "mountLabel": "system_u:object_r:container_file_t:s0:c1,c2",
    });
    make(&tree, "sandbox", &with(&sandbox(), others)).unwrap();
    let expected = format!(
        r#"{{"pod":true,"pod-name":"shop","pod-id":"{POD}","image-name":"{IMAGE}","image-id":"{image}","name":"shop-infra","metadata-name":"\u003cshop\u003e\u0026\u2028","uid":"u-1","namespace":"default","attempt":3,"created-at":0,"mountlabel":"system_u:object_r:container_file_t:s0:c1,c2"}}"#
    );
    assert_eq!(timeless(&tree.read("ctr/shop-infra/metadata")), expected);
    make(&tree, "ctr", &with(&member("web"), json!({"imageName": "small", "attempt": 0}))).unwrap();
    let expected = format!(
        r#"{{"pod-name":"shop","pod-id":"{POD}","image-name":"small","image-id":"{image}","name":"web","metadata-name":"web","created-at":0}}"#
    );
    assert_eq!(timeless(&tree.read("ctr/web/metadata")), expected);
    assert_eq!(tree.read("ctr/web/config").matches("small").count(), 1, "the config has the whole name");
}

#[test]
fn an_image_is_found_by_its_name_and_then_by_its_id() {
    let (tree, image) = with_image();
    for (n, (name, id)) in [
        (IMAGE, ""),
        ("docker://small", ""),
        (image.as_str(), ""),
        ("", &image[..12]),
        ("none", &image),
        ("busybox@sha256:00", &image),
        (IMAGE, "unknown"),
    ]
    .into_iter()
    .enumerate()
    {
        let pod = format!("{n:02x}").repeat(32);
        let document = json!({
            "podName": format!("p{n}"), "podID": pod, "containerName": format!("c{n}"), "imageName": name, "imageID": id,
        });
        make(&tree, "sandbox", &document).unwrap_or_else(|error| panic!("{document}: {error}"));
        assert_eq!(json(&tree, &format!("ctr/c{n}/config"))["rootfsImageID"], image, "{document}");
        let metadata = json(&tree, &format!("ctr/c{n}/metadata"));
        assert_eq!(metadata["image-name"], if name.is_empty() { IMAGE } else { name });
        assert_eq!(metadata["image-id"], image);
    }
}

#[test]
fn the_example_is_whole_and_several_documents_are_one_change() {
    let (tree, image) = with_image();
    let example: Value = serde_json::from_str(&tree.read("create/sandbox")).unwrap();
    let keys: Vec<&str> = ctrfs::model::sandbox::KEYS.iter().map(|(key, _)| *key).collect();
    let shown: Vec<&str> = example.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(shown, keys.into_iter().filter(|key| *key != "containerID").collect::<Vec<_>>());
    assert!(make(&tree, "sandbox", &example).is_err(), "its image is not there");
    let document = with(&example, json!({"imageName": image}));
    let two = format!("{}{}\n", sandbox(), document);
    let made = make(&tree, "sandbox", &Value::Null).is_err();
    assert!(made, "null is no document");
    let ids = crate::tools::ask(&tree, "create/sandbox", two).unwrap();
    assert_eq!(ids, format!("{POD}\n{}\n", example["podID"].as_str().unwrap()));
    assert_eq!(names_in(&tree.path("pod")).len(), 2);
}

#[test]
fn members_have_ids_of_their_own_and_depend_on_the_infra_container() {
    let (tree, ids) = furnished(&["web"]);
    assert_ne!(ids[0], POD);
    let own = "cd".repeat(32);
    let others = json!({"containerID": own, "netNsCtr": POD, "ipcNsCtr": "shop-infra", "labels": {"a": "b"}});
    assert_eq!(make(&tree, "ctr", &with(&member("db"), others)).unwrap(), own);
    let config = json(&tree, "ctr/db/config");
    assert_eq!([&config["netNsCtr"], &config["ipcNsCtr"], &config["pod"]], [POD, POD, POD]);
    assert_eq!(config["labels"], json!({"a": "b"}));
    assert_eq!(link(&tree, &format!("ctr/db/depends-on/{POD}")), format!("../../{POD}"));
    assert_eq!(link(&tree, &format!("ctr/{POD}/dependencies/{own}")), format!("../../{own}"));
    assert_eq!(tree.read("ctr/db/health"), "ok\n");
    assert_eq!(names_in(&tree.path("pod/shop/containers")).len(), 3);
    // As libpod asks for it, and in a pod that is no sandbox.
    create(&tree, &format!(r#"{{"name":"cache","pod":"shop","pidNsCtr":"{POD}"}}"#));
    let plain = fs::create_dir(tree.path("pod/plain"));
    plain.unwrap();
    let inside = json!({"podName": "plain", "podID": "plain", "imageName": IMAGE, "containerName": "inside"});
    make(&tree, "ctr", &inside).unwrap();
    assert_eq!(json(&tree, "ctr/inside/metadata")["pod-id"], link(&tree, "pod/plain"));
}

#[test]
fn it_is_the_same_after_a_restart() {
    let (tree, _) = furnished(&["web", "db"]);
    tree.echo("1", "ctr/shop-infra/mounted").unwrap();
    let before = store(&tree);
    tree.kill_server();
    assert_eq!(store(&tree), before);
    assert!(is_mounted(&tree.path(&format!("ctr/{POD}/rootfs"))));
    tree.echo("0", "ctr/shop-infra/mounted").unwrap();
    let before = store(&tree);
    tree.unmount();
    tree.mount();
    assert_eq!(store(&tree), before);
    assert_eq!(tree.read("check"), "ok: 3 containers, 1 pods, 1 images, 5 layers\n");
}

#[test]
fn both_are_renamed_and_written_to_each_by_itself() {
    let (tree, _) = furnished(&["web"]);
    fs::rename(tree.path("name/shop"), tree.path("name/store")).unwrap();
    tree.echo("store-infra", "ctr/shop-infra/name").unwrap();
    assert_eq!(link(&tree, &format!("id/{POD}")), format!("../pod/{POD}"));
    assert_eq!([link(&tree, "pod/store"), link(&tree, "ctr/store-infra")], [POD, POD]);
    fs::rename(tree.path("ctr/store-infra"), tree.path("ctr/pause")).unwrap();
    crate::tools::append(&tree, &format!("ctr/{POD}/config"), r#"{"labels":{"a":"b"}}"#).unwrap();
    crate::tools::append(&tree, &format!("pod/{POD}/config"), r#"{"labels":{"c":"d"}}"#).unwrap();
    assert_eq!(json(&tree, "ctr/pause/config")["labels"], json!({"a": "b"}));
    assert_eq!(json(&tree, "pod/store/config")["labels"], json!({"c": "d"}));
    for kind in ["ctr", "pod"] {
        let config = format!("{kind}/{POD}/config");
        let written = crate::tools::append(&tree, &config, format!(r#"{{"id":"{}"}}"#, "cd".repeat(32)));
        assert_eq!(errno(written), Errno::EPERM, "{kind}");
    }
    // Another container is asked for under the pod's new name.
    assert!(make(&tree, "ctr", &member("db")).is_err());
    make(&tree, "ctr", &with(&member("db"), json!({"podName": "store"}))).unwrap();
}
