//! The whole life of a container, again and again: afterwards everything is as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::{GREETING, IMAGE, Place, fingerprint};
use crate::support::{mountinfo, succeed, wait_until};

const SCRIPT: &str = r#"
    set -e
    cat /etc/greeting
    echo changed >/etc/greeting; echo kept >/kept; rm /etc/doomed
    yes | head -c 67108864 >/dev/shm/big; wc -c </dev/shm/big; tail -n 1 /dev/shm/big
    if (echo more >/dev/shm/more) 2>/dev/null; then echo no limit; fi
    hostname; cat /etc/hostname; echo; grep -c . /proc/mounts >/dev/null
    cat /etc/resolv.conf /etc/hosts"#;

#[test]
fn a_life_leaves_nothing_behind() {
    let place = Place::new();
    let times = if std::env::var_os("CTRFS_LONG").is_some() { 100 } else { 10 };
    // What is opened once, is.
    life(&place);
    wait_until("the trash is empty", || names(&place.tree.store.join("trash")).is_empty());
    let before = traces(&place);
    for _ in 0..times {
        life(&place);
    }
    wait_until("everything is as it was", || traces(&place) == before);
}

fn life(place: &Place) {
    let tree = &place.tree;
    let keys = r#""hostsAdd":["six:fd00::1"],"dnsServer":["10.1.2.3","fd00::53"],"dnsSearch":["x.example"]"#;
    let script = serde_json::Value::from(SCRIPT);
    let id = place.mount("web", &format!(r#"{keys},"command":[{script}]"#));
    let said = place.stdout("web");
    let short = &id[..12];
    let start = format!(
        "{GREETING}\n67108864\ny\n{short}\n{short}\nsearch x.example\nnameserver 10.1.2.3\nnameserver fd00::53\n"
    );
    assert!(said.starts_with(&start), "{said}");
    assert!(said.ends_with("\nfd00::1 six\n"), "{said}");
    assert_eq!(fs::metadata(tree.path("ctr/web/shm/big")).unwrap().len(), 64 << 20);

    let written = "changed\n".len() + "kept\n".len();
    assert_eq!(tree.read("ctr/web/size-rw"), format!("{written}\n"));
    assert_eq!(tree.read(&format!("layer/{}/size", own_layer(place, &id))), format!("{written}\n"));
    assert_eq!(tree.read("ctr/web/size-rootfs"), tree.read("ctr/web/image/size"));
    let diff = place.ctrfs(&["diff", short]);
    for line in ["C /etc", "D /etc/doomed", "C /etc/greeting", "A /kept"] {
        assert!(diff.lines().any(|found| found == line), "{line} is not in:\n{diff}");
    }
    assert!(!diff.contains("/dev/shm/big") && !diff.contains("busybox"), "{diff}");

    let whole = fingerprint(&place.rootfs("web"));
    let archive = place.scratch.path().join("web.tar");
    place.ctrfs(&["export", "web", archive.to_str().unwrap()]);
    let extracted = place.scratch.path().join("extracted");
    fs::create_dir(&extracted).unwrap();
    succeed(Command::new("tar").args(["--xattrs", "-xpf"]).arg(&archive).arg("-C").arg(&extracted));
    assert_eq!(fingerprint(&extracted), whole, "the archive is the rootfs");
    fs::remove_dir_all(&extracted).unwrap();
    fs::remove_file(&archive).unwrap();

    let image = place.ctrfs(&["commit", "web", "kept"]);
    place.mount_of("kept", "again", r#""command":["cat /kept /etc/greeting; test ! -e /etc/doomed && echo $A $PWD"]"#);
    assert_eq!(fingerprint(&place.rootfs("again")), whole, "the new image is the rootfs");
    assert_eq!(place.stdout("again"), "kept\nchanged\n1 /tmp\n");
    place.remove("web");
    place.remove("again");
    place.ctrfs(&["image", "rm", image.trim_end()]);
    assert!(tree.path(&format!("image-name/localhost/{IMAGE}:latest")).exists());
}

/// The ID of the layer that is a container's own.
fn own_layer(place: &Place, ctr: &str) -> String {
    let is_own = |layer: &String| place.tree.path(&format!("layer/{layer}/used-by/{ctr}")).exists();
    let is_named = |layer: &String| place.tree.path(&format!("layer/{layer}/name")).exists();
    let layers = names(&place.tree.path("layer")).into_iter();
    layers.filter(is_named).find(is_own).expect("a mounted container has a layer of its own")
}

/// What a container could leave: mounts, the server's files, directories.
fn traces(place: &Place) -> BTreeMap<String, Vec<String>> {
    let run_root = place.tree.read("runtime-config/run-root");
    let run_root = Path::new(run_root.trim_end());
    let mut traces = BTreeMap::new();
    for dir in ["layers", "ctr", "staging", "trash"] {
        traces.insert(dir.to_owned(), names(&place.tree.store.join(dir)));
    }
    for dir in ["p", "run", "handles"] {
        traces.insert(dir.to_owned(), names(&run_root.join(dir)));
    }
    let ours =
        |line: &&str| line.contains(place.tree.at.to_str().unwrap()) || line.contains(run_root.to_str().unwrap());
    let mounts = mountinfo();
    traces.insert("mounts".to_owned(), mounts.lines().filter(ours).map(str::to_owned).collect());
    for process in [place.tree.keeper(), place.tree.server()] {
        let fds = Path::new("/proc").join(process.to_string()).join("fd");
        let targets = names(&fds).into_iter().filter_map(|fd| fs::read_link(fds.join(fd)).ok());
        let mut targets: Vec<String> = targets.map(|target| target.display().to_string()).collect();
        targets.sort();
        traces.insert(fds.display().to_string(), targets);
    }
    traces
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
