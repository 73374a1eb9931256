//! `/proc/self/mountinfo`: a parser that is pure, and a reader.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount of this mount namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The mount's ID; unique while it lasts, and then given to another.
    pub id: u64,
    /// The ID of the mount it is mounted on.
    pub parent: u64,
    /// Major and minor number of the filesystem, as `stat` shows them for files on it.
    pub device: (u32, u32),
    /// The directory of the filesystem that is the root of this mount.
    pub root: PathBuf,
    /// Where it is mounted, seen from this process's root.
    pub mount_point: PathBuf,
    /// The options of this mount: `rw,nosuid,...`.
    pub options: String,
    /// The type, `fuse.ctrfs` or `overlay`.
    pub fs_type: String,
    /// What was mounted: a device, a directory, or any word.
    pub source: PathBuf,
    /// The options of the filesystem: `rw,lowerdir=...`, still with the kernel's octal escapes.
    pub super_options: String,
}

/// A line that is not as proc_pid_mountinfo(5) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountinfoError {
    /// The line ends before this field.
    Missing {
        /// Which line, from 1.
        line: usize,
        /// Which field.
        field: &'static str,
    },
    /// This field should be a number and is not.
    NotANumber {
        /// Which line, from 1.
        line: usize,
        /// Which field.
        field: &'static str,
    },
}

impl std::fmt::Display for MountinfoError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing { line, field } => write!(f, "mountinfo line {line}: no {field}"),
            Self::NotANumber { line, field } => {
                write!(f, "mountinfo line {line}: {field} is not a number")
            }
        }
    }
}

impl std::error::Error for MountinfoError {}

/// The mounts of this process's mount namespace.
pub fn read() -> io::Result<Vec<Mount>> {
    let text = fs::read("/proc/self/mountinfo")?;
    parse(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The mount with this ID, if it is in this process's mount namespace.
pub fn find(id: u64) -> io::Result<Option<Mount>> {
    Ok(read()?.into_iter().find(|mount| mount.id == id))
}

/// The mount that a walk to `path` ends on, if `path` is its root: the topmost one mounted there.
pub fn mounted_at(path: &Path) -> io::Result<Option<Mount>> {
    let directory = super::fd::open_directory(path)?;
    let name = super::fd::path_of(&directory)?;
    let mount = find(super::fd::mount_id(&directory)?)?;
    Ok(mount.filter(|mount| mount.mount_point == name))
}

/// Parses the text of a mountinfo file.
pub fn parse(text: &[u8]) -> Result<Vec<Mount>, MountinfoError> {
    text.split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| parse_line(index + 1, line))
        .collect()
}

fn parse_line(line: usize, text: &[u8]) -> Result<Mount, MountinfoError> {
    let mut words = text.split(|byte| *byte == b' ');
    let mut next = |field| words.next().ok_or(MountinfoError::Missing { line, field });

    let id = number(next("mount ID")?, line, "mount ID")?;
    let parent = number(next("parent ID")?, line, "parent ID")?;
    let device = device(next("device")?, line)?;
    let root = next("root")?;
    let mount_point = next("mount point")?;
    let options = next("options")?;
    // Optional fields, any number of them, end with a lone dash.
    while next("separator")? != b"-" {}
    let fs_type = next("type")?;
    let source = next("source")?;
    let super_options = next("super options")?;

    Ok(Mount {
        id,
        parent,
        device,
        root: path(root),
        mount_point: path(mount_point),
        options: text_of(options),
        fs_type: text_of(&unescape(fs_type)),
        source: path(source),
        super_options: text_of(super_options),
    })
}

fn number<T: std::str::FromStr>(word: &[u8], line: usize, field: &'static str) -> Result<T, MountinfoError> {
    std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()).ok_or(MountinfoError::NotANumber { line, field })
}

fn device(word: &[u8], line: usize) -> Result<(u32, u32), MountinfoError> {
    let mut halves = word.splitn(2, |byte| *byte == b':');
    let major = number(halves.next().unwrap_or_default(), line, "device")?;
    let minor = number(halves.next().unwrap_or_default(), line, "device")?;
    Ok((major, minor))
}

fn path(word: &[u8]) -> PathBuf {
    OsString::from_vec(unescape(word)).into()
}

fn text_of(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

/// Undoes the kernel's escapes: `\040` and the like for space, tab, newline, backslash and hash.
pub fn unescape(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, tail)) = rest.split_first() {
        match octal(byte, tail) {
            Some(value) => {
                plain.push(value);
                rest = &tail[3..];
            }
            None => {
                plain.push(byte);
                rest = tail;
            }
        }
    }
    plain
}

fn octal(byte: u8, tail: &[u8]) -> Option<u8> {
    let digits = tail.get(..3).filter(|_| byte == b'\\')?;
    digits.iter().try_fold(0u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] =
        b"36 35 98:0 / /mnt/a\\040b rw,noatime shared:1 master:2 - fuse.ctrfs /st\\134ore rw,user_id=0\n";

    #[test]
    fn a_line_is_taken_apart() {
        let mounts = parse(LINE).unwrap();
        assert_eq!(
            mounts,
            [Mount {
                id: 36,
                parent: 35,
                device: (98, 0),
                root: "/".into(),
                mount_point: "/mnt/a b".into(),
                options: "rw,noatime".into(),
                fs_type: "fuse.ctrfs".into(),
                source: "/st\\ore".into(),
                super_options: "rw,user_id=0".into(),
            }]
        );
    }

    #[test]
    fn no_optional_field_is_fine() {
        let mounts = parse(b"1 0 0:2 / / rw - rootfs none rw").unwrap();
        assert_eq!(mounts[0].source, Path::new("none"));
    }

    #[test]
    fn an_empty_source_is_a_source() {
        let mounts = parse(b"1 0 0:2 / / rw - tmpfs  rw").unwrap();
        assert_eq!(mounts[0].source, Path::new(""));
    }

    #[test]
    fn the_refusal_names_line_and_field() {
        let missing = |line, field| Err(MountinfoError::Missing { line, field });
        let bad = |line, field| Err(MountinfoError::NotANumber { line, field });
        assert_eq!(parse(b"1 0 0:2 / / rw shared:1"), missing(1, "separator"));
        assert_eq!(parse(b"\n\n1 0"), missing(3, "device"));
        assert_eq!(parse(b"x 0 0:2 / / rw - a b c"), bad(1, "mount ID"));
        assert_eq!(parse(b"1 0 02 / / rw - a b c"), bad(1, "device"));
    }

    #[test]
    fn only_whole_octal_escapes_are_undone() {
        assert_eq!(unescape(b"a\\011b\\012c\\043"), b"a\tb\nc#");
        assert_eq!(unescape(b"\\04"), b"\\04");
        assert_eq!(unescape(b"\\999\\777"), b"\\999\\777");
    }

    #[test]
    fn this_process_has_a_root_mount() {
        assert!(read().unwrap().iter().any(|mount| mount.mount_point == Path::new("/")));
        assert!(mounted_at(Path::new("/proc")).unwrap().is_some());
        assert!(mounted_at(Path::new("/proc/self")).unwrap().is_none());
    }
}
