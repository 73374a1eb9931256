//! The promises of ctrfs(5), in the order of the page, as far as no other module is about them.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;

use crate::support::{CTRFS, Mounted, errno, kill, succeed, text, wait_until};
use crate::tools::make_imaged;

mod documents;
mod mounts;
mod writing;

const PAGE: &str = include_str!("../../../man/ctrfs.5");

/// Runs a script at the root of the tree; it must succeed. Returns what it printed.
fn sh(tree: &Mounted, script: &str) -> String {
    let output = tree.sh(&["bash", "-e"], script);
    assert!(output.status.success(), "{script}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Writes in one call to a file opened with `>>`.
fn append(tree: &Mounted, below: &str, text: &str) -> std::io::Result<()> {
    OpenOptions::new().append(true).open(tree.path(below))?.write_all(text.as_bytes())
}

/// Writes documents to an entry and reads the answer from the same handle.
fn ask(tree: &Mounted, entry: &str, documents: &str) -> std::io::Result<String> {
    let mut file = OpenOptions::new().read(true).write(true).open(tree.path(entry))?;
    file.write_all(documents.as_bytes())?;
    let mut answer = String::new();
    file.read_to_string(&mut answer)?;
    Ok(answer)
}

fn listing(tree: &Mounted, dir: &str) -> Vec<String> {
    let entries = fs::read_dir(tree.path(dir)).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn link(tree: &Mounted, below: &str) -> String {
    fs::read_link(tree.path(below)).unwrap().to_str().unwrap().to_owned()
}

fn inode(tree: &Mounted, below: &str) -> u64 {
    fs::symlink_metadata(tree.path(below)).unwrap().ino()
}

mod terms_and_tree {
    use super::*;

    #[test]
    fn containers_and_pods_share_ids_and_names() {
        let tree = Mounted::new();
        let id = tree.make("web");
        assert_eq!(errno(fs::create_dir(tree.path("pod/web"))), Errno::EEXIST);
        assert_eq!(errno(fs::create_dir(tree.path(&format!("pod/{id}")))), Errno::EEXIST);
        fs::create_dir(tree.path("pod/shop")).unwrap();
        assert_eq!(errno(tree.echo("shop", "ctr/web/name")), Errno::EEXIST);
        assert_eq!(listing(&tree, "name"), ["shop", "web"]);
        assert_eq!(listing(&tree, "id").len(), 2);
    }

    #[test]
    fn every_entry_of_the_page_is_there_and_no_other() {
        let tree = Mounted::new();
        sh(
            &tree,
            "mkdir pod/p pod/p/containers/on; echo '{\"name\":\"user\",\"pod\":\"p\",\"netNsCtr\":\"on\"}' >create/ctr",
        );
        make_imaged(&tree);
        sh(&tree, "for c in ctr/*; do echo 1 >$c/flags/FLAG; done");
        sh(&tree, "mkdir ctr/gone; echo 1 >ctr/gone/exit-code; rm ctr/gone");
        sh(&tree, "for dir in ctr/*/data image/*/data; do echo x > $dir/KEY; done");
        let name = |path: &str| match path.split_once('/') {
            Some(("name", _)) => "name/NAME".to_owned(),
            Some(("image-name", _)) => "image-name/NAME".to_owned(),
            _ => {
                let word = |word: &str| match word.len() {
                    64 => "ID".to_owned(),
                    1 => "N".to_owned(),
                    _ => word.to_owned(),
                };
                path.split('/').map(word).collect::<Vec<_>>().join("/")
            }
        };
        let found: BTreeSet<String> = sh(&tree, "find * ! -path image-name/localhost").lines().map(name).collect();
        let section = PAGE.split(".Sh THE TREE").nth(1).unwrap().split("\n.Sh ").next().unwrap();
        let items = section.lines().filter_map(|line| line.strip_prefix(".It Pa "));
        assert_eq!(found, items.map(str::to_owned).collect());
    }

    #[test]
    fn values_are_keys_of_their_documents() {
        let tree = Mounted::new();
        tree.make("web");
        sh(&tree, "cd ctr/web; echo paused >status; echo 7 >pid; echo 3 >exit-code; echo /proc/self/ns/net >netns");
        let state: serde_json::Value = serde_json::from_str(&tree.read("ctr/web/state")).unwrap();
        assert_eq!(
            state,
            serde_json::json!({"state": "paused", "pid": 7, "exitCode": 3, "netns": "/proc/self/ns/net"})
        );
        assert_eq!(tree.read("ctr/web/health"), "ok\n");
        tree.echo("/nowhere", "ctr/web/netns").unwrap();
        assert!(tree.read("ctr/web/health").starts_with("netns /nowhere"));
        assert_eq!(tree.read("ctr/web/raw"), tree.read("ctr/web/config") + &tree.read("ctr/web/state"));
    }

    #[test]
    fn an_id_comes_before_a_name_and_a_name_before_a_prefix() {
        let tree = Mounted::new();
        let one = format!("{}1", "ab".repeat(31) + "a");
        let two = format!("{}2", "ab".repeat(31) + "a");
        fs::create_dir(tree.path(&format!("ctr/{one}"))).unwrap();
        assert_eq!(link(&tree, "ctr/ababab"), one);
        assert_eq!(errno(fs::read_link(tree.path("ctr/ababa"))), Errno::ENOENT, "5 digits are no prefix");
        assert_eq!(errno(fs::read_link(tree.path("ctr/ABABAB"))), Errno::ENOENT, "nor are upper-case ones");
        assert_eq!(errno(fs::read_link(tree.path("pod/ababab"))), Errno::ENOENT, "nor those of another kind");
        fs::create_dir(tree.path(&format!("ctr/{two}"))).unwrap();
        assert_eq!(errno(fs::read_link(tree.path("ctr/ababab"))), Errno::ENOTUNIQ);
        assert_eq!(listing(&tree, "ctr"), [one, two]);
        let id = tree.make("web");
        fs::rename(tree.path("name/web"), tree.path("name/ababab")).unwrap();
        assert_eq!(link(&tree, "ctr/ababab"), id);
    }

    #[test]
    fn a_pods_containers_answer_to_names_and_prefixes_too() {
        let tree = Mounted::new();
        sh(&tree, "mkdir pod/p pod/p/containers/in");
        let (id, outside) = (tree.id("in"), tree.make("out"));
        for text in ["in", &id, &id[..8]] {
            assert_eq!(link(&tree, &format!("pod/p/containers/{text}")), format!("../../../ctr/{id}"));
        }
        assert_eq!(errno(fs::read_link(tree.path("pod/p/containers/out"))), Errno::ENOENT);
        assert_eq!(errno(fs::read_link(tree.path(&format!("pod/p/containers/{outside}")))), Errno::ENOENT);
        assert_eq!(listing(&tree, "pod/p/containers"), [id]);
    }
}

mod making_and_removing {
    use super::*;

    #[test]
    fn mkdir_takes_a_name_or_an_id() {
        let tree = Mounted::new();
        let id = "0123456789abcdef".repeat(4);
        for kind in ["ctr", "pod"] {
            fs::create_dir(tree.path(&format!("{kind}/{id}"))).unwrap();
            let name = tree.read(&format!("{kind}/{id}/name"));
            assert!(name.contains('_'), "{name:?} is adjective_noun");
            fs::remove_dir(tree.path(&format!("{kind}/{id}"))).unwrap();
        }
        fs::create_dir(tree.path("pod/p")).unwrap();
        fs::create_dir(tree.path(&format!("pod/p/containers/{id}"))).unwrap();
        assert!(link(&tree, &format!("ctr/{id}/pod")).starts_with("../../pod/"));
    }

    #[test]
    fn rm_takes_a_name_and_no_prefix() {
        let tree = Mounted::new();
        let id = tree.make("web");
        assert_eq!(errno(fs::remove_file(tree.path(&format!("ctr/{}", &id[..8])))), Errno::EPERM);
        fs::remove_file(tree.path("ctr/web")).unwrap();
        sh(&tree, "mkdir pod/p; rm pod/p");
        assert!(listing(&tree, "id").is_empty());
    }

    #[test]
    fn names_move_within_their_directory() {
        let tree = Mounted::new();
        let id = tree.make("web");
        sh(&tree, "mv -T name/web name/www; mv -T ctr/www ctr/front");
        assert_eq!(tree.read(&format!("ctr/{id}/name")), "front\n");
        tree.make("back");
        assert_eq!(errno(fs::rename(tree.path("name/front"), tree.path("name/back"))), Errno::EEXIST);
        assert_eq!(errno(fs::rename(tree.path("name/front"), tree.path("ctr/x"))), Errno::EPERM);
        let at = nix::fcntl::AT_FDCWD;
        let swap = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
        nix::fcntl::renameat2(at, &tree.path("name/front"), at, &tree.path("name/back"), swap).unwrap();
        assert_eq!(tree.read(&format!("ctr/{id}/name")), "back\n");
        assert_eq!(tree.id("back"), id);
    }

    #[test]
    fn all_else_is_not_permitted() {
        let tree = Mounted::new();
        tree.make("web");
        for script in [
            "mkdir x",
            "mkdir name/x",
            "mkdir ctr/web/x",
            "touch ctr/x",
            "ln -s a ctr/x",
            "ln version ctr/x",
            "mkfifo x",
            "rm version",
            "rm ctr/web/state",
            "rmdir table",
            "rm id/*",
            "mv -T version v",
        ] {
            let output = tree.sh(&["bash"], script);
            assert!(!output.status.success(), "{script}");
            assert!(text(&output).contains("Operation not permitted"), "{script}: {}", text(&output));
        }
    }

    #[test]
    fn one_write_of_documents_makes_all_or_none() {
        let tree = Mounted::new();
        let ids = ask(&tree, "create/ctr", r#"{"name":"a"} {"name":"b","netNsCtr":"a"}"#).unwrap();
        let ids: Vec<&str> = ids.lines().collect();
        assert_eq!(ids, [tree.id("a"), tree.id("b")]);
        assert_eq!(errno(ask(&tree, "create/ctr", r#"{"name":"c"} {"name":"a"}"#)), Errno::EEXIST);
        assert!(!tree.path("ctr/c").exists());
        assert_eq!(sh(&tree, "exec 3<>create/ctr; echo '{}' >&3; read -r id <&3; echo ${#id}"), "64\n");
        assert_eq!(ask(&tree, "create/pod", "{}").unwrap().len(), 65);
        let example = tree.read("create/ctr");
        assert!(serde_json::from_str::<serde_json::Value>(&example).unwrap().is_object());
    }

    #[test]
    fn control_removes_several_at_once() {
        let tree = Mounted::new();
        let a = tree.make("a");
        sh(&tree, "echo '{\"name\":\"b\",\"netNsCtr\":\"a\"}' >create/ctr; mkdir pod/p pod/p/containers/in");
        let b = tree.id("b");
        let remove_a = r#"{"verb":"remove","ctr":"a"}"#;
        assert_eq!(errno(ask(&tree, "control", remove_a)), Errno::EBUSY);
        assert_eq!(errno(ask(&tree, "control", &format!(r#"{{"verb":"remove","ctr":"{}"}}"#, &a[..8]))), Errno::EPERM);
        let both = r#"{"verb":"remove","ctr":["a","b"]}"#;
        assert_eq!(errno(ask(&tree, "control", &(both.to_owned() + remove_a))), Errno::ENOENT);
        assert!(tree.path("ctr/b").exists(), "orders of one write are carried out together or not at all");
        assert_eq!(ask(&tree, "control", both).unwrap(), format!("{a} {b}\n"));
        assert_eq!(errno(ask(&tree, "control", r#"{"verb":"remove","pod":"p"}"#)), Errno::ENOTEMPTY);
        let line = ask(&tree, "control", r#"{"verb":"remove","pod":"p","recursive":true}"#).unwrap();
        assert_eq!(line.split_whitespace().count(), 2);
        assert!(listing(&tree, "id").is_empty());
    }
}

mod tables_and_refusals {
    use super::*;

    #[test]
    fn tables_have_the_columns_of_the_page() {
        let tree = Mounted::new();
        sh(&tree, "mkdir pod/p ctr/old; echo '{\"name\":\"new\",\"rootfsImageName\":\"a\\tb\\\\c\\nd\"}' >create/ctr");
        let section = PAGE.split(".Sh TABLES").nth(1).unwrap().split("\n.Sh ").next().unwrap();
        let [image, _] = make_imaged(&tree);
        for table in ["table/ctr", "table/pod", "table/image"] {
            let item = section.split(&format!(".It Pa {table}\n")).nth(1).unwrap();
            let item = item.split("\n.").next().unwrap().replace('\n', " ");
            let header = tree.read(table).lines().next().unwrap().replace('\t', ", ");
            assert_eq!(header, item, "{table}");
        }
        let rows = tree.read("table/ctr");
        let rows: Vec<Vec<&str>> = rows.lines().skip(1).map(|line| line.split('\t').collect()).collect();
        assert_eq!((rows[1][1], rows[2][1]), ("new", "old"));
        assert_eq!((rows[1][6], rows[2][6]), ("a\\tb\\\\c\\nd", "-"));
        assert_eq!((rows[0][6], rows[0][7]), ("localhost/small:latest", "0"));
        let row = format!("{image}\tlocalhost/small:latest\t2\t2\t1\t2026-01-02T03:04:05Z");
        assert_eq!(tree.read("table/image").lines().nth(1), Some(row.as_str()));
    }

    #[test]
    fn a_refusal_is_a_line_with_its_reason() {
        let tree = Mounted::new();
        tree.make("web");
        assert!(tree.read("refusals").is_empty());
        assert_eq!(errno(File::open(tree.path("ctr/nothing"))), Errno::ENOENT);
        assert!(tree.read("refusals").is_empty(), "a lookup that finds nothing is not noted");
        assert_eq!(errno(tree.echo("up", "ctr/web/status")), Errno::EINVAL);
        let line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&tree.last_refusal()).unwrap();
        let keys: Vec<&str> = line.keys().map(String::as_str).collect();
        assert_eq!(keys, ["time", "pid", "uid", "comm", "op", "path", "errno", "reason"]);
        assert_eq!((&line["op"], &line["errno"]), (&"write".into(), &"EINVAL".into()));
        for _ in 0..1030 {
            let _ = tree.echo("up", "ctr/web/status");
        }
        assert_eq!(tree.read("refusals").lines().count(), 1024);
        tree.kill_server();
        assert!(tree.read("refusals").is_empty());
    }

    #[test]
    fn check_says_ok() {
        let tree = Mounted::new();
        make_imaged(&tree);
        assert_eq!(tree.read("check"), "ok: 1 containers, 0 pods, 1 images, 3 layers\n");
    }
}

mod attributes_and_consistency {
    use super::*;

    #[test]
    fn inode_numbers_outlive_server_mount_and_name() {
        let tree = Mounted::new();
        let id = tree.make("web");
        let entries = [format!("ctr/{id}"), format!("ctr/{id}/state"), format!("id/{id}"), "name/web".to_owned()];
        let numbers = |tree: &Mounted| entries.each_ref().map(|entry| inode(tree, entry));
        let before = numbers(&tree);
        tree.kill_server();
        assert_eq!(numbers(&tree), before);
        tree.unmount();
        tree.mount();
        assert_eq!(numbers(&tree), before);
        fs::rename(tree.path("name/web"), tree.path("name/www")).unwrap();
        assert_eq!(inode(&tree, "name/www"), before[3]);
        fs::remove_dir(tree.path(&entries[0])).unwrap();
        fs::create_dir(tree.path(&entries[0])).unwrap();
        let after = entries[..3].iter().map(|entry| inode(&tree, entry));
        assert!(after.into_iter().all(|number| !before.contains(&number)), "a number was given again");
    }

    #[test]
    fn sizes_are_exact_but_for_what_is_gathered() {
        let tree = Mounted::new();
        sh(&tree, "mkdir pod/p pod/p/containers/web");
        let [_, imaged] = make_imaged(&tree);
        let found = sh(
            &tree,
            "find ctr/*/ pod/*/ image/*/ layer/*/ check control refusals version create table runtime-config -type f",
        );
        let mut gathered = 0;
        for entry in found.lines() {
            let size = fs::metadata(tree.path(entry)).unwrap().len();
            let is_gathered = ["/health", "/size-rw", "/config.json"].iter().any(|name| entry.ends_with(name))
                || entry == format!("layer/{imaged}/size")
                || ["check", "control", "refusals"].contains(&entry)
                || entry.starts_with("create/")
                || entry.starts_with("table/");
            gathered += usize::from(is_gathered);
            let expected = if is_gathered { 4096 } else { tree.read(entry).len() as u64 };
            assert_eq!(size, expected, "{entry}");
        }
        assert_eq!(gathered, 16);
    }

    #[test]
    fn the_newest_container_is_first() {
        let tree = Mounted::new();
        let ids = ["a", "b", "c"].map(|name| tree.make(name));
        tree.echo("running", "ctr/a/status").unwrap();
        let listed = sh(&tree, "ls -t ctr");
        assert_eq!(listed.lines().collect::<Vec<_>>(), [&ids[2], &ids[1], &ids[0]]);
        let changed = sh(&tree, "find ctr/ -newer ctr/c/config -name status");
        assert_eq!(changed, format!("ctr/{}/status\n", ids[0]));
    }

    #[test]
    fn a_read_and_a_listing_are_of_one_moment() {
        let tree = Mounted::new();
        tree.make("web");
        tree.echo("running", "ctr/web/status").unwrap();
        let mut file = File::open(tree.path("ctr/web/status")).unwrap();
        let mut begin = [0; 3];
        file.read_exact(&mut begin).unwrap();
        tree.echo("stopped", "ctr/web/status").unwrap();
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!((&begin, rest.as_str()), (b"run", "ning\n"));
        file.rewind().unwrap();
        rest.clear();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "stopped\n");
        let listing = fs::read_dir(tree.path("ctr")).unwrap();
        tree.make("late");
        assert_eq!(listing.count(), 1);
    }

    #[test]
    fn flock_works_between_processes() {
        let tree = Mounted::new();
        tree.make("web");
        let said = sh(
            &tree,
            "exec 3<ctr/web/state; flock 3; flock -n ctr/web/state true || echo held; flock -u 3; flock -n ctr/web/state echo free",
        );
        assert_eq!(said, "held\nfree\n");
    }
}

mod when_things_die {
    use super::*;

    #[test]
    fn what_was_written_in_part_stays_written_in_part() {
        let tree = Mounted::new();
        tree.make("web");
        let mut file = OpenOptions::new().write(true).open(tree.path("ctr/web/status")).unwrap();
        file.write_all(b"run").unwrap();
        tree.kill_server();
        file.write_all(b"ning\n").unwrap();
        assert_eq!(tree.read("ctr/web/status"), "running\n");
    }

    #[test]
    fn a_read_goes_on_unless_the_entry_changed() {
        let tree = Mounted::new();
        tree.make("web");
        let mut piece = [0; 4];
        let mut file = File::open(tree.path("ctr/web/status")).unwrap();
        file.read_exact(&mut piece).unwrap();
        tree.kill_server();
        file.read_exact(&mut piece).unwrap();
        assert_eq!(&piece, b"igur");
        tree.kill_server();
        tree.echo("running", "ctr/web/status").unwrap();
        assert_eq!(errno(file.read(&mut piece)), Errno::ESTALE);
    }

    #[test]
    fn without_its_keeper_the_mount_is_dead_until_it_is_mounted_again() {
        let tree = Mounted::new();
        tree.make("web");
        tree.echo("running", "ctr/web/status").unwrap();
        kill(tree.keeper());
        wait_until("the mount is dead", || {
            fs::read_dir(&tree.at).is_err_and(|error| error.raw_os_error() == Some(Errno::ENOTCONN as i32))
        });
        tree.mount();
        assert_eq!(tree.read("ctr/web/status"), "running\n");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert_eq!(mounts.matches(tree.at.to_str().unwrap()).count(), 1, "mounts are never stacked");
    }
}

mod after_a_reboot {
    use super::*;

    /// Mounts in a mount namespace where the kernel has another boot ID.
    const NEXT_BOOT: &str = "echo 0000 >boot; mount --bind boot /proc/sys/kernel/random/boot_id
        $CTRFS mount store mnt; cat mnt/ctr/web/state; echo; cat mnt/pod/p/state; $CTRFS umount mnt";

    #[test]
    fn the_keys_of_the_page_go_and_all_else_stays() {
        let tree = Mounted::new();
        sh(&tree, "mkdir pod/p pod/p/containers/web");
        let text = PAGE.split("these keys go:\n").nth(1).unwrap();
        let keys = text.lines().next().unwrap().strip_prefix(".Ql ").unwrap().split_whitespace();
        let mut state: serde_json::Map<_, _> = keys
            .filter(|word| ![",", ";"].contains(word))
            .map(|key| (key.to_owned(), serde_json::Value::Null))
            .collect();
        assert_eq!(state.len(), 14);
        // Derived keys are never stored; a value shows better than null that the others go.
        state.insert("pid".to_owned(), 7.into());
        for (key, value) in [("exitCode", "3"), ("startedTime", "\"2026-01-01T00:00:00Z\""), ("own", "{\"a\":[1]}")] {
            state.insert(key.to_owned(), serde_json::from_str(value).unwrap());
        }
        state.insert("state".to_owned(), "running".into());
        tree.echo(&serde_json::Value::Object(state).to_string(), "ctr/web/state").unwrap();
        let pod = r#"{"CgroupPath":"/a","cgroupPath":"/a","InfraContainerID":"x"}"#;
        tree.echo(pod, "pod/p/state").unwrap();
        tree.unmount();

        let mut next = Command::new("unshare");
        next.args(["--mount", "bash", "-ec", NEXT_BOOT]).env("CTRFS", CTRFS).current_dir(tree.store.parent().unwrap());
        let output = succeed(&mut next);
        let read = String::from_utf8(output.stdout).unwrap();
        let (ctr, pod) = read.split_once("\n\n").unwrap();
        let ctr: serde_json::Value = serde_json::from_str(ctr).unwrap();
        assert_eq!(
            ctr,
            serde_json::json!({"exitCode": 3, "startedTime": "2026-01-01T00:00:00Z", "own": {"a": [1]}, "state": "configured"})
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(pod).unwrap(),
            serde_json::json!({"InfraContainerID": "x"})
        );
    }
}

mod limits {
    use super::*;

    #[test]
    fn a_name_is_a_symlink_to_rmdir() {
        let tree = Mounted::new();
        tree.make("web");
        assert_eq!(errno(fs::remove_dir(tree.path("ctr/web"))), Errno::ENOTDIR);
        let output = tree.sh(&["sh"], "mkdir -p ctr/new/x");
        assert!(text(&output).contains("Not a directory"), "{}", text(&output));
        assert!(tree.path("ctr/new").exists());
    }

    #[test]
    fn a_name_that_is_a_prefix_is_made_otherwise() {
        let tree = Mounted::new();
        let id = tree.make("web");
        assert_eq!(errno(fs::create_dir(tree.path(&format!("ctr/{}", &id[..7])))), Errno::EEXIST);
        ask(&tree, "create/ctr", &format!("{{\"name\":\"{}\"}}", &id[..7])).unwrap();
        fs::rename(tree.path("name/web"), tree.path(&format!("name/{}", &id[..8]))).unwrap();
        assert_ne!(tree.id(&id[..7]), id);
    }

    #[test]
    fn there_is_nothing_to_count_and_nothing_extended() {
        let tree = Mounted::new();
        assert_eq!(sh(&tree, "stat -f -c %b-%c ."), "0-0\n");
        let list = "import os, sys; os.listxattr(sys.argv[1])";
        let output = Command::new("python3")
            .args(["-c", list])
            .arg(&tree.at)
            .output()
            .expect("python3 (Debian package python3)");
        assert!(text(&output).contains("Operation not supported"), "{}", text(&output));
    }

    #[test]
    fn the_examples_of_the_page_do_what_they_say() {
        let tree = Mounted::new();
        tree.make("web");
        tree.make("idle");
        tree.echo("running", "ctr/web/status").unwrap();
        assert_eq!(sh(&tree, r#"awk '$3 == "running" { print $2 }' table/ctr"#), "web\n");
        let example = PAGE.split("compare-and-swap:\n.Bd -literal -offset indent\n").nth(1).unwrap();
        let raise = example.split(".Ed").next().unwrap().replace("\\e", "\\");
        let raises: String = (0..4).map(|_| format!("( for i in 1 2 3; do {raise} done ) &\n")).collect();
        sh(&tree, &format!("{raises}wait"));
        assert_eq!(sh(&tree, "jq -r .labels.n ctr/web/config"), "12\n");
    }
}
