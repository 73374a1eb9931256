//! The last refused operations with their reasons, for people and for the command line.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde_json::json;

use super::error::Errno;

/// How many are remembered.
const REMEMBERED: usize = 1024;

/// Who asked.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The process.
    pub pid: u32,
    /// The user.
    pub uid: u32,
}

/// Who asked, with the name that the process had then.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) uid: u32,
    pub(super) comm: String,
}

/// The newest refusals, newest last.
#[derive(Default)]
pub(super) struct Refusals(Mutex<VecDeque<String>>);

impl Refusals {
    /// Remembers one.
    pub(super) fn add(&self, time: &str, by: &Process, op: &str, path: &str, errno: Errno, reason: &str) {
        let line = json!({
            "time": time,
            "pid": by.pid,
            "uid": by.uid,
            "comm": by.comm,
            "op": op,
            "path": path,
            "errno": errno.name,
            "reason": reason,
        });
        let mut lines = self.0.lock();
        if lines.len() == REMEMBERED {
            lines.pop_front();
        }
        lines.push_back(format!("{line}\n"));
    }

    /// All of them, a JSON object a line.
    pub(super) fn text(&self) -> String {
        self.0.lock().iter().map(String::as_str).collect()
    }
}
