//! What containers that are gone ended with: kept for whoever still waits for them, for a while and for
//! this boot at most.

use super::{Engine, Result, View};
use crate::model::container::is_forgotten;
use crate::model::id::Id;
use crate::model::record::{Change, CtrHead, List, Nanos};
use crate::store::{Extras, Update};

pub use crate::store::ExitCode;

impl Engine {
    /// What the container of this ID ended with, if it is gone and that is not forgotten.
    ///
    /// # Errors
    /// What the store says.
    pub fn exited(&self, view: &View, id: &Id) -> Result<Option<ExitCode>> {
        let found = view.snapshot().exited(id)?;
        Ok(found.filter(|exited| !self.is_forgotten(exited.gone)))
    }

    /// What all containers ended with that are gone, as far as that is not forgotten.
    ///
    /// # Errors
    /// What the store says.
    pub fn all_exited(&self, view: &View) -> Result<Vec<ExitCode>> {
        let mut found = view.snapshot().all_exited()?;
        found.retain(|exited| !self.is_forgotten(exited.gone));
        Ok(found)
    }

    /// Whether what a container ended with that went then is forgotten.
    pub fn is_forgotten(&self, gone: Nanos) -> bool {
        is_forgotten(gone, self.now().nanos)
    }

    /// Takes what is forgotten out of the store. Nobody sees that: it is answered for no more already.
    ///
    /// # Errors
    /// What the store says.
    pub fn forget_exited(&self) -> Result<()> {
        let all = self.view()?.snapshot().all_exited()?;
        if !all.iter().any(|exited| self.is_forgotten(exited.gone)) {
            return Ok(());
        }
        let now = self.world.now;
        self.store.update(move |update| forget(update, now().nanos))
    }
}

/// Takes what is forgotten by now out of the store.
pub(super) fn forget(update: &Update<'_>, now: Nanos) -> Result<()> {
    for exited in update.all_exited()?.into_iter().filter(|exited| is_forgotten(exited.gone, now)) {
        update.take_exited(&exited.id)?;
    }
    Ok(())
}

/// Keeps what a container ended with that goes.
pub(super) fn keep(update: &Update<'_>, head: &CtrHead, now: Nanos, changes: &mut Vec<Change>) -> Result<()> {
    let Some(code) = head.exit_code else { return Ok(()) };
    update.put_exited(&head.id(), &head.name, code, now)?;
    touch(update, now, changes)
}

/// Forgets what the last container of this ID ended with: there is another.
pub(super) fn supersede(update: &Update<'_>, id: &Id, now: Nanos, changes: &mut Vec<Change>) -> Result<()> {
    let Some(serial) = update.take_exited(id)? else { return Ok(()) };
    changes.push(Change::Exited(serial));
    touch(update, now, changes)
}

fn touch(update: &Update<'_>, now: Nanos, changes: &mut Vec<Change>) -> Result<()> {
    super::images::touch_list(update, List::Exited, now, changes)
}
