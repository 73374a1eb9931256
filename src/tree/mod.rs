//! What the filesystem looks like: nodes, inode numbers, handles, and an errno for each refusal.
//!
//! It turns paths and bytes into calls of the engine and objects into attributes, listings and text. It
//! knows no transaction, no real path and nothing of the kernel's protocol.

mod error;
mod handle;
mod ino;
mod keep;
mod list;
mod lookup;
mod node;
mod plan;
mod read;
mod refusals;
mod write;

use std::path::PathBuf;

use self::handle::Handles;
use self::keep::Keep;
use self::list::MadeList;
use self::refusals::{Process, Refusals};
use crate::engine::Engine;
use crate::model::error::Refusal;
use crate::model::record::{Answer, Kind};

pub use self::error::{Errno, errno, is_absent, is_incomplete, name_text};
pub use self::handle::Opened;
pub use self::ino::{Ino, ROOT, touched};
pub use self::list::{Listed, Listing};
pub use self::lookup::{Entered, Lifetime, SetAttr, SetTime};
pub use self::node::{Attr, FileKind};
pub use self::refusals::Caller;
pub use crate::engine::{Error, Origin};
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
    /// At the place of each list's number.
    made_lists: [MadeList; 4],
    refusals: Refusals,
    run_root: PathBuf,
    store_path: PathBuf,
    shared_with_group: bool,
    comm: fn(u32) -> String,
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
}

impl Tree {
    /// A tree over an engine that has booted.
    ///
    /// # Errors
    /// What making the directory of handles says.
    pub fn new(engine: Engine, setup: Setup) -> std::io::Result<Tree> {
        Ok(Tree {
            engine,
            handles: Handles::new(setup.generation, Keep::open(setup.run_root.join("handles"))?),
            made_lists: Default::default(),
            refusals: Refusals::default(),
            run_root: setup.run_root,
            store_path: setup.store_path,
            shared_with_group: setup.shared_with_group,
            comm: setup.comm,
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
        let document = lookup::naming(name);
        let done = match place {
            (plan::Dir::Objects(kind), None) => self.engine.create(origin, kind, vec![document])?,
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
    pub fn rmdir(&self, origin: Origin, parent: Ino, name: &str) -> Result<Outcome<()>> {
        self.take_away(origin, parent, name, "directories are removed from ctr/ and pod/")
    }

    /// Removes an object by its exact name; refuses to take anything else away.
    ///
    /// # Errors
    /// The model's refusals; [`Refusal::NotYours`] elsewhere.
    pub fn unlink(&self, origin: Origin, parent: Ino, name: &str) -> Result<Outcome<()>> {
        self.take_away(origin, parent, name, "this entry goes with its object only")
    }

    fn take_away(&self, origin: Origin, parent: Ino, name: &str, elsewhere: &'static str) -> Result<Outcome<()>> {
        let view = self.engine.view()?;
        let changes = match Tree::dir_of(&self.node(&view, parent)?)? {
            (plan::Dir::Objects(kind), _) => self.engine.remove_named(origin, kind, name.to_owned())?.changes,
            (plan::Dir::Names, _) if view.name(name)?.is_some() => {
                return Err(Refusal::LastName { name: name.to_owned() }.into());
            }
            // The kernel may still know a name that is gone.
            _ if self.lookup(parent, name)?.is_none() => {
                return Err(Refusal::NoSuch { kind: Kind::Ctr, what: name.to_owned() }.into());
            }
            _ => return Err(Refusal::NotYours { what: elsewhere }.into()),
        };
        Ok(Outcome { value: (), changes })
    }

    /// Renames an object, or swaps two names.
    ///
    /// # Errors
    /// The model's refusals; [`Refusal::NotYours`] for what is no name or another directory.
    pub fn rename(&self, origin: Origin, from: (Ino, &str), to: (Ino, &str), swap: bool) -> Result<Outcome<()>> {
        let not_yours = |what| Err(Refusal::NotYours { what }.into());
        if from.0 != to.0 {
            return not_yours("names stay in their directory");
        }
        let view = self.engine.view()?;
        let kind = match Tree::dir_of(&self.node(&view, from.0)?)? {
            (plan::Dir::Objects(kind), _) => Some(kind),
            (plan::Dir::Names, _) => None,
            _ => return not_yours("only names are renamed"),
        };
        let done = self.engine.rename(origin, kind, from.1.to_owned(), to.1.to_owned(), swap)?;
        Ok(Outcome { value: (), changes: done.changes })
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

/// Where an operation took place.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// At an inode.
    At(Ino),
    /// At a name in a directory.
    In(Ino, &'a str),
}
