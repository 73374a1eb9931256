//! `ctrfs check`: of the live store through its tree where it is mounted, else of the files.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::error::Error;
use super::print;
use super::tree::Tree;
use crate::daemon::offline;

/// The arguments of `ctrfs check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The store's directory
    store: PathBuf,
}

impl Check {
    /// Prints the findings; a sound store is a success.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let dir = fs::canonicalize(&self.store).map_err(|cause| Error::Directory { dir: self.store, cause })?;
        let text = match Tree::of_store(&dir)? {
            Some(tree) => tree.read("check")?,
            None => offline::check(&dir).map_err(Error::Store)?,
        };
        print(&text)?;
        Ok(if text.starts_with("ok") { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
