//! `scripts/engine` as text and, as far as it goes without a tree, as a program.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Scratch, text};
use crate::{repository, text_of};

const SHELLS: [&[&str]; 3] = [&["bash"], &["dash"], &["busybox", "sh"]];

fn shell(shell: &[&str]) -> Command {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]);
    command
}

#[test]
fn it_has_80_lines_at_most() {
    let lines = text_of("scripts/engine").lines().count();
    assert!(lines <= 80, "{lines} lines");
}

#[test]
fn the_scripts_that_play_engines_have_40_lines_at_most() {
    for script in ["scripts/cri.sh", "scripts/storage.sh"] {
        let lines = text_of(script).lines().count();
        assert!(lines <= 40, "{script}: {lines} lines");
        for name in SHELLS {
            let output = shell(name).arg(repository(script)).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{script} needs an image");
            assert!(text(&output).contains(".sh IMAGE"), "{}", text(&output));
        }
    }
}

#[test]
fn every_shell_reads_it_and_it_says_what_it_takes() {
    for name in SHELLS {
        let output = shell(name).arg("-n").arg(repository("scripts/engine")).output().unwrap();
        assert!(output.status.success(), "{name:?}: {}", text(&output));
        let at = std::env::temp_dir();
        let output = shell(name).arg(repository("scripts/engine")).arg("ps").env("CTRFS_AT", &at).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("engine: no tree at {}\n", at.display()));
    }
}

#[test]
fn it_says_what_it_takes_wherever_it_is() {
    let tree = Scratch::new();
    fs::create_dir(tree.path().join("create")).unwrap();
    fs::write(tree.path().join("create/ctr"), "").unwrap();
    for name in SHELLS {
        let mut command = shell(name);
        command.arg("engine").current_dir(repository("scripts")).env("CTRFS_AT", tree.path()).env("RUNTIME", "true");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name:?}: {}", text(&output));
        assert!(text(&output).starts_with("engine run [-d] NAME IMAGE"), "{name:?}: {}", text(&output));
    }
}

#[test]
fn any_argument_becomes_json() {
    let engine = text_of("scripts/engine");
    let begin = engine.find("json() {\n").unwrap();
    let end = begin + engine[begin..].find("\n}\n").unwrap() + 3;
    let script = format!("{}json \"$@\"", &engine[begin..end]);
    let lists: [&[&str]; 3] =
        [&[], &[""], &["-f", "a\"b\\c\\n", "two\nlines\n\n", "", "x=y\t&", "--", "äöü", "$HOME `id` 'q'"]];
    for name in SHELLS {
        for arguments in lists {
            let output = shell(name).args(["-c", &script, "engine"]).args(arguments).output().unwrap();
            let made = format!("[{}]", String::from_utf8(output.stdout).unwrap());
            let value: Value = serde_json::from_str(&made).unwrap_or_else(|error| panic!("{name:?} {made}: {error}"));
            assert_eq!(value, json!(arguments), "{name:?}");
        }
    }
}
