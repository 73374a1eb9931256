//! JSON documents: what is kept, what is refused, and what one write does.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::Command;

use nix::errno::Errno;
use serde_json::{Map, Value};

use crate::support::{Mounted, Scratch, errno, succeed, text};
use crate::tools::{
    append, ask, create, json, make_pod, need, need_shells, open, refusals, refused, shell, store, whole, write,
    write_once,
};

#[test]
fn numbers_order_and_text_stay_as_written() {
    let tree = Mounted::new();
    tree.make("web");
    let literals = [
        r#""zz": 9223372036854775809"#,
        r#""huge": 1e400"#,
        r#""money": 0.10"#,
        r#""minus": -0"#,
        r#""exponent": -1.5E+3"#,
        r#""aa": "é ☃ 😀""#,
        r#""empty": """#,
        r#""nothing": null"#,
        r#""$serde_json::private::Number": "12""#,
    ];
    write(&tree, "ctr/web/config", format!("{{{}}}\n", literals.join(","))).unwrap();
    let read = tree.read("ctr/web/config");
    let places: Vec<_> =
        literals.iter().map(|l| read.find(l).unwrap_or_else(|| panic!("{l} is not in {read}"))).collect();
    assert!(places.is_sorted(), "the order is kept: {read}");
    assert!(read.starts_with("{\n  \"") && read.ends_with("\n}\n"), "pretty, with a final newline: {read}");

    write(&tree, "ctr/web/config", r#"{"a":"\u00e9\n\t\"\\\/\ud83d\ude00\u0001\u007f"}"#).unwrap();
    assert_eq!(json(&tree, "ctr/web/config")["a"], "é\n\t\"\\/😀\u{1}\u{7f}");
    // What was read can be written as it is, and is the same then.
    let (before, read) = (whole(&tree, &format!("ctr/{}", tree.id("web"))), tree.read("ctr/web/config"));
    write(&tree, "ctr/web/config", &read).unwrap();
    assert_eq!(whole(&tree, &format!("ctr/{}", tree.id("web"))), before);
}

#[test]
fn what_jq_writes_reads_back_equal() {
    need_shells();
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    tree.make("web");
    let (source, wrote) = (scratch.path().join("source"), scratch.path().join("wrote"));
    let mut document =
        String::from(r#"{"z":0.10,"n":4503599627370497,"y":{"b":[],"a":{}},"u":"é😀\u0001\\","f":1.5e300"#);
    (0..2000).for_each(|n| document += &format!(r#","key{n}":[{n},true,null,"{n}"]"#));
    fs::write(&source, document + "}").unwrap();
    let files = [("SOURCE", source.to_str().unwrap()), ("WROTE", wrote.to_str().unwrap())];
    for options in [".", "-c .", "-S .", "-a --tab ."] {
        let script = format!("jq {options} \"$SOURCE\" > \"$WROTE\" && jq {options} \"$SOURCE\" > ctr/web/config");
        succeed_in(&tree, &files, &script);
        let wrote: Value = serde_json::from_str(&fs::read_to_string(&wrote).unwrap()).unwrap();
        let own = ["id", "name", "shmSize", "createdTime", "cgroupParent"];
        assert_eq!(without(json(&tree, "ctr/web/config"), &own), wrote.to_string(), "jq {options}");
    }
}

fn succeed_in(tree: &Mounted, variables: &[(&str, &str)], script: &str) {
    let output = shell(tree, &["bash"], variables, script);
    assert!(output.status.success(), "{script}: {}", text(&output));
}

/// A document's text without keys that were added, the rest in its order.
fn without(document: Value, keys: &[&str]) -> String {
    let Value::Object(mut document) = document else { panic!("{document} is no object") };
    document.retain(|key, _| !keys.contains(&key.as_str()));
    Value::Object(document).to_string()
}

#[test]
fn what_python_writes_reads_back_equal() {
    need("python3", "python3");
    let tree = Mounted::new();
    tree.make("web");
    let script = r#"
import json, os, sys
document = {"z": 2**63 + 1, "b": 0.1, "a": [1e308, -0.0, None, True, {"y": 1, "x": 2}], "u": "\u00e9\u2603\U0001f600\x00\n",
            "big": -2**200, "labels": {"k%d" % n: "v" * 50 for n in range(5000)}}
own = ("id", "name", "shmSize", "createdTime", "cgroupParent")
for options in ({}, {"indent": 4}, {"ensure_ascii": False, "separators": (",", ":")}):
    with open("ctr/web/config", "w", encoding="utf-8") as file:
        json.dump(document, file, **options)
    with open("ctr/web/config", encoding="utf-8") as file:
        read = {key: value for key, value in json.load(file).items() if key not in own}
    if json.dumps(read) != json.dumps(document):
        sys.exit("differs with %s: %s" % (options, json.dumps(read)[:200]))
try:
    with open("ctr/web/config", "w") as file:
        json.dump({"a": float("nan")}, file)
except OSError as error:
    sys.exit(0 if error.errno == 22 else str(error))
sys.exit("NaN was taken")
"#;
    let output = Command::new("python3").arg("-c").arg(script).current_dir(&tree.at).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_key_that_stands_twice_is_refused_however_written() {
    let tree = Mounted::new();
    tree.make("web");
    for bad in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"x":[{"é":1,"\u00e9":2}]}"#,
        r#"{"labels":{"a":"1","b":"2","a":"1"}}"#,
        r#"{"\ud83d\ude00":1,"😀":1}"#,
    ] {
        for file in ["ctr/web/config", "ctr/web/state"] {
            refused(&tree, "write", Errno::EINVAL, "stands twice", || write(&tree, file, bad));
            refused(&tree, "write", Errno::EINVAL, "stands twice", || append(&tree, file, bad));
        }
        refused(&tree, "write", Errno::EINVAL, "stands twice", || ask(&tree, "create/ctr", bad));
    }
}

#[test]
fn known_keys_are_checked_and_the_refusal_names_them() {
    let tree = Mounted::new();
    tree.make("web");
    make_pod(&tree, "shop");
    for (file, key, bad) in [
        ("ctr/web/config", "name", "7"),
        ("ctr/web/config", "spec", "[]"),
        ("ctr/web/config", "privileged", "\"yes\""),
        ("ctr/web/config", "shmSize", "9223372036854775808"),
        ("ctr/web/config", "stopSignal", "-1"),
        ("ctr/web/config", "stopTimeout", "1.5"),
        ("ctr/web/config", "portMappings", "{}"),
        ("ctr/web/config", "command", "\"sh\""),
        ("ctr/web/config", "dnsServer", "[1]"),
        ("ctr/web/config", "Dependencies", "\"db\""),
        ("ctr/web/config", "netNsCtr", "[]"),
        ("ctr/web/config", "labels", r#"{"a":1}"#),
        ("ctr/web/config", "createdTime", "\"yesterday\""),
        ("ctr/web/state", "state", "\"up\""),
        ("ctr/web/state", "state", "9"),
        ("ctr/web/state", "pid", "4194305"),
        ("ctr/web/state", "pid", "\"1\""),
        ("ctr/web/state", "exitCode", "2147483648"),
        ("ctr/web/state", "startedTime", "0"),
        ("ctr/web/state", "oomKilled", "0"),
        ("ctr/web/state", "netns", "1"),
        ("ctr/web/state", "bindMounts", r#"{"a":[]}"#),
        ("ctr/web/state", "mounted", "\"\""),
        ("pod/shop/config", "labels", "[]"),
        ("pod/shop/config", "UsePodCgroup", "1"),
        ("pod/shop/config", "created", "\"\""),
        ("pod/shop/state", "CgroupPath", "{}"),
    ] {
        let document = format!(r#"{{"kept":1,"{key}":{bad}}}"#);
        let words = format!("{key:?} takes");
        refused(&tree, "write", Errno::EINVAL, &words, || write(&tree, file, &document));
        refused(&tree, "write", Errno::EINVAL, &words, || append(&tree, file, &document));
    }
    refused(&tree, "write", Errno::EINVAL, "\"labels\" takes", || ask(&tree, "create/ctr", r#"{"labels":[]}"#));
    refused(&tree, "write", Errno::EINVAL, "\"labels\" takes", || ask(&tree, "create/pod", r#"{"labels":[]}"#));
}

#[test]
fn unknown_keys_are_kept() {
    let tree = Mounted::new();
    let id = create(&tree, r#"{"name":"web","newInPodman":{"deep":[1,{"a":null}]}}"#).remove(0);
    make_pod(&tree, "shop");
    assert_eq!(json(&tree, "ctr/web/config")["newInPodman"].to_string(), r#"{"deep":[1,{"a":null}]}"#);
    for file in
        [format!("ctr/{id}/state"), "pod/shop/config".into(), "pod/shop/state".into(), format!("ctr/{id}/config")]
    {
        write(&tree, &file, r#"{"mine":{"b":1,"a":2}}"#).unwrap();
        append(&tree, &file, r#"{"more":0.50}"#).unwrap();
        let document = json(&tree, &file);
        assert_eq!(
            (document["mine"].to_string(), document["more"].to_string()),
            (r#"{"b":1,"a":2}"#.into(), "0.50".into())
        );
    }
    tree.echo("running", "ctr/web/status").unwrap();
    assert_eq!(json(&tree, "ctr/web/state")["mine"]["a"], 2, "a value entry changes its own key only");
}

#[test]
fn a_status_is_accepted_as_libpods_number_and_served_as_a_word() {
    let tree = Mounted::new();
    tree.make("web");
    let words = ["unknown", "configured", "created", "running", "stopped", "paused", "exited", "removing", "stopping"];
    for (number, word) in words.iter().enumerate() {
        for given in [format!(r#"{{"state":{number}}}"#), format!(r#"{{"state":"{word}"}}"#)] {
            write(&tree, "ctr/web/state", r#"{"state":1}"#).unwrap();
            write(&tree, "ctr/web/state", given).unwrap();
            assert_eq!(json(&tree, "ctr/web/state")["state"], *word);
            assert_eq!(tree.read("ctr/web/status"), format!("{word}\n"));
        }
        tree.echo("configured", "ctr/web/status").unwrap();
        tree.echo(&number.to_string(), "ctr/web/status").unwrap();
        assert_eq!(json(&tree, "ctr/web/state")["state"], *word);
    }
    tree.echo("configured", "ctr/web/status").unwrap();
}

#[test]
fn derived_keys_are_ignored_if_equal_and_else_fixed() {
    let tree = Mounted::new();
    tree.make("web");
    write(&tree, "ctr/web/state", r#"{"state":1,"mounted":false,"mountPoint":"","mine":1}"#).unwrap();
    let state = json(&tree, "ctr/web/state");
    assert_eq!((state.get("mounted"), state.get("mountPoint"), &state["mine"]), (None, None, &1.into()));
    for (key, value) in [("mounted", "true"), ("mountPoint", "\"/mnt\"")] {
        let document = format!(r#"{{"{key}":{value}}}"#);
        refused(&tree, "write", Errno::EPERM, key, || write(&tree, "ctr/web/state", &document));
        refused(&tree, "write", Errno::EPERM, key, || append(&tree, "ctr/web/state", &document));
    }
}

#[test]
fn fixed_keys_keep_their_value() {
    let tree = Mounted::new();
    let pod = make_pod(&tree, "shop");
    let ids = create(
        &tree,
        r#"{"name":"db","pod":"shop"} {"name":"web","pod":"shop","netNsCtr":"db","Dependencies":["db"]}"#,
    );
    let (db, web) = (&ids[0], &ids[1]);
    let fixed = |config: &Value| {
        let keys = ["id", "name", "pod", "netNsCtr", "Dependencies", "createdTime"];
        keys.map(|key| config[key].to_string())
    };
    let before = fixed(&json(&tree, "ctr/web/config"));
    assert_eq!(
        before[..5],
        [web, "web", &pod, db].map(|s| format!("{s:?}")).into_iter().chain([format!("[{db:?}]")]).collect::<Vec<_>>()[..]
    );

    write(&tree, "ctr/web/config", r#"{"mine":1}"#).unwrap();
    assert_eq!(fixed(&json(&tree, "ctr/web/config")), before, "absent keys keep their value under >");
    // The same value, also by name or prefix, is no change.
    let same = format!(r#"{{"id":"{web}","pod":"shop","netNsCtr":"db","Dependencies":["{}"]}}"#, &db[..12]);
    write(&tree, "ctr/web/config", &same).unwrap();
    append(&tree, "ctr/web/config", &same).unwrap();
    assert_eq!(fixed(&json(&tree, "ctr/web/config")), before);

    make_pod(&tree, "other");
    let other = tree.make("other-ctr");
    for (key, value) in [
        ("id", format!("{db:?}")),
        ("pod", "\"other\"".to_owned()),
        ("netNsCtr", format!("{other:?}")),
        ("ipcNsCtr", "\"db\"".to_owned()),
        ("Dependencies", format!("[{db:?},{other:?}]")),
        ("createdTime", "\"2001-01-01T00:00:00Z\"".to_owned()),
    ] {
        let document = format!(r#"{{"{key}":{value}}}"#);
        refused(&tree, "write", Errno::EPERM, key, || write(&tree, "ctr/web/config", &document));
        refused(&tree, "write", Errno::EPERM, key, || append(&tree, "ctr/web/config", &document));
    }
    for key in ["id", "pod", "netNsCtr", "Dependencies"] {
        let document = format!(r#"{{"{key}":null}}"#);
        refused(&tree, "write", Errno::EPERM, key, || append(&tree, "ctr/web/config", &document));
    }
    let document = format!(r#"{{"id":"{pod}x"}}"#);
    refused(&tree, "write", Errno::EPERM, "id", || write(&tree, "pod/shop/config", &document));
}

#[test]
fn a_new_name_in_config_renames() {
    let tree = Mounted::new();
    let (id, pod) = (tree.make("web"), make_pod(&tree, "shop"));
    for (kind, id) in [("ctr", &id), ("pod", &pod)] {
        let file = format!("{kind}/{id}/config");
        write(&tree, &file, format!(r#"{{"name":"new-{kind}"}}"#)).unwrap();
        assert_eq!(
            fs::read_link(tree.path(&format!("name/new-{kind}"))).unwrap(),
            tree.path(&format!("../{kind}/{id}")).strip_prefix(&tree.at).unwrap()
        );
        assert_eq!(tree.read(&format!("{kind}/{id}/name")), format!("new-{kind}\n"));
        append(&tree, &file, format!(r#"{{"name":"newer-{kind}"}}"#)).unwrap();
        assert!(fs::symlink_metadata(tree.path(&format!("name/new-{kind}"))).is_err(), "the old name is free");
        tree.echo(&format!("newest-{kind}"), &format!("{kind}/{id}/name")).unwrap();
        assert_eq!(json(&tree, &file)["name"], format!("newest-{kind}"));
        assert!(tree.read(&format!("table/{kind}")).contains(&format!("\tnewest-{kind}\t")));
        refused(&tree, "write", Errno::EINVAL, "bad name", || append(&tree, &file, r#"{"name":"a b"}"#));
        refused(&tree, "write", Errno::EINVAL, "name", || append(&tree, &file, r#"{"name":null}"#));
    }
    assert_eq!(fs::read_dir(tree.path("name")).unwrap().count(), 2);
    let taken = r#"{"name":"newest-pod"}"#;
    refused(&tree, "write", Errno::EEXIST, "newest-pod belongs to a pod", || {
        append(&tree, &format!("ctr/{id}/config"), taken)
    });
    refused(&tree, "write", Errno::EEXIST, "newest-ctr belongs to a container", || {
        tree.echo("newest-ctr", &format!("pod/{pod}/name"))
    });
}

fn held(tree: &Mounted, below: &str) -> File {
    OpenOptions::new().read(true).write(true).open(tree.path(below)).unwrap()
}

fn read_whole(file: &mut File) -> String {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_handle_that_has_read_writes_only_over_what_it_read() {
    let tree = Mounted::new();
    tree.make("web");
    for (doc, change) in [("config", r#"{"labels":{"by":"another"}}"#), ("state", r#"{"state":"created"}"#)] {
        let path = format!("ctr/web/{doc}");
        let mut file = held(&tree, &path);
        let first = read_whole(&mut file);
        append(&tree, &path, change).unwrap();
        refused(&tree, "write", Errno::ESTALE, "somebody else changed it", || write_once(&mut file, b"{\"mine\":1}"));
        refused(&tree, "write", Errno::ESTALE, "somebody else changed it", || write_once(&mut file, b"{\"mine\":1}"));
        assert_ne!(read_whole(&mut file), first, "reading anew shows the change");
        write_once(&mut file, b"{\"mine\":1}").unwrap();
        assert_eq!(json(&tree, &path)["mine"], 1);
        write_once(&mut file, b"{\"mine\":2}").unwrap();
        assert_eq!(json(&tree, &path)["mine"], 2, "its own write is no change by another");
        append(&tree, &path, change).unwrap();
        assert_eq!(errno(write_once(&mut file, b"{\"mine\":3}")), Errno::ESTALE);
    }
    // A value entry changes the document behind it.
    let mut file = held(&tree, "ctr/web/state");
    read_whole(&mut file);
    tree.echo("7", "ctr/web/pid").unwrap();
    refused(&tree, "write", Errno::ESTALE, "somebody else changed it", || write_once(&mut file, b"{\"mine\":1}"));
    // One document's change is none of the other's, and who has not read is not asked.
    let (mut config, mut blind) = (held(&tree, "ctr/web/config"), held(&tree, "ctr/web/state"));
    read_whole(&mut config);
    tree.echo("8", "ctr/web/pid").unwrap();
    write_once(&mut config, b"{\"mine\":1}").unwrap();
    write_once(&mut blind, b"{\"mine\":1}").unwrap();
}

#[test]
fn a_refused_write_leaves_the_handle_usable() {
    let tree = Mounted::new();
    tree.make("web");
    let mut file = open(&tree, "ctr/web/config", false).unwrap();
    refused(&tree, "write", Errno::EINVAL, "not JSON", || write_once(&mut file, b"x"));
    write_once(&mut file, b"{\"a\":").unwrap();
    write_once(&mut file, b"1}").unwrap();
    assert_eq!(json(&tree, "ctr/web/config")["a"], 1, "the refused byte was never there");
    refused(&tree, "write", Errno::EINVAL, "labels", || write_once(&mut file, b"{\"labels\":1}"));
    write_once(&mut file, b"{\"b\":2}").unwrap();
    assert_eq!(json(&tree, "ctr/web/config")["b"], 2);
    drop(file);
    let mut file = open(&tree, "ctr/web/status", false).unwrap();
    refused(&tree, "write", Errno::EINVAL, "status", || write_once(&mut file, b"bogus\n"));
    write_once(&mut file, b"running\n").unwrap();
    assert_eq!(tree.read("ctr/web/status"), "running\n");
    write_once(&mut file, b"exited\n").unwrap();
}

/// Many a writer goes on after an error; its next piece does not make a document of the pieces before,
/// and is refused for the same reason.
#[test]
fn a_document_of_which_a_piece_was_refused_is_given_up() {
    let tree = Mounted::new();
    tree.make("web");
    let words = "not JSON";
    for file in ["ctr/web/config", "ctr/web/state", "create/ctr", "control"] {
        let mut file = open(&tree, file, false).unwrap();
        write_once(&mut file, b"{").unwrap();
        refused(&tree, "write", Errno::EINVAL, "not JSON", || write_once(&mut file, b"b"));
        refused(&tree, "write", Errno::EINVAL, words, || write_once(&mut file, b"}"));
        refused(&tree, "write", Errno::EINVAL, words, || write_once(&mut file, b"{}"));
        tree.kill_server();
        let words = "an earlier piece of it was refused";
        refused(&tree, "write", Errno::EINVAL, words, || write_once(&mut file, b"{}"));
    }
    let mut file = open(&tree, "ctr/web/netns", false).unwrap();
    write_once(&mut file, &[b"/", &[b'x'; 4000][..]].concat()).unwrap();
    refused(&tree, "write", Errno::EFBIG, "a value has", || write_once(&mut file, &[b'x'; 200]));
    refused(&tree, "write", Errno::EFBIG, "a value has", || write_once(&mut file, b"\n"));
    assert_eq!(tree.read("ctr/web/netns"), "\n");
}

#[test]
fn one_write_is_one_transaction_and_several_are_several() {
    let tree = Mounted::new();
    tree.make("web");
    append(&tree, "ctr/web/config", r#"{"a":1}{"b":2} {"a":null}"#).unwrap();
    let config = json(&tree, "ctr/web/config");
    assert_eq!((config.get("a"), &config["b"]), (None, &2.into()), "in their order");
    refused(&tree, "write", Errno::EINVAL, "labels", || append(&tree, "ctr/web/config", r#"{"c":1} {"labels":1}"#));
    refused(&tree, "write", Errno::EEXIST, "db", || ask(&tree, "create/ctr", r#"{"name":"db"}{"name":"db"}"#));
    refused(&tree, "write", Errno::ENOENT, "nobody", || {
        ask(&tree, "create/ctr", r#"{"name":"db"}{"netNsCtr":"nobody"}"#)
    });
    let mut file = held(&tree, "create/ctr");
    write_once(&mut file, b"{\"name\":\"one\"}").unwrap();
    refused(&tree, "write", Errno::EINVAL, "bad name", || write_once(&mut file, b"{\"name\":\"-\"}"));
    write_once(&mut file, b"{\"name\":\"two\"}").unwrap();
    let mut ids = String::new();
    file.read_to_string(&mut ids).unwrap();
    assert_eq!(ids, format!("{}\n{}\n", tree.id("one"), tree.id("two")));
    assert_eq!(file.read(&mut [0; 10]).unwrap(), 0, "then end of file");
    // Five, each needing the one before.
    let five: String = (0..5)
        .map(|n| {
            format!(
                r#"{{"name":"n{n}","Dependencies":[{}]}}"#,
                if n == 0 { String::new() } else { format!("\"n{}\"", n - 1) }
            )
        })
        .collect();
    assert_eq!(create(&tree, &five).len(), 5);
    assert_eq!(fs::read_dir(tree.path("ctr/n3/depends-on")).unwrap().count(), 1);
}

#[test]
fn garbage_behind_a_good_document_undoes_it() {
    let tree = Mounted::new();
    tree.make("web");
    for bad in ["{\"a\":1}x", "{\"a\":1} }", "{\"a\":1},", "{\"a\":1}\n{", "{\"a\":1}\0"] {
        if bad.ends_with('{') {
            continue; // The beginning of another document is no garbage.
        }
        refused(&tree, "write", Errno::EINVAL, "not JSON: at byte", || write(&tree, "ctr/web/config", bad));
        refused(&tree, "write", Errno::EINVAL, "not JSON: at byte", || append(&tree, "ctr/web/config", bad));
        refused(&tree, "write", Errno::EINVAL, "not JSON: at byte", || ask(&tree, "create/ctr", bad));
        refused(&tree, "write", Errno::EINVAL, "not JSON: at byte", || ask(&tree, "control", bad));
    }
}

#[test]
fn white_space_is_nothing_and_a_byte_order_mark_is_refused() {
    let tree = Mounted::new();
    tree.make("web");
    let before = store(&tree);
    write(&tree, "ctr/web/config", " \r\n\t\n").unwrap();
    assert_eq!(ask(&tree, "create/ctr", "\n\n").unwrap(), "", "no document, no result, and no example either");
    assert_eq!(store(&tree), before);
    write(&tree, "ctr/web/config", "\r\n {\"a\"\r\n:\t1}\r\n\r\n").unwrap();
    assert_eq!(json(&tree, "ctr/web/config")["a"], 1);
    refused(&tree, "write", Errno::EINVAL, "byte-order mark", || write(&tree, "ctr/web/config", "\u{feff}{\"a\":2}"));
    refused(&tree, "write", Errno::EINVAL, "status", || write(&tree, "ctr/web/status", "running\r\n"));
    refused(&tree, "write", Errno::EINVAL, "pid", || write(&tree, "ctr/web/pid", "\u{feff}7\n"));
}

#[test]
fn real_runtime_specs_are_kept() {
    need("runc", "runc");
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    for (name, options) in [("plain", &["spec"][..]), ("rootless", &["spec", "--rootless"])] {
        let bundle = scratch.path().join(name);
        fs::create_dir(&bundle).unwrap();
        succeed(Command::new("runc").args(options).current_dir(&bundle));
        let spec: Value = serde_json::from_str(&fs::read_to_string(bundle.join("config.json")).unwrap()).unwrap();
        assert!(spec["process"]["args"].is_array());
        create(&tree, &format!(r#"{{"name":"{name}","spec":{spec}}}"#));
        assert_eq!(json(&tree, &format!("ctr/{name}/config"))["spec"].to_string(), spec.to_string());
        tree.make(&format!("{name}-later"));
        append(&tree, &format!("ctr/{name}-later/config"), format!(r#"{{"spec":{spec:#}}}"#)).unwrap();
        assert_eq!(json(&tree, &format!("ctr/{name}-later/config"))["spec"].to_string(), spec.to_string());
    }
}

#[test]
fn a_large_spec_is_taken_and_too_large_a_document_refused() {
    need_shells();
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    let source = scratch.path().join("large.json");
    let large = |bytes: usize| {
        let environment: Vec<String> =
            (0..bytes / 100).map(|n| format!("VARIABLE_{n:06}={}", "x".repeat(70))).collect();
        serde_json::json!({"spec": {"process": {"env": environment}}})
    };
    let document = large(900 << 10);
    fs::write(&source, document.to_string()).unwrap();
    assert!((800 << 10..1 << 20).contains(&fs::metadata(&source).unwrap().len()));
    let same = |name: &str| assert!(json(&tree, &format!("ctr/{name}/config"))["spec"] == document["spec"], "{name}");
    create(&tree, &format!(r#"{{"name":"made","spec":{}}}"#, document["spec"]));
    same("made");
    tree.make("at-once");
    write(&tree, "ctr/at-once/config", document.to_string()).unwrap();
    same("at-once");
    tree.make("by-cat");
    succeed_in(&tree, &[("SOURCE", source.to_str().unwrap())], "cat \"$SOURCE\" > ctr/by-cat/config");
    same("by-cat");
    let stat = fs::metadata(tree.path("ctr/by-cat/config")).unwrap().len();
    assert_eq!(stat, tree.read("ctr/by-cat/config").len() as u64);

    let id = tree.make("web");
    let before = whole(&tree, &format!("ctr/{id}"));
    let document = large(2 << 20).to_string();
    for file in ["ctr/web/config", "ctr/web/state", "create/ctr"] {
        let mut file = OpenOptions::new().write(true).open(tree.path(file)).unwrap();
        assert_eq!(errno(file.write_all(document.as_bytes())), Errno::EFBIG);
    }
    // The kernel cuts so large a write into several requests, of which each may leave a line.
    let told = refusals(&tree).into_iter().filter(|line| line["errno"] == "EFBIG" && line["op"] == "write");
    let told: Vec<_> = told.collect();
    assert!(told.len() >= 3, "{}", tree.read("refusals"));
    told.iter().for_each(|line| assert_eq!(line["reason"], "a document has 1048576 bytes at most"));
    fs::write(&source, &document).unwrap();
    let variables = [("SOURCE", source.to_str().unwrap())];
    for script in
        ["cat \"$SOURCE\" > ctr/web/config", "jq . \"$SOURCE\" > ctr/web/config", "cp \"$SOURCE\" ctr/web/config"]
    {
        let output = shell(&tree, &["dash"], &variables, script);
        assert!(!output.status.success() && text(&output).contains("File too large"), "{script}: {}", text(&output));
    }
    assert_eq!(whole(&tree, &format!("ctr/{id}")), before);
}

#[test]
fn ten_thousand_containers_are_made_and_listed() {
    const EACH: usize = 500;
    let tree = Mounted::new();
    let mut ids = Vec::new();
    for write in 0..10_000 / EACH {
        let documents: String = (0..EACH).map(|n| format!("{{\"name\":\"c{}\"}}\n", write * EACH + n)).collect();
        ids.extend(create(&tree, &documents));
    }
    assert_eq!(ids.len(), 10_000);
    let listed = |dir: &str| {
        let names =
            fs::read_dir(tree.path(dir)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    let mut sorted = ids.clone();
    sorted.sort();
    assert!(listed("ctr") == sorted && listed("id") == sorted);
    let mut names: Vec<String> = (0..10_000).map(|n| format!("c{n}")).collect();
    names.sort();
    assert!(listed("name") == names);
    let table = tree.read("table/ctr");
    let rows: Vec<&str> = table.lines().skip(1).map(|line| line.split('\t').next().unwrap()).collect();
    assert!(rows.iter().eq(ids.iter().rev()), "the table has all, newest first");
    assert_eq!(tree.read("check"), "ok: 10000 containers, 0 pods, 0 images, 0 layers\n");
    assert_eq!(tree.id("c9999"), ids[9999]);
}

#[test]
fn a_new_container_has_libpods_defaults() {
    let tree = Mounted::new();
    let started = std::time::SystemTime::now() - std::time::Duration::from_secs(1);
    let by_name = tree.make("web");
    let id = "ab".repeat(32);
    fs::create_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    let by_document = create(&tree, "{}").remove(0);
    let mut names = Vec::new();
    for id in [&by_name, &id, &by_document] {
        let config = json(&tree, &format!("ctr/{id}/config"));
        assert_eq!(config["id"], **id);
        assert_eq!(config["shmSize"], 67_108_864);
        assert_eq!(config["cgroupParent"], "/libpod_parent");
        let created = succeed(Command::new("date").args(["+%s", "-d", config["createdTime"].as_str().unwrap()]));
        let created: u64 = text(&created).trim().parse().unwrap();
        let now = std::time::SystemTime::now();
        let since = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!((since(started)..=since(now)).contains(&created), "{config}");
        assert_eq!(
            json(&tree, &format!("ctr/{id}/state")),
            Value::Object(Map::from_iter([("state".into(), "configured".into())]))
        );
        for (entry, value) in
            [("status", "configured\n"), ("pid", "\n"), ("exit-code", "\n"), ("netns", "\n"), ("health", "ok\n")]
        {
            assert_eq!(tree.read(&format!("ctr/{id}/{entry}")), value, "{entry}");
        }
        assert!(!tree.path(&format!("ctr/{id}/pod")).exists());
        assert!(fs::symlink_metadata(tree.path(&format!("ctr/{id}/pod"))).is_err());
        assert!(!id[..12].bytes().all(|digit| digit.is_ascii_digit()));
        names.push(config["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names[0], "web");
    for name in &names[1..] {
        let (adjective, noun) = name.split_once('_').unwrap_or_else(|| panic!("{name} is adjective_noun"));
        assert!([adjective, noun].iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())), "{name}");
    }
    // What is given is not overridden.
    create(&tree, r#"{"name":"own","shmSize":1,"cgroupParent":"/mine","createdTime":"2001-01-01T00:00:00Z"}"#);
    let config = json(&tree, "ctr/own/config");
    assert_eq!((&config["shmSize"], &config["cgroupParent"]), (&1.into(), &"/mine".into()));
    assert_eq!(config["createdTime"], "2001-01-01T00:00:00Z");
}
