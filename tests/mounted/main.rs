//! Through a real mount, by real system calls and real shells.

#[path = "../support/mod.rs"]
mod support;

mod basics;
mod coherence;
mod manual;
mod mounting;
mod permissions;
mod unmounting;
