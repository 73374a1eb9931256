//! The command lines that this program writes for itself: keeper and server.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::daemon::settings::{OptionError, Settings};
use crate::daemon::{keeper, server};
use crate::sys;

/// Own the device, the lock and the mount of a store, and keep a server running.
#[derive(Debug, Args)]
pub(super) struct KeeperArgs {
    store: PathBuf,
    mountpoint: PathBuf,
    #[arg(short, value_parser = settings)]
    options: Settings,
}

/// Serve a store on a connection that a keeper owns.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    store: PathBuf,
    #[arg(short, value_parser = settings)]
    options: Settings,
    /// Number of the inherited descriptor of /dev/fuse
    #[arg(long)]
    device: RawFd,
    /// Number of the inherited descriptor of the link to the keeper
    #[arg(long)]
    link: RawFd,
    /// Number of the inherited descriptor of the store's lock
    #[arg(long)]
    lock: RawFd,
}

fn settings(text: &str) -> Result<Settings, OptionError> {
    Settings::parse(text)
}

pub(super) fn keeper(args: KeeperArgs) -> ExitCode {
    let ready = match take_stdout() {
        Ok(ready) => ready,
        Err(_) => return ExitCode::FAILURE,
    };
    let job = keeper::Job { store: args.store, mountpoint: args.mountpoint, settings: args.options };
    keeper::run(job, ready)
}

fn take_stdout() -> io::Result<File> {
    sys::fd::close_inherited()?;
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

pub(super) fn server(args: ServerArgs) -> ExitCode {
    let job = server::Job {
        store: args.store,
        settings: args.options,
        device: args.device,
        link: args.link,
        lock: args.lock,
    };
    server::run(&job)
}
