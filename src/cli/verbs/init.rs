//! `ctrfs init`: a store is only ever made by name, never by a mistyped path at mount time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::error::Error;
use crate::store;

/// The file that makes a directory a store.
const DATABASE: &str = "ctrfs.redb";

/// The arguments of `ctrfs init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The directory to make; one that exists must be empty
    store: PathBuf,
}

impl Init {
    /// Makes the store.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        vacant(&self.store)?;
        create(&self.store)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn create(dir: &Path) -> Result<(), Error> {
    store::create(dir).map_err(|cause| Error::Store {
        dir: dir.to_owned(),
        cause,
    })
}

fn vacant(dir: &Path) -> Result<(), Error> {
    let failed = |cause| Error::Directory {
        dir: dir.to_owned(),
        cause,
    };
    let entries = match fs::read_dir(dir) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    if dir.join(DATABASE).exists() {
        return Err(Error::StoreExists(dir.to_owned()));
    }
    for entry in entries {
        // A new ext4 is as empty as a directory of its own can be.
        if entry.map_err(failed)?.file_name() != "lost+found" {
            return Err(Error::DirectoryNotEmpty(dir.to_owned()));
        }
    }
    Ok(())
}
