//! Removing containers and pods.

use std::collections::BTreeSet;

use super::extras::{change_flags, change_metadata};
use super::find::{Found, find_exact};
use super::images::{remove_image, remove_layer};
use super::mount::Busy;
use super::view::View;
use super::{Engine, Error, Origin, Result, World, exited, items, rootfs};
use crate::driver::dirs::Shelf;
use crate::model::container::may_remove;
use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::json::Value;
use crate::model::record::{Answer, Change, Kind, List, Nanos, Row, Serial};
use crate::store::{Done, Extras, Query, StoreError, Update};

impl Engine {
    /// Removes the object with this full ID or exact name.
    ///
    /// # Errors
    /// A pod with members, a container that lives or is needed, an image or layer that is used: refused.
    /// So is a prefix.
    pub fn remove(&self, origin: Origin, kind: Kind, text: String, patience: Patience) -> Result<Done> {
        // One that is gone may be a request that is sent again: its answer is kept.
        let before = self.view()?;
        let found = find_exact(before.snapshot(), kind, &text);
        let looked_at = found.as_ref().ok().copied();
        let _busy = looked_at.map(|found| self.undisturbed(&before, kind, found, patience)).transpose()?;
        let leaving = self.leave_dirs();
        let note = leaving.note();
        let done = self.apply(origin, move |update, world| {
            let serial = found.clone()?.serial;
            // Its name may have become another's since it was looked at: the kernel walks there once more.
            if find_exact(update, kind, &text)?.serial != serial {
                return Err(Refusal::Gone.into());
            }
            let (answer, changes) = remove_one(update, world, kind, serial)?;
            note(&removed_ids(&answer));
            Ok((answer, changes))
        })?;
        // What the server left mounted that this request was sent to before, the next takes away at its start.
        if patience == Patience::Some {
            self.unmount_removed(&before, &done.answer);
        }
        self.clear(kind, &done.answer);
        Ok(done)
    }

    /// Carries out orders one after the other in one step, all or none; answers what each removed.
    ///
    /// # Errors
    /// The first refusal; nothing is removed then.
    pub fn carry_out(&self, origin: Origin, orders: Vec<Order>) -> Result<Done> {
        let content = orders.iter().any(|order| matches!(order, Order::Wipe { images: true }));
        let before = self.view()?;
        let leaving = self.leave_dirs();
        let note = leaving.note();
        let done = self.apply(origin, move |update, world| {
            let (mut removed, mut changes) = (Vec::new(), Vec::new());
            for order in &orders {
                let (objects, changed) = carry_out(update, world, order)?;
                removed.push(objects.into_iter().map(|(_, _, id)| id).collect());
                changes.extend(changed);
            }
            let answer = Answer::Removed(removed);
            note(&removed_ids(&answer));
            Ok((answer, changes))
        })?;
        self.unmount_removed(&before, &done.answer);
        self.clear(Kind::Ctr, &done.answer);
        if content {
            self.clear(Kind::Image, &done.answer);
        }
        Ok(done)
    }

    /// Whether the thread may remove an object now; nobody mounts a container, or a pod's infra container,
    /// until the guard goes.
    fn undisturbed(&self, before: &View, kind: Kind, found: Found, patience: Patience) -> Result<Option<Busy<'_>>> {
        let ctr = match kind {
            Kind::Ctr => Some(found.serial),
            Kind::Pod => before.snapshot().infra(&found.id)?,
            Kind::Image | Kind::Layer => None,
        };
        let Some(ctr) = ctr else { return Ok(None) };
        let busy = match patience {
            Patience::None => self.occupy(ctr)?,
            Patience::Some => self.occupy_soon(ctr)?,
        };
        if patience == Patience::None && self.has_mounts(found.id) {
            return Err(Refusal::Busy { name: self.name_of(ctr) }.into());
        }
        Ok(Some(busy))
    }

    /// Takes away what is mounted of containers that are removed; `before` still has them.
    fn unmount_removed(&self, before: &View, answer: &Answer) {
        for id in removed_ids(answer) {
            if let Err(error) = self.unmount_gone(before, id) {
                log::warn!("what was mounted of {id} is left over: {error}");
            }
        }
    }

    /// Takes away the directories of objects that are removed.
    fn clear(&self, kind: Kind, answer: &Answer) {
        let ids = removed_ids(answer);
        if kind.is_content() {
            self.sweep(Shelf::Images, ids.clone());
            self.sweep(Shelf::Layers, ids);
        } else {
            self.sweep(Shelf::Uppers, ids);
        }
    }
}

fn removed_ids(answer: &Answer) -> Vec<Id> {
    match answer {
        Answer::Removed(removed) => removed.iter().flatten().map(|id| Id::from_bytes(*id)).collect(),
        _ => vec![],
    }
}

/// Whether a thread that removes a container may wait for the end of its mounts: one that answers the
/// requests of the tree they are in may not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// It may not; a container that is mounted is not removed then.
    None,
    /// It may.
    Some,
}

/// What no single file operation says. Objects are named by full ID or exact name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Removes containers, which may need one another.
    Ctrs(Vec<String>),
    /// Removes a pod; with its containers when `recursive`.
    Pod {
        /// The pod.
        pod: String,
        /// Whether its containers go too.
        recursive: bool,
    },
    /// Sets a container's own text, which may be empty.
    Metadata {
        /// The container.
        ctr: String,
        /// The text.
        text: String,
    },
    /// Sets flags of a container together, and clears those with nothing to set.
    Flags {
        /// The container.
        ctr: String,
        /// The flags.
        set: Vec<(String, Option<Value>)>,
    },
    /// Removes all containers and pods.
    Wipe {
        /// Whether the images go too.
        images: bool,
    },
}

fn carry_out(update: &Update<'_>, world: &World, order: &Order) -> Removed {
    match order {
        Order::Ctrs(names) => {
            let serials = names.iter().map(|text| Ok(find_exact(update, Kind::Ctr, text)?.serial));
            let serials: BTreeSet<Serial> = serials.collect::<Result<_>>()?;
            remove_ctrs(update, world, &Vec::from_iter(serials))
        }
        Order::Pod { pod, recursive } => {
            let serial = find_exact(update, Kind::Pod, pod)?.serial;
            remove_pod(update, world, serial, *recursive)
        }
        Order::Metadata { ctr, text } => {
            let serial = find_exact(update, Kind::Ctr, ctr)?.serial;
            Ok((vec![], change_metadata(update, world, serial, text.as_bytes())?.1))
        }
        Order::Flags { ctr, set } => {
            let serial = find_exact(update, Kind::Ctr, ctr)?.serial;
            Ok((vec![], change_flags(update, world, serial, set)?))
        }
        Order::Wipe { images } => wipe(update, world, *images),
    }
}
type Object = (Kind, Serial, [u8; 32]);
type Removed = Result<(Vec<Object>, Vec<Change>)>;

fn remove_one(update: &Update<'_>, world: &World, kind: Kind, serial: Serial) -> Result<(Answer, Vec<Change>)> {
    let ids_of = |objects: Vec<Object>| objects.into_iter().map(|(_, _, id)| id).collect::<Vec<_>>();
    let freed = |ids: Vec<Id>| ids.into_iter().map(|id| *id.as_bytes()).collect::<Vec<_>>();
    let (now, mut changes) = ((world.now)().nanos, Vec::new());
    let ids = match kind {
        Kind::Ctr => remove_ctrs(update, world, &[serial]).map(|(objects, changed)| {
            changes = changed;
            ids_of(objects)
        })?,
        Kind::Pod => remove_pod(update, world, serial, false).map(|(objects, changed)| {
            changes = changed;
            ids_of(objects)
        })?,
        Kind::Image => freed(remove_image(update, serial, now, &mut changes)?),
        Kind::Layer => freed(remove_layer(update, serial, now, &mut changes)?),
    };
    Ok((Answer::Removed(vec![ids]), changes))
}

fn remove_ctrs(update: &Update<'_>, world: &World, serials: &[Serial]) -> Removed {
    for serial in serials {
        may_go_without_pod(update, *serial)?;
        may_go(update, *serial, serials)?;
    }
    let now = (world.now)().nanos;
    let (mut objects, mut changes) = (Vec::new(), Vec::new());
    for serial in serials {
        objects.extend(take_out(update, Kind::Ctr, *serial, now, &mut changes)?);
    }
    touch_lists(update, &[List::Ctr, List::Id, List::Name], now, &mut changes)?;
    Ok((objects, changes))
}

/// Removes a pod with its infra container, which goes with it in any case; with its other containers when
/// `recursive`.
fn remove_pod(update: &Update<'_>, world: &World, serial: Serial, recursive: bool) -> Removed {
    let id = update.id_of(Kind::Pod, serial)?.ok_or(Refusal::Gone)?;
    let infra = update.infra(&id)?;
    let mut members: Vec<Serial> = update.members(serial)?.into_iter().map(|(_, ctr)| ctr).collect();
    members.retain(|ctr| Some(*ctr) != infra);
    if !members.is_empty() && !recursive {
        return Err(Refusal::PodNotEmpty { name: pod_name(update, serial, id), members: members.len() }.into());
    }
    members.extend(infra);
    for member in &members {
        may_go(update, *member, &members)?;
    }
    let now = (world.now)().nanos;
    let (mut objects, mut changes) = (Vec::new(), Vec::new());
    for member in &members {
        objects.extend(take_out(update, Kind::Ctr, *member, now, &mut changes)?);
    }
    objects.extend(take_out(update, Kind::Pod, serial, now, &mut changes)?);
    let lists = if members.is_empty() { &[List::Pod, List::Id, List::Name][..] } else { &ALL_LISTS };
    touch_lists(update, lists, now, &mut changes)?;
    Ok((objects, changes))
}

/// Removes everything but, perhaps, images.
fn wipe(update: &Update<'_>, world: &World, images: bool) -> Removed {
    let objects = |kind| -> Result<Vec<Serial>> { Ok(update.objects(kind)?.into_iter().map(|(s, _)| s).collect()) };
    let (ctrs, pods) = (objects(Kind::Ctr)?, objects(Kind::Pod)?);
    for ctr in &ctrs {
        match update.ctr(*ctr) {
            Ok(head) => may_remove(&head)?,
            Err(StoreError::Row { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let now = (world.now)().nanos;
    let (mut gone, mut changes) = (Vec::new(), Vec::new());
    // The pods first: they need not be told of each container then.
    for (kind, serials) in [(Kind::Pod, pods), (Kind::Ctr, ctrs)] {
        for serial in serials {
            gone.extend(take_out(update, kind, serial, now, &mut changes)?);
        }
    }
    touch_lists(update, &ALL_LISTS, now, &mut changes)?;
    if images {
        let mut freed = Vec::new();
        for image in objects(Kind::Image)? {
            freed.extend(remove_image(update, image, now, &mut changes)?);
        }
        // Those of no image; the newest first, for a layer is older than those upon it.
        for layer in objects(Kind::Layer)?.into_iter().rev() {
            match remove_layer(update, layer, now, &mut changes) {
                Err(Error::Refused(why @ Refusal::InUse { .. })) => log::warn!("{why}"),
                removed => freed.extend(removed?),
            }
        }
        gone.extend(freed.into_iter().map(|id| (Kind::Image, 0, *id.as_bytes())));
    }
    Ok((gone, changes))
}

const ALL_LISTS: [List; 4] = [List::Ctr, List::Pod, List::Id, List::Name];

pub(super) fn touch_lists(update: &Update<'_>, lists: &[List], now: Nanos, changes: &mut Vec<Change>) -> Result<()> {
    for list in lists {
        update.touch_list(*list, now)?;
        changes.push(Change::List(*list));
    }
    Ok(())
}

fn pod_name(update: &Update<'_>, pod: Serial, id: Id) -> String {
    update.pod(pod).map_or_else(|_| id.to_string(), |head| head.name)
}

/// Whether a container may be removed and its pod not: no sandbox is left without its infra container.
fn may_go_without_pod(update: &Update<'_>, serial: Serial) -> Result<()> {
    let id = update.id_of(Kind::Ctr, serial)?.ok_or(Refusal::Gone)?;
    if update.infra(&id)? == Some(serial)
        && let Some(pod) = update.object_of(Kind::Pod, &id)?
    {
        return Err(Refusal::Infra { pod: pod_name(update, pod, id) }.into());
    }
    Ok(())
}

/// Whether a container may be removed together with `others`. One whose row is damaged always may, if
/// nothing else needs it.
fn may_go(update: &Update<'_>, serial: Serial, others: &[Serial]) -> Result<()> {
    update.id_of(Kind::Ctr, serial)?.ok_or(Refusal::Gone)?;
    let head = match update.ctr(serial) {
        Ok(head) => Some(head),
        Err(StoreError::Row { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(head) = &head {
        may_remove(head)?;
    }
    let mut outside = Vec::new();
    for (_, from) in update.needed_by(serial)? {
        // A damaged store may have half an edge left of a container that is gone: that needs nothing.
        if !others.contains(&from) && update.id_of(Kind::Ctr, from)?.is_some() {
            outside.push(from);
        }
    }
    if outside.is_empty() {
        return Ok(());
    }
    let name = |serial| update.ctr(serial).map_or_else(|_| format!("#{serial}"), |head| head.name);
    Err(Refusal::HasDependents {
        name: head.map_or_else(|| name(serial), |head| head.name),
        dependents: outside.into_iter().map(name).collect(),
    }
    .into())
}

/// Takes an object out and brings what it was tied to up to date.
pub(super) fn take_out(
    update: &Update<'_>,
    kind: Kind,
    serial: Serial,
    now: Nanos,
    changes: &mut Vec<Change>,
) -> Result<Option<Object>> {
    let Some(id) = update.id_of(kind, serial)? else { return Ok(None) };
    if kind == Kind::Ctr {
        if let Ok(head) = update.ctr(serial) {
            exited::keep(update, &head, now, changes)?;
        }
        rootfs::release(update, id, serial, now, changes)?;
        items::release(update, serial, changes)?;
    }
    let taken = update.remove_object(kind, serial)?;
    changes.push(Change::Removed(kind, serial));
    changes.extend(taken.bindings.into_iter().map(Change::Binding));
    changes.extend(taken.flags.into_iter().map(Change::Flag));
    for (edge, other) in taken.edges {
        changes.push(Change::Edge(edge));
        if let Ok(mut head) = update.ctr(other) {
            head.dependents_changed = now;
            update.put_row(other, &Row::Ctr(head))?;
            changes.push(Change::Dependents(other));
        }
    }
    for (member, pod) in taken.members {
        changes.push(Change::Member(member));
        if kind == Kind::Ctr {
            recount(update, pod, now)?;
            changes.extend([Change::Members(pod), Change::PodStatus(pod)]);
        }
    }
    Ok(Some((kind, serial, *id.as_bytes())))
}

/// Counts a pod's members anew.
fn recount(update: &Update<'_>, pod: Serial, now: Nanos) -> Result<()> {
    let Ok(mut head) = update.pod(pod) else { return Ok(()) };
    head.counts = [0; 9];
    for (_, ctr) in update.members(pod)? {
        if let Ok(member) = update.ctr(ctr) {
            head.counts[member.status as usize] += 1;
        }
    }
    head.members_changed = now;
    head.status_changed = now;
    update.put_row(pod, &Row::Pod(head)).map_err(Error::from)
}
