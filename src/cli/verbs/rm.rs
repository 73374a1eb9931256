//! `ctrfs rm`: full IDs and exact names only; a prefix is for looking, not for removing.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::each;
use super::error::Error;
use super::tree::{At, Kind, Tree};

/// The arguments of `ctrfs rm`.
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Full IDs or exact names, removed in this order
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Remove empty pods instead of containers
    #[arg(long)]
    pod: bool,
    /// Remove pods with all their containers, each pod in one transaction
    #[arg(long, short)]
    recursive: bool,
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
        let remove = match (self.recursive, self.pod) {
            (true, _) => remove_recursively,
            (false, true) => remove_pod,
            (false, false) => remove_container,
        };
        Ok(each(&self.names, self.ignore, |name| remove(&tree, name)))
    }
}

fn remove_container(tree: &Tree, name: &str) -> Result<(), Error> {
    remove(tree, Kind::Container, name)
}

fn remove_pod(tree: &Tree, name: &str) -> Result<(), Error> {
    remove(tree, Kind::Pod, name)
}

fn remove_recursively(tree: &Tree, name: &str) -> Result<(), Error> {
    let what = format!("remove pod {name} and its containers");
    // A document may name its pod by a prefix, a removal may not: so the full ID goes in.
    let id = tree.resolve(Kind::Pod, name, &what)?;
    let mut request = json!({"verb": "remove", "pod": id, "recursive": true}).to_string();
    request.push('\n');
    tree.ask("control", &what, request.as_bytes(), &mut String::new())
}

fn remove(tree: &Tree, kind: Kind, name: &str) -> Result<(), Error> {
    let what = format!("remove {} {name}", kind.noun());
    let entry = |entry: &str| Path::new(kind.directory()).join(entry);
    match tree.resolve(kind, name, &what) {
        Ok(id) => known(tree.call(&what, |root| fs::remove_dir(root.join(entry(&id)))), &what, kind),
        // A prefix is refused by the tree, in its words.
        Err(Error::NoSuch { .. }) => {
            known(tree.call(&what, |root| fs::remove_file(root.join(entry(name)))), &what, kind)
        }
        Err(error) => Err(error),
    }
}

/// What is not there gets words of our own: the tree keeps no refusal of a search.
fn known(removed: Result<(), Error>, what: &str, kind: Kind) -> Result<(), Error> {
    match removed {
        Err(error) if error.is_gone() => Err(Error::NoSuch { what: what.to_owned(), kind }),
        other => other,
    }
}
