//! What a file holds, as a hash that holes do not change: of the blocks that are not all zero, each
//! preceded by its number.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use twox_hash::XxHash3_128;

use super::Hash;
use crate::sys::walk::next_data;

const BLOCK: usize = 4096;
const ZEROS: [u8; BLOCK] = [0; BLOCK];
/// Bytes read at once.
const PORTION: usize = 32 * BLOCK;

/// A content in the making.
pub(in crate::driver) struct Content {
    size: u64,
    hasher: XxHash3_128,
    /// Where the block begins that has come in part.
    begin: u64,
    block: Vec<u8>,
}

impl Content {
    /// Of a file of this size.
    pub(in crate::driver) fn new(size: u64) -> Content {
        Content { size, hasher: XxHash3_128::new(), begin: 0, block: Vec::new() }
    }

    /// Takes bytes; offsets ascend, and what lies between is zero.
    pub(in crate::driver) fn take(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() && offset < self.size {
            let within = (offset % BLOCK as u64) as usize;
            let begin = offset - within as u64;
            if begin != self.begin {
                self.flush();
                self.begin = begin;
            }
            let length = self.length(begin);
            let (part, rest) = bytes.split_at(bytes.len().min(length - within));
            if part.len() == length {
                hash_block(&mut self.hasher, begin, part);
            } else {
                self.block.resize(within, 0);
                self.block.extend_from_slice(part);
            }
            offset += part.len() as u64;
            bytes = rest;
        }
    }

    /// The hash of the whole file.
    pub(in crate::driver) fn finish(mut self) -> Hash {
        self.flush();
        self.hasher.finish_128().to_le_bytes()
    }

    fn flush(&mut self) {
        if !self.block.is_empty() {
            self.block.resize(self.length(self.begin), 0);
            hash_block(&mut self.hasher, self.begin, &self.block);
            self.block.clear();
        }
    }

    /// How long a block is: the last ends with the file.
    fn length(&self, begin: u64) -> usize {
        usize::try_from(self.size - begin).map_or(BLOCK, |left| left.min(BLOCK))
    }
}

fn hash_block(hasher: &mut XxHash3_128, begin: u64, block: &[u8]) {
    if block != &ZEROS[..block.len()] {
        hasher.write(&(begin / BLOCK as u64).to_le_bytes());
        hasher.write(block);
    }
}

/// The hash of a file of this size. Holes are not read.
pub(super) fn content_of(file: &File, size: u64) -> io::Result<Hash> {
    let (mut content, mut buffer) = (Content::new(size), vec![0; PORTION]);
    let mut at = 0;
    while at < size
        && let Some((begin, end)) = next_data(file, at)?
    {
        at = begin;
        while at < end.min(size) {
            let most = usize::try_from(end.min(size) - at).map_or(PORTION, |left| left.min(PORTION));
            let read = file.read_at(&mut buffer[..most], at)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            content.take(at, &buffer[..read]);
            at += read as u64;
        }
    }
    Ok(content.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pieces(bytes: &[u8], piece: usize) -> Hash {
        let mut content = Content::new(bytes.len() as u64);
        for (number, part) in bytes.chunks(piece).enumerate() {
            content.take((number * piece) as u64, part);
        }
        content.finish()
    }

    fn sample(size: usize) -> Vec<u8> {
        let byte = |at: usize| if (at / 3000).is_multiple_of(3) { 0 } else { (at * 7 % 251) as u8 };
        (0..size).map(byte).collect()
    }

    #[test]
    fn how_it_is_written_does_not_matter() {
        for size in [0, 1, 4095, 4096, 4097, 8192, 100_000] {
            let bytes = sample(size);
            let whole = in_pieces(&bytes, size.max(1));
            for piece in [1, 7, 512, 4095, 4096, 4097, 65_536] {
                assert_eq!(in_pieces(&bytes, piece), whole, "{size} bytes by {piece}");
            }
        }
    }

    #[test]
    fn zeros_and_holes_are_the_same() {
        let mut bytes = vec![0; 30_000];
        bytes[5000..5010].fill(1);
        bytes[20_480..21_000].fill(2);
        let mut holes = Content::new(30_000);
        holes.take(5000, &[1; 10]);
        holes.take(20_480, &[2; 520]);
        assert_eq!(holes.finish(), in_pieces(&bytes, 1000));
        assert_eq!(Content::new(1 << 40).finish(), Content::new(0).finish(), "the size is not a part of it");
    }

    #[test]
    fn every_byte_and_its_place_matter() {
        let bytes = sample(9000);
        let whole = in_pieces(&bytes, 9000);
        for at in [0, 4095, 4096, 8999] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(in_pieces(&other, 9000), whole, "byte {at}");
        }
        let (mut one, mut other) = (vec![0; 8192], vec![0; 8192]);
        (one[0], other[4096]) = (1, 1);
        assert_ne!(in_pieces(&one, 8192), in_pieces(&other, 8192));
    }

    #[test]
    fn a_file_is_read_without_its_holes() {
        let path = std::env::temp_dir().join(format!("ctrfs-content-test-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let bytes = sample(PORTION + 5000);
        file.write_all_at(&bytes, 1 << 30).unwrap();
        let size = 1 << 40;
        file.set_len(size).unwrap();
        let mut due = Content::new(size);
        due.take(1 << 30, &bytes);
        assert_eq!(content_of(&file, size).unwrap(), due.finish());
        assert!(content_of(&file, size + 1).is_ok(), "a hole that ends early is one");
        std::fs::remove_file(path).unwrap();
    }
}
