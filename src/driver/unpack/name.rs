//! Names of entries: cleaned of what means nothing, refused where they mean harm.

use crate::driver::unpack::{Limits, Problem};

/// The longest name of a file (NAME_MAX).
const LONGEST: usize = 255;
const WHITEOUT: &[u8] = b".wh.";
const META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Where aufs kept files that have several names: hard links may lead there.
pub(super) const PLINKS: &[u8] = b".wh..wh.plnk";

/// What a name asks for.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Asks<'a> {
    /// An entry.
    Entry,
    /// That the lower entry of this name be hidden.
    Whiteout(&'a [u8]),
    /// That nothing of the directory shine through from below.
    Opaque,
    /// Nothing: bookkeeping of aufs.
    Nothing,
}

/// A path without empty and `.` components: relative to the layer's root, which is the empty path.
pub(super) fn clean(path: &[u8], limits: &Limits) -> Result<Vec<u8>, Problem> {
    if path.len() > limits.path {
        return Err(Problem::TooMuch { what: "too many bytes in a path", most: limits.path as u64 });
    }
    let mut cleaned = Vec::with_capacity(path.len());
    let mut depth = 0;
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => continue,
            b".." => return Err(Problem::Upwards),
            _ if name.contains(&0) => return Err(Problem::Name("a name with a NUL byte is refused")),
            _ if name.len() > LONGEST => {
                return Err(Problem::TooMuch { what: "too many bytes in a name", most: LONGEST as u64 });
            }
            _ => {}
        }
        if depth > 0 {
            cleaned.push(b'/');
        }
        cleaned.extend_from_slice(name);
        depth += 1;
    }
    if depth > limits.depth + 1 {
        return Err(Problem::TooMuch { what: "too many directories above it", most: limits.depth as u64 });
    }
    Ok(cleaned)
}

/// The directory and the last name of a clean path.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// What a clean path asks for.
pub(super) fn asks(path: &[u8]) -> Result<Asks<'_>, Problem> {
    let (dir, name) = split(path);
    if dir == PLINKS || path == PLINKS {
        return Ok(Asks::Entry);
    }
    for above in dir.split(|byte| *byte == b'/') {
        if above.starts_with(META) {
            return Ok(Asks::Nothing);
        }
        if above.starts_with(WHITEOUT) {
            return Err(Problem::Name("it is below a name that begins with .wh., which no directory has"));
        }
    }
    match name.strip_prefix(WHITEOUT) {
        None => Ok(Asks::Entry),
        Some(_) if name == OPAQUE => Ok(Asks::Opaque),
        Some(_) if name.starts_with(META) => Ok(Asks::Nothing),
        Some(b"" | b"." | b"..") => Err(Problem::Name("a whiteout of no name")),
        Some(hidden) => Ok(Asks::Whiteout(hidden)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Asks, asks, clean};
    use crate::driver::unpack::{Limits, Problem};

    #[test]
    fn paths_lose_what_means_nothing() {
        let limits = Limits::default();
        let cases = [("./", ""), ("/", ""), ("a", "a"), ("/a//b/./c/", "a/b/c"), ("...", "..."), ("a/..b", "a/..b")];
        for (path, expected) in cases {
            assert_eq!(clean(path.as_bytes(), &limits).unwrap(), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn paths_that_mean_harm_are_refused() {
        let limits = Limits { depth: 2, path: 300, ..Limits::default() };
        for path in ["..", "../a", "a/..", "a/../b", "/..", "./.."] {
            assert!(matches!(clean(path.as_bytes(), &limits), Err(Problem::Upwards)), "{path}");
        }
        assert!(matches!(clean(b"a\0b", &limits), Err(Problem::Name(_))));
        assert!(clean(b"a/b/c", &limits).is_ok());
        for path in ["a/b/c/d".to_owned(), "x".repeat(256), "x/".repeat(151)] {
            assert!(matches!(clean(path.as_bytes(), &limits), Err(Problem::TooMuch { .. })), "{path}");
        }
        assert!(clean("x".repeat(255).as_bytes(), &limits).is_ok());
    }

    #[test]
    fn names_ask_for_whiteouts() {
        let cases: [(&str, Asks<'_>); 9] = [
            ("", Asks::Entry),
            ("a/b", Asks::Entry),
            ("a/.whb", Asks::Entry),
            ("a/.wh.b", Asks::Whiteout(b"b")),
            (".wh..b", Asks::Whiteout(b".b")),
            ("a/.wh..wh..opq", Asks::Opaque),
            (".wh..wh.aufs", Asks::Nothing),
            (".wh..wh.orph/a", Asks::Nothing),
            (".wh..wh.plnk/1.2", Asks::Entry),
        ];
        for (path, expected) in cases {
            assert_eq!(asks(path.as_bytes()).unwrap(), expected, "{path}");
        }
        for path in [".wh.", "a/.wh..", "a/.wh...", ".wh.a/b"] {
            assert!(asks(path.as_bytes()).is_err(), "{path}");
        }
    }
}
