//! Trees and layers as tar streams, and what an upper changed: with real overlays, GNU tar beside.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use ctrfs::driver::export::{
    CommitError, Marks, Names, Sources, Warning, changes, unpack_layer, write_layer, write_tree,
};
use ctrfs::driver::hash::digest;
use ctrfs::driver::usage::usage;

use crate::support::{Scratch, succeed, text};

const ROOT: Marks = Marks { userxattr: false };

fn run(command: &str, arguments: &[&OsStr]) -> String {
    text(&succeed(Command::new(command).args(arguments).env("LC_ALL", "C")))
}

/// Runs a script in a directory.
fn sh(dir: &Path, script: &str) -> String {
    text(&succeed(Command::new("sh").args(["-euc", script]).current_dir(dir).env("LC_ALL", "C")))
}

fn open_dir(dir: &Path) -> File {
    File::open(dir).unwrap()
}

fn tar_of(root: &Path) -> (Vec<u8>, Vec<Warning>) {
    let (mut bytes, mut warnings) = (Vec::new(), Vec::new());
    let dir = File::open(root).unwrap();
    write_tree(dir.as_fd(), Names::All, &mut bytes, &mut |warning| warnings.push(warning)).unwrap();
    (bytes, warnings)
}

/// Extracts with everything that GNU tar can restore.
fn extract(tar: &[u8], into: &Path) {
    let archive = into.with_extension("tar");
    fs::write(&archive, tar).unwrap();
    fs::create_dir(into).unwrap();
    let options = ["-x", "-p", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-f"].map(OsStr::new);
    run("tar", &[&options[..], &[archive.as_ref(), OsStr::new("-C"), into.as_ref()]].concat());
}

/// Layers that are mounted one upon the other, until it is dropped.
struct Stack {
    scratch: Scratch,
    mounted: Vec<PathBuf>,
}

impl Stack {
    /// Two lowers made by scripts, the base first.
    fn new(scripts: [&str; 2]) -> Stack {
        let stack = Stack { scratch: Scratch::new(), mounted: Vec::new() };
        for name in ["base", "second", "upper", "work", "merged", "lowers"] {
            fs::create_dir(stack.path(name)).unwrap();
        }
        sh(&stack.path("base"), scripts[0]);
        sh(&stack.path("second"), scripts[1]);
        sh(stack.scratch.path(), "touch -d 2020-01-01 base second upper");
        stack
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Runs a script in the merged tree, and shows the lowers alone at `lowers`.
    fn change(&mut self, script: &str) {
        self.mount("merged", "lowerdir=second:base,upperdir=upper,workdir=work,redirect_dir=off,metacopy=off");
        sh(&self.path("merged"), script);
        self.mount("lowers", "lowerdir=second:base");
    }

    fn mount(&mut self, at: &str, options: &str) {
        let at = self.path(at);
        let mut command = Command::new("mount");
        command.args(["-t", "overlay", "test", "-o", options]).arg(&at).current_dir(self.scratch.path());
        succeed(&mut command);
        self.mounted.push(at);
    }

    /// Shows other layers at `lowers`.
    fn remount_lowers(&mut self, layers: &str) {
        succeed(Command::new("umount").arg("-l").arg(self.mounted.pop().unwrap()));
        self.mount("lowers", &format!("lowerdir={layers}"));
    }

    fn changes(&self) -> Vec<String> {
        let (upper, lowers) = (File::open(self.path("upper")).unwrap(), File::open(self.path("lowers")).unwrap());
        let found = changes(upper.as_fd(), lowers.as_fd(), ROOT).unwrap();
        found.iter().map(|change| format!("{} {}", change.kind.letter(), change.path.display())).collect()
    }

    fn layer(&self) -> (Vec<u8>, Vec<Warning>) {
        let (upper, lowers) = (File::open(self.path("upper")).unwrap(), File::open(self.path("lowers")).unwrap());
        let (mut bytes, mut warnings) = (Vec::new(), Vec::new());
        let mut warn = |warning| warnings.push(warning);
        write_layer(upper.as_fd(), lowers.as_fd(), ROOT, &mut bytes, &mut warn).unwrap();
        (bytes, warnings)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        for at in self.mounted.iter().rev() {
            let _ = Command::new("umount").arg("-l").arg(at).output();
        }
    }
}

const BASE: &str = "
    mkdir -p etc keep/deep gone/sub opaque/sub attr xattr same kind dir file
    touch etc/passwd etc/removed keep/deep/file gone/sub/file opaque/one opaque/two opaque/sub/three
    touch attr/file xattr/file same/file kind/file dir/entry whiteout
    echo text > file/text; ln -s text file/link
    find . -exec touch -h -d 2020-01-01 {} +";
const SECOND: &str = "
    mkdir -p etc opaque; echo second > etc/second; touch opaque/four; mknod whiteout c 0 0
    find . -exec touch -h -d 2020-01-01 {} +";
const CHANGE: &str = "
    echo new > etc/new; rm etc/removed; echo x >> keep/deep/file
    rm -r gone
    rm -r opaque; mkdir opaque; touch opaque/one opaque/five; mkdir opaque/sub; touch opaque/sub/six
    chmod 700 attr; setfattr -n user.a -v b xattr
    chmod 600 same/file
    rm kind/file; mkdir kind/file; touch kind/file/inside
    rm -r dir; echo file > dir
    echo again > whiteout
    mkdir -p new/deep; ln file/text new/deep/linked; touch 'new/dee\np' new/deep-er
    touch temporary; rm temporary";

#[test]
fn root_the_changes_of_an_upper_are_told() {
    let mut stack = Stack::new([BASE, SECOND]);
    stack.change(CHANGE);
    let expected = [
        "C /attr",
        "C /dir",
        "C /etc",
        "A /etc/new",
        "D /etc/removed",
        // Copied up to become a hardlink: what it was before cannot be told from what it is.
        "C /file/text",
        "D /gone",
        "C /keep/deep/file",
        "C /kind",
        "C /kind/file",
        "A /kind/file/inside",
        "A /new",
        "A /new/dee\np",
        "A /new/deep",
        "A /new/deep/linked",
        "A /new/deep-er",
        "C /opaque",
        "A /opaque/five",
        "D /opaque/four",
        "C /opaque/one",
        "C /opaque/sub",
        "A /opaque/sub/six",
        "D /opaque/sub/three",
        "D /opaque/two",
        "C /same/file",
        "A /whiteout",
        "C /xattr",
    ];
    assert_eq!(stack.changes(), expected);
}

#[test]
fn root_a_directory_whose_times_were_put_back_is_told_by_its_entries() {
    let mut stack = Stack::new(["mkdir d; touch d/a; touch -d 2020-01-01 d", ""]);
    stack.change("touch d/b; rm d/a; touch -d 2020-01-01 d");
    assert_eq!(stack.changes(), ["C /d", "D /d/a", "A /d/b"]);
}

#[test]
fn root_nothing_changed_is_nothing_told() {
    let mut stack = Stack::new([BASE, SECOND]);
    stack.change("cat etc/passwd; touch x; rm x");
    assert!(stack.changes().is_empty(), "{:?}", stack.changes());
}

/// Puts a layer upon a copy of the lowers, as the image spec says: removals first.
fn apply(layer: &[u8], lowers: &Path, onto: &Path) {
    run("cp", &[OsStr::new("-a"), lowers.as_ref(), onto.as_ref()]);
    let archive = onto.with_extension("layer");
    fs::write(&archive, layer).unwrap();
    let listed = run("tar", &[OsStr::new("-t"), OsStr::new("-f"), archive.as_ref()]);
    let remove = |path: &Path| drop(run("rm", &[OsStr::new("-rf"), path.as_ref()]));
    for line in listed.lines() {
        let path = onto.join(line);
        let name = path.file_name().unwrap().to_str().unwrap();
        let dir = path.parent().unwrap();
        match name.strip_prefix(".wh.") {
            Some(".wh..opq") => drop(sh(dir, "find . -mindepth 1 -delete")),
            Some(removed) => remove(&dir.join(removed)),
            None if line.ends_with('/') == path.is_dir() => {}
            None => remove(&onto.join(line.trim_end_matches('/'))),
        }
    }
    let words = ["-x", "-p", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--exclude=.wh.*", "-f"];
    run("tar", &[&words.map(OsStr::new)[..], &[archive.as_ref(), OsStr::new("-C"), onto.as_ref()]].concat());
}

#[test]
fn root_a_layer_upon_its_lowers_is_the_merged_tree() {
    let mut stack = Stack::new([BASE, SECOND]);
    stack.change(CHANGE);
    let (layer, warnings) = stack.layer();
    assert_eq!(warnings, []);
    assert_eq!(layer, stack.layer().0, "the same bytes again");
    let applied = stack.path("applied");
    apply(&layer, &stack.path("lowers"), &applied);
    let listed = |tar: &[u8]| {
        fs::write(stack.path("x.tar"), tar).unwrap();
        sh(stack.scratch.path(), "tar --full-time -tvf x.tar")
    };
    let (merged, applied) = (tar_of(&stack.path("merged")).0, tar_of(&applied).0);
    assert_eq!(listed(&applied), listed(&merged));
    assert_eq!(applied, merged);
}

#[test]
fn root_a_committed_layer_upon_its_lowers_is_the_merged_tree() {
    let mut stack = Stack::new([BASE, SECOND]);
    stack.change(&format!(
        "{CHANGE}; touch -d '1969-12-31 23:59:59.5Z' etc/new; cp /bin/true new; setcap cap_chown+ep new/true"
    ));
    let committed = stack.path("committed");
    fs::create_dir(&committed).unwrap();
    let open = |name: &str| File::open(stack.path(name)).unwrap();
    let (upper, lowers) = (open("upper"), open("lowers"));
    let sources = Sources {
        upper: upper.as_fd(),
        lowers: lowers.as_fd(),
        parents: &[open("second").into(), open("base").into()],
        marks: ROOT,
        devices: true,
    };
    let made = unpack_layer(&sources, &committed, &|| false, &mut |warning| panic!("{warning}")).unwrap().0;
    let (layer, _) = stack.layer();
    assert_eq!((made.diff_id, made.blob_size), (digest(&layer), layer.len() as u64));
    let (merged, _) = tar_of(&stack.path("merged"));
    stack.remount_lowers("committed:second:base");
    assert!(tar_of(&stack.path("lowers")).0 == merged, "the new image has other files");
    assert_eq!(usage(open_dir(&committed).as_fd()).unwrap().bytes, made.size);
}

#[test]
fn root_a_commit_that_is_called_off_ends() {
    let mut stack = Stack::new([BASE, SECOND]);
    stack.change("head -c 40M /dev/urandom > big");
    let committed = stack.path("committed");
    fs::create_dir(&committed).unwrap();
    let (upper, lowers) = (open_dir(&stack.path("upper")), open_dir(&stack.path("lowers")));
    let sources = Sources { upper: upper.as_fd(), lowers: lowers.as_fd(), parents: &[], marks: ROOT, devices: true };
    let asked = AtomicU32::new(0);
    let is_cancelled = || asked.fetch_add(1, Ordering::Relaxed) > 2;
    let failed = unpack_layer(&sources, &committed, &is_cancelled, &mut |_| ()).unwrap_err();
    assert!(matches!(failed, CommitError::Cancelled), "{failed}");
}

#[test]
fn root_removals_that_remove_nothing_are_left_out() {
    let mut stack = Stack::new([BASE, SECOND]);
    stack.change("mkdir -p new");
    sh(
        &stack.path("upper"),
        "mknod stale c 0 0; mknod new/stale c 0 0; setfattr -n trusted.overlay.opaque -v y new; touch .wh.odd",
    );
    let (layer, warnings) = stack.layer();
    assert_eq!(warnings, [Warning::Reserved(".wh.odd".into())]);
    fs::write(stack.path("x.tar"), layer).unwrap();
    assert_eq!(sh(stack.scratch.path(), "tar -tf x.tar"), "./\nnew/\n");
    assert_eq!(stack.changes(), ["A /.wh.odd", "A /new"]);
}

/// One of everything.
pub(crate) fn torture(root: &Path) {
    fs::create_dir(root).unwrap();
    sh(
        root,
        "
        mkdir -m 1777 tmp; mkdir -m 0 closed; mkdir -p a/b/c empty
        printf 'data\n' > a/file; chmod 4755 a/file; chown 12:34 a/file
        ln a/file a/b/again; ln a/file again; ln -s nowhere a/link; ln a/link a/link2
        mkfifo fifo; mknod char c 1 3; mknod block b 259 70000
        echo big > owner; chown 3000000:4294967294 owner
        setfattr -n user.text -v value a/file; setfattr -n user.empty owner
        setfattr -n user.binary -v 0x000a3d00ff a/file; setfattr -n user.dir -v y a/b
        setfattr -h -n trusted.own -v t a/link; setfattr -n trusted.overlay.opaque -v y a/b
        cp /bin/true capable; setcap cap_net_raw+ep capable
        : > zero
        touch -d '1960-02-03 04:05:06.789' before; touch -d '2400-01-01' after; touch -d '1969-12-31 23:59:59.5Z' nearly
        truncate -s 1M hole; truncate -s 3M holes; truncate -s 9G huge",
    );
    let holes = File::options().write(true).open(root.join("holes")).unwrap();
    holes.write_all_at(&[7; 100], 8192).unwrap();
    holes.write_all_at(&[8; 5000], (3 << 20) - 5000).unwrap();
    File::options().write(true).open(root.join("huge")).unwrap().write_all_at(b"end", (9 << 30) - 3).unwrap();
    let many = File::create(root.join("many")).unwrap();
    (0..2000).for_each(|at| many.write_all_at(b"x", at * 16384).unwrap());
    for name in [b"new\nline".as_slice(), b"\xff\xfe", b" blank ", b"-x", b"back\\slash", "ä".as_bytes()] {
        fs::write(root.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let mut long = root.to_owned();
    for at in 0..12 {
        long.push(format!("{at}{}", "n".repeat(200)));
    }
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("f".repeat(255)), "long").unwrap();
    for length in [99, 100, 101] {
        fs::write(root.join("e".repeat(length)), "exact").unwrap();
        symlink("t".repeat(length), root.join(format!("to{length}"))).unwrap();
    }
    symlink("x".repeat(4095), root.join("far")).unwrap();
    fs::hard_link(long.join("f".repeat(255)), root.join("near")).unwrap();
}

#[test]
fn root_gnu_tar_takes_out_what_was_put_in() {
    let scratch = Scratch::new();
    let (root, copy) = (scratch.path().join("tree"), scratch.path().join("copy"));
    torture(&root);
    let (tar, warnings) = tar_of(&root);
    assert_eq!(warnings, []);
    assert!(tar.len() < 40 << 20, "holes are written as zeros: {} bytes", tar.len());
    extract(&tar, &copy);

    // tar itself compares content, types, owners and times; nine gigabytes of hole take it too long.
    let archive = copy.with_extension("tar");
    let compared = [
        OsStr::new("-d"),
        OsStr::new("--exclude=huge"),
        OsStr::new("-f"),
        archive.as_ref(),
        OsStr::new("-C"),
        root.as_ref(),
    ];
    assert_eq!(run("tar", &compared), "");
    assert_eq!(
        sh(&copy, "getcap capable; getfattr -h --only-values -n user.binary a/file | od -An -tx1"),
        "capable cap_net_raw=ep\n 00 0a 3d 00 ff\n"
    );
    assert_eq!(sh(&copy, "getfattr -h -m - -d a/b"), "# file: a/b\nuser.dir=\"y\"\n\n");
    let links = ["a/file", "a/b/again", "again"].map(|name| fs::metadata(copy.join(name)).unwrap().ino());
    assert!(links.iter().all(|ino| *ino == links[0]));
    assert!(fs::metadata(copy.join("huge")).unwrap().blocks() < 100, "holes stay holes");
    sh(scratch.path(), "cmp tree/holes copy/holes && cmp tree/many copy/many");

    let (again, _) = tar_of(&copy);
    assert!(again == tar, "a copy has other bytes");
    assert_eq!(fs::read_link(copy.join("far")).unwrap().as_os_str().len(), 4095);
    let count = |root: &Path| usage(File::open(root).unwrap().as_fd()).unwrap();
    assert_eq!(count(&copy).bytes, count(&root).bytes);
    assert_eq!(count(&copy).entries, tar_entries(&archive) - 1);
}

fn tar_entries(archive: &Path) -> u64 {
    let listed = run("tar", &[OsStr::new("-t"), OsStr::new("-f"), archive.as_ref()]);
    listed.lines().count() as u64
}

#[test]
fn sockets_and_odd_xattrs_are_told() {
    let scratch = Scratch::new();
    let root = scratch.path().join("tree");
    fs::create_dir(&root).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    fs::write(root.join("file"), "").unwrap();
    sh(&root, "setfattr -n user.a=b -v c file; mkdir on; echo below > on/file; touch over");
    sh(&root, "mount -t tmpfs test on; touch on/above; mount --bind file over");
    let (tar, warnings) = tar_of(&root);
    let counted = usage(File::open(&root).unwrap().as_fd()).unwrap();
    sh(&root, "umount on; umount over");
    let expected = [
        Warning::Xattr("file".into(), "user.a=b".into()),
        Warning::Mount("on".into()),
        Warning::Mount("over".into()),
        Warning::Socket("socket".into()),
    ];
    assert_eq!(warnings, expected);
    fs::write(scratch.path().join("x.tar"), tar).unwrap();
    assert_eq!(sh(scratch.path(), "tar -tf x.tar"), "./\nfile\non/\n");
    assert_eq!(counted.entries, 4);
}

/// Does something to the tree at the first bytes that come out.
struct Meddler<F: FnMut()> {
    bytes: Vec<u8>,
    meddle: Option<F>,
}

impl<F: FnMut()> Write for Meddler<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(mut meddle) = self.meddle.take() {
            meddle();
        }
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn files_that_change_meanwhile_leave_the_archive_whole() {
    let scratch = Scratch::new();
    let root = scratch.path().join("tree");
    sh(
        scratch.path(),
        "mkdir -p tree/z/deep; head -c 8M /dev/zero > tree/a; head -c 8M /dev/zero > tree/b; touch tree/c tree/z/deep/f",
    );
    let length = |name: &str, size| File::options().write(true).open(root.join(name)).unwrap().set_len(size).unwrap();
    let meddle = || {
        length("a", 3 << 20);
        length("b", 9 << 20);
        fs::remove_file(root.join("c")).unwrap();
        fs::remove_dir_all(root.join("z")).unwrap();
    };
    let (mut out, mut warnings) = (Meddler { bytes: Vec::new(), meddle: Some(meddle) }, Vec::new());
    let dir = File::open(&root).unwrap();
    write_tree(dir.as_fd(), Names::All, &mut out, &mut |warning| warnings.push(warning)).unwrap();
    assert_eq!(warnings, [Warning::Shrank("a".into())]);
    fs::write(scratch.path().join("x.tar"), out.bytes).unwrap();
    let listed = sh(scratch.path(), "tar -tvf x.tar | awk '{print $3, $6}'");
    assert_eq!(listed, format!("0 ./\n{} a\n{} b\n", 8 << 20, 9 << 20));
}

#[test]
fn what_cannot_be_written_is_said() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("file"), vec![1; 4 << 20]).unwrap();
    let mut full = File::options().write(true).open("/dev/full").unwrap();
    let root = File::open(scratch.path()).unwrap();
    let error = write_tree(root.as_fd(), Names::All, &mut full, &mut |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "the archive cannot be written: No space left on device");
}
