//! Work beside other work.
//!
//! A container's rootfs takes as long to mount as all else that it is to have and the commit that records
//! it. So they are done at the same time, and a commit that must not stand alone is taken back.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::{Engine, Error, Origin, Result, World};
use crate::model::record::{Answer, Change};
use crate::store::{Done, StoreError, Update};

type Step = Box<dyn FnOnce() + Send>;

/// A thread that does one step after the other.
pub(super) struct Helper(Sender<Step>);

/// A step that is being done.
pub(super) struct Begun<T>(Receiver<Result<T>>);

impl Helper {
    /// Starts the thread; it goes with the helper.
    pub(super) fn start() -> io::Result<Helper> {
        let (sender, steps) = channel::<Step>();
        thread::Builder::new().name("helper".to_owned()).spawn(move || steps.into_iter().for_each(|step| step()))?;
        Ok(Helper(sender))
    }
}

impl<T> Begun<T> {
    /// Waits until it is done; of a commit, until it is on disk, or refused.
    pub(super) fn wait(self) -> Result<T> {
        self.0.recv().unwrap_or(Err(StoreError::Closed.into()))
    }
}

impl Engine {
    /// Begins something, after what was begun before.
    pub(super) fn meanwhile<T: Send + 'static>(&self, step: impl FnOnce() -> Result<T> + Send + 'static) -> Begun<T> {
        let (result, begun) = channel();
        if let Some(Helper(steps)) = &self.helper {
            // Without the thread nobody has the result either, and waiting says so.
            let _ = steps.send(Box::new(move || {
                let _ = result.send(step());
            }));
        }
        Begun(begun)
    }

    /// Begins to commit a change; [`Engine::apply`] would wait for it.
    pub(super) fn begin(
        &self,
        origin: Origin,
        change: impl Fn(&Update<'_>, &World) -> Result<(Answer, Vec<Change>)> + Send + 'static,
    ) -> Begun<Done> {
        self.meanwhile(self.step(origin, change))
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
        // The answer that was kept is none, and goes with this transaction at the latest; another is not kept.
        self.arrived(origin);
        let back = move |update: &Update<'_>, world: &World| change(update, world).map(|(answer, _)| (answer, vec![]));
        if let Err(error) = self.step(origin, back)() {
            log::warn!("what was to be taken back stays in the store: {error}");
        }
        Error::TakenBack(Box::new(why), done.changes)
    }
}
