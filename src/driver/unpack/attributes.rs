//! What entries are like apart from their content: owner, mode, extended attributes, times.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::driver::unpack::Options;
use crate::driver::unpack::archive::{Entry, Xattr};
use crate::driver::unpack::error::{Problem, step};
use crate::sys::beneath::{self, Kind, Time};

/// Overlayfs's own attributes: a layer that brought them could redirect names out of its tree.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
/// The label is the host's to give.
const LABEL: &[u8] = b"security.selinux";
/// The one of `security.` that the root of a user namespace may set.
const CAPABILITY: &[u8] = b"security.capability";

/// What an entry is like. Where nothing says otherwise, a directory is root's, 0755, from 1970.
#[derive(Debug)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified: Time,
    pub(super) xattrs: Vec<Xattr>,
}

impl Default for Attributes {
    fn default() -> Attributes {
        Attributes { mode: 0o755, uid: 0, gid: 0, modified: Time::default(), xattrs: Vec::new() }
    }
}

impl Attributes {
    /// What an entry claims, without the attributes that it may not have; those are returned by number.
    pub(super) fn of(entry: &mut Entry, options: &Options<'_>) -> Result<(Attributes, u64), Problem> {
        let id = |id| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        let (Some(uid), Some(gid)) = (id(entry.uid), id(entry.gid)) else {
            return Err(Problem::Unmapped { uid: entry.uid, gid: entry.gid });
        };
        let mut xattrs = std::mem::take(&mut entry.xattrs);
        let all = xattrs.len();
        xattrs.retain(|(name, _)| is_allowed(name, options));
        let skipped = (all - xattrs.len()) as u64;
        Ok((Attributes { mode: entry.mode, uid, gid, modified: entry.modified, xattrs }, skipped))
    }

    /// Makes an entry be like this. chown(2) clears set-id bits and capabilities, so it comes first.
    pub(super) fn give(&self, fd: impl AsFd, kind: Kind) -> Result<(), Problem> {
        beneath::set_owner(&fd, self.uid, self.gid).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => Problem::Unmapped { uid: self.uid.into(), gid: self.gid.into() },
            _ => step("set the owner")(error),
        })?;
        if kind != Kind::Symlink {
            beneath::set_mode(&fd, self.mode).map_err(step("set the mode"))?;
        }
        for (name, value) in &self.xattrs {
            beneath::set_xattr(&fd, name, value).map_err(|source| Problem::Xattr { name: name.clone(), source })?;
        }
        beneath::set_times(&fd, self.modified).map_err(step("set the times"))
    }
}

fn is_allowed(name: &[u8], options: &Options<'_>) -> bool {
    let is_hosts = name.starts_with(b"trusted.") || (name.starts_with(b"security.") && name != CAPABILITY);
    let is_overlays = OVERLAY.iter().any(|prefix| name.starts_with(prefix));
    !is_overlays && name != LABEL && (options.devices || !is_hosts)
}

/// The attribute that makes a directory opaque.
pub(super) fn opaque(userxattr: bool) -> &'static [u8] {
    if userxattr { b"user.overlay.opaque" } else { b"trusted.overlay.opaque" }
}

/// What a directory is like in the layers below, if it is there: a directory that a layer does not list
/// but needs must not change it.
pub(super) fn inherited(path: &[u8], options: &Options<'_>) -> io::Result<Option<Attributes>> {
    for parent in options.parents {
        match find(parent, path, opaque(options.userxattr))? {
            Found::Directory(fd) => return read(&fd, options).map(Some),
            Found::Hidden => return Ok(None),
            Found::Absent => {}
        }
    }
    Ok(None)
}

enum Found {
    Directory(OwnedFd),
    /// Not there, and what lower layers have at this path does not show either.
    Hidden,
    Absent,
}

fn find(parent: &OwnedFd, path: &[u8], opaque: &[u8]) -> io::Result<Found> {
    if let Some(fd) = beneath::directory_beneath(parent, path)? {
        return Ok(Found::Directory(fd));
    }
    let mut hides = false;
    let Some(mut at) = beneath::directory_beneath(parent, b"")? else { return Ok(Found::Absent) };
    for name in path.split(|byte| *byte == b'/') {
        hides |= beneath::xattr(&at, opaque)?.is_some_and(|value| value == b"y");
        match beneath::look(&at, name)? {
            None if !hides => return Ok(Found::Absent),
            Some(look) if look.kind == Kind::Directory => at = beneath::entry(&at, name)?,
            // A whiteout, a file, a link, or nothing in an opaque directory.
            None | Some(_) => return Ok(Found::Hidden),
        }
    }
    Ok(Found::Absent)
}

fn read(fd: &OwnedFd, options: &Options<'_>) -> io::Result<Attributes> {
    let (look, mut xattrs) = (beneath::look_at(fd)?, beneath::xattrs(fd)?);
    xattrs.retain(|(name, _)| is_allowed(name, options));
    Ok(Attributes { mode: look.mode, uid: look.uid, gid: look.gid, modified: look.modified, xattrs })
}
