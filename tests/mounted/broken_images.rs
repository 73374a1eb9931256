//! Images that are broken or hostile, through the real program: each is refused in one sentence, and
//! nothing of it stays.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use ctrfs::driver::hash::digest;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::importing::{INDEX, LAYER, Layout, MANIFEST, Onlooker, Place, listing, names_in, sh, tar_of, with};
use crate::support::{CTRFS, Mounted, Random, Scratch, seed, text, wait_until};

/// Imports what cannot be imported; the sentence.
#[track_caller]
fn refusal(tree: &Mounted, source: &str) -> String {
    let mut command = Command::new("timeout");
    command.args(["60", CTRFS, "image", "import", source]).env("CTRFS_AT", &tree.at).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{source}: {said}");
    let sentences: Vec<&str> = said.lines().filter(|line| line.starts_with("ctrfs: ")).collect();
    assert_eq!(sentences.len(), 1, "{source}: {said}");
    assert!(!said.contains("panicked") && said.lines().count() < 4 && said.len() < 2000, "{source}: {said}");
    for dir in ["staging", "layers"] {
        let left = if tree.store.join(dir).exists() { names_in(&tree.store.join(dir)) } else { Vec::new() };
        assert_eq!(left, [""; 0], "{source}: left in {dir}");
    }
    assert_eq!(names_in(&tree.path("image")), [""; 0], "{source}");
    sentences[0].to_owned()
}

#[test]
fn documents_of_the_wrong_shape_are_refused() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let (layout, _, layer, manifest) = Layout::of_one(dir);
    let read =
        |descriptor: &Value| -> Value { serde_json::from_slice(&fs::read(layout.path(descriptor)).unwrap()).unwrap() };
    let document = read(&manifest);
    let config = read(&document["config"]);
    let tree = Mounted::new();
    let source = layout.source();

    // The index.
    let index = layout.dir.join("index.json");
    let deep = "[".repeat(100_000);
    for bad in [
        "",
        "{",
        "null",
        "[]",
        "7",
        "\"x\"",
        "{}",
        &deep,
        r#"{"schemaVersion":2,"manifests":{}}"#,
        r#"{"schemaVersion":2,"manifests":[null]}"#,
        r#"{"schemaVersion":99999999999999999999,"manifests":[]}"#,
        r#"{"schemaVersion":2,"manifests":[]}"#,
        "\u{0}\u{1}\u{ff}",
    ] {
        fs::write(&index, bad).unwrap();
        refusal(&tree, &source);
    }
    fs::write(&index, vec![b' '; 5 << 20]).unwrap();
    assert!(refusal(&tree, &source).contains("longer than"));
    for (key, value) in [
        ("digest", json!("sha256:../../../../etc/passwd")),
        ("digest", json!("sha256:")),
        ("digest", json!("sha512:00")),
        ("digest", json!("nothing")),
        ("digest", json!(7)),
        ("size", json!(-1)),
        ("size", json!("7")),
        ("size", json!(1e300)),
        ("size", json!(u64::MAX)),
        ("size", json!(0)),
        ("mediaType", json!("text/plain")),
        ("mediaType", json!(null)),
        ("mediaType", json!(INDEX)),
    ] {
        layout.index(&[with(&manifest, key, value)]);
        refusal(&tree, &source);
    }

    // The manifest, and the config.
    let no_layers = json!({"type": "layers", "diff_ids": []});
    for (key, value) in [
        ("schemaVersion", json!(1)),
        ("schemaVersion", json!("2")),
        ("config", json!(null)),
        ("config", json!({})),
        ("config", layer.clone()),
        ("layers", json!(null)),
        ("layers", json!([])),
        ("layers", json!([[]])),
        ("layers", json!([layer, layer])),
        ("layers", json!([with(&layer, "size", json!(u64::MAX))])),
        ("layers", json!([with(&layer, "mediaType", json!("text/plain"))])),
    ] {
        layout.index(&[layout.document(MANIFEST, &with(&document, key, value))]);
        refusal(&tree, &source);
    }
    for (key, value) in [
        ("rootfs", json!(null)),
        ("rootfs", json!({"type": "magic", "diff_ids": []})),
        ("rootfs", json!({"diff_ids": "sha256:0"})),
        ("rootfs", json!({"diff_ids": ["sha256:0"]})),
        ("rootfs", json!({"diff_ids": [format!("sha256:{}", "0".repeat(64))]})),
        ("rootfs", no_layers),
        ("os", json!(7)),
    ] {
        let other = layout.document("application/vnd.oci.image.config.v1+json", &with(&config, key, value));
        layout.index(&[layout.document(MANIFEST, &with(&document, "config", other))]);
        refusal(&tree, &source);
    }

    // An index that names itself, by its own bytes' place if not by their digest.
    let nested = layout.document(INDEX, &json!({"schemaVersion": 2, "manifests": []}));
    fs::write(layout.path(&nested), json!({"schemaVersion": 2, "manifests": [nested]}).to_string()).unwrap();
    layout.index(&[nested]);
    refusal(&tree, &source);
}

#[test]
fn blobs_that_are_no_files_are_refused() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let (layout, _, layer, manifest) = Layout::of_one(dir);
    layout.index(std::slice::from_ref(&manifest));
    let tree = Mounted::new();
    fs::write(dir.join("outside"), fs::read(layout.path(&manifest)).unwrap()).unwrap();
    let paths = [layout.path(&manifest), layout.path(&layer), layout.dir.join("index.json")];
    for path in &paths {
        fs::rename(path, dir.join("kept")).unwrap();
        for make in ["mkfifo", "mkdir", "ln -s ../../../outside", "ln -s /dev/zero", "ln -s /proc/self/mem", "ln -s x"]
        {
            let name = path.file_name().unwrap().to_str().unwrap();
            sh(path.parent().unwrap(), &format!("{make} {name}"));
            refusal(&tree, &layout.source());
            sh(path.parent().unwrap(), &format!("rm -rf {name}"));
        }
        fs::rename(dir.join("kept"), path).unwrap();
    }
    let output = tree.ctrfs(&["image", "import", "-q", &layout.source()]);
    assert!(output.status.success(), "{}", text(&output));
}

/// A docker archive of one image, as its files.
const ARCHIVE: &str = r#"
    diff=$(sha256sum < l.tar | cut -d' ' -f1)
    config() { printf '{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' $diff > c.json; }
    list() { printf '[{"Config":"%s","RepoTags":["a:1"],"Layers":["%s"]}]' "$1" "$2" > manifest.json; }
    config; list c.json l.tar
"#;

#[test]
fn archives_whose_paths_lead_elsewhere_are_refused() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    tar_of(dir, "l");
    sh(dir, ARCHIVE);
    let tree = Mounted::new();
    let source = |file: &str| format!("docker-archive:{}", dir.join(file).display());
    for (number, script) in [
        "list c.json /etc/passwd; tar -cf $f manifest.json c.json l.tar",
        "list c.json ../l.tar; tar -cf $f manifest.json c.json l.tar",
        "list /etc/passwd l.tar; tar -cf $f manifest.json c.json l.tar",
        "list c.json ''; tar -cf $f manifest.json c.json l.tar",
        "list c.json .; tar -cf $f manifest.json c.json l.tar",
        "tar -cf $f c.json l.tar",
        "ln -sf /etc/passwd x; list c.json x; tar -cf $f manifest.json c.json x",
        "echo '[]' > manifest.json; tar -cf $f manifest.json c.json l.tar",
        "echo '[{}]' > manifest.json; tar -cf $f manifest.json c.json l.tar",
        "echo '[{\"Config\": 7}]' > manifest.json; tar -cf $f manifest.json c.json l.tar",
        "tar -cf $f manifest.json c.json l.tar; echo '[]' > manifest.json; tar -rf $f manifest.json",
        "mkfifo p; list c.json p; tar -cf $f manifest.json c.json p",
        "list c.json d; mkdir d; tar -cf $f manifest.json c.json d",
        ": > $f",
        "head -c 1024 /dev/zero > $f",
        "head -c 100000 /dev/urandom > $f",
        "tar -cf - manifest.json c.json l.tar | gzip | head -c 300 > $f",
        "tar -cf - manifest.json c.json l.tar | gzip | sed 's/..$//' > $f; printf x >> $f",
    ]
    .iter()
    .enumerate()
    {
        let file = format!("{number}.tar");
        sh(dir, &[ARCHIVE, "f=", &file, "; ", script].concat());
        let said = refusal(&tree, &source(&file));
        assert!(!said.contains("root:"), "{said}");
    }
    // Of two entries with one name the later counts.
    sh(
        dir,
        &[ARCHIVE, "cp l.tar kept; echo no > l.tar; tar -cf two.tar l.tar; cp kept l.tar; tar -rf two.tar manifest.json c.json l.tar"]
            .concat(),
    );
    let output = tree.ctrfs(&["image", "import", &source("two.tar")]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn an_archive_cut_at_any_block_is_refused() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    tar_of(dir, "l");
    sh(dir, &[ARCHIVE, "tar -cf whole.tar --blocking-factor=1 c.json l.tar manifest.json"].concat());
    let whole = fs::read(dir.join("whole.tar")).unwrap();
    let mut place = Place::new(dir.join("place"));
    let source = format!("docker-archive:{}", dir.join("cut.tar").display());
    // The last two blocks are zeros, which no reader insists on, and the file before them fills no block.
    for blocks in 0..whole.len() / 512 - 2 {
        for extra in [0, 1, 511] {
            fs::write(dir.join("cut.tar"), &whole[..blocks * 512 + extra]).unwrap();
            match place.try_import(&source, None, &Onlooker::default()) {
                Ok(_) => assert!(blocks == whole.len() / 512 - 3 && extra == 511, "{blocks} blocks and {extra} bytes"),
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
            }
        }
    }
    fs::write(dir.join("cut.tar"), &whole).unwrap();
    place.try_import(&source, None, &Onlooker::default()).unwrap();
}

#[test]
fn layers_that_swell_or_lie_are_refused() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let layout = Layout::new(dir.join("lay"));
    let tree = Mounted::new();
    let refuse = |plain: &[u8], blob: &[u8]| {
        layout.index(&[layout.image(&[(plain, layout.blob(&format!("{LAYER}+gzip"), blob))])]);
        refusal(&tree, &layout.source())
    };
    // Five gigabytes of zeros in five megabytes, as no file and as one.
    sh(dir, "head -c 5G /dev/zero | gzip > bomb; truncate -s 5G f; tar -c f | gzip > filled");
    for file in ["bomb", "filled"] {
        let said = refuse(b"", &fs::read(dir.join(file)).unwrap());
        assert!(said.contains("times its size") || said.contains("unpacks to"), "{said}");
    }
    let tar = tar_of(dir, "b");
    sh(dir, "gzip -k b.tar; zstd -q b.tar; printf 'nl\\n' > 'new\nline'; tar -cf c.tar 'new\nline'");
    let zip = fs::read(dir.join("b.tar.gz")).unwrap();
    assert!(refuse(&tar, &zip[..zip.len() - 9]).contains("cut off"));
    assert!(refuse(&tar, &tar[..700]).contains("cut off"));
    refuse(&tar, &fs::read(dir.join("b.tar.zst")).unwrap()[..40]);
    // A name may hold a newline; a sentence about it holds none.
    let mut named = fs::read(dir.join("c.tar")).unwrap();
    named.truncate(513);
    refuse(&named, &named);
    assert!(OsStr::from_bytes(b"new\nline").len() == 8);
}

#[test]
fn archives_that_swell_are_refused() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    sh(dir, "head -c 32M /dev/zero > zeros; gzip -k zeros; zstd -q zeros; head -c 1M /dev/urandom > some");
    sh(dir, "cat some zeros > both; gzip both; tar -cf a.tar some; gzip a.tar");
    let mut place = Place::new(dir.join("place"));
    (place.limits.grown, place.limits.ratio) = (8 << 20, 500);
    let mut refuse = |file: &str| {
        let path = dir.join(file);
        let said = place.try_import(&format!("docker-archive:{}", path.display()), None, &Onlooker::default());
        said.unwrap_err().to_string().replace(path.to_str().unwrap(), file)
    };
    for file in ["zeros.gz", "zeros.zst"] {
        assert_eq!(refuse(file), format!("{file} uncompresses to more than 500 times its size, which is refused"));
    }
    // These are no images, but no bombs either.
    for (file, said) in [("both.gz", "not an archive that can be read"), ("a.tar.gz", "has no manifest.json")] {
        assert!(refuse(file).contains(said), "{}", refuse(file));
    }
}

#[test]
fn root_an_archive_never_fills_the_disk() {
    let tree = Mounted::new();
    let scratch = Scratch::new();
    sh(scratch.path(), "head -c 200M /dev/zero | gzip > zeros.gz; head -c 200M /dev/zero > zeros");
    let staging = tree.store.join("staging");
    sh(&tree.store, "mount -t tmpfs -o size=100m,mode=700 disk staging");
    let import = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script, CTRFS]).env("CTRFS_AT", &tree.at).current_dir(scratch.path());
        text(&command.output().unwrap())
    };
    let copied = 84 << 20;
    for (script, place) in [
        ("\"$0\" image import -q docker-archive:zeros.gz", "zeros.gz"),
        ("cat zeros | \"$0\" image import -q docker-archive:-", "standard input"),
    ] {
        let said = import(script);
        let free = |text: &str| -> u64 {
            let (_, rest) = text.split_once("bytes, ").unwrap_or_else(|| panic!("{text}"));
            rest.split(' ').next().unwrap().parse().unwrap()
        };
        let left = free(&said);
        assert!((15 << 20..=17 << 20).contains(&left), "{said}");
        let begin = format!("ctrfs: {place}: no room for a copy of it: after ");
        let after: u64 = said.strip_prefix(&begin).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!(after.abs_diff(copied) <= 2 << 20, "{said}");
        assert_eq!(names_in(&staging), [""; 0]);
    }
    sh(&tree.store, "umount staging");
}

/// Flips bytes of an archive anywhere: it is refused, or what comes out is what it was.
#[test]
fn root_flipped_bytes_never_make_another_image() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let layout = Layout::new(dir.join("lay"));
    let (first, second) = (tar_of(dir, "a"), tar_of(dir, "b"));
    sh(dir, "gzip -n b.tar");
    let zip = fs::read(dir.join("b.tar.gz")).unwrap();
    let layers = [(&first[..], layout.blob(LAYER, &first)), (&second[..], layout.blob(&format!("{LAYER}+gzip"), &zip))];
    layout.index(&[layout.image(&layers)]);
    let docker = "
        m=$(sha256sum < a.tar | cut -d' ' -f1); n=$(sha256sum < b | cut -d' ' -f1)
        printf '{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\",\"sha256:%s\"]}}' $m $n > c.json
        c=$(sha256sum < c.json | cut -d' ' -f1); mv c.json $c.json
        printf '[{\"Config\":\"%s\",\"Layers\":[\"a.tar\",\"b\"]}]' $c.json > manifest.json
        tar -cf docker.tar manifest.json $c.json a.tar b; tar -C lay -cf oci.tar .";
    sh(dir, &["gzip -dc b.tar.gz > b;", docker].concat());
    let mut random = Random(seed());
    let rounds = if std::env::var_os("CTRFS_LONG").is_some() { 5000 } else { 250 };
    for (kind, file) in [("oci-archive", "oci.tar"), ("docker-archive", "docker.tar")] {
        let whole = fs::read(dir.join(file)).unwrap();
        let source = |path: &Path| format!("{kind}:{}", path.display());
        let mut place = Place::new(dir.join(file).with_extension("place"));
        let original = place.import(&source(&dir.join(file)));
        let trees: Vec<_> = place.trees(&original).iter().map(|tree| listing(tree)).collect();
        let (mut taken, bad) = (0, dir.join("bad.tar"));
        for _ in 0..rounds {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            fs::write(&bad, &bytes).unwrap();
            let mut place = Place::new(dir.join("again"));
            match place.try_import(&source(&bad), None, &Onlooker::default()) {
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
                Ok(imported) => {
                    taken += 1;
                    assert_eq!(imported.config, original.config, "{}", digest(&bytes));
                    let found: Vec<_> = place.trees(&imported).iter().map(|tree| listing(tree)).collect();
                    assert_eq!(found, trees, "{}", digest(&bytes));
                }
            }
            fs::remove_dir_all(dir.join("again")).unwrap();
        }
        println!("{kind}: {taken} of {rounds} came in as they were");
        assert!(taken < rounds);
    }
}

#[test]
fn a_signal_calls_an_import_off_unless_it_is_ignored() {
    let tree = Mounted::new();
    for (ignore, code) in [("", 130), ("trap '' TERM; ", 1)] {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{ignore}exec \"$0\" image import docker-archive:-"), CTRFS]);
        command.env("CTRFS_AT", &tree.at).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let staging = tree.store.join("staging");
        wait_until("it listens", || staging.exists() && !names_in(&staging).is_empty());
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        // What is called off ends although there may be more to come; else it ends with its input.
        let input = input.filter(|_| ignore.is_empty());
        let output = child.wait_with_output().unwrap();
        drop(input);
        assert_eq!(output.status.code(), Some(code), "{ignore:?}: {}", text(&output));
        assert_eq!(names_in(&staging), [""; 0], "{ignore:?}");
    }
}
