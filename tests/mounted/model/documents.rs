//! What the documents of the model may be and become. No I/O.

use nix::errno::Errno;
use serde_json::{Map, Value, json};

use super::plain::{CONFIG, EDGES, Kind, STATE, STATUSES, Verdict, refuse_unless};

pub(super) type Doc = Map<String, Value>;

pub(super) fn rendered(document: &Doc) -> String {
    serde_json::to_string_pretty(document).unwrap() + "\n"
}

/// A string under a key; an empty one is none.
pub(super) fn text(document: &Doc, key: &str) -> Option<String> {
    document.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

pub(super) fn empty(value: Option<&Value>) -> bool {
    value.is_none_or(|value| [Value::Null, json!(""), json!([])].contains(value))
}

pub(super) fn fixed(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Ctr => &[
            "id",
            "pod",
            "createdTime",
            "ipcNsCtr",
            "mountNsCtr",
            "netNsCtr",
            "pidNsCtr",
            "userNsCtr",
            "utsNsCtr",
            "cgroupNsCtr",
            "Dependencies",
        ],
        Kind::Pod => &["id", "created"],
    }
}

/// RFC 7396.
pub(super) fn merged(mut target: Doc, patch: &Doc) -> Doc {
    for (key, value) in patch {
        match (value, target.get(key)) {
            (Value::Null, _) => drop(target.shift_remove(key)),
            (Value::Object(inner), Some(Value::Object(old))) => {
                let inner = merged(old.clone(), inner);
                target.insert(key.clone(), Value::Object(inner));
            }
            (Value::Object(inner), _) => drop(target.insert(key.clone(), Value::Object(merged(Doc::new(), inner)))),
            _ => drop(target.insert(key.clone(), value.clone())),
        }
    }
    target
}

pub(super) fn resolve(config: &mut Doc, mut find: impl FnMut(&str) -> Verdict<String>) -> Verdict<()> {
    let mut put = |slot: &mut Value| match slot.as_str().filter(|text| !text.is_empty()).map(&mut find) {
        Some(found) => found.map(|id| *slot = json!(id)),
        None => Ok(()),
    };
    EDGES.iter().try_for_each(|key| config.get_mut(*key).map_or(Ok(()), &mut put))?;
    config
        .get_mut("Dependencies")
        .and_then(Value::as_array_mut)
        .map_or(Ok(()), |list| list.iter_mut().try_for_each(put))
}

/// The types of known keys, as far as the operations use them.
pub(super) fn check(kind: Kind, doc: usize, document: &Doc) -> Verdict<()> {
    let fits = |(key, value): (&String, &Value)| match (kind, doc, key.as_str()) {
        _ if value.is_null() => true,
        (_, CONFIG, "labels") => value.as_object().is_some_and(|map| map.values().all(Value::is_string)),
        (_, CONFIG, "id" | "name" | "cgroupParent") | (Kind::Ctr, CONFIG, "pod" | "rootfsImageName" | "user") => {
            value.is_string()
        }
        (Kind::Ctr, CONFIG, key) if EDGES.contains(&key) => value.is_string(),
        (Kind::Ctr, CONFIG, "command" | "Dependencies") => {
            value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
        }
        (Kind::Ctr, CONFIG, "spec") => value.is_object(),
        (Kind::Ctr, CONFIG, "stopTimeout") => value.as_u64().is_some(),
        (Kind::Ctr, CONFIG, "createdTime") | (Kind::Pod, CONFIG, "created") => {
            value.as_str().is_some_and(|time| time.ends_with('Z'))
        }
        (Kind::Ctr, STATE, "state") => status(value).is_some(),
        (Kind::Ctr, STATE, "pid") => value.as_u64().is_some_and(|pid| pid <= 4_194_304),
        (Kind::Ctr, STATE, "exitCode") => value.as_i64().is_some_and(|code| i32::try_from(code).is_ok()),
        (Kind::Ctr, STATE, "mounted" | "oomKilled") => value.is_boolean(),
        (Kind::Ctr, STATE, "mountPoint" | "netns") | (Kind::Pod, STATE, "CgroupPath") => value.is_string(),
        (Kind::Ctr, STATE, "startedTime") => value.as_str().is_some_and(|time| time.ends_with('Z')),
        _ => true,
    };
    refuse_unless(document.iter().all(fits), Errno::EINVAL)
}

fn status(value: &Value) -> Option<&'static str> {
    let by_number = value.as_u64().and_then(|number| STATUSES.get(number as usize));
    STATUSES.iter().find(|word| **word == *value).or(by_number).copied()
}

/// A state as it is kept: the status in words, without what ctrfs derives.
pub(super) fn state(kind: Kind, mut state: Doc) -> Verdict<Doc> {
    if kind == Kind::Ctr {
        for (key, derived) in [("mounted", json!(false)), ("mountPoint", json!(""))] {
            let value = state.shift_remove(key).unwrap_or_default();
            refuse_unless(value.is_null() || value == derived, Errno::EPERM)?;
        }
        if let Some(word) = state.get("state").and_then(status) {
            state.insert("state".to_owned(), json!(word));
        }
    }
    Ok(state)
}
