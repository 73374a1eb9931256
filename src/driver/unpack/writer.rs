//! The last stage: entries become files.
//!
//! Directories stay closed to others and without their attributes until all entries are there, so that
//! neither a restrictive mode, a set-group-ID bit nor a default ACL touches what is made below them.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use crate::driver::record::{Content, Known};
use crate::driver::unpack::archive::{Archive, Body, Entry, What};
use crate::driver::unpack::attributes::{Attributes, inherited, opaque};
use crate::driver::unpack::error::{Problem, UnpackError, step};
use crate::driver::unpack::name::{Asks, PLINKS, asks, clean, split};
use crate::driver::unpack::{Options, Skipped};
use crate::sys::beneath::{self, Kind};

/// Directories kept open.
const OPEN: usize = 256;
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// What has been written.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) size: u64,
    pub(super) disk: u64,
    pub(super) entries: u64,
    pub(super) skipped: Skipped,
}

/// Why an entry is not written: itself, or the stream that it comes from.
enum Fault {
    Problem(Problem),
    Stream(UnpackError),
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Fault {
        Fault::Problem(problem)
    }
}

impl From<UnpackError> for Fault {
    fn from(error: UnpackError) -> Fault {
        Fault::Stream(error)
    }
}

/// An open directory of the layer.
struct Directory {
    fd: OwnedFd,
    /// Its path without symbolic links.
    path: Vec<u8>,
}

/// What a directory of the layer is to be like.
#[derive(Default)]
struct Closed {
    attributes: Attributes,
    opaque: bool,
}

/// What to do where a path to a directory leads to nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    /// Not below a whiteout: what is hidden with its directory needs no hiding.
    MakeUnlessHidden,
    Leave,
}

/// A layer being written.
pub(super) struct Writer<'a> {
    options: &'a Options<'a>,
    root: OwnedFd,
    root_path: Vec<u8>,
    /// Directories by the path that led there; emptied whenever something is replaced.
    open: HashMap<Vec<u8>, Rc<Directory>>,
    /// All directories, by paths without symbolic links.
    closed: BTreeMap<Vec<u8>, Closed>,
    tally: Tally,
    known: Known,
    /// Entries of the stream so far.
    read: u64,
    /// Bytes of extended attributes and of the keys of `closed`, so far.
    kept: u64,
    /// Bytes that the filesystem had free, less those written since.
    room: u64,
}

impl<'a> Writer<'a> {
    pub(super) fn new(root: OwnedFd, options: &'a Options<'a>) -> io::Result<Writer<'a>> {
        beneath::set_mode(&root, 0o700)?;
        beneath::remove_xattr(&root, DEFAULT_ACL)?;
        let attributes = inherited(b"", options)?.unwrap_or_default();
        Ok(Writer {
            options,
            root_path: beneath::path_of(&root)?,
            room: beneath::free_space(&root)?,
            root,
            open: HashMap::new(),
            closed: BTreeMap::from([(Vec::new(), Closed { attributes, opaque: false })]),
            tally: Tally::default(),
            known: Known::default(),
            read: 0,
            kept: 0,
        })
    }

    /// Writes an entry.
    pub(super) fn add<R: BufRead>(&mut self, mut entry: Entry, archive: &mut Archive<R>) -> Result<(), UnpackError> {
        self.put(&mut entry, archive).map_err(|fault| match fault {
            Fault::Problem(problem) => UnpackError::Entry { path: entry.path, problem },
            Fault::Stream(error) => error,
        })
    }

    fn put<R: BufRead>(&mut self, entry: &mut Entry, archive: &mut Archive<R>) -> Result<(), Fault> {
        self.read += 1;
        at_most("too many entries", self.read, self.options.limits.entries)?;
        let path = clean(&entry.path, &self.options.limits)?;
        let (above, name) = split(&path);
        match asks(&path)? {
            Asks::Nothing => self.tally.skipped.entries += 1,
            Asks::Opaque => {
                if let Some(dir) = self.directory(above, Missing::Make)? {
                    self.closed.entry(dir.path.clone()).or_default().opaque = true;
                }
            }
            Asks::Whiteout(hidden) => self.white_out(above, hidden)?,
            Asks::Entry => match std::mem::replace(&mut entry.what, What::Unknown) {
                What::Unknown => self.tally.skipped.entries += 1,
                What::Node { kind: Kind::Character | Kind::Block, .. } if !self.options.devices => {
                    self.tally.skipped.devices += 1;
                }
                What::Directory => self.add_directory(above, name, entry)?,
                _ if name.is_empty() => return Err(Problem::Name("the root of a layer is a directory").into()),
                What::Link(target) => self.add_link(above, name, &target)?,
                What::File(body) => self.add_file(above, name, &body, entry, archive)?,
                What::Symlink(target) => self.add_symlink(above, name, &target, entry)?,
                What::Node { kind, major, minor } => {
                    let dir = self.parent(above)?;
                    self.make(&dir, name, "make the node", || beneath::make_node(&dir.fd, name, kind, major, minor))?;
                    self.finish_entry(&dir, name, kind, entry)?;
                }
            },
        }
        Ok(())
    }

    fn parent(&mut self, path: &[u8]) -> Result<Rc<Directory>, Problem> {
        self.directory(path, Missing::Make)?.ok_or_else(|| Problem::NoDirectory(path.to_vec()))
    }

    /// A whiteout speaks of the layers below only: what this layer has itself stays, wherever it stands in
    /// the stream, but lower content of a directory does not show.
    fn white_out(&mut self, above: &[u8], hidden: &[u8]) -> Result<(), Problem> {
        let Some(dir) = self.directory(above, Missing::MakeUnlessHidden)? else { return Ok(()) };
        match beneath::look(&dir.fd, hidden).map_err(step("look at what is hidden"))? {
            None => {
                beneath::make_whiteout(&dir.fd, hidden).map_err(step("make the whiteout"))?;
                self.tally.entries += 1;
                let made = beneath::look(&dir.fd, hidden).map_err(step("look at the whiteout"))?;
                // The inode may have been another's.
                made.iter().for_each(|made| self.known.xattrs(made.inode, &[]));
                Ok(())
            }
            Some(look) => {
                if look.kind == Kind::Directory {
                    self.closed.entry(join(&dir.path, hidden)).or_default().opaque = true;
                }
                Ok(())
            }
        }
    }

    fn add_directory(&mut self, above: &[u8], name: &[u8], entry: &mut Entry) -> Result<(), Problem> {
        let attributes = self.attributes(entry)?;
        if name.is_empty() {
            self.closed.entry(Vec::new()).or_default().attributes = attributes;
            return Ok(());
        }
        let dir = self.parent(above)?;
        let look = beneath::look(&dir.fd, name).map_err(step("look at what is there"))?;
        let path = join(&dir.path, name);
        if look.is_some_and(|look| look.kind == Kind::Directory) {
            self.closed.entry(path).or_default().attributes = attributes;
            return Ok(());
        }
        if look.is_some() {
            self.vacate(&dir, name)?;
        }
        self.make_directory(&dir, name, Closed { attributes, opaque: look.is_some_and(|look| look.is_whiteout()) })?;
        Ok(())
    }

    fn add_link(&mut self, above: &[u8], name: &[u8], target: &[u8]) -> Result<(), Problem> {
        let clean_target = clean(target, &self.options.limits)?;
        let missing = || Problem::NoTarget(target.to_vec());
        let (target_above, target_name) = split(&clean_target);
        let from = self.directory(target_above, Missing::Leave)?.ok_or_else(missing)?;
        let look = beneath::look(&from.fd, target_name).map_err(step("look at the link's target"))?;
        let look = look.ok_or_else(missing)?;
        if look.kind == Kind::Directory {
            return Err(Problem::Name("a hard link to a directory"));
        }
        self.known.linked(look.inode);
        let dir = self.parent(above)?;
        if from.path == dir.path && target_name == name {
            return Ok(());
        }
        self.make(&dir, name, "make the link", || beneath::make_link(&from.fd, target_name, &dir.fd, name))
    }

    fn add_symlink(&mut self, above: &[u8], name: &[u8], target: &[u8], entry: &mut Entry) -> Result<(), Problem> {
        at_most("too many bytes in a link's target", target.len() as u64, self.options.limits.path as u64)?;
        let dir = self.parent(above)?;
        self.make(&dir, name, "make the link", || beneath::make_symlink(&dir.fd, name, target))?;
        self.finish_entry(&dir, name, Kind::Symlink, entry)
    }

    fn add_file<R: BufRead>(
        &mut self,
        above: &[u8],
        name: &[u8],
        body: &Body,
        entry: &mut Entry,
        archive: &mut Archive<R>,
    ) -> Result<(), Fault> {
        let attributes = self.attributes(entry)?;
        self.reserve(body)?;
        let dir = self.parent(above)?;
        let file = self.make(&dir, name, "make the file", || beneath::make_file(&dir.fd, name))?;
        let (mut end, mut content) = (0, Content::new(body.size));
        for region in &body.regions {
            end = region.offset;
            archive.copy(region.length, |bytes| {
                file.write_all_at(bytes, end).map_err(step("write"))?;
                content.take(end, bytes);
                end += bytes.len() as u64;
                Ok::<(), Fault>(())
            })?;
        }
        if end != body.size || body.regions.last().is_some_and(|region| region.length == 0) {
            file.set_len(body.size).map_err(step("write"))?;
        }
        let look = self.dress(&file, Kind::File, &attributes)?;
        self.known.file(&look, content.finish());
        Ok(())
    }

    /// Holds a file against the limits and the room on the disk.
    fn reserve(&mut self, body: &Body) -> Result<(), Problem> {
        let size = self.tally.size.saturating_add(body.size);
        at_most("too many bytes of files", size, self.options.limits.size)?;
        let needed = body.stored();
        if needed > self.room {
            self.room = beneath::free_space(&self.root).map_err(step("ask for free space"))?;
        }
        if needed > self.room {
            return Err(Problem::NoSpace { needed, free: self.room });
        }
        self.room -= needed;
        Ok(())
    }

    fn finish_entry(&mut self, dir: &Directory, name: &[u8], kind: Kind, entry: &mut Entry) -> Result<(), Problem> {
        let attributes = self.attributes(entry)?;
        let fd = beneath::entry(&dir.fd, name).map_err(step("open it"))?;
        self.dress(&fd, kind, &attributes)?;
        Ok(())
    }

    /// Gives an entry its attributes and counts it. Returns what it is then.
    fn dress(&mut self, fd: impl AsFd, kind: Kind, attributes: &Attributes) -> Result<beneath::Look, Problem> {
        attributes.give(&fd, kind)?;
        let look = beneath::look_at(&fd).map_err(step("look at it"))?;
        self.tally.size += look.size;
        self.tally.disk += look.disk;
        self.note_xattrs(&fd, look.inode, !attributes.xattrs.is_empty())?;
        Ok(look)
    }

    /// Notes extended attributes as the filesystem keeps them, if there are any.
    fn note_xattrs(&mut self, fd: impl AsFd, inode: u64, any: bool) -> Result<(), Problem> {
        let xattrs = if any { beneath::xattrs(&fd).map_err(step("look at its extended attributes"))? } else { vec![] };
        self.known.xattrs(inode, &xattrs);
        Ok(())
    }

    fn attributes(&mut self, entry: &mut Entry) -> Result<Attributes, Problem> {
        let (attributes, skipped) = Attributes::of(entry, self.options)?;
        self.tally.skipped.xattrs += skipped;
        let bytes: usize = attributes.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.keep(bytes)?;
        Ok(attributes)
    }

    fn keep(&mut self, bytes: usize) -> Result<(), Problem> {
        self.kept += bytes as u64;
        at_most("too many bytes of attributes and directory names", self.kept, self.options.limits.attributes)
    }

    /// Makes something at a name, in place of what is there.
    fn make<T>(
        &mut self,
        dir: &Directory,
        name: &[u8],
        what: &'static str,
        make: impl Fn() -> io::Result<T>,
    ) -> Result<T, Problem> {
        let made = match make() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.vacate(dir, name)?;
                make()
            }
            done => done,
        };
        let made = made.map_err(step(what))?;
        self.tally.entries += 1;
        Ok(made)
    }

    /// Removes what is at a name, and forgets what was known of it.
    fn vacate(&mut self, dir: &Directory, name: &[u8]) -> Result<(), Problem> {
        let freed = beneath::remove_tree(&dir.fd, name).map_err(step("replace what is there"))?;
        self.tally.size -= freed.size;
        self.tally.disk -= freed.disk;
        self.tally.entries -= freed.entries;
        self.open.clear();
        let path = join(&dir.path, name);
        if self.closed.remove(&path).is_some() {
            let below = [&path[..], b"/"].concat();
            let gone = self.closed.range(below.clone()..).take_while(|(other, _)| other.starts_with(&below));
            for other in gone.map(|(other, _)| other.clone()).collect::<Vec<_>>() {
                self.closed.remove(&other);
            }
        }
        Ok(())
    }

    /// A directory of the layer, by a path whose symbolic links stay within the layer. Those that are
    /// missing are made as they are in the layers below.
    fn directory(&mut self, path: &[u8], missing: Missing) -> Result<Option<Rc<Directory>>, Problem> {
        if let Some(known) = self.open.get(path) {
            return Ok(Some(Rc::clone(known)));
        }
        let found = match self.find(path).map_err(step("open the directory above it"))? {
            Some(found) => found,
            None if missing == Missing::Leave => return Ok(None),
            None => {
                let (above, name) = split(path);
                let Some(dir) = self.directory(above, missing)? else { return Ok(None) };
                match beneath::look(&dir.fd, name).map_err(step("look at the directory above it"))? {
                    None => {
                        let below = inherited(&join(&dir.path, name), self.options)
                            .map_err(step("look at the layers below"))?;
                        let attributes = below.unwrap_or_default();
                        self.make_directory(&dir, name, Closed { attributes, opaque: false })?
                    }
                    Some(look) if look.is_whiteout() && missing == Missing::MakeUnlessHidden => return Ok(None),
                    Some(look) if look.is_whiteout() => {
                        self.vacate(&dir, name)?;
                        self.make_directory(&dir, name, Closed { opaque: true, ..Closed::default() })?
                    }
                    Some(_) => return Err(Problem::NoDirectory(path.to_vec())),
                }
            }
        };
        if self.open.len() >= OPEN {
            self.open.clear();
        }
        let found = Rc::new(found);
        self.open.insert(path.to_vec(), Rc::clone(&found));
        Ok(Some(found))
    }

    fn find(&self, path: &[u8]) -> io::Result<Option<Directory>> {
        if let Some(fd) = beneath::directory_beneath(&self.root, path)? {
            return Ok(Some(Directory { fd, path: path.to_vec() }));
        }
        let Some(fd) = beneath::directory_in_root(&self.root, path)? else { return Ok(None) };
        let real = beneath::path_of(&fd)?;
        let real = real.strip_prefix(&self.root_path[..]).ok_or(io::ErrorKind::NotFound)?;
        Ok(Some(Directory { path: real.strip_prefix(b"/").unwrap_or(real).to_vec(), fd }))
    }

    fn make_directory(&mut self, dir: &Directory, name: &[u8], closed: Closed) -> Result<Directory, Problem> {
        let path = join(&dir.path, name);
        self.keep(path.len())?;
        beneath::make_directory(&dir.fd, name).map_err(step("make the directory"))?;
        self.tally.entries += 1;
        let fd = beneath::entry(&dir.fd, name).map_err(step("open the directory"))?;
        self.closed.insert(path.clone(), closed);
        Ok(Directory { fd, path })
    }

    /// Gives the directories their attributes, the deepest first.
    pub(super) fn finish(mut self) -> Result<(Tally, Known), UnpackError> {
        let entry = |path: &[u8], problem| UnpackError::Entry { path: path.to_vec(), problem };
        if self.closed.contains_key(PLINKS) {
            let root = Directory {
                fd: self.root.try_clone().map_err(step("open the root")).map_err(|problem| entry(b".", problem))?,
                path: Vec::new(),
            };
            self.vacate(&root, PLINKS).map_err(|problem| entry(PLINKS, problem))?;
        }
        for (path, closed) in std::mem::take(&mut self.closed).iter().rev() {
            let disk = self.close(path, closed).map_err(|problem| entry(path, problem))?;
            // The root is counted neither as an entry nor by what it takes.
            self.tally.disk += if path.is_empty() { 0 } else { disk };
        }
        Ok((self.tally, self.known))
    }

    fn close(&mut self, path: &[u8], closed: &Closed) -> Result<u64, Problem> {
        let fd = beneath::directory_beneath(&self.root, path).map_err(step("open the directory"))?;
        let fd = fd.ok_or_else(|| Problem::NoDirectory(path.to_vec()))?;
        if closed.opaque {
            beneath::set_xattr(&fd, opaque(self.options.userxattr), b"y").map_err(step("make it opaque"))?;
        }
        closed.attributes.give(&fd, Kind::Directory)?;
        let look = beneath::look_at(&fd).map_err(step("look at it"))?;
        self.note_xattrs(&fd, look.inode, closed.opaque || !closed.attributes.xattrs.is_empty())?;
        Ok(look.disk)
    }
}

fn join(above: &[u8], name: &[u8]) -> Vec<u8> {
    if above.is_empty() { name.to_vec() } else { [above, b"/", name].concat() }
}

fn at_most(what: &'static str, found: u64, most: u64) -> Result<(), Problem> {
    if found > most { Err(Problem::TooMuch { what, most }) } else { Ok(()) }
}
