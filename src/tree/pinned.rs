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
use crate::model::id::Id;
use crate::model::record::{Kind, Nanos, Serial};

/// The containers that are mounted.
#[derive(Default)]
pub(super) struct Pinned {
    /// Asked by each lookup and stat, which mostly finds it 0.
    count: AtomicUsize,
    ctrs: RwLock<HashMap<Serial, Pin>>,
}

#[derive(Clone, Copy)]
struct Pin {
    id: Id,
    made: Nanos,
}

impl Pinned {
    /// Answers for a container from memory from now on.
    pub(super) fn pin(&self, ctr: Serial, id: Id, made: Nanos) {
        let mut ctrs = self.ctrs.write();
        ctrs.insert(ctr, Pin { id, made });
        self.count.store(ctrs.len(), Ordering::Release);
    }

    /// Answers for a container from the store again.
    pub(super) fn unpin(&self, ctr: Serial) {
        let mut ctrs = self.ctrs.write();
        ctrs.remove(&ctr);
        self.count.store(ctrs.len(), Ordering::Release);
    }

    /// What a name leads to, if it is on the way.
    pub(super) fn lookup(&self, parent: Ino, name: &str) -> Option<Entered> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let forever = |attr| Some(Entered { attr, lifetime: Lifetime::Forever });
        let list = entries_in(Dir::Root).find(|entry| entry.shape == Shape::Dir(Dir::Objects(Kind::Ctr)))?;
        let list_ino = ino(0, list.slot);
        if parent == ROOT && name == list.name {
            // Its time is asked for again: attributes of a lookup have no lifetime.
            return forever(directory(list_ino, 0o755, 0));
        }
        if parent == list_ino {
            let id = Id::parse(name)?;
            let ctrs = self.ctrs.read();
            let (ctr, pin) = ctrs.iter().find(|(_, pin)| pin.id == id)?;
            return forever(directory(ino(*ctr, slot::SELF), 0o755, pin.made));
        }
        let (serial, place) = split(parent);
        let pin = self.ctrs.read().get(&serial).copied().filter(|_| place == slot::SELF)?;
        let entry = mountpoints().find(|entry| entry.name == name)?;
        forever(directory(ino(serial, entry.slot), 0o750, pin.made))
    }

    /// The attributes of a container's directory or of a mountpoint in it.
    pub(super) fn attr(&self, number: Ino) -> Option<Attr> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let (serial, place) = split(number);
        let pin = self.ctrs.read().get(&serial).copied()?;
        if place == slot::SELF {
            return Some(directory(number, 0o755, pin.made));
        }
        mountpoints().find(|entry| entry.slot == place).map(|_| directory(number, 0o750, pin.made))
    }
}

fn mountpoints() -> impl Iterator<Item = &'static Entry> {
    entries_in(Dir::Object(Kind::Ctr)).filter(|entry| matches!(entry.shape, Shape::Mount(_)))
}

fn directory(ino: Ino, mode: u16, changed: Nanos) -> Attr {
    Attr { ino, kind: FileKind::Dir, mode, size: 0, changed }
}
