//! The mount API by file descriptors: fsopen(2), fsmount(2), open_tree(2), move_mount(2).
