//! A container's directory as a real runtime's bundle: images by umoci, containers by runc.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::{CTRFS, Mounted, Scratch, succeed, text};
use crate::tools::{create, need};

mod configs;
mod cycle;
mod engine;
mod processes;

/// The name of the test image.
const IMAGE: &str = "busybox";
/// What its /etc/greeting says.
const GREETING: &str = "good morning";

/// A mounted store with an image in it, and a runtime with a state of its own.
struct Place {
    tree: Mounted,
    scratch: Scratch,
}

impl Place {
    /// With the test image, whose entrypoint is a shell that takes a script.
    fn new() -> Place {
        let place = Place::empty();
        let entry =
            ["--config.entrypoint", "/bin/sh", "--config.entrypoint", "-c", "--config.cmd", "echo from the image"];
        place.build("bb", &[&entry[..], &["--config.env", "A=1", "--config.workingdir", "/tmp"]].concat());
        place.import("bb", IMAGE);
        place
    }

    /// Without an image; the layout has busybox as `base` and nothing as `none`.
    fn empty() -> Place {
        for (program, package) in [("runc", "runc"), ("umoci", "umoci"), ("busybox", "busybox-static"), ("tar", "tar")]
        {
            need(program, package);
        }
        let place = Place { tree: Mounted::new(), scratch: Scratch::new() };
        let root = place.scratch.path().join("root");
        for dir in ["bin", "etc"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists()).unwrap();
        fs::copy(busybox, root.join("bin/busybox")).unwrap();
        let listed = text(&succeed(Command::new(busybox).arg("--list")));
        for applet in listed.lines().filter(|applet| *applet != "busybox") {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        fs::write(root.join("etc/greeting"), format!("{GREETING}\n")).unwrap();
        fs::write(root.join("etc/doomed"), "").unwrap();
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nweb:x:1000:77::/:/bin/sh\n").unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\nweb:x:77:\nextra:x:88:other,web\n").unwrap();
        place.umoci(&["init", "--layout", "layout"]);
        place.umoci(&["new", "--image", "layout:none"]);
        place.umoci(&["new", "--image", "layout:base"]);
        place.umoci(&["insert", "--image", "layout:base", "root", "/"]);
        place
    }

    fn umoci(&self, arguments: &[&str]) {
        succeed(Command::new("umoci").args(arguments).current_dir(self.scratch.path()));
    }

    /// Makes an image of busybox with a config.
    fn build(&self, tag: &str, config: &[&str]) {
        self.umoci(&[&["config", "--image", "layout:base", "--tag", tag], config].concat());
    }

    fn import(&self, tag: &str, name: &str) {
        let source = format!("oci:{}:{tag}", self.scratch.path().join("layout").display());
        self.ctrfs(&["image", "import", "--quiet", &source, name]);
    }

    /// Runs a verb that must succeed; returns what it prints.
    fn ctrfs(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(CTRFS);
        text(&succeed(command.args(arguments).env("CTRFS_AT", &self.tree.at).stdin(Stdio::null())))
    }

    /// Makes a container of the test image with more keys, and mounts it.
    fn mount(&self, name: &str, keys: &str) -> String {
        self.mount_of(IMAGE, name, keys)
    }

    fn mount_of(&self, image: &str, name: &str, keys: &str) -> String {
        let comma = if keys.is_empty() { "" } else { "," };
        let ids = create(&self.tree, &format!(r#"{{"name":"{name}","image":"{image}"{comma}{keys}}}"#));
        self.tree.echo("1", &format!("ctr/{name}/mounted")).unwrap();
        ids[0].clone()
    }

    /// The runtime, on the state of this place.
    fn runc(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.scratch.path().join("runc")).args(arguments).stdin(Stdio::null());
        command
    }

    /// The command of `runc run` for a container, as people type it but for `--root`.
    fn run_command(&self, name: &str) -> Command {
        let bundle = fs::canonicalize(self.tree.path(&format!("ctr/{name}"))).unwrap();
        self.runc(&["run", "--bundle", bundle.to_str().unwrap(), &self.key(name)])
    }

    /// What a container is called at the runtime: cgroups have one name space for the whole machine.
    fn key(&self, name: &str) -> String {
        format!("{}-{name}", self.scratch.path().file_name().unwrap().to_str().unwrap())
    }

    fn run(&self, name: &str) -> Output {
        self.run_command(name).output().unwrap()
    }

    /// Runs a container that must end well; returns its standard output.
    #[track_caller]
    fn stdout(&self, name: &str) -> String {
        let output = self.run(name);
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn remove(&self, name: &str) {
        self.ctrfs(&["rm", name]);
    }

    fn rootfs(&self, name: &str) -> PathBuf {
        self.tree.path(&format!("ctr/{name}/rootfs"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Ok(containers) = fs::read_dir(self.tree.path("ctr")) {
            for container in containers.flatten() {
                let _ = fs::write(container.path().join("mounted"), "0\n");
            }
        }
        // After a failure containers may still run.
        for state in ["runc", "xdg/ctrfs-engine/runtime"].map(|below| self.scratch.path().join(below)) {
            let runc = |arguments: &[&str]| Command::new("runc").arg("--root").arg(&state).args(arguments).output();
            let listed = runc(&["list", "--quiet"]).map(|output| text(&output)).unwrap_or_default();
            for container in listed.lines() {
                let _ = runc(&["delete", "--force", container]);
            }
        }
    }
}

/// All that a tree is, as the digest of its archive: names, types, modes, owners, xattrs, times, content;
/// but for the time of its top, which is that of the container's own layer.
fn fingerprint(root: &Path) -> String {
    let script = r#"stat -c '%f %u %g' .; ls -A | tar --sort=name --numeric-owner --xattrs --format=posix \
        --pax-option=exthdr.name=%d/pax/%f,delete=atime,delete=ctime -cf - -T - | sha256sum"#;
    text(&succeed(Command::new("sh").args(["-euc", script]).current_dir(root)))
}
