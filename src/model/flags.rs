//! Flags of containers: any name with any JSON value; those that containers/storage knows have a type, and
//! the two labels come and go together.

use std::collections::BTreeMap;

use crate::model::error::Refusal;
use crate::model::json::{Value, render};

/// The label of what a container's files have on hosts with SELinux.
pub const MOUNT_LABEL: &str = "MountLabel";
/// The label that a container's processes have.
pub const PROCESS_LABEL: &str = "ProcessLabel";
/// Whether a container goes with the boot.
pub const VOLATILE: &str = "Volatile";
const MOUNT_OPTS: &str = "MountOpts";
/// The most bytes of a flag's name, as of a file's.
const MAX_NAME: usize = 255;
/// The most bytes of a flag's value.
pub const MAX_VALUE: usize = 64 << 10;

/// Checks a flag's name.
///
/// # Errors
/// [`Refusal::BadName`].
pub fn check_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > MAX_NAME || name.contains(['/', '\0']) || name == "." || name == ".." {
        let rule = "a flag's name is what a file's can be";
        return Err(Refusal::BadName { name: super::name::shorten(name), rule });
    }
    Ok(())
}

/// Checks one flag and gives its value as it is stored and served.
///
/// # Errors
/// [`Refusal::BadName`], [`Refusal::BadFlag`], [`Refusal::TooLarge`].
pub fn check(name: &str, value: &Value) -> Result<String, Refusal> {
    check_name(name)?;
    let rule = match name {
        MOUNT_LABEL | PROCESS_LABEL if !value.is_string() => Some("a string"),
        VOLATILE if !value.is_boolean() => Some("true or false"),
        MOUNT_OPTS if !value.as_array().is_some_and(|all| all.iter().all(Value::is_string)) => {
            Some("an array of strings")
        }
        _ => None,
    };
    if let Some(rule) = rule {
        return Err(Refusal::BadFlag { name: name.to_owned(), rule });
    }
    let text = String::from_utf8(render(value)).expect("JSON is UTF-8");
    if text.len() > MAX_VALUE {
        return Err(Refusal::TooLarge { what: "flag", limit: MAX_VALUE });
    }
    Ok(text)
}

/// Checks what all flags of a container are together, by name.
///
/// # Errors
/// [`Refusal::LoneLabel`].
pub fn check_all(flags: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let has = |name| flags.get(name).is_some_and(|value| value.trim_end() != "\"\"");
    match (has(MOUNT_LABEL), has(PROCESS_LABEL)) {
        (true, false) => Err(Refusal::LoneLabel { has: MOUNT_LABEL, lacks: PROCESS_LABEL }),
        (false, true) => Err(Refusal::LoneLabel { has: PROCESS_LABEL, lacks: MOUNT_LABEL }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{check, check_all};
    use serde_json::json;

    #[test]
    fn known_flags_have_types() {
        for (name, good, bad) in [
            ("MountLabel", json!("a:b"), json!(1)),
            ("ProcessLabel", json!(""), json!(null)),
            ("MountOpts", json!(["ro", "nodev"]), json!(["ro", 1])),
            ("Volatile", json!(true), json!("true")),
        ] {
            assert!(check(name, &good).is_ok() && check(name, &bad).is_err(), "{name}");
        }
        assert_eq!(check("x y", &json!({"a": [1, null]})).unwrap(), "{\n  \"a\": [\n    1,\n    null\n  ]\n}\n");
        for name in ["", ".", "..", "a/b", &"x".repeat(256)] {
            assert!(check(name, &json!(1)).is_err(), "{name}");
        }
    }

    #[test]
    fn labels_come_in_pairs() {
        let all = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), "\"l\"\n".to_owned())).collect();
        assert!(check_all(&all(&["MountLabel", "ProcessLabel", "x"])).is_ok());
        assert!(check_all(&all(&["x"])).is_ok());
        assert!(check_all(&all(&["MountLabel"])).is_err());
        assert!(check_all(&all(&["ProcessLabel"])).is_err());
    }
}
