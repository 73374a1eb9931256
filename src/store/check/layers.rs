//! Layers: what they lie upon, and who needs them.

use std::collections::BTreeSet;

use super::{Entry, Fix, Found, Look, Pairs, Result, Ties, compare, pairs};
use crate::model::finding::Trouble;
use crate::model::record::{Kind, LayerHead, Row, Serial};
use crate::store::query::Query;
use crate::store::tables::CHILDREN;

/// Each layer is upon its parent, which lists it, and something needs it. `places` are the layers of
/// images.
pub(super) fn layers(state: &impl Query, look: &Look, places: &Ties, found: &mut Found) -> Result<()> {
    let has = pairs(&state.table(CHILDREN)?)?;
    let mut due = Pairs::new();
    for serial in look.objects_of(Kind::Layer) {
        match look.layer(serial) {
            Some(LayerHead { parent: Some(parent), .. }) if look.exists(Kind::Layer, *parent) => {
                due.insert((*parent, serial), ());
            }
            Some(_) => {}
            None => due.extend(
                has.keys()
                    .filter(|(parent, child)| *child == serial && look.exists(Kind::Layer, *parent))
                    .map(|pair| (*pair, ())),
            ),
        }
    }
    let (mut drops, mut puts) = (Vec::new(), Vec::new());
    compare(&has, &due, |pair, ()| drops.push(*pair), |pair, ()| puts.push(*pair));
    for (parent, child) in drops {
        let fix = Fix::drop(Entry::Child((parent, child)));
        found.structure(format!("children {parent} {child}"), "no layer that is upon another", fix);
    }
    for (parent, child) in puts {
        let fix = Fix::put(Entry::Child((parent, child)));
        found.structure(look.path(Kind::Layer, child), "the layer below does not list it", fix);
    }
    let in_images: BTreeSet<Serial> = places.values().copied().collect();
    let parents: BTreeSet<Serial> = due.keys().map(|(parent, _)| *parent).collect();
    for serial in look.objects_of(Kind::Layer) {
        if let Some(head) = look.layer(serial) {
            layer(look, serial, head, in_images.contains(&serial) || parents.contains(&serial), found);
        }
    }
    Ok(())
}

fn layer(look: &Look, serial: Serial, head: &LayerHead, is_needed: bool, found: &mut Found) {
    let path = look.path(Kind::Layer, serial);
    let gone = Fix::Remove(Kind::Layer, serial);
    if look.own_layers.contains_key(&serial) {
        // Its container tells of it.
        return;
    }
    if let Some(parent) = head.parent.filter(|parent| !look.exists(Kind::Layer, *parent)) {
        found.push(Trouble::LayerMissing, path, format!("the layer below it, #{parent}, is not in the store"), gone);
        return;
    }
    match head.owner {
        Some(ctr) if look.exists(Kind::Ctr, ctr) && look.is_damaged(ctr) => {}
        Some(_) => found.structure(path, "it is not its container's", gone),
        None if head.diff_id.is_none() => found.structure(path, "it has no diff-id", gone),
        // A place whose row is damaged may be its.
        None if !is_needed && !look.rows.values().any(Option::is_none) => {
            found.push(Trouble::LayerUnreferenced, path, "no image has it", gone);
        }
        None => {}
    }
}

/// The record that a container's own layer is due to have.
pub(super) fn own(look: &Look, ctr: Serial, image: Serial, places: &Ties) -> Option<Row> {
    let head = look.ctr(ctr)?;
    let parent = places.range((image, 0)..=(image, u64::MAX)).next_back().map(|(_, layer)| *layer);
    Some(Row::Layer(LayerHead {
        id: head.id,
        parent,
        owner: Some(ctr),
        diff_id: None,
        made: head.made,
        children_changed: head.made,
        users_changed: head.made,
        size: 0,
        disk: 0,
        entries: 0,
    }))
}
