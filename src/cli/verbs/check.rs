//! `ctrfs check`: of the live store through its tree where it is mounted, else of the files.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::error::Error;
use super::print;
use super::tree::Tree;
use crate::daemon::offline;

/// The arguments of `ctrfs check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The store's directory, or where it is mounted [default: $CTRFS_AT, else the only one mounted]
    #[arg(value_name = "STORE|MOUNTPOINT")]
    place: Option<PathBuf>,
    /// Mend what is found, and remove images and layers that cannot be mended
    #[arg(long)]
    repair: bool,
    /// Remove containers and pods that cannot be mended, too
    #[arg(long, requires = "repair")]
    force: bool,
}

/// What is checked.
enum Place {
    /// A store that is mounted, through its tree.
    Mounted(Tree),
    /// The files of one that is not.
    Store(PathBuf),
}

impl Check {
    /// Prints what was done, and the findings; a sound store is a success.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let place = Place::find(self.place)?;
        if self.repair {
            print(&place.repair(self.force)?)?;
        }
        let text = place.check()?;
        let is_sound = text.starts_with("ok");
        // What a repair leaves it has said.
        if is_sound || !self.repair {
            print(&text)?;
        }
        Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Place {
    fn find(given: Option<PathBuf>) -> Result<Place, Error> {
        let Some(given) = given else { return Tree::find(super::tree::At::default()).map(Place::Mounted) };
        let dir = fs::canonicalize(&given).map_err(|cause| Error::Directory { dir: given, cause })?;
        Ok(match Tree::of_store(&dir)? {
            Some(tree) => Place::Mounted(tree),
            None => Tree::mounted_at(&dir)?.map_or(Place::Store(dir), Place::Mounted),
        })
    }

    fn check(&self) -> Result<String, Error> {
        match self {
            Place::Mounted(tree) => tree.read("check"),
            Place::Store(dir) => offline::check(dir).map_err(Error::Store),
        }
    }

    fn repair(&self, force: bool) -> Result<String, Error> {
        match self {
            Place::Mounted(tree) => {
                let mut lines = String::new();
                let order = format!("{}\n", json!({"verb": "repair", "force": force}));
                tree.ask("control", "repair the store", order.as_bytes(), &mut lines)?;
                Ok(lines)
            }
            Place::Store(dir) => {
                let lines = offline::repair(dir, force).map_err(Error::Store)?;
                Ok(lines.into_iter().map(|line| line + "\n").collect())
            }
        }
    }
}
