//! The reason of a refused call, as the tree's `refusals` gives it.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::time;
use crate::sys::errno;

#[derive(Deserialize)]
struct Refusal {
    time: String,
    pid: u32,
    errno: String,
    reason: String,
}

/// How much earlier than our own clock reading the tree may date a refusal: it may cut fractions of
/// a second off.
const SLACK: Duration = Duration::from_secs(1);

/// Looks up why a call of this process failed with `cause`; the call began at `since`.
pub(crate) fn reason(root: &Path, cause: &io::Error, since: SystemTime) -> Option<String> {
    let name = errno::name(cause.raw_os_error()?);
    let text = std::fs::read_to_string(root.join("refusals")).ok()?;
    newest(&text, std::process::id(), &name, since - SLACK)
}

/// The newest refusal of `pid` with this errno. Older than `since` it belongs to another call, or to
/// another process that had this ID before.
fn newest(text: &str, pid: u32, errno: &str, since: SystemTime) -> Option<String> {
    text.lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Refusal>(line).ok())
        .find(|refusal| refusal.pid == pid && refusal.errno == errno)
        .filter(|refusal| time::parse(&refusal.time).is_some_and(|at| at >= since))
        .map(|refusal| refusal.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = concat!(
        r#"{"time":"2026-01-01T00:00:01Z","pid":7,"uid":0,"errno":"EBUSY","reason":"old"}"#,
        "\n",
        r#"{"time":"2026-01-01T00:00:02Z","pid":7,"uid":0,"errno":"EBUSY","reason":"new"}"#,
        "\n",
        r#"{"time":"2026-01-01T00:00:03Z","pid":7,"uid":0,"errno":"EPERM","reason":"other errno"}"#,
        "\n",
        r#"{"time":"2026-01-01T00:00:03Z","pid":8,"uid":0,"errno":"EBUSY","reason":"other pid"}"#,
        "\n",
        "not JSON\n",
    );

    fn at(second: u64) -> SystemTime {
        time::parse("2026-01-01T00:00:00Z").unwrap() + Duration::from_secs(second)
    }

    #[test]
    fn the_newest_of_our_own_counts() {
        let find = |pid, errno, since| newest(TEXT, pid, errno, at(since));
        assert_eq!(find(7, "EBUSY", 0).as_deref(), Some("new"));
        assert_eq!(find(8, "EBUSY", 3).as_deref(), Some("other pid"));
        assert_eq!(find(7, "EBUSY", 3), None);
        assert_eq!(find(9, "EBUSY", 0), None);
        assert_eq!(find(7, "ENOENT", 0), None);
    }
}
