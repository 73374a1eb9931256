//! A tar stream in the making.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

use tar_core::HEADER_SIZE;

use super::header::{self, Entry};
use super::{ExportError, Warn, Warning, is_local_xattr, path};
use crate::sys::walk::{Identity, Kind, Meta, Pinned, next_data};

/// How much is read and written at a time. Measured beside sendfile(2) into files and pipes: no
/// slower, and it goes to everything that can be written to.
const CHUNK: usize = 1 << 20;
/// Runs of data beyond which a file with holes is written whole; readers have limits.
const MAX_RUNS: usize = 4096;
/// The end of an archive.
const END: [u8; 2 * HEADER_SIZE] = [0; 2 * HEADER_SIZE];

pub(super) struct Archive<'a> {
    out: BufWriter<&'a mut dyn Write>,
    /// Files with several names that were written, and by which.
    linked: HashMap<Identity, Vec<u8>>,
    chunk: Vec<u8>,
    warn: Warn<'a>,
}

impl<'a> Archive<'a> {
    pub(super) fn new(out: &'a mut dyn Write, warn: Warn<'a>) -> Archive<'a> {
        let out = BufWriter::with_capacity(CHUNK, out);
        Archive { out, linked: HashMap::new(), chunk: vec![0; CHUNK], warn }
    }

    /// Tells what is left out.
    pub(super) fn warn(&mut self, warning: Warning) {
        (self.warn)(warning);
    }

    /// Writes an entry with its data. Directories get a `/` behind their path, which is `.` at the top.
    pub(super) fn entry(&mut self, at: &[u8], pinned: &Pinned, meta: &Meta) -> Result<(), ExportError> {
        let unreadable = |cause| ExportError::Entry { path: path(at), cause };
        match meta.kind {
            Kind::Socket => {
                self.warn(Warning::Socket(path(at)));
                return Ok(());
            }
            Kind::Directory => {
                let xattrs = self.xattrs(at, pinned)?;
                return self.header(&Entry { path: &[at, b"/"].concat(), xattrs: &xattrs, ..Entry::default() }, meta);
            }
            _ => {}
        }
        if meta.links > 1 {
            if let Some(first) = self.linked.get(&meta.identity).cloned() {
                return self.header(&Entry { path: at, first: Some(&first), ..Entry::default() }, meta);
            }
            self.linked.insert(meta.identity, at.to_vec());
        }
        let target = (meta.kind == Kind::Symlink).then(|| pinned.target()).transpose().map_err(unreadable)?;
        let xattrs = self.xattrs(at, pinned)?;
        let entry = Entry { path: at, target: target.as_deref(), xattrs: &xattrs, ..Entry::default() };
        match meta.kind {
            Kind::File => self.file(entry, &pinned.open().map_err(unreadable)?, meta),
            _ => self.header(&entry, meta),
        }
    }

    /// Writes an empty file that means something to who unpacks a layer.
    pub(super) fn mark(&mut self, at: &[u8], meta: &Meta) -> Result<(), ExportError> {
        let meta = Meta { kind: Kind::File, size: 0, mode: 0, uid: 0, gid: 0, ..meta.clone() };
        self.header(&Entry { path: at, ..Entry::default() }, &meta)
    }

    /// Ends the stream.
    pub(super) fn finish(mut self) -> Result<(), ExportError> {
        self.write(&END)?;
        self.out.flush().map_err(ExportError::Output)
    }

    fn file(&mut self, entry: Entry<'_>, file: &File, meta: &Meta) -> Result<(), ExportError> {
        let at = entry.path;
        let unreadable = |cause| ExportError::Entry { path: path(at), cause };
        let runs = match meta.disk < meta.size {
            true => runs(file, meta.size).map_err(unreadable)?,
            false => None,
        };
        self.header(&Entry { sparse: runs.as_deref(), ..entry }, meta)?;
        let (mut is_whole, mut written) = (true, 0);
        for (begin, end) in runs.unwrap_or_else(|| vec![(0, meta.size)]) {
            is_whole &= self.data(file, begin, end, &unreadable)?;
            written += end - begin;
        }
        if !is_whole {
            self.warn(Warning::Shrank(path(at)));
        }
        let blocks = written.next_multiple_of(HEADER_SIZE as u64);
        self.write(&END[..(blocks - written) as usize])
    }

    /// Writes a run of a file's data as long as it was said to be; says whether all of it was there.
    fn data(
        &mut self,
        file: &File,
        begin: u64,
        end: u64,
        unreadable: &impl Fn(io::Error) -> ExportError,
    ) -> Result<bool, ExportError> {
        let (mut offset, mut is_whole) = (begin, true);
        while offset < end {
            let wanted = usize::try_from(end - offset).unwrap_or(CHUNK).min(CHUNK);
            let length = match file.read_at(&mut self.chunk[..wanted], offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                length => length.map_err(unreadable)?,
            };
            if length == 0 {
                is_whole = false;
                self.chunk[..wanted].fill(0);
            }
            let taken = if length == 0 { wanted } else { length };
            self.out.write_all(&self.chunk[..taken]).map_err(ExportError::Output)?;
            offset += taken as u64;
        }
        Ok(is_whole)
    }

    fn xattrs(&mut self, at: &[u8], pinned: &Pinned) -> Result<Vec<(String, Vec<u8>)>, ExportError> {
        let found = pinned.xattrs().map_err(|cause| ExportError::Entry { path: path(at), cause })?;
        let mut xattrs = Vec::new();
        for (name, value) in found.into_iter().filter(|(name, _)| !is_local_xattr(name)) {
            match String::from_utf8(name) {
                Ok(name) if !name.contains('=') => xattrs.push((name, value)),
                Ok(name) => self.warn(Warning::Xattr(path(at), name)),
                Err(name) => {
                    let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
                    self.warn(Warning::Xattr(path(at), name));
                }
            }
        }
        Ok(xattrs)
    }

    fn header(&mut self, entry: &Entry<'_>, meta: &Meta) -> Result<(), ExportError> {
        let blocks = header::encode(entry, meta).map_err(|error| ExportError::Entry {
            path: path(entry.path),
            cause: io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        self.write(&blocks)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.out.write_all(bytes).map_err(ExportError::Output)
    }
}

/// Where a file has data, if it has holes; a hole at its end is an empty run there.
fn runs(file: &File, size: u64) -> io::Result<Option<Vec<(u64, u64)>>> {
    let (mut runs, mut offset) = (Vec::new(), 0);
    while let Some((begin, end)) = next_data(file, offset)?.filter(|(begin, _)| *begin < size) {
        offset = end.min(size);
        runs.push((begin, offset));
        if runs.len() > MAX_RUNS {
            return Ok(None);
        }
        if offset == size {
            break;
        }
    }
    if runs == [(0, size)] {
        return Ok(None);
    }
    if offset < size {
        runs.push((size, size));
    }
    Ok(Some(runs))
}
