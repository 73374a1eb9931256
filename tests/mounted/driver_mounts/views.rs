//! Views of primaries in the tree.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ctrfs::driver::mounts::Part;
use ctrfs::sys::mounting;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Host, key, line_at, shm};
use crate::support::{Mounted, is_mounted, wait_until};

/// A tree with one container, a directory of which serves as mountpoint.
struct Tree {
    mounted: Mounted,
    at: PathBuf,
}

impl Tree {
    fn new() -> Tree {
        let mounted = Mounted::new();
        let at = Path::new("ctr").join(mounted.make("one")).join("dependencies");
        Tree { mounted, at }
    }

    fn root(&self) -> OwnedFd {
        mounting::open(&self.mounted.at).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.mounted.at.join(&self.at)
    }
}

#[test]
fn a_view_shows_the_primary_and_gives_no_privilege() {
    let (host, tree) = (Host::new(), Tree::new());
    let root = tree.root();
    let said = host.mounts.show(key(1), Part::Rootfs, root.as_fd(), &tree.at).unwrap_err().to_string();
    assert_eq!(said, format!("the rootfs of {} is not mounted", key(1)));
    host.overlay(key(1), &host.layers(2), None).unwrap();
    host.mounts.show(key(1), Part::Rootfs, root.as_fd(), &tree.at).unwrap();
    fs::write(tree.path().join("through-the-view"), "x").unwrap();
    assert_eq!(fs::read_to_string(host.rootfs(key(1)).join("through-the-view")).unwrap(), "x");
    let line = line_at(&tree.path());
    assert!(line.contains("nosuid") && line.contains("nodev") && !line.contains("shared:"), "{line}");
    let primary = line_at(&host.rootfs(key(1)));
    assert!(!primary.contains("nosuid") && !primary.contains("nodev"), "{primary}");

    // Shown already: still one.
    host.mounts.show(key(1), Part::Rootfs, root.as_fd(), &tree.at).unwrap();
    line_at(&tree.path());
    drop(host.mounts.hide(root.as_fd(), &tree.at).unwrap());
    assert!(!is_mounted(&tree.path()));
    // Hidden already, and never there.
    host.mounts.hide(root.as_fd(), &tree.at).unwrap();
    host.mounts.hide(root.as_fd(), Path::new("ctr/none/rootfs")).unwrap();
    assert!(host.mounts.is_mounted(key(1), Part::Rootfs));
    assert!(tree.path().read_dir().unwrap().next().is_none());
}

#[test]
fn a_view_of_an_earlier_primary_is_replaced() {
    let (host, tree) = (Host::new(), Tree::new());
    let root = tree.root();
    for round in ["first", "second"] {
        host.mounts.shm(key(1), &shm(1 << 20)).unwrap();
        fs::write(host.mounts.path(key(1), Part::Shm).join(round), "").unwrap();
        host.mounts.show(key(1), Part::Shm, root.as_fd(), &tree.at).unwrap();
        assert!(tree.path().join(round).exists());
        line_at(&tree.path());
        host.take(key(1));
    }
    host.mounts.hide(root.as_fd(), &tree.at).unwrap();
}

#[test]
fn nothing_outside_the_tree_is_shown_or_hidden() {
    let (host, tree) = (Host::new(), Tree::new());
    let root = tree.root();
    host.mounts.shm(key(1), &shm(4096)).unwrap();
    for at in ["../mnt/ctr", "/proc", "ctr/one/dependencies", ""] {
        let at = Path::new(at);
        assert!(host.mounts.show(key(1), Part::Shm, root.as_fd(), at).is_err(), "{at:?}");
    }
    for at in ["../mnt/ctr", "/proc"] {
        assert!(host.mounts.hide(root.as_fd(), Path::new(at)).is_err(), "{at}");
    }
    // The tree itself is no view.
    host.mounts.hide(root.as_fd(), Path::new("ctr")).unwrap();
    assert!(is_mounted(&tree.mounted.at) && is_mounted(Path::new("/proc")));
}

/// Hides on a thread of its own, for it must not wait for anything.
fn hide_within(limit: Duration, host: &Host, root: &OwnedFd, at: &Path) -> Result<(), String> {
    thread::scope(|scope| {
        let (done, hidden) = mpsc::channel();
        scope.spawn(move || {
            let result = host.mounts.hide(root.as_fd(), at).map(drop).map_err(|error| error.to_string());
            let _ = done.send(result);
        });
        hidden.recv_timeout(limit).unwrap_or_else(|_| Err("still waits".to_owned()))
    })
}

#[test]
fn a_view_is_hidden_while_a_rmdir_waits_for_its_answer() {
    let (host, tree) = (Host::new(), Tree::new());
    let root = tree.root();
    let other = tree.mounted.make("other");
    host.mounts.shm(key(1), &shm(4096)).unwrap();
    host.mounts.show(key(1), Part::Shm, root.as_fd(), &tree.at).unwrap();
    // Attributes are fresh, as an answering server keeps them; then it answers no more.
    let ancestors: Vec<PathBuf> = tree.path().parent().unwrap().ancestors().take(3).map(Path::to_owned).collect();
    ancestors.iter().for_each(|path| assert!(fs::metadata(path).unwrap().is_dir()));
    let server = Pid::from_raw(tree.mounted.server() as i32);
    kill(server, Signal::SIGSTOP).unwrap();
    let mut rmdir = Command::new("rmdir").arg(tree.mounted.path("ctr").join(other)).spawn().unwrap();
    let place = PathBuf::from(format!("/proc/{}/wchan", rmdir.id()));
    wait_until("rmdir waits", || fs::read_to_string(&place).is_ok_and(|text| text.contains("request_wait")));
    let hidden = thread::scope(|scope| {
        // Whatever happens, the server goes on.
        let (done, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            let _ = ended.recv_timeout(Duration::from_secs(10));
            kill(server, Signal::SIGCONT).unwrap();
        });
        let hidden = hide_within(Duration::from_secs(5), &host, &root, &tree.at);
        drop(done);
        hidden
    });
    assert_eq!(hidden, Ok(()));
    assert!(!is_mounted(&tree.path()));
    assert!(rmdir.wait().unwrap().success());
}

#[test]
fn a_view_is_hidden_in_the_middle_of_storms() {
    let (host, tree) = (Host::new(), Tree::new());
    let root = tree.root();
    host.mounts.shm(key(1), &shm(4096)).unwrap();
    let stop = AtomicBool::new(false);
    let (mut rounds, mut slowest) = (0, Duration::ZERO);
    thread::scope(|scope| {
        for storm in ["a", "b"] {
            let (tree, stop) = (&tree, &stop);
            scope.spawn(move || {
                let name = tree.mounted.path("ctr").join(storm);
                while !stop.load(Ordering::Relaxed) {
                    fs::create_dir(&name).unwrap();
                    let id = fs::read_link(&name).unwrap();
                    fs::remove_dir(name.with_file_name(id)).unwrap();
                }
            });
        }
        let deadline = Instant::now() + Duration::from_secs(3);
        let failed = loop {
            if let Err(error) = host.mounts.show(key(1), Part::Shm, root.as_fd(), &tree.at) {
                break Some(error.to_string());
            }
            let begun = Instant::now();
            if let Err(error) = hide_within(Duration::from_secs(5), &host, &root, &tree.at) {
                break Some(error);
            }
            slowest = slowest.max(begun.elapsed());
            if is_mounted(&tree.path()) {
                break Some("the view is still there".to_owned());
            }
            rounds += 1;
            if Instant::now() > deadline {
                break None;
            }
        };
        stop.store(true, Ordering::Relaxed);
        assert_eq!(failed, None, "in round {rounds}");
    });
    println!("{rounds} rounds, slowest {slowest:?}");
    assert!(rounds > 10, "{rounds} rounds only");
}
