//! Containers that go with the boot, as far as the boot lasts; what a reboot does is in tests/crash.

use std::fs;

use nix::errno::Errno;
use serde_json::Value;

use crate::mounting::helper;
use crate::support::{Mounted, errno, text};
use crate::tools::{append, ask, create, json, make_image, make_pod, refused, write};

#[test]
fn volatile_is_fixed_when_the_container_is_made() {
    let tree = Mounted::new();
    create(&tree, r#"{"name":"v","volatile":true}{"name":"w","volatile":false}"#);
    tree.make("plain");
    let fixed = "the key \"volatile\" is fixed";
    for (name, other) in [("v", "false"), ("w", "true"), ("plain", "true"), ("v", "null")] {
        let (config, patch) = (format!("ctr/{name}/config"), format!(r#"{{"volatile":{other}}}"#));
        refused(&tree, "write", Errno::EPERM, fixed, || append(&tree, &config, &patch));
        refused(&tree, "write", Errno::EPERM, fixed, || write(&tree, &config, &patch));
    }
    for value in ["\"yes\"", "1", "[]"] {
        let document = format!(r#"{{"volatile":{value}}}"#);
        let rule = "the key \\\"volatile\\\" takes true or false".replace('\\', "");
        refused(&tree, "write", Errno::EINVAL, &rule, || ask(&tree, "create/ctr", &document));
    }
    // What leaves it out, or says the same, is taken.
    write(&tree, "ctr/v/config", r#"{"labels":{"a":"b"}}"#).unwrap();
    append(&tree, "ctr/v/config", r#"{"volatile":true}"#).unwrap();
    append(&tree, "ctr/plain/config", r#"{"volatile":false}"#).unwrap();
    assert_eq!(json(&tree, "ctr/v/config")["volatile"], true);
    assert_eq!(json(&tree, "ctr/v/config")["labels"]["a"], "b");
}

#[test]
fn only_a_volatile_container_depends_on_one() {
    let tree = Mounted::new();
    make_pod(&tree, "shop");
    create(&tree, r#"{"name":"v","volatile":true}{"name":"plain"}{"name":"in","pod":"shop","volatile":true}"#);
    for (document, key) in [
        (r#"{"name":"x","Dependencies":["plain","v"]}"#, "Dependencies: v is volatile"),
        (r#"{"name":"x","netNsCtr":"v","volatile":false}"#, "netNsCtr: v is volatile"),
        (r#"{"name":"x","pod":"shop","ipcNsCtr":"in"}"#, "ipcNsCtr: in is volatile"),
        // One that is made by the same write.
        (r#"{"name":"y","volatile":true}{"name":"x","Dependencies":["y"]}"#, "Dependencies: y is volatile"),
    ] {
        refused(&tree, "write", Errno::EINVAL, key, || ask(&tree, "create/ctr", document));
    }
    create(&tree, r#"{"name":"x","volatile":true,"netNsCtr":"v","Dependencies":["plain"]}"#);
    assert_eq!(fs::read_dir(tree.path("ctr/v/dependencies")).unwrap().count(), 1);
    assert_eq!(tree.read("check"), "ok: 4 containers, 1 pods, 0 images, 0 layers\n");
}

#[test]
fn under_transient_every_new_container_is_volatile() {
    let tree = Mounted::new();
    tree.make("old");
    tree.unmount();
    let output = tree.mount_command("transient").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let is_volatile = |name: &str| json(&tree, &format!("ctr/{name}/config")).get("volatile").cloned();
    tree.make("new");
    create(&tree, r#"{"name":"said","volatile":false,"Dependencies":["new","old"]}"#);
    make_pod(&tree, "shop");
    fs::create_dir(tree.path("pod/shop/containers/in")).unwrap();
    let image = make_image(&tree);
    let pod = "ab".repeat(32);
    let sandbox = serde_json::json!({"podName": "sandbox", "podID": pod, "imageName": image, "containerName": "infra"});
    ask(&tree, "create/sandbox", sandbox.to_string()).unwrap();
    for name in ["new", "said", "in", "infra"] {
        assert_eq!(is_volatile(name), Some(Value::from(true)), "{name}");
    }
    assert_eq!(is_volatile("old"), None);
    // The next server knows it, and the next mount does not.
    tree.kill_server();
    tree.make("later");
    assert_eq!(is_volatile("later"), Some(Value::from(true)));
    tree.unmount();
    tree.mount();
    tree.make("last");
    assert_eq!(is_volatile("last"), None);
    assert_eq!(is_volatile("new"), Some(Value::from(true)));
    let refused = ask(&tree, "create/ctr", r#"{"Dependencies":["new"]}"#);
    assert_eq!(errno(refused), Errno::EINVAL);
}

#[test]
fn transient_takes_no_value() {
    let tree = Mounted::new();
    tree.unmount();
    let output = helper(&tree.store, &tree.at).args(["-o", "transient=1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("mount option 'transient' takes no value"), "{}", text(&output));
    tree.mount();
}
