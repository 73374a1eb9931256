//! The files of a layout, be it a directory or an archive, and what is read from them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::archive::Archive;
use super::error::ImageError;
use crate::sys::fd;

/// The most bytes of a manifest, an index or a config: what registries take (distribution spec).
const MAX_DOCUMENT: u64 = 4 << 20;

/// A part of a file, read by its own position: several can be read at a time.
#[derive(Debug, Clone)]
pub(super) struct Section {
    file: Arc<File>,
    at: u64,
    size: u64,
}

impl Section {
    /// `size` bytes of a file from `at` on.
    pub(super) fn new(file: Arc<File>, at: u64, size: u64) -> Section {
        Section { file, at, size }
    }

    /// How many bytes are left.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Section {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = into.len().min(usize::try_from(self.size).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        match self.file.read_at(&mut into[..wanted], self.at)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.at += read as u64;
                self.size -= read as u64;
                Ok(read)
            }
        }
    }
}

/// Where the files of an image are.
#[derive(Debug)]
pub(super) enum Files {
    /// In a directory; no symlink in it is followed.
    Directory { root: File, place: String },
    /// In a tar file.
    Archive(Archive),
}

impl Files {
    /// The directory at `path`.
    pub(super) fn of_directory(path: &Path) -> Result<Files, ImageError> {
        let root = fd::open_directory(path).map_err(ImageError::at(path))?;
        Ok(Files::Directory { root, place: path.display().to_string() })
    }

    /// Where they are, for people.
    pub(super) fn place(&self) -> &str {
        match self {
            Files::Directory { place, .. } => place,
            Files::Archive(archive) => archive.place(),
        }
    }

    /// A file, if it is there.
    pub(super) fn find(&self, path: &str) -> Result<Option<Section>, ImageError> {
        match self {
            Files::Archive(archive) => archive.find(path),
            Files::Directory { root, place } => {
                let named = || format!("{place}/{path}");
                match fd::open_file_inside(root, Path::new(path)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(cause) => Err(ImageError::Io { what: named(), cause }),
                    Ok(file) => {
                        let size = file.metadata().map_err(ImageError::io(named()))?.len();
                        Ok(Some(Section::new(Arc::new(file), 0, size)))
                    }
                }
            }
        }
    }

    /// A file that must be there.
    pub(super) fn get(&self, path: &str) -> Result<Section, ImageError> {
        let missing = || ImageError::Missing { place: self.place().to_owned(), file: path.to_owned() };
        self.find(path)?.ok_or_else(missing)
    }

    /// The whole of a document that must be there.
    pub(super) fn document(&self, path: &str) -> Result<Vec<u8>, ImageError> {
        read_document(self.get(path)?, &format!("{}: {path}", self.place()))
    }
}

/// Reads the whole of a document.
pub(super) fn read_document(mut section: Section, what: &str) -> Result<Vec<u8>, ImageError> {
    if section.size() > MAX_DOCUMENT {
        return Err(ImageError::TooLong { what: what.to_owned(), limit: MAX_DOCUMENT });
    }
    let mut text = Vec::new();
    section.read_to_end(&mut text).map_err(ImageError::io(what))?;
    Ok(text)
}
