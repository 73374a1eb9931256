//! Overlays and tmpfs: primaries at RUNROOT, views in the tree.
//!
//! ```text
//! layers, upper -> Overlay ─┐
//! a user's directory ───────┼─> RUNROOT/p/<key>/rootfs    the primary: what a runtime is given
//!                    tmpfs ─┴─> RUNROOT/p/<key>/shm           │ clone, nosuid, nodev
//!                               <root>/ctr/<key>/rootfs, shm  <┘ the view: what people look at
//! ```
//!
//! A lost view is made again; a lost primary is a container that has lost its files. Whether
//! something is mounted is asked of the kernel each time and remembered nowhere. No lock is held
//! here: of each container one thread at a time does this, a second may make its shm meanwhile, and
//! neither ever answers requests of the tree. What was taken away ends on a thread of its own.

mod error;
mod overlay;
mod reaper;
mod shm;
mod undo;
mod upper;
mod view;

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::id::Id;
use crate::sys::host;
use crate::sys::mounting::{self, Attributes, Place};

pub use error::MountError;
pub use overlay::{Tier, lowers_view};
pub use shm::Shm;

use overlay::Overlay;
use reaper::Reaper;
use undo::Undo;
use upper::Upper;

/// The most layers of one overlay: OVL_MAX_STACK of fs/overlayfs/params.h.
pub const MAX_LAYERS: usize = 500;
/// On the way to a primary: a root of a user namespace, another user, must get through.
const WAY: u32 = 0o711;

/// The two mounts of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its root filesystem.
    Rootfs,
    /// Its `/dev/shm`.
    Shm,
}

impl Part {
    /// The name of its directory.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Rootfs => "rootfs",
            Part::Shm => "shm",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a root filesystem is made of.
#[derive(Debug, Clone, Copy)]
pub enum Rootfs<'a> {
    /// Layers, and a directory of its own for what is written.
    Overlay {
        /// The layers' directories, topmost first, 1 to [`MAX_LAYERS`].
        lowers: &'a [PathBuf],
        /// What is written goes here; made like the root of the topmost layer if it is not there.
        upper: &'a Path,
        /// Beside it, on the same filesystem, the kernel's; made if it is not there.
        work: &'a Path,
        /// Whether nothing need survive a crash of the machine.
        volatile: Option<Volatile<'a>>,
        /// The SELinux label of all files, for hosts that have SELinux.
        label: Option<&'a str>,
    },
    /// A directory of the user's, with all that is mounted below it, as it is. Its owner has opened it:
    /// the path may lead anywhere.
    Plain(BorrowedFd<'a>),
}

/// Nothing is synced: fast, and after a crash of the machine the upper directory is thrown away.
#[derive(Debug, Clone, Copy)]
pub struct Volatile<'a> {
    /// This boot.
    pub boot_id: &'a str,
    /// A directory of the same filesystem, into which an upper directory of an earlier boot is moved.
    pub trash: &'a Path,
}

/// What [`Mounts::take`] and [`Mounts::hide`] have taken out of the tree. Dropping it ends the mounts:
/// that may last, for the end of an overlay that is not volatile writes its whole filesystem to the disk.
#[derive(Debug, Default)]
pub struct Taken {
    mounts: Vec<OwnedFd>,
}

/// The primaries of one store, below RUNROOT/p.
#[derive(Debug)]
pub struct Mounts {
    primaries: PathBuf,
    tier: Tier,
    /// This user may not write `trusted.overlay.*`.
    userxattr: bool,
    reaper: Reaper,
}

impl Taken {
    /// Adds what else was taken.
    pub fn add(&mut self, other: Taken) {
        self.mounts.extend(other.mounts);
    }
}

impl Mounts {
    /// Makes RUNROOT/p, and finds out what this kernel can do.
    ///
    /// # Errors
    /// The directory cannot be made, or there can be no more threads.
    pub fn open(run_root: &Path) -> Result<Mounts, MountError> {
        Mounts::with_tier(run_root, Tier::probe())
    }

    /// The same, where what the kernel can do is known.
    ///
    /// # Errors
    /// As [`Mounts::open`].
    pub fn with_tier(run_root: &Path, tier: Tier) -> Result<Mounts, MountError> {
        let primaries = run_root.join("p");
        let mut undo = Undo::default();
        undo.directory(&primaries, WAY)?;
        undo.keep();
        let reaper = Reaper::start().map_err(MountError::step("start", "the thread that ends mounts"))?;
        Ok(Mounts { primaries, tier, userxattr: !host::is_host_root(), reaper })
    }

    /// Whether overlays here call their own attributes `user.overlay.*`.
    pub fn userxattr(&self) -> bool {
        self.userxattr
    }

    /// Where a primary is, mounted or not.
    pub fn path(&self, key: Id, part: Part) -> PathBuf {
        self.directory(key).join(part.name())
    }

    /// The directory that a key's primaries are in.
    pub fn directory(&self, key: Id) -> PathBuf {
        self.primaries.join(key.to_string())
    }

    /// Whether a primary is mounted, as the kernel says.
    pub fn is_mounted(&self, key: Id, part: Part) -> bool {
        self.primary(key, part).is_ok_and(|primary| primary.is_some())
    }

    /// Whether a key has anything here, mounted or not. What is mounted is not looked into: it may be a
    /// filesystem that answers no more.
    pub fn has(&self, key: Id) -> bool {
        // Anything but ENOENT is not for us to take for nothing.
        !matches!(self.directory(key).symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound)
    }

    /// The keys that have anything here.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn mounted(&self) -> io::Result<Vec<Id>> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.primaries)? {
            keys.extend(entry?.file_name().to_str().and_then(Id::parse));
        }
        Ok(keys)
    }

    /// Mounts a root filesystem; nothing to do if it is mounted.
    ///
    /// # Errors
    /// What the kernel says, or what must not be mounted; nothing is left behind then.
    pub fn rootfs(&self, key: Id, spec: &Rootfs<'_>) -> Result<(), MountError> {
        self.rootfs_telling(key, spec, &mut || {})
    }

    /// The same, and says so once only the kernel itself is left that may refuse.
    ///
    /// # Errors
    /// As [`Mounts::rootfs`].
    pub fn rootfs_telling(&self, key: Id, spec: &Rootfs<'_>, checked: &mut dyn FnMut()) -> Result<(), MountError> {
        if self.is_mounted(key, Part::Rootfs) {
            return Ok(());
        }
        let mut undo = Undo::default();
        let mount = match *spec {
            Rootfs::Plain(directory) => {
                checked();
                clone_of(directory)?
            }
            Rootfs::Overlay { lowers, upper, work, volatile, label } => {
                let overlay = Overlay {
                    lowers,
                    upper: Some((upper, work)),
                    source: &format!("ctrfs:{key}"),
                    userxattr: self.userxattr,
                    volatile: volatile.is_some(),
                    exclusive: false,
                    label: label.filter(|label| takes_label(label)),
                };
                overlay.check()?;
                let directories = Upper { upper, work };
                directories.check_unused(self.tier, &overlay, &self.primaries)?;
                directories.guard(volatile, &mut undo)?;
                directories.make(&lowers[0], &mut undo)?;
                checked();
                overlay.mount(self.tier)?
            }
        };
        self.put(key, Part::Rootfs, mount.as_fd(), undo)
    }

    /// Mounts shared memory; nothing to do if it is mounted.
    ///
    /// # Errors
    /// What the kernel says; nothing is left behind then.
    pub fn shm(&self, key: Id, spec: &Shm) -> Result<(), MountError> {
        if self.is_mounted(key, Part::Shm) {
            return Ok(());
        }
        self.put(key, Part::Shm, spec.mount(key)?.as_fd(), Undo::default())
    }

    /// Attaches a primary.
    fn put(&self, key: Id, part: Part, mount: BorrowedFd<'_>, mut undo: Undo) -> Result<(), MountError> {
        let path = self.path(key, part);
        undo.directory(&self.directory(key), WAY)?;
        undo.directory(&path, WAY)?;
        let directory = mounting::open_no_follow(&path).map_err(MountError::step("open", &path))?;
        mounting::attach(mount, directory.as_fd()).map_err(MountError::step("mount", &path))?;
        undo.keep();
        Ok(())
    }

    /// The root of a primary, if it is mounted.
    fn primary(&self, key: Id, part: Part) -> Result<Option<OwnedFd>, MountError> {
        let path = self.path(key, part);
        let directory = match mounting::open_no_follow(&path) {
            Ok(directory) => directory,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(MountError::step("open", path)(error)),
        };
        let place = Place::of(directory.as_fd()).map_err(MountError::step("look at", path))?;
        Ok(place.is_mount_root.then_some(directory))
    }

    /// Takes both mounts of a key away and removes their directories; whatever fails, it goes on.
    /// Nothing to do if there are none. Views are another's: hide them first.
    ///
    /// # Errors
    /// All that failed; the rest is gone.
    pub fn take(&self, key: Id) -> Result<Taken, MountError> {
        let (mut taken, mut errors) = (Vec::new(), Vec::new());
        for part in [Part::Shm, Part::Rootfs] {
            errors.extend(self.take_part(key, part, &mut taken).err());
        }
        if errors.is_empty() {
            errors.extend(remove_directory(&self.directory(key)).err());
        }
        match errors.pop() {
            None => Ok(Taken { mounts: taken }),
            Some(only) if errors.is_empty() => Err(only),
            Some(last) => {
                errors.push(last);
                Err(MountError::Several(errors))
            }
        }
    }

    fn take_part(&self, key: Id, part: Part, taken: &mut Vec<OwnedFd>) -> Result<(), MountError> {
        let path = self.path(key, part);
        while let Some(mount) = self.primary(key, part)? {
            mounting::detach(mount.as_fd()).map_err(MountError::step("unmount", &path))?;
            taken.push(mount);
        }
        // Refused with EBUSY should something be mounted after all.
        remove_directory(&path)
    }

    /// Ends what was taken of a key, on a thread of its own: nobody waits for that but
    /// [`Mounts::wait_for_end`]; only when very much is ending, this does.
    pub fn end(&self, key: Id, taken: Taken) {
        if !taken.mounts.is_empty() {
            self.reaper.end(key, taken.mounts);
        }
    }

    /// Waits for what [`Mounts::end`] began for a key, not longer than `limit`.
    pub fn wait_for_end(&self, key: Id, limit: Duration) {
        self.reaper.wait(key, limit);
    }

    /// Shows a primary at `at` below `root`, as a view with nosuid, nodev and what `root` is mounted with;
    /// nothing to do if it is shown there. `at` is looked up, so its filesystem must be able to answer.
    ///
    /// # Errors
    /// The primary is not mounted, `at` is not there, or what the kernel says.
    pub fn show(&self, key: Id, part: Part, root: BorrowedFd<'_>, at: &Path) -> Result<(), MountError> {
        let primary = self.primary(key, part)?.ok_or(MountError::NotMounted(key, part))?;
        view::show(primary.as_fd(), root, at)
    }

    /// Takes the view at `at` below `root` away; nothing to do if there is none. No name is looked
    /// up and no directory locked, so it works while others wait for an answer about `at`. What it
    /// gives back may be slow to drop.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn hide(&self, root: BorrowedFd<'_>, at: &Path) -> Result<Taken, MountError> {
        Ok(Taken { mounts: view::hide(root, at)? })
    }
}

/// A detached, private copy of a user's directory.
fn clone_of(directory: BorrowedFd<'_>) -> Result<OwnedFd, MountError> {
    let path = || mounting::proc_fd(directory);
    let clone = mounting::cloned(directory).map_err(MountError::step("clone", path()))?;
    mounting::restrict(clone.as_fd(), Attributes::default()).map_err(MountError::step("make private", path()))?;
    Ok(clone)
}

/// Opens a user's directory, to be given to [`Rootfs::Plain`].
///
/// # Errors
/// It cannot be walked to, or is no directory.
pub fn open_directory(path: &Path) -> Result<OwnedFd, MountError> {
    mounting::open(path).map_err(MountError::step("open", path))
}

/// The path by which this process can name what it has open.
pub fn proc_fd(fd: BorrowedFd<'_>) -> PathBuf {
    mounting::proc_fd(fd)
}

/// Takes what is mounted at a path out of the tree at once (MNT_DETACH). What is not there, or no
/// mountpoint, is no error.
///
/// # Errors
/// What else the kernel says.
pub fn lazily_unmount(path: &Path) -> io::Result<()> {
    match crate::sys::mount::detach(path) {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => Ok(()),
        result => result,
    }
}

/// rmdir(2) and nothing more: should an unmount have failed, no file of a container is lost.
fn remove_directory(path: &Path) -> Result<(), MountError> {
    accept_missing(fs::remove_dir(path)).map_err(MountError::step("remove", path))
}

fn accept_missing(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Whether files can be given this SELinux label: kernels without SELinux refuse the option.
fn takes_label(label: &str) -> bool {
    !label.is_empty() && Path::new("/sys/fs/selinux/enforce").exists()
}
