//! Directories made, renamed and removed in `ctr/` beside walkers: nothing hangs and no errno is strange.

use std::fs;
use std::thread;

use nix::errno::Errno;

use super::a_while;
use super::racer::{Racer, Task, done, done_unless, finish_all};
use crate::support::{Mounted, Random, seed};

#[test]
fn makers_and_walkers_never_hang() {
    let tree = Mounted::new();
    let seed = seed().to_string();
    fs::create_dir(tree.path("pod/shop")).unwrap();
    let makers = Racer::start_all(&tree, 4, "storm-maker", &[&seed]);
    let walkers = Racer::start_all(&tree, 4, "storm-walker", &[&seed]);
    thread::sleep(a_while());
    let (made, walked) = (finish_all(makers), finish_all(walkers));
    println!("{made} objects made, renamed and removed beside {walked} walks");
    assert!(made > 20 && walked > 20, "too few to tell: {made} made, {walked} walks");
}

/// Makes, renames and removes: names of its own, where all must succeed, and names that all makers want.
pub(super) fn maker(task: &mut Task) {
    let own = task.number(1);
    let mut random = Random(task.arguments[0].parse::<u64>().unwrap() ^ (own as u64));
    task.run_free(|task, round| {
        let step = |what: String, result: &mut dyn FnMut() -> std::io::Result<()>, may_be: &[Errno]| {
            task.doing(&*what);
            done_unless(&what, result(), may_be).map(drop)
        };
        let (name, other) = (format!("own{own}.{round}"), format!("other{own}.{round}"));
        match random.below(4) {
            0 => {
                let id = format!("ctr/{:064x}", ((own as u128) << 64) | (round as u128 + 1));
                step(format!("mkdir {id}"), &mut || fs::create_dir(&id), &[])?;
                step(format!("rmdir {id}"), &mut || fs::remove_dir(&id), &[])
            }
            1 => {
                let dir = "pod/shop/containers";
                step(format!("mkdir {dir}/{name}"), &mut || fs::create_dir(format!("{dir}/{name}")), &[])?;
                step(format!("rm ctr/{name}"), &mut || fs::remove_file(format!("ctr/{name}")), &[])
            }
            2 => {
                let shared = |n| format!("shared{n}");
                let (a, b) = (shared(random.below(3)), shared(random.below(3)));
                let taken = [Errno::EEXIST, Errno::ENOENT];
                step(format!("mkdir ctr/{a}"), &mut || fs::create_dir(format!("ctr/{a}")), &taken)?;
                step(format!("mv name/{a} name/{b}"), &mut || mv("name", &a, &b), &taken)?;
                step(format!("mv ctr/{b} ctr/{a}"), &mut || mv("ctr", &b, &a), &taken)?;
                step(format!("rm ctr/{a}"), &mut || fs::remove_file(format!("ctr/{a}")), &taken)
            }
            _ => {
                step(format!("mkdir ctr/{name}"), &mut || fs::create_dir(format!("ctr/{name}")), &[])?;
                step(format!("mv name/{name} name/{other}"), &mut || mv("name", &name, &other), &[])?;
                step(format!("mv ctr/{other} ctr/{name}"), &mut || mv("ctr", &other, &name), &[])?;
                let id = done("readlink", fs::read_link(format!("name/{name}")))?;
                let id = format!("ctr/{}", id.file_name().unwrap().display());
                step(format!("rmdir {id}"), &mut || fs::remove_dir(&id), &[])
            }
        }
    });
}

fn mv(dir: &str, from: &str, to: &str) -> std::io::Result<()> {
    fs::rename(format!("{dir}/{from}"), format!("{dir}/{to}"))
}

/// Looks at everything there is. Objects go while it looks, and an open directory's object too.
pub(super) fn walker(task: &mut Task) {
    let gone = [Errno::ENOENT, Errno::ESTALE];
    let mut random = Random(task.arguments[0].parse::<u64>().unwrap() ^ ((task.number(1) as u64) << 32));
    task.run_free(|task, _| {
        for dir in ["ctr", "name", "id", "pod/shop/containers"] {
            task.doing(format!("ls {dir}"));
            for entry in done("opendir", fs::read_dir(dir))? {
                let path = format!("{dir}/{}", done("readdir", entry)?.file_name().display());
                task.doing(format!("ls -l {path}/"));
                done_unless(&path, fs::symlink_metadata(&path), &gone)?;
                let Some(entries) = done_unless(&path, fs::read_dir(&path), &gone)? else { continue };
                for entry in entries {
                    let Some(entry) = done_unless(&path, entry, &gone)? else { break };
                    done_unless(&path, fs::symlink_metadata(entry.path()), &gone)?;
                    if random.below(4) == 0 && entry.file_name() != "raw" {
                        let may_be = [&gone[..], &[Errno::EISDIR]].concat();
                        done_unless(&path, fs::read(entry.path()), &may_be)?;
                    }
                }
            }
        }
        task.doing("cat table/ctr and check");
        done("table", fs::read_to_string("table/ctr"))?;
        let check = done("check", fs::read_to_string("check"))?;
        if check.starts_with("ok") { Ok(()) } else { Err(check) }
    });
}
