//! Reading one whole document.

use std::fmt;

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Deserializer, Map, Number, Value};

use super::MAX_DEPTH;

/// Why a document was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JsonError {
    /// Not JSON: what is wrong, and where.
    Syntax(String),
    /// An object has this key twice.
    DuplicateKey(String),
    /// Arrays and objects nest too deep.
    TooDeep,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JsonError::Syntax(what) => write!(f, "not JSON: {what}"),
            JsonError::DuplicateKey(key) => write!(f, "the key {key:?} stands twice in one object"),
            JsonError::TooDeep => write!(f, "nested deeper than {MAX_DEPTH} levels"),
        }
    }
}

/// Reads one document, with white space around it.
///
/// # Errors
/// What is wrong with it: syntax, a duplicate key, or depth.
pub fn parse(text: &[u8]) -> Result<Value, JsonError> {
    value(well_formed(text)?, 0)
}

/// Whether this is an object, as far as syntax goes: enough to serve it, at a fraction of the cost of
/// taking it apart.
///
/// # Errors
/// What is wrong with its syntax.
pub fn is_object(text: &[u8]) -> Result<bool, JsonError> {
    Ok(well_formed(text)?.starts_with('{'))
}

fn well_formed(text: &[u8]) -> Result<&str, JsonError> {
    let text = std::str::from_utf8(text).map_err(|e| JsonError::Syntax(e.to_string()))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|e| JsonError::Syntax(e.to_string()))?;
    Ok(raw.get())
}

/// One value from text that is known to be well-formed JSON. serde_json's own `Value` keeps the last
/// of duplicate keys and takes a certain key for a number, so objects are walked here.
fn value(text: &str, depth: usize) -> Result<Value, JsonError> {
    let syntax = |e: serde_json::Error| JsonError::Syntax(e.to_string());
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    if depth >= MAX_DEPTH {
        return Err(JsonError::TooDeep);
    }
    match text.as_bytes().first() {
        Some(b'{') => {
            let mut pairs = Vec::new();
            Deserializer::from_str(text).deserialize_map(Pairs(&mut pairs)).map_err(syntax)?;
            let mut object = Map::with_capacity(pairs.len());
            for (key, raw) in pairs {
                let inner = value(raw.get(), depth + 1)?;
                if object.contains_key(&key) {
                    return Err(JsonError::DuplicateKey(key));
                }
                object.insert(key, inner);
            }
            Ok(Value::Object(object))
        }
        Some(b'[') => {
            let mut items = Vec::new();
            Deserializer::from_str(text).deserialize_seq(Items(&mut items)).map_err(syntax)?;
            items.into_iter().map(|raw| value(raw.get(), depth + 1)).collect::<Result<_, _>>().map(Value::Array)
        }
        Some(b'"') => serde_json::from_str::<String>(text).map(Value::String).map_err(syntax),
        // Number's own parser rewrites exponents; this text is known to be a number.
        Some(b'-' | b'0'..=b'9') => Ok(Value::Number(Number::from_string_unchecked(text.to_owned()))),
        _ => serde_json::from_str(text).map_err(syntax),
    }
}

struct Pairs<'a, 'de>(&'a mut Vec<(String, &'de RawValue)>);

impl<'de> Visitor<'de> for Pairs<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(pair) = map.next_entry()? {
            self.0.push(pair);
        }
        Ok(())
    }
}

struct Items<'a, 'de>(&'a mut Vec<&'de RawValue>);

impl<'de> Visitor<'de> for Items<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(item) = seq.next_element()? {
            self.0.push(item);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{JsonError, is_object, parse};

    #[test]
    fn duplicate_keys_are_refused_however_written() {
        for text in [r#"{"a":1,"a":2}"#, r#"{"x":[{"a":1,"\u0061":2}]}"#] {
            assert_eq!(parse(text.as_bytes()), Err(JsonError::DuplicateKey("a".into())), "{text}");
        }
    }

    #[test]
    fn a_key_that_serde_json_uses_itself_is_a_key() {
        for key in ["$serde_json::private::Number", "$serde_json::private::RawValue"] {
            let text = format!(r#"{{"{key}":"12"}}"#);
            assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
        }
    }

    #[test]
    fn depth_is_limited() {
        let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(nested(127).as_bytes()).is_ok());
        assert_eq!(parse(nested(128).as_bytes()), Err(JsonError::TooDeep));
        assert!(parse(nested(100_000).as_bytes()).is_err());
    }

    #[test]
    fn an_object_is_known_without_taking_it_apart() {
        assert_eq!(is_object(b" {\"a\": [1, {}]}\n"), Ok(true));
        assert_eq!(is_object(b"[{}]"), Ok(false));
        for text in ["", "{", "{\"a\":1} x", "{\"a\":01}"] {
            assert!(matches!(is_object(text.as_bytes()), Err(JsonError::Syntax(_))), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "NaN", "{'a':1}", "[1,]", "01", "\u{feff}{}", "{} x", "\"\\ud800\"", "\"a\nb\""] {
            assert!(matches!(parse(text.as_bytes()), Err(JsonError::Syntax(_))), "{text:?}");
        }
        assert!(parse(b"\"\xff\"").is_err());
    }
}
