//! Stores of earlier schemas, brought up to date in one transaction each step.

use redb::ReadableTable;
use serde::Deserialize;

use super::error::StoreError;
use super::query::{Query, Update};
use super::tables::{ROWS, meta};
use crate::model::container;
use crate::model::json::{Map, Value, parse};
use crate::model::keys::text;
use crate::model::record::{CtrHead, Doc, List, Nanos, Rootfs, Row, Serial, Stamp};
use crate::model::status::Status;

type Result<T> = std::result::Result<T, StoreError>;

/// The steps: each brings a store from the schema that is its place, counted from 1, to the next.
const STEPS: [fn(&Update<'_>) -> Result<()>; 3] = [images_and_layers, what_few_have, records_of_layers];

impl Update<'_> {
    /// Brings a store of schema `found` up to date.
    pub(super) fn migrate(&self, found: u64) -> Result<()> {
        for (step, to) in STEPS.iter().zip(2u64..).skip_while(|(_, to)| *to <= found) {
            step(self)?;
            self.set_meta(meta::SCHEMA, &to.to_le_bytes())?;
        }
        Ok(())
    }
}

/// A container as schema 1 kept it.
#[derive(Deserialize)]
struct CtrHead1 {
    id: [u8; 32],
    name: String,
    binding: Serial,
    pod: Option<(Serial, Serial)>,
    made: Nanos,
    dependents_changed: Nanos,
    config: Stamp,
    state: Stamp,
    status: Status,
    pid: Option<i64>,
    exit_code: Option<i64>,
    netns: Option<String>,
    image: Option<String>,
    created: Option<String>,
    started: Option<String>,
    finished: Option<String>,
}

/// Schema 2: images and layers have tables, and a container knows what its rootfs is made of. A row
/// that does not decode stays as it is.
fn images_and_layers(update: &Update<'_>) -> Result<()> {
    update.create_content_tables()?;
    let made = update.made()?;
    for list in [List::Image, List::Layer, List::ImageName] {
        update.touch_list(list, made)?;
    }
    let mut heads = Vec::new();
    for entry in update.table(ROWS)?.iter()? {
        let (serial, bytes) = entry?;
        // Of a row, postcard writes the number of its kind first: 0 is a container.
        if let Some((0, head)) = bytes.value().split_first()
            && let Ok(head) = postcard::from_bytes::<CtrHead1>(head)
        {
            heads.push((serial.value(), head));
        }
    }
    for (serial, old) in heads {
        let document = |doc| -> Result<Map<String, Value>> {
            let bytes = update.doc(serial, doc)?.unwrap_or_default();
            Ok(parse(&bytes).ok().and_then(|value| value.as_object().cloned()).unwrap_or_default())
        };
        let (config, state) = (document(Doc::Config)?, document(Doc::State)?);
        update.put_row(serial, &Row::Ctr(head_of(old, &config, &state)))?;
    }
    Ok(())
}

/// Schema 3: items, flags, further names and the rest of what few containers have; exit codes.
fn what_few_have(update: &Update<'_>) -> Result<()> {
    update.create_more_tables()?;
    update.touch_list(List::Exited, update.made()?)
}

/// Schema 4: a layer may have a document, the digest of its record. Those that are there have none.
fn records_of_layers(_: &Update<'_>) -> Result<()> {
    Ok(())
}

fn head_of(old: CtrHead1, config: &Map<String, Value>, state: &Map<String, Value>) -> CtrHead {
    let directory = text(config, container::ROOTFS).is_some();
    let mut head = CtrHead {
        id: old.id,
        name: old.name,
        binding: old.binding,
        pod: old.pod,
        made: old.made,
        dependents_changed: old.dependents_changed,
        config: old.config,
        state: old.state,
        status: old.status,
        pid: old.pid,
        exit_code: old.exit_code,
        netns: old.netns,
        image: old.image,
        created: old.created,
        started: old.started,
        finished: old.finished,
        rootfs: if directory { Rootfs::Directory } else { Rootfs::None },
        shm: true,
        mounted: false,
    };
    if !config.is_empty() {
        container::derive_from_config(&mut head, config);
    }
    if !state.is_empty() {
        container::derive_from_state(&mut head, state);
    }
    head
}
