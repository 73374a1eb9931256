//! Names and words of error numbers.

use nix::errno::Errno;

/// The name of an error number, `EBUSY`.
pub fn name(number: i32) -> String {
    format!("{:?}", Errno::from_raw(number))
}

/// What an error number means, in the C library's words.
pub fn words(number: i32) -> &'static str {
    Errno::from_raw(number).desc()
}
