//! What is refused, with which errno, and what comes first.

use std::fs;

use nix::errno::Errno;
use serde_json::{Value, json};

use super::{POD, furnished, make, member, sandbox, with, with_image};
use crate::support::errno;
use crate::tools::{create, make_pod, refused};

/// Refuses a document with these words, and everything that is wrong with it and comes later.
fn refuses(tree: &crate::support::Mounted, kind: &str, document: &Value, expected: Errno, words: &str) {
    refused(tree, "write", expected, words, || make(tree, kind, document));
}

#[test]
fn what_must_be_there_is_asked_for_in_cri_os_order() {
    let (tree, _) = with_image();
    make_pod(&tree, "taken");
    // Each document has all that the ones before it lacked, and is still wrong in all that comes after.
    let mut document = json!({
        "podName": "", "podID": "", "imageName": "", "imageID": null, "containerName": "", "metadataName": "",
    });
    for kind in ["sandbox", "ctr"] {
        for (key, words) in [("podName", "podName"), ("podID", "podID"), ("imageName", "imageName")] {
            refuses(&tree, kind, &document, Errno::EINVAL, &format!("the key {words:?} takes the "));
            document[key] = json!("none");
        }
        refuses(&tree, kind, &document, Errno::EINVAL, r#"the key "containerName" takes the container's name"#);
        for key in ["podName", "podID", "imageName"] {
            document[key] = json!("");
        }
    }
    let mut document = with(&sandbox(), json!({"podName": "taken", "podID": "x", "imageName": "none"}));
    document["containerName"] = json!("taken");
    refuses(&tree, "sandbox", &document, Errno::EINVAL, r#"the key "podID" takes 64 lower-case hex digits"#);
    document["podID"] = json!(POD);
    refuses(&tree, "sandbox", &document, Errno::ENOENT, "no such image: none");
    document["imageID"] = json!("cd".repeat(32));
    refuses(&tree, "sandbox", &document, Errno::ENOENT, "no such image: cdcd");
    document["imageName"] = sandbox()["imageName"].clone();
    refuses(&tree, "sandbox", &document, Errno::EEXIST, "the name taken belongs to a pod");
}

#[test]
fn a_missing_key_is_as_an_empty_one() {
    let (tree, _) = with_image();
    for (key, words) in
        [("podName", "podName"), ("podID", "podID"), ("imageName", "imageName"), ("containerName", "containerName")]
    {
        for value in [Value::Null, json!("")] {
            let document = with(&sandbox(), json!({key: value}));
            refuses(&tree, "sandbox", &document, Errno::EINVAL, &format!("the key {words:?} takes the "));
        }
    }
    refuses(&tree, "sandbox", &json!({}), Errno::EINVAL, "podName");
    refuses(&tree, "ctr", &json!({"imageName": "x"}), Errno::EINVAL, "podName");
}

#[test]
fn values_that_a_key_cannot_have_are_einval() {
    let (tree, _) = furnished(&[]);
    let own = "cd".repeat(32);
    let other = with(&sandbox(), json!({"podName": "p", "podID": own, "containerName": "c"}));
    for (others, words) in [
        (json!({"podName": 7}), "podName"),
        (json!({"podName": "a b"}), "bad name"),
        (json!({"containerName": "-c"}), "bad name"),
        (json!({"podID": POD.to_uppercase()}), "podID"),
        (json!({"podID": &POD[..12]}), "podID"),
        (json!({"attempt": -1}), "attempt"),
        (json!({"attempt": 4_294_967_296_u64}), "attempt"),
        (json!({"attempt": "1"}), "attempt"),
        (json!({"containerID": "ef".repeat(32)}), "containerID"),
        (json!({"name": "c"}), "name"),
        (json!({"rootfs": "/x"}), "rootfs"),
        (json!({"labels": 1}), "labels"),
    ] {
        refuses(&tree, "sandbox", &with(&other, others), Errno::EINVAL, words);
    }
    for (others, words) in [
        (json!({"podName": "else"}), "the name of the pod that podID means"),
        (json!({"containerID": "x"}), "containerID"),
        (json!({"uid": "u"}), "only a sandbox has it"),
        (json!({"namespace": "n"}), "only a sandbox has it"),
        (json!({"pod": "shop"}), "pod"),
        (json!({"containerName": "a/b"}), "bad name"),
    ] {
        refuses(&tree, "ctr", &with(&member("web"), others), Errno::EINVAL, words);
    }
}

#[test]
fn what_there_is_not_is_enoent() {
    let (tree, _) = furnished(&[]);
    let absent = with(&member("web"), json!({"podID": "cd".repeat(32), "imageName": "none"}));
    refuses(&tree, "ctr", &absent, Errno::ENOENT, "no such pod: cdcd");
    let image = with(&member("web"), json!({"imageName": "none"}));
    refuses(&tree, "ctr", &image, Errno::ENOENT, "no such image: none");
    // A container is no pod.
    create(&tree, r#"{"name":"alone"}"#);
    let alone = with(&member("web"), json!({"podName": "alone", "podID": "alone"}));
    refuses(&tree, "ctr", &alone, Errno::ENOENT, "no such pod: alone");
    let needs = with(&member("web"), json!({"netNsCtr": "nobody"}));
    refuses(&tree, "ctr", &needs, Errno::ENOENT, "no such container: nobody");
}

#[test]
fn ids_and_names_that_are_taken_are_eexist() {
    let (tree, ids) = furnished(&["web"]);
    let own = "cd".repeat(32);
    let free = with(&sandbox(), json!({"podName": "p", "podID": own, "containerName": "c"}));
    for (others, words) in [
        (json!({"podID": POD}), format!("the ID {POD} belongs to a pod")),
        (json!({"podID": ids[0]}), format!("the ID {} belongs to a container", ids[0])),
        (json!({"podName": "shop"}), "the name shop belongs to a pod".to_owned()),
        (json!({"podName": "shop-infra"}), "the name shop-infra belongs to a container".to_owned()),
        (json!({"containerName": "shop"}), "the name shop belongs to a pod".to_owned()),
        (json!({"containerName": "web"}), "the name web belongs to a container".to_owned()),
        (json!({"containerName": "p"}), "the name p belongs to a pod".to_owned()),
    ] {
        refuses(&tree, "sandbox", &with(&free, others), Errno::EEXIST, &words);
    }
    for (others, words) in [
        (json!({"containerID": POD}), format!("the ID {POD} belongs to a pod")),
        (json!({"containerID": ids[0]}), format!("the ID {} belongs to a container", ids[0])),
        (json!({"containerName": "shop-infra"}), "the name shop-infra belongs to a container".to_owned()),
    ] {
        refuses(&tree, "ctr", &with(&member("new"), others), Errno::EEXIST, &words);
    }
    for kind in ["ctr", "pod"] {
        refuses(&tree, kind, &json!({"id": POD}), Errno::EEXIST, "belongs to a pod");
        assert_eq!(errno(fs::create_dir(tree.path(&format!("{kind}/{POD}")))), Errno::EEXIST, "{kind}");
    }
    // All documents of a write or none.
    let two = format!("{free}{}", sandbox());
    refused(&tree, "write", Errno::EEXIST, POD, || crate::tools::ask(&tree, "create/sandbox", &two));
}
