//! Images, layers and their names in the tree, and containers upon them.

mod containers;
mod creating;
mod names;
mod showing;
