//! Archives that cannot be read in place: from a pipe, or compressed. They are copied to a file first.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use super::error::ImageError;
use super::manifest::Coding;
use super::source::ArchiveFile;
use super::watch::{Outcome, Step, Watch, Watched};
use crate::driver::unpack::Limits;
use crate::sys::beneath::free_space;

const CHUNK: usize = 1 << 20;
/// What a copy leaves free: the server writes to the same filesystem meanwhile.
const LEFT: u64 = 16 << 20;
/// How a file begins that is compressed in a way that nobody here undoes.
const OTHERS: [&[u8]; 3] = [b"\xfd7zXZ\0", b"BZh", b"\x04\x22\x4d\x18"];
const LONGEST_MAGIC: u64 = 6;

/// Opens an archive so that any part of it can be read. A copy lies in `directory` without a name.
pub(super) fn seekable(
    source: &ArchiveFile,
    directory: &Path,
    limits: &Limits,
    watch: &dyn Watch,
) -> Result<File, ImageError> {
    let place = source.to_string();
    match source {
        ArchiveFile::StandardInput => copy(Box::new(io::stdin()), &place, None, directory, limits, watch),
        ArchiveFile::At(path) => {
            let file = File::open(path).map_err(ImageError::at(path))?;
            let entry = file.metadata().map_err(ImageError::at(path))?;
            if entry.is_dir() {
                return Err(ImageError::Unsupported { what: place, rule: "a directory, not an archive" });
            }
            let mut begin = [0; LONGEST_MAGIC as usize];
            if entry.is_file() {
                let length = file.read_at(&mut begin, 0).map_err(ImageError::at(path))?;
                if Coding::of(&begin[..length]) == Coding::Plain && !is_other(&begin[..length]) {
                    return Ok(file);
                }
            }
            copy(Box::new(file), &place, entry.is_file().then_some(entry.len()), directory, limits, watch)
        }
    }
}

fn is_other(begin: &[u8]) -> bool {
    OTHERS.iter().any(|magic| begin.starts_with(magic))
}

fn copy(
    input: Box<dyn Read + '_>,
    place: &str,
    size: Option<u64>,
    directory: &Path,
    limits: &Limits,
    watch: &dyn Watch,
) -> Result<File, ImageError> {
    let taken = Cell::new(0);
    let mut input = Counted { inner: Watched { inner: input, watch, counts: true }, taken: &taken };
    let failed = |cause: io::Error| match watch.is_cancelled() {
        true => ImageError::Cancelled,
        false => ImageError::Io { what: place.to_owned(), cause },
    };
    let step = Step::Spool { size };
    watch.begin(&step);
    let mut begin = Vec::new();
    input.by_ref().take(LONGEST_MAGIC).read_to_end(&mut begin).map_err(failed)?;
    if is_other(&begin) {
        let rule = "compressed in a way that is not known here: uncompress it first (gzip and zstd are known)";
        return Err(ImageError::Unsupported { what: place.to_owned(), rule });
    }
    let coding = Coding::of(&begin);
    let whole = io::Cursor::new(begin).chain(input);
    let mut plain: Box<dyn Read + '_> = match coding {
        Coding::Plain => Box::new(whole),
        Coding::Gzip => Box::new(MultiGzDecoder::new(whole)),
        Coding::Zstd => Box::new(ZstdDecoder::new(whole).map_err(failed)?),
    };
    let (mut spool, path) = nameless(directory)?;
    let (mut chunk, mut copied) = (vec![0; CHUNK], 0);
    loop {
        let read = match plain.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(failed)?,
        };
        if read == 0 {
            break;
        }
        let free = free_space(&spool).map_err(ImageError::at(&path))?;
        if free < LEFT + read as u64 {
            return Err(ImageError::NoRoom { place: place.to_owned(), copied, free });
        }
        spool.write_all(&chunk[..read]).map_err(ImageError::at(&path))?;
        copied += read as u64;
        if limits.is_swollen(copied, taken.get()) {
            return Err(ImageError::Swollen { place: place.to_owned(), most: limits.ratio });
        }
    }
    watch.end(&step, &Outcome::Copied(copied));
    Ok(spool)
}

/// A stream that tells how much was taken of it.
struct Counted<'a, R> {
    inner: R,
    taken: &'a Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.taken.set(self.taken.get() + read as u64);
        Ok(read)
    }
}

/// A file that goes as soon as it is closed, and the directory's path for words about it.
fn nameless(directory: &Path) -> Result<(File, std::path::PathBuf), ImageError> {
    let path = directory.join("spool");
    let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
    let file = opened.map_err(ImageError::at(&path))?;
    fs::remove_file(&path).map_err(ImageError::at(&path))?;
    Ok((file, path))
}
