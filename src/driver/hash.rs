//! SHA-256 of what passes by, and the chain IDs of layers.

use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use crate::model::digest::Digest;

/// A digest in the making.
#[derive(Clone, Default, Debug)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Digest {
        Digest::from_bytes(self.0.finalize().into())
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The digest of some bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// The chain ID of a layer upon others (OCI image-spec, config.md, "Layer ChainID").
pub fn chain(below: Option<Digest>, diff_id: Digest) -> Digest {
    below.map_or(diff_id, |below| digest(format!("{below} {diff_id}").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{chain, digest};

    #[test]
    fn a_base_is_its_own_chain() {
        let base = digest(b"base");
        assert_eq!(chain(None, base), base);
        let upon = chain(Some(base), digest(b"next"));
        assert_eq!(upon, digest(format!("{base} {}", digest(b"next")).as_bytes()));
    }

    #[test]
    fn nothing_has_a_digest() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest(b"").to_string(), empty);
    }
}
