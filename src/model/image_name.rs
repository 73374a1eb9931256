//! Names of images: `registry/repository:tag`.
//!
//! The grammar is the OCI distribution spec's ("Pulling manifests"). What is left out is filled in: the
//! registry is `localhost`, the tag `latest`. No other registry is guessed, so that a name means the
//! same on every machine.

use std::fmt;

use crate::model::error::Refusal;
use crate::model::name::shorten;

/// The registry of a name that has none.
const LOCAL: &str = "localhost";
/// The tag of a name that has none.
const LATEST: &str = "latest";
/// The most bytes of a whole name (distribution spec).
const MAX_NAME: usize = 255;
/// The most bytes of a tag (distribution spec).
const MAX_TAG: usize = 128;

/// A whole image name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ImageName {
    /// `registry/repository`.
    repository: String,
    tag: String,
}

impl ImageName {
    /// Reads a name and fills in what is left out.
    ///
    /// # Errors
    /// [`Refusal::BadName`] with the rule.
    pub fn parse(text: &str) -> Result<ImageName, Refusal> {
        let bad = |rule| Refusal::BadName { name: shorten(text), rule };
        if text.contains('@') {
            return Err(bad("an image name has no digest; an image is found by its ID, too"));
        }
        let (first, rest) = match text.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest),
            _ => (LOCAL, text),
        };
        let (path, tag) = rest.rsplit_once(':').unwrap_or((rest, LATEST));
        if !is_host(first) {
            return Err(bad("a registry is a host name or address, perhaps with a port"));
        }
        if !path.split('/').all(is_component) {
            return Err(bad(
                "a repository has lower-case letters and digits, with single '.', '_', '__' or dashes between",
            ));
        }
        if !is_tag(tag) {
            return Err(bad("a tag has letters, digits, '_', '.' and '-', 128 bytes at most, and begins with none of \".-\""));
        }
        let repository = format!("{first}/{path}");
        if repository.len() > MAX_NAME {
            return Err(bad("a repository has 255 bytes at most"));
        }
        Ok(ImageName { repository, tag: tag.to_owned() })
    }

    /// The directories that lead to the name below `image-name/`: `registry`, `registry/a`, ….
    pub fn dirs(&self) -> impl Iterator<Item = &str> {
        self.repository.match_indices('/').map(|(at, _)| &self.repository[..at])
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

/// Whether a path below `image-name/` can be a directory of names.
pub fn is_dir(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.next().is_some_and(|first| is_registry(first) && is_host(first)) && parts.all(is_component)
}

/// Whether the first part of a name is a registry and not part of a repository, as docker tells them.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == LOCAL
}

fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "1"));
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    host.split('.').all(part) && !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_well = |at: Option<&u8>| at.is_some_and(|b| is_word(*b));
    ends_well(bytes.first())
        && ends_well(bytes.last())
        && bytes
            .split(|b| is_word(*b))
            .all(|between| matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|b| *b == b'-'))
}

fn is_tag(text: &str) -> bool {
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::ImageName;

    #[test]
    fn what_is_left_out_is_filled_in() {
        for (text, whole) in [
            ("busybox", "localhost/busybox:latest"),
            ("busybox:1.36", "localhost/busybox:1.36"),
            ("team/app", "localhost/team/app:latest"),
            ("quay.io/team/app:v1", "quay.io/team/app:v1"),
            ("localhost/a", "localhost/a:latest"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("127.0.0.1:5000/a/b/c:T_1.x", "127.0.0.1:5000/a/b/c:T_1.x"),
            ("a__b/c-d--e.f_g", "localhost/a__b/c-d--e.f_g:latest"),
        ] {
            assert_eq!(ImageName::parse(text).unwrap().to_string(), whole);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(250);
        let tag = format!("a:{}", "t".repeat(129));
        for text in [
            "", "/", "a/", "/a", "a//b", "A", "a:", "a:b:c", "a@sha256:00", "a b", "-a", "a-", "a..b", "a___b", "a:.x",
            "a:-x", "../a", "a/../b", "quay.io/", "quay.io:x/a", ".io/a", "a\n", "localhost:123456/a", &long, &tag,
        ] {
            assert!(ImageName::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn directories_lead_to_a_name() {
        let name = ImageName::parse("quay.io/team/sub/app:v1").unwrap();
        assert_eq!(name.dirs().collect::<Vec<_>>(), ["quay.io", "quay.io/team", "quay.io/team/sub"]);
    }
}
