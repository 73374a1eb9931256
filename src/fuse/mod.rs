//! (being written)

pub mod empty;
pub mod session;
