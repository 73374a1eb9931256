//! What the tree shows of images and layers: entries, attributes, links, lists.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

use nix::errno::Errno;

use crate::support::images::{Image, names_in};
use crate::support::{Mounted, errno, text};

/// A base with two images upon it, and a container upon one.
struct Stack {
    tree: Mounted,
    base: Image,
    upon: Image,
    ctr: String,
}

fn stack() -> Stack {
    let (tree, base, upon) = (Mounted::new(), Image::new("base", &["a"]), Image::new("upon", &["a", "bb", "ccc"]));
    base.import(&tree, &["base"]);
    upon.import(&tree, &["upon", "quay.io/team/upon:v1"]);
    fs::write(tree.path("create/ctr"), "{\"name\":\"web\",\"image\":\"upon\"}\n").unwrap();
    let ctr = tree.id("web");
    Stack { tree, base, upon, ctr }
}

/// The size of every file is that of what it gives, and of every link that of its target, which is
/// there; modes are what the manual says.
fn exact(dir: &Path) {
    for name in names_in(dir) {
        let path = dir.join(&name);
        let meta = fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let kind = meta.file_type();
        assert!(!kind.is_fifo() && !kind.is_socket());
        match () {
            () if kind.is_dir() => {
                assert_eq!(meta.mode() & 0o7777, 0o755, "{path:?}");
                exact(&path);
            }
            () if kind.is_symlink() => {
                assert_eq!(meta.len() as usize, fs::read_link(&path).unwrap().as_os_str().len(), "{path:?}");
                fs::metadata(&path).unwrap_or_else(|error| panic!("{path:?} leads nowhere: {error}"));
            }
            () => {
                assert_eq!(meta.len() as usize, fs::read(&path).unwrap().len(), "{path:?}");
                assert_eq!(meta.mode() & 0o7777, 0o444, "{path:?}");
                assert_eq!(errno(fs::write(&path, "x\n")), Errno::EACCES, "{path:?}");
            }
        }
        let read_only = [fs::remove_dir(&path), fs::remove_file(&path)];
        for refused in read_only.into_iter().map(errno) {
            assert!([Errno::EPERM, Errno::ENOTDIR, Errno::EISDIR].contains(&refused), "{path:?}: {refused}");
        }
    }
}

#[test]
fn an_image_shows_its_parts() {
    let Stack { tree, base, upon, ctr } = stack();
    let at = format!("image/{}", upon.id());
    let dir = tree.path(&at);
    let parts = ["config", "data", "digests", "layers", "manifest", "names", "size", "used-by"];
    assert_eq!(names_in(&dir), parts);
    assert_eq!(tree.read(&format!("{at}/config")), upon.config);
    assert_eq!(tree.read(&format!("{at}/manifest")), upon.manifest);
    assert_eq!(tree.read(&format!("{at}/names")), "localhost/upon:latest\nquay.io/team/upon:v1\n");
    assert_eq!(tree.read(&format!("{at}/size")), format!("{}\n", upon.size()));
    assert_eq!(names_in(&dir.join("layers")), ["0", "1", "2"]);
    for (position, id) in upon.layers().iter().enumerate() {
        let link = fs::read_link(dir.join("layers").join(position.to_string())).unwrap();
        assert_eq!(link, Path::new("../../../layer").join(id));
    }
    for absent in ["3", "00", "+1", "-1", "x"] {
        assert_eq!(errno(fs::metadata(dir.join("layers").join(absent))), Errno::ENOENT, "{absent}");
    }
    assert_eq!(names_in(&dir.join("used-by")), [ctr.as_str()]);
    assert_eq!(names_in(&tree.path(&format!("image/{}/used-by", base.id()))), [""; 0]);
    exact(&dir);
    exact(&tree.path(&format!("image/{}", base.id())));
}

#[test]
fn a_layer_shows_its_parts() {
    let Stack { tree, base, upon, ctr } = stack();
    let [bottom, middle, top] = &upon.layers()[..] else { panic!() };
    let dir = |id: &str| tree.path(&format!("layer/{id}"));
    assert_eq!(names_in(&dir(bottom)), ["children", "diff-id", "size", "used-by"]);
    assert_eq!(names_in(&dir(middle)), ["children", "diff-id", "parent", "size", "used-by"]);
    assert_eq!(names_in(&dir(&ctr)), ["children", "name", "parent", "size", "used-by"]);
    assert_eq!(fs::read_link(dir(middle).join("parent")).unwrap(), Path::new("..").join(bottom));
    assert_eq!(fs::read_link(dir(&ctr).join("parent")).unwrap(), Path::new("..").join(top));
    assert_eq!(names_in(&dir(bottom).join("children")), [middle.as_str()]);
    assert_eq!(names_in(&dir(top).join("children")), [ctr.as_str()]);
    let mut both = [base.id(), upon.id()];
    both.sort();
    assert_eq!(names_in(&dir(bottom).join("used-by")), both);
    assert_eq!(names_in(&dir(top).join("used-by")), [upon.id()]);
    assert_eq!(names_in(&dir(&ctr).join("used-by")), [ctr.as_str()]);
    assert_eq!(tree.read(&format!("layer/{middle}/size")), "2\n");
    let diff_id = ctrfs::driver::hash::digest(b"bb");
    assert_eq!(tree.read(&format!("layer/{middle}/diff-id")), format!("{diff_id}\n"));
    assert_eq!(tree.read(&format!("layer/{ctr}/name")), "web-layer\n");
    for layer in [bottom, middle, top] {
        exact(&dir(layer));
    }
    assert_eq!(names_in(&tree.path("layer")).len(), 4);
}

#[test]
fn names_and_prefixes_lead_there_unlisted() {
    let Stack { tree, upon, ctr, .. } = stack();
    let id = upon.id();
    for text in ["upon", "upon:latest", &id[..6], &id[..63], &id] {
        let path = tree.path("image").join(text);
        assert_eq!(fs::canonicalize(&path).unwrap(), tree.path(&format!("image/{id}")), "{text}");
    }
    for text in ["absent", "upon:v2", &id[..5], &ctr, "web"] {
        assert_eq!(errno(fs::metadata(tree.path("image").join(text))), Errno::ENOENT, "{text}");
    }
    let top = &upon.layers()[2];
    for (text, layer) in [("web-layer", &ctr), (&top[..12], top), (&ctr[..8], &ctr)] {
        let path = tree.path("layer").join(text);
        assert_eq!(fs::canonicalize(path).unwrap(), tree.path(&format!("layer/{layer}")), "{text}");
    }
    assert_eq!(errno(fs::metadata(tree.path("layer/absent-layer"))), Errno::ENOENT);
    assert_eq!(names_in(&tree.path("image")).len(), 2, "none of them is listed");

    // A name that looks like a prefix is a name first.
    let looks = &id[..8];
    std::os::unix::fs::symlink("base", tree.path(&format!("image-name/localhost/{looks}:latest"))).unwrap();
    assert_ne!(fs::canonicalize(tree.path("image").join(looks)).unwrap(), tree.path(&format!("image/{id}")));

    for op in ["image", "layer"] {
        assert_eq!(errno(fs::create_dir(tree.path(op).join("new"))), Errno::EPERM);
        assert_eq!(errno(fs::remove_dir(tree.path(op).join("0".repeat(64)))), Errno::ENOENT);
    }
    assert_eq!(errno(fs::rename(tree.path("image/upon"), tree.path("image/other"))), Errno::EPERM);
    assert_eq!(errno(fs::remove_file(tree.path("image").join(&id[..12]))), Errno::EPERM, "a prefix is not exact");
    assert!(fs::metadata(tree.path(&format!("image/{id}"))).is_ok());
}

/// The times and sizes that the kernel keeps are those of the last change.
#[test]
fn what_changed_says_so() {
    let Stack { tree, base, upon, .. } = stack();
    let at = |id: &str, entry: &str| format!("image/{id}/{entry}");
    let time = |path: &str| fs::symlink_metadata(tree.path(path)).unwrap().modified().unwrap();
    let watched = [
        "image-name".to_owned(),
        "image-name/localhost".to_owned(),
        "image".to_owned(),
        "layer".to_owned(),
        at(&upon.id(), "names"),
        at(&upon.id(), "used-by"),
        format!("layer/{}/used-by", upon.layers()[0]),
        format!("layer/{}/children", upon.layers()[2]),
        at(&base.id(), "names"),
        at(&upon.id(), "size"),
    ];
    let look = || watched.iter().map(|path| time(path)).collect::<Vec<SystemTime>>();
    type Change<'a> = (&'a str, &'a dyn Fn(), &'a [usize]);
    let changes: [Change<'_>; 5] = [
        ("ln", &|| std::os::unix::fs::symlink("upon", tree.path("image-name/localhost/two:1")).unwrap(), &[1, 4]),
        ("rm", &|| fs::remove_file(tree.path("image-name/localhost/two:1")).unwrap(), &[1, 4]),
        (
            "a container",
            &|| fs::write(tree.path("create/ctr"), "{\"name\":\"db\",\"image\":\"upon\"}\n").unwrap(),
            &[3, 5, 7],
        ),
        ("its end", &|| fs::remove_dir(tree.path(&format!("ctr/{}", tree.id("db")))).unwrap(), &[3, 5, 7]),
        ("an image", &|| drop(Image::new("third", &["a"]).import(&tree, &["b.io/third:1"])), &[0, 2, 3, 6]),
    ];
    for (what, change, moved) in changes {
        let before = look();
        change();
        let after = look();
        let changed: Vec<usize> = (0..watched.len()).filter(|n| before[*n] != after[*n]).collect();
        assert_eq!(changed, moved, "{what}");
        let size = at(&upon.id(), "names");
        assert_eq!(fs::metadata(tree.path(&size)).unwrap().len() as usize, tree.read(&size).len(), "{what}");
    }
    let path = format!("layer/{}/name", tree.id("web"));
    assert_eq!(fs::metadata(tree.path(&path)).unwrap().len(), 10);
    fs::rename(tree.path("name/web"), tree.path("name/website")).unwrap();
    assert_eq!(tree.read(&path), "website-layer\n");
    assert_eq!(fs::metadata(tree.path(&path)).unwrap().len(), 14, "a layer's name follows its container's");
    fs::write(tree.path("ctr/website/config"), "{\"name\":\"w\"}\n").unwrap();
    assert_eq!(fs::metadata(tree.path(&path)).unwrap().len() as usize, tree.read(&path).len());
}

#[test]
fn what_is_gone_is_gone() {
    let Stack { tree, base, .. } = stack();
    let dir = tree.path(&format!("image/{}", base.id()));
    let open = fs::File::open(dir.join("manifest")).unwrap();
    fs::metadata(dir.join("size")).unwrap();
    fs::remove_dir(&dir).unwrap();
    assert_eq!(errno(fs::metadata(dir.join("size"))), Errno::ENOENT);
    assert_eq!(errno(fs::read_dir(&dir)), Errno::ENOENT);
    assert_eq!(errno(open.metadata()), Errno::ESTALE);
    assert_eq!(errno(fs::metadata(tree.path("image-name/localhost/base:latest"))), Errno::ENOENT);
    assert_eq!(errno(fs::remove_dir(&dir)), Errno::ENOENT);
}

#[test]
fn a_time_that_is_none_is_not_shown() {
    let tree = Mounted::new();
    let image = Image::created("\u{1b}[2Jyesterday", "odd", &["base"]);
    image.import(&tree, &["odd"]);
    let table = tree.read("table/image");
    assert_eq!(table.lines().nth(1).unwrap().split('\t').nth(5), Some("-"), "{table:?}");
}

#[test]
fn lists_walks_and_tables_show_all() {
    let Stack { tree, base, upon, ctr } = stack();
    let output = tree
        .sh(&["sh"], "ls -lRa >/dev/null && find . -name '*' -printf '' && find -L image layer -maxdepth 2 -printf ''");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(text(&output), "");
    let dots = tree.sh(
        &["sh"],
        "for d in image-name/quay.io/team image-name/quay.io image-name image/upon/ layer/web-layer/ image/upon/layers; do
            test $(stat -c %i $d/..) = $(stat -c %i $(dirname $(realpath $d))) || echo $d; done
         ls -ai image-name/quay.io/team | sort -n | awk '$2 == \"..\" {print $1}' | grep -qx $(stat -c %i image-name/quay.io)",
    );
    assert!(dots.status.success(), "{}", text(&dots));
    assert_eq!(text(&dots), "");

    let table = tree.read("table/image");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows[0], ["id", "names", "layers", "size", "containers", "created"]);
    let size = upon.size().to_string();
    assert_eq!(
        rows[1],
        [&*upon.id(), "localhost/upon:latest,quay.io/team/upon:v1", "3", &size, "1", "2026-01-02T03:04:05Z"]
    );
    assert_eq!(rows[2][..5], [&*base.id(), "localhost/base:latest", "1", "1", "0"]);
    let table = tree.read("table/ctr");
    let row: Vec<&str> = table.lines().nth(1).unwrap().split('\t').collect();
    assert_eq!((row[0], row[6], row[7]), (&*ctr, "localhost/upon:latest", "0"));
    assert_eq!(tree.read("check"), "ok: 1 containers, 0 pods, 2 images, 4 layers\n");
}
