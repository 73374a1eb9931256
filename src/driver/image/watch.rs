//! What an import tells while it works, and whether it shall go on.

use std::io::{self, Read};

use super::error::ImageError;
use super::import::Figures;
use crate::model::digest::Digest;

/// Who looks on while an image is imported. Called from several threads.
pub trait Watch: Sync {
    /// Whether the import is wanted no more; it then ends soon, with [`ImageError::Cancelled`].
    fn is_cancelled(&self) -> bool;
    /// A step begins.
    fn begin(&self, step: &Step);
    /// So many more bytes of the current step have been read.
    fn advance(&self, bytes: u64);
    /// Something is left out or not as it was, in a sentence.
    fn warn(&self, warning: &str);
    /// A step is done.
    fn end(&self, step: &Step, outcome: &Outcome);
}

/// A step of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// An archive that cannot be read in place is copied.
    Spool {
        /// How long it is, where that is known.
        size: Option<u64>,
    },
    /// A layer comes in.
    Layer {
        /// Which one, from 1.
        number: usize,
        /// Of how many.
        of: usize,
        /// Its diff-id, where that is known.
        diff_id: Option<Digest>,
        /// How many bytes will be read, where that is known.
        size: Option<u64>,
    },
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// So many bytes were copied.
    Copied(u64),
    /// The layer was there already.
    Present,
    /// The layer is new.
    New(Figures),
}

/// Whether to go on.
pub(super) fn check(watch: &dyn Watch) -> Result<(), ImageError> {
    match watch.is_cancelled() {
        true => Err(ImageError::Cancelled),
        false => Ok(()),
    }
}

/// A stream that fails once nobody wants it any more.
pub(super) struct Watched<'a, R> {
    pub(super) inner: R,
    pub(super) watch: &'a dyn Watch,
    /// Whether what is read here is what the step's progress counts.
    pub(super) counts: bool,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.watch.is_cancelled() {
            return Err(io::Error::other(ImageError::Cancelled));
        }
        let read = self.inner.read(into)?;
        if self.counts {
            self.watch.advance(read as u64);
        }
        Ok(read)
    }
}
