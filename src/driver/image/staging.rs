//! `staging/<uuid>/` of a store: where a new image's layers are unpacked, until the server takes them.
//!
//! It is locked while its maker lives. What nobody has locked is rubbish, and the server collects it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::sys::host;
use crate::sys::lock::DirectoryLock;

/// A staging directory of this process; dropped, it is removed with all that is still in it.
#[derive(Debug)]
pub struct Staging {
    name: String,
    path: PathBuf,
    _lock: DirectoryLock,
}

impl Staging {
    /// Makes one in a store.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(store: &Path) -> io::Result<Staging> {
        let all = store.join("staging");
        DirBuilder::new().recursive(true).mode(0o700).create(&all)?;
        loop {
            let name = uuid()?;
            let path = all.join(&name);
            DirBuilder::new().mode(0o700).create(&path)?;
            // Between these lines it has no lock, and may be taken for rubbish.
            match DirectoryLock::try_lock(&path) {
                Ok(Some(lock)) if path.exists() => return Ok(Staging { name, path, _lock: lock }),
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
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What stays is collected by the server.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// RFC 9562, version 4: 122 random bits.
fn uuid() -> io::Result<String> {
    let mut random = host::random::<16>()?;
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_locked_while_it_lives_and_gone_afterwards() {
        let store = std::env::temp_dir().join(format!("ctrfs-staging-test-{}", std::process::id()));
        let (one, two) = (Staging::new(&store).unwrap(), Staging::new(&store).unwrap());
        assert_ne!(one.name(), two.name());
        assert!(DirectoryLock::try_lock(one.path()).unwrap().is_none());
        fs::create_dir(one.path().join("layer")).unwrap();
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists() && two.path().exists());
        drop(two);
        fs::remove_dir_all(store).unwrap();
    }
}
