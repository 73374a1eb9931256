//! Reads beside one writer, by every call that reads: never a NUL, never nothing, never two contents.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use super::racer::{Racer, Task, done, finish_all};
use super::torn::{document, is_whole};
use super::{rounds, settled_size};
use crate::support::{Mounted, Random, succeed, text};

/// More than the longest document has.
const LONGEST: u64 = 16_384;

/// Programs that read as they like: in small pieces, by sendfile, by copy_file_range.
const PROGRAMS: [&[&str]; 3] = [&["cat"], &["busybox", "cat"], &["dd", "bs=100", "status=none"]];

fn race(how: &str) {
    let tree = Mounted::new();
    let id = tree.make("web");
    let config = tree.path(&format!("ctr/{id}/config"));
    let open = || match how {
        "trunc" => OpenOptions::new().write(true).truncate(true).open(&config).unwrap(),
        "append" => OpenOptions::new().append(true).open(&config).unwrap(),
        _ => OpenOptions::new().write(true).open(&config).unwrap(),
    };
    open().write_all(document("web", how, 0).as_bytes()).unwrap();
    let mut readers = Racer::start_all(&tree, 4, "reader", &[&id]);
    let mut held = open();
    let rounds = rounds(3_000, 50_000);
    for round in 1..=rounds {
        let written = document("web", how, round);
        match how {
            "held" => held.write_all(written.as_bytes()).unwrap(),
            _ => open().write_all(written.as_bytes()).unwrap(),
        }
        if round.is_multiple_of(64) {
            let size = settled_size(&config);
            let shown = fs::read(&config).unwrap();
            is_whole(&shown).unwrap();
            assert_eq!(size, shown.len() as u64, "round {round}");
            let config: serde_json::Value = serde_json::from_slice(&shown).unwrap();
            assert_eq!(config["stopTimeout"].as_u64(), Some(round as u64), "round {round}: stale");
        }
    }
    let read = finish_all(std::mem::take(&mut readers));
    println!("{how}: {read} reads beside {rounds} writes, none torn");
}

#[test]
fn reads_beside_a_writer_by_truncation_are_whole() {
    race("trunc");
}

#[test]
fn reads_beside_a_writer_on_a_held_handle_are_whole() {
    race("held");
}

#[test]
fn reads_beside_a_writer_by_merging_are_whole() {
    race("append");
}

/// Reads by way of the kernel's pages: each prints the errno, the last one is killed.
const PAGES: &str = r#"
import errno, mmap, os, sys
file, pipe = os.open(sys.argv[1], os.O_RDONLY), os.pipe()[1]
for call in (lambda: os.sendfile(pipe, file, 0, 4096), lambda: os.splice(file, pipe, 4096)):
    try:
        print(call())
    except OSError as error:
        print(errno.errorcode[error.errno])
sys.stdout.flush()
print(mmap.mmap(file, 4, mmap.MAP_PRIVATE, mmap.PROT_READ)[:])
"#;

/// Beside a writer, of a thousand such reads hundreds had NULs or were cut off. Who copies by sendfile
/// or splice reads on when it is refused.
#[test]
fn the_kernels_pages_are_not_filled() {
    let tree = Mounted::new();
    let id = tree.make("web");
    let file = tree.path(&format!("ctr/{id}/status"));
    let output =
        Command::new("python3").args(["-c", PAGES]).arg(&file).output().expect("python3 (the Debian package python3)");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "EINVAL\nEINVAL\n", "{}", text(&output));
    assert_eq!(output.status.signal(), Some(nix::libc::SIGBUS), "{}", text(&output));

    let copy = tree.store.parent().unwrap().join("copy");
    let by_python = "import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])";
    for program in [&["cp"][..], &["busybox", "cp"], &["python3", "-c", by_python]] {
        succeed(Command::new(program[0]).args(&program[1..]).arg(&file).arg(&copy));
        assert_eq!(fs::read_to_string(&copy).unwrap(), "configured\n", "{program:?}");
        fs::remove_file(&copy).unwrap();
    }
}

/// Reads the config in all ways in turn.
pub(super) fn reader(task: &mut Task) {
    let path = format!("ctr/{}/config", task.arguments[0]);
    let held = File::open(&path).unwrap();
    let mut random = Random(task.number(1) as u64);
    task.run_free(|task, round| {
        let ways = ["whole", "pieces", "byte by byte", "held", "program"];
        // Single bytes and programs are slow; they come in between.
        let way = match round % 128 {
            0 => ways[2],
            64 => ways[4],
            n => [ways[0], ways[1], ways[3]][n % 3],
        };
        task.doing(way);
        let mut file = done("open", File::open(&path))?;
        // After a write the kernel moves the size to the handle's offset a moment before it calls it
        // invalid (fuse_write_update_attr): no two looks meet that.
        let size = || done("fstat", file.metadata().map(|stat| stat.len()));
        let is_odd = |size| size == 0 || size > LONGEST;
        if is_odd(size()?) && is_odd(size()?) {
            return Err(format!("fstat says {}", size()?));
        }
        let bytes = match way {
            "whole" => by_pieces(&mut file, 1 << 20)?,
            "pieces" => by_pieces(&mut file, 1 + random.below(4_000))?,
            "byte by byte" => by_pieces(&mut file, 1)?,
            "held" => {
                let mut bytes = vec![0; 1 << 20];
                let length = done("pread", held.read_at(&mut bytes, 0))?;
                bytes.truncate(length);
                bytes
            }
            _ => by_program(PROGRAMS[random.below(PROGRAMS.len())], &path)?,
        };
        is_whole(&bytes).map_err(|wrong| format!("{way}: {wrong}"))
    });
}

fn by_program(program: &[&str], path: &str) -> Result<Vec<u8>, String> {
    let mut command = Command::new(program[0]);
    let command = command.args(&program[1..]).stdin(Stdio::from(done("open", File::open(path))?));
    let output = done(program[0], command.output())?;
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{program:?}: {}", text(&output))) }
}

fn by_pieces(file: &mut File, size: usize) -> Result<Vec<u8>, String> {
    let (mut bytes, mut buffer) = (vec![], vec![0; size]);
    loop {
        match done("read", file.read(&mut buffer))? {
            0 => return Ok(bytes),
            length => bytes.extend_from_slice(&buffer[..length]),
        }
    }
}
