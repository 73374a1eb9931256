//! A listing is one state of the store: what was there throughout is in it once, and what is new or gone
//! before it is opened is in it or not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nix::errno::Errno;

use super::racer::{Racer, Task, done, done_unless, expect, finish_all};
use super::rounds;
use crate::support::{Mounted, Random, seed};

/// So many that a listing takes several requests of the kernel.
const FIXED: usize = 300;

#[test]
fn a_listing_shows_one_state() {
    let tree = Mounted::new();
    let documents: String = (0..FIXED).map(|n| format!(r#"{{"name":"fixed{n}"}}"#)).collect();
    fs::write(tree.path("create/ctr"), documents).unwrap();
    let id = tree.make("v0");
    let mut random = Random(seed());
    let listers = Racer::start_all(&tree, 3, "lister", &[]);
    let makers = Racer::start_all(&tree, 1, "maker", &[]);
    let rounds = rounds(2_000, 10_000);
    for round in 1..=rounds {
        let (old, new) = (format!("v{}", (round - 1) % 5), format!("v{}", round % 5));
        let (from, to) = (tree.path(&format!("name/{old}")), tree.path(&format!("name/{new}")));
        match random.below(3) {
            0 => fs::rename(from, to).unwrap(),
            1 => fs::rename(tree.path(&format!("ctr/{old}")), tree.path(&format!("ctr/{new}"))).unwrap(),
            _ => tree.echo(&new, &format!("ctr/{id}/name")).unwrap(),
        }
        let moving: Vec<String> =
            list(&tree.path("name")).unwrap().into_iter().filter(|n| n.starts_with('v')).collect();
        assert_eq!(moving, [new.as_str()], "round {round}: ls");
        assert!(fs::symlink_metadata(tree.path(&format!("name/{new}"))).is_ok(), "round {round}: stat {new}");
        assert!(fs::symlink_metadata(tree.path(&format!("name/{old}"))).is_err(), "round {round}: stat {old}");
    }
    let (listed, made) = (finish_all(listers), finish_all(makers));
    println!("{rounds} renames and {made} objects made beside {listed} listings, none mixed");
}

fn list(dir: &Path) -> Result<Vec<String>, String> {
    let entries = done("opendir", fs::read_dir(dir))?;
    entries.map(|entry| Ok(done("readdir", entry)?.file_name().to_string_lossy().into_owned())).collect()
}

/// Lists everything over and over. Before and after there is one moving name and at most one that is
/// made and removed, so there are as many in every state.
pub(super) fn lister(task: &mut Task) {
    task.run_free(|task, _| {
        for dir in ["name", "ctr", "id"] {
            task.doing(format!("ls {dir}"));
            let names = list(Path::new(dir))?;
            let different: BTreeSet<&String> = names.iter().collect();
            expect(&format!("names twice in {dir}"), &(names.len() - different.len()), &0)?;
            let extra = names.len().wrapping_sub(FIXED + 1);
            if extra > 1 {
                return Err(format!("{} entries in {dir}", names.len()));
            }
            if dir == "name" {
                let fixed = names.iter().filter(|name| name.starts_with("fixed")).count();
                let moving = names.iter().filter(|name| name.starts_with('v')).count();
                expect("fixed and moving names", &(fixed, moving), &(FIXED, 1))?;
            }
        }
        task.doing("cat table/ctr");
        let table = done("table", fs::read_to_string("table/ctr"))?;
        let moving = table.lines().filter(|row| row.split('\t').nth(1).is_some_and(|name| name.starts_with('v')));
        expect("moving names in the table", &moving.count(), &1)
    });
}

/// Makes an object and removes it.
pub(super) fn maker(task: &mut Task) {
    task.run_free(|task, round| {
        let name = format!("ctr/made{}", round % 7);
        task.doing(format!("mkdir {name}"));
        done("mkdir", fs::create_dir(&name))?;
        task.doing(format!("listing {name}"));
        let is_listed =
            || list(Path::new("name")).map(|names| names.iter().any(|other| name.ends_with(&format!("/{other}"))));
        expect("made and listed", &is_listed()?, &true)?;
        task.doing(format!("rm {name}"));
        done("rm", fs::remove_file(&name))?;
        expect("removed and listed", &is_listed()?, &false)?;
        done_unless("stat", fs::symlink_metadata(&name), &[Errno::ENOENT])?
            .map_or(Ok(()), |_| Err("still there".into()))
    });
}
