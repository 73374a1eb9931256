//! The keys that ctrfs knows in documents and what each takes; other keys are kept as they are.
//!
//! The keys are libpod's. null is taken everywhere, for libpod writes it for an empty list.

use crate::model::error::Refusal;
use crate::model::hosts;
use crate::model::json::{Map, Value};
use crate::model::status::Status;

/// What a key takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// A string.
    Text,
    /// true or false.
    Bool,
    /// A 64-bit integer.
    Int,
    /// An integer of 0 or more.
    Count,
    /// An array.
    List,
    /// An array of strings.
    Texts,
    /// An array of IP addresses.
    Addresses,
    /// An array of words without white space.
    Words,
    /// An array of NAME:ADDRESS.
    Hosts,
    /// A host's name.
    Hostname,
    /// An object.
    Object,
    /// An object whose values are strings.
    TextMap,
    /// An RFC 3339 time.
    Time,
    /// A status word or libpod's number.
    Status,
    /// A process ID, 0 for none.
    Pid,
    /// A 32-bit integer.
    ExitCode,
}

impl Type {
    /// The type in words, as a refusal names it.
    pub const fn rule(self) -> &'static str {
        match self {
            Type::Text => "a string",
            Type::Bool => "true or false",
            Type::Int => "an integer of 64 bits",
            Type::Count => "an integer of 0 or more",
            Type::List => "an array",
            Type::Texts => "an array of strings",
            Type::Addresses => "an array of IP addresses",
            Type::Words => "an array of words without white space",
            Type::Hosts => "an array of NAME:ADDRESS or NAME;NAME:ADDRESS, with an IP address",
            Type::Hostname => "a name of at most 64 bytes without white space and '/'",
            Type::Object => "an object",
            Type::TextMap => "an object of strings",
            Type::Time => "a time as RFC 3339 writes it",
            Type::Status => {
                "unknown, configured, created, running, stopped, paused, exited, removing, stopping or 0 to 8"
            }
            Type::Pid => "a process ID, from 0 to 4194304",
            Type::ExitCode => "an integer of 32 bits",
        }
    }

    fn takes(self, value: &Value) -> bool {
        match self {
            Type::Text => value.is_string(),
            Type::Bool => value.is_boolean(),
            Type::Int => value.as_i64().is_some(),
            Type::Count => value.as_u64().is_some(),
            Type::List => value.is_array(),
            Type::Texts => each(value, |_| true),
            Type::Addresses => each(value, hosts::is_address),
            Type::Words => each(value, hosts::is_word),
            Type::Hosts => each(value, |text| hosts::entry(text).is_some()),
            Type::Hostname => value.as_str().is_some_and(|text| text.is_empty() || hosts::is_hostname(text)),
            Type::Object => value.is_object(),
            Type::TextMap => value.as_object().is_some_and(|map| map.values().all(Value::is_string)),
            Type::Time => value.as_str().is_some_and(is_time),
            Type::Status => Status::from_value(value).is_some(),
            Type::Pid => value.as_i64().is_some_and(|pid| (0..=MAX_PID).contains(&pid)),
            Type::ExitCode => value.as_i64().is_some_and(|code| i32::try_from(code).is_ok()),
        }
    }
}

/// Whether a value is an array of strings that all pass.
fn each(value: &Value, passes: impl Fn(&str) -> bool) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(|item| item.as_str().is_some_and(&passes)))
}

/// The largest process ID that Linux gives (`PID_MAX_LIMIT`).
pub const MAX_PID: i64 = 4_194_304;

/// `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)`, as Go writes times.
pub fn is_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once('T') else { return false };
    let zone = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(zone);
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let digits = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text.bytes().zip(shape.bytes()).all(|(c, s)| if s == b'0' { c.is_ascii_digit() } else { c == s })
    };
    digits(date, "0000-00-00")
        && digits(whole, "00:00:00")
        && !fraction.is_empty()
        && fraction.bytes().all(|c| c.is_ascii_digit())
        && (zone == "Z" || digits(zone, "+00:00") || digits(zone, "-00:00"))
}

/// Checks every known key of a document.
///
/// # Errors
/// [`Refusal::BadKey`] for the first that has a value it cannot have.
pub fn check(table: &[(&'static str, Type)], document: &Map<String, Value>) -> Result<(), Refusal> {
    for (key, value) in document {
        let known = table.iter().find(|(name, _)| name == key);
        if let Some((_, expected)) = known
            && !value.is_null()
            && !expected.takes(value)
        {
            return Err(Refusal::BadKey { key: key.clone(), rule: expected.rule() });
        }
    }
    Ok(())
}

/// A string under a key; an empty one counts as absent, as libpod's zero values do.
pub fn text<'a>(document: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    document.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The strings of an array under a key; none where there is no such array.
pub fn texts<'a>(document: &'a Map<String, Value>, key: &str) -> Vec<&'a str> {
    document.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether a key holds true.
pub fn is_set(document: &Map<String, Value>, key: &str) -> bool {
    document.get(key).and_then(Value::as_bool) == Some(true)
}

/// libpod's ContainerConfig; `image` and `hostname` are ours.
pub const CTR_CONFIG: &[(&str, Type)] = &[
    ("id", Type::Text),
    ("name", Type::Text),
    ("pod", Type::Text),
    ("spec", Type::Object),
    ("namespace", Type::Text),
    ("idMappingsOptions", Type::Object),
    ("image", Type::Text),
    ("rootfsImageID", Type::Text),
    ("rootfsImageName", Type::Text),
    ("rootfs", Type::Text),
    ("rootfs_overlay", Type::Bool),
    ("imageVolumes", Type::Bool),
    ("ShmDir", Type::Text),
    ("NoShm", Type::Bool),
    ("NOShmShare", Type::Bool),
    ("shmSize", Type::Int),
    ("staticDir", Type::Text),
    ("mounts", Type::Texts),
    ("privileged", Type::Bool),
    ("ProcessLabel", Type::Text),
    ("MountLabel", Type::Text),
    ("user", Type::Text),
    ("groups", Type::Texts),
    ("ipcNsCtr", Type::Text),
    ("mountNsCtr", Type::Text),
    ("netNsCtr", Type::Text),
    ("pidNsCtr", Type::Text),
    ("userNsCtr", Type::Text),
    ("utsNsCtr", Type::Text),
    ("cgroupNsCtr", Type::Text),
    ("Dependencies", Type::Texts),
    ("createNetNS", Type::Bool),
    ("portMappings", Type::List),
    ("hostname", Type::Hostname),
    ("useImageHostname", Type::Bool),
    ("UseImageResolvConf", Type::Bool),
    ("dnsServer", Type::Addresses),
    ("dnsSearch", Type::Words),
    ("dnsOption", Type::Words),
    ("UseImageHosts", Type::Bool),
    ("hostsAdd", Type::Hosts),
    ("userVolumes", Type::Texts),
    ("entrypoint", Type::Texts),
    ("command", Type::Texts),
    ("stdin", Type::Bool),
    ("labels", Type::TextMap),
    ("stopSignal", Type::Count),
    ("stopTimeout", Type::Count),
    ("createdTime", Type::Time),
    ("cgroupParent", Type::Text),
    ("logPath", Type::Text),
    ("conmonPidFile", Type::Text),
    ("postConfigureNetNS", Type::Bool),
    ("volatile", Type::Bool),
];

/// libpod's containerState.
pub const CTR_STATE: &[(&str, Type)] = &[
    ("state", Type::Status),
    ("configPath", Type::Text),
    ("runDir", Type::Text),
    ("destinationRunDir", Type::Text),
    ("mounted", Type::Bool),
    ("mountPoint", Type::Text),
    ("realMountPoint", Type::Text),
    ("startedTime", Type::Time),
    ("finishedTime", Type::Time),
    ("exitCode", Type::ExitCode),
    ("oomKilled", Type::Bool),
    ("pid", Type::Pid),
    ("conmonPid", Type::Pid),
    ("netns", Type::Text),
    ("execSessions", Type::Object),
    ("ipAddresses", Type::List),
    ("interfaces", Type::List),
    ("routes", Type::List),
    ("bindMounts", Type::TextMap),
    ("cgroupCreated", Type::Bool),
    ("userNSRoot", Type::Text),
    ("extensionStageHooks", Type::Object),
];

/// libpod's PodConfig.
pub const POD_CONFIG: &[(&str, Type)] = &[
    ("id", Type::Text),
    ("name", Type::Text),
    ("namespace", Type::Text),
    ("hostname", Type::Text),
    ("labels", Type::TextMap),
    ("cgroupParent", Type::Text),
    ("UsePodCgroup", Type::Bool),
    ("created", Type::Time),
];

/// libpod's podState.
pub const POD_STATE: &[(&str, Type)] =
    &[("CgroupPath", Type::Text), ("cgroupPath", Type::Text), ("InfraContainerID", Type::Text)];

#[cfg(test)]
mod tests {
    use super::is_time;

    #[test]
    fn times_as_go_writes_them() {
        for good in ["0001-01-01T00:00:00Z", "2026-01-02T03:04:05.123456789+01:00", "2026-01-02T03:04:05-07:00"] {
            assert!(is_time(good), "{good}");
        }
        for bad in ["", "2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04:05.Z", "yesterday"] {
            assert!(!is_time(bad), "{bad}");
        }
    }
}
