//! `ctrfs init`: a store is only ever made by name, never by a mistyped path at mount time.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::error::Error;
use crate::daemon::offline;

/// The arguments of `ctrfs init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The directory to make; one that exists must be empty
    store: PathBuf,
}

impl Init {
    /// Makes the store.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        offline::init(&self.store).map_err(Error::Store)?;
        Ok(ExitCode::SUCCESS)
    }
}
