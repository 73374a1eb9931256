//! Inode numbers: a serial of the store with a slot beside it. Computed, so there is no table of them,
//! and the same after a restart. A serial is never given again, so neither is a number.

use super::plan::{ENTRIES, Entry, ROOT_SLOT};
use crate::model::record::{Change, Serial};

/// An inode number.
pub type Ino = u64;

/// The root directory.
pub const ROOT: Ino = ROOT_SLOT as Ino;

/// Slots of an object beside its entries.
pub(super) mod slot {
    /// The object's directory; also a name's or membership's symlink, and `dependencies/<id>`.
    pub(crate) const SELF: u8 = 0;
    /// `depends-on/<id>`.
    pub(crate) const DEPENDS_ON: u8 = 1;
    /// The unlisted symlink that answers to names and prefixes.
    pub(crate) const HIDDEN: u8 = 2;
    /// The directory that answers a mkdir by name.
    pub(crate) const MADE: u8 = 3;
    /// `id/<id>`.
    pub(crate) const ID: u8 = 4;
    /// The unlisted symlink in a pod's `containers/`.
    pub(crate) const HIDDEN_MEMBER: u8 = 5;
    /// `used-by/<container>` of its image.
    pub(crate) const IMAGE_USER: u8 = 6;
    /// `used-by/<container>` of its own layer.
    pub(crate) const LAYER_USER: u8 = 7;
    /// `children/<layer>` of the layer below.
    pub(crate) const CHILD: u8 = 8;
    /// `used-by/<image>` of a layer; the same row's `SELF` is the image's `layers/<position>`.
    pub(crate) const LAYER_IMAGE: u8 = 9;
}

/// The number of a slot.
pub(super) const fn ino(serial: Serial, slot: u8) -> Ino {
    serial << 8 | slot as Ino
}

/// The serial and the slot of a number.
pub(super) const fn split(ino: Ino) -> (Serial, u8) {
    (ino >> 8, (ino & 0xff) as u8)
}

/// The inodes whose attributes a change voids.
pub fn touched(change: Change) -> Vec<Ino> {
    let entries = |serial| {
        let touched = ENTRIES.iter().filter(move |entry: &&Entry| entry.is_touched_by(change));
        touched.map(move |entry| ino(serial, entry.slot)).collect::<Vec<_>>()
    };
    match change {
        Change::List(_) => entries(0),
        Change::Config(_, serial)
        | Change::State(_, serial)
        | Change::PodStatus(serial)
        | Change::Members(serial)
        | Change::Dependents(serial)
        | Change::Names(serial)
        | Change::Users(_, serial)
        | Change::Items(_, serial)
        | Change::More(serial)
        | Change::Children(serial) => entries(serial),
        Change::Binding(serial)
        | Change::Member(serial)
        | Change::Tag(serial)
        | Change::TagDir(serial)
        | Change::Item(serial)
        | Change::Flag(serial)
        | Change::Exited(serial) => {
            vec![ino(serial, slot::SELF)]
        }
        Change::Place(serial) => vec![ino(serial, slot::SELF), ino(serial, slot::LAYER_IMAGE)],
        Change::Edge(serial) => vec![ino(serial, slot::SELF), ino(serial, slot::DEPENDS_ON)],
        Change::Removed(_, serial) | Change::Mended(_, serial) => {
            let own = [
                slot::SELF,
                slot::HIDDEN,
                slot::MADE,
                slot::ID,
                slot::HIDDEN_MEMBER,
                slot::IMAGE_USER,
                slot::LAYER_USER,
                slot::CHILD,
            ];
            own.into_iter().map(|slot| ino(serial, slot)).chain(entries(serial)).collect()
        }
    }
}
