//! Keepers that die, end, renew their server, and cannot start one.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;

use crate::load::{Load, kill_both, mounts_at};
use crate::support::{CTRFS, Mounted, Scratch, errno, is_alive, is_mounted, kill, succeed, text, wait_until};

fn signal(pid: u32, signal: Signal) {
    send(Pid::from_raw(pid as i32), signal).unwrap();
}

/// Where a store's volatile files are while it is mounted.
fn run_root(tree: &Mounted) -> PathBuf {
    PathBuf::from(tree.read("runtime-config/run-root").trim_end())
}

/// Nothing is left of a mount: no process, no mount, no directory, no lock.
fn nothing_is_left(tree: &Mounted, pids: &[u32], run_root: &Path) {
    wait_until("keeper and server end", || pids.iter().all(|pid| !is_alive(*pid)));
    assert!(!is_mounted(&tree.at));
    assert!(!run_root.exists(), "{run_root:?} is left");
    assert!(!is_mounted(run_root));
    // Whoever takes the lock next does not wait.
    let check = Command::new(CTRFS).arg("check").arg(&tree.store).output().unwrap();
    assert!(check.status.success(), "{}", text(&check));
}

#[test]
fn the_next_mount_clears_a_dead_one() {
    let tree = Mounted::new();
    for round in 0..10 {
        tree.make(&format!("web-{round}"));
        tree.echo("running", &format!("ctr/web-{round}/status")).unwrap();
        kill_both(&tree);
        // The first answer may be to a request that the last thread to die had yet to abort.
        assert!([Errno::ENOTCONN, Errno::ECONNABORTED].contains(&errno(fs::read_dir(&tree.at).map(drop))));
        tree.mount();
        assert_eq!(mounts_at(&tree.at).len(), 1, "exactly one mount at the path");
        assert_eq!(mounts_at(&run_root(&tree)).len(), 1, "and one run root");
        for earlier in 0..=round {
            assert_eq!(tree.read(&format!("ctr/web-{earlier}/status")), "running\n");
        }
    }
}

#[test]
fn a_server_does_not_outlive_its_keeper() {
    let tree = Mounted::new();
    tree.make("web");
    let (keeper, server) = (tree.keeper(), tree.server());
    kill(keeper);
    wait_until("the server ends", || !is_alive(server));
    tree.mount();
    assert_eq!(tree.read("ctr/web/status"), "configured\n");
}

#[test]
fn umount_clears_a_dead_mount() {
    let tree = Mounted::new();
    tree.make("web");
    kill_both(&tree);
    succeed(Command::new(CTRFS).arg("umount").arg(&tree.at));
    assert!(!is_mounted(&tree.at));
    tree.mount();
    assert_eq!(tree.read("ctr/web/status"), "configured\n");
}

/// A store mounted by a copy of the program, which can be replaced.
struct Renewed {
    tree: Mounted,
    program: PathBuf,
    _bin: Scratch,
}

impl Renewed {
    fn new() -> Renewed {
        let bin = Scratch::new();
        let program = bin.path().join("ctrfs");
        fs::copy(CTRFS, &program).unwrap();
        let tree = Mounted::new();
        tree.unmount();
        succeed(Command::new(&program).arg("mount").arg(&tree.store).arg(&tree.at));
        Renewed { tree, program, _bin: bin }
    }
}

fn inode_of_program(pid: u32) -> u64 {
    fs::metadata(format!("/proc/{pid}/exe")).unwrap().ino()
}

#[test]
fn hangup_swaps_in_a_new_program() {
    let Renewed { tree, program, .. } = &Renewed::new();
    tree.make("web");
    let (mount, keeper, server) = (mounts_at(&tree.at), tree.keeper(), tree.server());
    assert_eq!(inode_of_program(server), fs::metadata(program).unwrap().ino());
    let mut load = Load::new();
    let status = tree.path("ctr/web/status");
    load.spawn("reader", move |_| assert_eq!(fs::read_to_string(&status).unwrap(), "configured\n"));
    let code = tree.path("ctr/web/exit-code");
    load.spawn("writer", move |round| {
        fs::write(&code, format!("{round}\n")).unwrap();
        assert_eq!(fs::read_to_string(&code).unwrap(), format!("{round}\n"));
    });

    let new = program.with_extension("new");
    fs::copy(program, &new).unwrap();
    fs::rename(&new, program).unwrap();
    signal(keeper, Signal::SIGHUP);
    wait_until("another server comes", || tree.server() != server);
    wait_until("it runs the new program", || inode_of_program(tree.server()) == fs::metadata(program).unwrap().ino());
    tree.read("version");
    load.must_go_on(tree);
    load.end();
    assert_eq!(mounts_at(&tree.at), mount, "the mount is the same");
    assert_eq!(tree.keeper(), keeper);
}

#[test]
fn hangups_in_a_row_all_end_in_a_server() {
    let tree = Mounted::new();
    tree.make("web");
    for _ in 0..20 {
        signal(tree.keeper(), Signal::SIGHUP);
        assert_eq!(tree.read("ctr/web/status"), "configured\n");
    }
}

#[test]
fn a_program_that_is_no_good_is_passed_over() {
    let Renewed { tree, program, .. } = &Renewed::new();
    tree.make("web");
    fs::write(program.with_extension("new"), "no program").unwrap();
    fs::rename(program.with_extension("new"), program).unwrap();
    tree.kill_server();
    assert_eq!(tree.read("ctr/web/status"), "configured\n");
}

#[test]
fn a_program_that_is_away_for_a_moment_is_not_missed() {
    let Renewed { tree, program, .. } = &Renewed::new();
    tree.make("web");
    fs::remove_file(program).unwrap();
    tree.kill_server();
    assert_eq!(tree.read("ctr/web/status"), "configured\n");
}

#[test]
fn a_store_that_is_away_for_a_moment_is_opened_when_it_is_back() {
    let tree = Mounted::new();
    tree.make("web");
    let (file, away) = (tree.store.join("ctrfs.redb"), tree.store.join("away"));
    fs::rename(&file, &away).unwrap();
    let server = tree.server();
    kill(server);
    let status = tree.path("ctr/web/status");
    let mut waits = Command::new("cat").arg(&status).stdout(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(waits.try_wait().unwrap(), None, "a request waits for the store");
    fs::rename(&away, &file).unwrap();
    wait_until("the request is answered", || waits.try_wait().unwrap().is_some());
    assert_eq!(text(&waits.wait_with_output().unwrap()), "configured\n");
}

#[test]
fn a_keeper_that_is_asked_to_end_unmounts() {
    for asked in [Signal::SIGTERM, Signal::SIGINT] {
        let tree = Mounted::new();
        let id = tree.make("web");
        let (pids, run_root) = ([tree.keeper(), tree.server()], run_root(&tree));
        signal(pids[0], asked);
        nothing_is_left(&tree, &pids, &run_root);
        tree.mount();
        assert_eq!(tree.id("web"), id);
    }
}

#[test]
fn nothing_is_left_of_a_mount_that_is_taken_away_under_load() {
    for lazily in [&["-l"][..], &[]] {
        let tree = Mounted::new();
        tree.make("web");
        let (pids, run_root) = ([tree.keeper(), tree.server()], run_root(&tree));
        let mut load = Load::new();
        for n in 0..4 {
            let status = tree.path("ctr/web/status");
            // What comes after the unmount meets the plain directory.
            load.spawn(&format!("reader {n}"), move |_| {
                match fs::read_to_string(&status) {
                    Ok(text) => assert_eq!(text, "configured\n"),
                    Err(error) => {
                        let errno = Errno::from_raw(error.raw_os_error().unwrap());
                        assert!([Errno::ENOENT, Errno::ENOTCONN, Errno::ECONNABORTED].contains(&errno), "{error}");
                    }
                }
                // A plain umount needs a moment at which nobody is in.
                if lazily.is_empty() {
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        let code = tree.path("ctr/web/exit-code");
        load.spawn("writer", move |round| {
            let _ = fs::OpenOptions::new().write(true).open(&code).and_then(|mut file| writeln!(file, "{round}"));
            if lazily.is_empty() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        thread::sleep(Duration::from_millis(200));
        wait_until("it is unmounted", || {
            Command::new("umount").args(lazily).arg(&tree.at).output().unwrap().status.success()
        });
        nothing_is_left(&tree, &pids, &run_root);
        load.end();
    }
}

/// The kernel gives the ID of an ended mount to the next: while keepers end, other mounts come and stay.
#[test]
fn a_keeper_that_ends_takes_no_other_mount_away() {
    let scratch = Scratch::new();
    for round in 0..20 {
        let tree = Mounted::new();
        let pids = [tree.keeper(), tree.server()];
        let others: Vec<PathBuf> = (0..8).map(|n| scratch.path().join(format!("{round}-{n}"))).collect();
        others.iter().for_each(|other| fs::create_dir(other).unwrap());
        let mount = |at: &Path| nix::mount::mount(Some("other"), at, Some("tmpfs"), MsFlags::empty(), None::<&str>);
        nix::mount::umount2(&tree.at, MntFlags::MNT_DETACH).unwrap();
        others.iter().for_each(|other| mount(other).unwrap());
        wait_until("keeper and server end", || pids.iter().all(|pid| !is_alive(*pid)));
        let gone: Vec<_> = others.iter().filter(|other| !is_mounted(other)).collect();
        assert!(gone.is_empty(), "round {round}: taken away: {gone:?}");
        others.iter().for_each(|other| nix::mount::umount2(other, MntFlags::MNT_DETACH).unwrap());
    }
}

#[test]
fn a_mount_that_fails_leaves_nothing() {
    let tree = Mounted::new();
    let root = run_root(&tree);
    tree.unmount();
    fs::write(tree.store.join("ctrfs.redb"), "no database").unwrap();
    let refused = tree.mount_command("").output().unwrap();
    assert!(!refused.status.success());
    assert!(text(&refused).contains("not a sound store"), "{}", text(&refused));
    assert!(!is_mounted(&tree.at) && !root.exists());
    fs::remove_dir_all(&tree.store).unwrap();
    succeed(Command::new(CTRFS).arg("init").arg(&tree.store));
}
