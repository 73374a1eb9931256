//! What few containers have: the caller's own text, flags, ID maps.

use std::collections::BTreeMap;

use super::create::stamp;
use super::names::bind_all;
use super::{Engine, Origin, Result, View, World};
use crate::model::error::Refusal;
use crate::model::extras::Asked;
use crate::model::json::Value;
use crate::model::name::Name;
use crate::model::record::{Answer, Change, Doc, Kind, Moment, More, Row, Serial};
use crate::model::{flags, id_map};
use crate::store::{Done, Extras, Query, Update};

/// The most bytes of a container's own text.
const MAX_METADATA: usize = 1 << 20;

/// Which IDs a map is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdMap {
    /// Users.
    Users,
    /// Groups.
    Groups,
}

impl View {
    /// A container's own text.
    ///
    /// # Errors
    /// What the store says.
    pub fn metadata(&self, ctr: Serial) -> Result<Vec<u8>> {
        Ok(self.snapshot().doc(ctr, Doc::Metadata)?.unwrap_or_default())
    }

    /// The names of a container, the first before the others.
    ///
    /// # Errors
    /// [`Refusal::Undecodable`].
    pub fn names_of(&self, ctr: Serial) -> Result<Vec<String>> {
        let head = super::write::damaged(self.snapshot().ctr(ctr))?;
        super::names::names_of(self.snapshot(), ctr, &head)
    }

    /// A container's flag of this name, whatever it says.
    ///
    /// # Errors
    /// What the store says.
    pub fn flag(&self, ctr: Serial, name: &str) -> Result<Option<Serial>> {
        Ok(self.snapshot().flag(ctr, name)?)
    }

    /// A container's flags that say something, by name.
    ///
    /// # Errors
    /// What the store says.
    pub fn flags(&self, ctr: Serial) -> Result<Vec<(String, Serial)>> {
        let all = self.snapshot().flags(ctr)?;
        Ok(all.into_iter().filter(|(_, flag)| !is_blank(self.snapshot(), *flag)).collect())
    }
}

/// Whether a flag was made by an open file that has said nothing yet.
fn is_blank(state: &impl Query, flag: Serial) -> bool {
    matches!(state.row(flag), Ok(Some(Row::Flag { value, .. })) if value.is_empty())
}

impl Engine {
    /// Sets a container's own text, or adds to it. `seen` is the version that the writer read, if it did.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`], [`Refusal::NotUtf8`], [`Refusal::Changed`], [`Refusal::Gone`].
    pub fn set_metadata(
        &self,
        origin: Origin,
        ctr: Serial,
        text: Vec<u8>,
        add: bool,
        seen: Option<u64>,
    ) -> Result<Done> {
        self.apply_growing(origin, move |update, world| {
            super::write::unchanged_since(seen, more_of(update, ctr)?.metadata.version)?;
            let old = if add { update.doc(ctr, Doc::Metadata)?.unwrap_or_default() } else { vec![] };
            let (version, changes) = change_metadata(update, world, ctr, &[&old[..], &text[..]].concat())?;
            Ok((Answer::Version(version), changes))
        })
    }

    /// Sets one of a container's ID maps, or adds ranges to it.
    ///
    /// # Errors
    /// [`Refusal::BadMap`], [`Refusal::MapOverlaps`], [`Refusal::Gone`].
    pub fn set_id_map(&self, origin: Origin, ctr: Serial, which: IdMap, text: String, add: bool) -> Result<Done> {
        self.apply_growing(origin, move |update, world| {
            let mut more = more_of(update, ctr)?;
            let map = match which {
                IdMap::Users => &mut more.uidmap,
                IdMap::Groups => &mut more.gidmap,
            };
            let old = if add { map.as_str() } else { "" };
            let new = id_map::parse(&format!("{old}{text}"))?;
            if new == *map {
                return Ok((Answer::Done, vec![]));
            }
            *map = new;
            more.maps_changed = (world.now)().nanos;
            update.put_more(ctr, &more)?;
            Ok((Answer::Done, vec![Change::More(ctr)]))
        })
    }

    /// Makes a flag for an open file that will say its value, unless it is there. Answers its serial.
    ///
    /// # Errors
    /// [`Refusal::BadName`], [`Refusal::KeyTaken`] when it must be new, [`Refusal::Gone`].
    pub fn make_flag(&self, origin: Origin, ctr: Serial, name: String, new: bool) -> Result<Done> {
        flags::check_name(&name)?;
        self.apply_growing(origin, move |update, world| {
            more_of(update, ctr)?;
            let answer = |serial| Answer::Objects(vec![(Kind::Ctr, serial, [0; 32])]);
            match update.flag(ctr, &name)? {
                Some(flag) if new && !is_blank(update, flag) => Err(Refusal::KeyTaken { key: name.clone() }.into()),
                Some(flag) => Ok((answer(flag), vec![])),
                None => {
                    let flag = update.put_flag(ctr, &name, String::new(), (world.now)().nanos)?;
                    // Changes keep the answer for a request that is sent again.
                    Ok((answer(flag), vec![Change::Flag(flag)]))
                }
            }
        })
    }

    /// Sets flags of a container, and clears those with nothing to set, all or none.
    ///
    /// # Errors
    /// What the model refuses of a flag, or of all together; [`Refusal::Gone`].
    pub fn set_flags(&self, origin: Origin, ctr: Serial, set: Vec<(String, Option<Value>)>) -> Result<Done> {
        self.apply_growing(origin, move |update, world| {
            more_of(update, ctr)?;
            Ok((Answer::Done, change_flags(update, world, ctr, &set)?))
        })
    }

    /// Clears a flag.
    ///
    /// # Errors
    /// [`Refusal::NoKey`]; what the model refuses of the others together.
    pub fn clear_flag(&self, origin: Origin, ctr: Serial, name: String) -> Result<Done> {
        self.apply(origin, move |update, world| {
            if update.flag(ctr, &name)?.is_none() {
                return Err(Refusal::NoKey { key: name.clone() }.into());
            }
            Ok((Answer::Done, change_flags(update, world, ctr, &[(name.clone(), None)])?))
        })
    }
}

fn more_of(update: &Update<'_>, ctr: Serial) -> Result<More> {
    update.id_of(Kind::Ctr, ctr)?.ok_or(Refusal::Gone)?;
    super::write::damaged(update.more(ctr))
}

/// Whether a new container can have what its document asks for beside its config.
pub(super) fn may_add(update: &Update<'_>, name: &Name, asked: &Asked) -> Result<()> {
    for further in asked.names.iter().filter(|further| *further != name) {
        if let Some((_, by, _)) = update.name(further.as_str())? {
            return Err(Refusal::NameTaken { name: further.to_string(), by }.into());
        }
    }
    check_metadata(asked.metadata.as_bytes())?;
    let mut flags = BTreeMap::new();
    for (name, value) in &asked.flags {
        flags.insert(name.clone(), flags::check(name, value.as_ref().unwrap_or(&Value::Null))?);
    }
    Ok(flags::check_all(&flags)?)
}

/// Gives it to the container, once that is there.
pub(super) fn add(
    update: &Update<'_>,
    world: &World,
    ctr: Serial,
    name: &Name,
    asked: Asked,
    now: &Moment,
) -> Result<()> {
    let mut more = update.more(ctr)?;
    let further: Vec<String> = asked.names.iter().filter(|own| *own != name).map(Name::to_string).collect();
    bind_all(update, ctr, &further.iter().collect::<Vec<_>>(), now)?;
    more.names = further;
    if !asked.metadata.is_empty() {
        update.put_doc(ctr, Doc::Metadata, asked.metadata.as_bytes())?;
        more.metadata = stamp(update, asked.metadata.as_bytes(), now)?;
    }
    (more.uidmap, more.gidmap) = (asked.uidmap, asked.gidmap);
    update.put_more(ctr, &more)?;
    change_flags(update, world, ctr, &asked.flags).map(drop)
}

/// Checks a container's own text.
pub(super) fn check_metadata(text: &[u8]) -> Result<()> {
    if text.len() > MAX_METADATA {
        return Err(Refusal::TooLarge { what: "metadata", limit: MAX_METADATA }.into());
    }
    std::str::from_utf8(text).map_err(|_| Refusal::NotUtf8 { what: "metadata" })?;
    Ok(())
}

/// Makes `new` the own text of a container that is there. Returns its version.
pub(super) fn change_metadata(
    update: &Update<'_>,
    world: &World,
    ctr: Serial,
    new: &[u8],
) -> Result<(u64, Vec<Change>)> {
    check_metadata(new)?;
    let mut more = more_of(update, ctr)?;
    if update.doc(ctr, Doc::Metadata)?.unwrap_or_default() == new {
        return Ok((more.metadata.version, vec![]));
    }
    update.put_doc(ctr, Doc::Metadata, new)?;
    more.metadata = stamp(update, new, &(world.now)())?;
    update.put_more(ctr, &more)?;
    Ok((more.metadata.version, vec![Change::More(ctr)]))
}

/// A container's flags with their values, less those that say nothing.
fn flags_of(state: &impl Query, ctr: Serial) -> Result<BTreeMap<String, String>> {
    let mut flags = BTreeMap::new();
    for (name, flag) in state.flags(ctr)? {
        if let Ok(Some(Row::Flag { value, .. })) = state.row(flag)
            && !value.is_empty()
        {
            flags.insert(name, value);
        }
    }
    Ok(flags)
}

/// Sets and clears flags of a container that is there, all or none.
pub(super) fn change_flags(
    update: &Update<'_>,
    world: &World,
    ctr: Serial,
    set: &[(String, Option<Value>)],
) -> Result<Vec<Change>> {
    let before = flags_of(update, ctr)?;
    let mut after = before.clone();
    for (name, value) in set {
        match value {
            Some(value) => after.insert(name.clone(), flags::check(name, value)?),
            None => after.remove(name),
        };
    }
    flags::check_all(&after)?;
    let volatile = |flags: &BTreeMap<String, String>| flags.get(flags::VOLATILE).is_some_and(|v| v.trim() == "true");
    let mut more = update.more(ctr)?;
    if volatile(&after) != more.volatile {
        return Err(Refusal::FixedFlag { name: flags::VOLATILE }.into());
    }
    let (now, mut changes) = ((world.now)().nanos, Vec::new());
    for (name, value) in &after {
        if before.get(name) != Some(value) {
            changes.push(Change::Flag(update.put_flag(ctr, name, value.clone(), now)?));
        }
    }
    for (name, value) in set {
        if value.is_none() {
            changes.extend(update.take_flag(ctr, name)?.map(Change::Flag));
        }
    }
    if !changes.is_empty() {
        more.flags_changed = now;
        update.put_more(ctr, &more)?;
        changes.push(Change::More(ctr));
    }
    Ok(changes)
}
