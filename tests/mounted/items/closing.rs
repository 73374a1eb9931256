//! When a close makes what was written the item: who closes, how a process ends, what shells do.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{SHELLS, SetAtEnd, digests_hold, run_in, with_container};
use crate::support::{kill, text, wait_until};

/// Writes to one item after the other, with descriptors that exec closes.
const EXEC: &str = r#"
import os, sys
for i in range(int(sys.argv[2])):
    pid = os.fork()
    if pid == 0:
        fd = os.open("%s%d" % (sys.argv[1], i % 3), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
        if i % 3:
            os.write(fd, b"x" * 100)
        os.execv("/bin/true", ["true"])
    os.waitpid(pid, 0)
"#;

/// Ends without a close, with other threads alive, called by the first or by another.
const EXIT: &str = r#"
import os, sys, threading
fd = os.open("k", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
wait = threading.Event()
for _ in range(3):
    threading.Thread(target=wait.wait, daemon=True).start()
os.write(fd, b"whole")
if sys.argv[1] == "other":
    threading.Thread(target=lambda: os._exit(int(sys.argv[2]))).start()
    wait.wait()
os._exit(int(sys.argv[2]))
"#;

/// Writes a part, says so, and waits for its end.
const PART: &str = r#"
import os, sys, threading
fd = os.open("k", os.O_RDWR | os.O_CREAT | int(sys.argv[1]))
if sys.argv[2]:
    os.write(fd, sys.argv[2].encode())
for _ in range(2):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"#;

fn python(script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", script]).args(arguments).stdin(Stdio::null());
    command
}

/// Waits for a process that must end; one that hangs in the kernel cannot be waited for.
fn ends(mut child: Child) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it hangs");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn exec_closes_items_and_goes_on() {
    let (tree, data) = with_container();
    let dir = tree.path(&data);
    let children: Vec<Child> = ["a", "b", "c", "d"]
        .map(|prefix| python(EXEC, &[prefix, "60"]).current_dir(&dir).spawn().expect("python3 (Debian package)"))
        .into();
    children.into_iter().for_each(ends);
    for prefix in ["a", "b", "c", "d"] {
        for (number, size) in [(0, 0), (1, 100), (2, 100)] {
            let path = dir.join(format!("{prefix}{number}"));
            wait_until("what was closed is in effect", || fs::metadata(&path).unwrap().len() == size);
        }
    }
    digests_hold(&tree, &data);
}

#[test]
fn a_process_that_ends_leaves_what_it_wrote() {
    let (tree, data) = with_container();
    let path = tree.path(&format!("{data}/k"));
    for who in ["first", "other"] {
        for status in ["0", "3"].repeat(5) {
            fs::write(&path, "old").unwrap();
            let ended = python(EXIT, &[who, status]).current_dir(tree.path(&data)).status().unwrap();
            assert_eq!(ended.code(), status.parse().ok());
            assert_eq!(fs::read_to_string(&path).unwrap(), "whole", "{who} {status}");
        }
    }
}

#[test]
fn a_writer_who_is_killed_leaves_the_old_item() {
    let (tree, data) = with_container();
    let path = tree.path(&format!("{data}/k"));
    let trunc = nix::fcntl::OFlag::O_TRUNC.bits().to_string();
    let append = nix::fcntl::OFlag::O_APPEND.bits().to_string();
    for (flags, bytes) in [(trunc.as_str(), "half"), (&trunc, ""), (&append, "half"), ("0", "half")] {
        fs::write(&path, "old").unwrap();
        let mut writer = python(PART, &[flags, bytes]);
        let mut writer = writer.current_dir(tree.path(&data)).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(writer.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        kill(writer.id());
        writer.wait().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old", "{flags} {bytes:?}");
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), 3);
}

#[test]
fn a_command_that_writes_nothing_has_emptied_the_item_when_it_ends() {
    for shell in SHELLS {
        let (tree, data) = with_container();
        let script = "
            for i in 1 2 3 4 5; do
                for command in : true /bin/true 'cat /dev/null' '( : )' '{ :; /bin/true; }' 'cp /dev/null'; do
                    echo old > k
                    case $command in cp*) $command k;; *) eval \"$command\" '> k';; esac
                    wc -c < k
                done
            done";
        assert_eq!(run_in(shell, &tree.path(&data), script), "0\n".repeat(35), "{shell:?}");
        let script = "echo old > k; exec 3> k; /bin/true; (exec 3>&-); cat k; echo new >&3; exec 3>&-; cat k";
        assert_eq!(run_in(shell, &tree.path(&data), script), "old\nnew\n", "{shell:?}: others close it too");
    }
}

#[test]
fn nobody_sees_the_item_empty_before_its_command_has_written() {
    for shell in SHELLS {
        let (tree, data) = with_container();
        let dir = tree.path(&data);
        let (one, two) = ("1".repeat(20_000), "2".repeat(20_000));
        for (key, content) in [("one", &one), ("two", &two), ("k", &one)] {
            fs::write(dir.join(key), content).unwrap();
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let _done = SetAtEnd(&done);
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let read = fs::read_to_string(dir.join("k")).unwrap();
                    assert!(read == one || read == two, "{} bytes in between", read.len());
                }
            });
            let script =
                "for i in 1 2 3 4 5 6 7 8; do cat two > k; { cat one; } > k; ( cat two ) > k; cat < one > k; done";
            let said = run_in(shell, &dir, script);
            assert_eq!(said, "", "{shell:?}");
        });
    }
}

#[test]
fn programs_open_as_they_do_elsewhere() {
    let (tree, data) = with_container();
    let script = r#"
import os
def show(): print(repr(open("k", "rb").read()), os.stat("k").st_size)
open("k", "x").close(); show()
with open("k", "w") as f: f.write("one\n"); f.flush(); print(f.tell(), f.seek(0, 2))
show()
with open("k", "a") as f: f.write("two\n"); print(f.tell())
show()
with open("k", "r+") as f: f.write("ONE"); f.seek(0, 2); f.write("three\n"); f.seek(0); print(f.read())
show()
with open("k", "w+") as f: f.write("abc"); f.seek(0); print(f.read()); f.truncate(2)
show()
with open("k", "a+b") as f: f.write(b"\0\xff"); f.seek(0); print(f.read())
show()
open("k", "w").close(); show()
os.truncate("k", 3); show()
try: open("k", "x")
except FileExistsError as e: print(e.errno)
fd = os.open("k", os.O_WRONLY | os.O_TRUNC); os.write(fd, b"sync"); os.fsync(fd); show(); os.close(fd)
fd = os.open("k", os.O_RDWR); os.dup2(fd, 77); os.close(fd); os.pwrite(77, b"S", 0); os.close(77); show()
"#;
    let scratch = crate::support::Scratch::new();
    let run = |dir: &std::path::Path| text(&python(script, &[]).current_dir(dir).output().unwrap());
    let expected = run(scratch.path());
    assert!(expected.ends_with("b'Sync' 4\n"), "{expected}");
    assert_eq!(run(&tree.path(&data)), expected);
}

#[test]
fn what_one_has_written_is_not_the_size_that_others_see() {
    use std::io::{Seek, SeekFrom, Write};
    let (tree, data) = with_container();
    let path = tree.path(&format!("{data}/k"));
    let size = || fs::metadata(&path).unwrap().len();
    fs::write(&path, "old").unwrap();
    let mut reader = File::open(&path).unwrap();
    let mut writer = File::options().read(true).write(true).truncate(true).open(&path).unwrap();
    for (bytes, end) in [("", 0), ("0123456789", 10)] {
        writer.write_all(bytes.as_bytes()).unwrap();
        for _ in 0..2 {
            assert_eq!((writer.seek(SeekFrom::End(0)).unwrap(), size()), (end, 3));
            assert_eq!((reader.seek(SeekFrom::End(0)).unwrap(), size()), (3, 3));
        }
    }
    let busybox = Command::new("busybox").arg("cat").arg(&path).output().unwrap();
    assert_eq!(text(&busybox), "old", "with sendfile(2), too");
    drop(writer);
    for _ in 0..2 {
        assert_eq!((size(), reader.seek(SeekFrom::End(0)).unwrap()), (10, 3), "who reads keeps what he opened");
    }
    reader.rewind().unwrap();
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    assert_eq!(read, "old");
}
