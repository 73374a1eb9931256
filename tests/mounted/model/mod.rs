//! A model of the store beside the mounted tree: random operations by real system calls, compared
//! after each; deaths of the server and remounts among them.

mod documents;
mod expect;
mod extras;
mod items;
mod look;
mod ops;
mod plain;

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmodat, utimensat};
use nix::sys::time::TimeSpec;

use self::documents::{Doc, text};
use self::expect::{Held, expect};
use self::look::{Inodes, Look, call};
use self::ops::{Input, Op, Opening, Way, choose, dir, reference};
use self::plain::{Fresh, Kind, Model, Verdict};
use crate::support::{Mounted, Random, kill, seed};

/// Operations of one run.
const STEPS: usize = 5000;
/// So many operations lie between two comparisons of everything.
const WHOLE: usize = 200;

#[test]
fn the_tree_does_what_the_model_says_1() {
    run(1);
}

#[test]
fn the_tree_does_what_the_model_says_2() {
    run(2);
}

#[test]
fn the_tree_does_what_the_model_says_3() {
    run(3);
}

#[test]
fn the_tree_does_what_the_model_says_4() {
    run(4);
}

fn run(number: u64) {
    let seed = seed();
    let mut run = Run {
        tree: Mounted::new(),
        model: Model::default(),
        held: vec![],
        files: vec![],
        inodes: Inodes::default(),
        random: Random(seed.wrapping_mul(31).wrapping_add(number)),
    };
    let (mut done, mut refused) = (0, std::collections::BTreeMap::new());
    let mut last = VecDeque::new();
    for step in 0..STEPS {
        let held = run.held_entries();
        let op = choose(&mut run.random, &run.model, &held);
        last.truncate(12);
        last.push_front(format!("{step}: {op:?}"));
        match run.step(&op, step) {
            Ok(Ok(_)) => done += 1,
            Ok(Err(errno)) => *refused.entry(errno as i32).or_insert(0) += 1,
            Err(why) => {
                panic!("CTRFS_SEED={seed}, run {number}, step {step}: {op:?}\n{why}\nlast operations: {last:#?}")
            }
        }
    }
    println!("run {number}: {done} done, refused by errno: {refused:?}");
}

struct Run {
    /// Handles that stay open over many steps, in the order of `held`; closed before the unmount.
    files: Vec<File>,
    held: Vec<Held>,
    tree: Mounted,
    model: Model,
    inodes: Inodes,
    random: Random,
}

impl Run {
    fn held_entries(&self) -> Vec<(String, &'static str)> {
        self.held.iter().map(|held| (held.id.clone(), held.entry)).collect()
    }

    /// One operation on tree and model; the answer of both, or how they differ.
    fn step(&mut self, op: &Op, step: usize) -> Result<Verdict<Vec<String>>, String> {
        let before = self.model.clone();
        let tree = self.carry_out(op);
        let fresh = self.fresh(op, &tree)?;
        let mut held = self.held.clone();
        let model = expect(&mut self.model, &mut held, op, &fresh);
        if tree != model {
            let refusal = self.tree.last_refusal();
            return Err(format!("answer\n  tree:  {tree:?}\n  model: {model:?}\nlast refusal: {refusal}"));
        }
        match model {
            Ok(_) => self.held = held,
            Err(_) => self.model = before.clone(),
        }
        self.keep_handles(op, tree.is_ok());
        let all = step % WHOLE == WHOLE - 1 || matches!(op, Op::Kill(_) | Op::Remount | Op::Put(_, _, true));
        self.compare(&before, op, all)?;
        Ok(tree)
    }

    fn compare(&mut self, before: &Model, op: &Op, all: bool) -> Result<(), String> {
        let (tree, model, inodes) = (&self.tree, &self.model, &mut self.inodes);
        let mut ids = touched(before, model);
        if let Some((id, _)) = model.objects.iter().nth(self.random.below(model.objects.len().max(1))) {
            ids.insert(id.clone());
        }
        if let Op::Write(path, ..) | Op::Flag(path, ..) | Op::Item(path, ..) = op {
            ids.extend(expect::resolve(model, path));
        }
        // Looking makes the kernel forget what is gone: now and then the next operation comes first.
        if !all && self.random.below(3) == 0 {
            return Ok(());
        }
        let mut probes: Vec<(&str, String)> = vec![];
        for dir in ["ctr", "pod", "name"] {
            let kind = [Kind::Ctr, Kind::Pod][self.random.below(2)];
            probes.push((dir, reference(&mut self.random, before, kind)));
        }
        let mut look = Look { tree, model, inodes };
        probes.iter().try_for_each(|(dir, text)| look.probe(dir, text))?;
        let named = before.objects.values().flat_map(|object| &object.names).map(|(name, _)| name);
        named.filter(|name| model.named(name).is_none()).try_for_each(|name| look.unnamed(name))?;
        if all {
            return look.whole();
        }
        look.lists()?;
        ids.iter().try_for_each(|id| look.object(id))
    }

    /// What the tree chose for objects that it just made: placeholders when it made none.
    fn fresh(&self, op: &Op, answer: &Verdict<Vec<String>>) -> Result<Vec<Fresh>, String> {
        let (kind, ids) = match (op, answer) {
            (Op::Mkdir(dir, name), Ok(_)) => {
                let kind = expect::kind_of(dir);
                let kind = if dir.ends_with("/containers") { Kind::Ctr } else { kind };
                let path = self.tree.path(&format!("{}/{name}", self::dir(kind)));
                let path = path.canonicalize().map_err(|error| format!("{path:?}: {error}"))?;
                (kind, vec![path.file_name().unwrap().to_str().unwrap().to_owned()])
            }
            (Op::Create(kind, _), Ok(ids)) => (*kind, ids.clone()),
            _ => {
                let nothing = |n| Fresh { id: format!("?{n}"), name: format!("?{n}"), created: String::new() };
                return Ok((0..8).map(nothing).collect());
            }
        };
        let one = |id: &String| {
            let config: Doc = serde_json::from_str(&self.tree.read(&format!("{}/{id}/config", dir(kind))))
                .map_err(|error| format!("config of {id}: {error}"))?;
            let value = |key: &str| text(&config, key).ok_or_else(|| format!("{id} has no {key}"));
            let created = value(if kind == Kind::Ctr { "createdTime" } else { "created" })?;
            Ok(Fresh { id: id.clone(), name: value("name")?, created })
        };
        ids.iter().map(one).collect()
    }

    /// Opened handles are remembered by what they were opened on; half-written ones are closed.
    fn keep_handles(&mut self, op: &Op, done: bool) {
        match op {
            Op::Open(path, entry, append) if done => {
                let id = expect::resolve(&self.model, path).unwrap();
                let made = self.model.objects[&id].made;
                self.held.push(Held { id, made, entry, append: *append, seen: None });
            }
            Op::Put(which, _, true) if !done => self.close(*which),
            Op::Close(which) => self.close(*which),
            Op::Remount => self.held.clear(),
            _ => {}
        }
    }

    fn close(&mut self, which: usize) {
        self.held.remove(which);
        self.files.remove(which);
    }

    fn carry_out(&mut self, op: &Op) -> Verdict<Vec<String>> {
        let at = |dir: &String, name: &String| self.tree.path(dir).join(name);
        let done = vec![];
        match op {
            Op::Mkdir(dir, name) => call(fs::create_dir(at(dir, name))).map(|()| done),
            Op::Rmdir(dir, name) => {
                ask_again(&at(dir, name));
                call(fs::remove_dir(at(dir, name))).map(|()| done)
            }
            Op::Unlink(dir, name) => {
                ask_again(&at(dir, name));
                call(fs::remove_file(at(dir, name))).map(|()| done)
            }
            Op::Rename(from, to, way) => {
                let flags = match way {
                    Way::Plain => RenameFlags::empty(),
                    Way::NoReplace => RenameFlags::RENAME_NOREPLACE,
                    Way::Exchange => RenameFlags::RENAME_EXCHANGE,
                };
                let (from, to) = (at(&from.0, &from.1), at(&to.0, &to.1));
                ask_again(&from);
                ask_again(&to);
                renameat2(AT_FDCWD, &from, AT_FDCWD, &to, flags).map(|()| done)
            }
            Op::Link(to, name) => call(symlink(to, self.tree.path("name").join(name))).map(|()| done),
            Op::Create(kind, input) => self.converse(&format!("create/{}", dir(*kind)), input),
            Op::Control(input) => self.converse("control", input),
            Op::Write(path, entry, append, input, pieces) => {
                let mut options = OpenOptions::new();
                options.write(true).append(*append).truncate(!*append);
                let mut file = call(options.open(self.tree.path(path).join(entry)))?;
                let bytes = input.bytes();
                let size = bytes.len().div_ceil(*pieces).max(1);
                bytes.chunks(size).try_for_each(|piece| write(&mut file, piece))?;
                nix::unistd::close(file.into_raw_fd()).map(|()| done)
            }
            Op::Flag(path, name, opening, text) => {
                let mut options = OpenOptions::new();
                match opening {
                    Opening::Create | Opening::Dying => options.write(true).create(true).truncate(true),
                    Opening::New => options.write(true).create_new(true),
                    Opening::Old => options.write(true),
                };
                let mut file = call(options.open(self.tree.path(path).join("flags").join(name)))?;
                if *opening == Opening::Dying {
                    kill(self.tree.server());
                }
                write(&mut file, text.as_bytes()).map(|()| done)
            }
            Op::Item(path, key, writing) => {
                let path = self.tree.path(path).join("data").join(key);
                writing.carry_out(&path, || kill(self.tree.server())).map(|()| done)
            }
            Op::Cut(path, key, size) => {
                let path = self.tree.path(path).join("data").join(key);
                nix::unistd::truncate(&path, *size as i64).map(|()| done)
            }
            Op::Open(path, entry, append) => {
                let options = OpenOptions::new().read(true).write(true).append(*append).clone();
                self.files.push(call(options.open(self.tree.path(path).join(entry)))?);
                Ok(done)
            }
            Op::Read(which) => {
                let mut read = String::new();
                call(self.files[*which].seek(SeekFrom::Start(0)))?;
                call(self.files[*which].read_to_string(&mut read)).map(|_| vec![read])
            }
            Op::Put(which, input, dies) => self.put(*which, input, *dies).map(|()| done),
            Op::Close(_) => Ok(done),
            Op::Never(name, path, _) => self.never(name, path).map(|()| done),
            Op::Kill(wait) => {
                match wait {
                    true => self.tree.kill_server(),
                    false => kill(self.tree.server()),
                }
                Ok(done)
            }
            Op::Remount => {
                self.files.clear();
                self.tree.unmount();
                self.tree.mount();
                Ok(done)
            }
        }
    }

    /// Writes documents and reads the lines that answer them, on one handle.
    fn converse(&self, path: &str, input: &Input) -> Verdict<Vec<String>> {
        let mut file = call(OpenOptions::new().read(true).write(true).open(self.tree.path(path)))?;
        write(&mut file, &input.bytes())?;
        let mut answer = String::new();
        if let Input::Docs(_) = input {
            call(file.read_to_string(&mut answer))?;
        }
        nix::unistd::close(file.into_raw_fd())?;
        Ok(answer.lines().map(str::to_owned).collect())
    }

    /// Writes to a held handle; the server may die before, or in the middle of what is written.
    fn put(&mut self, which: usize, input: &Input, dies: bool) -> Verdict<()> {
        let bytes = input.bytes();
        let one = match input {
            Input::Docs(docs) => docs.len() == 1,
            Input::Line(line, _) => !line.contains('\n'),
            _ => false,
        };
        let (first, rest) = bytes.split_at(if dies && one { bytes.len() / 2 } else { 0 });
        let file = &mut self.files[which];
        if !first.is_empty() {
            write(file, first)?;
        }
        if dies {
            kill(self.tree.server());
        }
        write(file, rest)
    }

    fn never(&self, name: &str, path: &str) -> Verdict<()> {
        let path = self.tree.path(path);
        let nowhere = self.tree.path("nowhere");
        match name {
            "mkdir" => call(fs::create_dir(path)),
            "rmdir" => call(fs::remove_dir(path)),
            "unlink" => call(fs::remove_file(path)),
            "symlink" => call(symlink(nowhere, path)),
            "creat" => call(OpenOptions::new().write(true).create(true).truncate(true).open(path)).map(drop),
            "open" => call(OpenOptions::new().write(true).open(path)).map(drop),
            "truncate" => nix::unistd::truncate(&path, 0),
            "chmod" => fchmodat(AT_FDCWD, &path, Mode::from_bits_truncate(0o700), FchmodatFlags::FollowSymlink),
            "utimes" => {
                let time = TimeSpec::new(1, 0);
                utimensat(AT_FDCWD, &path, &time, &time, UtimensatFlags::FollowSymlink)
            }
            other => panic!("{other} is not among the calls"),
        }
    }
}

/// The kernel compares kinds of file before it asks the server, and takes a name that is gone for what
/// it was until somebody looks.
fn ask_again(path: &Path) {
    let _ = path.symlink_metadata();
}

/// One write(2), which takes all or nothing.
fn write(file: &mut File, bytes: &[u8]) -> Verdict<()> {
    let written = call(file.write(bytes))?;
    assert_eq!(written, bytes.len(), "a short write");
    Ok(())
}

/// The objects that differ, and those that they are tied to.
fn touched(before: &Model, after: &Model) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for id in before.objects.keys().chain(after.objects.keys()) {
        let pair = [before.objects.get(id), after.objects.get(id)];
        if pair[0] == pair[1] {
            continue;
        }
        ids.insert(id.clone());
        for object in pair.into_iter().flatten() {
            ids.extend(object.pod.clone());
            ids.extend(object.needs.clone());
        }
        ids.extend([before.dependents(id), after.dependents(id)].into_iter().flatten());
    }
    ids
}
