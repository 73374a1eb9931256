//! `kill -9` of the server, again and again, under everything that people do at the same time.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use serde_json::Value;

use crate::load::{Load, kill_at_random, kills, mounts_at};
use crate::support::{Mounted, Random, errno, seed, wait_until};

/// Containers that nobody changes.
const STILL: usize = 500;
/// More than one request of 128 KiB.
const PAD: usize = 300 << 10;

/// A number that was acknowledged last, and the one that was written last.
#[derive(Default)]
struct Counter {
    written: AtomicU64,
    acknowledged: AtomicU64,
}

impl Counter {
    fn write(&self, write: impl FnOnce(u64)) {
        let next = self.written.fetch_add(1, Ordering::SeqCst) + 1;
        write(next);
        self.acknowledged.store(next, Ordering::SeqCst);
    }

    /// What a read that begins now gives is at least what was acknowledged.
    fn read(&self, read: impl FnOnce() -> Option<u64>) {
        let least = self.acknowledged.load(Ordering::SeqCst);
        let Some(found) = read() else { return };
        let most = self.written.load(Ordering::SeqCst);
        assert!((least..=most).contains(&found), "read {found}, acknowledged {least}, written {most}");
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Reads to the end of the file, a piece at a time; `None` when somebody changed it meanwhile, which a
/// reader whose server died is told.
fn read_in_pieces(path: &Path, piece: usize) -> Option<Vec<u8>> {
    let mut file = File::open(path).unwrap_or_else(|error| panic!("open {path:?}: {error}"));
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; piece]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Some(bytes),
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if error.raw_os_error() == Some(Errno::ESTALE as i32) && !bytes.is_empty() => return None,
            Err(error) => panic!("read {path:?} at {}: {error}", bytes.len()),
        }
    }
}

/// Writes like `dd bs=1`.
fn write_bytewise(path: &Path, text: &str) {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    for byte in text.bytes() {
        assert_eq!(file.write(&[byte]).unwrap(), 1);
    }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Writes a document to `create/ctr` and reads the ID from the same handle, as `exec 3<>` does.
fn create(root: &Path, document: &str) -> String {
    let mut file = OpenOptions::new().read(true).write(true).open(root.join("create/ctr")).unwrap();
    file.write_all(document.as_bytes()).unwrap();
    let mut id = String::new();
    file.read_to_string(&mut id).unwrap();
    assert_eq!(id.len(), 65, "an ID and a newline: {id:?}");
    id.trim_end().to_owned()
}

fn readers_of_what_is_still(load: &mut Load, tree: &Mounted) {
    let big = tree.path("ctr/big/config");
    let whole = fs::read(&big).unwrap();
    for piece in [777, 4 << 10, 128 << 10, 1 << 20] {
        let (big, whole) = (big.clone(), whole.clone());
        load.spawn(&format!("reader of {piece} bytes"), move |_| {
            let bytes = read_in_pieces(&big, piece).expect("nobody changes it");
            assert!(bytes == whole, "{} bytes of {}", bytes.len(), whole.len());
        });
    }
    let names: HashSet<String> = (0..STILL).map(|n| format!("still-{n}")).collect();
    let (dir, still) = (tree.path("name"), names.clone());
    load.spawn("lister", move |_| {
        let found = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let found: Vec<String> = found.filter(|name| name.starts_with("still-")).collect();
        assert_eq!(found.len(), STILL, "each once");
        assert_eq!(found.into_iter().collect::<HashSet<_>>(), still);
    });
    let (root, ids) = (tree.at.clone(), names.iter().map(|name| (name.clone(), tree.id(name))));
    let ids: Vec<(String, String)> = ids.collect();
    load.spawn("walker", move |round| {
        let (name, id) = &ids[round as usize % STILL];
        let target = fs::read_link(root.join("name").join(name)).unwrap();
        assert_eq!(target, PathBuf::from(format!("../ctr/{id}")));
        let state = root.join("name").join(name).join("state");
        let size = fs::metadata(&state).unwrap().size();
        assert_eq!(size, fs::read(&state).unwrap().len() as u64);
    });
}

fn value_writers(load: &mut Load, tree: &Mounted) -> Arc<Counter> {
    let (path, counter) = (tree.path("ctr/counter/exit-code"), Arc::new(Counter::default()));
    let (to, count) = (path.clone(), Arc::clone(&counter));
    load.spawn("value writer", move |_| {
        count.write(|n| fs::write(&to, format!("{n}\n")).unwrap());
        // One writer: what it wrote is what there is, in the attributes too.
        let text = fs::read_to_string(&to).unwrap();
        assert_eq!(text, format!("{}\n", count.acknowledged.load(Ordering::SeqCst)));
        assert_eq!(fs::metadata(&to).unwrap().size(), text.len() as u64);
    });
    let count = Arc::clone(&counter);
    load.spawn("value reader", move |_| {
        count.read(|| Some(fs::read_to_string(&path).unwrap().trim_end().parse().unwrap_or(0)));
    });

    let path = tree.path("ctr/bytewise/status");
    let from = path.clone();
    load.spawn("value writer by bytes", move |round| {
        let word = ["running\n", "paused\n", "exited\n", "created\n"][round as usize % 4];
        write_bytewise(&path, word);
        assert_eq!(fs::read_to_string(&path).unwrap(), word);
    });
    load.spawn("reader of a value by bytes", move |_| {
        let word = fs::read_to_string(&from).unwrap();
        assert!(["running\n", "paused\n", "exited\n", "created\n", "configured\n"].contains(&&*word), "{word:?}");
    });
    counter
}

fn document_writers(load: &mut Load, tree: &Mounted) -> Arc<Counter> {
    let (path, counter) = (tree.path("ctr/pages/config"), Arc::new(Counter::default()));
    let document = |n: u64| format!(r#"{{"labels": {{"n": "{n}", "pad": "{}", "end": "{n}"}}}}"#, "x".repeat(PAD));
    counter.write(|n| fs::write(&path, document(n)).unwrap());
    let (to, count) = (path.clone(), Arc::clone(&counter));
    load.spawn("document writer", move |_| count.write(|n| fs::write(&to, document(n)).unwrap()));
    for piece in [4 << 10, 1 << 20] {
        let (from, count) = (path.clone(), Arc::clone(&counter));
        load.spawn(&format!("document reader of {piece} bytes"), move |_| {
            count.read(|| {
                let value: Value = serde_json::from_slice(&read_in_pieces(&from, piece)?).expect("a whole document");
                assert_eq!(value["labels"]["n"], value["labels"]["end"]);
                value["labels"]["n"].as_str().unwrap().parse().ok()
            });
        });
    }

    let path = tree.path("ctr/bytewise/config");
    load.spawn("document writer by bytes", move |round| {
        write_bytewise(&path, &format!(r#"{{"labels":{{"a":"{round}","b":"{round}"}}}}"#));
        let labels = &json(&path)["labels"];
        assert_eq!((&labels["a"], &labels["b"]), (&Value::from(round.to_string()), &Value::from(round.to_string())));
    });
    counter
}

fn makers(load: &mut Load, tree: &Mounted) -> Arc<AtomicU64> {
    let root = tree.at.clone();
    load.spawn("maker by mkdir", move |round| {
        let (one, other) = (format!("made-{round}"), format!("moved-{round}"));
        fs::create_dir(root.join("ctr").join(&one)).unwrap_or_else(|error| panic!("mkdir {one}: {error}"));
        let id = fs::read_link(root.join("ctr").join(&one)).unwrap();
        fs::rename(root.join("name").join(&one), root.join("name").join(&other))
            .unwrap_or_else(|error| panic!("mv {one} {other}: {error}"));
        assert_eq!(errno(fs::symlink_metadata(root.join("name").join(&one))), Errno::ENOENT);
        fs::remove_dir(root.join("ctr").join(&id)).unwrap_or_else(|error| panic!("rmdir {other}: {error}"));
        assert_eq!(errno(fs::symlink_metadata(root.join("ctr").join(&id))), Errno::ENOENT);
    });
    let (root, made) = (tree.at.clone(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&made);
    load.spawn("maker by create", move |round| {
        // Without a name, one made twice would show as one too many.
        let id = create(&root, &format!(r#"{{"labels":{{"maker":"{round}"}}}}"#));
        assert_eq!(json(&root.join("ctr").join(&id).join("config"))["labels"]["maker"], round.to_string());
        count.fetch_add(1, Ordering::SeqCst);
    });
    made
}

#[test]
fn nobody_notices_that_servers_are_killed() {
    let tree = Mounted::new();
    let mut random = Random(seed());
    let documents: String = (0..STILL).map(|n| format!("{{\"name\":\"still-{n}\"}}\n")).collect();
    fs::write(tree.path("create/ctr"), documents).unwrap();
    for name in ["big", "counter", "bytewise", "pages", "merged"] {
        tree.make(name);
    }
    fs::write(tree.path("ctr/big/config"), format!(r#"{{"labels":{{"pad":"{}"}}}}"#, "y".repeat(2 * PAD))).unwrap();
    let mount = mounts_at(&tree.at);

    let mut load = Load::new();
    readers_of_what_is_still(&mut load, &tree);
    let value = value_writers(&mut load, &tree);
    let document = document_writers(&mut load, &tree);
    let made = makers(&mut load, &tree);
    let merged = tree.path("ctr/merged/config");
    load.spawn("merger", move |round| append(&merged, &format!("{{\"labels\":{{\"k{round}\":\"{round}\"}}}}\n")));
    for round in 0..kills(100) {
        kill_at_random(&tree, &mut random, round);
        load.must_go_on(&tree);
    }
    let counts = load.end();
    println!("{counts:?}");

    value.read(|| tree.read("ctr/counter/exit-code").trim_end().parse().ok());
    document.read(|| json(&tree.path("ctr/pages/config"))["labels"]["n"].as_str().unwrap().parse().ok());
    let merges = counts.iter().find(|(name, _)| name == "merger").unwrap().1;
    let labels = json(&tree.path("ctr/merged/config"))["labels"].clone();
    let keys: Vec<String> = (0..merges).map(|round| format!("k{round}")).collect();
    let found: Vec<&String> = labels.as_object().unwrap().keys().collect();
    assert_eq!(found, keys.iter().collect::<Vec<_>>(), "none lost, none more, in order");
    let all = fs::read_dir(tree.path("ctr")).unwrap().count() as u64;
    assert_eq!(all, STILL as u64 + 5 + made.load(Ordering::SeqCst), "none made twice");
    assert_eq!(mounts_at(&tree.at), mount, "the mount is the same");
}

#[test]
fn an_id_can_be_read_after_the_server_that_made_it() {
    let tree = Mounted::new();
    let mut file = OpenOptions::new().read(true).write(true).open(tree.path("create/ctr")).unwrap();
    file.write_all(b"{\"name\":\"one\"} {\"name\":\"two\"}").unwrap();
    tree.kill_server();
    let mut first = [0; 65];
    file.read_exact(&mut first).unwrap();
    assert_eq!(String::from_utf8_lossy(&first), tree.id("one") + "\n");
    tree.kill_server();
    let mut rest = String::new();
    file.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, tree.id("two") + "\n");
    tree.kill_server();
    file.write_all(b"{\"name\":\"three\"}").unwrap();
    file.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, tree.id("two") + "\n" + &tree.id("three") + "\n");
}

#[test]
fn a_half_written_document_is_completed_at_the_next_server() {
    let tree = Mounted::new();
    tree.make("web");
    let before = tree.read("ctr/web/config");
    let mut file = OpenOptions::new().write(true).truncate(true).open(tree.path("ctr/web/config")).unwrap();
    for piece in [r#"{"labels":{"#, r#""a":"{"#, r#"\""}}"#] {
        assert_eq!(tree.read("ctr/web/config"), before);
        file.write_all(piece.as_bytes()).unwrap();
        tree.kill_server();
    }
    assert_eq!(json(&tree.path("ctr/web/config"))["labels"]["a"], "{\"");

    let mut status = OpenOptions::new().write(true).open(tree.path("ctr/web/status")).unwrap();
    status.write_all(b"run").unwrap();
    tree.kill_server();
    assert_eq!(tree.read("ctr/web/status"), "configured\n");
    status.write_all(b"ning\n").unwrap();
    assert_eq!(tree.read("ctr/web/status"), "running\n");
}

#[test]
fn a_reader_in_the_middle_goes_on_or_is_told_of_a_change() {
    let tree = Mounted::new();
    tree.make("web");
    fs::write(tree.path("ctr/web/config"), format!(r#"{{"labels":{{"pad":"{}"}}}}"#, "x".repeat(PAD))).unwrap();
    let whole = fs::read(tree.path("ctr/web/config")).unwrap();
    let file = File::open(tree.path("ctr/web/config")).unwrap();
    let mut bytes = vec![0; whole.len()];
    let (start, end) = bytes.split_at_mut(1000);
    file.read_exact_at(start, 0).unwrap();
    tree.kill_server();
    file.read_exact_at(end, 1000).unwrap();
    assert!(bytes == whole);
    let other = File::open(tree.path("ctr/web/config")).unwrap();
    other.read_exact_at(&mut bytes[..1000], 0).unwrap();
    append(&tree.path("ctr/web/config"), r#"{"labels":{"more":""}}"#);
    tree.kill_server();
    assert_eq!(errno(other.read_at(&mut bytes, 1000)), Errno::ESTALE);
}

#[test]
fn a_handle_that_has_read_is_refused_after_a_change_across_servers() {
    let tree = Mounted::new();
    tree.make("web");
    let path = tree.path("ctr/web/config");
    let open = || OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let (mut one, mut other) = (open(), open());
    for file in [&mut one, &mut other] {
        file.read_to_end(&mut Vec::new()).unwrap();
    }
    tree.kill_server();
    one.write_all(b"{\"labels\":{\"by\":\"one\"}}").unwrap();
    assert_eq!(errno(other.write_all(b"{\"labels\":{\"by\":\"other\"}}")), Errno::ESTALE);
    assert_eq!(json(&path)["labels"]["by"], "one");
}

#[test]
fn a_handle_that_has_read_nothing_is_refused_after_a_change_across_servers() {
    let tree = Mounted::new();
    tree.make("web");
    let path = tree.path("ctr/web/metadata");
    let mut held = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    assert_eq!(held.read(&mut [0; 1]).unwrap(), 0);
    fs::write(&path, "by another").unwrap();
    tree.kill_server();
    assert_eq!(errno(held.write_all(b"mine")), Errno::ESTALE);
    assert_eq!(tree.read("ctr/web/metadata"), "by another");
}

#[test]
fn a_listing_goes_on_at_the_next_server() {
    let tree = Mounted::new();
    let documents: String = (0..STILL).map(|n| format!("{{\"name\":\"still-{n}\"}}\n")).collect();
    fs::write(tree.path("create/ctr"), documents).unwrap();
    let mut entries = fs::read_dir(tree.path("name")).unwrap();
    let mut found: HashSet<String> = HashSet::new();
    let mut next = |found: &mut HashSet<String>| {
        let entry = entries.next()?.unwrap();
        assert!(found.insert(entry.file_name().into_string().unwrap()), "listed twice");
        Some(())
    };
    next(&mut found).unwrap();
    tree.kill_server();
    while next(&mut found).is_some() {}
    assert_eq!(found.len(), STILL);
}

#[test]
fn a_process_that_waits_for_a_dead_server_can_still_be_ended() {
    let tree = Mounted::new();
    tree.make("web");
    let server = nix::unistd::Pid::from_raw(tree.server() as i32);
    nix::sys::signal::kill(server, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let path = tree.path("ctr/web/config");
    let mut waits = std::process::Command::new("cat").arg(&path).stdout(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    waits.kill().unwrap();
    nix::sys::signal::kill(server, nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_until("the reader ends", || waits.try_wait().is_ok_and(|status| status.is_some()));
    assert_eq!(fs::read(&path).unwrap(), fs::read(&path).unwrap());
}
