//! What few containers have: the caller's own text, flags, ID maps.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};

use nix::errno::Errno;

use crate::support::images::names_in;
use crate::support::{Mounted, errno, text};

fn append(tree: &Mounted, file: &str, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().append(true).open(tree.path(file))?.write_all(bytes)
}

#[test]
fn metadata_is_kept_byte_for_byte() {
    let tree = Mounted::new();
    tree.make("web");
    let file = "ctr/web/metadata";
    assert_eq!(tree.read(file), "");
    fs::write(tree.path(file), "{\"a\":\"<\"}").unwrap();
    assert_eq!(tree.read(file), "{\"a\":\"<\"}");
    append(&tree, file, b"\nmore\r\n\0").unwrap();
    assert_eq!(tree.read(file), "{\"a\":\"<\"}\nmore\r\n\0");
    let meta = fs::metadata(tree.path(file)).unwrap();
    assert_eq!(meta.len(), 17);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777, 0o600);

    // A truncation alone is none: shells truncate before they write.
    OpenOptions::new().write(true).truncate(true).open(tree.path(file)).unwrap();
    assert_eq!(tree.read(file).len(), 17);
    assert_eq!(errno(fs::write(tree.path(file), [0xff])), Errno::EINVAL);
    let most = vec![b'x'; 1 << 20];
    let written = OpenOptions::new().write(true).open(tree.path(file)).unwrap().write(&most).unwrap();
    assert_eq!(written, most.len());
    assert_eq!(errno(append(&tree, file, b"x")), Errno::EFBIG);
    tree.kill_server();
    assert_eq!(tree.read(file).into_bytes(), most);
    fs::remove_file(tree.path("ctr/web")).unwrap();
    assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 0 images, 0 layers\n");
}

#[test]
fn metadata_is_compared_and_swapped() {
    let tree = Mounted::new();
    tree.make("web");
    fs::write(tree.path("ctr/web/metadata"), "one").unwrap();
    for killed in [false, true] {
        let mut reader = OpenOptions::new().read(true).write(true).open(tree.path("ctr/web/metadata")).unwrap();
        reader.read_to_string(&mut String::new()).unwrap();
        reader.write_all(b"own").unwrap();
        if killed {
            tree.kill_server();
        }
        reader.write_all(b"own, again").unwrap();
        fs::write(tree.path("ctr/web/metadata"), "other").unwrap();
        assert_eq!(errno(reader.write_all(b"mine")), Errno::ESTALE);
        assert_eq!(tree.read("ctr/web/metadata"), "other");
    }
}

#[test]
fn flags_are_files_with_json() {
    let tree = Mounted::new();
    let id = tree.make("web");
    let flag = |name: &str| format!("ctr/{id}/flags/{name}");
    assert_eq!(names_in(&tree.path(&flag(""))), [""; 0]);
    for (name, given, kept) in [
        ("one", "1", "1\n"),
        ("two words", " \"x\"\n", "\"x\"\n"),
        ("null", "null", "null\n"),
        ("list", "[1.50,{\"a\":[]}]", "[\n  1.50,\n  {\n    \"a\": []\n  }\n]\n"),
        ("MountOpts", "[\"ro\"]", "[\n  \"ro\"\n]\n"),
    ] {
        fs::write(tree.path(&flag(name)), given).unwrap();
        assert_eq!(tree.read(&flag(name)), kept, "{name}");
        assert_eq!(fs::metadata(tree.path(&flag(name))).unwrap().len(), kept.len() as u64);
    }
    assert_eq!(names_in(&tree.path(&flag(""))), ["MountOpts", "list", "null", "one", "two words"]);
    tree.echo("2", &flag("one")).unwrap();
    append(&tree, &flag("one"), b"3\n").unwrap();
    assert_eq!(tree.read(&flag("one")), "3\n", "a value has nothing to add to");
    tree.kill_server();
    assert_eq!(tree.read(&flag("one")), "3\n");

    fs::remove_file(tree.path(&flag("one"))).unwrap();
    assert_eq!(errno(fs::remove_file(tree.path(&flag("one")))), Errno::ENOENT);
    assert_eq!(errno(fs::read(tree.path(&flag("one")))), Errno::ENOENT);
    assert_eq!(errno(fs::rename(tree.path(&flag("list")), tree.path(&flag("other")))), Errno::EPERM);
    assert_eq!(errno(fs::create_dir(tree.path(&flag("dir")))), Errno::EPERM);
    fs::remove_file(tree.path("ctr/web")).unwrap();
    assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 0 images, 0 layers\n");
}

#[test]
fn a_refused_flag_changes_nothing() {
    let tree = Mounted::new();
    let id = tree.make("web");
    let flag = |name: &str| format!("ctr/{id}/flags/{name}");
    let put = |name: &str, value: &str| fs::write(tree.path(&flag(name)), value);
    for (name, value) in [
        ("x", "{"),
        ("x", "1 2"),
        ("x", "{\"a\":1,\"a\":2}"),
        ("MountOpts", "\"ro\""),
        ("MountOpts", "[1]"),
        ("Volatile", "\"yes\""),
        ("MountLabel", "7"),
        ("MountLabel", "\"a:b:c\""),
        ("ProcessLabel", "\"a:b:c\""),
    ] {
        assert_eq!(errno(put(name, value)), Errno::EINVAL, "{name}: {value}");
        assert!(!tree.path(&flag(name)).exists(), "{name}: {value}");
    }
    assert!(tree.last_refusal().contains("come and go together"), "{}", tree.last_refusal());
    assert_eq!(errno(put("Volatile", "true")), Errno::EPERM);
    assert_eq!(errno(put("x", &format!("\"{}\"", "y".repeat(64 << 10)))), Errno::EFBIG);
    put("x", "1").unwrap();
    assert_eq!(errno(put("x", "{")), Errno::EINVAL);
    assert_eq!(tree.read(&flag("x")), "1\n");
    let exclusive = OpenOptions::new().write(true).create_new(true).open(tree.path(&flag("x")));
    assert_eq!(errno(exclusive), Errno::EEXIST);

    // One that is only opened says nothing, and is gone.
    drop(OpenOptions::new().write(true).create(true).truncate(true).open(tree.path(&flag("blank"))).unwrap());
    let output = tree.sh(&["bash"], &format!("touch {0}/y; ls {0}; [ ! -e {0}/y ]", flag("")));
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(text(&output), "x\n");
    put("Volatile", "false").unwrap();
    assert_eq!(names_in(&tree.path(&flag(""))), ["Volatile", "x"]);
}

#[test]
fn a_flag_that_was_opened_only_does_not_trouble_the_next() {
    let tree = Mounted::new();
    tree.make("web");
    let flag = tree.path("ctr/web/flags/x");
    let open = || OpenOptions::new().write(true).create(true).truncate(true).open(&flag).unwrap();
    for _ in 0..200 {
        // The kernel says that a file is closed when it likes.
        drop(open());
        let mut file = open();
        file.write_all(b"1").unwrap();
        assert_eq!(fs::read_to_string(&flag).unwrap(), "1\n");
        fs::remove_file(&flag).unwrap();
    }
    assert_eq!(names_in(&tree.path("ctr/web/flags")), [""; 0]);
}

#[test]
fn id_maps_have_the_kernels_format() {
    let tree = Mounted::new();
    let id = tree.make("web");
    for entry in ["uidmap", "gidmap"] {
        let file = format!("ctr/{id}/{entry}");
        assert_eq!(tree.read(&file), "");
        fs::write(tree.path(&file), "         0     100000      65536\n").unwrap();
        assert_eq!(tree.read(&file), "0 100000 65536\n");
        append(&tree, &file, b"65536 1000 1\n").unwrap();
        assert_eq!(tree.read(&file), "0 100000 65536\n65536 1000 1\n");
        for (bad, why) in [
            ("0 0 10\n9 100 5\n", "the range 9:100:5 overlaps an earlier one"),
            ("0 0 10\n20 9 5\n21 100 1\n", "the ranges 20:9:5, 21:100:1 overlap earlier ones"),
            ("0 0\n", "three numbers"),
            ("0 0 0\n", "one ID at least"),
            ("0 4294967295 1\n", "below 4294967295"),
        ] {
            assert_eq!(errno(fs::write(tree.path(&file), bad)), Errno::EINVAL, "{bad}");
            assert!(tree.last_refusal().contains(why), "{bad}: {}", tree.last_refusal());
        }
        assert_eq!(errno(append(&tree, &file, b"0 5 1\n")), Errno::EINVAL);
        assert_eq!(errno(fs::write(tree.path(&file), "1 1 1\n".repeat(12_000))), Errno::EFBIG);
        assert_eq!(tree.read(&file), "0 100000 65536\n65536 1000 1\n");
        tree.kill_server();
        assert_eq!(tree.read(&file), "0 100000 65536\n65536 1000 1\n");
        fs::write(tree.path(&file), "\n").unwrap();
        assert_eq!(tree.read(&file), "", "an empty line clears it");
    }
}

#[test]
fn a_container_is_made_with_all_of_it() {
    let tree = Mounted::new();
    let create =
        |document: &str| OpenOptions::new().write(true).open(tree.path("create/ctr"))?.write_all(document.as_bytes());
    create(
        r#"{"names":["a","b"],"metadata":"m\n","flags":{"MountLabel":"l","ProcessLabel":"p","x":[1]},
        "uidmap":[{"container_id":0,"host_id":1000,"size":1}],"labels":{"k":"v"}}"#,
    )
    .unwrap();
    assert_eq!(tree.read("ctr/b/names"), "a\nb\n");
    assert_eq!(tree.read("ctr/a/metadata"), "m\n");
    assert_eq!(names_in(&tree.path("ctr/a/flags")), ["MountLabel", "ProcessLabel", "x"]);
    assert_eq!((tree.read("ctr/a/uidmap"), tree.read("ctr/a/gidmap")), ("0 1000 1\n".into(), String::new()));
    let config: serde_json::Value = serde_json::from_str(&tree.read("ctr/a/config")).unwrap();
    for key in ["names", "metadata", "flags", "uidmap"] {
        assert!(config.get(key).is_none(), "{key} has an entry of its own");
    }
    create(r#"{"name":"goes","volatile":true}{"name":"also","flags":{"Volatile":true}}"#).unwrap();
    for name in ["goes", "also"] {
        let flag = format!("ctr/{name}/flags/Volatile");
        assert_eq!(tree.read(&flag), "true\n");
        assert!(tree.read(&format!("ctr/{name}/config")).contains("\"volatile\": true"));
        assert_eq!(errno(fs::write(tree.path(&flag), "false")), Errno::EPERM);
        assert_eq!(errno(fs::remove_file(tree.path(&flag))), Errno::EPERM);
    }
    assert_eq!(errno(create(r#"{"name":"c","volatile":true,"flags":{"Volatile":false}}"#)), Errno::EINVAL);
    // One of the labels alone does not go.
    assert_eq!(errno(fs::remove_file(tree.path("ctr/a/flags/MountLabel"))), Errno::EINVAL);

    for (bad, due) in [
        (r#"{"names":["c","b"]}"#, Errno::EEXIST),
        (r#"{"names":"c"}"#, Errno::EINVAL),
        (r#"{"names":["c","d"],"netNsCtr":"d"}"#, Errno::ELOOP),
        (r#"{"name":"c","flags":{"MountLabel":"l"}}"#, Errno::EINVAL),
        (r#"{"name":"c","metadata":7}"#, Errno::EINVAL),
        (
            r#"{"name":"c","gidmap":[{"container_id":0,"host_id":0,"size":2},{"container_id":1,"host_id":9,"size":1}]}"#,
            Errno::EINVAL,
        ),
    ] {
        assert_eq!(errno(create(bad)), due, "{bad}");
    }
    assert!(!tree.path("ctr/c").exists());
    for key in ["names", "metadata", "flags"] {
        assert_eq!(errno(append(&tree, "ctr/a/config", format!("{{\"{key}\":\"x\"}}").as_bytes())), Errno::EINVAL);
    }
}

#[test]
fn control_sets_what_no_file_operation_says() {
    let tree = Mounted::new();
    tree.make("web");
    fs::write(tree.path("ctr/web/metadata"), "text").unwrap();
    let order =
        |document: &str| OpenOptions::new().write(true).open(tree.path("control"))?.write_all(document.as_bytes());
    order(
        r#"{"verb":"metadata","ctr":"web","text":""}
        {"verb":"flags","ctr":"web","set":{"MountLabel":"m","ProcessLabel":"p","x":{"y":null}}}"#,
    )
    .unwrap();
    assert_eq!(tree.read("ctr/web/metadata"), "");
    assert_eq!(names_in(&tree.path("ctr/web/flags")), ["MountLabel", "ProcessLabel", "x"]);
    order(r#"{"verb":"flags","ctr":"web","set":{"MountLabel":null,"ProcessLabel":null,"none":null}}"#).unwrap();
    assert_eq!(names_in(&tree.path("ctr/web/flags")), ["x"]);
    for (bad, due) in [
        (r#"{"verb":"metadata","ctr":"none","text":""}"#, Errno::ENOENT),
        (r#"{"verb":"metadata","ctr":"web"}"#, Errno::EINVAL),
        (r#"{"verb":"metadata","ctr":"web","text":"x","more":1}"#, Errno::EINVAL),
        (r#"{"verb":"flags","ctr":"web","set":{"MountLabel":"m"}}"#, Errno::EINVAL),
        (r#"{"verb":"flags","ctr":"web","set":[]}"#, Errno::EINVAL),
        (
            r#"{"verb":"metadata","ctr":"web","text":"x"}{"verb":"flags","ctr":"web","set":{"Volatile":true}}"#,
            Errno::EPERM,
        ),
    ] {
        assert_eq!(errno(order(bad)), due, "{bad}");
    }
    assert_eq!(tree.read("ctr/web/metadata"), "");
}
