//! Digests of content, as images name it.

use std::fmt;

use crate::model::id::Id;

const ALGORITHM: &str = "sha256:";

/// A SHA-256 digest, written `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// The digest's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads `sha256:<64 hex digits>`; anything else is no digest that we know.
    pub fn parse(text: &str) -> Option<Digest> {
        text.strip_prefix(ALGORITHM).and_then(Id::parse).map(|id| Digest(*id.as_bytes()))
    }

    /// The same bytes as an ID: images and layers are named by digests.
    pub const fn id(self) -> Id {
        Id::from_bytes(self.0)
    }
}

impl From<Id> for Digest {
    fn from(id: Id) -> Digest {
        Digest(*id.as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", self.id())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn one_algorithm_in_lower_case() {
        let hex = "ab".repeat(32);
        assert_eq!(Digest::parse(&format!("sha256:{hex}")).unwrap().to_string(), format!("sha256:{hex}"));
        for bad in [hex.clone(), format!("sha512:{hex}"), format!("sha256:{}", hex.to_uppercase()), "sha256:".into()] {
            assert_eq!(Digest::parse(&bad), None, "{bad}");
        }
    }
}
