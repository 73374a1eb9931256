//! A filesystem with a root and nothing in it, in place of the real one.

use std::ffi::OsStr;
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, INodeNo, OpenFlags, ReplyAttr,
    ReplyDirectory, ReplyEntry, ReplyOpen, Request,
};

/// The empty filesystem.
#[derive(Debug, Default)]
pub struct Empty;

impl Filesystem for Empty {
    fn lookup(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::ENOENT);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Duration::ZERO, &root(ino));
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(1), fuser::FopenFlags::empty());
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        from: u64,
        mut reply: ReplyDirectory,
    ) {
        for (index, name) in [".", ".."].iter().enumerate().skip(from as usize) {
            if reply.add(ino, index as u64 + 1, FileType::Directory, name) {
                break;
            }
        }
        reply.ok();
    }
}

fn root(ino: INodeNo) -> FileAttr {
    let epoch = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino,
        size: 0,
        blocks: 0,
        atime: epoch,
        mtime: epoch,
        ctime: epoch,
        crtime: epoch,
        kind: FileType::Directory,
        perm: 0o755,
        nlink: 2,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}
