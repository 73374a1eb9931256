//! A plain directory, such as debootstrap makes, as an image of one layer.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;

use super::error::ImageError;
use super::platform::Platform;
use super::watch::Watch;
use super::{Content, Documents, Image, Layer};
use crate::driver::export::{ExportError, Names, Warning, write_tree};
use crate::driver::unpack::UnpackError;

/// Opens a directory.
pub(super) fn open(dir: &Path, platform: Option<&Platform>) -> Result<Image, ImageError> {
    let entry = fs::metadata(dir).map_err(ImageError::at(dir))?;
    if !entry.is_dir() {
        return Err(ImageError::Unsupported { what: dir.display().to_string(), rule: "not a directory" });
    }
    let layer = Layer { diff_id: None, content: Content::Rootfs(dir.to_owned()) };
    let platform = platform.cloned().unwrap_or_default();
    Ok(Image { documents: Documents::Unwritten(platform), names: Vec::new(), layers: vec![layer] })
}

/// Has the directory's tar stream read by `unpack`, so that it gets a diff-id as any layer.
pub(super) fn stream<T>(
    dir: &Path,
    staging: &Path,
    watch: &dyn Watch,
    unpack: impl FnOnce(io::PipeReader) -> Result<T, UnpackError>,
) -> Result<T, ImageError> {
    let place = dir.display();
    let whole = fs::canonicalize(dir).map_err(ImageError::at(dir))?;
    if fs::canonicalize(staging).map_err(ImageError::at(staging))?.starts_with(&whole) {
        let rule = "the store is in it, so that it would have to hold itself";
        return Err(ImageError::Unsupported { what: place.to_string(), rule });
    }
    let root = File::open(dir).map_err(ImageError::at(dir))?;
    let (reader, mut writer) = io::pipe().map_err(ImageError::io(&place))?;
    let (written, unpacked) = thread::scope(|scope| {
        let producer = scope.spawn(move || {
            let mut reserved = None;
            let mut warn = |warning: Warning| match warning {
                Warning::Reserved(path) => reserved = reserved.take().or(Some(path)),
                other => watch.warn(&other.to_string()),
            };
            write_tree(root.as_fd(), Names::Layer, &mut writer, &mut warn).map(|()| reserved)
        });
        let unpacked = unpack(reader);
        (producer.join(), unpacked)
    });
    let written = written.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    match written {
        // Then the reader went away first, and knows why.
        Err(ExportError::Output(_)) => {}
        Err(error) => return Err(failed(dir, error)),
        Ok(Some(path)) => {
            let what = format!("/{} in {place}", path.display());
            return Err(ImageError::Unsupported { what, rule: "in a layer the name would mean a removal" });
        }
        Ok(None) => {}
    }
    unpacked.map_err(|error| failed(dir, error))
}

fn failed(dir: &Path, cause: impl std::error::Error + Send + Sync + 'static) -> ImageError {
    ImageError::Layer { layer: dir.display().to_string(), cause: Box::new(cause) }
}
