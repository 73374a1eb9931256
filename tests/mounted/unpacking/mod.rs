//! Layers unpacked as imports unpack them: what arrives, what is refused, and that nothing leaves.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ctrfs::driver::unpack::{Claim, Limits, Options, UnpackError, Unpacked, unpack};
use ctrfs::sys::{beneath, host};

use crate::support::Scratch;

mod attacks;
mod damage;
mod oracle;
mod removal;
mod tar;
mod tree;

/// A directory to unpack into, in a directory where something else lies too.
struct Place {
    scratch: Scratch,
    parents: Vec<OwnedFd>,
    limits: Limits,
    devices: bool,
}

impl Place {
    fn new() -> Place {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path().join("layer")).unwrap();
        let outside = scratch.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        Place { scratch, parents: Vec::new(), limits: Limits::default(), devices: host::is_host_root() }
    }

    fn layer(&self) -> PathBuf {
        self.scratch.path().join("layer")
    }

    fn outside(&self) -> PathBuf {
        self.scratch.path().join("outside")
    }

    fn unpack(&self, blob: impl Read + Send) -> Result<Unpacked, UnpackError> {
        self.unpack_claimed(blob, &Claim::default())
    }

    fn unpack_claimed(&self, blob: impl Read + Send, claim: &Claim) -> Result<Unpacked, UnpackError> {
        let options = Options {
            userxattr: !self.devices,
            parents: &self.parents,
            limits: self.limits.clone(),
            devices: self.devices,
            progress: &|_| (),
        };
        unpack(blob, &self.layer(), claim, &options).map(|(unpacked, _)| unpacked)
    }

    /// Unpacks what must be fine.
    fn fill(self, blob: &[u8]) -> (Place, Unpacked) {
        let unpacked = self.unpack(blob).unwrap_or_else(|error| panic!("{error}"));
        (self, unpacked)
    }

    /// The next layer: this one is the topmost below it.
    fn above(self) -> Place {
        let mut place = Place::new();
        place.parents.push(beneath::directory(&self.layer()).unwrap());
        place.parents.extend(self.parents);
        // The directory stays for as long as the descriptor is of use: until the test binary ends.
        let parent = place.scratch.path().join("parent");
        fs::rename(self.scratch.path(), parent).unwrap();
        place
    }

    /// All of the layer by path, see [`describe`].
    fn tree(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        collect(&self.layer(), Path::new("."), &mut found);
        found
    }

    /// All around the layer.
    fn surroundings(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        collect(&self.outside(), Path::new("."), &mut found);
        for entry in fs::read_dir(self.scratch.path()).unwrap() {
            found.insert(entry.unwrap().file_name().into_string().unwrap(), String::new());
        }
        found
    }

    /// The attribute of an opaque directory, as [`describe`] shows it.
    fn opaque(&self) -> &'static str {
        if self.devices { "trusted.overlay.opaque=y" } else { "user.overlay.opaque=y" }
    }
}

fn collect(root: &Path, below: &Path, found: &mut BTreeMap<String, String>) {
    let path = root.join(below);
    found.insert(below.as_os_str().as_bytes().escape_ascii().to_string(), describe(&path));
    if fs::symlink_metadata(&path).unwrap().is_dir() {
        for entry in fs::read_dir(&path).unwrap() {
            collect(root, &below.join(entry.unwrap().file_name()), found);
        }
    }
}

/// An entry in a line: `file 644 0:0 @1000.0 x2 5 hello user.a=b`.
fn describe(path: &Path) -> String {
    let meta = fs::symlink_metadata(path).unwrap();
    let kind = match meta.mode() & 0o170_000 {
        0o100_000 => "file",
        0o040_000 => "dir",
        0o120_000 => "link",
        0o020_000 => "char",
        0o060_000 => "block",
        0o010_000 => "fifo",
        _ => "other",
    };
    let mut line = format!("{kind} {:o} {}:{}", meta.mode() & 0o7777, meta.uid(), meta.gid());
    line += &format!(" @{}.{}", meta.mtime(), meta.mtime_nsec());
    match kind {
        "file" => line += &format!(" x{} {} {}", meta.nlink(), meta.len(), content(path)),
        "link" => line += &format!(" -> {}", fs::read_link(path).unwrap().as_os_str().as_bytes().escape_ascii()),
        "char" | "block" => {
            line += &format!(" {}:{}", nix::sys::stat::major(meta.rdev()), nix::sys::stat::minor(meta.rdev()))
        }
        _ => {}
    }
    let fd = beneath::entry(beneath::directory(path.parent().unwrap()).unwrap(), path.file_name().unwrap().as_bytes());
    for (name, value) in beneath::xattrs(fd.unwrap()).unwrap() {
        line += &format!(" {}={}", name.escape_ascii(), value.escape_ascii());
    }
    line
}

/// What is in a file: itself where it is short, its digest where it is not.
fn content(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    if bytes.len() < 64 { bytes.escape_ascii().to_string() } else { ctrfs::driver::hash::digest(&bytes).to_string() }
}
