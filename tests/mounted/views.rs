//! Mounting rootfs and shm through `mounted`, and what becomes of the views in the tree.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ctrfs::sys::host::is_host_root;
use nix::errno::Errno;

use crate::mounting::{flags, mounts_at, refused, umount};
use crate::support::{Mounted, Scratch, errno, is_mounted, mountinfo, succeed, text, wait_until};

/// A tree, a directory that is a rootfs, and an image of the same, called `plain`.
struct Host {
    tree: Mounted,
    scratch: Scratch,
}

impl Host {
    fn new() -> Host {
        Host::with_options("")
    }

    fn with_options(options: &str) -> Host {
        let (tree, scratch) = (Mounted::with_options(options), Scratch::new());
        fs::create_dir_all(scratch.path().join("rootfs/bin")).unwrap();
        fs::write(scratch.path().join("rootfs/bin/true"), "true").unwrap();
        Host { tree, scratch }
    }

    fn rootfs(&self) -> PathBuf {
        self.scratch.path().join("rootfs")
    }

    fn import(&self) {
        let source = format!("dir:{}", self.rootfs().display());
        let output = self.tree.ctrfs(&["image", "import", &source, "plain"]);
        assert!(output.status.success(), "{}", text(&output));
    }

    /// Makes a container from a document's inside; returns its ID.
    fn make(&self, name: &str, keys: &str) -> String {
        fs::write(self.tree.path("create/ctr"), format!("{{\"name\":\"{name}\",{keys}}}")).unwrap();
        self.tree.id(name)
    }

    /// One with the directory for its rootfs.
    fn plain(&self, name: &str) -> String {
        self.make(name, &format!("\"rootfs\":\"{}\"", self.rootfs().display()))
    }

    fn set(&self, name: &str, mounted: &str) -> io::Result<()> {
        self.tree.echo(mounted, &format!("ctr/{name}/mounted"))
    }

    fn mounted(&self, name: &str) -> String {
        self.tree.read(&format!("ctr/{name}/mounted"))
    }

    fn view(&self, id: &str, part: &str) -> PathBuf {
        self.tree.path("ctr").join(id).join(part)
    }

    fn primary(&self, id: &str, part: &str) -> PathBuf {
        self.run_root().join("p").join(id).join(part)
    }

    fn run_root(&self) -> PathBuf {
        PathBuf::from(self.tree.read("runtime-config/run-root").trim_end())
    }

    /// The lines of mountinfo with this ID in their path.
    fn mounts_of(&self, id: &str) -> Vec<String> {
        mountinfo().lines().filter(|line| line.split(' ').nth(4).unwrap().contains(id)).map(str::to_owned).collect()
    }

    #[track_caller]
    fn is_refused(&self, result: io::Result<()>, errno_is: Errno, words: &str) {
        assert_eq!(errno(result), errno_is);
        let said = self.tree.last_refusal();
        assert!(said.contains(words), "{said}");
    }

    /// Nothing of a container is mounted, and nothing is in RUNROOT.
    #[track_caller]
    fn nothing_is_left(&self, id: &str) {
        assert_eq!(self.mounts_of(id), [""; 0]);
        for below in ["p", "run"] {
            assert!(!self.run_root().join(below).join(id).exists(), "{below}/{id} is left");
        }
    }
}

#[test]
fn mounting_waits_until_it_is_done_and_twice_is_no_error() {
    let host = Host::new();
    host.import();
    host.make("web", "\"image\":\"plain\"");
    host.plain("db");
    for name in ["web", "db"] {
        let id = host.tree.id(name);
        for _ in 0..20 {
            for _ in 0..2 {
                host.set(name, "1").unwrap();
                assert_eq!(host.mounts_of(&id).len(), 4, "{:?}", host.mounts_of(&id));
                assert_eq!(fs::read_to_string(host.view(&id, "rootfs").join("bin/true")).unwrap(), "true");
                assert_eq!(host.mounted(name), "1\n");
            }
            fs::write(host.view(&id, "rootfs").join("written"), name).unwrap();
            for _ in 0..2 {
                host.set(name, "0").unwrap();
                assert_eq!(host.mounted(name), "0\n");
                host.nothing_is_left(&id);
            }
        }
    }
    host.is_refused(host.set("web", "2"), Errno::EINVAL, "1 or 0");
    assert!(!host.tree.store.join("layers").join("written").exists());
    assert_eq!(fs::read_to_string(host.rootfs().join("written")).unwrap(), "db", "a plain rootfs is the directory");
}

#[test]
fn views_are_harmless_and_shm_is_bounded() {
    let host = Host::new();
    let id = host.make("web", &format!("\"rootfs\":\"{}\",\"shmSize\":1048576", host.rootfs().display()));
    host.set("web", "1").unwrap();
    let has = |path: &Path, words: &[&str]| {
        let flags = flags(path);
        assert!(words.iter().all(|word| flags.iter().any(|flag| flag == word)), "{path:?}: {flags:?}");
    };
    has(&host.view(&id, "rootfs"), &["rw", "nosuid", "nodev"]);
    for shm in [host.view(&id, "shm"), host.primary(&id, "shm")] {
        has(&shm, &["rw", "nosuid", "nodev", "noexec"]);
        assert_eq!(fs::metadata(&shm).unwrap().permissions().mode() & 0o7777, 0o1777);
        let line = &mounts_at(&shm)[0];
        assert!(line.contains(" tmpfs ") && line.contains("size=1024k"), "{line}");
    }
    let shm = host.view(&id, "shm");
    fs::write(shm.join("half"), vec![0; 512 << 10]).unwrap();
    assert_eq!(errno(fs::write(shm.join("more"), vec![0; 1 << 20])), Errno::ENOSPC);
    assert_eq!(fs::read(host.primary(&id, "shm").join("half")).unwrap().len(), 512 << 10, "both are one");

    let id = host.make("bare", &format!("\"rootfs\":\"{}\",\"NoShm\":true", host.rootfs().display()));
    host.set("bare", "1").unwrap();
    assert_eq!(host.mounts_of(&id).len(), 2);
    assert_eq!(errno(fs::metadata(host.view(&id, "shm"))), Errno::ENOENT);
    host.tree.kill_server();
    assert_eq!(errno(fs::metadata(host.view(&id, "shm"))), Errno::ENOENT);
}

#[test]
fn what_a_tree_does_not_let_do_its_views_do_not() {
    let host = Host::new();
    let id = host.plain("web");
    host.set("web", "1").unwrap();
    host.tree.unmount();
    succeed(host.tree.mount_command("ro,noexec"));
    let [rootfs, shm] = ["rootfs", "shm"].map(|part| host.view(&id, part));
    wait_until("both are shown again", || is_mounted(&rootfs) && is_mounted(&shm));
    let are_bound =
        || [&rootfs, &shm].iter().all(|view| ["ro", "noexec"].iter().all(|word| flags(view).iter().any(|f| f == word)));
    assert!(are_bound(), "{:?}", host.mounts_of(&id));
    assert_eq!(errno(fs::write(rootfs.join("bin/true"), "")), Errno::EROFS);
    fs::write(host.primary(&id, "rootfs").join("bin/true"), "no").unwrap();
    // One that is busy keeps its views, though nobody can ask it to make them again.
    let busy = File::open(host.tree.path("version")).unwrap();
    assert!(refused(&mut umount(&host.tree.at), 32).contains(": busy, "));
    assert!(are_bound(), "{:?}", host.mounts_of(&id));
    assert_eq!(fs::read_to_string(rootfs.join("bin/true")).unwrap(), "no");
    drop(busy);
    host.tree.unmount();
    host.tree.mount();
}

#[test]
fn a_failure_half_way_leaves_nothing() {
    let host = Host::new();
    host.import();
    for (name, size, words) in [("none", "0", "the size of shared memory is 0"), ("less", "-1", "shmSize")] {
        for (kind, source) in
            [("plain", format!("\"rootfs\":\"{}\"", host.rootfs().display())), ("image", "\"image\":\"plain\"".into())]
        {
            let name = format!("{name}-{kind}");
            let id = host.make(&name, &format!("{source},\"shmSize\":{size}"));
            host.is_refused(host.set(&name, "1"), Errno::EINVAL, words);
            host.nothing_is_left(&id);
            assert_eq!(host.mounted(&name), "0\n");
            assert!(!host.tree.read(&format!("ctr/{name}/state")).contains("mountPoint"));
            // Put right, it can be mounted at once.
            let mut config =
                fs::OpenOptions::new().append(true).open(host.tree.path(&format!("ctr/{name}/config"))).unwrap();
            io::Write::write_all(&mut config, b"{\"shmSize\":4096}").unwrap();
            host.set(&name, "1").unwrap();
        }
    }
    host.tree.make("empty");
    host.is_refused(host.set("empty", "1"), Errno::EINVAL, "neither an image nor a rootfs");
    host.make("gone", "\"rootfs\":\"/no/such/directory\"");
    host.is_refused(host.set("gone", "1"), Errno::EINVAL, "No such file or directory");
}

#[test]
fn a_mounted_container_goes_unless_it_lives() {
    let host = Host::new();
    host.import();
    let id = host.make("web", "\"image\":\"plain\"");
    host.set("web", "1").unwrap();
    for live in ["running", "paused"] {
        host.tree.echo(live, "ctr/web/status").unwrap();
        host.is_refused(host.set("web", "0"), Errno::EBUSY, &format!("container web is {live}"));
        host.is_refused(fs::remove_dir(host.tree.path(&format!("ctr/{id}"))), Errno::EBUSY, live);
        assert_eq!(host.mounts_of(&id).len(), 4);
    }
    host.tree.echo("exited", "ctr/web/status").unwrap();
    host.is_refused(fs::remove_file(host.tree.path("ctr/web")), Errno::EBUSY, "container web is mounted");
    assert_eq!(errno(fs::remove_dir(host.view(&id, "rootfs"))), Errno::EBUSY);
    fs::remove_dir(host.tree.path(&format!("ctr/{id}"))).unwrap();
    host.nothing_is_left(&id);
    assert!(!host.tree.path(&format!("ctr/{id}")).exists());
    wait_until("the writable layer goes", || !host.tree.store.join("ctr").join(&id).exists());

    // Several at once, in one step; one that lives keeps all of them.
    let ids = ["a", "b"].map(|name| host.make(name, "\"image\":\"plain\""));
    for name in ["a", "b"] {
        host.set(name, "1").unwrap();
    }
    let remove = || fs::write(host.tree.path("control"), "{\"verb\":\"remove\",\"ctr\":[\"a\",\"b\"]}");
    host.tree.echo("running", "ctr/b/status").unwrap();
    assert_eq!(errno(remove()), Errno::EBUSY);
    assert!(ids.iter().all(|id| host.mounts_of(id).len() == 4));
    host.tree.echo("exited", "ctr/b/status").unwrap();
    remove().unwrap();
    for id in &ids {
        host.nothing_is_left(id);
        assert_eq!(errno(fs::metadata(host.tree.path(&format!("ctr/{id}")))), Errno::ENOENT);
    }
}

#[test]
fn what_is_lost_comes_back() {
    let host = Host::new();
    host.import();
    let id = host.make("web", "\"image\":\"plain\"");
    host.set("web", "1").unwrap();
    fs::write(host.view(&id, "rootfs").join("mine"), "").unwrap();
    let detach = |path: &Path| drop(succeed(Command::new("umount").arg("-l").arg(path)));
    for part in ["rootfs", "shm"] {
        detach(&host.view(&id, part));
        assert_eq!(fs::read_dir(host.view(&id, part)).unwrap().count(), 0);
        assert_eq!(host.mounted("web"), "1\n", "a view is for looking only");
        host.set("web", "1").unwrap();
        assert!(is_mounted(&host.view(&id, part)));
    }
    for part in ["rootfs", "shm"] {
        detach(&host.primary(&id, part));
        assert_eq!(host.mounted("web"), if part == "rootfs" { "0\n" } else { "1\n" }, "the kernel is asked");
        host.set("web", "1").unwrap();
        assert_eq!(host.mounts_of(&id).len(), 4, "{:?}", host.mounts_of(&id));
        fs::write(host.view(&id, part).join("new"), "").unwrap();
        assert!(host.primary(&id, part).join("new").exists(), "the view is of the new {part}");
    }
    assert!(host.view(&id, "rootfs").join("mine").exists());
    // A server's start puts views back too.
    detach(&host.view(&id, "rootfs"));
    host.tree.kill_server();
    wait_until("the view is made again", || is_mounted(&host.view(&id, "rootfs")));
}

#[test]
fn what_a_runtime_mounted_is_taken_away_too() {
    let host = Host::new();
    let [one, other, none] = ["one", "other", "none"].map(|name| host.scratch.path().join(name));
    for path in [&one, &other, &none] {
        fs::create_dir(path).unwrap();
    }
    let mounts =
        [&one, &none, Path::new("/no/such/path"), &other].map(|path| format!("\"{}\"", path.display())).join(",");
    for by_rmdir in [false, true] {
        let id = host.make("web", &format!("\"rootfs\":\"{}\",\"mounts\":[{mounts}]", host.rootfs().display()));
        host.set("web", "1").unwrap();
        for path in [&one, &other] {
            succeed(Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(path));
        }
        // Somebody is in it: unmounting is lazy.
        let _inside = File::create(one.join("file")).unwrap();
        let refusals = host.tree.read("refusals");
        if !by_rmdir {
            host.set("web", "0").unwrap();
        }
        fs::remove_dir(host.tree.path(&format!("ctr/{id}"))).unwrap();
        assert!(!is_mounted(&one) && !is_mounted(&other), "by rmdir: {by_rmdir}");
        assert_eq!(host.tree.read("refusals"), refusals, "what is not mounted is no matter");
    }
}

#[test]
fn an_upper_that_a_strange_overlay_has_is_refused() {
    let host = Host::new();
    host.import();
    let id = host.make("web", "\"image\":\"plain\"");
    host.set("web", "1").unwrap();
    fs::write(host.view(&id, "rootfs").join("written"), "x").unwrap();
    host.set("web", "0").unwrap();
    let (own, by_hand) = (host.tree.store.join("ctr").join(&id), host.scratch.path().join("by-hand"));
    let work = own.join("by-hand");
    [&work, &by_hand].into_iter().for_each(|path| fs::create_dir(path).unwrap());
    let extra = if is_host_root() { "" } else { ",userxattr" };
    let (upper, lower) = (own.join("upper"), host.rootfs());
    let options =
        format!("lowerdir={},upperdir={},workdir={},index=on{extra}", lower.display(), upper.display(), work.display());
    let state = || (host.tree.read("ctr/web/state"), fs::metadata(host.tree.path("ctr/web/state")).unwrap().modified());
    // A server that has unmounted it itself, and one that knows nothing.
    for killed in [false, true] {
        let before = state();
        // With index=on the kernel makes none before the container's own has ended.
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "-o", &options, "by-hand"]).arg(&by_hand);
        wait_until("the last overlay has ended", || mount.output().unwrap().status.success());
        if killed {
            host.tree.kill_server();
        }
        let words = format!("{} is in use by the overlay mounted at {}", upper.display(), by_hand.display());
        host.is_refused(host.set("web", "1"), Errno::EBUSY, &words);
        assert_eq!(host.mounted("web"), "0\n");
        assert_eq!(format!("{:?}", state()), format!("{before:?}"), "a refused write changes nothing");
        host.nothing_is_left(&id);
        succeed(Command::new("umount").arg(&by_hand));
        host.set("web", "1").unwrap();
        assert_eq!(fs::read_to_string(host.view(&id, "rootfs").join("written")).unwrap(), "x");
        host.set("web", "0").unwrap();
    }
}

#[test]
fn what_fails_half_way_is_recorded_as_it_was() {
    let host = Host::new();
    let id = host.plain("web");
    let primaries = host.run_root().join("p").join(&id);
    let state = || {
        let state = host.tree.read("ctr/web/state");
        assert_eq!(fs::metadata(host.tree.path("ctr/web/state")).unwrap().len(), state.len() as u64);
        state
    };
    // There is no place for shm.
    let before = state();
    fs::create_dir(&primaries).unwrap();
    fs::write(primaries.join("shm"), "").unwrap();
    for _ in 0..2 {
        host.is_refused(host.set("web", "1"), Errno::EIO, "Not a directory");
        assert_eq!((host.mounted("web").as_str(), state()), ("0\n", before.clone()));
        assert_eq!(host.mounts_of(&id), [""; 0]);
    }
    fs::remove_file(primaries.join("shm")).unwrap();
    host.set("web", "1").unwrap();
    assert_eq!(host.mounts_of(&id).len(), 4);
    // What somebody put there stays.
    let before = state();
    fs::write(primaries.join("stray"), "").unwrap();
    host.is_refused(host.set("web", "0"), Errno::EIO, "Directory not empty");
    assert_eq!(state(), before);
    fs::remove_file(primaries.join("stray")).unwrap();
    host.set("web", "0").unwrap();
    host.nothing_is_left(&id);
    assert!(!state().contains("mountPoint"));
}

#[test]
fn a_volatile_container_is_mounted_so() {
    let host = Host::new();
    host.import();
    let id = host.make("web", "\"image\":\"plain\",\"volatile\":true");
    for round in 0..3 {
        host.set("web", "1").unwrap();
        let line = &mounts_at(&host.primary(&id, "rootfs"))[0];
        assert!(line.contains("volatile"), "{line}");
        fs::write(host.view(&id, "rootfs").join(format!("{round}")), "").unwrap();
        assert_eq!(fs::read_dir(host.view(&id, "rootfs")).unwrap().count(), 2 + round, "what was written stays");
        host.set("web", "0").unwrap();
    }
}

#[test]
fn unmounting_the_tree_takes_the_views_unless_a_container_lives() {
    let host = Host::new();
    let id = host.plain("web");
    host.set("web", "1").unwrap();
    let run_root = host.run_root();
    host.tree.echo("running", "ctr/web/status").unwrap();
    let said = refused(&mut umount(&host.tree.at), 32);
    assert!(said.contains("containers run in it: web ("), "{said}");
    host.tree.echo("exited", "ctr/web/status").unwrap();
    let busy = File::open(host.tree.path("version")).unwrap();
    assert!(refused(&mut umount(&host.tree.at), 32).contains(": busy, "));
    assert_eq!(host.mounts_of(&id).len(), 4, "as before");
    drop(busy);
    // umount(8) itself, as for any filesystem.
    assert!(!Command::new("umount").arg(&host.tree.at).output().unwrap().status.success());
    host.tree.unmount();
    assert_eq!(host.mounts_of(&id), [""; 0]);
    assert!(!run_root.exists());
    // The record stands: the next mount of this boot makes them again, before it returns.
    host.tree.mount();
    assert_eq!(host.mounts_of(&id).len(), 4);
    let keeper = host.tree.keeper();
    succeed(Command::new("umount").arg("-R").arg(&host.tree.at));
    wait_until("nothing is left", || !run_root.exists() && !crate::support::is_alive(keeper));
    host.tree.mount();
    assert_eq!(host.mounts_of(&id).len(), 4);
}

#[test]
fn what_containers_run_on_outlives_the_tree() {
    let host = Host::new();
    let (live, dead) = (host.plain("live"), host.plain("dead"));
    for name in ["live", "dead"] {
        host.set(name, "1").unwrap();
    }
    host.tree.echo("running", "ctr/live/status").unwrap();
    fs::write(host.view(&live, "shm").join("kept"), "").unwrap();
    let (run_root, keeper) = (host.run_root(), host.tree.keeper());
    let kept = mounts_at(&host.primary(&live, "rootfs"));
    let (primary, gone) = (host.primary(&live, "rootfs"), host.primary(&dead, "rootfs"));
    succeed(umount(&host.tree.at).arg("--lazy"));
    wait_until("the keeper ends", || !crate::support::is_alive(keeper));
    assert_eq!(mounts_at(&primary), kept);
    assert!(!gone.exists() && run_root.exists());
    host.tree.mount();
    assert_eq!(mounts_at(&primary), kept, "the same mount");
    assert!(host.view(&live, "shm").join("kept").exists());
    assert_eq!(host.mounts_of(&dead).len(), 4);
    host.tree.echo("exited", "ctr/live/status").unwrap();
}

/// What STORAGE's table of detaching events has for clients, and more: each is done, its result is no
/// matter.
fn walk_about(root: &Path, id: &str) {
    let ways = ["ctr".to_owned(), format!("ctr/{id}"), format!("ctr/{id}/rootfs"), format!("ctr/{id}/shm")];
    for way in ways.iter().map(|way| root.join(way)) {
        let _ = fs::metadata(&way);
        let _ = fs::create_dir(&way);
        let _ = fs::remove_dir(way.join("none"));
        let _ = symlink("x", &way);
        let _ = fs::remove_file(&way);
        let _ = fs::rename(&way, way.with_extension("moved"));
        let _ = fs::read_dir(&way).map(Iterator::count);
        let _ = File::options().write(true).create_new(true).open(&way);
        let _ = fs::set_permissions(&way, fs::Permissions::from_mode(0o700));
    }
    let _ = fs::remove_dir(root.join(format!("ctr/{id}/rootfs")));
    let _ = Command::new("ls").arg("-lR").arg(root).output();
    let _ = Command::new("find").arg(root).args(["-exec", "stat", "-c", "", "{}", "+"]).output();
}

#[test]
fn nothing_that_a_client_does_detaches_a_view() {
    let host = Host::new();
    host.import();
    let ids = [host.plain("web"), host.make("db", "\"image\":\"plain\"")];
    for name in ["web", "db"] {
        host.set(name, "1").unwrap();
    }
    let mounts = || ids.iter().flat_map(|id| host.mounts_of(id)).collect::<Vec<_>>();
    let before = mounts();
    assert_eq!(before.len(), 8);
    for round in 0..4 {
        for id in &ids {
            walk_about(&host.tree.at, id);
            assert_eq!(mounts(), before, "round {round}");
        }
        host.tree.kill_server();
    }
    for id in &ids {
        let made = fs::metadata(host.tree.path(&format!("ctr/{id}/config"))).unwrap().modified().unwrap();
        let way = fs::metadata(host.tree.path(&format!("ctr/{id}"))).unwrap().modified().unwrap();
        assert_eq!(way, made, "the way to a view has its true time");
    }
}

#[test]
fn root_other_users_and_the_end_of_caches_detach_no_view() {
    let host = Host::with_options("allow_other");
    let id = host.plain("web");
    host.set("web", "1").unwrap();
    let before = host.mounts_of(&id);
    let script = format!(
        "for way in ctr ctr/{id} ctr/{id}/rootfs ctr/{id}/shm; do mkdir $way; rmdir $way; ln -s x $way; mv -T $way moved; \
         stat $way; ls -l $way; done; ls -lR ."
    );
    for _ in 0..3 {
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", &script]);
        let said = text(&nobody.current_dir(&host.tree.at).output().unwrap());
        assert!(said.contains("File exists"), "{said}");
        assert_eq!(host.mounts_of(&id), before);
        fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
        walk_about(&host.tree.at, &id);
        assert_eq!(host.mounts_of(&id), before);
        host.tree.kill_server();
    }
}

/// Ends the connection where something in it waits for itself.
fn abort(device: u64) {
    let minor = nix::sys::stat::minor(device);
    let _ = fs::write(format!("/sys/fs/fuse/connections/{minor}/abort"), "1");
}

#[test]
fn a_read_of_the_handle_that_mounts_waits_where_nobody_else_does() {
    let host = Host::with_options("threads=1");
    host.plain("web");
    let device = fs::metadata(&host.tree.at).unwrap().dev();
    let path = host.tree.path("ctr/web/mounted");
    let file = Arc::new(OpenOptions::new().read(true).write(true).open(path).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let (done, ended) = mpsc::channel();
    let (writes, wrote) = (Arc::clone(&file), done.clone());
    thread::spawn(move || {
        let mut mount = |round: usize| (&*writes).write_all([b"1\n", b"0\n"][round % 2]);
        wrote.send((0..20).try_for_each(&mut mount)).unwrap();
    });
    let stopped = Arc::clone(&stop);
    thread::spawn(move || {
        let (mut bytes, mut read) = ([0; 8], Ok(()));
        while read.is_ok() && !stopped.load(Ordering::Relaxed) {
            read = file.read_at(&mut bytes, 0).map(drop);
        }
        done.send(read).unwrap();
    });
    let written = ended.recv_timeout(Duration::from_secs(20));
    stop.store(true, Ordering::Relaxed);
    if written.is_err() {
        abort(device);
    }
    written.expect("it goes on").unwrap();
    ended.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
}

#[test]
fn a_spec_does_not_wait_for_what_others_have_gathered() {
    let host = Host::new();
    host.import();
    let id = host.make("web", "\"image\":\"plain\"");
    host.set("web", "1").unwrap();
    (0..20_000).for_each(|number| drop(File::create(host.view(&id, "rootfs").join(number.to_string())).unwrap()));
    let (size, spec) = (host.tree.path("ctr/web/size-rw"), host.tree.path("ctr/web/config.json"));
    let time = |path: &Path| {
        let since = Instant::now();
        fs::read(path).unwrap();
        since.elapsed()
    };
    let alone = time(&size);
    let (stop, begun) = (AtomicBool::new(false), Barrier::new(9));
    let waits = thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                time(&size);
                begun.wait();
                while !stop.load(Ordering::Relaxed) {
                    time(&size);
                }
            });
        }
        begun.wait();
        thread::sleep(alone / 2);
        let waits: Vec<Duration> = (0..5).map(|_| time(&spec)).collect();
        stop.store(true, Ordering::Relaxed);
        waits
    });
    let shortest = *waits.iter().min().unwrap();
    assert!(shortest < alone * 3, "{waits:?} beside gatherings of {alone:?}, each behind seven others");
    host.set("web", "0").unwrap();
}
