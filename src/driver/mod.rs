//! Directories and mounts of layers, and what else lies outside the store and is reached by path.
//!
//! ```text
//! blob -> decode -> unpack -> staging/ -> layers/        image: where blobs come from
//! layers/, upper -> overlay -> RUNROOT/p/ -> view        export: back into a tar
//! ```
//!
//! It has never heard of containers, pods or the database: IDs, paths and file descriptors come in.

pub mod deadline;
pub mod dirs;
pub mod export;
pub mod hash;
pub mod image;
pub mod items;
pub mod mounts;
pub mod netns;
pub mod record;
pub mod run_files;
pub mod unpack;
pub mod usage;
pub mod views;
mod walk;
