//! Requests that the kernel sends again after a server's death: what was done is not done again, and
//! answered as it was.

use ctrfs::engine::Origin;
use ctrfs::store;

use crate::exited::{dir, open, origin, walk};
use crate::support::Scratch;

#[test]
fn a_name_that_is_gone_by_the_same_request_was_removed() {
    let scratch = Scratch::new();
    store::create(&scratch.path().join("store"), "00000000-0000-4000-8000-000000000000", 1).unwrap();
    let tree = open(&scratch, "boot");
    tree.mkdir(origin(), dir(&tree, "ctr"), "web").unwrap();
    let names = dir(&tree, "name");
    tree.symlink(origin(), names, "alias", "web").unwrap();
    let (removal, renaming) = (origin(), origin());
    let again = |origin: Origin| Origin { resent: true, ..origin };

    let first = tree.unlink(removal, names, "alias").unwrap();
    assert!(!first.changes.is_empty());
    let second = tree.unlink(again(removal), names, "alias").unwrap();
    assert_eq!(second.changes, first.changes, "told again");
    tree.rename(renaming, (names, "web"), (names, "shop"), false).unwrap();
    tree.rename(again(renaming), (names, "web"), (names, "shop"), false).unwrap();
    assert!(walk(&tree, "name/shop").is_some() && walk(&tree, "name/web").is_none());
    // A request that was never answered is an ordinary one.
    assert!(tree.unlink(again(origin()), names, "alias").is_err());
}
