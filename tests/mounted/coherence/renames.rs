//! A name leads to the object that has it, at once: after a rename, a swap, a removal, and when it is
//! given to another.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::racer::{Racer, Task, done, done_unless, expect, finish_all};
use super::rounds;
use crate::support::{Mounted, Random, errno, seed};

#[test]
fn a_name_given_to_another_leads_there_at_once() {
    let tree = Mounted::new();
    let ids = [tree.make("web"), tree.make("api")];
    let mut names = ["web".to_owned(), "api".to_owned()];
    let mut finder = Racer::start(&tree, "finder", &[]);
    let mut random = Random(seed());
    let rounds = rounds(1_500, 15_000);
    let mut steps = 0;
    for round in 0..rounds {
        // One leaves its name, the other takes it, the first takes that one's; or both at once.
        if random.below(3) == 0 {
            swap(&tree, ["name", "ctr"][random.below(2)], &names[0], &names[1]);
            names.swap(0, 1);
            steps += 1;
        } else {
            let spare = format!("x{}", round % 7);
            let (first, second) = (names[0].clone(), names[1].clone());
            for (which, to) in [(0, &spare), (1, &first), (0, &second)] {
                rename(&tree, &mut random, &ids[which], &names[which], to);
                names[which].clone_from(to);
                finder.agree(&format!("{} {} {} {} {spare}", names[0], ids[0], names[1], ids[1]));
                steps += 1;
            }
        }
        finder.agree(&format!("{} {} {} {} x{}", names[0], ids[0], names[1], ids[1], round % 7));
    }
    println!("{steps} renames, none led astray");
}

fn rename(tree: &Mounted, random: &mut Random, id: &str, from: &str, to: &str) {
    match random.below(3) {
        0 => tree.echo(to, &format!("ctr/{id}/name")).unwrap(),
        way => {
            let dir = ["name", "ctr"][way - 1];
            fs::rename(tree.path(&format!("{dir}/{from}")), tree.path(&format!("{dir}/{to}"))).unwrap();
        }
    }
}

fn swap(tree: &Mounted, dir: &str, one: &str, other: &str) {
    let path = |name: &str| tree.path(&format!("{dir}/{name}"));
    renameat2(AT_FDCWD, &path(one), AT_FDCWD, &path(other), RenameFlags::RENAME_EXCHANGE).unwrap();
}

/// Follows two names to their objects, and a third to where another has not got it.
pub(super) fn finder(task: &mut Task) {
    task.answer(|task, line| {
        task.doing(line);
        let words: Vec<&str> = line.split(' ').collect();
        leads_to(words[0], words[1])?;
        leads_to(words[2], words[3])?;
        if words[0] != words[4] && words[2] != words[4] {
            let path = format!("name/{}/status", words[4]);
            expect(&path, &done_unless(&path, fs::metadata(&path), &[Errno::ENOENT])?.is_some(), &false)?;
        }
        Ok(())
    });
}

fn leads_to(name: &str, id: &str) -> Result<(), String> {
    let read = |path: &str| done(path, fs::read_to_string(path));
    let link = |path: &str| done(path, fs::read_link(path)).map(|to| to.display().to_string());
    let inode = |path: &str| done(path, fs::metadata(path)).map(|stat| stat.ino());
    let (by_name, hidden, by_id) = (format!("name/{name}"), format!("ctr/{name}"), format!("ctr/{id}"));
    expect("a path through name/", &read(&format!("{by_name}/name"))?, &format!("{name}\n"))?;
    expect("a path through ctr/NAME", &read(&format!("{hidden}/name"))?, &format!("{name}\n"))?;
    expect("readlink in name/", &link(&by_name)?, &format!("../ctr/{id}"))?;
    expect("readlink of ctr/NAME", &link(&hidden)?, &id.to_owned())?;
    expect("stat through name/", &inode(&by_name)?, &inode(&by_id)?)?;
    expect("stat through ctr/NAME", &inode(&format!("{hidden}/state"))?, &inode(&format!("{by_id}/state"))?)
}

#[test]
fn a_swap_is_never_seen_half() {
    let tree = Mounted::new();
    let (one, other) = (tree.make("left"), tree.make("right"));
    let walkers = Racer::start_all(&tree, 3, "present", &[&one, &other]);
    let rounds = rounds(4_000, 50_000);
    for round in 0..rounds {
        swap(&tree, ["name", "ctr"][round % 2], "left", "right");
    }
    let walked = finish_all(walkers);
    println!("{rounds} swaps beside {walked} walks, none seen half");
}

/// Two names that are always there and never both the same object's.
pub(super) fn present(task: &mut Task) {
    let ids = [task.arguments[0].clone(), task.arguments[1].clone()];
    task.run_free(|task, _| {
        task.doing("table");
        let table = done("table", fs::read_to_string("table/ctr"))?;
        let mut rows: Vec<(&str, &str)> = table.lines().skip(1).filter_map(|row| row.split_once('\t')).collect();
        rows.sort_by_key(|(_, rest)| rest.split('\t').next().map(str::to_owned));
        let names: Vec<_> = rows.iter().filter_map(|(_, rest)| rest.split('\t').next()).collect();
        expect("names in the table", &names, &vec!["left", "right"])?;
        expect("one ID twice", &(rows[0].0 == rows[1].0), &false)?;
        for name in ["name/left", "name/right", "ctr/left", "ctr/right"] {
            task.doing(name);
            let to = done(name, fs::read_link(name))?.display().to_string();
            expect(&format!("{name} leads to {to}, one of the two"), &ids.iter().any(|id| to.ends_with(&**id)), &true)?;
            done(name, fs::metadata(format!("{name}/status")))?;
        }
        let mut listed: Vec<_> = done("ls", fs::read_dir("name"))?.map(|entry| entry.unwrap().file_name()).collect();
        listed.sort();
        expect("ls name", &listed, &vec!["left".into(), "right".into()])
    });
}

#[test]
fn an_id_made_again_is_another_object() {
    let tree = Mounted::new();
    let id = "ab".repeat(32);
    let (dir, status) = (tree.path(&format!("ctr/{id}")), tree.path(&format!("ctr/{id}/status")));
    let mut last = None;
    let rounds = rounds(500, 5_000);
    for round in 0..rounds {
        fs::create_dir(&dir).unwrap();
        assert_eq!(fs::read_to_string(&status).unwrap(), "configured\n", "round {round}");
        let made = fs::metadata(&dir).unwrap();
        let held = File::open(&status).unwrap();
        let name = fs::read_to_string(dir.join("name")).unwrap();
        tree.echo("exited", &format!("ctr/{id}/status")).unwrap();
        match round % 3 {
            0 => fs::remove_dir(&dir).unwrap(),
            1 => fs::remove_file(tree.path(&format!("ctr/{}", name.trim_end()))).unwrap(),
            _ => tree.echo(&format!(r#"{{"verb":"remove","ctr":"{id}"}}"#), "control").unwrap(),
        }
        for gone in [dir.clone(), status.clone(), tree.path(&format!("id/{id}/status"))] {
            assert_eq!(errno(fs::metadata(&gone)), Errno::ENOENT, "round {round}: {}", gone.display());
        }
        for link in [format!("id/{id}"), format!("name/{}", name.trim_end())] {
            assert_eq!(errno(fs::symlink_metadata(tree.path(&link))), Errno::ENOENT, "round {round}: {link}");
        }
        assert_eq!(errno(held.read_at(&mut [0; 16], 0)), Errno::ESTALE, "round {round}");
        assert_ne!(last, Some(made.ino()), "round {round}");
        last = Some(made.ino());
    }
    println!("{rounds} removals, none left anything");
}
