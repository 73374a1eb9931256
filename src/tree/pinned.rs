//! The directories on the way to what is mounted in the tree.
//!
//! One answer that fails, or that names another inode, takes a mount away in every mount namespace
//! (d_invalidate of fs/dcache.c). So while something is mounted below, these are answered from memory,
//! whatever has become of the store, and even of the container.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::ino::{Ino, ROOT, ino, slot, split};
use super::lookup::{Entered, Lifetime};
use super::node::{Attr, FileKind};
use super::plan::{Dir, Entry, Shape, entries_in};
use crate::engine::{Part, Shown};
use crate::model::id::Id;
use crate::model::record::{Kind, Nanos, Serial};

/// The containers that are mounted.
#[derive(Default)]
pub(super) struct Pinned {
    /// Asked by each lookup and stat, which mostly finds it 0.
    count: AtomicUsize,
    ctrs: RwLock<Ctrs>,
}

#[derive(Default)]
struct Ctrs {
    pins: HashMap<Serial, Shown>,
    serials: HashMap<Id, Serial>,
}

impl Pinned {
    /// Answers for a container from memory from now on.
    pub(super) fn pin(&self, shown: Shown) {
        let mut ctrs = self.ctrs.write();
        ctrs.serials.insert(shown.id, shown.ctr);
        ctrs.pins.insert(shown.ctr, shown);
        self.count.store(ctrs.pins.len(), Ordering::Release);
    }

    /// Answers for a container from the store again.
    pub(super) fn unpin(&self, id: Id) {
        let mut ctrs = self.ctrs.write();
        if let Some(ctr) = ctrs.serials.remove(&id) {
            ctrs.pins.remove(&ctr);
        }
        self.count.store(ctrs.pins.len(), Ordering::Release);
    }

    /// The containers that are answered for.
    pub(super) fn ids(&self) -> Vec<Id> {
        self.ctrs.read().serials.keys().copied().collect()
    }

    /// What a name leads to, if it is on the way.
    pub(super) fn lookup(&self, parent: Ino, name: &str) -> Option<Entered> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let forever = |attr| Some(Entered { attr, lifetime: Lifetime::Forever });
        let list = list()?;
        let list_ino = ino(0, list.slot);
        if parent == ROOT && name == list.name {
            // Its time is asked for again: attributes of a lookup have no lifetime.
            return forever(directory(list_ino, 0o755, 0));
        }
        if parent == list_ino {
            let id = Id::parse(name)?;
            let ctrs = self.ctrs.read();
            let pin = ctrs.pins.get(ctrs.serials.get(&id)?)?;
            return forever(directory(ino(pin.ctr, slot::SELF), 0o755, pin.made));
        }
        let (serial, place) = split(parent);
        let pin = self.ctrs.read().pins.get(&serial).copied().filter(|_| place == slot::SELF)?;
        let entry = mountpoints(pin).find(|entry| entry.name == name)?;
        forever(directory(ino(serial, entry.slot), 0o750, pin.made))
    }

    /// The attributes of a container's directory or of a mountpoint in it.
    pub(super) fn attr(&self, number: Ino) -> Option<Attr> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let (serial, place) = split(number);
        let pin = self.ctrs.read().pins.get(&serial).copied()?;
        if place == slot::SELF {
            return Some(directory(number, 0o755, pin.made));
        }
        mountpoints(pin).find(|entry| entry.slot == place).map(|_| directory(number, 0o750, pin.made))
    }

    /// The attributes of the directories above the containers, for when the store has none to give: nobody
    /// could walk to what is mounted else.
    pub(super) fn attr_above(&self, number: Ino) -> Option<Attr> {
        let is_above = number == ROOT || list().is_some_and(|list| number == ino(0, list.slot));
        (is_above && self.count.load(Ordering::Acquire) > 0).then(|| directory(number, 0o755, 0))
    }
}

/// The directory of all containers.
fn list() -> Option<&'static Entry> {
    entries_in(Dir::Root).find(|entry| entry.shape == Shape::Dir(Dir::Objects(Kind::Ctr)))
}

fn mountpoints(pin: Shown) -> impl Iterator<Item = &'static Entry> {
    let is_there = move |shape| match shape {
        Shape::Mount(Part::Rootfs) => true,
        Shape::Mount(Part::Shm) => pin.shm,
        _ => false,
    };
    entries_in(Dir::Object(Kind::Ctr)).filter(move |entry| is_there(entry.shape))
}

fn directory(ino: Ino, mode: u16, changed: Nanos) -> Attr {
    Attr { ino, kind: FileKind::Dir, mode, size: 0, exact: true, changed }
}
