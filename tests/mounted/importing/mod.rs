//! Images made by other programs, and damaged ones, brought into a staging directory.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ctrfs::driver::hash::{chain, digest};
use ctrfs::driver::image::{ImageError, Imported, Options, Outcome, Platform, Source, Step, Watch, import, open};
use ctrfs::driver::unpack::Limits;
use ctrfs::driver::usage::usage;
use ctrfs::model::id::Id;
use ctrfs::sys::walk::Dir;
use serde_json::{Value, json};

use crate::support::{Scratch, succeed};

mod layout;

pub(crate) use layout::{INDEX, LAYER, Layout, MANIFEST, tar_of, with};

const DOCKER: &str = "application/vnd.docker";

/// Runs a script in a directory; what it prints.
pub(crate) fn sh(dir: &Path, script: &str) -> String {
    let output = succeed(Command::new("sh").args(["-euc", script]).current_dir(dir));
    String::from_utf8(output.stdout).unwrap()
}

/// Who looks on: remembers steps, and gives up after some bytes.
#[derive(Default)]
pub(crate) struct Onlooker {
    steps: Mutex<Vec<(Step, Outcome)>>,
    warnings: Mutex<Vec<String>>,
    bytes: AtomicU64,
    patience: Option<u64>,
}

impl Watch for Onlooker {
    fn is_cancelled(&self) -> bool {
        self.patience.is_some_and(|patience| self.bytes.load(Ordering::Relaxed) >= patience)
    }

    fn begin(&self, _: &Step) {}

    fn advance(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn warn(&self, warning: &str) {
        self.warnings.lock().unwrap().push(warning.to_owned());
    }

    fn end(&self, step: &Step, outcome: &Outcome) {
        self.steps.lock().unwrap().push((step.clone(), *outcome));
    }
}

/// A place to import into, which keeps the layers as a store does.
pub(crate) struct Place {
    dir: PathBuf,
    layers: HashMap<Id, PathBuf>,
    imports: usize,
    pub(crate) limits: Limits,
}

impl Place {
    pub(crate) fn new(dir: PathBuf) -> Place {
        fs::create_dir_all(&dir).unwrap();
        Place { dir, layers: HashMap::new(), imports: 0, limits: Limits::default() }
    }

    pub(crate) fn import(&mut self, source: &str) -> Imported {
        self.try_import(source, None, &Onlooker::default()).unwrap_or_else(|error| panic!("{source}: {error}"))
    }

    pub(crate) fn try_import(
        &mut self,
        source: &str,
        platform: Option<&str>,
        watch: &Onlooker,
    ) -> Result<Imported, ImageError> {
        self.imports += 1;
        let staging = self.dir.join(self.imports.to_string());
        fs::create_dir(&staging).unwrap();
        let platform = platform.map(|text| Platform::parse(text).unwrap());
        let options = Options { userxattr: false, devices: true, limits: self.limits.clone() };
        let image = open(&Source::parse(source)?, &staging, platform.as_ref(), &options.limits, watch)?;
        assert_eq!(names_in(&staging), [""; 0], "a spool has a name");
        let imported = import(image, &staging, |id| self.layers.get(&id).cloned(), &options, watch)?;
        let mut new = Vec::new();
        for (id, layer) in ids(&imported).into_iter().zip(&imported.layers) {
            if let Some(told) = layer.new {
                let tree = staging.join(id.to_string()).join("fs");
                let held = usage(fs::File::open(&tree).unwrap().as_fd()).unwrap();
                assert_eq!((told.size, told.entries), (held.bytes, held.entries), "what is told of a layer");
                self.layers.insert(id, tree);
                new.push(id.to_string());
            }
        }
        new.sort();
        assert_eq!(names_in(&staging), new, "only new layers are staged");
        Ok(imported)
    }

    /// Why an import fails.
    fn refusal(&mut self, source: &str) -> String {
        self.try_import(source, None, &Onlooker::default()).expect_err(source).to_string()
    }

    /// The trees of an image's layers, base first.
    pub(crate) fn trees(&self, imported: &Imported) -> Vec<PathBuf> {
        ids(imported).iter().map(|id| self.layers[id].clone()).collect()
    }
}

pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

/// The layer IDs of an image, base first.
fn ids(imported: &Imported) -> Vec<Id> {
    let mut below = None;
    let mut next = |diff_id| {
        below = Some(chain(below, diff_id));
        below.unwrap().id()
    };
    imported.layers.iter().map(|layer| next(layer.diff_id)).collect()
}

/// All that a tree is, by path; but for the times of directories, which other programs set to now where
/// a layer has no entry for them.
pub(crate) fn listing(root: &Path) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    list(root, root, &mut entries);
    entries
}

fn list(root: &Path, path: &Path, entries: &mut BTreeMap<String, String>) {
    let entry = fs::symlink_metadata(path).unwrap();
    let kind = entry.file_type();
    let content = match () {
        () if kind.is_symlink() => fs::read_link(path).unwrap().display().to_string(),
        () if kind.is_file() => digest(&fs::read(path).unwrap()).to_string(),
        () if kind.is_char_device() || kind.is_block_device() => entry.rdev().to_string(),
        () => String::new(),
    };
    let parent = Dir::open(path.parent().unwrap()).unwrap();
    let xattrs = parent.pin(path.file_name().unwrap()).unwrap().unwrap().xattrs().unwrap();
    let is_ours = |name: &[u8]| !name.starts_with(b"user.rootlesscontainers");
    let xattrs: Vec<_> = xattrs.into_iter().filter(|(name, _)| is_ours(name)).collect();
    let time = if kind.is_dir() { 0 } else { entry.mtime() as i128 * 1_000_000_000 + entry.mtime_nsec() as i128 };
    let line = format!(
        "{:o} {}:{} {time} links {} {content} {xattrs:?}",
        entry.mode(),
        entry.uid(),
        entry.gid(),
        if kind.is_dir() { 0 } else { entry.nlink() },
    );
    entries.insert(path.strip_prefix(root).unwrap().display().to_string(), line);
    if kind.is_dir() {
        for name in names_in(path) {
            list(root, &path.join(name), entries);
        }
    }
}

/// An overlay of some trees, base first.
struct Merged(PathBuf);

impl Merged {
    fn new(at: PathBuf, trees: &[PathBuf]) -> Merged {
        fs::create_dir_all(&at).unwrap();
        fs::create_dir_all(at.with_extension("empty")).unwrap();
        let mut lowers: Vec<String> = trees.iter().rev().map(|tree| tree.display().to_string()).collect();
        // An overlay without a writable layer needs two.
        lowers.push(at.with_extension("empty").display().to_string());
        let options = format!("lowerdir={}", lowers.join(":"));
        succeed(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&at));
        Merged(at)
    }
}

impl Drop for Merged {
    fn drop(&mut self) {
        succeed(Command::new("umount").arg(&self.0));
    }
}

/// A small system: files, links, a setuid program, a capability, a device, a sticky directory.
pub(crate) const SYSTEM: &str = "
    mkdir -p root/bin root/etc root/tmp root/dev root/var/old
    cp /bin/busybox root/bin/busybox; ln root/bin/busybox root/bin/sh; ln -s busybox root/bin/ls
    chmod 4755 root/bin/busybox; chmod 1777 root/tmp
    echo one > root/etc/one; echo two > root/etc/two; echo gone > root/var/old/gone
    chown 1000:100000 root/etc/two; touch -d '2001-02-03 04:05:06.123456789' root/etc/two
    setfattr -n user.mark -v value root/etc/one
    mknod root/dev/null c 1 3; mkfifo root/dev/pipe
    truncate -s 1M root/var/holes; printf x >> root/var/holes
";

/// podman with a store of its own in the current directory.
pub(crate) const PODMAN: &str = "
    podman() { command podman --root \"$PWD/ps\" --runroot \"$PWD/pr\" --storage-driver overlay \"$@\" 2>>podman.log; }
";

/// Two images of podman's: foo:1 has one layer, bar:2 upon it another with a removed file.
pub(crate) fn podman_images(dir: &Path) {
    let make = "
        tar -C root --xattrs -c . | podman import - localhost/foo:1 >/dev/null
        mkdir new; echo new > new/file; printf 'FROM localhost/foo:1\\nCOPY file /etc/new\\nENV a=b\\n' > new/Containerfile
        podman build -q -t localhost/bar:2 new >/dev/null
    ";
    sh(dir, &[SYSTEM, PODMAN, make].concat());
}

#[test]
fn root_an_image_of_umoci_s_is_what_umoci_unpacks() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    sh(dir, SYSTEM);
    sh(
        dir,
        "umoci init --layout lay; umoci new --image lay:a
         umoci insert --image lay:a root /
         mkdir sub; echo three > sub/three; umoci insert --image lay:a --opaque sub /var
         umoci insert --image lay:a --whiteout /etc/one
         umoci unpack --image lay:a bundle",
    );
    let mut place = Place::new(dir.join("place"));
    let imported = place.import(&format!("oci:{}:a", dir.join("lay").display()));
    assert_eq!(imported.layers.len(), 3);
    assert_eq!(imported.names, [""; 0]);
    let merged = Merged::new(dir.join("merged"), &place.trees(&imported));
    assert_eq!(listing(&merged.0), listing(&dir.join("bundle/rootfs")));

    // Other tools write it in other ways; the layers are the same.
    sh(
        dir,
        "skopeo copy -q oci:lay:a oci:zst:a --dest-compress-format zstd 2>/dev/null || skopeo copy oci:lay:a oci:zst:a
         skopeo copy oci:lay:a oci-archive:a.tar:localhost/a:1; skopeo copy oci:lay:a docker-archive:d.tar:localhost/a:1",
    );
    for (source, name) in [
        ("oci:zst", None),
        ("oci-archive:a.tar", Some("localhost/a:1")),
        ("docker-archive:d.tar:a:1", Some("localhost/a:1")),
    ] {
        let (kind, path) = source.split_once(':').unwrap();
        let again = place.import(&format!("{kind}:{}", dir.join(path).display()));
        assert_eq!(ids(&again), ids(&imported), "{source}");
        assert_eq!(again.names.first().map(String::as_str), name, "{source}");
    }
}

#[test]
fn root_what_podman_saves_comes_in_as_it_keeps_it() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    podman_images(dir);
    let save = "
        podman save --format oci-archive -o oci.tar bar:2; podman save --format docker-archive -o docker.tar bar:2
        gzip -k docker.tar; podman save -m -o two.tar foo:1 bar:2
    ";
    sh(dir, &[PODMAN, save].concat());
    let at = |kind: &str, file: &str| format!("{kind}:{}", dir.join(file).display());

    let mut place = Place::new(dir.join("place"));
    let imported = place.import(&at("docker-archive", "docker.tar"));
    assert_eq!(imported.names, ["localhost/bar:2"]);
    let sources =
        [at("docker-archive", "docker.tar.gz"), at("oci-archive", "oci.tar"), at("docker-archive", "two.tar:bar:2")];
    for source in &sources {
        let again = place.import(source);
        assert_eq!((&again.config, &again.names), (&imported.config, &imported.names), "{source}");
        assert!(again.layers.iter().all(|layer| layer.new.is_none()), "{source}: the layers are there");
    }
    let error = place.refusal(&at("docker-archive", "two.tar"));
    assert!(error.contains("localhost/foo:1, localhost/bar:2"), "{error}");

    // Its own store holds the same, whether linked or copied.
    let before = listing(&dir.join("ps/overlay"));
    let stored = at("containers-storage", "ps/bar:2");
    let other = tempfile("/dev/shm");
    for (base, is_linked) in [(dir.join("linked"), true), (other.path.clone(), false)] {
        let mut clones = Place::new(base);
        let clone = clones.import(&stored);
        assert_eq!((&clone.config, &clone.names), (&imported.config, &imported.names));
        for (ours, theirs) in clones.trees(&clone).iter().zip(place.trees(&imported)) {
            // A file that is linked has more names than one that was unpacked.
            let counted = |tree: &Path| strip(listing(tree), !is_linked);
            assert_eq!(counted(ours), counted(&theirs));
        }
        let base_of = |place: &Place, imported: &Imported| place.trees(imported)[0].join("bin/busybox");
        let original = sh(dir, "find ps/overlay -path '*/diff/bin/busybox' -exec stat -c %i {} +");
        let inode = fs::metadata(base_of(&clones, &clone)).unwrap().ino().to_string();
        assert_eq!(inode == original.trim(), is_linked);
    }
    fs::remove_dir_all(dir.join("linked")).unwrap();
    assert_eq!(listing(&dir.join("ps/overlay")), before, "podman's store is as it was");

    let merged = Merged::new(dir.join("merged"), &place.trees(&imported));
    let mounted = sh(dir, &[PODMAN, "podman image mount bar:2"].concat());
    let theirs = strip(listing(Path::new(mounted.trim())), true);
    let ours = strip(listing(&merged.0), true);
    sh(dir, &[PODMAN, "podman image unmount bar:2 >/dev/null; umount -l ps/overlay 2>/dev/null || true"].concat());
    assert_eq!(ours, theirs);
}

/// A listing without the top directory, whose mode podman sets to 0555 whatever the layer says; perhaps
/// without numbers of links.
fn strip(mut listing: BTreeMap<String, String>, with_links: bool) -> BTreeMap<String, String> {
    listing.remove("");
    for line in listing.values_mut().filter(|_| !with_links) {
        let (before, after) = line.split_once(" links ").unwrap();
        *line = format!("{before} {}", after.split_once(' ').unwrap().1);
    }
    listing
}

/// A directory elsewhere than other scratch files.
struct Elsewhere {
    path: PathBuf,
}

fn tempfile(dir: &str) -> Elsewhere {
    let path = Path::new(dir).join(format!("ctrfs-test-{}", std::process::id()));
    Elsewhere { path }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[test]
fn root_other_stores_are_refused_in_words() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    podman_images(dir);
    let mut place = Place::new(dir.join("place"));
    let source = |name: &str| format!("containers-storage:{}/ps/{name}", dir.display());
    let error = place.refusal(&source("nothing:1"));
    assert!(error.contains("it has localhost/"), "{error}");

    let layers = dir.join("ps/overlay-layers/layers.json");
    let original = fs::read_to_string(&layers).unwrap();
    for (from, to, word) in [
        ("\"created\"", "\"flags\": {\"incomplete\": true}, \"created\"", "not complete"),
        (
            "\"created\"",
            "\"uidmap\": [{\"container_id\": 0, \"host_id\": 7, \"size\": 1}], \"created\"",
            "user namespace",
        ),
        ("\"diff-digest\"", "\"nothing\"", "in part"),
    ] {
        fs::write(&layers, original.replace(from, to)).unwrap();
        let error = place.refusal(&source("foo:1"));
        assert!(error.contains(word), "{error}");
    }
    let rows: Vec<Value> = serde_json::from_str(&original).unwrap();
    fs::write(&layers, json!(rows[1..]).to_string()).unwrap();
    let error = place.refusal(&source("bar:2"));
    assert!(error.contains("additional stores"), "{error}");
    fs::write(&layers, original.replace(&rows[0]["diff-digest"].as_str().unwrap()[7..], &"0".repeat(64))).unwrap();
    assert!(place.try_import(&source("foo:1"), None, &Onlooker::default()).is_err());
    fs::write(&layers, &original).unwrap();

    let diff = sh(dir, "echo ps/overlay/*/diff/etc/two").trim().to_owned();
    sh(dir, &format!("setfattr -n trusted.overlay.metacopy {diff}"));
    let error = place.refusal(&source("foo:1"));
    assert!(error.contains("from a layer below"), "{error}");
    sh(dir, "mkdir -p vfs/vfs-images vfs/vfs-layers");
    let error = place.refusal(&format!("containers-storage:{}/vfs/foo:1", dir.display()));
    assert!(error.contains("does not use the driver overlay"), "{error}");
}

#[test]
fn root_a_plain_directory_is_one_layer() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    sh(dir, SYSTEM);
    let source = format!("dir:{}", dir.join("root").display());
    let mut place = Place::new(dir.join("place"));
    let imported = place.import(&source);
    assert_eq!(listing(&place.trees(&imported)[0]), listing(&dir.join("root")));
    let manifest: Value = serde_json::from_str(&imported.manifest).unwrap();
    assert_eq!(manifest["config"]["digest"], digest(imported.config.as_bytes()).to_string());
    assert_eq!(manifest["layers"][0]["digest"], imported.layers[0].diff_id.to_string());

    let again = place.import(&source);
    assert_eq!((&again.config, again.layers[0].new), (&imported.config, None));
    fs::write(dir.join("root/etc/.wh.one"), "").unwrap();
    let error = place.refusal(&source);
    assert!(error.contains(".wh.one"), "{error}");
    let error = place.refusal(&format!("dir:{}", dir.display()));
    assert!(error.contains("hold itself"), "{error}");
}

#[test]
fn every_compression_and_media_type_comes_in() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let layout = Layout::new(dir.join("lay"));
    let tars: Vec<Vec<u8>> = ["a", "b", "c", "d"].map(|name| tar_of(dir, name)).into();
    sh(dir, "gzip b.tar; zstd -q c.tar; gzip d.tar");
    let read = |name: &str| fs::read(dir.join(name)).unwrap();
    let layers = [
        (&tars[0][..], layout.blob(LAYER, &tars[0])),
        (&tars[1][..], layout.blob(&format!("{LAYER}+gzip"), &read("b.tar.gz"))),
        (&tars[2][..], layout.blob(&format!("{LAYER}+zstd"), &read("c.tar.zst"))),
        (&tars[3][..], layout.blob(&format!("{DOCKER}.image.rootfs.diff.tar.gzip"), &read("d.tar.gz"))),
    ];
    layout.index(&[layout.image(&layers)]);
    let mut place = Place::new(dir.join("place"));
    let watch = Onlooker::default();
    let imported = place.try_import(&layout.source(), None, &watch).unwrap();
    for (tree, name) in place.trees(&imported).iter().zip(["a", "b", "c", "d"]) {
        assert_eq!(fs::read_to_string(tree.join(name)).unwrap(), name.repeat(1000));
        assert_eq!(names_in(tree), [name]);
    }
    let blobs: u64 = layers.iter().map(|(_, blob)| blob["size"].as_u64().unwrap()).sum();
    assert_eq!(watch.bytes.into_inner(), blobs, "progress tells the bytes of all blobs");
    let steps = watch.steps.into_inner().unwrap();
    assert!(matches!(steps[3].0, Step::Layer { number: 4, of: 4, .. }));
    assert!(steps.iter().all(|(_, outcome)| matches!(outcome, Outcome::New(figures) if figures.size == 1000)));
}

#[test]
fn an_index_of_indexes_is_followed_to_the_right_machine() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let layout = Layout::new(dir.join("lay"));
    let (amd, arm) = (tar_of(dir, "amd"), tar_of(dir, "arm"));
    let image = |tar: &[u8], arch: &str| {
        let descriptor = layout.image(&[(tar, layout.blob(LAYER, tar))]);
        with(&descriptor, "platform", json!({"os": "linux", "architecture": arch}))
    };
    let (first, second) = (image(&amd, "amd64"), image(&arm, "arm64"));
    let inner = layout.document(INDEX, &json!({"schemaVersion": 2, "manifests": [first, second]}));
    let docker_list = format!("{DOCKER}.distribution.manifest.list.v2+json");
    let outer = layout.document(&docker_list, &json!({"schemaVersion": 2, "manifests": [inner]}));
    layout.index(&[outer]);
    let mut place = Place::new(dir.join("place"));
    for (platform, name) in [("linux/amd64", "amd"), ("linux/arm64", "arm")] {
        // The config of both says amd64: what is demanded must be there, too.
        let imported = place.try_import(&layout.source(), Some(platform), &Onlooker::default());
        match name {
            "amd" => assert_eq!(names_in(&place.trees(&imported.unwrap())[0]), [name]),
            _ => assert!(imported.unwrap_err().to_string().contains("no image for linux/arm64"), "{name}"),
        }
    }
    let error = place.try_import(&layout.source(), Some("plan9/386"), &Onlooker::default()).unwrap_err().to_string();
    assert!(error.contains("linux/amd64, linux/arm64"), "{error}");
    let mut nested = first.clone();
    for _ in 0..5 {
        nested = layout.document(INDEX, &json!({"schemaVersion": 2, "manifests": [nested]}));
    }
    layout.index(&[nested]);
    let error = place.refusal(&layout.source());
    assert!(error.contains("nested"), "{error}");
}

#[test]
fn what_is_damaged_is_named_with_both_digests() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let (layout, tar, layer, manifest) = Layout::of_one(dir);
    layout.index(std::slice::from_ref(&manifest));
    let document: Value = serde_json::from_str(&fs::read_to_string(layout.path(&manifest)).unwrap()).unwrap();
    let mut place = Place::new(dir.join("place"));
    place.import(&layout.source());
    place.layers.clear();

    for part in [&manifest, &document["config"], &layer] {
        let path = layout.path(part);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        fs::write(&path, &bad).unwrap();
        let error = place.refusal(&layout.source());
        for word in [digest(&good).to_string(), digest(&bad).to_string()] {
            assert!(error.contains(&word), "{word}: {error}");
        }
        fs::write(&path, &good[1..]).unwrap();
        let error = place.refusal(&layout.source());
        assert!(error.contains(&good.len().to_string()) && error.contains(&(good.len() - 1).to_string()), "{error}");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        place.refusal(&layout.source());
        fs::remove_file(&path).unwrap();
        let error = place.refusal(&layout.source());
        assert!(error.contains("has no blobs/sha256/"), "{error}");
        fs::write(&path, &good).unwrap();
    }

    // A layer that is not the one the config means, and a layer too many.
    let other = tar_of(dir, "b");
    layout.index(&[layout.image(&[(&other, layer.clone())])]);
    let error = place.refusal(&layout.source());
    for word in [digest(&tar), digest(&other)] {
        assert!(error.contains(&word.to_string()), "{error}");
    }
    let more = json!({"schemaVersion": 2, "config": document["config"], "layers": [layer, layer]});
    layout.index(&[layout.document(MANIFEST, &more)]);
    let error = place.refusal(&layout.source());
    assert!(error.contains("2 layers") && error.contains("config 1"), "{error}");
}

#[test]
fn a_layer_is_kept_once_and_an_unwanted_import_ends() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let layout = Layout::new(dir.join("lay"));
    let (base, one, two) = (tar_of(dir, "base"), tar_of(dir, "one"), tar_of(dir, "two"));
    let layer = |tar: &[u8]| layout.blob(LAYER, tar);
    let tagged = |descriptor: Value, tag: &str| {
        with(&descriptor, "annotations", json!({"org.opencontainers.image.ref.name": tag}))
    };
    layout.index(&[
        tagged(layout.image(&[(&base, layer(&base)), (&one, layer(&one))]), "one"),
        tagged(layout.image(&[(&base, layer(&base)), (&two, layer(&two))]), "localhost/x:two"),
    ]);
    let mut place = Place::new(dir.join("place"));
    let error = place.refusal(&layout.source());
    assert!(error.contains("one, localhost/x:two"), "{error}");
    assert!(place.import(&(layout.source() + ":one")).names.is_empty());
    let watch = Onlooker::default();
    let second = place.try_import(&(layout.source() + ":x:two"), None, &watch).unwrap();
    assert_eq!(second.names, ["localhost/x:two"]);
    let outcomes: Vec<Outcome> = watch.steps.into_inner().unwrap().into_iter().map(|(_, outcome)| outcome).collect();
    assert!(matches!(outcomes[..], [Outcome::Present, Outcome::New(_)]), "{outcomes:?}");

    place.layers.clear();
    let watch = Onlooker { patience: Some(1), ..Onlooker::default() };
    let result = place.try_import(&(layout.source() + ":one"), None, &watch);
    assert!(matches!(result, Err(ImageError::Cancelled)), "{result:?}");
}

#[test]
fn archives_that_are_cut_or_hostile_are_refused() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let mut place = Place::new(dir.join("place"));
    sh(
        dir,
        "echo '[{\"Config\": \"c.json\", \"Layers\": [\"l/layer.tar\"]}]' > manifest.json
         mkdir l; ln -s ../../../etc/passwd l/layer.tar
         echo '{\"rootfs\": {\"type\": \"layers\", \"diff_ids\": [\"sha256:'$(printf %064d 0)'\"]}}' > c.json
         tar -cf out.tar manifest.json c.json l; ln -sfn layer.tar l/layer.tar; tar -cf loop.tar manifest.json c.json l
         head -c 540 out.tar > cut.tar; xz -k out.tar; echo nothing > text; mkfifo pipe",
    );
    for (file, word) in [
        ("out.tar", "has no l/layer.tar"),
        ("loop.tar", "leads nowhere"),
        ("cut.tar", "cut short"),
        ("out.tar.xz", "uncompress it first"),
        ("text", "not an archive"),
        ("l", "a directory"),
        ("absent", "No such file"),
    ] {
        let error = place.refusal(&format!("docker-archive:{}", dir.join(file).display()));
        assert!(error.contains(word), "{file}: {error}");
    }
    let path = OsStr::from_bytes(b"pipe");
    let feed = Command::new("sh").args(["-c", "cat out.tar > pipe"]).current_dir(dir).spawn();
    let error = place.refusal(&format!("docker-archive:{}", dir.join(path).display()));
    assert!(error.contains("has no l/layer.tar"), "{error}");
    assert!(feed.unwrap().wait().unwrap().success());
}
