//! Overlays: layers in any number and of any name, in each way that kernels take them.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

use ctrfs::driver::mounts::{Part, lowers_view};
use ctrfs::sys::host::is_host_root;

use super::{Host, key, line_at, tiers};
use crate::support::errno;

#[test]
fn up_to_500_layers_show_as_one() {
    for tier in tiers() {
        for count in [1, 2, 128, 500] {
            let host = Host::with_tier(tier);
            let layers = host.layers(count);
            host.overlay(key(1), &layers, None).unwrap_or_else(|error| panic!("{tier:?} {count}: {error}"));
            let root = host.rootfs(key(1));
            assert_eq!(fs::read_to_string(root.join("top")).unwrap(), "0", "{tier:?} {count}");
            assert_eq!(fs::read_dir(&root).unwrap().count(), count + 2, "{tier:?} {count}");

            fs::write(root.join("top"), "new").unwrap();
            assert_eq!(fs::read_to_string(host.upper(&key(1).to_string()).join("top")).unwrap(), "new");
            assert_eq!(fs::read_to_string(layers[0].join("top")).unwrap(), "0");
            host.take(key(1));
            host.assert_empty();
        }
    }
}

#[test]
fn too_many_layers_and_none_are_refused_before_anything_is_made() {
    for tier in tiers() {
        let host = Host::with_tier(tier);
        let many: Vec<PathBuf> = (0..501).map(|_| host.path("no-such-layer")).collect();
        let said = host.overlay(key(1), &many, None).unwrap_err().to_string();
        assert_eq!(said, "501 layers; an overlay takes 500 at most");
        let said = host.overlay(key(1), &[], None).unwrap_err().to_string();
        assert_eq!(said, "no layer; an overlay takes at least one");
        assert!(!host.upper(&key(1).to_string()).exists());
        assert_eq!(lowers_view(&many, false).unwrap_err().to_string(), "501 layers; an overlay takes 500 at most");
        assert_eq!(lowers_view(&[], false).unwrap_err().to_string(), "no layer; an overlay takes at least one");
    }
}

#[test]
fn names_need_no_escapes() {
    let long = "x".repeat(255);
    let names = ["a:b", "a,b", "a\\b", "a\\:b\\,c", "a b\tc\nd", "lowerdir=/etc,upperdir=/", "é\"'#", long.as_str()];
    for tier in tiers() {
        let host = Host::with_tier(tier);
        let layers: Vec<PathBuf> =
            names.iter().enumerate().map(|(number, name)| host.layer(&format!("layers/{name}"), number)).collect();
        for (at, name) in names.iter().enumerate() {
            let key = key(at as u8);
            host.overlay_on(key, name, &layers, None).unwrap_or_else(|error| panic!("{tier:?} {name}: {error}"));
            let root = host.rootfs(key);
            assert_eq!(fs::read_dir(&root).unwrap().count(), names.len() + 2, "{tier:?} {name}");
            fs::write(root.join("written"), "").unwrap();
            assert!(host.upper(name).join("written").exists(), "{tier:?} {name}");
            host.take(key);
        }
    }
}

#[test]
fn a_directory_of_a_layer_can_be_removed_and_made_again() {
    for tier in tiers() {
        let host = Host::with_tier(tier);
        let layers = host.layers(2);
        fs::write(layers[1].join("dir/below"), "").unwrap();
        host.overlay(key(1), &layers, None).unwrap();
        let dir = host.rootfs(key(1)).join("dir");
        fs::remove_file(dir.join("below")).unwrap();
        fs::remove_dir(&dir).unwrap();
        // Needs an attribute that says: nothing of the layers below.
        fs::create_dir(&dir).unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "{tier:?}");

        fs::create_dir(host.rootfs(key(1)).join("mine")).unwrap();
        fs::rename(host.rootfs(key(1)).join("mine"), host.rootfs(key(1)).join("moved")).unwrap();
    }
}

#[test]
fn an_overlay_has_the_attributes_of_its_topmost_layer() {
    for tier in tiers() {
        let host = Host::with_tier(tier);
        let layers = host.layers(2);
        if is_host_root() {
            chown(&layers[0], Some(11), Some(12)).unwrap();
        }
        fs::set_permissions(&layers[0], PermissionsExt::from_mode(0o3751)).unwrap();
        host.overlay(key(1), &layers, None).unwrap();
        let (wanted, found) = (fs::metadata(&layers[0]).unwrap(), fs::metadata(host.rootfs(key(1))).unwrap());
        assert_eq!((found.mode(), found.uid(), found.gid()), (wanted.mode(), wanted.uid(), wanted.gid()));
        assert_eq!(found.mode() & 0o7777, 0o3751);

        // What the container has made of it stays.
        fs::set_permissions(host.rootfs(key(1)), PermissionsExt::from_mode(0o700)).unwrap();
        host.take(key(1));
        host.overlay(key(1), &layers, None).unwrap();
        assert_eq!(fs::metadata(host.rootfs(key(1))).unwrap().mode() & 0o7777, 0o700);
    }
}

#[test]
fn an_overlay_says_what_it_is_and_stays_in_its_namespace() {
    for tier in tiers() {
        let host = Host::with_tier(tier);
        host.overlay(key(1), &host.layers(2), None).unwrap();
        let line = line_at(&host.rootfs(key(1)));
        assert!(line.contains(&format!(" - overlay ctrfs:{} ", key(1))), "{line}");
        assert!(!line.contains("shared:"), "{line}");
        assert!(line.contains("redirect_dir=nofollow"), "{line}");
        // Containers have their devices and set-user-ID programs.
        assert!(!line.contains("nodev") && !line.contains("nosuid"), "{line}");
        assert_eq!(line.contains("userxattr"), !is_host_root(), "{line}");
        assert!(!line.contains("volatile"), "{line}");
        assert!(host.mounts.is_mounted(key(1), Part::Rootfs));
        assert!(!host.mounts.is_mounted(key(1), Part::Shm));
    }
}

#[test]
fn the_layers_alone_can_be_looked_at() {
    let host = Host::new();
    let layers = host.layers(500);
    for count in [1, 2, 500] {
        let view = lowers_view(&layers[500 - count..], host.mounts.userxattr()).unwrap();
        let root = PathBuf::from(format!("/proc/self/fd/{}", view.as_raw_fd()));
        assert_eq!(fs::read_to_string(root.join("top")).unwrap(), (500 - count).to_string());
        assert_eq!(fs::read_dir(&root).unwrap().count(), count + 2);
        assert_eq!(errno(fs::write(root.join("new"), "")), nix::errno::Errno::EROFS);
        host.assert_empty();
    }
}

#[test]
fn what_the_kernel_says_is_in_the_error() {
    for tier in tiers() {
        let host = Host::with_tier(tier);
        let missing = [host.path("layers/none")];
        let said = host.overlay(key(1), &missing, None).unwrap_err().to_string();
        assert!(said.contains("layers/none") && said.ends_with("No such file or directory"), "{said}");
        fs::write(host.path("file"), "").unwrap();
        let said = host.overlay(key(1), &[host.path("file")], None).unwrap_err().to_string();
        assert!(said.contains("/file") && said.ends_with("Not a directory"), "{said}");
        host.assert_empty();
    }
}
