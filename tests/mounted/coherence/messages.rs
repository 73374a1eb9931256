//! What is said to the kernel, seen by strace: which abilities are negotiated and what is notified.
//!
//! Some notifications wait for a lock that a request holds, or detach mounts; those are never sent.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{Mounted, is_mounted, wait_until};

/// Codes of `enum fuse_notify_code`.
const INVAL_INODE: i32 = 2;
const RESEND: i32 = 7;

/// Flags of `struct fuse_init_out`.
const PARALLEL_DIROPS: u32 = 1 << 18;
const NEVER: [(&str, u32); 8] = [
    ("POSIX_LOCKS", 1 << 1),
    ("ATOMIC_O_TRUNC", 1 << 3),
    ("FLOCK_LOCKS", 1 << 10),
    ("AUTO_INVAL_DATA", 1 << 12),
    ("DO_READDIRPLUS", 1 << 13),
    ("READDIRPLUS_AUTO", 1 << 14),
    ("WRITEBACK_CACHE", 1 << 16),
    ("CACHE_SYMLINKS", 1 << 23),
];

#[test]
fn the_kernel_is_told_of_attributes_and_of_nothing_else() {
    let tree = Mounted::new();
    tree.unmount();
    let trace = tree.store.parent().unwrap().join("trace");
    let mut strace = traced_mount(&tree, &trace);
    workload(&tree);
    tree.kill_server();
    workload(&tree);
    tree.unmount();
    assert!(strace.wait().unwrap().success());

    let text = fs::read_to_string(&trace).unwrap();
    let messages: Vec<Vec<u8>> = text.lines().filter_map(message).collect();
    let number = |bytes: &[u8], at: usize| i32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    let is_notification = |bytes: &&Vec<u8>| bytes[8..16] == [0; 8];
    let mut told = 0;
    let mut resent = 0;
    for bytes in messages.iter().filter(is_notification) {
        match number(bytes, 4) {
            INVAL_INODE => {
                let offset = i64::from_ne_bytes(bytes[24..32].try_into().unwrap());
                assert_eq!(offset, -1, "pages are invalidated: {bytes:?}");
                told += 1;
            }
            RESEND => resent += 1,
            code => panic!("notification {code}: {bytes:?}"),
        }
    }
    assert!(messages.len() > 200 && told > 50, "{} messages, {told} of them notifications", messages.len());
    assert_eq!(resent, 1, "one server followed another");

    // The reply to INIT, the first message of all: struct fuse_init_out behind the header.
    let init = messages.first().unwrap();
    assert_eq!((number(init, 4), number(init, 16)), (0, 7), "the reply to INIT: {init:?}");
    let flags = number(init, 16 + 12) as u32;
    assert_ne!(flags & PARALLEL_DIROPS, 0, "PARALLEL_DIROPS is not negotiated: {flags:#x}");
    for (name, flag) in NEVER {
        assert_eq!(flags & flag, 0, "{name} is negotiated: {flags:#x}");
    }
    println!("{} messages, {told} invalidations, flags {flags:#x}", messages.len());
}

fn traced_mount(tree: &Mounted, trace: &Path) -> Child {
    let mount = tree.mount_command("");
    let child = Command::new("strace")
        .args(["-f", "-qq", "-y", "-xx", "-s", "128", "-e", "trace=write,writev", "-e", "signal=none", "-o"])
        .arg(trace)
        .arg(mount.get_program())
        .args(mount.get_args())
        .stdin(Stdio::null())
        .spawn()
        .expect("strace (the Debian package strace)");
    wait_until("it is mounted", || is_mounted(&tree.at));
    child
}

/// The bytes of one message to the kernel.
fn message(line: &str) -> Option<Vec<u8>> {
    // Strings, and with -xx paths too, are written as \x12\x34.
    let path: String = "/dev/fuse".bytes().map(|byte| format!("\\x{byte:02x}")).collect();
    let (_, content) = line.split_once(&format!("<{path}")).or_else(|| line.split_once("</dev/fuse"))?;
    let strings = content.split('"').skip(1).step_by(2);
    let bytes: Vec<u8> = strings
        .flat_map(|string| string.split("\\x").skip(1))
        .map(|digits| u8::from_str_radix(digits, 16).unwrap())
        .collect();
    (bytes.len() >= 16).then_some(bytes)
}

/// A bit of everything that changes something.
fn workload(tree: &Mounted) {
    fs::create_dir(tree.path("pod/shop")).unwrap();
    fs::create_dir(tree.path("pod/shop/containers/db")).unwrap();
    fs::write(tree.path("create/ctr"), r#"{"name":"api","Dependencies":["db"],"pod":"shop"}"#).unwrap();
    let id = tree.id("api");
    fs::write(tree.path("create/ctr"), format!(r#"{{"name":"ui","Dependencies":["{id}"],"pod":"shop"}}"#)).unwrap();
    for word in ["created", "running", "exited"] {
        tree.echo(word, "ctr/db/status").unwrap();
        tree.read("pod/shop/status");
        fs::metadata(tree.path("ctr/db/state")).unwrap();
    }
    fs::rename(tree.path("name/db"), tree.path("name/store")).unwrap();
    fs::rename(tree.path("ctr/store"), tree.path("ctr/db")).unwrap();
    tree.echo("data", "ctr/db/name").unwrap();
    tree.sh(&["sh"], "ls -lR . > /dev/null; touch ctr/data/state; echo nonsense > ctr/data/status");
    fs::remove_file(tree.path("ctr/ui")).unwrap();
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    tree.echo(r#"{"verb":"remove","pod":"shop","recursive":true}"#, "control").unwrap();
}
