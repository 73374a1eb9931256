//! Changing an object's documents.

use super::create::{rendered, stamp};
use super::find::find;
use super::rootfs::{self, Wanted};
use super::{Engine, Error, Origin, Result, World};
use crate::model::container;
use crate::model::error::Refusal;
use crate::model::extras;
use crate::model::id::Id;
use crate::model::json::{Map, Value, merge, parse};
use crate::model::keys::text;
use crate::model::name::Name;
use crate::model::pod;
use crate::model::record::{Answer, Change, CtrHead, Doc, Kind, List, Moment, PodHead, Rootfs, Row, Serial};
use crate::store::{Done, Extras, Query, StoreError, Update};

/// One step of a change to a document.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Takes the document's place.
    Replace(Map<String, Value>),
    /// Merges into it by RFC 7396.
    Merge(Map<String, Value>),
}

impl Engine {
    /// Changes one document by several steps, all or none. `seen` is the version that the writer read,
    /// if it did: somebody else's change in between is refused.
    ///
    /// # Errors
    /// What the model refuses; [`Refusal::Changed`]; [`Refusal::Gone`].
    pub fn write(
        &self,
        origin: Origin,
        kind: Kind,
        serial: Serial,
        doc: Doc,
        edits: Vec<Edit>,
        seen: Option<u64>,
    ) -> Result<Done> {
        let change = move |update: &Update<'_>, world: &World| {
            let (version, changes) = match kind {
                Kind::Ctr => write_ctr(update, world, serial, doc, &edits, seen)?,
                Kind::Pod => write_pod(update, world, serial, doc, &edits, seen)?,
                Kind::Image | Kind::Layer => return Err(Refusal::ReadOnly { entry: doc.name() }.into()),
            };
            Ok((Answer::Version(version), changes))
        };
        match doc {
            Doc::Config => self.apply_growing(origin, change),
            // What has become of a container must be kept even where the disk is full.
            Doc::State | Doc::Manifest | Doc::Metadata | Doc::Tree => self.apply(origin, change),
        }
    }
}

fn write_ctr(
    update: &Update<'_>,
    world: &World,
    serial: Serial,
    doc: Doc,
    edits: &[Edit],
    seen: Option<u64>,
) -> Result<(u64, Vec<Change>)> {
    update.id_of(Kind::Ctr, serial)?.ok_or(Refusal::Gone)?;
    let mut head = damaged(update.ctr(serial))?;
    let current = if doc == Doc::Config { head.config } else { head.state };
    unchanged_since(seen, current.version)?;
    let bytes = update.doc(serial, doc)?.unwrap_or_default();
    let old = parse(&bytes);
    let mut document = object(old.clone().ok(), || identity(update, serial, &head));
    let (mut new_name, mut wanted) = (None, None);
    for edit in edits {
        match doc {
            Doc::Config => {
                let (edited, asked) = edit_ctr_config(update, &document, head.rootfs, edit.clone(), old.is_ok())?;
                document = edited;
                new_name = renamed(update, serial, &head.name, &document)?;
                wanted = Some(asked);
            }
            Doc::State | Doc::Manifest | Doc::Metadata | Doc::Tree => {
                let new = edited(&document, edit.clone(), old.is_ok())?;
                document = container::accept_state(&document, new)?;
            }
        }
    }
    let before = old.as_ref().ok().and_then(Value::as_object);
    let other_rootfs = wanted.map_or(Ok(false), |wanted| rootfs::may_have(&head, wanted, before, &document))?;
    let new_bytes = rendered(document.clone())?;
    if new_bytes == bytes && !other_rootfs {
        return Ok((current.version, vec![]));
    }
    let now = (world.now)();
    let mut changes = vec![];
    let (was, new_stamp) = (head.status, stamp(update, &new_bytes, &now)?);
    match doc {
        Doc::Config => {
            head.config = new_stamp;
            container::derive_from_config(&mut head, &document);
            changes.push(Change::Config(Kind::Ctr, serial));
        }
        Doc::State | Doc::Manifest | Doc::Metadata | Doc::Tree => {
            head.state = new_stamp;
            container::derive_from_state(&mut head, &document);
            changes.push(Change::State(Kind::Ctr, serial));
        }
    }
    if let Some(name) = new_name {
        head.binding = rebound(update, Kind::Ctr, serial, &head.name, head.binding, &name, &now, &mut changes)?;
        head.name = name.to_string();
        rootfs::renamed(update, head.rootfs, now.nanos, &mut changes)?;
    }
    if let Some(wanted) = wanted.filter(|_| other_rootfs) {
        rootfs::give(update, &mut head, serial, wanted, now.nanos, &mut changes)?;
    }
    update.put_doc(serial, doc, &new_bytes)?;
    // A pod whose row is damaged is no reason to keep from its members what has become of them.
    if let Some((pod, _)) = head.pod.filter(|_| head.status != was)
        && let Ok(mut pod_head) = update.pod(pod)
    {
        pod_head.counts[was as usize] = pod_head.counts[was as usize].saturating_sub(1);
        pod_head.counts[head.status as usize] += 1;
        pod_head.status_changed = now.nanos;
        update.put_row(pod, &Row::Pod(pod_head))?;
        changes.push(Change::PodStatus(pod));
    }
    update.put_row(serial, &Row::Ctr(head))?;
    Ok((new_stamp.version, changes))
}

fn write_pod(
    update: &Update<'_>,
    world: &World,
    serial: Serial,
    doc: Doc,
    edits: &[Edit],
    seen: Option<u64>,
) -> Result<(u64, Vec<Change>)> {
    update.id_of(Kind::Pod, serial)?.ok_or(Refusal::Gone)?;
    let mut head: PodHead = damaged(update.pod(serial))?;
    let current = if doc == Doc::Config { head.config } else { head.state };
    unchanged_since(seen, current.version)?;
    let bytes = update.doc(serial, doc)?.unwrap_or_default();
    let old = parse(&bytes);
    let mut document = object(old.clone().ok(), || {
        container::with_identity(Map::new(), vec![("id", head.id().to_string()), ("name", head.name.clone())])
    });
    let mut new_name = None;
    for edit in edits {
        if let (Doc::Config, Edit::Merge(patch)) = (doc, edit) {
            pod::check_patch(&document, patch)?;
        }
        let new = edited(&document, edit.clone(), old.is_ok())?;
        match doc {
            Doc::Config => {
                pod::check_config(&new)?;
                document = pod::rewrite_config(&document, new)?;
                new_name = renamed(update, serial, &head.name, &document)?;
            }
            Doc::State | Doc::Manifest | Doc::Metadata | Doc::Tree => document = pod::accept_state(new)?,
        }
    }
    let new_bytes = rendered(document.clone())?;
    if new_bytes == bytes {
        return Ok((current.version, vec![]));
    }
    let now = (world.now)();
    let new_stamp = stamp(update, &new_bytes, &now)?;
    let mut changes = match doc {
        Doc::Config => {
            head.config = new_stamp;
            pod::derive_from_config(&mut head, &document);
            vec![Change::Config(Kind::Pod, serial)]
        }
        Doc::State | Doc::Manifest | Doc::Metadata | Doc::Tree => {
            head.state = new_stamp;
            vec![Change::State(Kind::Pod, serial)]
        }
    };
    if let Some(name) = new_name {
        head.binding = rebound(update, Kind::Pod, serial, &head.name, head.binding, &name, &now, &mut changes)?;
        head.name = name.to_string();
    }
    update.put_doc(serial, doc, &new_bytes)?;
    update.put_row(serial, &Row::Pod(head))?;
    Ok((new_stamp.version, changes))
}

/// A head that does not decode is said to be so.
pub(super) fn damaged<T>(head: std::result::Result<T, StoreError>) -> Result<T> {
    head.map_err(|error| match error {
        StoreError::Row { why, .. } => Refusal::Undecodable { part: "record", why }.into(),
        other => other.into(),
    })
}

pub(super) fn unchanged_since(seen: Option<u64>, current: u64) -> Result<()> {
    if seen.is_some_and(|seen| seen != current) {
        return Err(Refusal::Changed.into());
    }
    Ok(())
}

/// The old document; where it does not decode, what is known without it.
fn object(old: Option<Value>, known: impl FnOnce() -> Map<String, Value>) -> Map<String, Value> {
    match old {
        Some(Value::Object(old)) => old,
        _ => known(),
    }
}

fn identity(update: &Update<'_>, ctr: Serial, head: &CtrHead) -> Map<String, Value> {
    let mut known = vec![("id", head.id().to_string()), ("name", head.name.clone())];
    if let Some((pod, _)) = head.pod
        && let Ok(Some(id)) = update.id_of(Kind::Pod, pod)
    {
        known.push(("pod", id.to_string()));
    }
    if let Some(image) = head.rootfs.image()
        && let Ok(Some(id)) = update.id_of(Kind::Image, image)
    {
        let id = id.to_string();
        known.extend(head.image.clone().filter(|name| *name != id).map(|name| (container::IMAGE_NAME, name)));
        known.push((container::IMAGE_ID, id));
    }
    let mut config = container::with_identity(Map::new(), known);
    if update.more(ctr).is_ok_and(|more| more.volatile) {
        container::make_volatile(&mut config);
    }
    config
}

/// A document after one step. Merging needs one that decodes.
fn edited(document: &Map<String, Value>, edit: Edit, decodes: bool) -> Result<Map<String, Value>> {
    match edit {
        Edit::Replace(new) => Ok(new),
        Edit::Merge(_) if !decodes => {
            Err(Refusal::Undecodable { part: "document", why: "nothing can merge into it; replace it".into() }.into())
        }
        Edit::Merge(patch) => {
            let mut merged = Value::Object(document.clone());
            merge(&mut merged, Value::Object(patch));
            match merged {
                Value::Object(merged) => Ok(merged),
                _ => Err(Refusal::NotAnObject.into()),
            }
        }
    }
}

fn edit_ctr_config(
    update: &Update<'_>,
    old: &Map<String, Value>,
    has: Rootfs,
    edit: Edit,
    decodes: bool,
) -> Result<(Map<String, Value>, Wanted)> {
    if let Edit::Merge(patch) = &edit {
        container::check_patch(old, patch, has.image().is_some())?;
    }
    let mut new = edited(old, edit, decodes)?;
    container::check_config(&new)?;
    // What is as it was needs no search, and may name what is gone; what there is not is not as it was.
    let known = |text: &str| old.values().any(|value| mentions(value, text));
    let fixed = |key| move |error| if is_absent(&error) { Refusal::FixedKey { key }.into() } else { error };
    container::resolve_references(&mut new, |key, text| match Id::parse(text) {
        Some(id) if known(text) => Ok(id),
        _ => find(update, Kind::Ctr, text).map(|found| found.id).map_err(fixed(key)),
    })?;
    if let Some(pod) = text(&new, "pod").filter(|pod| text(old, "pod") != Some(pod)) {
        let pod = find(update, Kind::Pod, pod).map_err(fixed("pod"))?.id;
        new.insert("pod".to_owned(), Value::from(pod.to_string()));
    }
    extras::check_absent(old, &new)?;
    let mut config = container::rewrite_config(old, new)?;
    let wanted = rootfs::resolve(update, old, has, &mut config)?;
    Ok((config, wanted))
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::Refused(Refusal::NoSuch { .. }))
}

fn mentions(value: &Value, text: &str) -> bool {
    match value {
        Value::String(own) => own == text,
        Value::Array(items) => items.iter().any(|item| item == text),
        _ => false,
    }
}

/// The new name in a config, if it has one, checked to be free or a further one of its own.
fn renamed(update: &Update<'_>, serial: Serial, current: &str, document: &Map<String, Value>) -> Result<Option<Name>> {
    let rule = "a name";
    let name = container::name_in(document)?.ok_or_else(|| Refusal::BadKey { key: "name".to_owned(), rule })?;
    if name.as_str() == current {
        return Ok(None);
    }
    match update.name(name.as_str())? {
        Some((_, by, object)) if object != serial => Err(Refusal::NameTaken { name: name.to_string(), by }.into()),
        _ => Ok(Some(name)),
    }
}

/// Ends the old name's binding and makes one for the new name; a further name of its own becomes the first.
#[expect(clippy::too_many_arguments, reason = "an object is its kind, serial, name and binding here")]
fn rebound(
    update: &Update<'_>,
    kind: Kind,
    serial: Serial,
    old: &str,
    binding: Serial,
    new: &Name,
    now: &Moment,
    changes: &mut Vec<Change>,
) -> Result<Serial> {
    update.unbind(old)?;
    update.touch_list(List::Name, now.nanos)?;
    changes.extend([Change::Binding(binding), Change::List(List::Name)]);
    if let Some((own, _, object)) = update.name(new.as_str())?
        && object == serial
    {
        let mut more = damaged(update.more(serial))?;
        more.names.retain(|name| name != new.as_str());
        more.names_changed = now.nanos;
        update.put_more(serial, &more)?;
        changes.push(Change::More(serial));
        return Ok(own);
    }
    let bound = update.bind(new.as_str(), kind, serial, now.nanos)?;
    bound.ok_or_else(|| Refusal::NameTaken { name: new.to_string(), by: kind }.into())
}
