//! The check: what the rows promise one another, what the documents say, and what lies beside the store.
//!
//! It reads only, mounts nothing, and goes on beside whatever changes the store: what is found in files is
//! asked of the records again before it is told.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::garbage;
use super::items::shelf_of;
use super::layers;
use super::view::View;
use super::{Engine, Error, Result};
use crate::driver::dirs::{Dirs, Shelf};
use crate::driver::hash::digest;
use crate::model::error::Refusal;
use crate::model::finding::{self, Trouble};
use crate::model::id::Id;
use crate::model::image::config_digest;
use crate::model::json::{Map, Value, parse};
use crate::model::keys::{CTR_CONFIG, CTR_STATE, POD_CONFIG, POD_STATE, Type, check, text};
use crate::model::record::{CtrHead, Doc, Item, Kind, Rootfs, Row, Serial};
use crate::model::{container, pod};
use crate::store::{self, Contents, Fix, Items, Query, StoreError};

/// What mends a finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Cure {
    /// Something in the store.
    Store(Fix),
    /// A directory is thrown away.
    Discard(Shelf, OsString),
    /// An item goes, unless it has another file by now.
    DropItem(Serial, u64),
}

pub(super) type Finding = finding::Finding<Cure>;

impl Engine {
    /// What does not hold, a line each, or one line that begins with "ok". Looks through the layers'
    /// directories, and with `contents` reads their files, so it may last.
    ///
    /// # Errors
    /// What the store says; a directory that cannot be read.
    pub fn check(&self, contents: bool) -> Result<String> {
        let mut found = in_store(self.view()?.snapshot())?;
        found.extend(self.in_files(contents)?);
        if found.is_empty() {
            let view = self.view()?;
            let count = |kind| -> Result<usize> { Ok(view.objects(kind)?.len()) };
            let [ctrs, pods, images, layers] = [Kind::Ctr, Kind::Pod, Kind::Image, Kind::Layer].map(count);
            return Ok(format!("ok: {} containers, {} pods, {} images, {} layers\n", ctrs?, pods?, images?, layers?));
        }
        Ok(found.into_iter().map(|finding| format!("{finding}\n")).collect())
    }

    /// What is wrong beside the store; with `contents` what the files of layers hold is compared, too.
    pub(super) fn in_files(&self, contents: bool) -> Result<Vec<Finding>> {
        let Some(dirs) = &self.dirs else { return Ok(vec![]) };
        let layers = layers::due(self.view()?.snapshot())?;
        let mut found = Vec::new();
        for layer in &layers {
            let damage = layers::damage(dirs, layer, contents)?.into_iter();
            found.extend(damage.map(|(trouble, words)| told(trouble, Kind::Layer, layer.serial, layer.id, words)));
        }
        let view = self.view()?;
        let rows = view.snapshot().rows()?;
        for (serial, id) in view.objects(Kind::Ctr)? {
            if let Ok(Some(Row::Ctr(head))) = rows.get(serial) {
                found.extend(self.upper(dirs, serial, id, &head));
            }
        }
        let mut items = view.snapshot().all_items()?;
        items.sort_by(|(_, one), (_, other)| {
            (one.kind, one.owner, &one.key).cmp(&(other.kind, other.owner, &other.key))
        });
        for (serial, item) in items {
            found.extend(item_file(dirs, &view, serial, &item)?);
        }
        // What is gone by now was taken away with its files; an item that was written anew has another.
        let after = self.view()?;
        let mut lasting = Vec::new();
        for finding in found {
            let lasts = match finding.fix {
                // The mount that its record told of may have been taken back.
                Cure::Store(Fix::Remove(Kind::Ctr, serial)) => {
                    after.snapshot().ctr(serial).is_ok_and(|head| lacks_upper(dirs, &head))
                }
                Cure::Store(Fix::Remove(kind, serial)) => after.id_of(kind, serial)?.is_some(),
                Cure::DropItem(serial, file) => matches!(after.item_row(serial), Ok(Some(item)) if item.file == file),
                Cure::Store(_) | Cure::Discard(..) => false,
            };
            if lasts {
                lasting.push(finding);
            }
        }
        lasting.extend(self.unaccounted(dirs)?);
        Ok(lasting)
    }

    /// What a container wrote is there. While it is being mounted its directory may be made anew.
    fn upper(&self, dirs: &Dirs, serial: Serial, id: Id, head: &CtrHead) -> Option<Finding> {
        let is_missing = || lacks_upper(dirs, head) && !self.busy.lock().contains(&serial);
        (is_missing() && is_missing()).then(|| {
            let words = "what it wrote is gone: it has no upper directory";
            told(Trouble::ContainerDataMissing, Kind::Ctr, serial, id, words.to_owned())
        })
    }

    /// Directories that nothing in the store has. Asked inside the store's own order of changes: who makes
    /// a layer moves its directory there before the record is committed.
    fn unaccounted(&self, dirs: &Arc<Dirs>) -> Result<Vec<Finding>> {
        let mut suspects = Vec::new();
        for shelf in SHELVES {
            let names = dirs.listed(shelf).map_err(Error::outside)?;
            suspects.extend(names.into_iter().map(|name| (shelf, name)));
        }
        let view = self.view()?;
        let mut unknown = Vec::new();
        for (shelf, name) in suspects {
            if !is_known(view.snapshot(), shelf, &name)? {
                unknown.push((shelf, name));
            }
        }
        if unknown.is_empty() {
            return Ok(vec![]);
        }
        let (dirs, leaving) = (Arc::clone(dirs), Arc::clone(&self.leaving));
        let unknown = self.store.update(move |update| -> Result<Vec<(Shelf, OsString)>> {
            let mut still = Vec::new();
            for (shelf, name) in &unknown {
                let leaves = || id_in(name).is_some_and(|id| leaving.lock().contains(&id));
                if !is_known(update, *shelf, name)? && !leaves() && dirs.has_entry(*shelf, name) {
                    still.push((*shelf, name.clone()));
                }
            }
            Ok(still)
        })?;
        let finding = |(shelf, name): (Shelf, OsString)| Finding {
            trouble: Trouble::LayerUnaccounted,
            object: format!("{}/{}", shelf.name(), name.to_string_lossy().escape_debug()),
            words: "a directory that the store does not know".to_owned(),
            fix: Cure::Discard(shelf, name),
        };
        Ok(unknown.into_iter().map(finding).collect())
    }

    /// Notes what a transaction removes until its directories are thrown away.
    pub(super) fn leave_dirs(&self) -> Leaving {
        Leaving { all: Arc::clone(&self.leaving), own: Arc::default() }
    }
}

/// Where directories lie that belong to objects.
pub(super) const SHELVES: [Shelf; 3] = [Shelf::Layers, Shelf::Uppers, Shelf::Images];

/// What one transaction removes, known to the check until it is dropped.
pub(super) struct Leaving {
    all: Arc<Mutex<Vec<Id>>>,
    own: Arc<Mutex<Vec<Id>>>,
}

impl Leaving {
    /// What notes IDs, inside the transaction.
    pub(super) fn note(&self) -> impl Fn(&[Id]) + Send + 'static {
        let (all, own) = (Arc::clone(&self.all), Arc::clone(&self.own));
        move |ids| {
            all.lock().extend(ids);
            own.lock().extend(ids);
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let own = std::mem::take(&mut *self.own.lock());
        let mut all = self.all.lock();
        for id in own {
            // Others may have noted it as well.
            if let Some(at) = all.iter().position(|noted| *noted == id) {
                all.swap_remove(at);
            }
        }
    }
}

/// Whether what a container wrote is gone. It is there once the container was mounted first.
pub(super) fn lacks_upper(dirs: &Dirs, head: &CtrHead) -> bool {
    dirs.lacks_upper(head.id(), head.mounted && matches!(head.rootfs, Rootfs::Image { .. }))
}

fn id_in(name: &OsString) -> Option<Id> {
    name.to_str().and_then(Id::parse)
}

/// Whether the store has something for a directory.
pub(super) fn is_known(state: &impl Query, shelf: Shelf, name: &OsString) -> Result<bool> {
    let Some(id) = id_in(name) else { return Ok(false) };
    garbage::is_known(state, shelf, &id)
}

fn told(trouble: Trouble, kind: Kind, serial: Serial, id: Id, words: String) -> Finding {
    let fix = Cure::Store(Fix::Remove(kind, serial));
    Finding { trouble, object: format!("{}/{id}", kind.dir()), words, fix }
}

/// What is wrong with the file of an item: each has the bytes that were written, or it is not the item's.
fn item_file(dirs: &Dirs, view: &View, serial: Serial, item: &Item) -> Result<Option<Finding>> {
    let Some((shelf, id)) = shelf_of(view.snapshot(), item.kind, item.owner)? else { return Ok(None) };
    if item.file == 0 {
        return Ok(None);
    }
    let (missing, incorrect) = match item.kind {
        Kind::Image => (Trouble::ImageDataMissing, Trouble::ImageDataIncorrectSize),
        _ => (Trouble::ContainerDataMissing, Trouble::ContainerDataIncorrectSize),
    };
    let (trouble, words) = match dirs.item_size(shelf, id, item.file) {
        Ok(size) if size == item.size => return Ok(None),
        Ok(size) => (incorrect, format!("its file has {size} bytes, not {}", item.size)),
        Err(error) if is_gone(&error) => (missing, "its file is gone".to_owned()),
        Err(error) => return Err(Error::outside(error)),
    };
    let object = format!("{}/{id}/data/{}", item.kind.dir(), item.key.escape_debug());
    Ok(Some(Finding { trouble, object, words, fix: Cure::DropItem(serial, item.file) }))
}

pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// What is wrong in the store: of its rows, and of what its documents say.
pub(super) fn in_store(state: &impl Query) -> Result<Vec<Finding>> {
    let mut found: Vec<Finding> = store::findings(state)?.into_iter().map(|finding| finding.map(Cure::Store)).collect();
    for kind in [Kind::Ctr, Kind::Pod] {
        for (serial, id) in state.objects(kind)? {
            // A row that does not decode has been told, and so has a document that is missing.
            let Ok(Some(row @ (Row::Ctr(_) | Row::Pod(_)))) = state.row(serial) else { continue };
            if state.doc(serial, Doc::Config)?.is_none() || state.doc(serial, Doc::State)?.is_none() {
                continue;
            }
            match derived(state, kind, serial, &row)? {
                Ok(derived) if derived == row => {}
                Ok(derived) => {
                    let finding = told(Trouble::Structure, kind, serial, id, NOT_DERIVED.to_owned());
                    found.push(finding.map(|_| Cure::Store(Fix::Record(serial, Box::new(derived)))));
                }
                Err(why) => found.push(told(Trouble::Structure, kind, serial, id, why)),
            }
        }
    }
    for (serial, id) in state.objects(Kind::Image)? {
        if let Some(words) = image(state, serial, id)? {
            found.push(told(Trouble::ImageDataModified, Kind::Image, serial, id, words));
        }
    }
    Ok(found)
}

/// What is wrong with the documents of an image; of one that has another length, that was told.
fn image(state: &impl Query, serial: Serial, id: Id) -> Result<Option<String>> {
    let Ok(head) = state.image(serial) else { return Ok(None) };
    if let Some(config) = state.doc(serial, Doc::Config)?
        && config.len() as u64 == head.config
        && digest(&config).id() != id
    {
        return Ok(Some("the digest of its config is another".to_owned()));
    }
    if let Some(manifest) = state.doc(serial, Doc::Manifest)?
        && manifest.len() as u64 == head.manifest
    {
        let named = config_digest(&String::from_utf8_lossy(&manifest));
        if named.map(|digest| digest.id()) != Ok(id) {
            return Ok(Some("its manifest does not name its config".to_owned()));
        }
    }
    Ok(None)
}

/// Whether an object's documents decode and its record follows from them.
pub(super) fn decodes(state: &impl Query, kind: Kind, serial: Serial) -> Result<std::result::Result<(), String>> {
    if kind.is_content() {
        return Ok(Ok(()));
    }
    let row = match state.row(serial) {
        Ok(Some(row @ (Row::Ctr(_) | Row::Pod(_)))) => row,
        Ok(_) | Err(StoreError::Row { .. }) => return Ok(Err("the stored record cannot be read".to_owned())),
        Err(error) => return Err(error.into()),
    };
    let derived = derived(state, kind, serial, &row)?;
    Ok(derived.and_then(|derived| if derived == row { Ok(()) } else { Err(NOT_DERIVED.to_owned()) }))
}

const NOT_DERIVED: &str = "its record does not follow from its documents";

/// The record that follows from an object's documents, or what is wrong with those.
fn derived(state: &impl Query, kind: Kind, serial: Serial, row: &Row) -> Result<std::result::Result<Row, String>> {
    let keys = if kind == Kind::Ctr { [CTR_CONFIG, CTR_STATE] } else { [POD_CONFIG, POD_STATE] };
    let config = match document(state, serial, Doc::Config, keys[0])? {
        Ok(config) => config,
        Err(why) => return Ok(Err(why)),
    };
    let state_doc = match document(state, serial, Doc::State, keys[1])? {
        Ok(state) => state,
        Err(why) => return Ok(Err(why)),
    };
    let mut row = row.clone();
    let (name, binding) = match &mut row {
        Row::Ctr(head) => {
            container::derive_from_config(head, &config);
            container::derive_from_state(head, &state_doc);
            (&mut head.name, head.binding)
        }
        Row::Pod(head) => {
            pod::derive_from_config(head, &config);
            (&mut head.name, head.binding)
        }
        _ => return Ok(Ok(row)),
    };
    match text(&config, "name") {
        Some(own) if own == name => {}
        // The record alone says otherwise.
        Some(own) if matches!(state.name(own), Ok(Some((bound, _, object))) if (bound, object) == (binding, serial)) => {
            own.clone_into(name);
        }
        _ => return Ok(Err(format!("its config does not say that its name is {name}"))),
    }
    Ok(Ok(row))
}

fn document(
    state: &impl Query,
    serial: Serial,
    doc: Doc,
    keys: &[(&'static str, Type)],
) -> Result<std::result::Result<Map<String, Value>, String>> {
    let Some(bytes) = state.doc(serial, doc)? else { return Ok(Err(undecodable(doc, "it is missing".to_owned()))) };
    let document = match parse(&bytes) {
        Ok(Value::Object(document)) => document,
        Ok(_) => return Ok(Err(undecodable(doc, "it is not an object".to_owned()))),
        Err(error) => return Ok(Err(undecodable(doc, error.to_string()))),
    };
    Ok(match check(keys, &document) {
        Ok(()) => Ok(document),
        Err(refusal) => Err(format!("{}: {refusal}", doc.name())),
    })
}

fn undecodable(doc: Doc, why: String) -> String {
    Refusal::Undecodable { part: doc.name(), why }.to_string()
}
