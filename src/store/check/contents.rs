//! What must hold of images, layers, image names, and of the containers upon them.
//!
//! A row that does not decode is named by its own check and passes here for whatever is due.

use std::collections::{BTreeMap, BTreeSet};

use redb::ReadableTable;

use super::{Result, Rows, table_pairs};
use crate::model::record::{CtrHead, ImageHead, LayerHead, Rootfs, Row, Serial};
use crate::store::query::Query;
use crate::store::tables::{CHILDREN, HELD, MOUNTED, PLACES, TAG_DIRS, TAGGED, TAGS, USERS};

type Pairs = BTreeSet<(Serial, Serial)>;

/// Adds what does not hold to `found`.
pub(super) fn findings(state: &impl Query, rows: &Rows, found: &mut Vec<String>) -> Result<()> {
    let places = table_pairs(&state.table(PLACES)?)?;
    image_names(state, rows, found)?;
    held(state, rows, &places, found)?;
    images(rows, &places, found);
    layers(rows, &pairs(&state.table(CHILDREN)?)?, &places, found);
    users(rows, &pairs(&state.table(USERS)?)?, found);
    mounted(state, rows, found)
}

fn image_names(state: &impl Query, rows: &Rows, found: &mut Vec<String>) -> Result<()> {
    let (tags, dirs) = (named(&state.table(TAGS)?)?, named(&state.table(TAG_DIRS)?)?);
    let tagged = pairs(&state.table(TAGGED)?)?;
    for (name, tag) in &tags {
        match rows.get(tag) {
            Some(Some(Row::Tag { name: own, image, .. })) if own == name && is_image(rows, *image) => {
                if !tagged.contains(&(*image, *tag)) {
                    found.push(format!("image-name/{name}: its image does not list it"));
                }
            }
            Some(None) => {}
            _ => found.push(format!("image-name/{name}: does not lead to an image")),
        }
    }
    for (path, dir) in &dirs {
        if !matches!(rows.get(dir), Some(Some(Row::TagDir { path: own, .. })) if own == path) && !is_damaged(rows, *dir)
        {
            found.push(format!("image-name/{path}: row {dir} is not this directory's"));
        }
    }
    for path in tags.keys().chain(dirs.keys()) {
        let above = path.rsplit_once('/').map(|(above, _)| above);
        if above.is_some_and(|above| !dirs.contains_key(above)) {
            found.push(format!("image-name/{path}: the directory above is missing"));
        }
    }
    count(rows, found, "image names", "tags", tags.len(), |row| matches!(row, Row::Tag { .. }));
    count(rows, found, "directories of image names", "tag-dirs", dirs.len(), |row| matches!(row, Row::TagDir { .. }));
    if tagged.len() != tags.len() {
        found.push(format!("tagged: {} entries for {} in tags", tagged.len(), tags.len()));
    }
    Ok(())
}

/// Each place of a layer in an image, from both ends.
fn held(
    state: &impl Query,
    rows: &Rows,
    places: &BTreeMap<(Serial, Serial), Serial>,
    found: &mut Vec<String>,
) -> Result<()> {
    let held = table_pairs(&state.table(HELD)?)?;
    for ((image, position), place) in places {
        match rows.get(place) {
            Some(Some(Row::Place { image: i, layer, position: p, .. })) if (i, u64::from(*p)) == (image, *position) => {
                if held.get(&(*layer, *image)) != Some(place) {
                    found.push(format!("places {image} {position}: not in held"));
                }
            }
            Some(None) => {}
            _ => found.push(format!("places {image} {position}: row {place} is not this place's")),
        }
        if !is_image(rows, *image) {
            found.push(format!("places {image} {position}: there is no such image"));
        }
    }
    for (layer, image) in held.keys() {
        let is_shared = |head: &LayerHead| head.owner.is_none();
        if !layer_of(rows, *layer).map_or_else(|| is_damaged(rows, *layer), is_shared) {
            found.push(format!("held {layer} {image}: an image has what is no layer of images"));
        }
    }
    if held.len() != places.len() {
        found.push(format!("held: {} entries for {} in places", held.len(), places.len()));
    }
    count(rows, found, "places", "places", places.len(), |row| matches!(row, Row::Place { .. }));
    Ok(())
}

/// Each image: its layers lie one upon the other, and are what its head says.
fn images(rows: &Rows, places: &BTreeMap<(Serial, Serial), Serial>, found: &mut Vec<String>) {
    for (serial, image) in rows.iter().filter_map(image_row) {
        let own = || places.range((serial, 0)..=(serial, u64::MAX));
        let in_order = own().zip(0..).all(|(((_, position), _), due)| *position == due);
        if own().count() != image.layers as usize || !in_order {
            found.push(format!("image/{}: its layers are not the {} that it has", image.id(), image.layers));
        }
        let (mut below, mut size) = (None, Some(0));
        for (_, place) in own() {
            let Some(Some(Row::Place { layer, .. })) = rows.get(place) else {
                size = None;
                break;
            };
            let Some(head) = layer_of(rows, *layer) else {
                size = None;
                break;
            };
            if head.parent != below {
                found.push(format!("image/{}: layer {} does not lie upon the one below", image.id(), head.id()));
            }
            (below, size) = (Some(*layer), size.map(|size| size + head.size));
        }
        if size.is_some_and(|size| size != image.size) {
            found.push(format!(
                "image/{}: its layers hold {} bytes, not {}",
                image.id(),
                size.unwrap_or(0),
                image.size
            ));
        }
    }
}

/// Each layer: it is upon its parent, and something needs it.
fn layers(rows: &Rows, children: &Pairs, places: &BTreeMap<(Serial, Serial), Serial>, found: &mut Vec<String>) {
    for (parent, child) in children {
        let said = layer_of(rows, *child).map_or_else(|| is_damaged(rows, *child), |head| head.parent == Some(*parent));
        if !said || !(layer_of(rows, *parent).is_some() || is_damaged(rows, *parent)) {
            found.push(format!("children {parent} {child}: no layer that is upon another"));
        }
    }
    let in_images: BTreeSet<Serial> = places.values().filter_map(|place| place_layer(rows, *place)).collect();
    let in_doubt = places.values().any(|place| is_damaged(rows, *place));
    for (serial, layer) in rows.iter().filter_map(layer_row) {
        let id = layer.id();
        if layer.parent.is_some_and(|parent| !children.contains(&(parent, serial))) {
            found.push(format!("layer/{id}: the layer below does not list it"));
        }
        match layer.owner {
            Some(ctr) => {
                let is_its = |head: &CtrHead| {
                    head.id == layer.id && matches!(head.rootfs, Rootfs::Image { layer, .. } if layer == serial)
                };
                if !ctr_of(rows, ctr).map_or_else(|| is_damaged(rows, ctr), is_its) || layer.diff_id.is_some() {
                    found.push(format!("layer/{id}: it is not its container's"));
                }
            }
            None if layer.diff_id.is_none() => found.push(format!("layer/{id}: it has no diff-id")),
            None if !in_images.contains(&serial) && !in_doubt => {
                found.push(format!("layer/{id}: no image has it"));
            }
            None => {}
        }
    }
}

/// Each container upon an image: the image lists it, and the layer is there.
fn users(rows: &Rows, users: &Pairs, found: &mut Vec<String>) {
    for (image, ctr) in users {
        let uses = |head: &CtrHead| head.rootfs.image() == Some(*image);
        if !ctr_of(rows, *ctr).map_or_else(|| is_damaged(rows, *ctr), uses) {
            found.push(format!("users {image} {ctr}: the container does not say so"));
        }
    }
    for (serial, row) in rows {
        let Some(Row::Ctr(head)) = row else { continue };
        let Rootfs::Image { image, layer } = head.rootfs else { continue };
        if !users.contains(&(image, serial.to_owned())) || !is_image(rows, image) {
            found.push(format!("ctr/{}: its image does not list it", head.id()));
        }
        let is_its = |layer: &LayerHead| layer.owner == Some(*serial);
        if !layer_of(rows, layer).map_or_else(|| is_damaged(rows, layer), is_its) {
            found.push(format!("ctr/{}: its layer is missing", head.id()));
        }
    }
}

fn mounted(state: &impl Query, rows: &Rows, found: &mut Vec<String>) -> Result<()> {
    let mut asked = BTreeSet::new();
    for entry in state.table(MOUNTED)?.iter()? {
        asked.insert(entry?.0.value());
    }
    for ctr in &asked {
        if !ctr_of(rows, *ctr).map_or_else(|| is_damaged(rows, *ctr), |head| head.mounted) {
            found.push(format!("mounted {ctr}: no container that was asked to be"));
        }
    }
    for (serial, row) in rows {
        if let Some(Row::Ctr(head)) = row
            && head.mounted
            && !asked.contains(serial)
        {
            found.push(format!("ctr/{}: it was asked to be mounted and is not listed", head.id()));
        }
    }
    Ok(())
}

/// As many rows of a kind as an index has entries; a damaged row may be any.
fn count(rows: &Rows, found: &mut Vec<String>, what: &str, index: &str, due: usize, is: impl Fn(&Row) -> bool) {
    let sound = rows.values().flatten().filter(|row| is(row)).count();
    let damaged = rows.values().filter(|row| row.is_none()).count();
    if sound > due || sound + damaged < due {
        found.push(format!("rows: {sound} {what} for {due} in {index}"));
    }
}

fn is_damaged(rows: &Rows, serial: Serial) -> bool {
    matches!(rows.get(&serial), Some(None))
}

fn is_image(rows: &Rows, serial: Serial) -> bool {
    matches!(rows.get(&serial), Some(Some(Row::Image(_)) | None))
}

fn layer_of(rows: &Rows, serial: Serial) -> Option<&LayerHead> {
    match rows.get(&serial) {
        Some(Some(Row::Layer(head))) => Some(head),
        _ => None,
    }
}

fn ctr_of(rows: &Rows, serial: Serial) -> Option<&CtrHead> {
    match rows.get(&serial) {
        Some(Some(Row::Ctr(head))) => Some(head),
        _ => None,
    }
}

fn place_layer(rows: &Rows, place: Serial) -> Option<Serial> {
    match rows.get(&place) {
        Some(Some(Row::Place { layer, .. })) => Some(*layer),
        _ => None,
    }
}

fn image_row<'a>((serial, row): (&Serial, &'a Option<Row>)) -> Option<(Serial, &'a ImageHead)> {
    match row {
        Some(Row::Image(head)) => Some((*serial, head)),
        _ => None,
    }
}

fn layer_row<'a>((serial, row): (&Serial, &'a Option<Row>)) -> Option<(Serial, &'a LayerHead)> {
    match row {
        Some(Row::Layer(head)) => Some((*serial, head)),
        _ => None,
    }
}

fn named(table: &impl ReadableTable<&'static str, u64>) -> Result<BTreeMap<String, Serial>> {
    let mut found = BTreeMap::new();
    for entry in table.iter()? {
        let (name, serial) = entry?;
        found.insert(name.value().to_owned(), serial.value());
    }
    Ok(found)
}

fn pairs(table: &impl ReadableTable<(u64, u64), ()>) -> Result<Pairs> {
    let mut found = Pairs::new();
    for entry in table.iter()? {
        found.insert(entry?.0.value());
    }
    Ok(found)
}
