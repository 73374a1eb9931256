//! Tar streams, entry by entry. The only place that says `tar_core`.
//!
//! What tar-core 0.1 lets pass is refused here: records of a PAX header behind a broken one, numbers that
//! do not parse, base-256 sizes beyond 64 bits, sparse maps that contradict the size, a global header
//! between a long name and its entry. Global headers themselves have no effect, as in Go's archive/tar, by
//! which nearly all layers are written.

use std::io::{self, BufRead};
use std::mem;

use tar_core::parse::{Limits as ParserLimits, ParseEvent, ParsedEntry, Parser};
use tar_core::{EntryType, HEADER_SIZE, SparseEntry};

use crate::driver::unpack::{Limits, UnpackError};
use crate::sys::beneath::{Kind, Time};

/// PAX keys whose values are whole numbers.
const NUMBERS: [&str; 9] = [
    "uid",
    "gid",
    "size",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.size",
    "GNU.sparse.realsize",
    "GNU.sparse.offset",
    "GNU.sparse.numbytes",
];
const XATTR: &[u8] = b"SCHILY.xattr.";
const SPARSE: &[u8] = b"GNU.sparse.";
/// Headers up to here are read block by block, longer ones twice as far each time.
const SHORT: usize = 8 << 10;
/// Where the size stands in a header.
const SIZE: std::ops::Range<usize> = 124..136;

/// An extended attribute: name and value.
pub(super) type Xattr = (Vec<u8>, Vec<u8>);

/// An entry of the stream.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its path as written.
    pub(super) path: Vec<u8>,
    pub(super) what: What,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) modified: Time,
    pub(super) xattrs: Vec<Xattr>,
}

/// What an entry is.
#[derive(Debug)]
pub(super) enum What {
    File(Body),
    Directory,
    Symlink(Vec<u8>),
    Link(Vec<u8>),
    Node {
        kind: Kind,
        major: u32,
        minor: u32,
    },
    /// No kind that a layer holds.
    Unknown,
}

/// How a file's bytes are spread over it.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Body {
    /// The size of the file.
    pub(super) size: u64,
    /// Where the bytes of the stream belong, in order; holes between them.
    pub(super) regions: Vec<Region>,
}

/// Bytes of a file that are in the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Region {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// A stream of which some bytes have been read ahead.
struct Ahead<R> {
    input: R,
    bytes: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Ahead<R> {
    /// Reads until so many bytes are ahead; false where the stream ends before.
    fn read(&mut self, wanted: usize) -> io::Result<bool> {
        self.bytes.drain(..self.at);
        self.at = 0;
        while self.bytes.len() < wanted {
            let buffer = self.input.fill_buf()?;
            let taken = buffer.len().min(wanted - self.bytes.len());
            if taken == 0 {
                return Ok(false);
            }
            self.bytes.extend_from_slice(&buffer[..taken]);
            self.input.consume(taken);
        }
        Ok(true)
    }

    fn peek(&mut self) -> io::Result<&[u8]> {
        if self.at < self.bytes.len() { Ok(&self.bytes[self.at..]) } else { self.input.fill_buf() }
    }

    fn consume(&mut self, bytes: usize) {
        if self.at < self.bytes.len() {
            self.at += bytes;
        } else {
            self.input.consume(bytes);
        }
    }
}

/// A tar stream.
pub(super) struct Archive<R> {
    input: Ahead<R>,
    parser: Parser,
    /// The most bytes of all headers of one entry.
    longest: usize,
    /// Bytes left of the current entry's content, and of the padding behind it.
    content: u64,
    padding: u64,
    last: Option<Vec<u8>>,
}

impl<R: BufRead> Archive<R> {
    pub(super) fn new(input: R, limits: &Limits) -> Archive<R> {
        let mut parser = Parser::new(ParserLimits {
            max_metadata_size: limits.headers,
            max_sparse_entries: limits.regions,
            ..ParserLimits::default()
        });
        // It takes times before 1970 for errors; `Pax` is as strict as it would be about the rest.
        parser.set_ignore_pax_errors(true);
        let input = Ahead { input, bytes: Vec::new(), at: 0 };
        let longest = 2 * limits.headers as usize + (64 << 10);
        Archive { input, parser, longest, content: 0, padding: 0, last: None }
    }

    /// The next entry; what is left of the current one's content is passed over.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, UnpackError> {
        self.copy(self.content, |_| Ok::<(), UnpackError>(()))?;
        self.skip_padding();
        let last = self.last.take();
        match self.header() {
            Ok(Some((entry, content))) => {
                self.content = content;
                self.padding = content.wrapping_neg() % HEADER_SIZE as u64;
                self.last = Some(entry.path.clone());
                Ok(Some(entry))
            }
            Ok(None) => Ok(None),
            Err(reason) => Err(UnpackError::Tar { after: last, reason }),
        }
    }

    /// Goes on to the next block. The last one need not be filled up: umoci ends its streams behind the
    /// last byte of the last file, and Go's archive/tar reads them.
    fn skip_padding(&mut self) {
        let mut length = mem::take(&mut self.padding);
        while length > 0 {
            let taken = self.input.peek().unwrap_or_default().len().min(length as usize);
            if taken == 0 {
                return;
            }
            self.input.consume(taken);
            length -= taken as u64;
        }
    }

    /// An entry and the bytes of its content.
    fn header(&mut self) -> Result<Option<(Entry, u64)>, String> {
        let mut wanted = HEADER_SIZE;
        loop {
            let at_end = !self.input.read(wanted).map_err(|error| error.to_string())?;
            let ahead = &self.input.bytes;
            let found = match self.parser.parse(ahead).map_err(|error| error.to_string())? {
                ParseEvent::NeedData { .. } if at_end => {
                    let ends = ahead.iter().all(|byte| *byte == 0);
                    return if ends { Ok(None) } else { Err("it is cut off within a header".to_owned()) };
                }
                ParseEvent::NeedData { min_bytes } if min_bytes > self.longest || ahead.len() > self.longest => {
                    return Err("the headers of an entry are too long".to_owned());
                }
                // A sparse map asks for a block more each time; what is read ahead of a content costs a copy.
                ParseEvent::NeedData { min_bytes } => {
                    let more = if ahead.len() < SHORT { HEADER_SIZE } else { ahead.len() };
                    wanted = min_bytes.max(ahead.len() + more);
                    continue;
                }
                ParseEvent::End { .. } => return Ok(None),
                ParseEvent::GlobalExtensions { consumed, pax_data } => {
                    if consumed != HEADER_SIZE + pax_data.len().next_multiple_of(HEADER_SIZE) {
                        return Err("a global header stands between an entry's own headers".to_owned());
                    }
                    wanted = HEADER_SIZE;
                    self.input.at = consumed;
                    continue;
                }
                ParseEvent::Entry { consumed, entry } => (consumed, owned(&entry, None)?),
                ParseEvent::SparseEntry { consumed, entry, sparse_map, real_size } => {
                    (consumed, owned(&entry, Some((&sparse_map, real_size)))?)
                }
            };
            self.input.at = found.0;
            return Ok(Some(found.1));
        }
    }

    /// Hands on so many bytes of the current entry's content.
    pub(super) fn copy<E: From<UnpackError>>(
        &mut self,
        mut length: u64,
        mut to: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        debug_assert!(length <= self.content);
        self.content -= length;
        while length > 0 {
            let bytes = self.input.peek().unwrap_or_default();
            if bytes.is_empty() {
                let reason = "it is cut off within a file".to_owned();
                return Err(UnpackError::Tar { after: self.last.take(), reason }.into());
            }
            let taken = bytes.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            to(&bytes[..taken])?;
            self.input.consume(taken);
            length -= taken as u64;
        }
        Ok(())
    }

    /// Reads what stands behind the archive's end.
    pub(super) fn drain(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.input.peek()?.len();
            if bytes == 0 {
                return Ok(());
            }
            self.input.consume(bytes);
        }
    }
}

fn owned(entry: &ParsedEntry<'_>, sparse: Option<(&[SparseEntry], u64)>) -> Result<(Entry, u64), String> {
    let pax = Pax::read(entry.pax.unwrap_or_default())?;
    if pax.sparse && sparse.is_none() {
        return Err("a sparse file of no known format".to_owned());
    }
    let size = &entry.header.as_bytes()[SIZE];
    if size[0] & 0x80 != 0 && size[..4] != [0x80, 0, 0, 0] {
        return Err("a size beyond 64 bits".to_owned());
    }
    let target = || entry.link_target.as_deref().unwrap_or_default().to_vec();
    let node = |kind| What::Node {
        kind,
        major: entry.dev_major.unwrap_or_default(),
        minor: entry.dev_minor.unwrap_or_default(),
    };
    let what = match (entry.entry_type, sparse) {
        (EntryType::Regular, None) if entry.path.ends_with(b"/") => What::Directory,
        (EntryType::Regular | EntryType::Continuous, None) => What::File(Body::whole(entry.size)),
        (EntryType::Regular | EntryType::Continuous | EntryType::GnuSparse, Some((map, size))) => {
            What::File(Body::sparse(map, size, entry.size, pax.size.is_some())?)
        }
        (EntryType::Directory, _) => What::Directory,
        (EntryType::Symlink, _) => What::Symlink(target()),
        (EntryType::Link, _) => What::Link(target()),
        (EntryType::Char, _) => node(Kind::Character),
        (EntryType::Block, _) => node(Kind::Block),
        (EntryType::Fifo, _) => node(Kind::Fifo),
        _ => What::Unknown,
    };
    // Go's archive/tar, GNU tar and libarchive agree that these have no content, whatever the size says.
    let content = match &what {
        What::File(body) => body.stored(),
        What::Unknown => entry.size,
        What::Directory | What::Symlink(_) | What::Link(_) | What::Node { .. } => 0,
    };
    let modified = pax.modified.unwrap_or(Time { seconds: entry.mtime.cast_signed(), nanoseconds: 0 });
    let path = entry.path.to_vec();
    let (mode, uid, gid) = (entry.mode & 0o7777, entry.uid, entry.gid);
    Ok((Entry { path, what, mode, uid, gid, modified, xattrs: pax.xattrs }, content))
}

impl Body {
    /// Its bytes in the stream.
    pub(super) fn stored(&self) -> u64 {
        self.regions.iter().map(|region| region.length).sum()
    }

    fn whole(size: u64) -> Body {
        Body { size, regions: vec![Region { offset: 0, length: size }] }
    }

    /// A sparse file; `stored` is what its header says of the bytes in the stream.
    fn sparse(map: &[SparseEntry], size: u64, stored: u64, stored_is_pax: bool) -> Result<Body, String> {
        let mut regions = Vec::with_capacity(map.len());
        let (mut end, mut sum) = (0, 0);
        for entry in map {
            let (offset, length) = (entry.offset, entry.length);
            end = match offset.checked_add(length) {
                Some(next) if offset >= end && next <= size => next,
                _ => return Err("a sparse map out of order, or beyond the file's size".to_owned()),
            };
            sum += length;
            regions.push(Region { offset, length });
        }
        // The size in a PAX header counts the map at the content's front too, which format 1.0 has there.
        let agrees =
            sum == stored || (stored_is_pax && stored > sum && (stored - sum).is_multiple_of(HEADER_SIZE as u64));
        if agrees { Ok(Body { size, regions }) } else { Err("a sparse map that contradicts the size".to_owned()) }
    }
}

/// What a PAX header says that the parser leaves to us.
#[derive(Default)]
struct Pax {
    modified: Option<Time>,
    xattrs: Vec<Xattr>,
    size: Option<u64>,
    sparse: bool,
}

impl Pax {
    fn read(mut data: &[u8]) -> Result<Pax, String> {
        let mut pax = Pax::default();
        while !data.is_empty() {
            let (key, value, rest) = record(data).ok_or("a broken record in a PAX header")?;
            data = rest;
            pax.sparse |= key.starts_with(SPARSE);
            if let Some(name) = key.strip_prefix(XATTR) {
                pax.xattrs.push((name.to_vec(), value.to_vec()));
            } else if key == b"mtime" {
                pax.modified = Some(time(value).ok_or("a broken time in a PAX header")?);
            } else if NUMBERS.iter().any(|number| number.as_bytes() == key) {
                let number = number(value).ok_or("a broken number in a PAX header")?;
                if key == b"size" {
                    pax.size = Some(number);
                }
            }
        }
        Ok(pax)
    }
}

/// The first record of a PAX header, `<length> <key>=<value>\n`, and what follows it.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(&data[..space])?).ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

fn number(text: &[u8]) -> Option<u64> {
    if text.iter().all(u8::is_ascii_digit) { str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// A time as decimal seconds, with a fraction or without, before 1970 or after.
fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let point = text.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = point.map_or((text, &b""[..]), |point| (&text[..point], &text[point + 1..]));
    let whole = i64::try_from(number(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds =
        fraction.iter().chain([b'0'; 9].iter()).take(9).fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some(match (negative, nanoseconds) {
        (false, _) => Time { seconds: whole, nanoseconds },
        (true, 0) => Time { seconds: -whole, nanoseconds },
        // Seconds are rounded down.
        (true, _) => Time { seconds: -whole - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::{Body, Pax, Region, SparseEntry, Time, record, time};

    #[test]
    fn times_have_nanoseconds_and_may_be_before_1970() {
        let cases = [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("1.", 1, 0),
            ("1700000000.1234567891", 1_700_000_000, 123_456_789),
            ("-1", -1, 0),
            ("-1.25", -2, 750_000_000),
            ("-0.000000001", -1, 999_999_999),
        ];
        for (text, seconds, nanoseconds) in cases {
            assert_eq!(time(text.as_bytes()), Some(Time { seconds, nanoseconds }), "{text}");
        }
        for bad in ["", "-", ".5", "1.x", "1e3", "+1", "--1", "99999999999999999999"] {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn records_hold_any_bytes() {
        let data = b"30 SCHILY.xattr.user.a=\x00\n= \xff\x00\n9 uid=12\n";
        let (key, value, rest) = record(data).unwrap();
        assert_eq!((key, value, rest), (&b"SCHILY.xattr.user.a"[..], &b"\x00\n= \xff\x00"[..], &b"9 uid=12\n"[..]));
        for bad in
            ["9 uid=12", "8 uid=12\n", "11 uid=12\n", "x uid=12\n", "9 uid:12\n", "1 \n", "99999999999999999999 a=b\n"]
        {
            assert!(Pax::read(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(Pax::read(b"9 uid=1x\n").is_err());
    }

    #[test]
    fn sparse_maps_must_fit() {
        let map = |pairs: &[(u64, u64)]| -> Vec<SparseEntry> {
            pairs.iter().map(|&(offset, length)| SparseEntry { offset, length }).collect()
        };
        let body = Body::sparse(&map(&[(10, 5), (20, 0)]), 20, 5, false).unwrap();
        assert_eq!(body.regions, [Region { offset: 10, length: 5 }, Region { offset: 20, length: 0 }]);
        assert!(Body::sparse(&map(&[(0, 5)]), 5, 512 + 5, true).is_ok());
        let bad = [
            (map(&[(10, 5), (12, 1)]), 20, 6),
            (map(&[(10, 5)]), 14, 5),
            (map(&[(u64::MAX, 2)]), u64::MAX, 2),
            (map(&[(0, 5)]), 5, 4),
        ];
        for (map, size, stored) in bad {
            assert!(Body::sparse(&map, size, stored, false).is_err(), "{map:?}");
        }
    }
}
