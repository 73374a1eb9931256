//! A record made of a finished tree.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use serde::Serialize;
use zstd::Encoder;

use super::tree::{Seen, Tree, Xattrs};
use super::{Entry, FILE, Hash, Known, What};
use crate::driver::dirs::named;
use crate::driver::hash::Hasher;
use crate::model::digest::Digest;
use crate::sys::{fd, host};

/// Fast, and small enough: the hashes do not become smaller.
const LEVEL: i32 = 1;
/// Bytes that are compressed together.
const BATCH: usize = 64 << 10;

/// A tree that is complete, and what is known of it. Of one of which nothing is known extended attributes
/// are looked for, and what files hold is not recorded.
pub type Complete = (PathBuf, Option<Known>);

/// Records trees, each in a file beside it, and makes durable all that is on their filesystem. Returns
/// the files' digests.
///
/// # Errors
/// What the kernel says of a tree or a file, with its path.
pub fn settle(trees: &[Complete]) -> io::Result<Vec<Digest>> {
    let Some((first, _)) = trees.first() else { return Ok(vec![]) };
    let filesystem = File::open(first).map_err(|error| named(first, error))?;
    let sync = || fd::sync_filesystem(&filesystem).map_err(|error| named(first, error));
    let digests = thread::scope(|scope| {
        // By far the most is written while it is recorded.
        let most = scope.spawn(sync);
        let recorded = trees.iter().map(|(tree, known)| {
            let record = tree.with_file_name(FILE);
            write(tree, &record, known.as_ref()).map_err(|error| named(&record, error))
        });
        let digests = recorded.collect::<io::Result<Vec<Digest>>>();
        most.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        digests
    })?;
    sync()?;
    Ok(digests)
}

fn write(tree: &Path, record: &Path, known: Option<&Known>) -> io::Result<Digest> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(record)?;
    let mut encoder = Encoder::new(Hashed { file, hasher: Hasher::default() }, LEVEL)?;
    encoder.include_checksum(true)?;
    let mut out = BufWriter::with_capacity(BATCH, encoder);
    put(&mut out, &host::sight()?)?;
    let xattrs = known.map_or(Xattrs::Read, Xattrs::Known);
    let (mut tree, mut before, mut number) = (Tree::open(tree, xattrs)?, Vec::new(), 0);
    while let Some(seen) = tree.next()? {
        let link = tree.link(&seen.meta, number);
        let content = known.and_then(|known| known.contents.get(&seen.meta.identity.2)).copied();
        let path = tree.walk.path();
        put(&mut out, &entry(seen, &before, path, link, content))?;
        before.clear();
        before.extend_from_slice(path);
        number += 1;
    }
    let hashed = out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
    Ok(hashed.hasher.finish())
}

fn entry(seen: Seen, before: &[u8], path: &[u8], link: Option<u64>, content: Option<Hash>) -> Entry {
    let shared = before.iter().zip(path).take_while(|(one, other)| one == other).count();
    let what = match seen.what {
        What::File { size, .. } => What::File { size, content },
        other => other,
    };
    let meta = seen.meta;
    Entry {
        shared: u32::try_from(shared).unwrap_or(u32::MAX),
        rest: path[shared..].to_vec(),
        what,
        mode: meta.mode,
        uid: meta.uid,
        gid: meta.gid,
        mtime: meta.mtime,
        xattrs: seen.xattrs,
        link,
    }
}

/// A row: its length, and what postcard makes of it.
fn put(out: &mut impl Write, row: &impl Serialize) -> io::Result<()> {
    let bytes = postcard::to_allocvec(row).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&bytes)
}

/// A file whose bytes are hashed as they go there.
struct Hashed {
    file: File,
    hasher: Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
