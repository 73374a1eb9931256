//! Shared memory: a tmpfs of bounded size.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use super::{MountError, takes_label};
use crate::model::id::Id;
use crate::sys::mounting::{Attributes, NewFs, Refusal};

/// The smallest page of memory that a file takes.
const PAGE: u64 = 4096;

/// What a `/dev/shm` is like: mode 1777, nosuid, nodev, noexec, and this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shm {
    /// The most bytes in it; a limit, not a reservation.
    pub size: u64,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The SELinux label of all files, for hosts that have SELinux.
    pub label: Option<String>,
}

impl Shm {
    /// Refuses what cannot be, before anything is made for it.
    ///
    /// # Errors
    /// [`MountError::NoShmSize`].
    pub fn check(&self) -> Result<(), MountError> {
        if self.size == 0 { Err(MountError::NoShmSize) } else { Ok(()) }
    }

    /// A detached mount of it; `key` is for those who read mountinfo.
    pub(super) fn mount(&self, key: Id) -> Result<OwnedFd, MountError> {
        self.check()?;
        self.try_mount(key).map_err(MountError::Shm)
    }

    fn try_mount(&self, key: Id) -> Result<OwnedFd, Refusal> {
        let tmpfs = NewFs::open("tmpfs")?;
        let set = |option, value: String| tmpfs.string(option, OsStr::new(&value));
        set("source", format!("ctrfs-shm:{key}"))?;
        set("mode", "1777".to_owned())?;
        set("size", self.size.to_string())?;
        set("nr_inodes", self.inodes().to_string())?;
        set("uid", self.uid.to_string())?;
        set("gid", self.gid.to_string())?;
        if let Some(label) = self.label.as_ref().filter(|label| takes_label(label)) {
            set("context", label.clone())?;
        }
        tmpfs.mount(Attributes { no_suid: true, no_dev: true, no_exec: true, read_only: false })
    }

    /// Inodes are the kernel's memory and count against no size: one for each page, within reason.
    fn inodes(&self) -> u64 {
        (self.size / PAGE).clamp(1 << 10, 1 << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::Shm;

    #[test]
    fn inodes_are_bounded_on_both_sides() {
        let inodes = |size| Shm { size, uid: 0, gid: 0, label: None }.inodes();
        assert_eq!([inodes(1), inodes(64 << 20), inodes(u64::MAX)], [1024, 16384, 1048576]);
    }
}
