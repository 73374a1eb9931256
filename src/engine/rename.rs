//! Renaming. The binding moves with the name, for the kernel moves its entry itself.

use super::create::{rendered, stamp};
use super::find::find;
use super::{Engine, Origin, Result, World};
use crate::model::error::Refusal;
use crate::model::json::{Value, parse};
use crate::model::name::Name;
use crate::model::record::{Answer, Change, Doc, Kind, List, Row, Serial};
use crate::store::{Done, Query, Update};

impl Engine {
    /// Gives the object called `from` the name `to`, or swaps two names. With `kind`, names of other
    /// kinds are unknown.
    ///
    /// # Errors
    /// No such name; the new one is bad or taken.
    pub fn rename(&self, origin: Origin, kind: Option<Kind>, from: String, to: String, swap: bool) -> Result<Done> {
        self.apply(origin, move |update, world| {
            let one = binding(update, kind, &from)?;
            if swap {
                let other = binding(update, kind, &to)?;
                return swap_names(update, world, (&from, one), (&to, other));
            }
            let name = Name::parse(&to)?;
            if let Some((_, by, _)) = update.name(&to)? {
                return Err(Refusal::NameTaken { name: to.clone(), by }.into());
            }
            let mut changes = vec![];
            give(update, world, one, &from, &name, &mut changes)?;
            finish(update, world, changes)
        })
    }
}

type Bound = (Serial, Kind, Serial);

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
    (from, one): (&str, Bound),
    (to, other): (&str, Bound),
) -> Result<(Answer, Vec<Change>)> {
    let mut changes = vec![];
    if from != to {
        give(update, world, one, from, &Name::parse(to)?, &mut changes)?;
        give(update, world, other, to, &Name::parse(from)?, &mut changes)?;
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

/// Moves a binding to another name; head and config follow. A config that does not decode stays as it
/// is: the head has the name.
fn give(
    update: &Update<'_>,
    world: &World,
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
    let (name, config_stamp) = match &mut row {
        Row::Ctr(head) => (&mut head.name, &mut head.config),
        Row::Pod(head) => (&mut head.name, &mut head.config),
        _ => return Err(Refusal::Gone.into()),
    };
    *name = to.to_string();
    if let Some(bytes) = config {
        *config_stamp = stamp(update, &bytes, &now)?;
        update.put_doc(object, Doc::Config, &bytes)?;
    }
    update.put_row(object, &row)?;
    update.rebind(binding, from, to.as_str(), now.nanos)?;
    changes.extend([Change::Config(kind, object), Change::Binding(binding)]);
    Ok(())
}
