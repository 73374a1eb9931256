//! The mount API by file descriptors: fsopen(2), fsmount(2), open_tree(2), move_mount(2).
//!
//! ```text
//! NewFs::open -> string, flag, directory -> mount ──┐
//! cloned ────────────────────────────────────────────┤
//! mount_by_options ──────────────────────────────────┴─> a detached mount -> restrict -> attach -> detach
//! ```
//!
//! A detached mount is a file descriptor and in no directory; it can be read through, and ends with
//! the descriptor. Needs Linux 5.12: mount_setattr(2), RESOLVE_CACHED.
#![allow(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatVfsMountFlags, StatxAttributes, StatxFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

/// What the kernel said to a mount that it did not make.
#[derive(Debug)]
pub struct Refusal {
    /// The option or the call.
    pub step: String,
    /// The kernel's own sentences, where it has any: `overlay: Unknown parameter 'x'`.
    pub words: Vec<String>,
    /// The error number.
    pub error: io::Error,
}

impl Refusal {
    /// A refusal of a call that has no words of its own.
    pub fn new(step: impl Into<String>, error: impl Into<io::Error>) -> Refusal {
        Refusal { step: step.into(), words: Vec::new(), error: error.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.step)?;
        self.words.iter().try_for_each(|words| write!(f, "{words}: "))?;
        f.write_str(&super::errno::say(&self.error))
    }
}

impl std::error::Error for Refusal {}

/// A filesystem that is being configured.
#[derive(Debug)]
pub struct NewFs(OwnedFd);

impl NewFs {
    /// Begins one of this type; loads its module.
    pub fn open(fs_type: &str) -> Result<NewFs, Refusal> {
        let context = rustix::mount::fsopen(fs_type, FsOpenFlags::FSOPEN_CLOEXEC);
        context.map(NewFs).map_err(|errno| Refusal::new(format!("no filesystem {fs_type}"), errno))
    }

    /// Sets `key=value`, with nothing escaped; the kernel takes 255 bytes at most.
    pub fn string(&self, key: &str, value: &OsStr) -> Result<(), Refusal> {
        let set = rustix::mount::fsconfig_set_string(&self.0, key, value);
        self.check(set, || format!("{key}={}", value.display()))
    }

    /// Sets an option without a value.
    pub fn flag(&self, key: &str) -> Result<(), Refusal> {
        self.check(rustix::mount::fsconfig_set_flag(&self.0, key), || key.to_owned())
    }

    /// Sets an option to a directory that is open here.
    pub fn directory(&self, key: &str, directory: BorrowedFd<'_>) -> Result<(), Refusal> {
        self.check(rustix::mount::fsconfig_set_fd(&self.0, key, directory), || key.to_owned())
    }

    /// Makes the filesystem, without a mount of it: it ends with this.
    pub fn create(&self) -> Result<(), Refusal> {
        self.check(rustix::mount::fsconfig_create(&self.0), || "mount".to_owned())
    }

    /// Makes the filesystem and a detached mount of it.
    pub fn mount(&self, attributes: Attributes) -> Result<OwnedFd, Refusal> {
        self.create()?;
        let mount = rustix::mount::fsmount(&self.0, FsMountFlags::FSMOUNT_CLOEXEC, attributes.bits());
        self.check(mount, || "fsmount".to_owned())
    }

    fn check<T>(&self, result: rustix::io::Result<T>, step: impl FnOnce() -> String) -> Result<T, Refusal> {
        result.map_err(|errno| Refusal { step: step(), words: self.words(), error: errno.into() })
    }

    /// The kernel's log of this context, one message a read, until ENODATA.
    fn words(&self) -> Vec<String> {
        let (mut words, mut line) = (Vec::new(), [0; 1024]);
        while let Ok(length @ 1..) = rustix::io::read(&self.0, &mut line) {
            let text = String::from_utf8_lossy(&line[..length]);
            // "e " is an error, "w " a warning, "i " a notice.
            let text = text.trim_end();
            words.push(text.get(2..).filter(|_| text.as_bytes()[1] == b' ').unwrap_or(text).to_owned());
        }
        words
    }
}

/// What a mount takes away from the files on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Nothing can be written.
    pub read_only: bool,
    /// Set-user-ID bits and file capabilities give nothing.
    pub no_suid: bool,
    /// Device files cannot be opened.
    pub no_dev: bool,
    /// Nothing can be executed.
    pub no_exec: bool,
}

impl Attributes {
    /// What the mount that `directory` is on takes away.
    pub fn of(directory: BorrowedFd<'_>) -> io::Result<Attributes> {
        let flags = rustix::fs::fstatvfs(directory)?.f_flag;
        Ok(Attributes {
            read_only: flags.contains(StatVfsMountFlags::RDONLY),
            no_suid: flags.contains(StatVfsMountFlags::NOSUID),
            no_dev: flags.contains(StatVfsMountFlags::NODEV),
            no_exec: flags.contains(StatVfsMountFlags::NOEXEC),
        })
    }

    fn bits(self) -> MountAttrFlags {
        let mut bits = MountAttrFlags::empty();
        bits.set(MountAttrFlags::MOUNT_ATTR_RDONLY, self.read_only);
        bits.set(MountAttrFlags::MOUNT_ATTR_NOSUID, self.no_suid);
        bits.set(MountAttrFlags::MOUNT_ATTR_NODEV, self.no_dev);
        bits.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, self.no_exec);
        bits
    }
}

/// Adds attributes to a mount and all mounts below it, and makes them private: what is mounted in
/// them later is seen in this namespace only.
pub fn restrict(mount: BorrowedFd<'_>, attributes: Attributes) -> io::Result<()> {
    /// `struct mount_attr` of linux/mount.h.
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let change =
        MountAttr { set: attributes.bits().bits().into(), clear: 0, propagation: libc::MS_PRIVATE, user_namespace: 0 };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the kernel reads an empty string with its NUL, and the struct, whose true size it is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const change,
            size_of::<MountAttr>(),
        )
    };
    Errno::result(result)?;
    Ok(())
}

/// A detached copy of what `directory` shows, with all that is mounted below it.
pub fn cloned(directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(rustix::mount::open_tree(directory, "", flags)?)
}

/// Mounts a detached mount on a directory, without any walk to it.
pub fn attach(mount: BorrowedFd<'_>, directory: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mount, "", directory, "", flags)?)
}

/// Takes the mount that `root` is the root of out of the tree (MNT_DETACH), without any walk to it.
/// It ends when its last user is gone; `root` is one.
pub fn detach(root: BorrowedFd<'_>) -> io::Result<()> {
    nix::mount::umount2(&proc_fd(root), MntFlags::MNT_DETACH)?;
    Ok(())
}

/// The name under which the kernel finds an open directory again, in this process.
pub fn proc_fd(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Where an open directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The ID of its mount, as in mountinfo; unique while that lasts.
    pub mount: u64,
    /// Its filesystem and inode number.
    pub inode: (u32, u32, u64),
    /// Whether it is the root of its mount, which is attached or not.
    pub is_mount_root: bool,
}

impl Place {
    /// Asks the kernel, from what it has; the filesystem is not asked.
    pub fn of(directory: BorrowedFd<'_>) -> io::Result<Place> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let stat = rustix::fs::statx(directory, "", flags, StatxFlags::INO | StatxFlags::MNT_ID)?;
        Ok(Place {
            mount: stat.stx_mnt_id,
            inode: (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino),
            is_mount_root: stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        })
    }

    /// The numbers of its filesystem, major and minor.
    pub fn device(&self) -> (u32, u32) {
        (self.inode.0, self.inode.1)
    }
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a directory for naming it only (O_PATH); symlinks on the way are followed.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, DIRECTORY, Mode::empty())?)
}

/// The same, where the name itself must not be a symlink.
pub fn open_no_follow(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?)
}

/// Opens the directory `at` below `root` (O_PATH), through no symlink; what is mounted there if
/// something is.
pub fn open_beneath(root: BorrowedFd<'_>, at: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat2(root, at, DIRECTORY, Mode::empty(), BENEATH)?)
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// Like [`open_beneath`], from names that the kernel has cached: no filesystem is asked for a name,
/// and no lock of a directory is taken. `None` if a name is not there, or not cached.
///
/// A cached walk also ends (EAGAIN) at a directory whose attributes are stale, for they say whether
/// one may walk through it; such a directory is asked for its attributes first, which takes no
/// lock either. It fails with EAGAIN if they do not stay fresh long enough.
pub fn open_cached(root: BorrowedFd<'_>, at: &Path) -> io::Result<Option<OwnedFd>> {
    let mut reached = None;
    for component in at.components() {
        let Component::Normal(name) = component else { return Err(Errno::EINVAL.into()) };
        let directory = reached.as_ref().map_or(root, OwnedFd::as_fd);
        match step_cached(directory, name)? {
            Some(next) => reached = Some(next),
            None => return Ok(None),
        }
    }
    Ok(reached)
}

fn step_cached(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<OwnedFd>> {
    /// Others may make the attributes stale again at once, but not so often.
    const TRIES: usize = 1000;
    /// A name is not cached if it is missed so often between two walks to `.`, which need fresh
    /// attributes too; less often, it may be for a mount or a rename anywhere in the system.
    const MISSES: usize = 8;
    let walk =
        |to: &OsStr| rustix::fs::openat2(directory, to, DIRECTORY, Mode::empty(), BENEATH | ResolveFlags::CACHED);
    let (mut misses, mut was_fresh) = (0, false);
    for _ in 0..TRIES {
        match walk(name) {
            Ok(next) => return Ok(Some(next)),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            Err(rustix::io::Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        let is_fresh = walk(OsStr::new(".")).is_ok();
        misses += usize::from(was_fresh && is_fresh);
        if misses == MISSES {
            return Ok(None);
        }
        if !is_fresh {
            let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
            rustix::fs::statx(directory, "", flags, StatxFlags::BASIC_STATS)?;
        }
        was_fresh = is_fresh;
    }
    Err(Errno::EAGAIN.into())
}

/// mount(2) with options as one text, for kernels that know no better; gives a detached mount.
///
/// It is made on a thread with a mount namespace and a working directory of its own, which end with
/// it, so that nobody sees it. `options` runs there too: kernels take only directories that were
/// opened in the namespace that mounts. It gives the text and the directories that the text names by
/// the numbers of their descriptors.
pub fn mount_by_options(
    fs_type: &str,
    source: &str,
    options: impl FnOnce() -> Result<(OsString, Vec<OwnedFd>), Refusal> + Send,
) -> Result<OwnedFd, Refusal> {
    /// The kernel copies a page, and cuts off what is longer without a word.
    const PAGE: usize = 4096;
    /// Any directory that is there: nobody looks for what it hides.
    const MOUNTPOINT: &str = "/proc";
    let mount = || {
        enter_own_namespace().map_err(|errno| Refusal::new("mount namespace", errno))?;
        let (text, _held) = options()?;
        if text.len() >= PAGE {
            return Err(Refusal::new(format!("options of {} bytes", text.len()), Errno::E2BIG));
        }
        nix::mount::mount(Some(source), MOUNTPOINT, Some(fs_type), MsFlags::empty(), Some(text.as_os_str()))
            .map_err(|errno| Refusal::new("mount", errno))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let copy = rustix::mount::open_tree(CWD, MOUNTPOINT, flags).map_err(|errno| Refusal::new("open_tree", errno));
        // Else these would last until the namespace is gone, which is after the thread was joined:
        // the mount, and copies of all others. A user namespace may have locked "/".
        for mounted in [MOUNTPOINT, "/"] {
            let _ = nix::mount::umount2(mounted, MntFlags::MNT_DETACH);
        }
        copy
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, mount);
        let thread = thread.map_err(|error| Refusal::new("thread", error))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// For a thread that will end soon: relative paths are numbers of descriptors from here on.
fn enter_own_namespace() -> nix::Result<()> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::sched::unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
    nix::unistd::chdir("/proc/self/fd")
}

/// Writes all that the filesystem of `directory` holds in memory to its disk (syncfs(2)).
pub fn sync_filesystem(directory: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(std::fs::File::open(directory)?)?)
}
