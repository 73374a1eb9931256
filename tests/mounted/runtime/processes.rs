//! While a container runs: others join it, signals reach it, its exit code comes back, and the tree
//! keeps it from being removed.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use super::Place;
use crate::support::{text, wait_until};

const WAITING: &str = r#""command":["trap 'exit 7' TERM; echo >/ready; while :; do sleep 0.05; done"]"#;

#[test]
fn a_process_joins_it_and_signals_reach_it() {
    let place = Place::new();
    let id = place.mount("web", WAITING);
    let mut runtime = place.run_command("web").spawn().unwrap();
    wait_until("the container runs", || place.rootfs("web").join("ready").exists());
    place.tree.echo("running", "ctr/web/status").unwrap();

    let key = place.key("web");
    let joined =
        place.runc(&["exec", &key, "/bin/sh", "-c", "hostname; echo joined >/joined; exit 6"]).output().unwrap();
    assert_eq!((joined.status.code(), String::from_utf8_lossy(&joined.stdout).trim_end()), (Some(6), &id[..12]));
    assert_eq!(fs::read_to_string(place.rootfs("web").join("joined")).unwrap(), "joined\n");
    let refused = place.tree.ctrfs(&["rm", "web"]);
    assert!(!refused.status.success() && text(&refused).contains("container web is running"), "{}", text(&refused));
    assert!(fs::remove_dir(place.tree.path(&format!("ctr/{id}"))).is_err());

    assert!(place.runc(&["kill", &key, "TERM"]).status().unwrap().success());
    assert_eq!(runtime.wait().unwrap().code(), Some(7));
    place.tree.echo("exited", "ctr/web/status").unwrap();
    place.remove("web");
}

#[test]
fn its_files_stay_when_the_server_dies() {
    let place = Place::new();
    place.mount("web", WAITING);
    let mut runtime = place.run_command("web").spawn().unwrap();
    wait_until("the container runs", || place.rootfs("web").join("ready").exists());
    place.tree.kill_server();
    let key = place.key("web");
    let joined = place.runc(&["exec", &key, "/bin/sh", "-c", "echo joined >/joined && cat /joined"]).output().unwrap();
    assert_eq!(text(&joined), "joined\n");
    assert_eq!(place.tree.read("ctr/web/size-rw"), "8\n");
    assert!(place.runc(&["kill", &key, "KILL"]).status().unwrap().success());
    let status = runtime.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(137), None));
    place.remove("web");
}
