//! Images: their names with the directories of those, and their layers.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, Fix, Found, Look, Pairs, Result, Step, Ties, compare, named, pairs, ties};
use crate::model::finding::Trouble;
use crate::model::record::{ImageHead, Kind, LayerHead, Row, Serial};
use crate::store::query::Query;
use crate::store::tables::{HELD, PLACES, TAG_DIRS, TAGGED, TAGS};

/// Names with the serials of the name and of its image.
type Names = BTreeMap<String, (Serial, Serial)>;
/// Positions in images with the serials of the place and of its layer.
type Places = BTreeMap<(Serial, Serial), (Serial, Serial)>;

/// Each image name leads to an image, which lists it, and lies in directories of its own.
pub(super) fn names(state: &impl Query, look: &Look, found: &mut Found) -> Result<()> {
    let (tags, tagged) = (named(&state.table(TAGS)?)?, pairs(&state.table(TAGGED)?)?);
    let due = due_names(look, &tags, &tagged);
    let due_tags = due.iter().map(|(name, (tag, _))| (name.clone(), *tag)).collect();
    let due_tagged: Pairs = due.values().map(|(tag, image)| ((*image, *tag), ())).collect();
    let (mut drops, mut puts) = (Vec::new(), Vec::new());
    compare(
        &tags,
        &due_tags,
        |name, tag| drops.push((name.clone(), *tag)),
        |name, tag| puts.push((name.clone(), *tag)),
    );
    for (name, tag) in drops.into_iter().filter(|(_, tag)| !look.is_damaged(*tag)) {
        let object = format!("image-name/{name}");
        found.structure(object, "does not lead to an image", Fix::drop(Entry::Tag(name, tag)));
    }
    for (name, tag) in puts {
        let object = format!("image-name/{name}");
        found.structure(object, "does not lead to its image", Fix::put(Entry::Tag(name, tag)));
    }
    for (image, tag) in tagged.keys().filter(|pair| !due_tagged.contains_key(pair) && !look.is_damaged(pair.1)) {
        let fix = Fix::drop(Entry::Tagged((*image, *tag)));
        found.structure(format!("tagged {image} {tag}"), "lists no name", fix);
    }
    for (name, (tag, image)) in due.iter().filter(|(_, (tag, image))| !tagged.contains_key(&(*image, *tag))) {
        let fix = Fix::put(Entry::Tagged((*image, *tag)));
        found.structure(format!("image-name/{name}"), "its image does not list it", fix);
    }
    name_rows(look, &due, found);
    directories(state, look, &due.into_keys().collect::<Vec<_>>(), found)
}

fn due_names(look: &Look, tags: &BTreeMap<String, Serial>, tagged: &Pairs) -> Names {
    let mut due = Names::new();
    for (tag, row) in look.sound() {
        if let Row::Tag { name, image, .. } = row
            && look.exists(Kind::Image, *image)
            && (!due.contains_key(name) || tags.get(name) == Some(&tag))
        {
            due.insert(name.clone(), (tag, *image));
        }
    }
    // One that both indexes have is one, whatever has become of its row.
    for (name, tag) in tags.iter().filter(|(_, tag)| look.is_lost(**tag)) {
        if let Some((image, _)) = tagged.keys().find(|(image, of)| of == tag && look.exists(Kind::Image, *image)) {
            due.entry(name.clone()).or_insert((*tag, *image));
        }
    }
    due
}

fn name_rows(look: &Look, due: &Names, found: &mut Found) {
    for (name, (tag, image)) in due.iter().filter(|(_, (tag, _))| !look.rows.contains_key(tag)) {
        let made = look.image(*image).map_or(0, |head| head.made);
        let fix = Fix::put_row(*tag, Row::Tag { name: name.clone(), image: *image, made });
        found.structure(format!("image-name/{name}"), format!("row {tag} is not this name's"), fix);
    }
    let rows: BTreeSet<Serial> = due.values().map(|(tag, _)| *tag).collect();
    for (serial, row) in look.sound() {
        if matches!(row, Row::Tag { .. }) && !rows.contains(&serial) {
            found.structure(format!("rows {serial}"), "a name of no image", Fix::drop_row(serial));
        }
    }
}

/// Each directory of image names has a row, and the directory above.
fn directories(state: &impl Query, look: &Look, names: &[String], found: &mut Found) -> Result<()> {
    let has = named(&state.table(TAG_DIRS)?)?;
    let mut rows: BTreeMap<&str, Serial> = BTreeMap::new();
    for (serial, row) in look.sound() {
        if let Row::TagDir { path, .. } = row
            && (!rows.contains_key(path.as_str()) || has.get(path) == Some(&serial))
        {
            rows.insert(path, serial);
        }
    }
    for (path, serial) in &has {
        match look.row(*serial) {
            Some(Row::TagDir { path: own, .. }) if own == path => {}
            Some(_) => {
                let fix = Fix::drop(Entry::TagDir(path.clone(), *serial));
                found.structure(format!("image-name/{path}"), format!("row {serial} is not this directory's"), fix);
            }
            None if look.is_damaged(*serial) => {}
            None => {
                let row = Row::TagDir { path: path.clone(), changed: 0 };
                let words = format!("row {serial} is not this directory's");
                found.structure(format!("image-name/{path}"), words, Fix::put_row(*serial, row));
            }
        }
    }
    for (path, serial) in &rows {
        if has.get(*path) != Some(serial) && !has.get(*path).is_some_and(|other| look.is_damaged(*other)) {
            let fix = Fix::put(Entry::TagDir((*path).to_owned(), *serial));
            found.structure(format!("image-name/{path}"), "a directory that is not listed", fix);
        }
    }
    for (serial, row) in look.sound() {
        if let Row::TagDir { path, .. } = row
            && rows.get(path.as_str()) != Some(&serial)
        {
            found.structure(format!("rows {serial}"), "a second row of a directory", Fix::drop_row(serial));
        }
    }
    let mut above = BTreeSet::new();
    for path in names.iter().map(String::as_str).chain(has.keys().map(String::as_str)).chain(rows.keys().copied()) {
        if let Some((above_it, _)) = path.rsplit_once('/')
            && !has.contains_key(above_it)
            && !rows.contains_key(above_it)
            && above.insert(above_it)
        {
            let fix = Fix::step(Step::MakeTagDir(above_it.to_owned()));
            found.structure(format!("image-name/{path}"), "the directory above is missing", fix);
        }
    }
    Ok(())
}

/// Each place of a layer in an image, from both ends. Returns the layers of each image by position.
pub(super) fn places(state: &impl Query, look: &Look, found: &mut Found) -> Result<Ties> {
    let (places, held) = (ties(&state.table(PLACES)?)?, ties(&state.table(HELD)?)?);
    let due = due_places(look, &places, &held);
    let by_image: Ties = due.iter().map(|(at, (place, _))| (*at, *place)).collect();
    let by_layer: Ties = due.iter().map(|((image, _), (place, layer))| ((*layer, *image), *place)).collect();
    let (mut drops, mut puts) = (Vec::new(), Vec::new());
    for (table, has, due, entry) in [
        ("places", &places, &by_image, Entry::Place as fn((Serial, Serial), Serial) -> Entry),
        ("held", &held, &by_layer, Entry::Held),
    ] {
        let name = |(a, b): &(Serial, Serial)| format!("{table} {a} {b}");
        compare(
            has,
            due,
            |pair, place| drops.push((name(pair), *place, entry(*pair, *place))),
            |pair, place| puts.push((name(pair), entry(*pair, *place))),
        );
    }
    for (object, _, entry) in drops.into_iter().filter(|(_, place, _)| !look.is_damaged(*place)) {
        found.structure(object, "no layer's place in an image", Fix::drop(entry));
    }
    for (object, entry) in puts {
        found.structure(object, "a layer's place that is not listed", Fix::put(entry));
    }
    place_rows(look, &due, found);
    Ok(due.into_iter().map(|(at, (_, layer))| (at, layer)).collect())
}

fn due_places(look: &Look, places: &Ties, held: &Ties) -> Places {
    let mut due = Places::new();
    for (place, row) in look.sound() {
        let Row::Place { image, layer, position, .. } = row else { continue };
        let at = (*image, u64::from(*position));
        if look.exists(Kind::Image, *image) && (!due.contains_key(&at) || places.get(&at) == Some(&place)) {
            due.insert(at, (place, *layer));
        }
    }
    // One that both indexes have is one, whatever has become of its row.
    for ((layer, image), place) in held.iter().filter(|(_, place)| look.is_lost(**place)) {
        let mut own = places.range((*image, 0)..=(*image, u64::MAX));
        if look.exists(Kind::Image, *image)
            && let Some((at, _)) = own.find(|(_, of)| *of == place)
        {
            due.entry(*at).or_insert((*place, *layer));
        }
    }
    due
}

fn place_rows(look: &Look, due: &Places, found: &mut Found) {
    for ((image, position), (place, layer)) in due.iter().filter(|(_, (place, _))| !look.rows.contains_key(place)) {
        let made = look.image(*image).map_or(0, |head| head.made);
        let position = u32::try_from(*position).unwrap_or(u32::MAX);
        let fix = Fix::put_row(*place, Row::Place { image: *image, layer: *layer, position, made });
        found.structure(format!("places {image} {position}"), format!("row {place} is not this place's"), fix);
    }
    let rows: BTreeSet<Serial> = due.values().map(|(place, _)| *place).collect();
    for (serial, row) in look.sound() {
        if matches!(row, Row::Place { .. }) && !rows.contains(&serial) {
            found.structure(format!("rows {serial}"), "no layer's place in an image", Fix::drop_row(serial));
        }
    }
}

/// Each image: its layers are there, lie one upon the other, and hold what its record says.
pub(super) fn images(look: &Look, layers: &Ties, found: &mut Found) {
    for serial in look.objects_of(Kind::Image) {
        let own = || layers.range((serial, 0)..=(serial, u64::MAX)).map(|((_, position), layer)| (*position, *layer));
        let path = look.path(Kind::Image, serial);
        for (position, layer) in own() {
            let shared = look.layer(layer).map_or_else(|| look.is_damaged(layer), |head| head.owner.is_none());
            if !look.exists(Kind::Layer, layer) || !shared {
                let words = format!("its layer {position} is not in the store");
                found.push(Trouble::ImageLayerMissing, &path, words, Fix::Remove(Kind::Image, serial));
            }
        }
        let Some(head) = look.image(serial) else { continue };
        if own().count() != head.layers as usize || !own().zip(0..).all(|((position, _), due)| position == due) {
            let words = format!("its layers are not the {} that it has", head.layers);
            found.push(Trouble::ImageLayerMissing, &path, words, Fix::Remove(Kind::Image, serial));
            continue;
        }
        let heads: Option<Vec<(Serial, &LayerHead)>> =
            own().map(|(_, layer)| Some((layer, look.layer(layer)?))).collect();
        if let Some(heads) = heads {
            stack(&path, (serial, head), &heads, found);
        }
    }
}

fn stack(path: &str, (image, head): (Serial, &ImageHead), layers: &[(Serial, &LayerHead)], found: &mut Found) {
    let mut below = None;
    for (serial, layer) in layers {
        if layer.parent != below && layer.owner.is_none() {
            let words = format!("layer {} does not lie upon the one below", layer.id());
            let fix = Fix::put_row(*serial, Row::Layer(LayerHead { parent: below, ..(*layer).clone() }));
            found.structure(path, words, fix);
        }
        below = Some(*serial);
    }
    let size = layers.iter().map(|(_, layer)| layer.size).fold(0, u64::wrapping_add);
    if size != head.size {
        let words = format!("its layers hold {size} bytes, not {}", head.size);
        found.structure(path, words, Fix::Record(image, Box::new(Row::Image(ImageHead { size, ..head.clone() }))));
    }
}
