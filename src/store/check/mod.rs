//! Every structural promise of the store, asked as a question.

mod contents;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use redb::ReadableTable;

use super::error::StoreError;
use super::more::Extras;
use super::query::Query;
use super::tables::{DIGESTS, DOCS, EXITED, IDS, ITEMS, MEMBERS, NAMES, NEEDED, NEEDS, OBJECTS, REQUESTS, ROWS, meta};
use super::update::Done;
use crate::model::id::Id;
use crate::model::record::{Doc, Kind, Row, Serial};

type Result<T> = std::result::Result<T, StoreError>;

/// What does not hold, a line each; empty for a sound store. Reads only.
///
/// # Errors
/// What the database says; damaged rows are findings, not errors.
pub fn findings(state: &impl Query) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let rows = all_rows(state, &mut found)?;
    ids_and_objects(state, &rows, &mut found)?;
    names(state, &rows, &mut found)?;
    edges(state, &rows, &mut found)?;
    members(state, &rows, &mut found)?;
    documents(state, &rows, &mut found)?;
    more(state, &rows, &mut found)?;
    contents::findings(state, &rows, &mut found)?;
    items(state, &rows, &mut found)?;
    exited(state, &rows, &mut found)?;
    requests(state, &mut found)?;
    Ok(found)
}

type Rows = BTreeMap<Serial, Option<Row>>;

fn all_rows(state: &impl Query, found: &mut Vec<String>) -> Result<Rows> {
    let next = state.meta_number(meta::NEXT)?;
    let mut rows = Rows::new();
    for entry in state.table(ROWS)?.iter()? {
        let (serial, bytes) = entry?;
        let serial = serial.value();
        let row = postcard::from_bytes(bytes.value());
        if let Err(error) = &row {
            found.push(format!("rows {serial}: does not decode: {error}"));
        }
        if serial >= next {
            found.push(format!("rows {serial}: the next serial is {next}"));
        }
        rows.insert(serial, row.ok());
    }
    Ok(rows)
}

fn ids_and_objects(state: &impl Query, rows: &Rows, found: &mut Vec<String>) -> Result<()> {
    let mut objects: HashMap<(u8, u64), Id> = HashMap::new();
    for entry in state.table(OBJECTS)?.iter()? {
        let (key, id) = entry?;
        objects.insert(key.value(), Id::from_bytes(*id.value()));
    }
    let mut listed = 0;
    for entry in state.table(IDS)?.iter()? {
        let (id, object) = entry?;
        let id = Id::from_bytes(*id.value());
        listed += 1;
        if objects.get(&object.value()) != Some(&id) {
            found.push(format!("ids {id}: not listed in objects"));
        }
    }
    for entry in state.table(DIGESTS)?.iter()? {
        let (key, serial) = entry?;
        let (kind, id) = (key.value().0, Id::from_bytes(*key.value().1));
        listed += 1;
        if objects.get(&(kind, serial.value())) != Some(&id) {
            found.push(format!("digests {id}: not listed in objects"));
        }
    }
    for (id, serial) in state.all_infra()? {
        listed += 1;
        let pod = state.object(&id)?.filter(|(kind, _)| *kind == Kind::Pod);
        let is_member = pod.map_or(Ok(None), |(_, pod)| state.member(pod, serial))?.is_some();
        if objects.get(&(Kind::Ctr as u8, serial)) != Some(&id) || !is_member {
            found.push(format!("infra {id}: no container of the pod with this ID"));
        }
    }
    if listed != objects.len() {
        found.push(format!("objects: {} entries for {listed} IDs", objects.len()));
    }
    for ((kind, serial), id) in &objects {
        match rows.get(serial) {
            Some(Some(Row::Ctr(head))) if *kind == Kind::Ctr as u8 && head.id() == *id => {}
            Some(Some(Row::Pod(head))) if *kind == Kind::Pod as u8 && head.id() == *id => {}
            Some(Some(Row::Image(head))) if *kind == Kind::Image as u8 && head.id() == *id => {}
            Some(Some(Row::Layer(head))) if *kind == Kind::Layer as u8 && head.id() == *id => {}
            Some(None) => {} // named above
            _ => found.push(format!("objects {id}: row {serial} is not this object's")),
        }
    }
    for (serial, row) in rows {
        let key = match row {
            Some(Row::Ctr(_)) => (Kind::Ctr as u8, *serial),
            Some(Row::Pod(_)) => (Kind::Pod as u8, *serial),
            Some(Row::Image(_)) => (Kind::Image as u8, *serial),
            Some(Row::Layer(_)) => (Kind::Layer as u8, *serial),
            _ => continue,
        };
        if !objects.contains_key(&key) {
            found.push(format!("rows {serial}: an object that has no ID"));
        }
    }
    Ok(())
}

fn names(state: &impl Query, rows: &Rows, found: &mut Vec<String>) -> Result<()> {
    let mut bound: HashMap<Serial, String> = HashMap::new();
    for entry in state.table(NAMES)?.iter()? {
        let (name, binding) = entry?;
        let (name, binding) = (name.value().to_owned(), binding.value());
        let holds = match rows.get(&binding) {
            Some(Some(Row::Binding { name: own, kind, object, .. })) => {
                own == &name
                    && match (kind, rows.get(object)) {
                        (Kind::Ctr, Some(Some(Row::Ctr(head)))) if head.name == name => head.binding == binding,
                        (Kind::Ctr, Some(Some(Row::Ctr(_)))) => {
                            state.more(*object).map_or(true, |more| more.names.contains(&name))
                        }
                        (Kind::Pod, Some(Some(Row::Pod(head)))) => head.name == name && head.binding == binding,
                        (_, Some(None)) => true,
                        _ => false,
                    }
            }
            Some(None) => true,
            _ => false,
        };
        if !holds {
            found.push(format!("names {name}: does not lead to an object of that name"));
        }
        bound.insert(binding, name);
    }
    for ctr in state.all_more()? {
        let Ok(more) = state.more(ctr) else {
            found.push(format!("more {ctr}: does not decode"));
            continue;
        };
        for name in &more.names {
            let binding = state.table(NAMES)?.get(name.as_str())?.map(|row| row.value());
            let is_its = binding.is_some_and(|binding| match rows.get(&binding) {
                Some(Some(Row::Binding { object, .. })) => *object == ctr,
                row => row.is_some(),
            });
            if !is_its {
                found.push(format!("more {ctr}: the name {name} is not bound to it"));
            }
        }
    }
    for (serial, row) in rows {
        let (name, binding) = match row {
            Some(Row::Ctr(head)) => (&head.name, head.binding),
            Some(Row::Pod(head)) => (&head.name, head.binding),
            Some(Row::Binding { name, .. }) => (name, *serial),
            _ => continue,
        };
        if bound.get(&binding) != Some(name) {
            found.push(format!("rows {serial}: the name {name} is not bound to it"));
        }
    }
    Ok(())
}

fn edges(state: &impl Query, rows: &Rows, found: &mut Vec<String>) -> Result<()> {
    let needs = table_pairs(&state.table(NEEDS)?)?;
    let needed = table_pairs(&state.table(NEEDED)?)?;
    for ((from, to), edge) in &needs {
        if needed.get(&(*to, *from)) != Some(edge) {
            found.push(format!("needs {from} {to}: not in needed"));
        }
        let row = matches!(rows.get(edge), Some(Some(Row::Edge { from: f, to: t, .. })) if (f, t) == (from, to));
        if !row {
            found.push(format!("needs {from} {to}: row {edge} is not this edge's"));
        }
        match (ctr_pod(rows, *from), ctr_pod(rows, *to)) {
            (Some(a), Some(b)) if a != b => found.push(format!("needs {from} {to}: crosses a pod's border")),
            (None, _) | (_, None) => found.push(format!("needs {from} {to}: an end is no container")),
            _ => {}
        }
    }
    if needed.len() != needs.len() {
        found.push(format!("needed: {} entries for {} in needs", needed.len(), needs.len()));
    }
    let edges = rows.values().filter(|row| matches!(row, Some(Row::Edge { .. }))).count();
    if edges != needs.len() {
        found.push(format!("rows: {edges} edges for {} in needs", needs.len()));
    }
    Ok(())
}

/// The pod of a container, `Some(None)` for one outside all; a damaged row passes for anything.
fn ctr_pod(rows: &Rows, serial: Serial) -> Option<Option<Serial>> {
    match rows.get(&serial) {
        Some(Some(Row::Ctr(head))) => Some(head.pod.map(|(pod, _)| pod)),
        _ => None,
    }
}

fn members(state: &impl Query, rows: &Rows, found: &mut Vec<String>) -> Result<()> {
    let members = table_pairs(&state.table(MEMBERS)?)?;
    let mut counts: HashMap<Serial, [u32; 9]> = HashMap::new();
    for ((pod, ctr), member) in &members {
        let row = matches!(rows.get(member), Some(Some(Row::Member { pod: p, ctr: c, .. })) if (p, c) == (pod, ctr));
        if !row {
            found.push(format!("members {pod} {ctr}: row {member} is not this membership's"));
        }
        match rows.get(ctr) {
            Some(Some(Row::Ctr(head))) if head.pod == Some((*pod, *member)) => {
                counts.entry(*pod).or_default()[head.status as usize] += 1;
            }
            Some(None) => {}
            _ => found.push(format!("members {pod} {ctr}: the container does not say so")),
        }
    }
    for (serial, row) in rows {
        match row {
            Some(Row::Pod(head)) if head.counts != counts.get(serial).copied().unwrap_or_default() => {
                found.push(format!("pod {}: its count of members by status is wrong", head.id()));
            }
            Some(Row::Ctr(head)) => {
                if let Some((pod, member)) = head.pod
                    && members.get(&(pod, *serial)) != Some(&member)
                {
                    found.push(format!("ctr {}: its pod does not list it", head.id()));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn table_pairs(table: &impl ReadableTable<(u64, u64), u64>) -> Result<BTreeMap<(Serial, Serial), Serial>> {
    let mut found = BTreeMap::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        found.insert(key.value(), value.value());
    }
    Ok(found)
}

fn documents(state: &impl Query, rows: &Rows, found: &mut Vec<String>) -> Result<()> {
    let mut sizes: HashMap<(Serial, u8), u64> = HashMap::new();
    for entry in state.table(DOCS)?.iter()? {
        let (key, bytes) = entry?;
        sizes.insert(key.value(), bytes.value().len() as u64);
    }
    let mut expected = 0;
    for (serial, row) in rows {
        let (kind, id, docs) = match row {
            Some(Row::Ctr(head)) => {
                // One that cannot be read is named below.
                let metadata = match state.more(*serial) {
                    Ok(more) => Some(more.metadata.size).filter(|_| more.metadata.version != 0),
                    Err(_) => sizes.get(&(*serial, Doc::Metadata as u8)).copied(),
                };
                expected += usize::from(metadata.is_some());
                if metadata != sizes.get(&(*serial, Doc::Metadata as u8)).copied() {
                    found.push(format!("ctr/{}: its metadata is not the text that was written", head.id()));
                }
                (Kind::Ctr, head.id(), [(Doc::Config, head.config.size), (Doc::State, head.state.size)])
            }
            Some(Row::Pod(head)) => {
                (Kind::Pod, head.id(), [(Doc::Config, head.config.size), (Doc::State, head.state.size)])
            }
            Some(Row::Image(head)) => {
                (Kind::Image, head.id(), [(Doc::Config, head.config), (Doc::Manifest, head.manifest)])
            }
            None => {
                expected += (0..=3).filter(|doc| sizes.contains_key(&(*serial, *doc))).count();
                continue;
            }
            _ => continue,
        };
        let metadata = if kind == Kind::Ctr { state.more(*serial).map_or(0, |more| more.metadata.size) } else { 0 };
        let metadata =
            (metadata > 0 || sizes.contains_key(&(*serial, Doc::Metadata as u8))).then_some((Doc::Metadata, metadata));
        for (doc, due) in docs.into_iter().chain(metadata.filter(|_| kind == Kind::Ctr)) {
            expected += 1;
            match sizes.get(&(*serial, doc as u8)) {
                None => found.push(format!("{}/{id}: its {} is missing", kind.dir(), doc.name())),
                Some(size) if *size != due => {
                    found.push(format!("{}/{id}: its {} has {size} bytes, not {due}", kind.dir(), doc.name()));
                }
                Some(_) => {}
            }
        }
    }
    if sizes.len() > expected {
        found.push(format!("docs: {} documents belong to no object", sizes.len() - expected));
    }
    Ok(())
}

/// What containers have beside their heads: only what lives has it, and it agrees with the other tables.
fn more(state: &impl Query, rows: &Rows, found: &mut Vec<String>) -> Result<()> {
    let infra = state.all_infra()?.into_iter().map(|(_, serial)| serial);
    for serial in BTreeSet::from_iter(state.all_more()?.into_iter().chain(infra)) {
        let more = match (state.more(serial), rows.get(&serial)) {
            (Ok(more), Some(Some(Row::Ctr(_)) | None)) => more,
            (Err(StoreError::Row { why, .. }), _) => {
                found.push(format!("more {serial}: does not decode: {why}"));
                continue;
            }
            (Err(error), _) => return Err(error),
            (Ok(_), _) => {
                found.push(format!("more {serial}: there is no such container"));
                continue;
            }
        };
        let is_infra = match state.id_of(Kind::Ctr, serial)? {
            Some(id) => state.infra(&id)? == Some(serial),
            None => false,
        };
        if is_infra != more.infra {
            found.push(format!("more {serial}: whether it carries its pod's ID is told in two ways"));
        }
    }
    Ok(())
}

fn items(state: &impl Query, rows: &Rows, found: &mut Vec<String>) -> Result<()> {
    let mut keyed = HashMap::new();
    for entry in state.table(ITEMS)?.iter()? {
        let (key, serial) = entry?;
        let ((owner, key), serial) = (key.value(), serial.value());
        let holds = match rows.get(&serial) {
            Some(Some(Row::Item(item))) => {
                let lives = state.id_of(item.kind, owner)?.is_some();
                lives && (item.owner, item.key.as_str()) == (owner, key)
            }
            Some(None) => true, // named above
            _ => false,
        };
        if !holds {
            found.push(format!("items {owner} {key:?}: row {serial} is not this item's"));
        }
        keyed.insert(serial, owner);
    }
    for (serial, row) in rows {
        if let Some(Row::Item(item)) = row
            && !keyed.contains_key(serial)
        {
            found.push(format!("rows {serial}: its object has no item {:?}", item.key));
        }
    }
    Ok(())
}

fn exited(state: &impl Query, rows: &Rows, found: &mut Vec<String>) -> Result<()> {
    let mut kept = BTreeSet::new();
    for entry in state.table(EXITED)?.iter()? {
        let (key, serial) = entry?;
        let (id, serial) = (Id::from_bytes(*key.value()), serial.value());
        match rows.get(&serial) {
            Some(Some(Row::Exited { id: own, .. })) if own == id.as_bytes() => {}
            Some(None) => {} // named above
            _ => found.push(format!("exited {id}: row {serial} is not its exit code's")),
        }
        if state.object_of(Kind::Ctr, &id)?.is_some() {
            found.push(format!("exited {id}: the container is there"));
        }
        kept.insert(serial);
    }
    for (serial, row) in rows {
        if matches!(row, Some(Row::Exited { .. })) && !kept.contains(serial) {
            found.push(format!("rows {serial}: no ID has this exit code"));
        }
    }
    Ok(())
}

fn requests(state: &impl Query, found: &mut Vec<String>) -> Result<()> {
    for entry in state.table(REQUESTS)?.iter()? {
        let (key, bytes) = entry?;
        if postcard::from_bytes::<Done>(bytes.value()).is_err() {
            found.push(format!("requests {:?}: does not decode", key.value()));
        }
    }
    Ok(())
}
