//! A record gone through.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use serde::de::DeserializeOwned;
use zstd::Decoder;

use super::Entry;
use crate::driver::hash::Hasher;
use crate::model::digest::Digest;
use crate::sys::errno::is_damage;
use crate::sys::walk::{Kind, Pinned};

const PORTION: usize = 64 << 10;
/// More than a name, a symlink's target and some numbers take.
const ROW_MOST: usize = 64 << 10;
/// Whoever owns a tree may nest directories deeply, but not without an end.
const PATH_MOST: usize = 16 << 20;

/// What has become of a record.
#[derive(Debug)]
pub enum State {
    /// It is as it was written; its file, at the beginning.
    Whole(File),
    /// Its file is gone.
    Gone,
    /// Its file is another, or none that can be read.
    Another,
}

/// What has become of the record that has this digest.
///
/// # Errors
/// It is there and may not be read.
pub fn state(record: &Path, digest: Digest) -> io::Result<State> {
    let Some(pinned) = Pinned::at(record)? else { return Ok(State::Gone) };
    if pinned.meta()?.kind != Kind::File {
        return Ok(State::Another);
    }
    let (mut file, mut hasher) = (pinned.open()?, Hasher::default());
    match io::copy(&mut file, &mut hasher) {
        Err(error) if is_damage(&error) => return Ok(State::Another),
        copied => copied?,
    };
    file.rewind()?;
    Ok(if hasher.finish() == digest { State::Whole(file) } else { State::Another })
}

/// The entries of a record, which is known to be whole: one that does not decode was never one, and is
/// [`io::ErrorKind::InvalidData`].
pub(super) struct Reader {
    input: BufReader<Decoder<'static, BufReader<File>>>,
    path: Vec<u8>,
    read: u64,
}

impl Reader {
    /// Begins; also says what whoever made it saw of the host's files.
    pub(super) fn new(record: File) -> io::Result<(Reader, String)> {
        let input = BufReader::with_capacity(PORTION, Decoder::new(record)?);
        let mut reader = Reader { input, path: Vec::new(), read: 0 };
        let sight = reader.row()?.ok_or_else(|| invalid("it is empty"))?;
        Ok((reader, sight))
    }

    /// The next entry.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let Some(entry) = self.row::<Entry>()? else { return Ok(None) };
        let shared = usize::try_from(entry.shared).unwrap_or(usize::MAX);
        if shared > self.path.len() {
            return Err(invalid("a path that goes on from none"));
        }
        if shared + entry.rest.len() > PATH_MOST {
            return Err(invalid("a path that has no end"));
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
        let length = u32::from_le_bytes(length) as usize;
        if length > ROW_MOST {
            return Err(invalid("an entry that has no end"));
        }
        let mut bytes = vec![0; length];
        self.input.read_exact(&mut bytes).map_err(invalid_unless_kernels)?;
        postcard::from_bytes(&bytes).map(Some).map_err(invalid)
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn invalid_unless_kernels(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() { error } else { invalid(error) }
}
