//! What README shows can be typed.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{CTRFS, succeed, text};
use crate::{repository, text_of};

/// The commands in README's transcripts.
fn commands() -> Vec<String> {
    let readme = text_of("README.md");
    let commands = readme.lines().filter_map(|line| line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")));
    let blocks = readme.split("```").skip(1).step_by(2).collect::<String>();
    let shown: Vec<String> = commands.filter(|command| blocks.contains(command)).map(str::to_owned).collect();
    assert!(shown.len() > 10, "README shows hardly a command");
    shown
}

#[test]
fn the_verbs_and_flags_that_it_shows_exist() {
    let mut seen = 0;
    for command in commands() {
        for call in command.split(['|', ';', '&']).filter_map(|part| part.trim().strip_prefix("ctrfs ")) {
            let mut words = call.split_whitespace();
            let verb = words.next().unwrap();
            // It has verbs of its own.
            let verbs = [verb].into_iter().chain((verb == "image").then(|| words.next().unwrap()));
            let help = text(&succeed(Command::new(CTRFS).args(verbs).arg("--help")));
            for flag in words.take_while(|word| !word.starts_with('<')).filter(|word| word.starts_with('-')) {
                assert!(help.contains(flag), "{command}: ctrfs {verb} has no {flag}");
            }
            seen += 1;
        }
    }
    assert!(seen > 3, "README shows hardly a verb");
}

#[test]
fn the_scripts_that_it_names_exist() {
    let readme = text_of("README.md");
    let named = readme.split(|c: char| c.is_whitespace() || "`()[]\"'".contains(c));
    let scripts: Vec<&str> = named.filter(|word| word.starts_with("scripts/")).collect();
    assert!(scripts.contains(&"scripts/demo") && scripts.contains(&"scripts/test"), "{scripts:?}");
    for script in scripts {
        let script = script.trim_end_matches(['.', ',', ':', ';']);
        let file = std::fs::metadata(repository(script)).unwrap_or_else(|error| panic!("{script}: {error}"));
        assert!(file.permissions().mode() & 0o111 != 0, "{script} cannot be executed");
    }
}

#[test]
fn the_pages_that_it_names_exist() {
    let readme = text_of("README.md");
    for (page, file) in
        [("ctrfs(1)", "man/ctrfs.1"), ("ctrfs(5)", "man/ctrfs.5"), ("mount.ctrfs(8)", "man/mount.ctrfs.8")]
    {
        assert!(readme.contains(page), "README does not name {page}");
        assert!(repository(file).is_file(), "{file}");
    }
}
