//! Bad names and bad documents through every door that takes them: refused in words with the exact
//! errno, and nothing changed.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use serde_json::json;

use crate::support::{CTRFS, Mounted, errno, text};
use crate::tools::{append, ask, make_pod, refusals, refused, store, write};

/// Names that reach the tree as they are and are none.
fn bad_names() -> Vec<(Vec<u8>, &'static str)> {
    vec![
        ("x".repeat(256).into_bytes(), "255 bytes at most"),
        (b"a\nb".to_vec(), "letters, digits"),
        ("0a".repeat(33).into_bytes(), "64 or more hex digits"),
        ("AB".repeat(32).into_bytes(), "64 or more hex digits"),
        (b"-rf".to_vec(), "begins with a letter or a digit"),
        (b"_x".to_vec(), "begins with a letter or a digit"),
        (b".hidden".to_vec(), "begins with a letter or a digit"),
        (b"a b".to_vec(), "letters, digits"),
        ("größe".into(), "letters, digits"),
        (b"a\x7f".to_vec(), "letters, digits"),
        (b"a\xffb".to_vec(), "UTF-8"),
    ]
}

fn path(tree: &Mounted, dir: &str, name: &[u8]) -> PathBuf {
    tree.path(dir).join(OsStr::from_bytes(name))
}

fn furnished() -> Mounted {
    let tree = Mounted::new();
    tree.make("web");
    make_pod(&tree, "shop");
    fs::create_dir(tree.path("pod/shop/containers/db")).unwrap();
    tree
}

#[test]
fn bad_names_are_refused_by_mkdir_and_mv() {
    let tree = furnished();
    for (name, words) in bad_names() {
        for dir in ["ctr", "pod", "pod/shop/containers"] {
            refused(&tree, "mkdir", Errno::EINVAL, words, || fs::create_dir(path(&tree, dir, &name)));
        }
        for (dir, from) in [("name", "web"), ("name", "shop"), ("ctr", "web"), ("pod", "shop")] {
            let from = tree.path(dir).join(from);
            refused(&tree, "rename", Errno::EINVAL, words, || fs::rename(&from, path(&tree, dir, &name)));
        }
    }
    let id = "0d".repeat(32);
    for dir in ["name", "ctr"] {
        let (from, to) = (tree.path(dir).join("web"), tree.path(dir).join(&id));
        refused(&tree, "rename", Errno::EINVAL, "64 or more hex digits", || fs::rename(&from, &to));
    }
}

/// What the kernel resolves itself never reaches the tree.
#[test]
fn names_that_are_paths_stay_the_kernels() {
    let tree = furnished();
    let (before, count) = (store(&tree), refusals(&tree).len());
    for dir in ["ctr", "pod", "pod/shop/containers"] {
        for (name, expected) in [
            (".", Errno::EEXIST),
            ("..", Errno::EEXIST),
            ("", Errno::EEXIST),
            ("a/b", Errno::ENOENT),
            ("a/..", Errno::ENOENT),
        ] {
            let made = fs::create_dir(format!("{}/{dir}/{name}", tree.at.display()));
            assert_eq!(errno(made), expected, "mkdir {dir}/{name}");
        }
        assert_eq!(fs::create_dir(path(&tree, dir, b"a\0b")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
    for (dir, from) in [("name", "web"), ("ctr", "web"), ("pod", "shop")] {
        for (name, expected) in [(".", Errno::EBUSY), ("..", Errno::EBUSY), ("a/b", Errno::ENOENT)] {
            let moved = fs::rename(tree.path(dir).join(from), format!("{}/{dir}/{name}", tree.at.display()));
            assert_eq!(errno(moved), expected, "mv {dir}/{from} {dir}/{name}");
        }
        assert_eq!(errno(fs::rename(tree.path(dir).join(from), "")), Errno::ENOENT);
    }
    assert_eq!((store(&tree), refusals(&tree).len()), (before, count));
}

#[test]
fn bad_names_are_refused_in_documents() {
    let tree = furnished();
    let mut names = bad_names();
    names.retain(|(name, _)| std::str::from_utf8(name).is_ok());
    names.extend([
        (b".".to_vec(), "begins with"),
        (b"..".to_vec(), "begins with"),
        (b"".to_vec(), "cannot be empty"),
        (b"a/b".to_vec(), "letters, digits"),
        (b"a\0b".to_vec(), "letters, digits"),
        ("0d".repeat(32).into_bytes(), "64 or more hex digits"),
    ]);
    for (name, words) in names {
        let name = String::from_utf8(name).unwrap();
        let document = json!({ "name": name }).to_string();
        for entry in ["create/ctr", "create/pod"] {
            refused(&tree, "write", Errno::EINVAL, words, || ask(&tree, entry, &document));
        }
        for entry in ["ctr/web/config", "pod/shop/config"] {
            refused(&tree, "write", Errno::EINVAL, words, || write(&tree, entry, &document));
            refused(&tree, "write", Errno::EINVAL, words, || append(&tree, entry, &document));
        }
        for key in ["ctr", "pod"] {
            let order = json!({"verb": "remove", key: name}).to_string();
            refused(&tree, "write", Errno::ENOENT, "no such", || ask(&tree, "control", &order));
        }
        let one_line = if name.contains(|c: char| c.is_ascii_control()) { "bad name" } else { words };
        for entry in ["ctr/web/name", "pod/shop/name"] {
            refused(&tree, "write", Errno::EINVAL, one_line, || tree.echo(&name, entry));
        }
    }
    for entry in ["ctr/web/name", "pod/shop/name"] {
        refused(&tree, "write", Errno::EINVAL, "UTF-8", || write(&tree, entry, b"a\xffb\n"));
    }
    for (entry, words) in [
        ("create/ctr", "not JSON"),
        ("create/pod", "not JSON"),
        ("ctr/web/config", "not JSON"),
        ("control", "not JSON"),
    ] {
        refused(&tree, "write", Errno::EINVAL, words, || write(&tree, entry, b"{\"name\":\"a\xffb\"}"));
        refused(&tree, "write", Errno::EINVAL, words, || {
            write(&tree, entry, b"{\"verb\":\"remove\",\"ctr\":\"\xff\"}")
        });
    }
    for entry in ["create/ctr", "create/pod"] {
        for bad in ["", "abc", &"0D".repeat(32), &"0d".repeat(33), "../../etc"] {
            let document = json!({ "id": bad }).to_string();
            refused(&tree, "write", Errno::EINVAL, "64 lower-case hex digits", || ask(&tree, entry, &document));
        }
    }
}

#[test]
fn bad_documents_are_refused_through_every_door() {
    let tree = furnished();
    let deep = |open: &str, close: &str| format!("{{\"a\":{}1{}}}", open.repeat(100_000), close.repeat(100_000));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20));
    let doors =
        ["create/ctr", "create/pod", "control", "ctr/web/config", "ctr/web/state", "pod/shop/config", "pod/shop/state"];
    for door in doors {
        for (document, words) in [
            (deep("[", "]").as_str(), "nested too deep"),
            (&deep("{\"a\":", "}"), "nested too deep"),
            (r#"{"verb":"remove","ctr":"web","ctr":"db"}"#, "\"ctr\" stands twice"),
            (r#"{"a":{"b":[{"c":1,"\u0063":2}]}}"#, "\"c\" stands twice"),
            (r#"{"a":NaN}"#, "a value is due"),
            (r#"{"a":nan}"#, "a word that is not true, false or null"),
            (r#"{"a":-Infinity}"#, "a number that ends too early"),
            (r#"{"a":.5}"#, "a value is due"),
            (r#"{"a":0x10}"#, "',' or the end"),
            (r#"{"a":1} trailing"#, "a word that is not true, false or null"),
            (r#"{"a":1}]"#, "a value is due"),
            (r#"{"a":1,}"#, "a key in double quotes is due"),
            (r#"{'a':1}"#, "a key in double quotes is due"),
            (r#"{a:1}"#, "a key in double quotes is due"),
            ("{\"a\":\"b\nc\"}", "a control character in a string"),
            ("{\"a\":\"b\0c\"}", "a control character in a string"),
            (r#"{"a":"\x41"}"#, "an unknown escape"),
            (r#"{"a":"\udc00"}"#, "not JSON"),
            ("\u{feff}{}", "a byte-order mark"),
            ("\0", "a value is due"),
            ("/* comment */ {}", "a value is due"),
            ("[]", "not a JSON object"),
            ("\"text\"", "not a JSON object"),
            ("null", "not a JSON object"),
            ("1 ", "not a JSON object"),
        ] {
            refused(&tree, "write", Errno::EINVAL, words, || write(&tree, door, document));
        }
        let before = store(&tree);
        let mut file = OpenOptions::new().write(true).open(tree.path(door)).unwrap();
        assert_eq!(errno(file.write_all(large.as_bytes())), Errno::EFBIG, "{door}");
        drop(file);
        assert_eq!(store(&tree), before, "{door}");
    }
    for door in ["ctr/web/config", "ctr/web/state", "pod/shop/config", "pod/shop/state"] {
        refused(&tree, "write", Errno::EINVAL, "nested too deep", || append(&tree, door, deep("[", "]")));
        refused(&tree, "write", Errno::EINVAL, "stands twice", || append(&tree, door, r#"{"a":1,"a":2}"#));
    }
}

/// 128 levels are the most, in the scanner as in the reader.
#[test]
fn the_deepest_document_that_is_taken_is_read_back() {
    let tree = furnished();
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    refused(&tree, "write", Errno::EINVAL, "nested", || append(&tree, "ctr/web/config", nested(129)));
    append(&tree, "ctr/web/config", nested(128)).unwrap();
    let compact = tree.read("ctr/web/config").replace([' ', '\n'], "");
    assert!(compact.contains(&nested(128)[1..]), "{compact}");
    append(&tree, "ctr/web/config", r#"{"b":1}"#).unwrap();
    assert_eq!(tree.read("ctr/web/health"), "ok\n");
}

#[test]
fn bad_arguments_are_refused_by_the_command_line() {
    let tree = furnished();
    let before = store(&tree);
    let run = |arguments: &[&OsStr]| {
        Command::new(CTRFS).args(arguments).env("CTRFS_AT", &tree.at).stdin(Stdio::null()).output().unwrap()
    };
    let long = "x".repeat(256);
    let (hex, more_hex) = ("0d".repeat(32), "0d".repeat(33));
    for options in [&["rm"][..], &["rm", "--pod"], &["rm", "--recursive"]] {
        for (name, words) in [
            (".", "can be neither an ID nor a name"),
            ("..", "can be neither an ID nor a name"),
            ("", "can be neither an ID nor a name"),
            ("a/b", "can be neither an ID nor a name"),
            ("/", "can be neither an ID nor a name"),
            (&long, "no "),
            ("a\nb", "no "),
            (&hex, "no "),
            (&more_hex, "no "),
            ("nobody", "no "),
        ] {
            let arguments: Vec<&OsStr> = options.iter().copied().chain(["--", name]).map(OsStr::new).collect();
            let output = run(&arguments);
            assert_eq!(output.status.code(), Some(1), "{options:?} {name:?}: {}", text(&output));
            let said = text(&output);
            assert!(said.starts_with("ctrfs: ") && said.contains(words), "{options:?} {name:?}: {said}");
            assert!(!said.contains("os error"), "{said}");
        }
        let arguments: Vec<&OsStr> = options.iter().map(OsStr::new).chain([OsStr::from_bytes(b"a\xffb")]).collect();
        assert_eq!(run(&arguments).status.code(), Some(2), "no text: a wrong command line");
    }
    for (input, words) in [
        (&b"{\"name\":\"a b\"}"[..], "bad name \"a b\""),
        (b"{\"name\":\"a\xffb\"}", "not JSON"),
        (b"{\"a\":1,\"a\":1}", "stands twice"),
        (b"{\"a\":NaN}", "a value is due"),
        (b"{} x", "not JSON: at byte 3"),
        (b"{\"a\":", "ends inside a JSON document"),
        (b"", "no JSON document"),
        (b"[]", "not a JSON object"),
        (format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).as_bytes(), "nested too deep"),
        (format!("{{\"a\":\"{}\"}}", "x".repeat(2 << 20)).as_bytes(), "1048576 bytes at most"),
    ] {
        for options in [&["create"][..], &["create", "--pod"]] {
            let mut child = Command::new(CTRFS);
            child.args(options).env("CTRFS_AT", &tree.at).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = child.stderr(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(input).unwrap();
            let output = child.wait_with_output().unwrap();
            let shown = String::from_utf8_lossy(&input[..input.len().min(30)]);
            assert_eq!(output.status.code(), Some(1), "{options:?} {shown}: {}", text(&output));
            assert!(text(&output).contains(words), "{options:?} {shown}: {}", text(&output));
            assert!(output.stdout.is_empty(), "no ID is printed");
        }
    }
    assert_eq!(store(&tree), before);
}
