//! `ctrfs check`: of the live store through its tree where it is mounted, else of the files.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::error::Error;
use super::print;
use super::target::{Target, Where};
use crate::daemon::offline;

/// The arguments of `ctrfs check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Mend what is found, and remove images and layers that cannot be mended
    #[arg(long)]
    repair: bool,
    /// Remove containers and pods that cannot be mended, too
    #[arg(long, requires = "repair")]
    force: bool,
    #[command(flatten)]
    target: Target,
}

impl Check {
    /// Prints what was done, and the findings; a sound store is a success.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let place = self.target.find()?;
        if self.repair {
            print(&repair(&place, self.force)?)?;
        }
        let text = match &place {
            Where::Tree(tree) => tree.read("check")?,
            Where::Store(dir) => offline::check(dir).map_err(Error::Store)?,
        };
        let is_sound = text.starts_with("ok");
        // What a repair leaves it has said.
        if is_sound || !self.repair {
            print(&text)?;
        }
        Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn repair(place: &Where, force: bool) -> Result<String, Error> {
    match place {
        Where::Tree(tree) => {
            let mut lines = String::new();
            let order = format!("{}\n", json!({"verb": "repair", "force": force}));
            tree.ask("control", "repair the store", order.as_bytes(), &mut lines)?;
            Ok(lines)
        }
        Where::Store(dir) => {
            let lines = offline::repair(dir, force).map_err(Error::Store)?;
            Ok(lines.into_iter().map(|line| line + "\n").collect())
        }
    }
}
