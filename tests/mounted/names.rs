//! A container has one or more names; the first is its config's.

use std::fs;
use std::os::unix::fs::symlink;

use nix::errno::Errno;
use serde_json::Value;

use crate::support::images::names_in;
use crate::support::{Mounted, errno};

/// What `names` has, and that the tree says the same everywhere.
fn names(tree: &Mounted, id: &str) -> Vec<String> {
    let text = tree.read(&format!("ctr/{id}/names"));
    let names: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(fs::metadata(tree.path(&format!("ctr/{id}/names"))).unwrap().len(), text.len() as u64);
    assert_eq!(tree.read(&format!("ctr/{id}/name")).trim_end(), names[0]);
    let config: Value = serde_json::from_str(&tree.read(&format!("ctr/{id}/config"))).unwrap();
    assert_eq!(config["name"], names[0]);
    for name in &names {
        assert_eq!(fs::read_link(tree.path(&format!("name/{name}"))).unwrap(), *format!("../ctr/{id}"));
        assert_eq!(tree.id(name), id);
    }
    names
}

fn write(tree: &Mounted, id: &str, text: &str, append: bool) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = fs::OpenOptions::new();
    options.write(true).append(append).truncate(!append);
    options.open(tree.path(&format!("ctr/{id}/names")))?.write_all(text.as_bytes())
}

#[test]
fn names_are_set_and_added() {
    let tree = Mounted::new();
    let id = tree.make("a");
    assert_eq!(names(&tree, &id), ["a"]);
    write(&tree, &id, "b\nc\n", true).unwrap();
    assert_eq!(names(&tree, &id), ["a", "b", "c"]);
    write(&tree, &id, "c\n\nd\na\nc", false).unwrap();
    assert_eq!(names(&tree, &id), ["c", "d", "a"]);
    assert!(!tree.path("name/b").exists() && !tree.path("ctr/b").exists());
    write(&tree, &id, "a\n", true).unwrap();
    assert_eq!(names(&tree, &id), ["c", "d", "a"], "a name that it has is not added again");
    assert_eq!(names_in(&tree.path("name")), ["a", "c", "d"]);
    tree.kill_server();
    tree.unmount();
    tree.mount();
    assert_eq!(names(&tree, &id), ["c", "d", "a"]);
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    assert_eq!(names_in(&tree.path("name")), [""; 0]);
    assert_eq!(tree.read("check"), "ok: 0 containers, 0 pods, 0 images, 0 layers\n");
}

#[test]
fn a_name_is_added_and_removed_as_a_link() {
    let tree = Mounted::new();
    let id = tree.make("web");
    symlink(format!("../ctr/{id}"), tree.path("name/www")).unwrap();
    symlink("web", tree.path("name/site")).unwrap();
    symlink(tree.path("ctr/www"), tree.path("name/home")).unwrap();
    assert_eq!(names(&tree, &id), ["web", "www", "site", "home"]);
    assert_eq!(errno(symlink("web", tree.path("name/www"))), Errno::EEXIST);
    assert_eq!(errno(symlink("web", tree.path("name/-x"))), Errno::EINVAL);
    assert_eq!(errno(symlink("../ctr/none", tree.path("name/x"))), Errno::ENOENT);

    fs::remove_file(tree.path("name/web")).unwrap();
    assert_eq!(names(&tree, &id), ["www", "site", "home"], "the next is the first");
    fs::remove_file(tree.path("name/home")).unwrap();
    fs::remove_file(tree.path("name/www")).unwrap();
    assert_eq!(errno(fs::remove_file(tree.path("name/site"))), Errno::EBUSY);
    assert!(tree.last_refusal().contains("only name"), "{}", tree.last_refusal());
    assert_eq!(errno(fs::remove_file(tree.path("name/www"))), Errno::ENOENT);
    assert_eq!(names(&tree, &id), ["site"]);

    fs::create_dir(tree.path("pod/shop")).unwrap();
    for target in ["../pod/shop", "shop"] {
        assert_eq!(errno(symlink(target, tree.path("name/store"))), Errno::EPERM, "{target}");
    }
    assert_eq!(errno(fs::remove_file(tree.path("name/shop"))), Errno::EBUSY);
}

#[test]
fn a_name_of_another_is_never_taken() {
    let tree = Mounted::new();
    let (one, other) = (tree.make("one"), tree.make("other"));
    fs::create_dir(tree.path("pod/shop")).unwrap();
    write(&tree, &other, "further\n", true).unwrap();
    for taken in ["other", "further", "shop"] {
        for append in [false, true] {
            assert_eq!(errno(write(&tree, &one, &format!("new\n{taken}\n"), append)), Errno::EEXIST, "{taken}");
        }
        assert_eq!(errno(tree.echo(taken, &format!("ctr/{one}/name"))), Errno::EEXIST);
        assert_eq!(errno(fs::create_dir(tree.path(&format!("ctr/{taken}")))), Errno::EEXIST);
    }
    assert_eq!(
        (names(&tree, &one), names(&tree, &other)),
        (vec!["one".into()], vec!["other".into(), "further".into()])
    );
    for bad in ["", "\n", "a b\n", "ok\n-x\n", "x\r\n", &"f".repeat(64), "\u{e4}\n"] {
        let written = write(&tree, &one, bad, false);
        // Nothing at all is no write.
        if !bad.is_empty() {
            assert_eq!(errno(written), Errno::EINVAL, "{bad:?}");
        }
    }
    assert_eq!(errno(write(&tree, &one, &"n\n".repeat(40_000), false)), Errno::EFBIG);
    assert_eq!(names(&tree, &one), ["one"]);
}

#[test]
fn renaming_keeps_the_place_of_a_name() {
    let tree = Mounted::new();
    let (id, other) = (tree.make("a"), tree.make("x"));
    write(&tree, &id, "b\nc\n", true).unwrap();
    fs::rename(tree.path("name/b"), tree.path("name/bb")).unwrap();
    assert_eq!(names(&tree, &id), ["a", "bb", "c"]);
    fs::rename(tree.path("ctr/c"), tree.path("ctr/cc")).unwrap();
    assert_eq!(names(&tree, &id), ["a", "bb", "cc"]);
    fs::rename(tree.path("name/a"), tree.path("name/aa")).unwrap();
    assert_eq!(names(&tree, &id), ["aa", "bb", "cc"]);
    assert_eq!(errno(fs::rename(tree.path("name/x"), tree.path("name/bb"))), Errno::EEXIST);

    tree.echo("cc", &format!("ctr/{id}/name")).unwrap();
    assert_eq!(names(&tree, &id), ["cc", "bb"], "a further name that becomes the first takes its place");

    let swap = |dir: &str, one: &str, two: &str| {
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        let path = |name| tree.path(&format!("{dir}/{name}"));
        renameat2(AT_FDCWD, &path(one), AT_FDCWD, &path(two), RenameFlags::RENAME_EXCHANGE).unwrap();
    };
    swap("name", "bb", "cc");
    assert_eq!(names(&tree, &id), ["bb", "cc"]);
    swap("name", "cc", "x");
    assert_eq!((names(&tree, &id), names(&tree, &other)), (vec!["bb".into(), "x".into()], vec!["cc".into()]));
    swap("ctr", "cc", "bb");
    assert_eq!((names(&tree, &id), names(&tree, &other)), (vec!["cc".into(), "x".into()], vec!["bb".into()]));
}

#[test]
fn any_name_leads_to_the_container() {
    let tree = Mounted::new();
    let id = tree.make("first");
    write(&tree, &id, "second\n", true).unwrap();
    tree.echo("running", "ctr/second/status").unwrap();
    assert_eq!(tree.read("name/second/status"), "running\n");
    tree.echo("exited", "ctr/first/status").unwrap();
    let made = tree.sh(&["sh"], r#"echo '{"name":"user","netNsCtr":"second"}' >> create/ctr"#);
    assert!(made.status.success());
    assert_eq!(names_in(&tree.path(&format!("ctr/{id}/dependencies"))), [tree.id("user")]);
    fs::remove_file(tree.path("ctr/user")).unwrap();
    fs::remove_file(tree.path("ctr/second")).unwrap();
    assert!(!tree.path("ctr/first").exists());
}
