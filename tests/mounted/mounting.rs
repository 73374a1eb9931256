//! mount, remount and umount, as people, mount(8), fstab and systemd do them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::errno::Errno;

use crate::support::{CTRFS, Mounted, Scratch, is_mounted, kill, mountinfo, succeed, text, wait_until};

/// mount(8): "incorrect invocation or permissions" and "mount failure".
const USAGE: i32 = 1;
pub(crate) const FAILURE: i32 = 32;

/// A store that is not mounted yet, and a place for it.
pub(crate) fn unmounted() -> Mounted {
    let tree = Mounted::new();
    tree.unmount();
    tree
}

/// `mount.ctrfs STORE MOUNTPOINT`, as mount(8) calls it.
pub(crate) fn helper(store: &Path, at: &Path) -> Command {
    let mut command = Command::new(CTRFS);
    command.arg0("/sbin/mount.ctrfs").arg(store).arg(at);
    command
}

fn init(store: &Path) {
    succeed(Command::new(CTRFS).arg("init").arg(store));
}

pub(crate) fn umount(at: &Path) -> Command {
    let mut command = Command::new(CTRFS);
    command.arg("umount").arg(at);
    command
}

/// A command that must be refused with this exit status; returns its one line on standard error.
#[track_caller]
pub(crate) fn refused(command: &mut Command, status: i32) -> String {
    let output = command.output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(status), "{command:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{command:?}: {said}");
    assert!(said.starts_with("ctrfs: "), "{said}");
    said
}

/// The lines of mountinfo for a mountpoint.
pub(crate) fn mounts_at(at: &Path) -> Vec<String> {
    mountinfo().lines().filter(|line| line.split(' ').nth(4) == at.to_str()).map(str::to_owned).collect()
}

/// The mount's own options: rw,nosuid,...
pub(crate) fn flags(at: &Path) -> Vec<String> {
    let [line] = &mounts_at(at)[..] else { panic!("not mounted once: {:?}", mounts_at(at)) };
    line.split(' ').nth(5).unwrap().split(',').map(str::to_owned).collect()
}

/// Runs a script in a mount namespace of its own where mount(8) finds the helper that
/// `scripts/install` installs. `$ctrfs`, `$store`, `$at` and `$tmp` are what they say.
fn in_namespace(tree: &Mounted, script: &str) -> Output {
    const PREPARE: &str = r#"set -eu
        DESTDIR=$tmp/root PREFIX=/usr PROGRAM=$ctrfs "$install"
        ln -sf "$ctrfs" "$tmp/root/sbin/mount.ctrfs"
        ln -sf "$ctrfs" "$tmp/root/sbin/mount.fuse.ctrfs"
        sbin=$(readlink -f /sbin)
        mount -t overlay -o "lowerdir=$tmp/root/sbin:$sbin" overlay "$sbin"
        trap 'umount -l "$at" 2>/dev/null || :' EXIT
    "#;
    let tmp = Scratch::new();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c"])
        .arg(format!("{PREPARE}\n{script}"))
        .env("ctrfs", CTRFS)
        .env("install", concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install"))
        .env("store", &tree.store)
        .env("at", &tree.at)
        .env("tmp", tmp.path())
        .stdin(Stdio::null())
        .output()
        .expect("unshare is needed (Debian package util-linux)");
    // The namespace lasts as long as the keeper, which ends soon.
    let lock = tree.store.join("lock");
    wait_until("the keeper in the namespace ends", || fs::read_to_string(&lock).unwrap().is_empty());
    output
}

#[track_caller]
fn in_namespace_ok(tree: &Mounted, script: &str) -> String {
    let output = in_namespace(tree, script);
    assert!(output.status.success(), "{script}: {}", text(&output));
    text(&output)
}

#[test]
fn install_puts_program_links_and_manual_in_place() {
    let scratch = Scratch::new();
    let install = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install");
    succeed(Command::new(install).env("DESTDIR", scratch.path()).env("PROGRAM", CTRFS).env_remove("PREFIX"));
    for name in ["mount.ctrfs", "mount.fuse.ctrfs"] {
        let link = fs::read_link(scratch.path().join("sbin").join(name)).unwrap();
        assert_eq!(link, Path::new("/usr/local/bin/ctrfs"), "{name}");
    }
    succeed(Command::new(scratch.path().join("usr/local/bin/ctrfs")).arg("--version"));
    assert!(scratch.path().join("usr/local/share/man/man1/ctrfs.1").is_file());
}

/// What becomes of a command line.
enum Verdict {
    /// Mounted; these words are among the mount's own options, and these are not.
    Taken(&'static [&'static str], &'static [&'static str]),
    /// Refused with this status and these words.
    Refused(i32, &'static str),
}
use Verdict::{Refused, Taken};

const PLAIN: Verdict = Taken(&["rw", "nosuid", "nodev"], &["ro", "noexec"]);

/// What mount(8), fstab(5), systemd and people pass, by words.
const OPTIONS: &[(&[&str], Verdict)] = &[
    (&[], PLAIN),
    (&["-o", ""], PLAIN),
    (&["-o", ",,"], PLAIN),
    (&["-o", "defaults"], PLAIN),
    (&["-o", "rw,_netdev"], PLAIN),
    (&["-o", "nofail,auto"], PLAIN),
    (&["-o", "noauto,nouser"], PLAIN),
    (&["-o", "user"], PLAIN),
    (&["-o", "user=joe,users,owner,group"], PLAIN),
    (&["-o", "x-systemd.automount,x-systemd.device-timeout=5s"], PLAIN),
    (&["-o", "x-systemd.requires=/data,x-gvfs-show,X-mount.mkdir=0755"], PLAIN),
    (&["-o", "comment=state of the engine"], PLAIN),
    (&["-o", "comment=\"one, two\",rw"], PLAIN),
    (&["-o", "suid,dev,exec"], PLAIN),
    (&["-o", "noatime,nodiratime,relatime,strictatime,lazytime"], PLAIN),
    (&["-o", "async,sync,dirsync,silent,loud,mand,iversion"], PLAIN),
    (&["-o", "ro"], Taken(&["ro", "nosuid", "nodev"], &["rw"])),
    (&["-o", "rw,ro"], Taken(&["ro"], &["rw"])),
    (&["-o", "ro,rw"], Taken(&["rw"], &["ro"])),
    (&["-o", "rw", "-o", "ro"], Taken(&["ro"], &["rw"])),
    (&["-o", "noexec"], Taken(&["rw", "noexec"], &[])),
    (&["-o", "noexec,exec"], Taken(&["rw"], &["noexec"])),
    (&["-o", "nosymfollow"], Taken(&["nosymfollow"], &[])),
    (&["-o", "allow_other"], PLAIN),
    (&["-o", "gid=0"], PLAIN),
    (&["-o", "gid=root,allow_other"], PLAIN),
    (&["-o", "threads=1"], PLAIN),
    (&["-o", "threads=64,cache=8m"], PLAIN),
    (&["-o", "threads=2,threads=3"], PLAIN),
    (&["-r"], Taken(&["ro"], &["rw"])),
    (&["-r", "-o", "rw"], Taken(&["ro"], &["rw"])),
    (&["-w", "-o", "ro"], Taken(&["rw"], &["ro"])),
    (&["-n"], PLAIN),
    (&["-t", "ctrfs", "-n", "-w"], PLAIN),
    (&["-t", "fuse.ctrfs", "-o", "rw"], PLAIN),
    (&["-s", "-o", "what_is_this,ro"], Taken(&["ro"], &["rw"])),
    (&["-s", "-o", "threads=0"], Refused(USAGE, "'threads': '0' is not a number from 1 to 64")),
    (&["-o", "what_is_this"], Refused(USAGE, "unknown mount option 'what_is_this'")),
    (&["-o", "defaults,allow_othr,ro"], Refused(USAGE, "'allow_othr' (did you mean 'allow_other'?)")),
    (&["-o", "allow_other=yes"], Refused(USAGE, "'allow_other' takes no value, not 'yes'")),
    (&["-o", "gid"], Refused(USAGE, "'gid' needs a value: gid=GROUP")),
    (&["-o", "gid="], Refused(USAGE, "'gid' needs a value: gid=GROUP")),
    (&["-o", "gid=no_such_group"], Refused(USAGE, "'gid': 'no_such_group' is not a group's name or number")),
    (&["-o", "gid=-1"], Refused(USAGE, "'gid': '-1' is not a group's name or number")),
    (&["-o", "threads=65"], Refused(USAGE, "'threads': '65' is not a number from 1 to 64")),
    (&["-o", "threads=two"], Refused(USAGE, "'threads': 'two' is not")),
    (&["-o", "cache=1q"], Refused(USAGE, "'cache': '1q' is not a size")),
    (&["-o", "cache=99999999999g"], Refused(USAGE, "'cache': '99999999999g' is not a size")),
    (&["-o", "runroot=here"], Refused(USAGE, "'runroot': 'here' is not an absolute path")),
    (&["-o", "comment=\"open,ro"], Refused(USAGE, "quote not closed")),
    (&["-o", "ROOT"], Refused(USAGE, "unknown mount option 'ROOT'")),
    (&["-o", "remount,ro"], Refused(FAILURE, "nothing is mounted there")),
    (&["-o", "bind"], Refused(USAGE, "unknown mount option 'bind'")),
];

#[test]
fn each_option_is_taken_or_refused_by_name() {
    let tree = unmounted();
    for (words, verdict) in OPTIONS {
        let mut command = helper(&tree.store, &tree.at);
        command.args(*words);
        match verdict {
            Taken(there, absent) => {
                let output = succeed(&mut command);
                assert_eq!(text(&output), "", "{words:?}");
                let flags = flags(&tree.at);
                assert!(there.iter().all(|flag| flags.iter().any(|have| have == flag)), "{words:?}: {flags:?}");
                assert!(!absent.iter().any(|flag| flags.iter().any(|have| have == flag)), "{words:?}: {flags:?}");
                assert_eq!(fs::read_dir(tree.path("ctr")).unwrap().count(), 0);
                tree.unmount();
            }
            Refused(status, sentence) => {
                let said = refused(&mut command, *status);
                assert!(said.contains(sentence), "{words:?}: {said}");
                assert!(!is_mounted(&tree.at), "{words:?}");
            }
        }
    }
}

#[test]
fn a_wrong_command_line_is_usage() {
    let tree = unmounted();
    for words in [&["--bogus"][..], &["-q"], &["-r", "-w"], &["third"]] {
        let output = helper(&tree.store, &tree.at).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(USAGE), "{words:?}");
        assert!(text(&output).contains("Usage: mount.ctrfs"), "{words:?}: {}", text(&output));
    }
}

#[test]
fn nobody_need_listen() {
    let tree = unmounted();
    for (store, code) in [(&tree.store, 0), (&tree.at, FAILURE)] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let status = helper(store, &tree.at).args(["-f", "-v"]).stderr(full).status().unwrap();
        assert_eq!(status.code(), Some(code));
    }
}

#[test]
fn the_helper_may_be_a_file_of_its_own() {
    let (tree, scratch) = (unmounted(), Scratch::new());
    let copy = scratch.path().join("mount.ctrfs");
    fs::copy(CTRFS, &copy).unwrap();
    succeed(Command::new(copy).arg(&tree.store).arg(&tree.at));
    tree.make("web");
}

#[test]
fn fake_checks_and_mounts_nothing() {
    let tree = unmounted();
    let output = succeed(helper(&tree.store, &tree.at).args(["-f", "-v", "-o", "ro,threads=2"]));
    let (store, at) = (tree.store.display(), tree.at.display());
    assert_eq!(text(&output), format!("ctrfs: mounting {store} on {at} (ro,threads=2)\n"));
    assert!(!is_mounted(&tree.at));
    assert!(refused(helper(&tree.at, &tree.at).arg("-f"), FAILURE).contains("no store there"));
}

#[test]
fn mount_returns_when_the_root_lists() {
    let tree = unmounted();
    let output = Command::new("sh")
        .args(["-ec", "for i in $(seq 100); do \"$0\" mount \"$1\" \"$2\"; ls \"$2\"; \"$0\" umount \"$2\"; done"])
        .args([Path::new(CTRFS), &tree.store, &tree.at])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(text(&output).lines().filter(|line| *line == "version").count(), 100);
}

#[test]
fn findmnt_shows_store_and_mountpoint() {
    let tree = Mounted::new();
    let mut findmnt = Command::new("findmnt");
    findmnt.args(["-t", "fuse.ctrfs", "-n", "-o", "SOURCE,TARGET,FSTYPE", "--raw", "--mountpoint"]).arg(&tree.at);
    let (store, at) = (tree.store.display(), tree.at.display());
    assert_eq!(text(&succeed(&mut findmnt)), format!("{store} {at} fuse.ctrfs\n"));
}

#[test]
fn mount_8_mounts_remounts_and_unmounts() {
    let tree = unmounted();
    let said = in_namespace_ok(
        &tree,
        r#"mount -t ctrfs -o nofail,_netdev,noatime,x-foo=bar,threads=3 "$store" "$at"
        ls "$at"
        mkdir "$at/ctr/web"
        mount -o remount,ro "$at"
        ! mkdir "$at/ctr/db" 2>/dev/null
        cat "$at/ctr/web/status"
        mount -o remount,rw "$at"
        mkdir "$at/ctr/db"
        ! mount -t ctrfs -o bogus "$store" /mnt 2>"$tmp/said"
        grep -q "unknown mount option 'bogus'" "$tmp/said"
        umount "$at"
        ! findmnt "$at""#,
    );
    assert!(said.contains("version") && said.contains("configured"), "{said}");
}

#[test]
fn fstab_lines_work() {
    let tree = unmounted();
    in_namespace_ok(
        &tree,
        r#"echo "$store $at ctrfs defaults,nofail,_netdev,x-systemd.automount,ro,comment=x 0 0" > "$tmp/fstab"
        mount -T "$tmp/fstab" -a
        test -e "$at/version"
        findmnt -n -o OPTIONS "$at" | grep -q '^ro,'
        mount -T "$tmp/fstab" -a
        test "$(grep -c " $at " /proc/self/mountinfo)" = 1
        umount "$at"
        mount -T "$tmp/fstab" "$at"
        test -e "$at/version"
        mount -T "$tmp/fstab" -o remount,rw "$at"
        mkdir "$at/ctr/web"
        umount "$at"
        findmnt --verify -F "$tmp/fstab" || findmnt --verify --verbose -F "$tmp/fstab" | grep -q '0 parse errors, 0 errors'"#,
    );
}

#[test]
fn systemd_takes_the_mount_unit() {
    let scratch = Scratch::new();
    let verify = |options: &str| {
        let unit = scratch.path().join("run-ctrfs.mount");
        let text = format!(
            "[Unit]\nDescription=Container state\n\n[Mount]\nWhat=/var/lib/ctrfs\nWhere=/run/ctrfs\n\
             Type=ctrfs\n{options}\n\n[Install]\nWantedBy=multi-user.target\n"
        );
        fs::write(&unit, text).unwrap();
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&unit);
        command.output().expect("systemd-analyze is needed (Debian package systemd)")
    };
    let output = verify("Options=nofail,allow_other");
    assert!(output.status.success() && text(&output).is_empty(), "{}", text(&output));
    assert!(text(&verify("Optionen=nofail")).contains("Optionen"));
}

#[test]
fn a_second_mount_of_a_store_is_refused_by_pid_and_place() {
    let tree = Mounted::new();
    let elsewhere = Scratch::new();
    for at in [elsewhere.path(), &tree.at] {
        let said = refused(&mut helper(&tree.store, at), FAILURE);
        let wanted = format!("in use by process {}, mounted on {}\n", tree.keeper(), tree.at.display());
        assert!(said.ends_with(&wanted), "{said}");
    }
    assert!(!is_mounted(elsewhere.path()));
    assert_eq!(mounts_at(&tree.at).len(), 1);
    tree.make("web");
}

#[test]
fn of_many_mounts_at_once_one_wins() {
    let tree = unmounted();
    let places: Vec<Scratch> = (0..3).map(|_| Scratch::new()).collect();
    for round in 0..10 {
        // Some at the same place, some not.
        let targets = [&tree.at, &tree.at, places[0].path(), places[1].path(), places[2].path()];
        let started: Vec<_> =
            targets.iter().map(|at| helper(&tree.store, at).stderr(Stdio::piped()).spawn().unwrap()).collect();
        let ended: Vec<_> = started.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        let (won, lost): (Vec<_>, Vec<_>) = targets.iter().zip(&ended).partition(|(_, output)| output.status.success());
        assert_eq!(won.len(), 1, "round {round}: {:?}", ended.iter().map(text).collect::<Vec<_>>());
        let at = won[0].0;
        let wanted = format!("in use by process {}, mounted on {}\n", tree.keeper(), at.display());
        for (_, output) in lost {
            assert_eq!(output.status.code(), Some(FAILURE));
            assert!(text(output).ends_with(&wanted), "round {round}: {}", text(output));
        }
        assert_eq!(mounts_at(at).len(), 1);
        assert!(at.join("version").exists());
        succeed(&mut umount(at));
    }
}

#[test]
fn a_second_store_on_a_mountpoint_is_refused() {
    let (tree, other) = (Mounted::new(), unmounted());
    let said = refused(&mut helper(&other.store, &tree.at), FAILURE);
    let wanted = format!("{}: the store {} is mounted there", tree.at.display(), tree.store.display());
    assert!(said.contains(&wanted), "{said}");
    assert_eq!(mounts_at(&tree.at).len(), 1);
}

#[test]
fn of_many_stores_at_once_on_a_mountpoint_one_wins() {
    let trees: Vec<Mounted> = (0..4).map(|_| unmounted()).collect();
    let at = Scratch::new();
    for round in 0..10 {
        let started: Vec<_> =
            trees.iter().map(|tree| helper(&tree.store, at.path()).stderr(Stdio::piped()).spawn().unwrap()).collect();
        let ended: Vec<_> = started.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        let won: Vec<_> = (0..4).filter(|number| ended[*number].status.success()).collect();
        let [winner] = won[..] else { panic!("round {round}: {:?}", ended.iter().map(text).collect::<Vec<_>>()) };
        let wanted = format!("the store {} is mounted there", trees[winner].store.display());
        for output in ended.iter().filter(|output| !output.status.success()) {
            assert_eq!(output.status.code(), Some(FAILURE));
            assert!(text(output).contains(&wanted), "round {round}: {}", text(output));
        }
        assert_eq!(mounts_at(at.path()).len(), 1);
        assert!(at.path().join("version").exists());
        succeed(&mut umount(at.path()));
    }
}

#[test]
fn store_and_mountpoint_lie_apart() {
    let tree = unmounted();
    let inside = tree.store.join("mnt");
    fs::create_dir(&inside).unwrap();
    assert!(refused(&mut helper(&tree.store, &inside), FAILURE).contains("lies in the store"));
    let above = tree.store.parent().unwrap();
    for hiding in [&tree.store, above] {
        assert!(refused(&mut helper(&tree.store, hiding), FAILURE).contains("would lie under its own mount"));
    }
    // Neither a symlink nor dots hide it.
    let link = above.join("link");
    symlink(&inside, &link).unwrap();
    assert!(refused(&mut helper(&tree.store, &link), FAILURE).contains("lies in the store"));
    let dots = inside.join("..");
    assert!(refused(&mut helper(&tree.store, &dots), FAILURE).contains("would lie under its own mount"));
    let fresh = above.join("fresh");
    init(&fresh);
    let run_root = format!("runroot={}", tree.at.join("run").display());
    let said = refused(helper(&fresh, &tree.at).args(["-o", &run_root]), FAILURE);
    assert!(said.contains("lies under the mountpoint"), "{said}");
    assert!(!is_mounted(&tree.at));
}

#[test]
fn a_directory_without_a_store_is_refused_and_left_alone() {
    let tree = unmounted();
    let empty = Scratch::new();
    for store in [empty.path(), &empty.path().join("none"), &tree.store.join("ctrfs.redb")] {
        let said = refused(&mut helper(store, &tree.at), FAILURE);
        assert!(said.contains("no store there (make one with `ctrfs init "), "{said}");
    }
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

/// Kills the keeper, and with it the server: what is mounted is dead from then on.
pub(crate) fn kill_both(tree: &Mounted) {
    kill(tree.keeper());
    // A listing is never answered from a cache.
    let is_dead = || fs::read_dir(&tree.at).is_err_and(|error| error.raw_os_error() == Some(Errno::ENOTCONN as i32));
    wait_until("the mount is dead", is_dead);
}

#[test]
fn a_dead_mount_in_the_way_is_replaced() {
    let tree = Mounted::new();
    tree.make("web");
    let run_root = tree.read("runtime-config/run-root").trim_end().to_owned();
    for _ in 0..3 {
        kill_both(&tree);
        tree.mount();
        assert_eq!(mounts_at(&tree.at).len(), 1);
        assert_eq!(mounts_at(Path::new(&run_root)).len(), 1);
        assert_eq!(tree.read("ctr/web/status"), "configured\n");
    }
}

#[test]
fn a_dead_mount_of_another_store_is_replaced_too() {
    let (tree, other) = (Mounted::new(), unmounted());
    kill_both(&tree);
    succeed(&mut helper(&other.store, &tree.at));
    let [line] = &mounts_at(&tree.at)[..] else { panic!("stacked") };
    assert!(line.contains(other.store.to_str().unwrap()), "{line}");
    succeed(&mut umount(&tree.at));
    // Takes over what the killed keeper left behind.
    tree.mount();
}

#[test]
fn a_dead_mount_is_not_asked_for_its_store() {
    let (tree, elsewhere) = (Mounted::new(), Scratch::new());
    kill_both(&tree);
    let check = || Command::new(CTRFS).arg("check").arg(&tree.store).output().unwrap();
    // What is killed holds its lock a little longer than its mount.
    wait_until("the store is checked", || check().status.success());
    succeed(&mut helper(&tree.store, elsewhere.path()));
    fs::create_dir(elsewhere.path().join("ctr/web")).unwrap();
    assert_eq!(text(&check()), "ok: 1 containers, 0 pods, 0 images, 0 layers\n");
    succeed(&mut umount(elsewhere.path()));
    succeed(&mut umount(&tree.at));
}

#[test]
fn a_mountpoint_is_a_directory() {
    let tree = unmounted();
    let scratch = Scratch::new();
    let file = scratch.path().join("file");
    File::create(&file).unwrap();
    assert!(refused(&mut helper(&tree.store, &file), FAILURE).contains("not a directory"));
    let missing = scratch.path().join("none");
    assert!(refused(&mut helper(&tree.store, &missing), FAILURE).contains("no such directory to mount on"));
    let dangling = scratch.path().join("dangling");
    symlink(&missing, &dangling).unwrap();
    assert!(refused(&mut helper(&tree.store, &dangling), FAILURE).contains("no such directory to mount on"));
}

#[test]
fn a_directory_in_use_is_mounted_on() {
    let tree = unmounted();
    let mut stays = Command::new("sleep").arg("1000").current_dir(&tree.at).spawn().unwrap();
    tree.mount();
    tree.unmount();
    stays.kill().unwrap();
    stays.wait().unwrap();
}

#[test]
fn run_root_is_where_the_mounter_has_room() {
    let tree = unmounted();
    let scratch = Scratch::new();
    let uuid_of = |run_root: &Path| run_root.to_str().unwrap().split_once("ctrfs-").unwrap().1.to_owned();
    let run_root = |variable: Option<&Path>| {
        let mut command = helper(&tree.store, &tree.at);
        match variable {
            Some(path) => command.env("XDG_RUNTIME_DIR", path),
            None => command.env_remove("XDG_RUNTIME_DIR"),
        };
        succeed(&mut command);
        let run_root = PathBuf::from(tree.read("runtime-config/run-root").trim_end());
        assert!(is_mounted(&run_root));
        tree.unmount();
        run_root
    };
    // The same store each time: a default is no setting to hold on to.
    let without = run_root(None);
    let uuid = without.to_str().unwrap().rsplit_once("ctrfs-").unwrap().1.to_owned();
    let with = run_root(Some(scratch.path()));
    let stale = run_root(Some(&scratch.path().join("none")));
    assert_eq!(stale, without);
    if with != without {
        assert_eq!(with, scratch.path().join(format!("ctrfs-{}", uuid_of(&with))));
        assert!(uuid.ends_with(&uuid_of(&with)));
    }
    let explicit = format!("runroot={}", scratch.path().join("mine").display());
    let said = refused(helper(&tree.store, &tree.at).args(["-o", &explicit]), FAILURE);
    assert!(
        said.contains("run-root is not set in the store and \"") && said.contains("without -o run-root="),
        "{said}"
    );
}

/// Names that a path may have.
fn odd_names() -> Vec<OsString> {
    let long = "l".repeat(255);
    let mut names: Vec<OsString> =
        ["a b", "a,b", "a\\040b", "-o", "a\nb", "\"q\"", "#1:=%s", "größe"].map(OsString::from).into();
    names.push(OsString::from_vec(b"\xff\xfe".to_vec()));
    names.push([long.as_str(); 14].join("/").into());
    names
}

#[test]
fn any_path_will_do() {
    let scratch = Scratch::new();
    for name in odd_names() {
        let base = scratch.path().join(name);
        let (store, at) = (base.join("s"), base.join("m"));
        fs::create_dir_all(&at).unwrap();
        init(&store);
        succeed(&mut helper(&store, &at));
        assert!(at.join("version").exists(), "{base:?}");
        let second = helper(&store, scratch.path()).output().unwrap();
        assert_eq!(second.status.code(), Some(FAILURE), "{base:?}");
        let mut findmnt = Command::new("findmnt");
        findmnt.args(["-J", "-o", "SOURCE,TARGET", "--mountpoint"]).arg(&at);
        let shown = succeed(&mut findmnt).stdout;
        if let (Some(store), Ok(shown)) = (store.to_str(), serde_json::from_slice::<serde_json::Value>(&shown)) {
            assert_eq!(shown["filesystems"][0]["source"], store);
        }
        let mut command = Command::new(CTRFS);
        let check = succeed(command.arg("check").arg(&store));
        assert!(check.status.success());
        succeed(&mut umount(&at));
        assert!(!is_mounted(&at));
    }
}

#[test]
fn a_relative_path_is_taken_from_here() {
    let tree = unmounted();
    let here = tree.at.parent().unwrap();
    succeed(helper(Path::new("store"), Path::new("./mnt")).current_dir(here));
    assert!(tree.path("version").exists());
    assert!(mounts_at(&tree.at)[0].contains(tree.store.to_str().unwrap()));
}
