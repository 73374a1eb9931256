//! What programs do to files, and what they are refused.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;

use super::{SHELLS, contents, digests_hold, run_in, with_container};
use crate::support::{Mounted, Scratch, errno, text};

/// Run in a directory that has `../from` beside it, with files a, b and c.
const SCRIPT: &str = r#"
cp -a ../from/. .; ls; stat -c %Y a; cp ../from/a ../from/b .; mv ../from/c .; cat a b c
tar cf ../t.tar -C ../from .; rm -r ./*; ls; tar xf ../t.tar --no-same-owner; ls; stat -c %Y b
cat a > a.tmp && sync a.tmp && mv a.tmp a; cat a; cp a a~; echo edited > .a.swp; mv .a.swp a; rm a~; cat a
touch -d '2001-02-03 04:05:06' a; stat -c %Y a; touch -d '2002-02-03 04:05:06' a b; stat -c %Y a b
touch -r a copy; test copy -nt a || test copy -ot a || echo same; rm copy
dd if=a of=d bs=1 seek=5 2>/dev/null; od -c d; dd if=b of=d conv=notrunc bs=2 skip=1 count=1 2>/dev/null; od -c d
set -C; echo x > d || echo refused; set +C; ln a l 2>/dev/null || cp a l; rm l; find . -type f | sort
sort -o a a; split -b 2 a part; cat parta*; rm -f part*; mkdir e 2>/dev/null && rmdir e; shred -n 1 -u d 2>/dev/null || rm d
install -m 600 b i; cmp b i; truncate -s 0 i; truncate -s 3 i; wc -c i; rm -rf ./*; ls -A
"#;

#[test]
fn programs_find_a_directory_like_any_other() {
    for shell in SHELLS {
        let ((tree, data), scratch) = (with_container(), Scratch::new());
        let run = |dir: &std::path::Path, from: &str| {
            let from = scratch.path().join(from);
            fs::create_dir_all(&from).unwrap();
            for (key, content) in [("a", "one\n"), ("b", "two\n"), ("c", "three\n")] {
                fs::write(from.join(key), content).unwrap();
                let file = File::options().write(true).open(from.join(key)).unwrap();
                file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
            }
            let script = SCRIPT.replace("../from", from.to_str().unwrap());
            run_in(shell, dir, &script.replace("../t.tar", scratch.path().join("t.tar").to_str().unwrap()))
        };
        let plain = scratch.path().join("plain");
        fs::create_dir(&plain).unwrap();
        // The messages of a shell that refuses name the line.
        let expected = run(&plain, "1");
        assert_eq!(run(&tree.path(&data), "2"), expected, "{shell:?}");
        assert_eq!(contents(&tree.path(&data)), contents(&plain));
        digests_hold(&tree, &data);
    }
}

#[test]
fn what_is_kept_while_it_is_open_has_attributes() {
    let (tree, data) = with_container();
    let path = tree.path(&format!("{data}/k"));
    fs::write(&path, "bytes").unwrap();
    let (reader, mut writer) = (File::open(&path).unwrap(), OpenOptions::new().append(true).open(&path).unwrap());
    fs::remove_file(&path).unwrap();
    for file in [&reader, &writer] {
        assert_eq!((file.metadata().unwrap().len(), file.metadata().unwrap().ino() > 0), (5, true));
    }
    writer.write_all(b" more").unwrap();
    drop(reader);
    assert_eq!(writer.metadata().unwrap().len(), 10);
    writer.sync_all().unwrap();
    fs::write(&path, "new").unwrap();
    assert_eq!((fs::read_to_string(&path).unwrap().as_str(), writer.metadata().unwrap().len()), ("new", 10));
    drop(writer);
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
}

#[test]
fn what_is_not_there_says_so() {
    let (tree, data) = with_container();
    let path = tree.path(&format!("{data}/k"));
    fs::write(&path, "bytes").unwrap();
    let python = |script: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(&path).stdin(Stdio::null()).output().unwrap()
    };
    let mapped = |flags: &str, then: &str| {
        python(&format!(
            "import mmap, os, sys; f = open(sys.argv[1], 'r+'); m = mmap.mmap(f.fileno(), 5, {flags}); {then}"
        ))
    };
    assert!(text(&mapped("mmap.MAP_SHARED", "")).contains("[Errno 19]"), "ENODEV");
    let touched = mapped("mmap.MAP_PRIVATE", "m[0]");
    assert_eq!(touched.status.signal(), Some(7), "SIGBUS: {}", text(&touched));
    let allocated = "import os, sys; os.posix_fallocate(os.open(sys.argv[1], os.O_WRONLY), 0, 100)";
    let said = text(&python(allocated));
    assert!(said.is_empty() || said.contains("[Errno 95]"), "EOPNOTSUPP, or the C library writes zeroes: {said}");
    assert_eq!(errno(fs::read_dir(&path)), Errno::ENOTDIR);
    assert_eq!(errno(File::open(tree.path(&format!("{data}/k/x")))), Errno::ENOTDIR);
}

#[test]
fn a_mount_that_is_read_only_has_items_to_read() {
    let (tree, data) = with_container();
    fs::write(tree.path(&format!("{data}/k")), "bytes").unwrap();
    tree.unmount();
    assert!(tree.mount_command("ro").status().unwrap().success());
    let path = tree.path(&format!("{data}/k"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "bytes");
    assert_eq!(errno(OpenOptions::new().append(true).open(&path)), Errno::EROFS);
    assert_eq!(errno(File::create(tree.path(&format!("{data}/new")))), Errno::EROFS);
    assert_eq!(errno(fs::remove_file(&path)), Errno::EROFS);
    assert_eq!(errno(fs::rename(&path, tree.path(&format!("{data}/l")))), Errno::EROFS);
    assert_eq!(nix::unistd::truncate(&path, 0), Err(Errno::EROFS));
    digests_hold(&tree, &data);
}

#[test]
fn a_small_item_in_a_container_costs_no_other_kind_of_entry() {
    let tree = Mounted::new();
    let id = tree.make("web");
    assert!(!tree.store.join("ctr").join(&id).exists(), "what has no items has no directory");
    fs::write(tree.path(&format!("ctr/{id}/artifacts/own")), "1").unwrap();
    fs::write(tree.path(&format!("ctr/{id}/data/k")), "1").unwrap();
    fs::remove_file(tree.path(&format!("ctr/{id}/data/k"))).unwrap();
    tree.unmount();
    tree.mount();
    assert_eq!(fs::read_to_string(tree.path(&format!("ctr/{id}/artifacts/own"))).unwrap(), "1", "artifacts stay");
    fs::write(tree.path(&format!("ctr/{id}/data/k")), "2").unwrap();
    assert_eq!(errno(fs::remove_file(tree.path("ctr/web"))), Errno::EBUSY);
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    assert!(!tree.store.join("ctr").join(&id).exists());
}
