//! `ctrfs export`: a container's files as one tar archive.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::error::Error;
use super::interruption::Interruption;
use super::new_file::NewFile;
use super::rootfs::{Container, Files, open};
use super::tree::{At, Tree};
use super::warn;
use crate::driver::export::{ExportError, Names, write_tree};

/// The arguments of `ctrfs export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The container's ID, name or prefix of an ID
    #[arg(value_name = "CTR")]
    container: String,
    /// The archive to make; it appears when it is whole [default: standard output]
    file: Option<PathBuf>,
    #[command(flatten)]
    at: At,
}

impl Export {
    /// Writes the archive.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        let file = self.file.filter(|file| file != Path::new("-"));
        if file.is_none() && io::stdout().is_terminal() {
            return Err(Error::Terminal);
        }
        let what = format!("export container {}", self.container);
        let tree = Tree::find(self.at)?;
        let root = root_of(&tree, &Container::find(&tree, &self.container, &what)?)?;
        match file {
            None => {
                let out = io::stdout().as_fd().try_clone_to_owned().map_err(Error::Output)?;
                write_to(root, &mut fs::File::from(out)).map_err(|error| match error {
                    ExportError::Output(cause) => Error::Output(cause),
                    other => Error::Export(other),
                })?;
            }
            Some(file) => into_file(root, &file)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The container's files as one tree: where it is mounted, what is mounted.
fn root_of(tree: &Tree, container: &Container) -> Result<OwnedFd, Error> {
    let layers = match &container.files {
        Files::Plain(rootfs) => return Ok(open(rootfs)?.into()),
        Files::Layers(layers) => layers,
    };
    if tree.read(&format!("ctr/{}/mounted", container.id))?.trim_end() == "1" {
        let run_root = PathBuf::from(tree.read("runtime-config/run-root")?.trim_end_matches('\n'));
        return Ok(open(&run_root.join("p").join(&container.id).join("rootfs"))?.into());
    }
    layers.whole_view()
}

fn write_to(root: OwnedFd, out: &mut dyn Write) -> Result<(), ExportError> {
    write_tree(root.as_fd(), Names::All, out, &mut |warning| warn(&warning))
}

/// Writes a file that is there when it is whole, or not at all. What is no regular file (a pipe, a
/// device) is written to where it is.
fn into_file(root: OwnedFd, path: &Path) -> Result<(), Error> {
    let failed = |error| match error {
        ExportError::Output(cause) => Error::File { path: path.to_owned(), cause },
        other => Error::Export(other),
    };
    let unwritable = |cause| Error::File { path: path.to_owned(), cause };
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let mut file = fs::OpenOptions::new().write(true).open(path).map_err(unwritable)?;
        return write_to(root, &mut file).map_err(failed);
    }
    // A signal must not end the process before the unfinished file is removed.
    let interruption = Interruption::listen()?;
    let mut file = NewFile::create(path, &interruption).map_err(unwritable)?;
    match write_to(root, &mut file) {
        Err(_) if interruption.is_raised() => Err(Error::Interrupted),
        written => {
            written.map_err(failed)?;
            file.finish().map_err(unwritable)
        }
    }
}
