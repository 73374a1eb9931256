//! Items in the model: what `data/` of a container holds. No I/O, but for the call that writes one.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};

use super::expect::{opened, resolve};
use super::look::call;
use super::ops::{Op, Way, path, reference};
use super::plain::{Kind, Model, Verdict, refuse_unless};
use crate::support::Random;

/// Items with their contents and numbers, by key.
pub(super) type Items = BTreeMap<String, (Vec<u8>, u64)>;

const KEYS: [&str; 6] = ["k", "a b", "back\\slash", "new\nline", ".ü", "%2F"];

/// How an item is written: opened, written once, closed.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Writing {
    create: bool,
    /// It must be new.
    new: bool,
    cut: bool,
    append: bool,
    at: usize,
    bytes: Vec<u8>,
    /// Whether the server dies between open and write.
    dies: bool,
}

/// A key of what a path leads to: mostly one that is there.
fn key(random: &mut Random, model: &Model, path: &str) -> String {
    let items = resolve(model, path).map(|id| &model.objects[&id].items);
    match items {
        Ok(items) if !items.is_empty() && random.below(4) > 0 => {
            items.keys().nth(random.below(items.len())).unwrap().clone()
        }
        _ if random.below(24) == 0 => "x".repeat(255),
        _ => (*random.pick(&KEYS)).to_owned(),
    }
}

/// An operation on an item, mostly of a container that has some.
pub(super) fn choose(random: &mut Random, model: &Model) -> Op {
    let full: Vec<&String> = model.objects.iter().filter(|(_, o)| !o.items.is_empty()).map(|(id, _)| id).collect();
    let path = |random: &mut Random| match random.below(8) {
        0 => path(random, model),
        1..6 if !full.is_empty() => format!("ctr/{}", random.pick(&full)),
        _ => format!("ctr/{}", reference(random, model, Kind::Ctr)),
    };
    let own = path(random);
    let item = key(random, model, &own);
    match random.below(12) {
        0 | 1 => Op::Unlink(own + "/data", item),
        2 => Op::Cut(own, item, [0, 2, 6000][random.below(3)]),
        3..6 => {
            let way = [Way::Plain, Way::Plain, Way::NoReplace, Way::Exchange][random.below(4)];
            let to = if random.below(8) == 0 { path(random) } else { own.clone() };
            let name = key(random, model, &to);
            Op::Rename((own + "/data", item), (to + "/data", name), way)
        }
        _ => Op::Item(own, item, Writing::choose(random)),
    }
}

impl Writing {
    fn choose(random: &mut Random) -> Writing {
        let length = [0, 1, 5, 4096, 4097, 9000][random.below(6)];
        let create = random.below(4) > 0;
        Writing {
            create,
            new: create && random.below(6) == 0,
            cut: random.below(3) == 0,
            append: random.below(3) == 0,
            at: [0, 0, 3, 5000][random.below(4)],
            bytes: (0..length).map(|_| random.next() as u8).collect(),
            dies: random.below(16) == 0,
        }
    }

    /// Does it to the file at a path; `die` ends the server.
    pub(super) fn carry_out(&self, path: &Path, die: impl FnOnce()) -> Verdict<()> {
        let mut options = OpenOptions::new();
        let cut = if self.cut { OFlag::O_TRUNC } else { OFlag::empty() };
        options.write(true).append(self.append).create(self.create).create_new(self.new).custom_flags(cut.bits());
        let file = call(options.open(path))?;
        if self.dies {
            die();
        }
        // At the end, if the file was opened so.
        call(file.write_all_at(&self.bytes, self.at as u64))?;
        nix::unistd::close(file.into_raw_fd())
    }

    fn result(&self, old: &[u8]) -> Vec<u8> {
        let mut new = if self.cut { vec![] } else { old.to_vec() };
        let at = if self.append { new.len() } else { self.at };
        if !self.bytes.is_empty() {
            new.resize(new.len().max(at + self.bytes.len()), 0);
            new[at..at + self.bytes.len()].copy_from_slice(&self.bytes);
        }
        new
    }
}

impl Model {
    fn items(&mut self, path: &str) -> Verdict<&mut Items> {
        let id = opened(self, path, "data", true)?;
        Ok(&mut self.objects.get_mut(&id).unwrap().items)
    }

    pub(super) fn write_item(&mut self, path: &str, key: &str, writing: &Writing) -> Verdict<()> {
        let fresh = self.tick();
        let items = self.items(path)?;
        refuse_unless(writing.create || items.contains_key(key), Errno::ENOENT)?;
        refuse_unless(!writing.new || !items.contains_key(key), Errno::EEXIST)?;
        let (content, _) = items.entry(key.to_owned()).or_insert((vec![], fresh));
        *content = writing.result(content);
        Ok(())
    }

    pub(super) fn cut_item(&mut self, path: &str, key: &str, size: usize) -> Verdict<()> {
        let item = self.items(path)?.get_mut(key).ok_or(Errno::ENOENT)?;
        item.0.resize(size, 0);
        Ok(())
    }

    pub(super) fn remove_item(&mut self, path: &str, key: &str) -> Verdict<()> {
        self.items(path)?.remove(key).map(drop).ok_or(Errno::ENOENT)
    }

    /// The item keeps its number, and so does the other, if they are swapped.
    pub(super) fn rename_item(&mut self, from: &(String, String), to: &(String, String), way: Way) -> Verdict<()> {
        let of = |dir: &str| opened(self, dir.trim_end_matches("/data"), "data", true);
        let (one, other) = (of(&from.0)?, of(&to.0)?);
        let is_there = |id: &String, key: &String| self.objects[id].items.contains_key(key);
        refuse_unless(is_there(&one, &from.1), Errno::ENOENT)?;
        refuse_unless(way != Way::NoReplace || !is_there(&other, &to.1), Errno::EEXIST)?;
        refuse_unless(way != Way::Exchange || is_there(&other, &to.1), Errno::ENOENT)?;
        refuse_unless(one == other, Errno::EXDEV)?;
        let items = &mut self.objects.get_mut(&one).unwrap().items;
        let moved = items.remove(&from.1).unwrap();
        if let Some(there) = items.insert(to.1.clone(), moved).filter(|_| way == Way::Exchange) {
            items.insert(from.1.clone(), there);
        }
        Ok(())
    }
}

/// What sha256sum prints of them.
pub(super) fn digests(items: &Items) -> String {
    let line = |(key, (content, _)): (&String, &(Vec<u8>, u64))| {
        let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        let escaped = key.replace('\\', "\\\\").replace('\n', "\\n");
        let mark = if escaped == *key { "" } else { "\\" };
        format!("{mark}{hex}  {escaped}\n")
    };
    items.iter().map(line).collect()
}
