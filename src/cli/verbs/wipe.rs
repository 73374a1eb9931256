//! `ctrfs wipe`: everything goes, if whoever types it says so once more.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::error::Error;
use super::print;
use super::target::{Target, Where};
use crate::daemon::offline;

/// The arguments of `ctrfs wipe`.
#[derive(Debug, Args)]
pub(crate) struct Wipe {
    /// Remove the images, too
    #[arg(long)]
    images: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

impl Wipe {
    /// Prints the IDs of what is removed, one a line.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let found = self.target.find()?;
        if !self.yes {
            let images = if self.images { ", pods and images" } else { " and pods" };
            confirm(&format!("Remove all containers{images} of {}? [y/N] ", found.path().display()))?;
        }
        let mut removed = String::new();
        let wiped = match found {
            Where::Tree(tree) => {
                let order = json!({"verb": "wipe", "images": self.images}).to_string() + "\n";
                tree.ask("control", "wipe", order.as_bytes(), &mut removed)
            }
            Where::Store(dir) => {
                let mut ids = Vec::new();
                let wiped = offline::wipe(&dir, self.images, &mut ids).map_err(Error::Store);
                ids.iter().for_each(|id| removed += &format!("{id} "));
                wiped
            }
        };
        print(&removed.split_whitespace().map(|id| format!("{id}\n")).collect::<String>())?;
        wiped.map(|()| ExitCode::SUCCESS)
    }
}

/// Asks on the terminal; anything but a yes is a no.
fn confirm(question: &str) -> Result<(), Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::Unconfirmed);
    }
    let mut answer = String::new();
    let asked = write!(io::stderr(), "{question}").and_then(|()| io::stdin().lock().read_line(&mut answer));
    asked.map_err(Error::Input)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::Declined),
    }
}
