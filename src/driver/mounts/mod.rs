//! Overlays and tmpfs: primaries at RUNROOT, views in the tree.
