//! The header blocks of an entry: ustar, and before it PAX records for what ustar cannot hold.
//!
//! Deterministic: numbers instead of names of users and groups, no access or change times, records in
//! a fixed order. Values are bytes as they are, like other writers' on Linux.

use tar_core::builder::EntryBuilder;
use tar_core::{EntryType, HEADER_SIZE, HeaderError};

use crate::sys::walk::{Kind, Meta};

/// What the stream says of an entry besides its attributes.
#[derive(Debug, Default)]
pub(super) struct Entry<'a> {
    /// The whole path, as it shall stand in the archive.
    pub(super) path: &'a [u8],
    /// Where a symlink leads.
    pub(super) target: Option<&'a [u8]>,
    /// The path by which the same file came before.
    pub(super) first: Option<&'a [u8]>,
    /// Extended attributes; names are UTF-8 without `=`.
    pub(super) xattrs: &'a [(String, Vec<u8>)],
    /// The runs of data of a file with holes, as begin and end.
    pub(super) sparse: Option<&'a [(u64, u64)]>,
}

/// Encodes the blocks before the entry's data, and the map of its data where there are holes.
pub(super) fn encode(entry: &Entry<'_>, meta: &Meta) -> Result<Vec<u8>, HeaderError> {
    let mut builder = EntryBuilder::new_ustar();
    let kind = kind(entry, meta.kind);
    builder.entry_type(kind).mode(meta.mode)?.uid(meta.uid.into())?.gid(meta.gid.into())?;
    if matches!(kind, EntryType::Char | EntryType::Block) {
        builder.device(meta.device.0, meta.device.1)?;
    }
    if let Some(link) = entry.first.or(entry.target) {
        builder.link_name(link);
    }
    for (name, value) in entry.xattrs {
        builder.add_pax(&format!("SCHILY.xattr.{name}"), value);
    }
    set_time(&mut builder, meta.mtime)?;
    let map = match (kind, entry.sparse) {
        (EntryType::Regular, Some(runs)) => set_sparse(&mut builder, entry.path, meta.size, runs)?,
        (EntryType::Regular, None) => {
            builder.path(entry.path).size(meta.size)?;
            Vec::new()
        }
        _ => {
            builder.path(entry.path).size(0)?;
            Vec::new()
        }
    };
    let mut bytes = builder.finish_bytes();
    bytes.extend(map);
    Ok(bytes)
}

fn kind(entry: &Entry<'_>, kind: Kind) -> EntryType {
    match kind {
        _ if entry.first.is_some() => EntryType::Link,
        Kind::Symlink => EntryType::Symlink,
        Kind::Directory => EntryType::Directory,
        Kind::Fifo => EntryType::Fifo,
        Kind::Character => EntryType::Char,
        Kind::Block => EntryType::Block,
        // The caller leaves sockets out.
        Kind::File | Kind::Socket => EntryType::Regular,
    }
}

/// ustar has whole seconds since 1970 in 33 bits; a PAX record takes every time of the kernel.
fn set_time(builder: &mut EntryBuilder, (seconds, nanos): (i64, u32)) -> Result<(), HeaderError> {
    const LAST: i64 = 0o77777777777;
    let plain = u64::try_from(seconds.clamp(0, LAST)).unwrap_or_default();
    builder.mtime(plain)?;
    if nanos != 0 || !(0..=LAST).contains(&seconds) {
        builder.add_pax("mtime", decimal(seconds, nanos));
    }
    Ok(())
}

/// A time as a decimal number: the kernel counts nanoseconds upwards from the second below.
fn decimal(seconds: i64, nanos: u32) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let sign = if total < 0 { "-" } else { "" };
    let (whole, fraction) = (total.unsigned_abs() / 1_000_000_000, total.unsigned_abs() % 1_000_000_000);
    let text = format!("{sign}{whole}.{fraction:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// GNU's PAX format 1.0, which GNU tar, bsdtar, Go's archive/tar and tar-core read: the name and the
/// length in records, the map as the first blocks of the data. The builder's own way of doing it
/// forgets sizes that ustar cannot hold.
fn set_sparse(builder: &mut EntryBuilder, path: &[u8], size: u64, runs: &[(u64, u64)]) -> Result<Vec<u8>, HeaderError> {
    let mut map = format!("{}\n", runs.len());
    for (begin, end) in runs {
        map.push_str(&format!("{begin}\n{}\n", end - begin));
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(HEADER_SIZE), 0);
    let data: u64 = runs.iter().map(|(begin, end)| end - begin).sum();
    builder.path(b"GNUSparseFile.0/sparse").size(map.len() as u64 + data)?;
    builder.add_pax("GNU.sparse.major", "1").add_pax("GNU.sparse.minor", "0");
    builder.add_pax("GNU.sparse.name", path).add_pax("GNU.sparse.realsize", size.to_string());
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(kind: Kind) -> Meta {
        Meta {
            kind,
            identity: (0, 0, 1),
            links: 1,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 5,
            disk: 0,
            mtime: (1, 0),
            device: (0, 0),
            is_mount: false,
        }
    }

    fn text(entry: &Entry<'_>, meta: &Meta) -> String {
        String::from_utf8_lossy(&encode(entry, meta).unwrap()).into_owned()
    }

    #[test]
    fn a_plain_file_is_one_block() {
        let bytes = encode(&Entry { path: b"etc/passwd", ..Entry::default() }, &meta(Kind::File)).unwrap();
        assert_eq!(bytes.len(), HEADER_SIZE);
    }

    #[test]
    fn what_does_not_fit_stands_in_records() {
        let file = Meta { uid: u32::MAX, size: 1 << 33, mtime: (1, 500_000_000), ..meta(Kind::File) };
        let xattrs = [("security.capability".to_owned(), vec![1, 0, 0, 2])];
        let long = "n".repeat(101);
        let said = text(&Entry { path: long.as_bytes(), xattrs: &xattrs, ..Entry::default() }, &file);
        for record in [
            "18 uid=4294967295\n",
            "19 size=8589934592\n",
            "13 mtime=1.5\n",
            "41 SCHILY.xattr.security.capability=\u{1}\0\0\u{2}\n",
            &format!("111 path={long}\n"),
        ] {
            assert!(said.contains(record), "{record:?} is not in {said:?}");
        }
    }

    #[test]
    fn times_are_decimal_numbers() {
        assert_eq!(decimal(0, 1), "0.000000001");
        assert_eq!(decimal(-1, 500_000_000), "-0.5");
        assert_eq!(decimal(-2, 250_000_000), "-1.75");
        assert_eq!(decimal(-10, 0), "-10");
        assert_eq!(decimal(1 << 34, 0), "17179869184");
    }

    #[test]
    fn a_map_of_data_is_whole_blocks() {
        let runs = [(4096, 8192), (1 << 20, 1 << 20)];
        let entry = Entry { path: b"f", sparse: Some(&runs), ..Entry::default() };
        let bytes = encode(&entry, &Meta { size: 1 << 20, ..meta(Kind::File) }).unwrap();
        assert_eq!(bytes.len() % HEADER_SIZE, 0);
        assert!(bytes[bytes.len() - HEADER_SIZE..].starts_with(b"2\n4096\n4096\n1048576\n0\n\0"));
    }
}
