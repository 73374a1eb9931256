//! Servers and keepers that die, disks that fill or fail, records that are damaged, boots that end.

#[path = "../support/mod.rs"]
mod support;

mod all_or_none;
mod boot;
mod damage;
mod full;
mod images;
mod items;
mod keeper;
mod kill;
mod load;
mod migration;
mod mounts;
mod opening;
mod repair;
mod rows;
mod sandboxes;
mod simulated;
