//! Making containers and pods.

use super::extras::{add, may_add};
use super::find::find;
use super::images::touch_list;
use super::{Engine, Error, Origin, Result, World, rootfs};
use crate::model::container;
use crate::model::error::Refusal;
use crate::model::extras;
use crate::model::id::Id;
use crate::model::json::{Map, Value, compact_size, render};
use crate::model::keys::text;
use crate::model::name::Name;
use crate::model::pod;
use crate::model::record::{Answer, Change, CtrHead, Doc, Kind, List, Moment, PodHead, Rootfs, Row, Serial, Stamp};
use crate::model::status::Status;
use crate::store::{Done, Query, Update};

/// The most bytes that a document may have, white space between tokens aside.
pub(super) const MAX_DOCUMENT: usize = 1 << 20;

impl Engine {
    /// Makes objects of one kind, all or none, and answers their IDs. A container's document may name
    /// those made before it.
    ///
    /// # Errors
    /// The first document's refusal that has one.
    pub fn create(&self, origin: Origin, kind: Kind, documents: Vec<Map<String, Value>>) -> Result<Done> {
        self.apply_growing(origin, move |update, world| {
            let mut made = Made::default();
            for document in &documents {
                match kind {
                    Kind::Ctr => create_ctr(update, world, document.clone(), None, &mut made)?,
                    Kind::Pod => create_pod(update, world, document.clone(), &mut made)?,
                    Kind::Image | Kind::Layer => return Err(Refusal::ReadOnly { entry: kind.dir() }.into()),
                }
            }
            Ok((Answer::Objects(made.objects), made.changes))
        })
    }

    /// Makes a container in a pod.
    ///
    /// # Errors
    /// Its refusal.
    pub fn create_in_pod(&self, origin: Origin, pod: Serial, document: Map<String, Value>) -> Result<Done> {
        self.apply_growing(origin, move |update, world| {
            let mut made = Made::default();
            create_ctr(update, world, document.clone(), Some(pod), &mut made)?;
            Ok((Answer::Objects(made.objects), made.changes))
        })
    }
}

#[derive(Default)]
struct Made {
    objects: Vec<(Kind, Serial, [u8; 32])>,
    changes: Vec<Change>,
}

fn create_ctr(
    update: &Update<'_>,
    world: &World,
    mut given: Map<String, Value>,
    pod: Option<Serial>,
    made: &mut Made,
) -> Result<()> {
    let asked = extras::take(&mut given)?;
    container::check_config(&given)?;
    let (id, name) = identity(update, world, &given)?;
    may_add(update, &name, &asked)?;
    let pod = match (pod, text(&given, "pod")) {
        (Some(pod), _) => Some(pod),
        (None, Some(text)) => Some(find(update, Kind::Pod, text)?.serial),
        (None, None) => None,
    };
    let pod_head = pod.map(|pod| update.pod(pod)).transpose()?;
    let now = (world.now)();
    let mut config = container::new_config(given, id, &name, pod_head.as_ref().map(PodHead::id), &now.text);
    let names: Vec<&Name> = asked.names.iter().chain([&name]).collect();
    let needs = resolve_needs(update, &mut config, id, &names, pod)?;
    let wanted = rootfs::resolve(update, &Map::new(), Rootfs::None, &mut config)?;
    let config_bytes = rendered(config.clone())?;
    let state = container::new_state();
    let state_bytes = render(&Value::Object(state.clone()));

    let serial = update.next()?;
    let binding = take(update, Kind::Ctr, serial, id, &name, &now)?;
    let member = pod.map(|pod| update.join(pod, serial, now.nanos)).transpose()?;
    let mut head = CtrHead {
        id: *id.as_bytes(),
        name: name.to_string(),
        binding,
        pod: pod.zip(member),
        made: now.nanos,
        dependents_changed: now.nanos,
        config: stamp(update, &config_bytes, &now)?,
        state: stamp(update, &state_bytes, &now)?,
        status: Status::Configured,
        pid: None,
        exit_code: None,
        netns: None,
        image: None,
        created: None,
        started: None,
        finished: None,
        rootfs: Rootfs::None,
        shm: true,
        mounted: false,
    };
    container::derive_from_config(&mut head, &config);
    container::derive_from_state(&mut head, &state);
    rootfs::give(update, &mut head, serial, wanted, now.nanos, &mut made.changes)?;
    update.put_doc(serial, Doc::Config, &config_bytes)?;
    update.put_doc(serial, Doc::State, &state_bytes)?;
    update.put_row(serial, &Row::Ctr(head))?;
    add(update, world, serial, &name, asked, &now)?;
    for on in needs {
        update.link(serial, on, now.nanos)?;
        let mut other = update.ctr(on)?;
        other.dependents_changed = now.nanos;
        update.put_row(on, &Row::Ctr(other))?;
        made.changes.push(Change::Dependents(on));
    }
    if let (Some(pod), Some(mut head)) = (pod, pod_head) {
        head.counts[Status::Configured as usize] += 1;
        head.members_changed = now.nanos;
        head.status_changed = now.nanos;
        update.put_row(pod, &Row::Pod(head))?;
        made.changes.extend([Change::Members(pod), Change::PodStatus(pod)]);
    }
    finish(update, Kind::Ctr, serial, id, &now, made)
}

fn create_pod(update: &Update<'_>, world: &World, given: Map<String, Value>, made: &mut Made) -> Result<()> {
    pod::check_config(&given)?;
    let (id, name) = identity(update, world, &given)?;
    let now = (world.now)();
    let config = pod::new_config(given, id, &name, &now.text);
    let config_bytes = rendered(config.clone())?;
    let state_bytes = render(&Value::Object(Map::new()));

    let serial = update.next()?;
    let binding = take(update, Kind::Pod, serial, id, &name, &now)?;
    let mut head = PodHead {
        id: *id.as_bytes(),
        name: name.to_string(),
        binding,
        made: now.nanos,
        members_changed: now.nanos,
        status_changed: now.nanos,
        config: stamp(update, &config_bytes, &now)?,
        state: stamp(update, &state_bytes, &now)?,
        counts: [0; 9],
        created: None,
    };
    pod::derive_from_config(&mut head, &config);
    update.put_doc(serial, Doc::Config, &config_bytes)?;
    update.put_doc(serial, Doc::State, &state_bytes)?;
    update.put_row(serial, &Row::Pod(head))?;
    finish(update, Kind::Pod, serial, id, &now, made)
}

fn finish(update: &Update<'_>, kind: Kind, serial: Serial, id: Id, now: &Moment, made: &mut Made) -> Result<()> {
    let own = if kind == Kind::Ctr { List::Ctr } else { List::Pod };
    for list in [own, List::Id, List::Name] {
        touch_list(update, list, now.nanos, &mut made.changes)?;
    }
    made.objects.push((kind, serial, *id.as_bytes()));
    Ok(())
}

/// The ID and the name that a new object gets: its own if it brings them, checked to be free, else
/// random ones.
fn identity(update: &Update<'_>, world: &World, given: &Map<String, Value>) -> Result<(Id, Name)> {
    let id = container::id_in(given)?;
    let name = container::name_in(given)?;
    if let Some(id) = id
        && let Some((by, _)) = update.object(&id)?
    {
        return Err(Refusal::IdTaken { id, by }.into());
    }
    if let Some(name) = &name
        && let Some((_, by, _)) = update.name(name.as_str())?
    {
        return Err(Refusal::NameTaken { name: name.to_string(), by }.into());
    }
    let id = id.map_or_else(|| free_id(update, world), Ok)?;
    let name = name.map_or_else(|| free_name(update, world), Ok)?;
    Ok((id, name))
}

fn free_id(update: &Update<'_>, world: &World) -> Result<Id> {
    loop {
        let random = (world.random)();
        let id = Id::from_bytes(random[..32].try_into().expect("40 bytes have 32"));
        if id.is_fit() && update.object(&id)?.is_none() && !update.name_begins(&id)? {
            return Ok(id);
        }
    }
}

fn free_name(update: &Update<'_>, world: &World) -> Result<Name> {
    for attempt in 0.. {
        let random = u64::from_le_bytes((world.random)()[32..].try_into().expect("40 bytes have 8 beyond 32"));
        let name = Name::random(random, attempt);
        if update.name(name.as_str())?.is_none() {
            return Ok(name);
        }
    }
    unreachable!("numbered names do not run out")
}

/// Resolves what a new container depends on and checks each edge. Distinct, in order.
fn resolve_needs(
    update: &Update<'_>,
    config: &mut Map<String, Value>,
    id: Id,
    names: &[&Name],
    pod: Option<Serial>,
) -> Result<Vec<Serial>> {
    let mut needs = Vec::new();
    container::resolve_references(config, |key, text| {
        if names.iter().any(|name| text == name.as_str()) || Id::parse(text) == Some(id) {
            return Err(Error::Refused(Refusal::DependsOnItself { key }));
        }
        let found = find(update, Kind::Ctr, text)?;
        let other = update.ctr(found.serial)?;
        container::may_depend(pod, other.pod.map(|(pod, _)| pod), key, &other.name)?;
        if !needs.contains(&found.serial) {
            needs.push(found.serial);
        }
        Ok(found.id)
    })?;
    Ok(needs)
}

fn take(update: &Update<'_>, kind: Kind, serial: Serial, id: Id, name: &Name, now: &Moment) -> Result<Serial> {
    if !update.take_id(&id, kind, serial)? {
        return Err(Refusal::IdTaken { id, by: kind }.into());
    }
    let binding = update.bind(name.as_str(), kind, serial, now.nanos)?;
    binding.ok_or_else(|| Refusal::NameTaken { name: name.to_string(), by: kind }.into())
}

/// A document's bytes, if they are not too many.
pub(super) fn rendered(document: Map<String, Value>) -> Result<Vec<u8>> {
    let document = Value::Object(document);
    let bytes = render(&document);
    if bytes.len() > MAX_DOCUMENT && compact_size(&document) > MAX_DOCUMENT {
        return Err(Refusal::TooLarge { what: "document", limit: MAX_DOCUMENT }.into());
    }
    Ok(bytes)
}

/// The stamp of a document that is written now.
pub(super) fn stamp(update: &Update<'_>, bytes: &[u8], now: &Moment) -> Result<Stamp> {
    Ok(Stamp { version: update.next()?, changed: now.nanos, size: bytes.len() as u64 })
}
