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
        let container = Container::find(&tree, &self.container, &what)?;
        let write = |out: &mut dyn Write| {
            let written = root_of(&tree, &container).and_then(|root| write_to(root, out));
            container.unless_removed(&tree, &what, written)
        };
        match file {
            None => {
                let out = io::stdout().as_fd().try_clone_to_owned().map_err(Error::Output)?;
                write(&mut fs::File::from(out)).map_err(|error| match error {
                    Error::Export(ExportError::Output(cause)) => Error::Output(cause),
                    other => other,
                })?;
            }
            Some(file) => into_file(write, &file)?,
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

fn write_to(root: OwnedFd, out: &mut dyn Write) -> Result<(), Error> {
    write_tree(root.as_fd(), Names::All, out, &mut |warning| warn(&warning)).map_err(Error::Export)
}

/// Writes a file that is there when it is whole, or not at all. What is no regular file (a pipe, a
/// device) is written to where it is.
fn into_file(write: impl Fn(&mut dyn Write) -> Result<(), Error>, path: &Path) -> Result<(), Error> {
    let unwritable = |cause| Error::File { path: path.to_owned(), cause };
    let failed = |error| match error {
        Error::Export(ExportError::Output(cause)) => unwritable(cause),
        other => other,
    };
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let mut file = fs::OpenOptions::new().write(true).open(path).map_err(unwritable)?;
        return write(&mut file).map_err(failed);
    }
    // A signal must not end the process before the unfinished file is removed.
    let interruption = Interruption::listen()?;
    let mut file = NewFile::create(path, &interruption).map_err(unwritable)?;
    match write(&mut file) {
        Err(_) if interruption.is_raised() => Err(Error::Interrupted),
        written => {
            written.map_err(failed)?;
            file.finish().map_err(unwritable)
        }
    }
}
