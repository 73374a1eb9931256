//! Files below a directory that no name leads out of: openat2(2) and the calls that end in `at`.
//!
//! A name is always one component below an open directory, and the last component is never followed
//! where it is a symbolic link. What an entry is like is set through a descriptor of the entry itself.

use std::fs::File;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RawDir, RenameFlags, ResolveFlags, SeekFrom, Stat, Timespec, Timestamps, Uid,
    XattrFlags, chmod, chownat, fchmod, fsetxattr, fstatvfs, getxattr, linkat, makedev, mkdirat, mknodat, open, openat,
    openat2, readlinkat, removexattr, renameat_with, seek, setxattr, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::walk::{Xattr, xattrs_of};

/// Directories nested deeper than this are moved up before they are emptied: each level holds a
/// descriptor.
const DEEPEST: u32 = 64;
/// How often openat2(2) is asked again when a rename or mount elsewhere disturbed it (EAGAIN).
const ATTEMPTS: u32 = 256;
/// The largest value and the largest list of extended attributes (XATTR_SIZE_MAX, XATTR_LIST_MAX).
const XATTR_MOST: usize = 64 << 10;

const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
const ITSELF: AtFlags = AtFlags::EMPTY_PATH.union(AtFlags::SYMLINK_NOFOLLOW);

/// What kind of file an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// Seconds since 1970, which may be before it, and nanoseconds upon them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// The rest, below a thousand million.
    pub nanoseconds: u32,
}

/// What stat(2) says of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// Its kind.
    pub kind: Kind,
    /// Its permissions with the set-id and sticky bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When its content changed.
    pub modified: Time,
    /// Its apparent size in bytes.
    pub size: u64,
    /// The bytes that it takes on the disk.
    pub disk: u64,
    /// How many names it has.
    pub links: u64,
    /// The device that a device node stands for.
    pub device: u64,
    /// The inode's number.
    pub inode: u64,
}

impl Look {
    /// Whether this is what overlayfs takes for a whiteout: character device 0:0.
    pub fn is_whiteout(&self) -> bool {
        self.kind == Kind::Character && self.device == 0
    }
}

/// What was removed; a file with names left elsewhere still takes its room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Freed {
    /// Names removed.
    pub entries: u64,
    /// Apparent size of the files that are gone.
    pub size: u64,
    /// What those files took on the disk.
    pub disk: u64,
}

/// A directory by path, only to name things below it.
pub fn directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, PATH_ONLY | OFlags::DIRECTORY, Mode::empty())?)
}

/// A directory below `root`, by a path whose symbolic links are resolved as if `root` were `/`.
/// The empty path is the root; none where the path leads to no directory.
pub fn directory_in_root(root: impl AsFd, path: &[u8]) -> io::Result<Option<OwnedFd>> {
    if_there(resolve(root.as_fd(), path, PATH_ONLY | OFlags::DIRECTORY, ResolveFlags::IN_ROOT))
}

/// A directory below `root`, by a path without any symbolic link; none where there is one, or no
/// directory.
pub fn directory_beneath(root: impl AsFd, path: &[u8]) -> io::Result<Option<OwnedFd>> {
    let plain = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    if_there(resolve(root.as_fd(), path, PATH_ONLY | OFlags::DIRECTORY, plain))
}

fn if_there(opened: rustix::io::Result<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A regular file below `root` to read, by a path whose symbolic links are resolved as if `root` were
/// `/`; none where the path leads to no regular file. Never waits for the other end of a pipe.
pub fn file_in_root(root: impl AsFd, path: &[u8]) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Some(file) = if_there(resolve(root.as_fd(), path, flags, ResolveFlags::IN_ROOT))?.map(File::from) else {
        return Ok(None);
    };
    Ok(file.metadata()?.is_file().then_some(file))
}

/// An entry itself, whatever it is.
pub fn entry(dir: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    Ok(openat(dir, name, PATH_ONLY | OFlags::NOFOLLOW, Mode::empty())?)
}

fn resolve(root: BorrowedFd<'_>, path: &[u8], flags: OFlags, how: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let how = how | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let mut attempts = 0;
    loop {
        match openat2(root, path, flags, Mode::empty(), how) {
            Err(Errno::AGAIN | Errno::INTR) if attempts < ATTEMPTS => attempts += 1,
            done => return done,
        }
    }
}

/// The absolute path of an open directory as the kernel knows it.
pub fn path_of(fd: impl AsFd) -> io::Result<Vec<u8>> {
    Ok(readlinkat(rustix::fs::CWD, proc_path(fd.as_fd()), Vec::new())?.into_bytes())
}

/// What stands at a name, if anything.
pub fn look(dir: impl AsFd, name: &[u8]) -> io::Result<Option<Look>> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(seen(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What an open entry is.
pub fn look_at(fd: impl AsFd) -> io::Result<Look> {
    Ok(seen(&statat(fd, "", ITSELF)?))
}

#[allow(clippy::unnecessary_cast, reason = "the widths of these fields differ between architectures")]
fn seen(stat: &Stat) -> Look {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::CharacterDevice => Kind::Character,
        FileType::BlockDevice => Kind::Block,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::RegularFile | FileType::Unknown => Kind::File,
    };
    Look {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified: Time { seconds: stat.st_mtime as i64, nanoseconds: stat.st_mtime_nsec as u32 },
        size: stat.st_size as u64,
        disk: stat.st_blocks as u64 * 512,
        links: stat.st_nlink as u64,
        device: stat.st_rdev as u64,
        inode: stat.st_ino as u64,
    }
}

/// Makes a directory that only its owner may use.
pub fn make_directory(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(mkdirat(dir, name, Mode::RWXU)?)
}

/// Makes a file to write, which only its owner may use; EEXIST where something stands at the name.
pub fn make_file(dir: impl AsFd, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// Makes a file with this content, whole or not at all; EEXIST where something stands at the name.
pub fn put_file(dir: impl AsFd, name: &[u8], mode: u32, content: &[u8]) -> io::Result<()> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = File::from(openat(&dir, ".", flags, Mode::from_raw_mode(mode))?);
    file.write_all(content)?;
    Ok(linkat(rustix::fs::CWD, proc_path(file.as_fd()), dir, name, AtFlags::SYMLINK_FOLLOW)?)
}

/// Makes a symbolic link.
pub fn make_symlink(dir: impl AsFd, name: &[u8], target: &[u8]) -> io::Result<()> {
    Ok(symlinkat(target, dir, name)?)
}

/// Gives an entry another name; a symbolic link gets it itself.
pub fn make_link(from: impl AsFd, old: &[u8], dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    Ok(linkat(from, old, dir, name, AtFlags::empty())?)
}

/// Makes a device node or a named pipe that nobody may use yet.
pub fn make_node(dir: impl AsFd, name: &[u8], kind: Kind, major: u32, minor: u32) -> io::Result<()> {
    let kind = match kind {
        Kind::Character => FileType::CharacterDevice,
        Kind::Block => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
        Kind::File | Kind::Directory | Kind::Symlink => return Err(Errno::INVAL.into()),
    };
    Ok(mknodat(dir, name, kind, Mode::empty(), makedev(major, minor))?)
}

/// Makes a whiteout, which an ordinary user may.
pub fn make_whiteout(dir: impl AsFd, name: &[u8]) -> io::Result<()> {
    make_node(dir, name, Kind::Character, 0, 0)
}

/// Sets owner and group.
pub fn set_owner(fd: impl AsFd, uid: u32, gid: u32) -> io::Result<()> {
    // rustix's IDs must not be -1, which chown(2) takes for "leave it".
    if uid == u32::MAX || gid == u32::MAX {
        return Err(Errno::INVAL.into());
    }
    Ok(chownat(fd, "", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), ITSELF)?)
}

/// Sets permissions, set-id and sticky bits; not those of a symbolic link, which has none.
pub fn set_mode(fd: impl AsFd, mode: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode(mode);
    match fchmod(&fd, mode) {
        // Descriptors opened with O_PATH.
        Err(Errno::BADF) => Ok(chmod(proc_path(fd.as_fd()), mode)?),
        done => Ok(done?),
    }
}

/// Sets the times of access and of the last change of content.
pub fn set_times(fd: impl AsFd, time: Time) -> io::Result<()> {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Ok(utimensat(fd, "", &Timestamps { last_access: time, last_modification: time }, ITSELF)?)
}

/// Sets an extended attribute; of a symbolic link, the link's own.
pub fn set_xattr(fd: impl AsFd, name: &[u8], value: &[u8]) -> io::Result<()> {
    match fsetxattr(&fd, name, value, XattrFlags::empty()) {
        // A magic link of /proc leads to a descriptor's own file and no further, link or not.
        Err(Errno::BADF) => Ok(setxattr(proc_path(fd.as_fd()), name, value, XattrFlags::empty())?),
        done => Ok(done?),
    }
}

/// Takes an extended attribute away, if it is there and the filesystem knows it.
pub fn remove_xattr(fd: impl AsFd, name: &[u8]) -> io::Result<()> {
    match removexattr(proc_path(fd.as_fd()), name) {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        done => Ok(done?),
    }
}

/// The value of an extended attribute, if it is there and the filesystem knows it.
pub fn xattr(fd: impl AsFd, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut value = Vec::with_capacity(XATTR_MOST);
    match getxattr(proc_path(fd.as_fd()), name, rustix::buffer::spare_capacity(&mut value)) {
        Ok(_) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// An entry's extended attributes, sorted by name.
pub fn xattrs(fd: impl AsFd) -> io::Result<Vec<Xattr>> {
    xattrs_of(fd.as_fd())
}

/// The bytes that the filesystem below a directory still has for us.
pub fn free_space(dir: impl AsFd) -> io::Result<u64> {
    let room = fstatvfs(dir)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Removes an entry and, where it is a directory, all that is below it. Symbolic links are removed,
/// never followed; what is mounted below stays (EXDEV or EBUSY), and so do the directories above it.
/// It goes on after a failure and returns the first.
pub fn remove_tree(dir: impl AsFd, name: &[u8]) -> io::Result<Freed> {
    let mut freed = Freed::default();
    let Some(look) = look(&dir, name)? else { return Ok(freed) };
    if look.kind != Kind::Directory {
        remove_file(dir.as_fd(), name, &look, &mut freed)?;
        return Ok(freed);
    }
    let top = open_to_empty(dir.as_fd(), name)?;
    let mut sweep = Sweep { top: top.as_fd(), freed, failed: None, moved: 0 };
    sweep.empty(top.as_fd(), 0)?;
    let Sweep { mut freed, failed, .. } = sweep;
    if let Some(error) = failed {
        return Err(error);
    }
    unlinkat(dir, name, AtFlags::REMOVEDIR)?;
    freed.entries += 1;
    Ok(freed)
}

fn remove_file(dir: BorrowedFd<'_>, name: &[u8], look: &Look, freed: &mut Freed) -> io::Result<()> {
    unlinkat(dir, name, AtFlags::empty())?;
    freed.entries += 1;
    if look.links == 1 {
        freed.size += look.size;
        freed.disk += look.disk;
    }
    Ok(())
}

fn open_to_empty(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(resolve(dir, name, flags, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)?)
}

/// A removal under way.
struct Sweep<'a> {
    top: BorrowedFd<'a>,
    freed: Freed,
    failed: Option<io::Error>,
    moved: u64,
}

impl Sweep<'_> {
    /// Empties a directory, reading it again until a pass removes nothing: names may slip through
    /// while a directory shrinks, and deep ones come up into the topmost.
    fn empty(&mut self, dir: BorrowedFd<'_>, depth: u32) -> io::Result<()> {
        let mut buffer = vec![MaybeUninit::uninit(); 16 << 10];
        loop {
            let mut removed = false;
            seek(dir, SeekFrom::Start(0))?;
            let mut entries = RawDir::new(dir, &mut buffer);
            while let Some(entry) = entries.next() {
                let name = entry?.file_name().to_bytes().to_vec();
                if name == b"." || name == b".." {
                    continue;
                }
                match self.remove(dir, &name, depth) {
                    Ok(()) => removed = true,
                    Err(error) => {
                        self.failed.get_or_insert(error);
                    }
                }
            }
            if !removed {
                return Ok(());
            }
        }
    }

    fn remove(&mut self, dir: BorrowedFd<'_>, name: &[u8], depth: u32) -> io::Result<()> {
        let Some(look) = look(dir, name)? else { return Ok(()) };
        if look.kind != Kind::Directory {
            return remove_file(dir, name, &look, &mut self.freed);
        }
        if depth == DEEPEST {
            return self.move_up(dir, name);
        }
        let child = open_to_empty(dir, name)?;
        self.empty(child.as_fd(), depth + 1)?;
        unlinkat(dir, name, AtFlags::REMOVEDIR)?;
        self.freed.entries += 1;
        Ok(())
    }

    fn move_up(&mut self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        loop {
            self.moved += 1;
            match renameat_with(dir, name, self.top, format!(".deep-{}", self.moved), RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                done => return Ok(done?),
            }
        }
    }
}
