//! Images: made from what an importer has unpacked, named, and removed with the layers that nothing
//! else needs.

use std::path::PathBuf;
use std::sync::Arc;

use super::find::find;
use super::{Engine, Error, Origin, Outside, Result, World, items};
use crate::driver::dirs::Dirs;
use crate::driver::hash::{chain, digest};
use crate::model::digest::Digest;
use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::image::{NewImage, NewLayer, config_digest, new_image};
use crate::model::image_name::{self, ImageName};
use crate::model::json::{Map, Value};
use crate::model::record::{Answer, Change, Doc, ImageHead, Kind, LayerHead, List, Nanos, Row, Serial};
use crate::store::{Contents, Done, Query, Update};

impl Engine {
    /// Makes images of what lies in staging directories, all or none, and answers their IDs. One that is
    /// there already only gets its names; a name moves from the image that has it.
    ///
    /// # Errors
    /// The first document's refusal that has one.
    pub fn create_images(&self, origin: Origin, documents: &[Map<String, Value>]) -> Result<Done> {
        let images = documents.iter().map(new_image).collect::<std::result::Result<Vec<_>, _>>()?;
        for image in &images {
            let (claimed, found) = (config_digest(&image.manifest)?, digest(image.config.as_bytes()));
            if claimed != found {
                let (claimed, found) = (claimed.to_string(), found.to_string());
                return Err(Refusal::BadDigest { what: "config", claimed, found }.into());
            }
        }
        let outside = Arc::clone(self.outside()?);
        self.apply_growing(origin, move |update, world| {
            let (mut objects, mut changes) = (Vec::new(), Vec::new());
            for image in &images {
                let (serial, id) = create_image(update, world, &outside.dirs, image, &mut changes)?;
                objects.push((Kind::Image, serial, *id.as_bytes()));
            }
            Ok((Answer::Objects(objects), changes))
        })
    }

    /// Gives an image one more name.
    ///
    /// # Errors
    /// [`Refusal::TagTaken`], [`Refusal::BadName`], [`Refusal::NoSuch`] for the image.
    pub fn tag(&self, origin: Origin, image: String, name: &str) -> Result<Done> {
        let name = whole(name)?;
        self.apply_growing(origin, move |update, world| {
            let image = find(update, Kind::Image, &image)?.serial;
            free(update, &name)?;
            let mut changes = Vec::new();
            put_tag(update, &name, image, (world.now)().nanos, &mut changes)?;
            Ok((Answer::Done, changes))
        })
    }

    /// Takes a name away from its image, with the directories of names that this empties.
    ///
    /// # Errors
    /// [`Refusal::NoSuch`].
    pub fn untag(&self, origin: Origin, name: String) -> Result<Done> {
        self.apply(origin, move |update, world| {
            let mut changes = Vec::new();
            take_tag(update, &name, (world.now)().nanos, &mut changes)?;
            drop_empty_dirs(update, &name, (world.now)().nanos, &mut changes)?;
            Ok((Answer::Done, changes))
        })
    }

    /// Renames an image.
    ///
    /// # Errors
    /// As [`Engine::tag`] and [`Engine::untag`].
    pub fn retag(&self, origin: Origin, from: String, to: &str) -> Result<Done> {
        let to = whole(to)?;
        self.apply_growing(origin, move |update, world| {
            let (_, image) = update.tag(&from)?.ok_or_else(|| absent(&from))?;
            free(update, &to)?;
            let (now, mut changes) = ((world.now)().nanos, Vec::new());
            take_tag(update, &from, now, &mut changes)?;
            put_tag(update, &to, image, now, &mut changes)?;
            drop_empty_dirs(update, &from, now, &mut changes)?;
            Ok((Answer::Done, changes))
        })
    }

    /// Makes a directory of image names.
    ///
    /// # Errors
    /// [`Refusal::BadName`]; [`Refusal::TagTaken`] when it is there.
    pub fn make_tag_dir(&self, origin: Origin, path: String) -> Result<Done> {
        if !image_name::is_dir(&path) {
            let rule = "it is a registry (a host, perhaps with a port), or a part of a repository below one";
            return Err(Refusal::BadName { name: path, rule }.into());
        }
        self.apply_growing(origin, move |update, world| {
            if update.tag_dir(&path)?.is_some() {
                return Err(Refusal::TagTaken { name: path.clone() }.into());
            }
            let above = parent_of(&path);
            if !above.is_empty() && update.tag_dir(above)?.is_none() {
                return Err(Refusal::Gone.into());
            }
            let (now, mut changes) = ((world.now)().nanos, Vec::new());
            let serial = update.put_tag_dir(&path, now)?;
            touch_dir(update, parent_of(&path), now, &mut changes)?;
            Ok((Answer::Objects(vec![(Kind::Image, serial, [0; 32])]), changes))
        })
    }

    /// Removes an empty directory of image names.
    ///
    /// # Errors
    /// [`Refusal::NamesBelow`], [`Refusal::NoSuch`].
    pub fn remove_tag_dir(&self, origin: Origin, path: String) -> Result<Done> {
        self.apply(origin, move |update, world| {
            update.tag_dir(&path)?.ok_or_else(|| absent(&path))?;
            let (dirs, names) = update.tag_entries(&path)?;
            if !dirs.is_empty() || !names.is_empty() {
                return Err(Refusal::NamesBelow { path: path.clone() }.into());
            }
            let mut changes = Vec::new();
            take_dir(update, &path, (world.now)().nanos, &mut changes)?;
            Ok((Answer::Done, changes))
        })
    }
}

/// Where the layers of an image are, topmost first.
pub(super) fn layer_paths(state: &impl Query, outside: &Outside, image: Serial) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for (_, layer) in state.layers_of(image)?.into_iter().rev() {
        let id = state.id_of(Kind::Layer, layer)?.ok_or(Refusal::Gone)?;
        paths.push(outside.dirs.layer(id));
    }
    if paths.is_empty() {
        paths.push(outside.dirs.empty());
    }
    Ok(paths)
}

fn create_image(
    update: &Update<'_>,
    world: &World,
    dirs: &Dirs,
    image: &NewImage,
    changes: &mut Vec<Change>,
) -> Result<(Serial, Id)> {
    let now = (world.now)().nanos;
    let id = digest(image.config.as_bytes()).id();
    let serial = match update.content(Kind::Image, &id)? {
        Some(serial) => serial,
        None => put_image(update, dirs, image, id, now, changes)?,
    };
    for name in &image.names {
        if update.tag(&name.to_string())?.is_some_and(|(_, of)| of == serial) {
            continue;
        }
        if update.tag(&name.to_string())?.is_some() {
            take_tag(update, &name.to_string(), now, changes)?;
        }
        put_tag(update, name, serial, now, changes)?;
    }
    Ok((serial, id))
}

fn put_image(
    update: &Update<'_>,
    dirs: &Dirs,
    image: &NewImage,
    id: Id,
    now: Nanos,
    changes: &mut Vec<Change>,
) -> Result<Serial> {
    // Everything is looked up before the first write: layer IDs, and which of them are new.
    let (mut below, mut layers) = (None::<Digest>, Vec::new());
    for layer in &image.layers {
        let chained = chain(below, layer.diff_id);
        let known = update.content(Kind::Layer, &chained.id())?;
        if let Some(known) = known
            && update.layer(known)?.owner.is_some()
        {
            return Err(Refusal::IdTaken { id: chained.id(), by: Kind::Ctr }.into());
        }
        layers.push((chained.id(), layer, known));
        below = Some(chained);
    }
    let new: Vec<Id> = layers.iter().filter(|(_, _, known)| known.is_none()).map(|(id, ..)| *id).collect();
    let missing = |(id, layer, known): &&(Id, &NewLayer, Option<Serial>)| {
        known.is_none() && (layer.new.is_none() || !dirs.is_staged(&image.staging, *id))
    };
    if let Some((missing, ..)) = layers.iter().find(missing) {
        return Err(Refusal::NoLayer { id: *missing }.into());
    }
    dirs.adopt(&image.staging, &new).map_err(Error::outside)?;

    let serial = update.next()?;
    let (mut parent, mut size) = (None, 0);
    for (position, (layer_id, layer, known)) in layers.into_iter().enumerate() {
        let layer_serial = match known {
            Some(layer) => {
                size += update.layer(layer)?.size;
                touch_users(update, Kind::Layer, layer, now, changes)?;
                layer
            }
            None => {
                let figures = layer.new.unwrap_or_default();
                size += figures.size;
                let head = LayerHead {
                    id: *layer_id.as_bytes(),
                    parent,
                    owner: None,
                    diff_id: Some(*layer.diff_id.as_bytes()),
                    made: now,
                    children_changed: now,
                    users_changed: now,
                    size: figures.size,
                    disk: figures.disk,
                    entries: figures.entries,
                };
                let serial = put_layer(update, head, now, changes)?;
                if let Some(record) = layer.record {
                    update.put_doc(serial, Doc::Tree, record.as_bytes())?;
                }
                serial
            }
        };
        update.put_place(serial, layer_serial, u32::try_from(position).unwrap_or(u32::MAX), now)?;
        parent = Some(layer_serial);
    }
    let head = ImageHead {
        id: *id.as_bytes(),
        made: now,
        names_changed: now,
        users_changed: now,
        manifest: image.manifest.len() as u64,
        config: image.config.len() as u64,
        size,
        layers: u32::try_from(image.layers.len()).unwrap_or(u32::MAX),
        created: image.created.clone(),
    };
    update.put_content(Kind::Image, &id, serial, &Row::Image(head))?;
    update.put_doc(serial, Doc::Config, image.config.as_bytes())?;
    update.put_doc(serial, Doc::Manifest, image.manifest.as_bytes())?;
    touch_list(update, List::Image, now, changes)?;
    touch_list(update, List::Layer, now, changes)?;
    Ok(serial)
}

/// Enters a new layer, upon its parent. The list of layers is the caller's to touch.
pub(super) fn put_layer(update: &Update<'_>, head: LayerHead, now: Nanos, changes: &mut Vec<Change>) -> Result<Serial> {
    let serial = update.next()?;
    let (id, parent) = (head.id(), head.parent);
    update.put_content(Kind::Layer, &id, serial, &Row::Layer(head))?;
    touch_children(update, parent, now, changes)?;
    Ok(serial)
}

/// Removes an image with its names, its items and the layers that nothing else needs. Returns its ID and
/// those layers'.
pub(super) fn remove_image(
    update: &Update<'_>,
    serial: Serial,
    now: Nanos,
    changes: &mut Vec<Change>,
) -> Result<Vec<Id>> {
    let id = update.id_of(Kind::Image, serial)?.ok_or(Refusal::Gone)?;
    let users = update.users(serial)?;
    if !users.is_empty() {
        let by = users.into_iter().map(|ctr| name_of(update, ctr)).collect();
        return Err(Refusal::InUse { kind: Kind::Image, id: short(id), by }.into());
    }
    for (name, _) in update.tags_of(serial)? {
        take_tag(update, &name, now, changes)?;
        drop_empty_dirs(update, &name, now, changes)?;
    }
    items::release(update, serial, changes)?;
    let places = update.take_content(Kind::Image, serial)?;
    changes.push(Change::Removed(Kind::Image, serial));
    touch_list(update, List::Image, now, changes)?;
    let mut freed = vec![id];
    for (place, layer) in places.into_iter().rev() {
        changes.push(Change::Place(place));
        if update.images_with(layer)?.is_empty() && update.children(layer)?.is_empty() {
            freed.extend(take_layer(update, layer, now, changes)?);
        } else {
            touch_users(update, Kind::Layer, layer, now, changes)?;
        }
    }
    if freed.len() > 1 {
        touch_list(update, List::Layer, now, changes)?;
    }
    Ok(freed)
}

/// Removes a layer that nothing needs.
pub(super) fn remove_layer(
    update: &Update<'_>,
    serial: Serial,
    now: Nanos,
    changes: &mut Vec<Change>,
) -> Result<Vec<Id>> {
    let id = update.id_of(Kind::Layer, serial)?.ok_or(Refusal::Gone)?;
    let mut by: Vec<String> = Vec::new();
    for (_, image) in update.images_with(serial)? {
        by.extend(update.id_of(Kind::Image, image)?.map(|id| format!("image {}", short(id))));
    }
    for child in update.children(serial)? {
        by.extend(update.id_of(Kind::Layer, child)?.map(|id| format!("layer {}", short(id))));
    }
    if let Ok(LayerHead { owner: Some(ctr), .. }) = update.layer(serial) {
        by.push(format!("container {}", name_of(update, ctr)));
    }
    if !by.is_empty() {
        return Err(Refusal::InUse { kind: Kind::Layer, id: short(id), by }.into());
    }
    let freed = take_layer(update, serial, now, changes)?;
    touch_list(update, List::Layer, now, changes)?;
    Ok(freed.into_iter().collect())
}

/// Takes a layer out. Returns its ID.
pub(super) fn take_layer(
    update: &Update<'_>,
    serial: Serial,
    now: Nanos,
    changes: &mut Vec<Change>,
) -> Result<Option<Id>> {
    let Some(id) = update.id_of(Kind::Layer, serial)? else { return Ok(None) };
    let parent = update.parent(serial)?;
    update.take_content(Kind::Layer, serial)?;
    changes.push(Change::Removed(Kind::Layer, serial));
    touch_children(update, parent, now, changes)?;
    Ok(Some(id))
}

/// Notes that the users of an image or layer changed.
pub(super) fn touch_users(
    update: &Update<'_>,
    kind: Kind,
    serial: Serial,
    now: Nanos,
    changes: &mut Vec<Change>,
) -> Result<()> {
    match update.row(serial) {
        Ok(Some(Row::Image(head))) => update.put_row(serial, &Row::Image(ImageHead { users_changed: now, ..head }))?,
        Ok(Some(Row::Layer(head))) => update.put_row(serial, &Row::Layer(LayerHead { users_changed: now, ..head }))?,
        _ => return Ok(()),
    }
    changes.push(Change::Users(kind, serial));
    Ok(())
}

fn touch_children(update: &Update<'_>, layer: Option<Serial>, now: Nanos, changes: &mut Vec<Change>) -> Result<()> {
    if let Some(layer) = layer
        && let Ok(head) = update.layer(layer)
    {
        update.put_row(layer, &Row::Layer(LayerHead { children_changed: now, ..head }))?;
        changes.push(Change::Children(layer));
    }
    Ok(())
}

pub(super) fn touch_list(update: &Update<'_>, list: List, now: Nanos, changes: &mut Vec<Change>) -> Result<()> {
    update.touch_list(list, now)?;
    if !changes.contains(&Change::List(list)) {
        changes.push(Change::List(list));
    }
    Ok(())
}

/// A name whose every part is given, as a path below `image-name/` is.
fn whole(name: &str) -> Result<ImageName> {
    let parsed = ImageName::parse(name)?;
    if parsed.to_string() != name {
        let rule = "here it takes registry/repository:tag, with every part";
        return Err(Refusal::BadName { name: name.to_owned(), rule }.into());
    }
    Ok(parsed)
}

fn free(update: &Update<'_>, name: &ImageName) -> Result<()> {
    match update.tag(&name.to_string())? {
        Some(_) => Err(Refusal::TagTaken { name: name.to_string() }.into()),
        None => Ok(()),
    }
}

fn put_tag(update: &Update<'_>, name: &ImageName, image: Serial, now: Nanos, changes: &mut Vec<Change>) -> Result<()> {
    for path in name.dirs() {
        if update.tag_dir(path)?.is_none() {
            update.put_tag_dir(path, now)?;
            touch_dir(update, parent_of(path), now, changes)?;
        }
    }
    let name = name.to_string();
    update.put_tag(&name, image, now)?;
    touch_dir(update, parent_of(&name), now, changes)?;
    touch_names(update, image, now, changes)
}

fn take_tag(update: &Update<'_>, name: &str, now: Nanos, changes: &mut Vec<Change>) -> Result<()> {
    let (tag, image) = update.untag(name)?.ok_or_else(|| absent(name))?;
    changes.push(Change::Tag(tag));
    touch_dir(update, parent_of(name), now, changes)?;
    touch_names(update, image, now, changes)
}

fn touch_names(update: &Update<'_>, image: Serial, now: Nanos, changes: &mut Vec<Change>) -> Result<()> {
    if let Ok(head) = update.image(image) {
        update.put_row(image, &Row::Image(ImageHead { names_changed: now, ..head }))?;
        changes.push(Change::Names(image));
    }
    Ok(())
}

/// Takes away the directories above a name or directory that have nothing in them any more.
fn drop_empty_dirs(update: &Update<'_>, name: &str, now: Nanos, changes: &mut Vec<Change>) -> Result<()> {
    let mut path = parent_of(name);
    while !path.is_empty() {
        let (dirs, names) = update.tag_entries(path)?;
        if !dirs.is_empty() || !names.is_empty() {
            break;
        }
        take_dir(update, path, now, changes)?;
        path = parent_of(path);
    }
    Ok(())
}

fn take_dir(update: &Update<'_>, path: &str, now: Nanos, changes: &mut Vec<Change>) -> Result<()> {
    changes.extend(update.take_tag_dir(path)?.map(Change::TagDir));
    touch_dir(update, parent_of(path), now, changes)
}

fn touch_dir(update: &Update<'_>, path: &str, now: Nanos, changes: &mut Vec<Change>) -> Result<()> {
    if path.is_empty() {
        return touch_list(update, List::ImageName, now, changes);
    }
    if update.tag_dir(path)?.is_some() {
        changes.push(Change::TagDir(update.put_tag_dir(path, now)?));
    }
    Ok(())
}

/// The directory above a path below `image-name/`, "" for that itself.
fn parent_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

fn absent(name: &str) -> Error {
    Refusal::NoSuch { kind: Kind::Image, what: name.to_owned() }.into()
}

fn name_of(update: &Update<'_>, ctr: Serial) -> String {
    update.ctr(ctr).map_or_else(|_| format!("#{ctr}"), |head| head.name)
}

/// An ID as people compare them.
fn short(id: Id) -> String {
    id.to_string()[..12].to_owned()
}
