//! Writing: bytes arrive in any pieces; what they complete takes effect with the write that completes
//! it, and that write's result is the verdict. A refused write leaves handle and store as they were; only
//! what earlier writes began is given up with it, and then the handle takes no more.

use serde_json::{Map, Value};

use super::handle::{Opened, State};
use super::items::is_item;
use super::keep::{ReadNote, warn_unkept};
use super::node::{Head, Node, Object};
use super::plan::{Entry, Shape};
use super::texts::Written;
use super::{Caller, Outcome, Place, Result, Tree, control};
use crate::engine::{Edit, Error, Origin};
use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::json::{Scanner, Step, parse};
use crate::model::name::shorten;
use crate::model::record::{Answer, Change, Doc, Kind};

/// The most bytes of one document, white space between tokens aside.
const MAX_DOCUMENT: usize = 1 << 20;
/// The most bytes of one value, its newline among them.
const MAX_VALUE: usize = 4 << 10;

type Document = Map<String, Value>;

impl Tree {
    /// Takes bytes for an open file; `append` when it was opened so. All of them are taken or none. Only
    /// items have places for them.
    ///
    /// # Errors
    /// What is wrong with them, or with what they ask for.
    pub fn write(
        &self,
        origin: Origin,
        caller: Caller,
        opened: Opened,
        offset: u64,
        data: &[u8],
        append: bool,
    ) -> Result<Outcome<usize>> {
        if is_item(opened.fh) {
            return self.write_item(origin, caller.pid, opened, offset, data, append);
        }
        let handle = self.handles.file(opened.fh);
        let mut state = handle.state.lock();
        let done = |changes| Outcome { value: data.len(), changes };
        if origin.resent && state.saved.unique == origin.unique {
            return Ok(done(vec![]));
        }
        if state.saved.given_up {
            // Of a write that the kernel cut up, the caller is told only when it writes the rest.
            return Err(state.given_up_for.clone().unwrap_or_else(|| Refusal::GivenUp.into()));
        }
        state.written = true;
        let begun = !state.saved.pending.is_empty();
        let taken = self.take(origin, opened, &mut state, &Written { offset, data, append });
        if let Err(error) = &taken
            && begun
        {
            state.given_up_for = Some(error.clone());
            self.give_up(opened.fh, &mut state);
        }
        taken.map(done)
    }

    fn take(&self, origin: Origin, opened: Opened, state: &mut State, written: &Written<'_>) -> Result<Vec<Change>> {
        let Written { data, append, .. } = *written;
        let node = self.node(&self.engine.view()?, opened.ino)?;
        if let Node::Flag { ctr, name, .. } = &node {
            return self.take_flag(origin, *ctr, name, data);
        }
        let Node::Entry(entry, object) = &node else {
            return Err(Refusal::NotYours { what: "it is a directory or a symlink" }.into());
        };
        match (entry.shape, object) {
            (Shape::Doc(doc), Some(object)) => {
                let commit = |state: &mut State, documents| {
                    self.commit_documents(origin, (opened.fh, object), doc, documents, append, state)
                };
                self.take_documents(origin, opened.fh, state, data, commit)
            }
            (Shape::CreateImage, None) => {
                let commit = |state: &mut State, documents: Vec<Document>| {
                    let done = self.engine.create_images(origin, &documents)?;
                    Ok(answer_objects(state, done.answer, done.changes))
                };
                self.take_documents(origin, opened.fh, state, data, commit)
            }
            (Shape::CreateSandbox, None) => {
                let commit = |state: &mut State, documents| {
                    let done = self.engine.create_sandboxes(origin, documents)?;
                    Ok(answer_objects(state, done.answer, done.changes))
                };
                self.take_documents(origin, opened.fh, state, data, commit)
            }
            (Shape::Create(kind), None) => {
                let commit = |state: &mut State, documents| self.commit_create(origin, kind, documents, state);
                self.take_documents(origin, opened.fh, state, data, commit)
            }
            (Shape::Control, None) => {
                let commit =
                    |state: &mut State, documents: Vec<Document>| self.commit_control(origin, &documents, state);
                self.take_documents(origin, opened.fh, state, data, commit)
            }
            (Shape::Value(_) | Shape::Mounted, Some(object)) => {
                self.take_value(origin, opened.fh, state, data, entry, object)
            }
            (shape @ (Shape::CtrNames | Shape::Metadata | Shape::IdMap(_)), Some(object)) => {
                let changes = self.take_text(origin, state, shape, object, written)?;
                self.note_seen(opened.fh, state);
                Ok(changes)
            }
            _ => Err(Refusal::ReadOnly { entry: entry.name }.into()),
        }
    }

    /// Whether what is asked of an open file may last, and is for a thread of its own: a write to `control`
    /// with a task, and whatever uses its handle meanwhile.
    pub fn lasts(&self, opened: Opened, data: &[u8]) -> bool {
        if !self.is_control(opened.ino) {
            return false;
        }
        let handle = self.handles.file(opened.fh);
        let Some(state) = handle.state.try_lock() else { return true };
        let (mut scanner, mut begin) = (state.scanner.clone(), 0);
        let mut text = state.saved.pending.clone();
        for (at, byte) in data.iter().enumerate() {
            match scanner.step(*byte) {
                Ok(Step::Complete) => {
                    text.extend_from_slice(&data[begin..=at]);
                    if control::is_task(&text) {
                        return true;
                    }
                    text.clear();
                    begin = at + 1;
                }
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// Takes bytes of documents and commits those that become complete.
    fn take_documents(
        &self,
        origin: Origin,
        fh: u64,
        state: &mut State,
        data: &[u8],
        commit: impl FnOnce(&mut State, Vec<Document>) -> Result<Vec<Change>>,
    ) -> Result<Vec<Change>> {
        let mut scanner = state.scanner.clone();
        // White space between tokens is not kept and does not count: a document may be written back as
        // it is served, with its indentation.
        let (mut kept, mut ends) = (Vec::with_capacity(data.len()), Vec::new());
        for (at, byte) in data.iter().enumerate() {
            let step = scanner.step(*byte).map_err(|rule| Refusal::BadByte { at, rule })?;
            if step != Step::Space {
                kept.push(*byte);
            }
            if step == Step::Complete {
                ends.push(kept.len());
            }
        }
        let limit = |bytes: usize| match bytes {
            0..=MAX_DOCUMENT => Ok(()),
            _ => Err(Refusal::TooLarge { what: "document", limit: MAX_DOCUMENT }),
        };
        let Some(last) = ends.last().copied() else {
            limit(state.saved.pending.len() + kept.len())?;
            state.scanner = scanner;
            self.append(origin, fh, state, &kept);
            return Ok(vec![]);
        };
        let mut documents = Vec::new();
        let (mut from, mut pending) = (0, state.saved.pending.clone());
        for end in ends {
            pending.extend_from_slice(&kept[from..end]);
            limit(pending.len())?;
            documents.push(object_in(&pending)?);
            pending.clear();
            from = end;
        }
        let rest = kept.split_off(last);
        limit(rest.len())?;
        let changes = commit(state, documents)?;
        state.scanner = scanner;
        state.saved.pending = rest;
        state.saved.unique = origin.unique;
        self.save(fh, state);
        Ok(changes)
    }

    fn commit_documents(
        &self,
        origin: Origin,
        (fh, object): (u64, &Object),
        doc: Doc,
        documents: Vec<Document>,
        append: bool,
        state: &mut State,
    ) -> Result<Vec<Change>> {
        let edit = if append { Edit::Merge } else { Edit::Replace };
        let edits = documents.into_iter().map(edit).collect();
        let done = self.engine.write(origin, object.kind, object.serial, doc, edits, state.saved.seen)?;
        if let (Some(seen), Answer::Version(version)) = (&mut state.saved.seen, done.answer) {
            *seen = version;
        }
        self.note_seen(fh, state);
        Ok(done.changes)
    }

    /// Notes for the server after this one that what a handle has written counts as read.
    fn note_seen(&self, fh: u64, state: &State) {
        if let (Some(version), Some(note)) = (state.saved.seen, self.handles.keep.read_note(fh))
            && note.version != Some(version)
        {
            warn_unkept(self.handles.keep.note_read(fh, ReadNote { version: Some(version), ..note }));
        }
    }

    fn commit_create(
        &self,
        origin: Origin,
        kind: Kind,
        documents: Vec<Document>,
        state: &mut State,
    ) -> Result<Vec<Change>> {
        let done = self.engine.create(origin, kind, documents)?;
        Ok(answer_objects(state, done.answer, done.changes))
    }

    /// Takes bytes of a value and commits it with its newline.
    fn take_value(
        &self,
        origin: Origin,
        fh: u64,
        state: &mut State,
        data: &[u8],
        entry: &'static Entry,
        object: &Object,
    ) -> Result<Vec<Change>> {
        let bytes = state.saved.pending.len() + data.len();
        if bytes > MAX_VALUE {
            return Err(Refusal::TooLarge { what: "value", limit: MAX_VALUE }.into());
        }
        let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
            self.append(origin, fh, state, data);
            return Ok(vec![]);
        };
        let line = [&state.saved.pending, &data[..end]].concat();
        if end + 1 != data.len() {
            let value = shorten(&String::from_utf8_lossy(&[&state.saved.pending, data].concat()));
            return Err(Refusal::BadValue { entry: entry.name, value, rule: "one line" }.into());
        }
        let changes = self.commit_value(origin, entry, object, &line)?;
        state.saved.pending.clear();
        state.saved.closed_at = 0;
        state.saved.unique = origin.unique;
        self.save(fh, state);
        Ok(changes)
    }

    fn commit_value(&self, origin: Origin, entry: &Entry, object: &Object, line: &[u8]) -> Result<Vec<Change>> {
        let bad = |rule| {
            let value = shorten(&String::from_utf8_lossy(line));
            Error::Refused(Refusal::BadValue { entry: entry.name, value, rule })
        };
        let field = match entry.shape {
            Shape::Value(field) => field,
            _ => return self.commit_mounted(origin, object, line).unwrap_or_else(|| Err(bad("1 or 0"))),
        };
        let text = std::str::from_utf8(line).map_err(|_| bad("UTF-8"))?;
        let value = field.parse(text)?;
        let (doc, key) = field.place();
        let patch = Map::from_iter([(key.to_owned(), value)]);
        Ok(self.engine.write(origin, object.kind, object.serial, doc, vec![Edit::Merge(patch)], None)?.changes)
    }

    /// Mounts or unmounts; `None` when the line says neither.
    fn commit_mounted(&self, origin: Origin, object: &Object, line: &[u8]) -> Option<Result<Vec<Change>>> {
        let Some(Head::Ctr(head)) = &object.head else {
            return Some(Err(Refusal::Undecodable { part: "record", why: "its head does not decode".into() }.into()));
        };
        let done = match line {
            b"1" => {
                // Before the first thing is mounted.
                self.pinned.pin(self.engine.shown(object.serial, head.id(), Some(head)));
                self.engine.mount(origin, object.serial)
            }
            b"0" => self.engine.unmount(origin, object.serial),
            _ => return None,
        };
        if !self.engine.has_mounts(head.id()) {
            self.pinned.unpin(head.id());
        }
        Some(done.map(|done| done.changes))
    }

    /// Whether a close finds nothing to do. Of a handle that others use now nobody waits to know.
    pub fn is_at_rest(&self, fh: u64) -> bool {
        !is_item(fh) && self.handles.file(fh).state.try_lock().is_some_and(|state| state.is_at_rest())
    }

    /// A close of one of the handle's descriptors. A value without its newline takes effect; more of it
    /// may follow, for a shell's commands share a handle and each closes it. What is no complete
    /// document yet is said to be so.
    ///
    /// # Errors
    /// As [`Tree::write`]; [`Refusal::Incomplete`].
    pub fn flush(&self, origin: Origin, caller: Caller, opened: Opened) -> Result<Outcome<()>> {
        if is_item(opened.fh) {
            return self.close_item(origin, opened, caller.pid);
        }
        let handle = self.handles.file(opened.fh);
        let mut state = handle.state.lock();
        if state.is_at_rest() {
            return Ok(Outcome { value: (), changes: vec![] });
        }
        let pending = state.saved.pending.len();
        let node = self.node(&self.engine.view()?, opened.ino)?;
        let Node::Entry(entry @ Entry { shape: Shape::Value(_) | Shape::Mounted, .. }, Some(object)) = &node else {
            state.closer = Some(self.process(caller));
            return Err(Refusal::Incomplete { bytes: pending }.into());
        };
        let line = state.saved.pending.clone();
        let committed = self.commit_value(origin, entry, object, &line);
        // Refused or not, these bytes are judged; the next close is no news.
        state.saved.closed_at = pending;
        let changes = committed?;
        state.saved.unique = origin.unique;
        self.save(opened.fh, &mut state);
        Ok(Outcome { value: (), changes })
    }

    /// Makes what was written so far take effect, where it does so at a close.
    ///
    /// # Errors
    /// What the store or the filesystem says.
    pub fn fsync(&self, origin: Origin, opened: Opened) -> Result<Outcome<()>> {
        match is_item(opened.fh) {
            true => self.sync_item(origin, opened),
            // What was answered is on disk.
            false => Ok(Outcome { value: (), changes: vec![] }),
        }
    }

    /// The last close. Bytes that completed nothing are dropped; nobody is told but the log of refusals.
    ///
    /// # Errors
    /// What an item says that can only be committed now.
    pub fn release(&self, origin: Origin, opened: Opened) -> Result<Outcome<()>> {
        if is_item(opened.fh) {
            return self.release_item(origin, opened);
        }
        let handle = self.handles.close(opened.fh);
        let mut state = handle.state.lock();
        if state.kept {
            self.handles.keep.remove(opened.fh);
        }
        warn_unkept(self.handles.keep.forget_read(opened.fh));
        let bytes = state.saved.pending.len().saturating_sub(state.saved.closed_at);
        if bytes > 0 {
            let by = state.closer.take().unwrap_or_default();
            self.note_by(&by, "close", Place::At(opened.ino), &Refusal::Incomplete { bytes }.into());
        }
        Ok(Outcome { value: (), changes: vec![] })
    }

    /// Keeps bytes that complete nothing yet.
    fn append(&self, origin: Origin, fh: u64, state: &mut State, data: &[u8]) {
        state.saved.unique = origin.unique;
        if data.is_empty() {
            return;
        }
        state.saved.pending.extend_from_slice(data);
        let kept = if state.kept {
            self.handles.keep.append(fh, origin.unique, data)
        } else {
            self.handles.keep.save(fh, &state.saved)
        };
        state.kept = true;
        warn_unkept(kept);
    }

    /// Drops a document or value of which a piece was refused. Many a writer goes on with the next piece,
    /// which must not be joined to the ones before: of "{bad}", byte by byte, "{}" would be left.
    fn give_up(&self, fh: u64, state: &mut State) {
        state.saved.given_up = true;
        state.saved.pending.clear();
        state.saved.closed_at = 0;
        state.scanner = Scanner::default();
        self.save(fh, state);
    }

    /// Keeps a handle's state for the server after this one, if there is anything to keep. A file that
    /// is there stays until the release: it says that the request that emptied it was done, should that
    /// be sent again without the bytes before it.
    pub(super) fn save(&self, fh: u64, state: &mut State) {
        if !state.kept && state.saved.pending.is_empty() && state.saved.output.is_empty() {
            return;
        }
        state.kept = true;
        warn_unkept(self.handles.keep.save(fh, &state.saved));
    }
}

/// Adds results. Those that were read make room, and reading begins wherever the handle then stands.
pub(super) fn answer(state: &mut State, lines: impl Iterator<Item = String>) {
    if state.saved.output_at.take().is_some() {
        state.saved.output.clear();
    }
    lines.for_each(|line| state.saved.output.extend_from_slice(line.as_bytes()));
}

/// Adds the IDs of objects that were made.
fn answer_objects(state: &mut State, made: Answer, changes: Vec<Change>) -> Vec<Change> {
    if let Answer::Objects(objects) = made {
        answer(state, objects.into_iter().map(|(_, _, id)| format!("{}\n", Id::from_bytes(id))));
    }
    changes
}

fn object_in(text: &[u8]) -> std::result::Result<Document, Refusal> {
    match parse(text)? {
        Value::Object(document) => Ok(document),
        _ => Err(Refusal::NotAnObject),
    }
}
