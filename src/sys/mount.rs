//! mount(2) and umount2(2), for the filesystem types that are mounted whole.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};

/// The flags of a mount that a user may choose; nosuid and nodev are always set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountFlags {
    /// Nothing can be written.
    pub read_only: bool,
    /// Nothing can be executed.
    pub no_exec: bool,
    /// Symlinks are not followed.
    pub no_symfollow: bool,
}

impl MountFlags {
    fn bits(self) -> MsFlags {
        // nix does not name MS_NOSYMFOLLOW (Linux 5.10).
        const NO_SYMFOLLOW: MsFlags = MsFlags::from_bits_retain(256);
        let mut bits = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        bits.set(MsFlags::MS_RDONLY, self.read_only);
        bits.set(MsFlags::MS_NOEXEC, self.no_exec);
        bits.set(NO_SYMFOLLOW, self.no_symfollow);
        bits
    }
}

/// A FUSE filesystem that is about to be mounted.
#[derive(Debug)]
pub struct FuseMount<'a> {
    /// `/dev/fuse`, opened in the user namespace that mounts.
    pub device: BorrowedFd<'a>,
    /// What mountinfo shows as source.
    pub source: &'a Path,
    /// The type, `fuse.SOMETHING`.
    pub fs_type: &'a str,
    /// The user that the kernel takes for the owner of the mount.
    pub uid: u32,
    /// That user's group.
    pub gid: u32,
    /// Whether others than the owner get in.
    pub allow_other: bool,
    /// The flags of the mount.
    pub flags: MountFlags,
}

impl FuseMount<'_> {
    /// Mounts it on `target`. The kernel has then queued the INIT request on the device.
    pub fn attach(&self, target: &Path) -> io::Result<()> {
        let mut data = format!(
            "fd={},rootmode=40000,user_id={},group_id={},default_permissions",
            self.device.as_raw_fd(),
            self.uid,
            self.gid
        );
        if self.allow_other {
            data.push_str(",allow_other");
        }
        nix::mount::mount(Some(self.source), target, Some(self.fs_type), self.flags.bits(), Some(data.as_str()))?;
        Ok(())
    }
}

/// Mounts a tmpfs, mode 0711, on `target`; what is mounted in it is seen in this namespace only.
pub fn private_tmpfs(source: &str, target: &Path) -> io::Result<()> {
    nix::mount::mount(Some(source), target, Some("tmpfs"), MountFlags::default().bits(), Some("mode=0711"))?;
    let private = nix::mount::mount(None::<&Path>, target, None::<&Path>, MsFlags::MS_PRIVATE, None::<&Path>);
    if let Err(errno) = private {
        let _ = detach(target);
        return Err(errno.into());
    }
    Ok(())
}

/// Gives the filesystem mounted on `target` other flags (MS_REMOUNT).
pub fn remount(target: &Path, flags: MountFlags) -> io::Result<()> {
    nix::mount::mount(None::<&Path>, target, None::<&Path>, flags.bits() | MsFlags::MS_REMOUNT, None::<&Path>)?;
    Ok(())
}

/// Unmounts what is topmost on `target`; EBUSY while somebody uses it.
pub fn unmount(target: &Path) -> io::Result<()> {
    nix::mount::umount2(target, MntFlags::UMOUNT_NOFOLLOW)?;
    Ok(())
}

/// Takes what is topmost on `target` out of the tree at once, with all that is mounted below it;
/// it ends when its last user is gone (MNT_DETACH).
pub fn detach(target: &Path) -> io::Result<()> {
    nix::mount::umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
    Ok(())
}

/// Detaches the mount that `root` is the root of, whatever its path leads to by now, and aborts its
/// FUSE connection: all that wait for its server get an error.
///
/// Otherwise the connection of a server that is stuck in a request to itself would never end: its
/// threads hold `/dev/fuse` open, and wait for somebody to close it.
pub fn detach_root(root: impl AsFd) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", root.as_fd().as_raw_fd());
    match nix::mount::umount2(path.as_str(), MntFlags::MNT_DETACH | MntFlags::MNT_FORCE) {
        // Kernels where only root of the host may force.
        Err(Errno::EPERM) => Ok(nix::mount::umount2(path.as_str(), MntFlags::MNT_DETACH)?),
        result => Ok(result?),
    }
}

/// Whether the FUSE filesystem at `path` has lost its server for good.
///
/// Asks by statfs(2), which no cache answers, and so waits as long as a server takes to answer.
pub fn is_disconnected(path: &Path) -> bool {
    matches!(nix::sys::statfs::statfs(path), Err(Errno::ENOTCONN | Errno::ECONNABORTED))
}
