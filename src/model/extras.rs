//! What a new container's document says for entries of their own: these keys are not kept in the config.

use crate::model::error::Refusal;
use crate::model::flags::VOLATILE;
use crate::model::id_map;
use crate::model::json::{Map, Value};
use crate::model::name::Name;

/// The keys.
const KEYS: [&str; 5] = ["names", "metadata", "flags", "uidmap", "gidmap"];

/// What they say.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Names, the first before the others.
    pub names: Vec<Name>,
    /// The caller's own text.
    pub metadata: String,
    /// Flags.
    pub flags: Vec<(String, Option<Value>)>,
    /// The map of user IDs.
    pub uidmap: String,
    /// The map of group IDs.
    pub gidmap: String,
}

impl Asked {
    fn is_volatile(&self) -> bool {
        self.flags.iter().any(|(name, value)| name == VOLATILE && *value == Some(Value::Bool(true)))
    }

    /// Adds the flag that a volatile container has.
    ///
    /// # Errors
    /// [`Refusal::BadFlag`] when it says otherwise.
    pub fn say_volatile(&mut self, volatile: bool) -> Result<(), Refusal> {
        let said = self.flags.iter().any(|(name, _)| name == VOLATILE);
        if said && volatile != self.is_volatile() {
            let rule = "what \"volatile\" of the config says";
            return Err(Refusal::BadFlag { name: VOLATILE.to_owned(), rule });
        }
        if volatile && !said {
            self.flags.push((VOLATILE.to_owned(), Some(Value::Bool(true))));
        }
        Ok(())
    }
}

/// Takes the keys out of a new container's document. The first name becomes `name` where there is none.
///
/// # Errors
/// [`Refusal::BadKey`], or what is wrong with a name or map.
pub fn take(given: &mut Map<String, Value>) -> Result<Asked, Refusal> {
    let mut asked = Asked::default();
    for key in KEYS {
        let Some(value) = given.shift_remove(key).filter(|value| !value.is_null()) else { continue };
        let bad = |rule| Refusal::BadKey { key: key.to_owned(), rule };
        match (key, value) {
            ("names", Value::Array(names)) => {
                for name in names {
                    let name = Name::parse(name.as_str().ok_or_else(|| bad("an array of names"))?)?;
                    if !asked.names.contains(&name) {
                        asked.names.push(name);
                    }
                }
            }
            ("names", _) => return Err(bad("an array of names")),
            ("metadata", Value::String(text)) => asked.metadata = text,
            ("metadata", _) => return Err(bad("a string")),
            ("flags", Value::Object(flags)) => {
                asked.flags = flags.into_iter().map(|(name, value)| (name, Some(value))).collect();
            }
            ("flags", _) => return Err(bad("an object")),
            ("uidmap", value) => asked.uidmap = id_map::from_json(key, &value)?,
            (_, value) => asked.gidmap = id_map::from_json(key, &value)?,
        }
    }
    if asked.is_volatile() && !given.contains_key("volatile") {
        given.insert("volatile".to_owned(), Value::Bool(true));
    }
    if let Some(first) = asked.names.first().filter(|_| !given.contains_key("name")) {
        given.insert("name".to_owned(), Value::from(first.as_str()));
    }
    Ok(asked)
}

/// Refuses what a config would say newly that has an entry of its own.
///
/// # Errors
/// [`Refusal::BadKey`].
pub fn check_absent(old: &Map<String, Value>, new: &Map<String, Value>) -> Result<(), Refusal> {
    match KEYS.iter().find(|key| new.contains_key(**key) && new.get(**key) != old.get(**key)) {
        Some(key) => Err(Refusal::BadKey { key: (*key).to_owned(), rule: "nothing here: it has an entry of its own" }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::take;
    use crate::model::error::Refusal;

    #[test]
    fn keys_with_entries_of_their_own_are_taken_out() {
        let parse = |text: &str| serde_json::from_str::<super::Map<String, super::Value>>(text).unwrap();
        let mut given = parse(r#"{"x":1,"names":["a","b","a"],"metadata":"m","flags":{"f":[1]},"gidmap":null}"#);
        let asked = take(&mut given).unwrap();
        assert_eq!(given, parse(r#"{"x":1,"name":"a"}"#));
        assert_eq!(asked.names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((asked.metadata.as_str(), asked.flags.len(), asked.gidmap.as_str()), ("m", 1, ""));
        for bad in [r#"{"names":"a"}"#, r#"{"names":[1]}"#, r#"{"metadata":1}"#, r#"{"flags":[]}"#, r#"{"uidmap":{}}"#]
        {
            assert!(matches!(take(&mut parse(bad)), Err(Refusal::BadKey { .. })), "{bad}");
        }
    }
}
