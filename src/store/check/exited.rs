//! What containers ended with that are gone.

use std::collections::{BTreeMap, BTreeSet};

use redb::ReadableTable;

use super::{Entry, Fix, Found, Look, Result, compare};
use crate::model::id::Id;
use crate::model::record::{Kind, Row, Serial};
use crate::store::query::Query;
use crate::store::tables::EXITED;

/// Each exit code is told of the ID that it has, and of none whose container is there.
pub(super) fn exited(state: &impl Query, look: &Look, found: &mut Found) -> Result<()> {
    let mut has: BTreeMap<Id, Serial> = BTreeMap::new();
    for entry in state.table(EXITED)?.iter()? {
        let (id, serial) = entry?;
        has.insert(Id::from_bytes(*id.value()), serial.value());
    }
    let ctrs = look.objects.range((Kind::Ctr, 0)..=(Kind::Ctr, u64::MAX));
    let living: BTreeSet<Id> = ctrs.map(|(_, id)| *id).collect();
    let mut due: BTreeMap<Id, Serial> = BTreeMap::new();
    for (serial, row) in look.sound() {
        if let Row::Exited { id, .. } = row {
            let id = Id::from_bytes(*id);
            if !living.contains(&id) && (!due.contains_key(&id) || has.get(&id) == Some(&serial)) {
                due.insert(id, serial);
            }
        }
    }
    let (mut drops, mut puts) = (Vec::new(), Vec::new());
    compare(&has, &due, |id, row| drops.push((*id, *row)), |id, row| puts.push((*id, *row)));
    for (id, serial) in drops.into_iter().filter(|(_, serial)| !look.is_damaged(*serial)) {
        let words = match living.contains(&id) {
            true => "the container is there".to_owned(),
            false => format!("row {serial} is not its exit code's"),
        };
        found.structure(format!("exited/{id}"), words, Fix::drop(Entry::Exited(id, serial)));
    }
    for (id, serial) in puts {
        found.structure(format!("exited/{id}"), "does not lead to its exit code", Fix::put(Entry::Exited(id, serial)));
    }
    for (serial, row) in look.sound() {
        if let Row::Exited { id, .. } = row
            && due.get(&Id::from_bytes(*id)) != Some(&serial)
        {
            found.structure(format!("rows {serial}"), "an exit code of no ID", Fix::drop_row(serial));
        }
    }
    Ok(())
}
