//! Layers unpacked from tar streams, verified while they stream.
//!
//! ```text
//! blob -> sha256 -> gunzip, unzstd -+-> tar -> openat2, mkdirat, ...    decode | archive, writer
//!                                   +-> sha256                          diff-id
//! ```
//!
//! Three threads, with a bounded number of chunks between them. The tree that comes out is a layer as
//! overlayfs wants it: whiteouts are character devices 0:0, opaque directories carry an attribute.
//! Nothing is made outside the directory, whatever the stream says, and a failure leaves the directory
//! half full: removing it, as making it durable, is the caller's.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::driver::hash::Hasher;
use crate::driver::record::Known;
use crate::model::digest::Digest;
use crate::sys::beneath;

mod archive;
mod attributes;
mod decode;
mod error;
mod name;
mod writer;

pub use error::{Problem, UnpackError};

use archive::Archive;
use decode::{Blob, Chunk, Chunks, Decoded};
use writer::{Tally, Writer};

/// Chunks that wait between two threads.
const WAITING: usize = 8;

/// What a manifest and a config claim of a layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claim {
    /// Digest and size of the blob.
    pub blob: Option<(Digest, u64)>,
    /// Digest of the uncompressed tar stream.
    pub diff_id: Option<Digest>,
}

/// How much a layer may hold, and an archive that is copied first. What goes beyond is refused.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Entries of the stream.
    pub entries: u64,
    /// Directories above an entry.
    pub depth: usize,
    /// Bytes of a path, and of a link's target.
    pub path: usize,
    /// Bytes of files as they appear, holes included.
    pub size: u64,
    /// Bytes of names, attributes and sparse maps before one entry.
    pub headers: u32,
    /// Bytes of the extended attributes and directory names of all entries.
    pub attributes: u64,
    /// Regions of a sparse file.
    pub regions: usize,
    /// Bytes that one byte of a blob or archive may become, on the whole, once `grown` bytes have come out.
    pub ratio: u64,
    /// Up to here the ratio is of no interest.
    pub grown: u64,
}

impl Limits {
    /// Whether so many bytes have come out of so few that nothing honest is compressed like this.
    pub fn is_swollen(&self, grown: u64, read: u64) -> bool {
        grown > self.grown && grown / self.ratio > read
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            entries: 5_000_000,
            depth: 512,
            path: 4095,
            size: 1 << 40,
            headers: 1 << 20,
            attributes: 256 << 20,
            regions: 10_000,
            ratio: 500,
            grown: 4 << 30,
        }
    }
}

/// How to unpack.
pub struct Options<'a> {
    /// Whether overlayfs will look for its attributes as `user.overlay.*`.
    pub userxattr: bool,
    /// The layers below, topmost first: directories that the stream does not list look as they do there.
    pub parents: &'a [OwnedFd],
    /// How much the layer may hold.
    pub limits: Limits,
    /// Whether device nodes may be made. Without, this is a user namespace: they are left out, and
    /// attributes that such a user may not set, too.
    pub devices: bool,
    /// Hears how many more bytes of the blob have been read.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// What was left out, by the number of times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Skipped {
    /// Device nodes, which only the host's root makes.
    pub devices: u64,
    /// Extended attributes: overlayfs's own, SELinux labels, and what only the host's root sets.
    pub xattrs: u64,
    /// Entries of kinds that no layer holds, and bookkeeping of aufs.
    pub entries: u64,
}

/// A layer that has been unpacked and is what was claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unpacked {
    /// Digest of the uncompressed tar stream.
    pub diff_id: Digest,
    /// Digest of the blob.
    pub blob: Digest,
    /// Size of the blob.
    pub blob_size: u64,
    /// Apparent size: files with several names once, directories 0.
    pub size: u64,
    /// Bytes that it takes on the disk.
    pub disk: u64,
    /// Names in the tree, whiteouts and directories that the stream does not list among them.
    pub entries: u64,
    /// What was left out.
    pub skipped: Skipped,
}

/// Unpacks a blob into an empty directory, which becomes the layer's root. Also returns what its record
/// needs to know.
pub fn unpack(
    blob: impl Read + Send,
    root: &Path,
    claim: &Claim,
    options: &Options<'_>,
) -> Result<(Unpacked, Known), UnpackError> {
    let abandoned = AtomicBool::new(false);
    let (to_writer, for_writer) = sync_channel::<Chunk>(WAITING);
    let (to_hasher, for_hasher) = sync_channel::<Chunk>(WAITING);
    thread::scope(|scope| {
        let decoder = scope.spawn(|| {
            let blob = Blob::new(blob, claim.blob, options.progress);
            decode::decode(blob, &options.limits, [to_writer, to_hasher], &abandoned)
        });
        let hasher = scope.spawn(|| hash(for_hasher));
        let written = {
            let mut archive = Archive::new(Chunks::new(for_writer), &options.limits);
            let written = write(&mut archive, root, options);
            // Said before the channel closes: the decoder asks when it finds that nobody listens.
            abandoned.store(matches!(&written, Err(error) if !error.is_damage()), Ordering::Relaxed);
            written
        };
        let decoded = join(decoder);
        let diff_id = join(hasher);
        verdict(written, decoded, diff_id, claim)
    })
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn hash(chunks: Receiver<Chunk>) -> Digest {
    let mut hasher = Hasher::default();
    for chunk in chunks {
        hasher.update(chunk.as_slice());
    }
    hasher.finish()
}

/// Reads the whole stream, also what follows the end of the archive: the digest covers it.
fn write(archive: &mut Archive<Chunks>, root: &Path, options: &Options<'_>) -> Result<(Tally, Known), UnpackError> {
    let opened = beneath::directory(root).and_then(|root| Writer::new(root, options));
    let mut writer = opened.map_err(|source| UnpackError::Root { path: root.to_owned(), source })?;
    while let Some(entry) = archive.next()? {
        writer.add(entry, archive)?;
    }
    let written = writer.finish()?;
    archive.drain().map_err(UnpackError::Read)?;
    Ok(written)
}

/// What comes of the three threads. A blob that is not the one claimed is called that, whatever it looked
/// like to those who read its content.
fn verdict(
    written: Result<(Tally, Known), UnpackError>,
    decoded: Decoded,
    diff_id: Digest,
    claim: &Claim,
) -> Result<(Unpacked, Known), UnpackError> {
    let written = match written {
        Err(error) if !error.is_damage() => return Err(error),
        written => written,
    };
    if let (Some((digest, size)), Some((claimed, claimed_size))) = (decoded.blob, claim.blob) {
        if size != claimed_size {
            return Err(UnpackError::BlobSize { blob: claimed, claimed: claimed_size, found: size, ended: true });
        }
        if digest != claimed {
            return Err(UnpackError::BlobDigest { claimed, found: digest });
        }
    }
    if let Some(failure) = decoded.failure {
        return Err(failure);
    }
    let (Tally { size, disk, entries, skipped }, known) = written?;
    // Without a failure the blob was read to its end.
    let (blob, blob_size) = decoded.blob.ok_or_else(|| UnpackError::Read(io::ErrorKind::UnexpectedEof.into()))?;
    if let Some(claimed) = claim.diff_id.filter(|claimed| *claimed != diff_id) {
        return Err(UnpackError::DiffId { blob, claimed, found: diff_id });
    }
    Ok((Unpacked { diff_id, blob, blob_size, size, disk, entries, skipped }, known))
}
