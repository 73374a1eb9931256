//! Threads beside those that read the kernel's requests, for what may wait.
//!
//! A request that waits for mounts goes there with its reply. What rmdir(2) waits for has a thread of
//! its own: the caller holds locks of directories until it is answered, and mounting walks through
//! those very directories.

use std::sync::mpsc::{Sender, channel};
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

/// One thread that does one thing after the other.
#[derive(Clone, Debug)]
pub struct Lane(Sender<Job>);

impl Lane {
    /// A thread of this name, that ends with the last copy of the lane.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn open(name: &str) -> std::io::Result<Lane> {
        let (sender, jobs) = channel::<Job>();
        thread::Builder::new().name(name.to_owned()).spawn(move || jobs.into_iter().for_each(|job| job()))?;
        Ok(Lane(sender))
    }

    /// Has something done there, after what is there already.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        // The thread ends when nobody can send any more.
        let _ = self.0.send(Box::new(job));
    }
}

/// The threads of one filesystem.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// Mounts and unmounts.
    pub mount: Lane,
    /// Removes what is mounted; never looks a name up in the tree.
    pub remove: Lane,
    /// Looks through directories.
    pub measure: Lane,
    /// Looks into a rootfs for a spec.
    pub bundle: Lane,
    /// Carries out tasks that may last.
    pub task: Lane,
    /// Copies and looks through the bytes of large files.
    pub items: Lane,
}

impl Lanes {
    /// Opens all.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn open() -> std::io::Result<Lanes> {
        Ok(Lanes {
            mount: Lane::open("mount")?,
            remove: Lane::open("remove")?,
            measure: Lane::open("measure")?,
            bundle: Lane::open("bundle")?,
            task: Lane::open("task")?,
            items: Lane::open("items")?,
        })
    }
}
