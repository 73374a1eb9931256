//! A disk that is full: writes are refused, nothing is lost, reading goes on, and so does everything as
//! soon as there is space.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;

use crate::load::Load;
use crate::support::{Mounted, errno, succeed};

/// A small tmpfs; dropped after the store on it is unmounted.
pub(crate) struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, mib: usize) -> Disk {
        fs::create_dir(at).unwrap();
        succeed(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=700"), "disk"]).arg(at));
        Disk(at.to_owned())
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Takes what space is left.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        let error = std::iter::repeat_with(|| file.write_all(&[0; 4096])).find_map(Result::err).unwrap();
        assert_eq!(error.raw_os_error(), Some(Errno::ENOSPC as i32));
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
        let _ = fs::remove_dir(&self.0);
        let _ = self.0.parent().map(fs::remove_dir_all);
    }
}

pub(crate) fn store_on_disk(mib: usize) -> (Disk, Mounted) {
    let mut disk = None;
    let tree = Mounted::prepared("", |store| disk = Some(Disk::mount(store, mib)));
    (disk.unwrap(), tree)
}

fn big(n: usize) -> String {
    format!("{{\"name\":\"big-{n}\",\"labels\":{{\"pad\":\"{}\"}}}}\n", "x".repeat(200 << 10))
}

/// Makes containers until the disk is full; says how many.
fn make_until_full(tree: &Mounted) -> usize {
    for n in 0.. {
        if let Err(error) =
            File::options().write(true).open(tree.path("create/ctr")).unwrap().write_all(big(n).as_bytes())
        {
            assert_eq!(error.raw_os_error(), Some(Errno::ENOSPC as i32), "{error}");
            return n;
        }
        assert!(n < 1000, "the disk does not fill");
    }
    unreachable!("numbers do not run out")
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let (disk, tree) = store_on_disk(24);
    tree.make("web");
    let server = tree.server();
    disk.fill();
    let made = make_until_full(&tree);
    let refused = tree.last_refusal();
    assert!(refused.contains("ENOSPC") && refused.contains("space"), "{refused}");
    for round in 0..20 {
        let mut file = File::options().write(true).open(tree.path("create/ctr")).unwrap();
        assert_eq!(errno(file.write_all(big(2000 + round).as_bytes())), Errno::ENOSPC);
        assert_eq!(fs::read_dir(tree.path("ctr")).unwrap().count(), made + 1, "reading goes on");
        assert_eq!(tree.read("ctr/web/status"), "configured\n");
        assert!(tree.read("check").starts_with("ok"), "{}", tree.read("check"));
    }
    // What makes room, and what says what has become of a container, goes on.
    tree.echo("running", "ctr/web/status").unwrap();
    tree.echo("exited", "ctr/web/status").unwrap();
    tree.echo("137", "ctr/web/exit-code").unwrap();
    let remove = |n: usize| fs::remove_dir(tree.path(&format!("ctr/{}", tree.id(&format!("big-{n}")))));
    (0..made.min(5)).for_each(|n| remove(n).unwrap_or_else(|error| panic!("rmdir at 0 bytes free: {error}")));
    disk.free();
    tree.make("after");
    (5..made).for_each(|n| remove(n).unwrap());
    assert_eq!(tree.server(), server, "the server lived through it");
}

#[test]
fn a_killed_server_comes_back_on_a_full_disk() {
    let (disk, tree) = store_on_disk(24);
    tree.make("web");
    disk.fill();
    let made = make_until_full(&tree);
    for _ in 0..3 {
        tree.kill_server();
        assert_eq!(tree.read("ctr/web/status"), "configured\n");
        assert_eq!(fs::read_dir(tree.path("ctr")).unwrap().count(), made + 1);
    }
    tree.unmount();
    tree.mount();
    assert_eq!(fs::read_dir(tree.path("ctr")).unwrap().count(), made + 1);
    disk.free();
    tree.make("after");
}

#[test]
fn readers_see_no_error_while_writers_are_refused() {
    let (disk, tree) = store_on_disk(24);
    tree.make("web");
    disk.fill();
    let mut load = Load::new();
    for n in 0..3 {
        let root = tree.at.clone();
        load.spawn(&format!("reader {n}"), move |_| {
            assert_eq!(fs::read_to_string(root.join("ctr/web/status")).unwrap(), "configured\n");
            for entry in fs::read_dir(root.join("ctr")).unwrap() {
                fs::read(entry.unwrap().path().join("state")).unwrap();
            }
        });
    }
    for _ in 0..10 {
        make_until_full(&tree);
        load.must_go_on(&tree);
    }
    disk.free();
    load.end();
}
