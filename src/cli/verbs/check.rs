//! `ctrfs check`: of the live store through its tree where it is mounted, else of the files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::error::Error;
use super::print;
use super::tree::Tree;
use crate::store;

/// The arguments of `ctrfs check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The store's directory
    store: PathBuf,
}

impl Check {
    /// Prints the findings; a sound store is a success.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let dir = fs::canonicalize(&self.store).map_err(|cause| Error::Directory {
            dir: self.store,
            cause,
        })?;
        let (sound, text) = match Tree::of_store(&dir)? {
            Some(tree) => mounted(&tree)?,
            None => unmounted(&dir)?,
        };
        print(&text)?;
        Ok(match sound {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

fn mounted(tree: &Tree) -> Result<(bool, String), Error> {
    let text = tree.read("check")?;
    Ok((text.starts_with("ok"), text))
}

fn unmounted(dir: &Path) -> Result<(bool, String), Error> {
    let findings = store::check(dir).map_err(|cause| Error::Store {
        dir: dir.to_owned(),
        cause,
    })?;
    Ok(match findings.is_empty() {
        true => (true, "ok\n".to_owned()),
        false => (false, findings.join("\n") + "\n"),
    })
}
