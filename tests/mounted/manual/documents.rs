//! The page's part on documents.

use super::*;

#[test]
fn null_is_taken_for_every_key() {
    let tree = Mounted::new();
    tree.make("web");
    let keys = ctrfs::model::keys::CTR_CONFIG.iter().chain(ctrfs::model::keys::CTR_STATE);
    for (key, _) in keys.filter(|(key, _)| !["id", "name", "pod", "createdTime"].contains(key)) {
        tree.echo(&format!("{{\"{key}\":null}}"), "ctr/web/state").unwrap();
    }
    append(&tree, "ctr/web/config", r#"{"unknown-key":[1,{"a":1e400}]}"#).unwrap();
    assert_eq!(sh(&tree, "grep -c 1e400 ctr/web/config"), "1\n");
}

#[test]
fn defaults_of_new_objects() {
    let tree = Mounted::new();
    let id = tree.make("web");
    let config: serde_json::Value = serde_json::from_str(&tree.read("ctr/web/config")).unwrap();
    let created = config["createdTime"].as_str().unwrap();
    assert!(created.ends_with('Z') && created.contains('T'), "{created}");
    assert_eq!(
        config,
        serde_json::json!({"id": id, "name": "web", "shmSize": 67108864, "createdTime": created, "cgroupParent": "/libpod_parent"})
    );
    assert_eq!(tree.read("ctr/web/state"), "{\n  \"state\": \"configured\"\n}\n");
    fs::create_dir(tree.path("pod/p")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&tree.read("pod/p/config")).unwrap();
    let keys: Vec<&String> = config.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "name", "created"]);
    assert_eq!(tree.read("pod/p/state"), "{}\n");
}

#[test]
fn every_key_of_the_page_makes_a_dependency() {
    let tree = Mounted::new();
    let on = tree.make("on");
    let text = PAGE.split("A container depends on those that\n").nth(1).unwrap();
    let keys = text.lines().next().unwrap().strip_prefix(".Ql ").unwrap();
    let keys: Vec<&str> = keys.split_whitespace().filter(|word| *word != ",").collect();
    assert_eq!(keys.len(), 7);
    for (at, key) in keys.iter().enumerate() {
        // By ID, by name and by prefix.
        let by = ["on", &on, &on[..6]][at % 3];
        sh(&tree, &format!("echo '{{\"name\":\"c{at}\",\"{key}\":\"{by}\"}}' >create/ctr"));
        assert_eq!(listing(&tree, &format!("ctr/c{at}/depends-on")), std::slice::from_ref(&on), "{key}");
        assert!(tree.read(&format!("ctr/c{at}/config")).contains(&format!("\"{key}\": \"{on}\"")));
    }
    sh(&tree, "echo '{\"name\":\"list\",\"Dependencies\":[\"on\",\"c0\"]}' >create/ctr");
    assert_eq!(listing(&tree, "ctr/list/depends-on").len(), 2);
    assert_eq!(listing(&tree, "ctr/on/dependencies").len(), 8);
}

#[test]
fn fixed_keys_are_kept_and_a_name_renames() {
    let tree = Mounted::new();
    sh(
        &tree,
        "mkdir pod/p pod/p/containers/on; echo '{\"name\":\"web\",\"pod\":\"p\",\"netNsCtr\":\"on\"}' >create/ctr",
    );
    let fixed = ["id", "pod", "createdTime", "netNsCtr", "name"];
    let json = |tree: &Mounted| -> serde_json::Value { serde_json::from_str(&tree.read("ctr/web/config")).unwrap() };
    let before = json(&tree);
    tree.echo("{}", "ctr/web/config").unwrap();
    for key in fixed {
        assert_eq!(json(&tree)[key], before[key], "{key}");
    }
    for document in [
        format!("{{\"id\":\"{}\"}}", "0".repeat(64)),
        r#"{"createdTime":"2020-01-01T00:00:00Z"}"#.to_owned(),
        r#"{"netNsCtr":""}"#.to_owned(),
        r#"{"ipcNsCtr":"on"}"#.to_owned(),
        r#"{"Dependencies":["on"]}"#.to_owned(),
        r#"{"pod":null}"#.to_owned(),
    ] {
        assert_eq!(errno(append(&tree, "ctr/web/config", &document)), Errno::EPERM, "{document}");
    }
    for document in [r#"{"id":"1"}"#, r#"{"created":"2020-01-01T00:00:00Z"}"#] {
        assert_eq!(errno(append(&tree, "pod/p/config", document)), Errno::EPERM, "{document}");
    }
    append(&tree, "ctr/web/config", r#"{"name":"www"}"#).unwrap();
    assert_eq!(listing(&tree, "name"), ["on", "p", "www"]);
    for document in [r#"{"mounted":true}"#, r#"{"mountPoint":"/x"}"#] {
        assert_eq!(errno(append(&tree, "ctr/www/state", document)), Errno::EPERM, "{document}");
    }
    append(&tree, "ctr/www/state", r#"{"mounted":false,"mountPoint":""}"#).unwrap();
}

#[test]
fn statuses_are_words_and_numbers() {
    let tree = Mounted::new();
    tree.make("web");
    let section = PAGE.split("A container's status is one of ").nth(1).unwrap().split(".\n").next().unwrap();
    let section = section.replace(" and ", ", ").replace('\n', " ");
    let words: Vec<&str> = section.split(", ").map(|word| word.trim()).collect();
    assert_eq!(words.len(), 9, "{words:?}");
    for (number, word) in words.iter().enumerate() {
        let (word, given) = word.split_once(" (").unwrap();
        assert_eq!(given, format!("{number})"));
        for text in [word.to_owned(), number.to_string()] {
            tree.echo(&text, "ctr/web/status").unwrap();
            assert_eq!(tree.read("ctr/web/status"), format!("{word}\n"));
        }
        append(&tree, "ctr/web/state", &format!("{{\"state\":{number}}}")).unwrap();
        assert!(tree.read("ctr/web/state").contains(&format!("\"{word}\"")));
    }
    tree.echo("{}", "ctr/web/state").unwrap();
    assert_eq!(tree.read("ctr/web/status"), "unknown\n");
}

#[test]
fn a_pod_is_by_the_first_that_holds() {
    let tree = Mounted::new();
    fs::create_dir(tree.path("pod/p")).unwrap();
    assert_eq!(tree.read("pod/p/status"), "created\n");
    sh(&tree, "mkdir pod/p/containers/a pod/p/containers/b");
    for (a, b, word) in [
        ("running", "running", "running"),
        ("running", "unknown", "degraded"),
        ("paused", "paused", "paused"),
        ("stopped", "exited", "exited"),
        ("stopped", "paused", "stopped"),
        ("removing", "paused", "error"),
        ("created", "paused", "created"),
    ] {
        tree.echo(a, "ctr/a/status").unwrap();
        tree.echo(b, "ctr/b/status").unwrap();
        assert_eq!(tree.read("pod/p/status"), format!("{word}\n"), "{a} {b}");
    }
}
