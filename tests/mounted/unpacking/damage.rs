//! Blobs in each form, and blobs that are not what was claimed.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use ctrfs::driver::hash::digest;
use ctrfs::driver::unpack::{Claim, Options, UnpackError, unpack};

use super::Place;
use super::tar::Tar;

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Bytes that do not compress, always the same.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn stream() -> Vec<u8> {
    Tar::new().file("a", &noise(700_000)).file("b", b"b").end()
}

/// A reader that gives a byte or a few at a time.
struct Drip<'a>(&'a [u8], usize);

impl Read for Drip<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1 % 7 + 1;
        let most = self.1.min(out.len());
        self.0.read(&mut out[..most])
    }
}

#[test]
fn each_form_unpacks_to_the_same() {
    let stream = stream();
    let (front, back) = stream.split_at(300_000);
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
    let forms = [
        stream.clone(),
        gzip(&stream),
        [gzip(front), gzip(b""), gzip(back)].concat(),
        [&gzip(&stream)[..], b"what nobody reads"].concat(),
        [&gzip(&stream)[..], &[0; 600]].concat(),
        zstd(&stream),
        [zstd(front), skippable.clone(), zstd(back)].concat(),
        [skippable.clone(), zstd(&stream), skippable].concat(),
    ];
    let mut trees = Vec::new();
    for (number, blob) in forms.iter().enumerate() {
        let claim = Claim { blob: Some((digest(blob), blob.len() as u64)), diff_id: Some(digest(&stream)) };
        let place = Place::new();
        let unpacked = place.unpack_claimed(&blob[..], &claim).unwrap_or_else(|error| panic!("form {number}: {error}"));
        assert_eq!((unpacked.blob, unpacked.blob_size), claim.blob.unwrap(), "form {number}");
        assert_eq!((Some(unpacked.diff_id), unpacked.size), (claim.diff_id, 700_001), "form {number}");
        trees.push(place.tree());
        let dripping = Place::new();
        assert_eq!(dripping.unpack(Drip(blob, 0)).unwrap(), unpacked, "form {number}");
    }
    assert!(trees.iter().all(|tree| *tree == trees[0]), "{trees:#?}");
}

#[test]
fn what_follows_the_end_counts() {
    let stream = [&stream()[..], &noise(1_000_000)].concat();
    let unpacked = Place::new().unpack(&gzip(&stream)[..]).unwrap();
    assert_eq!(unpacked.diff_id, digest(&stream));
}

#[test]
fn a_stream_may_end_without_its_last_blocks() {
    let open = Tar::new().file("a", b"a").open();
    for zeros in [0, 512, 1024, 10240] {
        let stream = [&open[..], &vec![0; zeros]].concat();
        assert_eq!(Place::new().unpack(&stream[..]).unwrap().entries, 1, "{zeros}");
    }
    assert_eq!(Place::new().unpack(&b""[..]).unwrap().entries, 0);
}

#[test]
fn progress_tells_the_blobs_bytes() {
    let blob = gzip(&stream());
    let told = AtomicU64::new(0);
    let tell = |bytes| {
        told.fetch_add(bytes, Ordering::Relaxed);
    };
    let place = Place::new();
    let options =
        Options { userxattr: true, parents: &[], limits: place.limits.clone(), devices: false, progress: &tell };
    unpack(&blob[..], &place.layer(), &Claim::default(), &options).unwrap();
    assert_eq!(told.into_inner(), blob.len() as u64);
}

#[test]
fn a_wrong_blob_is_named_with_both_digests() {
    let blob = gzip(&stream());
    let (right, size, other) = (digest(&blob), blob.len() as u64, digest(b"other"));
    let said = |blob: &[u8], claim: Claim| Place::new().unpack_claimed(blob, &claim).unwrap_err().to_string();
    let claim = |digest, size| Claim { blob: Some((digest, size)), diff_id: None };
    assert_eq!(said(&blob, claim(other, size)), format!("the blob {other} is damaged: its digest is {right}"));
    assert_eq!(
        said(&blob, claim(right, size + 1)),
        format!("the blob {right} is damaged: it has {size} bytes, {} are claimed", size + 1)
    );
    assert_eq!(
        said(&blob, claim(right, size - 1)),
        format!("the blob {right} is damaged: it has more than the {} bytes claimed", size - 1)
    );
    let found = digest(&stream());
    assert_eq!(
        said(&blob, Claim { blob: Some((right, size)), diff_id: Some(other) }),
        format!("the blob {right} unpacks to {found}, its diff-id is claimed to be {other}")
    );
}

#[test]
fn damage_is_named_where_the_digest_shows_it() {
    for whole in [gzip(&stream()), zstd(&stream()), stream()] {
        let claim = Claim { blob: Some((digest(&whole), whole.len() as u64)), diff_id: Some(digest(&stream())) };
        // The header, the middle, the last bytes: whatever the decoders make of it.
        for at in [3, 300, whole.len() / 2, whole.len() - 600, whole.len() - 3] {
            let mut blob = whole.clone();
            blob[at] ^= 0x10;
            let error = Place::new().unpack_claimed(&blob[..], &claim).unwrap_err();
            let UnpackError::BlobDigest { claimed, found } = error else { panic!("at {at}: {error}") };
            assert_eq!((claimed, found), (digest(&whole), digest(&blob)));
        }
    }
}

#[test]
fn what_is_cut_off_is_refused() {
    for (whole, form) in [(gzip(&stream()), "gzip"), (zstd(&stream()), "zstd"), (stream(), "tar")] {
        let claim = Claim { blob: Some((digest(&whole), whole.len() as u64)), diff_id: None };
        for length in [10, 700, whole.len() / 2, whole.len() - 2000] {
            let place = Place::new();
            let error = place.unpack(&whole[..length]).unwrap_err();
            let right = match form {
                "tar" => matches!(error, UnpackError::Tar { .. }),
                _ => matches!(error, UnpackError::Decode { .. }) && error.to_string().contains(form),
            };
            assert!(right, "{form} cut at {length}: {error}");
            let error = Place::new().unpack_claimed(&whole[..length], &claim).unwrap_err();
            assert!(matches!(error, UnpackError::BlobSize { ended: true, .. }), "{form} cut at {length}: {error}");
        }
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    for blob in [noise(5000), b"<html>".repeat(500), gzip(&noise(5000))] {
        let error = Place::new().unpack(&blob[..]).unwrap_err();
        assert!(error.to_string().starts_with("no sound tar archive: "), "{error}");
    }
}

#[test]
fn a_reader_that_fails_is_named() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the cable is out"))
        }
    }
    for front in [gzip(&stream()), zstd(&stream()), stream()] {
        let blob = front[..front.len() / 2].chain(Failing);
        let error = Place::new().unpack(blob).unwrap_err();
        assert_eq!(error.to_string(), "the blob cannot be read: the cable is out");
    }
}
