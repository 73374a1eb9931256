//! A change shows in every entry derived from it at once, in any process.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::racer::{Racer, Task, done, expect};
use super::rounds;
use crate::support::{Mounted, Random, seed};

const STATUSES: [&str; 6] = ["created", "running", "stopped", "paused", "exited", "configured"];

/// What the writer has written last, as the reader is told.
struct Truth {
    name: String,
    old: String,
    status: String,
    pid: u32,
    pod_name: String,
    since: u128,
    entry: String,
}

#[test]
fn a_change_shows_in_every_derived_entry_at_once() {
    let tree = Mounted::new();
    fs::create_dir(tree.path("pod/shop")).unwrap();
    fs::create_dir(tree.path("pod/shop/containers/web")).unwrap();
    let (ctr, pod) = (tree.id("web"), fs::read_link(tree.path("pod/shop")).unwrap());
    let (ctr, pod) = (format!("ctr/{ctr}"), format!("pod/{}", pod.display()));
    let mut reader = Racer::start(&tree, "derived", &[&ctr, &pod]);
    let mut random = Random(seed());
    let rounds = rounds(4_000, 10_000);
    let (mut name, mut status, mut pid, mut pod_name) = ("web".to_owned(), "configured", 0, "shop".to_owned());
    for round in 0..rounds {
        let mut old = "nobody".to_owned();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let entry = match random.below(10) {
            way @ 0..3 => {
                status = *random.pick(&STATUSES);
                match way {
                    0 => tree.echo(status, &format!("{ctr}/status")).unwrap(),
                    _ => merge(&tree, &format!("{ctr}/state"), &format!(r#"{{"state":"{status}"}}"#)),
                }
                "status"
            }
            3 | 4 => {
                pid = random.below(100_000) as u32 + 1;
                tree.echo(&pid.to_string(), &format!("{ctr}/pid")).unwrap();
                "pid"
            }
            5 => {
                pod_name = format!("pod{}{}", "d".repeat(random.below(20)), round);
                tree.echo(&pod_name, &format!("{pod}/name")).unwrap();
                "pod"
            }
            way => {
                let new = format!("n{}{}", "a".repeat(random.below(20)), round);
                old = std::mem::replace(&mut name, new);
                match way {
                    6 => merge(&tree, &format!("{ctr}/config"), &format!(r#"{{"name":"{name}"}}"#)),
                    7 => tree.echo(&name, &format!("{ctr}/name")).unwrap(),
                    8 => fs::rename(tree.path(&format!("name/{old}")), tree.path(&format!("name/{name}"))).unwrap(),
                    _ => fs::rename(tree.path(&format!("ctr/{old}")), tree.path(&format!("ctr/{name}"))).unwrap(),
                }
                "name"
            }
        };
        reader.agree(&format!("{name} {old} {status} {pid} {pod_name} {since} {entry}"));
    }
    println!("{rounds} rounds, none stale");
}

fn merge(tree: &Mounted, file: &str, patch: &str) {
    use std::io::Write;
    fs::OpenOptions::new().append(true).open(tree.path(file)).unwrap().write_all(patch.as_bytes()).unwrap();
}

/// Compares everything with what was written, through paths and through files held open.
pub(super) fn reader(task: &mut Task) {
    let (ctr, pod) = (task.arguments[0].clone(), task.arguments[1].clone());
    let held = fs::File::open(format!("{ctr}/state")).unwrap();
    task.answer(|task, line| {
        let words: Vec<&str> = line.split(' ').collect();
        let truth = Truth {
            name: words[0].to_owned(),
            old: words[1].to_owned(),
            status: words[2].to_owned(),
            pid: words[3].parse().unwrap(),
            pod_name: words[4].to_owned(),
            since: words[5].parse().unwrap(),
            entry: words[6].to_owned(),
        };
        task.doing(line);
        sizes_and_times(&truth, &ctr, &pod)?;
        contents(&truth, &ctr, &pod)?;
        names(&truth, &ctr)?;
        let mut bytes = vec![0; 65_536];
        let length = done("pread", held.read_at(&mut bytes, 0))?;
        agrees_with_state(&truth, &bytes[..length])
    });
}

/// Looked at before anything is read, for an open would bring the attributes up to date.
fn sizes_and_times(truth: &Truth, ctr: &str, pod: &str) -> Result<(), String> {
    let stat = |path: &str| done(path, fs::metadata(path));
    let line = |text: &str| text.len() as u64 + 1;
    expect("size of status", &stat(&format!("{ctr}/status"))?.len(), &line(&truth.status))?;
    expect("size of name", &stat(&format!("{ctr}/name"))?.len(), &line(&truth.name))?;
    expect("size of pod/name", &stat(&format!("{pod}/name"))?.len(), &line(&truth.pod_name))?;
    expect("size of pod/status", &stat(&format!("{pod}/status"))?.len(), &line(pod_status(&truth.status)))?;
    let stats: Vec<(String, fs::Metadata)> = ["config", "state", "raw", "pid"]
        .into_iter()
        .map(|file| format!("{ctr}/{file}"))
        .map(|file| stat(&file).map(|found| (file, found)))
        .collect::<Result<_, _>>()?;
    for (file, stat) in &stats {
        expect(&format!("size of {file}"), &stat.len(), &(done(file, fs::read(file))?.len() as u64))?;
    }
    let file = match truth.entry.as_str() {
        "name" => format!("{ctr}/config"),
        "pod" => format!("{pod}/config"),
        _ => format!("{ctr}/state"),
    };
    let changed = |file: &str| -> Result<u128, String> {
        let stat = stat(file)?;
        Ok(stat.mtime() as u128 * 1_000_000_000 + stat.mtime_nsec() as u128)
    };
    // The same status again changes nothing.
    if truth.entry == "name" || truth.entry == "pod" {
        let time = changed(&file)?;
        if time < truth.since {
            return Err(format!("{file}: changed at {time}, before it was written at {}", truth.since));
        }
    }
    expect("mtime of status and state", &changed(&format!("{ctr}/status"))?, &changed(&format!("{ctr}/state"))?)
}

fn contents(truth: &Truth, ctr: &str, pod: &str) -> Result<(), String> {
    let read = |path: String| done(&path, fs::read_to_string(&path));
    let line = |text: &str| format!("{text}\n");
    expect("status", &read(format!("{ctr}/status"))?, &line(&truth.status))?;
    expect("name", &read(format!("{ctr}/name"))?, &line(&truth.name))?;
    expect("pod/name", &read(format!("{pod}/name"))?, &line(&truth.pod_name))?;
    expect("pod/status", &read(format!("{pod}/status"))?, &line(pod_status(&truth.status)))?;
    agrees_with_state(truth, read(format!("{ctr}/state"))?.as_bytes())?;
    let config = json(read(format!("{ctr}/config"))?.as_bytes())?;
    expect("name in config", &config["name"], &Value::from(truth.name.as_str()))?;
    let table = read("table/ctr".to_owned())?;
    let row: Vec<&str> = table.lines().nth(1).unwrap_or_default().split('\t').collect();
    let pid = if truth.pid == 0 { "-".to_owned() } else { truth.pid.to_string() };
    expect("row", &row[1..4].to_vec(), &vec![truth.name.as_str(), &truth.status, &pid])?;
    expect("pod in the row", &row[5], &truth.pod_name.as_str())
}

fn agrees_with_state(truth: &Truth, bytes: &[u8]) -> Result<(), String> {
    let state = json(bytes)?;
    expect("status in state", &state["state"], &Value::from(truth.status.as_str()))?;
    expect("pid in state", &state["pid"].as_u64().unwrap_or(0), &u64::from(truth.pid))
}

fn names(truth: &Truth, ctr: &str) -> Result<(), String> {
    let link = |path: String| done(&path, fs::read_link(&path)).map(|to| to.display().to_string());
    expect("name/", &link(format!("name/{}", truth.name))?, &format!("../{ctr}"))?;
    expect("ctr/NAME", &format!("ctr/{}", link(format!("ctr/{}", truth.name))?), &ctr.to_owned())?;
    expect("pod/NAME", &Path::new(&format!("pod/{}", truth.pod_name)).exists(), &true)?;
    let through = format!("name/{}/status", truth.name);
    expect("through name/", &done(&through, fs::read_to_string(&through))?, &format!("{}\n", truth.status))?;
    for old in [format!("name/{}", truth.old), format!("ctr/{}", truth.old), format!("name/{}/pid", truth.old)] {
        if fs::symlink_metadata(&old).is_ok() {
            return Err(format!("{old} is still there"));
        }
    }
    Ok(())
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("{error}: {}", String::from_utf8_lossy(bytes)))
}

/// The status of a pod with one member.
fn pod_status(of_member: &str) -> &'static str {
    match of_member {
        "running" => "running",
        "paused" => "paused",
        "stopped" | "exited" => "exited",
        _ => "created",
    }
}
