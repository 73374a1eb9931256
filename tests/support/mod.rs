//! A store mounted for one test, and the ways in which tests look at it. What privilege is missing
//! fails the test.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses its part")]

pub mod images;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The program under test.
pub const CTRFS: &str = env!("CARGO_BIN_EXE_ctrfs");

/// A directory of its own for one test, removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let dir = std::env::temp_dir().join(format!("ctrfs-test-{}-{number}", std::process::id()));
            match fs::create_dir(&dir) {
                // A run that was killed, under this number of a process, has left it.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                made => break made.map(|()| Scratch(dir.canonicalize().unwrap())).unwrap(),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A mounted store. Dropping it unmounts, waits for the processes to end, and asks `ctrfs check`.
pub struct Mounted {
    pub store: PathBuf,
    pub at: PathBuf,
    options: String,
    scratch: Scratch,
}

impl Mounted {
    /// A new store, mounted.
    pub fn new() -> Mounted {
        Mounted::with_options("")
    }

    /// A new store, mounted with these options.
    pub fn with_options(options: &str) -> Mounted {
        Mounted::prepared(options, |_| ())
    }

    /// A new store, mounted, in a directory that `prepare` makes first, or does not.
    pub fn prepared(options: &str, prepare: impl FnOnce(&Path)) -> Mounted {
        let scratch = Scratch::new();
        let (store, at) = (scratch.path().join("store"), scratch.path().join("mnt"));
        prepare(&store);
        Mounted::within(scratch, store, at, options)
    }

    /// A new store, mounted, at these paths below `scratch`.
    pub fn within(scratch: Scratch, store: PathBuf, at: PathBuf, options: &str) -> Mounted {
        fs::create_dir(&at).unwrap();
        succeed(Command::new(CTRFS).arg("init").arg(&store));
        let mounted = Mounted { store, at, options: options.to_owned(), scratch };
        mounted.mount();
        mounted
    }

    /// Mounts again after [`Mounted::unmount`].
    pub fn mount(&self) {
        succeed(self.mount_command(&self.options));
    }

    /// The command that mounts, with other options.
    pub fn mount_command(&self, options: &str) -> &'static mut Command {
        let mut command = Command::new(CTRFS);
        command.arg("mount").arg(&self.store).arg(&self.at);
        if !options.is_empty() {
            command.arg("-o").arg(options);
        }
        Box::leak(Box::new(command))
    }

    /// Unmounts and waits until keeper and server are gone.
    pub fn unmount(&self) {
        let pids = self.processes();
        // Until it calls exec, a child that another test has just forked holds our descriptors too.
        let umount = || Command::new(CTRFS).arg("umount").arg(&self.at).output().unwrap();
        let mut said = umount();
        wait_until("nobody uses the mount", || {
            let busy = text(&said).contains(": busy, ");
            if busy {
                said = umount();
            }
            !busy
        });
        assert!(said.status.success(), "umount: {}", text(&said));
        wait_until("keeper and server end", || pids.iter().all(|pid| !is_alive(*pid)));
    }

    /// Unmounts though containers run, which keep what they have mounted, and waits for the processes.
    pub fn unmount_while_live(&self) {
        let pids = self.processes();
        succeed(Command::new(CTRFS).args(["umount", "--lazy"]).arg(&self.at));
        wait_until("keeper and server end", || pids.iter().all(|pid| !is_alive(*pid)));
    }

    /// A path below the mount.
    pub fn path(&self, below: &str) -> PathBuf {
        self.at.join(below)
    }

    /// A file's content.
    pub fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap_or_else(|error| panic!("{below}: {error}"))
    }

    /// Writes as `echo TEXT > FILE` does: one write, with a newline.
    pub fn echo(&self, text: &str, below: &str) -> std::io::Result<()> {
        use std::io::Write;
        let mut file = fs::OpenOptions::new().write(true).truncate(true).open(self.path(below))?;
        file.write_all(format!("{text}\n").as_bytes())
    }

    /// Makes a container by name; returns its ID.
    pub fn make(&self, name: &str) -> String {
        fs::create_dir(self.path(&format!("ctr/{name}"))).unwrap();
        self.id(name)
    }

    /// The ID that a container's name leads to.
    pub fn id(&self, name: &str) -> String {
        let target = fs::read_link(self.path(&format!("ctr/{name}"))).unwrap();
        target.to_str().unwrap().to_owned()
    }

    /// Runs a script with its working directory at the root of the tree.
    pub fn sh(&self, shell: &[&str], script: &str) -> Output {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg("-c").arg(script).current_dir(&self.at).stdin(Stdio::null());
        command.output().unwrap_or_else(|error| panic!("{shell:?}: {error}"))
    }

    /// Runs `ctrfs` on this tree.
    pub fn ctrfs(&self, arguments: &[&str]) -> Output {
        Command::new(CTRFS).args(arguments).env("CTRFS_AT", &self.at).stdin(Stdio::null()).output().unwrap()
    }

    /// The keeper's process.
    pub fn keeper(&self) -> u32 {
        let lock = fs::read_to_string(self.store.join("lock")).unwrap();
        lock.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// The server's process.
    pub fn server(&self) -> u32 {
        let children = format!("/proc/{0}/task/{0}/children", self.keeper());
        let mut pid = None;
        wait_until("the keeper has a server", || {
            let text = fs::read_to_string(&children).unwrap_or_default();
            pid = text.split_whitespace().next().and_then(|word| word.parse().ok());
            pid.is_some()
        });
        pid.unwrap()
    }

    fn processes(&self) -> Vec<u32> {
        vec![self.keeper(), self.server()]
    }

    /// Kills the server and waits until the next one answers.
    pub fn kill_server(&self) {
        kill(self.server());
        // Any request waits for the successor.
        self.read("version");
    }

    /// The newest refusal.
    pub fn last_refusal(&self) -> String {
        self.read("refusals").lines().last().unwrap_or_default().to_owned()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = Command::new("umount").arg("-l").arg(&self.at).output();
            return;
        }
        if is_mounted(&self.at) {
            self.unmount();
        }
        let check = Command::new(CTRFS).arg("check").arg(&self.store).output().unwrap();
        assert!(check.status.success(), "the store is not sound:\n{}", text(&check));
    }
}

/// Runs a command that must succeed.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    output
}

/// What a command printed, both streams.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Waits for something that must come within ten seconds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Sends SIGKILL.
pub fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid as i32);
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
}

/// Whether a process runs; one that nobody has waited for does not.
pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Whether a path is a mountpoint in this namespace.
pub fn is_mounted(path: &Path) -> bool {
    ctrfs::sys::mountinfo::read().unwrap().iter().any(|mount| mount.mount_point == path)
}

/// The mounts of this namespace; some paths there may not be UTF-8.
pub fn mountinfo() -> String {
    String::from_utf8_lossy(&fs::read("/proc/self/mountinfo").unwrap()).into_owned()
}

/// The errno of a failed call.
pub fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> nix::errno::Errno {
    let error = result.expect_err("the call must be refused");
    nix::errno::Errno::from_raw(error.raw_os_error().expect("an error of the kernel"))
}

/// A seed, printed so that a failure can be run again: `CTRFS_SEED=… cargo test …`.
pub fn seed() -> u64 {
    let given = std::env::var("CTRFS_SEED").ok().and_then(|text| text.parse().ok());
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = given.unwrap_or(clock);
    println!("CTRFS_SEED={seed}");
    seed
}

/// A small generator (splitmix64): the same numbers for the same seed, everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
