//! Primaries: shared memory, users' directories, taking all away.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use ctrfs::driver::mounts::{Part, Rootfs, Shm};
use ctrfs::sys::mounting;

use super::{Host, key, line_at, shm};
use crate::support::errno;

#[test]
fn shared_memory_is_as_large_as_told() {
    let host = Host::new();
    host.mounts.shm(key(1), &shm(1 << 20)).unwrap();
    let at = host.mounts.path(key(1), Part::Shm);
    let line = line_at(&at);
    for word in ["nosuid", "nodev", "noexec", "size=1024k", "nr_inodes=1024"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(line.contains(&format!(" - tmpfs ctrfs-shm:{} ", key(1))) && !line.contains("shared:"), "{line}");
    assert_eq!(fs::metadata(&at).unwrap().mode() & 0o7777, 0o1777);
    fs::write(at.join("fits"), vec![1; 1 << 20]).unwrap();
    assert_eq!(errno(fs::write(at.join("more"), "x")), nix::errno::Errno::ENOSPC);

    // Again: there, and untouched.
    host.mounts.shm(key(1), &shm(2 << 20)).unwrap();
    assert_eq!(fs::metadata(at.join("fits")).unwrap().len(), 1 << 20);
    line_at(&at);
}

#[test]
fn shared_memory_of_no_size_and_with_a_bad_owner_is_refused() {
    let host = Host::new();
    let said = host.mounts.shm(key(1), &shm(0)).unwrap_err().to_string();
    assert_eq!(said, "the size of shared memory is 0; it must be a number of bytes above");
    let nobody = Shm { uid: u32::MAX, ..shm(4096) };
    let said = host.mounts.shm(key(1), &nobody).unwrap_err().to_string();
    // Both halves of it are the kernel's.
    assert!(said.contains("uid=4294967295: tmpfs: ") && said.ends_with("Invalid argument"), "{said}");
    host.assert_empty();
}

#[test]
fn a_label_is_for_hosts_that_know_labels() {
    let host = Host::new();
    let label = "system_u:object_r:container_file_t:s0:c1,c2";
    let labelled = Shm { label: Some(label.to_owned()), ..shm(4096) };
    host.mounts.shm(key(1), &labelled).unwrap();
    let known = Path::new("/sys/fs/selinux/enforce").exists();
    assert_eq!(line_at(&host.mounts.path(key(1), Part::Shm)).contains("context="), known);
}

#[test]
fn root_shared_memory_has_an_owner() {
    let host = Host::new();
    host.mounts.shm(key(1), &Shm { uid: 1000, gid: 1001, ..shm(4096) }).unwrap();
    let owner = fs::metadata(host.mounts.path(key(1), Part::Shm)).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (1000, 1001));
}

#[test]
fn a_users_directory_is_shown_with_what_is_mounted_in_it_and_left_alone() {
    let host = Host::new();
    fs::create_dir_all(host.path("own/below")).unwrap();
    symlink("own", host.path("link")).unwrap();
    // A mount below: the shared memory of another key, shown there.
    let own = mounting::open(&host.path("own")).unwrap();
    host.mounts.shm(key(2), &shm(4096)).unwrap();
    host.mounts.show(key(2), Part::Shm, own.as_fd(), Path::new("below")).unwrap();
    fs::write(host.path("own/below/file"), "x").unwrap();

    host.mounts.rootfs(key(1), &Rootfs::Plain(mounting::open(&host.path("link")).unwrap().as_fd())).unwrap();
    let root = host.rootfs(key(1));
    assert_eq!(fs::read_to_string(root.join("below/file")).unwrap(), "x");
    fs::write(root.join("written"), "").unwrap();
    host.take(key(1));
    assert!(host.path("own/written").exists() && host.path("own/below/file").exists());

    host.mounts.hide(own.as_fd(), Path::new("below")).unwrap();
}

#[test]
fn taking_takes_all_whatever_is_in_it() {
    let host = Host::new();
    host.overlay(key(1), &host.layers(2), None).unwrap();
    host.mounts.shm(key(1), &shm(4096)).unwrap();
    host.mounts.shm(key(2), &shm(4096)).unwrap();
    assert_eq!(host.mounts.mounted().unwrap().len(), 2);
    // A mount below a primary, one on top of it, and a file in use.
    let rootfs = mounting::open(&host.rootfs(key(1))).unwrap();
    host.mounts.show(key(2), Part::Shm, rootfs.as_fd(), Path::new("dir")).unwrap();
    let on_top = mounting::cloned(mounting::open(&host.path("layers")).unwrap().as_fd()).unwrap();
    mounting::attach(on_top.as_fd(), mounting::open(&host.rootfs(key(1))).unwrap().as_fd()).unwrap();
    fs::write(host.mounts.path(key(1), Part::Shm).join("file"), "x").unwrap();
    let open = fs::File::open(host.mounts.path(key(1), Part::Shm).join("file")).unwrap();

    host.take(key(1));
    assert_eq!(open.metadata().unwrap().len(), 1);
    assert!(!host.rootfs(key(1)).exists());
    assert_eq!(host.mounts.mounted().unwrap(), [key(2)]);
    assert!(host.path("layers/0/top").exists());
    // Nothing is there: nothing to do.
    host.take(key(1));
}

#[test]
fn taking_goes_on_after_a_failure_and_deletes_no_file() {
    let host = Host::new();
    host.overlay(key(1), &host.layers(2), None).unwrap();
    let at = host.mounts.path(key(1), Part::Shm);
    fs::create_dir(&at).unwrap();
    fs::write(at.join("precious"), "x").unwrap();
    let said = host.mounts.take(key(1)).unwrap_err().to_string();
    assert_eq!(said, format!("cannot remove {}: Directory not empty", at.display()));
    assert!(!host.mounts.is_mounted(key(1), Part::Rootfs));
    assert_eq!(fs::read_to_string(at.join("precious")).unwrap(), "x");

    fs::write(host.rootfs(key(1)), "not a directory").unwrap();
    let said = host.mounts.take(key(1)).unwrap_err().to_string();
    assert!(said.contains("shm: Directory not empty; cannot open"), "{said}");
    fs::remove_dir_all(at.parent().unwrap()).unwrap();
}

#[test]
fn a_primary_is_no_symlink() {
    let host = Host::new();
    host.mounts.shm(key(2), &shm(4096)).unwrap();
    let at = host.mounts.path(key(1), Part::Shm);
    fs::create_dir(at.parent().unwrap()).unwrap();
    symlink(host.mounts.path(key(2), Part::Shm), &at).unwrap();
    assert!(!host.mounts.is_mounted(key(1), Part::Shm));
    assert!(host.mounts.shm(key(1), &shm(4096)).is_err());
    assert!(host.mounts.take(key(1)).is_err());
    assert!(host.mounts.is_mounted(key(2), Part::Shm));
    fs::remove_file(&at).unwrap();
}
