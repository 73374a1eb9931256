//! Pod sandboxes and the containers in them, as CRI-O's RuntimeServer has them.

use std::fs;
use std::io;

use serde_json::{Value, json};

use crate::support::Mounted;
use crate::tools::{IMAGE, ask, make_image};

mod random;
mod refusals;
mod removing;
mod scripts;
mod showing;

/// The ID of the sandbox that [`sandbox`] asks for.
const POD: &str = "abababababababababababababababababababababababababababababababab";

fn with_image() -> (Mounted, String) {
    let tree = Mounted::new();
    let image = make_image(&tree);
    (tree, image)
}

/// A document for a sandbox called "shop" with the infra container "shop-infra".
fn sandbox() -> Value {
    json!({"podName": "shop", "podID": POD, "imageName": IMAGE, "containerName": "shop-infra"})
}

/// A document for a container in it.
fn member(name: &str) -> Value {
    json!({"podName": "shop", "podID": POD, "imageName": IMAGE, "containerName": name})
}

/// A document with other values for some keys; null takes one away.
fn with(document: &Value, others: Value) -> Value {
    let mut document = document.clone();
    for (key, value) in others.as_object().unwrap() {
        match value {
            Value::Null => drop(document.as_object_mut().unwrap().remove(key)),
            value => document[key] = value.clone(),
        }
    }
    document
}

fn make(tree: &Mounted, kind: &str, document: &Value) -> io::Result<String> {
    Ok(ask(tree, &format!("create/{kind}"), document.to_string())?.trim_end().to_owned())
}

/// A store with the sandbox and these containers in it; returns the containers' IDs.
fn furnished(names: &[&str]) -> (Mounted, Vec<String>) {
    let (tree, _) = with_image();
    assert_eq!(make(&tree, "sandbox", &sandbox()).unwrap(), POD);
    let ids = names.iter().map(|name| make(&tree, "ctr", &member(name)).unwrap()).collect();
    (tree, ids)
}

fn link(tree: &Mounted, below: &str) -> String {
    fs::read_link(tree.path(below)).unwrap_or_else(|error| panic!("{below}: {error}")).to_str().unwrap().to_owned()
}
