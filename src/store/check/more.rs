//! What few containers have: further names, metadata, whether they carry their pod's ID, flags.

use std::collections::BTreeMap;

use redb::ReadableTable;

use super::fix::Foreign;
use super::{Entry, Fix, Found, Look, Result, Step, compare};
use crate::model::record::{Kind, More, Row, Serial, Stamp};
use crate::store::query::Query;
use crate::store::tables::FLAGS;

/// Each row is a container's, and says what the other tables have of it: `names` of containers, and the
/// sizes of their texts.
pub(super) fn more(
    look: &Look,
    names: &BTreeMap<Serial, Vec<String>>,
    metadata: &BTreeMap<Serial, u64>,
    found: &mut Found,
) {
    for (ctr, more) in look.more.iter().filter(|(ctr, _)| !look.exists(Kind::Ctr, **ctr)) {
        let words = match more {
            Ok(_) => "there is no such container".to_owned(),
            Err(why) => format!("there is no such container, and it does not decode: {why}"),
        };
        found.structure(format!("more {ctr}"), words, Fix::step(Step::Forget(Foreign::More(*ctr))));
    }
    for (ctr, head) in look.ctrs() {
        let further: Vec<&String> = names.get(&ctr).into_iter().flatten().filter(|name| **name != head.name).collect();
        let infra = look.infra.contains(&ctr);
        let put = |more| Fix::step(Step::PutMore(ctr, Box::new(more)));
        let none = More::default();
        let more = match look.more.get(&ctr) {
            Some(Err(why)) => {
                let fix = put(More { names: further.into_iter().cloned().collect(), infra, ..More::default() });
                found.structure(look.path(Kind::Ctr, ctr), format!("more {ctr} does not decode: {why}"), fix);
                continue;
            }
            Some(Ok(more)) => more,
            None => &none,
        };
        let (due, wrong) = due(more, &Has { names: &further, infra, text: metadata.get(&ctr) });
        for words in wrong {
            found.structure(look.path(Kind::Ctr, ctr), words, put(due.clone()));
        }
    }
}

/// What the other tables have of a container.
struct Has<'a> {
    names: &'a [&'a String],
    infra: bool,
    text: Option<&'a u64>,
}

/// What a row is due to say, and what is wrong with it.
fn due(more: &More, has: &Has<'_>) -> (More, Vec<String>) {
    let (mut due, mut wrong) = (more.clone(), Vec::new());
    due.names = Vec::new();
    for name in &more.names {
        match has.names.contains(&name) && !due.names.contains(name) {
            true => due.names.push(name.clone()),
            false => wrong.push(format!("its further name {name} is not its own")),
        }
    }
    match has.text {
        _ if more.metadata.version == 0 => {}
        None => {
            due.metadata = Stamp::default();
            wrong.push("its metadata is missing".to_owned());
        }
        Some(size) if *size != more.metadata.size => {
            due.metadata.size = *size;
            wrong.push(format!("its metadata has {size} bytes, not {}", more.metadata.size));
        }
        Some(_) => {}
    }
    if more.infra != has.infra {
        due.infra = has.infra;
        wrong.push("whether it carries its pod's ID is told in two ways".to_owned());
    }
    (due, wrong)
}

/// Each flag is a container's. One that says nothing is as good as any: somebody is about to write it.
pub(super) fn flags(state: &impl Query, look: &Look, found: &mut Found) -> Result<()> {
    let mut has = BTreeMap::new();
    for entry in state.table(FLAGS)?.iter()? {
        let (key, flag) = entry?;
        has.insert((key.value().0, key.value().1.to_owned()), flag.value());
    }
    let mut due: BTreeMap<(Serial, String), Serial> = BTreeMap::new();
    for (serial, row) in look.sound() {
        if let Row::Flag { ctr, name, .. } = row
            && look.exists(Kind::Ctr, *ctr)
        {
            let key = (*ctr, name.clone());
            if !due.contains_key(&key) || has.get(&key) == Some(&serial) {
                due.insert(key, serial);
            }
        }
    }
    let (mut drops, mut puts) = (Vec::new(), Vec::new());
    compare(&has, &due, |key, flag| drops.push((key.clone(), *flag)), |key, flag| puts.push((key.clone(), *flag)));
    let object = |(ctr, name): &(Serial, String)| format!("{}/flags/{name}", look.path(Kind::Ctr, *ctr));
    for (key, flag) in drops.into_iter().filter(|(_, flag)| !look.is_damaged(*flag)) {
        found.structure(object(&key), "no flag of a container", Fix::drop(Entry::Flag(key, flag)));
    }
    for (key, flag) in puts {
        found.structure(object(&key), "a flag that is not listed", Fix::put(Entry::Flag(key, flag)));
    }
    for (serial, row) in look.sound() {
        if let Row::Flag { ctr, name, .. } = row
            && due.get(&(*ctr, name.clone())) != Some(&serial)
        {
            found.structure(format!("rows {serial}"), "a flag of no container", Fix::drop_row(serial));
        }
    }
    Ok(())
}
