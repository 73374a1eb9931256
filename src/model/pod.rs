//! The rules of pods.

use crate::model::container::{keeps_name, with_identity};
use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::json::{Map, Value};
use crate::model::keys::{POD_CONFIG, POD_STATE, check, text};
use crate::model::name::Name;
use crate::model::record::PodHead;

/// Keys that never change once the pod is made.
const FIXED: [&str; 2] = ["id", "created"];
/// Keys of a state that a reboot voids.
const VOLATILE: [&str; 2] = ["CgroupPath", "cgroupPath"];

/// Checks the known keys of a config.
///
/// # Errors
/// [`Refusal::BadKey`] for the first that is wrong.
pub fn check_config(config: &Map<String, Value>) -> Result<(), Refusal> {
    check(POD_CONFIG, config)
}

/// The config of a new pod: what was given, with what is absent filled in.
pub fn new_config(given: Map<String, Value>, id: Id, name: &Name, now: &str) -> Map<String, Value> {
    let mut config = with_identity(given, vec![("id", id.to_string()), ("name", name.to_string())]);
    config.entry("created").or_insert(Value::from(now));
    config
}

/// The new config when `new` takes the place of `old`: absent fixed keys keep their value.
///
/// # Errors
/// [`Refusal::FixedKey`] when one has another value.
pub fn rewrite_config(old: &Map<String, Value>, new: Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    if let Some(key) = FIXED.into_iter().find(|key| new.get(*key).is_some_and(|value| Some(value) != old.get(*key))) {
        return Err(Refusal::FixedKey { key });
    }
    let kept = ["id", "name"].into_iter().filter(|key| !new.contains_key(*key));
    let mut whole: Map<String, Value> =
        kept.filter_map(|key| old.get(key).map(|value| (key.to_owned(), value.clone()))).collect();
    whole.extend(new);
    if let (None, Some(created)) = (whole.get("created"), old.get("created")) {
        whole.insert("created".to_owned(), created.clone());
    }
    Ok(whole)
}

/// Refuses a merge patch that deletes what cannot be absent.
///
/// # Errors
/// [`Refusal::FixedKey`] for a fixed key, [`Refusal::BadKey`] for the name.
pub fn check_patch(old: &Map<String, Value>, patch: &Map<String, Value>) -> Result<(), Refusal> {
    let deleted = |key: &&str| patch.get(*key).is_some_and(Value::is_null) && old.contains_key(*key);
    FIXED.into_iter().find(deleted).map_or(Ok(()), |key| Err(Refusal::FixedKey { key }))?;
    keeps_name(patch)
}

/// Checks a state.
///
/// # Errors
/// [`Refusal::BadKey`] for a known key with a wrong value.
pub fn accept_state(state: Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    check(POD_STATE, &state)?;
    Ok(state)
}

/// The state after a reboot.
pub fn reset_state(state: &Map<String, Value>) -> Map<String, Value> {
    let mut state = state.clone();
    state.retain(|key, _| !VOLATILE.contains(&key.as_str()));
    state
}

/// Fills in what a head derives from the config.
pub fn derive_from_config(head: &mut PodHead, config: &Map<String, Value>) {
    head.created = text(config, "created").map(str::to_owned);
}
