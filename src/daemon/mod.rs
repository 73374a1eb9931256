//! Processes, and the order in which things happen.
//!
//! ```text
//! mount.ctrfs ──spawns──> keeper ──spawns, again and again──> server
//!  (helper)    <─ ready ─   owns /dev/fuse, the lock,  <─ link ─>  owns the store, serves requests
//!                           the mount and RUNROOT
//! ```
//!
//! The keeper does so little that it has no reason to die; a server may die, or be replaced by a
//! newer program, at any time, and the next one goes on with the same connection.

mod backend;
pub mod child;
mod closers;
pub mod keeper;
pub mod link;
pub mod log;
pub mod mountpoint;
pub mod offline;
pub mod run_root;
pub mod server;
pub mod settings;
pub mod store_lock;

/// The type of our mounts, as mountinfo shows it.
pub const FS_TYPE: &str = "fuse.ctrfs";

/// The store's file; a directory without it is no store.
pub const STORE_FILE: &str = crate::store::FILE;
