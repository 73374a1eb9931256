//! `ctrfs image rm`: a name is taken away, an ID removed. What is in use stays.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::super::each;
use super::super::error::Error;
use super::super::tree::{At, Tree, is_id};
use crate::model::image_name::ImageName;

/// The arguments of `ctrfs image rm`.
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Names, with localhost/ and :latest left out or not, or full IDs
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// What is already gone is no error
    #[arg(long)]
    ignore: bool,
    #[command(flatten)]
    at: At,
}

impl Rm {
    /// Removes everything named, and then tells all that failed.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let tree = Tree::find(self.at)?;
        Ok(each(&self.names, self.ignore, |name| remove(&tree, name)))
    }
}

fn remove(tree: &Tree, name: &str) -> Result<(), Error> {
    let what = format!("remove image {name}");
    if is_id(name) {
        return tree.call(&what, |root| fs::remove_dir(root.join("image").join(name)));
    }
    let whole = ImageName::parse(name).map_err(Error::ImageName)?.to_string();
    tree.call(&what, |root| fs::remove_file(root.join("image-name").join(Path::new(&whole))))
}
