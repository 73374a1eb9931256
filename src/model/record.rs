//! What the store keeps of each object beside its documents, and what a change touches.
//!
//! Every object, name binding and edge has a serial, given once and never again. A head holds what
//! listings, attributes and one-value entries need, so that those never decode a document; all of it
//! but identity and times is derived from the documents in one place ([`crate::model::container`],
//! [`crate::model::pod`]) and checked against them by `check`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::id::Id;
use crate::model::status::{Status, StatusCounts};

/// A serial of the store.
pub type Serial = u64;
/// Nanoseconds since 1970.
pub type Nanos = u64;

/// The kinds of object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// A container.
    Ctr = 0,
    /// A pod.
    Pod = 1,
    /// An image; its ID is the digest of its config.
    Image = 2,
    /// A layer; its ID is its chain ID, or the container's whose writable layer it is.
    Layer = 3,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 4] = [Kind::Ctr, Kind::Pod, Kind::Image, Kind::Layer];

    /// The kind with this number.
    pub fn from_number(number: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Whether objects of this kind are named by what they hold: those have an ID space of their own.
    pub const fn is_content(self) -> bool {
        matches!(self, Kind::Image | Kind::Layer)
    }

    /// The directory of the tree that holds objects of this kind.
    pub const fn dir(self) -> &'static str {
        match self {
            Kind::Ctr => "ctr",
            Kind::Pod => "pod",
            Kind::Image => "image",
            Kind::Layer => "layer",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Ctr => "container",
            Kind::Pod => "pod",
            Kind::Image => "image",
            Kind::Layer => "layer",
        })
    }
}

/// An object's documents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Doc {
    /// What was asked for.
    Config = 0,
    /// What is so now.
    State = 1,
    /// What an image consists of.
    Manifest = 2,
    /// The caller's own text of a container.
    Metadata = 3,
    /// The digest of the record of a layer's tree, 32 bytes; one that came without has none.
    Tree = 4,
}

impl Doc {
    /// The entry that serves it.
    pub const fn name(self) -> &'static str {
        match self {
            Doc::Config => "config",
            Doc::State => "state",
            Doc::Manifest => "manifest",
            Doc::Metadata => "metadata",
            Doc::Tree => "tree",
        }
    }
}

/// When and to what a document changed last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// A number that no other change of any document has.
    pub version: u64,
    /// The time of the change.
    pub changed: Nanos,
    /// The size of the document in bytes.
    pub size: u64,
}

/// A container without its documents.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CtrHead {
    /// The ID's bytes.
    pub id: [u8; 32],
    /// The name.
    pub name: String,
    /// The serial of the name's binding.
    pub binding: Serial,
    /// The pod, with the serial of the membership.
    pub pod: Option<(Serial, Serial)>,
    /// When it was made.
    pub made: Nanos,
    /// When the list of its dependents changed last.
    pub dependents_changed: Nanos,
    /// The config document.
    pub config: Stamp,
    /// The state document.
    pub state: Stamp,
    /// `state` of the state.
    pub status: Status,
    /// `pid` of the state.
    pub pid: Option<i64>,
    /// `exitCode` of the state.
    pub exit_code: Option<i64>,
    /// `netns` of the state.
    pub netns: Option<String>,
    /// `rootfsImageName` of the config, else `rootfsImageID`.
    pub image: Option<String>,
    /// `createdTime` of the config.
    pub created: Option<String>,
    /// `startedTime` of the state.
    pub started: Option<String>,
    /// `finishedTime` of the state.
    pub finished: Option<String>,
    /// What its rootfs is made of.
    pub rootfs: Rootfs,
    /// Whether it has a tmpfs for /dev/shm.
    pub shm: bool,
    /// `mounted` of the state: it was asked to be, and was in this boot.
    pub mounted: bool,
}

/// What a container's rootfs is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Rootfs {
    /// It has none.
    #[default]
    None,
    /// The layers of an image below a layer of its own.
    Image {
        /// The image.
        image: Serial,
        /// The container's own layer.
        layer: Serial,
    },
    /// The directory that `rootfs` of the config names.
    Directory,
}

impl Rootfs {
    /// The image.
    pub const fn image(self) -> Option<Serial> {
        match self {
            Rootfs::Image { image, .. } => Some(image),
            Rootfs::None | Rootfs::Directory => None,
        }
    }
}

/// An image without its documents.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ImageHead {
    /// The ID's bytes.
    pub id: [u8; 32],
    /// When it was imported.
    pub made: Nanos,
    /// When a name was given to it or taken away last.
    pub names_changed: Nanos,
    /// When the list of its containers changed last.
    pub users_changed: Nanos,
    /// Bytes of its manifest.
    pub manifest: u64,
    /// Bytes of its config.
    pub config: u64,
    /// Bytes of the files in all of its layers.
    pub size: u64,
    /// How many layers it has.
    pub layers: u32,
    /// `created` of its config.
    pub created: Option<String>,
}

/// A layer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LayerHead {
    /// The ID's bytes.
    pub id: [u8; 32],
    /// The layer below.
    pub parent: Option<Serial>,
    /// The container whose writable layer it is.
    pub owner: Option<Serial>,
    /// The digest of its tar stream; a writable layer has none.
    pub diff_id: Option<[u8; 32]>,
    /// When it was made.
    pub made: Nanos,
    /// When the list of layers upon it changed last.
    pub children_changed: Nanos,
    /// When the list of images that have it changed last.
    pub users_changed: Nanos,
    /// Bytes of its files, those with several links once.
    pub size: u64,
    /// Bytes that they take on disk.
    pub disk: u64,
    /// How many entries it has.
    pub entries: u64,
}

/// A pod without its documents.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PodHead {
    /// The ID's bytes.
    pub id: [u8; 32],
    /// The name.
    pub name: String,
    /// The serial of the name's binding.
    pub binding: Serial,
    /// When it was made.
    pub made: Nanos,
    /// When the list of its members changed last.
    pub members_changed: Nanos,
    /// When the status of a member changed last, or the list.
    pub status_changed: Nanos,
    /// The config document.
    pub config: Stamp,
    /// The state document.
    pub state: Stamp,
    /// The members by status.
    pub counts: StatusCounts,
    /// `created` of the config.
    pub created: Option<String>,
}

/// What a serial stands for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Row {
    /// A container.
    Ctr(CtrHead),
    /// A pod.
    Pod(PodHead),
    /// A name and the object that it belongs to.
    Binding {
        /// The name.
        name: String,
        /// The object's kind.
        kind: Kind,
        /// The object.
        object: Serial,
        /// When the name was given.
        changed: Nanos,
    },
    /// A dependency.
    Edge {
        /// The container that depends.
        from: Serial,
        /// The container depended on.
        to: Serial,
        /// When it was made.
        made: Nanos,
    },
    /// A container's place in a pod.
    Member {
        /// The pod.
        pod: Serial,
        /// The container.
        ctr: Serial,
        /// When it was made.
        made: Nanos,
    },
    /// An image.
    Image(ImageHead),
    /// A layer.
    Layer(LayerHead),
    /// An image's name.
    Tag {
        /// The whole name.
        name: String,
        /// The image.
        image: Serial,
        /// When it was given.
        made: Nanos,
    },
    /// A directory of image names.
    TagDir {
        /// Its path below `image-name/`.
        path: String,
        /// When an entry came or went last.
        changed: Nanos,
    },
    /// A layer's place in an image.
    Place {
        /// The image.
        image: Serial,
        /// The layer.
        layer: Serial,
        /// Which it is, from 0, the base.
        position: u32,
        /// When it was made.
        made: Nanos,
    },
    /// A file of the caller's own.
    Item(Item),
    /// A flag of a container.
    Flag {
        /// The container.
        ctr: Serial,
        /// Its name.
        name: String,
        /// Its value, JSON as it is served.
        value: String,
        /// When it was set.
        changed: Nanos,
    },
    /// What a container that is gone ended with.
    Exited {
        /// Its ID's bytes.
        id: [u8; 32],
        /// Its name when it went.
        name: String,
        /// The exit code.
        code: i64,
        /// When it went.
        gone: Nanos,
    },
}

/// What few containers have; one that has none of it has no such row.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct More {
    /// Its names but the first, in order.
    pub names: Vec<String>,
    /// When a name came or went last, but for the first.
    pub names_changed: Nanos,
    /// The caller's own text.
    pub metadata: Stamp,
    /// When a flag came or went last.
    pub flags_changed: Nanos,
    /// The map of user IDs, lines as they are served; empty when it has none.
    pub uidmap: String,
    /// The map of group IDs.
    pub gidmap: String,
    /// When a map changed last.
    pub maps_changed: Nanos,
    /// Whether it goes with the boot, and its overlay syncs nothing.
    pub volatile: bool,
    /// Whether it holds its pod's namespaces and carries its pod's ID.
    pub infra: bool,
}

/// A file of the caller's own, in the `data/` of a container or an image. Its bytes lie beside the store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Item {
    /// What kind of object has it.
    pub kind: Kind,
    /// The object.
    pub owner: Serial,
    /// Its name there: whatever a file's can be, in UTF-8.
    pub key: String,
    /// The number of the file with its bytes; 0 when it has none.
    pub file: u64,
    /// How many bytes it has.
    pub size: u64,
    /// Their SHA-256.
    pub digest: [u8; 32],
    /// When they changed last, or are said to have.
    pub changed: Nanos,
}

impl ImageHead {
    /// The ID.
    pub fn id(&self) -> Id {
        Id::from_bytes(self.id)
    }
}

impl LayerHead {
    /// The ID.
    pub fn id(&self) -> Id {
        Id::from_bytes(self.id)
    }
}

impl CtrHead {
    /// The ID.
    pub fn id(&self) -> Id {
        Id::from_bytes(self.id)
    }
}

impl PodHead {
    /// The ID.
    pub fn id(&self) -> Id {
        Id::from_bytes(self.id)
    }
}

/// The directories of the tree that list objects or names of the whole store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum List {
    /// Containers.
    Ctr = 0,
    /// Pods.
    Pod = 1,
    /// Names.
    Name = 2,
    /// IDs.
    Id = 3,
    /// Images.
    Image = 4,
    /// Layers.
    Layer = 5,
    /// The first parts of image names.
    ImageName = 6,
    /// Containers that are gone, with what they ended with.
    Exited = 7,
}

impl List {
    /// All of them, in the order of their numbers.
    pub const ALL: [List; 8] =
        [List::Ctr, List::Pod, List::Name, List::Id, List::Image, List::Layer, List::ImageName, List::Exited];
    /// How many there are.
    pub const COUNT: usize = List::ALL.len();
}

/// What a committed transaction changed, for whoever caches it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// An object's config.
    Config(Kind, Serial),
    /// An object's state.
    State(Kind, Serial),
    /// A pod's computed status.
    PodStatus(Serial),
    /// The list of a container's dependents.
    Dependents(Serial),
    /// The list of a pod's members.
    Members(Serial),
    /// A list of the whole store.
    List(List),
    /// A name's binding is gone or means something else.
    Binding(Serial),
    /// A dependency is gone.
    Edge(Serial),
    /// A membership is gone.
    Member(Serial),
    /// An object is gone.
    Removed(Kind, Serial),
    /// An image's names.
    Names(Serial),
    /// The containers of an image, or the images and containers of a layer.
    Users(Kind, Serial),
    /// The layers upon a layer.
    Children(Serial),
    /// An image's name is gone or means something else.
    Tag(Serial),
    /// The list of a directory of image names, or the directory is gone.
    TagDir(Serial),
    /// A layer's place in an image is gone.
    Place(Serial),
    /// What is in an object's `data/`.
    Items(Kind, Serial),
    /// A file of the caller's own changed or is gone.
    Item(Serial),
    /// What few containers have: further names, metadata, the list of flags, ID maps.
    More(Serial),
    /// A flag changed or is gone.
    Flag(Serial),
    /// An exit code is gone.
    Exited(Serial),
    /// The record of an object was put right: anything of it may be another.
    Mended(Kind, Serial),
}

/// What a request was answered, kept until the answer is known to have arrived.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// Done.
    Done,
    /// The objects made, in order.
    Objects(Vec<(Kind, Serial, [u8; 32])>),
    /// The IDs that each order removed.
    Removed(Vec<Vec<[u8; 32]>>),
    /// The version that a document has now.
    Version(u64),
    /// What was done, a line each.
    Lines(Vec<String>),
}

/// A time, and the same as RFC 3339 writes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Nanoseconds since 1970.
    pub nanos: Nanos,
    /// The text.
    pub text: String,
}
