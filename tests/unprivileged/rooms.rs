//! The source read as text: which module may use which, and what stands in no module.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{repository, text_of};

/// The most lines of a file.
const MAX_LINES: usize = 1_000;
/// Crates that any module may use: they say nothing about what it does.
const ANYWHERE: [&str; 2] = ["log", "parking_lot"];

struct Room {
    name: &'static str,
    /// The modules that it may use.
    modules: &'static [&'static str],
    /// The outside crates that it may use.
    crates: &'static [&'static str],
}

const ROOMS: &[Room] = &[
    // The command line acts through the tree with file calls; stores that are not mounted are daemon's.
    Room {
        name: "cli",
        modules: &["daemon", "driver", "model", "sys"],
        crates: &["clap", "humantime", "indicatif", "serde", "serde_json"],
    },
    Room {
        name: "daemon",
        modules: &["driver", "engine", "fuse", "model", "store", "sys", "tree"],
        crates: &["humantime", "postcard", "serde"],
    },
    Room { name: "fuse", modules: &["sys", "tree"], crates: &["fuser"] },
    Room { name: "tree", modules: &["engine", "model"], crates: &["postcard", "serde", "serde_json"] },
    Room { name: "engine", modules: &["driver", "model", "store"], crates: &[] },
    Room { name: "model", modules: &[], crates: &["serde", "serde_json"] },
    Room { name: "store", modules: &["model"], crates: &["postcard", "redb", "serde"] },
    Room {
        name: "driver",
        modules: &["model", "sys"],
        crates: &["flate2", "oci_spec", "postcard", "serde", "serde_json", "sha2", "tar_core", "twox_hash", "zstd"],
    },
    Room { name: "sys", modules: &[], crates: &["libc", "nix", "rustix"] },
];

/// A line of code, without what only people read.
struct Line {
    file: PathBuf,
    number: usize,
    text: String,
}

impl Line {
    fn place(&self) -> String {
        format!("{}:{}: {}", self.file.display(), self.number, self.text.trim())
    }
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_in(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn code_in(dir: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for file in files_in(&repository(dir)) {
        for (at, text) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let text = text.split("//").next().unwrap_or_default().to_owned();
            lines.push(Line { file: file.clone(), number: at + 1, text });
        }
    }
    assert!(!lines.is_empty(), "{dir} has no code");
    lines
}

/// The identifiers that follow `before` in a line, where `before` begins a path.
fn following<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in text.match_indices(before) {
        let begins = !text[..at].ends_with(|c| is_word(c) || c == ':' || c == '$');
        if begins {
            let rest = &text[at + before.len()..];
            found.push(&rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())]);
        }
    }
    found
}

fn dependencies() -> Vec<String> {
    let manifest = text_of("Cargo.toml");
    let section = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let names = section.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    names.map(|(name, _)| name.replace('-', "_")).collect()
}

#[test]
fn modules_use_only_what_their_room_allows() {
    let mut wrong = Vec::new();
    for room in ROOMS {
        for line in code_in(&format!("src/{}", room.name)) {
            for other in following(&line.text, "crate::") {
                if other != room.name && !room.modules.contains(&other) {
                    wrong.push(line.place());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "not for this module:\n{}", wrong.join("\n"));
}

#[test]
fn outside_crates_stay_in_their_rooms() {
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for name in dependencies() {
        for room in ROOMS {
            for line in code_in(&format!("src/{}", room.name)) {
                if following(&line.text, &format!("{name}::")).is_empty() {
                    continue;
                }
                used.insert(name.clone());
                if !ANYWHERE.contains(&name.as_str()) && !room.crates.contains(&name.as_str()) {
                    wrong.push(line.place());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "not for this module:\n{}", wrong.join("\n"));
    let all: BTreeSet<_> = dependencies().into_iter().collect();
    assert_eq!(used, all, "a dependency that no module uses");
}

#[test]
fn every_module_has_a_room() {
    let rooms: BTreeSet<String> = ROOMS.iter().map(|room| room.name.to_owned()).collect();
    let entries = fs::read_dir(repository("src")).unwrap().map(|entry| entry.unwrap().file_name());
    let modules: BTreeSet<String> =
        entries.map(|name| name.into_string().unwrap()).filter(|name| !name.ends_with(".rs")).collect();
    assert_eq!(modules, rooms);
}

#[test]
fn no_file_is_too_long() {
    for file in files_in(&repository("src")).into_iter().chain(files_in(&repository("tests"))) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines, {MAX_LINES} are the most", file.display());
    }
}

#[test]
fn unsafe_code_is_in_sys_only() {
    let outside =
        ROOMS.iter().filter(|room| room.name != "sys").flat_map(|room| code_in(&format!("src/{}", room.name)));
    let wrong: Vec<_> = outside.filter(|line| line.text.contains("unsafe")).map(|line| line.place()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn imports_are_named() {
    for line in code_in("src") {
        let wild = line.text.contains("::*") && line.text.trim_start().contains("use ");
        let in_tests = line.text.trim() == "use super::*;" && line.text.starts_with(' ');
        assert!(!wild || in_tests, "{}", line.place());
    }
}

#[test]
fn nothing_is_left_from_the_workshop() {
    for line in code_in("src") {
        for word in ["dbg!(", "todo!(", "unimplemented!(", " println!(", " print!("] {
            assert!(!line.text.contains(word), "{}", line.place());
        }
        let speaks = line.text.contains("eprintln!(");
        assert!(!speaks || line.file.starts_with(repository("src/cli")), "{}", line.place());
    }
}

#[test]
fn every_dependency_says_why() {
    let manifest = text_of("Cargo.toml");
    let lines: Vec<&str> =
        manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap().lines().collect();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(" = ")) {
        assert!(at > 0 && lines[at - 1].starts_with("# "), "no reason above: {line}");
    }
}
