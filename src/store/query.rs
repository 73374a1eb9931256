//! Questions, asked alike of a snapshot and of a transaction under way.

use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, TableError, Value, WriteTransaction};

use super::error::StoreError;
use super::tables::{
    DOCS, IDS, INFRA, LISTS, MEMBERS, META, NAMES, NEEDED, NEEDS, OBJECTS, REQUESTS, ROWS, RUNTIME, meta,
};
use super::update::Done;
use crate::model::id::{Id, IdPrefix, MIN_PREFIX};
use crate::model::record::{CtrHead, Doc, Kind, List, Nanos, PodHead, Row, Serial};

type Result<T> = std::result::Result<T, StoreError>;

/// A state of the store that can be asked.
pub trait Query {
    /// An open table.
    type Table<'a, K: Key + 'static, V: Value + 'static>: ReadableTable<K, V>
    where
        Self: 'a;

    /// Opens a table.
    ///
    /// # Errors
    /// What the database says.
    fn table<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'static, K, V>,
    ) -> std::result::Result<Self::Table<'_, K, V>, TableError>;

    /// The object with this ID; of a pod and its infra container, the pod.
    fn object(&self, id: &Id) -> Result<Option<(Kind, Serial)>> {
        let found = self.table(IDS)?.get(id.as_bytes())?.map(|row| row.value());
        Ok(found.and_then(|(kind, serial)| Some((Kind::from_number(kind)?, serial))))
    }

    /// The container or pod with this ID. Only an infra container shares its ID, with its pod.
    fn object_of(&self, kind: Kind, id: &Id) -> Result<Option<Serial>> {
        match self.object(id)? {
            Some((found, serial)) if found == kind => Ok(Some(serial)),
            _ if kind == Kind::Ctr => Ok(self.table(INFRA)?.get(id.as_bytes())?.map(|row| row.value())),
            _ => Ok(None),
        }
    }

    /// The first two objects of a kind whose IDs begin so.
    fn by_prefix(&self, kind: Kind, prefix: &IdPrefix) -> Result<Vec<(Id, Serial)>> {
        let (low, high) = prefix.range();
        let mut found = Vec::new();
        for entry in self.table(IDS)?.range::<&[u8; 32]>(low..=high)? {
            let (id, row) = entry?;
            let (number, serial) = row.value();
            if number == kind as u8 {
                found.push((Id::from_bytes(*id.value()), serial));
            }
            if found.len() == 2 {
                return Ok(found);
            }
        }
        if kind == Kind::Ctr {
            for entry in self.table(INFRA)?.range::<&[u8; 32]>(low..=high)?.take(2 - found.len()) {
                let (id, serial) = entry?;
                found.push((Id::from_bytes(*id.value()), serial.value()));
            }
        }
        Ok(found)
    }

    /// The binding of a name: its serial, and the object's.
    fn name(&self, name: &str) -> Result<Option<(Serial, Kind, Serial)>> {
        let Some(binding) = self.table(NAMES)?.get(name)?.map(|row| row.value()) else { return Ok(None) };
        match self.row(binding)? {
            Some(Row::Binding { kind, object, .. }) => Ok(Some((binding, kind, object))),
            _ => Err(StoreError::Dangling { table: "names", key: name.to_owned() }),
        }
    }

    /// Whether some name is the beginning of this ID, so that it would hide the ID's prefix.
    fn name_begins(&self, id: &Id) -> Result<bool> {
        let text = id.to_string();
        let from = &text[..MIN_PREFIX];
        for entry in self.table(NAMES)?.range(from..=text.as_str())? {
            if text.starts_with(entry?.0.value()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All names with their bindings' serials.
    fn names(&self) -> Result<Vec<(String, Serial)>> {
        let mut names = Vec::new();
        for entry in self.table(NAMES)?.iter()? {
            let (name, binding) = entry?;
            names.push((name.value().to_owned(), binding.value()));
        }
        Ok(names)
    }

    /// All objects of a kind from a serial on, oldest first.
    fn objects(&self, kind: Kind) -> Result<Vec<(Serial, Id)>> {
        let mut objects = Vec::new();
        for entry in self.table(OBJECTS)?.range((kind as u8, 0)..=(kind as u8, u64::MAX))? {
            let (key, id) = entry?;
            objects.push((key.value().1, Id::from_bytes(*id.value())));
        }
        Ok(objects)
    }

    /// The ID of an object, however damaged its row.
    fn id_of(&self, kind: Kind, serial: Serial) -> Result<Option<Id>> {
        Ok(self.table(OBJECTS)?.get((kind as u8, serial))?.map(|row| Id::from_bytes(*row.value())))
    }

    /// What a serial stands for.
    ///
    /// # Errors
    /// [`StoreError::Row`] when the row does not decode.
    fn row(&self, serial: Serial) -> Result<Option<Row>> {
        self.rows()?.get(serial)
    }

    /// The rows, for many questions: opening a table costs as much as asking it.
    fn rows(&self) -> Result<Rows<Self::Table<'_, u64, &'static [u8]>>> {
        Ok(Rows(self.table(ROWS)?))
    }

    /// A row's bytes as they lie.
    fn raw_row(&self, serial: Serial) -> Result<Option<Vec<u8>>> {
        Ok(self.table(ROWS)?.get(serial)?.map(|row| row.value().to_vec()))
    }

    /// A container's head.
    ///
    /// # Errors
    /// [`StoreError::Row`] when the row is absent, no container's or does not decode.
    fn ctr(&self, serial: Serial) -> Result<CtrHead> {
        match self.row(serial)? {
            Some(Row::Ctr(head)) => Ok(head),
            _ => Err(StoreError::Row { serial, why: "it is not a container's".to_owned() }),
        }
    }

    /// A pod's head.
    ///
    /// # Errors
    /// [`StoreError::Row`] when the row is absent, no pod's or does not decode.
    fn pod(&self, serial: Serial) -> Result<PodHead> {
        match self.row(serial)? {
            Some(Row::Pod(head)) => Ok(head),
            _ => Err(StoreError::Row { serial, why: "it is not a pod's".to_owned() }),
        }
    }

    /// A document as it lies.
    fn doc(&self, serial: Serial, doc: Doc) -> Result<Option<Vec<u8>>> {
        Ok(self.table(DOCS)?.get((serial, doc as u8))?.map(|row| row.value().to_vec()))
    }

    /// What a container depends on: the edges' serials and the other ends.
    fn needs(&self, from: Serial) -> Result<Vec<(Serial, Serial)>> {
        pairs(&self.table(NEEDS)?, from)
    }

    /// What depends on a container: the edges' serials and the other ends.
    fn needed_by(&self, to: Serial) -> Result<Vec<(Serial, Serial)>> {
        pairs(&self.table(NEEDED)?, to)
    }

    /// A pod's containers: the memberships' serials and the containers'.
    fn members(&self, pod: Serial) -> Result<Vec<(Serial, Serial)>> {
        pairs(&self.table(MEMBERS)?, pod)
    }

    /// The serial of the edge between two containers.
    fn edge(&self, from: Serial, to: Serial) -> Result<Option<Serial>> {
        Ok(self.table(NEEDS)?.get((from, to))?.map(|row| row.value()))
    }

    /// The serial of a container's membership in a pod.
    fn member(&self, pod: Serial, ctr: Serial) -> Result<Option<Serial>> {
        Ok(self.table(MEMBERS)?.get((pod, ctr))?.map(|row| row.value()))
    }

    /// When a list of the whole store changed last; 0 when never.
    fn list_changed(&self, list: List) -> Result<Nanos> {
        Ok(self.table(LISTS)?.get(list as u8)?.map_or(0, |row| row.value()))
    }

    /// A stored setting of the runtime configuration.
    fn runtime(&self, setting: &str) -> Result<Option<String>> {
        Ok(self.table(RUNTIME)?.get(setting)?.map(|row| row.value().to_owned()))
    }

    /// The store's UUID.
    fn uuid(&self) -> Result<String> {
        self.meta_text(meta::UUID)
    }

    /// When the store was made.
    fn made(&self) -> Result<Nanos> {
        self.meta_number(meta::MADE)
    }

    /// The boot under which the store was opened last.
    fn boot_id(&self) -> Result<String> {
        self.meta_text(meta::BOOT_ID)
    }

    /// The connection that a server last served.
    fn connection(&self) -> Result<u64> {
        self.meta_number(meta::CONNECTION)
    }

    /// The schema that the store has.
    fn schema(&self) -> Result<u64> {
        self.meta_number(meta::SCHEMA)
    }

    /// The kept answer of a request.
    fn answer(&self, connection: u64, unique: u64) -> Result<Option<Done>> {
        let table = self.table(REQUESTS)?;
        let Some(bytes) = table.get((connection, unique))? else { return Ok(None) };
        let decoded = postcard::from_bytes(bytes.value());
        decoded.map(Some).map_err(|e| StoreError::Row { serial: unique, why: e.to_string() })
    }

    /// All kept answers: what they changed may not have been told.
    fn answers(&self) -> Result<Vec<Done>> {
        let mut done = Vec::new();
        for entry in self.table(REQUESTS)?.iter()? {
            let (key, bytes) = entry?;
            let decoded = postcard::from_bytes(bytes.value());
            done.push(decoded.map_err(|e| StoreError::Row { serial: key.value().1, why: e.to_string() })?);
        }
        Ok(done)
    }

    /// A text of `meta`, "" when absent.
    fn meta_text(&self, key: &'static str) -> Result<String> {
        let table = self.table(META)?;
        let text = table.get(key)?.map(|row| String::from_utf8_lossy(row.value()).into_owned());
        Ok(text.unwrap_or_default())
    }

    /// A number of `meta`, 0 when absent.
    fn meta_number(&self, key: &'static str) -> Result<u64> {
        let table = self.table(META)?;
        let Some(row) = table.get(key)? else { return Ok(0) };
        row.value()
            .try_into()
            .map(u64::from_le_bytes)
            .map_err(|_| StoreError::Dangling { table: "meta", key: key.to_owned() })
    }
}

/// What serials stand for.
pub struct Rows<T>(T);

impl<T: ReadableTable<u64, &'static [u8]>> Rows<T> {
    /// What a serial stands for.
    ///
    /// # Errors
    /// [`StoreError::Row`] when the row does not decode.
    pub fn get(&self, serial: Serial) -> Result<Option<Row>> {
        let Some(bytes) = self.0.get(serial)? else { return Ok(None) };
        let decoded = postcard::from_bytes(bytes.value());
        decoded.map(Some).map_err(|e| StoreError::Row { serial, why: e.to_string() })
    }
}

fn pairs(table: &impl ReadableTable<(u64, u64), u64>, first: Serial) -> Result<Vec<(Serial, Serial)>> {
    let mut found = Vec::new();
    for entry in table.range((first, 0)..=(first, u64::MAX))? {
        let (key, serial) = entry?;
        found.push((serial.value(), key.value().1));
    }
    Ok(found)
}

/// One committed state of the store.
pub struct Snapshot(pub(super) ReadTransaction);

impl Query for Snapshot {
    type Table<'a, K: Key + 'static, V: Value + 'static> = redb::ReadOnlyTable<K, V>;

    fn table<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'static, K, V>,
    ) -> std::result::Result<redb::ReadOnlyTable<K, V>, TableError> {
        self.0.open_table(definition)
    }
}

/// A transaction under way.
pub struct Update<'t> {
    pub(super) txn: &'t WriteTransaction,
    /// Whether this request wrote: from then on it cannot be undone alone.
    pub(super) wrote: std::cell::Cell<bool>,
}

impl Query for Update<'_> {
    type Table<'a, K: Key + 'static, V: Value + 'static>
        = redb::Table<'a, K, V>
    where
        Self: 'a;

    fn table<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'static, K, V>,
    ) -> std::result::Result<redb::Table<'_, K, V>, TableError> {
        self.txn.open_table(definition)
    }
}
