//! What needs no privilege: the source's own rules, the manual and the README against the program.

#[path = "../support/mod.rs"]
mod support;

mod engine;
mod exited;
mod manual;
mod readme;
mod resent;
mod rooms;

use std::fs;
use std::path::{Path, PathBuf};

/// A file of this repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of this repository.
fn text_of(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
