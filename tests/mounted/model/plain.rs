//! What the store should hold, as plain maps, and what each operation should answer. No I/O. Where a
//! request breaks several rules, they are asked in the order in which they stand here.

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;
use serde_json::{Value, json};

use super::documents::{Doc, check, empty, fixed, merged, rendered, resolve, state, text};
use super::extras::{Asked, Flags, KEYS, take};
use super::items::Items;

pub(super) type Verdict<T> = Result<T, Errno>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    Ctr,
    Pod,
}

pub(super) const CONFIG: usize = 0;
pub(super) const STATE: usize = 1;
/// The metadata's place among the versions.
pub(super) const METADATA: usize = 2;
pub(super) const EDGES: [&str; 7] =
    ["ipcNsCtr", "mountNsCtr", "netNsCtr", "pidNsCtr", "userNsCtr", "utsNsCtr", "cgroupNsCtr"];
pub(super) const STATUSES: [&str; 9] =
    ["unknown", "configured", "created", "running", "stopped", "paused", "exited", "removing", "stopping"];

/// A container or a pod. `made` and what stands beside names, flags and items are numbers of this model: the
/// object's own, those of the names' bindings, which `mv` in `name/` keeps and a new name by other ways
/// does not, and those of flags and items.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Object {
    pub kind: Kind,
    pub made: u64,
    /// The first before the others.
    pub names: Vec<(String, u64)>,
    pub pod: Option<String>,
    pub needs: BTreeSet<String>,
    pub docs: [Doc; 2],
    pub metadata: String,
    pub versions: [u64; 3],
    /// Of users and of groups.
    pub maps: [String; 2],
    pub flags: Flags,
    pub items: Items,
}

impl Object {
    pub(super) fn name(&self) -> &str {
        &self.names[0].0
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.names.iter().any(|(own, _)| own == name)
    }
}

/// What chance and the clock gave a new object.
#[derive(Clone, Debug)]
pub(super) struct Fresh {
    pub id: String,
    pub name: String,
    pub created: String,
}

#[derive(Clone, Default)]
pub(super) struct Model {
    pub objects: BTreeMap<String, Object>,
    clock: u64,
}

pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) fn is_name(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let like_an_id = text.len() >= 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    first && text.len() <= 255 && text.bytes().all(word) && !like_an_id
}

pub(super) fn refuse_unless(holds: bool, errno: Errno) -> Verdict<()> {
    if holds { Ok(()) } else { Err(errno) }
}

impl Model {
    pub(super) fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub(super) fn of(&self, kind: Kind) -> Vec<(&String, &Object)> {
        self.objects.iter().filter(|(_, o)| o.kind == kind).collect()
    }

    pub(super) fn named(&self, name: &str) -> Option<(&String, &Object)> {
        self.objects.iter().find(|(_, o)| o.is_called(name))
    }

    pub(super) fn dependents(&self, id: &str) -> BTreeSet<String> {
        self.objects.iter().filter(|(_, o)| o.needs.contains(id)).map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn members(&self, pod: &str) -> BTreeSet<String> {
        self.objects.iter().filter(|(_, o)| o.pod.as_deref() == Some(pod)).map(|(id, _)| id.clone()).collect()
    }

    /// Full ID, exact name, unique prefix, in that order.
    pub(super) fn find(&self, kind: Kind, text: &str) -> Verdict<String> {
        if is_id(text) {
            return self.objects.get(text).filter(|o| o.kind == kind).map(|_| text.to_owned()).ok_or(Errno::ENOENT);
        }
        if let Some((id, _)) = self.named(text).filter(|(_, o)| o.kind == kind) {
            return Ok(id.clone());
        }
        refuse_unless((6..64).contains(&text.len()), Errno::ENOENT)?;
        let mut hits = self.objects.iter().filter(|(id, o)| o.kind == kind && id.starts_with(text));
        match (hits.next(), hits.next()) {
            (None, _) => Err(Errno::ENOENT),
            (Some((id, _)), None) => Ok(id.clone()),
            _ => Err(Errno::ENOTUNIQ),
        }
    }

    pub(super) fn find_exact(&self, kind: Kind, text: &str) -> Verdict<String> {
        let id = self.find(kind, text)?;
        refuse_unless(id == text || self.objects[&id].is_called(text), Errno::EPERM)?;
        Ok(id)
    }

    pub(super) fn create(&mut self, kind: Kind, given: &Doc, pod: Option<String>, fresh: &Fresh) -> Verdict<String> {
        let mut given = given.clone();
        let asked = if kind == Kind::Ctr { take(&mut given)? } else { Asked::default() };
        check(kind, CONFIG, &given)?;
        let own = |key, fits: fn(&str) -> bool, otherwise: &str| match given.get(key) {
            None => Ok(otherwise.to_owned()),
            Some(value) => value.as_str().filter(|text| fits(text)).map(str::to_owned).ok_or(Errno::EINVAL),
        };
        let (id, name) = (own("id", is_id, &fresh.id)?, own("name", is_name, &fresh.name)?);
        refuse_unless(!self.objects.contains_key(&id) && self.named(&name).is_none(), Errno::EEXIST)?;
        let pod = match (pod, text(&given, "pod").filter(|_| kind == Kind::Ctr)) {
            (None, Some(pod)) => Some(self.find(Kind::Pod, &pod)?),
            (pod, _) => pod,
        };
        let mut names = vec![name.clone()];
        for further in asked.names {
            refuse_unless(self.named(&further).is_none(), Errno::EEXIST)?;
            if !names.contains(&further) {
                names.push(further);
            }
        }
        let flags = self.new_flags(&asked.flags)?;
        let mut identity = vec![("id", id.clone()), ("name", name.clone())];
        identity.extend(pod.clone().map(|pod| ("pod", pod)));
        let mut config: Doc = identity.iter().filter(|(key, _)| !given.contains_key(*key)).map(pair).collect();
        config.extend(given);
        config.extend(identity.iter().map(pair));
        let (time, state) = match kind {
            Kind::Ctr => ("createdTime", json!({"state": "configured"})),
            Kind::Pod => ("created", json!({})),
        };
        let mut needs = BTreeSet::new();
        if kind == Kind::Ctr {
            config.entry("shmSize").or_insert(json!(64 << 20));
            config.entry(time).or_insert(json!(fresh.created));
            config.entry("cgroupParent").or_insert(json!("/libpod_parent"));
            resolve(&mut config, |text| {
                refuse_unless(text != id && names.iter().all(|name| name != text), Errno::ELOOP)?;
                let on = self.find(Kind::Ctr, text)?;
                refuse_unless(self.objects[&on].pod == pod, Errno::EXDEV)?;
                needs.insert(on.clone());
                Ok(on)
            })?;
        }
        config.entry(time).or_insert(json!(fresh.created));
        let object = Object {
            kind,
            made: self.tick(),
            names: names.into_iter().map(|name| (name, self.tick())).collect(),
            pod,
            needs,
            docs: [config, state.as_object().unwrap().clone()],
            metadata: asked.metadata,
            versions: [self.tick(), self.tick(), self.tick()],
            maps: asked.maps,
            flags,
            items: Items::new(),
        };
        self.objects.insert(id.clone(), object);
        Ok(id)
    }

    /// Removes containers together, or one pod with all its members.
    pub(super) fn remove(&mut self, ids: &BTreeSet<String>) -> Verdict<()> {
        for id in ids {
            match self.objects[id].kind {
                Kind::Ctr => {
                    refuse_unless(!["running", "paused"].contains(&self.status(id).as_str()), Errno::EBUSY)?;
                    refuse_unless(self.dependents(id).is_subset(ids), Errno::EBUSY)?;
                }
                Kind::Pod => refuse_unless(self.members(id).is_subset(ids), Errno::ENOTEMPTY)?,
            }
        }
        self.objects.retain(|id, _| !ids.contains(id));
        Ok(())
    }

    /// Writes documents one after the other.
    pub(super) fn write(&mut self, id: &str, doc: usize, merge: bool, documents: &[Doc]) -> Verdict<()> {
        let old = self.objects[id].clone();
        for document in documents {
            let before = self.objects[id].docs[doc].clone();
            let after = match (merge, doc) {
                (true, CONFIG) => {
                    let deleted = |key: &&str| document.get(*key) == Some(&Value::Null) && !empty(before.get(*key));
                    refuse_unless(!fixed(old.kind).iter().any(deleted), Errno::EPERM)?;
                    refuse_unless(document.get("name") != Some(&Value::Null), Errno::EINVAL)?;
                    merged(before.clone(), document)
                }
                (true, _) => merged(before.clone(), document),
                (false, _) => document.clone(),
            };
            check(old.kind, doc, &after)?;
            let after = if doc == CONFIG { self.config(id, before, after)? } else { state(old.kind, after)? };
            self.objects.get_mut(id).unwrap().docs[doc] = after;
        }
        let (version, binding) = (self.tick(), self.tick());
        let object = self.objects.get_mut(id).unwrap();
        if rendered(&object.docs[doc]) != rendered(&old.docs[doc]) {
            object.versions[doc] = version;
        }
        if let Some(name) = text(&object.docs[CONFIG], "name").filter(|name| name != old.name()) {
            let own = old.names.iter().find(|(own, _)| *own == name).map(|(_, binding)| *binding);
            object.names.retain(|(own, _)| own != old.name() && *own != name);
            object.names.insert(0, (name, own.unwrap_or(binding)));
        }
        Ok(())
    }

    fn config(&self, id: &str, old: Doc, mut new: Doc) -> Verdict<Doc> {
        let kind = self.objects[id].kind;
        if kind == Kind::Ctr {
            // What there is not is not what was fixed.
            let fixed = |errno| if errno == Errno::ENOENT { Errno::EPERM } else { errno };
            resolve(&mut new, |text| self.find(Kind::Ctr, text).map_err(fixed))?;
            if let Some(pod) = text(&new, "pod").filter(|pod| text(&old, "pod").as_ref() != Some(pod)) {
                new.insert("pod".to_owned(), json!(self.find(Kind::Pod, &pod).map_err(fixed)?));
            }
            refuse_unless(KEYS.iter().all(|key| !new.contains_key(*key)), Errno::EINVAL)?;
        }
        for key in fixed(kind).iter().filter(|key| new.contains_key(**key)) {
            let both_empty = kind == Kind::Ctr && empty(new.get(*key)) && empty(old.get(*key));
            refuse_unless(both_empty || new.get(*key) == old.get(*key), Errno::EPERM)?;
        }
        let kept = |keys: &[&str], new: &Doc| -> Doc {
            let absent = keys.iter().filter(|key| !new.contains_key(**key));
            absent.filter_map(|key| old.get(*key).map(|value| ((*key).to_owned(), value.clone()))).collect()
        };
        let mut whole = kept(if kind == Kind::Ctr { &["id", "name", "pod"] } else { &["id", "name"] }, &new);
        whole.extend(new);
        whole.extend(kept(fixed(kind), &whole));
        let name = whole["name"].as_str().filter(|name| is_name(name)).ok_or(Errno::EINVAL)?.to_owned();
        refuse_unless(self.named(&name).is_none_or(|(holder, _)| holder == id), Errno::EEXIST)?;
        Ok(whole)
    }

    /// A container's own status, or the one that its members give a pod.
    pub(super) fn status(&self, id: &str) -> String {
        let object = &self.objects[id];
        if object.kind == Kind::Ctr {
            return text(&object.docs[STATE], "state").unwrap_or("unknown".to_owned());
        }
        let all: Vec<String> = self.members(id).iter().map(|ctr| self.status(ctr)).collect();
        let is = |words: &[&str]| all.iter().filter(|status| words.contains(&status.as_str())).count();
        let ended = is(&["stopped", "exited"]);
        let status = match all.len() {
            0 => "created",
            n if is(&["running"]) == n => "running",
            _ if is(&["running"]) > 0 => "degraded",
            n if is(&["paused"]) == n => "paused",
            n if ended == n => "exited",
            _ if ended > 0 => "stopped",
            _ if is(&["unknown", "removing", "stopping"]) > 0 => "error",
            _ => "created",
        };
        status.to_owned()
    }
}

fn pair((key, value): &(&str, String)) -> (String, Value) {
    ((*key).to_owned(), json!(value))
}
