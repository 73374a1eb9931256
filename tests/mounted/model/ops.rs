//! The operations and their random choice. Names and IDs come from small sets, so that they collide.

use nix::errno::Errno;
use serde_json::{Value, json};

use super::documents::Doc;
use super::extras::TEXTS;
use super::items::{self, Writing};
use super::plain::{CONFIG, EDGES, Kind, Model, STATE, STATUSES};
use crate::support::Random;

#[derive(Clone, Debug)]
pub(super) enum Op {
    /// A directory of the tree and a new name in it.
    Mkdir(String, String),
    Rmdir(String, String),
    Unlink(String, String),
    Rename((String, String), (String, String), Way),
    /// A symlink's target and its name in `name/`.
    Link(String, String),
    Create(Kind, Input),
    /// Documents for `control`.
    Control(Input),
    /// A path to an object, an entry, whether to append, and in how many writes.
    Write(String, &'static str, bool, Input, usize),
    /// A path to an object, a flag, how that is opened, and what is written to it, if anything.
    Flag(String, &'static str, Opening, &'static str),
    /// A path to an object, and the key of an item that is written.
    Item(String, String, Writing),
    /// The same, and the size that it gets.
    Cut(String, String, usize),
    Open(String, &'static str, bool),
    /// A held handle, what is written to it, and whether the server dies in the middle of it.
    Put(usize, Input, bool),
    Read(usize),
    Close(usize),
    /// A call and a path that are always refused so.
    Never(&'static str, String, Errno),
    /// SIGKILL; whether to wait for the successor.
    Kill(bool),
    Remount,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Plain,
    NoReplace,
    Exchange,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opening {
    /// It is made, if it is not there.
    Create,
    /// It must be new.
    New,
    /// It must be there.
    Old,
    /// As `Create`; then the server dies.
    Dying,
}

#[derive(Clone, Debug)]
pub(super) enum Input {
    Docs(Vec<Doc>),
    /// What no document can be.
    Garbage(&'static str),
    /// The beginning of a document.
    Cut(&'static str),
    /// One value, with or without its newline.
    Line(String, bool),
    /// One whole content.
    Whole(String),
}

impl Input {
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Input::Docs(docs) => docs.iter().map(|doc| json!(doc).to_string() + "\n").collect::<String>().into_bytes(),
            Input::Garbage(text) | Input::Cut(text) => text.as_bytes().to_vec(),
            Input::Whole(text) => text.clone().into_bytes(),
            Input::Line(text, newline) => (text.clone() + if *newline { "\n" } else { "" }).into_bytes(),
        }
    }
}

const GARBAGE: [&str; 14] = [
    "{\"labels\":{\"a\":\"b\"}} and more\n",
    "{\"labels\":{}}\n}\n",
    "[1]\n",
    "\"text\"\n",
    "null\n",
    "7\n",
    "{\"a\":1,\"a\":2}\n",
    "{\"a\":1,}\n",
    "{\"a\":NaN}\n",
    "{\"a\":01}\n",
    "\u{feff}{}\n",
    "{\"a\":\"\\ud800\"}\n",
    "{\"a\":\"\t\"}\n",
    "{'a':1}\n",
];
const CUTS: [&str; 3] = ["{", "{\"labels\":{\"a\":\"b\"}", "{\"name\":\"cut"];
const BAD_NAMES: [&str; 5] = ["-x", "a b", "_x", "é", ".hidden"];
const PREFIXES: [&str; 4] = ["abcdef", "abcdef00", "123456", "fedcba98"];
const FLAGS: [&str; 6] = ["x", "two words", "MountLabel", "ProcessLabel", "MountOpts", "Volatile"];
const VALUES: [&str; 12] = [
    "",
    "1",
    " \"l\"\n",
    "\"other\"",
    "\"\"",
    "null",
    "true",
    "false",
    "[\"ro\"]",
    "[1.50,{\"b\":1,\"a\":[]}]",
    "{",
    "1 2",
];

/// A name of the small set; some look like prefixes of IDs.
fn name(random: &mut Random) -> String {
    match random.below(12) {
        0 => random.pick(&PREFIXES).to_string(),
        1 => "x".repeat(250 + random.below(6)),
        _ => format!("n{}", random.below(64)),
    }
}

fn bad_name(random: &mut Random) -> String {
    match random.below(4) {
        0 => "ab".repeat(32 + random.below(4)).to_uppercase(),
        _ => random.pick(&BAD_NAMES).to_string(),
    }
}

/// An ID of the small set, in groups with common beginnings.
fn id(random: &mut Random) -> String {
    let tail = format!("{}{}", random.below(2), random.below(8));
    format!("{:0<62}{tail}", format!("{}{}", random.pick(&PREFIXES), random.below(3)))
}

/// What people type for an object: mostly one that is there.
pub(super) fn reference(random: &mut Random, model: &Model, kind: Kind) -> String {
    let all = model.of(kind);
    if all.is_empty() || random.below(16) == 0 {
        return if random.below(2) == 0 { name(random) } else { id(random) };
    }
    let (id, object) = *random.pick(&all);
    match random.below(8) {
        0 | 1 => id.clone(),
        2 => id[..6 + random.below(12)].to_owned(),
        _ => random.pick(&object.names).0.clone(),
    }
}

/// A path that leads to an object.
pub(super) fn path(random: &mut Random, model: &Model) -> String {
    let kind = if random.below(4) == 0 { Kind::Pod } else { Kind::Ctr };
    let text = reference(random, model, kind);
    match random.below(6) {
        0 => format!("name/{text}"),
        1 => format!("id/{text}"),
        _ => format!("{}/{text}", dir(kind)),
    }
}

pub(super) fn dir(kind: Kind) -> &'static str {
    if kind == Kind::Ctr { "ctr" } else { "pod" }
}

/// Keys that any config may have, sometimes of a wrong type.
fn plain_keys(random: &mut Random, document: &mut Doc) {
    let values = [
        ("labels", json!({"tier": "front", "n": random.below(9).to_string()})),
        ("labels", json!({"tier": null, "deep": "x"})),
        ("command", json!(["sh", "-c", format!("exit {}", random.below(9))])),
        ("rootfsImageName", json!(["quay.io/a", "tab\tand\\back\nslash", ""][random.below(3)])),
        ("spec", json!({"ociVersion": "1.2.0", "process": {"args": ["sh"], "cwd": "/"}})),
        ("stopTimeout", json!(random.below(100))),
        ("user", json!("1000:ü")),
        ("cgroupParent", json!("/pods")),
        ("unknown", serde_json::from_str("[0.10, 9223372036854775809, -0, null, {\"b\": 1, \"a\": 2}]").unwrap()),
        ("later", json!({"x": {"y": random.below(9)}})),
    ];
    for _ in 0..random.below(4) {
        let (key, value) = random.pick(&values).clone();
        document.insert(key.to_owned(), value);
    }
    if random.below(24) == 0 {
        let wrong = [("labels", json!({"a": 1})), ("cgroupParent", json!(5)), ("name", json!(7)), ("id", json!("12"))];
        let (key, value) = random.pick(&wrong).clone();
        document.insert(key.to_owned(), value);
    }
}

fn dependencies(random: &mut Random, model: &Model, document: &mut Doc, earlier: &[Doc]) {
    let pod = document.get("pod").and_then(Value::as_str).and_then(|text| model.find(Kind::Pod, text).ok());
    let same: Vec<String> =
        model.of(Kind::Ctr).iter().filter(|(_, o)| o.pod == pod).map(|(id, _)| (*id).clone()).collect();
    let pick = |random: &mut Random| match (random.below(12), earlier.last().and_then(|doc| doc.get("name"))) {
        (0, _) => reference(random, model, Kind::Ctr),
        (1, _) => {
            let names = document.get("names").and_then(Value::as_array);
            let own = names.and_then(|names| names.last()).or(document.get("name"));
            own.and_then(Value::as_str).unwrap_or("n1").to_owned()
        }
        (2..6, Some(Value::String(name))) => name.clone(),
        _ if same.is_empty() => reference(random, model, Kind::Ctr),
        _ => {
            let id = random.pick(&same);
            [id.clone(), id[..20].to_owned(), model.objects[id].name().to_owned()][random.below(3)].clone()
        }
    };
    let mut needs = Doc::new();
    if random.below(3) == 0 {
        needs.insert((*random.pick(&EDGES)).to_owned(), json!(pick(random)));
    }
    if random.below(4) == 0 {
        let list: Vec<String> = (0..random.below(4)).map(|_| pick(random)).collect();
        needs.insert("Dependencies".to_owned(), json!(list));
    }
    document.extend(needs);
}

fn new_document(random: &mut Random, model: &Model, kind: Kind, earlier: &[Doc]) -> Doc {
    let mut document = Doc::new();
    plain_keys(random, &mut document);
    if random.below(3) > 0 {
        let name = if random.below(20) == 0 { bad_name(random) } else { name(random) };
        document.insert("name".to_owned(), json!(name));
    }
    if random.below(4) == 0 {
        document.insert("id".to_owned(), json!(id(random)));
    }
    if random.below(12) == 0 {
        let key = if kind == Kind::Ctr { "createdTime" } else { "created" };
        let time = if random.below(3) == 0 { "yesterday" } else { "2019-04-01T12:00:00.5Z" };
        document.insert(key.to_owned(), json!(time));
    }
    if kind == Kind::Ctr {
        if random.below(3) == 0 {
            document.insert("pod".to_owned(), json!(reference(random, model, Kind::Pod)));
        }
        extra_keys(random, &mut document);
        dependencies(random, model, &mut document, earlier);
    }
    document
}

/// What is kept in entries of its own, sometimes of a wrong type.
fn extra_keys(random: &mut Random, document: &mut Doc) {
    let label = |random: &mut Random| random.pick(&[json!("l"), json!("l"), json!(""), json!(1)]).clone();
    let flags = [
        json!({"x": [1.50, null], "MountOpts": ["ro"]}),
        json!({"MountLabel": label(random), "ProcessLabel": label(random)}),
        json!({"ProcessLabel": label(random), "x": {}}),
        json!({"Volatile": false}),
        json!({"a/b": 1}),
        Value::Null,
    ];
    let range = |random: &mut Random| json!({"container_id": 9 * random.below(3), "host_id": 9 * random.below(9), "size": random.below(10)});
    let names: Vec<String> = (0..random.below(4)).map(|_| name(random)).collect();
    let values = [
        ("names", json!(names)),
        ("names", json!(names)),
        ("names", json!(*random.pick(&[json!("n1"), json!([1]), json!(["-x"]), Value::Null]))),
        ("metadata", random.pick(&[json!("ü\r\n\u{0}"), json!(""), json!(1)]).clone()),
        ("flags", random.pick(&flags).clone()),
        ("flags", random.pick(&flags).clone()),
        ("uidmap", json!([range(random), range(random)])),
        ("gidmap", json!([range(random)])),
    ];
    for _ in 0..[0, 0, 1, 3][random.below(4)] {
        let (key, value) = random.pick(&values).clone();
        document.insert(key.to_owned(), value);
    }
}

fn documents(random: &mut Random, mut one: impl FnMut(&mut Random, &[Doc]) -> Doc) -> Input {
    match random.below(24) {
        0 => Input::Garbage(GARBAGE[random.below(GARBAGE.len())]),
        1 => Input::Cut(CUTS[random.below(CUTS.len())]),
        many => {
            let mut all = vec![];
            for _ in 0..if many < 8 { 1 + random.below(4) } else { 1 } {
                let document = one(random, &all);
                all.push(document);
            }
            Input::Docs(all)
        }
    }
}

/// A change of a config: fixed keys as they are or otherwise, names, and what any config has.
fn config_edit(random: &mut Random, model: &Model, old: Option<&Doc>) -> Doc {
    let mut document = Doc::new();
    plain_keys(random, &mut document);
    if random.below(5) == 0 {
        let name = if random.below(6) == 0 { bad_name(random) } else { name(random) };
        document.insert("name".to_owned(), json!(name));
    }
    if let Some(old) = old.filter(|_| random.below(3) == 0) {
        let keys: Vec<&String> = old.keys().collect();
        let key = *random.pick(&keys);
        document.insert(key.clone(), if random.below(4) == 0 { Value::Null } else { old[key].clone() });
    }
    if random.below(8) == 0 {
        let keys = ["id", "pod", "netNsCtr", "Dependencies", "createdTime", "created", "ipcNsCtr", "names", "flags"];
        let key = *random.pick(&keys);
        let value = match key {
            "id" => json!(id(random)),
            "pod" => json!([reference(random, model, Kind::Pod), String::new()][random.below(2)]),
            "Dependencies" if random.below(2) == 0 => json!([]),
            "Dependencies" => json!([reference(random, model, Kind::Ctr)]),
            "createdTime" | "created" => json!("2001-01-01T00:00:00Z"),
            "names" | "flags" => Value::Null,
            _ => json!(reference(random, model, Kind::Ctr)),
        };
        document.insert(key.to_owned(), value);
    }
    document
}

fn state_edit(random: &mut Random) -> Doc {
    let values = [
        ("state", json!(*random.pick(&STATUSES))),
        ("state", json!(random.below(9))),
        ("state", json!(*random.pick(&["up", "Running", "9"]))),
        ("state", json!(9)),
        ("pid", json!(random.below(5_000_000))),
        ("exitCode", json!(random.below(300) as i64 - 100)),
        ("exitCode", json!(1_i64 << 31)),
        ("netns", json!("/nonexistent/netns")),
        ("startedTime", json!("2024-02-30T00:00:00Z")),
        ("oomKilled", json!(random.below(2) == 0)),
        ("mounted", json!(random.below(4) == 0)),
        ("mountPoint", json!("")),
        ("CgroupPath", json!(["/a", "/b"][random.below(2)])),
        ("other", json!({"k": random.below(4)})),
        ("pid", Value::Null),
        ("state", Value::Null),
    ];
    (0..1 + random.below(3)).map(|_| random.pick(&values).clone()).map(|(key, value)| (key.to_owned(), value)).collect()
}

fn line(random: &mut Random, entry: &str) -> Input {
    let text = match (entry, random.below(8)) {
        (_, 0) => random.pick(&["", "a\nb", "x\r", "tab\t", " ", "-1", "007", "+3"]).to_string(),
        (_, 1) if random.below(6) == 0 => "9".repeat(5000),
        ("name", 2) => bad_name(random),
        ("name", _) => name(random),
        ("status", 2) => random.below(11).to_string(),
        ("status", _) => random.pick(&STATUSES).to_string(),
        ("pid", _) => random.below(5_000_000).to_string(),
        ("mounted", _) => random.pick(&["1", "0", "", "yes"]).to_string(),
        ("exit-code", _) => (random.below(500) as i64 - 100).to_string(),
        _ => random.pick(&["/proc/self/ns/net", "/nonexistent/netns", "relative", ""]).to_string(),
    };
    Input::Line(text, random.below(4) > 0)
}

/// A whole content of an entry that takes such.
fn whole(random: &mut Random, model: &Model, entry: &str, target: Option<&String>) -> Input {
    let own = target.map_or(vec![], |id| model.objects[id].names.iter().map(|(name, _)| name.clone()).collect());
    let line = |random: &mut Random| match (entry, random.below(16)) {
        ("names", 0) => bad_name(random),
        ("names", 1) => String::new(),
        ("names", 2..9) if !own.is_empty() => random.pick(&own).clone(),
        ("names", _) => name(random),
        ("metadata", _) => random.pick(&["{\"a\": 1}", "ü\r", "\0", ""]).to_string(),
        (_, 0) => random.pick(&["0 0 0", "0 0", "a b c", "-1 0 1", "0 4294967295 1", "0 0 1 1", " "]).to_string(),
        (_, 1) => String::new(),
        _ => format!(" {}\t{} {}", 10 * random.below(9), 10 * random.below(9), 1 + random.below(12)),
    };
    let lines: Vec<String> = (0..1 + random.below(3)).map(|_| line(random)).collect();
    let end = if lines == [""] || random.below(4) > 0 { "\n" } else { "" };
    Input::Whole(match random.below(64) {
        0 if entry != "metadata" => "n1\n".repeat(30_000),
        _ => lines.join("\n") + end,
    })
}

const ENTRIES: [&str; 17] = [
    "config",
    "config",
    "config",
    "state",
    "state",
    "name",
    "status",
    "pid",
    "exit-code",
    "netns",
    "mounted",
    "names",
    "names",
    "names",
    "metadata",
    "uidmap",
    "gidmap",
];

/// What is written to an entry of an object.
fn input(random: &mut Random, model: &Model, target: Option<&String>, entry: &str) -> Input {
    let old = target.map(|id| model.objects[id].docs[if entry == "config" { CONFIG } else { STATE }].clone());
    match entry {
        "config" => documents(random, |random, _| config_edit(random, model, old.as_ref())),
        "state" => documents(random, |random, _| state_edit(random)),
        entry if TEXTS.contains(&entry) => whole(random, model, entry, target),
        _ => line(random, entry),
    }
}

fn never(random: &mut Random, model: &Model) -> Op {
    let object = model.objects.iter().nth(random.below(model.objects.len().max(1)));
    let own = object.map_or("ctr".to_owned(), |(id, o)| format!("{}/{id}", dir(o.kind)));
    let (call, path, errno) = match random.below(16) {
        0 => ("mkdir", "new".to_owned(), Errno::EPERM),
        1 if object.is_some() => ("mkdir", own + "/new", Errno::EPERM),
        2 => ("creat", "ctr/new!".to_owned(), Errno::EPERM),
        3 => ("creat", own + "/new", Errno::EPERM),
        4 => ("symlink", "ctr/new!".to_owned(), Errno::EPERM),
        5 => ("unlink", "version".to_owned(), Errno::EPERM),
        6 => ("rmdir", "table".to_owned(), Errno::EPERM),
        7 => ("chmod", own, Errno::EPERM),
        8 => ("open", "table/ctr".to_owned(), Errno::EACCES),
        9 => ("truncate", "check".to_owned(), Errno::EACCES),
        10 if object.is_some() => ("open", own + "/health", Errno::EACCES),
        11 if object.is_some() => ("truncate", own + "/raw", Errno::EACCES),
        12 if object.is_some() => ("unlink", own + "/config", Errno::EPERM),
        13 if object.is_some() => ("open", own + "/nothing", Errno::ENOENT),
        14 => ("mkdir", "id/new".to_owned(), Errno::EPERM),
        _ => ("utimes", "control".to_owned(), Errno::EPERM),
    };
    Op::Never(call, path, errno)
}

fn order(random: &mut Random, model: &Model) -> Doc {
    let document = match random.below(14) {
        0 => json!({"verb": "start", "ctr": "n1"}),
        1 => json!({"verb": "remove"}),
        2 => json!({"verb": "remove", "ctr": "n1", "pod": "n2"}),
        3 => json!({"verb": "remove", "pod": reference(random, model, Kind::Pod), "recursive": "yes"}),
        4 => json!({"verb": "remove", "ctr": reference(random, model, Kind::Ctr), "force": true}),
        5..8 => {
            json!({"verb": "remove", "pod": reference(random, model, Kind::Pod), "recursive": random.below(3) > 0})
        }
        8 => json!({"verb": "remove", "ctr": reference(random, model, Kind::Ctr)}),
        _ => {
            // Often a container with all that depends on it, directly.
            let mut names = vec![reference(random, model, Kind::Ctr)];
            if let Ok(id) = model.find(Kind::Ctr, &names[0]) {
                names.extend(model.dependents(&id));
            }
            json!({"verb": "remove", "ctr": names})
        }
    };
    document.as_object().unwrap().clone()
}

/// The next operation. `held` are the objects and entries of the open handles.
pub(super) fn choose(random: &mut Random, model: &Model, held: &[(String, &'static str)]) -> Op {
    let room = |kind, most: usize| model.of(kind).len() < most;
    let kind = if random.below(5) == 0 { Kind::Pod } else { Kind::Ctr };
    match random.below(475) {
        0 | 1 => Op::Kill(random.below(2) == 0),
        2 if random.below(3) == 0 => Op::Remount,
        0..60 if room(kind, if kind == Kind::Ctr { 24 } else { 6 }) => {
            let dir = match random.below(4) {
                0 if kind == Kind::Ctr => format!("pod/{}/containers", reference(random, model, Kind::Pod)),
                _ => dir(kind).to_owned(),
            };
            let new = match random.below(12) {
                0 => bad_name(random),
                1 => reference(random, model, kind),
                2..6 => id(random),
                _ => name(random),
            };
            Op::Mkdir(dir, new)
        }
        60..110 if room(kind, if kind == Kind::Ctr { 30 } else { 8 }) => {
            Op::Create(kind, documents(random, |random, earlier| new_document(random, model, kind, earlier)))
        }
        110..135 => Op::Rmdir(removal_dir(random, kind), removal(random, model, kind)),
        135..155 => Op::Unlink(removal_dir(random, kind), reference(random, model, kind)),
        155..175 => Op::Control(documents(random, |random, _| order(random, model))),
        175..225 => rename(random, model, kind),
        225..240 => never(random, model),
        240..255 if held.len() < 4 => {
            Op::Open(path(random, model), ENTRIES[random.below(ENTRIES.len())], random.below(2) == 0)
        }
        255..295 if !held.is_empty() => {
            let which = random.below(held.len());
            let (id, entry) = &held[which];
            match random.below(6) {
                0 => Op::Close(which),
                1 | 2 => Op::Read(which),
                _ => {
                    let target = model.objects.contains_key(id).then_some(id);
                    let input = input(random, model, target, entry);
                    match input {
                        Input::Cut(_) | Input::Line(_, false) => Op::Read(which),
                        input => Op::Put(which, input, random.below(16) == 0),
                    }
                }
            }
        }
        295..305 => link(random, model),
        305..325 => {
            let opening = match random.below(16) {
                0 => Opening::Dying,
                1..4 => Opening::New,
                4..7 => Opening::Old,
                _ => Opening::Create,
            };
            Op::Flag(path(random, model), FLAGS[random.below(6)], opening, VALUES[random.below(12)])
        }
        333..368 => items::choose(random, model),
        325..333 => Op::Unlink(path(random, model) + "/flags", (*random.pick(&FLAGS)).to_owned()),
        _ => {
            let path = path(random, model);
            let entry = *random.pick(&ENTRIES);
            let (top, text) = path.split_once('/').unwrap();
            let kind = if top == "pod" { Kind::Pod } else { Kind::Ctr };
            let target = model.find(kind, text).ok();
            let input = input(random, model, target.as_ref(), entry);
            let whole = match &input {
                Input::Docs(docs) => docs.len() > 1,
                Input::Garbage(_) => true,
                Input::Cut(_) => false,
                Input::Line(text, _) => text.contains('\n'),
                Input::Whole(_) => true,
            };
            let pieces = if whole { 1 } else { 1 + random.below(3) };
            Op::Write(path, entry, random.below(2) == 0, input, pieces)
        }
    }
}

fn removal_dir(random: &mut Random, kind: Kind) -> String {
    match random.below(12) {
        0 => "name".to_owned(),
        1 => "id".to_owned(),
        _ => dir(kind).to_owned(),
    }
}

fn removal(random: &mut Random, model: &Model, kind: Kind) -> String {
    let text = reference(random, model, kind);
    match model.find(kind, &text) {
        Ok(id) if random.below(4) > 0 => id,
        _ => text,
    }
}

fn link(random: &mut Random, model: &Model) -> Op {
    let kind = if random.below(8) == 0 { Kind::Pod } else { Kind::Ctr };
    let to = reference(random, model, kind);
    let to = match random.below(3) {
        0 => to,
        1 => format!("../name/{to}"),
        _ => format!("../{}/{to}", dir(kind)),
    };
    Op::Link(to, if random.below(12) == 0 { bad_name(random) } else { name(random) })
}

fn rename(random: &mut Random, model: &Model, kind: Kind) -> Op {
    let way = [Way::Plain, Way::Plain, Way::NoReplace, Way::Exchange][random.below(4)];
    let from = removal_dir(random, kind);
    let from = if random.below(2) == 0 { "name".to_owned() } else { from };
    let to = if random.below(12) == 0 { removal_dir(random, kind) } else { from.clone() };
    let name = match random.below(10) {
        0 => bad_name(random),
        1..4 => reference(random, model, kind),
        _ if way == Way::Exchange => reference(random, model, kind),
        _ => name(random),
    };
    let old = reference(random, model, kind);
    // Often another name of the same object.
    let name = match model.named(&old) {
        Some((_, object)) if random.below(6) == 0 => random.pick(&object.names).0.clone(),
        _ => name,
    };
    Op::Rename((from, old), (to, name), way)
}
