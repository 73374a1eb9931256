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

/// Whether an error says that what lies on the disk is damaged, and not that this process may not or cannot.
pub fn is_damage(error: &io::Error) -> bool {
    let numbers = [Errno::EIO, Errno::EUCLEAN, Errno::EBADMSG, Errno::EILSEQ, Errno::ENODATA];
    match error.raw_os_error() {
        Some(number) => numbers.contains(&Errno::from_raw(number)),
        None => error.kind() == io::ErrorKind::UnexpectedEof,
    }
}

/// What an error number means, in the C library's words.
pub fn words(number: i32) -> &'static str {
    Errno::from_raw(number).desc()
}
