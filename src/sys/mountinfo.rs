//! `/proc/self/mountinfo`, read and taken apart.

use std::io;
use std::path::PathBuf;

/// One mount of this mount namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The mount's ID.
    pub id: u64,
    /// Where it is mounted, as this process sees it.
    pub mountpoint: PathBuf,
    /// The filesystem type with its subtype, `fuse.ctrfs`.
    pub fstype: String,
    /// What is mounted; for ctrfs the store.
    pub source: String,
}

/// Reads the mounts of this process's mount namespace.
pub fn read() -> io::Result<Vec<Mount>> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(text.lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ');
    let mut after = after.split(' ');
    Some(Mount {
        id: before.next()?.parse().ok()?,
        mountpoint: PathBuf::from(before.nth(3)?),
        fstype: after.next()?.to_owned(),
        source: after.next()?.to_owned(),
    })
}
