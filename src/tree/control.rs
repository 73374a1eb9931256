//! `control`: orders as JSON documents, for what no file operation says.
//!
//! One table has every verb: its keys, how its document is read, and an example. Orders that one write
//! completes are carried out together, or not at all; a task, which may last, stands alone.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::handle::State;
use super::write::answer;
use super::{Result, Tree};
use crate::engine::{Order, Origin, Task};
use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::json::parse;
use crate::model::name::shorten;
use crate::model::record::{Answer, Change};

type Document = Map<String, Value>;
type Read = std::result::Result<Wish, Refusal>;

/// What a document asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Wish {
    /// One step, together with others.
    Order(Order),
    /// Something that may last, for a thread of its own.
    Task(Task),
}

/// A verb of `control`.
struct Verb {
    name: &'static str,
    /// The keys that it has beside `verb`.
    keys: &'static [&'static str],
    read: fn(&Document) -> Read,
    /// Lines, each a complete document.
    example: &'static str,
    /// Whether it is a task.
    lasts: bool,
}

/// Every verb.
static VERBS: &[Verb] = &[
    Verb {
        name: "remove",
        keys: &["ctr", "pod", "recursive"],
        read: remove,
        example: "{\"verb\": \"remove\", \"ctr\": [\"web\", \"db\"]}\n\
                  {\"verb\": \"remove\", \"pod\": \"shop\", \"recursive\": true}\n",
        lasts: false,
    },
    Verb {
        name: "metadata",
        keys: &["ctr", "text"],
        read: metadata,
        example: "{\"verb\": \"metadata\", \"ctr\": \"web\", \"text\": \"\"}\n",
        lasts: false,
    },
    Verb {
        name: "flags",
        keys: &["ctr", "set"],
        read: flags,
        example: "{\"verb\": \"flags\", \"ctr\": \"web\", \"set\": {\"Frozen\": true, \"Note\": null}}\n",
        lasts: false,
    },
    Verb {
        name: "wipe",
        keys: &["images"],
        read: wipe,
        example: "{\"verb\": \"wipe\", \"images\": false}\n",
        lasts: false,
    },
    Verb { name: "gc", keys: &["dry-run"], read: gc, example: "{\"verb\": \"gc\", \"dry-run\": true}\n", lasts: true },
    Verb {
        name: "check",
        keys: &["contents"],
        read: check,
        example: "{\"verb\": \"check\", \"contents\": true}\n",
        lasts: true,
    },
    Verb {
        name: "repair",
        keys: &["force", "contents"],
        read: repair,
        example: "{\"verb\": \"repair\", \"force\": false, \"contents\": false}\n",
        lasts: true,
    },
];

/// A complete document of each verb.
pub(super) fn examples() -> String {
    VERBS.iter().map(|verb| verb.example).collect()
}

/// Whether the text of a document asks for a task.
pub(super) fn is_task(text: &[u8]) -> bool {
    let Ok(Value::Object(document)) = parse(text) else { return false };
    verb_of(&document).is_ok_and(|verb| verb.lasts)
}

fn verb_of(document: &Document) -> std::result::Result<&'static Verb, Refusal> {
    match document.get("verb") {
        Some(Value::String(name)) => {
            let verb = VERBS.iter().find(|verb| verb.name == name);
            let verbs = || VERBS.iter().map(|verb| verb.name).collect();
            verb.ok_or_else(|| Refusal::UnknownVerb { verb: shorten(name), verbs: verbs() })
        }
        _ => Err(bad("verb", "a string: what is to be done")),
    }
}

fn wish(document: &Document) -> Read {
    let verb = verb_of(document)?;
    match document.keys().find(|key| *key != "verb" && !verb.keys.contains(&key.as_str())) {
        Some(key) => Err(Refusal::UnknownKey { verb: verb.name, key: shorten(key), keys: verb.keys }),
        None => (verb.read)(document),
    }
}

fn remove(document: &Document) -> Read {
    let order = match (document.get("ctr"), document.get("pod")) {
        (Some(Value::String(one)), None) if !document.contains_key("recursive") => Order::Ctrs(vec![one.clone()]),
        (Some(Value::Array(all)), None) if !document.contains_key("recursive") => {
            let names = all.iter().map(|name| name.as_str().map(str::to_owned));
            let names = names.collect::<Option<Vec<_>>>();
            Order::Ctrs(names.ok_or_else(|| bad("ctr", "a name or an array of names"))?)
        }
        (None, Some(Value::String(pod))) => Order::Pod { pod: pod.clone(), recursive: switch(document, "recursive")? },
        (Some(_), None) if !document.contains_key("recursive") => {
            return Err(bad("ctr", "a name or an array of names"));
        }
        _ => return Err(bad("verb", "either \"ctr\" or \"pod\" beside it, and \"recursive\" with \"pod\" only")),
    };
    Ok(Wish::Order(order))
}

fn metadata(document: &Document) -> Read {
    match (document.get("ctr"), document.get("text")) {
        (Some(Value::String(ctr)), Some(Value::String(text))) => {
            Ok(Wish::Order(Order::Metadata { ctr: ctr.clone(), text: text.clone() }))
        }
        (Some(Value::String(_)), _) => Err(bad("text", "a string, which may be empty")),
        _ => Err(bad("ctr", "a name")),
    }
}

fn flags(document: &Document) -> Read {
    match (document.get("ctr"), document.get("set")) {
        (Some(Value::String(ctr)), Some(Value::Object(set))) => {
            let set = set.iter().map(|(name, value)| (name.clone(), Some(value.clone()).filter(|v| !v.is_null())));
            Ok(Wish::Order(Order::Flags { ctr: ctr.clone(), set: set.collect() }))
        }
        (Some(Value::String(_)), _) => Err(bad("set", "an object: each flag with its value, null to clear it")),
        _ => Err(bad("ctr", "a name")),
    }
}

fn wipe(document: &Document) -> Read {
    Ok(Wish::Order(Order::Wipe { images: switch(document, "images")? }))
}

fn gc(document: &Document) -> Read {
    Ok(Wish::Task(Task::Gc { dry_run: switch(document, "dry-run")? }))
}

fn check(document: &Document) -> Read {
    Ok(Wish::Task(Task::Check { contents: switch(document, "contents")? }))
}

fn repair(document: &Document) -> Read {
    Ok(Wish::Task(Task::Repair { force: switch(document, "force")?, contents: switch(document, "contents")? }))
}

/// A key that is true or false, false where it is absent.
fn switch(document: &Document, key: &str) -> std::result::Result<bool, Refusal> {
    match document.get(key) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(bad(key, "true or false")),
    }
}

fn bad(key: &str, rule: &'static str) -> Refusal {
    Refusal::BadKey { key: key.to_owned(), rule }
}

impl Tree {
    /// Carries out what one write asks for; the handle then has a line of result for each.
    pub(super) fn commit_control(
        &self,
        origin: Origin,
        documents: &[Document],
        state: &mut State,
    ) -> Result<Vec<Change>> {
        let (mut orders, mut tasks) = (Vec::new(), Vec::new());
        for document in documents {
            match wish(document)? {
                Wish::Order(order) => orders.push(order),
                Wish::Task(task) => tasks.push(task),
            }
        }
        let done = match (tasks.as_slice(), orders.is_empty()) {
            ([], _) => self.engine.carry_out(origin, orders)?,
            ([task], true) => self.engine.perform(origin, *task)?,
            _ => return Err(bad("verb", "one that stands alone in its write, for it may last").into()),
        };
        self.unpin(&done.answer);
        match done.answer {
            Answer::Removed(removed) => answer(state, removed.into_iter().map(ids_line)),
            Answer::Lines(lines) => answer(state, lines.into_iter().map(|line| line + "\n")),
            Answer::Done | Answer::Objects(_) | Answer::Version(_) => {}
        }
        Ok(done.changes)
    }
}

fn ids_line(mut ids: Vec<[u8; 32]>) -> String {
    // A pod and its infra container have one.
    let mut seen = HashSet::new();
    ids.retain(|id| seen.insert(*id));
    let ids: Vec<String> = ids.into_iter().map(|id| Id::from_bytes(id).to_string()).collect();
    ids.join(" ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::{Document, VERBS, examples, is_task, wish};
    use crate::model::json::{Value, parse};

    fn document(line: &str) -> Document {
        match parse(line.as_bytes()) {
            Ok(Value::Object(document)) => document,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_example_is_an_order_of_its_verb() {
        for verb in VERBS {
            for line in verb.example.lines() {
                let document = document(line);
                assert_eq!(document["verb"], verb.name);
                assert!(wish(&document).is_ok(), "{line}");
                assert_eq!(is_task(line.as_bytes()), verb.lasts);
            }
        }
        assert_eq!(examples().lines().count(), VERBS.iter().map(|verb| verb.example.lines().count()).sum::<usize>());
    }
}
