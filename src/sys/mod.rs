//! Kernel calls and what the kernel says about itself.

pub mod errno;
pub mod mountinfo;
