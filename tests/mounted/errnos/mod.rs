//! The errno table, row by row: each refusal has its errno, changes nothing, and leaves a line in
//! `refusals` that says who did what and why.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::support::{Mounted, errno, succeed, text};
use crate::tools::{
    append, ask, assert_line, create, make_imaged, make_pod, open, refusals, refused, store, whole, write, write_once,
};

mod images;

/// A container's or pod's ID out of one repeated pair of digits.
fn id(pair: &str) -> String {
    pair.repeat(32)
}

#[test]
fn no_such_object_is_enoent() {
    let tree = Mounted::new();
    let nobody = id("0b");
    for document in [
        r#"{"netNsCtr":"nobody"}"#.to_owned(),
        r#"{"Dependencies":["nobody"]}"#.to_owned(),
        format!(r#"{{"ipcNsCtr":"{nobody}"}}"#),
        format!(r#"{{"ipcNsCtr":"{}"}}"#, &nobody[..12]),
    ] {
        refused(&tree, "write", Errno::ENOENT, "no such container: ", || ask(&tree, "create/ctr", &document));
    }
    refused(&tree, "write", Errno::ENOENT, "no such pod: nopod", || ask(&tree, "create/ctr", r#"{"pod":"nopod"}"#));
    refused(&tree, "write", Errno::ENOENT, "no such container: nobody", || {
        ask(&tree, "control", r#"{"verb":"remove","ctr":"nobody"}"#)
    });
    refused(&tree, "write", Errno::ENOENT, "no such pod: nopod", || {
        ask(&tree, "control", r#"{"verb":"remove","pod":"nopod"}"#)
    });
    // A container is no pod and a pod is no container.
    make_pod(&tree, "shop");
    tree.make("web");
    refused(&tree, "write", Errno::ENOENT, "no such container: shop", || {
        ask(&tree, "create/ctr", r#"{"netNsCtr":"shop"}"#)
    });
    refused(&tree, "write", Errno::ENOENT, "no such pod: web", || ask(&tree, "create/ctr", r#"{"pod":"web"}"#));
    refused(&tree, "write", Errno::ENOENT, "no such image: none", || ask(&tree, "create/ctr", r#"{"image":"none"}"#));
    let tag = || symlink("none", tree.path("image-name/localhost/x:1"));
    let made = fs::create_dir(tree.path("image-name/localhost"));
    made.unwrap();
    refused(&tree, "symlink", Errno::ENOENT, "no such image: none", tag);
    // Looking for what is not there is everyday and leaves no line.
    let count = refusals(&tree).len();
    for path in [
        "ctr/nobody",
        "pod/web",
        "name/nobody",
        "ctr/web/pod",
        "ctr/web/image",
        "ctr/web/rootfs",
        "nothing",
        "id/web",
        "image/web",
        "layer/web",
        "image-name/x",
    ] {
        assert_eq!(errno(fs::symlink_metadata(tree.path(path))), Errno::ENOENT, "{path}");
    }
    assert_eq!(errno(fs::remove_dir(tree.path(&format!("ctr/{nobody}")))), Errno::ENOENT);
    assert_eq!(errno(fs::rename(tree.path("name/nobody"), tree.path("name/x"))), Errno::ENOENT);
    assert_eq!(refusals(&tree).len(), count);
}

#[test]
fn a_taken_id_or_name_is_eexist() {
    let tree = Mounted::new();
    let (web, shop) = (tree.make("web"), make_pod(&tree, "shop"));
    for (kind, taken, by) in
        [("ctr", &shop, "pod"), ("ctr", &web, "container"), ("pod", &web, "container"), ("pod", &shop, "pod")]
    {
        let entry = format!("create/{kind}");
        refused(&tree, "write", Errno::EEXIST, &format!("{taken} belongs to a {by}"), || {
            ask(&tree, &entry, format!(r#"{{"id":"{taken}"}}"#))
        });
    }
    for (kind, taken, by) in
        [("ctr", "shop", "pod"), ("ctr", "web", "container"), ("pod", "web", "container"), ("pod", "shop", "pod")]
    {
        let entry = format!("create/{kind}");
        refused(&tree, "write", Errno::EEXIST, &format!("the name {taken} belongs to a {by}"), || {
            ask(&tree, &entry, format!(r#"{{"name":"{taken}"}}"#))
        });
    }
    let mkdir = |path: &str| fs::create_dir(tree.path(path));
    refused(&tree, "mkdir", Errno::EEXIST, "shop belongs to a pod", || mkdir("ctr/shop"));
    refused(&tree, "mkdir", Errno::EEXIST, "web belongs to a container", || mkdir("pod/web"));
    refused(&tree, "mkdir", Errno::EEXIST, &format!("{shop} belongs to a pod"), || mkdir(&format!("ctr/{shop}")));
    refused(&tree, "mkdir", Errno::EEXIST, &format!("{web} belongs to a container"), || mkdir(&format!("pod/{web}")));
    refused(&tree, "mkdir", Errno::EEXIST, "web belongs to a container", || mkdir("pod/shop/containers/web"));
    // What the kernel sees for itself it refuses itself.
    for path in ["ctr/web".to_owned(), format!("ctr/{web}"), "pod/shop".to_owned(), "ctr".to_owned()] {
        assert_eq!(errno(mkdir(&path)), Errno::EEXIST, "{path}");
    }
    let mv = |from: &str, to: &str| fs::rename(tree.path(from), tree.path(to));
    refused(&tree, "rename", Errno::EEXIST, "web belongs to a container", || mv("name/shop", "name/web"));
    refused(&tree, "rename", Errno::EEXIST, "shop belongs to a pod", || mv("ctr/web", "ctr/shop"));
    refused(&tree, "write", Errno::EEXIST, "shop belongs to a pod", || tree.echo("shop", "ctr/web/name"));
    refused(&tree, "write", Errno::EEXIST, "shop belongs to a pod", || {
        append(&tree, "ctr/web/config", r#"{"name":"shop"}"#)
    });
}

#[test]
fn an_ambiguous_prefix_is_enotuniq() {
    let tree = Mounted::new();
    let (one, two) = (format!("abcdef{}", "0".repeat(58)), format!("abcdef{}", "1".repeat(58)));
    create(&tree, &format!(r#"{{"id":"{one}","name":"one"}}{{"id":"{two}","name":"two"}}"#));
    ask(&tree, "create/pod", format!(r#"{{"id":"{}","name":"shop"}}"#, id("ab"))).unwrap();
    let words = "several IDs begin with abcdef";
    refused(&tree, "lookup", Errno::ENOTUNIQ, words, || fs::symlink_metadata(tree.path("ctr/abcdef")));
    refused(&tree, "lookup", Errno::ENOTUNIQ, words, || fs::read(tree.path("ctr/abcdef/status")));
    refused(&tree, "lookup", Errno::ENOTUNIQ, words, || fs::remove_file(tree.path("ctr/abcdef")));
    refused(&tree, "write", Errno::ENOTUNIQ, words, || ask(&tree, "create/ctr", r#"{"netNsCtr":"abcdef"}"#));
    refused(&tree, "write", Errno::ENOTUNIQ, words, || ask(&tree, "control", r#"{"verb":"remove","ctr":"abcdef"}"#));
    assert_eq!(tree.id("abcdef0"), one);
    // Of the other kind there is only one.
    assert_eq!(fs::read_link(tree.path("pod/ababab")).unwrap(), Path::new(&id("ab")));
}

#[test]
fn what_is_in_use_is_ebusy() {
    let tree = Mounted::new();
    let ids = create(&tree, r#"{"name":"db"}{"name":"web","Dependencies":["db"]}"#);
    let rmdir = |id: &str| fs::remove_dir(tree.path(&format!("ctr/{id}")));
    refused(&tree, "rmdir", Errno::EBUSY, "container db is needed by web", || rmdir(&ids[0]));
    refused(&tree, "unlink", Errno::EBUSY, "container db is needed by web", || fs::remove_file(tree.path("ctr/db")));
    refused(&tree, "write", Errno::EBUSY, "container db is needed by web", || {
        ask(&tree, "control", r#"{"verb":"remove","ctr":["db"]}"#)
    });
    let many: String = (0..15).map(|n| format!(r#"{{"name":"w{n}","Dependencies":["web"]}}"#)).collect();
    let many = create(&tree, &many);
    let words = "container web is needed by w0, w1, w2, w3, w4, w5, w6, w7, w8, w9";
    refused(&tree, "rmdir", Errno::EBUSY, &format!("{words} and 5 more"), || rmdir(&ids[1]));
    many[10..].iter().for_each(|id| rmdir(id).unwrap());
    refused(&tree, "rmdir", Errno::EBUSY, words, || rmdir(&ids[1]));
    assert!(tree.last_refusal().contains(&format!("{words}\"")), "{}", tree.last_refusal());
    many[..10].iter().for_each(|id| rmdir(id).unwrap());
    for status in ["running", "paused"] {
        tree.echo(status, "ctr/web/status").unwrap();
        let words = format!("container web is {status}");
        refused(&tree, "rmdir", Errno::EBUSY, &words, || rmdir(&ids[1]));
        refused(&tree, "unlink", Errno::EBUSY, &words, || fs::remove_file(tree.path("ctr/web")));
        refused(&tree, "write", Errno::EBUSY, &words, || {
            ask(&tree, "control", r#"{"verb":"remove","ctr":["db","web"]}"#)
        });
    }
    refused(&tree, "unlink", Errno::EBUSY, "db is its object's only name", || fs::remove_file(tree.path("name/db")));
    for status in ["unknown", "configured", "created", "stopped", "exited", "removing", "stopping"] {
        tree.echo(status, "ctr/web/status").unwrap();
        rmdir(&ids[1]).unwrap_or_else(|error| panic!("{status}: {error}"));
        create(&tree, &format!(r#"{{"id":"{}","name":"web","Dependencies":["db"]}}"#, ids[1]));
    }
    rmdir(&ids[1]).unwrap();
    rmdir(&ids[0]).unwrap();
}

#[test]
fn a_pod_with_containers_is_enotempty() {
    let tree = Mounted::new();
    let pod = make_pod(&tree, "shop");
    fs::create_dir(tree.path("pod/shop/containers/web")).unwrap();
    let words = "pod shop still has 1 containers";
    refused(&tree, "rmdir", Errno::ENOTEMPTY, words, || fs::remove_dir(tree.path(&format!("pod/{pod}"))));
    refused(&tree, "unlink", Errno::ENOTEMPTY, words, || fs::remove_file(tree.path("pod/shop")));
    refused(&tree, "write", Errno::ENOTEMPTY, words, || ask(&tree, "control", r#"{"verb":"remove","pod":"shop"}"#));
    fs::remove_file(tree.path("ctr/web")).unwrap();
    fs::remove_file(tree.path("pod/shop")).unwrap();
}

#[test]
fn what_is_badly_formed_is_einval() {
    let tree = Mounted::new();
    tree.make("web");
    refused(&tree, "mkdir", Errno::EINVAL, "bad name \"-x\": a name begins with", || {
        fs::create_dir(tree.path("ctr/-x"))
    });
    for (file, bytes, words) in [
        ("create/ctr", r#"{"id":"abc"}"#, "\"id\" takes 64 lower-case hex digits"),
        ("ctr/web/config", r#"{"a" 1}"#, "not JSON: at byte 5, ':' is due"),
        ("ctr/web/config", r#"{"a":"\ud800"}"#, "not JSON: "),
        ("ctr/web/config", r#"{"stdin":1}"#, "\"stdin\" takes true or false"),
        ("ctr/web/config", "[]", "the document is not a JSON object"),
        ("ctr/web/pid", "x\n", "bad pid \"x\": it takes a process ID"),
        ("ctr/web/status", "\n", "bad status \"\""),
        ("ctr/web/name", "\n", "bad name \"\": a name cannot be empty"),
        ("ctr/web/netns", "a\n", "bad netns \"a\": it takes an absolute path"),
        ("ctr/web/mounted", "yes\n", "bad mounted \"yes\": it takes 1 or 0"),
        ("ctr/web/exit-code", "1\n2\n", "bad exit-code \"1\\n2\\n\": it takes one line"),
        (
            "control",
            r#"{"verb":"explode"}"#,
            "there is no verb \"explode\"; there are remove, metadata, flags, wipe, gc, check, repair",
        ),
        ("control", r#"{"ctr":"web"}"#, "\"verb\" takes"),
        ("control", r#"{"verb":"remove","ctr":7}"#, "\"ctr\" takes a name or an array of names"),
        ("control", r#"{"verb":"remove","ctr":"web","force":true}"#, "\"force\" takes nothing"),
        ("control", r#"{"verb":"remove"}"#, "either \"ctr\" or \"pod\""),
    ] {
        refused(&tree, "write", Errno::EINVAL, words, || write(&tree, file, bytes));
    }
}

/// A close that loses bytes says so to those who look, and leaves one line, whoever closed last.
#[test]
fn a_close_in_the_middle_of_a_document_is_einval() {
    let tree = Mounted::new();
    tree.make("web");
    for file in ["ctr/web/config", "create/ctr", "create/image", "control"] {
        let (before, count) = (store(&tree), refusals(&tree).len());
        let mut open = OpenOptions::new().write(true).open(tree.path(file)).unwrap();
        write_once(&mut open, b"  {\"a\":").unwrap();
        let closed = nix::unistd::close(open);
        assert_eq!(closed, Err(Errno::EINVAL), "{file}");
        // RELEASE comes behind the close's back.
        crate::support::wait_until("the close is noted", || refusals(&tree).len() > count);
        let lines = refusals(&tree);
        assert_line(&lines[count], "close", Errno::EINVAL, "closed in the middle of a document; its 5 bytes");
        assert_eq!((lines.len(), store(&tree)), (count + 1, before));
    }
    refused(&tree, "close", Errno::EINVAL, "bad status \"bogus\"", || {
        let mut file = open(&tree, "ctr/web/status", false)?;
        write_once(&mut file, b"bogus")?;
        nix::unistd::close(file).map_err(io::Error::from)
    });
}

#[test]
fn what_is_too_large_is_efbig() {
    let tree = Mounted::new();
    tree.make("web");
    let long = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
    for file in ["ctr/web/config", "ctr/web/state", "create/ctr", "create/pod", "create/image", "control"] {
        let mut at_once = open(&tree, file, false).unwrap();
        let document = long((1 << 20) + 1);
        let words = "a document has 1048576 bytes at most";
        let (before, count) = (store(&tree), refusals(&tree).len());
        assert_eq!(errno(at_once.write_all(document.as_bytes())), Errno::EFBIG, "{file}");
        assert_line(&refusals(&tree)[count], "write", Errno::EFBIG, words);
        assert_eq!(store(&tree), before, "{file}");
    }
    let word = "x".repeat(4097);
    for entry in ["name", "status", "pid", "exit-code", "netns", "mounted"] {
        let file = format!("ctr/web/{entry}");
        refused(&tree, "write", Errno::EFBIG, "a value has 4096 bytes at most", || write(&tree, &file, &word));
    }
    let path = format!("/{}", "x".repeat(4094));
    tree.echo(&path, "ctr/web/netns").unwrap();
    assert_eq!(tree.read("ctr/web/netns"), path + "\n", "4096 bytes with the newline are taken");
    // What is written can be small enough and what it makes too large.
    let half = |key: &str| format!(r#"{{"{key}":"{}"}}"#, "x".repeat(600 << 10));
    append(&tree, "ctr/web/config", half("one")).unwrap();
    refused(&tree, "write", Errno::EFBIG, "a document has", || append(&tree, "ctr/web/config", half("two")));
}

#[test]
fn depending_on_oneself_is_eloop() {
    let tree = Mounted::new();
    let own = id("0c");
    for key in
        ["ipcNsCtr", "mountNsCtr", "netNsCtr", "pidNsCtr", "userNsCtr", "utsNsCtr", "cgroupNsCtr", "Dependencies"]
    {
        for itself in ["me", &own] {
            let value = if key == "Dependencies" { format!("[{itself:?}]") } else { format!("{itself:?}") };
            let document = format!(r#"{{"id":"{own}","name":"me","{key}":{value}}}"#);
            let words = format!("{key}: a container cannot depend on itself");
            refused(&tree, "write", Errno::ELOOP, &words, || ask(&tree, "create/ctr", &document));
        }
    }
}

#[test]
fn a_dependency_across_a_pods_border_is_exdev() {
    let tree = Mounted::new();
    make_pod(&tree, "shop");
    make_pod(&tree, "other");
    create(&tree, r#"{"name":"outside"}{"name":"inside","pod":"shop"}{"name":"elsewhere","pod":"other"}"#);
    for (pod, on) in [("", "inside"), ("shop", "outside"), ("shop", "elsewhere")] {
        for (key, value) in [("netNsCtr", format!("{on:?}")), ("Dependencies", format!("[{on:?}]"))] {
            let document = format!(r#"{{"pod":"{pod}","{key}":{value}}}"#);
            let words = format!("{key}: {on} is not in the same pod");
            refused(&tree, "write", Errno::EXDEV, &words, || ask(&tree, "create/ctr", &document));
        }
    }
    create(&tree, r#"{"pod":"shop","netNsCtr":"inside"}{"netNsCtr":"outside"}"#);
}

#[test]
fn what_is_not_the_users_to_do_is_eperm() {
    let tree = Mounted::new();
    let (web, pod) = (tree.make("web"), make_pod(&tree, "shop"));
    let [image, imaged] = make_imaged(&tree);
    fs::create_dir(tree.path("pod/shop/containers/db")).unwrap();
    for change in [r#"{"image":"","rootfsImageID":""}"#, r#"{"rootfsImageID":null}"#] {
        refused(&tree, "write", Errno::EPERM, "\"rootfsImageID\" is fixed", || {
            append(&tree, "ctr/imaged/config", change)
        });
    }
    let db = tree.id("db");
    refused(&tree, "write", Errno::EPERM, "\"id\" is fixed", || append(&tree, "ctr/web/config", r#"{"id":"x"}"#));
    let prefix = &web[..12];
    refused(&tree, "unlink", Errno::EPERM, "is a prefix", || fs::remove_file(tree.path(&format!("ctr/{prefix}"))));
    let mv = |from: &str, to: &str| fs::rename(tree.path(from), tree.path(to));
    refused(&tree, "rename", Errno::EPERM, "is a prefix", || mv(&format!("ctr/{prefix}"), "ctr/new"));
    refused(&tree, "write", Errno::EPERM, "is a prefix", || {
        ask(&tree, "control", format!(r#"{{"verb":"remove","ctr":"{prefix}"}}"#))
    });
    refused(&tree, "rename", Errno::EPERM, "an ID stays", || mv(&format!("ctr/{web}"), "ctr/new"));
    for (from, to) in [("name/web", "web"), ("name/web", "ctr/new"), ("ctr/web", "name/new"), ("ctr/web", "pod/new")] {
        refused(&tree, "rename", Errno::EPERM, "names stay in their directory", || mv(from, to));
    }
    for (from, to) in [("ctr", "container"), ("ctr/web/config", "ctr/web/old"), ("version", "versions")] {
        refused(&tree, "rename", Errno::EPERM, "only names are renamed", || mv(from, to));
    }
    let of_image = format!("image/{image}/new");
    for path in [
        "new",
        "name/new",
        "id/new",
        "create/new",
        "table/new",
        "ctr/web/new",
        "ctr/web/dependencies/new",
        "ctr/imaged/rootfs/new",
        "image/new",
        "layer/new",
        &of_image,
    ] {
        refused(&tree, "mkdir", Errno::EPERM, "directories are made in", || fs::create_dir(tree.path(path)));
        let words = "the entries of the tree are given";
        refused(&tree, "create", Errno::EPERM, words, || fs::File::create(tree.path(path)));
        // In name/ it would be a further name.
        if !path.starts_with("name/") {
            refused(&tree, "symlink", Errno::EPERM, words, || symlink("x", tree.path(path)));
        }
        refused(&tree, "link", Errno::EPERM, words, || fs::hard_link(tree.path("version"), tree.path(path)));
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        refused(&tree, "mknod", Errno::EPERM, words, || Ok(nix::unistd::mkfifo(&tree.path(path), mode)?));
    }
    for path in [
        "version".to_owned(),
        "ctr/web/config".into(),
        format!("id/{web}"),
        format!("pod/{pod}/containers/{db}"),
        "ctr/db/pod".into(),
        "ctr/imaged/image".into(),
        format!("image/{image}/layers/0"),
        format!("image/{image}/used-by/{imaged}"),
        format!("layer/{imaged}/parent"),
    ] {
        refused(&tree, "unlink", Errno::EPERM, "goes with its object only", || fs::remove_file(tree.path(&path)));
    }
    for path in ["ctr", "name", "image", "ctr/imaged/rootfs", "ctr/web/dependencies", "pod/shop/containers"] {
        refused(&tree, "rmdir", Errno::EPERM, "directories are removed from ctr/, pod/, image/ and layer/", || {
            fs::remove_dir(tree.path(path))
        });
    }
    let chmod = |path: &str, mode: u32| {
        fs::set_permissions(tree.path(path), std::os::unix::fs::PermissionsExt::from_mode(mode))
    };
    refused(&tree, "setattr", Errno::EPERM, "modes and owners", || chmod("ctr/web/config", 0o644));
    refused(&tree, "setattr", Errno::EPERM, "modes and owners", || chmod("ctr", 0o700));
    let then = TimeSpec::new(1, 0);
    refused(&tree, "setattr", Errno::EPERM, "times say when", || {
        Ok(utimensat(AT_FDCWD, &tree.path("ctr/web/config"), &then, &then, UtimensatFlags::FollowSymlink)?)
    });
}

#[test]
fn writing_to_what_only_shows_is_eacces() {
    let tree = Mounted::new();
    tree.make("web");
    make_pod(&tree, "shop");
    let [image, imaged] = make_imaged(&tree);
    let of_image = ["config", "manifest", "names", "size"].map(|entry| format!("image/{image}/{entry}"));
    let of_layer = ["diff-id", "size"].map(|entry| format!("image/{image}/layers/1/{entry}"));
    let of_own_layer = ["name", "size"].map(|entry| format!("layer/{imaged}/{entry}"));
    let of_content = of_image.iter().chain(&of_layer).chain(&of_own_layer).map(String::as_str);
    for path in of_content.chain([
        "version",
        "check",
        "refusals",
        "table/ctr",
        "table/pod",
        "runtime-config/run-root",
        "ctr/web/health",
        "ctr/web/raw",
        "pod/shop/status",
        "pod/shop/health",
        "pod/shop/raw",
        "table/image",
        "ctr/imaged/config.json",
        "ctr/imaged/size-rw",
        "ctr/imaged/size-rootfs",
    ]) {
        let name = path.rsplit('/').next().unwrap();
        let words = format!("{name} cannot be written");
        refused(&tree, "open", Errno::EACCES, &words, || OpenOptions::new().write(true).open(tree.path(path)));
        refused(&tree, "open", Errno::EACCES, &words, || OpenOptions::new().append(true).open(tree.path(path)));
        refused(&tree, "setattr", Errno::EACCES, &words, || Ok(nix::unistd::truncate(&tree.path(path), 0)?));
    }
}

#[test]
fn what_changed_or_went_since_is_estale() {
    let tree = Mounted::new();
    let id = tree.make("web");
    let mut file = OpenOptions::new().read(true).write(true).open(tree.path("ctr/web/config")).unwrap();
    file.read_to_string(&mut String::new()).unwrap();
    append(&tree, "ctr/web/config", r#"{"a":1}"#).unwrap();
    refused(&tree, "write", Errno::ESTALE, "somebody else changed it", || write_once(&mut file, b"{}"));

    let entries = ["config", "state", "name", "status", "pid", "exit-code", "netns", "mounted"];
    let open =
        |entry: &&str| OpenOptions::new().read(true).write(true).open(tree.path(&format!("ctr/{id}/{entry}"))).unwrap();
    let mut handles: Vec<_> = entries.iter().map(open).collect();
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    for (file, entry) in handles.iter_mut().zip(entries) {
        let bytes = if matches!(entry, "config" | "state") { "{}" } else { "1\n" };
        refused(&tree, "write", Errno::ESTALE, "it was removed", || write_once(file, bytes.as_bytes()));
        refused(&tree, "read", Errno::ESTALE, "it was removed", || file.read(&mut [0; 10]));
    }
    // One of the same name and ID is another.
    create(&tree, &format!(r#"{{"id":"{id}","name":"web"}}"#));
    assert_eq!(errno(write_once(&mut handles[0], b"{}")), Errno::ESTALE);
}

#[test]
fn a_read_only_mount_is_erofs() {
    let tree = Mounted::new();
    let id = tree.make("web");
    tree.unmount();
    succeed(tree.mount_command("ro"));
    let before = store(&tree);
    assert_eq!(tree.read("ctr/web/status"), "configured\n");
    assert_eq!(errno(fs::create_dir(tree.path("ctr/new"))), Errno::EROFS);
    assert_eq!(errno(fs::remove_dir(tree.path(&format!("ctr/{id}")))), Errno::EROFS);
    assert_eq!(errno(fs::remove_file(tree.path("ctr/web"))), Errno::EROFS);
    assert_eq!(errno(fs::rename(tree.path("name/web"), tree.path("name/new"))), Errno::EROFS);
    for path in ["ctr/web/config", "ctr/web/status", "ctr/web/mounted", "create/ctr", "create/image", "control"] {
        assert_eq!(errno(OpenOptions::new().write(true).open(tree.path(path))), Errno::EROFS, "{path}");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        assert_eq!(errno(fs::set_permissions(tree.path(path), mode)), Errno::EROFS, "{path}");
    }
    assert_eq!(store(&tree), before);
    assert_eq!(refusals(&tree).len(), 0, "the kernel refuses; nothing reaches the tree");
}

/// A small tmpfs on a directory, taken away at the end.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, options: &str) -> Small {
        succeed(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at));
        Small(at.to_owned())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_is_enospc_and_room_again_is_room() {
    let tree = Mounted::new();
    tree.make("kept");
    tree.unmount();
    let disk = {
        let moved = tree.at.with_file_name("moved");
        fs::rename(&tree.store, &moved).unwrap();
        fs::create_dir(&tree.store).unwrap();
        let disk = Small::mount(&tree.store, "size=36m,mode=700");
        for name in ["ctrfs.redb", "lock"] {
            fs::copy(moved.join(name), tree.store.join(name)).unwrap();
        }
        disk
    };
    tree.mount();
    let filler = tree.store.join("filler");
    fs::write(&filler, vec![0; 20 << 20]).unwrap();
    let large = |n: usize| format!(r#"{{"name":"c{n}","spec":{{"a":"{}"}}}}"#, "x".repeat(500 << 10));
    let full = (0..100).find(|n| match ask(&tree, "create/ctr", large(*n)) {
        Ok(id) => {
            assert_eq!(id.len(), 65);
            false
        }
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(Errno::ENOSPC as i32), "{error}");
            true
        }
    });
    let full = full.expect("the disk is full at some point");
    assert!(full > 0, "there was room for some");
    for _ in 0..3 {
        refused(&tree, "write", Errno::ENOSPC, "no space is left for the store", || {
            ask(&tree, "create/ctr", large(full))
        });
    }
    assert_eq!(fs::read_dir(tree.path("ctr")).unwrap().count(), full + 1);
    assert_eq!(tree.read("ctr/kept/status"), "configured\n");
    fs::remove_file(&filler).unwrap();
    assert_eq!(ask(&tree, "create/ctr", large(full)).unwrap().len(), 65);
    tree.echo("running", "ctr/kept/status").unwrap();
    tree.unmount();
    let check = succeed(Command::new(crate::support::CTRFS).arg("check").arg(&tree.store));
    assert_eq!(text(&check), format!("ok: {} containers, 0 pods, 0 images, 0 layers\n", full + 2));
    drop(disk);
    fs::remove_dir(&tree.store).unwrap();
    fs::rename(tree.at.with_file_name("moved"), &tree.store).unwrap();
}

#[test]
fn refusals_keep_the_last_1024() {
    let tree = Mounted::new();
    let id = tree.make("web");
    let before = whole(&tree, &format!("ctr/{id}"));
    for n in 0..1030 {
        assert_eq!(errno(tree.echo(&format!("bogus-{n}"), "ctr/web/status")), Errno::EINVAL);
    }
    let lines = refusals(&tree);
    assert_eq!(lines.len(), 1024);
    for (line, n) in lines.iter().zip(6..) {
        assert!(line["reason"].as_str().unwrap().contains(&format!("\"bogus-{n}\"")), "newest last: {line}");
    }
    assert_eq!(lines[0]["path"], format!("ctr/{id}/status"));
    assert_eq!(whole(&tree, &format!("ctr/{id}")), before);
}
