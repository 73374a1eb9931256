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

/// How far a thread is on its way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It lives.
    No,
    /// It ends by itself.
    Exits,
    /// A signal ends it.
    Killed,
}

/// Whether a thread is ending, and how; one that is not there is taken to live.
pub fn ending(thread: u32) -> Ending {
    // linux/sched.h. The ninth field of stat is the seventh behind the name.
    const PF_EXITING: u64 = 0x4;
    const PF_SIGNALED: u64 = 0x400;
    let stat = fs::read(format!("/proc/{thread}/stat")).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    let flags = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(6)?.parse::<u64>().ok());
    match flags {
        Some(flags) if flags & PF_EXITING != 0 && flags & PF_SIGNALED != 0 => Ending::Killed,
        Some(flags) if flags & PF_EXITING != 0 => Ending::Exits,
        _ => Ending::No,
    }
}

/// Whether a process has a descriptor of an inode with this number. The inode's filesystem is asked
/// nothing.
pub fn has_open(process: u32, inode: u64) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{process}/fdinfo")) else { return false };
    let wanted = |text: String| {
        text.lines().any(|line| line.strip_prefix("ino:").is_some_and(|number| number.trim() == inode.to_string()))
    };
    entries.flatten().any(|entry| fs::read_to_string(entry.path()).is_ok_and(wanted))
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

/// Whether a thread of a process waits in the kernel for anything but the answer to a FUSE request.
/// Where the kernel does not say what threads wait for, none is found.
pub fn waits_for_disk(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().any(|thread| {
        let place = fs::read_to_string(thread.path().join("wchan")).unwrap_or_default();
        !matches!(place.as_str(), "" | "0" | "request_wait_answer")
    })
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
    fn this_process_is_alive() {
        let me = std::process::id();
        assert!(is_alive(me));
        assert!(PidFd::open(me).is_ok());
        assert_eq!(comm(me).unwrap(), Stat::read(me).unwrap().comm);
    }
}
