//! Why an operation was refused. Each variant is a noun and a rule; the errno is chosen elsewhere.

use std::fmt;

use crate::model::id::Id;
use crate::model::json::JsonError;
use crate::model::name::list;
use crate::model::record::Kind;

/// A refusal: bad input or a rule in the way. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Nothing of this kind goes by that ID, name or prefix.
    NoSuch {
        /// What was looked for.
        kind: Kind,
        /// The ID, name or prefix.
        what: String,
    },
    /// A new object's ID belongs to another.
    IdTaken {
        /// The ID.
        id: Id,
        /// What has it.
        by: Kind,
    },
    /// A new name belongs to another object.
    NameTaken {
        /// The name.
        name: String,
        /// What has it.
        by: Kind,
    },
    /// Several IDs begin so.
    AmbiguousPrefix {
        /// The prefix.
        prefix: String,
    },
    /// Other containers depend on this one.
    HasDependents {
        /// The container's name.
        name: String,
        /// The names of those that depend on it.
        dependents: Vec<String>,
    },
    /// The container runs or is paused.
    Live {
        /// The container's name.
        name: String,
        /// Its status word.
        status: &'static str,
    },
    /// Others use the image or layer.
    InUse {
        /// What it is.
        kind: Kind,
        /// Its ID, shortened.
        id: String,
        /// Who uses it.
        by: Vec<String>,
    },
    /// The container's rootfs is mounted, and must not be.
    Mounted {
        /// The container's name.
        name: String,
    },
    /// The container is being mounted, unmounted or removed by somebody else.
    Busy {
        /// The container's name.
        name: String,
    },
    /// The container is past the status in which it could be given a rootfs.
    NotConfigured {
        /// The container's name.
        name: String,
        /// Its status word.
        status: &'static str,
    },
    /// There is nothing that a rootfs could be made of.
    NoRootfs {
        /// The container's name.
        name: String,
        /// Why.
        why: String,
    },
    /// A layer that a new image needs is neither in the store nor in its staging directory.
    NoLayer {
        /// The layer.
        id: Id,
    },
    /// The digest that was claimed is not what the content has.
    BadDigest {
        /// The content.
        what: &'static str,
        /// What was claimed.
        claimed: String,
        /// What it has.
        found: String,
    },
    /// A directory of image names that is not empty.
    NamesBelow {
        /// The directory.
        path: String,
    },
    /// An image's name belongs to another image.
    TagTaken {
        /// The name.
        name: String,
    },
    /// A key that must be new belongs to an item.
    KeyTaken {
        /// The key.
        key: String,
    },
    /// No item has this key.
    NoKey {
        /// The key.
        key: String,
    },
    /// A key longer than a file's name can be.
    LongKey {
        /// The most bytes it may have.
        limit: usize,
    },
    /// An item is to go to another directory.
    OtherDirectory,
    /// The container has items.
    HasItems {
        /// The container's name.
        name: String,
    },
    /// A container must have a name.
    NoName,
    /// A line that is no range of an ID map.
    BadMap {
        /// The line, shortened.
        line: String,
        /// What it takes.
        rule: &'static str,
    },
    /// Ranges of an ID map that meet earlier ones, in the container or on the host.
    MapOverlaps {
        /// Each as container:host:size.
        ranges: Vec<String>,
    },
    /// A flag with a value that it cannot have.
    BadFlag {
        /// The flag.
        name: String,
        /// What it takes.
        rule: &'static str,
    },
    /// One of two labels that come and go together.
    LoneLabel {
        /// The one that is set.
        has: &'static str,
        /// The one that is not.
        lacks: &'static str,
    },
    /// A flag that says how the container was made.
    FixedFlag {
        /// The flag.
        name: &'static str,
    },
    /// Bytes that are no text.
    NotUtf8 {
        /// What they were to be.
        what: &'static str,
    },
    /// Every object keeps at least one name.
    LastName {
        /// The name.
        name: String,
    },
    /// The container carries its pod's ID and stays with the pod.
    Infra {
        /// The pod's name.
        pod: String,
    },
    /// The pod has containers.
    PodNotEmpty {
        /// The pod's name.
        name: String,
        /// How many.
        members: usize,
    },
    /// Not a name.
    BadName {
        /// The text, shortened.
        name: String,
        /// What a name is.
        rule: &'static str,
    },
    /// A document is not the JSON that is due.
    BadJson(JsonError),
    /// A byte that no document has in that place.
    BadByte {
        /// Its place in what the handle wrote, from 0.
        at: usize,
        /// What is due there.
        rule: &'static str,
    },
    /// A document that is not an object.
    NotAnObject,
    /// A known key with a value that it cannot have.
    BadKey {
        /// The key.
        key: String,
        /// What it takes.
        rule: &'static str,
    },
    /// An entry of one value got one that it cannot have.
    BadValue {
        /// The entry.
        entry: &'static str,
        /// The value, shortened.
        value: String,
        /// What it takes.
        rule: &'static str,
    },
    /// The handle was closed before the document was complete.
    Incomplete {
        /// How many bytes were dropped.
        bytes: usize,
    },
    /// An earlier write to the handle was refused in the middle of a document or value.
    GivenUp,
    /// More bytes than there may be.
    TooLarge {
        /// What was written.
        what: &'static str,
        /// The most it may have, in bytes.
        limit: usize,
    },
    /// A container names itself as a dependency.
    DependsOnItself {
        /// The key that does it.
        key: &'static str,
    },
    /// A dependency with one end in a pod and the other outside it.
    CrossesPod {
        /// The key that does it.
        key: &'static str,
        /// The container depended on.
        on: String,
    },
    /// A dependency of a container that stays on one that goes with the boot.
    NeedsVolatile {
        /// The key that does it.
        key: &'static str,
        /// The container depended on.
        on: String,
    },
    /// A key that never changes.
    FixedKey {
        /// The key.
        key: &'static str,
    },
    /// A prefix where only a full ID or an exact name will do.
    PrefixNotExact {
        /// The prefix.
        prefix: String,
    },
    /// An entry that is not the user's to make, move, take away or change so.
    NotYours {
        /// What was tried.
        what: &'static str,
    },
    /// A write to an entry that only shows.
    ReadOnly {
        /// The entry.
        entry: &'static str,
    },
    /// Somebody else changed the entry since this handle read it.
    Changed,
    /// The object or name behind the entry or handle is gone.
    Gone,
    /// A stored record cannot be read.
    Undecodable {
        /// The part of the record.
        part: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A name that a rootfs's own files do not know.
    NoAccount {
        /// "user" or "group".
        what: &'static str,
        /// The name.
        name: String,
        /// Where it was looked for.
        file: &'static str,
    },
    /// A `control` document with a verb that there is not.
    UnknownVerb {
        /// The verb.
        verb: String,
        /// The verbs that there are.
        verbs: Vec<&'static str>,
    },
    /// A `control` document with a key that its verb has not.
    UnknownKey {
        /// The verb.
        verb: &'static str,
        /// The key.
        key: String,
        /// The keys that it has.
        keys: &'static [&'static str],
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoSuch { kind, what } => write!(f, "no such {kind}: {what}"),
            Refusal::IdTaken { id, by } => write!(f, "the ID {id} belongs to a {by}"),
            Refusal::NameTaken { name, by } => write!(f, "the name {name} belongs to a {by}"),
            Refusal::AmbiguousPrefix { prefix } => write!(f, "several IDs begin with {prefix}"),
            Refusal::HasDependents { name, dependents } => {
                write!(f, "container {name} is needed by {}", list(dependents))
            }
            Refusal::Live { name, status } => write!(f, "container {name} is {status}"),
            Refusal::InUse { kind, id, by } => write!(f, "{kind} {id} is used by {}", list(by)),
            Refusal::Mounted { name } => write!(f, "container {name} is mounted"),
            Refusal::Busy { name } => write!(f, "container {name} is being mounted, unmounted or removed"),
            Refusal::NotConfigured { name, status } => {
                write!(f, "container {name} is {status}; only one that is configured can be given a rootfs")
            }
            Refusal::NoRootfs { name, why } => write!(f, "container {name} has no rootfs to mount: {why}"),
            Refusal::NoLayer { id } => write!(f, "layer {id} is neither in the store nor in the staging directory"),
            Refusal::BadDigest { what, claimed, found } => {
                write!(f, "the {what} should have the digest {claimed} and has {found}")
            }
            Refusal::NamesBelow { path } => write!(f, "{path} has image names in it"),
            Refusal::TagTaken { name } => write!(f, "the name {name} belongs to an image"),
            Refusal::KeyTaken { key } => write!(f, "{key:?} is there already"),
            Refusal::NoKey { key } => write!(f, "no such file: {key:?}"),
            Refusal::LongKey { limit } => write!(f, "a file's name has {limit} bytes at most"),
            Refusal::OtherDirectory => f.write_str("a file is not renamed to another directory, but copied there"),
            Refusal::HasItems { name } => {
                write!(f, "container {name} has files in data/; rmdir its directory by its ID")
            }
            Refusal::NoName => f.write_str("a container has one name at least"),
            Refusal::BadMap { line, rule } => write!(f, "bad ID map {line:?}: {rule}"),
            Refusal::MapOverlaps { ranges } => match ranges.as_slice() {
                [one] => write!(f, "the range {one} overlaps an earlier one"),
                several => write!(f, "the ranges {} overlap earlier ones", list(several)),
            },
            Refusal::BadFlag { name, rule } => write!(f, "the flag {name:?} takes {rule}"),
            Refusal::LoneLabel { has, lacks } => {
                write!(
                    f,
                    "{has} and {lacks} come and go together: set or clear both with the verb \"flags\" of control"
                )
            }
            Refusal::FixedFlag { name } => write!(f, "the flag {name:?} is fixed when the container is made"),
            Refusal::NotUtf8 { what } => write!(f, "the {what} is not UTF-8"),
            Refusal::LastName { name } => write!(f, "{name} is its object's only name; rename it with mv"),
            Refusal::Infra { pod } => write!(f, "it is the infra container of pod {pod}; it goes when the pod does"),
            Refusal::PodNotEmpty { name, members } => write!(f, "pod {name} still has {members} containers"),
            Refusal::BadName { name, rule } => write!(f, "bad name {name:?}: {rule}"),
            Refusal::BadJson(error) => error.fmt(f),
            Refusal::BadByte { at, rule } => write!(f, "not JSON: at byte {at}, {rule}"),
            Refusal::NotAnObject => f.write_str("the document is not a JSON object"),
            Refusal::BadKey { key, rule } => write!(f, "the key {key:?} takes {rule}"),
            Refusal::BadValue { entry, value, rule } => write!(f, "bad {entry} {value:?}: it takes {rule}"),
            Refusal::Incomplete { bytes } => {
                write!(f, "closed in the middle of a document; its {bytes} bytes were dropped")
            }
            Refusal::GivenUp => {
                f.write_str("an earlier piece of it was refused and the rest is not taken; open the entry again")
            }
            Refusal::TooLarge { what, limit } => write!(f, "a {what} has {limit} bytes at most"),
            Refusal::DependsOnItself { key } => write!(f, "{key}: a container cannot depend on itself"),
            Refusal::CrossesPod { key, on } => {
                write!(f, "{key}: {on} is not in the same pod; dependencies stay within a pod or outside all")
            }
            Refusal::NeedsVolatile { key, on } => {
                write!(f, "{key}: {on} is volatile and goes with the boot; only a volatile container may need it")
            }
            Refusal::FixedKey { key } => write!(f, "the key {key:?} is fixed when the object is made"),
            Refusal::PrefixNotExact { prefix } => {
                write!(f, "{prefix} is a prefix; here a full ID or an exact name is due")
            }
            Refusal::NotYours { what } => f.write_str(what),
            Refusal::ReadOnly { entry } => write!(f, "{entry} cannot be written"),
            Refusal::Changed => f.write_str("somebody else changed it since this handle read it"),
            Refusal::Gone => f.write_str("it was removed"),
            Refusal::Undecodable { part, why } => write!(f, "the stored {part} cannot be read: {why}"),
            Refusal::NoAccount { what, name, file } => {
                write!(f, "no {what} {name:?}: the rootfs has none in {file}, and it is no number from 0 to 4294967294")
            }
            Refusal::UnknownVerb { verb, verbs } => {
                write!(f, "there is no verb {verb:?}; there are {}", verbs.join(", "))
            }
            Refusal::UnknownKey { verb, key, keys } => {
                write!(f, "the key {key:?} takes nothing: {verb:?} has {}", keys.join(", "))
            }
        }
    }
}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Refusal {
        Refusal::BadJson(error)
    }
}
