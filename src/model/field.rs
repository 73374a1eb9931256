//! Entries of one value: each is a key of a document, seen alone. Reading one shows the head's copy,
//! writing one merges into the document.

use crate::model::error::Refusal;
use crate::model::json::Value;
use crate::model::keys::MAX_PID;
use crate::model::name::{Name, shorten};
use crate::model::record::{CtrHead, Doc};
use crate::model::status::Status;

/// A one-value entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// The name; of pods too.
    Name,
    /// A container's status.
    Status,
    /// A container's process.
    Pid,
    /// What a container's process ended with.
    ExitCode,
    /// The path of a container's network namespace.
    Netns,
}

impl Field {
    /// The entry.
    pub const fn name(self) -> &'static str {
        match self {
            Field::Name => "name",
            Field::Status => "status",
            Field::Pid => "pid",
            Field::ExitCode => "exit-code",
            Field::Netns => "netns",
        }
    }

    /// The document and the key behind it.
    pub const fn place(self) -> (Doc, &'static str) {
        match self {
            Field::Name => (Doc::Config, "name"),
            Field::Status => (Doc::State, "state"),
            Field::Pid => (Doc::State, "pid"),
            Field::ExitCode => (Doc::State, "exitCode"),
            Field::Netns => (Doc::State, "netns"),
        }
    }

    /// The value of a container, "" when unset.
    pub fn show(self, head: &CtrHead) -> String {
        let number = |value: Option<i64>| value.map_or_else(String::new, |n| n.to_string());
        match self {
            Field::Name => head.name.clone(),
            Field::Status => head.status.word().to_owned(),
            Field::Pid => number(head.pid),
            Field::ExitCode => number(head.exit_code),
            Field::Netns => head.netns.clone().unwrap_or_default(),
        }
    }

    /// What `text` makes of the key: null where it is cleared.
    ///
    /// # Errors
    /// [`Refusal::BadName`] or [`Refusal::BadValue`] with the rule.
    pub fn parse(self, text: &str) -> Result<Value, Refusal> {
        let bad = |rule| Refusal::BadValue { entry: self.name(), value: shorten(text), rule };
        if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return Err(bad("one line without control characters"));
        }
        if text.is_empty() && !matches!(self, Field::Name | Field::Status) {
            return Ok(Value::Null);
        }
        match self {
            Field::Name => Name::parse(text).map(|name| Value::from(name.as_str())),
            Field::Status => {
                let rule = "unknown, configured, created, running, stopped, paused, exited, removing or stopping";
                Status::parse(text).map(|status| Value::from(status.word())).ok_or_else(|| bad(rule))
            }
            Field::Pid => {
                let pid = decimal(text).filter(|pid| (0..=MAX_PID).contains(pid));
                pid.map(Value::from).ok_or_else(|| bad("a process ID, from 0 to 4194304, or nothing"))
            }
            Field::ExitCode => {
                let code = decimal(text).and_then(|code| i32::try_from(code).ok());
                code.map(Value::from).ok_or_else(|| bad("an integer of 32 bits, or nothing"))
            }
            Field::Netns if text.starts_with('/') => Ok(Value::from(text)),
            Field::Netns => Err(bad("an absolute path, or nothing")),
        }
    }
}

/// A decimal number as JSON writes it: no sign but '-', no leading zeros.
fn decimal(text: &str) -> Option<i64> {
    let value: i64 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::Field;

    #[test]
    fn values_are_checked() {
        for (field, good, bad) in [
            (Field::Name, &["web"][..], &["", "a b", "-x"][..]),
            (Field::Status, &["running", "3"], &["", "up", "9", "running "]),
            (Field::Pid, &["1", "0", "", "4194304"], &["-1", "x", "007", "+1", "4194305", "1.0", "1\r"]),
            (Field::ExitCode, &["0", "-1", "255", ""], &["2147483648", "a"]),
            (Field::Netns, &["/run/netns/x", ""], &["x", "/a\tb"]),
        ] {
            good.iter().for_each(|text| assert!(field.parse(text).is_ok(), "{field:?} {text:?}"));
            bad.iter().for_each(|text| assert!(field.parse(text).is_err(), "{field:?} {text:?}"));
        }
    }
}
