//! Entries of which each write is one whole new content: a container's names, its own text, its ID maps
//! and its flags.

use super::handle::{Opened, State};
use super::ino::{ino, slot};
use super::items::Creating;
use super::lookup::{Entered, Lifetime};
use super::node::{Node, Object};
use super::plan::{Dir, Shape};
use super::{Caller, Outcome, Result, Tree};
use crate::engine::{IdMap, Origin, View};
use crate::model::error::Refusal;
use crate::model::flags::MAX_VALUE as MAX_FLAG;
use crate::model::json::parse;
use crate::model::name::Name;
use crate::model::record::{Answer, Change, Kind, Serial};

/// The most bytes of a list or an ID map.
const MAX_LIST: usize = 64 << 10;

/// What the kernel passes on of one write(2) at least: FUSE_MAX_MAX_PAGES of them, one of which a buffer
/// that begins within a page does not fill.
const KERNELS_CUT: usize = (1 << 20) - (4 << 10);

/// What one request writes.
pub(super) struct Written<'a> {
    pub(super) offset: u64,
    pub(super) data: &'a [u8],
    pub(super) append: bool,
}

impl Tree {
    /// What such an entry of a container shows.
    pub(super) fn text(&self, view: &View, shape: Shape, ctr: Serial) -> Result<Vec<u8>> {
        Ok(match shape {
            Shape::CtrNames => lines(view.names_of(ctr)?).into_bytes(),
            Shape::Metadata => view.metadata(ctr)?,
            Shape::IdMap(IdMap::Users) => view.more(ctr)?.uidmap.into_bytes(),
            Shape::IdMap(IdMap::Groups) => view.more(ctr)?.gidmap.into_bytes(),
            _ => vec![],
        })
    }

    /// Its size in bytes.
    pub(super) fn text_size(&self, view: &View, shape: Shape, ctr: Serial) -> Result<u64> {
        match shape {
            Shape::Metadata => Ok(view.more(ctr)?.metadata.size),
            _ => Ok(self.text(view, shape, ctr)?.len() as u64),
        }
    }

    /// The version of what it shows, for compare-and-swap; 0 of a text that was never set.
    pub(super) fn text_version(view: &View, shape: Shape, ctr: Serial) -> Result<Option<u64>> {
        match shape {
            Shape::Metadata => Ok(Some(view.more(ctr)?.metadata.version)),
            _ => Ok(None),
        }
    }

    /// Takes a whole new content for one.
    pub(super) fn take_text(
        &self,
        origin: Origin,
        state: &mut State,
        shape: Shape,
        object: &Object,
        written: &Written<'_>,
    ) -> Result<Vec<Change>> {
        let Written { offset, data, append } = *written;
        // The rest of a write(2) that the kernel has cut belongs to its beginning.
        let append = append || offset != 0 && offset == state.cut_at;
        state.cut_at = if data.len() >= KERNELS_CUT { offset + data.len() as u64 } else { 0 };
        if object.head.is_none() {
            return Err(Refusal::Undecodable { part: "record", why: "its head does not decode".into() }.into());
        }
        let ctr = object.serial;
        let done = match shape {
            Shape::CtrNames => {
                let names = text_of("list of names", data)?.split('\n').filter(|line| !line.is_empty());
                let names = names.map(Name::parse).collect::<std::result::Result<Vec<_>, _>>()?;
                self.engine.set_names(origin, ctr, names, append)?
            }
            Shape::IdMap(which) => {
                let text = text_of("ID map", data)?;
                self.engine.set_id_map(origin, ctr, which, text.to_owned(), append)?
            }
            _ => {
                let done = self.engine.set_metadata(origin, ctr, data.to_vec(), append, state.saved.seen)?;
                if let (Some(seen), Answer::Version(version)) = (&mut state.saved.seen, &done.answer) {
                    *seen = *version;
                }
                done
            }
        };
        Ok(done.changes)
    }

    /// Takes a whole new value for a flag.
    pub(super) fn take_flag(&self, origin: Origin, ctr: Serial, name: &str, data: &[u8]) -> Result<Vec<Change>> {
        if data.len() > MAX_FLAG {
            return Err(Refusal::TooLarge { what: "flag", limit: MAX_FLAG }.into());
        }
        let value = parse(data).map_err(Refusal::from)?;
        Ok(self.engine.set_flags(origin, ctr, vec![(name.to_owned(), Some(value))])?.changes)
    }

    /// Makes a flag and opens it. It says nothing until it is written, and is not there for others before.
    /// It stays so when it is closed: the kernel sends RELEASE at any time, when another open may have it.
    pub(super) fn create_flag(
        &self,
        origin: Origin,
        caller: Caller,
        ctr: Serial,
        name: &str,
        creating: Creating,
    ) -> Result<Outcome<(Entered, Opened)>> {
        let done = self.engine.make_flag(origin, ctr, name.to_owned(), creating.new)?;
        let Answer::Objects(objects) = &done.answer else { return Err(Refusal::Gone.into()) };
        let number = ino(objects.first().ok_or(Refusal::Gone)?.1, slot::SELF);
        let opened = self.open(caller, number, true)?;
        let view = self.engine.view()?;
        let attr = self.attr(&view, number, &self.node(&view, number)?)?;
        Ok(Outcome { value: (Entered { attr, lifetime: Lifetime::Once }, opened), changes: done.changes })
    }
}

/// The container whose flags a directory lists.
pub(super) fn flags_of(dir: &Node) -> Option<Serial> {
    match Tree::dir_of(dir) {
        Ok((Dir::Flags, Some(ctr))) if ctr.kind == Kind::Ctr => Some(ctr.serial),
        _ => None,
    }
}

fn text_of<'a>(what: &'static str, data: &'a [u8]) -> Result<&'a str> {
    if data.len() > MAX_LIST {
        return Err(Refusal::TooLarge { what, limit: MAX_LIST }.into());
    }
    Ok(std::str::from_utf8(data).map_err(|_| Refusal::NotUtf8 { what })?)
}

fn lines(names: Vec<String>) -> String {
    names.into_iter().map(|name| name + "\n").collect()
}
