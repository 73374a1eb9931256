//! `ctrfs gc`: what belongs to nothing in a store, shown, and removed only if that is said.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::error::Error;
use super::print;
use super::target::{Target, Where};
use crate::daemon::offline;

/// The arguments of `ctrfs gc`.
#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Remove it; else it is only shown
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

impl Gc {
    /// Prints what there is, a line each.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let mut found = String::new();
        match self.target.find()? {
            Where::Tree(tree) => {
                let order = json!({"verb": "gc", "dry-run": !self.yes}).to_string() + "\n";
                let asked = tree.ask("control", "collect what belongs to nothing", order.as_bytes(), &mut found);
                print(&found)?;
                asked?;
            }
            Where::Store(dir) => {
                let lines = offline::gc(&dir, !self.yes).map_err(Error::Store)?;
                print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
