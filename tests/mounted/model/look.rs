//! The mounted tree beside the model: listings, targets, contents, sizes and inode numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirEntryExt, MetadataExt};

use nix::errno::Errno;

use super::documents::text;
use super::expect::{content, resolve, table};
use super::extras::Flags;
use super::items::{Items, digests};
use super::ops::dir;
use super::plain::{Kind, Model, Object};
use crate::support::Mounted;

pub(super) type Agreement = Result<(), String>;

/// Every inode number that was ever seen, and the thing that had it.
#[derive(Default)]
pub(super) struct Inodes {
    numbers: HashMap<String, u64>,
    things: HashMap<u64, String>,
}

impl Inodes {
    /// A thing keeps its number, and no other thing ever has it.
    fn same(&mut self, thing: &str, ino: u64) -> Agreement {
        let number = *self.numbers.entry(thing.to_owned()).or_insert(ino);
        let owner = self.things.entry(ino).or_insert_with(|| thing.to_owned());
        agree("inode number", thing, &(ino, owner.as_str()), &(number, thing))
    }
}

fn agree<T: PartialEq + Debug>(what: &str, of: &str, tree: &T, model: &T) -> Agreement {
    if tree == model { Ok(()) } else { Err(format!("{what} of {of}\n  tree:  {tree:?}\n  model: {model:?}")) }
}

/// A result with the errno that the kernel gave.
pub(super) fn call<T>(result: io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

/// The files of an object; `health` and `raw` among them.
fn files(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Ctr => &[
            "config",
            "state",
            "raw",
            "name",
            "names",
            "status",
            "pid",
            "exit-code",
            "netns",
            "mounted",
            "metadata",
            "uidmap",
            "gidmap",
            "health",
        ],
        Kind::Pod => &["config", "state", "raw", "name", "status", "health"],
    }
}

pub(super) struct Look<'a> {
    pub tree: &'a Mounted,
    pub model: &'a Model,
    pub inodes: &'a mut Inodes,
}

impl Look<'_> {
    /// A directory shows exactly these names, each with its thing's inode number.
    fn listing(&mut self, path: &str, expected: BTreeMap<String, String>) -> Agreement {
        let mut listed = BTreeMap::new();
        for entry in fs::read_dir(self.tree.path(path)).map_err(|error| format!("listing {path}: {error}"))? {
            let entry = entry.map_err(|error| format!("listing {path}: {error}"))?;
            listed.insert(entry.file_name().into_string().unwrap(), entry.ino());
        }
        let names: BTreeSet<&String> = listed.keys().collect();
        agree("listing", path, &names, &expected.keys().collect())?;
        expected.iter().try_for_each(|(name, thing)| self.inodes.same(thing, listed[name]))
    }

    fn stat(&mut self, path: &str, thing: &str, size: Option<u64>) -> Agreement {
        let stat = self.tree.path(path).symlink_metadata().map_err(|error| format!("stat {path}: {error}"))?;
        self.inodes.same(thing, stat.ino())?;
        size.map_or(Ok(()), |size| agree("st_size", path, &stat.size(), &size))
    }

    fn link(&mut self, path: &str, thing: &str, target: &str) -> Agreement {
        self.stat(path, thing, Some(target.len() as u64))?;
        let link = call(fs::read_link(self.tree.path(path))).map(|link| link.to_str().unwrap().to_owned());
        agree("target", path, &link, &Ok(target.to_owned()))
    }

    /// A file's content; its size is that of what is read.
    fn read(&mut self, path: &str, thing: &str) -> Result<(String, u64), String> {
        let failed = |error| format!("reading {path}: {error}");
        let mut file = File::open(self.tree.path(path)).map_err(failed)?;
        let stat = file.metadata().map_err(failed)?;
        let mut bytes = vec![0; 64 << 10];
        let length = file.read(&mut bytes).map_err(failed)?;
        bytes.truncate(length);
        self.inodes.same(thing, stat.ino())?;
        Ok((String::from_utf8(bytes).unwrap(), stat.size()))
    }

    pub(super) fn object(&mut self, id: &str) -> Agreement {
        let Some(object) = self.model.objects.get(id) else { return self.gone(id) };
        let Object { kind, made, .. } = object;
        let own = format!("{}/{id}", dir(*kind));
        let mut entries: BTreeMap<String, String> = BTreeMap::new();
        let mut entry = |name: &str| entries.insert(name.to_owned(), format!("{made} {name}"));
        files(*kind).iter().for_each(|name| drop(entry(name)));
        let lists: &[&str] = match kind {
            Kind::Ctr => &["dependencies", "depends-on", "artifacts", "work", "run", "flags", "data", "digests"],
            Kind::Pod => &["containers"],
        };
        lists.iter().for_each(|name| drop(entry(name)));
        object.pod.iter().for_each(|_| drop(entry("pod")));
        self.listing(&own, entries)?;

        self.stat(&own, &format!("{made} itself"), None)?;
        for entry in files(*kind) {
            let path = format!("{own}/{entry}");
            let (read, size) = self.read(&path, &format!("{made} {entry}"))?;
            if *entry == "health" {
                let netns = text(&object.docs[1], "netns").filter(|_| *kind == Kind::Ctr);
                let ok = match netns {
                    None => true,
                    Some(path) if path.starts_with("/nonexistent") => false,
                    // Whether one that is there answers in time is the machine's affair.
                    Some(_) => read == "ok\n",
                };
                agree("health", &path, &(read == "ok\n", read.is_empty(), size), &(ok, false, 4096))?;
            } else {
                agree("content", &path, &read, &content(self.model, id, entry))?;
                agree("st_size", &path, &size, &(read.len() as u64))?;
            }
        }
        let target = format!("../{own}");
        self.link(&format!("id/{id}"), &format!("{made} id"), &target)?;
        for (name, binding) in &object.names {
            self.link(&format!("name/{name}"), &format!("binding {binding}"), &target)?;
            self.link(&format!("{}/{name}", dir(*kind)), &format!("{made} by name"), id)?;
        }
        if let Some(pod) = &object.pod {
            self.link(&format!("{own}/pod"), &format!("{made} pod"), &format!("../../pod/{pod}"))?;
        }
        match kind {
            Kind::Ctr => {
                self.flags(&format!("{own}/flags"), &object.flags)?;
                self.items(&own, &object.items, *made)?;
                self.edges(&format!("{own}/dependencies"), &self.model.dependents(id), |other| (other, *made))?;
                self.edges(&format!("{own}/depends-on"), &object.needs.clone(), |other| (*made, other))
            }
            Kind::Pod => self.members(&own, id),
        }
    }

    fn flags(&mut self, path: &str, flags: &Flags) -> Agreement {
        let thing = |number: u64| format!("flag {number}");
        self.listing(path, flags.iter().map(|(name, (_, number))| (name.clone(), thing(*number))).collect())?;
        for (name, (value, number)) in flags {
            let path = format!("{path}/{name}");
            let read = self.read(&path, &thing(*number))?;
            agree("content and st_size", &path, &read, &(value.clone(), value.len() as u64))?;
        }
        Ok(())
    }

    fn items(&mut self, own: &str, items: &Items, made: u64) -> Agreement {
        let (path, thing) = (format!("{own}/data"), |number: u64| format!("item {number}"));
        self.listing(&path, items.iter().map(|(key, (_, number))| (key.clone(), thing(*number))).collect())?;
        for (key, (content, number)) in items {
            let path = format!("{path}/{key}");
            let read = fs::read(self.tree.path(&path)).map_err(|error| format!("reading {path}: {error}"))?;
            agree("content", &path, &(read.len(), read == *content), &(content.len(), true))?;
            self.stat(&path, &thing(*number), Some(content.len() as u64))?;
        }
        let path = format!("{own}/digests");
        let (read, _) = self.read(&path, &format!("{made} digests"))?;
        agree("content", &path, &read, &digests(items))
    }

    fn edges(&mut self, path: &str, others: &BTreeSet<String>, ends: impl Fn(u64) -> (u64, u64)) -> Agreement {
        let side = path.rsplit('/').next().unwrap();
        let thing = |id: &String| format!("{side} {:?}", ends(self.model.objects[id].made));
        let expected: BTreeMap<String, String> = others.iter().map(|id| (id.clone(), thing(id))).collect();
        self.listing(path, expected.clone())?;
        expected.iter().try_for_each(|(id, thing)| self.link(&format!("{path}/{id}"), thing, &format!("../../{id}")))
    }

    fn members(&mut self, own: &str, pod: &str) -> Agreement {
        let path = format!("{own}/containers");
        let members = self.model.members(pod);
        let thing = |id: &String| format!("member {}", self.model.objects[id].made);
        let expected: BTreeMap<String, String> = members.iter().map(|id| (id.clone(), thing(id))).collect();
        self.listing(&path, expected.clone())?;
        for (id, thing) in expected {
            let target = format!("../../../ctr/{id}");
            let Object { names, made, .. } = &self.model.objects[&id];
            self.link(&format!("{path}/{id}"), &thing, &target)?;
            for (name, _) in names {
                self.link(&format!("{path}/{name}"), &format!("{made} member by name"), &target)?;
            }
        }
        Ok(())
    }

    /// Nothing of an object is there any more.
    fn gone(&mut self, id: &str) -> Agreement {
        ["ctr", "pod", "id"].iter().try_for_each(|dir| self.probe(dir, id))
    }

    /// Nothing has a name any more, as lstat(2) says too, which the kernel may answer by itself.
    pub(super) fn unnamed(&self, name: &str) -> Agreement {
        let path = format!("name/{name}");
        let stat = call(self.tree.path(&path).symlink_metadata()).map(|stat| stat.ino());
        agree("stat", &path, &stat, &Err(Errno::ENOENT))
    }

    /// What a text leads to in a directory.
    pub(super) fn probe(&mut self, dir: &str, text: &str) -> Agreement {
        let path = format!("{dir}/{text}");
        let stat = call(self.tree.path(&path).metadata()).map(|stat| stat.ino());
        match resolve(self.model, &path) {
            Ok(id) => {
                let ino = stat.map_err(|errno| format!("stat {path}: {errno}, model: {id}"))?;
                self.inodes.same(&format!("{} itself", self.model.objects[&id].made), ino)
            }
            Err(errno) => agree("stat", &path, &stat, &Err(errno)),
        }
    }

    /// The lists and tables of the whole store.
    pub(super) fn lists(&mut self) -> Agreement {
        let things = |kind, slot: &str| -> BTreeMap<String, String> {
            self.model
                .of(kind)
                .into_iter()
                .map(|(id, object)| (id.clone(), format!("{} {slot}", object.made)))
                .collect()
        };
        let ids = [things(Kind::Ctr, "id"), things(Kind::Pod, "id")].into_iter().flatten().collect();
        let (ctrs, pods) = (things(Kind::Ctr, "itself"), things(Kind::Pod, "itself"));
        let objects = self.model.objects.values();
        let names = objects.flat_map(|object| &object.names);
        let names = names.map(|(name, binding)| (name.clone(), format!("binding {binding}"))).collect();
        for (path, expected) in [("ctr", ctrs), ("pod", pods), ("id", ids), ("name", names)] {
            self.listing(path, expected)?;
        }
        for kind in [Kind::Ctr, Kind::Pod] {
            let path = format!("table/{}", dir(kind));
            let (read, _) = self.read(&path, &path)?;
            agree("content", &path, &read, &table(self.model, kind))?;
        }
        Ok(())
    }

    pub(super) fn whole(&mut self) -> Agreement {
        const ROOT: [&str; 15] = [
            "ctr",
            "pod",
            "name",
            "id",
            "image",
            "image-name",
            "layer",
            "exited",
            "create",
            "control",
            "check",
            "table",
            "runtime-config",
            "refusals",
            "version",
        ];
        self.listing("", ROOT.map(|name| (name.to_owned(), name.to_owned())).into())?;
        ROOT.iter().try_for_each(|name| self.stat(name, name, None))?;
        self.lists()?;
        let ids: Vec<&String> = self.model.objects.keys().collect();
        ids.into_iter().try_for_each(|id| self.object(id))?;
        let (check, _) = self.read("check", "check")?;
        agree("beginning", "check", &check.get(..2), &Some("ok"))
    }
}
