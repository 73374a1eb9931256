//! Random operations on items, while servers die: at every close, and at the end, the items are those of
//! a model.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{SetAtEnd, contents, digests_hold, with_container};
use crate::support::{Random, seed, wait_until};

const KEYS: usize = 6;
const STEPS: usize = 250;

/// What should be: items by key, each with a number of its own, and open files with what they wrote.
#[derive(Default)]
struct Model {
    keys: BTreeMap<String, usize>,
    contents: BTreeMap<usize, Vec<u8>>,
    next: usize,
    open: Vec<Open>,
}

struct Open {
    file: File,
    item: usize,
    append: bool,
    draft: Option<Vec<u8>>,
}

impl Model {
    /// The item of a key, made if it is absent.
    fn item(&mut self, key: &str) -> usize {
        let Model { keys, contents, next, .. } = self;
        *keys.entry(key.to_owned()).or_insert_with(|| {
            *next += 1;
            contents.insert(*next, vec![]);
            *next
        })
    }

    fn open(&mut self, dir: &std::path::Path, key: &str, append: bool, cut: bool) {
        let mut options = OpenOptions::new();
        let flags = if cut { nix::fcntl::OFlag::O_TRUNC.bits() } else { 0 };
        options.read(true).write(true).append(append).create(true).custom_flags(flags);
        let file = options.open(dir.join(key)).unwrap();
        let item = self.item(key);
        self.open.push(Open { file, item, append, draft: cut.then(Vec::new) });
        if cut {
            // What is cut off and not written is in effect with the last descriptor that the process has.
            self.write(self.open.len() - 1, 0, b"begun");
        }
    }

    /// Writes to an open file and reads all of it back.
    fn write(&mut self, which: usize, at: usize, bytes: &[u8]) {
        let Open { file, item, append, draft } = &mut self.open[which];
        // What an item held that is gone is lost with its server.
        if bytes.is_empty() || draft.is_none() && !self.contents.contains_key(item) {
            return;
        }
        let draft = draft.get_or_insert_with(|| self.contents.get(item).cloned().unwrap_or_default());
        let at = if *append { draft.len() } else { at };
        match *append {
            true => file.write_all(bytes).unwrap(),
            false => file.write_all_at(bytes, at as u64).unwrap(),
        }
        draft.resize(draft.len().max(at + bytes.len()), 0);
        draft[at..at + bytes.len()].copy_from_slice(bytes);
        let mut read = vec![0; draft.len() + 1];
        let mut got = 0;
        while let n @ 1.. = file.read_at(&mut read[got..], got as u64).unwrap() {
            got += n;
        }
        assert!(read[..got] == draft[..], "who writes reads his own");
    }

    fn set_len(&mut self, which: usize, size: usize) {
        let Open { file, item, draft, .. } = &mut self.open[which];
        if draft.is_none() && !self.contents.contains_key(item) {
            return;
        }
        file.set_len(size as u64).unwrap();
        draft.get_or_insert_with(|| self.contents.get(item).cloned().unwrap_or_default()).resize(size, 0);
    }

    fn close(&mut self, which: usize) {
        let Open { item, draft, .. } = self.open.swap_remove(which);
        if let (Some(draft), Some(content)) = (draft, self.contents.get_mut(&item)) {
            *content = draft;
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(item) = self.keys.remove(key) {
            self.contents.remove(&item);
        }
    }

    fn expected(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.keys.iter().map(|(key, item)| (key.into(), self.contents[item].clone())).collect()
    }
}

#[test]
fn any_sequence_of_writes_leaves_files_and_digests_in_step() {
    let (tree, data) = with_container();
    let (dir, seed) = (tree.path(&data), seed());
    let (mut random, mut killing) = (Random(seed), Random(!seed));
    let (mut model, done) = (Model::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let _done = SetAtEnd(&done);
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(killing.next() % 300));
                tree.kill_server();
            }
        });
        for step in 0..STEPS {
            let (key, other) = (format!("k{}", random.below(KEYS)), format!("k{}", random.below(KEYS)));
            let path = dir.join(&key);
            let bytes: Vec<u8> = (0..random.below(9000)).map(|_| random.next() as u8).collect();
            let (at, which) = (random.below(12_000), random.below(model.open.len().max(1)));
            match random.below(12) {
                0..=2 if model.open.len() < 4 => model.open(&dir, &key, random.below(2) == 0, random.below(3) == 0),
                3..=5 if !model.open.is_empty() => model.write(which, at, &bytes),
                6 if !model.open.is_empty() => model.set_len(which, at),
                7 | 8 if !model.open.is_empty() => {
                    model.close(which);
                    assert!(contents(&dir) == model.expected(), "after the close of step {step}");
                }
                9 if model.keys.contains_key(&key) => {
                    nix::unistd::truncate(&path, at as i64).unwrap();
                    let item = model.item(&key);
                    model.contents.get_mut(&item).unwrap().resize(at, 0);
                }
                10 if model.keys.contains_key(&key) => {
                    fs::rename(&path, dir.join(&other)).unwrap();
                    if key != other {
                        model.remove(&other);
                        let item = model.keys.remove(&key).unwrap();
                        model.keys.insert(other, item);
                    }
                }
                11 if model.keys.contains_key(&key) && random.below(2) == 0 => {
                    fs::remove_file(&path).unwrap();
                    model.remove(&key);
                }
                _ => {}
            }
            if step % 25 == 0 {
                digests_hold(&tree, &data);
            }
        }
        while !model.open.is_empty() {
            model.close(0);
        }
    });
    let expected = model.expected();
    assert!(contents(&dir) == expected);
    tree.unmount();
    tree.mount();
    digests_hold(&tree, &data);
    assert!(contents(&dir) == expected);
    let files = || fs::read_dir(tree.store.join("ctr").join(tree.id("web")).join("data")).map_or(0, Iterator::count);
    let full = expected.values().filter(|bytes| !bytes.is_empty()).count();
    wait_until("what no item names is gone", || files() == full);
    assert_eq!(fs::read_dir(tree.store.join("drafts")).unwrap().count(), 0);
}
