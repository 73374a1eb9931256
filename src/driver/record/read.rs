//! A record gone through.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::de::DeserializeOwned;
use zstd::Decoder;

use super::Entry;
use crate::driver::hash::Hasher;
use crate::model::digest::Digest;

const PORTION: usize = 64 << 10;

/// What has become of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It is as it was written.
    Whole,
    /// Its file is gone.
    Gone,
    /// Its file is another.
    Another,
}

/// Whether the file of a record has this digest.
///
/// # Errors
/// It is there and cannot be read.
pub fn state(record: &Path, digest: Digest) -> io::Result<State> {
    let mut file = match File::open(record) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(State::Gone);
        }
        file => file?,
    };
    let (mut hasher, mut buffer) = (Hasher::default(), vec![0; PORTION]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => hasher.update(&buffer[..read]),
            // A directory in its place.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Ok(State::Another),
            Err(error) => return Err(error),
        }
    }
    Ok(if hasher.finish() == digest { State::Whole } else { State::Another })
}

/// The entries of a record, which is known to be whole: one that does not decode was never one, and is
/// [`io::ErrorKind::InvalidData`].
pub(super) struct Reader {
    input: BufReader<Decoder<'static, BufReader<File>>>,
    path: Vec<u8>,
    read: u64,
}

impl Reader {
    /// Opens it; also the ID maps by which owners were seen.
    pub(super) fn open(record: &Path) -> io::Result<(Reader, String)> {
        let input = BufReader::with_capacity(PORTION, Decoder::new(File::open(record)?)?);
        let mut reader = Reader { input, path: Vec::new(), read: 0 };
        let maps = reader.row()?.ok_or_else(|| invalid("it is empty"))?;
        Ok((reader, maps))
    }

    /// The next entry.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let Some(entry) = self.row::<Entry>()? else { return Ok(None) };
        let shared = usize::try_from(entry.shared).unwrap_or(usize::MAX);
        if shared > self.path.len() {
            return Err(invalid("a path that goes on from none"));
        }
        self.path.truncate(shared);
        self.path.extend_from_slice(&entry.rest);
        self.read += 1;
        Ok(Some(entry))
    }

    /// The path of the entry that came last.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Its number.
    pub(super) fn number(&self) -> u64 {
        self.read - 1
    }

    fn row<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        if self.input.fill_buf().map_err(invalid_unless_kernels)?.is_empty() {
            return Ok(None);
        }
        let mut length = [0; 4];
        self.input.read_exact(&mut length).map_err(invalid_unless_kernels)?;
        let (length, mut bytes) = (u32::from_le_bytes(length), Vec::new());
        // What is not there takes no memory.
        self.input.by_ref().take(length.into()).read_to_end(&mut bytes).map_err(invalid_unless_kernels)?;
        postcard::from_bytes(&bytes).map(Some).map_err(invalid)
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn invalid_unless_kernels(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() { error } else { invalid(error) }
}
