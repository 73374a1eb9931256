//! `ctrfs image ls`: the tree's table, for people or as JSON.

use std::process::ExitCode;

use clap::Args;

use super::super::error::Error;
use super::super::ps::{Layout, Listing, Show};

/// The arguments of `ctrfs image ls`.
#[derive(Debug, Args)]
pub(crate) struct Ls {
    #[command(flatten)]
    listing: Listing,
}

const IMAGES: Layout = &[
    ("ID", "id", Show::Id),
    ("NAMES", "names", Show::Text),
    ("LAYERS", "layers", Show::Text),
    ("SIZE", "size", Show::Size),
    ("CONTAINERS", "containers", Show::Text),
    ("CREATED", "created", Show::Age),
];

impl Ls {
    /// Prints the table.
    pub(crate) fn run(self) -> Result<ExitCode, Error> {
        self.listing.show("table/image", IMAGES)
    }
}
