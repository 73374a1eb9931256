//! Writing rows, inside a transaction. Here the structure is kept sound: an ID or name that is taken
//! shows as an old value at insert, and an object takes every row that mentions it along.

use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::more::Extras;
use super::query::{Query, Update};
use super::tables::{
    DOCS, IDS, INFRA, LISTS, MEMBERS, META, NAMES, NEEDED, NEEDS, OBJECTS, REQUESTS, ROWS, RUNTIME, meta,
};
use crate::model::id::Id;
use crate::model::record::{Answer, Change, Doc, Kind, List, Nanos, Row, Serial};

type Result<T> = std::result::Result<T, StoreError>;

/// What is kept of an answered request: its result and what it changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// The result.
    pub answer: Answer,
    /// What it changed.
    pub changes: Vec<Change>,
}

impl Update<'_> {
    pub(super) fn writes(&self) {
        self.wrote.set(true);
    }

    /// A number that was never given before: a serial or a version.
    pub fn next(&self) -> Result<u64> {
        let next = self.meta_number(meta::NEXT)?.max(1);
        self.set_meta(meta::NEXT, &(next + 1).to_le_bytes())?;
        Ok(next)
    }

    /// Writes a row.
    pub fn put_row(&self, serial: Serial, row: &Row) -> Result<()> {
        self.writes();
        let bytes = postcard::to_allocvec(row).map_err(|e| StoreError::Row { serial, why: e.to_string() })?;
        self.table(ROWS)?.insert(serial, bytes.as_slice())?;
        Ok(())
    }

    pub(super) fn delete_row(&self, serial: Serial) -> Result<()> {
        self.table(ROWS)?.remove(serial)?;
        Ok(())
    }

    /// Writes a document.
    pub fn put_doc(&self, serial: Serial, doc: Doc, bytes: &[u8]) -> Result<()> {
        self.writes();
        self.table(DOCS)?.insert((serial, doc as u8), bytes)?;
        Ok(())
    }

    /// Enters a new object's ID. False when it is taken; then nothing was written.
    pub fn take_id(&self, id: &Id, kind: Kind, serial: Serial) -> Result<bool> {
        let mut ids = self.table(IDS)?;
        if ids.get(id.as_bytes())?.is_some() {
            return Ok(false);
        }
        self.writes();
        ids.insert(id.as_bytes(), (kind as u8, serial))?;
        self.table(OBJECTS)?.insert((kind as u8, serial), id.as_bytes())?;
        Ok(true)
    }

    /// Binds a free name to an object and returns the binding; `None` when the name is taken, and
    /// nothing was written.
    pub fn bind(&self, name: &str, kind: Kind, object: Serial, now: Nanos) -> Result<Option<Serial>> {
        if self.table(NAMES)?.get(name)?.is_some() {
            return Ok(None);
        }
        let binding = self.next()?;
        self.table(NAMES)?.insert(name, binding)?;
        self.put_row(binding, &Row::Binding { name: name.to_owned(), kind, object, changed: now })?;
        Ok(Some(binding))
    }

    /// Takes a name and its binding away.
    pub fn unbind(&self, name: &str) -> Result<()> {
        self.writes();
        let binding = self.table(NAMES)?.remove(name)?.map(|row| row.value());
        binding.map_or(Ok(()), |binding| self.delete_row(binding))
    }

    /// Moves a binding to another name, free or its own; the serial stays.
    pub fn rebind(&self, binding: Serial, from: &str, to: &str, now: Nanos) -> Result<()> {
        let Some(Row::Binding { kind, object, .. }) = self.row(binding)? else {
            return Err(StoreError::Dangling { table: "names", key: from.to_owned() });
        };
        self.writes();
        let mut names = self.table(NAMES)?;
        if names.get(from)?.is_some_and(|row| row.value() == binding) {
            names.remove(from)?;
        }
        names.insert(to, binding)?;
        drop(names);
        self.put_row(binding, &Row::Binding { name: to.to_owned(), kind, object, changed: now })
    }

    /// Draws an edge; one that is there already stays. Returns its serial.
    pub fn link(&self, from: Serial, to: Serial, now: Nanos) -> Result<Serial> {
        if let Some(edge) = self.edge(from, to)? {
            return Ok(edge);
        }
        let edge = self.next()?;
        self.table(NEEDS)?.insert((from, to), edge)?;
        self.table(NEEDED)?.insert((to, from), edge)?;
        self.put_row(edge, &Row::Edge { from, to, made: now })?;
        Ok(edge)
    }

    /// Enters a container in a pod. Returns the membership's serial.
    pub fn join(&self, pod: Serial, ctr: Serial, now: Nanos) -> Result<Serial> {
        let member = self.next()?;
        self.table(MEMBERS)?.insert((pod, ctr), member)?;
        self.put_row(member, &Row::Member { pod, ctr, made: now })?;
        Ok(member)
    }

    /// Takes an object and every row that mentions it out of the store, whatever state its own rows
    /// are in. Returns what went with it: bindings, edges (with the other ends) and memberships.
    pub fn remove_object(&self, kind: Kind, serial: Serial) -> Result<Taken> {
        self.writes();
        let mut taken = Taken { bindings: self.take_names(serial)?, ..Taken::default() };
        for (edge, other) in self.needs(serial)? {
            self.unlink(serial, other, edge)?;
            taken.edges.push((edge, other));
        }
        for (edge, other) in self.needed_by(serial)? {
            self.unlink(other, serial, edge)?;
            taken.edges.push((edge, other));
        }
        taken.members = self.take_memberships(kind, serial)?;
        taken.flags = self.take_more(serial)?;
        for doc in [Doc::Config, Doc::State, Doc::Metadata] {
            self.table(DOCS)?.remove((serial, doc as u8))?;
        }
        let id = self.table(OBJECTS)?.remove((kind as u8, serial))?.map(|row| *row.value());
        if let Some(id) = id {
            self.free_id(kind, serial, &Id::from_bytes(id))?;
        }
        self.delete_row(serial)?;
        Ok(taken)
    }

    /// Frees the ID of an object that goes; an infra container leaves it to its pod.
    fn free_id(&self, kind: Kind, serial: Serial, id: &Id) -> Result<()> {
        if kind == Kind::Ctr && self.infra(id)? == Some(serial) {
            self.table(INFRA)?.remove(id.as_bytes())?;
        } else {
            self.table(IDS)?.remove(id.as_bytes())?;
        }
        Ok(())
    }

    fn unlink(&self, from: Serial, to: Serial, edge: Serial) -> Result<()> {
        self.table(NEEDS)?.remove((from, to))?;
        self.table(NEEDED)?.remove((to, from))?;
        self.delete_row(edge)
    }

    /// The head says which name and binding are the object's, even if the binding's row is gone, and the
    /// row of what few have says the further ones. Where they cannot, or say wrong, all are searched.
    fn take_names(&self, serial: Serial) -> Result<Vec<Serial>> {
        let told = match (self.row(serial), self.more(serial)) {
            (Ok(Some(Row::Ctr(head))), Ok(more)) => Some((head.name, head.binding, more.names)),
            (Ok(Some(Row::Pod(head))), _) => Some((head.name, head.binding, vec![])),
            _ => None,
        };
        let belongs = |binding| matches!(self.row(binding), Ok(Some(Row::Binding { object, .. })) if object == serial);
        let (mut found, mut due) = (Vec::new(), 1);
        if let Some((name, own, further)) = told {
            due += further.len();
            for name in further.into_iter().chain([name]) {
                let binding = self.table(NAMES)?.get(name.as_str())?.map(|row| row.value());
                found.extend(binding.filter(|b| *b == own || belongs(*b)).map(|b| (name, b)));
            }
        }
        if found.len() < due {
            found = self.names()?.into_iter().filter(|(_, binding)| belongs(*binding)).collect();
        }
        found.iter().try_for_each(|(name, _)| self.unbind(name))?;
        Ok(found.into_iter().map(|(_, binding)| binding).collect())
    }

    fn take_memberships(&self, kind: Kind, serial: Serial) -> Result<Vec<(Serial, Serial)>> {
        let found: Vec<(u64, u64, u64)> = match (kind, self.row(serial)) {
            (Kind::Ctr, Ok(Some(Row::Ctr(head)))) => {
                head.pod.map(|(pod, member)| (pod, serial, member)).into_iter().collect()
            }
            (Kind::Ctr, _) => self.all_memberships()?.into_iter().filter(|(_, ctr, _)| *ctr == serial).collect(),
            (Kind::Image | Kind::Layer, _) => vec![],
            (Kind::Pod, _) => self.members(serial)?.into_iter().map(|(member, ctr)| (serial, ctr, member)).collect(),
        };
        for (pod, ctr, member) in &found {
            self.table(MEMBERS)?.remove((*pod, *ctr))?;
            self.delete_row(*member)?;
        }
        Ok(found.into_iter().map(|(pod, _, member)| (member, pod)).collect())
    }

    fn all_memberships(&self) -> Result<Vec<(u64, u64, u64)>> {
        let mut found = Vec::new();
        for entry in self.table(MEMBERS)?.iter()? {
            let (key, member) = entry?;
            found.push((key.value().0, key.value().1, member.value()));
        }
        Ok(found)
    }

    /// Notes that a list of the whole store changed. Each change has a time of its own, later than the
    /// last, whatever the clock says: who has the time knows the list.
    pub fn touch_list(&self, list: List, now: Nanos) -> Result<()> {
        self.writes();
        let now = now.max(self.list_changed(list)? + 1);
        self.table(LISTS)?.insert(list as u8, now)?;
        Ok(())
    }

    /// Stores a setting of the runtime configuration.
    pub fn put_runtime(&self, setting: &str, value: &str) -> Result<()> {
        self.writes();
        self.table(RUNTIME)?.insert(setting, value)?;
        Ok(())
    }

    /// Notes the boot under which the store is open.
    pub fn set_boot_id(&self, boot_id: &str) -> Result<()> {
        self.set_meta(meta::BOOT_ID, boot_id.as_bytes())
    }

    pub(super) fn set_meta(&self, key: &'static str, value: &[u8]) -> Result<()> {
        self.writes();
        self.table(META)?.insert(key, value)?;
        Ok(())
    }

    /// Begins a server's life on a connection: answers kept for other connections go, and the server
    /// gets a generation of its own.
    pub fn begin_server(&self, connection: u64) -> Result<u64> {
        if self.meta_number(meta::CONNECTION)? != connection {
            self.table(REQUESTS)?.retain(|_, _| false)?;
            self.set_meta(meta::CONNECTION, &connection.to_le_bytes())?;
        }
        let generation = self.meta_number(meta::GENERATION)? + 1;
        self.set_meta(meta::GENERATION, &generation.to_le_bytes())?;
        Ok(generation)
    }

    /// Keeps the answer of a request with what it changed.
    pub fn keep_answer(&self, connection: u64, unique: u64, done: &Done) -> Result<()> {
        self.writes();
        let bytes = postcard::to_allocvec(done).map_err(|e| StoreError::Row { serial: unique, why: e.to_string() })?;
        self.table(REQUESTS)?.insert((connection, unique), bytes.as_slice())?;
        Ok(())
    }

    /// Drops answers that have arrived.
    pub(super) fn drop_answers(&self, arrived: &[(u64, u64)]) -> Result<()> {
        let mut requests = self.table(REQUESTS)?;
        for key in arrived {
            requests.remove(*key)?;
        }
        Ok(())
    }
}

/// What went with a removed object.
#[derive(Default, Debug)]
pub struct Taken {
    /// Bindings of its names.
    pub bindings: Vec<Serial>,
    /// Edges, with the container at the other end.
    pub edges: Vec<(Serial, Serial)>,
    /// Memberships, with the pod.
    pub members: Vec<(Serial, Serial)>,
    /// Flags.
    pub flags: Vec<Serial>,
}
