//! Names, states and sizes that walkers meet for the first time while they change.
//!
//! A LOOKUP answered from before a change may reach the kernel after the change was told, about an
//! inode that the kernel did not know then. So attributes never come with a LOOKUP.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use super::racer::{Racer, Task, done, done_unless, expect, finish_all};
use super::{rounds, settled_size};
use crate::support::{Mounted, Random, seed};

#[test]
fn a_name_first_met_while_it_moves_is_never_stale() {
    let tree = Mounted::new();
    let id = tree.make("v0");
    let mut random = Random(seed());
    let rounds = rounds(10_000, 50_000);
    let walkers = Racer::start_all(&tree, 3, "first-met", &["names"]);
    let mut config = OpenOptions::new().append(true).open(tree.path(&format!("ctr/{id}/config"))).unwrap();
    let exists = |path: String| fs::symlink_metadata(tree.path(&path)).is_ok();
    for round in 1..=rounds {
        let (old, new) = (format!("v{}", (round - 1) % 8), format!("v{}", round % 8));
        config.write_all(format!(r#"{{"name":"{new}"}}"#).as_bytes()).unwrap();
        if random.below(3) == 0 {
            thread::sleep(Duration::from_micros(random.below(200) as u64));
        }
        assert!(!exists(format!("name/{old}")), "round {round}: {old} is still there");
        assert!(!exists(format!("ctr/{old}")), "round {round}: ctr/{old} is still there");
        assert!(exists(format!("name/{new}/pid")), "round {round}: {new} is not there");
    }
    let walked = finish_all(walkers);
    let last = format!("v{}", rounds % 8);
    let left: Vec<_> = (0..8).map(|n| format!("v{n}")).filter(|name| exists(format!("name/{name}"))).collect();
    assert_eq!(left, [last], "stale for good");
    println!("{rounds} renames beside {walked} walks, none stale during or after");
}

#[test]
fn states_and_sizes_first_met_while_they_change_are_never_stale() {
    let tree = Mounted::new();
    let (objects, writes) = (rounds(600, 10_000), 5);
    let documents: String = (0..objects).map(|n| format!(r#"{{"name":"m{n}"}}"#)).collect();
    let mut create = OpenOptions::new().write(true).open(tree.path("create/ctr")).unwrap();
    create.write_all(documents.as_bytes()).unwrap();
    // Not through the tree, or these would be known inodes: a file beside it says where the writer is.
    let ids: Vec<String> =
        fs::read_dir(tree.path("id")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let beside = crate::support::Scratch::new();
    let (list, progress) = (beside.path().join("ids"), beside.path().join("progress"));
    fs::write(&list, ids.join("\n")).unwrap();
    fs::write(&progress, 0u64.to_le_bytes()).unwrap();
    let (list, progress) = (list.to_str().unwrap(), progress.to_str().unwrap());
    let walkers = Racer::start_all(&tree, 3, "first-met", &["states", list, progress]);
    let at = OpenOptions::new().write(true).open(progress).unwrap();
    for (n, id) in ids.iter().enumerate() {
        at.write_all_at(&(n as u64).to_le_bytes(), 0).unwrap();
        for word in &["running", "paused", "exited", "stopping", "created"][..writes] {
            tree.echo(word, &format!("ctr/{id}/status")).unwrap();
            let size = word.len() as u64 + 1;
            assert_eq!(settled_size(&tree.path(&format!("ctr/{id}/status"))), size, "container {n}, {word}");
            sizes_are_exact(&tree, id).unwrap();
        }
    }
    let walked = finish_all(walkers);
    for id in &ids {
        sizes_are_exact(&tree, id).unwrap();
    }
    println!("{} writes beside {walked} walks, none stale during or after", objects * writes);
}

/// The size that a file has before it is read, for reading brings attributes up to date.
fn sizes_are_exact(tree: &Mounted, id: &str) -> Result<(), String> {
    let paths = ["status", "state", "raw"].map(|file| tree.path(&format!("ctr/{id}/{file}")));
    let sizes = paths.clone().map(|path| settled_size(&path));
    for (path, size) in paths.iter().zip(sizes) {
        expect(&format!("size of {}", path.display()), &size, &(fs::read(path).unwrap().len() as u64))?;
    }
    Ok(())
}

pub(super) fn walker(task: &mut Task) {
    match task.arguments[0].as_str() {
        "names" => names(task),
        _ => states(task),
    }
}

fn names(task: &mut Task) {
    // A path may lose its object again between two steps of the kernel's second attempt.
    let may_be = [Errno::ENOENT, Errno::ESTALE];
    task.run_free(|task, round| {
        let name = format!("name/v{}", round % 8);
        task.doing(&*name);
        done_unless(&name, fs::symlink_metadata(&name), &may_be)?;
        done_unless(&name, fs::read_link(&name), &may_be)?;
        done_unless(&name, fs::metadata(format!("{name}/status")), &may_be).map(drop)
    });
}

fn states(task: &mut Task) {
    let ids = fs::read_to_string(&task.arguments[1]).unwrap();
    let ids: Vec<&str> = ids.lines().collect();
    let progress = File::open(&task.arguments[2]).unwrap();
    let mut random = Random(task.number(3) as u64);
    task.run_free(|task, _| {
        let mut at = [0; 8];
        done("progress", progress.read_exact_at(&mut at, 0))?;
        let id = ids[(u64::from_le_bytes(at) as usize + random.below(2)).min(ids.len() - 1)];
        task.doing(id);
        for file in ["status", "state", "raw", "pid"] {
            let path = format!("ctr/{id}/{file}");
            done(&path, fs::symlink_metadata(&path))?;
        }
        Ok(())
    });
}
