//! A tar file whose files are read where they lie: it is gone through once, and nothing is extracted.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tar_core::parse::{Limits, ParseEvent, ParsedEntry, Parser};

use super::error::ImageError;
use super::files::Section;

/// The most files in an archive: an image has a few for each layer.
const MAX_FILES: usize = 100_000;
/// How much is read for one header; a longer one is read again, whole.
const WINDOW: usize = 4096;
/// The most bytes of all extensions of one header.
const MAX_EXTENSIONS: u32 = 1 << 20;
/// The most links from a name to its file.
const MAX_LINKS: usize = 8;

/// The files of a tar file by their paths.
#[derive(Debug)]
pub(super) struct Archive {
    file: Arc<File>,
    place: String,
    entries: HashMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    File {
        at: u64,
        size: u64,
    },
    /// To another path in the archive. docker writes these for layers that images share.
    Link(String),
    /// Its bytes do not lie in one piece.
    Sparse,
}

impl Archive {
    /// Goes through a tar file. `place` is what people call it.
    pub(super) fn read(file: File, place: String) -> Result<Archive, ImageError> {
        let length = file.metadata().map_err(ImageError::io(&place))?.len();
        let mut archive = Archive { file: Arc::new(file), place, entries: HashMap::new() };
        let limits = Limits { max_metadata_size: MAX_EXTENSIONS, max_path_len: Some(4096), ..Limits::default() };
        let mut parser = Parser::new(limits);
        let (mut at, mut wanted) = (0, WINDOW);
        loop {
            let window = archive.window(at, wanted)?;
            wanted = WINDOW;
            match parser.parse(&window) {
                // A tar file may end without its two blocks of zeros, and umoci's do within a block.
                Ok(ParseEvent::NeedData { .. }) if window.is_empty() => return Ok(archive),
                Ok(ParseEvent::NeedData { min_bytes }) if at.saturating_add(min_bytes as u64) <= length => {
                    wanted = min_bytes;
                }
                Ok(ParseEvent::NeedData { .. }) => return Err(archive.broken("it is cut short")),
                Ok(ParseEvent::End { .. }) => return Ok(archive),
                Ok(ParseEvent::GlobalExtensions { consumed, .. }) => at += consumed as u64,
                Ok(ParseEvent::Entry { consumed, entry }) => {
                    let begin = at + consumed as u64;
                    if begin.saturating_add(entry.size) > length {
                        return Err(archive.broken("it is cut short"));
                    }
                    at = begin.saturating_add(entry.padded_size());
                    archive.take(&entry, Entry::File { at: begin, size: entry.size })?;
                }
                Ok(ParseEvent::SparseEntry { consumed, entry, .. }) => {
                    at = (at + consumed as u64).saturating_add(entry.padded_size());
                    archive.take(&entry, Entry::Sparse)?;
                }
                Err(error) => return Err(archive.broken(error)),
            }
        }
    }

    /// What people call it.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// A file, through links.
    pub(super) fn find(&self, path: &str) -> Result<Option<Section>, ImageError> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            match self.entries.get(&path) {
                None => return Ok(None),
                Some(Entry::Link(target)) => path.clone_from(target),
                Some(Entry::File { at, size }) => return Ok(Some(Section::new(self.file.clone(), *at, *size))),
                Some(Entry::Sparse) => return Err(self.broken(format!("{path} is a sparse file there"))),
            }
        }
        Err(self.broken(format!("{path} is a link that leads nowhere")))
    }

    /// Bytes from `at` on, as many as wanted or as there are.
    fn window(&self, at: u64, wanted: usize) -> Result<Vec<u8>, ImageError> {
        let (mut window, mut filled) = (vec![0; wanted], 0);
        while filled < wanted {
            let read = self.file.read_at(&mut window[filled..], at.saturating_add(filled as u64));
            match read.map_err(ImageError::io(&self.place))? {
                0 => break,
                read => filled += read,
            }
        }
        window.truncate(filled);
        Ok(window)
    }

    /// Remembers a file or link. No others are of use, and of two with one path the later counts.
    fn take(&mut self, entry: &ParsedEntry<'_>, file: Entry) -> Result<(), ImageError> {
        let Some(path) = resolve("", &entry.path_lossy()) else { return Ok(()) };
        let target = entry.link_target_lossy().unwrap_or_default();
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let kept = match () {
            () if entry.is_file() || matches!(file, Entry::Sparse) => file,
            () if entry.is_symlink() => match resolve(directory, &target) {
                Some(target) => Entry::Link(target),
                None => return Ok(()),
            },
            () if entry.is_hard_link() => match resolve("", &target) {
                Some(target) => Entry::Link(target),
                None => return Ok(()),
            },
            () => return Ok(()),
        };
        self.entries.insert(path, kept);
        match self.entries.len() > MAX_FILES {
            true => Err(self.broken(format!("it has more than {MAX_FILES} files"))),
            false => Ok(()),
        }
    }

    fn broken(&self, rule: impl std::fmt::Display) -> ImageError {
        ImageError::document(&self.place, format!("not an archive that can be read: {rule}"))
    }
}

/// The path that `path` is, seen from `directory`; none if it leads out of the archive.
fn resolve(directory: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn links_stay_in_the_archive() {
        assert_eq!(resolve("", "./a//b").as_deref(), Some("a/b"));
        assert_eq!(resolve("aa", "../bb.tar").as_deref(), Some("bb.tar"));
        assert_eq!(resolve("aa", "/../bb.tar").as_deref(), Some("bb.tar"));
        assert_eq!(resolve("aa", "../../bb.tar"), None);
    }
}
