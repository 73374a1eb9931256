//! Files of callers: `data/` and `digests`.

mod closing;
mod programs;
mod random;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::errno::Errno;
use rustix::process::{Resource, Rlimit};

use crate::support::{CTRFS, Mounted, Random, Scratch, errno, seed, succeed, text};

const SHELLS: [&[&str]; 3] = [&["bash"], &["dash"], &["busybox", "sh"]];

/// What people do with files, without what differs between filesystems.
const SCRIPT: &str = r#"
echo hello > k; cat k; echo more >> k; cat k; : > k; cat k; wc -c < k
{ echo one; /bin/echo two; echo three; } > k; cat k
exec 5<>rw; echo abc >&5; /bin/echo def >&5; exec 5>&-; cat rw
exec 5>>rw 6>>rw; /bin/echo x >&5; /bin/echo y >&6; /bin/echo z >&5; exec 5>&- 6>&-; cat rw
dd if=/dev/zero of=sparse bs=1k count=3 seek=5 2>/dev/null; wc -c < sparse
printf XYZ | dd of=sparse bs=1 seek=100 conv=notrunc 2>/dev/null; sha256sum sparse
truncate -s 50 sparse; wc -c < sparse; truncate -s 5000 sparse; sha256sum sparse
cp k copy; cp -p k kept; mv copy moved; mv moved rw; cat rw; ls
sed -i 's/two/deux/' k; cat k; tail -n 1 k; tail -c 3 k; head -n 1 k
cat k k > kk; sort kk > kk.sorted; grep -c deux kk; tee t1 t2 < k > /dev/null; cmp t1 t2
tar cf ../t.tar k kk; rm k kk; tar xf ../t.tar; cat k kk
touch fresh; test -e fresh; echo $?; rm fresh; test -e fresh; echo $?
echo .hidden > .hidden; echo 'with blank' > 'with blank'; echo dots > a..b; ls -A
read -r line < k; echo "$line"; while read -r l; do echo "<$l>"; done < k
"#;

/// Tells a thread beside to end, whatever happens here.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A store with a container, and its `data/` below the mount.
fn with_container() -> (Mounted, String) {
    let tree = Mounted::new();
    let id = tree.make("web");
    let data = format!("ctr/{id}/data");
    (tree, data)
}

fn run_in(shell: &[&str], dir: &Path, script: &str) -> String {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg("-c").arg(script).current_dir(dir).stdin(Stdio::null());
    text(&command.output().unwrap())
}

fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_name().unwrap().into(), fs::read(path).unwrap())).collect()
}

/// sha256sum itself says that the digests are those of the files.
#[track_caller]
fn digests_hold(tree: &Mounted, data: &str) {
    let items = fs::read_dir(tree.path(data)).unwrap().count();
    let digests = tree.read(&format!("{data}/../digests"));
    assert_eq!(digests.lines().count(), items, "{digests}");
    assert_eq!(fs::metadata(tree.path(&format!("{data}/../digests"))).unwrap().len(), digests.len() as u64);
    if items > 0 {
        let mut check = Command::new("sha256sum");
        succeed(check.args(["--strict", "-c", "../digests"]).current_dir(tree.path(data)));
    }
}

#[test]
fn shells_find_a_directory_like_any_other() {
    for shell in SHELLS {
        let ((tree, data), scratch) = (with_container(), Scratch::new());
        let (here, plain) = (tree.path(&data), scratch.path().join("plain"));
        fs::create_dir(&plain).unwrap();
        let script = SCRIPT.replace("../t.tar", scratch.path().join("t.tar").to_str().unwrap());
        let expected = run_in(shell, &plain, &script);
        assert_eq!(run_in(shell, &here, &script), expected, "{shell:?}");
        assert_eq!(contents(&here), contents(&plain), "{shell:?}");
        digests_hold(&tree, &data);
    }
}

#[test]
fn keys_are_any_file_names() {
    let (tree, data) = with_container();
    for key in ["-", "a\\b", "new\nline", "re\rturn", " ", "ünïcode", "%2F", "-rf", "*", "...", &"x".repeat(255)] {
        fs::write(tree.path(&data).join(key), key).unwrap();
        assert_eq!(fs::read_to_string(tree.path(&data).join(key)).unwrap(), key);
    }
    assert_eq!(errno(File::create(tree.path(&data).join("x".repeat(256)))), Errno::ENAMETOOLONG);
    digests_hold(&tree, &data);
    tree.unmount();
    tree.mount();
    digests_hold(&tree, &data);
}

#[test]
fn what_no_file_operation_may_do_has_its_errno() {
    let (tree, data) = with_container();
    let at = |name: &str| tree.path(&format!("{data}/{name}"));
    fs::write(at("k"), "old").unwrap();
    assert_eq!(errno(fs::hard_link(at("k"), at("l"))), Errno::EPERM);
    assert_eq!(errno(fs::create_dir(at("d"))), Errno::EPERM);
    assert_eq!(errno(std::os::unix::fs::symlink("k", at("s"))), Errno::EPERM);
    assert_eq!(errno(File::create_new(at("k"))), Errno::EEXIST);
    assert_eq!(errno(fs::remove_file(at("absent"))), Errno::ENOENT);
    assert_eq!(errno(fs::rename(at("k"), at("../k"))), Errno::EXDEV);
    assert_eq!(errno(File::create(tree.path(&format!("{data}/../new")))), Errno::EPERM);
    assert_eq!(errno(OpenOptions::new().write(true).open(tree.path(&format!("{data}/../digests")))), Errno::EACCES);

    let file = OpenOptions::new().write(true).open(at("k")).unwrap();
    assert_eq!(errno(file.set_len((1 << 30) + 1)), Errno::EFBIG);
    assert_eq!(errno(file.write_at(b"x", 1 << 30)), Errno::EFBIG);
    assert!(tree.last_refusal().contains("1073741824 bytes at most"), "{}", tree.last_refusal());
    drop(file);
    assert_eq!(fs::read(at("k")).unwrap(), b"old", "a refused write leaves the item");

    assert_eq!(errno(fs::remove_file(tree.path("ctr/web"))), Errno::EBUSY);
    let (open, writing) = (File::open(at("k")).unwrap(), OpenOptions::new().append(true).open(at("k")).unwrap());
    let id = tree.id("web");
    fs::remove_dir(tree.path(&format!("ctr/{id}"))).unwrap();
    assert_eq!(errno(open.metadata()), Errno::ESTALE);
    assert_eq!(errno((&writing).write_all(b"x").and_then(|()| writing.sync_all())), Errno::ESTALE);
    drop(writing);
    assert!(!tree.store.join("ctr").join(&id).exists(), "its directory is thrown away");
}

#[test]
fn modes_say_whose_they_are_and_times_can_be_set() {
    for (options, mode) in [("", 0o600), ("gid=0", 0o640)] {
        let tree = Mounted::with_options(options);
        let id = tree.make("web");
        let path = tree.path(&format!("ctr/{id}/data/k"));
        fs::write(&path, "x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777, 0o755);
        succeed(Command::new("touch").args(["-d", "2001-02-03 04:05:06 UTC"]).arg(&path));
        assert_eq!(fs::metadata(&path).unwrap().mtime(), 981_173_106);
        succeed(Command::new("chmod").arg("644").arg(&path));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode, "the mount gives modes");
        fs::write(&path, "y").unwrap();
        assert!(fs::metadata(&path).unwrap().mtime() > 981_173_106);
    }
}

#[test]
fn others_see_all_of_a_write_or_nothing() {
    let (tree, data) = with_container();
    let path = tree.path(&format!("{data}/k"));
    fs::write(&path, "old").unwrap();
    let (mut reader, mut gone) = (File::open(&path).unwrap(), String::new());
    let mut writer = OpenOptions::new().read(true).write(true).truncate(true).open(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old", "cut off, and not closed");
    writer.write_all(b"new bytes").unwrap();
    assert_eq!((fs::read(&path).unwrap(), fs::metadata(&path).unwrap().len()), (b"old".to_vec(), 3));
    assert_eq!(writer.seek(SeekFrom::End(0)).unwrap(), 9, "who writes sees his own");
    let mut own = [0; 9];
    writer.read_exact_at(&mut own, 0).unwrap();
    assert_eq!(&own, b"new bytes");
    writer.sync_all().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new bytes", "synced");
    reader.read_to_string(&mut gone).unwrap();
    assert_eq!(gone, "old", "who reads keeps what he opened");

    let reader = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(reader.metadata().unwrap().len(), 9);
    let mut own = [0; 9];
    reader.read_exact_at(&mut own, 0).unwrap();
    assert_eq!(&own, b"new bytes", "taken away, and still open");
    writer.write_all(b"!").unwrap();
    drop(writer);
    assert!(!path.exists());
}

#[test]
fn of_two_writers_the_last_to_close_wins_whole() {
    let (tree, data) = with_container();
    let path = tree.path(&format!("{data}/k"));
    fs::write(&path, "").unwrap();
    let writers: Vec<_> = (b'a'..b'e')
        .map(|byte| {
            let path = path.clone();
            thread::spawn(move || {
                for round in 0..20usize {
                    let mut file = OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
                    for _ in 0..=round {
                        file.write_all(&[byte; 5000]).unwrap();
                    }
                }
            })
        })
        .collect();
    while !writers.iter().all(thread::JoinHandle::is_finished) {
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]), "two writers' bytes in one file");
        assert_eq!(bytes.len() % 5000, 0, "a part of what was written");
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(fs::metadata(&path).unwrap().len(), 100_000);
    digests_hold(&tree, &data);
}

#[test]
fn large_items_stream_through() {
    let (tree, data) = with_container();
    let mebibytes = if std::env::var_os("CTRFS_LONG").is_some() { 512 } else { 64 };
    let mut random = Random(seed());
    let block: Vec<u8> = (0..1 << 20).map(|_| random.next() as u8).collect();
    let path = tree.path(&format!("{data}/large"));
    let mut file = File::create(&path).unwrap();
    (0..mebibytes).for_each(|_| file.write_all(&block).unwrap());
    drop(file);
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all(&block[..1000]).unwrap();
    drop(file);
    let (mut file, mut read) = (File::open(&path).unwrap(), vec![0; 1 << 20]);
    for _ in 0..mebibytes {
        file.read_exact(&mut read).unwrap();
        assert!(read == block);
    }
    assert_eq!(file.read(&mut read).unwrap(), 0);
    digests_hold(&tree, &data);
    let status = fs::read_to_string(format!("/proc/{}/status", tree.server())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned();
    let most: u64 = most.trim_end_matches(" kB").parse().unwrap();
    assert!(most < 100 << 10, "the server had {most} KiB");
}

#[test]
fn images_have_items_too() {
    let (tree, scratch) = (Mounted::new(), Scratch::new());
    let rootfs = scratch.path().join("rootfs");
    fs::create_dir(&rootfs).unwrap();
    fs::write(rootfs.join("file"), "x").unwrap();
    let said = tree.ctrfs(&["image", "import", &format!("dir:{}", rootfs.display()), "small"]);
    assert!(said.status.success(), "{}", text(&said));
    let image = fs::read_dir(tree.path("image")).unwrap().next().unwrap().unwrap().file_name();
    let data = format!("image/{}/data", image.to_str().unwrap());
    assert_eq!(tree.read(&format!("{data}/../digests")), "");
    fs::write(tree.path(&data).join("manifest-sha256:abc"), "{}").unwrap();
    digests_hold(&tree, &data);
    tree.kill_server();
    assert_eq!(fs::read(tree.path(&data).join("manifest-sha256:abc")).unwrap(), b"{}");
    let beside = tree.store.join("images").join(&image);
    assert!(beside.exists());
    fs::remove_dir(tree.path("image").join(&image)).unwrap();
    assert!(!beside.exists());
}

#[test]
fn two_keys_are_swapped_in_one_step() {
    let (tree, data) = with_container();
    let at = |name: &str| tree.path(&format!("{data}/{name}"));
    fs::write(at("a"), "1").unwrap();
    fs::write(at("b"), "2").unwrap();
    let swap = |from: &Path, to: &Path, flags| {
        let cwd = nix::fcntl::AT_FDCWD;
        nix::fcntl::renameat2(cwd, from, cwd, to, flags)
    };
    use nix::fcntl::RenameFlags;
    assert_eq!(swap(&at("a"), &at("b"), RenameFlags::RENAME_NOREPLACE), Err(Errno::EEXIST));
    swap(&at("a"), &at("b"), RenameFlags::RENAME_EXCHANGE).unwrap();
    assert_eq!((fs::read(at("a")).unwrap(), fs::read(at("b")).unwrap()), (b"2".to_vec(), b"1".to_vec()));
    let locked = OpenOptions::new().write(true).custom_flags(libc_o_sync()).open(at("a")).unwrap();
    (&locked).write_all(b"3").unwrap();
    drop(locked);
    assert_eq!(fs::read(at("a")).unwrap(), b"3");
    digests_hold(&tree, &data);
}

fn libc_o_sync() -> i32 {
    nix::fcntl::OFlag::O_SYNC.bits()
}

#[test]
fn an_item_is_open_more_often_than_a_process_usually_has_files() {
    const MANY: usize = 1500;
    let limit = rustix::process::getrlimit(Resource::Nofile);
    assert!(limit.maximum.is_none_or(|most| most > 2 * MANY as u64), "a higher hard limit is needed");
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let (tree, data) = with_container();
    tree.unmount();
    let script = format!("ulimit -S -n 1024; exec {CTRFS} mount {} {}", tree.store.display(), tree.at.display());
    succeed(Command::new("sh").args(["-c", &script]));
    let item = tree.path(&format!("{data}/k"));
    fs::write(&item, "content").unwrap();
    let open: Vec<File> = (0..MANY).map(|_| File::open(&item).unwrap()).collect();
    for mut file in open {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
    }
}
