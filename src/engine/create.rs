//! Making containers and pods.

use super::extras::{add, may_add};
use super::find::find;
use super::images::touch_list;
use super::sandbox::create_member;
use super::{Engine, Error, Origin, Result, World, exited, rootfs};
use crate::model::container;
use crate::model::error::Refusal;
use crate::model::extras;
use crate::model::id::Id;
use crate::model::json::{Map, Value, compact_size, render};
use crate::model::keys::text;
use crate::model::name::Name;
use crate::model::pod;
use crate::model::record::{
    Answer, Change, CtrHead, Doc, Kind, List, Moment, More, PodHead, Rootfs, Row, Serial, Stamp,
};
use crate::model::sandbox::asks;
use crate::model::status::Status;
use crate::store::{Done, Extras, Query, Update};

/// The most bytes that a document may have, white space between tokens aside.
pub(super) const MAX_DOCUMENT: usize = 1 << 20;

impl Engine {
    /// Makes objects of one kind, all or none, and answers their IDs. A container's document may name
    /// those made before it.
    ///
    /// # Errors
    /// The first document's refusal that has one.
    pub fn create(&self, origin: Origin, kind: Kind, documents: Vec<Map<String, Value>>) -> Result<Done> {
        let new = self.nothing_made();
        self.apply_growing(origin, move |update, world| {
            let mut made = new.clone();
            for document in &documents {
                match kind {
                    Kind::Ctr if asks(document) => create_member(update, world, document, &mut made)?,
                    Kind::Ctr => {
                        let ctr = create_ctr(update, world, document.clone(), Beside::default(), &mut made)?;
                        made.objects.push(ctr);
                    }
                    Kind::Pod => {
                        let pod = create_pod(update, world, document.clone(), &Map::new(), &mut made)?;
                        made.objects.push(pod);
                    }
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
        let new = self.nothing_made();
        self.apply_growing(origin, move |update, world| {
            update.id_of(Kind::Pod, pod)?.ok_or(Refusal::Gone)?;
            let mut made = new.clone();
            let beside = Beside { pod: Some(pod), ..Beside::default() };
            let ctr = create_ctr(update, world, document.clone(), beside, &mut made)?;
            made.objects.push(ctr);
            Ok((Answer::Objects(made.objects), made.changes))
        })
    }

    pub(super) fn nothing_made(&self) -> Made {
        Made { transient: self.transient, ..Made::default() }
    }
}

type Object = (Kind, Serial, [u8; 32]);

/// What was made, to be answered, and what that changed.
#[derive(Clone, Default)]
pub(super) struct Made {
    /// Whether every container is to be volatile.
    pub(super) transient: bool,
    pub(super) objects: Vec<Object>,
    pub(super) changes: Vec<Change>,
}

/// What a new container has beside its document.
#[derive(Default)]
pub(super) struct Beside {
    /// Its pod.
    pub(super) pod: Option<Serial>,
    /// The caller's own text.
    pub(super) metadata: Option<String>,
    /// Whether the ID in its document is its pod's.
    pub(super) infra: bool,
}

pub(super) fn create_ctr(
    update: &Update<'_>,
    world: &World,
    mut given: Map<String, Value>,
    beside: Beside,
    made: &mut Made,
) -> Result<Object> {
    let mut asked = extras::take(&mut given)?;
    asked.metadata = beside.metadata.unwrap_or(asked.metadata);
    container::check_config(&given)?;
    let (id, name) = identity(update, world, &given, beside.infra)?;
    let pod = match (beside.pod, text(&given, "pod")) {
        (Some(pod), _) => Some(pod),
        (None, Some(text)) => Some(find(update, Kind::Pod, text)?.serial),
        (None, None) => None,
    };
    let pod_head = pod.map(|pod| update.pod(pod)).transpose()?;
    let now = (world.now)();
    let mut config = container::new_config(given, id, &name, pod_head.as_ref().map(PodHead::id), &now.text);
    if made.transient {
        container::make_volatile(&mut config);
    }
    let volatile = container::is_volatile(&config);
    asked.say_volatile(volatile)?;
    may_add(update, &name, &asked)?;
    let names: Vec<&Name> = asked.names.iter().chain([&name]).collect();
    let needs = resolve_needs(update, &mut config, id, &names, pod)?;
    let wanted = rootfs::resolve(update, &Map::new(), Rootfs::None, &mut config)?;
    let config_bytes = rendered(config.clone())?;
    let state = container::new_state();
    let state_bytes = render(&Value::Object(state.clone()));

    let serial = update.next()?;
    match beside.infra {
        true => update.take_infra_id(&id, serial)?,
        false => take_id(update, Kind::Ctr, serial, id)?,
    }
    let binding = take_name(update, Kind::Ctr, serial, &name, &now)?;
    exited::supersede(update, &id, now.nanos, &mut made.changes)?;
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
    if volatile || beside.infra {
        update.put_more(serial, &More { volatile, infra: beside.infra, ..More::default() })?;
    }
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
    touch_lists(update, Kind::Ctr, &now, made)?;
    Ok((Kind::Ctr, serial, *id.as_bytes()))
}

pub(super) fn create_pod(
    update: &Update<'_>,
    world: &World,
    given: Map<String, Value>,
    state: &Map<String, Value>,
    made: &mut Made,
) -> Result<Object> {
    pod::check_config(&given)?;
    let (id, name) = identity(update, world, &given, false)?;
    let now = (world.now)();
    let config = pod::new_config(given, id, &name, &now.text);
    let config_bytes = rendered(config.clone())?;
    let state_bytes = render(&Value::Object(state.clone()));

    let serial = update.next()?;
    take_id(update, Kind::Pod, serial, id)?;
    let binding = take_name(update, Kind::Pod, serial, &name, &now)?;
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
    touch_lists(update, Kind::Pod, &now, made)?;
    Ok((Kind::Pod, serial, *id.as_bytes()))
}

fn touch_lists(update: &Update<'_>, kind: Kind, now: &Moment, made: &mut Made) -> Result<()> {
    let own = if kind == Kind::Ctr { List::Ctr } else { List::Pod };
    for list in [own, List::Id, List::Name] {
        touch_list(update, list, now.nanos, &mut made.changes)?;
    }
    Ok(())
}

/// The ID and the name that a new object gets: its own if it brings them, checked to be free, else
/// random ones. The ID of an `infra` container is its pod's.
fn identity(update: &Update<'_>, world: &World, given: &Map<String, Value>, infra: bool) -> Result<(Id, Name)> {
    let id = container::id_in(given)?;
    let name = container::name_in(given)?;
    if let Some(id) = id.filter(|_| !infra)
        && let Some((by, _)) = update.object(&id)?
    {
        return Err(Refusal::IdTaken { id, by }.into());
    }
    name.as_ref().map_or(Ok(()), |name| free_name_or_refuse(update, name))?;
    let id = id.map_or_else(|| free_id(update, world), Ok)?;
    let name = name.map_or_else(|| free_name(update, world), Ok)?;
    Ok((id, name))
}

/// # Errors
/// [`Refusal::NameTaken`].
pub(super) fn free_name_or_refuse(update: &Update<'_>, name: &Name) -> Result<()> {
    match update.name(name.as_str())? {
        Some((_, by, _)) => Err(Refusal::NameTaken { name: name.to_string(), by }.into()),
        None => Ok(()),
    }
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
    let (mut needs, volatile) = (Vec::new(), container::is_volatile(config));
    container::resolve_references(config, |key, text| {
        if names.iter().any(|name| text == name.as_str()) || Id::parse(text) == Some(id) {
            return Err(Error::Refused(Refusal::DependsOnItself { key }));
        }
        let found = find(update, Kind::Ctr, text)?;
        let other = update.ctr(found.serial)?;
        container::may_depend(pod, other.pod.map(|(pod, _)| pod), key, &other.name)?;
        container::may_need(volatile, update.more(found.serial)?.volatile, key, &other.name)?;
        if !needs.contains(&found.serial) {
            needs.push(found.serial);
        }
        Ok(found.id)
    })?;
    Ok(needs)
}

fn take_id(update: &Update<'_>, kind: Kind, serial: Serial, id: Id) -> Result<()> {
    match update.take_id(&id, kind, serial)? {
        true => Ok(()),
        false => Err(Refusal::IdTaken { id, by: kind }.into()),
    }
}

fn take_name(update: &Update<'_>, kind: Kind, serial: Serial, name: &Name, now: &Moment) -> Result<Serial> {
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
