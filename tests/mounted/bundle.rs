//! The spec that makes a container's directory a bundle, before the runtime that reads it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use ctrfs::model::bundle::{Bundle, runtime_spec};
use ctrfs::model::hosts;
use ctrfs::model::json::{Map, Value, parse};
use ctrfs::model::user::Accounts;

use crate::support::{Scratch, succeed, text};
use crate::tools::need;

fn object(text: &str) -> Map<String, Value> {
    match parse(text.as_bytes()) {
        Ok(Value::Object(object)) => object,
        other => panic!("{text}: {other:?}"),
    }
}

/// The default is what `runc spec` prints but for the differences that the module names, and for the
/// version of the specification, in which runc's own is between two releases.
#[test]
fn the_default_spec_is_runcs() {
    need("runc", "runc");
    let scratch = Scratch::new();
    succeed(Command::new("runc").arg("spec").current_dir(scratch.path()));
    let mut theirs = object(&fs::read_to_string(scratch.path().join("config.json")).unwrap());
    let mut ours = object(include_str!("../../src/model/spec.json"));
    assert_eq!(ours["process"]["terminal"], false);
    assert_eq!(ours["root"]["readonly"], false);
    ours["process"]["terminal"] = true.into();
    ours["root"]["readonly"] = true.into();
    assert_eq!(theirs.remove("hostname"), Some(Value::from("runc")));
    let version = [ours.remove("ociVersion"), theirs.remove("ociVersion")];
    let starts: Vec<&str> = version.iter().flatten().filter_map(Value::as_str).map(|text| &text[..2]).collect();
    assert_eq!(starts, ["1.", "1."]);
    assert_eq!(Value::from(ours), Value::from(theirs));
}

/// A bundle with busybox for a rootfs, a directory for /dev/shm, and its three files.
struct Bundled {
    scratch: Scratch,
    config: Map<String, Value>,
}

impl Bundled {
    fn new(config: &str) -> Bundled {
        need("runc", "runc");
        need("busybox", "busybox-static");
        let (scratch, mut config) = (Scratch::new(), object(config));
        config.insert("id".to_owned(), "0123456789abcdef".repeat(4).into());
        let dir = scratch.path();
        for sub in ["rootfs/bin", "rootfs/etc", "rootfs/proc", "rootfs/sys", "rootfs/dev", "shm", "run"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists()).unwrap();
        fs::copy(busybox, dir.join("rootfs/bin/busybox")).unwrap();
        symlink("busybox", dir.join("rootfs/bin/sh")).unwrap();
        for (name, content) in [
            ("resolv.conf", hosts::resolv_conf("nameserver 10.0.0.1\n", &config)),
            ("hosts", hosts::hosts("127.0.0.1 localhost", &config)),
            ("hostname", hosts::hostname(&config)),
        ] {
            fs::write(dir.join("run").join(name), content.unwrap()).unwrap();
        }
        Bundled { scratch, config }
    }

    /// What `runc run` says of it.
    fn run(&self, image: &str) -> Output {
        let dir = self.scratch.path();
        let [rootfs, shm, run] = ["rootfs", "shm", "run"].map(|sub| dir.join(sub).to_str().unwrap().to_owned());
        let image = object(image);
        // The whole range of IDs is mapped outside user namespaces only.
        let rootless = !fs::read_to_string("/proc/self/uid_map").unwrap().contains("4294967295");
        let spec = runtime_spec(&Bundle {
            config: &self.config,
            image: Some(&image),
            rootfs: &rootfs,
            accounts: Accounts::default(),
            shm: Some(&shm),
            run: &run,
            rootless,
        });
        fs::write(dir.join("config.json"), spec.unwrap()).unwrap();
        let name = format!("ctrfs-test-{}-{}", std::process::id(), dir.file_name().unwrap().to_str().unwrap());
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(dir.join("runc")).args(["run", "--bundle"]).arg(dir).arg(name);
        runc.stdin(Stdio::null()).output().unwrap()
    }
}

#[test]
fn runc_runs_it() {
    let bundled = Bundled::new(r#"{"hostsAdd":["six:fd00::1"],"dnsSearch":["x.example"]}"#);
    let script = r#"
        for tool in cat id hostname ls; do alias $tool="/bin/busybox $tool"; done
        hostname; cat /etc/hostname; echo; cat /etc/hosts /etc/resolv.conf
        echo shared >/dev/shm/file; echo kept >/kept
        echo "$A $PWD $(id -u)"; exit 7"#;
    let image = Map::from_iter([(
        "config".to_owned(),
        Value::Object(Map::from_iter([
            ("Entrypoint".to_owned(), Value::from(vec!["/bin/sh", "-c"])),
            ("Cmd".to_owned(), Value::from(vec![script])),
            ("Env".to_owned(), Value::from(vec!["A=1"])),
            ("WorkingDir".to_owned(), Value::from("/work/here")),
        ])),
    )]);
    let output = bundled.run(&Value::Object(image).to_string());
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    let expected = "0123456789ab\n0123456789ab\n127.0.0.1 localhost\nfd00::1 six\nsearch x.example\nnameserver 10.0.0.1\n\
        1 /work/here 0\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{}", text(&output));
    let dir = bundled.scratch.path();
    assert_eq!(fs::read_to_string(dir.join("shm/file")).unwrap(), "shared\n");
    assert_eq!(fs::read_to_string(dir.join("rootfs/kept")).unwrap(), "kept\n");
}

#[test]
fn runc_takes_what_the_container_says_itself() {
    let own =
        r#"{"spec":{"process":{"args":["/bin/busybox","cat","/etc/hosts","/proc/1/comm"]}},"UseImageHosts":true}"#;
    let bundled = Bundled::new(own);
    fs::write(bundled.scratch.path().join("rootfs/etc/hosts"), "its own\n").unwrap();
    let output = bundled.run(r#"{"config":{"Entrypoint":["/nothing"]}}"#);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "its own\nbusybox\n", "{}", text(&output));
}
