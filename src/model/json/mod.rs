//! JSON documents as ctrfs keeps them: key order, numbers as written, no duplicate keys.
//!
//! [`Scanner`] finds where a document ends while its bytes still arrive and refuses what can become
//! none; [`parse`] reads a whole one; [`merge`] is RFC 7396; [`render`] gives the bytes that are
//! stored and served.

mod parse;
mod scan;

pub use parse::{JsonError, is_object, parse};
pub use scan::{Scanner, Step};
pub use serde_json::{Map, Number, Value};

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 128;

/// A document as it is stored and served: pretty-printed, with a final newline.
pub fn render(value: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("a value in memory has string keys and no I/O");
    bytes.push(b'\n');
    bytes
}

/// A document's size in bytes without white space between its tokens.
pub fn compact_size(value: &Value) -> usize {
    value.to_string().len()
}

/// Merges `patch` into `target` by RFC 7396: objects merge key by key, null deletes, all else
/// replaces. Keys that stay keep their place.
pub fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.shift_remove(&key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{merge, parse, render};

    fn merged(target: &str, patch: &str) -> String {
        let mut value = parse(target.as_bytes()).unwrap();
        merge(&mut value, parse(patch.as_bytes()).unwrap());
        value.to_string()
    }

    /// The examples of RFC 7396, appendix A, that have an object for a target or patch.
    #[test]
    fn merges_as_rfc_7396_shows() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merged(target, patch), result, "{target} <- {patch}");
        }
    }

    #[test]
    fn numbers_and_order_stay_as_written() {
        let text = r#"{"z":9223372036854775809,"a":1e400,"m":0.10,"e":-1.5E+3}"#;
        let again = parse(&render(&parse(text.as_bytes()).unwrap())).unwrap();
        assert_eq!(again.to_string(), text);
    }
}
