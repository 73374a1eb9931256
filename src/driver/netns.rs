//! Whether a path leads to a network namespace that can be joined.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::deadline::within;
use crate::sys::netns::is_network_namespace;

/// Why a path is no namespace to join.
#[derive(Debug)]
pub enum Trouble {
    /// It cannot be opened.
    Open(io::Error),
    /// It is something else.
    NotNetwork,
    /// It was not told in time.
    Unanswered(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Open(error) => write!(f, "cannot be opened: {error}"),
            Trouble::NotNetwork => f.write_str("is not a network namespace"),
            Trouble::Unanswered(error) => write!(f, "{error}"),
        }
    }
}

/// Opens `path` and looks at what it is, for no longer than `deadline`.
///
/// # Errors
/// What is in the way of joining it.
pub fn probe(path: &Path, deadline: Duration) -> Result<(), Trouble> {
    let path = path.to_owned();
    match within(deadline, move || is_network_namespace(&path)).map_err(Trouble::Unanswered)? {
        Err(error) => Err(Trouble::Open(error)),
        Ok(true) => Ok(()),
        Ok(false) => Err(Trouble::NotNetwork),
    }
}
