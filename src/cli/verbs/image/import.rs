//! `ctrfs image import`: unpacks in this process, so that no request waits for it; the server only takes
//! over what is complete.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::super::error::Error;
use super::super::new_image::{hand_over, stage};
use super::super::print;
use super::super::tree::{At, Tree};
use super::progress::Progress;
use crate::driver::dirs::layer_in;
use crate::driver::image::{self, ImageError, Imported, Options, Platform, Source, Watch};
use crate::driver::unpack::Limits;
use crate::model::id::Id;
use crate::model::image_name::ImageName;
use crate::sys::fd::wait_readable;
use crate::sys::host;
use crate::sys::signal::Notices;

/// How long an interrupted import may take to notice it. One that reads from a terminal never does.
const PATIENCE: Duration = Duration::from_secs(2);

/// The arguments of `ctrfs image import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Where the image comes from, such as oci:DIR:TAG or docker-archive:FILE
    source: String,
    /// What the image is to be called; localhost/ and :latest are filled in
    name: Option<String>,
    /// Take the image for this machine, such as linux/arm64 [default: this machine]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Print the ID only
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    at: At,
}

impl Import {
    /// Imports the image and prints its ID.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        // Before there is a second thread.
        let notices = Notices::block_unless_ignored().map_err(Error::Signals)?;
        let source = Source::parse(&self.source).map_err(Error::Image)?;
        let platform = self.platform.as_deref().map(Platform::parse).transpose().map_err(Error::Image)?;
        let name = self.name.as_deref().map(ImageName::parse).transpose().map_err(Error::ImageName)?;
        let tree = Tree::find(self.at)?;
        let staging = stage(&tree)?;
        let progress = Arc::new(Progress::new(self.quiet));
        let have = Have { store: tree.store()?, tree: tree.root().into() };
        let order = Order { source, platform, staging: staging.path(), have };
        let filled = order.fill(&notices, &progress).inspect_err(|_| progress.clear());
        let imported = filled.map_err(Error::Image)?;
        let names = match name {
            Some(name) => vec![name.to_string()],
            None => own_names(&imported.names, &*progress),
        };
        let id = hand_over(&tree, "import image", &staging, &imported, &names);
        progress.clear();
        let id = id?;
        progress.conclude(&names);
        print(&id)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The names that an image has where it comes from, as far as they can be names here.
fn own_names(names: &[String], watch: &dyn Watch) -> Vec<String> {
    let parsed = names.iter().filter_map(|name| match ImageName::parse(name) {
        Ok(name) => Some(name.to_string()),
        Err(refusal) => {
            watch.warn(&format!("not called {name}: {refusal}"));
            None
        }
    });
    parsed.collect()
}

/// Which layers are there already.
struct Have {
    store: PathBuf,
    tree: PathBuf,
}

impl Have {
    /// The tree of a layer that is on disk and that the store knows.
    fn layer(&self, id: Id) -> Option<PathBuf> {
        let tree = layer_in(&self.store, id);
        (tree.is_dir() && self.tree.join("layer").join(id.to_string()).exists()).then_some(tree)
    }
}

/// An import to be done.
struct Order {
    source: Source,
    platform: Option<Platform>,
    staging: PathBuf,
    have: Have,
}

impl Order {
    /// Does it in a thread of its own, until it is done or a signal ends it. A thread that does not
    /// notice ends with the process.
    fn fill(self, notices: &Notices, progress: &Arc<Progress>) -> Result<Imported, ImageError> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |cause| ImageError::Io { what, cause }
        };
        let (ended, running) = io::pipe().map_err(failed("pipe"))?;
        let (answer, answered) = mpsc::channel();
        let watch = Arc::clone(progress);
        let worker = thread::Builder::new().name("import".to_owned()).spawn(move || {
            let _running = running;
            // Nobody waits for it after an interruption.
            let _ = answer.send(self.import(&self.staging, &*watch));
        });
        worker.map_err(failed("thread"))?;
        let mut deadline: Option<Instant> = None;
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(ImageError::Cancelled);
            }
            let ready = wait_readable(&[ended.as_fd(), notices.as_fd()], left).map_err(failed("poll"))?;
            if ready[0] {
                // Closed without an answer: the thread has panicked, and said so.
                return answered.recv().unwrap_or(Err(ImageError::Cancelled));
            }
            if ready[1] && notices.next().map_err(failed("signal"))?.is_some() {
                progress.cancel();
                deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
            }
        }
    }

    fn import(&self, staging: &Path, watch: &dyn Watch) -> Result<Imported, ImageError> {
        let is_root = host::is_host_root();
        let options = Options { userxattr: !is_root, devices: is_root, limits: Limits::default() };
        let image = image::open(&self.source, staging, self.platform.as_ref(), &options.limits, watch)?;
        image::import(image, staging, |id| self.have.layer(id), &options, watch)
    }
}
