//! ctrfs: the container and pod state database, mounted as a filesystem.
//!
//! ```text
//! fuse -> tree -> engine -> store        engine -> driver -> sys        fuse -> sys
//! cli -> daemon -> all but cli           cli -> sys                     model under all but fuse and sys
//! ```
//!
//! Changes go back as values: `engine` returns what changed, `fuse` tells the kernel; nothing below
//! calls upward.

pub mod cli;
pub mod daemon;
pub mod driver;
pub mod engine;
pub mod fuse;
pub mod model;
pub mod store;
pub mod sys;
pub mod tree;
