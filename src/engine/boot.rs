//! Opening: the runtime configuration is compared and the fields of a boot that is over are reset,
//! before the first request is answered.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::create::{rendered, stamp};
use super::items::FileNumbers;
use super::remove::{take_out, touch_lists};
use super::{Engine, Error, Helper, Outside, Result, World, exited};
use crate::driver::dirs::Dirs;
use crate::model::json::{Value, parse};
use crate::model::record::{Change, CtrHead, Doc, Kind, List, Moment, Nanos, Row, Serial};
use crate::model::runtime::{Setting, Verdict, compare, from_stored, to_stored};
use crate::model::{container, pod};
use crate::store::{Extras, OpenError, Query, Store, StoreError, Update};

/// What an engine is opened with.
#[derive(Clone, Debug)]
pub struct Boot {
    /// The kernel's boot ID.
    pub boot_id: String,
    /// The name of the kernel connection.
    pub connection: u64,
}

/// Why an engine could not be opened.
#[derive(Debug)]
pub enum BootError {
    /// The store could not.
    Open(OpenError),
    /// A setting differs from the stored one.
    Mismatch {
        /// The setting.
        field: &'static str,
        /// What is stored.
        stored: String,
        /// What was given.
        given: String,
    },
    /// The first transaction failed.
    Failed(Error),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootError::Open(error) => error.fmt(f),
            BootError::Mismatch { field, stored, given } => {
                let show = |value: &str| if value.is_empty() { "not set".to_owned() } else { format!("{value:?}") };
                let (in_store, here) = (show(stored), show(given));
                write!(
                    f,
                    "the runtime configuration does not match: {field} is {in_store} in the store and {here} here"
                )?;
                match stored.as_str() {
                    "" => write!(f, " (mount without -o {field}=)"),
                    _ => write!(f, " (mount with -o {field}={stored})"),
                }
            }
            BootError::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BootError {}

/// A setting as this opener has it: what it says, and what holds where it says nothing.
#[derive(Clone, Debug)]
pub struct Given {
    /// The setting.
    pub setting: Setting,
    /// What was given, "" for nothing.
    pub given: String,
    /// The default, "" for none.
    pub default: String,
}

impl Engine {
    /// An engine on an open store, without the checks of [`Engine::boot`].
    pub fn new(store: Store, world: World) -> Engine {
        Engine {
            store: Arc::new(store),
            world,
            connection: 0,
            outside: None,
            dirs: None,
            busy: Arc::default(),
            leaving: Arc::default(),
            taking: Mutex::default(),
            emptying: Mutex::default(),
            files: FileNumbers::default(),
            transient: false,
            helper: None,
        }
    }

    /// The same, with the directories beside the store.
    pub fn beside(store: Store, world: World, dirs: Dirs) -> Engine {
        Engine { dirs: Some(Arc::new(dirs)), ..Engine::new(store, world) }
    }

    /// Makes every new container volatile from now on.
    pub fn set_transient(&mut self) {
        self.transient = true;
    }

    /// The store's UUID.
    ///
    /// # Errors
    /// What the store says.
    pub fn uuid(&self) -> Result<String> {
        Ok(self.store.snapshot()?.uuid()?)
    }

    /// Compares the runtime configuration, storing what was never stored: all five or none.
    ///
    /// # Errors
    /// [`BootError::Mismatch`] for the first that differs.
    pub fn compare_runtime(&self, store: &Path, settings: Vec<Given>) -> std::result::Result<(), BootError> {
        let store = store.to_string_lossy().into_owned();
        let compared = self.store.update(move |update| {
            let mut puts = Vec::new();
            for Given { setting, given, default } in &settings {
                let kept = |path: &str| if setting.is_path() { to_stored(path, &store) } else { path.to_owned() };
                let stored = update.runtime(setting.name())?;
                match compare(stored.as_deref(), &kept(given), &kept(default)) {
                    Verdict::Match => {}
                    Verdict::Store(value) => puts.push((setting.name(), value)),
                    Verdict::Mismatch => {
                        let stored = from_stored(&stored.unwrap_or_default(), &store);
                        return Ok(Err((setting.name(), stored, given.clone())));
                    }
                }
            }
            for (name, value) in puts {
                update.put_runtime(name, &value)?;
            }
            Ok::<_, Error>(Ok(()))
        });
        match compared.map_err(BootError::Failed)? {
            Ok(()) => Ok(()),
            Err((field, stored, given)) => Err(BootError::Mismatch { field, stored, given }),
        }
    }

    /// Begins to serve: resets what a reboot voids, and takes over the answers that an earlier server
    /// of the same connection kept. Without `outside` nothing is ever mounted. Returns this server's
    /// generation.
    ///
    /// # Errors
    /// What the store says.
    pub fn boot(&mut self, boot: &Boot, outside: Option<Outside>) -> Result<u64> {
        self.connection = boot.connection;
        if let Some(outside) = &outside {
            self.dirs = Some(Arc::clone(&outside.dirs));
            self.helper = Some(Helper::start().map_err(Error::outside)?);
        }
        self.outside = outside.map(Arc::new);
        let (world, boot) = (self.world, boot.clone());
        let follows = self.store.snapshot()?.connection()? == boot.connection;
        let generation = self.store.update(move |update| {
            if update.boot_id()? != boot.boot_id {
                refresh(update, &world)?;
                update.set_boot_id(&boot.boot_id)?;
            }
            if !follows {
                update.take_blank_flags()?;
            }
            exited::forget(update, (world.now)().nanos)?;
            Ok::<_, Error>(update.begin_server(boot.connection)?)
        })?;
        self.files = FileNumbers::of(generation);
        if !follows {
            self.drop_drafts(|_| false);
        }
        Ok(generation)
    }
}

/// Takes containers out that go with the boot. Their directories are collected afterwards.
fn drop_volatile(update: &Update<'_>, now: Nanos) -> Result<()> {
    let (mut gone, mut infra, mut changes) = (false, Vec::new(), Vec::new());
    for ctr in update.all_more()? {
        match update.more(ctr) {
            Ok(more) if more.volatile && more.infra => infra.push(ctr),
            Ok(more) if more.volatile => gone |= take_out(update, Kind::Ctr, ctr, now, &mut changes)?.is_some(),
            Ok(_) => {}
            Err(error @ StoreError::Row { .. }) => log::warn!("whether container #{ctr} is volatile: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    // A pod goes with its infra container; where others stay in it, both stay.
    for ctr in infra {
        if let Ok(CtrHead { pod: Some((pod, _)), .. }) = update.ctr(ctr)
            && update.members(pod)?.len() == 1
        {
            take_out(update, Kind::Ctr, ctr, now, &mut changes)?;
            gone |= take_out(update, Kind::Pod, pod, now, &mut changes)?.is_some();
        }
    }
    if gone {
        touch_lists(update, &[List::Ctr, List::Pod, List::Id, List::Name], now, &mut changes)?;
    }
    // What containers ended with goes with the boot as well, theirs too.
    Ok(update.take_all_exited()?)
}

/// Resets every state. A record that does not decode is left as it is and named in the log.
fn refresh(update: &Update<'_>, world: &World) -> Result<()> {
    let now = (world.now)();
    drop_volatile(update, now.nanos)?;
    for kind in [Kind::Ctr, Kind::Pod] {
        for (serial, id) in update.objects(kind)? {
            if let Err(error) = refresh_one(update, kind, serial, &now) {
                match error {
                    Error::Refused(why) => log::warn!("{kind} {id} keeps its state of the last boot: {why}"),
                    error => return Err(error),
                }
            }
        }
    }
    Ok(())
}

fn refresh_one(update: &Update<'_>, kind: Kind, serial: Serial, now: &Moment) -> Result<Vec<Change>> {
    use crate::model::error::Refusal;
    let undecodable = |why: String| Error::Refused(Refusal::Undecodable { part: "state", why });
    let bytes = update.doc(serial, Doc::State)?.unwrap_or_default();
    let Value::Object(state) = parse(&bytes).map_err(|e| undecodable(e.to_string()))? else {
        return Err(Refusal::NotAnObject.into());
    };
    let reset = if kind == Kind::Ctr { container::reset_state(&state) } else { pod::reset_state(&state) };
    let mut row = update.row(serial).ok().flatten().ok_or_else(|| undecodable("its record is damaged".to_owned()))?;
    let new_bytes = rendered(reset.clone())?;
    if new_bytes == bytes {
        return Ok(vec![]);
    }
    let new_stamp = stamp(update, &new_bytes, now)?;
    match &mut row {
        Row::Ctr(head) => {
            let was = head.status;
            head.state = new_stamp;
            container::derive_from_state(head, &reset);
            update.set_mounted(serial, false)?;
            if let Some((pod, _)) = head.pod
                && let Ok(mut pod_head) = update.pod(pod)
            {
                pod_head.counts[was as usize] = pod_head.counts[was as usize].saturating_sub(1);
                pod_head.counts[head.status as usize] += 1;
                pod_head.status_changed = now.nanos;
                update.put_row(pod, &Row::Pod(pod_head))?;
            }
        }
        Row::Pod(head) => head.state = new_stamp,
        _ => return Ok(vec![]),
    }
    update.put_doc(serial, Doc::State, &new_bytes)?;
    update.put_row(serial, &row)?;
    Ok(vec![])
}
