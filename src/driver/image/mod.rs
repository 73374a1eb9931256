//! Where images come from: layouts, archives, plain directories, other stores.

pub mod staging;
