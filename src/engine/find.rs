//! From what people type to the object: full ID, exact name, unique prefix, in that order.

use super::{Error, Result};
use crate::model::digest::Digest;
use crate::model::error::Refusal;
use crate::model::id::{Id, IdPrefix};
use crate::model::image_name::ImageName;
use crate::model::name::shorten;
use crate::model::record::{Kind, Serial};
use crate::store::{Contents, Query};

/// An object that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its serial.
    pub serial: Serial,
    /// Its ID.
    pub id: Id,
    /// Whether a prefix led to it.
    pub by_prefix: bool,
}

/// Finds the object of a kind that `text` means.
pub(super) fn find(state: &impl Query, kind: Kind, text: &str) -> Result<Found> {
    let missing = || Error::Refused(Refusal::NoSuch { kind, what: shorten(text) });
    if kind.is_content() {
        return find_content(state, kind, text)?.ok_or_else(missing);
    }
    if let Some(id) = Id::parse(text) {
        let serial = state.object_of(kind, &id)?.ok_or_else(missing)?;
        return Ok(Found { serial, id, by_prefix: false });
    }
    if let Some((_, k, serial)) = state.name(text)?
        && k == kind
    {
        let id = state.id_of(kind, serial)?.ok_or_else(missing)?;
        return Ok(Found { serial, id, by_prefix: false });
    }
    let Some(prefix) = IdPrefix::parse(text) else { return Err(missing()) };
    match state.by_prefix(kind, &prefix)?.as_slice() {
        [] => Err(missing()),
        [(id, serial)] => Ok(Found { serial: *serial, id: *id, by_prefix: true }),
        _ => Err(Refusal::AmbiguousPrefix { prefix: text.to_owned() }.into()),
    }
}

/// Finds an image by ID, digest, name or prefix, or a layer by ID, digest, name of its container's or
/// prefix.
fn find_content(state: &impl Query, kind: Kind, text: &str) -> Result<Option<Found>> {
    let found = |serial, id, by_prefix| Some(Found { serial, id, by_prefix });
    if let Some(id) = Id::parse(text).or_else(|| Digest::parse(text).map(Digest::id)) {
        return Ok(state.content(kind, &id)?.and_then(|serial| found(serial, id, false)));
    }
    let named = match kind {
        Kind::Image => match ImageName::parse(text) {
            Ok(name) => state.tag(&name.to_string())?.map(|(_, image)| image),
            Err(_) => None,
        },
        _ => match text.strip_suffix("-layer").map(|name| state.name(name)).transpose()?.flatten() {
            Some((_, Kind::Ctr, ctr)) => match state.id_of(Kind::Ctr, ctr)? {
                Some(id) => state.content(kind, &id)?,
                None => None,
            },
            _ => None,
        },
    };
    if let Some(serial) = named {
        return Ok(state.id_of(kind, serial)?.and_then(|id| found(serial, id, false)));
    }
    let Some(prefix) = IdPrefix::parse(text) else { return Ok(None) };
    match state.content_by_prefix(kind, &prefix)?.as_slice() {
        [] => Ok(None),
        [(id, serial)] => Ok(found(*serial, *id, true)),
        _ => Err(Refusal::AmbiguousPrefix { prefix: text.to_owned() }.into()),
    }
}

/// Finds by full ID or exact name only, as what destroys or renames asks for.
pub(super) fn find_exact(state: &impl Query, kind: Kind, text: &str) -> Result<Found> {
    let found = find(state, kind, text)?;
    if found.by_prefix {
        return Err(Refusal::PrefixNotExact { prefix: text.to_owned() }.into());
    }
    Ok(found)
}
