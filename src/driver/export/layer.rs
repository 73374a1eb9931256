//! What a writable layer changed, as the tar stream of a layer upon its lowers (OCI image-spec,
//! layer.md): overlayfs's marks become whiteouts.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use super::archive::Archive;
use super::tree::{WHITEOUT, next};
use super::{ExportError, Marks, Warn, Warning, at, path};
use crate::driver::walk::{Step, Walk};
use crate::sys::walk::{Dir, Kind};

/// Hides, in a layer, whatever lower layers have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Writes the layer of an upper directory upon its lowers, merged. Removals that remove nothing are
/// left out. Like a whole tree's, the stream depends on nothing but the trees.
///
/// # Errors
/// What cannot be read or written; the stream is then to be thrown away.
pub fn write_layer(
    upper: BorrowedFd<'_>,
    lowers: BorrowedFd<'_>,
    marks: Marks,
    out: &mut dyn Write,
    warn: Warn<'_>,
) -> Result<(), ExportError> {
    let top = |cause| ExportError::Entry { path: path(b""), cause };
    let (root, lowers) = (Dir::of(upper).map_err(top)?, Dir::of(lowers).map_err(top)?);
    let mut archive = Archive::new(out, warn);
    archive.entry(b".", &root.pin_self().map_err(top)?, &root.meta().map_err(top)?)?;
    // The note: whether the lowers have the directory.
    let mut walk = Walk::new(root, true).map_err(top)?;
    while let Some(step) = next(&mut walk)? {
        let Step::Entry = step else { continue };
        let pinned = walk.dir().pin(walk.name());
        let Some(pinned) = at(&walk, pinned)? else { continue };
        let meta = at(&walk, pinned.meta())?;
        let below = below(&mut walk, &lowers);
        let below = at(&walk, below)?;
        if meta.is_whiteout() {
            if below.is_some() {
                archive.mark(&beside(walk.path(), &[WHITEOUT, walk.name().as_bytes()].concat()), &meta)?;
            }
        } else if walk.name().as_bytes().starts_with(WHITEOUT) {
            archive.warn(Warning::Reserved(path(walk.path())));
        } else {
            archive.entry(walk.path(), &pinned, &meta)?;
            let is_merged = below == Some(Kind::Directory);
            let entered = meta.kind == Kind::Directory && at_entering(&mut walk, is_merged)?;
            let opaque = if entered && is_merged { marks.is_opaque(walk.dir()) } else { Ok(false) };
            if at(&walk, opaque)? {
                archive.mark(&[walk.path(), b"/", OPAQUE].concat(), &meta)?;
            }
        }
    }
    archive.finish()
}

/// What the lowers have at the walk's entry. They are asked by path, which no symlink can divert: all
/// directories on the way are known to be such in the lowers.
fn below(walk: &mut Walk<bool>, lowers: &Dir) -> io::Result<Option<Kind>> {
    if !*walk.note() {
        return Ok(None);
    }
    Ok(lowers.look(OsStr::from_bytes(walk.path()))?.map(|meta| meta.kind))
}

fn at_entering(walk: &mut Walk<bool>, note: bool) -> Result<bool, ExportError> {
    let entered = walk.enter(note);
    at(walk, entered)
}

/// The path of another name in the directory of a path.
fn beside(path: &[u8], name: &[u8]) -> Vec<u8> {
    let directory = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    [&path[..directory], name].concat()
}
