//! Names: one name space over containers and pods.

use std::fmt;

use crate::model::error::Refusal;
use crate::model::id::ID_DIGITS;

/// The longest name, in bytes: what a directory entry can be.
pub const MAX_NAME: usize = 255;

/// A checked name: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, 255 bytes at most, not 64 or more hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name(String);

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`Refusal::BadName`] with the rule that it breaks.
    pub fn parse(text: &str) -> Result<Name, Refusal> {
        let bad = |rule| Refusal::BadName { name: shorten(text), rule };
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err(bad("a name cannot be empty"));
        }
        if bytes.len() > MAX_NAME {
            return Err(bad("a name has 255 bytes at most"));
        }
        if !bytes[0].is_ascii_alphanumeric() {
            return Err(bad("a name begins with a letter or a digit"));
        }
        if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')) {
            return Err(bad("a name has letters, digits, '_', '.' and '-' only"));
        }
        if bytes.len() >= ID_DIGITS && bytes.iter().all(u8::is_ascii_hexdigit) {
            return Err(bad("64 or more hex digits are an ID, not a name"));
        }
        Ok(Name(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name for an object that was given none: adjective_noun, with a number from the fourth
    /// attempt on, when many are taken. `random` decides.
    pub fn random(random: u64, attempt: u32) -> Name {
        let adjective = ADJECTIVES[(random % ADJECTIVES.len() as u64) as usize];
        let noun = NOUNS[((random >> 16) % NOUNS.len() as u64) as usize];
        Name(match attempt {
            0..=2 => format!("{adjective}_{noun}"),
            _ => format!("{adjective}_{noun}_{}", (random >> 32) % 100_000_000),
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// At most 80 characters of a text that is quoted in a refusal.
pub fn shorten(text: &str) -> String {
    match text.char_indices().nth(80) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// At most ten of the names that a refusal lists, and how many more there are.
pub fn list(names: &[String]) -> String {
    const MOST: usize = 10;
    let first = names[..names.len().min(MOST)].join(", ");
    match names.len().saturating_sub(MOST) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

const ADJECTIVES: [&str; 48] = [
    "amber", "bold", "brave", "brisk", "calm", "civil", "clear", "crisp", "curious", "deft", "eager", "early", "fair",
    "firm", "fleet", "fond", "frank", "fresh", "gentle", "glad", "golden", "grand", "happy", "hardy", "humble",
    "jolly", "keen", "kind", "lively", "lucid", "mellow", "merry", "mild", "neat", "nimble", "noble", "patient",
    "plain", "proud", "quick", "quiet", "rapid", "sharp", "steady", "sunny", "tidy", "warm", "wise",
];

const NOUNS: [&str; 48] = [
    "acorn", "anchor", "aspen", "badger", "beacon", "birch", "bridge", "brook", "cedar", "comet", "coral", "crane",
    "falcon", "fern", "finch", "flint", "gannet", "glade", "harbor", "heron", "island", "juniper", "kestrel",
    "lantern", "larch", "lichen", "lynx", "maple", "marten", "meadow", "orchid", "osprey", "otter", "pebble", "pine",
    "plover", "puffin", "quarry", "raven", "river", "robin", "rowan", "spruce", "summit", "swift", "thistle", "willow",
    "wren",
];

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn names_are_checked() {
        for good in ["a", "0", "web-1_x.y", &"a".repeat(63), &"x".repeat(255)] {
            assert!(Name::parse(good).is_ok(), "{good}");
        }
        let long = "x".repeat(256);
        let id = "a".repeat(64);
        let more = "A".repeat(65);
        for bad in ["", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "ä", &long, &id, &more] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
    }
}
