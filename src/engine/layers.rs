//! A layer's files held against what was recorded of them when they came.

use std::io;
use std::path::Path;

use super::check::is_gone;
use super::{Error, Result};
use crate::driver::dirs::{Dirs, named};
use crate::driver::record::{self, State};
use crate::driver::usage::{Usage, usage_at};
use crate::model::digest::Digest;
use crate::model::finding::Trouble;
use crate::model::id::Id;
use crate::model::record::{Doc, Kind, LayerHead, Row, Serial};
use crate::store::Query;

/// Kinds of damage, in words.
type Damage = Vec<(Trouble, String)>;

/// A layer of which files must be there.
pub(super) struct Due {
    pub(super) serial: Serial,
    pub(super) id: Id,
    head: LayerHead,
    /// The digest of its record; one of another length is told elsewhere.
    record: Option<Digest>,
}

/// All of them, without the state that they were read from: to look through them may last, and a store
/// keeps what a state needs as long as that is held.
///
/// # Errors
/// What the store says.
pub(super) fn due(state: &impl Query) -> Result<Vec<Due>> {
    let (rows, mut due) = (state.rows()?, Vec::new());
    for (serial, id) in state.objects(Kind::Layer)? {
        if let Ok(Some(Row::Layer(head))) = rows.get(serial)
            && head.owner.is_none()
        {
            let record = state.doc(serial, Doc::Tree)?.and_then(|bytes| bytes.try_into().ok());
            due.push(Due { serial, id, head, record: record.map(Digest::from_bytes) });
        }
    }
    Ok(due)
}

/// What is wrong with the files of a layer; with `contents` those are read, too.
///
/// # Errors
/// A directory or file that may not be read.
pub(super) fn damage(dirs: &Dirs, due: &Due, contents: bool) -> Result<Damage> {
    let (tree, head) = (dirs.layer(due.id), &due.head);
    let looked = match due.record {
        Some(digest) => beside_record(&tree, &dirs.record(due.id), digest, head, contents),
        None => used(&tree).map(|usage| (usage, counted(usage, head))),
    };
    let (usage, mut damage) = match looked {
        Err(error) if is_gone(&error) => {
            return Ok(vec![(Trouble::LayerDataMissing, "its directory is gone".to_owned())]);
        }
        looked => looked.map_err(Error::outside)?,
    };
    if usage.bytes != head.size {
        let words = format!("its files have {} bytes, not {}", usage.bytes, head.size);
        damage.insert(0, (Trouble::LayerIncorrectSize, words));
    }
    Ok(damage)
}

fn used(tree: &Path) -> io::Result<Usage> {
    usage_at(tree).map_err(|error| named(tree, error))
}

/// Without a record, only the number of entries can be compared.
fn counted(usage: Usage, head: &LayerHead) -> Damage {
    let words = || format!("it has {} entries, not {}", usage.entries, head.entries);
    Vec::from_iter((usage.entries != head.entries).then(|| (Trouble::LayerContentModified, words())))
}

fn beside_record(
    tree: &Path,
    file: &Path,
    digest: Digest,
    head: &LayerHead,
    contents: bool,
) -> io::Result<(Usage, Damage)> {
    let compared = match record::state(file, digest).map_err(|error| named(file, error))? {
        State::Gone => Err((Trouble::LayerDataMissing, "its record is gone")),
        State::Another => Err((Trouble::LayerContentModified, "its record is another")),
        State::Whole(record) => match record::compare(tree, record, contents) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err((Trouble::LayerContentModified, "its record cannot be read"))
            }
            compared => Ok(compared.map_err(|error| named(tree, error))?),
        },
    };
    match compared {
        Ok(compared) => {
            let differing =
                [(Trouble::LayerContentModified, compared.entries), (Trouble::LayerIncorrectDigest, compared.contents)];
            let told = differing.into_iter().filter(|(_, differences)| !differences.is_empty());
            Ok((compared.usage, told.map(|(trouble, differences)| (trouble, differences.to_string())).collect()))
        }
        Err((trouble, words)) => {
            let usage = used(tree)?;
            let mut damage = vec![(trouble, words.to_owned())];
            // One finding of a kind.
            damage.extend(counted(usage, head).into_iter().filter(|(counted, _)| *counted != trouble));
            Ok((usage, damage))
        }
    }
}
