//! Images and mounts: importing beside skopeo and podman, mounting beside the bare system calls.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use ctrfs::sys::mounting::{Attributes, attach, cloned, open, restrict};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::unistd::mkdir;

use crate::measure::{Report, all_in_turns, in_turns, median, once, per_call};
use crate::support::{CTRFS, Mounted, Scratch, succeed, wait_until};
use crate::writing::{page_file, sync_page};

/// Entries of the image that is imported.
const ENTRIES: usize = 25_000;
const IMPORTS: usize = 3;
const RUNS: usize = 9;
const MOUNTS: usize = 50;
const CREATIONS: usize = 50;
/// Layers of the image that is mounted.
const LAYERS: usize = 5;

pub(crate) fn measure(report: &mut Report) {
    match missing() {
        Some(why) => eprintln!("bench: importing and mounting are left out: {why}"),
        None => {
            importing(report);
            mounting(report);
        }
    }
}

/// Mounting alone.
pub(crate) fn measure_mounting(report: &mut Report) {
    match missing() {
        Some(why) => eprintln!("bench: mounting is left out: {why}"),
        None => mounting(report),
    }
}

/// Why this cannot be measured here.
fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() || !fs::read_to_string("/proc/self/uid_map").unwrap().contains("4294967295") {
        return Some("only the host's root mounts what they are measured on".to_owned());
    }
    ["umoci", "mkfs.ext4"].into_iter().find(|tool| !is_there(tool)).map(|tool| format!("{tool} is not there"))
}

fn is_there(tool: &str) -> bool {
    sh(Path::new("/"), &format!("PATH=$PATH:/usr/sbin:/sbin; command -v {tool} || :")).contains(tool)
}

fn sh(dir: &Path, script: &str) -> String {
    let output = succeed(Command::new("sh").args(["-euc", script]).current_dir(dir));
    String::from_utf8(output.stdout).unwrap()
}

/// An ext4 with a journal, in memory: without one, or with one that another has, how fast inodes are
/// found depends on what was removed in the last minutes, and an overlay makes and removes some with each mount.
struct Disk {
    file: Scratch,
}

impl Disk {
    fn new() -> Disk {
        let file = Scratch::new();
        let make = "
            file=$(mktemp -p /dev/shm ctrfs-bench-XXXXXX); truncate -s 6G $file
            PATH=$PATH:/usr/sbin:/sbin; mkfs.ext4 -q -O has_journal $file; mount -o loop $file .; rm $file";
        sh(file.path(), make);
        Disk { file }
    }

    fn path(&self) -> &Path {
        self.file.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(self.path(), MntFlags::MNT_DETACH);
    }
}

/// A layout with an image of this machine's own files, `lay:a`.
fn image(dir: &Path) {
    let make = format!(
        "cd /; find usr/share usr/lib usr/bin -xdev \\( -type f -size -512k -o -type l -o -type d \\) 2>/dev/null |
            head -n {ENTRIES} | tar -c --format=posix --no-recursion --files-from=- 2>/dev/null > {dir}/layer.tar
         cd {dir}; umoci init --layout lay; umoci new --image lay:a; umoci raw add-layer --image lay:a layer.tar
         rm layer.tar; sync",
        dir = dir.display()
    );
    sh(dir, &make);
}

fn importing(report: &mut Report) {
    let (disk, images) = (Disk::new(), Scratch::new());
    image(images.path());
    let scratch = Scratch::new();
    let (store, at) = (disk.path().join("store"), scratch.path().join("mnt"));
    let tree = Mounted::within(scratch, store, at, "");
    let source = format!("oci:{}/lay:a", images.path().display());
    let is_empty = |dir: &Path| fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    let ours = || {
        // A layer that is there is not unpacked: then nothing would be measured.
        assert!(is_empty(&tree.path("layer")) && is_empty(&tree.store.join("layers")), "a layer is left over");
        sh(disk.path(), "sync");
        let (mut id, mut import) = (String::new(), Command::new(CTRFS));
        import.args(["image", "import", "-q", &source, "a"]).env("CTRFS_AT", &tree.at);
        let seconds = once(|| id = String::from_utf8(succeed(&mut import).stdout).unwrap());
        let layer = fs::read_dir(tree.store.join("layers")).unwrap().next().unwrap().unwrap().path();
        let entries = sh(&layer, "find fs | wc -l").trim().parse::<usize>().unwrap();
        assert!(entries > ENTRIES * 9 / 10, "only {entries} entries came in");
        succeed(Command::new(CTRFS).args(["image", "rm", id.trim()]).env("CTRFS_AT", &tree.at));
        let leftovers = ["trash", "layers"].map(|name| tree.store.join(name));
        wait_until("the image is gone", || leftovers.iter().all(|dir| is_empty(dir)));
        seconds
    };
    // podman wants a run root of 50 characters at most.
    let prepare = format!(
        "run=/run/ctrfs-bench-{}; options=\"--root {1}/cs --runroot $run --storage-driver overlay\"
         store=\"[overlay@{1}/cs+$run]\"",
        std::process::id(),
        disk.path().display()
    );
    let theirs = |script: &str| {
        let seconds = once(|| drop(sh(images.path(), &format!("{prepare}; {script}"))));
        sh(images.path(), &format!("{prepare}; podman $options rmi -af >/dev/null; rm -rf $run; sync"));
        seconds
    };
    let copy = "skopeo --insecure-policy copy -q oci:lay:a containers-storage:${store}localhost/a:1";
    let load = "podman $options load -q -i archive.tar >/dev/null";
    if is_there("skopeo") && is_there("podman") {
        let medians = in_turns(IMPORTS, ours, || theirs(copy));
        report.seconds(
            "`ctrfs image import` of 25,000 entries (gzip), synced",
            medians,
            "`skopeo copy` to containers-storage, not synced",
            "0.67",
        );
        sh(images.path(), "skopeo copy -q oci:lay:a oci-archive:archive.tar:localhost/a:1");
        let loads = median((0..IMPORTS).map(|_| theirs(load)).collect());
        report.seconds("the same", (medians.0, loads), "`podman load`, not synced", "0.67");
    } else {
        eprintln!("bench: skopeo or podman is not there, so nothing stands beside the import");
        let seconds = median((0..IMPORTS).map(|_| ours()).collect());
        report.seconds("`ctrfs image import` of 25,000 entries (gzip), synced", (seconds, seconds), "itself", "");
    }
}

fn mounting(report: &mut Report) {
    let (disk, images, scratch) = (Disk::new(), Scratch::new(), Scratch::new());
    let at = scratch.path().join("mnt");
    let tree = Mounted::within(scratch, disk.path().join("store"), at, "");
    let make = "
        umoci init --layout lay; umoci new --image lay:a; mkdir d
        for n in $(seq COUNT); do echo $n > d/$n; tar -cf d.tar d; umoci raw add-layer --image lay:a d.tar; done";
    sh(images.path(), &make.replace("COUNT", &LAYERS.to_string()));
    let source = format!("oci:{}/lay:a", images.path().display());
    succeed(Command::new(CTRFS).args(["image", "import", "-q", &source, "a"]).env("CTRFS_AT", &tree.at));
    creating(report, &tree);
    cycling(report, &tree);
}

/// A container that is mounted and unmounted, beside the bare calls: alone, with what two commits wait for, and
/// with the tree told each time, as somebody does who mounts by hand.
fn cycling(report: &mut Report, tree: &Mounted) {
    tree.echo(r#"{"name": "one", "image": "a"}"#, "create/ctr").unwrap();
    let one = tree.path(&format!("ctr/{}", tree.id("one")));
    let write = |entry: &str, word: &[u8]| {
        let mut file = OpenOptions::new().write(true).truncate(true).open(one.join(entry)).unwrap();
        file.write_all(word).unwrap();
    };
    let bare = Bare::new(tree);
    let page = page_file(tree, 0);
    let cycle = |up: &dyn Fn(usize), down: &dyn Fn(usize)| {
        per_call(MOUNTS, |number| {
            up(number);
            down(number);
        })
    };
    let medians = all_in_turns(
        RUNS,
        [
            &mut || cycle(&|_| write("mounted", b"1\n"), &|_| write("mounted", b"0\n")),
            &mut || cycle(&|_| bare.mount(), &|_| bare.unmount()),
            &mut || {
                let synced = |work: &dyn Fn(), number| {
                    work();
                    sync_page(&page, number);
                };
                cycle(&|number| synced(&|| bare.mount(), number), &|number| synced(&|| bare.unmount(), number))
            },
            &mut || {
                let told = |work: &dyn Fn(), status: &[u8]| {
                    work();
                    write("status", status);
                };
                cycle(&|_| told(&|| bare.mount(), b"created\n"), &|_| told(&|| bare.unmount(), b"exited\n"))
            },
        ],
    );
    let [ours, bare, synced, told] = medians;
    let what = "`echo 1 > mounted`, then `echo 0`";
    report.seconds(what, (ours, synced), "for the bare calls and two `fdatasync`", "2 at most");
    report.seconds("the same", (ours, bare), "for the bare calls, nothing of it on disk", "");
    report.seconds("the same", (ours, told), "for the bare calls and two `echo > status`", "");
}

fn creating(report: &mut Report, tree: &Mounted) {
    let directory = tree.path("ctr");
    let create = |image: &str| {
        let seconds = per_call(CREATIONS, |number| {
            tree.echo(&format!("{{\"name\": \"made-{number}\"{image}}}"), "create/ctr").unwrap();
        });
        (0..CREATIONS).for_each(|number| fs::remove_dir(directory.join(tree.id(&format!("made-{number}")))).unwrap());
        seconds
    };
    let medians = in_turns(RUNS, || create(", \"image\": \"a\""), || create(""));
    report.seconds("one document with an image to `create/ctr`", medians, "without", "");
}

/// The same mounts by hand: an overlay and a tmpfs, and a view of each.
struct Bare {
    options: String,
    rootfs: [PathBuf; 2],
    shm: [PathBuf; 2],
}

impl Bare {
    fn new(tree: &Mounted) -> Bare {
        let dir = tree.store.with_file_name("bare");
        mkdir(&dir, Mode::S_IRWXU).unwrap();
        let make = |name: &str| {
            let path = dir.join(name);
            mkdir(&path, Mode::S_IRWXU).unwrap();
            path
        };
        let (upper, work) = (make("upper"), make("work"));
        let layers = fs::read_dir(tree.store.join("layers")).unwrap();
        let lowers: Vec<String> = layers.map(|layer| layer.unwrap().path().join("fs").display().to_string()).collect();
        assert_eq!(lowers.len(), LAYERS);
        let options = format!("lowerdir={},upperdir={},workdir={}", lowers.join(":"), upper.display(), work.display());
        Bare { options, rootfs: ["rootfs", "rootfs-view"].map(make), shm: ["shm", "shm-view"].map(make) }
    }

    fn mount(&self) {
        let [rootfs, shm] = [&self.rootfs[0], &self.shm[0]];
        mount(Some("overlay"), rootfs, Some("overlay"), MsFlags::empty(), Some(&self.options[..])).unwrap();
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("shm"), shm, Some("tmpfs"), flags, Some("mode=1777,size=65536000")).unwrap();
        for [primary, view] in [&self.rootfs, &self.shm] {
            let clone = cloned(open(primary).unwrap().as_fd()).unwrap();
            restrict(clone.as_fd(), Attributes { no_suid: true, no_dev: true, ..Attributes::default() }).unwrap();
            attach(clone.as_fd(), open(view).unwrap().as_fd()).unwrap();
        }
    }

    /// The end of the overlay is waited for.
    fn unmount(&self) {
        for [primary, view] in [&self.shm, &self.rootfs] {
            for place in [view, primary] {
                umount2(place, MntFlags::MNT_DETACH).unwrap();
            }
        }
    }
}
