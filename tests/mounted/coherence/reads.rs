//! Reads beside one writer, by every call that reads: never a NUL, never nothing, never two contents.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use super::racer::{Racer, Task, done, finish_all};
use super::rounds;
use super::torn::{document, is_whole};
use crate::support::{Mounted, Random};

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
    let rounds = rounds(4_000, 50_000);
    for round in 1..=rounds {
        let written = document("web", how, round);
        match how {
            "held" => held.write_all(written.as_bytes()).unwrap(),
            _ => open().write_all(written.as_bytes()).unwrap(),
        }
        if round.is_multiple_of(64) {
            let shown = fs::read(&config).unwrap();
            is_whole(&shown).unwrap();
            assert_eq!(fs::metadata(&config).unwrap().len(), shown.len() as u64, "round {round}");
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

/// Reads the config in all ways in turn.
pub(super) fn reader(task: &mut Task) {
    let path = format!("ctr/{}/config", task.arguments[0]);
    let held = File::open(&path).unwrap();
    let mut random = Random(task.number(1) as u64);
    task.run_free(|task, round| {
        let ways = ["whole", "pieces", "byte by byte", "held", "cat"];
        // Single bytes and programs are slow; they come in between.
        let way = match round % 128 {
            0 => ways[2],
            64 => ways[4],
            n => [ways[0], ways[1], ways[3]][n % 3],
        };
        task.doing(way);
        let mut file = done("open", File::open(&path))?;
        let size = done("fstat", file.metadata())?.len();
        if size == 0 {
            return Err("fstat says 0".to_owned());
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
            _ => done("cat", Command::new("cat").arg(&path).stdin(Stdio::null()).output())?.stdout,
        };
        is_whole(&bytes).map_err(|wrong| format!("{way}: {wrong}"))
    });
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
