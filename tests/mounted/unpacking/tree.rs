//! What a layer looks like after it is unpacked.

use std::os::unix::fs::MetadataExt;
use std::{env, fs};

use super::tar::{Header, Tar, header};
use super::{Place, UnpackError};
use crate::support::succeed;

/// A capability as the kernel keeps it: revision 2, effective, cap_net_raw.
const CAPABILITY: &[u8] = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";

fn check(place: &Place, expected: &[(&str, &str)]) {
    let found = place.tree();
    let lines: Vec<(&str, &str)> = found.iter().map(|(path, line)| (path.as_str(), line.as_str())).collect();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    let text =
        |lines: &[(&str, &str)]| lines.iter().map(|(path, line)| format!("{path}: {line}\n")).collect::<String>();
    assert_eq!(text(&lines), text(&expected));
}

#[test]
fn each_kind_of_entry_arrives() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(255));
    let stream = Tar::new()
        .header(&Header { mode: 0o1777, mtime: 7, ..header(b'5', "./") })
        .dir("bin/")
        .header(&Header { mode: 0o4755, size: 5, ..header(b'0', "bin/su") })
        .content(b"hello")
        .link("bin/su2", "/bin/su")
        .symlink("sbin", "bin")
        .link("sbin2", "./sbin")
        // Through a link that stays within the layer.
        .file("sbin/through", b"1")
        .header(&header(b'6', "fifo"))
        .header(&Header { mode: 0o500, ..header(b'5', "closed") })
        .file("closed/file", b"2")
        .header(&Header { mode: 0o2755, ..header(b'5', "setgid") })
        .dir("setgid/below")
        .pax(&[("path", long.as_bytes()), ("mtime", b"-1.25"), ("SCHILY.xattr.user.bin", b"\x00=\n\xff")])
        .file("short", b"")
        .pax(&[("SCHILY.xattr.user.dir", b"1"), ("mtime", b"1700000000.123456789"), ("comment", b"none")])
        .dir("attributes")
        .pax(&[("SCHILY.xattr.security.capability", CAPABILITY)])
        .file("ping", b"ping")
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.overlay.metacopy", b""),
            ("SCHILY.xattr.security.selinux", b"system_u:object_r:etc_t:s0\0"),
        ])
        .dir("hostile")
        .file("gone/.wh.a", b"")
        .file("gone/.wh..wh..opq", b"")
        .file("gone/b", b"3")
        .file("/absolute", b"4")
        // Before directories had a type of their own.
        .file("oldstyle/", b"")
        .header(&header(b'7', "contiguous"))
        .header(&header(b'V', "label"))
        .end();
    let (place, unpacked) = Place::new().fill(&stream);
    let (dir, file) = (format!("./{}", "d".repeat(200)), format!("./{long}"));
    let gone = format!("dir 755 0:0 @0.0 {}", place.opaque());
    let capability = format!("file 644 0:0 @1000.0 x1 4 ping security.capability={}", CAPABILITY.escape_ascii());
    check(
        &place,
        &[
            (".", "dir 1777 0:0 @7.0"),
            ("./absolute", "file 644 0:0 @1000.0 x1 1 4"),
            ("./attributes", "dir 755 0:0 @1700000000.123456789 user.dir=1"),
            ("./bin", "dir 755 0:0 @1000.0"),
            ("./bin/su", "file 4755 0:0 @1000.0 x2 5 hello"),
            ("./bin/su2", "file 4755 0:0 @1000.0 x2 5 hello"),
            ("./bin/through", "file 644 0:0 @1000.0 x1 1 1"),
            ("./closed", "dir 500 0:0 @1000.0"),
            ("./closed/file", "file 644 0:0 @1000.0 x1 1 2"),
            ("./contiguous", "file 644 0:0 @1000.0 x1 0 "),
            (&dir, "dir 755 0:0 @0.0"),
            (&file, "file 644 0:0 @-2.750000000 x1 0  user.bin=\\x00=\\n\\xff"),
            ("./fifo", "fifo 644 0:0 @1000.0"),
            ("./gone", &gone),
            ("./gone/a", &whiteout(&place, "gone/a")),
            ("./gone/b", "file 644 0:0 @1000.0 x1 1 3"),
            ("./hostile", "dir 755 0:0 @1000.0"),
            ("./oldstyle", "dir 644 0:0 @1000.0"),
            ("./ping", &capability),
            ("./sbin", "link 777 0:0 @1000.0 -> bin"),
            ("./sbin2", "link 777 0:0 @1000.0 -> bin"),
            ("./setgid", "dir 2755 0:0 @1000.0"),
            ("./setgid/below", "dir 755 0:0 @1000.0"),
        ],
    );
    // su once, through, file, ping, b, absolute, and the two names of the link.
    assert_eq!(unpacked.size, 5 + 1 + 1 + 4 + 1 + 1 + 3);
    assert_eq!((unpacked.skipped.entries, unpacked.skipped.xattrs), (1, 3));
    assert_eq!(unpacked.entries, place.tree().len() as u64 - 1, "names without the root");
    assert_eq!(unpacked.disk, place.tree_on_disk());
}

/// A whiteout as it must be, but for the time, which nobody reads.
fn whiteout(place: &Place, path: &str) -> String {
    let meta = fs::symlink_metadata(place.layer().join(path)).unwrap();
    format!("char 0 0:0 @{}.{} 0:0", meta.mtime(), meta.mtime_nsec())
}

impl Place {
    /// What all but the root takes.
    fn tree_on_disk(&self) -> u64 {
        let mut blocks = std::collections::HashMap::new();
        for path in self.tree().keys().filter(|path| *path != ".") {
            let meta = fs::symlink_metadata(self.layer().join(path)).unwrap();
            blocks.insert(meta.ino(), meta.blocks() * 512);
        }
        blocks.values().sum()
    }
}

#[test]
fn root_owners_and_devices_arrive() {
    let stream = Tar::new()
        .header(&Header { uid: 12, gid: 34, mode: 0o6711, size: 2, ..header(b'0', "tool") })
        .content(b"ok")
        .header(&Header { uid: 5, gid: 6, ..header(b'5', "home") })
        .header(&Header { uid: 7, gid: 8, target: "x".into(), ..header(b'2', "link") })
        .header(&Header { mode: 0o666, device: (1, 3), ..header(b'3', "null") })
        .header(&Header { mode: 0o660, gid: 6, device: (8, 300), ..header(b'4', "disk") })
        .pax(&[("uid", b"4000000000"), ("gid", b"3000000"), ("SCHILY.xattr.trusted.link", b"1")])
        .symlink("far", "away")
        .end();
    let (place, unpacked) = Place::new().fill(&stream);
    check(
        &place,
        &[
            (".", "dir 755 0:0 @0.0"),
            ("./disk", "block 660 0:6 @1000.0 8:300"),
            ("./far", "link 777 4000000000:3000000 @1000.0 -> away trusted.link=1"),
            ("./home", "dir 755 5:6 @1000.0"),
            ("./link", "link 777 7:8 @1000.0 -> x"),
            ("./null", "char 666 0:0 @1000.0 1:3"),
            ("./tool", "file 6711 12:34 @1000.0 x1 2 ok"),
        ],
    );
    assert_eq!(unpacked.skipped.devices, 0);
}

#[test]
fn without_the_hosts_root_devices_are_left_out() {
    let stream = Tar::new()
        .header(&Header { device: (1, 3), ..header(b'3', "null") })
        .pax(&[("SCHILY.xattr.trusted.a", b"1"), ("SCHILY.xattr.security.ima", b"1"), ("SCHILY.xattr.user.a", b"1")])
        .file("file", b"")
        .file(".wh.hidden", b"")
        .end();
    let place = Place { devices: false, ..Place::new() };
    let (place, unpacked) = place.fill(&stream);
    assert_eq!((unpacked.skipped.devices, unpacked.skipped.xattrs), (1, 2));
    check(
        &place,
        &[
            (".", "dir 755 0:0 @0.0"),
            ("./file", "file 644 0:0 @1000.0 x1 0  user.a=1"),
            ("./hidden", &whiteout(&place, "hidden")),
        ],
    );
}

#[test]
fn owners_that_the_namespace_does_not_map_are_refused() {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    if map.split_whitespace().last() != Some("1") {
        // All IDs are there; the same test runs in a namespace with one.
        let own = env::current_exe().unwrap();
        let name = "unpacking::tree::owners_that_the_namespace_does_not_map_are_refused";
        let mut command = std::process::Command::new("unshare");
        succeed(command.args(["--user", "--map-root-user", "--mount"]).arg(own).args(["--exact", name]));
        return;
    }
    for kind in [b'0', b'2', b'5'] {
        let stream = Tar::new().header(&Header { gid: 42, target: "x".into(), ..header(kind, "var/mail") }).end();
        let error = Place::new().unpack(&stream[..]).unwrap_err();
        assert_eq!(
            error.to_string().trim_start_matches("entry "),
            "'var/mail': belongs to 0:42, and this user namespace does not map both of these IDs"
        );
    }
}

#[test]
fn a_whiteout_hides_what_is_below_and_nothing_else() {
    let stream = Tar::new()
        .file("before", b"1")
        .file(".wh.before", b"")
        .file(".wh.after", b"")
        .file("after", b"2")
        .file(".wh.dir", b"")
        .file("dir/.wh.hidden", b"")
        .file("dir2/file", b"3")
        .file(".wh.dir2", b"")
        .file(".wh.dir3", b"")
        .dir("dir3")
        .file(".wh.dir4", b"")
        .file("dir4/file", b"4")
        .file(".wh.twice", b"")
        .file(".wh.twice", b"")
        .end();
    let (place, _) = Place::new().fill(&stream);
    let implicit = format!("dir 755 0:0 @0.0 {}", place.opaque());
    let listed = format!("dir 755 0:0 @1000.0 {}", place.opaque());
    check(
        &place,
        &[
            (".", "dir 755 0:0 @0.0"),
            ("./after", "file 644 0:0 @1000.0 x1 1 2"),
            ("./before", "file 644 0:0 @1000.0 x1 1 1"),
            ("./dir", &whiteout(&place, "dir")),
            ("./dir2", &implicit),
            ("./dir2/file", "file 644 0:0 @1000.0 x1 1 3"),
            ("./dir3", &listed),
            ("./dir4", &implicit),
            ("./dir4/file", "file 644 0:0 @1000.0 x1 1 4"),
            ("./twice", &whiteout(&place, "twice")),
        ],
    );
}

#[test]
fn files_of_aufs_may_be_link_targets() {
    let stream = Tar::new()
        .file(".wh..wh.aufs", b"")
        .dir(".wh..wh.orph")
        .file(".wh..wh.orph/x", b"x")
        .dir(".wh..wh.plnk")
        .file(".wh..wh.plnk/1.2", b"linked")
        .link("a", ".wh..wh.plnk/1.2")
        .link("b", ".wh..wh.plnk/1.2")
        .end();
    let (place, unpacked) = Place::new().fill(&stream);
    let file = "file 644 0:0 @1000.0 x2 6 linked";
    check(&place, &[(".", "dir 755 0:0 @0.0"), ("./a", file), ("./b", file)]);
    assert_eq!((unpacked.size, unpacked.skipped.entries), (6, 3));
}

#[test]
fn the_last_of_one_name_stays() {
    let stream = Tar::new()
        .file("file", b"12345")
        .file("file", b"1")
        .link("same", "file")
        .link("same", "same")
        .dir("tree")
        .dir("tree/below")
        .file("tree/below/file", b"123456789")
        .file("tree", b"22")
        .symlink("link", "nowhere")
        .dir("link")
        .header(&Header { mode: 0o700, mtime: 5, ..header(b'5', "again") })
        .file("again/file", b"333")
        .dir("again")
        .end();
    let (place, unpacked) = Place::new().fill(&stream);
    check(
        &place,
        &[
            (".", "dir 755 0:0 @0.0"),
            ("./again", "dir 755 0:0 @1000.0"),
            ("./again/file", "file 644 0:0 @1000.0 x1 3 333"),
            ("./file", "file 644 0:0 @1000.0 x2 1 1"),
            ("./link", "dir 755 0:0 @1000.0"),
            ("./same", "file 644 0:0 @1000.0 x2 1 1"),
            ("./tree", "file 644 0:0 @1000.0 x1 2 22"),
        ],
    );
    assert_eq!(unpacked.size, 6);
    assert_eq!(unpacked.disk, place.tree_on_disk());
}

#[test]
fn directories_that_are_not_listed_look_as_below() {
    let base = Tar::new()
        .header(&Header { mode: 0o711, mtime: 3, ..header(b'5', ".") })
        .pax(&[("SCHILY.xattr.user.a", b"1"), ("mtime", b"5.5")])
        .header(&Header { mode: 0o1777, ..header(b'5', "tmp") })
        .header(&Header { mode: 0o700, ..header(b'5', "tmp/deep") })
        .header(&Header { mode: 0o700, ..header(b'5', "opaque/deep") })
        .header(&Header { mode: 0o700, ..header(b'5', "gone/deep") })
        .symlink("link", "tmp")
        .end();
    let middle = Tar::new()
        .header(&Header { mode: 0o750, ..header(b'5', "tmp/deep") })
        .file("opaque/.wh..wh..opq", b"")
        .file(".wh.gone", b"")
        .end();
    let top = Tar::new()
        .file("tmp/deep/new", b"")
        .file("opaque/deep/new", b"")
        .file("gone/deep/new", b"")
        .file("link/new", b"")
        .end();
    let place = Place::new().fill(&base).0.above().fill(&middle).0.above();
    let (place, _) = place.fill(&top);
    let new = "file 644 0:0 @1000.0 x1 0 ";
    check(
        &place,
        &[
            (".", "dir 711 0:0 @3.0"),
            ("./gone", "dir 755 0:0 @0.0"),
            ("./gone/deep", "dir 755 0:0 @0.0"),
            ("./gone/deep/new", new),
            ("./link", "dir 755 0:0 @0.0"),
            ("./link/new", new),
            ("./opaque", "dir 755 0:0 @0.0"),
            ("./opaque/deep", "dir 755 0:0 @0.0"),
            ("./opaque/deep/new", new),
            ("./tmp", "dir 1777 0:0 @5.500000000 user.a=1"),
            ("./tmp/deep", "dir 750 0:0 @1000.0"),
            ("./tmp/deep/new", new),
        ],
    );
}

#[test]
fn links_to_what_the_layer_does_not_hold_are_refused() {
    for (target, said) in [
        ("absent", "entry 'name': a hard link to 'absent', which this layer does not hold"),
        ("dir", "entry 'name': a hard link to a directory"),
        ("file/below", "entry 'name': a hard link to 'file/below', which this layer does not hold"),
    ] {
        let stream = Tar::new().dir("dir").file("file", b"").link("name", target).end();
        assert_eq!(Place::new().unpack(&stream[..]).unwrap_err().to_string(), said);
    }
    let stream = Tar::new().file("file", b"").file("file/below", b"").end();
    let error = Place::new().unpack(&stream[..]).unwrap_err();
    assert!(matches!(error, UnpackError::Entry { .. }), "{error}");
    assert_eq!(error.to_string(), "entry 'file/below': 'file' above it leads to no directory of this layer");
}
