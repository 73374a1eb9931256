//! Times of the tree: RFC 3339, with any offset, as engines write them; and ages for people.

use std::time::{Duration, SystemTime};

const UNITS: [(u64, &str); 7] = [
    (365 * 24 * 3600, "year"),
    (30 * 24 * 3600, "month"),
    (7 * 24 * 3600, "week"),
    (24 * 3600, "day"),
    (3600, "hour"),
    (60, "minute"),
    (1, "second"),
];

/// Reads an RFC 3339 time.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    if text.ends_with('Z') {
        return humantime::parse_rfc3339(text).ok();
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let seconds = hours.parse::<u64>().ok()? * 3600 + minutes.parse::<u64>().ok()? * 60;
    match offset.as_bytes()[0] {
        b'+' => local.checked_sub(Duration::from_secs(seconds)),
        b'-' => local.checked_add(Duration::from_secs(seconds)),
        _ => None,
    }
}

/// Says how long ago `then` was; none if it is yet to come.
pub(crate) fn age(now: SystemTime, then: SystemTime) -> Option<String> {
    let seconds = now.duration_since(then).ok()?.as_secs();
    let unit = UNITS.iter().find(|(length, _)| seconds >= *length);
    Some(match unit {
        None => "just now".to_owned(),
        Some((length, word)) => match seconds / length {
            1 => format!("1 {word} ago"),
            count => format!("{count} {word}s ago"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count() {
        let utc = parse("2026-03-01T10:00:00.5Z").unwrap();
        assert_eq!(parse("2026-03-01T12:30:00.5+02:30"), Some(utc));
        assert_eq!(parse("2026-03-01T08:00:00.500000000-02:00"), Some(utc));
        for wrong in ["", "-", "2026-03-01", "2026-03-01T12:00:00*02:00", "\u{e9}0:00"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ages_name_the_largest_unit() {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let age = |seconds| age(then + Duration::from_secs(seconds), then).unwrap();
        assert_eq!(age(0), "just now");
        assert_eq!(age(1), "1 second ago");
        assert_eq!(age(59), "59 seconds ago");
        assert_eq!(age(3 * 60 + 59), "3 minutes ago");
        assert_eq!(age(3600), "1 hour ago");
        assert_eq!(age(6 * 24 * 3600), "6 days ago");
        assert_eq!(age(13 * 24 * 3600), "1 week ago");
        assert_eq!(age(364 * 24 * 3600), "12 months ago");
        assert_eq!(age(800 * 24 * 3600), "2 years ago");
        assert_eq!(super::age(then, then + Duration::from_secs(1)), None);
    }
}
