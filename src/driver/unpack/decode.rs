//! The first stage: reads the blob, hashes it, uncompresses it, and hands on what comes out.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use flate2::bufread::GzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::driver::hash::Hasher;
use crate::driver::unpack::{Limits, UnpackError};
use crate::model::digest::Digest;

const BUFFER: usize = 256 << 10;
const CHUNK: usize = 512 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The last three bytes of a skippable zstd frame's magic number; the first is 0x50 to 0x5f.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// A piece of the uncompressed stream, read by the writer and the hasher.
pub(super) type Chunk = Arc<Vec<u8>>;

/// What the decoder found.
pub(super) struct Decoded {
    /// Digest and size of the blob, where it was read to its end.
    pub(super) blob: Option<(Digest, u64)>,
    /// What stopped it before the stream's end.
    pub(super) failure: Option<UnpackError>,
}

/// A blob, hashed as it is read.
pub(super) struct Blob<'a, R> {
    reader: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    hasher: Hasher,
    size: u64,
    claimed: Option<(Digest, u64)>,
    progress: &'a (dyn Fn(u64) + Sync),
    /// Why reading failed; the decoders above see only that it did.
    failure: Option<UnpackError>,
}

impl<'a, R: Read> Blob<'a, R> {
    pub(super) fn new(reader: R, claimed: Option<(Digest, u64)>, progress: &'a (dyn Fn(u64) + Sync)) -> Blob<'a, R> {
        let buffer = vec![0; BUFFER].into_boxed_slice();
        let hasher = Hasher::default();
        Blob { reader, buffer, start: 0, end: 0, hasher, size: 0, claimed, progress, failure: None }
    }

    /// Reads once, behind what is buffered; false at the end.
    fn more(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let read = loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => break done,
            }
        };
        let read = read.map_err(|error| self.fail(UnpackError::Read(error)))?;
        self.hasher.update(&self.buffer[self.end..self.end + read]);
        self.end += read;
        self.size += read as u64;
        (self.progress)(read as u64);
        match self.claimed {
            Some((blob, claimed)) if self.size > claimed => {
                let found = self.size;
                Err(self.fail(UnpackError::BlobSize { blob, claimed, found, ended: false }))
            }
            _ => Ok(read > 0),
        }
    }

    fn fail(&mut self, failure: UnpackError) -> io::Error {
        self.failure.get_or_insert(failure);
        io::Error::other("the blob cannot be read")
    }

    /// The next bytes, fewer than asked for at the end only.
    fn peek(&mut self, bytes: usize) -> io::Result<&[u8]> {
        while self.end - self.start < bytes && self.more()? {}
        Ok(&self.buffer[self.start..self.end.min(self.start + bytes)])
    }

    fn drain(&mut self) -> io::Result<()> {
        loop {
            self.start = self.end;
            if !self.more()? {
                return Ok(());
            }
        }
    }
}

impl<R: Read> Read for Blob<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: Read> BufRead for Blob<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.more()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, bytes: usize) {
        self.start += bytes;
    }
}

/// Where the chunks go, and how much that may be.
struct Outputs<'a> {
    to: [SyncSender<Chunk>; 2],
    limits: &'a Limits,
    grown: u64,
}

/// Why no more is decoded.
enum Stop {
    Failed(UnpackError),
    /// The writer has heard enough.
    Unheard,
}

impl Outputs<'_> {
    /// Hands on all that a decoder gives; `read` says how much of the blob that took.
    fn pump<D: Read>(&mut self, mut decoder: D, form: &'static str, read: impl Fn(&D) -> u64) -> Result<(), Stop> {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let taken = (&mut decoder).take(CHUNK as u64).read_to_end(&mut chunk);
            let ends = chunk.len() < CHUNK;
            self.grown += chunk.len() as u64;
            if self.limits.is_swollen(self.grown, read(&decoder)) {
                return Err(Stop::Failed(UnpackError::Ratio { most: self.limits.ratio }));
            }
            let chunk = Arc::new(chunk);
            if self.to.iter().any(|output| output.send(Arc::clone(&chunk)).is_err()) {
                return Err(Stop::Unheard);
            }
            taken.map_err(|source| Stop::Failed(UnpackError::Decode { form, source }))?;
            if ends {
                return Ok(());
            }
        }
    }
}

fn decompress<R: Read>(blob: &mut Blob<'_, R>, mut outputs: Outputs<'_>) -> Result<(), Stop> {
    let unreadable = |source| Stop::Failed(UnpackError::Decode { form: "blob", source });
    let magic = blob.peek(4).map_err(unreadable)?;
    if magic == ZSTD || (magic.ends_with(&ZSTD_SKIPPABLE) && magic[0] & 0xf0 == 0x50) {
        let decoder = ZstdDecoder::with_buffer(&mut *blob).map_err(unreadable)?;
        return outputs.pump(decoder, "zstd", |decoder| decoder.get_ref().size);
    }
    if !magic.starts_with(&GZIP) {
        return outputs.pump(blob, "tar", |blob| blob.size);
    }
    // What stands behind the last member is no part of the stream, only of the blob's digest.
    while blob.peek(2).map_err(unreadable)? == GZIP {
        outputs.pump(GzDecoder::new(&mut *blob), "gzip", |decoder| decoder.get_ref().size)?;
    }
    Ok(())
}

/// Decodes a blob to its end. What is damaged is read to the end too, so that the digest can say so,
/// unless the writer has abandoned the layer.
pub(super) fn decode<R: Read>(
    mut blob: Blob<'_, R>,
    limits: &Limits,
    to: [SyncSender<Chunk>; 2],
    abandoned: &AtomicBool,
) -> Decoded {
    let stop = decompress(&mut blob, Outputs { to, limits, grown: 0 }).err();
    let failure = match stop {
        Some(Stop::Failed(failure)) => Some(blob.failure.take().unwrap_or(failure)),
        Some(Stop::Unheard) | None => None,
    };
    let may_go_on = failure.as_ref().is_none_or(|failure| failure.is_damage() && blob.claimed.is_some());
    if !may_go_on || abandoned.load(Ordering::Relaxed) {
        return Decoded { blob: None, failure };
    }
    match blob.drain() {
        Ok(()) => Decoded { blob: Some((blob.hasher.finish(), blob.size)), failure },
        Err(_) => Decoded { blob: None, failure: blob.failure.take() },
    }
}

/// The uncompressed stream as the writer reads it; it ends where the decoder stops.
pub(super) struct Chunks {
    from: Receiver<Chunk>,
    chunk: Chunk,
    at: usize,
}

impl Chunks {
    pub(super) fn new(from: Receiver<Chunk>) -> Chunks {
        Chunks { from, chunk: Chunk::default(), at: 0 }
    }
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.chunk.len() {
            match self.from.recv() {
                Ok(chunk) => (self.chunk, self.at) = (chunk, 0),
                Err(_) => break,
            }
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}
