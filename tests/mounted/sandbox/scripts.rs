//! `scripts/cri.sh` and `scripts/storage.sh` on a real tree, in every shell.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use super::with_image;
use crate::support::{Mounted, Scratch, text};
use crate::tools::{IMAGE, SHELLS, need_shells, store};

fn run(tree: &Mounted, shell: &[&str], script: &str, image: &str) -> Output {
    let path = format!("{}/scripts/{script}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg(path).arg(image).env("CTRFS_AT", &tree.at).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("{shell:?}: {error}"))
}

fn leaves_nothing(script: &str, says: &[&str]) {
    need_shells();
    let (tree, _) = with_image();
    let before: Vec<String> = store(&tree).into_keys().collect();
    for shell in SHELLS {
        let output = run(&tree, shell, script, IMAGE);
        assert!(output.status.success(), "{script} in {shell:?}: {}", text(&output));
        let said = text(&output);
        says.iter().for_each(|words| assert!(said.contains(words), "{script} in {shell:?}: {words} is not in {said}"));
        assert_eq!(store(&tree).into_keys().collect::<Vec<_>>(), before, "{script} in {shell:?}");
        let output = run(&tree, shell, script, "none");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("no such image: none"), "{}", text(&output));
        assert_eq!(store(&tree).into_keys().collect::<Vec<_>>(), before, "{script} in {shell:?}");
    }
}

#[test]
fn cri_s_calls_are_file_operations() {
    leaves_nothing("cri.sh", &[r#"{"pod":true,"pod-name":"k8s_shop_"#, r#""name":"k8s_web_shop_"#, r#""attempt":1"#]);
}

#[test]
fn so_are_the_calls_of_podmans_storage() {
    leaves_nothing("storage.sh", &["from the container", "manifest", r#"{"image-name":""#]);
}

/// With a cat that sends a signal to the script that calls it.
#[test]
fn a_signal_leaves_nothing_either() {
    need_shells();
    let (tree, _) = with_image();
    let before: Vec<String> = store(&tree).into_keys().collect();
    let bin = Scratch::new();
    let cat = bin.path().join("cat");
    let signals = "#!/bin/sh\ncase $1 in */metadata) kill -TERM $PPID ;; *) exec /bin/cat \"$@\" ;; esac\n";
    fs::write(&cat, signals).unwrap();
    fs::set_permissions(&cat, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
    for script in ["cri.sh", "storage.sh"] {
        for shell in ["bash", "dash"] {
            let script = format!("{}/scripts/{script}", env!("CARGO_MANIFEST_DIR"));
            let mut command = Command::new(shell);
            command.arg(&script).arg(IMAGE).env("CTRFS_AT", &tree.at).env("PATH", &path).stdin(Stdio::null());
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(130), "{script} in {shell}: {}", text(&output));
            assert_eq!(store(&tree).into_keys().collect::<Vec<_>>(), before, "{script} in {shell}");
        }
    }
}
