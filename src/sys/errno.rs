//! Names and words of error numbers.

use std::io;

use nix::errno::Errno;

/// The name of an error number, `EBUSY`.
pub fn name(number: i32) -> String {
    format!("{:?}", Errno::from_raw(number))
}

/// What went wrong, in the C library's words where the kernel says it.
pub fn say(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| words(number).to_owned())
}

/// What an error number means, in the C library's words.
pub fn words(number: i32) -> &'static str {
    Errno::from_raw(number).desc()
}
