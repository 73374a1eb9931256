//! The files of callers in `data/`.
//!
//! A handle that is written has a draft of its own, begun with what the item holds then; a close makes
//! the draft the item, whole. Who reads keeps the bytes that he opened. So nobody ever sees half of
//! what somebody else writes, and a writer who is killed leaves the item as it was.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::handle::{ITEM_HANDLE, Opened};
use super::ino::{Ino, ino, slot, split};
use super::keep::{ReadNote, warn_unkept};
use super::lookup::{Entered, Lifetime, SetAttr};
use super::node::{Attr, FileKind, Node};
use super::plan::{Access, Dir};
use super::texts;
use super::{Caller, Outcome, Result, Tree};
use crate::engine::{Body, Draft, Error, ItemPlace, MAX_ITEM, Origin};
use crate::model::error::Refusal;
use crate::model::record::{Answer, Item, Nanos};

/// What takes longer to copy or to look through is for a thread of its own.
const SMALL: u64 = 1 << 20;
/// Stands in a handle's note for the number of a request: no kernel counts that far.
const GIVEN_UP: u64 = u64::MAX;
/// In the place of a length, a handle's note has the thread that opened it above the offset where its
/// last request added bytes, and this until something is asked of it. The inode then stands in the
/// place of a request.
const JUST_OPENED: u64 = 1 << 63;
const OPENER_SHIFT: u32 = 32;
/// Longer than anybody looks at an open item's size.
const LOOK: Duration = Duration::from_millis(100);

/// What is asked of an open item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// To be read.
    Read,
    /// To be written or cut off.
    Write,
    /// To be made what was written.
    Commit,
}

/// What is asked about who closes a descriptor of an item. It must not wait for the closer, who waits
/// for the answer.
#[derive(Clone, Copy)]
pub struct Closers {
    /// Whether a thread is being killed.
    pub is_killed: fn(u32) -> bool,
    /// Whether two threads are of one process.
    pub is_one: fn(u32, u32) -> bool,
    /// Whether the process of a thread has a descriptor of this inode, but for the one that it closes.
    pub has_open: fn(u32, Ino) -> bool,
}

/// How an item is opened that may have to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Creating {
    /// It must be new.
    pub new: bool,
    /// What it holds is to be dropped.
    pub cut: bool,
}

/// The open items.
#[derive(Default)]
pub(super) struct OpenItems(RwLock<HashMap<u64, Arc<OpenItem>>>);

struct OpenItem {
    ino: Ino,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whose it is; not known of one that went when an earlier server opened it.
    place: Option<ItemPlace>,
    /// The thread that opened it; 0 where that is not known.
    opener: u32,
    /// Whether it was opened to be written and nothing was asked of it yet.
    fresh: bool,
    /// Whether its note says so, for the server after this one.
    noted_fresh: bool,
    /// What it reads; absent when that is nothing.
    body: Option<Body>,
    /// The number of the body's file.
    file: u64,
    /// Whether an earlier server opened what it reads and that is gone.
    lost: bool,
    /// What it has written.
    draft: Option<Draft>,
    /// Whether the draft is empty because the opening cut it off, and nothing was written since. A
    /// shell that opens a file closes one descriptor of it before its command writes to the other: so
    /// this alone is the item only once the last is closed.
    only_cut: bool,
    /// The thread that wrote last; 0 where none is known.
    writer: u32,
    /// Whether RELEASE makes the draft the item: a descriptor was closed, but nothing followed from it.
    pending: bool,
    /// The time of change that was set since it was written last.
    changed: Option<Nanos>,
    /// Why it takes no more.
    given_up: Option<Error>,
}

impl State {
    /// How many bytes the handle sees, unless they are lost.
    fn size(&self) -> Option<u64> {
        match (&self.draft, &self.body) {
            (Some(draft), _) => Some(draft.size()),
            (None, Some(body)) => Some(body.size()),
            (None, None) => (!self.lost).then_some(0),
        }
    }
}

impl Tree {
    /// Opens an item; `fresh` when it may be cut off next, as a part of its opening.
    pub(super) fn open_item(&self, caller: Caller, number: Ino, fresh: bool) -> Result<(Opened, Item)> {
        let (item, body) = self.engine.item_and_body(split(number).0)?.ok_or(Refusal::Gone)?;
        let state = State {
            place: Some(place_of(&item)),
            opener: caller.pid,
            fresh,
            noted_fresh: fresh,
            body,
            file: item.file,
            ..State::default()
        };
        let fh = self.handles.item_number();
        match fresh {
            true => self.note_item(fh, &state, JUST_OPENED, number),
            false => self.note_item(fh, &state, 0, 0),
        }
        let open = OpenItem { ino: number, state: Mutex::new(state) };
        self.items.0.write().insert(fh, Arc::new(open));
        Ok((Opened { ino: number, fh }, item))
    }

    /// Makes an item and opens it.
    ///
    /// # Errors
    /// [`Refusal::NotYours`] where there are no items; [`Refusal::KeyTaken`] when it must be new.
    pub fn create(
        &self,
        origin: Origin,
        caller: Caller,
        parent: Ino,
        name: &str,
        creating: Creating,
    ) -> Result<Outcome<(Entered, Opened)>> {
        let node = self.node(&self.engine.view()?, parent)?;
        if let Some(ctr) = texts::flags_of(&node) {
            return self.create_flag(origin, caller, ctr, name, creating);
        }
        let Some(place) = data_of(&node) else {
            self.refuse_new()?;
            return Err(Refusal::Gone.into());
        };
        let done = self.engine.make_item(origin, place, name.to_owned(), creating.new)?;
        let serial = match done.answer {
            Answer::Objects(objects) => objects.first().ok_or(Refusal::Gone)?.1,
            _ => return Err(Refusal::Gone.into()),
        };
        let number = ino(serial, slot::SELF);
        // The kernel leaves it to us to cut off what it did not know to be there.
        let (opened, item) = self.open_item(caller, number, false)?;
        if creating.cut && item.size > 0 {
            self.cut(opened, 0, true)?;
        }
        let attr = self.item_attr(number, item.size, item.changed);
        Ok(Outcome { value: (Entered { attr, lifetime: Lifetime::Once }, opened), changes: done.changes })
    }

    /// Whether something asked of an open item may take long, and is for a thread of its own.
    pub fn is_slow(&self, opened: Opened, work: Work) -> bool {
        if !is_item(opened.fh) {
            return false;
        }
        let Ok(open) = self.open_of(opened) else { return false };
        // Who holds it has something slow to do: this waits where that is done.
        let Some(state) = open.state.try_lock() else { return true };
        match (work, &state.draft) {
            (Work::Read, _) | (Work::Write, Some(_)) | (Work::Commit, None) => false,
            (Work::Write, None) => self.item_size(opened.ino) > SMALL,
            (Work::Commit, Some(draft)) => draft.size() > SMALL,
        }
    }

    /// Whether cutting off what an inode means may take long.
    pub fn is_large(&self, number: Ino) -> bool {
        self.item_size(number) > SMALL
    }

    fn item_size(&self, number: Ino) -> u64 {
        let row = self.engine.view().and_then(|view| view.item_row(split(number).0));
        row.ok().flatten().map_or(0, |item| item.size)
    }

    pub(super) fn read_item(&self, opened: Opened, offset: u64, size: usize) -> Result<Vec<u8>> {
        let open = self.open_of(opened)?;
        let mut state = open.state.lock();
        self.used(opened.fh, &mut state);
        let read = match (&state.draft, &state.body) {
            (Some(draft), _) => draft.read_at(offset, size),
            (None, _) if state.lost => return Err(Refusal::Changed.into()),
            (None, Some(body)) => body.read_at(offset, size),
            (None, None) => Ok(vec![]),
        };
        read.map_err(outside)
    }

    pub(super) fn write_item(
        &self,
        origin: Origin,
        writer: u32,
        opened: Opened,
        offset: u64,
        data: &[u8],
        append: bool,
    ) -> Result<Outcome<usize>> {
        let open = self.open_of(opened)?;
        let mut state = open.state.lock();
        self.used(opened.fh, &mut state);
        if let Some(error) = &state.given_up {
            return Err(error.clone());
        }
        let written = self.write_draft(origin, opened, &mut state, offset, data, append);
        if let Err(error) = &written {
            // The caller may close what lacks a piece; the item stays as it was.
            self.spoil(opened.fh, &mut state, error);
        }
        state.writer = writer;
        written.map(|()| Outcome { value: data.len(), changes: vec![] })
    }

    fn write_draft(
        &self,
        origin: Origin,
        opened: Opened,
        state: &mut State,
        offset: u64,
        data: &[u8],
        append: bool,
    ) -> Result<()> {
        let before = match self.handles.keep.read_note(opened.fh) {
            Some(note) if origin.resent && note.digest == origin.unique && note.length < JUST_OPENED => {
                Some(note.length % (1 << OPENER_SHIFT))
            }
            _ => None,
        };
        let size = self.draft_of(opened, state, u64::MAX)?.size();
        let at = if append { before.unwrap_or(size) } else { offset };
        if at.saturating_add(data.len() as u64) > MAX_ITEM {
            return Err(too_large());
        }
        if append {
            // Sent again, it would be added again.
            self.note_item(opened.fh, state, at, origin.unique);
        }
        self.draft_of(opened, state, u64::MAX)?.write_at(data, at).map_err(outside)?;
        (state.only_cut, state.pending, state.changed) = (false, false, None);
        Ok(())
    }

    /// The draft of a handle, begun with up to so many bytes of what the item holds now.
    fn draft_of<'s>(&self, opened: Opened, state: &'s mut State, upto: u64) -> Result<&'s mut Draft> {
        if state.draft.is_none() {
            let now = self.engine.item_and_body(split(opened.ino).0)?;
            let body = now.as_ref().map_or(state.body.as_ref(), |(_, body)| body.as_ref());
            state.draft = Some(self.engine.begin_draft(opened.fh, body, upto)?);
        }
        state.draft.as_mut().ok_or_else(|| Refusal::Gone.into())
    }

    fn spoil(&self, fh: u64, state: &mut State, error: &Error) {
        if let Some(draft) = state.draft.take() {
            self.engine.drop_draft(&draft);
        }
        state.given_up = Some(error.clone());
        self.note_item(fh, state, 0, GIVEN_UP);
    }

    /// Gives what a handle writes another size; `only` when its opening does.
    fn cut(&self, opened: Opened, size: u64, only: bool) -> Result<()> {
        let open = self.open_of(opened)?;
        let mut state = open.state.lock();
        match only {
            // The note stays: this may be sent again, to a server that knows nothing else of the handle.
            true => state.fresh = false,
            false => self.used(opened.fh, &mut state),
        }
        if let Some(error) = &state.given_up {
            return Err(error.clone());
        }
        if size > MAX_ITEM {
            return Err(too_large());
        }
        self.draft_of(opened, &mut state, size)?.set_size(size).map_err(outside)?;
        (state.only_cut, state.pending, state.changed) = (only, false, None);
        Ok(())
    }

    /// Makes what a handle has written the item, when a thread closes a descriptor of it.
    pub(super) fn close_item(&self, origin: Origin, opened: Opened, closer: u32) -> Result<Outcome<()>> {
        let nothing = Outcome { value: (), changes: vec![] };
        let open = self.open_of(opened)?;
        let mut state = open.state.lock();
        self.used(opened.fh, &mut state);
        if let Some(error) = &state.given_up {
            return Err(error.clone());
        }
        if state.draft.is_none() {
            return Ok(nothing);
        }
        state.pending = false;
        if (self.closers.is_killed)(closer) {
            return Ok(nothing);
        }
        // A process that another has forked closes what it has inherited, at the latest when it calls
        // exec; that is no word on what the other is writing.
        let is_own = |thread| thread == closer || (self.closers.is_one)(closer, thread);
        let has_part = state.opener == 0 || is_own(state.opener) || state.writer != 0 && is_own(state.writer);
        if !has_part || state.only_cut && (self.closers.has_open)(closer, opened.ino) {
            state.pending = true;
            return Ok(nothing);
        }
        self.commit_draft(origin, opened, &mut state)
    }

    /// Makes what a handle has written the item, when a caller waits for that.
    pub(super) fn sync_item(&self, origin: Origin, opened: Opened) -> Result<Outcome<()>> {
        let open = self.open_of(opened)?;
        let mut state = open.state.lock();
        self.used(opened.fh, &mut state);
        match &state.given_up {
            Some(error) => Err(error.clone()),
            None => self.commit_draft(origin, opened, &mut state),
        }
    }

    fn commit_draft(&self, origin: Origin, opened: Opened, state: &mut State) -> Result<Outcome<()>> {
        let nothing = Outcome { value: (), changes: vec![] };
        // Of what was gone when this server first met it, nothing is left to write.
        let (Some(draft), Some(place)) = (&mut state.draft, state.place) else { return Ok(nothing) };
        let done = self.engine.commit_item(origin, place, split(opened.ino).0, draft, state.changed)?;
        if let Some(draft) = state.draft.take() {
            self.engine.drop_draft(&draft);
            state.body = Some(draft.into_body());
        }
        state.file = if let Answer::Version(file) = done.answer { file } else { 0 };
        (state.only_cut, state.pending, state.changed, state.lost) = (false, false, None, false);
        self.note_item(opened.fh, state, 0, 0);
        Ok(Outcome { value: (), changes: done.changes })
    }

    pub(super) fn release_item(&self, origin: Origin, opened: Opened) -> Result<Outcome<()>> {
        let open = self.open_of(opened)?;
        let mut state = open.state.lock();
        let done = match state.pending {
            true => self.commit_draft(origin, opened, &mut state),
            false => Ok(Outcome { value: (), changes: vec![] }),
        };
        if let Some(draft) = state.draft.take() {
            self.engine.drop_draft(&draft);
        }
        self.items.0.write().remove(&opened.fh);
        warn_unkept(self.handles.keep.forget_read(opened.fh));
        done
    }

    /// Sets attributes of an item. Modes and owners are given by the mount, and who unpacks or copies
    /// files here asks for theirs: that is no reason to fail.
    pub(super) fn set_item(
        &self,
        origin: Origin,
        caller: Caller,
        number: Ino,
        fh: Option<u64>,
        set: SetAttr,
    ) -> Result<Outcome<Attr>> {
        let mut changes = Vec::new();
        let changed = set.changed();
        if let Some(size) = set.size {
            // open(2) with O_TRUNC arrives as an open and a SETATTR of the same thread, which does not
            // name the handle (fuse_do_setattr, ATTR_OPEN).
            let opening = || if size == 0 { self.just_opened(number, caller) } else { None };
            match (fh.filter(|fh| is_item(*fh)), opening()) {
                (Some(fh), _) => self.cut(Opened { ino: number, fh }, size, false)?,
                (None, Some(fh)) => self.cut(Opened { ino: number, fh }, size, true)?,
                (None, None) => changes.extend(self.cut_by_path(origin, number, size)?),
            }
        } else if let Some(changed) = changed
            && !self.say_changed(number, caller, changed)
        {
            changes.extend(self.engine.set_item_time(origin, split(number).0, changed)?.changes);
        }
        // Not the size that the handle has: the kernel would end others' sendfile(2) there.
        let (attr, _) = self.item_getattr(number, None)?;
        Ok(Outcome { value: attr, changes })
    }

    /// Sets attributes of `data/`, as those of its items.
    pub(super) fn set_data(&self, origin: Origin, place: ItemPlace, attr: Attr, set: SetAttr) -> Result<Outcome<Attr>> {
        let Some(changed) = set.changed() else { return Ok(Outcome { value: attr, changes: vec![] }) };
        let changes = self.engine.set_data_time(origin, place, changed)?.changes;
        Ok(Outcome { value: Attr { changed: changed.unwrap_or(attr.changed), ..attr }, changes })
    }

    fn cut_by_path(&self, origin: Origin, number: Ino, size: u64) -> Result<Vec<super::Change>> {
        if size > MAX_ITEM {
            return Err(too_large());
        }
        let serial = split(number).0;
        let (item, body) = self.engine.item_and_body(serial)?.ok_or(Refusal::Gone)?;
        let mut draft = self.engine.begin_draft(self.handles.number(), body.as_ref(), size)?;
        let done = draft
            .set_size(size)
            .map_err(outside)
            .and_then(|()| self.engine.commit_item(origin, place_of(&item), serial, &mut draft, None));
        self.engine.drop_draft(&draft);
        Ok(done?.changes)
    }

    /// The handle that this thread opened last to be written, and did nothing with yet. The server that
    /// opened it may have died since.
    fn just_opened(&self, number: Ino, caller: Caller) -> Option<u64> {
        // Others look at its size at most; who holds it longer does something with it already.
        let is_own = |open: &OpenItem| {
            open.state.try_lock_for(LOOK).is_some_and(|state| state.fresh && state.opener == caller.pid)
        };
        let own = self.handles_of(number).into_iter().filter(|(_, open)| is_own(open)).map(|(fh, _)| fh);
        let left = || {
            let length = JUST_OPENED | u64::from(caller.pid) << OPENER_SHIFT;
            let is_fresh = |note: &ReadNote| (note.length, note.digest) == (length, number);
            let left = self.handles.keep.notes().into_iter().filter(|(fh, note)| is_item(*fh) && is_fresh(note));
            let items = self.items.0.read();
            left.map(|(fh, _)| fh).filter(|fh| self.handles.is_older(*fh) && !items.contains_key(fh)).max()
        };
        own.max().or_else(left)
    }

    /// The open handles of an item.
    fn handles_of(&self, number: Ino) -> Vec<(u64, Arc<OpenItem>)> {
        let items = self.items.0.read();
        items.iter().filter(|(_, open)| open.ino == number).map(|(fh, open)| (*fh, Arc::clone(open))).collect()
    }

    /// Says that something is asked of a handle.
    fn used(&self, fh: u64, state: &mut State) {
        state.fresh = false;
        if std::mem::take(&mut state.noted_fresh) {
            self.note_item(fh, state, 0, 0);
        }
    }

    /// Tells the handle with which a thread writes an item when it changed; false when there is none.
    fn say_changed(&self, number: Ino, caller: Caller, changed: Option<Nanos>) -> bool {
        let mut told = false;
        for (_, open) in self.handles_of(number) {
            if let Some(mut state) = open.state.try_lock_for(LOOK)
                && state.opener == caller.pid
                && state.draft.is_some()
            {
                state.changed = changed;
                told = true;
            }
        }
        told
    }

    /// The attributes of an item, and how long they hold. A handle sees the size of what it reads or has
    /// written, all others that of the item; of one that was taken away, that of what was opened last.
    pub(super) fn item_getattr(&self, number: Ino, fh: Option<u64>) -> Result<(Attr, Lifetime)> {
        let view = self.engine.view()?;
        let open = match fh.filter(|fh| is_item(*fh)) {
            Some(fh) => Some(self.open_of(Opened { ino: number, fh })?),
            None => None,
        };
        if let Some(item) = view.item_row(split(number).0)? {
            let size = open.and_then(|open| open.state.lock().size()).unwrap_or(item.size);
            let lifetime = match self.is_seen_otherwise(number, item.size) {
                true => Lifetime::Once,
                false => Lifetime::Forever,
            };
            return Ok((self.item_attr(number, size, item.changed), lifetime));
        }
        let last = || {
            let items = self.items.0.read();
            let open = items.iter().filter(|(_, open)| open.ino == number);
            open.max_by_key(|(fh, _)| **fh).map(|(_, open)| Arc::clone(open))
        };
        let open = open.or_else(last).ok_or(Refusal::Gone)?;
        let state = open.state.lock();
        if let Some(place) = state.place {
            view.id_of(place.kind, place.owner)?.ok_or(Refusal::Gone)?;
        }
        Ok((self.item_attr(number, state.size().unwrap_or(0), 0), Lifetime::Once))
    }

    /// Whether a handle has an item with another size than others see.
    fn is_seen_otherwise(&self, number: Ino, size: u64) -> bool {
        let items = self.items.0.read();
        let mut open = items.values().filter(|open| open.ino == number);
        open.any(|open| open.state.try_lock().is_none_or(|state| state.size().is_some_and(|own| own != size)))
    }

    fn item_attr(&self, ino: Ino, size: u64, changed: Nanos) -> Attr {
        Attr { ino, kind: FileKind::File, mode: self.mode(Access::Secret), size, exact: true, changed }
    }

    /// An open item; one of an earlier server comes back as far as that left it.
    fn open_of(&self, opened: Opened) -> Result<Arc<OpenItem>> {
        if let Some(open) = self.items.0.read().get(&opened.fh) {
            return Ok(Arc::clone(open));
        }
        let view = self.engine.view()?;
        let item = view.item_row(split(opened.ino).0)?;
        let mut state = State { draft: self.engine.resume_draft(opened.fh), lost: true, ..State::default() };
        state.place = item.as_ref().map(place_of);
        state.only_cut = state.draft.as_ref().is_some_and(|draft| draft.size() == 0);
        if let Some(note) = self.handles.keep.read_note(opened.fh) {
            state.noted_fresh = note.length >= JUST_OPENED;
            state.opener = ((note.length % JUST_OPENED) >> OPENER_SHIFT) as u32;
            state.file = note.version.unwrap_or(0);
            state.given_up = (note.digest == GIVEN_UP).then(|| Refusal::GivenUp.into());
            if state.file == 0 {
                state.lost = false;
            } else if let Some(item) = &item
                && let Ok(body) = self.engine.body_of(&view, item, state.file)
            {
                (state.body, state.lost) = (body, false);
            }
        }
        let open = Arc::new(OpenItem { ino: opened.ino, state: Mutex::new(state) });
        Ok(Arc::clone(self.items.0.write().entry(opened.fh).or_insert(open)))
    }

    /// Notes for the next server what a handle reads, who opened it, and where its last request added
    /// bytes.
    fn note_item(&self, fh: u64, state: &State, at: u64, unique: u64) {
        let length = at | u64::from(state.opener) << OPENER_SHIFT;
        let note = ReadNote { length, digest: unique, version: Some(state.file).filter(|file| *file != 0) };
        warn_unkept(self.handles.keep.note_read(fh, note));
    }
}

/// Whether a handle is an item's.
pub(super) const fn is_item(fh: u64) -> bool {
    fh & ITEM_HANDLE != 0
}

/// Whose `data/` a node is.
pub(super) fn data_of(node: &Node) -> Option<ItemPlace> {
    match Tree::dir_of(node) {
        Ok((Dir::Data, Some(owner))) => Some(ItemPlace { kind: owner.kind, owner: owner.serial }),
        _ => None,
    }
}

fn place_of(item: &Item) -> ItemPlace {
    ItemPlace { kind: item.kind, owner: item.owner }
}

fn too_large() -> Error {
    Refusal::TooLarge { what: "file", limit: MAX_ITEM as usize }.into()
}

fn outside(error: std::io::Error) -> Error {
    Error::Outside(Arc::new(error))
}
