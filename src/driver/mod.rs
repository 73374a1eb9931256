//! What lies outside the store and is reached by path: so far, the check of network namespaces.

pub mod netns;
