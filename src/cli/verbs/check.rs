//! `ctrfs check`: of the live store through its tree where it is mounted, else of the files.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::error::Error;
use super::print;
use super::target::{Target, Where};
use super::tree::Tree;
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
    /// Compare what the files of layers hold, too, which reads all of them
    #[arg(long)]
    contents: bool,
    #[command(flatten)]
    target: Target,
}

impl Check {
    /// Prints what was done, and the findings; a sound store is a success.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let place = self.target.find()?;
        if self.repair {
            print(&repair(&place, self.force, self.contents)?)?;
        }
        let text = match &place {
            Where::Tree(tree) if self.contents => {
                order(tree, "check the store", &json!({"verb": "check", "contents": true}))?
            }
            Where::Tree(tree) => tree.read("check")?,
            Where::Store(dir) => offline::check(dir, self.contents).map_err(Error::Store)?,
        };
        let is_sound = text.starts_with("ok");
        // What a repair leaves it has said.
        if is_sound || !self.repair {
            print(&text)?;
        }
        Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn repair(place: &Where, force: bool, contents: bool) -> Result<String, Error> {
    match place {
        Where::Tree(tree) => {
            order(tree, "repair the store", &json!({"verb": "repair", "force": force, "contents": contents}))
        }
        Where::Store(dir) => {
            let lines = offline::repair(dir, force, contents).map_err(Error::Store)?;
            Ok(lines.into_iter().map(|line| line + "\n").collect())
        }
    }
}

/// What a task answers.
fn order(tree: &Tree, what: &str, document: &Value) -> Result<String, Error> {
    let mut lines = String::new();
    tree.ask("control", what, format!("{document}\n").as_bytes(), &mut lines)?;
    Ok(lines)
}
