//! What mends a finding, as values, and how rows are mended.

use super::Result;
use crate::model::id::Id;
use crate::model::record::{Change, Kind, More, Nanos, Row, Serial};
use crate::store::query::{Query, Update};
use crate::store::tables::{
    CHILDREN, DATA, DIGESTS, DOCS, EXITED, FLAGS, HELD, IDS, INFRA, ITEMS, MEMBERS, MORE, MOUNTED, NAMES, NEEDED,
    NEEDS, OBJECTS, PLACES, REQUESTS, TAG_DIRS, TAGGED, TAGS, USERS, meta,
};

/// What mends a finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fix {
    /// A record is put as it follows from what it is derived from; before all else, for indexes follow it.
    Record(Serial, Box<Row>),
    /// Rows are put as the records have them, or dropped because they name nothing.
    Rows(Vec<Mend>),
    /// The object cannot be mended, and goes.
    Remove(Kind, Serial),
}

/// One row put right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mend(pub(super) Step);

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// The next serial is this one.
    Next(Serial),
    PutRow(Serial, Box<Row>),
    DropRow(Serial),
    Put(Entry),
    Drop(Entry),
    Forget(Foreign),
    /// A directory of image names is made.
    MakeTagDir(String),
    /// A name is bound to a container that says it has it.
    Bind(String, Serial),
    /// What a container has beside its record.
    PutMore(Serial, Box<More>),
}

/// An entry of an index, key and value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    Id(Id, (Kind, Serial)),
    Digest((Kind, Id), Serial),
    Object((Kind, Serial), Id),
    Name(String, Serial),
    Need((Serial, Serial), Serial),
    Needed((Serial, Serial), Serial),
    Member((Serial, Serial), Serial),
    Tag(String, Serial),
    TagDir(String, Serial),
    Tagged((Serial, Serial)),
    Place((Serial, Serial), Serial),
    Held((Serial, Serial), Serial),
    Child((Serial, Serial)),
    User((Serial, Serial)),
    Mounted(Serial),
    Infra(Id, Serial),
    Flag((Serial, String), Serial),
    Item((Serial, String), Serial),
    Exited(Id, Serial),
}

/// An entry that can only be dropped, by its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Foreign {
    Id(Id),
    Digest(u8, Id),
    Object(u8, Serial),
    Doc(Serial, u8),
    Request(u64, u64),
    More(Serial),
    Data(Serial),
}

impl Fix {
    pub(super) fn put(entry: Entry) -> Fix {
        Fix::Rows(vec![Mend(Step::Put(entry))])
    }

    pub(super) fn drop(entry: Entry) -> Fix {
        Fix::Rows(vec![Mend(Step::Drop(entry))])
    }

    pub(super) fn put_row(serial: Serial, row: Row) -> Fix {
        Fix::Rows(vec![Mend(Step::PutRow(serial, Box::new(row)))])
    }

    pub(super) fn drop_row(serial: Serial) -> Fix {
        Fix::Rows(vec![Mend(Step::DropRow(serial))])
    }

    pub(super) fn step(step: Step) -> Fix {
        Fix::Rows(vec![Mend(step)])
    }
}

impl Update<'_> {
    /// Puts a record. Returns what changed.
    ///
    /// # Errors
    /// What the database says.
    pub fn mend_record(&self, serial: Serial, row: &Row) -> Result<Vec<Change>> {
        self.put_row(serial, row)?;
        Ok(told(serial, Some(row)))
    }

    /// Puts rows right. Returns what changed, lists of the whole store aside.
    ///
    /// # Errors
    /// What the database says.
    pub fn mend(&self, mends: &[Mend], now: Nanos) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for Mend(step) in mends {
            self.writes();
            match step {
                Step::Next(next) => self.set_meta(meta::NEXT, &next.to_le_bytes())?,
                Step::PutRow(serial, row) => {
                    self.put_row(*serial, row)?;
                    changes.extend(told(*serial, Some(row)));
                }
                Step::DropRow(serial) => {
                    let row = self.row(*serial).ok().flatten();
                    self.delete_row(*serial)?;
                    changes.extend(told(*serial, row.as_ref()));
                }
                Step::Put(entry) => self.put_entry(entry)?,
                Step::Drop(entry) => self.drop_entry(entry)?,
                Step::Forget(foreign) => self.forget(foreign)?,
                Step::MakeTagDir(path) => changes.push(Change::TagDir(self.put_tag_dir(path, now)?)),
                Step::Bind(name, ctr) => drop(self.bind(name, Kind::Ctr, *ctr, now)?),
                Step::PutMore(ctr, more) => {
                    self.put_more(*ctr, more)?;
                    changes.push(Change::More(*ctr));
                }
            }
        }
        Ok(changes)
    }

    fn put_entry(&self, entry: &Entry) -> Result<()> {
        match entry {
            Entry::Id(id, (kind, serial)) => drop(self.table(IDS)?.insert(id.as_bytes(), (*kind as u8, *serial))?),
            Entry::Digest((kind, id), serial) => {
                drop(self.table(DIGESTS)?.insert((*kind as u8, id.as_bytes()), *serial)?);
            }
            Entry::Object((kind, serial), id) => {
                drop(self.table(OBJECTS)?.insert((*kind as u8, *serial), id.as_bytes())?);
            }
            Entry::Name(name, binding) => drop(self.table(NAMES)?.insert(name.as_str(), *binding)?),
            Entry::Need(pair, edge) => drop(self.table(NEEDS)?.insert(*pair, *edge)?),
            Entry::Needed(pair, edge) => drop(self.table(NEEDED)?.insert(*pair, *edge)?),
            Entry::Member(pair, member) => drop(self.table(MEMBERS)?.insert(*pair, *member)?),
            Entry::Tag(name, tag) => drop(self.table(TAGS)?.insert(name.as_str(), *tag)?),
            Entry::TagDir(path, dir) => drop(self.table(TAG_DIRS)?.insert(path.as_str(), *dir)?),
            Entry::Tagged(pair) => drop(self.table(TAGGED)?.insert(*pair, ())?),
            Entry::Place(pair, place) => drop(self.table(PLACES)?.insert(*pair, *place)?),
            Entry::Held(pair, place) => drop(self.table(HELD)?.insert(*pair, *place)?),
            Entry::Child(pair) => drop(self.table(CHILDREN)?.insert(*pair, ())?),
            Entry::User(pair) => drop(self.table(USERS)?.insert(*pair, ())?),
            Entry::Mounted(ctr) => drop(self.table(MOUNTED)?.insert(*ctr, ())?),
            Entry::Infra(id, ctr) => drop(self.table(INFRA)?.insert(id.as_bytes(), *ctr)?),
            Entry::Flag((ctr, name), flag) => drop(self.table(FLAGS)?.insert((*ctr, name.as_str()), *flag)?),
            Entry::Item((owner, key), item) => drop(self.table(ITEMS)?.insert((*owner, key.as_str()), *item)?),
            Entry::Exited(id, exited) => drop(self.table(EXITED)?.insert(id.as_bytes(), *exited)?),
        }
        Ok(())
    }

    fn drop_entry(&self, entry: &Entry) -> Result<()> {
        match entry {
            Entry::Id(id, _) => drop(self.table(IDS)?.remove(id.as_bytes())?),
            Entry::Digest((kind, id), _) => drop(self.table(DIGESTS)?.remove((*kind as u8, id.as_bytes()))?),
            Entry::Object((kind, serial), _) => drop(self.table(OBJECTS)?.remove((*kind as u8, *serial))?),
            Entry::Name(name, _) => drop(self.table(NAMES)?.remove(name.as_str())?),
            Entry::Need(pair, _) => drop(self.table(NEEDS)?.remove(*pair)?),
            Entry::Needed(pair, _) => drop(self.table(NEEDED)?.remove(*pair)?),
            Entry::Member(pair, _) => drop(self.table(MEMBERS)?.remove(*pair)?),
            Entry::Tag(name, _) => drop(self.table(TAGS)?.remove(name.as_str())?),
            Entry::TagDir(path, _) => drop(self.table(TAG_DIRS)?.remove(path.as_str())?),
            Entry::Tagged(pair) => drop(self.table(TAGGED)?.remove(*pair)?),
            Entry::Place(pair, _) => drop(self.table(PLACES)?.remove(*pair)?),
            Entry::Held(pair, _) => drop(self.table(HELD)?.remove(*pair)?),
            Entry::Child(pair) => drop(self.table(CHILDREN)?.remove(*pair)?),
            Entry::User(pair) => drop(self.table(USERS)?.remove(*pair)?),
            Entry::Mounted(ctr) => drop(self.table(MOUNTED)?.remove(*ctr)?),
            Entry::Infra(id, _) => drop(self.table(INFRA)?.remove(id.as_bytes())?),
            Entry::Flag((ctr, name), _) => drop(self.table(FLAGS)?.remove((*ctr, name.as_str()))?),
            Entry::Item((owner, key), _) => drop(self.table(ITEMS)?.remove((*owner, key.as_str()))?),
            Entry::Exited(id, _) => drop(self.table(EXITED)?.remove(id.as_bytes())?),
        }
        Ok(())
    }

    fn forget(&self, foreign: &Foreign) -> Result<()> {
        match foreign {
            Foreign::Id(id) => drop(self.table(IDS)?.remove(id.as_bytes())?),
            Foreign::Digest(kind, id) => drop(self.table(DIGESTS)?.remove((*kind, id.as_bytes()))?),
            Foreign::Object(kind, serial) => drop(self.table(OBJECTS)?.remove((*kind, *serial))?),
            Foreign::Doc(serial, doc) => drop(self.table(DOCS)?.remove((*serial, *doc))?),
            Foreign::Request(connection, unique) => {
                drop(self.table(REQUESTS)?.remove((*connection, *unique))?);
            }
            Foreign::More(ctr) => drop(self.table(MORE)?.remove(*ctr)?),
            Foreign::Data(owner) => drop(self.table(DATA)?.remove(*owner)?),
        }
        Ok(())
    }
}

/// What whoever caches a row is told when it is put or dropped; of one that does not decode, whatever it
/// may have been beside an object.
fn told(serial: Serial, row: Option<&Row>) -> Vec<Change> {
    match row {
        Some(Row::Ctr(_)) => vec![Change::Mended(Kind::Ctr, serial)],
        Some(Row::Pod(_)) => vec![Change::Mended(Kind::Pod, serial)],
        Some(Row::Image(_)) => vec![Change::Mended(Kind::Image, serial)],
        Some(Row::Layer(_)) => vec![Change::Mended(Kind::Layer, serial)],
        Some(Row::Binding { .. }) => vec![Change::Binding(serial)],
        Some(Row::Edge { .. }) => vec![Change::Edge(serial)],
        Some(Row::Member { .. }) => vec![Change::Member(serial)],
        Some(Row::Tag { .. }) => vec![Change::Tag(serial)],
        Some(Row::TagDir { .. }) => vec![Change::TagDir(serial)],
        Some(Row::Place { .. }) => vec![Change::Place(serial)],
        Some(Row::Item(_)) => vec![Change::Item(serial)],
        Some(Row::Flag { .. }) => vec![Change::Flag(serial)],
        Some(Row::Exited { .. }) => vec![Change::Exited(serial)],
        None => vec![Change::Edge(serial), Change::Place(serial)],
    }
}
