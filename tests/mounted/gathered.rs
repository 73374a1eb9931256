//! Entries that are gathered when they are read: programs read all of them, whatever their size says.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::process::{Command, Stdio};

use crate::support::{Mounted, Scratch, text};

/// A tree with something in each of them, and a table of more bytes than the size that is shown.
fn tree() -> (Mounted, Vec<String>) {
    let tree = Mounted::new();
    let rootfs = tree.store.to_str().unwrap().to_owned();
    let web = format!("{{\"name\":\"web\",\"rootfs\":\"{rootfs}\"}}");
    tree.echo(&web, "create/ctr").unwrap();
    (0..60).for_each(|number| drop(tree.make(&format!("c{number}"))));
    fs::create_dir(tree.path("pod/p")).unwrap();
    tree.echo("nonsense", "ctr/web/status").unwrap_err();
    let of = ["check", "refusals", "control", "create/ctr", "create/pod", "create/image", "table/ctr", "table/pod"];
    let own = ["health", "config.json"].map(|entry| format!("ctr/{}/{entry}", tree.id("web")));
    (tree, of.map(str::to_owned).into_iter().chain(own).collect())
}

fn said(tree: &Mounted, command: &str, entry: &str) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    let mut command = Command::new(words[0]);
    let output = command.args(&words[1..]).arg(entry).current_dir(&tree.at).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{words:?} {entry}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn programs_read_all_of_them() {
    let (tree, entries) = tree();
    let scratch = Scratch::new();
    let copy = scratch.path().join("copy");
    for entry in &entries {
        let all = tree.read(entry);
        assert!(!all.is_empty(), "{entry}");
        let lines: Vec<&str> = all.split_inclusive('\n').collect();
        let last = |n: usize| lines[lines.len().saturating_sub(n)..].concat();
        let first = |n: usize| lines[..lines.len().min(n)].concat();
        for box_ in ["", "busybox "] {
            let ask = |command: &str| said(&tree, &format!("{box_}{command}"), entry);
            assert_eq!(ask("cat"), all, "{box_}cat {entry}");
            assert_eq!(ask("tail -n 2"), last(2), "{box_}tail {entry}");
            assert_eq!(ask("tail -n +2"), lines[1..].concat(), "{box_}tail + {entry}");
            assert_eq!(ask("tail -c 5"), all[all.len().saturating_sub(5)..], "{box_}tail -c {entry}");
            assert_eq!(ask("head -n 2"), first(2), "{box_}head {entry}");
            assert_eq!(ask("head -c 5"), all[..all.len().min(5)], "{box_}head -c {entry}");
            let counted = ask("wc -c");
            assert_eq!(counted.split_whitespace().next().unwrap(), all.len().to_string(), "{box_}wc {entry}");
            said(&tree, &format!("{box_}cp -T {}", entry), copy.to_str().unwrap());
            assert_eq!(fs::read_to_string(&copy).unwrap(), all, "{box_}cp {entry}");
            said(&tree, &format!("{box_}cmp {entry}"), copy.to_str().unwrap());
            assert_eq!(ask("sort").len(), all.len().max(all.trim_end().len() + 1), "{box_}sort {entry}");
        }
        assert_eq!(said(&tree, "tac", entry).len(), all.len(), "tac {entry}");
        assert_eq!(said(&tree, "head -n -1", entry), lines[..lines.len() - 1].concat(), "head - {entry}");
        for block in ["bs=7", "bs=64k"] {
            assert_eq!(said(&tree, &format!("dd status=none {block} if={entry} of=/dev/stdout"), "conv=notrunc"), all);
        }
        let python = "import sys; sys.stdout.write(open(sys.argv[1]).read())";
        let output = Command::new("python3").args(["-c", python, entry]).current_dir(&tree.at).output().unwrap();
        assert_eq!(text(&output), all, "python {entry}");
    }
}

#[test]
fn the_end_of_an_open_file_is_that_of_what_it_reads() {
    let (tree, entries) = tree();
    for entry in &entries {
        assert_eq!(fs::metadata(tree.path(entry)).unwrap().len(), 4096, "{entry}");
        let mut file = File::open(tree.path(entry)).unwrap();
        let end = file.seek(SeekFrom::End(0)).unwrap();
        assert_eq!(fs::metadata(tree.path(entry)).unwrap().len(), 4096, "{entry}: others see what they saw");
        let mut bytes = vec![];
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, end, "{entry}");
    }
    let mut table = File::open(tree.path("table/ctr")).unwrap();
    let mut header = [0; 3];
    table.read_exact(&mut header).unwrap();
    let end = table.seek(SeekFrom::End(0)).unwrap();
    tree.make("late");
    assert_eq!(table.seek(SeekFrom::End(0)).unwrap(), end, "it goes on in what it began to read");
    tree.kill_server();
    assert_eq!(table.seek(SeekFrom::End(0)).unwrap(), end);
}
