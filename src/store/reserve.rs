//! Space kept for the moment when there is none: a file of zeroes beside the database.
//!
//! redb refuses everything after a failed write, reading too, until it is opened anew; and to open anew
//! takes space after a kill. So a write that finds the disk full takes space from the reserve and goes
//! on. What makes the store larger is refused from then on, before it begins, until the reserve is
//! whole again; what makes room, or says what has become of a container, goes on.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// The reserve's file in a store.
pub(super) const FILE: &str = "reserve";

/// Eight of the largest documents.
const WHOLE: u64 = 8 << 20;
/// What is taken at a time.
const PIECE: u64 = 512 << 10;

#[derive(Debug)]
pub(super) struct Reserve {
    file: Mutex<File>,
    /// Whether nothing is missing, as far as this process knows.
    whole: AtomicBool,
}

impl Reserve {
    pub(super) fn open(path: &Path) -> io::Result<Reserve> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let reserve = Reserve { file: Mutex::new(file), whole: AtomicBool::new(false) };
        reserve.is_whole();
        Ok(reserve)
    }

    /// Gives a piece back to the disk; false when there is none left.
    pub(super) fn spend(&self) -> io::Result<bool> {
        let file = self.file.lock();
        self.whole.store(false, Ordering::Relaxed);
        let length = file.metadata()?.len();
        file.set_len(length.saturating_sub(PIECE))?;
        Ok(length > 0)
    }

    /// Whether nothing is missing, once as much as possible is filled up again.
    pub(super) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Relaxed) || {
            let whole = fill(&self.file.lock()).is_ok();
            self.whole.store(whole, Ordering::Relaxed);
            whole
        }
    }
}

// Written, not only made long: a hole has no space.
fn fill(file: &File) -> io::Result<()> {
    let zeroes = vec![0; PIECE as usize];
    let mut length = file.metadata()?.len();
    while length < WHOLE {
        if let Err(error) = file.write_all_at(&zeroes, length) {
            file.set_len(length)?;
            return Err(error);
        }
        length += PIECE;
    }
    Ok(())
}
