//! Commits beside other work.
//!
//! Mounting and the commit that records it take about as long as each other, the one in the kernel,
//! the other on the disk. So they are done at the same time, and a step that must not stand alone is
//! taken back.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::{Engine, Error, Origin, Result, World};
use crate::model::record::{Answer, Change};
use crate::store::{Done, StoreError, Update};

type Step = Box<dyn FnOnce() + Send>;

/// A thread that commits one step after the other.
pub(super) struct Committer(Sender<Step>);

/// A step that is being committed.
pub(super) struct Commit(Receiver<Result<Done>>);

impl Committer {
    /// Starts the thread; it goes with the committer.
    pub(super) fn start() -> io::Result<Committer> {
        let (sender, steps) = channel::<Step>();
        thread::Builder::new().name("commit".to_owned()).spawn(move || steps.into_iter().for_each(|step| step()))?;
        Ok(Committer(sender))
    }
}

impl Commit {
    /// Waits until it is on disk, or refused.
    pub(super) fn wait(self) -> Result<Done> {
        self.0.recv().unwrap_or(Err(StoreError::Closed.into()))
    }
}

impl Engine {
    /// Begins to commit a change; [`Engine::apply`] would wait for it.
    pub(super) fn begin(
        &self,
        origin: Origin,
        change: impl Fn(&Update<'_>, &World) -> Result<(Answer, Vec<Change>)> + Send + 'static,
    ) -> Commit {
        let (result, commit) = channel();
        let step = self.step(origin, change);
        if let Some(Committer(steps)) = &self.committer {
            // Without the thread nobody has the result either, and waiting says so.
            let _ = steps.send(Box::new(move || {
                let _ = result.send(step());
            }));
        }
        Commit(commit)
    }

    /// Takes back what was committed, by `change`, and says why.
    pub(super) fn take_back(
        &self,
        origin: Origin,
        done: Done,
        why: Error,
        change: impl Fn(&Update<'_>, &World) -> Result<(Answer, Vec<Change>)> + Send + 'static,
    ) -> Error {
        if done.changes.is_empty() {
            return why;
        }
        if let Err(error) = self.step(origin, change)() {
            log::warn!("what was to be taken back stays in the store: {error}");
        }
        // The answer that was kept is none.
        self.arrived(origin);
        Error::TakenBack(Box::new(why), done.changes)
    }
}
