//! From the tree's words to fuser's.

use std::time::{Duration, UNIX_EPOCH};

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};

use super::Owner;
use crate::tree::{Attr, FileKind, Lifetime, SetTime};

/// What is told again when it changes lives as long as the kernel likes.
pub(super) const FOREVER: Duration = Duration::from_secs(1 << 30);
/// What must be asked again.
pub(super) const NEVER: Duration = Duration::ZERO;

pub(super) fn lifetime(lifetime: Lifetime) -> Duration {
    match lifetime {
        Lifetime::Forever => FOREVER,
        Lifetime::Once => NEVER,
    }
}

pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Dir => FileType::Directory,
        FileKind::File => FileType::RegularFile,
        FileKind::Link => FileType::Symlink,
    }
}

pub(super) fn file_attr(attr: &Attr, owner: Owner) -> FileAttr {
    let time = UNIX_EPOCH + Duration::from_nanos(attr.changed);
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: file_type(attr.kind),
        perm: attr.mode,
        nlink: 1,
        uid: owner.uid,
        gid: owner.gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(super::nanos(time)),
    }
}
