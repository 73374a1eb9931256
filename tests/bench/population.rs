//! The containers that everything is measured on, and a tmpfs with the same files.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::support::{Mounted, Random, Scratch};

/// How many containers there are.
pub(crate) const CONTAINERS: usize = 10_000;
/// What IDs and choices come from.
pub(crate) const SEED: u64 = 20_260_101;
/// How many containers are made by one write.
const BATCH: usize = 500;
/// The files of a container that stand on the tmpfs too.
const FILES: [&str; 4] = ["config", "state", "status", "name"];

/// Containers in a tree and their copy on a tmpfs.
pub(crate) struct Population {
    /// Their IDs.
    pub(crate) ids: Vec<String>,
    /// The copy of `ctr/`.
    pub(crate) copy: PathBuf,
    _tmpfs: Tmpfs,
}

impl Population {
    pub(crate) fn new(tree: &Mounted) -> Population {
        let mut random = Random(SEED);
        let ids: Vec<String> = (0..CONTAINERS).map(|_| id(&mut random)).collect();
        for (number, ids) in ids.chunks(BATCH).enumerate() {
            let documents: String = ids.iter().zip(number * BATCH..).map(|(id, number)| document(id, number)).collect();
            let mut create = fs::OpenOptions::new().write(true).open(tree.path("create/ctr")).unwrap();
            create.write_all(documents.as_bytes()).unwrap();
        }
        let tmpfs = Tmpfs::new();
        let copy = tmpfs.scratch.path().join("ctr");
        for id in &ids {
            let (from, to) = (tree.path("ctr").join(id), copy.join(id));
            fs::create_dir_all(&to).unwrap();
            for file in FILES {
                fs::write(to.join(file), fs::read(from.join(file)).unwrap()).unwrap();
            }
        }
        Population { ids, copy, _tmpfs: tmpfs }
    }

    /// Reads all states of the copy, one by one.
    pub(crate) fn read_copied_states(&self) {
        for id in &self.ids {
            fs::read(self.copy.join(id).join("state")).unwrap();
        }
    }
}

/// A new ID.
pub(crate) fn id(random: &mut Random) -> String {
    (0..4).map(|_| format!("{:016x}", random.next())).collect()
}

/// A container as an engine asks for it.
pub(crate) fn document(id: &str, number: usize) -> String {
    format!(
        r#"{{"id":"{id}","name":"bench-{number}","labels":{{"tier":"front","number":"{number}"}},
        "command":["httpd","-f","-p","8080"],"stopTimeout":10,"rootfsImageName":"docker.io/library/busybox:latest"}}
        "#
    )
}

struct Tmpfs {
    scratch: Scratch,
}

impl Tmpfs {
    fn new() -> Tmpfs {
        let scratch = Scratch::new();
        let mounted = mount(Some("tmpfs"), scratch.path(), Some("tmpfs"), MsFlags::empty(), None::<&Path>);
        mounted.expect("root, or `unshare --user --map-root-user --mount`, to mount a tmpfs");
        Tmpfs { scratch }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = umount2(self.scratch.path(), MntFlags::MNT_DETACH);
    }
}
