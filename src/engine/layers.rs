//! A layer's files held against what was recorded of them when they came.

use std::io;
use std::path::Path;

use super::check::is_gone;
use super::{Error, Result};
use crate::driver::dirs::Dirs;
use crate::driver::record::{self, State};
use crate::driver::usage::{Usage, usage_at};
use crate::model::digest::Digest;
use crate::model::finding::Trouble;
use crate::model::id::Id;
use crate::model::record::{Doc, LayerHead, Serial};
use crate::store::Query;

/// Kinds of damage, in words.
type Damage = Vec<(Trouble, String)>;

/// What is wrong with the files of a layer; with `contents` those are read, too.
///
/// # Errors
/// What the store says; a directory that cannot be read.
pub(super) fn damage(
    state: &impl Query,
    dirs: &Dirs,
    (serial, id): (Serial, Id),
    head: &LayerHead,
    contents: bool,
) -> Result<Damage> {
    let tree = dirs.layer(id);
    // A digest of another length has been told.
    let digest = state.doc(serial, Doc::Tree)?.and_then(|bytes| bytes.try_into().ok()).map(Digest::from_bytes);
    let looked = match digest {
        Some(digest) => beside_record(&tree, &dirs.record(id), digest, head, contents),
        None => usage_at(&tree).map(|usage| (usage, counted(usage, head))),
    };
    let (usage, mut damage) = match looked {
        Err(error) if is_gone(&error) => {
            return Ok(vec![(Trouble::LayerDataMissing, "its directory is gone".to_owned())]);
        }
        Err(error) => {
            return Err(Error::outside(io::Error::new(error.kind(), format!("{}: {error}", tree.display()))));
        }
        Ok(looked) => looked,
    };
    if usage.bytes != head.size {
        let words = format!("its files have {} bytes, not {}", usage.bytes, head.size);
        damage.insert(0, (Trouble::LayerIncorrectSize, words));
    }
    Ok(damage)
}

/// Without a record, a layer has at least as many entries as it had.
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
    let compared = match record::state(file, digest)? {
        State::Gone => Err((Trouble::LayerDataMissing, "its record is gone")),
        State::Another => Err((Trouble::LayerContentModified, "its record is another")),
        State::Whole => match record::compare(tree, file, contents) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err((Trouble::LayerContentModified, "its record cannot be read"))
            }
            compared => Ok(compared?),
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
            let usage = usage_at(tree)?;
            let mut damage = vec![(trouble, words.to_owned())];
            // One finding of a kind.
            damage.extend(counted(usage, head).into_iter().filter(|(counted, _)| *counted != trouble));
            Ok((usage, damage))
        }
    }
}
