//! The names of a container: the first, which its config has, and further ones. Each is bound to it in the
//! one name space; a name that another object has is never taken from it.

use super::rename::give_first;
use super::{Engine, Origin, Result, World};
use crate::model::error::Refusal;
use crate::model::name::Name;
use crate::model::record::{Answer, Change, CtrHead, Kind, List, Moment, Row, Serial};
use crate::store::{Done, Extras, Query, Update};

impl Engine {
    /// Gives a container these names, in this order, or adds them to those it has.
    ///
    /// # Errors
    /// [`Refusal::NameTaken`], [`Refusal::NoName`] when none would be left, [`Refusal::Gone`].
    pub fn set_names(&self, origin: Origin, ctr: Serial, names: Vec<Name>, add: bool) -> Result<Done> {
        self.apply_growing(origin, move |update, world| {
            let head = head_of(update, ctr)?;
            let mut wanted: Vec<String> = Vec::new();
            let own = if add { names_of(update, ctr, &head)? } else { vec![] };
            for name in own.into_iter().chain(names.iter().map(Name::to_string)) {
                if !wanted.contains(&name) {
                    wanted.push(name);
                }
            }
            put_names(update, world, ctr, head, wanted)
        })
    }

    /// Gives a container one more name.
    ///
    /// # Errors
    /// As [`Engine::set_names`]; [`Refusal::NameTaken`] also when it has the name.
    pub fn add_name(&self, origin: Origin, ctr: Serial, name: &str) -> Result<Done> {
        let name = Name::parse(name)?;
        self.apply_growing(origin, move |update, world| {
            if let Some((_, by, _)) = update.name(name.as_str())? {
                return Err(Refusal::NameTaken { name: name.to_string(), by }.into());
            }
            let head = head_of(update, ctr)?;
            let mut wanted = names_of(update, ctr, &head)?;
            wanted.push(name.to_string());
            put_names(update, world, ctr, head, wanted)
        })
    }

    /// Takes a name away from its container.
    ///
    /// # Errors
    /// [`Refusal::LastName`]; a pod has only the one. [`Refusal::NoSuch`].
    pub fn remove_name(&self, origin: Origin, name: String) -> Result<Done> {
        self.apply(origin, move |update, world| {
            let absent = || Refusal::NoSuch { kind: Kind::Ctr, what: name.clone() };
            let (_, kind, ctr) = update.name(&name)?.ok_or_else(absent)?;
            if kind != Kind::Ctr {
                return Err(Refusal::LastName { name: name.clone() }.into());
            }
            let head = head_of(update, ctr)?;
            let mut wanted = names_of(update, ctr, &head)?;
            wanted.retain(|own| *own != name);
            if wanted.is_empty() {
                return Err(Refusal::LastName { name: name.clone() }.into());
            }
            put_names(update, world, ctr, head, wanted)
        })
    }
}

fn head_of(update: &Update<'_>, ctr: Serial) -> Result<CtrHead> {
    update.id_of(Kind::Ctr, ctr)?.ok_or(Refusal::Gone)?;
    super::write::damaged(update.ctr(ctr))
}

/// All names of a container, the first before the others.
pub(super) fn names_of(state: &impl Query, ctr: Serial, head: &CtrHead) -> Result<Vec<String>> {
    let more = super::write::damaged(state.more(ctr))?;
    Ok([head.name.clone()].into_iter().chain(more.names).collect())
}

/// Makes `wanted` a container's names: checks each that is new, then unbinds and binds.
fn put_names(
    update: &Update<'_>,
    world: &World,
    ctr: Serial,
    head: CtrHead,
    wanted: Vec<String>,
) -> Result<(Answer, Vec<Change>)> {
    let own = names_of(update, ctr, &head)?;
    if own == wanted {
        return Ok((Answer::Done, vec![]));
    }
    let Some(first) = wanted.first().cloned() else { return Err(Refusal::NoName.into()) };
    let new: Vec<&String> = wanted.iter().filter(|name| !own.contains(name)).collect();
    for name in &new {
        if let Some((_, by, _)) = update.name(name)? {
            return Err(Refusal::NameTaken { name: (*name).clone(), by }.into());
        }
    }
    let (now, mut changes) = ((world.now)(), Vec::new());
    for name in own.iter().filter(|name| !wanted.contains(name)) {
        changes.extend(update.name(name)?.map(|(binding, ..)| Change::Binding(binding)));
        update.unbind(name)?;
    }
    bind_all(update, ctr, &new, &now)?;
    let mut more = update.more(ctr)?;
    more.names = wanted[1..].to_vec();
    more.names_changed = now.nanos;
    update.put_more(ctr, &more)?;
    if first != head.name {
        let (binding, ..) = update.name(&first)?.ok_or(Refusal::Gone)?;
        give_first(update, Row::Ctr(head), (binding, Kind::Ctr, ctr), &Name::parse(&first)?, &now, &mut changes)?;
    }
    update.touch_list(List::Name, now.nanos)?;
    changes.extend([Change::More(ctr), Change::List(List::Name)]);
    Ok((Answer::Done, changes))
}

/// Binds names that are free to a container.
pub(super) fn bind_all(update: &Update<'_>, ctr: Serial, names: &[&String], now: &Moment) -> Result<()> {
    for name in names {
        let bound = update.bind(name, Kind::Ctr, ctr, now.nanos)?;
        bound.ok_or_else(|| Refusal::NameTaken { name: (*name).clone(), by: Kind::Ctr })?;
    }
    Ok(())
}
