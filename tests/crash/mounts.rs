//! Containers that are mounted and unmounted while servers and keepers die, while the store fails, and
//! in storms of other work.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;

use crate::load::{Load, kill_at_random, kill_both, kills, mounts_at};
use crate::support::{Mounted, Random, Scratch, is_alive, is_mounted, kill, mountinfo, seed, wait_until};

/// A tree, and a directory that is the rootfs of containers.
struct Host {
    tree: Mounted,
    scratch: Scratch,
}

impl Host {
    fn new() -> Host {
        let (tree, scratch) = (Mounted::new(), Scratch::new());
        fs::create_dir(scratch.path().join("rootfs")).unwrap();
        fs::write(scratch.path().join("rootfs/file"), "content").unwrap();
        let source = format!("dir:{}", scratch.path().join("rootfs").display());
        assert!(tree.ctrfs(&["image", "import", &source, "plain"]).status.success());
        Host { tree, scratch }
    }

    /// Makes a container, every second one with an overlay; returns its ID.
    fn make(&self, number: usize) -> String {
        let name = format!("web-{number}");
        fs::write(self.tree.path("create/ctr"), format!("{{\"name\":\"{name}\",{}}}", self.rootfs(number))).unwrap();
        self.tree.id(&name)
    }

    fn rootfs(&self, number: usize) -> String {
        match number % 2 {
            0 => "\"image\":\"plain\"".to_owned(),
            _ => format!("\"rootfs\":\"{}\"", self.scratch.path().join("rootfs").display()),
        }
    }

    fn run_root(&self) -> PathBuf {
        PathBuf::from(self.tree.read("runtime-config/run-root").trim_end())
    }

    /// Kernel and record say the same of a container, and it has all of its mounts or none.
    #[track_caller]
    fn agrees(&self, id: &str) {
        let there = mounts_of(id);
        let asked = self.tree.read(&format!("ctr/{id}/state")).contains("\"mounted\": true");
        let shown = self.tree.read(&format!("ctr/{id}/mounted"));
        assert_eq!((there.len(), shown.as_str()), if asked { (4, "1\n") } else { (0, "0\n") }, "{there:#?}");
        let left = self.run_root().join("p").join(id).exists();
        assert_eq!(left, asked, "what is in RUNROOT");
    }
}

fn mounts_of(id: &str) -> Vec<String> {
    mountinfo().lines().filter(|line| line.split(' ').nth(4).unwrap().contains(id)).map(str::to_owned).collect()
}

fn signal(pid: u32, signal: Signal) {
    send(Pid::from_raw(pid as i32), signal).unwrap();
}

fn set(root: &Path, id: &str, mounted: u8) -> io::Result<()> {
    OpenOptions::new().write(true).open(root.join("ctr").join(id).join("mounted"))?.write_all(&[b'0' + mounted, b'\n'])
}

#[test]
fn servers_killed_while_mounting_leave_kernel_and_record_at_one() {
    let host = Host::new();
    let mut random = Random(seed());
    let still = host.make(100);
    set(&host.tree.at, &still, 1).unwrap();
    let before = mounts_of(&still);
    let ids: Vec<String> = (0..4).map(|number| host.make(number)).collect();
    let mut load = Load::new();
    for id in ids.clone() {
        let root = host.tree.at.clone();
        load.spawn("mounter", move |round| {
            let mounted = (round % 2 == 0) as u8;
            set(&root, &id, mounted).unwrap_or_else(|error| {
                let said = fs::read_to_string(root.join("refusals")).unwrap_or_default();
                panic!("mounted={mounted}: {error}: {said}")
            });
            // The next server may be setting things at one; it has answered for what it says.
            assert_eq!(fs::read_to_string(root.join("ctr").join(&id).join("mounted")).unwrap(), format!("{mounted}\n"));
        });
    }
    let (root, rootfs) = (host.tree.at.clone(), host.rootfs(1));
    load.spawn("remover", move |round| {
        let id = format!("{round:064x}");
        fs::write(root.join("create/ctr"), format!("{{\"id\":\"{id}\",{rootfs}}}")).unwrap();
        set(&root, &id, 1).unwrap();
        fs::remove_dir(root.join("ctr").join(&id)).unwrap_or_else(|error| panic!("rmdir {id}: {error}"));
        assert_eq!(mounts_of(&id), [""; 0]);
    });
    let (root, id) = (host.tree.at.clone(), still.clone());
    load.spawn("walker", move |_| on_the_way(&root, &id));
    for round in 0..kills(40) {
        kill_at_random(&host.tree, &mut random, round);
        load.must_go_on(&host.tree);
    }
    println!("{:?}", load.end());
    // The last server has set things at one before it answers this.
    set(&host.tree.at, &still, 1).unwrap();
    assert_eq!(mounts_of(&still), before, "never detached");
    ids.iter().chain([&still]).for_each(|id| host.agrees(id));
    let known = fs::read_dir(host.run_root().join("p")).unwrap().count();
    let asked = ids.iter().chain([&still]).filter(|id| !mounts_of(id).is_empty()).count();
    assert_eq!(known, asked, "nothing else is in RUNROOT");
}

/// Tries what detaches mounts below a filesystem that answers wrong.
fn on_the_way(root: &Path, id: &str) {
    for way in ["ctr".to_owned(), format!("ctr/{id}"), format!("ctr/{id}/rootfs")] {
        let way = root.join(way);
        let _ = fs::create_dir(&way);
        let _ = symlink("x", &way);
        let _ = fs::metadata(&way);
        let _ = fs::read_dir(&way).map(Iterator::count);
    }
}

/// Stops the server at a moment when one of its threads waits in move_mount(2) for the lock of a directory
/// that others look names up in, and kills it then.
fn kill_while_it_waits_for_a_lock(server: u32) {
    let call = format!("{} ", nix::libc::SYS_move_mount);
    let waits = |thread: &Path| {
        let read = |name: &str| fs::read_to_string(thread.join(name)).unwrap_or_default();
        let is_lock = |place: &str| place.contains("lock_mount") || place.starts_with("rwsem_down");
        read("syscall").starts_with(&call) && is_lock(&read("wchan"))
    };
    let threads = || fs::read_dir(format!("/proc/{server}/task")).unwrap().flatten().map(|thread| thread.path());
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        signal(server, Signal::SIGSTOP);
        thread::sleep(Duration::from_micros(200));
        let is_met = threads().any(|thread| waits(&thread));
        signal(server, if is_met { Signal::SIGKILL } else { Signal::SIGCONT });
        if is_met {
            return;
        }
        assert!(Instant::now() < until, "it is never met while it waits");
    }
}

#[test]
fn a_thread_that_waits_for_a_lock_of_the_tree_does_not_hold_the_next_server_up() {
    for round in 0..5 {
        let host = Host::new();
        let (id, device) = (host.make(0), fs::metadata(&host.tree.at).unwrap().dev());
        let mut load = Load::new();
        for number in 0..8 {
            let missing = host.tree.path(&format!("ctr/{id}/rootfs/missing-{number}"));
            load.spawn("walker", move |_| assert!(!missing.exists()));
        }
        let (root, mounts) = (host.tree.at.clone(), id.clone());
        load.spawn("mounter", move |round| set(&root, &mounts, (round % 2 == 0) as u8).unwrap());
        kill_while_it_waits_for_a_lock(host.tree.server());
        let version = host.tree.path("version");
        let asks = thread::spawn(move || fs::read_to_string(version).map(drop));
        let until = Instant::now() + Duration::from_secs(20);
        while !asks.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(10));
        }
        if !asks.is_finished() {
            abort(&host.tree, device);
            panic!("no server answers, round {round}");
        }
        asks.join().unwrap().unwrap();
        println!("{:?}", load.end());
        host.agrees(&id);
    }
}

#[test]
fn primaries_outlive_keeper_and_server() {
    let host = Host::new();
    let ids: Vec<String> = (0..2).map(|number| host.make(number)).collect();
    for id in &ids {
        set(&host.tree.at, id, 1).unwrap();
        fs::write(host.tree.path(&format!("ctr/{id}/shm/kept")), "").unwrap();
    }
    let run_root = host.run_root();
    for round in 0..5 {
        let primaries = |id: &String| ["rootfs", "shm"].map(|part| mounts_at(&run_root.join("p").join(id).join(part)));
        let before: Vec<_> = ids.iter().map(primaries).collect();
        // A handle with bytes that complete nothing: what it leaves goes with its connection.
        let mut handle =
            OpenOptions::new().write(true).open(host.tree.path(&format!("ctr/{}/status", ids[0]))).unwrap();
        handle.write_all(b"runn").unwrap();
        assert!(fs::read_dir(run_root.join("handles")).unwrap().count() > 1);
        kill_both(&host.tree);
        drop(handle);
        host.tree.mount();
        assert_eq!(ids.iter().map(primaries).collect::<Vec<_>>(), before, "round {round}");
        assert_eq!(fs::read_dir(run_root.join("handles")).unwrap().count(), 1, "of this connection only");
        for id in &ids {
            // mount(8) has returned: the views are there.
            assert!(is_mounted(&host.tree.path(&format!("ctr/{id}/rootfs"))));
            assert!(host.tree.path(&format!("ctr/{id}/shm/kept")).exists());
            host.agrees(id);
        }
    }
}

#[test]
fn a_store_that_fails_detaches_no_view() {
    let host = Host::new();
    let ids: Vec<String> = (0..2).map(|number| host.make(number)).collect();
    for id in &ids {
        set(&host.tree.at, id, 1).unwrap();
    }
    // Another server, which has nothing of the store in memory.
    host.tree.kill_server();
    set(&host.tree.at, &ids[0], 1).unwrap();
    let before: Vec<_> = ids.iter().map(|id| mounts_of(id)).collect();
    let path = host.tree.store.join("ctrfs.redb");
    let (file, good) = (OpenOptions::new().write(true).open(&path).unwrap(), fs::read(&path).unwrap());
    file.write_all_at(&vec![0xff; good.len()], 0).unwrap();
    // Should the server die of it, these wait for one that can open the store.
    let mut load = Load::new();
    for id in ids.clone() {
        let root = host.tree.at.clone();
        load.spawn("walker", move |_| {
            on_the_way(&root, &id);
            let _ = fs::read_to_string(root.join("ctr").join(&id).join("config"));
        });
    }
    thread::sleep(Duration::from_secs(1));
    let there: Vec<_> = ids.iter().map(|id| mounts_of(id)).collect();
    file.write_all_at(&good, 0).unwrap();
    file.set_len(good.len() as u64).unwrap();
    if is_alive(host.tree.server()) {
        kill(host.tree.server());
    }
    println!("{:?}", load.end());
    assert_eq!(there, before);
    set(&host.tree.at, &ids[0], 1).unwrap();
    ids.iter().for_each(|id| host.agrees(id));
}

/// How long a storm lasts: a minute, or ten.
fn storm() -> Duration {
    Duration::from_secs(if std::env::var_os("CTRFS_LONG").is_some() { 600 } else { 60 })
}

/// A worker of a storm: when it was last seen to end a round, and how many.
struct Worker {
    name: &'static str,
    rounds: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

fn spawn(name: &'static str, stop: &Arc<AtomicBool>, mut work: impl FnMut(u64) + Send + 'static) -> Worker {
    let (stop, rounds) = (Arc::clone(stop), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&rounds);
    let run = move || {
        while !stop.load(Ordering::Relaxed) {
            work(count.load(Ordering::Relaxed));
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    Worker { name, rounds, thread: thread::Builder::new().name(name.to_owned()).spawn(run).unwrap() }
}

/// What an operation may be refused with when others work on the same objects.
#[track_caller]
fn in_turn(result: io::Result<()>) {
    if let Err(error) = result {
        let errno = Errno::from_raw(error.raw_os_error().unwrap());
        assert!([Errno::EBUSY, Errno::ENOENT, Errno::ESTALE, Errno::EEXIST].contains(&errno), "{error}");
    }
}

/// Ends the connection, which nothing else may: its processes wait for locks that it holds.
fn abort(tree: &Mounted, device: u64) {
    let minor = nix::sys::stat::minor(device);
    let control = format!("/sys/fs/fuse/connections/{minor}/abort");
    if fs::write(&control, "1").is_err() {
        let _ = Command::new("umount").args(["-f", "-l"]).arg(&tree.at).output();
    }
}

#[test]
fn storms_beside_mounts_never_hang() {
    /// More than any operation takes on a busy machine.
    const HANG: Duration = Duration::from_secs(20);
    let host = Host::new();
    let device = fs::metadata(&host.tree.at).unwrap().dev();
    let ids: Vec<String> = (0..4).map(|number| host.make(number)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = Vec::new();
    for pair in ids.chunks(2) {
        let (root, pair) = (host.tree.at.clone(), pair.to_vec());
        workers.push(spawn("mounter", &stop, move |round| {
            for id in &pair {
                in_turn(set(&root, id, (round % 2) as u8));
            }
        }));
    }
    for number in 0..2 {
        let (root, rootfs) = (host.tree.at.clone(), host.rootfs(number));
        workers.push(spawn("remover", &stop, move |round| {
            let id = format!("{number:x}{round:063x}");
            fs::write(root.join("create/ctr"), format!("{{\"id\":\"{id}\",{rootfs}}}")).unwrap();
            set(&root, &id, 1).unwrap();
            // While it is mounted still, or again.
            fs::remove_dir(root.join("ctr").join(&id)).unwrap();
            assert_eq!(mounts_of(&id), [""; 0]);
        }));
    }
    let root = host.tree.at.clone();
    workers.push(spawn("maker", &stop, move |round| {
        let name = format!("made-{round}");
        fs::create_dir(root.join("ctr").join(&name)).unwrap();
        let id = fs::read_link(root.join("ctr").join(&name)).unwrap();
        fs::rename(root.join("name").join(&name), root.join("name").join("moved")).unwrap();
        fs::remove_dir(root.join("ctr").join(id)).unwrap();
    }));
    let (root, all) = (host.tree.at.clone(), ids.clone());
    workers.push(spawn("same names", &stop, move |_| all.iter().for_each(|id| on_the_way(&root, id))));
    // One container that is made, mounted and removed by three at once.
    let (one, rootfs) = ("f".repeat(64), host.rootfs(0));
    for part in 0..3 {
        let (root, one, rootfs) = (host.tree.at.clone(), one.clone(), rootfs.clone());
        workers.push(spawn("quarrel", &stop, move |_| match part {
            0 => in_turn(fs::write(root.join("create/ctr"), format!("{{\"id\":\"{one}\",{rootfs}}}"))),
            1 => in_turn(set(&root, &one, 1)),
            _ => in_turn(fs::remove_dir(root.join("ctr").join(&one))),
        }));
    }
    let root = host.tree.at.clone();
    workers.push(spawn("lister", &stop, move |_| {
        let _ = Command::new("ls").arg("-lR").arg(&root).output();
    }));

    let began = Instant::now();
    let mut seen: Vec<(u64, Instant)> = workers.iter().map(|_| (0, began)).collect();
    loop {
        thread::sleep(Duration::from_millis(100));
        stop.store(began.elapsed() > storm(), Ordering::Relaxed);
        if workers.iter().all(|worker| worker.thread.is_finished()) {
            break;
        }
        for (worker, (rounds, since)) in workers.iter().zip(&mut seen) {
            let now = worker.rounds.load(Ordering::Relaxed);
            if now != *rounds || (worker.thread.is_finished() && stop.load(Ordering::Relaxed)) {
                (*rounds, *since) = (now, Instant::now());
            } else if since.elapsed() > HANG || worker.thread.is_finished() {
                let ended = worker.thread.is_finished();
                stop.store(true, Ordering::Relaxed);
                if !ended {
                    abort(&host.tree, device);
                }
                panic!("{} {} after {now} rounds", worker.name, if ended { "failed" } else { "hangs" });
            }
        }
    }
    for worker in workers {
        let rounds = worker.rounds.load(Ordering::Relaxed);
        println!("{}: {rounds}", worker.name);
        worker.thread.join().unwrap_or_else(|_| panic!("{} failed", worker.name));
        assert!(rounds > 0, "{} never did its work", worker.name);
    }
    ids.iter().for_each(|id| host.agrees(id));
    if host.tree.path(&format!("ctr/{one}")).exists() {
        host.agrees(&one);
    } else {
        assert_eq!(mounts_of(&one), [""; 0]);
    }
    wait_until("the trash is emptied", || fs::read_dir(host.tree.store.join("trash")).unwrap().count() == 0);
}
