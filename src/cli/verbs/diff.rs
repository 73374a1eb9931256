//! `ctrfs diff`: what a container changed in its image's files.

use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::error::Error;
use super::rootfs::{Container, Layers, marks, open};
use super::tree::{At, Tree};
use crate::driver::export::{Change, changes};

/// The arguments of `ctrfs diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The container's ID, name or prefix of an ID
    #[arg(value_name = "CTR")]
    container: String,
    #[command(flatten)]
    at: At,
}

impl Diff {
    /// Prints a line for each change.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let what = format!("compare container {} with its image", self.container);
        let tree = Tree::find(self.at)?;
        let container = Container::find(&tree, &self.container, &what)?;
        let layers = container.layers(&what)?;
        if let Some(upper) = &layers.upper {
            print(&container.unless_removed(&tree, &what, compare(layers, upper))?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn compare(layers: &Layers, upper: &Path) -> Result<Vec<Change>, Error> {
    changes(open(upper)?.as_fd(), layers.lowers_view()?.as_fd(), marks()).map_err(Error::Export)
}

/// Paths are bytes, written as they are. A reader that has gone wants no more: no error.
fn print(changes: &[Change]) -> Result<(), Error> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = changes.iter().try_for_each(|change| {
        let line = [&[change.kind.letter() as u8, b' '], change.path.as_os_str().as_bytes(), b"\n"].concat();
        out.write_all(&line)
    });
    match written.and_then(|()| out.flush()) {
        Err(cause) if cause.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(cause)),
        _ => Ok(()),
    }
}
