//! Upper directories: in one overlay only, made and unmade whole, and not trusted after a crash.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ctrfs::driver::mounts::{MountError, Part, Rootfs};
use ctrfs::sys::host::boot_id;

use super::{Host, key, line_at, shm, tiers};
use crate::support::wait_until;

#[test]
fn an_upper_in_use_is_not_mounted_again() {
    for tier in tiers() {
        let host = Host::with_tier(tier);
        let layers = host.layers(2);
        host.overlay_on(key(1), "one", &layers, None).unwrap();
        fs::write(host.rootfs(key(1)).join("mine"), "x").unwrap();
        // The same: nothing to do.
        host.overlay_on(key(1), "one", &layers, None).unwrap();
        let error = host.overlay_on(key(2), "one", &layers, None).unwrap_err();
        assert!(matches!(error, MountError::InUse { .. }), "{tier:?}: {error}");
        let (upper, place) = (host.upper("one"), host.rootfs(key(1)));
        let wanted = format!("{} is in use by the overlay mounted at {}", upper.display(), place.display());
        assert_eq!(error.to_string(), wanted, "{tier:?}");
        assert_eq!(host.mounts.mounted().unwrap(), [key(1)]);
        host.take(key(1));
        host.overlay_on(key(2), "one", &layers, None).unwrap();
        assert_eq!(fs::read_to_string(host.rootfs(key(2)).join("mine")).unwrap(), "x");
    }
}

#[test]
fn an_upper_in_use_by_another_namespace_is_not_mounted_again() {
    for tier in tiers() {
        let host = Host::with_tier(tier);
        let layers = host.layers(2);
        host.overlay(key(1), &layers, None).unwrap();
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", "cd \"$0\" && echo && read end"])
            .arg(host.rootfs(key(1)));
        let mut other = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        host.take(key(1));
        // The copy that the other namespace had is gone, for its mountpoint is; who stood in it stays.
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", other.id())).unwrap();
        assert!(!mounts.contains(&format!("ctrfs:{}", key(1))), "{mounts}");
        let error = host.overlay(key(1), &layers, None).unwrap_err();
        assert!(matches!(&error, MountError::InUse { mounted_at: None, .. }), "{tier:?}: {error}");
        assert!(error.to_string().contains("another mount namespace"), "{error}");
        drop(other.stdin.take());
        other.wait().unwrap();
        wait_until("the other namespace ends", || host.overlay(key(1), &layers, None).is_ok());
    }
}

#[test]
fn a_failure_half_way_leaves_nothing() {
    for tier in tiers() {
        let host = Host::with_tier(tier);
        let layers = host.layers(2);
        let (upper, lost) = (host.path("upper"), host.path("none/work"));
        let mount = |work: PathBuf| {
            let rootfs = Rootfs::Overlay { lowers: &layers, upper: &upper, work: &work, volatile: None, label: None };
            host.mounts.rootfs(key(1), &rootfs).unwrap_err().to_string()
        };
        // The second directory cannot be made.
        assert_eq!(mount(lost.clone()), format!("cannot make {}: No such file or directory", lost.display()));
        assert!(!upper.exists(), "{tier:?}");
        // The kernel refuses: not the same filesystem.
        host.mounts.shm(key(2), &shm(1 << 20)).unwrap();
        let elsewhere = host.mounts.path(key(2), Part::Shm).join("work");
        let said = mount(elsewhere.clone());
        assert!(said.starts_with("the kernel makes no overlay: mount: "), "{tier:?}: {said}");
        assert!(said.ends_with("Invalid argument"), "{tier:?}: {said}");
        assert!(!upper.exists() && !elsewhere.exists(), "{tier:?}");
        // There is no place to mount it.
        fs::create_dir(host.rootfs(key(1)).parent().unwrap()).unwrap();
        fs::write(host.rootfs(key(1)), "a file").unwrap();
        assert!(mount(host.path("work")).ends_with("Not a directory"));
        fs::remove_file(host.rootfs(key(1))).unwrap();
        assert!(!upper.exists() && !host.path("work").exists(), "{tier:?}");
        host.take(key(1));
        host.take(key(2));
        host.assert_empty();
    }
}

#[test]
fn a_volatile_upper_lasts_for_its_boot() {
    for tier in tiers() {
        let host = Host::with_tier(tier);
        let layers = host.layers(2);
        let boot = boot_id().unwrap();
        let mark = host.work("one").join("work/incompat/volatile");
        for round in 0..3 {
            host.overlay_on(key(1), "one", &layers, Some(&boot)).unwrap();
            let line = line_at(&host.rootfs(key(1)));
            assert!(line.contains("volatile"), "{line}");
            assert!(mark.exists());
            let file = host.rootfs(key(1)).join("count");
            assert_eq!(fs::read_to_string(&file).unwrap_or_default().len(), round);
            fs::write(&file, "x".repeat(round + 1)).unwrap();
            host.take(key(1));
        }
        // Without volatile from here on: synced, and the mark is gone.
        host.overlay_on(key(1), "one", &layers, None).unwrap();
        assert_eq!(fs::read_to_string(host.rootfs(key(1)).join("count")).unwrap(), "xxx");
        assert!(!mark.exists() && !host.path("ctr/one/volatile-boot").exists());
        host.take(key(1));
        // As an upper that never was volatile, it outlives the boot.
        host.overlay_on(key(1), "one", &layers, Some("another boot")).unwrap();
        assert_eq!(fs::read_to_string(host.rootfs(key(1)).join("count")).unwrap(), "xxx");
        host.take(key(1));
        assert_eq!(fs::read_dir(host.path("trash")).unwrap().count(), 0);
    }
}

#[test]
fn a_volatile_upper_of_an_earlier_boot_begins_anew() {
    // What of the two marks may be on the disk after a crash.
    for (mark, file) in [(true, true), (true, false), (false, true)] {
        let host = Host::new();
        let layers = host.layers(2);
        host.overlay_on(key(1), "one", &layers, Some("an earlier boot")).unwrap();
        fs::write(host.rootfs(key(1)).join("torn"), "x").unwrap();
        host.take(key(1));
        if !mark {
            fs::remove_dir_all(host.work("one").join("work/incompat")).unwrap();
        }
        if !file {
            fs::remove_file(host.path("ctr/one/volatile-boot")).unwrap();
        }

        let error = host.overlay_on(key(1), "one", &layers, None).unwrap_err();
        assert!(matches!(error, MountError::Suspect(_)), "{error}");
        assert!(error.to_string().ends_with("what it holds may be torn"), "{error}");
        assert!(host.upper("one").join("torn").exists());
        host.assert_empty();

        host.overlay_on(key(1), "one", &layers, Some(&boot_id().unwrap())).unwrap();
        assert!(!host.rootfs(key(1)).join("torn").exists());
        let aside: Vec<_> = fs::read_dir(host.path("trash")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(aside.len(), 2, "upper and work directory");
        assert!(aside.iter().any(|aside| aside.join("torn").exists()));
        // And is at home in this boot.
        fs::write(host.rootfs(key(1)).join("kept"), "x").unwrap();
        host.take(key(1));
        host.overlay_on(key(1), "one", &layers, Some(&boot_id().unwrap())).unwrap();
        assert!(host.rootfs(key(1)).join("kept").exists());
    }
}
