//! `ctrfs mount`, `mount.ctrfs` and `ctrfs umount`.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser};

use crate::daemon::child::Program;
use crate::daemon::keeper::READY;
use crate::daemon::mountpoint::{Found, Mountpoint, MountpointError};
use crate::daemon::settings::{self, OptionError, Settings, Unknown};
use crate::daemon::{FS_TYPE, STORE_FILE};
use crate::driver::mounts::Part;
use crate::model::status::Status;
use crate::sys;
use crate::sys::errno::say;
use crate::sys::mountinfo;
use crate::sys::mounting::{attach, cloned, open_no_follow};

/// mount(8): "mount failure".
const MOUNT_FAILURE: u8 = 32;

/// How long the root of a new mount may take to list.
const LISTING: Duration = Duration::from_secs(10);

/// Mount a store.
#[derive(Debug, Args)]
#[command(after_help = settings::help())]
pub(super) struct MountArgs {
    /// The store's directory
    #[arg(value_name = "STORE")]
    store: PathBuf,
    /// The directory to mount it on
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: PathBuf,
    /// Mount options, separated by commas
    #[arg(short, value_name = "OPTIONS")]
    options: Vec<String>,
    /// Mount read-only, like -o ro
    #[arg(short, conflicts_with = "read_write")]
    read_only: bool,
    /// Mount read-write, like -o rw
    #[arg(short = 'w')]
    read_write: bool,
    /// Ignore options that are not known
    #[arg(short)]
    sloppy: bool,
    /// Check everything, but mount nothing
    #[arg(short)]
    fake: bool,
    /// Say what is done
    #[arg(short)]
    verbose: bool,
    /// Accepted, since mount(8) passes it on: do not write /etc/mtab
    #[arg(short)]
    no_mtab: bool,
    /// Accepted, since mount(8) passes it on: the filesystem's type
    #[arg(short = 't', value_name = "TYPE")]
    fs_type: Option<String>,
    /// Mount in the mount namespace of this file
    #[arg(short = 'N', value_name = "NAMESPACE")]
    namespace: Option<PathBuf>,
}

/// Mount a ctrfs store; called by mount(8).
#[derive(Debug, Parser)]
#[command(name = "mount.ctrfs", version)]
pub(super) struct Helper {
    #[command(flatten)]
    pub(super) args: MountArgs,
}

/// Unmount a store.
#[derive(Debug, Args)]
pub(super) struct UmountArgs {
    /// The directory that it is mounted on
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: PathBuf,
    /// Take it away at once; it ends when nobody uses it any more
    #[arg(short, long)]
    lazy: bool,
}

/// Why a store was not mounted or unmounted.
#[derive(Debug)]
enum MountError {
    Option(OptionError),
    NoStore(PathBuf),
    StoreUnreadable(PathBuf, io::Error),
    StoreHidden { store: PathBuf, mountpoint: PathBuf },
    InStore { store: PathBuf, mountpoint: PathBuf },
    Mountpoint(MountpointError),
    NotMounted(PathBuf),
    NotOurs { mountpoint: PathBuf, fs_type: String },
    Busy(PathBuf),
    Live(PathBuf, Vec<String>),
    OpenForWriting(PathBuf),
    Kernel(PathBuf, io::Error),
    Namespace(PathBuf, io::Error),
    Spawn(io::Error),
    Keeper(String),
    KeeperSilent,
    Unlisted(PathBuf, io::Error),
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(error) => error.fmt(f),
            Self::NoStore(path) => {
                let path = path.display();
                write!(f, "{path}: no store there (make one with `ctrfs init {path}`)")
            }
            Self::StoreUnreadable(path, error) | Self::Kernel(path, error) | Self::Namespace(path, error) => {
                write!(f, "{}: {}", path.display(), say(error))
            }
            Self::StoreHidden { store, mountpoint } => {
                write!(f, "{}: the store {} would lie under its own mount", mountpoint.display(), store.display())
            }
            Self::InStore { store, mountpoint } => {
                write!(f, "{}: lies in the store {} itself", mountpoint.display(), store.display())
            }
            Self::Mountpoint(error) => error.fmt(f),
            Self::NotMounted(path) => write!(f, "{}: nothing is mounted there", path.display()),
            Self::NotOurs { mountpoint, fs_type } => write!(
                f,
                "{}: a filesystem of type {fs_type} is mounted there, not a store (see umount(8))",
                mountpoint.display()
            ),
            Self::Busy(path) => {
                let path = path.display();
                write!(
                    f,
                    "{path}: busy, a process has a file or its working directory in it, or \
                     something is mounted below (see `fuser -vm {path}`); end that, or use \
                     `ctrfs umount --lazy {path}`"
                )
            }
            Self::Live(path, names) => write!(
                f,
                "{}: containers run in it: {} (end them, or use `ctrfs umount --lazy`, which leaves them what they \
                 run on)",
                path.display(),
                names.join(", ")
            ),
            Self::OpenForWriting(path) => {
                let path = path.display();
                write!(f, "{path}: busy, a process has a file in it open for writing (see `fuser -vm {path}`)")
            }
            Self::Spawn(error) => write!(f, "the keeper cannot be started: {}", say(error)),
            Self::Keeper(sentence) => f.write_str(sentence),
            Self::KeeperSilent => f.write_str("the keeper ended without a word (see the log)"),
            Self::Unlisted(path, error) => {
                write!(f, "{}: mounted, but does not list: {}", path.display(), say(error))
            }
        }
    }
}

impl From<MountpointError> for MountError {
    fn from(error: MountpointError) -> Self {
        Self::Mountpoint(error)
    }
}

/// Mounts a store, and says on standard error why not.
///
/// `usage` is the exit status when the options are wrong.
pub(super) fn mount(args: &MountArgs, usage: u8) -> ExitCode {
    let result = parse_settings(args).and_then(|settings| {
        enter_namespace(args)?;
        if settings.remount { remount(args, &settings) } else { mount_new(args, &settings) }
    });
    exit(result, usage)
}

/// Unmounts a store, and says on standard error why not.
pub(super) fn umount(args: &UmountArgs) -> ExitCode {
    exit(unmount(args), super::USAGE)
}

fn exit(result: Result<(), MountError>, usage: u8) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    super::tell(&error);
    ExitCode::from(match error {
        MountError::Option(_) => usage,
        _ => MOUNT_FAILURE,
    })
}

fn parse_settings(args: &MountArgs) -> Result<Settings, MountError> {
    let unknown = if args.sloppy { Unknown::Ignore } else { Unknown::Refuse };
    let text = args.options.join(",");
    let mut settings = Settings::parse_with(&text, unknown).map_err(MountError::Option)?;
    settings.read_only = (settings.read_only || args.read_only) && !args.read_write;
    Ok(settings)
}

fn enter_namespace(args: &MountArgs) -> Result<(), MountError> {
    let Some(path) = &args.namespace else {
        return Ok(());
    };
    // setns(2) moves to the root of the other namespace; relative paths are to keep their meaning.
    env::current_dir()
        .and_then(|here| {
            sys::process::enter_mount_namespace(path)?;
            env::set_current_dir(here)
        })
        .map_err(|error| MountError::Namespace(path.clone(), error))
}

fn mount_new(args: &MountArgs, settings: &Settings) -> Result<(), MountError> {
    let store = find_store(&args.store)?;
    let mountpoint = Mountpoint::resolve(&args.mountpoint)?;
    let target = mountpoint.path();
    if store.starts_with(target) {
        let mountpoint = target.to_owned();
        return Err(MountError::StoreHidden { store, mountpoint });
    }
    if target.starts_with(&store) {
        let mountpoint = target.to_owned();
        return Err(MountError::InStore { store, mountpoint });
    }
    // The same store there is for the lock to refuse: it knows by whom.
    match mountpoint.inspect()? {
        Found::Live { store: other } if other != store => {
            let mountpoint = target.to_owned();
            return Err(MountpointError::Occupied { mountpoint, store: other }.into());
        }
        Found::Live { .. } | Found::Dead | Found::Nothing | Found::Other { .. } => {}
    }
    if args.verbose {
        let options = settings.to_option_string();
        super::tell(&format_args!("mounting {} on {} ({options})", store.display(), target.display()));
    }
    if args.fake {
        return Ok(());
    }
    start(&store, target, settings)
}

/// Starts the keeper and waits until the root lists.
fn start(store: &Path, target: &Path, settings: &Settings) -> Result<(), MountError> {
    let options = settings.to_option_string();
    let mut keeper =
        Program::this().and_then(|program| program.start_keeper(store, target, &options)).map_err(MountError::Spawn)?;
    let mut verdict = String::new();
    if let Some(mut said) = keeper.stdout.take() {
        said.read_to_string(&mut verdict).map_err(MountError::Spawn)?;
    }
    match verdict.as_str() {
        READY => {}
        "" => return Err(MountError::KeeperSilent),
        _ => return Err(MountError::Keeper(verdict)),
    }
    list(target).map_err(|error| {
        let _ = sys::process::terminate(keeper.id());
        let _ = keeper.wait();
        MountError::Unlisted(target.into(), error)
    })
}

fn list(root: &Path) -> io::Result<()> {
    let (tell, told) = mpsc::channel();
    let root = root.to_owned();
    thread::spawn(move || {
        let _ = tell.send(fs::read_dir(root).map(Iterator::count));
    });
    let listed = told.recv_timeout(LISTING);
    listed.unwrap_or(Err(io::ErrorKind::TimedOut.into())).map(drop)
}

fn find_store(path: &Path) -> Result<PathBuf, MountError> {
    let store = fs::canonicalize(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => MountError::NoStore(path.into()),
        _ => MountError::StoreUnreadable(path.into(), error),
    })?;
    match fs::metadata(store.join(STORE_FILE)) {
        Ok(file) if file.is_file() => Ok(store),
        Ok(_) => Err(MountError::NoStore(path.into())),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Err(MountError::NoStore(path.into())),
            _ => Err(MountError::StoreUnreadable(path.into(), error)),
        },
    }
}

fn remount(args: &MountArgs, settings: &Settings) -> Result<(), MountError> {
    let target = ours(&args.mountpoint)?;
    if args.fake {
        return Ok(());
    }
    sys::mount::remount(&target, settings.mount_flags()).map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => MountError::OpenForWriting(target),
        _ => MountError::Kernel(target, error),
    })
}

fn unmount(args: &UmountArgs) -> Result<(), MountError> {
    let target = ours(&args.mountpoint)?;
    // Nobody can answer for a dead one, nor use it.
    let unmounted = if args.lazy || Mountpoint::resolve(&target)?.inspect()? == Found::Dead {
        sys::mount::detach(&target)
    } else {
        let views = views(&target).map_err(|error| MountError::Kernel(target.clone(), error))?;
        let live: BTreeSet<String> = views.iter().filter_map(|view| live_name(view.parent()?)).collect();
        if !live.is_empty() {
            return Err(MountError::Live(target, live.into_iter().collect()));
        }
        unmount_all(&views, &target)
    };
    unmounted.map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => MountError::Busy(target),
        _ => MountError::Kernel(target, error),
    })
}

/// What containers show in a tree: rootfs and shm in their directories.
fn views(target: &Path) -> io::Result<Vec<PathBuf>> {
    let is_part = |name: &OsStr| [Part::Rootfs, Part::Shm].iter().any(|part| name == part.name());
    let is_view = |path: &PathBuf| path.file_name().is_some_and(is_part) && path.ancestors().nth(3) == Some(target);
    Ok(mountinfo::read()?.into_iter().map(|mount| mount.mount_point).filter(is_view).collect())
}

/// The name of the container with this directory, if it lives.
fn live_name(ctr: &Path) -> Option<String> {
    let read = |name| fs::read_to_string(ctr.join(name)).ok().map(|text| text.trim_end().to_owned());
    Status::parse(&read("status")?).filter(|status| status.is_live())?;
    read("name")
}

/// Unmounts a tree with the views in it, or nothing of it.
fn unmount_all(views: &[PathBuf], target: &Path) -> io::Result<()> {
    let mut hidden = Vec::new();
    let views = views.iter().try_for_each(|view| {
        // A tree that is read-only cannot be asked to make it again. A copy does not keep it busy.
        let copy = open_no_follow(view).and_then(|root| cloned(root.as_fd()));
        sys::mount::unmount(view)?;
        hidden.extend(copy.map(|copy| (view, copy)));
        Ok(())
    });
    views.and_then(|()| sys::mount::unmount(target)).inspect_err(|_| {
        for (view, copy) in &hidden {
            let _ = open_no_follow(view).and_then(|directory| attach(copy.as_fd(), directory.as_fd()));
        }
    })
}

/// The path of a mount of ours, dead or alive.
fn ours(path: &Path) -> Result<PathBuf, MountError> {
    let mountpoint = Mountpoint::resolve(path)?.path().to_owned();
    let mounted = mountinfo::mounted_at(&mountpoint).map_err(|error| MountError::Kernel(mountpoint.clone(), error))?;
    match mounted {
        None => Err(MountError::NotMounted(mountpoint)),
        Some(mount) if mount.fs_type == FS_TYPE => Ok(mountpoint),
        Some(mount) => Err(MountError::NotOurs { mountpoint, fs_type: mount.fs_type }),
    }
}
