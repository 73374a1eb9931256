//! Images and layers: what is named by its content, and the names that people give to images.

use redb::{ReadableTable, TableDefinition};

use super::error::StoreError;
use super::query::{Query, Update};
use super::tables::{CHILDREN, DIGESTS, DOCS, HELD, MOUNTED, OBJECTS, PLACES, TAG_DIRS, TAGGED, TAGS, USERS};
use crate::model::id::{Id, IdPrefix};
use crate::model::record::{Doc, ImageHead, Kind, LayerHead, Nanos, Row, Serial};

type Result<T> = std::result::Result<T, StoreError>;

/// Questions about images and layers.
///
/// What a damaged row should say is searched for in the indexes, so that the row harms nothing beside it
/// and goes with its object.
pub trait Contents: Query + Sized {
    /// The image or layer with this ID.
    fn content(&self, kind: Kind, id: &Id) -> Result<Option<Serial>> {
        Ok(self.table(DIGESTS)?.get((kind as u8, id.as_bytes()))?.map(|row| row.value()))
    }

    /// The first two images or layers whose IDs begin so.
    fn content_by_prefix(&self, kind: Kind, prefix: &IdPrefix) -> Result<Vec<(Id, Serial)>> {
        let (low, high) = prefix.range();
        let mut found = Vec::new();
        for entry in self.table(DIGESTS)?.range((kind as u8, low)..=(kind as u8, high))?.take(2) {
            let (key, serial) = entry?;
            found.push((Id::from_bytes(*key.value().1), serial.value()));
        }
        Ok(found)
    }

    /// An image's head.
    ///
    /// # Errors
    /// [`StoreError::Row`] when the row is absent, no image's or does not decode.
    fn image(&self, serial: Serial) -> Result<ImageHead> {
        match self.row(serial)? {
            Some(Row::Image(head)) => Ok(head),
            _ => Err(StoreError::Row { serial, why: "it is not an image's".to_owned() }),
        }
    }

    /// A layer's head.
    ///
    /// # Errors
    /// [`StoreError::Row`] when the row is absent, no layer's or does not decode.
    fn layer(&self, serial: Serial) -> Result<LayerHead> {
        match self.row(serial)? {
            Some(Row::Layer(head)) => Ok(head),
            _ => Err(StoreError::Row { serial, why: "it is not a layer's".to_owned() }),
        }
    }

    /// A whole image name: its serial and the image's.
    fn tag(&self, name: &str) -> Result<Option<(Serial, Serial)>> {
        let Some(tag) = self.table(TAGS)?.get(name)?.map(|row| row.value()) else { return Ok(None) };
        let image = match self.row(tag) {
            Ok(Some(Row::Tag { image, .. })) => Some(image),
            _ => first_with(&self.table(TAGGED)?, tag)?,
        };
        image.map(|image| Some((tag, image))).ok_or(StoreError::Dangling { table: "tags", key: name.to_owned() })
    }

    /// The directory of image names at a path.
    fn tag_dir(&self, path: &str) -> Result<Option<Serial>> {
        Ok(self.table(TAG_DIRS)?.get(path)?.map(|row| row.value()))
    }

    /// What is right below a directory of image names ("" is the topmost): the directories and the
    /// names, with their serials.
    fn tag_entries(&self, dir: &str) -> Result<(Entries, Entries)> {
        Ok((below(&self.table(TAG_DIRS)?, dir)?, below(&self.table(TAGS)?, dir)?))
    }

    /// An image's names, in the order in which they were given.
    fn tags_of(&self, image: Serial) -> Result<Vec<(String, Serial)>> {
        let rows = self.rows()?;
        let mut names = Vec::new();
        for serial in seconds(&self.table(TAGGED)?, image)? {
            let name = match rows.get(serial) {
                Ok(Some(Row::Tag { name, .. })) => Some(name),
                _ => key_of(&self.table(TAGS)?, serial, str::to_owned)?,
            };
            names.extend(name.map(|name| (name, serial)));
        }
        Ok(names)
    }

    /// An image's layers, the base first: their places' serials and theirs.
    fn layers_of(&self, image: Serial) -> Result<Vec<(Serial, Serial)>> {
        let rows = self.rows()?;
        let mut layers = Vec::new();
        for entry in self.table(PLACES)?.range((image, 0)..=(image, u64::MAX))? {
            let place = entry?.1.value();
            let layer = match rows.get(place) {
                Ok(Some(Row::Place { layer, .. })) => Some(layer),
                _ => key_of(&self.table(HELD)?, place, |(layer, _)| layer)?,
            };
            let dangling = || StoreError::Dangling { table: "places", key: image.to_string() };
            layers.push((place, layer.ok_or_else(dangling)?));
        }
        Ok(layers)
    }

    /// The layer below a layer.
    fn parent(&self, layer: Serial) -> Result<Option<Serial>> {
        match self.row(layer) {
            Ok(Some(Row::Layer(head))) => Ok(head.parent),
            _ => first_with(&self.table(CHILDREN)?, layer),
        }
    }

    /// The place of an image at a position.
    fn place(&self, image: Serial, position: u64) -> Result<Option<Serial>> {
        Ok(self.table(PLACES)?.get((image, position))?.map(|row| row.value()))
    }

    /// The place of a layer in an image.
    fn place_of(&self, layer: Serial, image: Serial) -> Result<Option<Serial>> {
        Ok(self.table(HELD)?.get((layer, image))?.map(|row| row.value()))
    }

    /// The images that have a layer: the places' serials and the images'.
    fn images_with(&self, layer: Serial) -> Result<Vec<(Serial, Serial)>> {
        let mut found = Vec::new();
        for entry in self.table(HELD)?.range((layer, 0)..=(layer, u64::MAX))? {
            let (key, place) = entry?;
            found.push((place.value(), key.value().1));
        }
        Ok(found)
    }

    /// The layers upon a layer.
    fn children(&self, layer: Serial) -> Result<Vec<Serial>> {
        seconds(&self.table(CHILDREN)?, layer)
    }

    /// The containers that were asked to be mounted.
    fn mounted(&self) -> Result<Vec<Serial>> {
        self.table(MOUNTED)?.iter()?.map(|entry| Ok(entry?.0.value())).collect()
    }

    /// The images that a container is entered as a user of, searched for.
    fn images_used_by(&self, ctr: Serial) -> Result<Vec<Serial>> {
        let mut images = Vec::new();
        for entry in self.table(USERS)?.iter()? {
            let (image, user) = entry?.0.value();
            images.extend((user == ctr).then_some(image));
        }
        Ok(images)
    }

    /// The containers of an image.
    fn users(&self, image: Serial) -> Result<Vec<Serial>> {
        seconds(&self.table(USERS)?, image)
    }
}

impl<Q: Query> Contents for Q {}

/// Names with their serials.
pub(super) type Entries = Vec<(String, Serial)>;

fn below(table: &impl ReadableTable<&'static str, u64>, dir: &str) -> Result<Entries> {
    let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
    let mut found = Vec::new();
    for entry in table.range(prefix.as_str()..)? {
        let (name, serial) = entry?;
        let Some(rest) = name.value().strip_prefix(prefix.as_str()) else { break };
        if !rest.contains('/') {
            found.push((rest.to_owned(), serial.value()));
        }
    }
    Ok(found)
}

/// The key of an entry with this value, searched for.
fn key_of<K: redb::Key + 'static, T>(
    table: &impl ReadableTable<K, u64>,
    value: Serial,
    part: impl for<'a> Fn(K::SelfType<'a>) -> T,
) -> Result<Option<T>> {
    for entry in table.iter()? {
        let (key, found) = entry?;
        if found.value() == value {
            return Ok(Some(part(key.value())));
        }
    }
    Ok(None)
}

/// The first half of the pair that ends so, searched for.
fn first_with(table: &impl ReadableTable<(u64, u64), ()>, second: Serial) -> Result<Option<Serial>> {
    for entry in table.iter()? {
        let (first, other) = entry?.0.value();
        if other == second {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

fn seconds(table: &impl ReadableTable<(u64, u64), ()>, first: Serial) -> Result<Vec<Serial>> {
    let entries = table.range((first, 0)..=(first, u64::MAX))?;
    entries.map(|entry| Ok(entry?.0.value().1)).collect()
}

impl Update<'_> {
    /// Enters a new image or layer, whose ID must be free.
    pub fn put_content(&self, kind: Kind, id: &Id, serial: Serial, row: &Row) -> Result<()> {
        self.put_row(serial, row)?;
        self.table(DIGESTS)?.insert((kind as u8, id.as_bytes()), serial)?;
        self.table(OBJECTS)?.insert((kind as u8, serial), id.as_bytes())?;
        if let Row::Layer(LayerHead { parent: Some(parent), .. }) = row {
            self.table(CHILDREN)?.insert((*parent, serial), ())?;
        }
        Ok(())
    }

    /// Takes an image or layer out, with what ties it to layers; names go by [`Update::untag`] before.
    /// Returns its places, each with the layer or image at the other end.
    pub fn take_content(&self, kind: Kind, serial: Serial) -> Result<Vec<(Serial, Serial)>> {
        self.writes();
        let id = self.table(OBJECTS)?.remove((kind as u8, serial))?.map(|row| *row.value());
        if let Some(id) = id {
            self.table(DIGESTS)?.remove((kind as u8, &id))?;
        }
        let places = match kind {
            Kind::Image => self.layers_of(serial)?,
            _ => self.images_with(serial)?,
        };
        for (place, other) in &places {
            let (image, layer) = if kind == Kind::Image { (serial, *other) } else { (*other, serial) };
            self.unplace(image, layer, *place)?;
        }
        if kind == Kind::Layer
            && let Some(parent) = self.parent(serial)?
        {
            self.table(CHILDREN)?.remove((parent, serial))?;
        }
        for doc in [Doc::Config, Doc::Manifest, Doc::Tree] {
            self.table(DOCS)?.remove((serial, doc as u8))?;
        }
        self.delete_row(serial)?;
        Ok(places)
    }

    /// Puts a layer at a position of an image. Returns the place.
    pub fn put_place(&self, image: Serial, layer: Serial, position: u32, now: Nanos) -> Result<Serial> {
        let place = self.next()?;
        self.put_row(place, &Row::Place { image, layer, position, made: now })?;
        self.table(PLACES)?.insert((image, u64::from(position)), place)?;
        self.table(HELD)?.insert((layer, image), place)?;
        Ok(place)
    }

    fn unplace(&self, image: Serial, layer: Serial, place: Serial) -> Result<()> {
        let position = match self.row(place) {
            Ok(Some(Row::Place { position, .. })) => Some(u64::from(position)),
            _ => key_of(&self.table(PLACES)?, place, |(_, position)| position)?,
        };
        if let Some(position) = position {
            self.table(PLACES)?.remove((image, position))?;
        }
        self.table(HELD)?.remove((layer, image))?;
        self.delete_row(place)
    }

    /// Gives an image a name that is free. Returns the name's serial.
    pub fn put_tag(&self, name: &str, image: Serial, now: Nanos) -> Result<Serial> {
        let tag = self.next()?;
        self.put_row(tag, &Row::Tag { name: name.to_owned(), image, made: now })?;
        self.table(TAGS)?.insert(name, tag)?;
        self.table(TAGGED)?.insert((image, tag), ())?;
        Ok(tag)
    }

    /// Takes a name away. Returns its serial and the image's, if there was one.
    pub fn untag(&self, name: &str) -> Result<Option<(Serial, Serial)>> {
        let Some((tag, image)) = self.tag(name)? else { return Ok(None) };
        self.writes();
        self.table(TAGS)?.remove(name)?;
        self.table(TAGGED)?.remove((image, tag))?;
        self.delete_row(tag)?;
        Ok(Some((tag, image)))
    }

    /// Makes a directory of image names, or notes that one changed. Returns its serial.
    pub fn put_tag_dir(&self, path: &str, now: Nanos) -> Result<Serial> {
        let serial = self.tag_dir(path)?.map_or_else(|| self.next(), Ok)?;
        self.put_row(serial, &Row::TagDir { path: path.to_owned(), changed: now })?;
        self.table(TAG_DIRS)?.insert(path, serial)?;
        Ok(serial)
    }

    /// Takes a directory of image names away. Returns its serial, if there was one.
    pub fn take_tag_dir(&self, path: &str) -> Result<Option<Serial>> {
        let Some(serial) = self.tag_dir(path)? else { return Ok(None) };
        self.writes();
        self.table(TAG_DIRS)?.remove(path)?;
        self.delete_row(serial)?;
        Ok(Some(serial))
    }

    /// Enters a container as a user of an image, or takes it away.
    pub fn set_user(&self, image: Serial, ctr: Serial, uses: bool) -> Result<()> {
        self.writes();
        let mut users = self.table(USERS)?;
        match uses {
            true => drop(users.insert((image, ctr), ())?),
            false => drop(users.remove((image, ctr))?),
        }
        Ok(())
    }

    /// Notes that a container was asked to be mounted, or not to be.
    pub fn set_mounted(&self, ctr: Serial, mounted: bool) -> Result<()> {
        self.writes();
        let mut table = self.table(MOUNTED)?;
        match mounted {
            true => drop(table.insert(ctr, ())?),
            false => drop(table.remove(ctr)?),
        }
        Ok(())
    }

    /// Makes the tables of images and layers.
    pub(super) fn create_content_tables(&self) -> Result<()> {
        fn make<K: redb::Key + 'static, V: redb::Value + 'static>(
            update: &Update<'_>,
            table: TableDefinition<'static, K, V>,
        ) -> Result<()> {
            update.table(table).map(drop).map_err(StoreError::from)
        }
        make(self, DIGESTS)?;
        make(self, TAGS)?;
        make(self, TAG_DIRS)?;
        make(self, TAGGED)?;
        make(self, PLACES)?;
        make(self, HELD)?;
        make(self, CHILDREN)?;
        make(self, USERS)?;
        make(self, MOUNTED)
    }
}
