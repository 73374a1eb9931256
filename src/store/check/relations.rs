//! What ties containers and pods: names, dependencies, memberships.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, Fix, Found, Look, Result, Step, Ties, compare, named, ties};
use crate::model::record::{CtrHead, Kind, Nanos, PodHead, Row, Serial};
use crate::store::query::Query;
use crate::store::tables::{MEMBERS, NAMES, NEEDED, NEEDS};

/// Each name leads, by a binding, to the one object that has it. Returns the names that are containers'.
pub(super) fn names(state: &impl Query, look: &Look, found: &mut Found) -> Result<BTreeMap<Serial, Vec<String>>> {
    let has = named(&state.table(NAMES)?)?;
    let (mut due, mut bindings) = (BTreeMap::new(), BTreeMap::new());
    let mut unbound = Vec::new();
    let mut claims: BTreeMap<&str, Vec<Claim<'_>>> = BTreeMap::new();
    for claim in heads(look).chain(further(look, &has)) {
        claims.entry(claim.name).or_default().push(claim);
    }
    for (name, mut claims) in claims {
        // Of two that claim a name, the one that it leads to has it.
        let entitled =
            claims.iter().position(|claim| claim.binding.is_some() && has.get(name).copied() == claim.binding);
        let Claim { kind, object, binding, changed, .. } = claims.remove(entitled.unwrap_or(0));
        match binding {
            Some(binding) => {
                due.insert(name.to_owned(), binding);
                bindings.insert(binding, Row::Binding { name: name.to_owned(), kind, object, changed });
            }
            None => {
                let fix = Fix::step(Step::Bind(name.to_owned(), object));
                found.structure(look.path(kind, object), format!("the name {name} is not bound to it"), fix);
                unbound.push((object, name.to_owned()));
            }
        }
        for other in claims.into_iter().filter(|other| other.is_first) {
            let words = format!("its name {name} is another's");
            found.structure(look.path(other.kind, other.object), words, Fix::Remove(other.kind, other.object));
        }
    }
    for (serial, row) in look.sound() {
        // What an object is called whose record, or whose list of names, cannot be read stays so.
        if let Row::Binding { name, kind, object, .. } = row
            && look.exists(*kind, *object)
            && look.has_unknown(*object)
            && !due.contains_key(name)
        {
            due.insert(name.clone(), serial);
            bindings.insert(serial, row.clone());
        }
    }
    let (mut drops, mut puts) = (Vec::new(), Vec::new());
    compare(
        &has,
        &due,
        |name, binding| drops.push((name.clone(), *binding)),
        |name, binding| puts.push((name.clone(), *binding)),
    );
    // One whose row is damaged passes for whatever is due.
    for (name, binding) in drops.into_iter().filter(|(_, binding)| !look.is_damaged(*binding)) {
        let fix = Fix::drop(Entry::Name(name.clone(), binding));
        found.structure(format!("names {name}"), "does not lead to an object of that name", fix);
    }
    for (name, binding) in puts {
        let fix = Fix::put(Entry::Name(name.clone(), binding));
        found.structure(format!("names {name}"), "does not lead to the object of that name", fix);
    }
    binding_rows(look, &bindings, found);
    let bound = bindings.into_values().filter_map(|row| match row {
        Row::Binding { name, kind: Kind::Ctr, object, .. } => Some((object, name)),
        _ => None,
    });
    let mut of_ctrs: BTreeMap<Serial, Vec<String>> = BTreeMap::new();
    for (ctr, name) in bound.chain(unbound) {
        of_ctrs.entry(ctr).or_default().push(name);
    }
    Ok(of_ctrs)
}

/// A name as an object has it.
struct Claim<'a> {
    name: &'a str,
    kind: Kind,
    object: Serial,
    /// Absent where there is none left.
    binding: Option<Serial>,
    changed: Nanos,
    /// Whether it is the one that the record has.
    is_first: bool,
}

fn heads(look: &Look) -> impl Iterator<Item = Claim<'_>> {
    let ctrs = look.ctrs().map(|(object, head)| Claim {
        name: &head.name,
        kind: Kind::Ctr,
        object,
        binding: Some(head.binding),
        changed: head.config.changed,
        is_first: true,
    });
    let pods = look.objects_of(Kind::Pod).filter_map(|object| Some((object, look.pod(object)?)));
    ctrs.chain(pods.map(|(object, head)| Claim {
        name: &head.name,
        kind: Kind::Pod,
        object,
        binding: Some(head.binding),
        changed: head.config.changed,
        is_first: true,
    }))
}

/// The further names of containers. Only the names themselves say which bindings are theirs.
fn further<'a>(look: &'a Look, has: &BTreeMap<String, Serial>) -> Vec<Claim<'a>> {
    let mut rows: BTreeMap<(&str, Serial), Serial> = BTreeMap::new();
    for (serial, row) in look.sound() {
        if let Row::Binding { name, kind: Kind::Ctr, object, .. } = row
            && (!rows.contains_key(&(name.as_str(), *object)) || has.get(name) == Some(&serial))
        {
            rows.insert((name, *object), serial);
        }
    }
    let firsts: BTreeSet<&str> = look.ctrs().map(|(_, head)| head.name.as_str()).collect();
    let mut claims = Vec::new();
    for (object, more) in look.more.iter().filter_map(|(ctr, more)| Some((*ctr, more.as_ref().ok()?))) {
        if look.ctr(object).is_none() {
            continue;
        }
        for name in &more.names {
            // One whose row is lost or damaged is whose list has the name.
            let lost =
                || has.get(name).copied().filter(|binding| look.is_lost(*binding) && !firsts.contains(name.as_str()));
            let binding = rows.get(&(name.as_str(), object)).copied().or_else(lost);
            claims.push(Claim { name, kind: Kind::Ctr, object, binding, changed: more.names_changed, is_first: false });
        }
    }
    claims
}

fn binding_rows(look: &Look, due: &BTreeMap<Serial, Row>, found: &mut Found) {
    for (serial, row) in due {
        let Row::Binding { name, kind, object, .. } = row else { continue };
        let is_so = |has: &Row| matches!(has, Row::Binding { name: n, kind: k, object: o, .. } if (n, k, o) == (name, kind, object));
        let fix = match look.row(*serial) {
            Some(has) if is_so(has) => continue,
            Some(Row::Binding { .. }) | None => Fix::put_row(*serial, row.clone()),
            Some(_) => Fix::Remove(*kind, *object),
        };
        if !look.is_damaged(*serial) {
            found.structure(format!("names {name}"), format!("row {serial} does not lead to its object"), fix);
        }
    }
    for (serial, row) in look.sound() {
        if let Row::Binding { name, .. } = row
            && !due.contains_key(&serial)
        {
            let words = format!("the name {name} is not bound to it");
            found.structure(format!("rows {serial}"), words, Fix::drop_row(serial));
        }
    }
}

/// Each dependency is listed at both ends, which are containers of one pod or of none.
pub(super) fn edges(state: &impl Query, look: &Look, found: &mut Found) -> Result<()> {
    let (needs, needed) = (ties(&state.table(NEEDS)?)?, ties(&state.table(NEEDED)?)?);
    let are_ctrs = |from, to| look.exists(Kind::Ctr, from) && look.exists(Kind::Ctr, to);
    let mut due = Ties::new();
    for (edge, row) in look.sound() {
        if let Row::Edge { from, to, .. } = row
            && are_ctrs(*from, *to)
            && (!due.contains_key(&(*from, *to)) || needs.get(&(*from, *to)) == Some(&edge))
        {
            due.insert((*from, *to), edge);
        }
    }
    // One that both ends list is one, whatever has become of its row.
    for ((from, to), edge) in &needs {
        if needed.get(&(*to, *from)) == Some(edge) && are_ctrs(*from, *to) && look.is_lost(*edge) {
            due.entry((*from, *to)).or_insert(*edge);
        }
    }
    let turned = |ties: &Ties| ties.iter().map(|((a, b), tie)| ((*b, *a), *tie)).collect::<Ties>();
    let (mut drops, mut puts) = (Vec::new(), Vec::new());
    for (table, has, due, entry) in [
        ("needs", &needs, &due, Entry::Need as fn((Serial, Serial), Serial) -> Entry),
        ("needed", &needed, &turned(&due), Entry::Needed),
    ] {
        let name = |(a, b): &(Serial, Serial)| format!("{table} {a} {b}");
        compare(
            has,
            due,
            |pair, edge| drops.push((name(pair), *edge, entry(*pair, *edge))),
            |pair, edge| puts.push((name(pair), entry(*pair, *edge))),
        );
    }
    for (object, edge, entry) in drops {
        if !look.is_damaged(edge) {
            found.structure(object, "no dependency of one container on another", Fix::drop(entry));
        }
    }
    for (object, entry) in puts {
        found.structure(object, "a dependency that is not listed", Fix::put(entry));
    }
    edge_rows(look, &due, found);
    Ok(())
}

fn edge_rows(look: &Look, due: &Ties, found: &mut Found) {
    for ((from, to), edge) in due {
        if !look.rows.contains_key(edge) {
            let made = look.ctr(*from).map_or(0, |head| head.made);
            let fix = Fix::put_row(*edge, Row::Edge { from: *from, to: *to, made });
            found.structure(format!("needs {from} {to}"), format!("row {edge} is not this edge's"), fix);
        }
        if let (Some(one), Some(other)) = (look.ctr(*from), look.ctr(*to))
            && one.pod.map(|(pod, _)| pod) != other.pod.map(|(pod, _)| pod)
        {
            let words = format!("its dependency on {} crosses a pod's border", look.path(Kind::Ctr, *to));
            found.structure(look.path(Kind::Ctr, *from), words, Fix::Remove(Kind::Ctr, *from));
        }
    }
    let rows: BTreeSet<Serial> = due.values().copied().collect();
    for (serial, row) in look.sound() {
        if matches!(row, Row::Edge { .. }) && !rows.contains(&serial) {
            let words = "no dependency of one container on another";
            found.structure(format!("rows {serial}"), words, Fix::drop_row(serial));
        }
    }
}

/// Each container in a pod is listed there, and counted by its status.
pub(super) fn members(state: &impl Query, look: &Look, found: &mut Found) -> Result<()> {
    let has = ties(&state.table(MEMBERS)?)?;
    let mut due = Ties::new();
    for (ctr, head) in look.ctrs() {
        match head.pod {
            Some((pod, member)) if look.exists(Kind::Pod, pod) => drop(due.insert((pod, ctr), member)),
            Some(_) => found.structure(look.path(Kind::Ctr, ctr), "its pod is gone", Fix::Remove(Kind::Ctr, ctr)),
            None => {}
        }
    }
    for ((pod, ctr), member) in &has {
        let said = matches!(look.row(*member), Some(Row::Member { pod: p, ctr: c, .. }) if (p, c) == (pod, ctr));
        if said && look.exists(Kind::Ctr, *ctr) && look.is_damaged(*ctr) && look.exists(Kind::Pod, *pod) {
            due.insert((*pod, *ctr), *member);
        }
    }
    let (mut drops, mut puts) = (Vec::new(), Vec::new());
    compare(&has, &due, |pair, member| drops.push((*pair, *member)), |pair, member| puts.push((*pair, *member)));
    for ((pod, ctr), member) in drops {
        let fix = Fix::drop(Entry::Member((pod, ctr), member));
        found.structure(format!("members {pod} {ctr}"), "the container does not say so", fix);
    }
    for ((pod, ctr), member) in puts {
        let fix = Fix::put(Entry::Member((pod, ctr), member));
        found.structure(look.path(Kind::Ctr, ctr), "its pod does not list it", fix);
    }
    member_rows(look, &due, found);
    counts(look, &due, found);
    Ok(())
}

fn member_rows(look: &Look, due: &Ties, found: &mut Found) {
    for ((pod, ctr), member) in due {
        let made = look.ctr(*ctr).map_or(0, |head| head.made);
        let row = Row::Member { pod: *pod, ctr: *ctr, made };
        let fix = match look.row(*member) {
            Some(Row::Member { pod: p, ctr: c, .. }) if (p, c) == (pod, ctr) => continue,
            Some(Row::Member { .. }) | None => Fix::put_row(*member, row),
            Some(_) => Fix::Remove(Kind::Ctr, *ctr),
        };
        if !look.is_damaged(*member) {
            let words = format!("row {member} is not this membership's");
            found.structure(format!("members {pod} {ctr}"), words, fix);
        }
    }
    let rows: BTreeSet<Serial> = due.values().copied().collect();
    for (serial, row) in look.sound() {
        if matches!(row, Row::Member { .. }) && !rows.contains(&serial) {
            found.structure(format!("rows {serial}"), "a membership of no container", Fix::drop_row(serial));
        }
    }
}

fn counts(look: &Look, members: &Ties, found: &mut Found) {
    for pod in look.objects_of(Kind::Pod) {
        let Some(head) = look.pod(pod) else { continue };
        let ctrs: Option<Vec<&CtrHead>> =
            members.range((pod, 0)..=(pod, u64::MAX)).map(|((_, ctr), _)| look.ctr(*ctr)).collect();
        // A damaged member may have any status.
        let Some(ctrs) = ctrs else { continue };
        let mut counts = [0; 9];
        for ctr in ctrs {
            counts[ctr.status as usize] += 1;
        }
        if head.counts != counts {
            let fix = Fix::put_row(pod, Row::Pod(PodHead { counts, ..head.clone() }));
            found.structure(look.path(Kind::Pod, pod), "its count of members by status is wrong", fix);
        }
    }
}
