//! `staging/<uuid>/` of a store: where a new image's layers are unpacked, until the server takes them.
//!
//! It is locked while its maker lives. What nobody has locked is rubbish, and the server collects it.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::sys::lock::DirectoryLock;
use crate::sys::{beneath, host};

/// A staging directory of this process; dropped, it is removed with all that is still in it.
#[derive(Debug)]
pub struct Staging {
    all: PathBuf,
    name: String,
    _lock: DirectoryLock,
}

impl Staging {
    /// Makes one in a store.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(store: &Path) -> io::Result<Staging> {
        let all = store.join("staging");
        loop {
            let name = uuid(host::random()?);
            let path = all.join(&name);
            DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
            // Between these lines it has no lock, and may be taken for rubbish.
            match DirectoryLock::try_lock(&path) {
                Ok(Some(lock)) if path.exists() => return Ok(Staging { all, name, _lock: lock }),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Its name in `staging/`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        self.all.join(&self.name)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What stays is collected by the server.
        let _ = File::open(&self.all).and_then(|all| beneath::remove_tree(all, self.name.as_bytes()));
    }
}

/// RFC 9562, version 4: 122 random bits.
fn uuid(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_random_uuid_says_that_it_is_one() {
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }

    #[test]
    fn it_is_locked_while_it_lives_and_gone_afterwards() {
        let store = std::env::temp_dir().join(format!("ctrfs-staging-test-{}", std::process::id()));
        let (one, two) = (Staging::new(&store).unwrap(), Staging::new(&store).unwrap());
        assert_ne!(one.name(), two.name());
        let path = one.path();
        assert!(DirectoryLock::try_lock(&path).unwrap().is_none());
        fs::create_dir_all(path.join("layer/fs")).unwrap();
        drop(one);
        assert!(!path.exists() && two.path().exists());
        drop(two);
        fs::remove_dir_all(store).unwrap();
    }
}
