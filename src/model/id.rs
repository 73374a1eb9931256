//! IDs: 32 random bytes, written as 64 lower-case hex digits, one space over containers and pods.

use std::fmt;

/// Digits of a full ID.
pub const ID_DIGITS: usize = 64;
/// The shortest prefix of an ID that is taken for one.
pub const MIN_PREFIX: usize = 6;

/// The ID of a container or pod.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 32]);

impl Id {
    /// The ID with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Id {
        Id(bytes)
    }

    /// The bytes of the ID, the key in the store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 lower-case hex digits; anything else is no ID.
    pub fn parse(text: &str) -> Option<Id> {
        let digits = text.as_bytes();
        if digits.len() != ID_DIGITS {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Id(bytes))
    }

    /// Whether a new ID may look like this: libpod draws again while the first 12 digits read as a
    /// decimal number, for tools take such a short form for a number.
    pub fn is_fit(&self) -> bool {
        !self.to_string()[..12].bytes().all(|b| b.is_ascii_digit())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        // Listings and tables write thousands at a time; formatting byte by byte took most of theirs.
        let mut digits = [0; ID_DIGITS];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The beginning of an ID, 6 to 63 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdPrefix {
    low: [u8; 32],
    high: [u8; 32],
}

impl IdPrefix {
    /// Reads 6 to 63 lower-case hex digits.
    pub fn parse(text: &str) -> Option<IdPrefix> {
        let digits = text.as_bytes();
        if !(MIN_PREFIX..ID_DIGITS).contains(&digits.len()) {
            return None;
        }
        let (mut low, mut high) = ([0; 32], [0xff; 32]);
        for (at, &digit) in digits.iter().enumerate() {
            let value = nibble(digit)?;
            let (byte, shift) = (at / 2, if at % 2 == 0 { 4 } else { 0 });
            low[byte] |= value << shift;
            high[byte] = high[byte] & !(0xf << shift) | value << shift;
        }
        Some(IdPrefix { low, high })
    }

    /// The first and the last ID that begin so, as keys.
    pub fn range(&self) -> (&[u8; 32], &[u8; 32]) {
        (&self.low, &self.high)
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Id, IdPrefix};

    #[test]
    fn an_id_is_64_lower_case_digits() {
        let text = "0123456789abcdef".repeat(4);
        assert_eq!(Id::parse(&text).unwrap().to_string(), text);
        assert!(Id::parse(&text.to_uppercase()).is_none());
        assert!(Id::parse(&text[1..]).is_none());
    }

    #[test]
    fn a_prefix_spans_its_ids() {
        let prefix = IdPrefix::parse("abcdef0").unwrap();
        let (low, high) = prefix.range();
        assert_eq!(Id::from_bytes(*low).to_string(), format!("abcdef0{}", "0".repeat(57)));
        assert_eq!(Id::from_bytes(*high).to_string(), format!("abcdef0{}", "f".repeat(57)));
        assert!(IdPrefix::parse("abcde").is_none());
        assert!(IdPrefix::parse("abcdeg").is_none());
    }

    #[test]
    fn an_id_that_begins_like_a_number_is_drawn_again() {
        assert!(!Id::from_bytes([0x12; 32]).is_fit());
        assert!(Id::from_bytes([0x1a; 32]).is_fit());
    }
}
