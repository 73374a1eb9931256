//! Through a real mount, by real system calls and real shells.

#[path = "../support/mod.rs"]
mod support;
mod tools;

mod basics;
mod documents;
mod errnos;
mod shells;
