//! How much a directory holds.
