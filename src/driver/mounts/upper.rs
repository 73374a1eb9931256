//! Upper directories: made like the image's root, never in two overlays, and not trusted when they
//! were volatile as the machine went down.
//!
//! ```text
//! upper/                            what was written
//! ovl-work/                         the kernel's
//!   work/incompat/volatile/         the kernel's mark: mounted volatile, and refused from then on
//! volatile-boot                     ours, beside ovl-work: the boot in which it was mounted volatile
//! ```

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::overlay::{Overlay, Tier};
use super::undo::Undo;
use super::{MountError, Volatile, accept_missing};
use crate::sys::{beneath, host, mountinfo, mounting};

/// Attributes of a layer's root that are not its own: overlayfs's, and the label that the host gives.
const HOSTS: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"security.selinux"];

/// The directories of one overlay that writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upper<'a> {
    pub(super) upper: &'a Path,
    pub(super) work: &'a Path,
}

impl Upper<'_> {
    /// Refuses if an overlay has it; `overlay` is the one that is to have it. What is not there yet
    /// nobody has.
    pub(super) fn check_unused(&self, tier: Tier, overlay: &Overlay<'_>, beside: &Path) -> Result<(), MountError> {
        if !self.upper.exists() || !overlay.upper_is_in_use(tier, self.upper, beside)? {
            return Ok(());
        }
        Err(MountError::InUse { upper: self.upper.to_owned(), mounted_at: mounted_at(self.upper) })
    }

    /// Whether what it holds is from a volatile mount of an earlier boot.
    ///
    /// The mark without our file counts too, and so does our file without the mark: after a crash
    /// either may have missed the disk, as anything in the upper may.
    fn is_suspect(&self, boot_id: &str) -> Result<bool, MountError> {
        let file = self.boot_file();
        match fs::read_to_string(&file) {
            Ok(boot) => Ok(boot != boot_id),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(self.mark().exists()),
            Err(error) if error.kind() == ErrorKind::InvalidData => Ok(true),
            Err(error) => Err(MountError::step("read", file)(error)),
        }
    }

    /// Makes it fit to be mounted: refuses or discards what is suspect, takes the kernel's mark of
    /// an earlier volatile mount away, and notes the coming one.
    pub(super) fn guard(&self, volatile: Option<Volatile<'_>>, undo: &mut Undo) -> Result<(), MountError> {
        let file = self.boot_file();
        match volatile {
            Some(Volatile { boot_id, trash }) => {
                if self.is_suspect(boot_id)? {
                    self.discard(trash)?;
                }
                self.remove_mark()?;
                undo.write(&file, boot_id)
            }
            None => {
                let boot_id = host::boot_id().map_err(MountError::step("read", "the boot ID"))?;
                if self.is_suspect(&boot_id)? {
                    return Err(MountError::Suspect(self.upper.to_owned()));
                }
                if file.exists() {
                    self.remove_mark()?;
                    mounting::sync_filesystem(self.upper).map_err(MountError::step("sync", self.upper))?;
                    fs::remove_file(&file).map_err(MountError::step("remove", file))?;
                }
                Ok(())
            }
        }
    }

    /// Makes both directories where they are not there. The root that an overlay shows is its
    /// upper directory, so that is made like the root of the topmost layer.
    pub(super) fn make(&self, top: &Path, undo: &mut Undo) -> Result<(), MountError> {
        if undo.directory(self.upper, 0o700)? {
            let like = beneath::directory(top).map_err(MountError::step("look at", top))?;
            give_likeness(&like, self.upper).map_err(MountError::step("give owner, mode and times to", self.upper))?;
        }
        if undo.directory(self.work, 0o700)? {
            undo.expect_directory(self.work.join("work"));
        }
        Ok(())
    }

    /// Moves both directories to `trash`, where they may be deleted at any time.
    fn discard(&self, trash: &Path) -> Result<(), MountError> {
        for directory in [self.upper, self.work] {
            let name = host::random::<16>().map_err(MountError::step("read", "/dev/urandom"))?;
            let aside = trash.join(format!("{:032x}", u128::from_be_bytes(name)));
            accept_missing(fs::rename(directory, aside)).map_err(MountError::step("discard", directory))?;
        }
        log::warn!("{} was mounted volatile when the machine went down: it begins anew", self.upper.display());
        Ok(())
    }

    fn remove_mark(&self) -> Result<(), MountError> {
        let mark = self.mark();
        accept_missing(fs::remove_dir_all(&mark)).map_err(MountError::step("remove", mark))
    }

    fn mark(&self) -> PathBuf {
        self.work.join("work/incompat/volatile")
    }

    fn boot_file(&self) -> PathBuf {
        self.work.with_file_name("volatile-boot")
    }
}

/// Makes a directory look like another; the marks that overlayfs reads are no part of that.
fn give_likeness(like: &OwnedFd, to: &Path) -> io::Result<()> {
    let to = beneath::directory(to)?;
    let look = beneath::look_at(like)?;
    // The owner first: changing it clears set-user-ID and set-group-ID bits.
    beneath::set_owner(&to, look.uid, look.gid)?;
    beneath::set_mode(&to, look.mode)?;
    for (name, value) in beneath::xattrs(like)? {
        if !HOSTS.iter().any(|prefix| name.starts_with(prefix)) {
            beneath::set_xattr(&to, &name, &value)?;
        }
    }
    beneath::set_times(&to, look.modified)
}

/// Where an overlay with this upper directory is mounted, as far as mountinfo names it: newer kernels
/// show the directory's true path, older ones what they were told.
fn mounted_at(upper: &Path) -> Option<PathBuf> {
    let true_path = upper.canonicalize().ok()?;
    let mut overlays = mountinfo::read().ok()?.into_iter().filter(|mount| mount.fs_type == "overlay");
    let found =
        overlays.find(|mount| upper_of(&mount.super_options).is_some_and(|other| other == true_path || other == upper));
    Some(found?.mount_point)
}

/// The value of `upperdir=`. In mountinfo commas within it are escaped, too.
fn upper_of(options: &str) -> Option<PathBuf> {
    let value = options.split(',').find_map(|option| option.strip_prefix("upperdir="))?;
    Some(OsString::from_vec(mountinfo::unescape(value.as_bytes())).into())
}

#[cfg(test)]
mod tests {
    use super::upper_of;
    use std::path::Path;

    #[test]
    fn the_upper_directory_is_found_among_the_options() {
        let options = r"rw,lowerdir+=/l\0541,upperdir=/u\054p\040per,workdir=/w,index=off";
        assert_eq!(upper_of(options).unwrap(), Path::new("/u,p per"));
        assert_eq!(upper_of("rw,lowerdir=/a:/b"), None);
    }
}
