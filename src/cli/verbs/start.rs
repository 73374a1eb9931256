//! `ctrfs start` and `ctrfs stop`: a container's root filesystem there, or not there.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::error::Error;
use super::rootfs::resolve;
use super::tree::{At, Kind, Tree};
use super::{each, print};

/// The arguments of `ctrfs start`.
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// IDs, names or prefixes
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    #[command(flatten)]
    at: At,
}

impl Start {
    /// Mounts everything named, prints where, and then tells all that failed.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let tree = Tree::find(self.at)?;
        Ok(each(&self.containers, false, |container| {
            let directory = set(&tree, container, "start", "1\n")?;
            print(&format!("{}\n", directory.join("rootfs").display()))
        }))
    }
}

/// The arguments of `ctrfs stop`.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// IDs, names or prefixes
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
    /// What is gone is no error
    #[arg(long)]
    ignore: bool,
    #[command(flatten)]
    at: At,
}

impl Stop {
    /// Unmounts everything named, and then tells all that failed.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let tree = Tree::find(self.at)?;
        Ok(each(&self.containers, self.ignore, |container| set(&tree, container, "stop", "0\n").map(drop)))
    }
}

/// Writes a line to `mounted` of a container. Returns the container's directory.
fn set(tree: &Tree, container: &str, verb: &str, line: &str) -> Result<PathBuf, Error> {
    let what = format!("{verb} container {container}");
    let entry = PathBuf::from("ctr").join(resolve(tree, container, &what)?);
    let written = tree.call(&what, |root| {
        let mut file = OpenOptions::new().write(true).open(root.join(&entry).join("mounted"))?;
        file.write_all(line.as_bytes())
    });
    match written {
        Err(error) if error.is_gone() => Err(Error::NoSuch { what, kind: Kind::Container }),
        written => written.map(|()| tree.root().join(entry)),
    }
}
