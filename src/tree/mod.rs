//! What the filesystem looks like: nodes, inode numbers, handles, and an errno for each refusal.
//!
//! It turns paths and bytes into calls of the engine and objects into attributes, listings and text. It
//! knows no transaction, no real path and nothing of the kernel's protocol.

mod control;
mod error;
mod handle;
mod ino;
mod items;
mod keep;
mod list;
mod lookup;
mod node;
mod pinned;
mod plan;
mod read;
mod refusals;
mod texts;
mod write;

use std::path::PathBuf;

use self::handle::Handles;
use self::items::{OpenItems, data_of};
use self::keep::Keep;
use self::list::MadeList;
use self::node::Node;
use self::pinned::Pinned;
use self::refusals::{Process, Refusals};
use crate::engine::{Engine, View};
use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::record::{Answer, Kind, List};

pub use self::error::{Errno, errno, is_absent, is_incomplete, name_text};
pub use self::handle::Opened;
pub use self::ino::{Ino, ROOT, touched};
pub use self::items::{Closers, Creating, Work};
pub use self::list::{Listed, Listing};
pub use self::lookup::{Entered, Lifetime, SetAttr, SetTime};
pub use self::node::{Attr, FileKind};
pub use self::refusals::Caller;
pub use crate::engine::{Error, Origin, Patience};
pub use crate::model::record::Change;

type Result<T> = std::result::Result<T, Error>;

/// A change that happened: what the caller gets, and what it changed.
#[derive(Clone, Debug)]
pub struct Outcome<T> {
    /// What the caller gets.
    pub value: T,
    /// What changed.
    pub changes: Vec<Change>,
}

/// The filesystem over an engine.
pub struct Tree {
    engine: Engine,
    handles: Handles,
    items: OpenItems,
    /// At the place of each list's number.
    made_lists: [MadeList; List::COUNT],
    pinned: Pinned,
    refusals: Refusals,
    run_root: PathBuf,
    store_path: PathBuf,
    shared_with_group: bool,
    comm: fn(u32) -> String,
    closers: Closers,
}

/// What a tree is made with.
pub struct Setup {
    /// This server's generation.
    pub generation: u64,
    /// Where volatile files lie; open handles are kept there for the next server.
    pub run_root: PathBuf,
    /// Where the store lies, as people see it.
    pub store_path: PathBuf,
    /// Whether the group may read what only the owner writes.
    pub shared_with_group: bool,
    /// The name of a process.
    pub comm: fn(u32) -> String,
    /// What is known of those who close items.
    pub closers: Closers,
}

impl Tree {
    /// A tree over an engine that has booted.
    ///
    /// # Errors
    /// What making the directory of handles says.
    pub fn new(engine: Engine, setup: Setup) -> std::io::Result<Tree> {
        let pinned = Pinned::default();
        // Before the first request: an earlier server may have left views.
        match engine.all_shown() {
            Ok(shown) => shown.into_iter().for_each(|shown| pinned.pin(shown)),
            Err(error) => log::warn!("what is mounted cannot be told: {error}"),
        }
        // No handle will come for what was cut off by path: that request is done anew.
        engine.drop_drafts(items::is_item);
        Ok(Tree {
            engine,
            handles: Handles::new(setup.generation, Keep::open(setup.run_root.join("handles"))?),
            items: OpenItems::default(),
            made_lists: Default::default(),
            pinned,
            refusals: Refusals::default(),
            run_root: setup.run_root,
            store_path: setup.store_path,
            shared_with_group: setup.shared_with_group,
            comm: setup.comm,
            closers: setup.closers,
        })
    }

    /// The engine below.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Notes a refused operation where people and tools can read why.
    pub fn note_refusal(&self, caller: Caller, op: &str, place: Place<'_>, error: &Error) {
        self.note_by(&self.process(caller), op, place, error);
    }

    fn note_by(&self, by: &Process, op: &str, place: Place<'_>, error: &Error) {
        let path = self.path(place);
        self.refusals.add(&self.engine.now().text, by, op, &path, errno(error), &error.to_string());
    }

    fn process(&self, caller: Caller) -> Process {
        Process { pid: caller.pid, uid: caller.uid, comm: (self.comm)(caller.pid) }
    }

    /// Makes an object or a member of a pod, by name or by ID.
    ///
    /// # Errors
    /// The model's refusals; [`Refusal::NotYours`] elsewhere.
    pub fn mkdir(&self, origin: Origin, parent: Ino, name: &str) -> Result<Outcome<Entered>> {
        let view = self.engine.view()?;
        let node = self.node(&view, parent)?;
        let place = Tree::dir_of(&node)?;
        if let Some(path) = tag_path(&node, name) {
            let done = self.engine.make_tag_dir(origin, path)?;
            return self.entered(parent, name, done.changes);
        }
        let document = lookup::naming(name);
        let done = match place {
            (plan::Dir::Objects(kind @ (Kind::Ctr | Kind::Pod)), None) => {
                self.engine.create(origin, kind, vec![document])?
            }
            (plan::Dir::Members, Some(pod)) => self.engine.create_in_pod(origin, pod.serial, document)?,
            _ => return Err(Refusal::NotYours { what: "directories are made in ctr/, pod/ and containers/" }.into()),
        };
        let Answer::Objects(objects) = &done.answer else { return Err(Refusal::Gone.into()) };
        let (kind, serial, _) = *objects.first().ok_or(Refusal::Gone)?;
        let listed = matches!(place.0, plan::Dir::Objects(_));
        let value = self.made(&self.engine.view()?, kind, serial, name, listed)?;
        Ok(Outcome { value, changes: done.changes })
    }

    /// Removes an object by the ID that its directory has.
    ///
    /// # Errors
    /// The model's refusals; [`Refusal::NotYours`] elsewhere.
    pub fn rmdir(&self, origin: Origin, patience: Patience, parent: Ino, name: &str) -> Result<Outcome<()>> {
        if let Some(path) = tag_path(&self.node(&self.engine.view()?, parent)?, name) {
            return Ok(Outcome { value: (), changes: self.engine.remove_tag_dir(origin, path)?.changes });
        }
        self.take_away(origin, patience, parent, name, "directories are removed from ctr/, pod/, image/ and layer/")
    }

    /// Removes an object by its exact name; refuses to take anything else away.
    ///
    /// # Errors
    /// The model's refusals; [`Refusal::NotYours`] elsewhere.
    pub fn unlink(&self, origin: Origin, parent: Ino, name: &str) -> Result<Outcome<()>> {
        if let Some(changes) = self.done_with_names(origin)? {
            return Ok(Outcome { value: (), changes });
        }
        let view = self.engine.view()?;
        let node = self.node(&view, parent)?;
        if let Some(path) = tag_path(&node, name) {
            return Ok(Outcome { value: (), changes: self.engine.untag(origin, path)?.changes });
        }
        if let Some(ctr) = texts::flags_of(&node) {
            let done = self.engine.clear_flag(origin, ctr, name.to_owned())?;
            return Ok(Outcome { value: (), changes: done.changes });
        }
        if let Some(place) = data_of(&node) {
            return Ok(Outcome {
                value: (),
                changes: self.engine.remove_item(origin, place, name.to_owned())?.changes,
            });
        }
        // So that a hasty `rm` costs little.
        if let (plan::Dir::Objects(kind @ (Kind::Ctr | Kind::Pod)), _) = Tree::dir_of(&node)?
            && let Ok(found) = view.find(kind, name)
            && let Some(ctr) = view.object_of(Kind::Ctr, &found.id)?
        {
            let name = || view.ctr_name(ctr).unwrap_or_else(|_| name.to_owned());
            if self.engine.has_mounts(found.id) {
                return Err(Refusal::Mounted { name: name() }.into());
            }
            if view.has_items(ctr)? {
                return Err(Refusal::HasItems { name: name() }.into());
            }
        }
        self.take_away(origin, Patience::None, parent, name, "this entry goes with its object only")
    }

    fn take_away(
        &self,
        origin: Origin,
        patience: Patience,
        parent: Ino,
        name: &str,
        elsewhere: &'static str,
    ) -> Result<Outcome<()>> {
        let view = self.engine.view()?;
        let changes = match Tree::dir_of(&self.node(&view, parent)?)? {
            (plan::Dir::Objects(kind), _) => {
                let done = self.engine.remove(origin, kind, name.to_owned(), patience)?;
                self.unpin(&done.answer);
                done.changes
            }
            (plan::Dir::Names, _) if view.name(name)?.is_some() => {
                self.engine.remove_name(origin, name.to_owned())?.changes
            }
            // The kernel may still know a name that is gone.
            _ if self.lookup(parent, name)?.is_none() => {
                return Err(Refusal::NoSuch { kind: Kind::Ctr, what: name.to_owned() }.into());
            }
            _ => return Err(Refusal::NotYours { what: elsewhere }.into()),
        };
        Ok(Outcome { value: (), changes })
    }

    /// What a request changed that an earlier server carried out, of those that answer nothing else. A name
    /// may have been the last of its directory, so this comes before anything is looked up.
    fn done_with_names(&self, origin: Origin) -> Result<Option<Vec<Change>>> {
        let done = self.engine.answered(origin)?.filter(|done| done.answer == Answer::Done);
        Ok(done.map(|done| done.changes))
    }

    /// Answers for what is removed from the store again.
    fn unpin(&self, answer: &Answer) {
        if let Answer::Removed(removed) = answer {
            removed.iter().flatten().for_each(|id| self.pinned.unpin(Id::from_bytes(*id)));
        }
    }

    /// Renames an object, or swaps two names.
    ///
    /// # Errors
    /// The model's refusals; [`Refusal::NotYours`] for what is no name or another directory.
    pub fn rename(&self, origin: Origin, from: (Ino, &str), to: (Ino, &str), swap: bool) -> Result<Outcome<()>> {
        let not_yours = |what| Err(Refusal::NotYours { what }.into());
        if let Some(changes) = self.done_with_names(origin)? {
            return Ok(Outcome { value: (), changes });
        }
        let view = self.engine.view()?;
        let paths = (tag_path(&self.node(&view, from.0)?, from.1), tag_path(&self.node(&view, to.0)?, to.1));
        if let (Some(from), Some(to)) = paths {
            if swap {
                return not_yours("names of images are not swapped");
            }
            if view.tag_dir(&from)?.is_some() {
                return not_yours("directories of image names stay; mv the names in them");
            }
            return Ok(Outcome { value: (), changes: self.engine.retag(origin, from, &to)?.changes });
        }
        let places = (data_of(&self.node(&view, from.0)?), data_of(&self.node(&view, to.0)?));
        match places {
            (Some(place), Some(_)) if from.0 == to.0 => {
                let done = self.engine.rename_item(origin, place, from.1.to_owned(), to.1.to_owned(), swap)?;
                return Ok(Outcome { value: (), changes: done.changes });
            }
            (None, None) => {}
            _ => return Err(Refusal::OtherDirectory.into()),
        }
        if from.0 != to.0 {
            return not_yours("names stay in their directory");
        }
        let kind = match Tree::dir_of(&self.node(&view, from.0)?)? {
            (plan::Dir::Objects(kind), _) => Some(kind),
            (plan::Dir::Names, _) => None,
            _ => return not_yours("only names are renamed"),
        };
        let done = self.engine.rename(origin, kind, from.1.to_owned(), to.1.to_owned(), swap)?;
        Ok(Outcome { value: (), changes: done.changes })
    }

    /// Gives an image or a container one more name: a symlink in `image-name/` or `name/` whose target is
    /// another name or the object's directory, as a path, or whatever else means the object.
    ///
    /// # Errors
    /// The model's refusals; [`Refusal::NotYours`] elsewhere.
    pub fn symlink(&self, origin: Origin, parent: Ino, name: &str, target: &str) -> Result<Outcome<Entered>> {
        let view = self.engine.view()?;
        let node = self.node(&view, parent)?;
        let Some(path) = tag_path(&node, name) else {
            if let (plan::Dir::Names, _) = Tree::dir_of(&node)? {
                let ctr = lookup::named_by(&view, target)?;
                let done = self.engine.add_name(origin, ctr, name)?;
                return self.entered(parent, name, done.changes);
            }
            self.refuse_new()?;
            return Err(Refusal::Gone.into());
        };
        let image = lookup::meant_by(&path, target).into_iter().find(|image| view.find(Kind::Image, image).is_ok());
        let image = image.unwrap_or_else(|| target.to_owned());
        let done = self.engine.tag(origin, image, &path)?;
        self.entered(parent, name, done.changes)
    }

    /// What a name that was just made leads to.
    fn entered(&self, parent: Ino, name: &str, changes: Vec<Change>) -> Result<Outcome<Entered>> {
        let value = self.lookup(parent, name)?.ok_or(Refusal::Gone)?;
        Ok(Outcome { value, changes })
    }

    /// Whether an operation on an open file may wait for mounts, and is for a thread of its own.
    pub fn waits_for_mounts(&self, number: Ino) -> bool {
        self.is_control(number) || self.is_mounted_entry(number)
    }

    /// Whether an entry takes orders.
    pub fn is_control(&self, number: Ino) -> bool {
        let (serial, slot) = ino::split(number);
        serial == 0 && plan::fixed(slot).is_some_and(|entry| entry.shape == plan::Shape::Control)
    }

    /// Whether writing an entry mounts or unmounts a container.
    pub fn is_mounted_entry(&self, number: Ino) -> bool {
        matches!(ino::split(number), (1.., plan::MOUNTED_SLOT))
    }

    /// Whether removing a directory takes mounts away, and is for a thread of its own.
    pub fn unmounts(&self, parent: Ino, name: &str) -> bool {
        // A pod takes the mounts of its infra container along.
        let has_some = |view: &View| {
            matches!(
                self.node(view, parent).map(|node| Tree::dir_of(&node).map(|(dir, _)| dir)),
                Ok(Ok(plan::Dir::Objects(Kind::Ctr | Kind::Pod)))
            )
        };
        // A server that died may have removed it and not unmounted it.
        let mounted = Id::parse(name).is_some_and(|id| self.engine.has_mounts(id));
        mounted && self.engine.view().is_ok_and(|view| has_some(&view))
    }

    /// Whether reading an entry makes a spec, which looks into a rootfs, and is for a thread of its own.
    pub fn is_bundle(&self, number: Ino) -> bool {
        matches!(ino::split(number), (1.., plan::BUNDLE_SLOT))
    }

    /// Whether reading an entry looks through directories, and is for a thread of its own.
    /// The check of the store looks through all layers.
    pub fn measures(&self, number: Ino) -> bool {
        let is_own_layer = || {
            let node = self.engine.view().and_then(|view| self.node(&view, number));
            matches!(node, Ok(Node::Entry(entry, Some(object))) if object.is_measured(entry.shape))
        };
        match ino::split(number) {
            (0, slot) => plan::fixed(slot).is_some_and(|entry| entry.shape == plan::Shape::Check),
            (_, plan::SIZE_RW_SLOT) => true,
            // Another kind of object has something else in this slot.
            (_, plan::LAYER_SIZE_SLOT) => is_own_layer(),
            _ => false,
        }
    }

    /// Makes the kernel and the store agree on what is mounted, once the tree is being served.
    pub fn reconcile(&self) {
        self.engine.reconcile();
        for id in self.pinned.ids() {
            if !self.engine.has_mounts(id) {
                self.pinned.unpin(id);
            }
        }
    }

    /// Refuses to make a file, link or node, for the entries of the tree are given.
    ///
    /// # Errors
    /// Always.
    pub fn refuse_new(&self) -> Result<()> {
        Err(Refusal::NotYours { what: "the entries of the tree are given; objects are made with mkdir or create/" }
            .into())
    }
}

/// The path below `image-name/` of a name in a directory of it.
fn tag_path(dir: &Node, name: &str) -> Option<String> {
    match dir {
        Node::TagDir { path, .. } => Some(format!("{path}/{name}")),
        Node::Entry(plan::Entry { shape: plan::Shape::Dir(plan::Dir::ImageNames), .. }, _) => Some(name.to_owned()),
        _ => None,
    }
}

/// Where an operation took place.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// At an inode.
    At(Ino),
    /// At a name in a directory.
    In(Ino, &'a str),
}
