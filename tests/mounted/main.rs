//! Through a real mount, by real system calls and real shells.

#[path = "../support/mod.rs"]
mod support;
mod tools;

mod attributes;
mod bad_input;
mod basics;
mod broken_images;
mod bundle;
mod coherence;
mod documents;
mod driver_mounts;
mod errnos;
mod exporting;
mod extras;
mod fidelity;
mod gathered;
mod images;
mod importing;
mod items;
mod life;
mod manual;
mod model;
mod mounting;
mod names;
mod permissions;
mod plain_rootfs;
mod recorded;
mod removed;
mod repairing;
mod runtime;
mod sandbox;
mod shells;
mod unmounting;
mod unpacking;
mod verbs;
mod views;
