//! What the tree looks like: one static table of entries.
//!
//! Lookup, listing, attributes, reading, writing and invalidation all read this table. An entry is in
//! a directory of a kind ([`Dir`]); that of an object stands once for all objects of its kind. Lists
//! of objects, names and edges are made from the store; their directories are entries too.

use super::node::FileKind;
use crate::engine::{IdMap, OwnDir, Part};
use crate::model::field::Field;
use crate::model::record::{Change, Doc, Kind, List};
use crate::model::runtime::Setting;

/// A kind of directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dir {
    /// The root.
    Root,
    /// All objects of a kind, by ID; names and prefixes lead there unlisted.
    Objects(Kind),
    /// All names.
    Names,
    /// All IDs.
    Ids,
    /// Where objects are made.
    Create,
    /// Everything of a kind at once.
    Tables,
    /// The runtime configuration.
    Runtime,
    /// What containers that are gone ended with.
    Exited,
    /// One object.
    Object(Kind),
    /// The containers that depend on one.
    Dependencies,
    /// The containers that one depends on.
    DependsOn,
    /// A pod's containers.
    Members,
    /// The first parts of image names.
    ImageNames,
    /// A directory of image names further down.
    Tags,
    /// An image's layers, the base first.
    Layers,
    /// The containers of an image, or the images and the container of a layer.
    Users,
    /// The layers upon a layer.
    Children,
    /// The caller's own files.
    Data,
    /// A container's flags.
    Flags,
    /// Where a part of a container is mounted.
    Mountpoint,
}

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// A directory.
    Dir(Dir),
    /// A JSON document.
    Doc(Doc),
    /// One value, a key of a document seen alone.
    Value(Field),
    /// A pod's computed status.
    PodStatus,
    /// Why an object is not well.
    Health,
    /// The stored bytes.
    Raw,
    /// A container's pod.
    PodLink,
    /// A container's image.
    ImageLink,
    /// Whether a container is mounted.
    Mounted,
    /// A directory that a part of a container is mounted on.
    Mount(Part),
    /// The OCI runtime's spec.
    Bundle,
    /// Where a container's callers keep files of their own.
    OwnDir(OwnDir),
    /// What a container wrote, in bytes.
    SizeRw,
    /// What a container's image holds, in bytes.
    SizeRootfs,
    /// A document of an image, as it came.
    Text(Doc),
    /// An image's names.
    Names,
    /// What an image or layer holds, in bytes.
    Size,
    /// The layer below a layer.
    Parent,
    /// The digest of a layer's tar stream.
    DiffId,
    /// What a container's own layer is called.
    LayerName,
    /// A container's names.
    CtrNames,
    /// A container's own text.
    Metadata,
    /// A map of IDs.
    IdMap(IdMap),
    /// The digests of what is in `data/`.
    Digests,
    /// Write what lies in a staging directory, read the image's ID.
    CreateImage,
    /// Write documents, read IDs.
    Create(Kind),
    /// Write documents of sandboxes, read the pods' IDs.
    CreateSandbox,
    /// Write orders, read results.
    Control,
    /// A table of all objects of a kind.
    Table(Kind),
    /// The check of the store.
    Check,
    /// A setting of the runtime configuration.
    Setting(Setting),
    /// What was refused.
    Refusals,
    /// The program and the schema.
    Version,
}

/// Who may do what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    /// For the owner alone: 0600, with a group 0640.
    Secret,
    /// Written by the owner, read by all: 0644.
    Plain,
    /// Read by all: 0444.
    Shown,
    /// A directory: 0755.
    Dir,
    /// A directory that something is mounted on: 0750.
    Mountpoint,
    /// A symlink: 0777.
    Link,
}

impl Access {
    /// The kind of file that has it.
    pub(super) const fn file_kind(self) -> FileKind {
        match self {
            Access::Dir | Access::Mountpoint => FileKind::Dir,
            Access::Link => FileKind::Link,
            Access::Secret | Access::Plain | Access::Shown => FileKind::File,
        }
    }
}

/// What an entry is rendered from, hence when it changed last and which change touches it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// The store as such; or measured when asked.
    Store,
    /// A list of the whole store.
    List(List),
    /// The object's existence.
    Made,
    /// The object's config.
    Config,
    /// The object's state.
    State,
    /// Both documents.
    Documents,
    /// The members of a pod.
    Members,
    /// The members' status.
    PodStatus,
    /// The dependents of a container.
    Dependents,
    /// The names of an image.
    Names,
    /// Who uses an image or layer.
    Users,
    /// The layers upon a layer.
    Children,
    /// What is in `data/`.
    Data,
    /// A container's own text.
    Metadata,
    /// A container's flags.
    Flags,
    /// A container's ID maps.
    Maps,
}

/// One entry.
#[derive(Debug)]
pub(super) struct Entry {
    /// The directory that it is in.
    pub(super) parent: Dir,
    /// Its place in inode numbers; never given to another entry of the same object.
    pub(super) slot: u8,
    /// Its name.
    pub(super) name: &'static str,
    /// What it is.
    pub(super) shape: Shape,
    /// Its mode.
    pub(super) access: Access,
    /// What it is rendered from.
    pub(super) source: Source,
}

const fn entry(parent: Dir, slot: u8, name: &'static str, shape: Shape, access: Access, source: Source) -> Entry {
    Entry { parent, slot, name, shape, access, source }
}

const CTR: Dir = Dir::Object(Kind::Ctr);
const POD: Dir = Dir::Object(Kind::Pod);
const IMAGE: Dir = Dir::Object(Kind::Image);
const LAYER: Dir = Dir::Object(Kind::Layer);

/// The slot of a container's `mounted`.
pub(super) const MOUNTED_SLOT: u8 = 29;
/// The slot of a container's `config.json`.
pub(super) const BUNDLE_SLOT: u8 = 30;
/// The slot of a container's `size-rw`.
pub(super) const SIZE_RW_SLOT: u8 = 33;
/// The slot of a layer's `size`, which is measured where the layer is a container's own.
pub(super) const LAYER_SIZE_SLOT: u8 = 18;

/// The slot of the root directory, whose serial is 0: inode 1.
pub(super) const ROOT_SLOT: u8 = 1;

/// Every entry of the tree that does not come from a list.
#[rustfmt::skip]
pub(super) static ENTRIES: &[Entry] = &[
    entry(Dir::Root, 2, "ctr", Shape::Dir(Dir::Objects(Kind::Ctr)), Access::Dir, Source::List(List::Ctr)),
    entry(Dir::Root, 3, "pod", Shape::Dir(Dir::Objects(Kind::Pod)), Access::Dir, Source::List(List::Pod)),
    entry(Dir::Root, 4, "name", Shape::Dir(Dir::Names), Access::Dir, Source::List(List::Name)),
    entry(Dir::Root, 5, "id", Shape::Dir(Dir::Ids), Access::Dir, Source::List(List::Id)),
    entry(Dir::Root, 6, "create", Shape::Dir(Dir::Create), Access::Dir, Source::Store),
    entry(Dir::Root, 7, "control", Shape::Control, Access::Secret, Source::Store),
    entry(Dir::Root, 8, "check", Shape::Check, Access::Shown, Source::Store),
    entry(Dir::Root, 9, "table", Shape::Dir(Dir::Tables), Access::Dir, Source::Store),
    entry(Dir::Root, 10, "runtime-config", Shape::Dir(Dir::Runtime), Access::Dir, Source::Store),
    entry(Dir::Root, 11, "refusals", Shape::Refusals, Access::Secret, Source::Store),
    entry(Dir::Root, 12, "version", Shape::Version, Access::Shown, Source::Store),
    entry(Dir::Root, 13, "image", Shape::Dir(Dir::Objects(Kind::Image)), Access::Dir, Source::List(List::Image)),
    entry(Dir::Root, 14, "image-name", Shape::Dir(Dir::ImageNames), Access::Dir, Source::List(List::ImageName)),
    entry(Dir::Root, 15, "layer", Shape::Dir(Dir::Objects(Kind::Layer)), Access::Dir, Source::List(List::Layer)),
    entry(Dir::Root, 16, "exited", Shape::Dir(Dir::Exited), Access::Dir, Source::List(List::Exited)),

    entry(Dir::Create, 20, "ctr", Shape::Create(Kind::Ctr), Access::Secret, Source::Store),
    entry(Dir::Create, 21, "pod", Shape::Create(Kind::Pod), Access::Secret, Source::Store),
    entry(Dir::Create, 22, "image", Shape::CreateImage, Access::Secret, Source::Store),
    entry(Dir::Create, 23, "sandbox", Shape::CreateSandbox, Access::Secret, Source::Store),
    entry(Dir::Tables, 24, "ctr", Shape::Table(Kind::Ctr), Access::Shown, Source::List(List::Ctr)),
    entry(Dir::Tables, 25, "pod", Shape::Table(Kind::Pod), Access::Shown, Source::List(List::Pod)),
    entry(Dir::Tables, 26, "image", Shape::Table(Kind::Image), Access::Shown, Source::List(List::Image)),
    entry(Dir::Runtime, 28, "static-dir", Shape::Setting(Setting::StaticDir), Access::Shown, Source::Store),
    entry(Dir::Runtime, 29, "tmp-dir", Shape::Setting(Setting::TmpDir), Access::Shown, Source::Store),
    entry(Dir::Runtime, 30, "run-root", Shape::Setting(Setting::RunRoot), Access::Shown, Source::Store),
    entry(Dir::Runtime, 31, "graph-root", Shape::Setting(Setting::GraphRoot), Access::Shown, Source::Store),
    entry(Dir::Runtime, 32, "graph-driver-name", Shape::Setting(Setting::GraphDriverName), Access::Shown, Source::Store),

    entry(CTR, 16, "config", Shape::Doc(Doc::Config), Access::Secret, Source::Config),
    entry(CTR, 17, "state", Shape::Doc(Doc::State), Access::Plain, Source::State),
    entry(CTR, 18, "dependencies", Shape::Dir(Dir::Dependencies), Access::Dir, Source::Dependents),
    entry(CTR, 19, "depends-on", Shape::Dir(Dir::DependsOn), Access::Dir, Source::Made),
    entry(CTR, 20, "name", Shape::Value(Field::Name), Access::Plain, Source::Config),
    entry(CTR, 21, "status", Shape::Value(Field::Status), Access::Plain, Source::State),
    entry(CTR, 22, "pid", Shape::Value(Field::Pid), Access::Plain, Source::State),
    entry(CTR, 23, "exit-code", Shape::Value(Field::ExitCode), Access::Plain, Source::State),
    entry(CTR, 24, "netns", Shape::Value(Field::Netns), Access::Plain, Source::State),
    entry(CTR, 25, "health", Shape::Health, Access::Shown, Source::State),
    entry(CTR, 26, "raw", Shape::Raw, Access::Secret, Source::Documents),
    entry(CTR, 27, "pod", Shape::PodLink, Access::Link, Source::Made),
    entry(CTR, 28, "image", Shape::ImageLink, Access::Link, Source::Config),
    entry(CTR, MOUNTED_SLOT, "mounted", Shape::Mounted, Access::Plain, Source::State),
    entry(CTR, BUNDLE_SLOT, "config.json", Shape::Bundle, Access::Secret, Source::Documents),
    entry(CTR, 31, "rootfs", Shape::Mount(Part::Rootfs), Access::Mountpoint, Source::Made),
    entry(CTR, 32, "shm", Shape::Mount(Part::Shm), Access::Mountpoint, Source::Made),
    entry(CTR, SIZE_RW_SLOT, "size-rw", Shape::SizeRw, Access::Shown, Source::Store),
    entry(CTR, 34, "size-rootfs", Shape::SizeRootfs, Access::Shown, Source::Config),
    entry(CTR, 35, "artifacts", Shape::OwnDir(OwnDir::Artifacts), Access::Link, Source::Made),
    entry(CTR, 36, "names", Shape::CtrNames, Access::Plain, Source::Names),
    entry(CTR, 37, "metadata", Shape::Metadata, Access::Secret, Source::Metadata),
    entry(CTR, 38, "flags", Shape::Dir(Dir::Flags), Access::Dir, Source::Flags),
    entry(CTR, 39, "uidmap", Shape::IdMap(IdMap::Users), Access::Plain, Source::Maps),
    entry(CTR, 40, "gidmap", Shape::IdMap(IdMap::Groups), Access::Plain, Source::Maps),
    entry(CTR, 41, "data", Shape::Dir(Dir::Data), Access::Dir, Source::Data),
    entry(CTR, 42, "digests", Shape::Digests, Access::Shown, Source::Data),
    entry(CTR, 43, "work", Shape::OwnDir(OwnDir::Work), Access::Link, Source::Made),
    entry(CTR, 44, "run", Shape::OwnDir(OwnDir::Run), Access::Link, Source::Made),

    entry(POD, 16, "config", Shape::Doc(Doc::Config), Access::Secret, Source::Config),
    entry(POD, 17, "state", Shape::Doc(Doc::State), Access::Plain, Source::State),
    entry(POD, 18, "containers", Shape::Dir(Dir::Members), Access::Dir, Source::Members),
    entry(POD, 20, "name", Shape::Value(Field::Name), Access::Plain, Source::Config),
    entry(POD, 21, "status", Shape::PodStatus, Access::Shown, Source::PodStatus),
    entry(POD, 25, "health", Shape::Health, Access::Shown, Source::State),
    entry(POD, 26, "raw", Shape::Raw, Access::Secret, Source::Documents),

    entry(IMAGE, 16, "config", Shape::Text(Doc::Config), Access::Shown, Source::Made),
    entry(IMAGE, 17, "manifest", Shape::Text(Doc::Manifest), Access::Shown, Source::Made),
    entry(IMAGE, 18, "names", Shape::Names, Access::Shown, Source::Names),
    entry(IMAGE, 19, "size", Shape::Size, Access::Shown, Source::Made),
    entry(IMAGE, 20, "layers", Shape::Dir(Dir::Layers), Access::Dir, Source::Made),
    entry(IMAGE, 21, "used-by", Shape::Dir(Dir::Users), Access::Dir, Source::Users),
    entry(IMAGE, 22, "data", Shape::Dir(Dir::Data), Access::Dir, Source::Data),
    entry(IMAGE, 23, "digests", Shape::Digests, Access::Shown, Source::Data),

    entry(LAYER, 16, "parent", Shape::Parent, Access::Link, Source::Made),
    entry(LAYER, 17, "diff-id", Shape::DiffId, Access::Shown, Source::Made),
    entry(LAYER, LAYER_SIZE_SLOT, "size", Shape::Size, Access::Shown, Source::Made),
    entry(LAYER, 19, "children", Shape::Dir(Dir::Children), Access::Dir, Source::Children),
    entry(LAYER, 20, "used-by", Shape::Dir(Dir::Users), Access::Dir, Source::Users),
    entry(LAYER, 21, "name", Shape::LayerName, Access::Shown, Source::Users),
];

impl Entry {
    /// Whether anything can be written to it.
    pub(super) fn is_writable(&self) -> bool {
        matches!(
            self.shape,
            Shape::Doc(_)
                | Shape::Value(_)
                | Shape::Mounted
                | Shape::CtrNames
                | Shape::Metadata
                | Shape::IdMap(_)
                | Shape::Create(_)
                | Shape::CreateImage
                | Shape::CreateSandbox
                | Shape::Control
        )
    }

    /// Whether a change of an object or list touches it.
    pub(super) fn is_touched_by(&self, change: Change) -> bool {
        let of = |kind| self.parent == Dir::Object(kind);
        match change {
            Change::List(list) => self.source == Source::List(list),
            // What a container's rootfs is made of decides which entries there are.
            Change::Config(kind, _) => {
                let comes_and_goes = matches!(self.shape, Shape::Mount(_) | Shape::SizeRw);
                // The first of a container's names is in its config.
                let names = kind == Kind::Ctr && self.source == Source::Names;
                let from_config = names || matches!(self.source, Source::Config | Source::Documents);
                of(kind) && (comes_and_goes || from_config)
            }
            Change::State(kind, _) => of(kind) && matches!(self.source, Source::State | Source::Documents),
            Change::PodStatus(_) => of(Kind::Pod) && self.source == Source::PodStatus,
            Change::Members(_) => of(Kind::Pod) && self.source == Source::Members,
            Change::Dependents(_) => of(Kind::Ctr) && self.source == Source::Dependents,
            Change::Removed(kind, _) | Change::Mended(kind, _) => of(kind),
            Change::Names(_) => of(Kind::Image) && self.source == Source::Names,
            Change::Users(kind, _) => of(kind) && self.source == Source::Users,
            Change::Children(_) => of(Kind::Layer) && self.source == Source::Children,
            Change::Items(kind, _) => of(kind) && self.source == Source::Data,
            Change::More(_) => {
                let few_have = matches!(self.source, Source::Names | Source::Metadata | Source::Flags | Source::Maps);
                of(Kind::Ctr) && few_have
            }
            Change::Item(_)
            | Change::Flag(_)
            | Change::Exited(_)
            | Change::Binding(_)
            | Change::Edge(_)
            | Change::Member(_)
            | Change::Tag(_)
            | Change::TagDir(_)
            | Change::Place(_) => false,
        }
    }
}

/// The entries of a directory of this kind.
pub(super) fn entries_in(dir: Dir) -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter().filter(move |entry| entry.parent == dir)
}

/// The entry of the whole store in this slot.
pub(super) fn fixed(slot: u8) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.slot == slot && !matches!(entry.parent, Dir::Object(_)))
}

/// The entry of an object of this kind in this slot.
pub(super) fn of_object(kind: Kind, slot: u8) -> Option<&'static Entry> {
    entries_in(Dir::Object(kind)).find(|entry| entry.slot == slot)
}

#[cfg(test)]
mod tests {
    use super::{Dir, ENTRIES};

    #[test]
    fn no_slot_and_no_name_is_given_twice() {
        for (at, one) in ENTRIES.iter().enumerate() {
            for other in &ENTRIES[..at] {
                let object = |dir| matches!(dir, Dir::Object(_));
                let same_space = one.parent == other.parent || !object(one.parent) && !object(other.parent);
                assert!(!same_space || one.slot != other.slot, "{one:?} {other:?}");
                assert!(one.parent != other.parent || one.name != other.name, "{one:?} {other:?}");
            }
        }
    }
}
