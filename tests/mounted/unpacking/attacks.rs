//! Layers that want out of their directory, or more than their share. Whatever becomes of them, nothing
//! around the directory changes.

use std::fs;

use ctrfs::driver::unpack::{Limits, UnpackError};

use super::Place;
use super::tar::{Header, Tar, header, seal};

/// What an attack must come to.
enum End {
    /// It is refused in these words.
    Refused(&'static str),
    /// It is unpacked, and at a path of the layer there is now an entry that begins so.
    Contained(&'static str, &'static str),
}
use End::{Contained, Refused};

const NOWHERE: &str = "above it leads to no directory of this layer";
const NO_TARGET: &str = "which this layer does not hold";
const UPWARDS: &str = "a path with '..' is refused";

type Attack = fn(&str) -> Tar;

/// Each with the absolute path of a directory outside, which holds a file `secret`.
#[rustfmt::skip]
const ATTACKS: &[(Attack, End)] = &[
    (|_| Tar::new().file("../pwned", b"1"), Refused(UPWARDS)),
    (|_| Tar::new().dir("a").file("a/../../pwned", b"1"), Refused(UPWARDS)),
    (|_| Tar::new().pax(&[("path", b"/../outside/secret")]).file("a", b"1"), Refused(UPWARDS)),
    (|_| Tar::new().file("../outside/.wh.secret", b""), Refused(UPWARDS)),
    (|_| Tar::new().dir(".."), Refused(UPWARDS)),
    (|_| Tar::new().file(".wh...", b""), Refused("a whiteout of no name")),
    (|_| Tar::new().symlink(".", "/etc"), Refused("the root of a layer is a directory")),
    (|_| Tar::new().pax(&[("path", b"a\0/../../pwned")]).file("a", b"1"), Refused("a name with a NUL byte")),
    (|out| Tar::new().symlink("l", out).file("l/pwned", b"1"), Refused(NOWHERE)),
    (|out| Tar::new().symlink("l", out).file("l/secret", b"1"), Refused(NOWHERE)),
    (|_| Tar::new().symlink("l", "../outside").file("l/secret", b"1"), Refused(NOWHERE)),
    (|_| Tar::new().symlink("a", "b").symlink("b", "../outside").dir("a/pwned"), Refused(NOWHERE)),
    (|_| Tar::new().symlink("l", "l").file("l/pwned", b"1"), Refused(NOWHERE)),
    (|_| Tar::new().symlink("l", "/proc/self/root/etc").file("l/pwned", b"1"), Refused(NOWHERE)),
    (|out| Tar::new().symlink("l", out).file("l/.wh.secret", b""), Refused(NOWHERE)),
    (|out| Tar::new().symlink("l", out).file("l/.wh..wh..opq", b""), Refused(NOWHERE)),
    (|_| Tar::new().link("h", "../outside/secret"), Refused(UPWARDS)),
    (|out| Tar::new().link("h", &format!("{out}/secret")), Refused(NO_TARGET)),
    (|out| Tar::new().symlink("l", out).link("h", "l/secret"), Refused(NO_TARGET)),
    // Out of the tree, and back into the root: `..` stops at the root, as in a chroot.
    (|_| Tar::new().dir("a").symlink("a/l", "../../../..").file("a/l/in", b"1"), Contained("./in", "file")),
    // A link, then something else of its name: the link is replaced, not what it leads to.
    (|out| Tar::new().symlink("l", out).header(&Header { mode: 0o777, ..header(b'5', "l") }), Contained("./l", "dir 777")),
    (|out| Tar::new().symlink("l", out).dir("l").file("l/secret", b"1"), Contained("./l/secret", "file")),
    (|out| Tar::new().symlink("l", &format!("{out}/secret")).file("l", b"pwned"), Contained("./l", "file")),
    (|out| Tar::new().symlink("l", &format!("{out}/secret")).link("h", "l").file("h", b"pwned"), Contained("./h", "file")),
    (|out| Tar::new().symlink("l", &format!("{out}/secret")).link("h", "l"), Contained("./h", "link")),
    // A directory that was open when a link took its place.
    (|out| Tar::new().file("d/secret", b"1").symlink("d", out).file("d/secret", b"2"), Refused(NOWHERE)),
    (|out| Tar::new().dir("e").symlink("d", "e").file("d/x", b"1").symlink("d", out).file("d/secret", b"2"), Refused(NOWHERE)),
    // Attributes of a directory that is no more, whose name leads out now.
    (|out| Tar::new().dir("d/e").symlink("d", out), Contained("./d", "link")),
    (|out| Tar::new().header(&Header { mode: 0, ..header(b'5', "d") }).symlink("d", out).dir("x"), Contained("./d", "link")),
    (|out| Tar::new().pax(&[("SCHILY.xattr.user.pwned", b"1")]).symlink("l", out), Refused("user.pwned")),
    (|out| Tar::new().symlink("l", out).dir("l").symlink("l", out).dir("l/pwned"), Refused(NOWHERE)),
];

#[test]
fn nothing_leaves_the_directory() {
    for (number, (attack, end)) in ATTACKS.iter().enumerate() {
        let place = Place::new();
        let before = place.surroundings();
        let outside = place.outside();
        let result = place.unpack(&attack(outside.to_str().unwrap()).end()[..]);
        match (end, result) {
            (Refused(words), Err(error)) => {
                let said = error.to_string();
                assert!(said.starts_with("entry '") && said.contains(words), "attack {number}: {said}");
            }
            (Contained(path, line), Ok(_)) => {
                let tree = place.tree();
                assert!(tree.get(*path).is_some_and(|found| found.starts_with(line)), "attack {number}: {tree:#?}");
            }
            (_, result) => panic!("attack {number}: {result:?}"),
        }
        assert_eq!(place.surroundings(), before, "attack {number}");
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret", "attack {number}");
    }
}

fn refused(limits: Limits, blob: &[u8]) -> String {
    let place = Place { limits, ..Place::new() };
    place.unpack(blob).unwrap_err().to_string()
}

#[test]
fn each_limit_holds() {
    let few = Limits { entries: 3, ..Limits::default() };
    let stream = |count: u32| (0..count).fold(Tar::new(), |tar, number| tar.dir(&number.to_string())).end();
    assert!(Place { limits: few.clone(), ..Place::new() }.unpack(&stream(3)[..]).is_ok());
    assert_eq!(refused(few, &stream(4)), "entry '3': too many entries, 3 are the most");

    let shallow = Limits { depth: 2, ..Limits::default() };
    assert!(Place { limits: shallow.clone(), ..Place::new() }.unpack(&Tar::new().dir("a/b/c").end()[..]).is_ok());
    let deep = Tar::new().dir("a/b/c/d").end();
    assert_eq!(refused(shallow, &deep), "entry 'a/b/c/d': too many directories above it, 2 are the most");

    let long = |name: &str, target: &str| {
        Tar::new().pax(&[("path", name.as_bytes()), ("linkpath", target.as_bytes())]).symlink("a", "b").end()
    };
    let said = refused(Limits::default(), &long(&"x".repeat(256), "b"));
    assert!(said.ends_with("too many bytes in a name, 255 are the most"), "{said}");
    let said = refused(Limits::default(), &long(&"xxx/".repeat(1024), "b"));
    assert!(said.ends_with("too many bytes in a path, 4095 are the most"), "{said}");
    let said = refused(Limits::default(), &long("a", &"x".repeat(4096)));
    assert_eq!(said, "entry 'a': too many bytes in a link's target, 4095 are the most");

    let small = Limits { size: 10, ..Limits::default() };
    let files = Tar::new().file("a", b"12345").file("b", b"123456").end();
    assert_eq!(refused(small, &files), "entry 'b': too many bytes of files, 10 are the most");

    let value = vec![b'v'; 60_000];
    let attributes = Limits { attributes: 100_000, ..Limits::default() };
    let stream = ["a", "b"].iter().fold(Tar::new(), |tar, name| tar.pax(&[("SCHILY.xattr.user.a", &value)]).dir(name));
    assert!(refused(attributes.clone(), &stream.end()).contains("too many bytes of attributes"));
    let named = (0..1000).fold(Tar::new(), |tar, number| tar.dir(&format!("{number}-{}", "d".repeat(90)))).end();
    assert!(refused(Limits { attributes: 50_000, ..Limits::default() }, &named).contains("directory names"));

    let headers = Limits { headers: 10_000, ..Limits::default() };
    let said = refused(headers, &Tar::new().pax(&[("SCHILY.xattr.user.a", &value)]).dir("a").end());
    assert!(said.starts_with("no sound tar archive: metadata exceeds limit"), "{said}");
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let huge = |key: &str, value: &[u8]| Tar::new().pax(&[(key, value)]).file("a", b"").end();
    let said = refused(Limits::default(), &huge("size", b"18446744073709551615"));
    assert_eq!(said, "entry 'a': too many bytes of files, 1099511627776 are the most");
    let said = refused(Limits { size: u64::MAX, ..Limits::default() }, &huge("size", b"1152921504606846976"));
    assert!(said.starts_with("entry 'a': no room for its 1152921504606846976 bytes"), "{said}");
    let said = refused(Limits::default(), &huge("size", b"-1"));
    assert_eq!(said, "no sound tar archive: a broken number in a PAX header");

    // Base-256 with bits above the 64th: negative, and 2^64.
    for front in [&[0xff, 0xff, 0xff, 0xff][..], &[0x80, 0, 0, 1]] {
        let mut block = header(b'0', "a").bytes();
        block[124..136].fill(0);
        block[124..128].copy_from_slice(front);
        seal(&mut block);
        assert_eq!(refused(Limits::default(), &block), "no sound tar archive: a size beyond 64 bits");
    }

    let sparse = |map: &[u8], size: &[u8]| {
        let records = [("GNU.sparse.map", map), ("GNU.sparse.size", size), ("GNU.sparse.numblocks", &b"1"[..])];
        Tar::new().pax(&records).file("a", b"12345").end()
    };
    assert!(Place::new().unpack(&sparse(b"1000,5", b"2000")[..]).is_ok());
    let said = refused(Limits::default(), &sparse(b"1000,5", b"9000000000000"));
    assert_eq!(said, "entry 'a': too many bytes of files, 1099511627776 are the most");
    for (map, size) in [("1000,5", "1004"), ("1000,4", "2000"), ("10,3,11,2", "2000"), ("18446744073709551615,5", "1")]
    {
        let said = refused(Limits::default(), &sparse(map.as_bytes(), size.as_bytes()));
        assert!(said.starts_with("no sound tar archive: a sparse map"), "{map}: {said}");
    }
    let regions = Limits { regions: 2, ..Limits::default() };
    let said = refused(regions, &sparse(b"0,1,2,1,4,3", b"100"));
    assert!(said.contains("too many sparse entries"), "{said}");
    let unknown = Tar::new().pax(&[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0")]).file("a", b"").end();
    assert!(refused(Limits::default(), &unknown).ends_with("a sparse file of no known format"));
}

#[test]
fn a_map_that_never_ends_is_refused() {
    let zeros = vec![b'0'; 8 << 20];
    let records = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"1")];
    let map = Tar::new().pax(&records).file("a", &zeros).end();
    assert_eq!(refused(Limits::default(), &map), "no sound tar archive: the headers of an entry are too long");
    // Extension blocks of the old GNU format, each empty and each announcing another.
    let mut block = header(b'S', "a").bytes();
    block[257..265].copy_from_slice(b"ustar  \0");
    block[482] = 1;
    block[483..495].copy_from_slice(b"00000000001\0");
    seal(&mut block);
    let mut extension = [0; 512];
    extension[504] = 1;
    let blocks = [&block[..], &extension.repeat(10_000)].concat();
    assert_eq!(refused(Limits::default(), &blocks), "no sound tar archive: the headers of an entry are too long");
}

#[test]
fn a_blob_that_grows_too_much_is_refused() {
    let stream = Tar::new().file("zeros", &vec![0; 64 << 20]).end();
    let gzip = super::damage::gzip(&stream);
    let limits = Limits { ratio: 100, grown: 16 << 20, ..Limits::default() };
    let place = Place { limits: limits.clone(), ..Place::new() };
    let error = place.unpack(&gzip[..]).unwrap_err();
    assert!(matches!(error, UnpackError::Ratio { most: 100 }), "{error}");
    assert!(Place { limits: Limits { grown: 1 << 30, ..limits }, ..Place::new() }.unpack(&gzip[..]).is_ok());
}
