//! Processes: watching others, and what a daemon does to itself.
#![allow(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Group, Pid};

/// A process held by a descriptor (pidfd): readable once it has ended, and never another process
/// that was given its number later.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Takes hold of a process; ESRCH if there is none.
    pub fn open(pid: u32) -> io::Result<Self> {
        let pid = libc::pid_t::try_from(pid).map_err(|_| Errno::ESRCH)?;
        // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
        // SAFETY: the kernel has just made this descriptor for us, with FD_CLOEXEC.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What memory a thread has, which `statm` tells without a lock that sleeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Memory {
    /// None any more: it has given it up, before it closes its files (do_exit).
    Gone,
    /// One without a program: in execve(2), before the new one is loaded. It closes files by then, and
    /// holds exec_update_lock, for which readers of most that /proc has of it wait.
    Empty,
    /// A program, or it cannot be told.
    Program,
}

fn memory(thread: u32) -> Memory {
    let sizes = fs::read_to_string(format!("/proc/{thread}/statm")).unwrap_or_default();
    let mut pages = sizes.split_whitespace();
    match (pages.next(), pages.nth(2)) {
        (Some("0"), _) => Memory::Gone,
        (_, Some("0")) => Memory::Empty,
        _ => Memory::Program,
    }
}

/// Whether a thread is on its way out because a signal ends its process, as far as this process may
/// know. It is not waited for, even where it waits for us.
pub fn is_killed(thread: u32) -> bool {
    if memory(thread) != Memory::Gone {
        return false;
    }
    let stat = fs::read(format!("/proc/{thread}/stat")).unwrap_or_default();
    says_killed(&String::from_utf8_lossy(&stat))
}

/// Whether the last field, the status that wait(2) will have, names a signal. The flags of the thread
/// do not say it: a signal ends the other threads of a process that calls exit_group(2), too.
fn says_killed(stat: &str) -> bool {
    let status = stat.split_whitespace().last().and_then(|field| field.parse::<u32>().ok());
    status.is_some_and(|status| status & 0x7f != 0)
}

/// Whether two threads are of one process; one that is gone is taken to be of any.
pub fn is_one(thread: u32, other: u32) -> bool {
    let exists = |path: String| Path::new(&path).exists();
    !exists(format!("/proc/{other}")) || exists(format!("/proc/{other}/task/{thread}"))
}

/// Whether the process of a thread has a descriptor of a file with this inode number, or it cannot be
/// told. The file's filesystem is not waited for.
pub fn has_open(thread: u32, inode: u64) -> bool {
    if memory(thread) == Memory::Empty {
        return true;
    }
    let Ok(entries) = fs::read_dir(format!("/proc/{thread}/fd")) else { return false };
    entries.flatten().any(|entry| {
        // Sockets, pipes and the like have no path, and locks of their own that `fdinfo` takes.
        let is_file = fs::read_link(entry.path()).is_ok_and(|target| target.is_absolute());
        let info = Path::new(&format!("/proc/{thread}/fdinfo")).join(entry.file_name());
        is_file && fs::read_to_string(info).is_ok_and(|text| inode_in(&text) == Some(inode))
    })
}

fn inode_in(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("ino:")?.trim().parse().ok())
}

/// The beginning of `/proc/PID/stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The name of the program, 15 bytes of it.
    pub comm: String,
    /// The state of the leading thread: R, S, D, T, Z, ...
    pub state: char,
    /// When it started, in clock ticks after boot; with the number it names one process for good.
    pub start_time: u64,
}

impl Stat {
    /// Reads the state of a process; NotFound if there is none.
    pub fn read(pid: u32) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(&String::from_utf8_lossy(&text))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat"))
    }

    /// Takes the line apart; the name may itself hold spaces and parentheses.
    pub fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once('(')?;
        let (comm, rest) = rest.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        Some(Self {
            comm: comm.to_owned(),
            state: fields.next()?.chars().next()?,
            start_time: fields.nth(18)?.parse().ok()?,
        })
    }
}

/// The name of a process's program, as `ps` shows it.
pub fn comm(pid: u32) -> io::Result<String> {
    let text = fs::read(format!("/proc/{pid}/comm"))?;
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

/// Whether a process of this number exists and has not ended.
pub fn is_alive(pid: u32) -> bool {
    Stat::read(pid).is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// The calls that only walk a tree, or change nothing but what is mounted. A killed thread may wait in
/// them for a lock that somebody else holds until a filesystem of ours answers.
const WALKS: [libc::c_long; 6] = [
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_statx,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_umount2,
];

/// Whether a thread of a process is at work in the kernel, or waits there for anything but the answer to
/// a FUSE request, or to walk on. Where the kernel does not say what threads wait for, none is found that
/// waits.
pub fn is_at_work(pid: u32) -> bool {
    threads(pid).any(|thread| {
        let read = |name| fs::read_to_string(format!("/proc/{pid}/task/{thread}/{name}")).unwrap_or_default();
        // On a machine with much to do, one may have waited long for its turn.
        if state_in(&read("stat")) == Some('R') {
            return true;
        }
        // One that has no memory any more closes its files, whatever it was called for last.
        if memory(thread) != Memory::Gone && is_walk(&read("syscall")) {
            return false;
        }
        !matches!(read("wchan").as_str(), "" | "0" | "request_wait_answer")
    })
}

/// Whether `/proc/PID/syscall`, the number of a call and its arguments, names one that writes no file.
fn is_walk(syscall: &str) -> bool {
    let mut words = syscall.split(' ');
    let Some(call) = words.next().and_then(|word| word.parse().ok()) else { return false };
    let flags = words.nth(2).and_then(|word| i32::from_str_radix(word.trim_start_matches("0x"), 16).ok());
    let writes = |flags: i32| flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
    WALKS.contains(&call) && (call != libc::SYS_openat || !flags.is_none_or(writes))
}

fn threads(pid: u32) -> impl Iterator<Item = u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok())
}

fn state_in(stat: &str) -> Option<char> {
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Whether a thread is left of a dead process that our parent started, too.
pub fn has_undead_sibling() -> bool {
    let parent = std::os::unix::process::parent_id();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let stat = |pid: u32, thread: u32| fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat"));
    let is_dead = |pid, thread| stat(pid, thread).map_or(true, |stat| matches!(state_in(&stat), Some('Z' | 'X')));
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .any(|pid| is_dead(pid, pid) && threads(pid).any(|thread| !is_dead(pid, thread)))
}

/// Asks a process to end (SIGTERM).
pub fn terminate(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGTERM)?;
    Ok(())
}

/// The effective user and group of this process.
pub fn owner() -> (u32, u32) {
    (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
}

/// The number of a group, by its name.
pub fn group_id(name: &str) -> Option<u32> {
    Some(Group::from_name(name).ok()??.gid.as_raw())
}

/// Leaves the terminal, the directory and the file mode mask of whoever started this process.
pub fn become_daemon() -> io::Result<()> {
    // EPERM: already leads a session, as under a service manager.
    match nix::unistd::setsid() {
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    std::env::set_current_dir("/")?;
    silence()
}

/// Turns standard input, output and error to `/dev/null`.
fn silence() -> io::Result<()> {
    let null: File = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

/// Has this process killed as soon as the one that started it ends.
///
/// Nothing happens if that one has ended already.
pub fn die_with_parent() -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    Ok(())
}

/// Moves this process into the mount namespace of the file `path` (`/proc/PID/ns/mnt`).
pub fn enter_mount_namespace(path: &Path) -> io::Result<()> {
    nix::sched::setns(File::open(path)?, CloneFlags::CLONE_NEWNS)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let line = "7 (a) Z (b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.comm.as_str(), stat.state, stat.start_time), ("a) Z (b", 'S', 4711));
        assert_eq!(Stat::parse("7 (a"), None);
    }

    #[test]
    fn descriptors_of_a_process_are_found() {
        use std::os::unix::fs::MetadataExt;
        let (file, me) = (File::open("/proc/self/exe").unwrap(), std::process::id());
        assert!(has_open(me, file.metadata().unwrap().ino()));
        assert!(!has_open(me, u64::MAX));
        let thread = nix::unistd::gettid().as_raw() as u32;
        assert!(is_one(me, me) && is_one(thread, me) && is_one(me, thread));
        assert!(!is_one(me, std::os::unix::process::parent_id()));
        assert!(is_one(me, u32::MAX), "gone");
    }

    #[test]
    fn one_that_has_ended_has_no_memory() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let child_ends = || Stat::read(child.id()).is_ok_and(|stat| stat.state == 'Z');
        while !child_ends() {
            std::thread::yield_now();
        }
        assert_eq!((memory(child.id()), memory(std::process::id())), (Memory::Gone, Memory::Program));
        child.wait().unwrap();
    }

    #[test]
    fn calls_that_write_files_are_no_walks() {
        let line =
            |call: libc::c_long, flags: i32| format!("{call} 0xffffff9c 0x7f00 {flags:#x} 0x0 0x0 0x0 0x7f 0x7f\n");
        assert!(is_walk(&line(libc::SYS_move_mount, 0x40)) && is_walk(&line(libc::SYS_openat, libc::O_PATH)));
        for flags in [libc::O_CREAT | libc::O_WRONLY, libc::O_TRUNC | libc::O_RDWR] {
            assert!(!is_walk(&line(libc::SYS_openat, flags)));
        }
        assert!(!is_walk(&line(libc::SYS_pwrite64, 0)) && !is_walk(&line(libc::SYS_close, 0)));
        assert!(!is_walk("running\n") && !is_walk("-1 0x7f 0x7f\n") && !is_walk(""));
        assert!(!is_at_work(u32::MAX));
    }

    #[test]
    fn a_signal_is_told_from_a_status() {
        assert!(says_killed("7 (a) b) R 1 0 9\n") && says_killed("7 (a) R 139"));
        assert!(!says_killed("7 (a) R 0\n") && !says_killed("7 (a) R 768") && !says_killed(""));
    }

    #[test]
    fn this_process_is_alive() {
        let me = std::process::id();
        assert!(is_alive(me));
        assert!(PidFd::open(me).is_ok());
        assert_eq!(comm(me).unwrap(), Stat::read(me).unwrap().comm);
    }
}
