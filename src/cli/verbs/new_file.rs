//! A file that is there when it is whole, or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::interruption::Interruption;
use crate::sys::host;

/// A file under a temporary name beside its place; dropped before [`NewFile::finish`], it is removed.
#[derive(Debug)]
pub(super) struct NewFile<'a> {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    interruption: &'a Interruption,
}

impl<'a> NewFile<'a> {
    /// Begins the file at `path`; what is there stays until the new one is whole, which gets its mode.
    pub(super) fn create(path: &Path, interruption: &'a Interruption) -> io::Result<NewFile<'a>> {
        // Through a symlink the file that it leads to is replaced, as it would be written.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = u64::from_ne_bytes(host::random()?);
        let temporary = path.with_file_name(format!(".ctrfs-{name:016x}"));
        let mode = fs::metadata(&path).ok().map(|there| there.permissions().mode() & 0o777);
        let file = File::options().write(true).create_new(true).mode(mode.unwrap_or(0o666)).open(&temporary)?;
        let new = NewFile { file, temporary, path, interruption };
        // The umask is for what is new.
        mode.map_or(Ok(()), |mode| new.file.set_permissions(fs::Permissions::from_mode(mode)))?;
        Ok(new)
    }

    /// Makes it durable and gives it its name.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Write for NewFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.interruption.is_raised() {
            true => Err(io::Error::other("interrupted")),
            false => self.file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        // Nothing has this name any more once it is finished.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_whole_or_not_there() {
        let dir = std::env::temp_dir().join(format!("ctrfs-new-file-test-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("file");
        fs::write(&path, "old").unwrap();
        let interruption = Interruption::listen().unwrap();

        let mut file = NewFile::create(&path, &interruption).unwrap();
        file.write_all(b"half").unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");

        let mut file = NewFile::create(&path, &interruption).unwrap();
        file.write_all(b"new").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(dir).unwrap();
    }
}
