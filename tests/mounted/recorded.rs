//! Layers held against the record of their entries: damage of every sort, planted, found by name,
//! repaired, found gone; and what is no damage.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags};
use nix::sys::signal::{Signal, kill as send};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::Pid;
use serde_json::json;

use crate::exporting::torture;
use crate::importing::{PODMAN, podman_images, sh};
use crate::support::images::{Image, create, names_in, staging_dir};
use crate::support::{CTRFS, Mounted, Scratch, mountinfo, succeed, text, wait_until};
use crate::tools::need;

/// What is imported, and damaged.
const LAYER: &str = "
    mkdir root; cd root; mkdir -p etc bin
    echo root > etc/passwd; chmod 600 etc/passwd; touch -d @981173106 etc/passwd; setfattr -n user.mark -v x etc/passwd
    : > etc/empty; : > etc/one; ln etc/one etc/two; : > etc/three; touch -r etc/one etc/three
    head -c 100000 /dev/zero | tr '\\0' x > bin/big; ln -s big bin/link; touch -h -d @981173106 bin/link
    setfattr -n user.own -v x bin/big; setfattr -n trusted.own -v x bin; chown 7:7 bin/big; chmod 600 bin/big
    truncate -s 1G bin/sparse; printf x | dd of=bin/sparse bs=1 seek=500000000 conv=notrunc 2>/dev/null
    touch -d @981173106 bin/big bin/sparse
    mkfifo fifo; mknod null c 1 3; touch -d @981173106 fifo null";

/// An image of that layer, one of others, and a container upon the latter.
struct Store {
    tree: Mounted,
    image: String,
    layer: String,
    files: Scratch,
}

impl Store {
    fn new() -> Store {
        let (tree, files) = (Mounted::new(), Scratch::new());
        sh(files.path(), LAYER);
        Image::new("apart", &["a", "b"]).import(&tree, &["apart"]);
        fs::write(tree.path("create/ctr"), "{\"name\":\"web\",\"image\":\"apart\"}\n").unwrap();
        let source = format!("dir:{}", files.path().join("root").display());
        let said =
            text(&succeed(Command::new(CTRFS).args(["image", "import", "-q", &source, "a"]).env("CTRFS_AT", &tree.at)));
        let layers = names_in(&tree.path(&format!("image/{}/layers", said.trim())));
        assert_eq!(layers, ["0"]);
        let layer = fs::read_link(tree.path(&format!("image/{}/layers/0", said.trim()))).unwrap();
        let layer = layer.file_name().unwrap().to_str().unwrap().to_owned();
        Store { tree, image: said.trim().to_owned(), layer, files }
    }

    fn dir(&self) -> PathBuf {
        self.tree.store.join("layers").join(&self.layer)
    }

    /// What a check says: in the tree or by the command, which must agree.
    fn found(&self, contents: bool) -> String {
        let mounts = mountinfo();
        let options: &[&str] = if contents { &["--contents"] } else { &[] };
        let found = said(&[&["check"], options, &[self.tree.at.to_str().unwrap()]].concat());
        let by_tree = match contents {
            false => self.tree.read("check"),
            true => {
                let order = "exec 3<>control; echo '{\"verb\":\"check\",\"contents\":true}' >&3; cat <&3";
                text(&self.tree.sh(&["bash"], order))
            }
        };
        assert_eq!(by_tree, found.0);
        assert_eq!(found.1, i32::from(!found.0.starts_with("ok")));
        assert_eq!(mountinfo(), mounts, "nothing is mounted or unmounted");
        found.0
    }

    /// The finding of one kind of the layer's.
    fn line(&self, kind: &str, words: &str) -> String {
        format!("{kind} layer/{}: {words}", self.layer)
    }

    /// All files of the store's directories but the layer's, and what the tree shows of objects.
    fn others(&self) -> BTreeMap<PathBuf, String> {
        let mut all = BTreeMap::new();
        for dir in [self.tree.store.join("layers"), self.tree.store.join("ctr")] {
            look(&dir, &mut all);
        }
        for path in ["table/ctr", "ctr/web/config", "ctr/web/state"] {
            all.insert(self.tree.path(path), self.tree.read(path));
        }
        all.retain(|path, _| !path.starts_with(self.dir()) && *path != self.tree.store.join("layers"));
        all
    }
}

fn said(arguments: &[&str]) -> (String, i32) {
    let output = Command::new(CTRFS).args(arguments).output().unwrap();
    (text(&output), output.status.code().unwrap())
}

fn look(path: &Path, into: &mut BTreeMap<PathBuf, String>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let content = if meta.is_file() { fs::read(path).unwrap() } else { vec![] };
    let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
    into.insert(path.to_owned(), format!("{:o} {}:{} {times:?} {content:?}", meta.mode(), meta.uid(), meta.gid()));
    if meta.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| look(&entry.unwrap().path(), into));
    }
}

/// Runs a script in a tree; its directories keep their times.
fn quietly(root: &Path, script: &str) {
    let mut times = Vec::new();
    directories(root, &mut times);
    sh(root, script);
    for (dir, seconds, nanoseconds) in times.into_iter().filter(|(dir, ..)| dir.is_dir()) {
        let time = TimeSpec::new(seconds, nanoseconds);
        utimensat(nix::fcntl::AT_FDCWD, &dir, &time, &time, UtimensatFlags::NoFollowSymlink).unwrap();
    }
}

fn directories(dir: &Path, into: &mut Vec<(PathBuf, i64, i64)>) {
    let meta = fs::metadata(dir).unwrap();
    into.push((dir.to_owned(), meta.mtime(), meta.mtime_nsec()));
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_dir()) {
        directories(&entry.path(), into);
    }
}

/// How a layer is damaged; the findings, each with its kind.
type Damage = (&'static str, &'static [(&'static str, &'static str)]);

const MODIFIED: &str = "layer-content-modified";
const DIGEST: &str = "layer-incorrect-digest";

const DAMAGES: &[Damage] = &[
    ("chmod 644 etc/passwd", &[(MODIFIED, "etc/passwd has mode 0644, not 0600")]),
    ("chmod 4600 etc/passwd", &[(MODIFIED, "etc/passwd has mode 4600, not 0600")]),
    ("chmod 700 .", &[(MODIFIED, ". has mode 0700, not 0755")]),
    ("chown 5:6 fifo", &[(MODIFIED, "fifo has owner 5:6, not 0:0")]),
    (
        "touch -d @1000000000.5 etc/passwd",
        &[(MODIFIED, "etc/passwd was modified at 1000000000.500000000, not 981173106.000000000")],
    ),
    ("rm etc/empty; mkdir etc/empty", &[(MODIFIED, "etc/empty is a directory, not a file")]),
    ("rm fifo; mknod fifo c 0 0", &[(MODIFIED, "fifo is a whiteout, not a named pipe")]),
    ("rm null; mknod null c 1 5; touch -d @981173106 null", &[(MODIFIED, "null is device 1:5, not 1:3")]),
    ("ln -sfn bag bin/link; touch -h -d @981173106 bin/link", &[(MODIFIED, "bin/link leads to bag, not big")]),
    ("setfattr -n user.other -v y etc/passwd", &[(MODIFIED, "etc/passwd has other extended attributes")]),
    ("setfattr -n user.mark -v y etc/passwd", &[(MODIFIED, "etc/passwd has other extended attributes")]),
    ("setfattr -x user.mark etc/passwd", &[(MODIFIED, "etc/passwd has other extended attributes")]),
    ("setfattr -n trusted.overlay.opaque -v y etc", &[(MODIFIED, "etc has other extended attributes")]),
    ("cp -p etc/two x; mv x etc/two", &[(MODIFIED, "etc/two is no hard link any more")]),
    ("ln -f etc/one etc/three", &[(MODIFIED, "etc/three is a hard link")]),
    (": > 'etc/new\nline'", &[(MODIFIED, "etc/new\\nline is new")]),
    ("rm etc/empty", &[(MODIFIED, "etc/empty is gone")]),
    ("mv etc/empty etc/hidden", &[(MODIFIED, "etc/empty is gone; etc/hidden is new")]),
    ("mkdir -p d/e", &[(MODIFIED, "d is new; d/e is new")]),
    (
        "chmod 777 etc/* bin",
        &[(
            MODIFIED,
            "bin has mode 0777, not 0755; etc/empty has mode 0777, not 0644; etc/one has mode 0777, not 0644; and 3 more",
        )],
    ),
    (
        "truncate -s 99999 bin/big; touch -d @981173106 bin/big",
        &[
            ("layer-incorrect-size", "its files have 1073841831 bytes, not 1073841832"),
            (MODIFIED, "bin/big has 99999 bytes, not 100000"),
        ],
    ),
    ("rm ../tree", &[("layer-data-missing", "its record is gone")]),
    ("rm ../tree; mkdir ../tree", &[(MODIFIED, "its record is another")]),
    ("printf x >> ../tree", &[(MODIFIED, "its record is another")]),
    ("printf x | dd of=../tree bs=1 seek=99 conv=notrunc 2>/dev/null", &[(MODIFIED, "its record is another")]),
    (
        "rm ../tree; : > etc/new",
        &[("layer-data-missing", "its record is gone"), (MODIFIED, "it has 13 entries, not 12")],
    ),
];

/// Damages that only those see who read what is in files.
const CONTENTS: &[Damage] = &[
    (
        "printf y | dd of=bin/big bs=1 seek=77777 conv=notrunc 2>/dev/null; touch -d @981173106 bin/big",
        &[(DIGEST, "bin/big has other content")],
    ),
    (
        "printf y | dd of=bin/sparse bs=1 seek=1000000 conv=notrunc 2>/dev/null; touch -d @981173106 bin/sparse",
        &[(DIGEST, "bin/sparse has other content")],
    ),
    (
        "fallocate -p -o 499998720 -l 8192 bin/sparse; touch -d @981173106 bin/sparse",
        &[(DIGEST, "bin/sparse has other content")],
    ),
    (
        "printf y | dd of=etc/passwd bs=1 conv=notrunc 2>/dev/null; chmod 644 etc/passwd; touch -d @981173106 etc/passwd
         printf y | dd of=bin/big bs=1 conv=notrunc 2>/dev/null; touch -d @981173106 bin/big",
        &[
            (MODIFIED, "etc/passwd has mode 0644, not 0600"),
            (DIGEST, "bin/big has other content; etc/passwd has other content"),
        ],
    ),
];

#[test]
fn root_every_sort_of_damage_is_found_and_goes_with_its_image() {
    let sound = "ok: 1 containers, 0 pods, 2 images, 4 layers\n";
    let store = Store::new();
    let others = store.others();
    let kept = store.tree.store.with_file_name("kept");
    let all = DAMAGES.iter().map(|damage| (damage, false)).chain(CONTENTS.iter().map(|damage| (damage, true)));
    for (number, ((script, due), contents)) in all.enumerate() {
        assert_eq!((store.found(false).as_str(), store.found(true).as_str()), (sound, sound), "before {script}");
        sh(&store.tree.store, &format!("rm -rf {0}; cp -a {1} {0}", kept.display(), store.dir().display()));
        quietly(&store.dir().join("fs"), script);
        let lines: Vec<String> = due.iter().map(|(kind, words)| store.line(kind, words)).collect();
        let told = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        assert_eq!(store.found(true), told(&lines), "{script}");
        let seen: Vec<String> = lines.iter().filter(|line| !line.starts_with(DIGEST)).cloned().collect();
        assert_eq!(store.found(false), if seen.is_empty() { sound.to_owned() } else { told(&seen) }, "{script}");

        let mut repair = vec!["check", "--repair"];
        repair.extend(contents.then_some("--contents"));
        // As often on a store that is not mounted.
        let is_offline = number % 2 == 1;
        if is_offline {
            store.tree.unmount();
            let offline = said(&["check", "--contents", store.tree.store.to_str().unwrap()]);
            assert_eq!(offline, (told(&lines), 1), "{script}");
        }
        repair.push(if is_offline { store.tree.store.to_str().unwrap() } else { store.tree.at.to_str().unwrap() });
        let spread = format!("image-layer-missing image/{}: a layer of it is damaged: removed\n", store.image);
        let mut due = lines.iter().map(|line| format!("{line}: removed\n")).collect::<Vec<_>>();
        due.insert(1, spread);
        let end = "ok: 1 containers, 0 pods, 1 images, 3 layers\n";
        assert_eq!(said(&repair), (due.concat() + end, 0), "{script}");
        if is_offline {
            store.tree.mount();
        }
        assert_eq!((store.found(false).as_str(), store.found(true).as_str()), (end, end), "{script}");
        assert!(!store.dir().exists() && !store.tree.path(&format!("image/{}", store.image)).exists());
        assert!(store.others() == others, "{script}: all else is as it was");

        // The image comes in again as it was, and its record is the same file.
        let source = format!("dir:{}", store.files.path().join("root").display());
        let again = store.tree.ctrfs(&["image", "import", "-q", &source, "a"]);
        assert_eq!(text(&again), format!("{}\n", store.image));
        assert_eq!(fs::read(store.dir().join("tree")).unwrap(), fs::read(kept.join("tree")).unwrap());
    }
}

/// What is in files is compared and mended when that is asked for, and only then.
#[test]
fn root_a_layer_of_which_a_container_is_made_stays_unless_forced() {
    let store = Store::new();
    fs::write(store.tree.path("create/ctr"), "{\"name\":\"upon\",\"image\":\"a\"}\n").unwrap();
    quietly(&store.dir().join("fs"), CONTENTS[0].0);
    let line = store.line(DIGEST, "bin/big has other content");
    let repair = |options: &[&str]| {
        let output = store.tree.ctrfs(&[&["check", "--repair"], options].concat());
        (text(&output), output.status.code().unwrap())
    };
    let sound = "ok: 2 containers, 0 pods, 2 images, 5 layers\n".to_owned();
    assert_eq!(repair(&["--force"]), (sound, 0), "contents are not looked at unasked");
    assert_eq!(repair(&["--contents"]), (format!("{line}: needs --force: container upon goes with it\n"), 1));
    let order = "exec 3<>control; echo '{\"verb\":\"repair\",\"contents\":true}' >&3; cat <&3";
    let said = text(&store.tree.sh(&["bash"], order));
    assert_eq!(said, format!("{line}: needs --force: container upon goes with it\n"));
    assert_eq!(store.found(true), format!("{line}\n"));
    let (said, status) = repair(&["--contents", "--force"]);
    assert!(said.starts_with(&format!("{line}: removed\n")), "{said}");
    assert!(said.ends_with("ok: 1 containers, 0 pods, 1 images, 3 layers\n") && status == 0, "{said}");
}

/// What containers do upon layers is no damage to them, whatever they hold and wherever they came from.
#[test]
fn root_layers_in_use_stay_as_they_were_recorded() {
    need("podman", "podman");
    let (tree, files) = (Mounted::new(), Scratch::new());
    torture(&files.path().join("tree"));
    podman_images(files.path());
    let stored = format!("containers-storage:{}", files.path().join("ps/bar:2").display());
    let plain = format!("dir:{}", files.path().join("tree").display());
    for (source, name) in [(&plain, "torture"), (&stored, "podmans")] {
        let output = tree.ctrfs(&["image", "import", "-q", source, name]);
        assert!(output.status.success(), "{}", text(&output));
        tree.echo(&format!("{{\"name\":\"on-{name}\",\"image\":\"{name}\"}}"), "create/ctr").unwrap();
        tree.echo("1", &format!("ctr/on-{name}/mounted")).unwrap();
    }
    let script = "
        cd ctr/on-torture/rootfs; echo more >> a/file; rm again; mv a/b moved; mkdir new; rm -r empty; chmod 700 tmp
        ln near nearer; setfattr -n user.text -v other owner; touch zero; mv fifo a; ls -lR >/dev/null; cat many >/dev/null
        cd ../../on-podmans/rootfs; rm -r var; mkdir var; echo more >> etc/two; ln bin/sh bin/sh2; mv etc other";
    let said = tree.sh(&["bash"], &format!("set -e; {script}"));
    assert!(said.status.success(), "{}", text(&said));
    let committed = tree.ctrfs(&["commit", "on-torture", "localhost/new"]);
    assert!(committed.status.success(), "{}", text(&committed));
    let layers = names_in(&tree.store.join("layers"));
    assert_eq!(layers.len(), 4);
    assert!(layers.iter().all(|id| tree.store.join("layers").join(id).join("tree").is_file()));
    let sound = "ok: 2 containers, 0 pods, 3 images, 6 layers\n";
    let check = || text(&tree.ctrfs(&["check", "--contents"]));
    assert_eq!((tree.read("check"), check()), (sound.to_owned(), sound.to_owned()), "while they are mounted");
    tree.echo("0", "ctr/on-torture/mounted").unwrap();
    tree.echo("0", "ctr/on-podmans/mounted").unwrap();
    assert_eq!((tree.read("check"), check()), (sound.to_owned(), sound.to_owned()));
    sh(files.path(), &[PODMAN, "podman rmi -af >/dev/null"].concat());
    assert_eq!(check(), sound, "podman's own are gone");

    // Of what podman had, what files hold was not read when it came in.
    let busybox = layers.iter().map(|id| tree.store.join("layers").join(id).join("fs/bin/busybox"));
    let busybox = busybox.into_iter().find(|path| path.exists()).unwrap();
    let modified = fs::metadata(&busybox).unwrap();
    File::options().write(true).open(&busybox).unwrap().write_all_at(b"x", 1000).unwrap();
    let time = TimeSpec::new(modified.mtime(), modified.mtime_nsec());
    utimensat(nix::fcntl::AT_FDCWD, &busybox, &time, &time, UtimensatFlags::NoFollowSymlink).unwrap();
    sh(busybox.parent().unwrap(), "chmod 4755 busybox");
    assert_eq!(check(), sound);
}

/// Reading for a check leaves no trace.
#[test]
fn root_access_times_stay() {
    let store = Store::new();
    let paths = "fs fs/bin fs/bin/big fs/bin/sparse fs/etc fs/etc/passwd fs/etc/two fs/fifo fs/null";
    sh(&store.dir(), &format!("touch -a -d @1 {paths}"));
    let times = || sh(&store.dir(), &format!("stat -c '%n %x %z' {paths}"));
    let before = times();
    assert!(store.found(true).starts_with("ok"));
    store.tree.unmount();
    assert!(said(&["check", "--contents", store.tree.store.to_str().unwrap()]).0.starts_with("ok"));
    assert_eq!(times(), before);
    store.tree.mount();
}

/// What others do not see, or see otherwise, is not damaged for that; and what they may not read they do not
/// call damaged.
#[test]
fn root_who_sees_less_sees_no_damage() {
    let store = Store::new();
    store.tree.unmount();
    let path = store.tree.store.to_str().unwrap();
    let said = |by: &[&str], options: &[&str]| {
        let arguments = [by, &[CTRFS, "check"], options, &[path]].concat();
        let output = Command::new(arguments[0]).args(&arguments[1..]).output().unwrap();
        (text(&output), output.status.code().unwrap())
    };
    let ok = || ("ok: 1 containers, 0 pods, 2 images, 4 layers\n".to_owned(), 0);
    let less = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
    let other = ["unshare", "--user", "--map-root-user"];
    assert_eq!((said(&less, &["--contents"]), said(&other, &[])), (ok(), ok()));
    let refused = "fs: bin/big: Permission denied";
    let (found, code) = said(&other, &["--contents"]);
    assert!(code != 0 && found.contains(refused), "{found}");
    store.tree.mount();
    assert_eq!(store.found(true), ok().0);
}

/// An importer's own record, which is none.
#[test]
fn a_record_that_never_was_one() {
    let tree = Mounted::new();
    let image = Image::new("own", &["a"]);
    let mut document = image.stage(&tree, "own", &["own"]);
    let file = staging_dir(&tree.store, "own").join(&image.layers()[0]).join("tree");
    fs::write(file, "no record").unwrap();
    document["layers"][0]["tree"] = json!(ctrfs::driver::hash::digest(b"no record").to_string());
    create(&tree, &document).unwrap();
    let line = format!("{MODIFIED} layer/{}: its record cannot be read", image.layers()[0]);
    assert_eq!(tree.read("check"), format!("{line}\n"));
    let spread = format!("image-layer-missing image/{}: a layer of it is damaged: removed", image.id());
    let end = "ok: 0 containers, 0 pods, 0 images, 0 layers";
    assert_eq!(text(&tree.ctrfs(&["check", "--repair"])), format!("{line}: removed\n{spread}\n{end}\n"));
}

#[test]
fn orders_do_not_wait_for_a_task() {
    let (tree, other) = (Mounted::new(), Mounted::new());
    Image::new("apart", &["a"]).import(&tree, &["apart"]);
    ["a", "b"].iter().for_each(|name| fs::create_dir(tree.path("pod").join(name)).unwrap());
    // A layer that is another tree, whose server does not answer.
    let layers = tree.store.join("layers");
    let layer = fs::read_dir(&layers).unwrap().next().unwrap().unwrap().path().join("fs");
    nix::mount::mount(Some(&other.at), &layer, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let connection = nix::sys::stat::minor(fs::metadata(&other.at).unwrap().dev());
    let server = Pid::from_raw(other.server() as i32);
    send(server, Signal::SIGSTOP).unwrap();
    let (done, ended) = mpsc::channel();
    thread::scope(|scope| {
        let task = scope.spawn(|| tree.ctrfs(&["check", "--contents"]));
        thread::sleep(Duration::from_millis(300));
        // Where fusectl is mounted, it can be known.
        let waiting = format!("/sys/fs/fuse/connections/{connection}/waiting");
        let waits = || fs::read_to_string(&waiting).map_or(true, |requests| requests.trim() != "0");
        wait_until("the task waits for it", waits);
        for name in ["a", "b"] {
            let (tree, done) = (&tree, done.clone());
            scope.spawn(move || done.send(text(&tree.ctrfs(&["rm", "--recursive", name]))));
        }
        let removed = [(); 2].map(|()| ended.recv_timeout(Duration::from_secs(5)));
        send(server, Signal::SIGCONT).unwrap();
        task.join().unwrap();
        assert!(removed.iter().all(|removed| removed.as_ref().is_ok_and(|said| said.is_empty())), "{removed:?}");
    });
    nix::mount::umount2(&layer, MntFlags::MNT_DETACH).unwrap();
}
