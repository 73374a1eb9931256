//! What containers have in entries of their own: names, metadata, ID maps and flags. No I/O.

use std::collections::BTreeMap;

use nix::errno::Errno;
use serde_json::{Value, json};

use super::documents::Doc;
use super::plain::{CONFIG, METADATA, Model, Verdict, is_name, refuse_unless};

/// The keys of a new container's document that are not kept in its config.
pub(super) const KEYS: [&str; 5] = ["names", "metadata", "flags", "uidmap", "gidmap"];
/// Entries of which each write is a whole content.
pub(super) const TEXTS: [&str; 4] = ["names", "metadata", "uidmap", "gidmap"];

/// Flags with their values, as they read, and numbers.
pub(super) type Flags = BTreeMap<String, (String, u64)>;

/// What such a document says for those entries. Its flags are unchecked.
#[derive(Default)]
pub(super) struct Asked {
    pub names: Vec<String>,
    pub metadata: String,
    pub maps: [String; 2],
    pub flags: Doc,
}

/// Takes it out of the document. The first name becomes `name` where there is none.
pub(super) fn take(given: &mut Doc) -> Verdict<Asked> {
    let mut asked = Asked::default();
    for key in KEYS {
        match (key, given.shift_remove(key).unwrap_or_default()) {
            (_, Value::Null) => {}
            ("names", Value::Array(names)) => {
                let name = |name: &Value| name.as_str().filter(|name| is_name(name)).map(str::to_owned);
                asked.names = names.iter().map(name).collect::<Option<_>>().ok_or(Errno::EINVAL)?;
            }
            ("metadata", Value::String(text)) => asked.metadata = text,
            ("flags", Value::Object(flags)) => asked.flags = flags,
            ("uidmap" | "gidmap", Value::Array(ranges)) => {
                let number = |range: &Value, key| range.get(key).and_then(Value::as_u64).unwrap_or(u64::MAX);
                let line = |range: &Value| {
                    ["container_id", "host_id", "size"].map(|key| number(range, key).to_string()).join(" ") + "\n"
                };
                asked.maps[usize::from(key == "gidmap")] = id_map(&ranges.iter().map(line).collect::<String>())?;
            }
            _ => return Err(Errno::EINVAL),
        }
    }
    if let Some(first) = asked.names.first().filter(|_| !given.contains_key("name")) {
        given.insert("name".to_owned(), json!(first));
    }
    Ok(asked)
}

/// An ID map as it reads.
fn id_map(text: &str) -> Verdict<String> {
    let (mut ranges, mut map) = (Vec::<[u64; 3]>::new(), String::new());
    for line in text.split('\n').filter(|line| !line.is_empty()) {
        let numbers: Option<Vec<u64>> = line.split_whitespace().map(|number| number.parse().ok()).collect();
        let Some([inside, outside, size]) = numbers.as_deref() else { return Err(Errno::EINVAL) };
        let ends = |first: &u64| first.checked_add(*size).is_some_and(|end| end <= u64::from(u32::MAX));
        refuse_unless(*size > 0 && ends(inside) && ends(outside), Errno::EINVAL)?;
        let new = [*inside, *outside, *size];
        let meets = |old: &[u64; 3]| (0..2).any(|at| new[at] < old[at] + old[2] && old[at] < new[at] + size);
        refuse_unless(!ranges.iter().any(meets), Errno::EINVAL)?;
        ranges.push(new);
        map += &format!("{inside} {outside} {size}\n");
    }
    Ok(map)
}

/// A flag's value as it reads.
fn flag(name: &str, value: &Value) -> Verdict<String> {
    let fits = match name {
        "MountLabel" | "ProcessLabel" => value.is_string(),
        "MountOpts" => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
        "Volatile" => value.is_boolean(),
        name => !name.is_empty() && !name.contains('/'),
    };
    refuse_unless(fits, Errno::EINVAL)?;
    Ok(serde_json::to_string_pretty(value).unwrap() + "\n")
}

/// The labels come and go together.
fn labels(flags: &Flags) -> Verdict<()> {
    let has = |name| flags.get(name).is_some_and(|(text, _)| text != "\"\"\n");
    refuse_unless(has("MountLabel") == has("ProcessLabel"), Errno::EINVAL)
}

/// No container here goes with the boot.
fn volatile(flags: &Flags) -> Verdict<()> {
    refuse_unless(flags.get("Volatile").is_none_or(|(text, _)| text != "true\n"), Errno::EPERM)
}

impl Model {
    /// The flags of a new container.
    pub(super) fn new_flags(&mut self, asked: &Doc) -> Verdict<Flags> {
        let mut flags = Flags::new();
        for (name, value) in asked {
            flags.insert(name.clone(), (flag(name, value)?, self.tick()));
        }
        labels(&flags)?;
        Ok(flags)
    }

    /// Sets a flag, or clears it.
    pub(super) fn set_flag(&mut self, id: &str, name: &str, value: Option<&Value>) -> Verdict<()> {
        let (mut flags, fresh) = (self.objects[id].flags.clone(), self.tick());
        match (value, flags.remove(name)) {
            (Some(value), old) => {
                let number = old.map_or(fresh, |(_, number)| number);
                flags.insert(name.to_owned(), (flag(name, value)?, number));
            }
            (None, old) => refuse_unless(old.is_some(), Errno::ENOENT)?,
        }
        labels(&flags)?;
        volatile(&flags)?;
        self.objects.get_mut(id).unwrap().flags = flags;
        Ok(())
    }

    /// Writes a whole content, or adds it.
    pub(super) fn write_text(&mut self, id: &str, entry: &str, add: bool, text: &str) -> Verdict<()> {
        refuse_unless(entry == "metadata" || text.len() <= 64 << 10, Errno::EFBIG)?;
        let version = self.tick();
        if entry == "names" {
            let given: Vec<String> = text.split('\n').filter(|line| !line.is_empty()).map(str::to_owned).collect();
            refuse_unless(given.iter().all(|name| is_name(name)), Errno::EINVAL)?;
            return self.set_names(id, add, given);
        }
        let object = self.objects.get_mut(id).unwrap();
        let old = match entry {
            "metadata" => &mut object.metadata,
            _ => &mut object.maps[usize::from(entry == "gidmap")],
        };
        let whole = if add { old.clone() + text } else { text.to_owned() };
        let new = if entry == "metadata" { whole } else { id_map(&whole)? };
        if entry == "metadata" && new != *old {
            object.versions[METADATA] = version;
        }
        *old = new;
        Ok(())
    }

    /// Gives a container these names, or adds them; those that it had keep their bindings.
    pub(super) fn set_names(&mut self, id: &str, add: bool, given: Vec<String>) -> Verdict<()> {
        let own = self.objects[id].names.clone();
        let mut names = if add { own.clone() } else { vec![] };
        for name in given {
            if names.iter().all(|(other, _)| *other != name) {
                let binding = own.iter().find(|(other, _)| *other == name).map(|(_, binding)| *binding);
                refuse_unless(binding.is_some() || self.named(&name).is_none(), Errno::EEXIST)?;
                names.push((name, binding.unwrap_or_else(|| self.tick())));
            }
        }
        refuse_unless(!names.is_empty(), Errno::EINVAL)?;
        self.put_names(id, names);
        Ok(())
    }

    /// Takes a name away. The last stays.
    pub(super) fn remove_name(&mut self, name: &str) -> Verdict<()> {
        let (id, mut names) = self.named(name).map(|(id, o)| (id.clone(), o.names.clone())).ok_or(Errno::ENOENT)?;
        names.retain(|(own, _)| own != name);
        refuse_unless(!names.is_empty(), Errno::EBUSY)?;
        self.put_names(&id, names);
        Ok(())
    }

    /// Gives what is called `from` the name `to`, or swaps them. The bindings stay in their places, if they
    /// move with the entries.
    pub(super) fn rename(&mut self, moves: bool, from: &str, to: &str, swap: bool) {
        let place = |name: &str| {
            let (id, object) = self.named(name)?;
            let at = object.names.iter().position(|(own, _)| own == name)?;
            Some((id.clone(), at, object.names[at].1))
        };
        let (one, other) = (place(from).unwrap(), place(to).filter(|_| swap));
        let fresh = self.tick();
        let binding = other.as_ref().map_or(fresh, |(_, _, binding)| *binding);
        let mut put = |(id, at, own): &(String, usize, u64), name: &str, other: u64| {
            let mut names = self.objects[id].names.clone();
            names[*at] = (name.to_owned(), if moves { *own } else { other });
            self.put_names(id, names);
        };
        put(&one, to, binding);
        if let Some(other) = other {
            put(&other, from, one.2);
        }
    }

    /// The config has the first name.
    fn put_names(&mut self, id: &str, names: Vec<(String, u64)>) {
        let version = self.tick();
        let object = self.objects.get_mut(id).unwrap();
        if object.names[0].0 != names[0].0 {
            object.docs[CONFIG].insert("name".to_owned(), json!(names[0].0));
            object.versions[CONFIG] = version;
        }
        object.names = names;
    }
}
