//! What a container is doing, with libpod's numbers, and what a pod's members make of the pod.

use serde::{Deserialize, Serialize};

use crate::model::json::Value;

/// A container's status; the discriminants are libpod's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Status {
    /// Nothing is known.
    Unknown = 0,
    /// Made, never prepared.
    Configured = 1,
    /// Prepared by a runtime.
    Created = 2,
    /// Its process runs.
    Running = 3,
    /// Stopped by request.
    Stopped = 4,
    /// Frozen.
    Paused = 5,
    /// Its process ended by itself.
    Exited = 6,
    /// Being removed.
    Removing = 7,
    /// Being stopped.
    Stopping = 8,
}

impl Status {
    /// Every status, at the place of its number.
    pub const ALL: [Status; 9] = [
        Status::Unknown,
        Status::Configured,
        Status::Created,
        Status::Running,
        Status::Stopped,
        Status::Paused,
        Status::Exited,
        Status::Removing,
        Status::Stopping,
    ];

    /// The word that is served.
    pub const fn word(self) -> &'static str {
        match self {
            Status::Unknown => "unknown",
            Status::Configured => "configured",
            Status::Created => "created",
            Status::Running => "running",
            Status::Stopped => "stopped",
            Status::Paused => "paused",
            Status::Exited => "exited",
            Status::Removing => "removing",
            Status::Stopping => "stopping",
        }
    }

    /// Reads a word or libpod's number.
    pub fn parse(text: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|s| s.word() == text || (*s as u8).to_string() == text)
    }

    /// Reads the `state` key of a container's state.
    pub fn from_value(value: &Value) -> Option<Status> {
        match value {
            Value::String(word) => Status::ALL.into_iter().find(|s| s.word() == word),
            Value::Number(number) => Status::ALL.get(usize::try_from(number.as_u64()?).ok()?).copied(),
            _ => None,
        }
    }

    /// Whether a process may be alive: then the container is not removed.
    pub const fn is_live(self) -> bool {
        matches!(self, Status::Running | Status::Paused)
    }
}

/// How many members of a pod have each status, at the place of its number.
pub type StatusCounts = [u32; 9];

/// The status of a pod, computed from its members as libpod does.
pub fn pod_status(counts: &StatusCounts) -> &'static str {
    let count = |status: Status| counts[status as usize];
    let total: u32 = counts.iter().sum();
    let ended = count(Status::Stopped) + count(Status::Exited);
    let odd = count(Status::Unknown) + count(Status::Removing) + count(Status::Stopping);
    if total == 0 {
        "created"
    } else if count(Status::Running) == total {
        "running"
    } else if count(Status::Running) > 0 {
        "degraded"
    } else if count(Status::Paused) == total {
        "paused"
    } else if ended == total {
        "exited"
    } else if ended > 0 {
        "stopped"
    } else if odd > 0 {
        "error"
    } else {
        "created"
    }
}

#[cfg(test)]
mod tests {
    use super::{Status, StatusCounts, pod_status};

    fn counts(of: &[Status]) -> StatusCounts {
        let mut counts = StatusCounts::default();
        of.iter().for_each(|s| counts[*s as usize] += 1);
        counts
    }

    #[test]
    fn a_pods_status_follows_its_members() {
        use Status::{Configured, Created, Exited, Paused, Removing, Running, Stopped};
        for (members, word) in [
            (&[][..], "created"),
            (&[Running, Running], "running"),
            (&[Running, Removing], "degraded"),
            (&[Paused, Paused], "paused"),
            (&[Stopped, Exited], "exited"),
            (&[Stopped, Configured], "stopped"),
            (&[Removing, Created], "error"),
            (&[Created, Paused], "created"),
        ] {
            assert_eq!(pod_status(&counts(members)), word, "{members:?}");
        }
    }

    #[test]
    fn words_and_numbers_are_read() {
        assert_eq!(Status::parse("running"), Some(Status::Running));
        assert_eq!(Status::parse("3"), Some(Status::Running));
        assert_eq!(Status::parse("9"), None);
        assert_eq!(Status::parse("Running"), None);
    }
}
