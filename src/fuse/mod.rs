//! The kernel's protocol: each request is unpacked, handed down in one call, and answered.
//!
//! No rule and no state of its own. What the kernel may cache is decided here, by the lifetimes and
//! flags of the answers: names for ever and attributes from GETATTR for ever, everything else for no
//! time. What a request changed is told to the kernel by the request's own thread, after the commit
//! and before the answer, as INVAL_INODE for attributes only: that takes no lock and waits for no page.

mod lane;
mod reply;
pub mod session;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno as FuseErrno, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags, IoctlFlags, KernelConfig,
    LockOwner, Notifier, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

pub use self::lane::{Lane, Lanes};
use self::reply::{NEVER, file_attr, file_type, lifetime, set_time};
use crate::sys;
use crate::tree::{
    Caller, Change, Creating, Entered, Error, Opened, Origin, Outcome, Patience, Place, SetAttr, Tree, Work, errno,
    is_absent, is_incomplete, name_text, touched,
};

/// `FUSE_UNIQUE_RESEND` of `linux/fuse.h`: the request was read before, by a server that died.
const RESENT: u64 = 1 << 63;

/// The filesystem as fuser drives it; copies are the same one.
#[derive(Clone)]
pub struct Adapter {
    tree: Arc<Tree>,
    /// Set once the session has begun, before the first request is read.
    notifier: Arc<OnceLock<Notifier>>,
    owner: Owner,
    lanes: Lanes,
}

/// Whose the entries are.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The user who mounted.
    pub uid: u32,
    /// The group that may read, or the user's.
    pub gid: u32,
}

impl Adapter {
    /// An adapter over a tree.
    pub fn new(tree: Arc<Tree>, notifier: Arc<OnceLock<Notifier>>, owner: Owner, lanes: Lanes) -> Adapter {
        Adapter { tree, notifier, owner, lanes }
    }

    /// Tells the kernel what changed.
    fn tell(&self, changes: &[Change]) {
        if let Some(notifier) = self.notifier.get() {
            invalidate(notifier, changes);
        }
    }

    /// Tells what a change touched, answers, and lets the kept answer go; or answers the refusal.
    fn answer<T>(
        &self,
        asker: Asker,
        op: &str,
        place: Place<'_>,
        result: Result<Outcome<T>, Error>,
        reply: impl FnOnce(Result<T, FuseErrno>),
    ) {
        match result {
            Ok(outcome) => {
                self.tell(&outcome.changes);
                reply(Ok(outcome.value));
                if !outcome.changes.is_empty() {
                    self.tree.engine().arrived(asker.origin);
                }
            }
            Err(error) => {
                self.tell(error.changes());
                reply(Err(self.refuse(asker, op, place, &error)));
            }
        }
    }

    /// Notes a refusal and gives its errno.
    fn refuse(&self, asker: Asker, op: &str, place: Place<'_>, error: &Error) -> FuseErrno {
        if let Error::Store(error) = error {
            log::error!("{op}: {error}");
        }
        self.tree.note_refusal(asker.caller, op, place, error);
        code(error)
    }

    /// The thread for what is asked of an open file, if not this one.
    fn lane(&self, opened: Opened, work: Work, data: &[u8]) -> Option<&Lane> {
        if self.tree.is_slow(opened, work) {
            return Some(&self.lanes.items);
        }
        if self.tree.lasts(opened, data) {
            return Some(&self.lanes.task);
        }
        match work {
            Work::Read => self.measuring(opened.ino),
            Work::Write | Work::Commit => self.tree.waits_for_mounts(opened.ino).then_some(&self.lanes.mount),
        }
    }

    /// The thread for what an entry gathers. Runtimes wait for a spec, and anybody may have all else
    /// gathered again and again.
    fn measuring(&self, number: u64) -> Option<&Lane> {
        if self.tree.is_bundle(number) {
            return Some(&self.lanes.bundle);
        }
        self.tree.measures(number).then_some(&self.lanes.measure)
    }

    fn enter(&self, entered: &Entered, reply: ReplyEntry) {
        let attr = file_attr(&entered.attr, self.owner);
        reply.entry_with_ttls(&NEVER, &lifetime(entered.lifetime), &attr, fuser::Generation(0));
    }

    /// Does what may make an item what was written: on a thread of its own where that may take long.
    fn commit(&self, opened: Opened, work: impl FnOnce(&Adapter) + Send + 'static) {
        if self.tree.is_slow(opened, Work::Commit) {
            let adapter = self.clone();
            return self.lanes.items.run(move || work(&adapter));
        }
        work(self);
    }
}

/// Tells the kernel that attributes changed. An inode that it does not know is no matter.
pub fn invalidate(notifier: &Notifier, changes: &[Change]) {
    for ino in changes.iter().flat_map(|change| touched(*change)) {
        if let Err(error) = notifier.inval_inode(INodeNo(ino), -1, 0) {
            log::debug!("inode {ino} is not told: {error}");
        }
    }
}

fn code(error: &Error) -> FuseErrno {
    FuseErrno::from_i32(errno(error).code)
}

/// A request, as far as it matters beside what it asks.
#[derive(Clone, Copy)]
struct Asker {
    origin: Origin,
    caller: Caller,
}

fn asker(request: &Request) -> Asker {
    let unique = request.unique().0;
    Asker {
        origin: Origin { unique: unique & !RESENT, resent: unique & RESENT != 0 },
        caller: Caller { pid: request.pid(), uid: request.uid() },
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        if config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS).is_err() {
            log::info!("the kernel has no parallel directory operations");
        }
        Ok(())
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let Some(text) = name.to_str() else { return reply.error(FuseErrno::ENOENT) };
        match self.tree.lookup(parent.0, text) {
            Ok(Some(entered)) => self.enter(&entered, reply),
            Ok(None) => reply.error(FuseErrno::ENOENT),
            Err(error) if is_absent(&error) => reply.error(code(&error)),
            Err(error) => reply.error(self.refuse(asker(request), "lookup", Place::In(parent.0, text), &error)),
        }
    }

    fn getattr(&self, request: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let (asker, fh) = (asker(request), fh.map(|fh| fh.0));
        let getattr = move |adapter: &Adapter| match adapter.tree.getattr(ino.0, fh) {
            Ok((attr, holds)) => reply.attr(&lifetime(holds), &file_attr(&attr, adapter.owner)),
            Err(error) if is_absent(&error) => reply.error(code(&error)),
            Err(error) => reply.error(adapter.refuse(asker, "getattr", Place::At(ino.0), &error)),
        };
        let Some(fh) = fh else { return getattr(self) };
        // A handle has the size of what it reads.
        if self.tree.is_slow(Opened { ino: ino.0, fh }, Work::Read) {
            let adapter = self.clone();
            return self.lanes.items.run(move || getattr(&adapter));
        }
        if let Some(lane) = self.measuring(ino.0) {
            let adapter = self.clone();
            return lane.run(move || getattr(&adapter));
        }
        getattr(self);
    }

    // The kernel takes a SETATTR's attributes without comparing versions (fuse_do_setattr), so they
    // must not live: an invalidation may have passed them.
    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let owner = uid.is_some_and(|uid| uid != self.owner.uid) || gid.is_some_and(|gid| gid != self.owner.gid);
        let set = SetAttr { mode, owner, size, atime: atime.map(set_time), mtime: mtime.map(set_time) };
        let (asker, fh) = (asker(request), fh.map(|fh| fh.0));
        let setattr = move |adapter: &Adapter| {
            let result = adapter.tree.setattr(asker.origin, asker.caller, ino.0, fh, set);
            adapter.answer(asker, "setattr", Place::At(ino.0), result, |result| match result {
                Ok(attr) => reply.attr(&NEVER, &file_attr(&attr, adapter.owner)),
                Err(errno) => reply.error(errno),
            });
        };
        let slow = match fh {
            Some(fh) => self.tree.is_slow(Opened { ino: ino.0, fh }, Work::Write),
            None => self.tree.is_large(ino.0),
        };
        if size.is_some() && slow {
            let adapter = self.clone();
            return self.lanes.items.run(move || setattr(&adapter));
        }
        setattr(self);
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        match self.tree.readlink(ino.0) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(error) if is_absent(&error) => reply.error(code(&error)),
            Err(error) => reply.error(self.refuse(asker(request), "readlink", Place::At(ino.0), &error)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        reply.error(self.refuse_new(asker(request), "mknod", parent, name));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let result = name_text(name)
            .and_then(|name| self.tree.symlink(asker(request).origin, parent.0, name, name_text(target.as_os_str())?));
        let shown = name.to_string_lossy();
        self.answer(asker(request), "symlink", Place::In(parent.0, &shown), result, |result| match result {
            Ok(entered) => self.enter(&entered, reply),
            Err(errno) => reply.error(errno),
        });
    }

    fn link(&self, request: &Request, _ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        reply.error(self.refuse_new(asker(request), "link", parent, name));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let creating = Creating { new: sys::fd::is_exclusive(flags), cut: sys::fd::is_truncating(flags) };
        let asker = asker(request);
        let result =
            name_text(name).and_then(|name| self.tree.create(asker.origin, asker.caller, parent.0, name, creating));
        let shown = name.to_string_lossy();
        self.answer(asker, "create", Place::In(parent.0, &shown), result, |result| match result {
            Ok((entered, opened)) => {
                let (attr, fh) = (file_attr(&entered.attr, self.owner), FileHandle(opened.fh));
                reply.created(
                    &lifetime(entered.lifetime),
                    &attr,
                    fuser::Generation(0),
                    fh,
                    FopenFlags::FOPEN_DIRECT_IO,
                );
            }
            Err(errno) => reply.error(errno),
        });
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, _mode: u32, _umask: u32, reply: ReplyEntry) {
        let result = name_text(name).and_then(|name| self.tree.mkdir(asker(request).origin, parent.0, name));
        let shown = name.to_string_lossy();
        self.answer(asker(request), "mkdir", Place::In(parent.0, &shown), result, |result| match result {
            Ok(entered) => self.enter(&entered, reply),
            Err(errno) => reply.error(errno),
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let result = name_text(name).and_then(|name| self.tree.unlink(asker(request).origin, parent.0, name));
        let shown = name.to_string_lossy();
        self.answer(asker(request), "unlink", Place::In(parent.0, &shown), result, |result| empty(reply, result));
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (asker, name) = (asker(request), name.to_owned());
        let remove = move |adapter: &Adapter, patience, name: &OsStr, reply| {
            let result = name_text(name).and_then(|name| adapter.tree.rmdir(asker.origin, patience, parent.0, name));
            let shown = name.to_string_lossy();
            adapter.answer(asker, "rmdir", Place::In(parent.0, &shown), result, |result| empty(reply, result));
        };
        if name.to_str().is_some_and(|name| self.tree.unmounts(parent.0, name)) {
            let adapter = self.clone();
            return self.lanes.remove.run(move || remove(&adapter, Patience::Some, &name, reply));
        }
        remove(self, Patience::None, &name, reply);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.contains(RenameFlags::RENAME_WHITEOUT) {
            return reply.error(FuseErrno::EINVAL);
        }
        let swap = flags.contains(RenameFlags::RENAME_EXCHANGE);
        let result = name_text(name).and_then(|from| {
            self.tree.rename(asker(request).origin, (parent.0, from), (newparent.0, name_text(newname)?), swap)
        });
        let shown = name.to_string_lossy();
        self.answer(asker(request), "rename", Place::In(parent.0, &shown), result, |result| empty(reply, result));
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let write = flags.acc_mode() != OpenAccMode::O_RDONLY;
        match self.tree.open(asker(request).caller, ino.0, write) {
            // Else the kernel would have all others who write wait for a task.
            Ok(opened) if write && self.tree.is_control(ino.0) => {
                let flags = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
                reply.opened(FileHandle(opened.fh), flags);
            }
            Ok(opened) if write => reply.opened(FileHandle(opened.fh), FopenFlags::FOPEN_DIRECT_IO),
            Ok(opened) => {
                reply.opened(FileHandle(opened.fh), FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH);
            }
            Err(error) if is_absent(&error) => reply.error(code(&error)),
            Err(error) => reply.error(self.refuse(asker(request), "open", Place::At(ino.0), &error)),
        }
    }

    // A READ that has no lock owner fills a page of the kernel's (sendfile, splice, mmap). Pages and the
    // size they end at are shared by all who read the file, so beside a writer they mix and have NULs.
    // Who is refused a page reads instead.
    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        flags: OpenFlags,
        lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if lock_owner.is_none() {
            return reply.error(FuseErrno::EINVAL);
        }
        let asker = asker(request);
        let read =
            move |adapter: &Adapter| match adapter.tree.read(Opened { ino: ino.0, fh: fh.0 }, offset, size as usize) {
                Ok(bytes) => reply.data(&bytes),
                Err(error) => reply.error(adapter.refuse(asker, "read", Place::At(ino.0), &error)),
            };
        // One that may be written is held by what it asks for until that is mounted.
        let lane = match flags.acc_mode() != OpenAccMode::O_RDONLY && self.tree.is_mounted_entry(ino.0) {
            true => Some(&self.lanes.mount),
            false => self.lane(Opened { ino: ino.0, fh: fh.0 }, Work::Read, &[]),
        };
        match lane {
            Some(lane) => {
                let adapter = self.clone();
                lane.run(move || read(&adapter));
            }
            None => read(self),
        }
    }

    fn write(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (asker, append) = (asker(request), sys::fd::is_append(flags.0));
        let opened = Opened { ino: ino.0, fh: fh.0 };
        let write = move |adapter: &Adapter, data: &[u8]| {
            let result = adapter.tree.write(asker.origin, asker.caller, opened, offset, data, append);
            adapter.answer(asker, "write", Place::At(ino.0), result, |result| match result {
                Ok(bytes) => reply.written(bytes as u32),
                Err(errno) => reply.error(errno),
            });
        };
        match self.lane(opened, Work::Write, data) {
            Some(lane) => {
                let (adapter, data) = (self.clone(), data.to_owned());
                lane.run(move || write(&adapter, &data));
            }
            None => write(self, data),
        }
    }

    fn flush(&self, request: &Request, ino: INodeNo, fh: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        if self.tree.is_at_rest(fh.0) {
            return reply.ok();
        }
        let asker = asker(request);
        let flush = move |adapter: &Adapter| {
            match adapter.tree.flush(asker.origin, asker.caller, Opened { ino: ino.0, fh: fh.0 }) {
                // More may follow: whether bytes are lost shows at the last close, which notes it.
                Err(error) if is_incomplete(&error) => reply.error(code(&error)),
                result => adapter.answer(asker, "close", Place::At(ino.0), result, |result| empty(reply, result)),
            }
        };
        match self.lane(Opened { ino: ino.0, fh: fh.0 }, Work::Commit, &[]) {
            Some(lane) => {
                let adapter = self.clone();
                lane.run(move || flush(&adapter));
            }
            None => flush(self),
        }
    }

    fn release(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let (asker, opened) = (asker(request), Opened { ino: ino.0, fh: fh.0 });
        let release = move |adapter: &Adapter| {
            let result = adapter.tree.release(asker.origin, opened);
            adapter.answer(asker, "close", Place::At(opened.ino), result, |result| empty(reply, result));
        };
        self.commit(opened, release);
    }

    fn fsync(&self, request: &Request, ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let (asker, opened) = (asker(request), Opened { ino: ino.0, fh: fh.0 });
        let fsync = move |adapter: &Adapter| {
            let result = adapter.tree.fsync(asker.origin, opened);
            adapter.answer(asker, "fsync", Place::At(opened.ino), result, |result| empty(reply, result));
        };
        self.commit(opened, fsync);
    }

    fn fsyncdir(&self, _request: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn opendir(&self, request: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.tree.opendir(ino.0) {
            Ok(fh) => reply.opened(FileHandle(fh), FopenFlags::empty()),
            Err(error) if is_absent(&error) => reply.error(code(&error)),
            Err(error) => reply.error(self.refuse(asker(request), "opendir", Place::At(ino.0), &error)),
        }
    }

    fn readdir(&self, request: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.tree.opened_listing(ino.0, fh.0) {
            Ok(listing) => {
                for entry in listing.after(offset) {
                    if reply.add(INodeNo(entry.ino), entry.cookie, file_type(entry.kind), entry.name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(self.refuse(asker(request), "readdir", Place::At(ino.0), &error)),
        }
    }

    fn releasedir(&self, _request: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.tree.releasedir(fh.0);
        reply.ok();
    }

    // Constants: df and its like must never wait for the store.
    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        reply.statfs(0, 0, 0, 0, 0, 4096, 255, 4096);
    }

    // ENOSYS once, and the kernel asks no more.
    fn getxattr(&self, _request: &Request, _ino: INodeNo, _name: &OsStr, _size: u32, reply: ReplyXattr) {
        reply.error(FuseErrno::ENOSYS);
    }

    fn listxattr(&self, _request: &Request, _ino: INodeNo, _size: u32, reply: ReplyXattr) {
        reply.error(FuseErrno::ENOSYS);
    }

    fn ioctl(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(FuseErrno::ENOTTY);
    }
}

impl Adapter {
    fn refuse_new(&self, asker: Asker, op: &str, parent: INodeNo, name: &OsStr) -> FuseErrno {
        let name = name.to_string_lossy();
        match self.tree.refuse_new() {
            Err(error) => self.refuse(asker, op, Place::In(parent.0, &name), &error),
            Ok(()) => FuseErrno::EPERM,
        }
    }
}

fn empty(reply: ReplyEmpty, result: Result<(), FuseErrno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

/// Nanoseconds since 1970 of a time.
fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since: Duration| since.as_nanos() as u64)
}
