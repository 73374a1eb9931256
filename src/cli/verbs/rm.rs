//! `ctrfs rm`: full IDs and exact names only; a prefix is for looking, not for removing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::error::Error;
use super::report;
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
    let what = format!("remove pod {name} and its containers");
    // A document may name its pod by a prefix, a removal may not: so the full ID goes in.
    let id = resolve(tree, Kind::Pod, name, &what)?;
    let mut request = json!({"verb": "remove", "pod": id, "recursive": true}).to_string();
    request.push('\n');
    tree.ask("control", &what, request.as_bytes(), &mut String::new())
}

fn remove(tree: &Tree, kind: Kind, name: &str) -> Result<(), Error> {
    let what = format!("remove {} {name}", kind.noun());
    let entry = |entry: &str| Path::new(kind.directory()).join(entry);
    match resolve(tree, kind, name, &what) {
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

/// The full ID that `name` is, or is the exact name of.
fn resolve(tree: &Tree, kind: Kind, name: &str, what: &str) -> Result<String, Error> {
    if is_id(name) {
        return Ok(name.to_owned());
    }
    if !is_one_component(name) {
        return Err(Error::BadName(name.to_owned()));
    }
    let no_such = || Error::NoSuch { what: what.to_owned(), kind };
    let target = match tree.call(what, |root| fs::read_link(root.join("name").join(name))) {
        Err(error) if error.is_gone() => return Err(no_such()),
        target => target?,
    };
    match object(&target) {
        Some((found, id)) if found == kind => Ok(id),
        Some((is, _)) => Err(Error::OtherKind { name: name.to_owned(), is }),
        None => Err(no_such()),
    }
}

/// The object that an entry of `name/` leads to, `../ctr/<id>`.
fn object(target: &Path) -> Option<(Kind, String)> {
    let id = target.file_name()?.to_str()?;
    let directory = target.parent()?.file_name()?.to_str()?;
    let kind = [Kind::Container, Kind::Pod].into_iter().find(|kind| kind.directory() == directory)?;
    Some((kind, id.to_owned()))
}

/// Whether this is a full ID.
pub(crate) fn is_id(name: &str) -> bool {
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
        assert_eq!(object(Path::new("../ctr/0a")), Some((Kind::Container, "0a".into())));
        assert_eq!(object(Path::new("../pod/0a")), Some((Kind::Pod, "0a".into())));
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
