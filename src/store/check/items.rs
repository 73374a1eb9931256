//! Files of callers' own: each is a container's or an image's.

use std::collections::BTreeMap;

use redb::ReadableTable;

use super::fix::Foreign;
use super::{Entry, Fix, Found, Look, Result, Step, compare};
use crate::model::record::{Item, Kind, Row, Serial};
use crate::store::query::Query;
use crate::store::tables::{DATA, ITEMS};

type Keyed = BTreeMap<(Serial, String), Serial>;

/// Each item has its object, which lists it by its key.
pub(super) fn items(state: &impl Query, look: &Look, found: &mut Found) -> Result<()> {
    let mut has = Keyed::new();
    for entry in state.table(ITEMS)?.iter()? {
        let (key, item) = entry?;
        has.insert((key.value().0, key.value().1.to_owned()), item.value());
    }
    let mut due = Keyed::new();
    for (serial, row) in look.sound() {
        if let Row::Item(Item { kind, owner, key, .. }) = row
            && has_items(look, *kind, *owner)
        {
            let key = (*owner, key.clone());
            if !due.contains_key(&key) || has.get(&key) == Some(&serial) {
                due.insert(key, serial);
            }
        }
    }
    let (mut drops, mut puts) = (Vec::new(), Vec::new());
    compare(&has, &due, |key, item| drops.push((key.clone(), *item)), |key, item| puts.push((key.clone(), *item)));
    for (key, item) in drops.into_iter().filter(|(_, item)| !look.is_damaged(*item)) {
        let words = format!("row {item} is not this item's");
        found.structure(path(look, &key), words, Fix::drop(Entry::Item(key, item)));
    }
    for (key, item) in puts {
        found.structure(path(look, &key), "an item that is not listed", Fix::put(Entry::Item(key, item)));
    }
    for (serial, row) in look.sound() {
        if let Row::Item(Item { owner, key, .. }) = row
            && due.get(&(*owner, key.clone())) != Some(&serial)
        {
            found.structure(format!("rows {serial}"), "an item of no object", Fix::drop_row(serial));
        }
    }
    changed(state, look, found)
}

fn has_items(look: &Look, kind: Kind, owner: Serial) -> bool {
    matches!(kind, Kind::Ctr | Kind::Image) && look.exists(kind, owner)
}

fn path(look: &Look, (owner, key): &(Serial, String)) -> String {
    let kind = if look.exists(Kind::Image, *owner) { Kind::Image } else { Kind::Ctr };
    format!("{}/data/{}", look.path(kind, *owner), key.escape_debug())
}

/// When items changed is told of objects that there are.
fn changed(state: &impl Query, look: &Look, found: &mut Found) -> Result<()> {
    for entry in state.table(DATA)?.iter()? {
        let owner = entry?.0.value();
        if !has_items(look, Kind::Ctr, owner) && !has_items(look, Kind::Image, owner) {
            let fix = Fix::step(Step::Forget(Foreign::Data(owner)));
            found.structure(format!("data {owner}"), "there is no such container or image", fix);
        }
    }
    Ok(())
}
