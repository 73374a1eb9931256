//! The rules of containers: what a new one gets, what its documents may become, what derives from
//! them, and when it may go.

use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::json::{Map, Value};
use crate::model::keys::{CTR_CONFIG, CTR_STATE, check, is_set, text};
use crate::model::name::Name;
use crate::model::record::{CtrHead, Nanos};
use crate::model::status::Status;

/// The keys of a config that name one container each, which the container then depends on.
pub const EDGE_KEYS: [&str; 7] =
    ["ipcNsCtr", "mountNsCtr", "netNsCtr", "pidNsCtr", "userNsCtr", "utsNsCtr", "cgroupNsCtr"];
/// The key with a list of further containers that it depends on.
pub const DEPENDENCIES: &str = "Dependencies";

/// The size of /dev/shm unless the config says otherwise, in bytes (libpod's default).
const SHM_SIZE: i64 = 64 << 20;
/// The cgroup parent unless the config says otherwise (libpod's default).
const CGROUP_PARENT: &str = "/libpod_parent";
/// The `ShmDir` of a container that is given the host's shared memory.
pub const HOST_SHM: &str = "/dev/shm";
/// Keys of a state that ctrfs derives itself.
const MOUNTED: &str = "mounted";
const MOUNT_POINT: &str = "mountPoint";
/// How long what a container ended with is kept when the container is gone.
const EXIT_CODE_KEPT: Nanos = 5 * 60 * 1_000_000_000;
/// The key of a config by which an image is asked for; it is kept under libpod's two keys.
pub const IMAGE: &str = "image";
/// libpod's key for the image's ID.
pub const IMAGE_ID: &str = "rootfsImageID";
/// libpod's key for the image's name.
pub const IMAGE_NAME: &str = "rootfsImageName";
/// libpod's key for a directory that is the rootfs.
pub const ROOTFS: &str = "rootfs";
/// libpod's key for what is written being kept apart from that directory.
pub const ROOTFS_OVERLAY: &str = "rootfs_overlay";
/// Keys that never change once the container is made, beside the edges.
const FIXED: [&str; 3] = ["id", "pod", "createdTime"];
/// The key of a config that says that the container goes with the boot; it never changes either.
const VOLATILE: &str = "volatile";
/// Keys of a state that a reboot voids; times, exit code and paths stay.
const VOID: [&str; 14] = [
    "pid",
    "conmonPid",
    MOUNTED,
    MOUNT_POINT,
    "realMountPoint",
    "netns",
    "execSessions",
    "newExecSessions",
    "ipAddresses",
    "interfaces",
    "routes",
    "networkStatus",
    "bindMounts",
    "cgroupCreated",
];

/// Checks the known keys of a config.
///
/// # Errors
/// [`Refusal::BadKey`] for the first that is wrong.
pub fn check_config(config: &Map<String, Value>) -> Result<(), Refusal> {
    check(CTR_CONFIG, config)
}

/// The config of a new container: what was given, with what is absent filled in.
pub fn new_config(given: Map<String, Value>, id: Id, name: &Name, pod: Option<Id>, now: &str) -> Map<String, Value> {
    let mut identity = vec![("id", id.to_string()), ("name", name.to_string())];
    identity.extend(pod.map(|pod| ("pod", pod.to_string())));
    let mut config = with_identity(given, identity);
    for (key, default) in [
        ("shmSize", Value::from(SHM_SIZE)),
        ("createdTime", Value::from(now)),
        ("cgroupParent", Value::from(CGROUP_PARENT)),
    ] {
        config.entry(key).or_insert(default);
    }
    config
}

/// Whether a container with this config goes with the boot.
pub fn is_volatile(config: &Map<String, Value>) -> bool {
    is_set(config, VOLATILE)
}

/// Makes a new container's config that of one which goes with the boot.
pub fn make_volatile(config: &mut Map<String, Value>) {
    config.insert(VOLATILE.to_owned(), Value::from(true));
}

/// Sets `identity` in a document: keys it has keep their place, the others come first.
pub fn with_identity(given: Map<String, Value>, identity: Vec<(&str, String)>) -> Map<String, Value> {
    let mut document = Map::new();
    for (key, value) in &identity {
        if !given.contains_key(*key) {
            document.insert((*key).to_owned(), Value::from(value.as_str()));
        }
    }
    document.extend(given);
    for (key, value) in identity {
        document.insert(key.to_owned(), Value::from(value));
    }
    document
}

/// The state of a new container.
pub fn new_state() -> Map<String, Value> {
    Map::from_iter([("state".to_owned(), Value::from(Status::Configured.word()))])
}

/// Puts the full ID in the place of every reference to a container, as `resolve` gives it, and
/// returns the references in order.
///
/// # Errors
/// What `resolve` refuses.
pub fn resolve_references<E>(
    config: &mut Map<String, Value>,
    mut resolve: impl FnMut(&'static str, &str) -> Result<Id, E>,
) -> Result<Vec<(&'static str, Id)>, E> {
    let mut found = Vec::new();
    let mut replace = |key, slot: &mut Value| {
        if let Some(text) = slot.as_str().filter(|text| !text.is_empty()) {
            let id = resolve(key, text)?;
            *slot = Value::from(id.to_string());
            found.push((key, id));
        }
        Ok(())
    };
    for key in EDGE_KEYS {
        config.get_mut(key).map_or(Ok(()), |slot| replace(key, slot))?;
    }
    if let Some(Value::Array(items)) = config.get_mut(DEPENDENCIES) {
        items.iter_mut().try_for_each(|slot| replace(DEPENDENCIES, slot))?;
    }
    Ok(found)
}

/// The new config when `new`, with its references resolved, takes the place of `old`: absent fixed
/// keys keep their value.
///
/// # Errors
/// [`Refusal::FixedKey`] when one has another value.
pub fn rewrite_config(old: &Map<String, Value>, new: Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    let mut config = new;
    for key in FIXED.into_iter().chain(EDGE_KEYS).chain([DEPENDENCIES]) {
        let same = match (old.get(key).filter(|v| !is_empty(v)), config.get(key)) {
            (_, None) => true,
            (None, Some(new)) => is_empty(new),
            (Some(old), Some(new)) => old == new,
        };
        if !same {
            return Err(Refusal::FixedKey { key });
        }
    }
    if config.contains_key(VOLATILE) && is_volatile(&config) != is_volatile(old) {
        return Err(Refusal::FixedKey { key: VOLATILE });
    }
    let identity = ["id", "name", "pod"];
    let kept = identity.into_iter().filter(|key| !config.contains_key(*key));
    let mut whole: Map<String, Value> =
        kept.filter_map(|key| old.get(key).map(|value| (key.to_owned(), value.clone()))).collect();
    whole.append(&mut config);
    for key in ["createdTime", VOLATILE].into_iter().chain(EDGE_KEYS).chain([DEPENDENCIES]) {
        if let (None, Some(value)) = (whole.get(key), old.get(key)) {
            whole.insert(key.to_owned(), value.clone());
        }
    }
    Ok(whole)
}

/// Refuses a merge patch that deletes what cannot be absent; of a container that has an image, its keys
/// too.
///
/// # Errors
/// [`Refusal::FixedKey`] for a fixed key of the old config, [`Refusal::BadKey`] for the name.
pub fn check_patch(old: &Map<String, Value>, patch: &Map<String, Value>, has_image: bool) -> Result<(), Refusal> {
    let image = [IMAGE_ID, IMAGE_NAME].into_iter().filter(|_| has_image);
    for key in FIXED.into_iter().chain(EDGE_KEYS).chain([DEPENDENCIES]).chain(image) {
        if patch.get(key).is_some_and(Value::is_null) && old.get(key).is_some_and(|v| !is_empty(v)) {
            return Err(Refusal::FixedKey { key });
        }
    }
    if patch.get(VOLATILE).is_some_and(Value::is_null) && is_volatile(old) {
        return Err(Refusal::FixedKey { key: VOLATILE });
    }
    keeps_name(patch)
}

/// Keeps the keys of the image that a container has, where a new config leaves them out.
///
/// # Errors
/// [`Refusal::FixedKey`] when one has another value.
pub fn keep_image(old: &Map<String, Value>, config: &mut Map<String, Value>) -> Result<(), Refusal> {
    for key in [IMAGE_ID, IMAGE_NAME] {
        let old = old.get(key).filter(|value| !is_empty(value));
        match (old, config.get(key)) {
            (Some(old), None) => drop(config.insert(key.to_owned(), old.clone())),
            (Some(old), Some(new)) if old != new => return Err(Refusal::FixedKey { key }),
            (None, Some(new)) if !is_empty(new) => return Err(Refusal::FixedKey { key }),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a merge patch that deletes the name.
///
/// # Errors
/// [`Refusal::BadKey`].
pub(super) fn keeps_name(patch: &Map<String, Value>) -> Result<(), Refusal> {
    match patch.get("name") {
        Some(Value::Null) => Err(Refusal::BadKey { key: "name".to_owned(), rule: "a name; there is always one" }),
        _ => Ok(()),
    }
}

/// Null, "" and [] are libpod's zero values and count as absent.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The name in a config.
///
/// # Errors
/// [`Refusal::BadKey`] when it is there and no string, [`Refusal::BadName`] when it is no name.
pub fn name_in(config: &Map<String, Value>) -> Result<Option<Name>, Refusal> {
    match config.get("name") {
        None => Ok(None),
        Some(Value::String(name)) => Name::parse(name).map(Some),
        Some(_) => Err(Refusal::BadKey { key: "name".to_owned(), rule: "a string" }),
    }
}

/// The ID in a config.
///
/// # Errors
/// [`Refusal::BadKey`] when it is there and no ID.
pub fn id_in(config: &Map<String, Value>) -> Result<Option<Id>, Refusal> {
    let rule = "64 lower-case hex digits";
    match config.get("id") {
        None => Ok(None),
        Some(Value::String(id)) => Id::parse(id).map(Some).ok_or(Refusal::BadKey { key: "id".to_owned(), rule }),
        Some(_) => Err(Refusal::BadKey { key: "id".to_owned(), rule }),
    }
}

/// Checks a state and brings it into the form that is kept: the status as a word, and the keys that
/// ctrfs derives itself as they were.
///
/// # Errors
/// [`Refusal::BadKey`] for a known key with a wrong value, [`Refusal::FixedKey`] for a derived key
/// that says otherwise.
pub fn accept_state(old: &Map<String, Value>, state: Map<String, Value>) -> Result<Map<String, Value>, Refusal> {
    check(CTR_STATE, &state)?;
    let mut state = state;
    for (key, none) in [(MOUNTED, Value::from(false)), (MOUNT_POINT, Value::from(""))] {
        let derived = old.get(key);
        if state.get(key).is_some_and(|value| !value.is_null() && value != derived.unwrap_or(&none)) {
            return Err(Refusal::FixedKey { key });
        }
        match derived {
            None => drop(state.shift_remove(key)),
            Some(derived) => drop(state.insert(key.to_owned(), derived.clone())),
        }
    }
    if let Some(status) = state.get("state").and_then(Status::from_value) {
        state.insert("state".to_owned(), Value::from(status.word()));
    }
    Ok(state)
}

/// The state of a container whose rootfs is mounted there, or is not mounted.
pub fn mounted_state(state: &Map<String, Value>, at: Option<&str>) -> Map<String, Value> {
    let mut state = state.clone();
    state.retain(|key, _| key != MOUNTED && key != MOUNT_POINT);
    if let Some(at) = at {
        state.insert(MOUNTED.to_owned(), Value::from(true));
        state.insert(MOUNT_POINT.to_owned(), Value::from(at));
    }
    state
}

/// The state after a reboot.
pub fn reset_state(state: &Map<String, Value>) -> Map<String, Value> {
    let mut state = state.clone();
    state.retain(|key, _| !VOID.contains(&key.as_str()));
    state.insert("state".to_owned(), Value::from(Status::Configured.word()));
    state
}

/// Fills in what a head derives from the config.
pub fn derive_from_config(head: &mut CtrHead, config: &Map<String, Value>) {
    head.image = text(config, IMAGE_NAME).or(text(config, IMAGE_ID)).map(str::to_owned);
    // Who is given the host's has none of its own (CRI-O's SetupShm).
    head.shm = !is_set(config, "NoShm") && text(config, "ShmDir") != Some(HOST_SHM);
    head.created = text(config, "createdTime").map(str::to_owned);
}

/// Fills in what a head derives from the state.
pub fn derive_from_state(head: &mut CtrHead, state: &Map<String, Value>) {
    head.status = state.get("state").and_then(Status::from_value).unwrap_or(Status::Unknown);
    head.pid = state.get("pid").and_then(Value::as_i64).filter(|pid| *pid != 0);
    head.exit_code = state.get("exitCode").and_then(Value::as_i64);
    head.mounted = state.get(MOUNTED).and_then(Value::as_bool).unwrap_or(false);
    head.netns = text(state, "netns").map(str::to_owned);
    head.started = text(state, "startedTime").map(str::to_owned);
    head.finished = text(state, "finishedTime").map(str::to_owned);
}

/// Whether a container may be removed, dependents aside.
///
/// # Errors
/// [`Refusal::Live`] while it runs or is paused.
pub fn may_remove(head: &CtrHead) -> Result<(), Refusal> {
    if head.status.is_live() {
        return Err(Refusal::Live { name: head.name.clone(), status: head.status.word() });
    }
    Ok(())
}

/// Whether what a container ended with is forgotten: libpod keeps it for five minutes after the
/// container went, for those who still wait for it.
pub fn is_forgotten(gone: Nanos, now: Nanos) -> bool {
    now.saturating_sub(gone) >= EXIT_CODE_KEPT
}

/// Whether a container in `pod` may depend on one in `other`.
///
/// # Errors
/// [`Refusal::CrossesPod`] unless both are the same pod or none.
pub fn may_depend<P: PartialEq>(pod: Option<P>, other: Option<P>, key: &'static str, on: &str) -> Result<(), Refusal> {
    if pod == other { Ok(()) } else { Err(Refusal::CrossesPod { key, on: on.to_owned() }) }
}

/// Whether a container may depend on one that goes with the boot, or not.
///
/// # Errors
/// [`Refusal::NeedsVolatile`] unless it goes as well: it would lose what it needs.
pub fn may_need(is_volatile: bool, other_is: bool, key: &'static str, on: &str) -> Result<(), Refusal> {
    if is_volatile || !other_is { Ok(()) } else { Err(Refusal::NeedsVolatile { key, on: on.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::{
        DEPENDENCIES, EDGE_KEYS, accept_state, check_patch, is_volatile, reset_state, resolve_references,
        rewrite_config,
    };
    use crate::model::error::Refusal;
    use crate::model::id::Id;
    use crate::model::json::{Map, Value, parse};

    fn object(text: &str) -> Map<String, Value> {
        match parse(text.as_bytes()) {
            Ok(Value::Object(object)) => object,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_edge_key_is_an_edge() {
        let id = Id::from_bytes([0xab; 32]);
        for key in EDGE_KEYS {
            let mut config = object(&format!(r#"{{"{key}":"web"}}"#));
            let found = resolve_references(&mut config, |_, _| Ok::<_, Refusal>(id)).unwrap();
            assert_eq!(found, [(key, id)]);
            assert_eq!(config[key], id.to_string());
        }
        let mut config = object(r#"{"Dependencies":["a","b"]}"#);
        let found = resolve_references(&mut config, |_, _| Ok::<_, Refusal>(id)).unwrap();
        assert_eq!(found, [(DEPENDENCIES, id), (DEPENDENCIES, id)]);
    }

    #[test]
    fn fixed_keys_stay() {
        let old = object(r#"{"id":"1","name":"n","pod":"p","x":1,"netNsCtr":"c","createdTime":"t"}"#);
        let new = rewrite_config(&old, object(r#"{"y":2}"#)).unwrap();
        assert_eq!(
            Value::from(new).to_string(),
            r#"{"id":"1","name":"n","pod":"p","y":2,"createdTime":"t","netNsCtr":"c"}"#
        );
        for bad in [r#"{"id":"2"}"#, r#"{"pod":"q"}"#, r#"{"netNsCtr":"d"}"#, r#"{"Dependencies":["c"]}"#] {
            assert!(matches!(rewrite_config(&old, object(bad)), Err(Refusal::FixedKey { .. })), "{bad}");
        }
        assert!(rewrite_config(&old, object(r#"{"Dependencies":[],"ipcNsCtr":""}"#)).is_ok());
    }

    #[test]
    fn a_volatile_container_stays_one_and_no_other_becomes_one() {
        let (volatile, other) = (object(r#"{"volatile":true}"#), object(r#"{"volatile":false}"#));
        assert!(is_volatile(&rewrite_config(&volatile, object("{}")).unwrap()));
        let fixed = Err(Refusal::FixedKey { key: "volatile" });
        assert_eq!(rewrite_config(&volatile, other.clone()), fixed);
        assert_eq!(rewrite_config(&volatile, object(r#"{"volatile":null}"#)), fixed);
        assert_eq!(rewrite_config(&other, volatile.clone()), fixed);
        assert_eq!(rewrite_config(&Map::new(), volatile.clone()), fixed);
        assert!(rewrite_config(&Map::new(), other.clone()).is_ok());
        let removal = object(r#"{"volatile":null}"#);
        assert!(check_patch(&volatile, &removal, false).is_err());
        assert!(check_patch(&other, &removal, false).is_ok());
    }

    #[test]
    fn states_are_kept_in_words() {
        let state = accept_state(&Map::new(), object(r#"{"state":3,"mounted":false,"pid":7}"#)).unwrap();
        assert_eq!(Value::from(state).to_string(), r#"{"state":"running","pid":7}"#);
        assert!(accept_state(&Map::new(), object(r#"{"mounted":true}"#)).is_err());
        assert!(accept_state(&Map::new(), object(r#"{"state":"up"}"#)).is_err());
        let state = reset_state(&object(r#"{"state":"running","pid":7,"exitCode":3,"netns":"/x"}"#));
        assert_eq!(Value::from(state).to_string(), r#"{"state":"configured","exitCode":3}"#);
    }
}
