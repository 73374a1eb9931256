//! Through a real mount, by real system calls and real shells.

#[path = "../support/mod.rs"]
mod support;
mod tools;

mod attributes;
mod bad_input;
mod basics;
mod bundle;
mod coherence;
mod documents;
mod driver_mounts;
mod errnos;
mod exporting;
mod importing;
mod items;
mod manual;
mod model;
mod mounting;
mod permissions;
mod shells;
mod unmounting;
mod unpacking;
mod verbs;
