//! Every promise of the rows, asked as a question, each finding with what mends it.
//!
//! One function a concern. Each works out from the records what an index is due to have, and compares.
//! The records are trusted: indexes follow them, what names nothing is dropped, and a record that cannot
//! be right takes its object along. A row that does not decode is told once, and passes for whatever is
//! due until it is mended; so mending goes on, round by round, until nothing is found that can be.

mod containers;
mod exited;
mod fix;
mod images;
mod items;
mod layers;
mod more;
mod objects;
mod relations;

use std::collections::{BTreeMap, BTreeSet};

use redb::ReadableTable;

use super::error::StoreError;
use super::query::Query;
use super::tables::{MORE, ROWS, meta};
use crate::model::finding::{Finding, Trouble};
use crate::model::id::Id;
use crate::model::record::{CtrHead, ImageHead, Kind, LayerHead, More, PodHead, Rootfs, Row, Serial};

use self::fix::{Entry, Step};

pub use self::fix::{Fix, Mend};

type Result<T> = std::result::Result<T, StoreError>;

/// What does not hold; empty for a sound store. Reads only.
///
/// # Errors
/// What the database says; damaged rows are findings, not errors.
pub fn findings(state: &impl Query) -> Result<Vec<Finding<Fix>>> {
    let mut found = Found::default();
    let look = Look::new(state, &mut found)?;
    let metadata = objects::documents(state, &look, &mut found)?;
    objects::requests(state, &mut found)?;
    let names = relations::names(state, &look, &mut found)?;
    more::more(&look, &names, &metadata, &mut found);
    more::flags(state, &look, &mut found)?;
    items::items(state, &look, &mut found)?;
    exited::exited(state, &look, &mut found)?;
    relations::edges(state, &look, &mut found)?;
    relations::members(state, &look, &mut found)?;
    images::names(state, &look, &mut found)?;
    let places = images::places(state, &look, &mut found)?;
    images::images(&look, &places, &mut found);
    layers::layers(state, &look, &places, &mut found)?;
    containers::users(state, &look, &places, &mut found)?;
    containers::mounted(state, &look, &mut found)?;
    Ok(found.0)
}

/// What was found so far.
#[derive(Default)]
struct Found(Vec<Finding<Fix>>);

impl Found {
    fn push(&mut self, trouble: Trouble, object: impl Into<String>, words: impl Into<String>, fix: Fix) {
        self.0.push(Finding { trouble, object: object.into(), words: words.into(), fix });
    }

    /// A promise of the rows that does not hold.
    fn structure(&mut self, object: impl Into<String>, words: impl Into<String>, fix: Fix) {
        self.push(Trouble::Structure, object, words, fix);
    }
}

/// All rows, and the objects that there are.
#[derive(Default)]
struct Look {
    /// What each serial stands for; `None` where the row does not decode.
    rows: BTreeMap<Serial, Option<Row>>,
    /// The objects with their IDs, as the records have them.
    objects: BTreeMap<(Kind, Serial), Id>,
    /// The containers whose own layers have these serials.
    own_layers: BTreeMap<Serial, Serial>,
    /// What containers have beside their records; why not, where it does not decode.
    more: BTreeMap<Serial, std::result::Result<More, String>>,
    /// The containers that carry their pod's ID.
    infra: BTreeSet<Serial>,
}

impl Look {
    fn new(state: &impl Query, found: &mut Found) -> Result<Look> {
        let next = state.meta_number(meta::NEXT)?;
        let mut look = Look::default();
        let mut damaged = BTreeMap::new();
        for entry in state.table(ROWS)?.iter()? {
            let (serial, bytes) = entry?;
            let row = postcard::from_bytes(bytes.value());
            if let Err(error) = &row {
                damaged.insert(serial.value(), error.to_string());
            }
            look.rows.insert(serial.value(), row.ok());
        }
        for entry in state.table(MORE)?.iter()? {
            let (ctr, bytes) = entry?;
            let more = postcard::from_bytes(bytes.value()).map_err(|error| error.to_string());
            look.more.insert(ctr.value(), more);
        }
        if let Some((last, _)) = look.rows.last_key_value().filter(|(last, _)| **last >= next) {
            let fix = Fix::step(Step::Next(last + 1));
            found.structure(format!("rows {last}"), format!("the next serial is {next}"), fix);
        }
        objects::objects(state, &mut look, found)?;
        let own = |(serial, head): (Serial, &CtrHead)| match head.rootfs {
            Rootfs::Image { layer, .. } => Some((layer, serial)),
            Rootfs::None | Rootfs::Directory => None,
        };
        look.own_layers = look.ctrs().filter_map(own).collect();
        objects::damaged(&look, &damaged, found);
        Ok(look)
    }

    fn exists(&self, kind: Kind, serial: Serial) -> bool {
        self.objects.contains_key(&(kind, serial))
    }

    /// A path of the tree, or the serial of what has none.
    fn path(&self, kind: Kind, serial: Serial) -> String {
        match self.objects.get(&(kind, serial)) {
            Some(id) => format!("{}/{id}", kind.dir()),
            None => format!("{} #{serial}", kind.dir()),
        }
    }

    /// Whether there is a row that does not decode.
    fn is_damaged(&self, serial: Serial) -> bool {
        matches!(self.rows.get(&serial), Some(None))
    }

    /// Whether there is no row, or one that does not decode: it can be made anew.
    fn is_lost(&self, serial: Serial) -> bool {
        !matches!(self.rows.get(&serial), Some(Some(_)))
    }

    /// Whether what a container has beside its record cannot be known.
    fn has_unknown(&self, ctr: Serial) -> bool {
        self.is_damaged(ctr) || matches!(self.more.get(&ctr), Some(Err(_)))
    }

    fn row(&self, serial: Serial) -> Option<&Row> {
        self.rows.get(&serial).and_then(Option::as_ref)
    }

    fn sound(&self) -> impl Iterator<Item = (Serial, &Row)> {
        self.rows.iter().filter_map(|(serial, row)| Some((*serial, row.as_ref()?)))
    }

    fn ctr(&self, serial: Serial) -> Option<&CtrHead> {
        match self.row(serial) {
            Some(Row::Ctr(head)) if self.exists(Kind::Ctr, serial) => Some(head),
            _ => None,
        }
    }

    fn pod(&self, serial: Serial) -> Option<&PodHead> {
        match self.row(serial) {
            Some(Row::Pod(head)) if self.exists(Kind::Pod, serial) => Some(head),
            _ => None,
        }
    }

    fn image(&self, serial: Serial) -> Option<&ImageHead> {
        match self.row(serial) {
            Some(Row::Image(head)) if self.exists(Kind::Image, serial) => Some(head),
            _ => None,
        }
    }

    fn layer(&self, serial: Serial) -> Option<&LayerHead> {
        match self.row(serial) {
            Some(Row::Layer(head)) if self.exists(Kind::Layer, serial) => Some(head),
            _ => None,
        }
    }

    /// The containers whose records decode.
    fn ctrs(&self) -> impl Iterator<Item = (Serial, &CtrHead)> {
        self.objects_of(Kind::Ctr).filter_map(|serial| Some((serial, self.ctr(serial)?)))
    }

    /// All objects of a kind, damaged ones too.
    fn objects_of(&self, kind: Kind) -> impl Iterator<Item = Serial> {
        self.objects.range((kind, 0)..=(kind, u64::MAX)).map(|((_, serial), _)| *serial)
    }
}

/// An index beside what it is due to have: what to drop of it, and what to put.
fn compare<K: Ord, V: PartialEq>(
    has: &BTreeMap<K, V>,
    due: &BTreeMap<K, V>,
    mut drop: impl FnMut(&K, &V),
    mut put: impl FnMut(&K, &V),
) {
    for (key, value) in has.iter().filter(|(key, _)| !due.contains_key(key)) {
        drop(key, value);
    }
    for (key, value) in due.iter().filter(|(key, value)| has.get(key) != Some(value)) {
        put(key, value);
    }
}

/// Pairs of serials with the serial of the row that ties them.
type Ties = BTreeMap<(Serial, Serial), Serial>;
/// Pairs of serials.
type Pairs = BTreeMap<(Serial, Serial), ()>;

fn ties(table: &impl ReadableTable<(u64, u64), u64>) -> Result<Ties> {
    table
        .iter()?
        .map(|entry| entry.map(|(key, value)| (key.value(), value.value())).map_err(StoreError::from))
        .collect()
}

fn pairs(table: &impl ReadableTable<(u64, u64), ()>) -> Result<Pairs> {
    table.iter()?.map(|entry| entry.map(|(key, _)| (key.value(), ())).map_err(StoreError::from)).collect()
}

fn named(table: &impl ReadableTable<&'static str, u64>) -> Result<BTreeMap<String, Serial>> {
    let entries = table.iter()?;
    entries
        .map(|entry| entry.map(|(key, value)| (key.value().to_owned(), value.value())).map_err(StoreError::from))
        .collect()
}
