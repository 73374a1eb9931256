//! The page's part on writing.

use super::*;

#[test]
fn offsets_are_ignored() {
    let tree = Mounted::new();
    tree.make("web");
    let mut file = OpenOptions::new().write(true).open(tree.path("ctr/web/status")).unwrap();
    file.seek(SeekFrom::Start(100)).unwrap();
    file.write_all(b"run").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"ning\n").unwrap();
    assert_eq!(tree.read("ctr/web/status"), "running\n");
}

#[test]
fn replace_and_merge() {
    let tree = Mounted::new();
    tree.make("web");
    append(&tree, "ctr/web/config", r#"{"x":{"a":1,"b":2}} {"x":{"a":null}}"#).unwrap();
    assert!(tree.read("ctr/web/config").contains("\"x\": {\n    \"b\": 2\n  }"));
    tree.echo(r#"{"y":1}"#, "ctr/web/config").unwrap();
    let config = tree.read("ctr/web/config");
    assert!(!config.contains("\"x\"") && config.contains("\"y\": 1"), "{config}");
    assert!(config.starts_with("{\n  \"") && config.ends_with("\n}\n"), "{config}");
    let before = tree.read("ctr/web/config");
    assert_eq!(errno(append(&tree, "ctr/web/config", r#"{"z":1} x"#)), Errno::EINVAL);
    assert_eq!(errno(append(&tree, "ctr/web/config", r#"{"z":1} {"id":"1"}"#)), Errno::EPERM);
    append(&tree, "ctr/web/config", " \n\r\t").unwrap();
    assert_eq!(tree.read("ctr/web/config"), before);
}

#[test]
fn values_are_lines() {
    let tree = Mounted::new();
    tree.make("web");
    sh(&tree, "cd ctr/web; printf running >status");
    assert_eq!(tree.read("ctr/web/status"), "running\n");
    let mut status = OpenOptions::new().write(true).open(tree.path("ctr/web/status")).unwrap();
    assert_eq!(errno(status.write_all(b"paused\nx")), Errno::EINVAL);
    drop(status);
    assert_eq!(tree.read("ctr/web/status"), "running\n");
    for (entry, value) in [("pid", "4"), ("exit-code", "-1"), ("netns", "/x")] {
        let entry = format!("ctr/web/{entry}");
        assert_eq!(tree.read(&entry), "\n");
        tree.echo(value, &entry).unwrap();
        assert_eq!(tree.read(&entry), format!("{value}\n"));
        tree.echo("", &entry).unwrap();
        assert_eq!(tree.read(&entry), "\n");
    }
    for entry in ["ctr/web/name", "ctr/web/status"] {
        assert_eq!(errno(tree.echo("", entry)), Errno::EINVAL);
    }
}

#[test]
fn what_is_cut_off_is_dropped_and_noted() {
    let tree = Mounted::new();
    tree.make("web");
    let before = tree.read("ctr/web/config");
    let file = OpenOptions::new().write(true).open(tree.path("ctr/web/config")).unwrap();
    (&file).write_all(b"{\"a\":").unwrap();
    let closed = nix::unistd::close(std::os::fd::OwnedFd::from(file));
    assert_eq!(closed, Err(Errno::EINVAL));
    wait_until("the refusal is noted", || tree.last_refusal().contains("5 bytes were dropped"));
    let line: serde_json::Value = serde_json::from_str(&tree.last_refusal()).unwrap();
    let closer = nix::unistd::gettid().as_raw();
    assert_eq!((&line["errno"], &line["pid"]), (&"EINVAL".into(), &closer.into()));
    sh(&tree, ": >ctr/web/config; truncate -s 0 ctr/web/config");
    assert_eq!(tree.read("ctr/web/config"), before);
}

#[test]
fn a_document_changed_since_it_was_read_is_not_overwritten() {
    let tree = Mounted::new();
    tree.make("web");
    let mut file = OpenOptions::new().read(true).write(true).open(tree.path("ctr/web/state")).unwrap();
    file.read_to_string(&mut String::new()).unwrap();
    tree.echo("exited", "ctr/web/status").unwrap();
    assert_eq!(errno(file.write_all(b"{\"state\":\"running\"}")), Errno::ESTALE);
    file.rewind().unwrap();
    file.read_to_string(&mut String::new()).unwrap();
    file.write_all(b"{\"state\":\"running\"}").unwrap();
    file.write_all(b"{\"state\":\"paused\"}").unwrap();
    assert_eq!(tree.read("ctr/web/status"), "paused\n");
}

#[test]
fn limits() {
    let tree = Mounted::new();
    tree.make("web");
    let document = |bytes: usize| format!("{{\"x\":\"{}\"}}", "a".repeat(bytes - 8));
    let mut file = OpenOptions::new().write(true).open(tree.path("ctr/web/state")).unwrap();
    let long = document((1 << 20) + 1);
    assert_eq!(errno(long.as_bytes().chunks(4096).try_for_each(|piece| file.write_all(piece))), Errno::EFBIG);
    // As kept it is longer than as written.
    assert_eq!(errno(append(&tree, "ctr/web/state", &document(1 << 20))), Errno::EFBIG);
    append(&tree, "ctr/web/state", &document((1 << 20) - 100)).unwrap();
    tree.make("other");
    let path = |bytes: usize| format!("/{}", "a".repeat(bytes - 2));
    assert_eq!(errno(tree.echo(&path(4097), "ctr/other/netns")), Errno::EFBIG);
    tree.echo(&path(4096), "ctr/other/netns").unwrap();
    let deep = |depth: usize| format!("{{\"x\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert_eq!(errno(append(&tree, "ctr/web/config", &deep(128))), Errno::EINVAL);
    append(&tree, "ctr/web/config", &deep(127)).unwrap();
}
