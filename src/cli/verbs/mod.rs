//! The verbs that work on a store or on a mounted tree. A tree is acted on with plain file calls.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Subcommand;

use error::Error;

mod check;
mod commit;
mod create;
mod diff;
mod error;
mod export;
mod gc;
mod image;
mod init;
mod interruption;
mod new_file;
mod new_image;
mod ps;
mod refusals;
mod rm;
mod rootfs;
mod start;
mod table;
mod target;
mod time;
mod tree;
mod wipe;

/// What can be asked of ctrfs besides mounting it.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a new, empty store
    Init(init::Init),
    /// Create containers, pods or pod sandboxes from JSON documents on standard input
    ///
    /// Prints the new IDs, one a line. The keys are those of config; {} takes every default. Several
    /// documents, up to 1 MiB, are one transaction: all are created, or none.
    Create(create::Create),
    /// Remove containers, or pods
    ///
    /// Takes full IDs and exact names, never prefixes. Goes on after a failure and tells all of them.
    Rm(rm::Rm),
    /// Mount containers' root filesystems
    ///
    /// Prints where each is, a line for each container.
    Start(start::Start),
    /// Unmount containers' root filesystems
    Stop(start::Stop),
    /// List containers, or pods
    Ps(ps::Ps),
    /// List what a container changed in its image's files
    ///
    /// A line for each path: A for added, C for changed, D for deleted.
    Diff(diff::Diff),
    /// Write a container's files as a tar archive
    ///
    /// The archive holds what the container sees, its image's files and its own.
    Export(export::Export),
    /// Make a new image from a container's image and what the container wrote
    ///
    /// Prints the image's ID.
    Commit(commit::Commit),
    /// Import, list and remove images
    Image(image::Image),
    /// Check that a store is sound, mounted or not, and repair it
    ///
    /// Prints "ok", or one line for each finding and exits 1. A repair prints a line for each thing that
    /// it mended, removed or left.
    Check(check::Check),
    /// Show files beside a store that belong to nothing in it, or remove them
    ///
    /// Prints a line for each: its bytes and its path.
    Gc(gc::Gc),
    /// Remove all containers and pods
    ///
    /// In one transaction, refused while a container is running or paused. Prints the IDs removed.
    Wipe(wipe::Wipe),
}

impl Verb {
    /// Does what the verb says; failures are told on standard error.
    pub(crate) fn run(self) -> ExitCode {
        let outcome = match self {
            Verb::Init(init) => init.run(),
            Verb::Create(create) => create.run(),
            Verb::Rm(rm) => rm.run(),
            Verb::Start(start) => start.run(),
            Verb::Stop(stop) => stop.run(),
            Verb::Ps(ps) => ps.run(),
            Verb::Diff(diff) => diff.run(),
            Verb::Export(export) => export.run(),
            Verb::Commit(commit) => commit.run(),
            Verb::Image(image) => image.run(),
            Verb::Check(check) => check.run(),
            Verb::Gc(gc) => gc.run(),
            Verb::Wipe(wipe) => wipe.run(),
        };
        outcome.unwrap_or_else(|error| {
            report(&error);
            error.status()
        })
    }
}

/// Does something to everything named, and then tells all that failed. What is gone may be no failure.
fn each(names: &[String], ignore_gone: bool, act: impl Fn(&str) -> Result<(), Error>) -> ExitCode {
    let failures = names.iter().filter_map(|name| act(name).err());
    let failures: Vec<Error> = failures.filter(|error| !(ignore_gone && error.is_gone())).collect();
    failures.iter().for_each(report);
    match failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Tells a failure.
fn report(error: &Error) {
    super::tell(error);
}

/// Tells what was left out or is not as it was.
fn warn(warning: &impl std::fmt::Display) {
    super::tell(&format_args!("warning: {warning}"));
}

/// Prints to standard output. A reader that has gone (`ctrfs ps | head -1`) wants no more: no error.
fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(cause) if cause.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(cause)),
        _ => Ok(()),
    }
}
