//! The command line through a real tree.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{CTRFS, Mounted, Scratch, succeed, text};
use crate::tools::{create, json, make_pod, need, store};

/// Runs `ctrfs` on this tree with documents on its standard input.
fn with_input(tree: &Mounted, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(CTRFS);
    command.args(arguments).env("CTRFS_AT", &tree.at).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    assert!(output.stderr.is_empty(), "{}", text(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a refused command says.
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(output));
    assert!(output.stdout.is_empty(), "{}", text(output));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn init_makes_a_store_in_a_directory_of_its_own() {
    let scratch = Scratch::new();
    let init = |dir: &Path| Command::new(CTRFS).arg("init").arg(dir).output().unwrap();
    let dir = scratch.path().join("store");
    assert_eq!(stdout(&init(&dir)), "");
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o700);
    let before = contents(&dir);
    assert!(refusal(&init(&dir)).contains("there is a store already"));
    assert_eq!(contents(&dir), before);

    let empty = scratch.path().join("empty");
    fs::create_dir_all(empty.join("lost+found")).unwrap();
    assert_eq!(stdout(&init(&empty)), "", "a new filesystem is as empty as can be");
    let full = scratch.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("thesis"), "x").unwrap();
    assert!(refusal(&init(&full)).contains("not empty, and not a store"));
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1, "nothing is left in it");
    assert!(refusal(&init(&scratch.path().join("a/b"))).contains("No such file"));
    assert!(refusal(&init(&full.join("thesis"))).contains("Not a directory"));
}

/// Every entry of a directory with a file's bytes, and its time.
fn contents(dir: &Path) -> BTreeMap<String, (Vec<u8>, i64, i64)> {
    let file = |entry: fs::DirEntry| {
        let meta = entry.metadata().unwrap();
        let bytes = if meta.is_dir() { vec![] } else { fs::read(entry.path()).unwrap() };
        (entry.file_name().into_string().unwrap(), (bytes, meta.mtime(), meta.mtime_nsec()))
    };
    fs::read_dir(dir).unwrap().map(|entry| file(entry.unwrap())).collect()
}

#[test]
fn create_prints_the_ids() {
    let tree = Mounted::new();
    assert_eq!(stdout(&with_input(&tree, &["create"], r#"{"name":"web"}"#)), tree.id("web") + "\n");
    let two = with_input(&tree, &["create"], "{\"name\":\"a\"}\n\n{\"name\":\"b\",\"Dependencies\":[\"a\"]}\n");
    assert_eq!(stdout(&two), format!("{}\n{}\n", tree.id("a"), tree.id("b")));
    let pod = stdout(&with_input(&tree, &["create", "--pod"], r#"{"name":"shop"}"#));
    assert_eq!(fs::read_link(tree.path("pod/shop")).unwrap(), Path::new(pod.trim_end()));
    let member = stdout(&with_input(&tree, &["create"], r#"{"pod":"shop","name":"inside"}"#));
    assert!(tree.path(&format!("pod/shop/containers/{}", member.trim_end())).exists());
    let many: String = (0..500).map(|n| format!("{{\"name\":\"m{n}\"}}\n")).collect();
    assert_eq!(stdout(&with_input(&tree, &["create"], &many)).lines().count(), 500);
}

#[test]
fn a_refused_create_tells_the_reason_and_makes_none() {
    let tree = Mounted::new();
    tree.make("web");
    let before = store(&tree);
    for (input, reason) in [
        (r#"{"name":"web"}"#, "the name web belongs to a container"),
        (r#"{"name":"new"}{"name":"new"}"#, "the name new belongs to a container"),
        (r#"{"name":"new"}{"labels":[]}"#, "the key \"labels\" takes an object of strings"),
        (r#"{"netNsCtr":"nobody"}"#, "no such container: nobody"),
        (r#"{"pod":"nopod"}"#, "no such pod: nopod"),
        (r#"{"a" 1}"#, "not JSON: at byte 5, ':' is due"),
        (r#"{"a":1,"a":2}"#, "the key \"a\" stands twice"),
    ] {
        let said = refusal(&with_input(&tree, &["create"], input));
        assert!(said.starts_with("ctrfs: create container: ") && said.contains(reason), "{input}: {said}");
        assert_eq!(store(&tree), before, "{input}");
    }
    for (input, reason) in
        [("", "no JSON document"), (" \n", "no JSON document"), ("{\"name\":", "ends inside a JSON document")]
    {
        assert!(refusal(&with_input(&tree, &["create"], input)).contains(reason), "{input:?}");
    }
    assert_eq!(store(&tree), before);
}

#[test]
fn rm_takes_names_and_ids_and_goes_on_after_a_failure() {
    let tree = Mounted::new();
    let ids: Vec<String> = ["a", "b", "c", "d"].iter().map(|name| tree.make(name)).collect();
    assert_eq!(stdout(&tree.ctrfs(&["rm", "a", &ids[1]])), "");
    let said = refusal(&tree.ctrfs(&["rm", &ids[2][..12], "c"]));
    assert!(said.contains(&format!("{} is a prefix", &ids[2][..12])), "{said}");
    assert!(!tree.path("ctr/c").exists(), "the other one went");
    tree.echo("running", "ctr/d/status").unwrap();
    for name in ["d", &ids[3]] {
        assert!(refusal(&tree.ctrfs(&["rm", name])).ends_with("container d is running\n"));
    }
    tree.echo("exited", "ctr/d/status").unwrap();
    create(&tree, r#"{"name":"e","Dependencies":["d"]}"#);
    assert!(refusal(&tree.ctrfs(&["rm", "d"])).ends_with("container d is needed by e\n"));
    assert!(refusal(&tree.ctrfs(&["rm", "--ignore", "d"])).ends_with("container d is needed by e\n"));
    let said = refusal(&tree.ctrfs(&["rm", "nobody", &ids[0], "e"]));
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.lines().all(|line| line.ends_with("no container has this ID or exact name")), "{said}");
    assert_eq!(stdout(&tree.ctrfs(&["rm", "--ignore", "nobody", &ids[0], "d"])), "");
    assert_eq!(fs::read_dir(tree.path("ctr")).unwrap().count(), 0);
    make_pod(&tree, "shop");
    assert!(refusal(&tree.ctrfs(&["rm", "shop"])).contains("shop is a pod, not a container (see --pod)"));
    assert_eq!(tree.ctrfs(&["rm"]).status.code(), Some(2), "nothing to remove is a wrong command line");
}

#[test]
fn rm_pod_removes_an_empty_pod() {
    let tree = Mounted::new();
    let (one, two) = (make_pod(&tree, "one"), make_pod(&tree, "two"));
    fs::create_dir(tree.path("pod/two/containers/web")).unwrap();
    assert!(refusal(&tree.ctrfs(&["rm", "--pod", "two"])).ends_with("pod two still has 1 containers\n"));
    assert!(refusal(&tree.ctrfs(&["rm", "--pod", "web"])).contains("web is a container, not a pod"));
    assert!(refusal(&tree.ctrfs(&["rm", "--pod", &two[..12]])).contains("is a prefix"));
    assert_eq!(stdout(&tree.ctrfs(&["rm", "--pod", &one])), "");
    assert_eq!(stdout(&tree.ctrfs(&["rm", "--pod", "--ignore", "one"])), "");
    assert!(tree.path("pod/two").exists());
}

#[test]
fn rm_recursive_removes_a_pod_with_its_members_or_nothing() {
    let tree = Mounted::new();
    let pod = make_pod(&tree, "shop");
    let furnish = || create(&tree, r#"{"name":"db","pod":"shop"}{"name":"web","pod":"shop","netNsCtr":"db"}"#);
    furnish();
    tree.echo("running", "ctr/web/status").unwrap();
    let before = store(&tree);
    assert!(refusal(&tree.ctrfs(&["rm", "--recursive", "shop"])).ends_with("container web is running\n"));
    assert!(refusal(&tree.ctrfs(&["rm", "--recursive", &pod[..12]])).contains("no pod has this ID or exact name"));
    assert!(refusal(&tree.ctrfs(&["rm", "--recursive", "web"])).contains("web is a container, not a pod"));
    assert_eq!(store(&tree), before);
    tree.echo("exited", "ctr/web/status").unwrap();
    assert_eq!(stdout(&tree.ctrfs(&["rm", "--recursive", "shop"])), "");
    for dir in ["ctr", "pod", "name", "id"] {
        assert_eq!(fs::read_dir(tree.path(dir)).unwrap().count(), 0, "{dir}");
    }
    let pod = make_pod(&tree, "shop");
    furnish();
    assert_eq!(stdout(&tree.ctrfs(&["rm", "-r", &pod])), "");
    assert!(refusal(&tree.ctrfs(&["rm", "-r", "shop"])).contains("no pod has this ID or exact name"));
    assert!(refusal(&tree.ctrfs(&["rm", "-r", &pod])).contains("no such pod"));
    assert_eq!(stdout(&tree.ctrfs(&["rm", "-r", "--ignore", "shop", &pod])), "");
}

#[test]
fn ps_lists_for_people_and_for_machines() {
    let tree = Mounted::new();
    make_pod(&tree, "shop-of-long-name");
    let ids = create(&tree, r#"{"name":"db","rootfsImageName":"a\tb\\c\nd"}{"name":"web","pod":"shop-of-long-name"}"#);
    tree.echo("running", "ctr/web/status").unwrap();
    tree.echo("7", "ctr/web/pid").unwrap();
    let table = stdout(&tree.ctrfs(&["ps"]));
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "NAME", "STATUS", "PID", "MOUNTED", "POD", "CREATED"]);
    assert_eq!(rows[1][..6], [&ids[1][..12], "web", "running", "7", "0", "shop-of-long-name"]);
    assert_eq!(rows[2][..6], [&ids[0][..12], "db", "configured", "-", "0", "-"]);
    assert!(stdout(&tree.ctrfs(&["ps", "--no-trunc"])).contains(&ids[0]));

    let parsed: Value = serde_json::from_str(&stdout(&tree.ctrfs(&["ps", "--json"]))).unwrap();
    assert_eq!((&parsed[0]["id"], &parsed[1]["id"]), (&Value::from(&*ids[1]), &Value::from(&*ids[0])));
    assert_eq!((&parsed[0]["pid"], &parsed[1]["pid"]), (&Value::from("7"), &Value::Null));
    assert_eq!(parsed[1]["image"], "a\tb\\c\nd", "the table's escapes are undone");
    assert_eq!(parsed[0]["created"], json(&tree, "ctr/web/config")["createdTime"]);
    let header = tree.read("table/ctr").lines().next().unwrap().to_owned();
    assert!(parsed[0].as_object().unwrap().keys().eq(header.split('\t')), "all columns: {header}");

    let filtered: Value =
        serde_json::from_str(&stdout(&tree.ctrfs(&["ps", "--json", "-f", "status=running"]))).unwrap();
    assert_eq!(filtered.as_array().unwrap().len(), 1);
    let none: Value = serde_json::from_str(&stdout(&tree.ctrfs(&["ps", "--json", "-f", "pid=8"]))).unwrap();
    assert_eq!(none, Value::Array(vec![]));
    assert!(refusal(&tree.ctrfs(&["ps", "-f", "colour=red"])).contains("no column \"colour\""));
    let pods: Value = serde_json::from_str(&stdout(&tree.ctrfs(&["ps", "--pods", "--json"]))).unwrap();
    assert_eq!(
        (&pods[0]["name"], &pods[0]["status"], &pods[0]["containers"]),
        (&"shop-of-long-name".into(), &"running".into(), &"1".into())
    );
    assert!(stdout(&tree.ctrfs(&["ps", "--pods"])).starts_with("ID "));
    tree.echo("exited", "ctr/web/status").unwrap();
}

#[test]
fn check_answers_mounted_and_not_and_leaves_the_files_alone() {
    let tree = Mounted::new();
    make_pod(&tree, "shop");
    create(&tree, r#"{"name":"db","pod":"shop"}{"name":"web","pod":"shop","netNsCtr":"db"}"#);
    let check = || stdout(&Command::new(CTRFS).arg("check").arg(&tree.store).output().unwrap());
    assert_eq!(check(), "ok: 2 containers, 1 pods, 0 images, 0 layers\n");
    assert_eq!(tree.read("check"), check());
    tree.unmount();
    let before = contents(&tree.store);
    assert_eq!(check(), "ok: 2 containers, 1 pods, 0 images, 0 layers\n");
    let after = contents(&tree.store);
    assert!(after == before, "checking makes and writes nothing");
    let scratch = Scratch::new();
    let none = Command::new(CTRFS).arg("check").arg(scratch.path()).output().unwrap();
    assert!(refusal(&none).contains("no store there"));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is made");
    let nowhere = Command::new(CTRFS).arg("check").arg(scratch.path().join("nowhere")).output().unwrap();
    assert!(refusal(&nowhere).contains("No such file"));
}

#[test]
fn the_tree_is_chosen_by_option_then_environment() {
    let (one, two) = (Mounted::new(), Mounted::new());
    one.make("first");
    two.make("second");
    let ps = |arguments: &[&str], environment: &Path| {
        stdout(&Command::new(CTRFS).arg("ps").args(arguments).env("CTRFS_AT", environment).output().unwrap())
    };
    assert!(ps(&[], &one.at).contains("first"));
    assert!(ps(&[], &two.at).contains("second"));
    assert!(ps(&["--at", two.at.to_str().unwrap()], &one.at).contains("second"));
    for wrong in [one.path("ctr"), one.path("version"), one.store.clone(), "/nowhere".into(), "/".into()] {
        let output = Command::new(CTRFS).args(["ps", "--at"]).arg(&wrong).output().unwrap();
        assert!(refusal(&output).contains("not the mountpoint of a ctrfs"), "{}", wrong.display());
    }
}

/// In a mount namespace of its own, where what else is mounted can be taken away; in that of a user
/// namespace, what the machine has mounted cannot.
#[test]
fn root_only_one_mounted_needs_no_choice() {
    need("unshare", "util-linux");
    let (one, two) = (Mounted::new(), Mounted::new());
    one.make("first");
    let script = r#"
        for at in $(awk '$9 == "fuse.ctrfs" || $8 == "fuse.ctrfs" || $10 == "fuse.ctrfs" { print $5 }' /proc/self/mountinfo); do
            case $at in "$ONE" | "$TWO") ;; *) umount -l "$(printf "$at")" ;; esac
        done
        "$CTRFS" ps 2>&1; echo "$?"
        umount -l "$TWO"; "$CTRFS" ps; echo "$?"
        umount -l "$ONE"; "$CTRFS" ps 2>&1; echo "$?""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "dash", "-c", script]).env_remove("CTRFS_AT");
    let output = succeed(command.env("CTRFS", CTRFS).env("ONE", &one.at).env("TWO", &two.at));
    let said = text(&output);
    let lines: Vec<&str> = said.lines().collect();
    let mut both = [one.at.display().to_string(), two.at.display().to_string()];
    both.sort();
    assert!(lines[0].starts_with("ctrfs: several ctrfs are mounted; choose one with --at"), "{said}");
    assert_eq!(lines[1..4], [format!("  {}", both[0]), format!("  {}", both[1]), "1".to_owned()], "{said}");
    assert!(lines[5].contains(" first ") && lines[6] == "0", "{said}");
    assert!(lines[7].starts_with("ctrfs: no ctrfs is mounted here") && lines[8] == "1", "{said}");
}
