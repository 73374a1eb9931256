//! `image-name/`: links that are names, directories that lead to them.

use std::fs;
use std::os::unix::fs::symlink;

use nix::errno::Errno;

use crate::support::images::{Image, names_in};
use crate::support::{Mounted, errno, text};

struct Named {
    tree: Mounted,
    one: Image,
    other: Image,
}

fn named() -> Named {
    let (tree, one, other) = (Mounted::new(), Image::new("one", &["a"]), Image::new("other", &["b"]));
    one.import(&tree, &["busybox", "quay.io/team/app:v1"]);
    other.import(&tree, &["localhost/team/app:v1"]);
    Named { tree, one, other }
}

impl Named {
    /// What a name leads to; it must be a link that can be followed.
    fn target(&self, name: &str) -> String {
        let path = self.tree.path(&format!("image-name/{name}"));
        let link = fs::read_link(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let meta = fs::symlink_metadata(&path).unwrap();
        assert_eq!(meta.len() as usize, link.to_str().unwrap().len(), "{name}: the size is the target's");
        assert!(path.join("manifest").exists(), "{name}: it can be followed");
        link.file_name().unwrap().to_str().unwrap().to_owned()
    }

    fn names(&self, image: &Image) -> String {
        let path = format!("image/{}/names", image.id());
        let names = self.tree.read(&path);
        assert_eq!(fs::metadata(self.tree.path(&path)).unwrap().len() as usize, names.len());
        names.replace('\n', " ")
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.tree.path(&format!("image-name/{name}"))
    }
}

#[test]
fn a_link_is_one_more_name_whatever_way_its_target_is_written() {
    let named = named();
    let (one, other) = (named.one.id(), named.other.id());
    let at = named.tree.at.display().to_string();
    let targets = [
        (format!("../../image/{one}"), &one),
        (format!("{at}/image/{one}/"), &one),
        (format!("{at}/image-name/localhost/busybox:latest"), &one),
        ("busybox:latest".to_owned(), &one),
        ("../quay.io/team/app:v1".to_owned(), &one),
        ("team/app:v1".to_owned(), &other),
        ("./team/app:v1".to_owned(), &other),
        ("quay.io/team/app:v1".to_owned(), &one),
        ("busybox".to_owned(), &one),
        (other.clone(), &other),
        (format!("sha256:{other}"), &other),
        (other[..12].to_owned(), &other),
        ("image/busybox".to_owned(), &one),
    ];
    for (n, (target, image)) in targets.iter().enumerate() {
        let name = format!("localhost/link:{n}");
        symlink(target, named.path(&name)).unwrap_or_else(|error| panic!("{target}: {error}"));
        assert_eq!(named.target(&name), **image, "{target}");
    }
    // In its own directory a name means its neighbour.
    symlink("app:v1", named.path("quay.io/team/app:v2")).unwrap();
    assert_eq!(named.target("quay.io/team/app:v2"), one);
    symlink("../../image-name/localhost/busybox:latest", named.path("localhost/x:1")).unwrap();

    for (target, name, refused) in [
        ("busybox", "localhost/busybox:latest", Errno::EEXIST),
        ("absent", "localhost/new:1", Errno::ENOENT),
        ("", "localhost/new:1", Errno::ENOENT),
        ("busybox", "localhost/new", Errno::EINVAL),
        ("busybox", "localhost/New:1", Errno::EINVAL),
        ("busybox", "new:1", Errno::EINVAL),
        ("busybox", "localhost/new:", Errno::EINVAL),
    ] {
        assert_eq!(errno(symlink(target, named.path(name))), refused, "{target} -> {name}");
    }
    assert_eq!(errno(symlink("busybox", named.tree.path("image/new"))), Errno::EPERM);
    assert_eq!(errno(symlink("busybox", named.tree.path("layer/new"))), Errno::EPERM);
}

#[test]
fn mv_gives_an_image_another_name() {
    let named = named();
    let mv = |from: &str, to: &str| fs::rename(named.path(from), named.path(to));
    named.names(&named.one);
    fs::create_dir(named.path("docker.io")).unwrap();
    fs::create_dir(named.path("docker.io/library")).unwrap();
    mv("localhost/busybox:latest", "docker.io/library/busybox:1.36").unwrap();
    assert_eq!(named.target("docker.io/library/busybox:1.36"), named.one.id());
    assert_eq!(errno(fs::symlink_metadata(named.path("localhost/busybox:latest"))), Errno::ENOENT);
    assert_eq!(named.names(&named.one), "quay.io/team/app:v1 docker.io/library/busybox:1.36 ");
    mv("docker.io/library/busybox:1.36", "docker.io/library/busybox:2").unwrap();
    assert_eq!(named.target("docker.io/library/busybox:2"), named.one.id());

    assert_eq!(errno(mv("docker.io/library/busybox:2", "localhost/team/app:v1")), Errno::EEXIST);
    assert!(named.tree.last_refusal().contains("localhost/team/app:v1"), "{}", named.tree.last_refusal());
    assert_eq!(named.target("localhost/team/app:v1"), named.other.id());
    assert_eq!(errno(mv("docker.io/library/busybox:2", "docker.io/library/busybox")), Errno::EINVAL);
    assert_eq!(errno(mv("docker.io/library/busybox:2", "busybox:2")), Errno::EINVAL);
    assert_eq!(errno(mv("localhost/absent:1", "localhost/b:1")), Errno::ENOENT);
    assert_eq!(errno(mv("localhost/team", "localhost/crew")), Errno::EPERM);
    let out = fs::rename(named.path("localhost/team/app:v1"), named.tree.path("image/app"));
    assert_eq!(errno(out), Errno::EPERM);
    assert_eq!(errno(fs::rename(named.tree.path("image/docker.io"), named.tree.path("image/b"))), Errno::ENOENT);
    assert!(named.tree.read("check").starts_with("ok"));
}

#[test]
fn rm_takes_a_name_away_with_the_directories_that_only_led_there() {
    let named = named();
    fs::remove_file(named.path("quay.io/team/app:v1")).unwrap();
    assert_eq!(names_in(&named.path("")), ["localhost"]);
    assert_eq!(errno(fs::metadata(named.path("quay.io"))), Errno::ENOENT);
    assert_eq!(named.names(&named.one), "localhost/busybox:latest ");
    fs::remove_file(named.path("localhost/busybox:latest")).unwrap();
    assert_eq!(named.names(&named.one), "", "an image may be without a name");
    assert_eq!(names_in(&named.path("localhost")), ["team"]);
    assert_eq!(errno(fs::remove_file(named.path("localhost/busybox:latest"))), Errno::ENOENT);
    fs::remove_dir(named.tree.path(&format!("image/{}", named.other.id()))).unwrap();
    assert_eq!(names_in(&named.path("")), [""; 0], "its names went with the image");
    assert!(named.tree.read("check").starts_with("ok"));
}

#[test]
fn directories_of_names_are_made_and_removed() {
    let named = named();
    let mkdir = |path: &str| fs::create_dir(named.path(path));
    mkdir("ghcr.io").unwrap();
    mkdir("ghcr.io/a").unwrap();
    mkdir("ghcr.io/a/b-c").unwrap();
    assert_eq!(names_in(&named.path("ghcr.io/a")), ["b-c"]);
    for (path, refused) in [
        ("ghcr.io", Errno::EEXIST),
        ("ghcr.io/a", Errno::EEXIST),
        ("nodots", Errno::EINVAL),
        ("ghcr.io/A", Errno::EINVAL),
        ("ghcr.io/a:1", Errno::EINVAL),
        ("absent.io/a", Errno::ENOENT),
    ] {
        assert_eq!(errno(mkdir(path)), refused, "{path}");
    }
    assert_eq!(errno(fs::remove_dir(named.path("ghcr.io"))), Errno::ENOTEMPTY);
    assert_eq!(errno(fs::remove_dir(named.path("localhost"))), Errno::ENOTEMPTY);
    fs::remove_dir(named.path("ghcr.io/a/b-c")).unwrap();
    fs::remove_dir(named.path("ghcr.io/a")).unwrap();
    assert_eq!(names_in(&named.path("ghcr.io")), [""; 0]);
    fs::remove_dir(named.path("ghcr.io")).unwrap();
    assert_eq!(errno(fs::remove_dir(named.path("ghcr.io"))), Errno::ENOENT);
    assert_eq!(errno(fs::remove_dir(named.path("localhost/busybox:latest"))), Errno::ENOTDIR);
    assert_eq!(errno(fs::write(named.path("localhost/file"), "x")), Errno::EPERM);

    let output = named.tree.sh(
        &["sh"],
        "set -e; mkdir -p image-name/ghcr.io/team; ln -s image/busybox image-name/ghcr.io/team/bb:1
         mv image-name/ghcr.io/team/bb:1 image-name/ghcr.io/team/bb:2; mv -n image-name/ghcr.io/team/bb:2 image-name/localhost/
         rm -r image-name/ghcr.io 2>/dev/null || :; ls image-name/localhost",
    );
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(text(&output), "bb:2\nbusybox:latest\nteam\n");
    assert!(named.tree.read("check").starts_with("ok"));
}
