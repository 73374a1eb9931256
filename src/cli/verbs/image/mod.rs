//! `ctrfs image`: images in, listed and out.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::error::Error;

mod import;
mod ls;
mod progress;
mod rm;

/// The arguments of `ctrfs image`.
#[derive(Debug, Args)]
pub(crate) struct Image {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Import an image from files or from podman's store
    ///
    /// SOURCE is oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME] (FILE may be - for
    /// standard input), dir:ROOTFS for the root directory of a system, or containers-storage:[ROOT/]NAME
    /// for podman's store. Prints the image's ID. Without NAME the image gets the names it has there.
    Import(import::Import),
    /// List images
    Ls(ls::Ls),
    /// Take a name away, or remove an image by its ID
    ///
    /// Takes full IDs and exact names. Goes on after a failure and tells all of them.
    Rm(rm::Rm),
}

impl Image {
    /// Does what the verb says.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        match self.verb {
            Verb::Import(import) => import.run(),
            Verb::Ls(ls) => ls.run(),
            Verb::Rm(rm) => rm.run(),
        }
    }
}
