//! The mounts of containers, through the driver alone: overlays, shared memory, views.

mod overlays;
mod primaries;
mod uppers;
mod views;

use std::fs;
use std::path::{Path, PathBuf};

use ctrfs::driver::mounts::{MountError, Mounts, Part, Rootfs, Shm, Tier, Volatile};
use ctrfs::model::id::Id;

use crate::support::{Scratch, mountinfo};

/// The ways of this kernel, and those of older ones.
fn tiers() -> Vec<Tier> {
    let all = [Tier::Descriptors, Tier::Paths, Tier::Text];
    let best = Tier::probe();
    println!("tier: {best:?}");
    all.into_iter().skip_while(|tier| *tier != best).collect()
}

fn key(number: u8) -> Id {
    Id::from_bytes([number; 32])
}

/// A run root and a store's directories. Dropping it takes all primaries, and nothing may be left.
struct Host {
    mounts: Mounts,
    scratch: Scratch,
}

impl Host {
    fn new() -> Host {
        Host::with_tier(Tier::probe())
    }

    fn with_tier(tier: Tier) -> Host {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path().join("trash")).unwrap();
        let mounts = Mounts::with_tier(scratch.path(), tier).unwrap();
        Host { mounts, scratch }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.scratch.path().join(below)
    }

    /// Layers, topmost first; each holds `top` with its number, `only-NUMBER`, and the directory `dir`.
    fn layers(&self, count: usize) -> Vec<PathBuf> {
        (0..count).map(|number| self.layer(&format!("layers/{number}"), number)).collect()
    }

    fn layer(&self, name: &str, number: usize) -> PathBuf {
        let layer = self.path(name);
        fs::create_dir_all(layer.join("dir")).unwrap();
        fs::write(layer.join("top"), number.to_string()).unwrap();
        fs::write(layer.join(format!("only-{number}")), "").unwrap();
        layer
    }

    /// Mounts an overlay for a key, with directories of its own.
    fn overlay(&self, key: Id, lowers: &[PathBuf], volatile: Option<&str>) -> Result<(), MountError> {
        self.overlay_on(key, &key.to_string(), lowers, volatile)
    }

    /// The same, with the directories called `name`.
    fn overlay_on(&self, key: Id, name: &str, lowers: &[PathBuf], volatile: Option<&str>) -> Result<(), MountError> {
        let (upper, work) = (self.upper(name), self.work(name));
        fs::create_dir_all(upper.parent().unwrap()).unwrap();
        let trash = self.path("trash");
        let volatile = volatile.map(|boot_id| Volatile { boot_id, trash: &trash });
        self.mounts.rootfs(key, &Rootfs::Overlay { lowers, upper: &upper, work: &work, volatile, label: None })
    }

    fn upper(&self, name: &str) -> PathBuf {
        self.path("ctr").join(name).join("upper")
    }

    fn work(&self, name: &str) -> PathBuf {
        self.path("ctr").join(name).join("ovl-work")
    }

    fn rootfs(&self, key: Id) -> PathBuf {
        self.mounts.path(key, Part::Rootfs)
    }

    fn take(&self, key: Id) {
        drop(self.mounts.take(key).unwrap_or_else(|error| panic!("{error}")));
    }

    /// Nothing is mounted below, and no primary has a directory.
    fn assert_empty(&self) {
        assert_eq!(self.mounts.mounted().unwrap(), []);
        assert_eq!(lines_of(self.scratch.path()), [""; 0]);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for key in self.mounts.mounted().unwrap_or_default() {
            let taken = self.mounts.take(key);
            assert!(taken.is_ok() || std::thread::panicking(), "{taken:?}");
        }
        if !std::thread::panicking() {
            self.assert_empty();
        }
    }
}

/// The lines of mountinfo that name something below a path, as mountpoint or in the options.
fn lines_of(path: &Path) -> Vec<String> {
    let below = format!("{}/", path.display());
    mountinfo().lines().filter(|line| line.contains(&below)).map(str::to_owned).collect()
}

/// The one mount at a path, its line of mountinfo.
fn line_at(path: &Path) -> String {
    let info = mountinfo();
    let mut lines = info.lines().filter(|line| line.split(' ').nth(4) == path.to_str());
    let line = lines.next().unwrap_or_else(|| panic!("nothing mounted at {}", path.display())).to_owned();
    assert_eq!(lines.next(), None);
    line
}

fn shm(size: u64) -> Shm {
    Shm { size, uid: 0, gid: 0, label: None }
}
