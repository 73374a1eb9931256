//! A layer of another store as one of ours: by hard links where the filesystem allows, else by copies
//! that share their blocks where it allows that.
//!
//! The layer is as overlayfs takes it already: whiteouts are devices, opaque directories marked, owners
//! final. Directories are always new, so that nothing of ours changes theirs.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::error::ImageError;
use super::import::Figures;
use super::watch::{Watch, check};
use crate::driver::usage::usage;
use crate::driver::walk::{Step, Walk};
use crate::sys::beneath::{self, Time};
use crate::sys::walk::{Dir, Identity, Kind, Meta, Pinned, next_data};

/// How overlayfs marks a directory that hides those below it; the rest of a name after its prefix.
const OPAQUE: &[u8] = b"opaque";
/// Marks of overlayfs by which an entry is not all that there is of a file.
const ELSEWHERE: [&[u8]; 2] = [b"redirect", b"metacopy"];
/// fuse-overlayfs's ways where it may not do as the kernel does.
const WHITEOUT: &[u8] = b".wh.";
const FOREIGN: [&[u8]; 2] = [b"user.containers.override_stat", b"user.fuseoverlayfs."];

type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Clones the layer at `diff` into the empty directory `tree`.
pub(super) fn clone(diff: &Path, tree: &Path, userxattr: bool, watch: &dyn Watch) -> Result<Figures, ImageError> {
    let marks: &[u8] = if userxattr { b"user.overlay." } else { b"trusted.overlay." };
    let root = beneath::directory(tree).map_err(ImageError::at(tree))?;
    let mut cloner = Cloner { from: diff, root, marks, links: true, copied: HashMap::new(), watch };
    cloner.run()?;
    let held = File::open(tree).and_then(|tree| usage(tree.as_fd())).map_err(ImageError::at(tree))?;
    Ok(Figures { size: held.bytes, disk: held.disk, entries: held.entries })
}

struct Cloner<'a> {
    from: &'a Path,
    /// The new tree.
    root: OwnedFd,
    /// How overlayfs's attributes begin.
    marks: &'a [u8],
    /// Whether hard links can be tried.
    links: bool,
    /// Files with several names that were copied, and to which path.
    copied: HashMap<Identity, Vec<u8>>,
    watch: &'a dyn Watch,
}

/// What a directory gets when all is in it.
struct Pending {
    meta: Meta,
    xattrs: Xattrs,
    /// The new directory, while the walk is in it and in none below.
    new: Option<OwnedFd>,
}

impl Cloner<'_> {
    fn run(&mut self) -> Result<(), ImageError> {
        let top = Dir::open(self.from).map_err(ImageError::at(self.from))?;
        let pinned = self.at(b"", top.pin_self())?;
        let pending = self.pending(b"", &pinned)?;
        let walk = Walk::new(top, pending);
        let mut walk = self.at(b"", walk)?;
        loop {
            check(self.watch)?;
            let step = walk.next();
            match self.at(walk.path(), step)? {
                None => return Ok(()),
                Some(Step::Entry) => self.entry(&mut walk)?,
                Some(Step::Left(pending)) => {
                    let done = self.finish_directory(walk.path(), &pending);
                    self.at(walk.path(), done)?;
                }
            }
        }
    }

    fn entry(&mut self, walk: &mut Walk<Pending>) -> Result<(), ImageError> {
        let (path, name) = (walk.path().to_vec(), walk.name().as_bytes().to_vec());
        let pinned = self.at(&path, walk.dir().pin(walk.name()))?.ok_or_else(|| self.vanished(&path))?;
        let pending = self.pending(&path, &pinned)?;
        let new = match walk.note().new.take() {
            Some(new) => new,
            None => self.at(&path, self.directory(parent(&path)))?,
        };
        if pending.meta.kind == Kind::Directory {
            self.at(&path, beneath::make_directory(&new, &name))?;
            let entered = walk.enter(pending);
            return match self.at(&path, entered)? {
                true => Ok(()),
                false => Err(self.vanished(&path)),
            };
        }
        if pending.meta.kind == Kind::Socket {
            self.watch.warn(&format!("{}: a socket, left out", self.from.join(OsStr::from_bytes(&path)).display()));
        } else {
            let linked = self.links.then(|| beneath::make_link(walk.dir(), &name, &new, &name));
            match linked {
                Some(Ok(())) => {}
                Some(Err(error)) if !is_refusal_to_link(&error) => return self.at(&path, Err(error)),
                refused => {
                    // Another filesystem is one for all files; what else is in the way is one file's.
                    self.links &= !matches!(refused, Some(Err(error)) if error.kind() == io::ErrorKind::CrossesDevices);
                    let copied = self.copy(&path, &name, &new, &pinned, &pending);
                    self.at(&path, copied)?;
                }
            }
            self.watch.advance(pending.meta.size);
        }
        walk.note().new = Some(new);
        Ok(())
    }

    /// What an entry is, unless it is not all that there is of a file.
    fn pending(&self, path: &[u8], pinned: &Pinned) -> Result<Pending, ImageError> {
        let meta = self.at(path, pinned.meta())?;
        let xattrs = self.at(path, pinned.xattrs())?;
        let refuse = |rule| {
            let what = self.from.join(OsStr::from_bytes(path)).display().to_string();
            Err(ImageError::Unsupported { what, rule })
        };
        let mark = |(name, _): &(Vec<u8>, Vec<u8>)| name.strip_prefix(self.marks).map(<[u8]>::to_vec);
        if xattrs.iter().filter_map(mark).any(|mark| ELSEWHERE.contains(&&mark[..])) {
            return refuse("it takes name or data from a layer below, so that it cannot be cloned by itself");
        }
        let is_foreign = |(name, _): &(Vec<u8>, Vec<u8>)| FOREIGN.iter().any(|prefix| name.starts_with(prefix));
        if xattrs.iter().any(is_foreign) || base(path).starts_with(WHITEOUT) {
            return refuse("fuse-overlayfs made it in a way that only it understands");
        }
        if meta.is_mount && !path.is_empty() {
            return refuse("something is mounted there");
        }
        Ok(Pending { meta, xattrs, new: None })
    }

    fn copy(&mut self, path: &[u8], name: &[u8], new: &OwnedFd, pinned: &Pinned, of: &Pending) -> io::Result<()> {
        if of.meta.links > 1 {
            if let Some(first) = self.copied.get(&of.meta.identity) {
                let dir = self.directory(parent(first))?;
                return beneath::make_link(&dir, base(first), new, name);
            }
            self.copied.insert(of.meta.identity, path.to_vec());
        }
        let kind = match of.meta.kind {
            Kind::File => {
                let copy = beneath::make_file(new, name)?;
                copy_data(&mut pinned.open()?, &copy, of.meta.size)?;
                return self.dress(&copy, of);
            }
            Kind::Symlink => {
                beneath::make_symlink(new, name, &pinned.target()?)?;
                return self.dress(&beneath::entry(new, name)?, of);
            }
            Kind::Character => beneath::Kind::Character,
            Kind::Block => beneath::Kind::Block,
            Kind::Fifo => beneath::Kind::Fifo,
            Kind::Socket | Kind::Directory => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let (major, minor) = of.meta.device;
        beneath::make_node(new, name, kind, major, minor)?;
        self.dress(&beneath::entry(new, name)?, of)
    }

    fn finish_directory(&self, path: &[u8], of: &Pending) -> io::Result<()> {
        self.dress(&self.directory(path)?, of)
    }

    /// A directory of the new tree.
    fn directory(&self, path: &[u8]) -> io::Result<OwnedFd> {
        beneath::directory_beneath(&self.root, path)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Gives an entry its attributes, in an order in which none undoes another: chown(2) clears the
    /// set-id bits and capabilities.
    fn dress(&self, new: &impl AsFd, of: &Pending) -> io::Result<()> {
        beneath::set_owner(new, of.meta.uid, of.meta.gid)?;
        if of.meta.kind != Kind::Symlink {
            beneath::set_mode(new, of.meta.mode)?;
        }
        for (name, value) in of.xattrs.iter().filter(|(name, _)| self.is_kept(name)) {
            beneath::set_xattr(new, name, value)?;
        }
        let (seconds, nanoseconds) = of.meta.mtime;
        beneath::set_times(new, Time { seconds, nanoseconds })
    }

    /// Of overlayfs's own attributes only the mark of opaque directories belongs to a layer.
    fn is_kept(&self, name: &[u8]) -> bool {
        let is_mark = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
        let is_opaque = name.strip_prefix(self.marks) == Some(OPAQUE);
        is_opaque || !is_mark && name != b"security.selinux"
    }

    fn at<T>(&self, path: &[u8], result: io::Result<T>) -> Result<T, ImageError> {
        result.map_err(|cause| ImageError::at(&self.from.join(OsStr::from_bytes(path)))(cause))
    }

    fn vanished(&self, path: &[u8]) -> ImageError {
        let what = self.from.join(OsStr::from_bytes(path)).display().to_string();
        ImageError::document(what, "it vanished while it was cloned")
    }
}

/// Other filesystem; not ours and fs.protected_hardlinks; too many names already.
fn is_refusal_to_link(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks};
    matches!(error.kind(), CrossesDevices | PermissionDenied | TooManyLinks)
}

/// Copies a file with its holes. `io::copy` uses copy_file_range(2), which shares blocks where it can.
fn copy_data(from: &mut File, mut to: &File, size: u64) -> io::Result<()> {
    to.set_len(size)?;
    let mut done = 0;
    while let Some((begin, end)) = next_data(from, done)?.filter(|(begin, _)| *begin < size) {
        done = end.min(size);
        from.seek(SeekFrom::Start(begin))?;
        to.seek(SeekFrom::Start(begin))?;
        let copied = io::copy(&mut from.take(done - begin), &mut to)?;
        if copied < done - begin {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if done == size {
            break;
        }
    }
    Ok(())
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(b"", |slash| &path[..slash])
}

fn base(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(path, |slash| &path[slash + 1..])
}
