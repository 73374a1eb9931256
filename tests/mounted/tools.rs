//! What the tests of shells, documents, refusals and attributes share: shells, one look at a whole
//! object, and refusals with the line that each leaves.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ctrfs::driver::hash::{chain, digest};
use nix::errno::Errno;
use serde_json::{Value, json};

use crate::support::{Mounted, errno};

/// The shells that people drive the tree with.
pub(crate) const SHELLS: [&[&str]; 3] = [&["bash"], &["dash"], &["busybox", "sh"]];

/// Fails the test, naming the package, unless a program is there.
pub(crate) fn need(program: &str, package: &str) {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|dir| dir.join(program).exists())
    });
    assert!(found, "{program} is missing: install the Debian package {package}");
}

/// Fails the test unless all shells and jq are there.
pub(crate) fn need_shells() {
    for (program, package) in [("bash", "bash"), ("dash", "dash"), ("busybox", "busybox-static"), ("jq", "jq")] {
        need(program, package);
    }
}

/// Runs a script at the root of the tree, with variables.
pub(crate) fn shell(tree: &Mounted, shell: &[&str], variables: &[(&str, &str)], script: &str) -> Output {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg("-c").arg(script).current_dir(&tree.at).stdin(Stdio::null());
    command.envs(variables.iter().copied());
    command.output().unwrap_or_else(|error| panic!("{shell:?}: {error}"))
}

/// Everything below a directory of the tree: bytes or target, size, time of change and inode of each
/// entry. Two looks are equal when nothing changed.
pub(crate) fn whole(tree: &Mounted, below: &str) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    look(&tree.path(below), below, &mut seen);
    seen
}

fn look(path: &Path, name: &str, seen: &mut BTreeMap<String, String>) {
    let meta = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let content = if meta.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            look(&entry.path(), &format!("{name}/{}", entry.file_name().to_str().unwrap()), seen);
        }
        String::new()
    } else if meta.is_symlink() {
        fs::read_link(path).unwrap().to_str().unwrap().to_owned()
    } else {
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let stamp = format!("{} {}.{} {} ", meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size());
    seen.insert(name.to_owned(), stamp + &content);
}

/// All that a change of the store can show in, the objects themselves included.
pub(crate) fn store(tree: &Mounted) -> BTreeMap<String, String> {
    ["ctr", "pod", "name", "id", "image", "image-name", "layer", "table"]
        .iter()
        .flat_map(|dir| whole(tree, dir))
        .collect()
}

/// Opens for writing and truncates, as `>` does, or to append, as `>>` does.
pub(crate) fn open(tree: &Mounted, below: &str, append: bool) -> io::Result<File> {
    OpenOptions::new().write(true).append(append).truncate(!append).open(tree.path(below))
}

/// Writes in one write(2).
pub(crate) fn write(tree: &Mounted, below: &str, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    write_once(&mut open(tree, below, false)?, bytes.as_ref())
}

/// Merges in one write(2).
pub(crate) fn append(tree: &Mounted, below: &str, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    write_once(&mut open(tree, below, true)?, bytes.as_ref())
}

/// One write(2) that must take everything.
pub(crate) fn write_once(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let taken = file.write(bytes)?;
    assert_eq!(taken, bytes.len(), "a write takes all or nothing");
    Ok(())
}

/// Writes to an entry that answers, and reads the answer.
pub(crate) fn ask(tree: &Mounted, below: &str, bytes: impl AsRef<[u8]>) -> io::Result<String> {
    let mut file = OpenOptions::new().read(true).write(true).open(tree.path(below))?;
    write_once(&mut file, bytes.as_ref())?;
    let mut answer = String::new();
    file.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Makes a container, or several, through `create/ctr`; returns the IDs.
pub(crate) fn create(tree: &Mounted, documents: &str) -> Vec<String> {
    ask(tree, "create/ctr", documents).unwrap().lines().map(str::to_owned).collect()
}

/// Makes a pod by name; returns its ID.
pub(crate) fn make_pod(tree: &Mounted, name: &str) -> String {
    fs::create_dir(tree.path(&format!("pod/{name}"))).unwrap();
    fs::read_link(tree.path(&format!("pod/{name}"))).unwrap().to_str().unwrap().to_owned()
}

/// The image that [`make_image`] makes.
pub(crate) const IMAGE: &str = "localhost/small:latest";

/// The document for `create/image` of an image with two layers, each with a file of one byte, which it
/// puts into a staging directory as an importer does.
pub(crate) fn staged_image(tree: &Mounted) -> Value {
    let diff_ids = [digest(b"base"), digest(b"top")];
    let layers = [diff_ids[0], chain(Some(diff_ids[0]), diff_ids[1])];
    for (number, layer) in layers.into_iter().enumerate() {
        let top = tree.store.join("staging/small").join(layer.id().to_string()).join("fs");
        fs::create_dir_all(&top).unwrap();
        fs::write(top.join(format!("file{number}")), "x").unwrap();
    }
    let texts = diff_ids.map(|diff_id| diff_id.to_string());
    let rootfs = json!({"type": "layers", "diff_ids": texts});
    let created = "2026-01-02T03:04:05Z";
    let config = json!({"os": "linux", "created": created, "config": {"Cmd": ["true"]}, "rootfs": rootfs}).to_string();
    let manifest = json!({"schemaVersion": 2, "config": {"digest": digest(config.as_bytes()).to_string()}}).to_string();
    let layers = texts.map(|text| json!({"diff-id": text, "size": 1, "disk": 4096, "entries": 1}));
    json!({"staging": "small", "names": [IMAGE], "manifest": manifest, "config": config, "layers": layers})
}

/// Makes an image; returns its ID.
pub(crate) fn make_image(tree: &Mounted) -> String {
    let document = staged_image(tree);
    ask(tree, "create/image", document.to_string()).unwrap().trim_end().to_owned()
}

/// Makes an image and the container "imaged" of it; returns the IDs of both.
pub(crate) fn make_imaged(tree: &Mounted) -> [String; 2] {
    let image = make_image(tree);
    [image, create(tree, &format!(r#"{{"name":"imaged","image":"{IMAGE}"}}"#)).remove(0)]
}

/// An entry's JSON.
pub(crate) fn json(tree: &Mounted, below: &str) -> Value {
    serde_json::from_str(&tree.read(below)).unwrap()
}

/// The refusals as JSON, newest last.
pub(crate) fn refusals(tree: &Mounted) -> Vec<Value> {
    tree.read("refusals").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Makes a call that must be refused with this errno, change nothing, and leave one line in `refusals`
/// that says who did what and holds these words.
pub(crate) fn refused<T: Debug>(
    tree: &Mounted,
    op: &str,
    expected: Errno,
    words: &str,
    call: impl FnOnce() -> io::Result<T>,
) {
    let (before, count) = (store(tree), refusals(tree).len());
    assert_eq!(errno(call()), expected, "{op}: {words}");
    let lines = refusals(tree);
    let new = &lines[count..];
    assert_eq!(new.len(), 1, "{op} {expected} {words}: one line, not {new:?}");
    assert_line(&new[0], op, expected, words);
    assert_eq!(store(tree), before, "{op} {expected} {words} changed something");
}

/// Checks one line of `refusals` against what this thread did.
pub(crate) fn assert_line(line: &Value, op: &str, expected: Errno, words: &str) {
    let comm = fs::read_to_string("/proc/thread-self/comm").unwrap();
    assert_eq!(line["op"], op, "{line}");
    assert_eq!(line["errno"], format!("{expected:?}"), "{line}");
    assert_eq!(line["pid"], nix::unistd::gettid().as_raw(), "{line}");
    assert_eq!(line["uid"], nix::unistd::geteuid().as_raw(), "{line}");
    assert_eq!(line["comm"], comm.trim_end(), "{line}");
    assert!(line["reason"].as_str().unwrap().contains(words), "{words:?} is not in {line}");
    assert!(line["path"].as_str().is_some_and(|path| !path.is_empty()), "{line}");
    assert!(line["time"].as_str().unwrap().contains('T'), "{line}");
}
