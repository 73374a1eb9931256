//! One committed state, as the tree asks for it.

use super::find::find;
use super::{Error, Found, Result};
use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::json::is_object;
use crate::model::record::{Doc, Kind, List, Nanos, Row, Serial};
use crate::store::{Query, Snapshot, StoreError};

/// What a serial means.
#[derive(Clone, Debug)]
pub enum What {
    /// What its row says.
    Row(Box<Row>),
    /// An object of this kind whose row does not decode.
    Damaged(Kind),
}

/// One committed state.
pub struct View {
    snapshot: Snapshot,
}

impl View {
    pub(super) fn new(snapshot: Snapshot) -> View {
        View { snapshot }
    }

    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What a serial means; `None` when nothing any more.
    ///
    /// # Errors
    /// What the store says.
    pub fn what(&self, serial: Serial) -> Result<Option<What>> {
        match self.snapshot.row(serial) {
            Ok(row) => Ok(row.map(|row| What::Row(Box::new(row)))),
            Err(StoreError::Row { .. }) => Ok(self.damaged(serial)?),
            Err(error) => Err(error.into()),
        }
    }

    fn damaged(&self, serial: Serial) -> Result<Option<What>> {
        if self.snapshot.id_of(Kind::Ctr, serial)?.is_some() {
            return Ok(Some(What::Damaged(Kind::Ctr)));
        }
        Ok(self.snapshot.id_of(Kind::Pod, serial)?.map(|_| What::Damaged(Kind::Pod)))
    }

    /// The object with this ID.
    ///
    /// # Errors
    /// What the store says.
    pub fn object(&self, id: &Id) -> Result<Option<(Kind, Serial)>> {
        Ok(self.snapshot.object(id)?)
    }

    /// The object of a kind that an ID, name or prefix means.
    ///
    /// # Errors
    /// There is none, or the prefix is ambiguous.
    pub fn find(&self, kind: Kind, text: &str) -> Result<Found> {
        find(&self.snapshot, kind, text)
    }

    /// A name's binding: its serial, the object's kind and serial.
    ///
    /// # Errors
    /// What the store says.
    pub fn name(&self, name: &str) -> Result<Option<(Serial, Kind, Serial)>> {
        Ok(self.snapshot.name(name)?)
    }

    /// All names with their bindings' serials.
    ///
    /// # Errors
    /// What the store says.
    pub fn names(&self) -> Result<Vec<(String, Serial)>> {
        Ok(self.snapshot.names()?)
    }

    /// All objects of a kind, oldest first.
    ///
    /// # Errors
    /// What the store says.
    pub fn objects(&self, kind: Kind) -> Result<Vec<(Serial, Id)>> {
        Ok(self.snapshot.objects(kind)?)
    }

    /// An object's ID.
    ///
    /// # Errors
    /// What the store says.
    pub fn id_of(&self, kind: Kind, serial: Serial) -> Result<Option<Id>> {
        Ok(self.snapshot.id_of(kind, serial)?)
    }

    /// What a container depends on: edges' serials, the other ends.
    ///
    /// # Errors
    /// What the store says.
    pub fn needs(&self, ctr: Serial) -> Result<Vec<(Serial, Serial)>> {
        Ok(self.snapshot.needs(ctr)?)
    }

    /// What depends on a container: edges' serials, the other ends.
    ///
    /// # Errors
    /// What the store says.
    pub fn needed_by(&self, ctr: Serial) -> Result<Vec<(Serial, Serial)>> {
        Ok(self.snapshot.needed_by(ctr)?)
    }

    /// A pod's containers: memberships' serials, the containers'.
    ///
    /// # Errors
    /// What the store says.
    pub fn members(&self, pod: Serial) -> Result<Vec<(Serial, Serial)>> {
        Ok(self.snapshot.members(pod)?)
    }

    /// The edge between two containers.
    ///
    /// # Errors
    /// What the store says.
    pub fn edge(&self, from: Serial, to: Serial) -> Result<Option<Serial>> {
        Ok(self.snapshot.edge(from, to)?)
    }

    /// The membership of a container in a pod.
    ///
    /// # Errors
    /// What the store says.
    pub fn member(&self, pod: Serial, ctr: Serial) -> Result<Option<Serial>> {
        Ok(self.snapshot.member(pod, ctr)?)
    }

    /// When the store was made.
    ///
    /// # Errors
    /// What the store says.
    pub fn made(&self) -> Result<Nanos> {
        Ok(self.snapshot.made()?)
    }

    /// When a list of the whole store changed last.
    ///
    /// # Errors
    /// What the store says.
    pub fn list_changed(&self, list: List) -> Result<Nanos> {
        Ok(self.snapshot.list_changed(list)?)
    }

    /// A document, as it is served.
    ///
    /// # Errors
    /// [`Refusal::Undecodable`] when it is not the JSON object that it should be.
    pub fn doc(&self, serial: Serial, doc: Doc) -> Result<Vec<u8>> {
        let undecodable = |why: String| Error::Refused(Refusal::Undecodable { part: doc.name(), why });
        let bytes = self.snapshot.doc(serial, doc)?.ok_or_else(|| undecodable("it is missing".to_owned()))?;
        match is_object(&bytes) {
            Ok(true) => Ok(bytes),
            Ok(false) => Err(undecodable("it is not an object".to_owned())),
            Err(error) => Err(undecodable(error.to_string())),
        }
    }

    /// A record's bytes as they lie: the documents, and the head where it does not decode.
    ///
    /// # Errors
    /// What the store says.
    pub fn raw(&self, serial: Serial) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for doc in [Doc::Config, Doc::State] {
            bytes.extend(self.snapshot.doc(serial, doc)?.unwrap_or_default());
        }
        if self.snapshot.row(serial).is_err() {
            bytes.extend(self.snapshot.raw_row(serial)?.unwrap_or_default());
        }
        Ok(bytes)
    }
}
