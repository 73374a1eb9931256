//! What an operation should answer: what the kernel says of the path, then what the model says.

use std::collections::BTreeSet;

use nix::errno::Errno;
use serde_json::{Value, json};

use super::documents::{Doc, rendered, text};
use super::extras::TEXTS;
use super::ops::{Input, Op, Opening, Way};
use super::plain::{CONFIG, Fresh, Kind, METADATA, Model, STATE, STATUSES, Verdict, is_id, is_name, refuse_unless};

/// An open handle: the object it was opened on, and the version that it has read.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub id: String,
    pub made: u64,
    pub entry: &'static str,
    pub append: bool,
    pub seen: Option<u64>,
}

/// Does an operation on the model. On an error the model may be half changed: the caller drops it.
pub(super) fn expect(model: &mut Model, held: &mut [Held], op: &Op, fresh: &[Fresh]) -> Verdict<Vec<String>> {
    let done = vec![];
    match op {
        Op::Mkdir(dir, name) => mkdir(model, dir, name, &fresh[0]).map(|_| done),
        Op::Rmdir(dir, name) => match target(model, dir, name)?.ok_or(Errno::ENOENT)? {
            (true, _) => take(model, dir, name).map(|_| done),
            (false, _) => Err(Errno::ENOTDIR),
        },
        Op::Unlink(dir, flag) if dir.ends_with("/flags") => {
            let id = opened(model, dir.trim_end_matches("/flags"), "flags", true)?;
            model.set_flag(&id, flag, None).map(|()| done)
        }
        Op::Unlink(dir, key) if dir.ends_with("/data") => {
            model.remove_item(dir.trim_end_matches("/data"), key).map(|()| done)
        }
        Op::Unlink(dir, name) => match target(model, dir, name)?.ok_or(Errno::ENOENT)? {
            (true, _) => Err(Errno::EISDIR),
            (false, _) if dir == "name" => model.remove_name(name).map(|()| done),
            (false, _) if dir == "id" => Err(Errno::EPERM),
            // So that a hasty rm(1) costs little.
            (false, id) if !model.objects[&id].items.is_empty() => Err(Errno::EBUSY),
            (false, _) => take(model, dir, name).map(|_| done),
        },
        Op::Rename(from, to, way) if from.0.ends_with("/data") => model.rename_item(from, to, *way).map(|()| done),
        Op::Rename(from, to, way) => rename(model, from, to, *way).map(|_| done),
        Op::Link(to, name) => link(model, to, name).map(|()| done),
        Op::Create(kind, input) => {
            let docs = documents(input)?;
            docs.iter().zip(fresh).map(|(doc, fresh)| model.create(*kind, doc, None, fresh)).collect()
        }
        Op::Control(input) => {
            let orders: Vec<Order> = documents(input)?.iter().map(order).collect::<Verdict<_>>()?;
            orders.iter().map(|order| carry_out(model, order)).collect()
        }
        Op::Write(path, entry, append, input, _) => {
            let id = opened(model, path, entry, true)?;
            write(model, &id, entry, *append, input).map(|_| done)
        }
        Op::Flag(path, name, opening, text) => flag(model, path, name, *opening, text).map(|()| done),
        Op::Item(path, key, writing) => model.write_item(path, key, writing).map(|()| done),
        Op::Cut(path, key, size) => model.cut_item(path, key, *size).map(|()| done),
        Op::Open(path, entry, _) => opened(model, path, entry, true).map(|_| done),
        Op::Read(which) => {
            let held = &mut held[*which];
            alive(model, held)?;
            held.seen = version(model, held);
            Ok(vec![content(model, &held.id, held.entry)])
        }
        Op::Put(which, input, _) => {
            let held = &mut held[*which];
            alive(model, held)?;
            if document(held.entry).is_some() {
                documents(input)?;
            }
            refuse_unless(held.seen.is_none() || held.seen == version(model, held), Errno::ESTALE)?;
            write(model, &held.id, held.entry, held.append, input)?;
            held.seen = held.seen.and(version(model, held));
            Ok(done)
        }
        Op::Never(_, _, errno) => Err(*errno),
        Op::Close(_) | Op::Kill(_) | Op::Remount => Ok(done),
    }
}

fn alive(model: &Model, held: &Held) -> Verdict<()> {
    let same = model.objects.get(&held.id).is_some_and(|object| object.made == held.made);
    if same { Ok(()) } else { Err(Errno::ESTALE) }
}

/// The version of what a handle reads and writes, of what has versions.
fn version(model: &Model, held: &Held) -> Option<u64> {
    let place = if held.entry == "metadata" { Some(METADATA) } else { document(held.entry) };
    place.map(|place| model.objects[&held.id].versions[place])
}

pub(super) fn kind_of(dir: &str) -> Kind {
    if dir == "pod" { Kind::Pod } else { Kind::Ctr }
}

/// The object that a path like `ctr/web` leads to.
pub(super) fn resolve(model: &Model, path: &str) -> Verdict<String> {
    match path.split_once('/').unwrap() {
        ("name", name) => model.named(name).map(|(id, _)| id.clone()).ok_or(Errno::ENOENT),
        ("id", id) => model.objects.get_key_value(id).map(|(id, _)| id.clone()).ok_or(Errno::ENOENT),
        (dir, text) => model.find(kind_of(dir), text),
    }
}

/// What is at a name: whether a directory, and which object. Two names of one directory that are
/// symlinks to one object are one inode, but in `name/`.
fn target(model: &Model, dir: &str, name: &str) -> Verdict<Option<(bool, String)>> {
    match resolve(model, &format!("{dir}/{name}")) {
        Ok(id) => Ok(Some((is_id(name) && dir != "id", id))),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn mkdir(model: &mut Model, dir: &str, name: &str, fresh: &Fresh) -> Verdict<String> {
    let (kind, pod) = match dir.strip_suffix("/containers") {
        Some(pod) => (Kind::Ctr, Some(resolve(model, pod)?)),
        None => (kind_of(dir), None),
    };
    match model.find(kind, name) {
        Ok(id) if pod.is_none() || model.objects[&id].pod == pod => return Err(Errno::EEXIST),
        Ok(_) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    let key = if is_id(name) { "id" } else { "name" };
    model.create(kind, &Doc::from_iter([(key.to_owned(), json!(name))]), pod, fresh)
}

fn take(model: &mut Model, dir: &str, name: &str) -> Verdict<()> {
    let id = model.find_exact(kind_of(dir), name)?;
    model.remove(&[id].into())
}

fn rename(model: &mut Model, from: &(String, String), to: &(String, String), way: Way) -> Verdict<()> {
    let source = target(model, &from.0, &from.1)?.ok_or(Errno::ENOENT)?;
    let over = target(model, &to.0, &to.1)?;
    match (&over, way) {
        (Some(_), Way::NoReplace) => return Err(Errno::EEXIST),
        (None, Way::Exchange) => return Err(Errno::ENOENT),
        (Some(over), _) if *over == source && from.0 == to.0 && (from.0 != "name" || from.1 == to.1) => return Ok(()),
        (Some((is_dir, _)), Way::Plain) if *is_dir != source.0 => {
            return Err(if source.0 { Errno::ENOTDIR } else { Errno::EISDIR });
        }
        _ => {}
    }
    if from.0 != to.0 || from.0 == "id" {
        return Err(Errno::EPERM);
    }
    let exact = |name: &str| {
        from.0 == "name" || (!is_id(name) && model.named(name).is_some_and(|(_, o)| o.kind == kind_of(&from.0)))
    };
    if !exact(&from.1) || (way == Way::Exchange && !exact(&to.1)) {
        return Err(Errno::EPERM);
    }
    let moves = from.0 == "name";
    match way {
        Way::Exchange => model.rename(moves, &from.1, &to.1, true),
        _ if !is_name(&to.1) => return Err(Errno::EINVAL),
        _ if model.named(&to.1).is_some() => return Err(Errno::EEXIST),
        _ => model.rename(moves, &from.1, &to.1, false),
    }
    Ok(())
}

/// One more name for the container that a symlink's target means.
fn link(model: &mut Model, to: &str, name: &str) -> Verdict<()> {
    refuse_unless(model.named(name).is_none(), Errno::EEXIST)?;
    let (above, last) = to.rsplit_once('/').unwrap_or(("", to));
    refuse_unless(!above.ends_with("pod"), Errno::EPERM)?;
    let id = match model.find(Kind::Ctr, last) {
        Err(Errno::ENOENT) if model.find(Kind::Pod, last).is_ok() => Err(Errno::EPERM),
        found => found,
    }?;
    refuse_unless(is_name(name), Errno::EINVAL)?;
    model.set_names(&id, true, vec![name.to_owned()])
}

/// A flag that is opened and not written is not there.
fn flag(model: &mut Model, path: &str, name: &str, opening: Opening, text: &str) -> Verdict<()> {
    let id = opened(model, path, "flags", true)?;
    match (opening, model.objects[&id].flags.contains_key(name)) {
        (Opening::New, true) => Err(Errno::EEXIST),
        (Opening::Old, false) => Err(Errno::ENOENT),
        _ if text.is_empty() => Ok(()),
        _ => {
            let value: Value = serde_json::from_str(text).map_err(|_| Errno::EINVAL)?;
            model.set_flag(&id, name, Some(&value))
        }
    }
}

fn documents(input: &Input) -> Verdict<&Vec<Doc>> {
    match input {
        Input::Docs(docs) => Ok(docs),
        _ => Err(Errno::EINVAL),
    }
}

/// Which containers, or which pod and whether with its containers.
enum Order {
    Ctrs(Vec<String>),
    Pod(String, bool),
}

fn order(document: &Doc) -> Verdict<Order> {
    let keys: Vec<&str> = document.keys().map(String::as_str).filter(|key| *key != "verb").collect();
    match (document.get("verb").and_then(Value::as_str), &*keys) {
        (Some("remove"), ["ctr"]) => match &document["ctr"] {
            Value::Array(all) => Ok(Order::Ctrs(all.iter().map(|one| one.as_str().unwrap().to_owned()).collect())),
            one => Ok(Order::Ctrs(vec![one.as_str().unwrap().to_owned()])),
        },
        (Some("remove"), ["pod", "recursive"]) => match &document["recursive"] {
            Value::Bool(recursive) => Ok(Order::Pod(text(document, "pod").unwrap(), *recursive)),
            _ => Err(Errno::EINVAL),
        },
        _ => Err(Errno::EINVAL),
    }
}

/// The line that a removal answers: members before their pod, older containers first.
fn carry_out(model: &mut Model, order: &Order) -> Verdict<String> {
    let ids: BTreeSet<String> = match order {
        Order::Ctrs(names) => names.iter().map(|name| model.find_exact(Kind::Ctr, name)).collect::<Verdict<_>>()?,
        Order::Pod(pod, recursive) => {
            let pod = model.find_exact(Kind::Pod, pod)?;
            let members = if *recursive { model.members(&pod) } else { [].into() };
            members.into_iter().chain([pod]).collect()
        }
    };
    let mut line: Vec<(Kind, u64, &String)> = vec![];
    line.extend(ids.iter().map(|id| (model.objects[id].kind, model.objects[id].made, id)));
    line.sort();
    let line = line.into_iter().map(|(_, _, id)| id.clone()).collect::<Vec<_>>().join(" ");
    model.remove(&ids)?;
    Ok(line)
}

pub(super) fn document(entry: &str) -> Option<usize> {
    ["config", "state"].iter().position(|name| *name == entry)
}

/// The object whose entry is opened.
pub(super) fn opened(model: &Model, path: &str, entry: &str, write: bool) -> Verdict<String> {
    let id = resolve(model, path)?;
    match (model.objects[&id].kind, entry) {
        (Kind::Pod, entry) if !["config", "state", "name", "status"].contains(&entry) => Err(Errno::ENOENT),
        (Kind::Pod, "status") if write => Err(Errno::EACCES),
        _ => Ok(id),
    }
}

fn write(model: &mut Model, id: &str, entry: &str, append: bool, input: &Input) -> Verdict<()> {
    if let Some(doc) = document(entry) {
        return model.write(id, doc, append, documents(input)?);
    }
    if TEXTS.contains(&entry) {
        let Input::Whole(text) = input else { return Err(Errno::EINVAL) };
        return model.write_text(id, entry, append, text);
    }
    let Input::Line(line, newline) = input else { return Err(Errno::EINVAL) };
    if line.is_empty() && !newline {
        return Ok(());
    }
    if entry == "mounted" && line.len() <= 4095 {
        // No container here has a rootfs.
        return match line.as_str() {
            "0" => Ok(()),
            _ => Err(Errno::EINVAL),
        };
    }
    let (doc, key, value) = value(entry, line)?;
    model.write(id, doc, true, &[Doc::from_iter([(key.to_owned(), value)])])
}

/// The document, the key and the value that a line makes.
fn value(entry: &str, line: &str) -> Verdict<(usize, &'static str, Value)> {
    if line.len() > 4095 {
        return Err(Errno::EFBIG);
    }
    let decimal = || line.parse::<i64>().ok().filter(|number| number.to_string() == line);
    let plain = !line.contains(|c: char| c.is_ascii_control());
    let (doc, key, value) = match entry {
        "name" => (CONFIG, "name", is_name(line).then(|| json!(line))),
        "status" => {
            let number = decimal().and_then(|number| STATUSES.get(usize::try_from(number).ok()?));
            let word = STATUSES.iter().find(|word| **word == line).or(number);
            (STATE, "state", word.map(|word| json!(word)))
        }
        "pid" => (STATE, "pid", decimal().filter(|pid| (0..=4_194_304).contains(pid)).map(|pid| json!(pid))),
        "exit-code" => {
            (STATE, "exitCode", decimal().filter(|code| i32::try_from(*code).is_ok()).map(|code| json!(code)))
        }
        _ => (STATE, "netns", line.starts_with('/').then(|| json!(line))),
    };
    let cleared = line.is_empty() && !["name", "status"].contains(&entry);
    let value = if cleared { Some(Value::Null) } else { value };
    value.filter(|_| plain).map(|value| (doc, key, value)).ok_or(Errno::EINVAL)
}

/// What an entry reads.
pub(super) fn content(model: &Model, id: &str, entry: &str) -> String {
    let object = &model.objects[id];
    let state = &object.docs[STATE];
    let number = |key| state.get(key).and_then(Value::as_i64);
    match entry {
        "config" => rendered(&object.docs[CONFIG]),
        "state" => rendered(state),
        "raw" => rendered(&object.docs[CONFIG]) + &rendered(state),
        "name" => object.name().to_owned() + "\n",
        "names" => object.names.iter().map(|(name, _)| name.clone() + "\n").collect(),
        "metadata" => object.metadata.clone(),
        "uidmap" => object.maps[0].clone(),
        "gidmap" => object.maps[1].clone(),
        "status" => model.status(id) + "\n",
        "pid" => number("pid").filter(|pid| *pid != 0).map_or(String::new(), |pid| pid.to_string()) + "\n",
        "exit-code" => number("exitCode").map_or(String::new(), |code| code.to_string()) + "\n",
        "netns" => text(state, "netns").unwrap_or_default() + "\n",
        "mounted" => "0\n".to_owned(),
        other => panic!("{other} has no content in the model"),
    }
}

/// `table/ctr` and `table/pod`, newest first.
pub(super) fn table(model: &Model, kind: Kind) -> String {
    let mut all = model.of(kind);
    all.sort_by_key(|(_, object)| std::cmp::Reverse(object.made));
    let mut table = match kind {
        Kind::Ctr => "id\tname\tstatus\tpid\texit-code\tpod\timage\tmounted\tcreated\tstarted\tfinished\n".to_owned(),
        Kind::Pod => "id\tname\tstatus\tcontainers\tcreated\n".to_owned(),
    };
    for (id, object) in all {
        let [config, state] = &object.docs;
        let value = |entry: &str| content(model, id, entry).trim_end().to_owned();
        let cells = match kind {
            Kind::Ctr => vec![
                value("pid"),
                value("exit-code"),
                object.pod.as_ref().map(|pod| model.objects[pod].name().to_owned()).unwrap_or_default(),
                text(config, "rootfsImageName").unwrap_or_default(),
                "0".to_owned(),
                text(config, "createdTime").unwrap_or_default(),
                text(state, "startedTime").unwrap_or_default(),
                text(state, "finishedTime").unwrap_or_default(),
            ],
            Kind::Pod => vec![model.members(id).len().to_string(), text(config, "created").unwrap_or_default()],
        };
        let mut line = vec![id.clone(), value("name"), value("status")];
        line.extend(cells);
        let cell = |cell: &String| match cell.as_str() {
            "" => "-".to_owned(),
            text => text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n"),
        };
        table += &(line.iter().map(cell).collect::<Vec<_>>().join("\t") + "\n");
    }
    table
}
