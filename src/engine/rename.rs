//! Renaming. In `name/` the binding moves with the name, for the kernel moves its entry itself; a rename
//! anywhere else leaves the kernel's entry in `name/` behind, so the name gets a binding of its own.

use super::create::{rendered, stamp};
use super::{Engine, Origin, Result, World};
use crate::model::error::Refusal;
use crate::model::json::{Value, parse};
use crate::model::name::Name;
use crate::model::record::{Answer, Change, Doc, Kind, List, Row, Serial};
use crate::store::{Done, Query, Update};

impl Engine {
    /// Gives the object called `from` the name `to`, or swaps two names. With `kind`, it happens among
    /// the objects of that kind, and names of others are unknown; without, among the names.
    ///
    /// # Errors
    /// No such name; the new one is bad or taken.
    pub fn rename(&self, origin: Origin, kind: Option<Kind>, from: String, to: String, swap: bool) -> Result<Done> {
        self.apply(origin, move |update, world| {
            let one = binding(update, kind, &from)?;
            let entry = if kind.is_none() { Entry::Moves } else { Entry::Stays };
            if swap {
                let other = binding(update, kind, &to)?;
                return swap_names(update, world, entry, (&from, one), (&to, other));
            }
            let name = Name::parse(&to)?;
            if let Some((_, by, _)) = update.name(&to)? {
                return Err(Refusal::NameTaken { name: to.clone(), by }.into());
            }
            let mut changes = vec![];
            leave(update, entry, &[&from])?;
            give(update, world, entry, one, &from, &name, &mut changes)?;
            finish(update, world, changes)
        })
    }
}

type Bound = (Serial, Kind, Serial);

/// What becomes of the kernel's entry in `name/`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// It goes to the new name, with its inode, the binding.
    Moves,
    /// It stays, and must find its binding gone.
    Stays,
}

fn binding(update: &Update<'_>, kind: Option<Kind>, name: &str) -> Result<Bound> {
    let found = update.name(name)?.filter(|(_, k, _)| kind.is_none_or(|kind| kind == *k));
    let kind = kind.unwrap_or(Kind::Ctr);
    found.ok_or_else(|| Refusal::NoSuch { kind, what: name.to_owned() }.into())
}

fn swap_names(
    update: &Update<'_>,
    world: &World,
    entry: Entry,
    (from, one): (&str, Bound),
    (to, other): (&str, Bound),
) -> Result<(Answer, Vec<Change>)> {
    let mut changes = vec![];
    if from != to {
        let (to_name, from_name) = (Name::parse(to)?, Name::parse(from)?);
        leave(update, entry, &[from, to])?;
        give(update, world, entry, one, from, &to_name, &mut changes)?;
        give(update, world, entry, other, to, &from_name, &mut changes)?;
    }
    finish(update, world, changes)
}

fn finish(update: &Update<'_>, world: &World, mut changes: Vec<Change>) -> Result<(Answer, Vec<Change>)> {
    if !changes.is_empty() {
        update.touch_list(List::Name, (world.now)().nanos)?;
        changes.push(Change::List(List::Name));
    }
    Ok((Answer::Done, changes))
}

/// Frees names whose entries stay.
fn leave(update: &Update<'_>, entry: Entry, names: &[&str]) -> Result<()> {
    match entry {
        Entry::Moves => Ok(()),
        Entry::Stays => Ok(names.iter().try_for_each(|name| update.unbind(name))?),
    }
}

/// Binds an object to another name; head and config follow. A config that does not decode stays as it
/// is: the head has the name.
fn give(
    update: &Update<'_>,
    world: &World,
    entry: Entry,
    (binding, kind, object): Bound,
    from: &str,
    to: &Name,
    changes: &mut Vec<Change>,
) -> Result<()> {
    let mut row = update.row(object)?.ok_or(Refusal::Gone)?;
    let now = (world.now)();
    let config = match update.doc(object, Doc::Config)?.map(|bytes| parse(&bytes)) {
        Some(Ok(Value::Object(mut config))) => {
            config.insert("name".to_owned(), Value::from(to.as_str()));
            Some(rendered(config)?)
        }
        _ => None,
    };
    let (name, own_binding, config_stamp) = match &mut row {
        Row::Ctr(head) => (&mut head.name, &mut head.binding, &mut head.config),
        Row::Pod(head) => (&mut head.name, &mut head.binding, &mut head.config),
        _ => return Err(Refusal::Gone.into()),
    };
    *name = to.to_string();
    match entry {
        Entry::Moves => update.rebind(binding, from, to.as_str(), now.nanos)?,
        Entry::Stays => {
            let bound = update.bind(to.as_str(), kind, object, now.nanos)?;
            *own_binding = bound.ok_or_else(|| Refusal::NameTaken { name: to.to_string(), by: kind })?;
        }
    }
    if let Some(bytes) = config {
        *config_stamp = stamp(update, &bytes, &now)?;
        update.put_doc(object, Doc::Config, &bytes)?;
    }
    update.put_row(object, &row)?;
    changes.extend([Change::Config(kind, object), Change::Binding(binding)]);
    Ok(())
}
