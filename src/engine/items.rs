//! Files of a caller's own in `data/` of a container or image.
//!
//! Bytes are written as a draft beside the store. A commit syncs it, gives it a place under a number
//! that no file had before, and then writes the row that names it; the file that the row named goes
//! afterwards. So a row always names whole bytes, and what no row names is rubbish.

use std::io::ErrorKind::NotFound;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Engine, Error, Origin, Result, View};
use crate::driver::dirs::{Dirs, Shelf};
use crate::driver::hash::digest;
use crate::model::digest::Digest;
use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::record::{Answer, Change, Item, Kind, Nanos, Serial};
use crate::store::{Done, Items, Query, Update};

pub use crate::driver::items::{Body, Draft};

/// The most bytes of an item.
pub const MAX_ITEM: u64 = 1 << 30;
/// The most bytes of a key, as of a file's name.
const MAX_KEY: usize = 255;
/// Bits of a file's number below the generation of the server that wrote it.
const COUNTER_BITS: u32 = 32;

/// Makes numbers of files. They begin with the server's generation: none is given twice, and a server
/// knows those of the servers before it.
#[derive(Default)]
pub(super) struct FileNumbers(AtomicU64);

impl FileNumbers {
    pub(super) fn of(generation: u64) -> FileNumbers {
        FileNumbers(AtomicU64::new((generation << COUNTER_BITS) + 1))
    }

    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a server before wrote it.
    fn is_older(&self, file: u64) -> bool {
        file >> COUNTER_BITS < self.0.load(Ordering::Relaxed) >> COUNTER_BITS
    }
}

/// Whose items.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The object's kind.
    pub kind: Kind,
    /// The object.
    pub owner: Serial,
}

impl View {
    /// The item with this key.
    ///
    /// # Errors
    /// What the store says.
    pub fn item(&self, place: Place, key: &str) -> Result<Option<Serial>> {
        Ok(self.snapshot().item(place.owner, key)?)
    }

    /// An object's items, by key.
    ///
    /// # Errors
    /// What the store says.
    pub fn items(&self, owner: Serial) -> Result<Vec<(String, Serial)>> {
        Ok(self.snapshot().items(owner)?)
    }

    /// Whether an object has any item.
    ///
    /// # Errors
    /// What the store says.
    pub fn has_items(&self, owner: Serial) -> Result<bool> {
        Ok(self.snapshot().has_items(owner)?)
    }

    /// What an item is; `None` when it is gone.
    ///
    /// # Errors
    /// What the store says.
    pub fn item_row(&self, serial: Serial) -> Result<Option<Item>> {
        Ok(self.snapshot().item_row(serial)?)
    }

    /// When one of an object's items came, went or changed last; `None` where it never had one.
    ///
    /// # Errors
    /// What the store says.
    pub fn data_changed(&self, owner: Serial) -> Result<Option<Nanos>> {
        Ok(self.snapshot().data_changed(owner)?)
    }

    /// The digests of what is in an object's `data/`, as sha256sum(1) writes and checks them.
    ///
    /// # Errors
    /// What the store says.
    pub fn digests(&self, owner: Serial) -> Result<String> {
        let mut text = String::new();
        for (key, serial) in self.items(owner)? {
            if let Some(item) = self.item_row(serial)? {
                text += &digest_line(&key, Digest::from_bytes(item.digest));
            }
        }
        Ok(text)
    }
}

/// A line for `sha256sum --check`: a name with a backslash, a newline or a return in it is escaped, and
/// the line begins with a backslash. "-" would mean the standard input.
fn digest_line(key: &str, digest: Digest) -> String {
    let escaped = key.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    let mark = if escaped == key { "" } else { "\\" };
    let here = if key == "-" { "./" } else { "" };
    format!("{mark}{}  {here}{escaped}\n", digest.id())
}

impl Engine {
    /// Makes an empty item; one that is there already is left as it is, unless it must be new. Answers
    /// its serial.
    ///
    /// # Errors
    /// [`Refusal::KeyTaken`], [`Refusal::LongKey`], [`Refusal::Gone`].
    pub fn make_item(&self, origin: Origin, place: Place, key: String, new: bool) -> Result<Done> {
        if key.len() > MAX_KEY {
            return Err(Refusal::LongKey { limit: MAX_KEY }.into());
        }
        self.apply_growing(origin, move |update, world| {
            update.id_of(place.kind, place.owner)?.ok_or(Refusal::Gone)?;
            let answer = |serial| Answer::Objects(vec![(place.kind, serial, [0; 32])]);
            if let Some(serial) = update.item(place.owner, &key)? {
                return match new {
                    true => Err(Refusal::KeyTaken { key: key.clone() }.into()),
                    false => Ok((answer(serial), vec![])),
                };
            }
            let (serial, now) = (update.next()?, (world.now)().nanos);
            let Place { kind, owner } = place;
            let digest = *digest(b"").as_bytes();
            update.put_item(serial, &Item { kind, owner, key: key.clone(), file: 0, size: 0, digest, changed: now })?;
            Ok((answer(serial), vec![touch(update, place, now)?]))
        })
    }

    /// Takes an item away.
    ///
    /// # Errors
    /// [`Refusal::NoKey`].
    pub fn remove_item(&self, origin: Origin, place: Place, key: String) -> Result<Done> {
        let gone = Arc::new(Files::default());
        let left = Arc::clone(&gone);
        let done = self.apply(origin, move |update, world| {
            let (serial, item) = keyed(update, place, &key)?;
            update.take_item(serial, &item)?;
            left.set(item.file);
            Ok((Answer::Done, vec![Change::Item(serial), touch(update, place, (world.now)().nanos)?]))
        })?;
        self.discard(place.kind, place.owner, gone.get());
        Ok(done)
    }

    /// Gives an item another key, in the place of the item that has it; or swaps the two.
    ///
    /// # Errors
    /// [`Refusal::NoKey`], [`Refusal::LongKey`].
    pub fn rename_item(&self, origin: Origin, place: Place, from: String, to: String, swap: bool) -> Result<Done> {
        if to.len() > MAX_KEY {
            return Err(Refusal::LongKey { limit: MAX_KEY }.into());
        }
        let replaced = Arc::new(Files::default());
        let left = Arc::clone(&replaced);
        let done = self.apply(origin, move |update, world| {
            let (serial, item) = keyed(update, place, &from)?;
            let mut changes = Vec::new();
            match update.item(place.owner, &to)? {
                Some(other) if other == serial => return Ok((Answer::Done, vec![])),
                Some(_) if swap => {
                    let (other, there) = keyed(update, place, &to)?;
                    update.put_item(other, &Item { key: from.clone(), ..there })?;
                }
                None if swap => return Err(Refusal::NoKey { key: to.clone() }.into()),
                Some(_) => {
                    let (other, there) = keyed(update, place, &to)?;
                    update.take_item(other, &there)?;
                    left.set(there.file);
                    changes.push(Change::Item(other));
                    update.unkey_item(&item)?;
                }
                None => update.unkey_item(&item)?,
            }
            update.put_item(serial, &Item { key: to.clone(), ..item })?;
            changes.push(touch(update, place, (world.now)().nanos)?);
            Ok((Answer::Done, changes))
        })?;
        self.discard(place.kind, place.owner, replaced.get());
        Ok(done)
    }

    /// Says when an item changed last.
    ///
    /// # Errors
    /// [`Refusal::Gone`].
    pub fn set_item_time(&self, origin: Origin, serial: Serial, changed: Option<Nanos>) -> Result<Done> {
        self.apply(origin, move |update, world| {
            let item = update.item_row(serial)?.ok_or(Refusal::Gone)?;
            let changed = changed.unwrap_or_else(|| (world.now)().nanos);
            update.put_item(serial, &Item { changed, ..item })?;
            Ok((Answer::Done, vec![Change::Item(serial)]))
        })
    }

    /// Says when an object's items changed last.
    ///
    /// # Errors
    /// [`Refusal::Gone`].
    pub fn set_data_time(&self, origin: Origin, place: Place, changed: Option<Nanos>) -> Result<Done> {
        self.apply(origin, move |update, world| {
            update.id_of(place.kind, place.owner)?.ok_or(Refusal::Gone)?;
            Ok((Answer::Done, vec![touch(update, place, changed.unwrap_or_else(|| (world.now)().nanos))?]))
        })
    }

    /// An item with its bytes, which are absent when it has none; `None` when the item is gone.
    ///
    /// # Errors
    /// Its file cannot be opened.
    pub fn item_and_body(&self, serial: Serial) -> Result<Option<(Item, Option<Body>)>> {
        let mut missing = None;
        loop {
            let view = self.view()?;
            let Some(item) = view.item_row(serial)? else { return Ok(None) };
            match self.body_of(&view, &item, item.file) {
                Ok(body) => return Ok(Some((item, body))),
                // It was written anew, or its owner removed, and the file went that the row had named.
                Err(Error::Outside(error)) if error.kind() == NotFound && missing != Some(item.file) => {
                    missing = Some(item.file);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The bytes that an item had in this file, if it is still there.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn body_of(&self, view: &View, item: &Item, file: u64) -> Result<Option<Body>> {
        if file == 0 {
            return Ok(None);
        }
        let (shelf, id) = shelf_of(view.snapshot(), item.kind, item.owner)?.ok_or(Refusal::Gone)?;
        self.outside()?.dirs.item(shelf, id, file).map(Some).map_err(Error::outside)
    }

    /// Begins a draft with the first `upto` bytes of what is there.
    ///
    /// # Errors
    /// What the filesystem says.
    pub fn begin_draft(&self, name: u64, from: Option<&Body>, upto: u64) -> Result<Draft> {
        self.outside()?.dirs.begin_draft(name, from, upto).map_err(Error::outside)
    }

    /// Takes the drafts away that servers before left and nobody goes on with; `is_kept` knows the names of
    /// the others.
    pub fn drop_drafts(&self, is_kept: impl Fn(u64) -> bool) {
        let Ok(outside) = self.outside() else { return };
        outside.dirs.drop_drafts(is_kept).unwrap_or_else(|error| log::warn!("drafts of items are left over: {error}"));
    }

    /// The draft of this name that a server before left.
    pub fn resume_draft(&self, name: u64) -> Option<Draft> {
        self.outside().ok()?.dirs.resume_draft(name)
    }

    /// Takes a draft away.
    pub fn drop_draft(&self, draft: &Draft) {
        if let Ok(outside) = self.outside() {
            outside.dirs.drop_draft(draft);
        }
    }

    /// Makes a draft's bytes the item's. Answers the number of its file. Of an item that was taken
    /// away, and whose object is there, nothing is left to write: that is no error.
    ///
    /// # Errors
    /// [`Refusal::Gone`] when the object is; what the filesystem or the store says. The draft stays.
    pub fn commit_item(
        &self,
        origin: Origin,
        place: Place,
        serial: Serial,
        draft: &mut Draft,
        changed: Option<Nanos>,
    ) -> Result<Done> {
        if let Some(done) = self.answered(origin)? {
            return Ok(done);
        }
        let dirs = &self.outside()?.dirs;
        let (shelf, id) = shelf_of(self.view()?.snapshot(), place.kind, place.owner)?.ok_or(Refusal::Gone)?;
        let (digest, size) = (*draft.seal().map_err(Error::outside)?.as_bytes(), draft.size());
        let file = if size == 0 { 0 } else { self.files.next() };
        // Whoever removes the object meanwhile leaves what is placed then to this.
        let leaving = self.leave_dirs();
        leaving.note()(&[id]);
        if file != 0
            && let Err(error) = dirs.place(shelf, id, draft, file)
        {
            // The object may have been removed, and its directory with it.
            self.sweep(shelf, vec![id]);
            self.view()?.id_of(place.kind, place.owner)?.ok_or(Refusal::Gone)?;
            return Err(Error::outside(error));
        }
        let old = Arc::new(Files::default());
        let left = Arc::clone(&old);
        let committed = self.apply_growing(origin, move |update, world| {
            let Some(item) = update.item_row(serial)? else {
                update.id_of(place.kind, place.owner)?.ok_or(Refusal::Gone)?;
                left.set(file);
                return Ok((Answer::Version(0), vec![]));
            };
            left.set(item.file);
            let now = (world.now)().nanos;
            let changed = changed.unwrap_or(now);
            update.put_item(serial, &Item { file, size, digest, changed, ..item })?;
            Ok((Answer::Version(file), vec![Change::Item(serial), touch(update, place, now)?]))
        });
        match &committed {
            Ok(_) => dirs_discard(dirs, shelf, id, old.get()),
            // A commit that failed may be on disk for all that.
            Err(Error::Store(_)) if file != 0 && !self.is_unnamed(serial, file) => {}
            Err(error) => {
                dirs_discard(dirs, shelf, id, file);
                if matches!(error, Error::Refused(Refusal::Gone)) {
                    self.sweep(shelf, vec![id]);
                }
            }
        }
        committed
    }

    /// Whether it is certain that an item has another file than this.
    fn is_unnamed(&self, serial: Serial, file: u64) -> bool {
        let row = self.view().and_then(|view| view.item_row(serial));
        row.is_ok_and(|item| item.is_none_or(|item| item.file != file))
    }

    /// Throws a file away that no row names any more.
    fn discard(&self, kind: Kind, owner: Serial, file: u64) {
        let place = self.view().and_then(|view| shelf_of(view.snapshot(), kind, owner));
        if let (Ok(outside), Ok(Some((shelf, id)))) = (self.outside(), place) {
            dirs_discard(&outside.dirs, shelf, id, file);
        }
    }

    /// Throws files away that no row names.
    pub(super) fn collect_items(&self, dirs: &Dirs, shelf: Shelf, ids: &[Id]) {
        for id in ids {
            let thrown = self.unnamed_files(dirs, shelf, *id).and_then(|files| {
                for file in files {
                    log::info!("{} belongs to no item and is thrown away", file.display());
                    dirs.throw(&file).map_err(Error::outside)?;
                }
                Ok(())
            });
            if let Err(error) = thrown {
                log::warn!("{id}: what is left over of its items cannot be looked for: {error}");
            }
        }
    }

    /// The files beside an object that no row names; where the store is served, those that a server before
    /// wrote.
    pub(super) fn unnamed_files(&self, dirs: &Dirs, shelf: Shelf, id: Id) -> Result<Vec<PathBuf>> {
        let (files, mut unnamed) = dirs.item_files(shelf, id).map_err(Error::outside)?;
        let is_old = |file: &u64| self.outside.is_none() || self.files.is_older(*file);
        let old: Vec<u64> = files.into_iter().filter(is_old).collect();
        let named = if old.is_empty() { vec![] } else { files_of(self.view()?.snapshot(), shelf, id)? };
        let old = old.into_iter().filter(|file| !named.contains(file));
        unnamed.extend(old.map(|file| dirs.item_path(shelf, id, file)));
        Ok(unnamed)
    }
}

/// Takes the items of an object away that goes.
pub(super) fn release(update: &Update<'_>, owner: Serial, changes: &mut Vec<Change>) -> Result<()> {
    changes.extend(update.take_items(owner)?.into_iter().map(Change::Item));
    Ok(())
}

/// A number that a transaction, which may run more than once, leaves to those after it.
#[derive(Default)]
struct Files(AtomicU64);

impl Files {
    fn set(&self, file: u64) {
        self.0.store(file, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) fn dirs_discard(dirs: &Dirs, shelf: Shelf, id: Id, file: u64) {
    if file != 0 {
        dirs.discard_item(shelf, id, file);
    }
}

pub(super) fn shelf_of(state: &impl Query, kind: Kind, owner: Serial) -> Result<Option<(Shelf, Id)>> {
    let shelf = if kind == Kind::Image { Shelf::Images } else { Shelf::Uppers };
    Ok(state.id_of(kind, owner)?.map(|id| (shelf, id)))
}

/// The files that an object's items name.
fn files_of(state: &impl Items, shelf: Shelf, id: Id) -> Result<Vec<u64>> {
    use crate::store::Contents;
    let owner = match shelf {
        Shelf::Images => state.content(Kind::Image, &id)?,
        _ => state.object_of(Kind::Ctr, &id)?,
    };
    let mut files = Vec::new();
    for (_, serial) in owner.map_or(Ok(vec![]), |owner| state.items(owner))? {
        files.extend(state.item_row(serial)?.map(|item| item.file));
    }
    Ok(files)
}

fn keyed(update: &Update<'_>, place: Place, key: &str) -> Result<(Serial, Item)> {
    let absent = || Refusal::NoKey { key: key.to_owned() };
    let serial = update.item(place.owner, key)?.ok_or_else(absent)?;
    Ok((serial, update.item_row(serial)?.ok_or_else(absent)?))
}

fn touch(update: &Update<'_>, place: Place, now: Nanos) -> Result<Change> {
    update.touch_data(place.owner, now)?;
    Ok(Change::Items(place.kind, place.owner))
}

#[cfg(test)]
mod tests {
    use super::{FileNumbers, digest_line};
    use crate::driver::hash::digest;

    #[test]
    fn names_are_escaped_as_sha256sum_does() {
        let hex = digest(b"").id();
        assert_eq!(digest_line("a b", digest(b"")), format!("{hex}  a b\n"));
        assert_eq!(digest_line("a\\b\nc\r", digest(b"")), format!("\\{hex}  a\\\\b\\nc\\r\n"));
        assert_eq!(digest_line("-", digest(b"")), format!("{hex}  ./-\n"));
    }

    #[test]
    fn a_server_knows_the_files_of_those_before_it() {
        let (first, second) = (FileNumbers::of(1), FileNumbers::of(2));
        let file = first.next();
        assert_ne!(file, first.next());
        assert!(second.is_older(file) && !first.is_older(file));
    }
}
