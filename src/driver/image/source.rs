//! Where an image comes from, in skopeo's words.

use std::fmt;
use std::path::PathBuf;

use super::error::ImageError;

/// The word for standard input.
const STANDARD_INPUT: &str = "-";
/// What a source may begin with, for people.
const KINDS: &str = "a source is oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], dir:ROOTFS or containers-storage:[ROOT/]NAME";

/// Where an image comes from. As in skopeo's words, the first colon ends a path that a tag may follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `oci:DIR[:TAG]`, an OCI image layout.
    Layout {
        /// Its directory.
        dir: PathBuf,
        /// Which of its images.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`, a layout in a tar file.
    OciArchive {
        /// The file.
        file: ArchiveFile,
        /// Which of its images.
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:NAME]`, what `docker save` and `podman save` write.
    DockerArchive {
        /// The file.
        file: ArchiveFile,
        /// Which of its images: a name, or `@` and its number from 0.
        name: Option<String>,
    },
    /// `dir:ROOTFS`, the root directory of a system.
    Rootfs(PathBuf),
    /// `containers-storage:[ROOT/]NAME`, the store of podman and its kin. Where ROOT ends shows only
    /// on disk.
    ContainersStorage(String),
}

/// The file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveFile {
    /// The one at this path.
    At(PathBuf),
    /// Standard input.
    StandardInput,
}

impl Source {
    /// Reads a source.
    ///
    /// # Errors
    /// [`ImageError::Source`] with the rule that it breaks.
    pub fn parse(text: &str) -> Result<Source, ImageError> {
        let bad = |rule| ImageError::Source { text: text.to_owned(), rule };
        let (kind, rest) = text.split_once(':').ok_or_else(|| bad(KINDS))?;
        let (path, tag) = match rest.split_once(':') {
            Some((_, "")) => return Err(bad("nothing follows the last colon")),
            Some((path, tag)) => (path, Some(tag.to_owned())),
            None => (rest, None),
        };
        if path.is_empty() {
            return Err(bad("nothing follows the colon"));
        }
        let file = || match path {
            STANDARD_INPUT => ArchiveFile::StandardInput,
            path => ArchiveFile::At(path.into()),
        };
        match kind {
            "oci" => Ok(Source::Layout { dir: path.into(), tag }),
            "oci-archive" => Ok(Source::OciArchive { file: file(), tag }),
            "docker-archive" => Ok(Source::DockerArchive { file: file(), name: tag }),
            "dir" => Ok(Source::Rootfs(rest.into())),
            "containers-storage" => Ok(Source::ContainersStorage(rest.to_owned())),
            _ => Err(bad(KINDS)),
        }
    }
}

impl fmt::Display for ArchiveFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArchiveFile::At(path) => path.display().fmt(f),
            ArchiveFile::StandardInput => f.write_str("standard input"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ArchiveFile, Source};

    #[test]
    fn every_kind_is_read() {
        let some = |text: &str| Some(text.to_owned());
        let at = |path: &str| ArchiveFile::At(path.into());
        for (text, source) in [
            ("oci:/a b", Source::Layout { dir: "/a b".into(), tag: None }),
            ("oci:a:v1", Source::Layout { dir: "a".into(), tag: some("v1") }),
            ("oci:a:localhost/b:v1", Source::Layout { dir: "a".into(), tag: some("localhost/b:v1") }),
            ("oci-archive:a.tar:v1", Source::OciArchive { file: at("a.tar"), tag: some("v1") }),
            ("docker-archive:-", Source::DockerArchive { file: ArchiveFile::StandardInput, name: None }),
            ("docker-archive:-:a:1", Source::DockerArchive { file: ArchiveFile::StandardInput, name: some("a:1") }),
            ("dir:/a:b", Source::Rootfs("/a:b".into())),
            ("containers-storage:/s/localhost/a:1", Source::ContainersStorage("/s/localhost/a:1".into())),
        ] {
            assert_eq!(Source::parse(text).unwrap(), source, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "busybox", "docker://busybox", "oci:", "oci::v1", "oci:a:", "dir:", "containers-storage:"] {
            assert!(Source::parse(text).is_err(), "{text}");
        }
    }
}
