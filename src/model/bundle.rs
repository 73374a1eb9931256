//! The OCI runtime's spec of a container, made from its config and its image's.
