//! One committed state, as the tree asks for it.

use super::find::find;
use super::{Error, Found, Result};
use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::json::is_object;
use crate::model::record::{Doc, ImageHead, Kind, List, More, Nanos, Row, Serial};
use crate::store::{Contents, Extras, Query, Snapshot, StoreError};

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
        for kind in Kind::ALL {
            if self.snapshot.id_of(kind, serial)?.is_some() {
                return Ok(Some(What::Damaged(kind)));
            }
        }
        Ok(None)
    }

    /// The image or layer with this ID.
    ///
    /// # Errors
    /// What the store says.
    pub fn content(&self, kind: Kind, id: &Id) -> Result<Option<Serial>> {
        Ok(self.snapshot.content(kind, id)?)
    }

    /// An image's head.
    ///
    /// # Errors
    /// What the store says; it does not decode.
    pub fn image(&self, serial: Serial) -> Result<ImageHead> {
        Ok(self.snapshot.image(serial)?)
    }

    /// A container's name.
    ///
    /// # Errors
    /// What the store says; it does not decode.
    pub fn ctr_name(&self, serial: Serial) -> Result<String> {
        Ok(self.snapshot.ctr(serial)?.name)
    }

    /// A whole image name: its serial and the image's.
    ///
    /// # Errors
    /// What the store says.
    pub fn tag(&self, name: &str) -> Result<Option<(Serial, Serial)>> {
        Ok(self.snapshot.tag(name)?)
    }

    /// The directory of image names at a path.
    ///
    /// # Errors
    /// What the store says.
    pub fn tag_dir(&self, path: &str) -> Result<Option<Serial>> {
        Ok(self.snapshot.tag_dir(path)?)
    }

    /// The directories and the names right below a directory of image names, with their serials.
    ///
    /// # Errors
    /// What the store says.
    #[expect(clippy::type_complexity, reason = "two lists alike")]
    pub fn tag_entries(&self, dir: &str) -> Result<(Vec<(String, Serial)>, Vec<(String, Serial)>)> {
        Ok(self.snapshot.tag_entries(dir)?)
    }

    /// An image's names with their serials.
    ///
    /// # Errors
    /// What the store says.
    pub fn tags_of(&self, image: Serial) -> Result<Vec<(String, Serial)>> {
        Ok(self.snapshot.tags_of(image)?)
    }

    /// An image's layers, the base first: their places' serials and theirs.
    ///
    /// # Errors
    /// What the store says.
    pub fn layers_of(&self, image: Serial) -> Result<Vec<(Serial, Serial)>> {
        Ok(self.snapshot.layers_of(image)?)
    }

    /// The place at a position of an image.
    ///
    /// # Errors
    /// What the store says.
    pub fn place(&self, image: Serial, position: u64) -> Result<Option<Serial>> {
        Ok(self.snapshot.place(image, position)?)
    }

    /// The place of a layer in an image.
    ///
    /// # Errors
    /// What the store says.
    pub fn place_of(&self, layer: Serial, image: Serial) -> Result<Option<Serial>> {
        Ok(self.snapshot.place_of(layer, image)?)
    }

    /// The images that have a layer: the places' serials and the images'.
    ///
    /// # Errors
    /// What the store says.
    pub fn images_with(&self, layer: Serial) -> Result<Vec<(Serial, Serial)>> {
        Ok(self.snapshot.images_with(layer)?)
    }

    /// The layers upon a layer.
    ///
    /// # Errors
    /// What the store says.
    pub fn children(&self, layer: Serial) -> Result<Vec<Serial>> {
        Ok(self.snapshot.children(layer)?)
    }

    /// The containers of an image.
    ///
    /// # Errors
    /// What the store says.
    pub fn users(&self, image: Serial) -> Result<Vec<Serial>> {
        Ok(self.snapshot.users(image)?)
    }

    /// A document of an image, as it came.
    ///
    /// # Errors
    /// [`Refusal::Undecodable`] when it is missing.
    pub fn text(&self, serial: Serial, doc: Doc) -> Result<Vec<u8>> {
        let why = || "it is missing".to_owned();
        Ok(self.snapshot.doc(serial, doc)?.ok_or_else(|| Refusal::Undecodable { part: doc.name(), why: why() })?)
    }

    /// The object with this ID; of a pod and its infra container, the pod.
    ///
    /// # Errors
    /// What the store says.
    pub fn object(&self, id: &Id) -> Result<Option<(Kind, Serial)>> {
        Ok(self.snapshot.object(id)?)
    }

    /// The container or pod with this ID.
    ///
    /// # Errors
    /// What the store says.
    pub fn object_of(&self, kind: Kind, id: &Id) -> Result<Option<Serial>> {
        Ok(self.snapshot.object_of(kind, id)?)
    }

    /// The containers that carry their pod's ID.
    ///
    /// # Errors
    /// What the store says.
    pub fn all_infra(&self) -> Result<Vec<(Id, Serial)>> {
        Ok(self.snapshot.all_infra()?)
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

    /// What a container has beside its head.
    ///
    /// # Errors
    /// What the store says; it does not decode.
    pub fn more(&self, ctr: Serial) -> Result<More> {
        Ok(self.snapshot.more(ctr)?)
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
