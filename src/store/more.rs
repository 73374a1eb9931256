//! What few containers have: further names, metadata, flags, ID maps, a pod's ID; and what those that are
//! gone ended with.

use redb::ReadableTable;

use super::error::StoreError;
use super::query::{Query, Update};
use super::tables::{DATA, EXITED, FLAGS, INFRA, ITEMS, MORE, OBJECTS};
use crate::model::id::Id;
use crate::model::record::{Kind, More, Nanos, Row, Serial};

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

    /// The containers that carry their pod's ID.
    fn all_infra(&self) -> Result<Vec<(Id, Serial)>> {
        let mut found = Vec::new();
        for entry in self.table(INFRA)?.iter()? {
            let (id, serial) = entry?;
            found.push((Id::from_bytes(*id.value()), serial.value()));
        }
        Ok(found)
    }

    /// What the container of this ID ended with, if it is gone.
    fn exited(&self, id: &Id) -> Result<Option<ExitCode>> {
        let serial = self.table(EXITED)?.get(id.as_bytes())?.map(|row| row.value());
        Ok(serial.map_or(Ok(None), |serial| self.row(serial))?.and_then(|row| exit_code(serial?, &row)))
    }

    /// What containers ended with that are gone and not forgotten. A damaged row is passed over.
    fn all_exited(&self) -> Result<Vec<ExitCode>> {
        let rows = self.rows()?;
        let mut found = Vec::new();
        for entry in self.table(EXITED)?.iter()? {
            let serial = entry?.1.value();
            found.extend(rows.get(serial).ok().flatten().and_then(|row| exit_code(serial, &row)));
        }
        Ok(found)
    }
}

impl<Q: Query> Extras for Q {}

/// What a container that is gone ended with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExitCode {
    /// The serial of its row.
    pub serial: Serial,
    /// The container's ID.
    pub id: Id,
    /// The exit code.
    pub code: i64,
    /// When the container went.
    pub gone: Nanos,
}

fn exit_code(serial: Serial, row: &Row) -> Option<ExitCode> {
    match *row {
        Row::Exited { id, code, gone, .. } => Some(ExitCode { serial, id: Id::from_bytes(id), code, gone }),
        _ => None,
    }
}

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

    /// Enters a new container under its pod's ID.
    pub fn take_infra_id(&self, id: &Id, ctr: Serial) -> Result<()> {
        self.writes();
        self.table(INFRA)?.insert(id.as_bytes(), ctr)?;
        self.table(OBJECTS)?.insert((Kind::Ctr as u8, ctr), id.as_bytes())?;
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

    /// Takes the flags away that were made and never said anything: no file that would is open any more.
    pub fn take_blank_flags(&self) -> Result<()> {
        let mut blank = Vec::new();
        for entry in self.table(FLAGS)?.iter()? {
            let (key, serial) = entry?;
            if matches!(self.row(serial.value()), Ok(Some(Row::Flag { value, .. })) if value.is_empty()) {
                blank.push((key.value().0, key.value().1.to_owned()));
            }
        }
        blank.iter().try_for_each(|(ctr, name)| self.take_flag(*ctr, name).map(drop))
    }

    /// Takes everything away that a container has beside its head. Returns its flags' serials.
    pub(super) fn take_more(&self, ctr: Serial) -> Result<Vec<Serial>> {
        let names = self.flags(ctr)?;
        for (name, _) in &names {
            self.take_flag(ctr, name)?;
        }
        self.table(MORE)?.remove(ctr)?;
        Ok(names.into_iter().map(|(_, serial)| serial).collect())
    }

    /// Keeps what a container that goes ended with.
    pub fn put_exited(&self, id: &Id, name: &str, code: i64, now: Nanos) -> Result<()> {
        let serial = self.next()?;
        self.put_row(serial, &Row::Exited { id: *id.as_bytes(), name: name.to_owned(), code, gone: now })?;
        self.table(EXITED)?.insert(id.as_bytes(), serial)?;
        Ok(())
    }

    /// Forgets what the container of this ID ended with. Returns the serial, if it was known.
    pub fn take_exited(&self, id: &Id) -> Result<Option<Serial>> {
        let Some(serial) = self.table(EXITED)?.get(id.as_bytes())?.map(|row| row.value()) else { return Ok(None) };
        self.writes();
        self.table(EXITED)?.remove(id.as_bytes())?;
        self.delete_row(serial)?;
        Ok(Some(serial))
    }

    /// Forgets what all containers ended with that are gone, damaged rows too.
    pub fn take_all_exited(&self) -> Result<()> {
        let mut serials = Vec::new();
        for entry in self.table(EXITED)?.iter()? {
            serials.push(entry?.1.value());
        }
        if serials.is_empty() {
            return Ok(());
        }
        self.writes();
        self.table(EXITED)?.retain(|_, _| false)?;
        serials.into_iter().try_for_each(|serial| self.delete_row(serial))
    }
}
