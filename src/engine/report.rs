//! What is gathered rather than stored: tables, health.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::check::decodes;
use super::view::{View, What};
use super::{Engine, Result};
use crate::driver::netns;
use crate::model::record::{CtrHead, ImageHead, Kind, PodHead, Row, Serial};
use crate::model::runtime::{Setting, from_stored};
use crate::model::status::pod_status;
use crate::store::Query;

/// How long a network namespace's path may take to open.
const NETNS_DEADLINE: Duration = Duration::from_millis(500);

/// The columns of `table/ctr`.
const CTR_COLUMNS: &str = "id\tname\tstatus\tpid\texit-code\tpod\timage\tmounted\tcreated\tstarted\tfinished\n";
/// The columns of `table/pod`.
const POD_COLUMNS: &str = "id\tname\tstatus\tcontainers\tcreated\n";
/// The columns of `table/image`.
const IMAGE_COLUMNS: &str = "id\tnames\tlayers\tsize\tcontainers\tcreated\n";

impl View {
    /// Everything of one kind at once: tab-separated, a header first, newest first.
    ///
    /// # Errors
    /// What the store says; an object that does not decode has a row of dashes.
    pub fn table(&self, kind: Kind) -> Result<String> {
        let mut text = String::from(match kind {
            Kind::Ctr => CTR_COLUMNS,
            Kind::Pod => POD_COLUMNS,
            Kind::Image | Kind::Layer => IMAGE_COLUMNS,
        });
        let mut pod_names = std::collections::HashMap::new();
        let rows = self.snapshot().rows()?;
        for (serial, id) in self.snapshot().objects(kind)?.into_iter().rev() {
            match rows.get(serial) {
                Ok(Some(Row::Ctr(head))) => {
                    let pod = head.pod.map(|(pod, _)| {
                        pod_names.entry(pod).or_insert_with(|| self.snapshot().pod(pod).map(|p| p.name).ok()).clone()
                    });
                    ctr_line(&mut text, &head, pod.flatten().as_deref());
                }
                Ok(Some(Row::Pod(head))) => pod_line(&mut text, &head),
                Ok(Some(Row::Image(head))) => {
                    let names: Vec<_> = self.tags_of(serial)?.into_iter().map(|(name, _)| name).collect();
                    image_line(&mut text, &head, &names.join(","), self.users(serial)?.len());
                }
                _ => {
                    let dashes = text.lines().next().map_or(0, |header| header.matches('\t').count());
                    let _ = writeln!(text, "{id}{}", "\t-".repeat(dashes));
                }
            }
        }
        Ok(text)
    }

    /// An object's row, if it decodes.
    fn row(&self, serial: Serial) -> Result<Option<Row>> {
        Ok(match self.what(serial)? {
            Some(What::Row(row)) => Some(*row),
            Some(What::Damaged(_)) | None => None,
        })
    }

    /// A setting of the runtime configuration as it holds for a store at this path.
    ///
    /// # Errors
    /// What the store says.
    pub fn runtime(&self, setting: Setting, store: &Path) -> Result<String> {
        let stored = self.snapshot().runtime(setting.name())?.unwrap_or_default();
        Ok(if setting.is_path() { from_stored(&stored, &store.to_string_lossy()) } else { stored })
    }
}

impl Engine {
    /// Why an object is not well, or that it is.
    ///
    /// # Errors
    /// What the store says.
    pub fn health(&self, view: &View, kind: Kind, serial: Serial) -> Result<String> {
        if let Err(why) = decodes(view.snapshot(), kind, serial)? {
            return Ok(format!("{why}\n"));
        }
        let Some(Row::Ctr(head)) = view.row(serial)? else { return Ok("ok\n".to_owned()) };
        for (_, on) in view.needs(serial)? {
            if view.id_of(Kind::Ctr, on)?.is_none() {
                return Ok("it depends on a container that is gone\n".to_owned());
            }
        }
        match head.netns {
            None => Ok("ok\n".to_owned()),
            Some(path) => Ok(match netns::probe(Path::new(&path), NETNS_DEADLINE) {
                Ok(()) => "ok\n".to_owned(),
                Err(trouble) => format!("netns {path}: {trouble}\n"),
            }),
        }
    }
}

fn ctr_line(text: &mut String, head: &CtrHead, pod: Option<&str>) {
    let number = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let _ = writeln!(
        text,
        "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
        head.id(),
        head.name,
        head.status.word(),
        number(head.pid),
        number(head.exit_code),
        cell(pod),
        cell(head.image.as_deref()),
        u8::from(head.mounted),
        cell(head.created.as_deref()),
        cell(head.started.as_deref()),
        cell(head.finished.as_deref()),
    );
}

fn pod_line(text: &mut String, head: &PodHead) {
    let members: u32 = head.counts.iter().sum();
    let status = pod_status(&head.counts);
    let created = cell(head.created.as_deref());
    let _ = writeln!(text, "{}\t{}\t{status}\t{members}\t{created}", head.id(), head.name);
}

fn image_line(text: &mut String, head: &ImageHead, names: &str, users: usize) {
    let _ = writeln!(
        text,
        "{}\t{}\t{}\t{}\t{users}\t{}",
        head.id(),
        cell(Some(names)),
        head.layers,
        head.size,
        cell(head.created.as_deref()),
    );
}

/// A value in a table: `-` where there is none; tab, newline and backslash escaped.
pub(super) fn cell(value: Option<&str>) -> String {
    match value {
        None | Some("") => "-".to_owned(),
        Some(text) => text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n"),
    }
}
