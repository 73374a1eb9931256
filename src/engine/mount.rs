//! Mounting and unmounting what containers have, and setting the kernel and the store at one.
//!
//! What is mounted is asked of the kernel; the record says what was asked for. Everything here walks
//! the tree or may wait for the kernel, so none of it runs on a thread that answers requests. A
//! container that is worked on is marked busy: nobody waits for a mark, a second one is refused.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::create::{rendered, stamp};
use super::images::layer_paths;
use super::view::View;
use super::{Engine, Error, Origin, Outside, Result, World};
use crate::driver::deadline::within;
use crate::driver::mounts::{
    MountError, Rootfs as Source, Shm, Taken, Volatile, lazily_unmount, open_directory, proc_fd,
};
use crate::driver::run_files::{host_hosts, host_resolv_conf};
use crate::model::container;
use crate::model::error::Refusal;
use crate::model::hosts::{self, HOSTNAME, HOSTS, RESOLV_CONF};
use crate::model::id::Id;
use crate::model::json::{Map, Value, parse};
use crate::model::keys::{is_set, text};
use crate::model::record::{Answer, Change, CtrHead, Doc, Kind, Nanos, Rootfs, Row, Serial};
use crate::store::{Contents, Done, Query, Update};

pub use crate::driver::mounts::Part;

/// How long a path that a user chose may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long the end of an overlay may take: it writes its whole filesystem to a disk that may be busy.
const LAST_SYNC: Duration = Duration::from_secs(30);
/// How long a removal waits for other work on its container. Whoever works may in turn wait for a lock of
/// a directory that the removal's caller holds.
const MOMENT: Duration = Duration::from_millis(250);

/// The small files that mounting makes.
const MADE: [&str; 3] = [RESOLV_CONF.name, HOSTS.name, HOSTNAME.name];

/// The mark on a container that is being worked on.
pub(super) struct Busy<'a> {
    engine: &'a Engine,
    serial: Serial,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.engine.busy.lock().remove(&self.serial);
    }
}

/// A container with mounts in the tree, as far as the way to them is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Its serial.
    pub ctr: Serial,
    /// Its ID.
    pub id: Id,
    /// When it was made.
    pub made: Nanos,
    /// Whether it has shared memory.
    pub shm: bool,
}

/// What a container is to have when it is mounted.
struct Wanted {
    /// Whether its rootfs is not mounted yet.
    fresh: bool,
    config: Map<String, Value>,
    shm: Option<Shm>,
    /// The small files that are to be written.
    files: Vec<(&'static str, String)>,
}

/// What stays mounted when a server ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// Nothing.
    Nothing,
    /// What containers run on.
    Something,
}

impl Engine {
    /// Marks a container as worked on.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when somebody else works on it.
    pub(super) fn occupy(&self, serial: Serial) -> Result<Busy<'_>> {
        match self.busy.lock().insert(serial) {
            true => Ok(Busy { engine: self, serial }),
            false => Err(Refusal::Busy { name: self.name_of(serial) }.into()),
        }
    }

    /// As [`Engine::occupy`], after a moment at most: most work takes less.
    pub(super) fn occupy_soon(&self, serial: Serial) -> Result<Busy<'_>> {
        let since = Instant::now();
        loop {
            match self.occupy(serial) {
                Err(Error::Refused(Refusal::Busy { .. })) if since.elapsed() < MOMENT => {
                    thread::sleep(Duration::from_millis(1));
                }
                result => return result,
            }
        }
    }

    pub(super) fn name_of(&self, ctr: Serial) -> String {
        let head = self.view().and_then(|view| Ok(view.snapshot().ctr(ctr)?));
        head.map_or_else(|_| format!("#{ctr}"), |head| head.name)
    }

    /// Whether anything of a container is or was mounted in this boot.
    pub fn has_mounts(&self, id: Id) -> bool {
        self.outside.as_ref().is_some_and(|outside| outside.mounts.has(id))
    }

    /// Whether a part of a container is mounted, as the kernel says.
    pub fn is_mounted(&self, id: Id, part: Part) -> bool {
        self.outside.as_ref().is_some_and(|outside| outside.mounts.is_mounted(id, part))
    }

    /// Mounts a container's rootfs and shm, makes its small files and shows the mounts in the tree. One
    /// that is mounted stays as it is; a view that was lost is made again.
    ///
    /// # Errors
    /// [`Refusal::NoRootfs`], [`Refusal::Busy`], and what the kernel says; nothing is mounted then.
    pub fn mount(&self, origin: Origin, ctr: Serial) -> Result<Done> {
        if let Some(done) = self.answered(origin)? {
            return self.finish(origin, ctr, done);
        }
        let _busy = self.occupy(ctr)?;
        let view = self.view()?;
        let head = view.snapshot().ctr(ctr).map_err(|_| Refusal::Gone)?;
        let wanted = self.wanted(&view, ctr, &head)?;
        self.recorded(origin, ctr, &head, true, |record| self.make_mounts(&view, &head, wanted, record))
    }

    /// Takes away what [`Engine::mount`] made, after what the config's `mounts` names. One that is not
    /// mounted stays so.
    ///
    /// # Errors
    /// [`Refusal::Live`], [`Refusal::Busy`], and all that the kernel says.
    pub fn unmount(&self, origin: Origin, ctr: Serial) -> Result<Done> {
        if let Some(done) = self.answered(origin)? {
            return self.finish(origin, ctr, done);
        }
        let _busy = self.occupy(ctr)?;
        let view = self.view()?;
        let mut head = view.snapshot().ctr(ctr).map_err(|_| Refusal::Gone)?;
        if head.mounted || self.has_mounts(head.id()) {
            container::may_remove(&head)?;
            if unmount_extra(&view.config(ctr)?) {
                // Which may have taken long enough for somebody to start it.
                head = self.view()?.snapshot().ctr(ctr).map_err(|_| Refusal::Gone)?;
                container::may_remove(&head)?;
            }
        }
        self.recorded(origin, ctr, &head, false, |record| {
            record();
            self.take_mounts(head.id())
        })
    }

    /// Works while it is recorded that a container is mounted, or that it is not: from when the work says
    /// that nothing is left that a rule may refuse. Should it fail then, the record is again what `head` has.
    fn recorded(
        &self,
        origin: Origin,
        ctr: Serial,
        head: &CtrHead,
        mounted: bool,
        work: impl FnOnce(&mut dyn FnMut()) -> Result<()>,
    ) -> Result<Done> {
        let outside = self.outside()?;
        let says = |mounted| recording(outside, ctr, head.id(), mounted);
        let mut commit = None;
        let worked = work(&mut || {
            commit.get_or_insert_with(|| self.begin(origin, says(mounted)));
        });
        let Some(commit) = commit else { return worked.and_then(|()| self.apply(origin, says(mounted))) };
        match (worked, commit.wait()) {
            (Ok(()), Err(error)) if mounted && !head.mounted => {
                self.take_mounts(head.id()).unwrap_or_else(|error| log::warn!("a mount is left over: {error}"));
                Err(error)
            }
            (Ok(()), recorded) => recorded,
            (Err(error), Ok(done)) => Err(self.take_back(origin, done, error, says(head.mounted))),
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Does the rest of what a server had recorded before it died: most often that was done when this
    /// one began.
    fn finish(&self, origin: Origin, ctr: Serial, done: Done) -> Result<Done> {
        // Whoever works on it came later.
        let Ok(_busy) = self.occupy(ctr) else { return Ok(done) };
        let view = self.view()?;
        let Ok(head) = view.snapshot().ctr(ctr) else { return Ok(done) };
        let finished = match head.mounted {
            _ if head.status.is_live() => Ok(()),
            true => self.make_again(&view, ctr, &head),
            false if self.has_mounts(head.id()) => self.take_mounts(head.id()),
            false => Ok(()),
        };
        match finished {
            Ok(()) => Ok(done),
            Err(error) => {
                let before = recording(self.outside()?, ctr, head.id(), !head.mounted);
                Err(self.take_back(origin, done, error, before))
            }
        }
    }

    /// Takes away what is mounted of a container that was removed; `before` still has it.
    pub(super) fn unmount_gone(&self, before: &View, id: Id) -> Result<()> {
        if !self.has_mounts(id) {
            return Ok(());
        }
        if let Some(ctr) = before.object_of(Kind::Ctr, &id)?
            && let Ok(config) = before.config(ctr)
        {
            unmount_extra(&config);
        }
        self.take_mounts(id)
    }

    /// Sets the kernel and the store at one, when a server begins: what is mounted and belongs to a
    /// container is shown again, what a record asks for is made again, all else is taken away.
    pub fn reconcile(&self) {
        if let Err(error) = self.try_reconcile() {
            log::warn!("what is mounted could not be looked through: {error}");
        }
        self.collect();
    }

    fn try_reconcile(&self) -> Result<()> {
        let outside = self.outside()?;
        let view = self.view()?;
        let asked = view.snapshot().mounted()?;
        for id in outside.mounts.mounted().map_err(Error::outside)? {
            let owner = view.object_of(Kind::Ctr, &id)?.filter(|serial| asked.contains(serial));
            if owner.is_none() {
                log::info!("{id} is mounted and nobody asked for it: it is taken away");
                self.take_mounts(id).unwrap_or_else(|error| log::warn!("{id}: {error}"));
            }
        }
        for ctr in asked {
            // Whoever removes it looks after its mounts.
            let Ok(_busy) = self.occupy(ctr) else { continue };
            let view = self.view()?;
            let Ok(head) = view.snapshot().ctr(ctr) else { continue };
            // A second overlay on an upper directory that a process still has would tear its files.
            if head.status.is_live() && !outside.mounts.is_mounted(head.id(), Part::Rootfs) {
                log::warn!("container {} is {} and its rootfs is not mounted", head.name, head.status.word());
                continue;
            }
            if let Err(error) = self.make_again(&view, ctr, &head) {
                log::warn!("container {} cannot be mounted again: {error}", head.name);
            }
        }
        Ok(())
    }

    /// Takes away what is mounted, when the tree is unmounted: all but what containers run on.
    pub fn leave(&self) -> Kept {
        let (Ok(outside), Ok(view)) = (self.outside(), self.view()) else { return Kept::Something };
        let mut kept = Kept::Nothing;
        for id in outside.mounts.mounted().unwrap_or_default() {
            let head = match view.object_of(Kind::Ctr, &id) {
                Ok(Some(serial)) => view.snapshot().ctr(serial).ok(),
                _ => None,
            };
            let is_live = head.is_some_and(|head| head.status.is_live());
            match if is_live { None } else { Some(outside.mounts.take(id)) } {
                Some(Ok(taken)) => {
                    outside.mounts.end(id, taken);
                    outside
                        .files
                        .remove(id, &MADE)
                        .unwrap_or_else(|error| log::warn!("files of {id} are left over: {error}"));
                }
                Some(Err(error)) => {
                    log::warn!("{id} stays mounted: {error}");
                    kept = Kept::Something;
                }
                None => kept = Kept::Something,
            }
        }
        kept
    }

    /// A container as it shows its mounts, with the head of its record where that decodes.
    pub fn shown(&self, ctr: Serial, id: Id, head: Option<&CtrHead>) -> Shown {
        let shm = head.is_some_and(|head| head.shm) || self.is_mounted(id, Part::Shm);
        Shown { ctr, id, made: head.map_or(0, |head| head.made), shm }
    }

    /// Containers that a server removed and died before it unmounted them, as its stored answers say.
    fn removed_and_mounted(&self, view: &View) -> Result<Vec<Shown>> {
        let mut found = Vec::new();
        for done in view.snapshot().answers()? {
            let Answer::Removed(ids) = &done.answer else { continue };
            // The ID of each container and pod and the change that took it out come in the same order.
            let serials = done.changes.iter().filter_map(|change| match change {
                Change::Removed(kind @ (Kind::Ctr | Kind::Pod), serial) => Some((*kind, *serial)),
                _ => None,
            });
            for (id, (kind, ctr)) in ids.iter().flatten().map(|id| Id::from_bytes(*id)).zip(serials) {
                if kind == Kind::Ctr && self.has_mounts(id) {
                    found.push(self.shown(ctr, id, None));
                }
            }
        }
        Ok(found)
    }

    /// The containers that were asked to be mounted, and those that are, removed ones too.
    ///
    /// # Errors
    /// What the store says, or the kernel.
    pub fn all_shown(&self) -> Result<Vec<Shown>> {
        let view = self.view()?;
        let mut ctrs = BTreeSet::from_iter(view.snapshot().mounted()?);
        let mounted = self.outside.as_ref().map_or(Ok(vec![]), |outside| outside.mounts.mounted());
        for id in mounted.map_err(Error::outside)? {
            ctrs.extend(view.object_of(Kind::Ctr, &id)?);
        }
        let mut shown = self.removed_and_mounted(&view)?;
        for ctr in ctrs {
            let head = view.snapshot().ctr(ctr).ok();
            shown.extend(view.id_of(Kind::Ctr, ctr)?.map(|id| self.shown(ctr, id, head.as_ref())));
        }
        Ok(shown)
    }

    /// Makes what a record says that there is.
    fn make_again(&self, view: &View, ctr: Serial, head: &CtrHead) -> Result<()> {
        self.make_mounts(view, head, self.wanted(view, ctr, head)?, &mut || {})
    }

    /// Looks at what a container is to have; what is wrong with its config shows here, before anything is
    /// made.
    fn wanted(&self, view: &View, ctr: Serial, head: &CtrHead) -> Result<Wanted> {
        let mut config = view.config(ctr)?;
        view.label(ctr, &mut config)?;
        let shm = head.shm.then(|| shm(&config)).transpose()?;
        let fresh = !self.is_mounted(head.id(), Part::Rootfs);
        let run = self.outside()?.files.path(head.id());
        let lacks = |file: &hosts::File| file.is_made(&config) && (fresh || !run.join(file.name).exists());
        let lacking = [RESOLV_CONF, HOSTS, HOSTNAME].into_iter().filter(lacks);
        let files = lacking.map(|file| Ok((file.name, content(file, &config)?))).collect::<Result<_>>()?;
        Ok(Wanted { fresh, config, shm, files })
    }

    /// Makes all that a container is to have, and says `checked` once no rule is left that may refuse it.
    /// Should it fail, nothing is left, unless the rootfs was there before.
    fn make_mounts(&self, view: &View, head: &CtrHead, wanted: Wanted, checked: &mut dyn FnMut()) -> Result<()> {
        let (outside, id) = (self.outside()?, head.id());
        let Wanted { fresh, config, shm, files } = wanted;
        let parts = if shm.is_some() { &[Part::Rootfs, Part::Shm][..] } else { &[Part::Rootfs] };
        let shared = Arc::clone(outside);
        let rest = self.meanwhile(move || make_rest(&shared, id, shm.as_ref(), &files, fresh));
        let rootfs = self.make_rootfs(view, head, &config, checked);
        let made = rootfs.and(rest.wait()).and_then(|()| {
            checked();
            show_all(outside, id, parts)
        });
        if made.is_err() && fresh {
            self.take_mounts(id).unwrap_or_else(|error| log::warn!("half a mount is left over: {error}"));
        }
        made
    }

    fn make_rootfs(
        &self,
        view: &View,
        head: &CtrHead,
        config: &Map<String, Value>,
        checked: &mut dyn FnMut(),
    ) -> Result<()> {
        let outside = self.outside()?;
        let id = head.id();
        if outside.mounts.is_mounted(id, Part::Rootfs) {
            return Ok(());
        }
        // The view of a primary that somebody took away has the upper directory in use.
        if head.mounted && !head.status.is_live() {
            let (taken, errors) = self.hide(outside, id);
            outside.mounts.end(id, taken);
            errors.into_iter().next().map_or(Ok(()), Err)?;
        }
        let none = |why: &str| Refusal::NoRootfs { name: head.name.clone(), why: why.to_owned() };
        match head.rootfs {
            Rootfs::None if text(config, container::IMAGE_ID).is_some() => {
                Err(none("the image that its config names is not in the store").into())
            }
            Rootfs::None => Err(none("its config has neither an image nor a rootfs").into()),
            Rootfs::Directory => {
                let path = PathBuf::from(text(config, container::ROOTFS).unwrap_or_default());
                let opened = within(DEADLINE, move || open_directory(&path));
                let directory = opened.map_err(|error| none(&format!("rootfs: {error}")))?;
                let directory = directory.map_err(|error| none(&error.to_string()))?;
                if outside.tree.holds(directory.as_fd()).map_err(Error::outside)? {
                    return Err(none("its directory lies in this very tree").into());
                }
                if !is_set(config, container::ROOTFS_OVERLAY) {
                    return Ok(outside.mounts.rootfs_telling(id, &Source::Plain(directory.as_fd()), checked)?);
                }
                make_overlay(outside, view, id, config, &[proc_fd(directory.as_fd())], checked)
            }
            Rootfs::Image { image, .. } => {
                make_overlay(outside, view, id, config, &layer_paths(view.snapshot(), outside, image)?, checked)
            }
        }
    }

    /// Takes views and primaries away, and the small files. Goes on after a failure and tells all.
    pub(super) fn take_mounts(&self, id: Id) -> Result<()> {
        let outside = self.outside()?;
        // Whoever holds it waits for no lock of a directory, so a removal may wait for it.
        let _one = self.taking.lock();
        let (mut taken, mut errors) = self.hide(outside, id);
        match outside.mounts.take(id) {
            Ok(primaries) => taken.add(primaries),
            Err(error) => errors.push(error),
        }
        outside.mounts.end(id, taken);
        let files = outside.files.remove(id, &MADE);
        match errors.len() {
            0 => files.map_err(Error::outside),
            1 => Err(errors.remove(0).into()),
            _ => Err(MountError::Several(errors).into()),
        }
    }

    /// Takes views away. Returns what went wrong, too.
    fn hide(&self, outside: &Outside, id: Id) -> (Taken, Vec<MountError>) {
        let (mut taken, mut errors) = (Taken::default(), Vec::new());
        match outside.tree.root() {
            Ok(root) => {
                for part in [Part::Shm, Part::Rootfs] {
                    match outside.mounts.hide(root.as_fd(), &place(id, part)) {
                        Ok(views) => taken.add(views),
                        Err(error) => errors.push(error),
                    }
                }
            }
            // Without a tree there are no views.
            Err(error) => log::debug!("no view of {id} is taken away: {error}"),
        }
        (taken, errors)
    }
}

/// Mounts an overlay of layers, topmost first, below what the container writes.
fn make_overlay(
    outside: &Outside,
    view: &View,
    id: Id,
    config: &Map<String, Value>,
    lowers: &[PathBuf],
    checked: &mut dyn FnMut(),
) -> Result<()> {
    let own = outside.dirs.make_upper(id).map_err(Error::outside)?;
    let (boot_id, trash) = (view.snapshot().boot_id()?, outside.dirs.trash());
    let source = Source::Overlay {
        lowers,
        upper: &own.join("upper"),
        work: &own.join("ovl-work"),
        volatile: is_set(config, "volatile").then_some(Volatile { boot_id: &boot_id, trash: &trash }),
        label: text(config, "MountLabel"),
    };
    outside.mounts.wait_for_end(id, LAST_SYNC);
    Ok(mounted_once_free(|| outside.mounts.rootfs_telling(id, &source, checked))?)
}

/// Makes shared memory and small files. Where the rootfs is mounted already, files that are there have
/// readers, and may have been changed by them.
fn make_rest(
    outside: &Outside,
    id: Id,
    shm: Option<&Shm>,
    files: &[(&'static str, String)],
    fresh: bool,
) -> Result<()> {
    shm.map_or(Ok(()), |shm| outside.mounts.shm(id, shm))?;
    let mut files = files.iter();
    files.try_for_each(|(name, content)| outside.files.write(id, name, content, fresh)).map_err(Error::outside)
}

/// Makes views.
fn show_all(outside: &Outside, id: Id, parts: &[Part]) -> Result<()> {
    let root = outside.tree.root().map_err(Error::outside)?;
    Ok(parts.iter().try_for_each(|part| outside.mounts.show(id, *part, root.as_fd(), &place(id, *part)))?)
}

/// Mounts once nobody else has the last overlay on the same upper directory: it ends by itself soon after
/// the last process of its container, or with the server that unmounted it.
fn mounted_once_free(
    mut mount: impl FnMut() -> std::result::Result<(), MountError>,
) -> std::result::Result<(), MountError> {
    let since = Instant::now();
    loop {
        match mount() {
            Err(MountError::InUse { mounted_at: None, .. }) if since.elapsed() < LAST_SYNC => {
                thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

/// Where the tree has the directory for a view.
fn place(id: Id, part: Part) -> PathBuf {
    Path::new(Kind::Ctr.dir()).join(id.to_string()).join(part.name())
}

fn shm(config: &Map<String, Value>) -> Result<Shm> {
    let size = config.get("shmSize").map_or(Some(0), Value::as_u64);
    let size = size.ok_or(Refusal::BadKey { key: "shmSize".to_owned(), rule: "a number of bytes above 0" })?;
    let shm = Shm { size, uid: 0, gid: 0, label: text(config, "MountLabel").map(str::to_owned) };
    shm.check()?;
    Ok(shm)
}

/// The content of resolv.conf, hosts or hostname (libpod's container_internal.go, 1.4.11 of its rules).
fn content(file: hosts::File, config: &Map<String, Value>) -> Result<String> {
    Ok(match file {
        RESOLV_CONF => hosts::resolv_conf(&host_resolv_conf().map_err(Error::outside)?, config)?,
        HOSTS => hosts::hosts(&host_hosts().map_err(Error::outside)?, config)?,
        _ => hosts::hostname(config)?,
    })
}

/// Unmounts, lazily, what the runtime mounted at the paths that the config lists. What is not mounted
/// is no matter; all else is told and no hindrance, as in libpod's cleanupStorage. Says whether there are any.
fn unmount_extra(config: &Map<String, Value>) -> bool {
    let mut any = false;
    let paths = config.get("mounts").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for path in paths.filter(|path| path.starts_with('/')).map(PathBuf::from) {
        let shown = path.display().to_string();
        let unmounted = within(DEADLINE, move || lazily_unmount(&path));
        if let Err(error) = unmounted.and_then(|unmounted| unmounted) {
            log::warn!("{shown}: {error}");
        }
        any = true;
    }
    any
}

/// The change that records that a container is mounted, or that it is not.
fn recording(
    outside: &Outside,
    ctr: Serial,
    id: Id,
    mounted: bool,
) -> impl Fn(&Update<'_>, &World) -> Result<(Answer, Vec<Change>)> + Send + use<> {
    let at = mounted.then(|| outside.mounts.path(id, Part::Rootfs).to_string_lossy().into_owned());
    move |update, world| record(update, world, ctr, at.as_deref())
}

/// Records where a container's rootfs is mounted, or that it is not.
fn record(update: &Update<'_>, world: &World, ctr: Serial, at: Option<&str>) -> Result<(Answer, Vec<Change>)> {
    update.id_of(Kind::Ctr, ctr)?.ok_or(Refusal::Gone)?;
    let mut head = update.ctr(ctr)?;
    let bytes = update.doc(ctr, Doc::State)?.unwrap_or_default();
    let Ok(Value::Object(state)) = parse(&bytes) else {
        let why = "it is not an object".to_owned();
        return Err(Refusal::Undecodable { part: Doc::State.name(), why }.into());
    };
    let state = container::mounted_state(&state, at);
    let new_bytes = rendered(state.clone())?;
    if new_bytes == bytes {
        return Ok((Answer::Done, vec![]));
    }
    head.state = stamp(update, &new_bytes, &(world.now)())?;
    container::derive_from_state(&mut head, &state);
    update.set_mounted(ctr, at.is_some())?;
    update.put_doc(ctr, Doc::State, &new_bytes)?;
    update.put_row(ctr, &Row::Ctr(head))?;
    Ok((Answer::Done, vec![Change::State(Kind::Ctr, ctr)]))
}

impl View {
    /// A container's config.
    pub(super) fn config(&self, ctr: Serial) -> Result<Map<String, Value>> {
        match parse(&self.doc(ctr, Doc::Config)?) {
            Ok(Value::Object(config)) => Ok(config),
            _ => Err(Refusal::NotAnObject.into()),
        }
    }
}
