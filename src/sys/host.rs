//! What the running kernel says about itself: the boot, and random bytes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::OnceLock;

use rustix::thread::CapabilitySet;

/// The ID of this boot, a UUID in lower case; another one after every reboot. The kernel is asked once.
pub fn boot_id() -> io::Result<String> {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    if let Some(known) = BOOT_ID.get() {
        return Ok(known.clone());
    }
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT_ID.get_or_init(|| text.trim_end().to_owned()).clone())
}

/// Bytes that nobody can guess.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Whether this process is root in the user namespace that the host started with.
pub fn is_host_root() -> bool {
    nix::unistd::geteuid().is_root() && fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| is_identity_map(&map))
}

/// Which IDs this process knows, and as what, and whether it is an administrator, without whom the kernel
/// lists no `trusted.` attributes: equal in two processes that see the same owners and attributes of files.
pub fn sight() -> io::Result<String> {
    let [users, groups] = ["uid_map", "gid_map"].map(|map| fs::read_to_string(format!("/proc/self/{map}")));
    let words = |map: &str| map.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_admin = rustix::thread::capabilities(None)?.effective.contains(CapabilitySet::SYS_ADMIN);
    Ok(format!("{}, {}, {}", words(&users?), words(&groups?), if is_admin { "all" } else { "not all" }))
}

// The initial namespace maps all 2^32 - 1 IDs to themselves, and only it can.
fn is_identity_map(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_namespace_is_told_from_a_mapped_one() {
        assert!(is_identity_map("         0          0 4294967295\n"));
        assert!(!is_identity_map("         0       1000          1\n"));
        assert!(!is_identity_map(""));
    }

    #[test]
    fn the_boot_id_is_a_uuid_and_stays() {
        let first = boot_id().unwrap();
        assert_eq!(first.len(), 36);
        assert_eq!(first, boot_id().unwrap());
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random::<16>().unwrap(), random::<16>().unwrap());
    }
}
