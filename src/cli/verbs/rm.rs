//! `ctrfs rm`: full IDs and exact names only; a prefix is for looking, not for removing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::error::Error;
use super::report;
use super::tree::{At, Kind, Tree};

/// Removes containers or pods.
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Full ID or exact name; a prefix is refused. Removed in this order, going on after a failure
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
        let failures: Vec<Error> = self
            .names
            .iter()
            .filter_map(|name| remove(&tree, name).err())
            .filter(|error| !(self.ignore && error.is_gone()))
            .collect();
        failures.iter().for_each(report);
        Ok(match failures.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

fn remove_container(tree: &Tree, name: &str) -> Result<(), Error> {
    remove(tree, Kind::Container, name)
}

fn remove_pod(tree: &Tree, name: &str) -> Result<(), Error> {
    remove(tree, Kind::Pod, name)
}

fn remove_recursively(tree: &Tree, name: &str) -> Result<(), Error> {
    let mut request = json!({"verb": "remove", "pod": name, "recursive": true}).to_string();
    request.push('\n');
    let what = format!("remove pod {name} and its containers");
    tree.ask("control", &what, request.as_bytes()).map(drop)
}

fn remove(tree: &Tree, kind: Kind, name: &str) -> Result<(), Error> {
    if !is_one_component(name) {
        return Err(Error::BadName(name.to_owned()));
    }
    let what = format!("remove {} {name}", kind.noun());
    if is_id(name) {
        return tree.call(&what, |root| {
            fs::remove_dir(root.join(kind.directory()).join(name))
        });
    }
    match tree.call(&what, |root| fs::read_link(root.join("name").join(name))) {
        Ok(target) => {
            let (found, id) = object(&target).unwrap_or((kind, name.to_owned()));
            if found != kind {
                let name = name.to_owned();
                return Err(Error::OtherKind { name, is: found });
            }
            tree.call(&what, |root| {
                fs::remove_dir(root.join(kind.directory()).join(id))
            })
        }
        // Not a name. A prefix is refused by the tree, in its words.
        Err(error) if error.is_gone() => tree.call(&what, |root| {
            fs::remove_file(root.join(kind.directory()).join(name))
        }),
        Err(error) => Err(error),
    }
}

/// The object that an entry of `name/` leads to, `../ctr/<id>`.
fn object(target: &Path) -> Option<(Kind, String)> {
    let id = target.file_name()?.to_str()?;
    let directory = target.parent()?.file_name()?.to_str()?;
    let kind = [Kind::Container, Kind::Pod]
        .into_iter()
        .find(|kind| kind.directory() == directory)?;
    Some((kind, id.to_owned()))
}

fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a path made with `name` stays in its directory.
fn is_one_component(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && PathBuf::from(name).file_name() == Some(name.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_s_link_says_what_it_is() {
        assert_eq!(
            object(Path::new("../ctr/0a")),
            Some((Kind::Container, "0a".into()))
        );
        assert_eq!(
            object(Path::new("../pod/0a")),
            Some((Kind::Pod, "0a".into()))
        );
        assert_eq!(object(Path::new("../image/0a")), None);
        assert_eq!(object(Path::new("0a")), None);
    }

    #[test]
    fn ids_are_full() {
        assert!(is_id(&"0f".repeat(32)));
        assert!(!is_id(&"0F".repeat(32)));
        assert!(!is_id("0f0f0f"));
    }

    #[test]
    fn no_name_leaves_its_directory() {
        assert!(is_one_component("web"));
        for wrong in ["", ".", "..", "/", "a/b", "../a", "a/", "a/."] {
            assert!(!is_one_component(wrong), "{wrong}");
        }
    }
}
