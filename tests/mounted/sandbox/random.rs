//! Random operations on sandboxes by real system calls, beside plain maps that say what each answers and
//! what is there then; deaths of the server and remounts among them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use nix::errno::Errno;
use serde_json::json;

use super::{link, make, with_image};
use crate::support::images::names_in;
use crate::support::{Mounted, Random, is_mounted, seed};
use crate::tools::{IMAGE, ask};

/// Operations of one run.
const STEPS: usize = 600;
/// So many operations lie between two checks of the whole store.
const WHOLE: usize = 50;

#[derive(Clone, Debug)]
enum Op {
    Sandbox { id: String, name: String, infra: String },
    Member { pod: String, pod_name: String, name: String, id: Option<String> },
    RemovePod(String),
    RemoveAll(String),
    RemoveCtr(String),
    Status(String, &'static str),
    Mount(String, bool),
    Rename(String, String),
    Kill,
    Remount,
}

#[derive(Clone, PartialEq, Debug)]
struct Ctr {
    id: String,
    /// The ID of its pod.
    pod: String,
    runs: bool,
    mounted: bool,
}

/// Containers by name, and pods' names by ID.
#[derive(Clone, Default)]
struct Model {
    ctrs: BTreeMap<String, Ctr>,
    pods: BTreeMap<String, String>,
}

type Verdict = Result<Option<String>, Errno>;

fn unless(bad: bool, errno: Errno) -> Result<(), Errno> {
    if bad { Err(errno) } else { Ok(()) }
}

impl Model {
    fn has_name(&self, name: &str) -> bool {
        self.ctrs.contains_key(name) || self.pods.values().any(|pod| pod == name)
    }

    fn has_id(&self, id: &str) -> bool {
        self.pods.contains_key(id) || self.ctrs.values().any(|ctr| ctr.id == id)
    }

    fn members(&self, pod: &str) -> Vec<&Ctr> {
        self.ctrs.values().filter(|ctr| ctr.pod == pod).collect()
    }

    fn remove_pod(&mut self, pod: &str, recursive: bool) -> Result<(), Errno> {
        unless(!self.pods.contains_key(pod), Errno::ENOENT)?;
        unless(!recursive && self.members(pod).len() > 1, Errno::ENOTEMPTY)?;
        unless(self.members(pod).iter().any(|ctr| ctr.runs), Errno::EBUSY)?;
        self.ctrs.retain(|_, ctr| ctr.pod != pod);
        self.pods.remove(pod);
        Ok(())
    }

    /// What an operation answers; `made` is the ID that the tree gave. On an error the caller drops it.
    fn expect(&mut self, op: &Op, made: Option<&str>) -> Verdict {
        let ctr = |id: &str, pod: &str| Ctr { id: id.to_owned(), pod: pod.to_owned(), runs: false, mounted: false };
        match op {
            Op::Sandbox { id, name, infra } => {
                let taken = self.has_id(id) || self.has_name(name) || self.has_name(infra);
                unless(taken, Errno::EEXIST)?;
                self.pods.insert(id.clone(), name.clone());
                self.ctrs.insert(infra.clone(), ctr(id, id));
                return Ok(Some(id.clone()));
            }
            Op::Member { pod, pod_name, name, id } => {
                let own = self.pods.get(pod).ok_or(Errno::ENOENT)?;
                unless(own != pod_name, Errno::EINVAL)?;
                unless(self.has_name(name) || id.as_ref().is_some_and(|id| self.has_id(id)), Errno::EEXIST)?;
                let id = id.as_deref().or(made).unwrap_or("?").to_owned();
                self.ctrs.insert(name.clone(), ctr(&id, pod));
                return Ok(Some(id));
            }
            Op::RemovePod(pod) => self.remove_pod(pod, false)?,
            Op::RemoveAll(pod) => self.remove_pod(pod, true)?,
            Op::RemoveCtr(id) => {
                let (name, found) = self.ctrs.iter().find(|(_, ctr)| ctr.id == *id).ok_or(Errno::ENOENT)?;
                unless(found.pod == *id || found.runs, Errno::EBUSY)?;
                let name = name.clone();
                self.ctrs.remove(&name);
            }
            Op::Status(name, status) => {
                self.ctrs.get_mut(name).ok_or(Errno::ENOENT)?.runs = *status == "running";
            }
            Op::Mount(name, mount) => {
                let ctr = self.ctrs.get_mut(name).ok_or(Errno::ENOENT)?;
                unless(!mount && ctr.mounted && ctr.runs, Errno::EBUSY)?;
                ctr.mounted = *mount;
            }
            Op::Rename(from, to) => {
                unless(!self.has_name(from), Errno::ENOENT)?;
                unless(self.has_name(to) && from != to, Errno::EEXIST)?;
                self.pods.values_mut().filter(|pod| *pod == from).for_each(|pod| pod.clone_from(to));
                if let Some(ctr) = self.ctrs.remove(from) {
                    self.ctrs.insert(to.clone(), ctr);
                }
            }
            Op::Kill | Op::Remount => {}
        }
        Ok(None)
    }
}

fn id(random: &mut Random) -> String {
    format!("{:02x}", 0xa0 + random.below(6)).repeat(32)
}

fn name(random: &mut Random, of: &str) -> String {
    format!("{of}{}", random.below(6))
}

/// The ID and the name of some pod: mostly of one that there is.
fn pod(random: &mut Random, model: &Model) -> (String, String) {
    match model.pods.iter().nth(random.below(model.pods.len().max(1))) {
        Some((id, name)) if random.below(6) > 0 => (id.clone(), name.clone()),
        _ => (id(random), name(random, "p")),
    }
}

fn ctr(random: &mut Random, model: &Model) -> (String, String) {
    match model.ctrs.iter().nth(random.below(model.ctrs.len().max(1))) {
        Some((name, ctr)) if random.below(10) > 0 => (ctr.id.clone(), name.clone()),
        _ => (id(random), name(random, "m")),
    }
}

fn choose(random: &mut Random, model: &Model) -> Op {
    let any = |random: &mut Random| {
        let of = *random.pick(&["p", "i", "m"]);
        name(random, of)
    };
    match random.below(100) {
        0..20 => Op::Sandbox { id: id(random), name: name(random, "p"), infra: name(random, "i") },
        20..40 => {
            let (pod, pod_name) = pod(random, model);
            let id = (random.below(3) == 0).then(|| id(random));
            Op::Member { pod, pod_name, name: name(random, "m"), id }
        }
        40..52 => Op::RemovePod(pod(random, model).0),
        52..57 => Op::RemoveAll(pod(random, model).0),
        57..67 => Op::RemoveCtr(ctr(random, model).0),
        67..77 => Op::Status(ctr(random, model).1, if random.below(3) == 0 { "running" } else { "exited" }),
        77..89 => Op::Mount(ctr(random, model).1, random.below(2) == 0),
        89..96 => Op::Rename(any(random), any(random)),
        96 => Op::Remount,
        _ => Op::Kill,
    }
}

fn carry_out(tree: &Mounted, model: &Model, op: &Op) -> io::Result<Option<String>> {
    match op {
        Op::Sandbox { id, name, infra } => {
            let document = json!({"podName": name, "podID": id, "imageName": IMAGE, "containerName": infra});
            return make(tree, "sandbox", &document).map(Some);
        }
        Op::Member { pod, pod_name, name, id } => {
            let document = json!({
                "podName": pod_name, "podID": pod, "imageName": IMAGE, "containerName": name, "containerID": id,
            });
            return make(tree, "ctr", &document).map(Some);
        }
        Op::RemovePod(pod) => fs::remove_dir(tree.path(&format!("pod/{pod}")))?,
        Op::RemoveAll(pod) => {
            let order = json!({"verb": "remove", "pod": pod, "recursive": true});
            ask(tree, "control", order.to_string())?;
        }
        Op::RemoveCtr(id) => fs::remove_dir(tree.path(&format!("ctr/{id}")))?,
        Op::Status(name, status) => tree.echo(status, &format!("ctr/{name}/status"))?,
        Op::Mount(name, mount) => tree.echo(if *mount { "1" } else { "0" }, &format!("ctr/{name}/mounted"))?,
        Op::Rename(from, to) => fs::rename(tree.path(&format!("name/{from}")), tree.path(&format!("name/{to}")))?,
        Op::Kill => tree.kill_server(),
        // `ctrfs umount` refuses while a container runs.
        Op::Remount if model.ctrs.values().any(|ctr| ctr.runs) => {}
        Op::Remount => {
            tree.unmount();
            tree.mount();
        }
    }
    Ok(None)
}

fn compare(tree: &Mounted, model: &Model) {
    let ids = |ids: Vec<&String>| ids.into_iter().cloned().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
    let ctrs = ids(model.ctrs.values().map(|ctr| &ctr.id).collect());
    let names = ids(model.ctrs.keys().chain(model.pods.values()).collect());
    assert_eq!(names_in(&tree.path("ctr")), ctrs);
    assert_eq!(names_in(&tree.path("pod")), ids(model.pods.keys().collect()));
    assert_eq!(names_in(&tree.path("id")), ids(ctrs.iter().chain(model.pods.keys()).collect()));
    assert_eq!(names_in(&tree.path("name")), names);
    for (name, ctr) in &model.ctrs {
        assert_eq!(link(tree, &format!("name/{name}")), format!("../ctr/{}", ctr.id));
        assert_eq!(link(tree, &format!("ctr/{}/pod", ctr.id)), format!("../../pod/{}", ctr.pod));
        assert_eq!(tree.read(&format!("ctr/{}/name", ctr.id)), format!("{name}\n"));
        assert_eq!(tree.read(&format!("ctr/{name}/mounted")) == "1\n", ctr.mounted, "{name}");
        assert_eq!(is_mounted(&tree.path(&format!("ctr/{}/rootfs", ctr.id))), ctr.mounted, "{name}");
    }
    for (id, name) in &model.pods {
        assert_eq!(link(tree, &format!("id/{id}")), format!("../pod/{id}"));
        assert_eq!(link(tree, &format!("name/{name}")), format!("../pod/{id}"));
        let members = ids(model.members(id).into_iter().map(|ctr| &ctr.id).collect());
        assert_eq!(names_in(&tree.path(&format!("pod/{id}/containers"))), members);
        let running = model.members(id).iter().filter(|ctr| ctr.runs).count();
        let status = tree.read(&format!("pod/{id}/status"));
        assert_eq!(status == "running\n", running == members.len(), "{name} is {status}");
    }
}

#[test]
fn sandboxes_do_what_the_model_says() {
    let (tree, _) = with_image();
    let (mut random, mut model, mut last) = (Random(seed()), Model::default(), Vec::new());
    let mut seen = BTreeMap::new();
    for step in 0..STEPS {
        let op = choose(&mut random, &model);
        last.push(op.clone());
        let context = || format!("step {step}: {:?}", &last[last.len().saturating_sub(8)..]);
        // The kernel takes a name that is gone for what it was until somebody looks.
        for dir in ["ctr", "pod", "name"] {
            names_in(&tree.path(dir)).iter().for_each(|name| drop(tree.path(dir).join(name).symlink_metadata()));
        }
        let tree_says = carry_out(&tree, &model, &op)
            .map_err(|error| Errno::from_raw(error.raw_os_error().expect("an error of the kernel")));
        let made = tree_says.as_ref().ok().and_then(|made| made.as_deref());
        let mut after = model.clone();
        let model_says = after.expect(&op, made);
        assert_eq!(tree_says, model_says, "{}\nlast refusal: {}", context(), tree.last_refusal());
        if model_says.is_ok() {
            model = after;
        }
        *seen.entry(format!("{:?}", model_says.map(|_| ()))).or_insert(0) += 1;
        println!("{}", context());
        compare(&tree, &model);
        if step % WHOLE == WHOLE - 1 {
            assert!(tree.read("check").starts_with("ok"), "{}: {}", context(), tree.read("check"));
        }
    }
    println!("{seen:?}");
    for name in model.ctrs.keys() {
        tree.echo("exited", &format!("ctr/{name}/status")).unwrap();
    }
}
