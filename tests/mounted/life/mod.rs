//! How containers end, and what is left of them: volatile ones, their directories, exit codes, rubbish,
//! and everything at once.

use std::path::PathBuf;

use crate::support::{Mounted, errno};
use crate::tools::ask;

mod directories;
mod exited;
mod gc;
mod volatile;
mod wipe;

/// The private tmpfs of a tree.
fn run_root(tree: &Mounted) -> PathBuf {
    tree.read("runtime-config/run-root").trim_end().into()
}

/// An ID of one digit, over and over.
fn id(digit: char) -> String {
    std::iter::repeat_n(digit, 64).collect()
}

/// Writes an order that must be refused; its errno and why.
fn refused_order(tree: &Mounted, order: &str) -> (nix::errno::Errno, String) {
    let errno = errno(ask(tree, "control", order));
    (errno, tree.last_refusal())
}
