//! Containers, pods, IDs, names and their rules. Values only: no I/O, no clock, no randomness.

pub mod bundle;
pub mod container;
pub mod digest;
pub mod error;
pub mod extras;
pub mod field;
pub mod finding;
pub mod flags;
pub mod hosts;
pub mod id;
pub mod id_map;
pub mod image;
pub mod image_name;
pub mod json;
pub mod keys;
pub mod name;
pub mod pod;
pub mod record;
pub mod runtime;
pub mod sandbox;
pub mod status;
pub mod user;
