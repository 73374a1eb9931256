//! Renaming. In `name/` the bindings move with the names, for the kernel moves its entries itself; a
//! rename among the objects leaves the kernel's entries in `name/` where they are, so there a name
//! that goes loses its binding and names that are swapped keep theirs.

use super::create::{rendered, stamp};
use super::find::find;
use super::{Engine, Origin, Result, World, rootfs};
use crate::model::error::Refusal;
use crate::model::json::{Value, parse};
use crate::model::name::Name;
use crate::model::record::{Answer, Change, Doc, Kind, List, Moment, Row, Serial};
use crate::store::{Done, Extras, Query, Update};

impl Engine {
    /// Gives the object called `from` the name `to`, or swaps two names. With `kind`, it happens among
    /// the objects of that kind, and names of others are unknown; without, among the names.
    ///
    /// # Errors
    /// No such name; the new one is bad or taken.
    pub fn rename(&self, origin: Origin, kind: Option<Kind>, from: String, to: String, swap: bool) -> Result<Done> {
        self.apply(origin, move |update, world| {
            let one = binding(update, kind, &from)?;
            let entries_move = kind.is_none();
            if swap {
                let other = binding(update, kind, &to)?;
                return swap_names(update, world, entries_move, (&from, one), (&to, other));
            }
            let name = Name::parse(&to)?;
            if let Some((_, by, _)) = update.name(&to)? {
                return Err(Refusal::NameTaken { name: to.clone(), by }.into());
            }
            let (old, kind, object) = one;
            let mut changes = vec![Change::Binding(old)];
            let now = (world.now)();
            let bound = if entries_move {
                update.rebind(old, &from, &to, now.nanos)?;
                old
            } else {
                update.unbind(&from)?;
                let bound = update.bind(&to, kind, object, now.nanos)?;
                bound.ok_or_else(|| Refusal::NameTaken { name: to.clone(), by: kind })?
            };
            give(update, (bound, kind, object), &from, &name, &now, &mut changes)?;
            finish(update, &now, changes)
        })
    }
}

/// A binding, and the kind and serial of its object.
pub(super) type Bound = (Serial, Kind, Serial);

/// The binding of a name. In `ctr/` and `pod/`, IDs and prefixes stand beside names; neither is renamed.
fn binding(update: &Update<'_>, kind: Option<Kind>, name: &str) -> Result<Bound> {
    if let Some(found) = update.name(name)?.filter(|(_, k, _)| kind.is_none_or(|kind| kind == *k)) {
        return Ok(found);
    }
    let Some(kind) = kind else {
        return Err(Refusal::NoSuch { kind: Kind::Ctr, what: name.to_owned() }.into());
    };
    Err(match find(update, kind, name)?.by_prefix {
        true => Refusal::PrefixNotExact { prefix: name.to_owned() }.into(),
        false => Refusal::NotYours { what: "an ID stays as it is; rename by name" }.into(),
    })
}

fn swap_names(
    update: &Update<'_>,
    world: &World,
    entries_move: bool,
    (from, one): (&str, Bound),
    (to, other): (&str, Bound),
) -> Result<(Answer, Vec<Change>)> {
    let now = (world.now)();
    if from == to {
        return finish(update, &now, vec![]);
    }
    if one.2 == other.2 {
        return swap_own(update, &now, (from, one), (to, other));
    }
    let (mut one, mut other) = (one, other);
    if entries_move {
        update.rebind(one.0, from, to, now.nanos)?;
        update.rebind(other.0, to, from, now.nanos)?;
    } else {
        std::mem::swap(&mut one.0, &mut other.0);
        for (name, (binding, kind, object)) in [(to, one), (from, other)] {
            update.put_row(binding, &Row::Binding { name: name.to_owned(), kind, object, changed: now.nanos })?;
        }
    }
    let mut changes = vec![Change::Binding(one.0), Change::Binding(other.0)];
    give(update, one, from, &Name::parse(to)?, &now, &mut changes)?;
    give(update, other, to, &Name::parse(from)?, &now, &mut changes)?;
    finish(update, &now, changes)
}

/// Swaps two names of one container: they change their places. Among the objects the kernel does not ask
/// for it, since both names lead to one inode there.
fn swap_own(
    update: &Update<'_>,
    now: &Moment,
    (from, one): (&str, Bound),
    (to, other): (&str, Bound),
) -> Result<(Answer, Vec<Change>)> {
    update.rebind(one.0, from, to, now.nanos)?;
    update.rebind(other.0, to, from, now.nanos)?;
    let mut changes = vec![Change::Binding(one.0), Change::Binding(other.0)];
    let ctr = one.2;
    let row = update.row(ctr)?.ok_or(Refusal::Gone)?;
    let mut more = super::write::damaged(update.more(ctr))?;
    for name in &mut more.names {
        *name = match name.as_str() {
            own if own == from => to.to_owned(),
            own if own == to => from.to_owned(),
            _ => continue,
        };
    }
    more.names_changed = now.nanos;
    update.put_more(ctr, &more)?;
    changes.push(Change::More(ctr));
    let first = match &row {
        Row::Ctr(head) if head.name == from => Some(to),
        Row::Ctr(head) if head.name == to => Some(from),
        _ => None,
    };
    if let Some(first) = first {
        let (binding, kind, _) = update.name(first)?.ok_or(Refusal::Gone)?;
        give_first(update, row, (binding, kind, ctr), &Name::parse(first)?, now, &mut changes)?;
    }
    finish(update, now, changes)
}

fn finish(update: &Update<'_>, now: &Moment, mut changes: Vec<Change>) -> Result<(Answer, Vec<Change>)> {
    if !changes.is_empty() {
        update.touch_list(List::Name, now.nanos)?;
        changes.push(Change::List(List::Name));
    }
    Ok((Answer::Done, changes))
}

/// Notes that an object has the name `name` in the place of `from`.
fn give(
    update: &Update<'_>,
    bound: Bound,
    from: &str,
    name: &Name,
    now: &Moment,
    changes: &mut Vec<Change>,
) -> Result<()> {
    let object = bound.2;
    let row = update.row(object)?.ok_or(Refusal::Gone)?;
    if !matches!(&row, Row::Ctr(head) if head.name != from) {
        return give_first(update, row, bound, name, now, changes);
    }
    let mut more = super::write::damaged(update.more(object))?;
    more.names.iter_mut().filter(|own| *own == from).for_each(|own| *own = name.to_string());
    more.names_changed = now.nanos;
    update.put_more(object, &more)?;
    changes.push(Change::More(object));
    Ok(())
}

/// Notes an object's new first name and its binding in its head and config. A config that does not decode
/// stays as it is: the head has the name.
pub(super) fn give_first(
    update: &Update<'_>,
    mut row: Row,
    (binding, kind, object): Bound,
    name: &Name,
    now: &Moment,
    changes: &mut Vec<Change>,
) -> Result<()> {
    let config = match update.doc(object, Doc::Config)?.map(|bytes| parse(&bytes)) {
        Some(Ok(Value::Object(mut config))) => {
            config.insert("name".to_owned(), Value::from(name.as_str()));
            Some(rendered(config)?)
        }
        _ => None,
    };
    let (own_name, own_binding, config_stamp) = match &mut row {
        Row::Ctr(head) => (&mut head.name, &mut head.binding, &mut head.config),
        Row::Pod(head) => (&mut head.name, &mut head.binding, &mut head.config),
        _ => return Err(Refusal::Gone.into()),
    };
    *own_name = name.to_string();
    *own_binding = binding;
    if let Some(bytes) = config {
        *config_stamp = stamp(update, &bytes, now)?;
        update.put_doc(object, Doc::Config, &bytes)?;
    }
    update.put_row(object, &row)?;
    changes.push(Change::Config(kind, object));
    match row {
        Row::Ctr(head) => rootfs::renamed(update, head.rootfs, now.nanos, changes),
        _ => Ok(()),
    }
}
