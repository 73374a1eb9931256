//! Many writers beside many readers: nothing hangs, and what is read was written, whole.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;

use serde_json::Value;

use super::a_while;
use super::racer::{Racer, Task, done, expect, finish_all};
use crate::support::{Mounted, Random, seed};

/// How each of the eight writers writes, and to which container: two to each, in the same way and not.
const WRITERS: [(&str, &str); 8] = [
    ("replace", "c0"),
    ("merge", "c0"),
    ("held", "c1"),
    ("held-merge", "c1"),
    ("replace", "c2"),
    ("values", "c2"),
    ("values", "c3"),
    ("merge", "c3"),
];

#[test]
fn what_eight_writers_write_eight_readers_read_whole() {
    let tree = Mounted::new();
    let seed = seed().to_string();
    for name in ["c0", "c1", "c2", "c3"] {
        tree.make(name);
        tree.echo(&document(name, "first", 1), &format!("ctr/{name}/config")).unwrap();
    }
    let writers: Vec<Racer> = WRITERS
        .iter()
        .enumerate()
        .map(|(n, (how, name))| Racer::start(&tree, "torn-writer", &[how, name, &tree.id(name), &n.to_string(), &seed]))
        .collect();
    let readers = Racer::start_all(&tree, 8, "torn-reader", &[&seed]);
    thread::sleep(a_while());
    let (written, read) = (finish_all(writers), finish_all(readers));
    println!("{written} writes, {read} rounds of reads, none torn");
    assert!(written > 100 && read > 100, "too few to tell: {written} writes, {read} reads");
}

/// A config whose labels tell whether they belong together.
pub(super) fn document(name: &str, who: &str, number: usize) -> String {
    let fill = fill(number);
    let sum = sum(who, number, &fill);
    format!(
        r#"{{"name":"{name}","labels":{{"who":"{who}","number":"{number}","fill":"{fill}","sum":"{sum}"}},"stopTimeout":{number}}}"#
    )
}

/// One letter, often none, often more than a page of it.
fn fill(number: usize) -> String {
    let letter = (b'a' + (number % 26) as u8) as char;
    letter.to_string().repeat(number.wrapping_mul(7919) % 12_000 * (number % 3) / 2)
}

fn sum(who: &str, number: usize, fill: &str) -> u64 {
    let bytes = who.bytes().chain(number.to_le_bytes()).chain(fill.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether bytes are one document that was written by [`document`].
pub(super) fn is_whole(bytes: &[u8]) -> Result<(), String> {
    let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(600)]).into_owned();
    let config: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("{error} in {} bytes: {}", bytes.len(), shown()))?;
    let label = |key: &str| config["labels"][key].as_str().unwrap_or_default();
    let number: usize = label("number").parse().map_err(|_| format!("no number: {}", shown()))?;
    let (who, content) = (label("who"), fill(number));
    let whole = label("fill") == content
        && label("sum") == sum(who, number, &content).to_string()
        && config["stopTimeout"].as_u64() == Some(number as u64)
        && bytes.ends_with(b"}\n");
    if whole { Ok(()) } else { Err(format!("two documents in one: {}", shown())) }
}

pub(super) fn writer(task: &mut Task) {
    let [how, name, id, ..] = &task.arguments[..] else { panic!("{:?}", task.arguments) };
    let (how, name, ctr) = (how.clone(), name.clone(), format!("ctr/{id}"));
    let who = format!("{how}{}", task.number(3));
    let config = format!("{ctr}/config");
    let mut held = match how.as_str() {
        "held" => Some(OpenOptions::new().write(true).open(&config).unwrap()),
        "held-merge" => Some(OpenOptions::new().append(true).open(&config).unwrap()),
        _ => None,
    };
    task.run_free(|task, round| {
        task.doing(format!("{how} to {name}"));
        let text = document(&name, &who, round);
        let open = |options: &mut OpenOptions| done("open", options.open(&config));
        match how.as_str() {
            "values" => values(&ctr, round),
            "replace" => done(&how, open(OpenOptions::new().write(true).truncate(true))?.write_all(text.as_bytes())),
            "merge" => done(&how, open(OpenOptions::new().append(true))?.write_all(text.as_bytes())),
            _ => done(&how, held.as_mut().expect("opened above").write_all(text.as_bytes())),
        }
    });
}

fn values(ctr: &str, round: usize) -> Result<(), String> {
    let set = |file: &str, text: String| {
        let path = format!("{ctr}/{file}");
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(if round.is_multiple_of(2) { nix::libc::O_TRUNC } else { 0 });
        done(&path, options.open(&path).and_then(|mut file| file.write_all(text.as_bytes())))
    };
    set("pid", format!("{}\n", (round % 10_000 + 1) * 97))?;
    set("exit-code", format!("{}\n", round % 250))?;
    set("status", format!("{}\n", ["created", "running", "exited"][round % 3]))
}

pub(super) fn reader(task: &mut Task) {
    let mut random = Random(task.arguments[0].parse::<u64>().unwrap() ^ task.number(1) as u64);
    let held: Vec<File> = (0..4).map(|n| File::open(format!("ctr/c{n}/config")).unwrap()).collect();
    task.run_free(|task, _| {
        let n = random.below(4);
        task.doing(format!("reading c{n}"));
        let path = format!("ctr/c{n}/config");
        match random.below(4) {
            0 => is_whole(&done(&path, fs::read(&path))?),
            1 => is_whole(&in_pieces(&mut done(&path, File::open(&path))?, 1 + random.below(5000))?),
            2 => {
                let mut bytes = vec![0; 1 << 20];
                let length = done("pread", held[n].read_at(&mut bytes, 0))?;
                is_whole(&bytes[..length])
            }
            _ => values_are_whole(n),
        }
    });
}

fn in_pieces(file: &mut File, piece: usize) -> Result<Vec<u8>, String> {
    let (mut bytes, mut buffer) = (vec![], vec![0; piece]);
    loop {
        match done("read", file.read(&mut buffer))? {
            0 => return Ok(bytes),
            length => bytes.extend_from_slice(&buffer[..length]),
        }
    }
}

fn values_are_whole(n: usize) -> Result<(), String> {
    let read = |path: &str| done(path, fs::read_to_string(path));
    let pid = read(&format!("ctr/c{n}/pid"))?;
    let number = pid.strip_suffix('\n').ok_or_else(|| format!("pid {pid:?}"))?;
    let number = if number.is_empty() { 0 } else { number.parse().map_err(|_| format!("pid {pid:?}"))? };
    expect("pid mod 97", &(number % 97), &0)?;
    let state: Value = serde_json::from_str(&read(&format!("ctr/c{n}/state"))?).map_err(|e| format!("state: {e}"))?;
    expect("pid in state mod 97", &(state["pid"].as_u64().unwrap_or(0) % 97), &0)?;
    let table = read("table/ctr")?;
    expect("rows", &table.lines().count(), &5)?;
    for row in table.lines() {
        expect("columns", &row.split('\t').count(), &11)?;
    }
    Ok(())
}
