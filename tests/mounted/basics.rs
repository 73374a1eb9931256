//! What every user does first.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::Mounted;

#[test]
fn a_container_is_made_changed_and_removed() {
    let tree = Mounted::new();
    let id = tree.make("web");
    assert_eq!(id.len(), 64);
    assert_eq!(tree.read("ctr/web/status"), "configured\n");
    tree.echo("running", "ctr/web/status").unwrap();
    assert_eq!(tree.read("ctr/web/status"), "running\n");
    assert!(tree.read("table/ctr").contains("\tweb\trunning\t"));
    tree.echo("exited", "ctr/web/status").unwrap();
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    assert!(!tree.path("ctr/web").exists());
    assert!(!tree.path(&format!("id/{id}")).exists());
}

#[test]
fn a_killed_server_is_followed_by_another() {
    let tree = Mounted::new();
    tree.make("web");
    for round in 0..5 {
        tree.kill_server();
        assert_eq!(tree.read("ctr/web/status"), "configured\n", "round {round}");
    }
}

#[test]
fn a_container_has_a_place_for_its_callers_files() {
    let tree = Mounted::new();
    let id = tree.make("web");
    let place = fs::read_link(tree.path("ctr/web/artifacts")).unwrap();
    assert_eq!(place, tree.store.canonicalize().unwrap().join("ctr").join(&id).join("artifacts"));
    assert_eq!(fs::symlink_metadata(tree.path("ctr/web/artifacts")).unwrap().len(), place.as_os_str().len() as u64);
    assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o7777, 0o700);
    fs::write(tree.path("ctr/web/artifacts/create-config"), "{}").unwrap();
    tree.unmount();
    tree.mount();
    assert_eq!(fs::read_to_string(tree.path("ctr/web/artifacts/create-config")).unwrap(), "{}");
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    assert!(!place.exists());
}
