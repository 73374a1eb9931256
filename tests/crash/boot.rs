//! A reboot, as the store sees it: another boot ID in /proc. A mount namespace of its own has a file of
//! ours in that place.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::rows::{edit, replace_doc, serial};
use crate::support::images::Image;
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

/// What goes with the boot: of a container, all that there ever was of it.
#[test]
fn volatile_containers_go_with_the_boot_and_nothing_else_does() {
    let tree = Mounted::new();
    Image::new("one", &["a"]).import(&tree, &["one"]);
    tree.unmount();
    let said = under_boot(
        &tree,
        ONE,
        r#"mkdir pod/shop ctr/stays pod/shop/containers/member
        echo '{"name":"v","image":"one","volatile":true,"Dependencies":["stays"]} {"name":"w","volatile":true,"netNsCtr":"v"}
              {"name":"in","pod":"shop","volatile":true,"ipcNsCtr":"member"}' > create/ctr
        echo running > ctr/v/status; echo 3 > ctr/v/exit-code; echo stopped > ctr/in/status
        for c in v stays; do for d in work run data artifacts; do echo x > ctr/$c/$d/file; done; done
        echo 9 > ctr/w/exit-code; rm ctr/w; cat exited/*
        cat pod/shop/status check; ls ctr/stays/dependencies; readlink ctr/v"#,
    );
    let lines: Vec<&str> = said.lines().collect();
    let id = lines[4];
    assert_eq!(lines[..3], ["9", "stopped", "ok: 4 containers, 1 pods, 1 images, 2 layers"], "{said}");
    assert_eq!(lines[3], id);
    let own = tree.store.join("ctr").join(id);
    assert!(own.join("userdata/file").exists() && own.join("data").exists() && own.join("artifacts/file").exists());

    // Within the boot they stay.
    let said = under_boot(&tree, ONE, "ls ctr | wc -l; cat exited/* ctr/v/status ctr/v/work/file");
    assert_eq!(said, "4\n9\nrunning\nx\n");
    let look = format!(
        "ls name; ls ctr | wc -l; ls exited ctr/stays/dependencies pod/shop/containers | wc -l
        cat ctr/stays/status pod/shop/status check ctr/stays/work/file ctr/stays/data/file; ls layer | wc -l
        ls image/*/used-by
        i=0; while test -e {0} && test $i -lt 1000; do sleep 0.01; i=$((i+1)); done; ls {0} 2>&1 | wc -l",
        own.display()
    );
    let said = under_boot(&tree, OTHER, &look);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..5], ["member", "shop", "stays", "2", "6"], "{said}");
    assert_eq!(lines[5..8], ["configured", "created", "ok: 2 containers, 1 pods, 1 images, 1 layers"], "{said}");
    assert_eq!(lines[8..], ["x", "x", "1", "1"], "{said}");
    assert!(!own.exists());
}

/// A row that does not say whether its container is volatile leaves it alone.
#[test]
fn a_damaged_row_makes_nothing_volatile() {
    let tree = Mounted::new();
    fs::write(tree.path("create/ctr"), r#"{"name":"a","volatile":true} {"name":"b","volatile":true}"#).unwrap();
    let id = tree.id("a");
    tree.unmount();
    edit(&tree.store, |txn| {
        let more = redb::TableDefinition::<u64, &[u8]>::new("more");
        txn.open_table(more).unwrap().insert(serial(txn, &id), [0xff; 3].as_slice()).unwrap();
    });
    assert_eq!(under_boot(&tree, OTHER, "ls name; cat ctr/a/status; rm ctr/a; ls name"), "a\nconfigured\n");
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

#[test]
fn a_volatile_sandbox_goes_with_the_boot_unless_others_stay_in_it() {
    let tree = Mounted::new();
    Image::new("pause", &["base"]).import(&tree, &["pause"]);
    tree.unmount();
    let document = |pod: &str, name: &str, volatile: bool| {
        json!({
            "podName": pod, "podID": pod.repeat(32), "imageName": "pause", "containerName": name, "volatile": volatile,
        })
    };
    let sandboxes = format!("{}{}", document("aa", "a-infra", true), document("bb", "b-infra", true));
    let members =
        format!("{}{}{}", document("aa", "a1", true), document("bb", "b1", true), document("bb", "b2", false));
    under_boot(&tree, ONE, &format!("echo '{sandboxes}' >create/sandbox; echo '{members}' >create/ctr"));
    let said = under_boot(&tree, OTHER, "ls name; ls pod; cat check");
    let lines: Vec<&str> = said.lines().collect();
    let kept = "bb".repeat(32);
    assert_eq!(lines, ["b-infra", "b2", "bb", &kept, "ok: 2 containers, 1 pods, 1 images, 3 layers"]);
}
