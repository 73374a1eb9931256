//! What few containers have: further names, metadata, flags, ID maps, a pod's ID; and what those that are
//! gone ended with.

use redb::ReadableTable;

use super::error::StoreError;
use super::query::{Query, Update};
use super::tables::{DATA, EXITED, FLAGS, INFRA, ITEMS, MORE};
use crate::model::id::Id;
use crate::model::record::{More, Nanos, Row, Serial};

type Result<T> = std::result::Result<T, StoreError>;

/// Questions about what few containers have.
pub trait Extras: Query + Sized {
    /// What a container has beside its head; nothing where there is no row.
    ///
    /// # Errors
    /// [`StoreError::Row`] when the row does not decode.
    fn more(&self, ctr: Serial) -> Result<More> {
        let table = self.table(MORE)?;
        let Some(bytes) = table.get(ctr)? else { return Ok(More::default()) };
        postcard::from_bytes(bytes.value()).map_err(|error| StoreError::Row { serial: ctr, why: error.to_string() })
    }

    /// The containers that have more than a head.
    fn all_more(&self) -> Result<Vec<Serial>> {
        self.table(MORE)?.iter()?.map(|entry| Ok(entry?.0.value())).collect()
    }

    /// A container's flag of this name.
    fn flag(&self, ctr: Serial, name: &str) -> Result<Option<Serial>> {
        Ok(self.table(FLAGS)?.get((ctr, name))?.map(|row| row.value()))
    }

    /// A container's flags, by name.
    fn flags(&self, ctr: Serial) -> Result<Vec<(String, Serial)>> {
        let mut found = Vec::new();
        for entry in self.table(FLAGS)?.range((ctr, "")..(ctr + 1, ""))? {
            let (key, serial) = entry?;
            found.push((key.value().1.to_owned(), serial.value()));
        }
        Ok(found)
    }

    /// The container that carries this ID, which is its pod's.
    fn infra(&self, id: &Id) -> Result<Option<Serial>> {
        Ok(self.table(INFRA)?.get(id.as_bytes())?.map(|row| row.value()))
    }

    /// What the container of this ID ended with, if it is gone.
    fn exited(&self, id: &Id) -> Result<Option<Serial>> {
        Ok(self.table(EXITED)?.get(id.as_bytes())?.map(|row| row.value()))
    }

    /// All containers that are gone and not forgotten.
    fn all_exited(&self) -> Result<Vec<(Serial, Id)>> {
        let mut found = Vec::new();
        for entry in self.table(EXITED)?.iter()? {
            let (id, serial) = entry?;
            found.push((serial.value(), Id::from_bytes(*id.value())));
        }
        found.sort_unstable();
        Ok(found)
    }
}

impl<Q: Query> Extras for Q {}

impl Update<'_> {
    /// Makes the tables of what few containers have, and of items.
    pub(super) fn create_more_tables(&self) -> Result<()> {
        self.table(ITEMS)?;
        self.table(DATA)?;
        self.table(MORE)?;
        self.table(FLAGS)?;
        self.table(INFRA)?;
        self.table(EXITED)?;
        Ok(())
    }

    /// Writes what a container has beside its head.
    pub fn put_more(&self, ctr: Serial, more: &More) -> Result<()> {
        self.writes();
        if *more == More::default() {
            self.table(MORE)?.remove(ctr)?;
            return Ok(());
        }
        let bytes = postcard::to_allocvec(more).map_err(|e| StoreError::Row { serial: ctr, why: e.to_string() })?;
        self.table(MORE)?.insert(ctr, bytes.as_slice())?;
        Ok(())
    }

    /// Sets a flag; a new one gets a serial. Returns it.
    pub fn put_flag(&self, ctr: Serial, name: &str, value: String, now: Nanos) -> Result<Serial> {
        let serial = self.flag(ctr, name)?.map_or_else(|| self.next(), Ok)?;
        self.put_row(serial, &Row::Flag { ctr, name: name.to_owned(), value, changed: now })?;
        self.table(FLAGS)?.insert((ctr, name), serial)?;
        Ok(serial)
    }

    /// Takes a flag away. Returns its serial, if it was there.
    pub fn take_flag(&self, ctr: Serial, name: &str) -> Result<Option<Serial>> {
        self.writes();
        let serial = self.table(FLAGS)?.remove((ctr, name))?.map(|row| row.value());
        serial.map_or(Ok(()), |serial| self.delete_row(serial))?;
        Ok(serial)
    }

    /// Takes everything away that a container has beside its head. Returns its flags' serials.
    pub(super) fn take_more(&self, ctr: Serial) -> Result<Vec<Serial>> {
        let names = self.flags(ctr)?;
        for (name, _) in &names {
            self.take_flag(ctr, name)?;
        }
        self.table(MORE)?.remove(ctr)?;
        self.table(INFRA)?.retain(|_, infra| infra != ctr)?;
        Ok(names.into_iter().map(|(_, serial)| serial).collect())
    }
}
