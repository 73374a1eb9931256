//! The manual against the program, both ways: mount options, verbs and their flags, entries of the
//! tree; and the pages against the language they are written in.

use std::collections::BTreeSet;
use std::process::Command;

use ctrfs::daemon::settings::MOUNT_OPTIONS;

use crate::support::{CTRFS, succeed, text};
use crate::{repository, text_of};

type Words = BTreeSet<String>;

/// The lines of a page's section.
fn section(page: &str, title: &str) -> Vec<String> {
    let text = text_of(page);
    let mut lines = text.lines().skip_while(|line| *line != format!(".Sh {title}"));
    assert!(lines.next().is_some(), "{page} has no section {title}");
    lines.take_while(|line| !line.starts_with(".Sh ")).map(str::to_owned).collect()
}

/// What `ctrfs VERB --help` says, for `""` of the program itself, for `image rm` of a verb's verb.
fn help(verb: &str) -> String {
    let mut command = Command::new(CTRFS);
    text(&succeed(command.args(verb.split_whitespace()).arg("--help")))
}

/// All verbs; of one that has verbs itself, those: `image rm`.
fn verbs() -> Vec<String> {
    verbs_of("").into_iter().flat_map(|verb| if verb == "image" { verbs_of("image") } else { vec![verb] }).collect()
}

fn verbs_of(verb: &str) -> Vec<String> {
    let help = help(verb);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = commands.map(|line| format!("{verb} {}", line.split_whitespace().next().unwrap()).trim().to_owned());
    names.filter(|name| name != "image help").collect()
}

/// The flags in a help text, such as `-r` and `--recursive`, without those that every verb has.
fn flags_in_help(help: &str) -> Words {
    let options = help.lines().skip_while(|line| *line != "Options:").skip(1);
    let lines = options.take_while(|line| !line.starts_with(|c: char| c.is_ascii_uppercase()));
    let left = lines.filter(|line| line.trim_start().starts_with('-'));
    let words = left.flat_map(|line| line.split("  ").find(|part| !part.is_empty()).unwrap().split([',', ' ']));
    let flags = words.filter(|word| word.starts_with('-')).map(str::to_owned);
    flags.filter(|flag| !["-h", "--help", "-V", "--version"].contains(&flag.as_str())).collect()
}

/// The flags in lines of a page: what follows `Fl`. `Fl fn` is `-f` and `-n`, `Fl -pod` is `--pod`.
fn flags_in_page(lines: &[String]) -> Words {
    let mut flags = Words::new();
    for line in lines {
        let mut words = line.split_whitespace().peekable();
        while let Some(word) = words.next() {
            if word.trim_start_matches('.') != "Fl" {
                continue;
            }
            while let Some(flag) = words.next_if(|word| {
                word.starts_with('-')
                    || ["|", ","].contains(word)
                    || word.chars().all(|c| c.is_ascii_alphabetic()) && !["Ar", "Cm", "Op", "Fl"].contains(word)
            }) {
                match flag {
                    "|" | "," => {}
                    long if long.starts_with('-') => drop(flags.insert(format!("-{long}"))),
                    short => flags.extend(short.chars().map(|c| format!("-{c}"))),
                }
            }
        }
    }
    flags.into_iter().filter(|flag| !["--help", "--version"].contains(&flag.as_str())).collect()
}

/// The lines of a synopsis that are about one verb.
fn synopsis(verb: &str) -> Vec<String> {
    let lines = section("man/ctrfs.1", "SYNOPSIS");
    let forms: Vec<&[String]> = lines.split(|line| line == ".Nm").collect();
    let form = forms.into_iter().find(|form| form.first().is_some_and(|line| *line == format!(".Cm {verb}")));
    form.unwrap_or_else(|| panic!("ctrfs(1) does not show {verb}")).to_vec()
}

#[test]
fn every_verb_is_described_and_no_other() {
    let lines = section("man/ctrfs.1", "SYNOPSIS");
    let shown: Words = lines.iter().filter_map(|line| line.strip_prefix(".Cm ")).map(str::to_owned).collect();
    assert_eq!(shown, verbs().into_iter().collect());
    let described = section("man/ctrfs.1", "DESCRIPTION");
    for verb in verbs() {
        let item = format!(".It Cm {verb}");
        assert!(described.iter().any(|line| *line == item || line.starts_with(&format!("{item} "))), "{verb}");
    }
}

#[test]
fn every_flag_is_described_and_no_other() {
    for verb in verbs().into_iter().filter(|verb| verb != "help") {
        assert_eq!(flags_in_page(&synopsis(&verb)), flags_in_help(&help(&verb)), "{verb}");
    }
    let described = flags_in_page(&section("man/ctrfs.1", "DESCRIPTION"));
    let verbs = verbs().into_iter().filter(|verb| !["help", "mount"].contains(&verb.as_str()));
    for flag in verbs.flat_map(|verb| flags_in_help(&help(&verb))) {
        assert!(described.contains(&flag), "ctrfs(1) does not describe {flag}");
    }
}

#[test]
fn the_helpers_flags_are_those_of_mount() {
    let flags = flags_in_help(&help("mount"));
    assert_eq!(flags_in_page(&section("man/mount.ctrfs.8", "SYNOPSIS")), flags);
    let items = section("man/mount.ctrfs.8", "DESCRIPTION");
    let items: Vec<String> = items.into_iter().filter(|line| line.starts_with(".It Fl ")).collect();
    assert_eq!(flags_in_page(&items), flags);
}

#[test]
fn every_mount_option_is_described_and_no_other() {
    let lines = section("man/mount.ctrfs.8", "MOUNT OPTIONS");
    let items = lines.iter().filter_map(|line| line.strip_prefix(".It Cm "));
    let described: Words = items.map(|item| item.replace(" Ns = Ns Ar ", "=")).collect();
    let told = MOUNT_OPTIONS.iter().filter(|option| !option.help.is_empty());
    let options: Words =
        told.clone().map(|o| o.value.map_or(o.name.to_owned(), |value| format!("{}={value}", o.name))).collect();
    assert_eq!(described, options);

    let begin = lines.iter().position(|line| line.starts_with("Accepted and ignored")).unwrap();
    let listed = lines[begin + 1..].iter().take_while(|line| line.starts_with(".Cm "));
    let words = listed.flat_map(|line| line.split_whitespace().skip(1));
    let ignored: Words = words.filter(|word| ![",", "."].contains(word)).map(str::to_owned).collect();
    let silent = MOUNT_OPTIONS.iter().filter(|option| option.help.is_empty());
    assert_eq!(ignored, silent.map(|option| option.name.to_owned()).collect());
    for alias in MOUNT_OPTIONS.iter().filter_map(|option| option.alias) {
        assert!(lines.iter().any(|line| line.starts_with(&format!(".Cm {alias} "))), "{alias}");
    }
}

/// Where the directories of `src/tree/plan.rs` are in the tree.
const DIRS: [(&str, &str); 9] = [
    ("Dir::Root", ""),
    ("Dir::Create", "create/"),
    ("Dir::Tables", "table/"),
    ("Dir::Runtime", "runtime-config/"),
    ("CTR", "ctr/ID/"),
    ("POD", "pod/ID/"),
    ("IMAGE", "image/ID/"),
    ("LAYER", "layer/ID/"),
    ("Dir::Object", "?"),
];

/// Entries that are made from lists.
const LISTED: [&str; 18] = [
    "exited/ID",
    "ctr/ID/flags/FLAG",
    "ctr/ID",
    "pod/ID",
    "name/NAME",
    "id/ID",
    "ctr/ID/dependencies/ID",
    "ctr/ID/depends-on/ID",
    "ctr/ID/data/KEY",
    "pod/ID/containers/ID",
    "image/ID",
    "image/ID/layers/N",
    "image/ID/used-by/ID",
    "image/ID/data/KEY",
    "image-name/NAME",
    "layer/ID",
    "layer/ID/children/ID",
    "layer/ID/used-by/ID",
];

#[test]
fn every_entry_of_the_tree_is_described_and_no_other() {
    let plan = text_of("src/tree/plan.rs");
    let calls = plan.lines().filter_map(|line| line.strip_prefix("    entry("));
    let mut entries: Words = LISTED.map(str::to_owned).into();
    for call in calls {
        let mut arguments = call.split(", ");
        let (dir, name) = (arguments.next().unwrap(), arguments.nth(1).unwrap().trim_matches('"'));
        let (_, path) = DIRS.iter().find(|(known, _)| *known == dir).unwrap_or_else(|| panic!("where is {dir}?"));
        entries.insert(format!("{path}{name}"));
    }
    let lines = section("man/ctrfs.5", "THE TREE");
    let described = lines.iter().filter_map(|line| line.strip_prefix(".It Pa ")).map(str::to_owned).collect();
    assert_eq!(entries, described);
}

#[test]
fn every_typed_key_is_described_and_no_other() {
    use ctrfs::model::keys::{CTR_CONFIG, CTR_STATE, POD_CONFIG, POD_STATE};
    let lines = section("man/ctrfs.5", "WRITING");
    for (entry, table) in [
        ("ctr/ID/config", CTR_CONFIG),
        ("ctr/ID/state", CTR_STATE),
        ("pod/ID/config", POD_CONFIG),
        ("pod/ID/state", POD_STATE),
    ] {
        let begin = lines.iter().position(|line| *line == format!(".It Pa {entry}")).unwrap();
        let item = lines[begin + 1..].iter().take_while(|line| !line.starts_with(".It") && *line != ".El");
        let words = item.filter_map(|line| line.strip_prefix(".Ql ")).flat_map(str::split_whitespace);
        let described: Words = words.filter(|word| ![",", ".", ";"].contains(word)).map(str::to_owned).collect();
        assert_eq!(described, table.iter().map(|(key, _)| (*key).to_owned()).collect(), "{entry}");
    }
}

#[test]
fn every_kind_of_finding_is_described_and_no_other() {
    use ctrfs::model::finding::Trouble;
    let lines = section("man/ctrfs.5", "CHECK");
    let described: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(".It Cm ")).collect();
    assert_eq!(described, Trouble::ALL.map(Trouble::word));
}

#[test]
fn every_verb_of_control_is_described_and_no_other() {
    let lines = section("man/ctrfs.5", "MAKING AND REMOVING");
    let items = lines.iter().filter_map(|line| line.strip_prefix(".It Ql {\"verb\":\""));
    let described: Words = items.map(|item| item.split('"').next().unwrap().to_owned()).collect();
    let table = text_of("src/tree/control.rs");
    let names = table.split("name: \"").skip(1).map(|rest| rest.split('"').next().unwrap());
    assert_eq!(described, names.map(str::to_owned).collect());
}

#[test]
fn every_key_of_a_sandbox_is_described_and_no_other() {
    let lines = section("man/ctrfs.5", "MAKING AND REMOVING");
    let begin = lines.iter().position(|line| line == ".Ss Sandboxes").unwrap();
    let part = lines[begin + 1..].iter().take_while(|line| !line.starts_with(".Ss "));
    let words = part.filter_map(|line| line.strip_prefix(".It Ql ")).flat_map(str::split_whitespace);
    let described: Words = words.filter(|word| *word != ",").map(str::to_owned).collect();
    assert_eq!(described, ctrfs::model::sandbox::KEYS.iter().map(|(key, _)| (*key).to_owned()).collect());
}

#[test]
fn the_pages_are_well_formed() {
    for page in ["man/ctrfs.1", "man/ctrfs.5", "man/mount.ctrfs.8"] {
        let lint = Command::new("mandoc").args(["-T", "lint"]).arg(repository(page)).output();
        let output = lint.unwrap_or_else(|error| panic!("mandoc (Debian package mandoc): {error}"));
        let said = String::from_utf8(output.stdout).unwrap();
        // Pages that are not installed here: ours, and on a small system anybody's.
        let found: Vec<&str> = said.lines().filter(|line| !line.contains("referenced manual not found")).collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
