//! Exit codes that outlive their containers, beside a clock that can be set: whether they are shown, and
//! whether the store keeps them.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use ctrfs::engine::{Boot, Engine, Origin, World};
use ctrfs::model::record::Moment;
use ctrfs::store::{self, Extras, Store};
use ctrfs::tree::{Attr, Caller, Closers, Entered, Lifetime, Opened, ROOT, Setup, Tree, errno};

use crate::support::Scratch;

/// Seconds since 1970; only one test sets it.
static CLOCK: AtomicU64 = AtomicU64::new(1000);
const WORLD: World = World { now, random };
const KEPT: u64 = 5 * 60;
const CALLER: Caller = Caller { pid: 1, uid: 0 };

fn now() -> Moment {
    let seconds = CLOCK.load(Ordering::SeqCst);
    Moment { nanos: seconds * 1_000_000_000, text: format!("1970-01-01T00:{:02}:{:02}Z", seconds / 60, seconds % 60) }
}

fn random() -> [u8; 40] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    [0xa0 | NEXT.fetch_add(1, Ordering::SeqCst) as u8; 40]
}

pub(crate) fn origin() -> Origin {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Origin { unique: NEXT.fetch_add(1, Ordering::SeqCst), resent: false }
}

pub(crate) fn open(scratch: &Scratch, boot: &str) -> Tree {
    let dir = scratch.path().join("store");
    let mut engine = Engine::new(Store::open(&dir, 1 << 20).unwrap(), WORLD);
    let generation = engine.boot(&Boot { boot_id: boot.to_owned(), connection: 1 }, None).unwrap();
    let setup = Setup {
        generation,
        run_root: scratch.path().to_owned(),
        store_path: dir,
        shared_with_group: false,
        comm: |_| String::new(),
        closers: Closers { is_killed: |_| false, has_open: |_, _| false, is_one: |_, _| false },
    };
    Tree::new(engine, setup).unwrap()
}

pub(crate) fn walk(tree: &Tree, path: &str) -> Option<Entered> {
    path.split('/').try_fold(None::<Entered>, |at, name| {
        tree.lookup(at.map_or(ROOT, |entered| entered.attr.ino), name).unwrap().map(Some)
    })?
}

pub(crate) fn dir(tree: &Tree, name: &str) -> u64 {
    walk(tree, name).unwrap().attr.ino
}

fn listed(tree: &Tree) -> Vec<String> {
    let (ino, entries) = (dir(tree, "exited"), 2);
    let fh = tree.opendir(ino).unwrap();
    let listing = tree.opened_listing(ino, fh).unwrap();
    listing.after(0).skip(entries).map(|entry| entry.name.to_owned()).collect()
}

/// Makes a container with an exit code and removes it; its ID.
fn end(tree: &Tree, name: &str) -> String {
    let made = tree.mkdir(origin(), dir(tree, "ctr"), name).unwrap().value.attr;
    let entry = tree.lookup(made.ino, "exit-code").unwrap().unwrap().attr.ino;
    let opened = tree.open(CALLER, entry, true).unwrap();
    tree.write(origin(), CALLER, opened, 0, b"7\n", false).unwrap();
    let id = tree.readlink(walk(tree, &format!("ctr/{name}")).unwrap().attr.ino).unwrap();
    tree.unlink(origin(), dir(tree, "ctr"), name).unwrap();
    id
}

fn in_store(scratch: &Scratch) -> usize {
    let store = Store::open_copy(&scratch.path().join("store")).unwrap();
    assert_eq!(store::findings(&store.snapshot().unwrap()).unwrap(), vec![]);
    store.snapshot().unwrap().all_exited().unwrap().len()
}

fn is_shown(tree: &Tree, id: &str) -> Option<Attr> {
    let entered = walk(tree, &format!("exited/{id}"))?;
    assert_eq!(entered.lifetime, Lifetime::Once, "the kernel is never told that it is forgotten");
    Some(entered.attr)
}

#[test]
fn an_exit_code_is_forgotten_after_five_minutes() {
    let scratch = Scratch::new();
    store::create(&scratch.path().join("store"), "00000000-0000-4000-8000-000000000000", 1).unwrap();
    let tree = open(&scratch, "boot");
    let first = end(&tree, "first");
    let attr = is_shown(&tree, &first).unwrap();
    assert_eq!((attr.mode, attr.size, attr.changed), (0o444, 2, 1000 * 1_000_000_000));
    CLOCK.store(1000 + KEPT - 1, Ordering::SeqCst);
    let second = end(&tree, "second");
    let read = |ino| {
        let opened = tree.open(CALLER, ino, false)?;
        tree.read(Opened { ino, fh: opened.fh }, 0, 100)
    };
    assert_eq!(read(attr.ino).unwrap(), b"7\n");
    let mut both = vec![first.clone(), second.clone()];
    both.sort();
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(listed(&tree)), both);

    CLOCK.store(1000 + KEPT, Ordering::SeqCst);
    assert_eq!(is_shown(&tree, &first), None);
    assert_eq!(listed(&tree), [second.as_str()]);
    assert_eq!(errno(&read(attr.ino).unwrap_err()).name, "ESTALE");
    assert_eq!(errno(&tree.getattr(attr.ino, None).unwrap_err()).name, "ESTALE");
    assert!(is_shown(&tree, &second).is_some());

    // It is out of sight; it goes out of the store when there is time, or when the next server begins.
    assert_eq!(in_store(&scratch), 2);
    tree.engine().forget_exited().unwrap();
    assert_eq!(in_store(&scratch), 1);
    tree.engine().forget_exited().unwrap();
    drop(tree);
    let tree = open(&scratch, "boot");
    assert!(is_shown(&tree, &second).is_some(), "the next server has it");
    drop(tree);
    CLOCK.store(1000 + 2 * KEPT, Ordering::SeqCst);
    let tree = open(&scratch, "boot");
    assert_eq!(in_store(&scratch), 0);

    // A clock that is set back forgets nothing, and the next boot all.
    let third = end(&tree, "third");
    CLOCK.store(1000, Ordering::SeqCst);
    assert!(is_shown(&tree, &third).is_some());
    drop(tree);
    let tree = open(&scratch, "another boot");
    assert_eq!((is_shown(&tree, &third), listed(&tree)), (None, vec![]));
    assert_eq!(in_store(&scratch), 0);
    assert!(Path::new(scratch.path()).exists());
}
