//! A reboot, as the store sees it: another boot ID in /proc. A mount namespace of its own has a file of
//! ours in that place.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::rows::{edit, replace_doc, serial};
use crate::support::{CTRFS, Mounted, Scratch, text};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Mounts the store under a boot ID, runs a script at the root of the tree, and unmounts.
fn under_boot(tree: &Mounted, boot_id: &str, script: &str) -> String {
    let scratch = Scratch::new();
    let file = scratch.path().join("boot_id");
    fs::write(&file, format!("{boot_id}\n")).unwrap();
    let steps = format!(
        "set -e; mount --bind \"$1\" {BOOT_ID}; \"$2\" mount \"$3\" \"$4\"; cd \"$4\"; {script}\ncd /; \"$2\" umount \"$4\""
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &steps, "sh"]).arg(&file).arg(CTRFS).arg(&tree.store).arg(&tree.at);
    let output = command.output().unwrap_or_else(|error| panic!("unshare (Debian: util-linux): {error}"));
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

const ONE: &str = "11111111-1111-4111-8111-111111111111";
const OTHER: &str = "22222222-2222-4222-8222-222222222222";

fn state() -> Value {
    json!({
        "state": "running", "configPath": "/c", "runDir": "/r", "startedTime": "2026-01-02T03:04:05Z",
        "finishedTime": "2026-01-01T03:04:05Z", "exitCode": 7, "oomKilled": true, "pid": 4242,
        "conmonPid": 4243, "netns": "/run/netns/gone", "execSessions": {"a": {"id": "a", "pid": 3}},
        "ipAddresses": [{"IP": "10.0.0.1"}], "interfaces": [{"name": "eth0"}], "routes": [{"gw": "10.0.0.1"}],
        "bindMounts": {"/etc/hosts": "/r/hosts"}, "cgroupCreated": true, "xKept": {"by": "its writer"}
    })
}

/// What of [`state`] is left after a reboot.
fn kept() -> Value {
    json!({
        "state": "configured", "configPath": "/c", "runDir": "/r", "startedTime": "2026-01-02T03:04:05Z",
        "finishedTime": "2026-01-01T03:04:05Z", "exitCode": 7, "oomKilled": true, "xKept": {"by": "its writer"}
    })
}

fn with_states() -> (Mounted, String) {
    let tree = Mounted::new();
    tree.unmount();
    let script = format!(
        "mkdir pod/shop ctr/web pod/shop/containers/a pod/shop/containers/b; echo '{0}' > ctr/web/state; \
         echo '{0}' > ctr/a/state; echo paused > ctr/b/status; cat ctr/web/state; readlink ctr/b",
        state()
    );
    let said = under_boot(&tree, ONE, &script);
    let (document, id) = said.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(serde_json::from_str::<Value>(document).unwrap(), state());
    (tree, id.to_owned())
}

#[test]
fn a_reboot_resets_what_it_voids_and_keeps_the_rest() {
    let (tree, _) = with_states();
    let said = under_boot(
        &tree,
        OTHER,
        "cat ctr/web/state; echo; cat ctr/web/pid ctr/web/netns ctr/web/status \
         ctr/web/exit-code ctr/web/health ctr/a/status ctr/b/status pod/shop/status check; stat -c %s ctr/web/state; \
         cat ctr/web/state | wc -c",
    );
    let (document, rest) = said.split_once("\n\n").unwrap();
    assert_eq!(serde_json::from_str::<Value>(document).unwrap(), kept());
    let lines: Vec<&str> = rest.lines().collect();
    let expected = [
        "",
        "configured",
        "7",
        "ok",
        "configured",
        "configured",
        "created",
        "ok: 3 containers, 1 pods, 0 images, 0 layers",
    ];
    assert_eq!(lines[0], "", "no pid");
    assert_eq!(lines[1..9], expected);
    assert_eq!(lines[9], lines[10], "the size is that of the state as it is now");
}

#[test]
fn the_same_boot_changes_nothing() {
    let (tree, _) = with_states();
    let look = "cat ctr/web/state ctr/a/state ctr/b/state pod/shop/status table/ctr; stat -c %Y.%i ctr/*/state";
    let first = under_boot(&tree, ONE, look);
    assert!(first.contains("\t4242\t"), "{first}");
    assert_eq!(under_boot(&tree, ONE, look), first);
}

#[test]
fn a_state_that_does_not_decode_is_left_and_named() {
    let (tree, id) = with_states();
    edit(&tree.store, |txn| replace_doc(txn, serial(txn, &id), 1, b"{\"state\": \"run"));
    let said = under_boot(
        &tree,
        OTHER,
        "cat ctr/web/status ctr/a/status ctr/b/raw; echo; cat ctr/b/health check; \
         echo '{\"state\":\"configured\"}' > ctr/b/state; cat ctr/b/health check",
    );
    assert!(said.starts_with("configured\nconfigured\n"), "{said}");
    assert!(said.contains("{\"state\": \"run"), "its bytes are left: {said}");
    assert!(said.contains(&format!("ctr/{id}: ")), "check names it: {said}");
    assert!(said.ends_with("ok\nok: 3 containers, 1 pods, 0 images, 0 layers\n"), "{said}");
}
