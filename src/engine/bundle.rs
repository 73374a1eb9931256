//! What a runtime is given of a container, and what a container has written.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::view::View;
use super::{Engine, Error, Outside, Result};
use crate::driver::deadline::within;
use crate::driver::dirs::{ARTIFACTS, USERDATA};
use crate::driver::mounts::Part;
use crate::driver::{run_files, usage};
use crate::model::bundle::{Bundle, runtime_spec};
use crate::model::container::HOST_SHM;
use crate::model::error::Refusal;
use crate::model::id::Id;
use crate::model::json::{Value, parse};
use crate::model::keys::text;
use crate::model::record::{Doc, Kind, Serial};
use crate::model::user::Accounts;
use crate::store::Query;

/// How long the directory that a user gave for a rootfs may take to answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// The accounts of a rootfs, as far as it is mounted and answers.
fn accounts(rootfs: &str) -> (Option<String>, Option<String>) {
    let rootfs = PathBuf::from(rootfs);
    let account = |rootfs: &Path, name| run_files::of_rootfs(rootfs, name);
    let read = within(DEADLINE, move || (account(&rootfs, "etc/passwd"), account(&rootfs, "etc/group")));
    read.unwrap_or_default()
}

/// The directories for callers' own files that a container has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OwnDir {
    /// libpod's artifacts; lasts.
    Artifacts,
    /// What containers/storage calls the container's directory; lasts.
    Work,
    /// What containers/storage calls its run directory; goes with the boot at the latest.
    Run,
}

fn own_path(outside: &Outside, id: Id, dir: OwnDir) -> PathBuf {
    match dir {
        OwnDir::Artifacts => outside.dirs.beside_upper(id, ARTIFACTS),
        OwnDir::Work => outside.dirs.beside_upper(id, USERDATA),
        OwnDir::Run => outside.files.path(id),
    }
}

fn make(outside: &Outside, id: Id, dir: OwnDir) -> io::Result<()> {
    match dir {
        OwnDir::Artifacts => outside.dirs.make_beside_upper(id, ARTIFACTS),
        OwnDir::Work => outside.dirs.make_beside_upper(id, USERDATA),
        OwnDir::Run => outside.files.make(id),
    }
}

impl Engine {
    /// The OCI runtime's spec of a container, as its directory serves it.
    ///
    /// # Errors
    /// What the model says of its parts.
    pub fn bundle(&self, view: &View, ctr: Serial) -> Result<Vec<u8>> {
        let outside = self.outside()?;
        let head = view.snapshot().ctr(ctr)?;
        let (id, config) = (head.id(), view.config(ctr)?);
        let image = match head.rootfs.image() {
            Some(image) => match parse(&view.text(image, Doc::Config)?) {
                Ok(Value::Object(config)) => Some(config),
                _ => return Err(Refusal::NotAnObject.into()),
            },
            None => None,
        };
        let path = |part| outside.mounts.path(id, part).to_string_lossy().into_owned();
        let (rootfs, shm, run) = (path(Part::Rootfs), path(Part::Shm), outside.files.path(id));
        let (passwd, group) = accounts(&rootfs);
        Ok(runtime_spec(&Bundle {
            config: &config,
            image: image.as_ref(),
            rootfs: &rootfs,
            accounts: Accounts { passwd: passwd.as_deref(), group: group.as_deref() },
            shm: if head.shm { Some(&shm) } else { text(&config, "ShmDir").filter(|dir| *dir == HOST_SHM) },
            run: &run.to_string_lossy(),
            rootless: outside.mounts.userxattr(),
        })?)
    }

    /// Where callers keep files of their own that belong to a container.
    ///
    /// # Errors
    /// A store that is only looked at has no such place.
    pub fn own_dir(&self, id: Id, dir: OwnDir) -> Result<String> {
        Ok(own_path(self.outside()?, id, dir).to_string_lossy().into_owned())
    }

    /// As [`Engine::own_dir`], made when it is asked for first; in the store's own order of changes, so
    /// that none is made for a container that goes.
    ///
    /// # Errors
    /// It cannot be made; [`Refusal::Gone`].
    pub fn make_own_dir(&self, id: Id, dir: OwnDir) -> Result<String> {
        let outside = Arc::clone(self.outside()?);
        if !own_path(&outside, id, dir).is_dir() {
            self.store.update(move |update| match update.object_of(Kind::Ctr, &id)? {
                Some(_) => make(&outside, id, dir).map_err(Error::outside),
                None => Err(Refusal::Gone.into()),
            })?;
        }
        self.own_dir(id, dir)
    }

    /// How many bytes the files have that a container wrote: those in its own layer.
    ///
    /// # Errors
    /// They cannot be looked through.
    pub fn size_rw(&self, view: &View, ctr: Serial) -> Result<u64> {
        let id = view.snapshot().ctr(ctr)?.id();
        let upper = self.outside()?.dirs.upper(id).join("upper");
        match usage::usage_at(&upper) {
            Ok(usage) => Ok(usage.bytes),
            // It is made when the container is mounted first.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(Error::outside(error)),
        }
    }
}
