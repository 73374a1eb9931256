//! What lies beside the store and belongs to nothing in it: looked for, measured, thrown away.
//!
//! Whether something is known is asked inside the store's own order of changes: what is just being
//! entered is known, and what somebody makes anew under the same name stays.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::report::cell;
use super::{Engine, Error, Outside, Result};
use crate::driver::dirs::{Dirs, Shelf};
use crate::driver::usage;
use crate::model::id::Id;
use crate::model::record::Kind;
use crate::store::{Contents, Query};

/// Something that belongs to nothing in the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rubbish {
    /// Where it is.
    pub path: PathBuf,
    /// The lengths of its files.
    pub bytes: u64,
}

impl fmt::Display for Rubbish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}", self.bytes, cell(Some(&self.path.to_string_lossy())))
    }
}

/// Whether the store has the object whose directory on a shelf an ID names.
pub(super) fn is_known(state: &impl Query, shelf: Shelf, id: &Id) -> Result<bool> {
    let found = match shelf {
        Shelf::Layers => state.content(Kind::Layer, id)?,
        Shelf::Images => state.content(Kind::Image, id)?,
        Shelf::Uppers => state.object_of(Kind::Ctr, id)?,
    };
    Ok(found.is_some())
}

impl Engine {
    /// The IDs that the store does not know, with something done to each. What a removal in the same commit
    /// has only just taken out is none of them yet: the commit may fail.
    fn unknown(&self, shelf: Shelf, mut ids: Vec<Id>, act: impl Fn(Id) + Send + 'static) -> Result<Vec<Id>> {
        let view = self.view()?;
        ids.retain(|id| !is_known(view.snapshot(), shelf, id).unwrap_or(true));
        if ids.is_empty() {
            return Ok(ids);
        }
        self.store.update(move |update| {
            let mut unknown = Vec::new();
            for id in &ids {
                if !is_known(update, shelf, id)? {
                    act(*id);
                    unknown.push(*id);
                }
            }
            Ok(unknown)
        })
    }

    /// Throws directories away whose layers, images or containers the store does not know.
    pub(super) fn sweep(&self, shelf: Shelf, ids: Vec<Id>) {
        let Ok(outside) = self.outside() else { return };
        let there = ids.iter().copied().filter(|id| outside.dirs.has(shelf, *id)).collect();
        let dirs = Arc::clone(&outside.dirs);
        let swept = self.unknown(shelf, there, move |id| warn(dirs.discard(shelf, id)));
        if let Err(error) = swept {
            log::warn!("directories of what was removed are left over: {error}");
        }
        if shelf == Shelf::Uppers {
            self.sweep_run(outside, ids);
        }
    }

    /// Throws directories of RUNROOT away whose containers the store does not know.
    fn sweep_run(&self, outside: &Arc<Outside>, ids: Vec<Id>) {
        let there = ids.into_iter().filter(|id| outside.files.has(*id)).collect();
        let beside = Arc::clone(outside);
        if let Err(error) = self.unknown(Shelf::Uppers, there, move |id| warn(beside.files.discard(id))) {
            log::warn!("volatile directories of what was removed are left over: {error}");
        }
    }

    /// Throws away what lies beside the store and belongs to nothing in it, when a server begins.
    pub(super) fn collect(&self) {
        let Ok(outside) = self.outside() else { return };
        let dirs = &outside.dirs;
        let sweep = |shelf| {
            let (ids, strays) = dirs.ids(shelf)?;
            strays.iter().try_for_each(|stray| dirs.throw(stray))?;
            if shelf != Shelf::Layers {
                self.collect_items(dirs, shelf, &ids);
            }
            self.sweep(shelf, ids);
            Ok::<_, std::io::Error>(())
        };
        let collected = sweep(Shelf::Uppers).and_then(|()| sweep(Shelf::Images)).and_then(|()| {
            match dirs.discard_abandoned()? {
                0 => sweep(Shelf::Layers),
                // The last server may have taken layers over and died before the commit: the request of
                // whoever still imports comes again, and finds them.
                _ => Ok(()),
            }
        });
        let collected = collected.and_then(|()| {
            self.sweep_run(outside, outside.files.keys()?);
            Ok(())
        });
        collected.unwrap_or_else(|error| log::warn!("what is left over cannot be collected: {error}"));
    }

    /// What belongs to nothing in a store, with its size, and what is being deleted already; thrown away
    /// as well, where `throw` says so. Goes on after a failure to do that and tells the first.
    ///
    /// # Errors
    /// What the store or the filesystem says.
    pub fn garbage(&self, dirs: &Arc<Dirs>, throw: bool) -> Result<Vec<Rubbish>> {
        let mut sweeping = Sweeping { throw, found: Vec::new(), first: Ok(()) };
        for trashed in dirs.trashed().map_err(Error::outside)? {
            sweeping.add(&trashed, || Ok(()));
        }
        for shelf in [Shelf::Uppers, Shelf::Images] {
            self.garbage_on(dirs, shelf, &mut sweeping)?;
        }
        let (dead, living) = dirs.stagings().map_err(Error::outside)?;
        dead.iter().for_each(|staging| sweeping.add(staging, || outside(dirs.discard_staging(staging))));
        if living == 0 {
            self.garbage_on(dirs, Shelf::Layers, &mut sweeping)?;
        }
        if let Some(outside) = &self.outside {
            self.garbage_of_run_root(outside, &mut sweeping)?;
        }
        sweeping.first?;
        sweeping.found.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(sweeping.found)
    }

    /// As [`Engine::garbage`], of the store that is served, and deleted when it returns; a line for each:
    /// bytes, a tab, the path.
    ///
    /// # Errors
    /// As there.
    pub fn gc(&self, dry_run: bool) -> Result<Vec<String>> {
        let dirs = Arc::clone(&self.outside()?.dirs);
        let found = self.garbage(&dirs, !dry_run)?;
        if !dry_run {
            self.empty_trash();
        }
        Ok(found.iter().map(Rubbish::to_string).collect())
    }

    fn garbage_on(&self, dirs: &Arc<Dirs>, shelf: Shelf, sweeping: &mut Sweeping) -> Result<()> {
        let (ids, mut strays) = dirs.ids(shelf).map_err(Error::outside)?;
        let unknown = BTreeSet::from_iter(self.unknown(shelf, ids.clone(), |_| ())?);
        if shelf != Shelf::Layers {
            for id in ids.into_iter().filter(|id| !unknown.contains(id)) {
                strays.extend(self.unnamed_files(dirs, shelf, id)?);
            }
        }
        strays.iter().for_each(|stray| sweeping.add(stray, || outside(dirs.throw(stray))));
        for id in unknown {
            let discard = Arc::clone(dirs);
            sweeping.add(&dirs.path(shelf, id), || {
                self.unknown(shelf, vec![id], move |id| warn(discard.discard(shelf, id))).map(drop)
            });
        }
        Ok(())
    }

    fn garbage_of_run_root(&self, outside: &Arc<Outside>, sweeping: &mut Sweeping) -> Result<()> {
        for trashed in outside.files.trash().map_err(Error::outside)? {
            sweeping.add(&trashed, || Ok(()));
        }
        for id in self.unknown(Shelf::Uppers, outside.files.keys().map_err(Error::outside)?, |_| ())? {
            sweeping.add(&outside.files.path(id), || {
                self.sweep_run(outside, vec![id]);
                Ok(())
            });
        }
        for id in self.unknown(Shelf::Uppers, outside.mounts.mounted().map_err(Error::outside)?, |_| ())? {
            sweeping.add(&outside.mounts.directory(id), || self.take_mounts(id));
        }
        Ok(())
    }

    /// Deletes what was thrown away.
    pub fn empty_trash(&self) {
        let Some(dirs) = &self.dirs else { return };
        let _one = self.emptying.lock();
        let emptied = dirs.empty_trash().and(self.outside.as_ref().map_or(Ok(()), |o| o.files.empty_trash()));
        emptied.unwrap_or_else(|error| log::warn!("what was thrown away cannot be deleted: {error}"));
    }
}

fn warn(discarded: std::io::Result<()>) {
    discarded.unwrap_or_else(|error| log::warn!("it is left over: {error}"));
}

fn outside(done: std::io::Result<()>) -> Result<()> {
    done.map_err(Error::outside)
}

/// A search for rubbish.
struct Sweeping {
    /// Whether it is thrown away.
    throw: bool,
    found: Vec<Rubbish>,
    /// The first failure to throw something away.
    first: Result<()>,
}

impl Sweeping {
    /// Tells something, and throws it away if that is due. What lies on another filesystem is mounted there
    /// and not counted.
    fn add(&mut self, path: &Path, discard: impl FnOnce() -> Result<()>) {
        let bytes = usage::bytes_at(path).unwrap_or_else(|error| {
            log::info!("{} cannot be measured: {error}", path.display());
            0
        });
        if self.throw
            && let Err(error) = discard()
        {
            log::warn!("{} is left over: {error}", path.display());
            self.first = std::mem::replace(&mut self.first, Ok(())).and(Err(error));
            return;
        }
        self.found.push(Rubbish { path: path.to_owned(), bytes });
    }
}
