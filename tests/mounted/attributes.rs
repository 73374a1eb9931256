//! Attributes: sizes, modes, inode numbers and times; names and prefixes; what may be touched, moved
//! and removed; namespaces that went away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirEntryExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::support::{Mounted, Scratch, errno, succeed, text};
use crate::tools::{append, ask, create, make_imaged, make_pod, need, open, refusals, shell, store, whole, write_once};

/// What shows 4096: gathered when it is read, or a conversation.
const UNSIZED: [&str; 8] = ["health", "size-rw", "config.json", "check", "refusals", "control", "table/", "create/"];

/// Every path below the mount with its attributes, no symlink followed.
fn walk(tree: &Mounted) -> BTreeMap<String, fs::Metadata> {
    let (mut found, mut dirs) = (BTreeMap::new(), vec![String::new()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(tree.path(&dir)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
            let meta = fs::symlink_metadata(tree.path(&path)).unwrap();
            assert_eq!(entry.ino(), meta.ino(), "{path}: d_ino is st_ino");
            assert_eq!(entry.file_type().unwrap(), meta.file_type(), "{path}");
            if meta.is_dir() {
                dirs.push(path.clone());
            }
            found.insert(path, meta);
        }
    }
    found
}

/// A tree with some of everything.
fn furnished(options: &str) -> Mounted {
    let tree = Mounted::with_options(options);
    tree.make("plain");
    make_pod(&tree, "shop");
    create(&tree, r#"{"name":"db","pod":"shop"}{"name":"web","pod":"shop","netNsCtr":"db","labels":{"é":"☃"}}"#);
    tree.echo("running", "ctr/web/status").unwrap();
    tree.echo("4194304", "ctr/web/pid").unwrap();
    tree.echo("-1", "ctr/db/exit-code").unwrap();
    tree.echo("/run/netns/x", "ctr/db/netns").unwrap();
    make_imaged(&tree);
    let gone = tree.make("gone");
    tree.echo("137", "ctr/gone/exit-code").unwrap();
    fs::remove_dir(tree.path(&format!("ctr/{gone}"))).unwrap();
    tree
}

fn assert_sizes(tree: &Mounted) {
    let own_layer = format!("layer/{}/size", tree.id("imaged"));
    for (path, meta) in walk(tree) {
        if meta.is_symlink() {
            assert_eq!(meta.len(), fs::read_link(tree.path(&path)).unwrap().as_os_str().len() as u64, "{path}");
        } else if meta.is_file() {
            let measured = UNSIZED.iter().any(|name| path.starts_with(name) || path.ends_with(&format!("/{name}")))
                || path == own_layer;
            let expected = if measured { 4096 } else { tree.read(&path).len() as u64 };
            assert_eq!(meta.len(), expected, "{path}");
        }
    }
}

#[test]
fn every_size_is_what_reading_gives() {
    let tree = furnished("");
    assert_sizes(&tree);
    for value in ["", "7", "123456"] {
        tree.echo(value, "ctr/web/pid").unwrap();
        tree.echo(value, "ctr/web/exit-code").unwrap();
        assert_sizes(&tree);
    }
    tree.echo("a-longer-name", "ctr/plain/name").unwrap();
    append(&tree, "ctr/web/config", r#"{"labels":{"more":"of it"}}"#).unwrap();
    append(&tree, "pod/shop/config", r#"{"labels":{"more":"of it"}}"#).unwrap();
    tree.echo("stopped", "ctr/web/status").unwrap();
    assert_sizes(&tree);
    tree.kill_server();
    assert_sizes(&tree);
    // On an open descriptor too.
    let file = File::open(tree.path("ctr/web/status")).unwrap();
    tree.echo("exited", "ctr/web/status").unwrap();
    assert_eq!(file.metadata().unwrap().len(), 7);
    tree.echo("configured", "ctr/web/status").unwrap();
    assert_eq!(file.metadata().unwrap().len(), 11);
}

fn assert_modes(tree: &Mounted, secret: u32) {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    for (path, meta) in walk(tree) {
        let name = path.rsplit('/').next().unwrap();
        let shown = ["check", "version", "health", "size-rw", "size-rootfs", "digests"].contains(&name)
            || ["table/", "image/", "layer/", "exited/"].iter().any(|dir| path.starts_with(dir))
            || path.starts_with("runtime-config/")
            || path.starts_with("pod/") && name == "status";
        let expected = match name {
            "rootfs" | "shm" if meta.is_dir() => 0o750,
            _ if meta.is_dir() => 0o755,
            _ if meta.is_symlink() => 0o777,
            _ if shown => 0o444,
            "config" | "config.json" | "metadata" | "raw" | "refusals" | "control" => secret,
            _ if path.starts_with("create/") => secret,
            _ => 0o644,
        };
        assert_eq!(format!("{:o}", meta.permissions().mode() & 0o7777), format!("{expected:o}"), "{path}");
        assert_eq!((meta.uid(), meta.gid()), (uid, gid), "{path}");
    }
    assert_eq!(fs::metadata(&tree.at).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn modes_follow_the_table() {
    assert_modes(&furnished(""), 0o600);
    let gid = nix::unistd::getegid();
    assert_modes(&furnished(&format!("allow_other,gid={gid}")), 0o640);
}

#[test]
fn inode_numbers_stay_over_restart_and_remount() {
    let tree = furnished("");
    let numbers = || walk(&tree).into_iter().map(|(path, meta)| (path, meta.ino())).collect::<BTreeMap<_, _>>();
    let before = numbers();
    let distinct: BTreeSet<_> = before.values().collect();
    assert_eq!(distinct.len(), before.len(), "no number is given twice");
    tree.kill_server();
    assert_eq!(numbers(), before, "after a restart");
    tree.unmount();
    tree.mount();
    assert_eq!(numbers(), before, "after a remount");
    // A new object of an old name and ID has new numbers.
    let id = tree.make("short-lived");
    let old: BTreeSet<u64> = numbers().into_values().collect();
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    create(&tree, &format!(r#"{{"id":"{id}","name":"short-lived"}}"#));
    let new = numbers();
    for path in [format!("ctr/{id}"), format!("ctr/{id}/config"), format!("id/{id}"), "name/short-lived".to_owned()] {
        assert!(!old.contains(&new[&path]), "{path}");
    }
}

#[test]
fn dot_entries_have_their_inodes() {
    let tree = furnished("");
    let web = tree.id("web");
    for dir in ["ctr".to_owned(), format!("ctr/{web}"), format!("ctr/{web}/dependencies"), "pod".into(), "table".into()]
    {
        let flags = nix::fcntl::OFlag::O_DIRECTORY;
        let mut opened = nix::dir::Dir::open(&tree.path(&dir), flags, nix::sys::stat::Mode::empty()).unwrap();
        let numbers: BTreeMap<String, u64> = opened
            .iter()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().to_str().unwrap().to_owned(), entry.ino()))
            .collect();
        assert_eq!(numbers["."], fs::metadata(tree.path(&dir)).unwrap().ino(), "{dir}");
        assert_eq!(numbers[".."], fs::metadata(tree.path(&dir).parent().unwrap()).unwrap().ino(), "{dir}/..");
    }
}

#[test]
fn ls_t_lists_the_newest_first() {
    let tree = Mounted::new();
    let mut ids: Vec<String> = (0..20).map(|n| tree.make(&format!("c{n}"))).collect();
    let made = |id: &String| fs::metadata(tree.path(&format!("ctr/{id}"))).unwrap().modified().unwrap();
    let times: Vec<_> = ids.iter().map(made).collect();
    assert!(times.is_sorted());
    // What happens to a container later does not make it newer.
    tree.echo("running", "ctr/c3/status").unwrap();
    append(&tree, "ctr/c5/config", r#"{"a":1}"#).unwrap();
    fs::rename(tree.path("name/c7"), tree.path("name/renamed")).unwrap();
    create(&tree, r#"{"name":"dependent","Dependencies":["c9"]}"#);
    ids.push(tree.id("dependent"));
    ids.reverse();
    let output = shell(&tree, &["bash"], &[], "ls -t ctr");
    assert_eq!(text(&output).lines().collect::<Vec<_>>(), ids);
    assert_eq!(ids.iter().rev().take(20).map(made).collect::<Vec<_>>(), times);
}

/// The paths that find(1) shows as newer than a container's directory, with what each change touches.
#[test]
fn find_newer_shows_exactly_what_a_change_touched() {
    need("find", "findutils");
    let tree = Mounted::new();
    let pod = make_pod(&tree, "shop");
    let ids = create(&tree, r#"{"name":"db","pod":"shop"}{"name":"web","pod":"shop"}{"name":"other"}"#);
    let [image, imaged] = make_imaged(&tree);
    let (db, web) = (&ids[0], &ids[1]);
    let newer = |change: &dyn Fn()| {
        let mark = tree.make("mark");
        change();
        let script = format!("find . -newer ctr/{mark} ! -path '*{mark}*' ! -path ./name/mark | sort");
        let found = text(&shell(&tree, &["bash"], &[], &script));
        fs::remove_dir(tree.path(&format!("ctr/{mark}"))).unwrap();
        found.lines().map(|line| line.trim_start_matches("./").to_owned()).collect::<BTreeSet<_>>()
    };
    let of = |dir: &str, entries: &[&str]| entries.iter().map(|e| format!("{dir}/{e}")).collect::<BTreeSet<_>>();
    let state = ["state", "status", "pid", "exit-code", "netns", "mounted", "health", "raw"];

    let mut expected = of(&format!("ctr/{web}"), &state);
    assert_eq!(newer(&|| tree.echo("7", "ctr/web/pid").unwrap()), expected, "a pid");
    expected.extend(of(&format!("pod/{pod}"), &["status"]));
    assert_eq!(newer(&|| tree.echo("running", "ctr/web/status").unwrap()), expected, "a status, in a pod");
    let expected = of(&format!("ctr/{db}"), &["config", "name", "names", "raw"]);
    assert_eq!(newer(&|| append(&tree, "ctr/db/config", r#"{"a":1}"#).unwrap()), expected, "a config");
    let expected = of(&format!("pod/{pod}"), &["config", "name", "raw"]);
    assert_eq!(newer(&|| append(&tree, "pod/shop/config", r#"{"a":1}"#).unwrap()), expected, "a pod's config");
    let mut expected = of(&format!("ctr/{imaged}"), &state);
    expected.extend(of(&format!("ctr/{imaged}"), &["config.json"]));
    assert_eq!(newer(&|| tree.echo("7", "ctr/imaged/pid").unwrap()), expected, "a pid, beside a bundle");
    let entries = ["config", "name", "names", "raw", "config.json", "image", "size-rootfs"];
    let expected = of(&format!("ctr/{imaged}"), &entries);
    assert_eq!(newer(&|| append(&tree, "ctr/imaged/config", r#"{"a":1}"#).unwrap()), expected, "beside an image");
    let mut expected = of(&format!("image/{image}"), &["names"]);
    expected.extend(of("image-name/localhost", &["", "other:1"]).iter().map(|path| path.trim_end_matches('/').into()));
    let tag = || std::os::unix::fs::symlink(&image, tree.path("image-name/localhost/other:1")).unwrap();
    assert_eq!(newer(&tag), expected, "an image's name");
    let more = ["names", "metadata", "flags", "uidmap", "gidmap"];
    let set = || fs::write(tree.path("ctr/db/metadata"), "text").unwrap();
    assert!(newer(&set).is_subset(&of(&format!("ctr/{db}"), &more)), "a text");
    // What changes nothing touches nothing.
    let nothing = BTreeSet::new();
    assert_eq!(newer(&|| tree.echo("7", "ctr/web/pid").unwrap()), nothing);
    assert_eq!(newer(&|| append(&tree, "ctr/web/config", "{}").unwrap()), nothing);
    assert_eq!(newer(&|| drop(tree.echo("bogus", "ctr/web/status"))), nothing);
    assert_eq!(newer(&|| succeed_touch(&tree, "ctr/web/status")), nothing);
    tree.echo("exited", "ctr/web/status").unwrap();
}

fn succeed_touch(tree: &Mounted, below: &str) {
    succeed(Command::new("touch").arg(tree.path(below)));
}

#[test]
fn touch_and_what_changes_nothing_succeed() {
    let tree = furnished("");
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let before = store(&tree);
    for (path, mode) in [("ctr/web/config", 0o600), ("ctr/web/status", 0o644), ("version", 0o444), ("ctr", 0o755)] {
        succeed_touch(&tree, path);
        fs::set_permissions(tree.path(path), PermissionsExt::from_mode(mode)).unwrap();
        succeed(Command::new("chown").arg(format!("{uid}:{gid}")).arg(tree.path(path)));
        let time = fs::metadata(tree.path(path)).unwrap().modified().unwrap();
        File::open(tree.path(path)).unwrap().set_modified(time).unwrap();
    }
    assert_eq!(store(&tree), before);
    for path in ["ctr/web/config", "version", "ctr"] {
        let path = tree.path(path);
        assert_eq!(errno(fs::set_permissions(&path, PermissionsExt::from_mode(0o777))), Errno::EPERM);
        let time = std::time::SystemTime::UNIX_EPOCH;
        assert_eq!(errno(File::open(&path).unwrap().set_modified(time)), Errno::EPERM);
        // In a user namespace with one user there is no other that could be named.
        let alone = fs::read_to_string("/proc/self/uid_map").unwrap().split_whitespace().nth(2) == Some("1");
        let expected = if alone { Errno::EINVAL } else { Errno::EPERM };
        assert_eq!(errno(std::os::unix::fs::chown(&path, Some(uid.as_raw() + 1), None)), expected);
        assert_eq!(errno(std::os::unix::fs::chown(&path, None, Some(gid.as_raw() + 1))), expected);
    }
    assert_eq!(errno(File::open(tree.path("touched")).and(File::create(tree.path("touched")))), Errno::ENOENT);
    assert!(!Command::new("touch").arg(tree.path("ctr/new")).output().unwrap().status.success());
    assert_eq!(store(&tree), before);
}

#[test]
fn truncation_changes_nothing() {
    let tree = furnished("");
    let id = tree.id("web");
    let before = whole(&tree, &format!("ctr/{id}"));
    for entry in ["config", "state", "name", "status", "pid", "exit-code", "netns", "mounted"] {
        let path = tree.path(&format!("ctr/{id}/{entry}"));
        for size in [0, 1, 4096, 1 << 40] {
            nix::unistd::truncate(&path, size).unwrap();
            OpenOptions::new().write(true).open(&path).unwrap().set_len(size as u64).unwrap();
            assert_eq!(whole(&tree, &format!("ctr/{id}")), before, "{entry} to {size}");
        }
    }
    // On a descriptor that then writes: as a shell does it.
    let mut file = open(&tree, "ctr/web/pid", false).unwrap();
    file.set_len(0).unwrap();
    write_once(&mut file, b"42\n").unwrap();
    assert_eq!(tree.read("ctr/web/pid"), "42\n");
}

#[test]
fn names_and_prefixes_answer_unlisted() {
    let tree = Mounted::new();
    let id = "abcdef0123456789".repeat(4);
    let pod = "fedcba9876543210".repeat(4);
    create(&tree, &format!(r#"{{"id":"{id}","name":"web"}}"#));
    ask(&tree, "create/pod", format!(r#"{{"id":"{pod}","name":"shop"}}"#)).unwrap();
    create(&tree, r#"{"name":"inside","pod":"shop"}"#);
    for (kind, id, name) in [("ctr", &id, "web"), ("pod", &pod, "shop")] {
        for length in [6, 7, 12, 63] {
            let link = fs::read_link(tree.path(&format!("{kind}/{}", &id[..length]))).unwrap();
            assert_eq!(link, Path::new(id), "{length} digits");
        }
        assert_eq!(fs::read_link(tree.path(&format!("{kind}/{name}"))).unwrap(), Path::new(id));
        for absent in [&id[..5], &id[..3], &id.to_uppercase(), &id[..12].to_uppercase(), &format!("{id}0"), &id[1..9]] {
            let found = fs::symlink_metadata(tree.path(&format!("{kind}/{absent}")));
            assert_eq!(errno(found), Errno::ENOENT, "{kind}/{absent}");
        }
        let listed = fs::read_dir(tree.path(kind)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let listed: Vec<_> = listed.collect();
        assert!(listed.contains(id) && listed.iter().all(|name| name.len() == 64), "{listed:?}");
    }
    for absent in [
        "ctr/shop",
        "pod/web",
        "ctr/fedcba",
        "pod/abcdef",
        "id/abcdef",
        "id/web",
        "name/abcdef",
        "pod/shop/containers/web",
    ] {
        assert_eq!(errno(fs::symlink_metadata(tree.path(absent))), Errno::ENOENT, "{absent}");
    }
    let inside = tree.id("inside");
    for member in ["inside", &inside[..8], &inside] {
        let path = tree.path(&format!("pod/shop/containers/{member}"));
        assert_eq!(fs::read_link(&path).unwrap(), Path::new(&format!("../../../ctr/{inside}")));
        assert_eq!(fs::canonicalize(path).unwrap(), tree.path(&format!("ctr/{inside}")));
    }
    assert_eq!(fs::read_dir(tree.path("pod/shop/containers")).unwrap().count(), 1);
    // A full ID comes before a name, a name before a prefix.
    let other = create(&tree, r#"{"name":"abcdef01"}"#).remove(0);
    assert_eq!(tree.id("abcdef01"), other);
    assert_eq!(tree.id("abcdef012"), id);
    tree.echo("later", "ctr/abcdef01/name").unwrap();
    assert_eq!(tree.id("abcdef01"), id, "the name is gone, the prefix answers");
}

/// The kernel keeps names for ever: one that was taken away elsewhere than in `name/` must not go on.
#[test]
fn a_name_taken_away_anywhere_leads_nowhere() {
    let tree = Mounted::new();
    let (web, db, shop) = (tree.make("web"), tree.make("db"), make_pod(&tree, "shop"));
    let target = |name: &str| {
        let found = fs::read_link(tree.path("name").join(name));
        found.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).map_err(|e| e.raw_os_error().unwrap())
    };
    let none = Err(Errno::ENOENT as i32);
    for round in 0..20 {
        assert_eq!((target("web"), target("db")), (Ok(web.clone()), Ok(db.clone())), "round {round}");
        mv(&tree, "ctr/web", "ctr/db", RenameFlags::RENAME_EXCHANGE).unwrap();
        assert_eq!((target("web"), target("db")), (Ok(db.clone()), Ok(web.clone())), "round {round}");
        mv(&tree, "ctr/web", "ctr/new", RenameFlags::empty()).unwrap();
        assert_eq!((target("web"), target("new")), (none.clone(), Ok(db.clone())), "round {round}");
        mv(&tree, "name/db", "name/web", RenameFlags::empty()).unwrap();
        assert_eq!((target("web"), target("db")), (Ok(web.clone()), none.clone()), "round {round}");
        tree.echo("db", "ctr/new/name").unwrap();
        assert_eq!((target("new"), target("db")), (none.clone(), Ok(db.clone())), "round {round}");
        assert_eq!(target("shop"), Ok(shop.clone()));
        mv(&tree, "pod/shop", "pod/store", RenameFlags::empty()).unwrap();
        assert_eq!((target("shop"), target("store")), (none.clone(), Ok(shop.clone())), "round {round}");
        append(&tree, "pod/store/config", r#"{"name":"shop"}"#).unwrap();
        assert_eq!((target("shop"), target("store")), (Ok(shop.clone()), none.clone()), "round {round}");
    }
}

fn mv(tree: &Mounted, from: &str, to: &str, flags: RenameFlags) -> nix::Result<()> {
    renameat2(AT_FDCWD, &tree.path(from), AT_FDCWD, &tree.path(to), flags)
}

#[test]
fn mv_renames_and_swaps() {
    let tree = Mounted::new();
    let (web, db, shop) = (tree.make("web"), tree.make("db"), make_pod(&tree, "shop"));
    let names = || {
        let target = |name: &String| fs::read_link(tree.path("name").join(name)).unwrap().to_str().unwrap().to_owned();
        let names = fs::read_dir(tree.path("name")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.map(|name| (target(&name), name)).collect::<BTreeMap<String, String>>()
    };
    let called = |ctr: &str, other: &str, pod: &str| {
        let pairs = [(format!("../ctr/{web}"), ctr), (format!("../ctr/{db}"), other), (format!("../pod/{shop}"), pod)];
        pairs.into_iter().map(|(target, name)| (target, name.to_owned())).collect::<BTreeMap<_, _>>()
    };
    mv(&tree, "name/web", "name/front", RenameFlags::empty()).unwrap();
    assert_eq!(names(), called("front", "db", "shop"));
    assert_eq!(tree.read(&format!("ctr/{web}/name")), "front\n");
    mv(&tree, "ctr/front", "ctr/back", RenameFlags::RENAME_NOREPLACE).unwrap();
    mv(&tree, "pod/shop", "pod/store", RenameFlags::empty()).unwrap();
    assert_eq!(names(), called("back", "db", "store"));
    for flags in [RenameFlags::empty(), RenameFlags::RENAME_NOREPLACE] {
        for (from, to) in [("name/back", "name/db"), ("name/store", "name/db"), ("ctr/back", "ctr/db")] {
            assert_eq!(mv(&tree, from, to, flags), Err(Errno::EEXIST), "{from} {to}");
        }
    }
    mv(&tree, "name/back", "name/db", RenameFlags::RENAME_EXCHANGE).unwrap();
    assert_eq!(names(), called("db", "back", "store"));
    mv(&tree, "name/db", "name/store", RenameFlags::RENAME_EXCHANGE).unwrap();
    assert_eq!(names(), called("store", "back", "db"), "of both kinds");
    mv(&tree, "ctr/store", "ctr/back", RenameFlags::RENAME_EXCHANGE).unwrap();
    assert_eq!(names(), called("back", "store", "db"));
    assert_eq!(mv(&tree, "name/back", "name/none", RenameFlags::RENAME_EXCHANGE), Err(Errno::ENOENT));
    assert_eq!(mv(&tree, "ctr/back", "ctr/none", RenameFlags::RENAME_EXCHANGE), Err(Errno::ENOENT));
    for (from, to) in [("name/back", "ctr/new"), ("ctr/back", "name/new"), ("name/back", "new")] {
        assert_eq!(mv(&tree, from, to, RenameFlags::empty()), Err(Errno::EPERM), "never EXDEV");
    }
    for (_, name) in names() {
        assert!(tree.read(&format!("name/{name}/config")).contains(&format!("\"name\": \"{name}\"")), "{name}");
    }
    for sh in crate::tools::SHELLS {
        let output =
            shell(&tree, sh, &[], "mv -T name/back name/x && mv -T ctr/x ctr/back && ! mv -T name/back name/db 2>&1");
        assert!(output.status.success(), "{sh:?}: {}", text(&output));
        assert!(text(&output).contains("File exists"), "{sh:?}: {}", text(&output));
    }
    assert_eq!(names(), called("back", "store", "db"));
}

#[test]
fn rm_and_rmdir_remove_what_is_named_exactly() {
    let tree = Mounted::new();
    let (web, shop) = (tree.make("web"), make_pod(&tree, "shop"));
    let path = |below: &str| tree.path(below);
    assert_eq!(errno(fs::remove_dir(path("ctr/web"))), Errno::ENOTDIR);
    assert_eq!(errno(fs::remove_dir(path("pod/shop"))), Errno::ENOTDIR);
    assert_eq!(errno(fs::remove_dir(path(&format!("ctr/{}", &web[..8])))), Errno::ENOTDIR);
    assert_eq!(errno(fs::remove_file(path(&format!("ctr/{web}")))), Errno::EISDIR);
    assert_eq!(errno(fs::remove_file(path(&format!("ctr/{}", &web[..8])))), Errno::EPERM);
    assert_eq!(errno(fs::remove_file(path("name/web"))), Errno::EBUSY);
    assert_eq!(errno(fs::remove_file(path(&format!("id/{web}")))), Errno::EPERM);
    let before = store(&tree);
    for script in ["rm -rf ctr/$ID", "rm -rf ctr", "rm -rf ./*", "rm -rf pod/shop/"] {
        let output = shell(&tree, &["dash"], &[("ID", &web)], &format!("cd . && {script} 2> /dev/null"));
        let (ctrs, pods) = (path(&format!("ctr/{web}")).exists(), path(&format!("pod/{shop}")).exists());
        println!("{script}: {:?}, container {ctrs}, pod {pods}", output.status);
        if ctrs && pods {
            assert_eq!(store(&tree), before, "{script} changes nothing or removes whole objects");
        }
    }
    let tree = Mounted::new();
    let (web, shop) = (tree.make("web"), make_pod(&tree, "shop"));
    fs::remove_file(tree.path("ctr/web")).unwrap();
    fs::remove_file(tree.path("pod/shop")).unwrap();
    for gone in
        [format!("ctr/{web}"), format!("pod/{shop}"), format!("id/{web}"), "name/web".into(), "name/shop".into()]
    {
        assert_eq!(errno(fs::symlink_metadata(tree.path(&gone))), Errno::ENOENT, "{gone}");
    }
    let (web, shop) = (tree.make("web"), make_pod(&tree, "shop"));
    fs::remove_dir(tree.path(&format!("ctr/{web}"))).unwrap();
    fs::remove_dir(tree.path(&format!("pod/{shop}"))).unwrap();
    assert_eq!(store(&tree).keys().filter(|key| !key.starts_with("table")).count(), 7, "the lists themselves");
}

#[test]
fn mkdir_makes_by_name_by_id_and_in_a_pod() {
    let tree = Mounted::new();
    let (by_id, in_pod) = ("0123abcd".repeat(8), "4567abcd".repeat(8));
    let pod = make_pod(&tree, "shop");
    fs::create_dir(tree.path(&format!("ctr/{by_id}"))).unwrap();
    assert!(tree.read(&format!("ctr/{by_id}/name")).contains('_'), "a random name");
    fs::create_dir(tree.path("pod/shop/containers/web")).unwrap();
    fs::create_dir(tree.path(&format!("pod/{pod}/containers/{in_pod}"))).unwrap();
    for member in [tree.id("web"), in_pod] {
        assert_eq!(
            fs::read_link(tree.path(&format!("ctr/{member}/pod"))).unwrap(),
            Path::new(&format!("../../pod/{pod}"))
        );
    }
    let script =
        "mkdir ctr/a && mkdir -p ctr/a && mkdir -p pod/p/containers && [ -d ctr/a ] && [ -L ctr/a ] && cat ctr/a/name";
    for sh in crate::tools::SHELLS {
        make_pod(&tree, "p");
        assert_eq!(text(&shell(&tree, sh, &[], script)), "a\n", "{sh:?}");
        fs::remove_file(tree.path("ctr/a")).unwrap();
        fs::remove_file(tree.path("pod/p")).unwrap();
    }
}

/// A listing and `health` say what they say whatever a netns path leads to; nothing hangs.
fn health(tree: &Mounted, netns: &str) -> String {
    tree.echo(netns, "ctr/web/netns").unwrap();
    let listing =
        shell(tree, &["bash"], &[], "timeout 60 ls -lR ctr name > /dev/null && timeout 60 cat table/ctr > /dev/null");
    assert!(listing.status.success(), "{netns}: {}", text(&listing));
    let output = shell(tree, &["bash"], &[], "timeout 60 cat ctr/web/health");
    assert!(output.status.success(), "{netns}: {}", text(&output));
    text(&output)
}

#[test]
fn a_network_namespace_that_cannot_be_joined_shows_in_health() {
    need("unshare", "util-linux");
    need("mkfifo", "coreutils");
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    tree.make("web");
    let file = scratch.path().join("netns");
    let netns = file.to_str().unwrap();
    fs::write(&file, "").unwrap();
    assert_eq!(health(&tree, ""), "ok\n");
    assert_eq!(health(&tree, netns), format!("netns {netns}: is not a network namespace\n"));
    succeed(Command::new("unshare").args(["--net", "mount", "--bind", "/proc/self/ns/net"]).arg(&file));
    let joined = health(&tree, netns);
    succeed(Command::new("umount").arg(&file));
    assert_eq!(joined, "ok\n");
    assert_eq!(health(&tree, netns), format!("netns {netns}: is not a network namespace\n"));
    fs::remove_file(&file).unwrap();
    let gone = health(&tree, netns);
    assert!(gone.starts_with(&format!("netns {netns}: cannot be opened: No such file")), "{gone}");
    succeed(Command::new("mkfifo").arg(&file));
    assert_eq!(health(&tree, netns), format!("netns {netns}: is not a network namespace\n"));
    for other in ["/", "/dev/null", "/proc/self/ns/pid", "/proc/self/ns/mnt"] {
        assert_eq!(health(&tree, other), format!("netns {other}: is not a network namespace\n"));
    }
    // Below our own mount: we ourselves must answer what we ask.
    for entry in ["ctr/web/health", "ctr/web/netns", "version", "name/web", "create/ctr"] {
        let inside = tree.path(entry);
        let said = health(&tree, inside.to_str().unwrap());
        assert_eq!(said, format!("netns {}: is not a network namespace\n", inside.display()));
    }
    let said = health(&tree, tree.path("ctr/nobody").to_str().unwrap());
    assert!(said.contains("cannot be opened: No such file"), "{said}");
    assert_eq!(refusals(&tree).len(), 0, "{}", tree.read("refusals"));
}
