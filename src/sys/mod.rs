//! Kernel calls. The only place with `unsafe`, and the only one that says `nix`, `rustix` or `libc`.
//!
//! Nothing here has heard of containers, stores or trees: paths, file descriptors and numbers come
//! in, values go out, and what fails is an [`std::io::Error`] with the kernel's own errno.

pub mod beneath;
pub mod errno;
pub mod fd;
pub mod host;
pub mod lock;
pub mod memory;
pub mod mount;
pub mod mountinfo;
pub mod mounting;
pub mod netns;
pub mod process;
pub mod rename;
pub mod signal;
pub mod walk;
