//! Items whose server is killed, and items on a disk that is full.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use crate::full::store_on_disk;
use crate::support::{Mounted, Random, errno, kill, seed, succeed, wait_until};

/// A whole content is one number, many times.
fn content(number: u32) -> Vec<u8> {
    number.to_le_bytes().repeat(3000 + number as usize % 5000)
}

fn number_of(bytes: &[u8]) -> u32 {
    let number = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    assert!(bytes == content(number), "a torn item: {} bytes that begin with {number}", bytes.len());
    number
}

#[test]
fn an_item_is_old_or_new_whenever_a_server_is_killed() {
    let tree = Mounted::new();
    let id = tree.make("web");
    let path = tree.path(&format!("ctr/{id}/data/k"));
    fs::write(&path, content(0)).unwrap();
    let (mut random, done) = (Random(seed()), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..15 {
                thread::sleep(Duration::from_millis(random.next() % 150));
                tree.kill_server();
            }
            done.store(true, Ordering::SeqCst);
        });
        for number in 1.. {
            let before = number_of(&fs::read(&path).unwrap());
            assert_eq!(before, number - 1, "what was closed is lost");
            let mut file = OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
            for piece in content(number).chunks(4096) {
                file.write_all(piece).unwrap();
            }
            assert!(number_of(&fs::read(&path).unwrap()) >= number - 1);
            file.sync_all().unwrap();
            drop(file);
            if done.load(Ordering::SeqCst) {
                break;
            }
        }
    });
    succeed(std::process::Command::new("sha256sum").args(["-c", "../digests"]).current_dir(path.parent().unwrap()));
}

#[test]
fn a_truncation_by_path_leaves_no_draft_behind() {
    let tree = Mounted::new();
    let id = tree.make("web");
    let path = tree.path(&format!("ctr/{id}/data/k"));
    fs::write(&path, vec![1; 48 << 20]).unwrap();
    let drafts = || -> Vec<String> {
        let entries = fs::read_dir(tree.store.join("drafts")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    // A handle's draft outlives the server, with what was written.
    let mut open = OpenOptions::new().write(true).open(tree.path("ctr/web/data/k")).unwrap();
    open.write_all(b"2").unwrap();
    let own = drafts();
    assert_eq!(own.len(), 1);
    let is_killed = AtomicBool::new(false);
    let size = thread::scope(|scope| {
        let cut = scope.spawn(|| {
            let mut sizes = [40 << 20, 41 << 20].into_iter().cycle();
            loop {
                let size = sizes.next().unwrap();
                nix::unistd::truncate(&path, size).unwrap();
                if is_killed.load(Ordering::Relaxed) {
                    return size as u64;
                }
            }
        });
        wait_until("a draft is made the item", || drafts().iter().any(|draft| draft.len() == 16 && *draft != own[0]));
        kill(tree.server());
        is_killed.store(true, Ordering::Relaxed);
        cut.join().unwrap()
    });
    assert_eq!(fs::metadata(&path).unwrap().len(), size);
    assert_eq!(drafts(), own);
    drop(open);
    wait_until("it is closed", || drafts().is_empty());
    assert_eq!(fs::read(&path).unwrap()[..2], [b'2', 1]);
}

#[test]
fn bytes_that_are_added_are_added_once() {
    let tree = Mounted::new();
    let id = tree.make("web");
    let path = tree.path(&format!("ctr/{id}/data/log"));
    let (mut random, done) = (Random(seed()), AtomicBool::new(false));
    let mut expected = String::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10 {
                thread::sleep(Duration::from_millis(random.next() % 150));
                tree.kill_server();
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        while !done.load(Ordering::SeqCst) {
            let line = format!("line {}\n", expected.len());
            file.write_all(line.as_bytes()).unwrap();
            expected += &line;
        }
    });
    assert!(fs::read_to_string(&path).unwrap() == expected);
}

#[test]
fn a_full_disk_leaves_the_item_as_it_was() {
    let (disk, tree) = store_on_disk(48);
    let id = tree.make("web");
    let path = tree.path(&format!("ctr/{id}/data/k"));
    fs::write(&path, "old").unwrap();
    disk.fill();
    let mut file = File::create(&path).unwrap();
    let error = std::iter::repeat_with(|| file.write_all(&[7; 1 << 20])).find_map(Result::err).unwrap();
    assert_eq!(error.raw_os_error(), Some(Errno::ENOSPC as i32));
    assert_eq!(errno(file.write_all(b"x")), Errno::ENOSPC, "the rest is not taken for the whole");
    drop(file);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    disk.free();
    fs::write(&path, "new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}
