//! What becomes of a mount: remount, umount, another program, read-only.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::mounting::{FAILURE, flags, helper, kill_both, mounts_at, refused, umount, unmounted};
use crate::support::{CTRFS, Mounted, Scratch, errno, is_alive, is_mounted, mountinfo, succeed, wait_until};

#[test]
fn remount_changes_flags_and_nothing_else() {
    let tree = Mounted::new();
    tree.make("web");
    let remount = |options: &str| {
        let mut command = helper(&tree.store, &tree.at);
        command.arg("-o").arg(format!("remount,{options}"));
        command
    };
    let server = tree.server();
    succeed(&mut remount("ro"));
    assert!(flags(&tree.at).contains(&"ro".to_owned()));
    assert_eq!(errno(fs::create_dir(tree.path("ctr/db"))), Errno::EROFS);
    succeed(&mut remount("rw,noexec"));
    assert!(flags(&tree.at).contains(&"noexec".to_owned()));
    tree.make("db");
    // What mount(8) passes on from mountinfo and fstab is no change.
    succeed(&mut remount("ro,user_id=0,group_id=0,default_permissions,nosuid,nodev,relatime"));
    succeed(&mut remount("rw"));
    assert_eq!(tree.server(), server);
    let _writer = OpenOptions::new().write(true).open(tree.path("ctr/web/status")).unwrap();
    assert!(refused(&mut remount("ro"), FAILURE).contains("open for writing"));
}

#[test]
fn a_keeper_that_ends_takes_no_mount_but_its_own() {
    // The kernel gives the lowest mount ID that is free. The second store's run root is to get that
    // of the tmpfs, and the second store that of the first, whose keeper has not noticed its end yet.
    let (first, second, low) = (unmounted(), unmounted(), Scratch::new());
    let mut given_again = 0;
    for round in 0..20 {
        succeed(Command::new("mount").args(["-t", "tmpfs", "low"]).arg(low.path()));
        first.mount();
        let (old, keeper) = (mount_id(&first.at), first.keeper());
        signal(keeper, Signal::SIGSTOP);
        succeed(Command::new("umount").arg(&first.at).arg(low.path()));
        second.mount();
        given_again += usize::from(old == mount_id(&second.at));
        signal(keeper, Signal::SIGCONT);
        wait_until("the first keeper ends", || !is_alive(keeper));
        assert!(second.path("version").exists(), "round {round}");
        second.unmount();
    }
    assert!(given_again > 0, "the case was never met");
}

fn signal(pid: u32, signal: Signal) {
    nix::sys::signal::kill(Pid::from_raw(pid as i32), signal).unwrap();
}

fn mount_id(at: &Path) -> String {
    mounts_at(at)[0].split(' ').next().unwrap().to_owned()
}

#[test]
fn a_dead_mount_can_be_unmounted() {
    let tree = Mounted::new();
    kill_both(&tree);
    succeed(&mut umount(&tree.at));
    assert!(!is_mounted(&tree.at));
    tree.mount();
}

#[test]
fn sighup_swaps_the_program_and_a_bad_one_is_survived() {
    let tree = unmounted();
    let scratch = Scratch::new();
    let program = scratch.path().join("ctrfs");
    let install = |content: &[u8]| {
        let new = scratch.path().join("new");
        fs::write(&new, content).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&new, &program).unwrap();
    };
    let good = fs::read(CTRFS).unwrap();
    install(&good);
    succeed(Command::new(&program).arg("mount").args([&tree.store, &tree.at]));
    tree.make("web");
    let (before, mount) = (tree.server(), mount_id(&tree.at));
    let swap = || {
        let server = tree.server();
        signal(tree.keeper(), Signal::SIGHUP);
        wait_until("the server is another", || tree.server() != server);
        assert_eq!(tree.read("ctr/web/status"), "configured\n");
        fs::read_link(format!("/proc/{}/exe", tree.server())).unwrap()
    };
    install(&good);
    assert_eq!(swap(), program);
    assert!(!is_alive(before));
    // Not a program, one that fails, one that ends well, an empty file: the keeper's own goes on.
    for bad in ["\x7fELF?", "#!/bin/sh\nexit 1\n", "#!/bin/sh\nexit 0\n", ""] {
        install(bad.as_bytes());
        assert_ne!(swap(), program, "{bad:?}");
    }
    install(&good);
    assert_eq!(swap(), program);
    assert_eq!(mount_id(&tree.at), mount);
}

#[test]
fn only_a_store_is_unmounted() {
    let tree = unmounted();
    assert!(refused(&mut umount(&tree.at), FAILURE).contains("nothing is mounted there"));
    let said = refused(&mut umount(Path::new("/proc")), FAILURE);
    assert!(said.contains("/proc: a filesystem of type proc is mounted there, not a store"), "{said}");
    assert!(refused(&mut umount(&tree.at.join("none")), FAILURE).contains("no such directory"));
    tree.mount();
    assert!(refused(&mut umount(&tree.path("ctr")), FAILURE).contains("nothing is mounted there"));
}

#[test]
fn a_mount_in_use_is_busy_until_it_is_not() {
    let tree = Mounted::new();
    tree.make("web");
    let file = File::open(tree.path("ctr/web/status")).unwrap();
    let said = refused(&mut umount(&tree.at), FAILURE);
    assert!(said.contains("busy") && said.contains("fuser -vm"), "{said}");
    drop(file);
    let mut stays = Command::new("sleep").arg("1000").current_dir(tree.path("ctr/web")).spawn().unwrap();
    assert!(refused(&mut umount(&tree.at), FAILURE).contains("busy"));
    assert_eq!(tree.read("ctr/web/status"), "configured\n");
    stays.kill().unwrap();
    stays.wait().unwrap();
    tree.unmount();
}

#[test]
fn a_lazily_unmounted_store_ends_with_its_last_user() {
    let tree = Mounted::new();
    tree.make("web");
    let processes = [tree.keeper(), tree.server()];
    let mut stays = Command::new("sleep").arg("1000").current_dir(tree.path("ctr/web")).spawn().unwrap();
    let cwd = PathBuf::from(format!("/proc/{}/cwd", stays.id()));
    succeed(umount(&tree.at).arg("--lazy"));
    assert!(!is_mounted(&tree.at));
    assert_eq!(fs::read_to_string(cwd.join("status")).unwrap(), "configured\n");
    assert!(processes.iter().all(|pid| is_alive(*pid)));
    stays.kill().unwrap();
    stays.wait().unwrap();
    wait_until("keeper and server end", || !processes.iter().any(|pid| is_alive(*pid)));
}

#[test]
fn umount_leaves_nothing() {
    let tree = unmounted();
    let run_root = |tree: &Mounted| PathBuf::from(tree.read("runtime-config/run-root").trim_end());
    let here = tree.store.parent().unwrap();
    let mut took = Vec::new();
    for _ in 0..11 {
        tree.mount();
        let (processes, run_root) = ([tree.keeper(), tree.server()], run_root(&tree));
        assert!(is_mounted(&run_root));
        let start = Instant::now();
        succeed(Command::new("umount").arg(&tree.at));
        wait_until("all is gone", || !processes.iter().any(|pid| is_alive(*pid)) && !run_root.exists());
        took.push(start.elapsed());
        assert_eq!(fs::read(tree.store.join("lock")).unwrap(), b"");
        let mounts = mountinfo();
        assert!([here, &run_root].iter().all(|path| !mounts.contains(path.to_str().unwrap())), "{mounts}");
        succeed(Command::new("flock").arg("-n").arg(tree.store.join("lock")).arg("true"));
    }
    took.sort();
    println!("from umount to nothing: {took:?}");
    assert!(took[took.len() / 2] < Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_server_that_needs_longer_takes_away_what_is_mounted() {
    let (tree, source) = (Mounted::new(), Scratch::new());
    assert!(tree.ctrfs(&["image", "import", &format!("dir:{}", source.path().display()), "plain"]).status.success());
    fs::write(tree.path("create/ctr"), "{\"name\":\"web\",\"image\":\"plain\"}").unwrap();
    tree.echo("1", "ctr/web/mounted").unwrap();
    let run_root = PathBuf::from(tree.read("runtime-config/run-root").trim_end());
    let [keeper, server] = [tree.keeper(), tree.server()];
    signal(server, Signal::SIGSTOP);
    umount2(&tree.at, MntFlags::MNT_DETACH).unwrap();
    thread::sleep(Duration::from_secs(3));
    assert!(is_alive(server) && is_alive(keeper));
    signal(server, Signal::SIGCONT);
    wait_until("keeper and server end", || !is_alive(server) && !is_alive(keeper));
    assert!(!run_root.exists(), "{}", mountinfo());
}

#[test]
fn a_read_only_mount_refuses_every_write() {
    let tree = Mounted::new();
    let id = tree.make("web");
    fs::create_dir(tree.path("pod/front")).unwrap();
    tree.unmount();
    succeed(tree.mount_command("ro"));
    let open = |path: &str, options: &mut OpenOptions| options.open(tree.path(path)).map(drop);
    let write = |path: &str| open(path, OpenOptions::new().write(true));
    let refusals: Vec<(&str, io::Result<()>)> = vec![
        ("mkdir ctr", fs::create_dir(tree.path("ctr/db"))),
        ("mkdir pod", fs::create_dir(tree.path("pod/back"))),
        ("mkdir member", fs::create_dir(tree.path("pod/front/containers/x"))),
        ("rmdir", fs::remove_dir(tree.path(&format!("ctr/{id}")))),
        ("unlink", fs::remove_file(tree.path("ctr/web"))),
        ("unlink name", fs::remove_file(tree.path("name/web"))),
        ("rename", fs::rename(tree.path("name/web"), tree.path("name/old"))),
        ("symlink", symlink("../ctr/x", tree.path("name/x"))),
        ("link", fs::hard_link(tree.path("ctr/web/status"), tree.path("ctr/web/x"))),
        ("creat", File::create(tree.path("ctr/web/new")).map(drop)),
        ("value", write("ctr/web/status")),
        ("document", write("ctr/web/config")),
        ("append", open("ctr/web/config", OpenOptions::new().append(true))),
        ("truncate", open("ctr/web/state", OpenOptions::new().write(true).truncate(true))),
        ("create", open("create/ctr", OpenOptions::new().read(true).write(true))),
        ("control", write("control")),
        ("read-only entry", write("ctr/web/health")),
        ("times", succeed_touch(&tree.path("ctr/web/status"))),
        ("chmod", fs::set_permissions(tree.path("control"), fs::Permissions::from_mode(0o777))),
        ("chown", std::os::unix::fs::chown(tree.path("control"), Some(1), None)),
        ("O_TMPFILE", open("ctr", OpenOptions::new().write(true).custom_flags(libc_o_tmpfile()))),
    ];
    for (what, result) in refusals {
        assert_eq!(errno(result), Errno::EROFS, "{what}");
    }
    assert_eq!(tree.read("ctr/web/status"), "configured\n");
    assert!(tree.read("table/ctr").contains("\tweb\t"));
    assert!(tree.read("create/ctr").starts_with('{'));
    assert!(tree.read("check").starts_with("ok"));
    tree.kill_server();
    assert_eq!(errno(fs::create_dir(tree.path("ctr/db"))), Errno::EROFS);
}

fn succeed_touch(path: &Path) -> io::Result<()> {
    use nix::sys::stat::{UtimensatFlags, utimensat};
    use nix::sys::time::TimeSpec;
    let flags = UtimensatFlags::FollowSymlink;
    utimensat(nix::fcntl::AT_FDCWD, path, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW, flags).map_err(io::Error::from)
}

fn libc_o_tmpfile() -> i32 {
    nix::fcntl::OFlag::O_TMPFILE.bits()
}
