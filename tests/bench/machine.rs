//! The machine, in words that name no machine.

use std::fs;
use std::path::Path;

/// Cores, memory, kernel and the filesystem of the store.
///
/// A store on a tmpfs is refused: it has no disk to wait for.
pub(crate) fn in_words(store: &Path) -> String {
    let filesystem = filesystem_of(store);
    assert!(filesystem != "tmpfs", "the store must lie on a disk: set TMPDIR to a directory on one");
    let cores = std::thread::available_parallelism().unwrap();
    let gigabytes = memory_bytes() as f64 / f64::from(1 << 30);
    format!("{cores} cores, {gigabytes:.0} GiB of memory, Linux {}, the store on {filesystem}.", kernel())
}

fn memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    let kilobytes: u64 = total.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes << 10
}

/// The first two numbers of the kernel's release.
fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    release.trim().split('.').take(2).collect::<Vec<_>>().join(".")
}

/// The type of the innermost mount that a path lies on.
fn filesystem_of(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let above = mounts.lines().filter_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let at = mount.split(' ').nth(4)?;
        path.starts_with(at).then(|| (at.len(), filesystem.split(' ').next().unwrap_or_default()))
    });
    above.max_by_key(|(length, _)| *length).unwrap().1.to_owned()
}
