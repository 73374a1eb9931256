//! Maps of user and group IDs, in the format of /proc/PID/uid_map (user_namespaces(7)): a line for each
//! range, with its first ID in the container, its first ID on the host, and how many there are.

use crate::model::error::Refusal;
use crate::model::json::Value;

/// The most lines that a kernel takes: UID_GID_MAP_MAX_EXTENTS of linux/user_namespace.h.
const MAX_RANGES: usize = 340;
/// IDs are u32, and the last means "none" (map_write() of kernel/user_namespace.c).
const NO_ID: u64 = u32::MAX as u64;

/// One range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    container: u64,
    host: u64,
    size: u64,
}

impl Range {
    fn overlaps(self, other: Range) -> bool {
        let meet = |a: u64, b: u64| a < b + other.size && b < a + self.size;
        meet(self.container, other.container) || meet(self.host, other.host)
    }
}

/// A map as it is stored and served; empty text is no map.
///
/// # Errors
/// [`Refusal::BadMap`] for a line that is no range, [`Refusal::MapOverlaps`] naming each range that meets
/// an earlier one, in the container or on the host.
pub fn parse(text: &str) -> Result<String, Refusal> {
    let lines = text.split('\n').filter(|line| !line.is_empty());
    let ranges = lines.map(range).collect::<Result<Vec<_>, _>>()?;
    checked(&ranges)
}

/// The same from the key of a document: containers/storage's list of objects with `container_id`,
/// `host_id` and `size`.
///
/// # Errors
/// As [`parse`]; [`Refusal::BadKey`].
pub fn from_json(key: &str, value: &Value) -> Result<String, Refusal> {
    let bad = || Refusal::BadKey {
        key: key.to_owned(),
        rule: "an array of objects, each with container_id, host_id and size",
    };
    let number = |range: &Value, field| range.get(field).and_then(Value::as_u64).ok_or_else(bad);
    let items = value.as_array().ok_or_else(bad)?;
    let lines = items.iter().map(|item| {
        Ok(format!("{} {} {}\n", number(item, "container_id")?, number(item, "host_id")?, number(item, "size")?))
    });
    parse(&lines.collect::<Result<String, Refusal>>()?)
}

fn range(line: &str) -> Result<Range, Refusal> {
    let bad = |rule| Refusal::BadMap { line: super::name::shorten(line.trim()), rule };
    let fields: Vec<&str> = line.split([' ', '\t']).filter(|field| !field.is_empty()).collect();
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let numbers: Option<Vec<u64>> = fields.iter().map(|field| number(field)).collect();
    let Some([container, host, size]) = numbers.as_deref() else {
        return Err(bad("a line has three numbers: the first ID in the container, on the host, and how many"));
    };
    if *size == 0 {
        return Err(bad("a range has one ID at least"));
    }
    let ends = |first: &u64| first.checked_add(*size).is_some_and(|end| end <= NO_ID);
    if !ends(container) || !ends(host) {
        return Err(bad("IDs are below 4294967295"));
    }
    Ok(Range { container: *container, host: *host, size: *size })
}

fn checked(ranges: &[Range]) -> Result<String, Refusal> {
    if ranges.len() > MAX_RANGES {
        return Err(Refusal::BadMap { line: format!("{} lines", ranges.len()), rule: "a map has 340 lines at most" });
    }
    let overlapping: Vec<String> = (0..ranges.len())
        .filter(|at| ranges[..*at].iter().any(|earlier| ranges[*at].overlaps(*earlier)))
        .map(|at| format!("{}:{}:{}", ranges[at].container, ranges[at].host, ranges[at].size))
        .collect();
    match overlapping.is_empty() {
        true => Ok(ranges.iter().map(|r| format!("{} {} {}\n", r.container, r.host, r.size)).collect()),
        false => Err(Refusal::MapOverlaps { ranges: overlapping }),
    }
}

#[cfg(test)]
mod tests {
    use super::{from_json, parse};
    use crate::model::error::Refusal;

    #[test]
    fn maps_are_checked() {
        assert_eq!(parse("         0     100000      65536\n"), Ok("0 100000 65536\n".to_owned()));
        assert_eq!(parse("0 5 5\n\n5 0 5"), Ok("0 5 5\n5 0 5\n".to_owned()), "touching ends are fine");
        assert_eq!(parse("\n"), Ok(String::new()));
        for bad in ["0 1", "a b c", "0 0 0", "-1 0 1", "0 0 4294967296", "4294967295 0 1", "0 0 1 1"] {
            assert!(matches!(parse(bad), Err(Refusal::BadMap { .. })), "{bad}");
        }
        assert!(parse(&(0..340).map(|n| format!("{n} {n} 1\n")).collect::<String>()).is_ok());
        assert!(parse(&(0..341).map(|n| format!("{n} {n} 1\n")).collect::<String>()).is_err());
        for (text, named) in [
            ("0 0 10\n9 100 1\n", vec!["9:100:1"]),
            ("0 0 10\n10 9 1\n", vec!["10:9:1"]),
            ("5 5 5\n0 0 6\n9 30 1\n", vec!["0:0:6", "9:30:1"]),
        ] {
            let ranges = named.into_iter().map(str::to_owned).collect();
            assert_eq!(parse(text), Err(Refusal::MapOverlaps { ranges }), "{text}");
        }
    }

    #[test]
    fn documents_have_maps_as_containers_storage_writes_them() {
        let json = |text: &str| from_json("uidmap", &serde_json::from_str(text).unwrap());
        assert_eq!(json(r#"[{"container_id":0,"host_id":1000,"size":1}]"#), Ok("0 1000 1\n".to_owned()));
        for bad in ["{}", r#"[{"container_id":0}]"#, r#"["0 0 1"]"#] {
            assert!(matches!(json(bad), Err(Refusal::BadKey { .. })), "{bad}");
        }
    }
}
