//! (modules are listed here)

#[path = "../support/mod.rs"]
mod support;
