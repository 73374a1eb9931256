//! Repair: what the check finds is mended, object by object, in one transaction; then files follow.
//!
//! Indexes are put as the records have them and what names nothing is dropped, round by round, until
//! nothing of that kind is found. What cannot be mended goes, and damage spreads up: with a layer go the
//! layers upon it, the images that have one of them, and the containers of those. Containers and pods go
//! only when that was asked for, and never one that runs or is mounted; what they need stays with them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::sync::Arc;

use parking_lot::Mutex;

use super::check::{Cure, Finding, SHELVES, in_store, is_known, lacks_upper};
use super::images::{remove_image, take_layer, touch_list};
use super::items::{dirs_discard, shelf_of};
use super::remove::take_out;
use super::{Engine, Error, Origin, Result, World};
use crate::driver::dirs::Shelf;
use crate::model::finding::{self, Trouble};
use crate::model::id::Id;
use crate::model::record::{Answer, Change, CtrHead, Kind, LayerHead, List, Nanos, Serial};
use crate::store::{Contents, Done, Extras, Fix, Items, Query, Update};

/// More rounds than any damage takes; so that two records that contradict each other end it.
const ROUNDS: usize = 64;

/// Lines about what was done, and what changed.
type Repaired = Result<(Answer, Vec<Change>)>;

/// Work that may last, and is for a thread of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// Looks for what belongs to nothing in the store, and throws it away.
    Gc {
        /// Whether it is only told.
        dry_run: bool,
    },
    /// Tells what the check finds.
    Check {
        /// Whether what the files of layers hold is compared, too.
        contents: bool,
    },
    /// Mends the store.
    Repair {
        /// Whether containers and pods that cannot be mended are removed.
        force: bool,
        /// Whether what the files of layers hold is compared, too.
        contents: bool,
    },
}

impl Engine {
    /// Carries out one task; answers a line for each thing done or found.
    ///
    /// # Errors
    /// What the store says, or a directory that cannot be read; then nothing is mended.
    pub fn perform(&self, origin: Origin, task: Task) -> Result<Done> {
        let lines = match task {
            Task::Repair { force, contents } => return self.repair(origin, force, contents),
            Task::Gc { dry_run } => self.gc(dry_run)?,
            Task::Check { contents } => self.check(contents)?.lines().map(str::to_owned).collect(),
        };
        Ok(Done { answer: Answer::Lines(lines), changes: vec![] })
    }

    /// Mends what the check finds.
    fn repair(&self, origin: Origin, force: bool, contents: bool) -> Result<Done> {
        let outside = self.outside.clone();
        let has_mounts = move |id| outside.as_ref().is_some_and(|outside| outside.mounts.has(id));
        let spared = self.spared()?;
        let leaving = self.leave_dirs();
        let (job, marks) = self.repair_job(force, contents, spared.clone(), has_mounts, leaving.note())?;
        let done = self.apply(origin, job)?;
        self.throw_files(&marks);
        self.throw_unaccounted(&spared);
        Ok(done)
    }

    /// The same for a store that is not mounted, where `has_mounts` says what is left mounted of a
    /// container. Returns the lines.
    ///
    /// # Errors
    /// As [`Engine::perform`].
    pub fn repair_unmounted(
        &self,
        force: bool,
        contents: bool,
        has_mounts: impl Fn(Id) -> bool + Send + 'static,
    ) -> Result<Vec<String>> {
        let (job, marks) = self.repair_job(force, contents, vec![], has_mounts, |_| ())?;
        let world = self.world;
        let (answer, _) = self.store.update(move |update| job(update, &world))?;
        self.throw_files(&marks);
        self.throw_unaccounted(&[]);
        self.empty_trash();
        match answer {
            Answer::Lines(lines) => Ok(lines),
            _ => Ok(vec![]),
        }
    }

    /// The transaction. Files are looked through before it begins, and not in it. The marks keep what is
    /// removed from being mounted until they are dropped.
    fn repair_job(
        &self,
        force: bool,
        contents: bool,
        spared: Vec<OsString>,
        has_mounts: impl Fn(Id) -> bool + Send + 'static,
        leave: impl Fn(&[Id]) + Send + 'static,
    ) -> Result<(impl Fn(&Update<'_>, &World) -> Repaired + Send + 'static, Marks)> {
        let in_files = self.in_files(contents)?;
        let marks = Marks { busy: Arc::clone(&self.busy), own: Arc::default(), files: Arc::default() };
        let (own, dirs) = (marks.clone(), self.dirs.clone());
        let job = move |update: &Update<'_>, world: &World| {
            let now = (world.now)().nanos;
            let may_go = |ctr, id| may_go(update, ctr, id, &own, &has_mounts);
            let lacks_upper = |head: &CtrHead| dirs.as_ref().is_some_and(|dirs| lacks_upper(dirs, head));
            let work = Work {
                update,
                now,
                force,
                may_go: &may_go,
                lacks_upper: &lacks_upper,
                leave: &leave,
                files: &own.files,
                lines: vec![],
                changes: vec![],
                did: false,
            };
            work.run(&in_files, &spared)
        };
        Ok((job, marks))
    }

    /// Layers that nothing has and that stay: as long as somebody imports, they may be awaited by a request
    /// that is sent again (see [`Engine::collect`]).
    fn spared(&self) -> Result<Vec<OsString>> {
        let Some(dirs) = &self.dirs else { return Ok(vec![]) };
        match dirs.discard_abandoned().map_err(Error::outside)? {
            0 => Ok(vec![]),
            _ => {
                let (view, mut spared) = (self.view()?, Vec::new());
                for name in dirs.listed(Shelf::Layers).map_err(Error::outside)? {
                    if !is_known(view.snapshot(), Shelf::Layers, &name)? {
                        spared.push(name);
                    }
                }
                Ok(spared)
            }
        }
    }

    /// Throws away the files of items that were dropped.
    fn throw_files(&self, marks: &Marks) {
        if let Some(dirs) = &self.dirs {
            marks.files.lock().iter().for_each(|(shelf, id, file)| dirs_discard(dirs, *shelf, *id, *file));
        }
    }

    /// Throws away the directories of what was removed, and those that nothing has.
    fn throw_unaccounted(&self, spared: &[OsString]) {
        let Some(dirs) = &self.dirs else { return };
        let thrown = SHELVES.into_iter().try_for_each(|shelf| -> Result<()> {
            let mut names = dirs.listed(shelf).map_err(Error::outside)?;
            names.retain(|name| shelf != Shelf::Layers || !spared.contains(name));
            let view = self.view()?;
            names.retain(|name| !is_known(view.snapshot(), shelf, name).unwrap_or(true));
            let dirs = Arc::clone(dirs);
            // As in a sweep: what somebody makes anew under the same name stays.
            self.store.update(move |update| -> Result<()> {
                for name in &names {
                    if !is_known(update, shelf, name)? {
                        dirs.discard_entry(shelf, name).map_err(Error::outside)?;
                    }
                }
                Ok(())
            })
        });
        thrown.unwrap_or_else(|error| log::warn!("directories of nothing are left over: {error}"));
    }
}

/// A file of a caller's own, by its number.
type File = (Shelf, Id, u64);

/// Containers marked as worked on while a repair decides about them, and files that it leaves.
#[derive(Clone)]
struct Marks {
    busy: Arc<Mutex<HashSet<Serial>>>,
    own: Arc<Mutex<HashSet<Serial>>>,
    files: Arc<Mutex<Vec<File>>>,
}

impl Marks {
    /// Marks a container, unless somebody else works on it.
    fn mark(&self, ctr: Serial) -> bool {
        let mut own = self.own.lock();
        let marked = own.contains(&ctr) || self.busy.lock().insert(ctr);
        if marked {
            own.insert(ctr);
        }
        marked
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        let own = std::mem::take(&mut *self.own.lock());
        self.busy.lock().retain(|ctr| !own.contains(ctr));
    }
}

/// Why a container stays whatever is asked for; `None` when it may go.
fn may_go(
    update: &Update<'_>,
    ctr: Serial,
    id: Id,
    marks: &Marks,
    has_mounts: &impl Fn(Id) -> bool,
) -> Option<&'static str> {
    let head = update.ctr(ctr).ok();
    match head {
        Some(head) if head.status.is_live() => Some("is running or paused"),
        Some(head) if head.mounted => Some("is mounted"),
        _ if !marks.mark(ctr) => Some("is being mounted, unmounted or removed"),
        _ if has_mounts(id) => Some("is mounted"),
        _ => None,
    }
}

/// A repair under way.
struct Work<'a> {
    update: &'a Update<'a>,
    now: Nanos,
    force: bool,
    may_go: &'a dyn Fn(Serial, Id) -> Option<&'static str>,
    lacks_upper: &'a dyn Fn(&CtrHead) -> bool,
    /// Hears of what is removed, before it is committed.
    leave: &'a dyn Fn(&[Id]),
    /// Files of items that are dropped.
    files: &'a Mutex<Vec<File>>,
    lines: Vec<String>,
    changes: Vec<Change>,
    did: bool,
}

/// What goes with a damaged object, itself among it.
#[derive(Default)]
struct Damaged(BTreeMap<Kind, BTreeSet<Serial>>);

impl Damaged {
    fn of(&self, kind: Kind) -> impl Iterator<Item = Serial> {
        self.0.get(&kind).into_iter().flatten().copied()
    }

    fn add(&mut self, kind: Kind, serial: Serial) -> bool {
        self.0.entry(kind).or_default().insert(serial)
    }
}

impl Work<'_> {
    fn run(mut self, in_files: &[Finding], spared: &[OsString]) -> Repaired {
        let mut left = None;
        self.files.lock().clear();
        for _ in 0..ROUNDS {
            let mut found = in_store(self.update)?;
            for finding in in_files {
                found.extend(self.still(finding)?.then(|| finding.clone()));
            }
            if self.mend_records(&found)? || self.mend_rows(&found)? || self.drop_items(&found)? {
                continue;
            }
            let before = self.lines.len();
            let stays = self.remove_damaged(&found)?;
            if self.lines.len() == before {
                left = Some(stays);
                break;
            }
        }
        let mut left = match left {
            Some(left) => left,
            None => in_store(self.update)?.iter().map(|finding| format!("{finding}: stays: it comes again")).collect(),
        };
        for finding in in_files {
            if let Cure::Discard(shelf, name) = &finding.fix
                && !is_known(self.update, *shelf, name)?
            {
                match *shelf == Shelf::Layers && spared.contains(name) {
                    true => left.push(format!("{finding}: stays: an import is under way")),
                    false => self.did(finding, "thrown away"),
                }
            }
        }
        if self.did {
            for list in List::ALL {
                touch_list(self.update, list, self.now, &mut self.changes)?;
            }
        }
        self.lines.extend(left);
        Ok((Answer::Lines(self.lines), self.changes))
    }

    /// Whether what was found in files still is so, as far as it depends on a record.
    fn still(&self, finding: &Finding) -> Result<bool> {
        match (finding.trouble, &finding.fix) {
            // That it is gone is told beside what took it along.
            (Trouble::ContainerDataMissing, Cure::Store(Fix::Remove(_, ctr))) => {
                Ok(self.update.ctr(*ctr).map_or(true, |head| (self.lacks_upper)(&head)))
            }
            (_, Cure::DropItem(item, file)) => {
                Ok(matches!(self.update.item_row(*item), Ok(Some(item)) if item.file == *file))
            }
            _ => Ok(true),
        }
    }

    fn did<F>(&mut self, finding: &finding::Finding<F>, what: &str) {
        self.did = true;
        let line = format!("{finding}: {what}");
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }

    /// Puts records right, which indexes follow; whether there were any.
    fn mend_records(&mut self, found: &[Finding]) -> Result<bool> {
        let mut any = false;
        for finding in found {
            if let Cure::Store(Fix::Record(serial, row)) = &finding.fix {
                let changes = self.update.mend_record(*serial, row)?;
                self.changes.extend(changes);
                self.did(finding, "mended");
                any = true;
            }
        }
        Ok(any)
    }

    /// Puts rows right; whether there were any.
    fn mend_rows(&mut self, found: &[Finding]) -> Result<bool> {
        let mut any = false;
        for finding in found {
            if let Cure::Store(Fix::Rows(mends)) = &finding.fix {
                let changes = self.update.mend(mends, self.now)?;
                self.changes.extend(changes);
                self.did(finding, "mended");
                any = true;
            }
        }
        Ok(any)
    }

    /// Drops items whose files are not their own; whether there were any.
    fn drop_items(&mut self, found: &[Finding]) -> Result<bool> {
        let mut any = false;
        for finding in found {
            let Cure::DropItem(serial, file) = finding.fix else { continue };
            let Some(item) = self.update.item_row(serial)? else { continue };
            if let Some((shelf, id)) = shelf_of(self.update, item.kind, item.owner)? {
                self.files.lock().push((shelf, id, file));
            }
            self.update.take_item(serial, &item)?;
            self.update.touch_data(item.owner, self.now)?;
            self.changes.extend([Change::Item(serial), Change::Items(item.kind, item.owner)]);
            self.did(finding, "dropped");
            any = true;
        }
        Ok(any)
    }

    /// Removes what cannot be mended. Returns lines about what stays.
    fn remove_damaged(&mut self, found: &[Finding]) -> Result<Vec<String>> {
        let (mut left, mut gone) = (Vec::new(), HashSet::new());
        for finding in found {
            let Cure::Store(Fix::Remove(kind, serial)) = finding.fix else { continue };
            if self.update.id_of(kind, serial)?.is_none() {
                // With another one; or in an earlier round, which told it.
                if gone.contains(&(kind, serial)) {
                    self.did(finding, "removed");
                }
                continue;
            }
            let damaged = self.spread(kind, serial)?;
            if let Some(why) = self.obstacle(kind, serial, &damaged)? {
                left.push(format!("{finding}: {why}"));
                continue;
            }
            self.did(finding, "removed");
            for (kind, serials) in &damaged.0 {
                gone.extend(serials.iter().map(|serial| (*kind, *serial)));
            }
            self.remove((kind, serial), &damaged)?;
        }
        Ok(left)
    }

    /// What cannot be without an object.
    fn spread(&self, kind: Kind, serial: Serial) -> Result<Damaged> {
        let (mut damaged, mut ahead) = (Damaged::default(), vec![(kind, serial)]);
        while let Some((kind, serial)) = ahead.pop() {
            if self.update.id_of(kind, serial)?.is_none() || !damaged.add(kind, serial) {
                continue;
            }
            let seconds = |pairs: Vec<(Serial, Serial)>| pairs.into_iter().map(|(_, other)| other);
            match kind {
                Kind::Layer => {
                    ahead.extend(seconds(self.update.images_with(serial)?).map(|image| (Kind::Image, image)));
                    for child in self.update.children(serial)? {
                        ahead.push(match self.update.layer(child) {
                            Ok(LayerHead { owner: Some(ctr), .. }) => (Kind::Ctr, ctr),
                            _ => (Kind::Layer, child),
                        });
                    }
                }
                Kind::Image => ahead.extend(self.update.users(serial)?.into_iter().map(|ctr| (Kind::Ctr, ctr))),
                Kind::Pod => ahead.extend(seconds(self.update.members(serial)?).map(|ctr| (Kind::Ctr, ctr))),
                Kind::Ctr => {
                    ahead.extend(seconds(self.update.needed_by(serial)?).map(|ctr| (Kind::Ctr, ctr)));
                    ahead.extend(self.pod_of_infra(serial)?.map(|pod| (Kind::Pod, pod)));
                }
            }
        }
        Ok(damaged)
    }

    /// The pod whose ID a container carries: it is not left without it.
    fn pod_of_infra(&self, ctr: Serial) -> Result<Option<Serial>> {
        let Some(id) = self.update.id_of(Kind::Ctr, ctr)? else { return Ok(None) };
        match self.update.infra(&id)? == Some(ctr) {
            true => Ok(self.update.object_of(Kind::Pod, &id)?),
            false => Ok(None),
        }
    }

    /// Why a damaged object stays, with all that goes with it.
    fn obstacle(&self, kind: Kind, serial: Serial, damaged: &Damaged) -> Result<Option<String>> {
        for ctr in damaged.of(Kind::Ctr) {
            let id = self.update.id_of(Kind::Ctr, ctr)?;
            if let Some(why) = id.and_then(|id| (self.may_go)(ctr, id)) {
                return Ok(Some(format!("stays: container {} {why}", self.name_of(ctr)?)));
            }
        }
        if self.force {
            return Ok(None);
        }
        let first = damaged.of(Kind::Ctr).next();
        Ok(match first {
            Some(ctr) if (kind, serial) != (Kind::Ctr, ctr) => {
                Some(format!("needs --force: container {} goes with it", self.name_of(ctr)?))
            }
            None if kind != Kind::Pod => None,
            _ => Some("needs --force".to_owned()),
        })
    }

    fn name_of(&self, ctr: Serial) -> Result<String> {
        let id = self.update.id_of(Kind::Ctr, ctr)?.map_or_else(|| format!("#{ctr}"), |id| id.to_string());
        Ok(self.update.ctr(ctr).map_or(id, |head| head.name))
    }

    /// Takes out what is damaged, from above: containers, images, layers.
    fn remove(&mut self, root: (Kind, Serial), damaged: &Damaged) -> Result<()> {
        for (kind, trouble, words) in [
            (Kind::Ctr, Trouble::Structure, "what it needs is damaged"),
            (Kind::Pod, Trouble::Structure, "what it needs is damaged"),
            (Kind::Image, Trouble::ImageLayerMissing, "a layer of it is damaged"),
            (Kind::Layer, Trouble::LayerMissing, "a layer below it is damaged"),
        ] {
            let trouble = match (kind, root.0) {
                (Kind::Ctr, Kind::Image | Kind::Layer) => Trouble::ContainerImageMissing,
                _ => trouble,
            };
            for serial in damaged.of(kind).filter(|serial| (kind, *serial) != root) {
                if let Some(id) = self.update.id_of(kind, serial)? {
                    let object = format!("{}/{id}", kind.dir());
                    self.did(&finding::Finding { trouble, object, words: words.to_owned(), fix: () }, "removed");
                }
            }
        }
        for kind in [Kind::Ctr, Kind::Pod] {
            for serial in damaged.of(kind) {
                let gone = take_out(self.update, kind, serial, self.now, &mut self.changes)?;
                (self.leave)(&gone.map_or(vec![], |(_, _, id)| vec![Id::from_bytes(id)]));
            }
        }
        for image in damaged.of(Kind::Image) {
            (self.leave)(&remove_image(self.update, image, self.now, &mut self.changes)?);
        }
        let mut layers: Vec<Serial> = damaged.of(Kind::Layer).collect();
        while let Some(at) = self.topmost(&layers)? {
            let gone = take_layer(self.update, layers.remove(at), self.now, &mut self.changes)?;
            (self.leave)(&Vec::from_iter(gone));
        }
        Ok(())
    }

    /// One of several layers upon which there is none.
    fn topmost(&self, layers: &[Serial]) -> Result<Option<usize>> {
        for (at, layer) in layers.iter().enumerate() {
            if self.update.children(*layer)?.iter().all(|child| !layers.contains(child)) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }
}
