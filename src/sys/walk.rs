//! Trees of files, looked at and not changed: directories, entries pinned by O_PATH, attributes.
//!
//! Nothing follows a symlink or starts an automount, and nothing opens what is no file or directory.
//! Access times stay where the kernel lets us (O_NOATIME is for the owner and CAP_FOWNER). Entries may
//! vanish at any moment: what finds an entry by name answers `None` then.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, SeekFrom, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;

/// The longest list of names and the longest value of an xattr (linux/limits.h).
const XATTR_MAX: usize = 65536;
/// What an xattr list or value needs as a rule.
const XATTR_USUAL: usize = 512;
/// getdents64(2) of a usual directory in one call.
const LISTING: usize = 32 << 10;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket, or what has no name here.
    Socket,
    /// A character device.
    Character,
    /// A block device.
    Block,
}

/// The attributes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Filesystem and inode: equal for the names of one file.
    pub identity: Identity,
    /// How many names it has.
    pub links: u32,
    /// The permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The length.
    pub size: u64,
    /// Bytes that are allocated for it.
    pub disk: u64,
    /// When it was modified, in seconds and nanoseconds after the epoch.
    pub mtime: (i64, u32),
    /// Which device it is, if it is one: major and minor number.
    pub device: (u32, u32),
    /// Whether something is mounted there (Linux 5.8 and later can tell).
    pub is_mount: bool,
}

/// An extended attribute: its name and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

/// Which file it is: major and minor number of the filesystem, inode.
pub type Identity = (u32, u32, u64);

impl Meta {
    /// Whether this is overlayfs's mark for a name that a lower layer has and the merged tree has not.
    pub fn is_whiteout(&self) -> bool {
        self.kind == Kind::Character && self.device == (0, 0)
    }

    /// Whether it may be met by another name, too.
    pub fn is_linked(&self) -> bool {
        self.kind != Kind::Directory && self.links > 1
    }

    fn of(statx: &Statx) -> Meta {
        let kind = match FileType::from_raw_mode(statx.stx_mode.into()) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::Character,
            FileType::BlockDevice => Kind::Block,
            FileType::Socket | FileType::Unknown => Kind::Socket,
        };
        Meta {
            kind,
            identity: (statx.stx_dev_major, statx.stx_dev_minor, statx.stx_ino),
            links: statx.stx_nlink,
            mode: u32::from(statx.stx_mode) & 0o7777,
            uid: statx.stx_uid,
            gid: statx.stx_gid,
            size: statx.stx_size,
            disk: statx.stx_blocks * 512,
            mtime: (statx.stx_mtime.tv_sec, statx.stx_mtime.tv_nsec),
            device: (statx.stx_rdev_major, statx.stx_rdev_minor),
            is_mount: statx.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        }
    }
}

/// A name in a directory.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The name.
    pub name: OsString,
    /// The inode of what the directory says to be a regular file.
    pub file: Option<u64>,
}

/// A directory that is open for reading.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl Dir {
    /// Opens the directory at a path.
    pub fn open(path: &Path) -> io::Result<Dir> {
        Ok(Dir(open_directory(CWD, path.as_os_str(), OFlags::empty())?))
    }

    /// Opens anew what a descriptor of any kind refers to: O_PATH, a detached mount.
    pub fn of(fd: BorrowedFd<'_>) -> io::Result<Dir> {
        Ok(Dir(open_directory(fd, OsStr::new("."), OFlags::empty())?))
    }

    /// Opens the directory at a path below, whose parents must be known to be no symlinks.
    pub fn enter(&self, path: &OsStr) -> io::Result<Option<Dir>> {
        found(open_directory(self.0.as_fd(), path, OFlags::NOFOLLOW).map(Dir))
    }

    /// Opens the directory above, if it is this one.
    pub fn parent_if(&self, identity: Identity) -> io::Result<Option<Dir>> {
        let parent = found(open_directory(self.0.as_fd(), OsStr::new(".."), OFlags::empty()).map(Dir))?;
        match parent {
            Some(parent) if parent.meta()?.identity == identity => Ok(Some(parent)),
            _ => Ok(None),
        }
    }

    /// All names but `.` and `..`, sorted by their bytes. Works once: the directory is then at its end.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        Ok(self.listing()?.into_iter().map(|listed| listed.name).collect())
    }

    /// As [`Dir::names`], with what the directory says of each.
    pub fn listing(&self) -> io::Result<Vec<Listed>> {
        let mut buffer = Vec::with_capacity(LISTING);
        let mut listing = RawDir::new(&self.0, buffer.spare_capacity_mut());
        let mut all = Vec::new();
        while let Some(entry) = listing.next() {
            match entry {
                Ok(entry) if [c".", c".."].contains(&entry.file_name()) => {}
                Ok(entry) => all.push(Listed {
                    name: OsString::from_vec(entry.file_name().to_bytes().to_vec()),
                    file: (entry.file_type() == FileType::RegularFile).then(|| entry.ino()),
                }),
                // The directory itself is gone.
                Err(Errno::NOENT) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        all.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// The attributes of an entry at a path below, whose parents must be known to be no symlinks.
    pub fn look(&self, path: &OsStr) -> io::Result<Option<Meta>> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        found(rustix::fs::statx(&self.0, path, flags, StatxFlags::BASIC_STATS).map(|statx| Meta::of(&statx)))
    }

    /// Where a symlink leads.
    pub fn target(&self, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
        found(rustix::fs::readlinkat(&self.0, name, Vec::new()).map(|target| target.into_bytes()))
    }

    /// The xattrs of an entry, as [`Pinned::xattrs`] has them; one call where there are none.
    pub fn xattrs(&self, name: &OsStr) -> io::Result<Option<Vec<Xattr>>> {
        let path = [format!("/proc/self/fd/{}/", self.0.as_raw_fd()).as_bytes(), name.as_bytes()].concat();
        let get = |name: &[u8], buffer: &mut [u8]| rustix::fs::lgetxattr(&path[..], name, buffer);
        found(xattrs_by(|buffer| rustix::fs::llistxattr(&path[..], buffer), get))
    }

    /// Holds on to the entry that has this name now.
    pub fn pin(&self, path: &OsStr) -> io::Result<Option<Pinned>> {
        pin(self.0.as_fd(), path)
    }

    /// Holds on to the directory itself.
    pub fn pin_self(&self) -> io::Result<Pinned> {
        Ok(Pinned(rustix::fs::openat(&self.0, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// Its attributes.
    pub fn meta(&self) -> io::Result<Meta> {
        meta_of(self.0.as_fd())
    }

    /// Whether an xattr of it has this value.
    pub fn has_xattr(&self, name: &str, value: &[u8]) -> io::Result<bool> {
        let mut buffer = [0; XATTR_USUAL];
        match rustix::fs::fgetxattr(&self.0, name, &mut buffer) {
            Ok(length) => Ok(buffer[..length] == *value),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn pin(at: BorrowedFd<'_>, path: &OsStr) -> io::Result<Option<Pinned>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    found(rustix::fs::openat(at, path, flags, Mode::empty()).map(Pinned))
}

fn open_directory(at: BorrowedFd<'_>, path: &OsStr, more: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | more;
    without_access_time(flags, |flags| rustix::fs::openat(at, path, flags, Mode::empty()))
}

fn without_access_time<T>(flags: OFlags, open: impl Fn(OFlags) -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        opened => opened,
    }
}

/// An entry of whatever kind, held by O_PATH: what is asked of it is asked of one and the same inode.
#[derive(Debug)]
pub struct Pinned(OwnedFd);

impl Pinned {
    /// What stands at a path.
    pub fn at(path: &Path) -> io::Result<Option<Pinned>> {
        pin(CWD, path.as_os_str())
    }

    /// Its attributes.
    pub fn meta(&self) -> io::Result<Meta> {
        meta_of(self.0.as_fd())
    }

    /// Where a symlink leads.
    pub fn target(&self) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.0, "", Vec::new())?.into_bytes())
    }

    /// Opens a regular file for reading. Any other kind would act on being opened: ask first.
    pub fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let fd = without_access_time(flags, |flags| rustix::fs::open(self.proc_path(), flags, Mode::empty()))?;
        Ok(fd.into())
    }

    /// All xattrs that this process may see, sorted by name.
    pub fn xattrs(&self) -> io::Result<Vec<Xattr>> {
        xattrs_of(self.0.as_fd())
    }

    fn proc_path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }
}

/// All xattrs of what a descriptor of any kind refers to that this process may see, sorted by name.
pub(super) fn xattrs_of(fd: BorrowedFd<'_>) -> io::Result<Vec<Xattr>> {
    // The magic link leads to the inode itself, symlinks included; fgetxattr(2) refuses O_PATH.
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let get = |name: &[u8], buffer: &mut [u8]| rustix::fs::getxattr(&path, name, buffer);
    Ok(xattrs_by(|buffer| rustix::fs::listxattr(&path, buffer), get)?)
}

fn xattrs_by(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<Xattr>> {
    let names = match grown(list) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        names => names?,
    };
    let mut xattrs = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match grown(|buffer| get(name, buffer)) {
            Ok(value) => xattrs.push((name.to_vec(), value)),
            // Removed meanwhile.
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

fn meta_of(fd: BorrowedFd<'_>) -> io::Result<Meta> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    Ok(Meta::of(&rustix::fs::statx(fd, "", flags, StatxFlags::BASIC_STATS)?))
}

/// The bytes that a call writes, which says ERANGE when the buffer is too small.
fn grown(call: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut usual = [0; XATTR_USUAL];
    match call(&mut usual) {
        Err(Errno::RANGE) => {
            let mut bytes = vec![0; XATTR_MAX];
            let length = call(&mut bytes)?;
            bytes.truncate(length);
            Ok(bytes)
        }
        length => Ok(usual[..length?].to_vec()),
    }
}

/// What has vanished is no error.
fn found<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        // ENOTDIR and ELOOP: another entry has the name now, or a parent's. ESTALE: a lower of an
        // overlay, or a network filesystem, has lost it.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The next run of a file's data at or after an offset, as begin and end; `None` if only a hole follows.
pub fn next_data(file: &File, from: u64) -> io::Result<Option<(u64, u64)>> {
    let begin = match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Err(Errno::NXIO) => return Ok(None),
        // A filesystem that cannot tell: all is data.
        Err(Errno::INVAL) => return Ok(Some((from, u64::MAX))),
        begin => begin?,
    };
    Ok(Some((begin, rustix::fs::seek(file, SeekFrom::Hole(begin))?)))
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
