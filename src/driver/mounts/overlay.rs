//! Overlays, detached: the same options in each of the ways that kernels have learned to take them.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{MAX_LAYERS, MountError};
use crate::sys::mounting::{self, Attributes, NewFs, Refusal};

/// How this kernel takes the directories of an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// As descriptors of any kind, of detached mounts too (Linux 6.15).
    Descriptors,
    /// One by one, as paths (Linux 6.8).
    Paths,
    /// All in the one text of mount(2).
    Text,
}

impl Tier {
    /// Finds out by trying, on mounts that nobody sees.
    pub fn probe() -> Tier {
        if takes_descriptors().is_ok() {
            Tier::Descriptors
        } else if takes_paths().is_ok() {
            Tier::Paths
        } else {
            Tier::Text
        }
    }
}

fn takes_descriptors() -> Result<(), Refusal> {
    let layer = || NewFs::open("tmpfs")?.mount(Attributes::default());
    let layers = [layer()?, layer()?];
    let overlay = NewFs::open("overlay")?;
    for layer in &layers {
        overlay.directory("lowerdir+", open(&mounting::proc_fd(layer.as_fd()))?.as_fd())?;
    }
    overlay.mount(Attributes::default()).map(drop)
}

fn takes_paths() -> Result<(), Refusal> {
    NewFs::open("overlay")?.string("lowerdir+", OsStr::new("/"))
}

/// What an overlay is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overlay<'a> {
    /// Topmost first.
    pub(super) lowers: &'a [PathBuf],
    /// Where writes go, and the directory where the kernel prepares them.
    pub(super) upper: Option<(&'a Path, &'a Path)>,
    /// What mountinfo shows as source.
    pub(super) source: &'a str,
    /// Its own attributes are called `user.overlay.*`, as a user namespace needs.
    pub(super) userxattr: bool,
    /// Nothing is synced.
    pub(super) volatile: bool,
    /// The kernel refuses an upper directory that another overlay has, as a layer too.
    pub(super) exclusive: bool,
    /// The SELinux label of all files.
    pub(super) label: Option<&'a str>,
}

impl Overlay<'_> {
    /// The options that name no directory, all of them, lest defaults of the module change what an
    /// upper directory means.
    fn options(&self) -> Vec<(&'static str, Option<&str>)> {
        let index = match (self.exclusive, self.upper) {
            (false, _) => ("index", Some("off")),
            (true, Some(_)) => ("index", Some("on")),
            // Where nothing is written, that is taken for useless, but this switches it on for all that
            // (ovl_fs_params_verify()).
            (true, None) => ("nfs_export", Some("on")),
        };
        let mut options =
            vec![index, ("metacopy", Some("off")), ("redirect_dir", Some("nofollow")), ("xino", Some("off"))];
        options.extend(self.userxattr.then_some(("userxattr", None)));
        options.extend(self.volatile.then_some(("volatile", None)));
        options.extend(self.label.map(|label| ("context", Some(label))));
        options
    }

    /// The directories with the option that takes each, topmost layer first.
    fn directories(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let lowers = self.lowers.iter().map(|lower| ("lowerdir+", lower.as_path()));
        let upper = self.upper.into_iter().flat_map(|(upper, work)| [("upperdir", upper), ("workdir", work)]);
        lowers.chain(upper)
    }

    /// Refuses what cannot be, before anything is made for it.
    pub(super) fn check(&self) -> Result<(), MountError> {
        match self.lowers.len() {
            0 => Err(MountError::NoLayer),
            1..=MAX_LAYERS => Ok(()),
            count => Err(MountError::TooManyLayers(count)),
        }
    }

    /// A detached mount of it.
    pub(super) fn mount(&self, tier: Tier) -> Result<OwnedFd, MountError> {
        self.check()?;
        self.try_mount(tier).map_err(MountError::Overlay)
    }

    fn try_mount(&self, tier: Tier) -> Result<OwnedFd, Refusal> {
        match tier {
            Tier::Text => mounting::mount_by_options("overlay", self.source, || self.text()),
            _ => self.described(tier)?.mount(Attributes::default()),
        }
    }

    /// Has the kernel make it, and lets it go again. A mount would cost as much as all the rest: when it
    /// ends, the kernel waits until no processor can be looking at it (dissolve_on_fput()).
    fn try_out(&self, tier: Tier) -> Result<(), Refusal> {
        match tier {
            Tier::Text => self.try_mount(tier).map(drop),
            _ => self.described(tier)?.create(),
        }
    }

    /// The options and directories of it, as the kernel takes them one by one.
    fn described(&self, tier: Tier) -> Result<NewFs, Refusal> {
        let overlay = NewFs::open("overlay")?;
        overlay.string("source", OsStr::new(self.source))?;
        for (option, path) in self.directories() {
            let directory = open(path)?;
            match tier {
                Tier::Descriptors => overlay.directory(option, directory.as_fd()),
                // As it is, if only for those who read mountinfo.
                _ if is_plain(path) => overlay.string(option, path.as_os_str()),
                _ => overlay.string(option, mounting::proc_fd(directory.as_fd()).as_os_str()),
            }
            .map_err(|refusal| Refusal { step: format!("{option}={}", path.display()), ..refusal })?;
        }
        for (option, value) in self.options() {
            match value {
                Some(value) => overlay.string(option, OsStr::new(value)),
                None => overlay.flag(option),
            }?;
        }
        Ok(overlay)
    }

    /// Whether any overlay, in any mount namespace, writes to this upper directory.
    ///
    /// A second one would be made without a word and corrupt both. So the kernel is asked for one
    /// that nobody sees and that refuses (EBUSY) what is another's upper directory. `beside` is any
    /// directory that lies neither in the upper nor around it.
    pub(super) fn upper_is_in_use(&self, tier: Tier, upper: &Path, beside: &Path) -> Result<bool, MountError> {
        let layers = [upper.to_owned(), beside.to_owned()];
        let trial = Overlay { source: "ctrfs-trial", volatile: false, exclusive: true, label: None, ..*self };
        let trial = if self.userxattr {
            // That the upper is its own work directory is refused, too, and said in the kernel's log,
            // but after EBUSY (ovl_get_upper(), ovl_get_workdir()); nothing is written.
            Overlay { lowers: &self.lowers[..1], upper: Some((upper, upper)), ..trial }
        } else {
            // As a layer (ovl_get_layers()): quiet, and nothing is made for it, but it takes a privilege
            // over the host, to find files by their handles.
            Overlay { lowers: &layers, upper: None, ..trial }
        };
        match trial.try_out(tier) {
            Ok(()) => Ok(false),
            Err(refusal) if refusal.error.kind() == ErrorKind::ResourceBusy => Ok(true),
            Err(_) if self.userxattr => Ok(false),
            Err(refusal) => Err(MountError::Overlay(refusal)),
        }
    }

    /// The options as mount(2) takes them, with the directories' paths if those need no escapes and
    /// fit; else directories are called by the numbers of descriptors, of which 500 fit into a page.
    fn text(&self) -> Result<(OsString, Vec<OwnedFd>), Refusal> {
        /// Of a page, without the other options.
        const ROOM: usize = 3000;
        let length: usize = self.directories().map(|(option, path)| option.len() + path.as_os_str().len() + 2).sum();
        let by_path = length <= ROOM && self.directories().all(|(_, path)| is_plain(path));
        let (mut text, mut held) = (OsString::new(), Vec::new());
        for (option, path) in self.directories() {
            match (option, text.is_empty()) {
                ("lowerdir+", true) => text.push("lowerdir="),
                ("lowerdir+", false) => text.push(":"),
                _ => text.push(format!(",{option}=")),
            }
            let directory = open(path)?;
            if by_path {
                text.push(path);
            } else {
                text.push(directory.as_raw_fd().to_string());
            }
            held.push(directory);
        }
        for (option, value) in self.options() {
            match value {
                // A label has commas of its own; LSMs take the quotes off.
                Some(label) if option == "context" => text.push(format!(",{option}=\"{label}\"")),
                Some(value) => text.push(format!(",{option}={value}")),
                None => text.push(format!(",{option}")),
            }
        }
        Ok((text, held))
    }
}

/// Whether every kernel takes the path as it is: options of more than 255 bytes are refused, and each
/// way of passing them gives another meaning to colon, comma or backslash.
fn is_plain(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    path.is_absolute() && bytes.len() <= 255 && !bytes.iter().any(|byte| b":,\\".contains(byte))
}

fn open(path: &Path) -> Result<OwnedFd, Refusal> {
    mounting::open(path).map_err(|error| Refusal::new(path.display().to_string(), error))
}

/// A detached, read-only mount of what layers show together, topmost first.
///
/// # Errors
/// What the kernel says, a missing layer, too many layers.
pub fn lowers_view(lowers: &[PathBuf], userxattr: bool) -> Result<OwnedFd, MountError> {
    let read_only = Attributes { read_only: true, no_suid: true, no_dev: true, no_exec: true };
    // The kernel makes no overlay of a single layer without an upper directory.
    let mount = if let [layer] = lowers {
        let directory = mounting::open(layer).map_err(MountError::step("open", layer))?;
        mounting::cloned(directory.as_fd()).map_err(MountError::step("clone", layer))?
    } else {
        let overlay = Overlay {
            lowers,
            upper: None,
            source: "ctrfs-layers",
            userxattr,
            volatile: false,
            exclusive: false,
            label: None,
        };
        overlay.mount(Tier::probe())?
    };
    mounting::restrict(mount.as_fd(), read_only).map_err(MountError::step("restrict", "the layers' overlay"))?;
    Ok(mount)
}
