//! Images made by other programs, imported and mounted through the tree: every byte and attribute beside
//! what those programs make of the same image.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ctrfs::driver::hash::digest;
use ctrfs::sys::walk::Dir;

use crate::importing::{LAYER, Layout, PODMAN, SYSTEM, names_in, podman_images, sh};
use crate::support::{CTRFS, Mounted, Scratch, is_mounted, kill, succeed, text, wait_until};
use crate::tools::need;

/// The most layers of an image.
const MOST: usize = 500;

/// All that an entry is. Files with several names have the first of them.
#[derive(PartialEq, Eq, Debug)]
struct Entry {
    mode: u32,
    owner: (u32, u32),
    /// Nanoseconds since 1970.
    modified: i128,
    /// Length and content, target or device number.
    content: String,
    first_name: PathBuf,
    xattrs: Vec<(String, Vec<u8>)>,
}

type Listing = BTreeMap<PathBuf, Entry>;

/// All that a tree is.
fn listing(root: &Path) -> Listing {
    let (mut entries, mut names) = (Listing::new(), HashMap::new());
    list(root, root, &mut entries, &mut names);
    entries
}

fn list(root: &Path, path: &Path, entries: &mut Listing, names: &mut HashMap<u64, PathBuf>) {
    let meta = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (kind, below) = (meta.file_type(), path.strip_prefix(root).unwrap().to_owned());
    let content = match () {
        () if kind.is_symlink() => format!("{:?}", fs::read_link(path).unwrap()),
        () if kind.is_file() => format!("{} {}", meta.len(), digest(&fs::read(path).unwrap())),
        () if kind.is_char_device() || kind.is_block_device() => meta.rdev().to_string(),
        () => String::new(),
    };
    let pinned = match below.file_name() {
        None => Dir::open(path).unwrap().pin_self().unwrap(),
        Some(name) => Dir::open(path.parent().unwrap()).unwrap().pin(name).unwrap().unwrap(),
    };
    let of_image = |(name, value): (Vec<u8>, Vec<u8>)| {
        let name = String::from_utf8(name).unwrap();
        // How umoci would note owners for an ordinary user.
        (!name.starts_with("user.rootlesscontainers")).then_some((name, value))
    };
    let mut xattrs: Vec<_> = pinned.xattrs().unwrap().into_iter().filter_map(of_image).collect();
    xattrs.sort();
    let first_name = match kind.is_dir() {
        true => below.clone(),
        false => names.entry(meta.ino()).or_insert_with(|| below.clone()).clone(),
    };
    let modified = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    let (mode, owner) = (meta.mode(), (meta.uid(), meta.gid()));
    entries.insert(below, Entry { mode, owner, modified, content, first_name, xattrs });
    if kind.is_dir() {
        let mut names_here: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names_here.sort();
        for name in names_here {
            list(root, &path.join(name), entries, names);
        }
    }
}

/// Compares two trees, and tells where they differ instead of all that they are.
#[track_caller]
fn assert_same(ours: &Listing, theirs: &Listing) {
    let paths: std::collections::BTreeSet<&PathBuf> = ours.keys().chain(theirs.keys()).collect();
    let differs = paths.into_iter().filter(|path| ours.get(*path) != theirs.get(*path));
    let told: Vec<String> = differs
        .map(|path| format!("{}:\n  ours   {:?}\n  theirs {:?}", path.display(), ours.get(path), theirs.get(path)))
        .collect();
    let shown = told.iter().take(10).cloned().collect::<Vec<_>>().join("\n");
    assert!(told.is_empty(), "{} of {} entries differ:\n{shown}", told.len(), ours.len());
}

/// Imports an image; its ID.
#[track_caller]
fn import(tree: &Mounted, source: &str) -> String {
    let output = tree.ctrfs(&["image", "import", "--quiet", source, "test"]);
    assert!(output.status.success(), "{source}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A container of an image, its rootfs mounted.
struct Container<'a> {
    tree: &'a Mounted,
    name: &'a str,
}

impl<'a> Container<'a> {
    #[track_caller]
    fn new(tree: &'a Mounted, name: &'a str, image: &str) -> Container<'a> {
        let document = format!("{{\"name\": \"{name}\", \"image\": \"{image}\"}}");
        tree.echo(&document, "create/ctr").unwrap_or_else(|error| panic!("{error}: {}", tree.last_refusal()));
        let mounted = tree.echo("1", &format!("ctr/{name}/mounted"));
        mounted.unwrap_or_else(|error| panic!("{error}: {}", tree.last_refusal()));
        Container { tree, name }
    }

    /// Its rootfs as a runtime sees it, and as people do: the view in the tree.
    fn rootfs(&self) -> PathBuf {
        self.tree.path(&format!("ctr/{}/rootfs", self.tree.id(self.name)))
    }

    fn remove(self) {
        self.tree.echo("0", &format!("ctr/{}/mounted", self.name)).unwrap();
        fs::remove_dir(self.tree.path(&format!("ctr/{}", self.tree.id(self.name)))).unwrap();
    }
}

/// Imports an image, mounts it, lists it and takes it away again.
#[track_caller]
fn mounted(tree: &Mounted, source: &str) -> Listing {
    // A layer that is there is not brought in again: then nothing would be compared.
    assert_eq!(names_in(&tree.path("layer")), [""; 0], "{source}: a layer is left over");
    let id = import(tree, source);
    let container = Container::new(tree, "c", &id);
    let found = listing(&container.rootfs());
    container.remove();
    succeed(Command::new(CTRFS).args(["image", "rm", &id]).env("CTRFS_AT", &tree.at));
    found
}

/// A layer as GNU tar writes it, with all that it can say, added to the image `lay:a`.
const ADD: &str = "
    add() { tar -C $1 --format=posix --xattrs --xattrs-include='*' --numeric-owner -cf $1.tar .
        umoci raw add-layer --image lay:a $1.tar; rm $1.tar; }
    umoci init --layout lay; umoci new --image lay:a
";

#[test]
fn root_layers_of_debians_busybox_are_what_umoci_unpacks() {
    need("umoci", "umoci");
    need("skopeo", "skopeo");
    let scratch = Scratch::new();
    let dir = scratch.path();
    let layers = r#"
        mkdir root/opt root/opt/deep root/opt/deep/er; echo low > root/opt/deep/er/low; ln root/etc/one root/opt/one
        mkdir -p root/usr/lib; for n in $(seq 40); do echo $n > root/usr/lib/$n; done
        setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 root/etc/one
        mknod root/dev/loop b 7 9; chmod 2750 root/opt; chown 7:8 root/opt; ln -s nowhere root/opt/dangling
        touch -h -d '1960-05-06 07:08:09.5' root/opt/dangling; touch -d '2033-01-01 00:00:00.000000001' root/opt/deep
        printf 'a' > "$(printf 'root/opt/new\nline \\ \303\244')"; chmod 0711 root
        add root
        # The second hides, replaces and changes; its directories are as they were but for their times.
        mkdir -p 2/etc 2/var/.gone 2/opt/deep 2/usr/lib 2/bin; touch 2/etc/.wh.one 2/var/.wh..wh..opq; rmdir 2/var/.gone
        echo new > 2/var/new; touch 2/opt/.wh.deep; rmdir 2/opt/deep; echo replaced > 2/usr/lib/1; rm -rf 2/bin
        mkdir 2/dev; touch 2/dev/.wh.null; add 2
        # The third brings back what was hidden, makes a file of a directory and a directory of a file.
        mkdir -p 3/opt/deep 3/usr 3/etc/two 3/var; echo again > 3/opt/deep/file; echo file > 3/usr/lib
        echo in > 3/etc/two/in; touch -d 2001-01-01 3/var 3/opt/deep; chmod 700 3/opt; add 3
        umoci unpack --image lay:a bundle"#;
    sh(dir, &[SYSTEM, ADD, layers].concat());
    let theirs = listing(&dir.join("bundle/rootfs"));
    assert!(theirs.len() > 20 && !theirs.contains_key(Path::new("etc/one")), "{:?}", theirs.keys());
    sh(
        dir,
        "skopeo copy --dest-compress-format zstd oci:lay:a oci:zst:a; skopeo copy oci:lay:a oci-archive:a.tar
         skopeo copy oci:lay:a docker-archive:d.tar:localhost/a:1",
    );
    let tree = Mounted::new();
    for source in ["oci:lay:a", "oci:zst:a", "oci-archive:a.tar", "docker-archive:d.tar"] {
        let (kind, file) = source.split_once(':').unwrap();
        assert_same(&mounted(&tree, &format!("{kind}:{}", dir.join(file).display())), &theirs);
    }
    // The merged tree as one layer is the same tree.
    assert_same(&mounted(&tree, &format!("dir:{}", dir.join("bundle/rootfs").display())), &theirs);
}

/// How many entries the tree of a whole system has here.
fn size_of_a_system() -> usize {
    if std::env::var_os("CTRFS_LONG").is_some() { 25_000 } else { 2_000 }
}

#[test]
fn root_a_system_is_what_umoci_unpacks() {
    need("umoci", "umoci");
    let scratch = Scratch::new();
    let dir = scratch.path();
    // Files of this machine, with hard links and a few oddities among them.
    let make = format!(
        "mkdir root; cd /; find usr/share usr/lib usr/bin etc -xdev \\( -type f -size -512k -o -type l -o -type d \\) \\
            2>/dev/null | head -n {} | tar -c --no-recursion --files-from=- 2>/dev/null | tar -x -p -C {}/root; cd - >/dev/null
         chmod 4755 $(find root -type f | sed -n 7p); ln $(find root -type f | sed -n 100p) root/linked",
        size_of_a_system(),
        dir.display()
    );
    sh(dir, &[&make, ADD, "add root; umoci unpack --image lay:a bundle"].concat());
    let theirs = listing(&dir.join("bundle/rootfs"));
    assert!(theirs.len() >= size_of_a_system(), "{}", theirs.len());
    assert_same(&listing(&dir.join("root")), &theirs);
    let tree = Mounted::new();
    assert_same(&mounted(&tree, &format!("oci:{}", dir.join("lay").display())), &theirs);
    assert_same(&mounted(&tree, &format!("dir:{}", dir.join("root").display())), &theirs);
}

#[test]
fn root_images_of_podmans_are_what_podman_mounts() {
    need("podman", "podman");
    let scratch = Scratch::new();
    let dir = scratch.path();
    podman_images(dir);
    let save = "
        podman save --format oci-archive -o oci.tar bar:2; podman save --format docker-archive -o docker.tar bar:2
        podman image mount bar:2";
    let at = sh(dir, &[PODMAN, save].concat());
    let mut theirs = listing(Path::new(at.trim()));
    sh(dir, &[PODMAN, "podman image unmount bar:2 >/dev/null; umount -l ps/overlay 2>/dev/null || :"].concat());
    let tree = Mounted::new();
    let at = |kind: &str, file: &str| format!("{kind}:{}", dir.join(file).display());
    let stored = mounted(&tree, &at("containers-storage", "ps/bar:2"));
    for mut ours in [mounted(&tree, &at("oci-archive", "oci.tar")), mounted(&tree, &at("docker-archive", "docker.tar"))]
    {
        // podman makes the top directory 0555 whatever the layer says, and does not set its time.
        let root = ours.remove(Path::new("")).unwrap();
        assert_eq!(root.mode & 0o7777, 0o755);
        let top = theirs.remove(Path::new(""));
        assert!(top.is_none_or(|top| top.mode & 0o7777 == 0o555));
        assert_same(&ours, &theirs);
    }
    let mut stored = stored;
    stored.remove(Path::new(""));
    assert_same(&stored, &theirs);
}

/// A tar stream with one file, `name`.
fn tar_with(name: &str) -> Vec<u8> {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    for (at, text) in [(100, "0000644"), (108, "0000000"), (116, "0000000"), (124, "00000000001"), (136, "00000000000")]
    {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    header[148..156].fill(b' ');
    header[156] = b'0';
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut stream = header.to_vec();
    stream.resize(512 * 4, 0);
    stream[512] = b'x';
    stream
}

/// An image of so many layers: each has a file of its own and one that all have.
fn image_of(dir: PathBuf, layers: usize) -> Layout {
    let layout = Layout::new(dir);
    let tars: Vec<Vec<u8>> = (0..layers).map(|number| tar_with(&format!("file-{number}"))).collect();
    let layers: Vec<_> = tars.iter().map(|tar| (&tar[..], layout.blob(LAYER, tar))).collect();
    layout.index(&[layout.image(&layers)]);
    layout
}

#[test]
fn as_many_layers_as_an_overlay_takes_are_mounted_through_names_of_any_kind() {
    let scratch = Scratch::new();
    let [store, at] = ["a:b,c\\d e\"f", "m:n,o\\p q"].map(|name| scratch.path().join(name));
    let tree = Mounted::within(scratch, store, at, "");
    assert!(is_mounted(&tree.at), "else it would not be unmounted either");
    let images = Scratch::new();
    for layers in [1, 2, 128, MOST] {
        let layout = image_of(images.path().join(layers.to_string()), layers);
        let id = import(&tree, &layout.source());
        let container = Container::new(&tree, "c", &id);
        let names = names_in(&container.rootfs());
        assert_eq!(names.len(), layers);
        fs::write(container.rootfs().join("written"), "").unwrap();
        container.remove();
    }
    let layout = image_of(images.path().join("too many"), MOST + 1);
    let output = tree.ctrfs(&["image", "import", &layout.source()]);
    assert!(!output.status.success());
    assert!(text(&output).contains("an image of 501 layers: 500 are the most"), "{}", text(&output));
    assert_eq!(names_in(&tree.store.join("staging")), [""; 0]);
}

/// An image of one layer with this many bytes that do not compress, and its source.
fn image_with(dir: &Path, megabytes: usize) -> String {
    sh(
        dir,
        &format!(
            "mkdir root; for n in $(seq {megabytes}); do head -c 1M /dev/urandom > root/$n; done
             for n in $(seq 3000); do echo $n > root/small-$n; done {ADD} add root"
        ),
    );
    format!("oci:{}:a", dir.join("lay").display())
}

fn start(tree: &Mounted, source: &str) -> std::process::Child {
    let mut command = Command::new(CTRFS);
    command.args(["image", "import", source]).env("CTRFS_AT", &tree.at);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_killed_import_leaves_only_what_is_collected() {
    need("umoci", "umoci");
    let scratch = Scratch::new();
    let source = image_with(scratch.path(), 64);
    let tree = Mounted::new();
    let staging = tree.store.join("staging");
    let files = |dir: &Path| sh(dir, "find . -type f 2>/dev/null | wc -l").trim().parse::<usize>().unwrap();
    for enough in [1, 20, 500] {
        let mut import = start(&tree, &source);
        wait_until("some files are there", || staging.exists() && files(&staging) >= enough);
        kill(import.id());
        assert!(!import.wait().unwrap().success());
    }
    assert_eq!(names_in(&staging).len(), 3);
    assert_eq!(names_in(&tree.path("image")), [""; 0]);
    assert_eq!(names_in(&tree.path("layer")), [""; 0]);
    tree.unmount();
    tree.mount();
    wait_until("the rubbish is gone", || {
        names_in(&staging).is_empty() && names_in(&tree.store.join("trash")).is_empty()
    });
    let id = import(&tree, &source);
    Container::new(&tree, "c", &id).remove();
}

#[test]
fn two_imports_of_one_image_at_a_time_make_one() {
    need("umoci", "umoci");
    let scratch = Scratch::new();
    let source = image_with(scratch.path(), 16);
    let tree = Mounted::new();
    let imports: Vec<_> = (0..3).map(|_| start(&tree, &source)).collect();
    let said: Vec<Output> = imports.into_iter().map(|import| import.wait_with_output().unwrap()).collect();
    for output in &said {
        assert!(output.status.success(), "{}", text(output));
        assert_eq!(output.stdout, said[0].stdout);
    }
    assert_eq!((names_in(&tree.path("image")).len(), names_in(&tree.path("layer")).len()), (1, 1));
    wait_until("nothing is left over", || {
        ["staging", "trash"].iter().all(|dir| names_in(&tree.store.join(dir)).is_empty())
    });
    assert_eq!(names_in(&tree.store.join("layers")).len(), 1);
}

#[test]
fn no_request_waits_for_an_import() {
    need("umoci", "umoci");
    let scratch = Scratch::new();
    let source = image_with(scratch.path(), 128);
    let tree = Mounted::new();
    let status = tree.path(&format!("ctr/{}/status", tree.make("one")));
    let busy = AtomicBool::new(true);
    let (longest, reads, took) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut longest, mut reads) = (Duration::ZERO, 0);
            while busy.load(Ordering::Relaxed) {
                let begun = Instant::now();
                fs::symlink_metadata(&status).unwrap();
                fs::read(&status).unwrap();
                longest = longest.max(begun.elapsed());
                reads += 1;
                thread::sleep(Duration::from_millis(1));
            }
            (longest, reads)
        });
        let begun = Instant::now();
        import(&tree, &source);
        let took = begun.elapsed();
        busy.store(false, Ordering::Relaxed);
        let (longest, reads) = reader.join().unwrap();
        (longest, reads, took)
    });
    println!("{reads} reads during an import of {took:?}, the longest {longest:?}");
    // What waited for the import would wait for nearly all of it.
    assert!(reads > 20 && longest < (took / 2).max(Duration::from_millis(200)), "{longest:?} of {took:?}");
}
