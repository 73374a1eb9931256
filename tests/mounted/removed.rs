//! Containers that are removed while their files are gone through, or whoever does that is ended: nobody takes
//! what is left for all.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ctrfs::sys::process::Stat;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::images::{Image, names_in, staging_dir};
use crate::support::{CTRFS, Mounted, Scratch, text, wait_until};
use crate::tools::create;

const DIRECTORIES: usize = 150;
const FILES: usize = 30;

/// A container, not mounted, that wrote much.
struct Place {
    tree: Mounted,
    id: String,
    upper: PathBuf,
}

impl Place {
    fn new() -> Place {
        let tree = Mounted::new();
        Image::new("base", &["a"]).import(&tree, &["base"]);
        let id = create(&tree, r#"{"name":"web","image":"base"}"#).remove(0);
        tree.echo("1", "ctr/web/mounted").unwrap();
        tree.echo("0", "ctr/web/mounted").unwrap();
        let upper = tree.store.join("ctr").join(&id).join("upper");
        for dir in (0..DIRECTORIES).map(|n| upper.join(format!("d{n}"))) {
            fs::create_dir(&dir).unwrap();
            (0..FILES).for_each(|n| fs::write(dir.join(n.to_string()), [n as u8; 1000]).unwrap());
        }
        Place { tree, id, upper }
    }

    fn begin(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(CTRFS);
        command.args(arguments).env("CTRFS_AT", &self.tree.at).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Begins again until a process is stopped in the middle.
    fn stopped(&self, arguments: &[&str], is_amidst: impl Fn(&Child) -> bool) -> Child {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut child = self.begin(arguments);
        loop {
            assert!(Instant::now() < deadline, "it is never met in the middle");
            if child.try_wait().unwrap().is_some() {
                child = self.begin(arguments);
            } else if is_amidst(&child) {
                signal(&child, Signal::SIGSTOP);
                let state = || Stat::read(child.id()).unwrap().state;
                wait_until("it stops or ends", || ['T', 'Z'].contains(&state()));
                if state() == 'T' && is_amidst(&child) {
                    return child;
                }
                signal(&child, Signal::SIGCONT);
            }
        }
    }

    /// Whether a process has a directory of the container's own layer open.
    fn has_open(&self, child: &Child) -> bool {
        let inside = self.upper.join("d").to_str().unwrap().to_owned();
        let fds = fs::read_dir(format!("/proc/{}/fd", child.id())).into_iter().flatten().flatten();
        let mut open = fds.filter_map(|fd| fs::read_link(fd.path()).ok());
        open.any(|link| link.to_str().is_some_and(|link| link.starts_with(&inside)))
    }

    /// Removes the container, and waits until its files are gone.
    fn remove(&self) {
        fs::remove_dir(self.tree.path("ctr").join(&self.id)).unwrap();
        let trash = self.tree.store.join("trash");
        wait_until("the files are gone", || !self.upper.exists() && names_in(&trash).is_empty());
    }

    /// Makes another container of the same ID and name.
    fn make_again(&self) {
        create(&self.tree, &format!(r#"{{"id":"{}","name":"web","image":"base"}}"#, self.id));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

#[track_caller]
fn refused(child: Child, sentence: &str) {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said), (Some(1), format!("ctrfs: {sentence}\n")), "{}", text(&output).len());
}

#[test]
fn root_a_commit_makes_no_image_of_what_is_left() {
    let place = Place::new();
    let child = place.stopped(&["commit", "web", "half"], |child| place.has_open(child));
    let images = names_in(&place.tree.path("image"));
    place.remove();
    signal(&child, Signal::SIGCONT);
    refused(child, "commit container web: it was removed meanwhile");
    assert_eq!(names_in(&place.tree.path("image")), images);
    assert_eq!(names_in(&staging_dir(&place.tree.store, "")), [""; 0]);
}

#[test]
fn root_a_diff_tells_nothing_of_what_is_left() {
    let place = Place::new();
    let child = place.stopped(&["diff", "web"], |child| place.has_open(child));
    place.remove();
    place.make_again();
    signal(&child, Signal::SIGCONT);
    refused(child, "compare container web with its image: it was removed meanwhile");
}

#[test]
fn root_an_export_of_what_is_left_fails() {
    let place = Place::new();
    let mut child = place.begin(&["export", "web"]);
    // The pipe is full long before the end.
    let mut begin = [0; 512];
    child.stdout.as_mut().unwrap().read_exact(&mut begin).unwrap();
    place.remove();
    refused(child, "export container web: it was removed meanwhile");
}

#[test]
fn root_an_export_of_what_is_left_leaves_no_file() {
    let place = Place::new();
    let scratch = Scratch::new();
    let archive = scratch.path().join("web.tar");
    let written = || {
        let temporary = names_in(scratch.path()).into_iter().find(|name| name.starts_with(".ctrfs-"));
        temporary.map_or(0, |name| fs::metadata(scratch.path().join(name)).map_or(0, |file| file.len()))
    };
    let half = (DIRECTORIES * FILES * 1000 / 2) as u64;
    let child = place.stopped(&["export", "web", archive.to_str().unwrap()], |_| (1..half).contains(&written()));
    fs::write(&archive, "old").unwrap();
    place.remove();
    signal(&child, Signal::SIGCONT);
    refused(child, "export container web: it was removed meanwhile");
    assert_eq!(names_in(scratch.path()), ["web.tar"]);
    assert_eq!(fs::read_to_string(&archive).unwrap(), "old");
}

#[test]
fn root_a_signal_is_told_by_the_status() {
    let place = Place::new();
    let scratch = Scratch::new();
    let archive = scratch.path().join("web.tar");
    let images = names_in(&place.tree.path("image"));
    let fifo = place.tree.store.with_file_name("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let source = format!("docker-archive:{}", fifo.display());
    for (arguments, done) in [
        (&["export", "web", archive.to_str().unwrap()][..], "made"),
        (&["commit", "web", "half"], "made"),
        (&["image", "import", &source], "imported"),
    ] {
        // It is there before the program begins.
        let mut command = Command::new("env");
        command.args(["--block-signal=INT", "sh", "-c", "kill -INT $$; exec \"$0\" \"$@\"", CTRFS]);
        let output = command.args(arguments).env("CTRFS_AT", &place.tree.at).output().unwrap();
        let sentence = format!("ctrfs: interrupted; nothing was {done}\n");
        assert_eq!((output.status.code(), text(&output)), (Some(130), sentence));
    }
    assert_eq!(names_in(scratch.path()), [""; 0]);
    assert_eq!(names_in(&place.tree.path("image")), images);
}
