//! `scripts/engine` on a real tree with a real runtime, in every shell.

use std::fs;
use std::process::{Command, Output, Stdio};

use super::Place;
use crate::support::{kill, text, wait_until};
use crate::tools::{SHELLS, need_shells};

const ENGINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/engine");

impl Place {
    fn engine_command(&self, shell: &[&str], arguments: &[&str]) -> Command {
        let xdg = self.scratch.path().join("xdg");
        fs::create_dir_all(&xdg).unwrap();
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(ENGINE).args(arguments).stdin(Stdio::null());
        command.env("CTRFS_AT", &self.tree.at).env("XDG_RUNTIME_DIR", xdg).env_remove("RUNTIME");
        command
    }

    fn engine(&self, shell: &[&str], arguments: &[&str]) -> Output {
        self.engine_command(shell, arguments).output().unwrap()
    }

    /// What it says, and its exit code.
    #[track_caller]
    fn says(&self, shell: &[&str], arguments: &[&str], code: i32) -> String {
        let output = self.engine(shell, arguments);
        assert_eq!(output.status.code(), Some(code), "{shell:?} {arguments:?}: {}", text(&output));
        text(&output)
    }

    /// What the engine keeps of its containers.
    fn engine_state(&self) -> Vec<String> {
        let state = self.scratch.path().join("xdg/ctrfs-engine");
        let entries = ["", "runtime"].into_iter().flat_map(|dir| fs::read_dir(state.join(dir)).into_iter().flatten());
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "runtime").collect()
    }
}

#[test]
fn it_runs_lists_joins_stops_and_removes() {
    need_shells();
    let place = Place::new();
    for shell in SHELLS {
        assert_eq!(place.says(shell, &["run", "one", "busybox"], 0), "from the image\n");
        assert_eq!(
            place.says(shell, &["run", "two", "busybox", "echo \"$0 $1\" >&2; exit 3", "a b", "c\"d"], 3),
            "a b c\"d\n"
        );
        let wait = "trap 'echo bye; exit 4' TERM; echo up; while :; do sleep 0.05; done";
        assert_eq!(place.says(shell, &["run", "-d", "three", "busybox", wait], 0), "");
        wait_until("it is up", || place.says(shell, &["logs", "three"], 0) == "up\n");
        let listed = place.says(shell, &["ps"], 0);
        let row =
            |name: &str| listed.lines().find(|line| line.split_whitespace().nth(1) == Some(name)).unwrap().to_owned();
        assert!(row("two").contains(" exited ") && row("two").contains(" 3 "), "{listed}");
        assert!(row("three").contains(" running ") && row("three").ends_with("localhost/busybox:latest"), "{listed}");
        let pid: u32 = place.tree.read("ctr/three/pid").trim().parse().unwrap();
        assert!(fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap().contains("echo up"));

        assert_eq!(place.says(shell, &["exec", "three", "/bin/sh", "-c", "echo in; exit 5"], 5), "in\n");
        assert_eq!(place.says(shell, &["rm", "three"], 1), "engine: three is running\n");
        place.says(shell, &["stop", "three"], 0);
        assert_eq!(place.tree.read("ctr/three/exit-code"), "4\n");
        assert_eq!(place.says(shell, &["logs", "three"], 0), "up\nbye\n");
        for verb in [&["stop", "three"][..], &["exec", "three", "true"]] {
            assert_eq!(place.says(shell, verb, 1), "engine: three is exited\n");
        }
        for name in ["one", "two", "three"] {
            assert_eq!(place.says(shell, &["rm", name], 0), "");
        }
        assert_eq!(place.says(shell, &["rm", "one"], 1), "engine: no container one\n");
        assert_eq!(place.engine_state(), [""; 0], "{shell:?}");
    }
}

#[test]
fn its_failures_are_told_and_leave_nothing() {
    need_shells();
    let place = Place::new();
    place.tree.make("taken");
    for shell in SHELLS {
        assert_eq!(place.says(shell, &["run", "new", "no-such"], 1), "engine: new: no such image: no-such\n");
        let taken = "engine: taken: the name taken belongs to a container\n";
        assert_eq!(place.says(shell, &["run", "taken", "busybox"], 1), taken);
        for nonsense in [&[][..], &["fly"], &["run", "web"], &["stop"], &["rm", "a", "b"]] {
            assert!(place.says(shell, nonsense, 2).starts_with("engine run [-d] NAME IMAGE"), "{nonsense:?}");
        }
        assert_eq!(fs::read_dir(place.tree.path("ctr")).unwrap().count(), 1, "{shell:?}");
        assert_eq!(place.engine_state(), [""; 0], "{shell:?}");
    }
}

/// A command that does not exist is found out by the runtime only.
#[test]
fn a_container_that_does_not_start_is_removed() {
    need_shells();
    let place = Place::new();
    place.build("broken", &["--config.entrypoint", "/no/such/program"]);
    place.import("broken", "broken");
    for shell in SHELLS {
        for detach in [&["run"][..], &["run", "-d"]] {
            let said = place.says(shell, &[detach, &["new", "broken"]].concat(), 1);
            assert!(said.contains("/no/such/program"), "{said}");
            assert_eq!(fs::read_dir(place.tree.path("ctr")).unwrap().count(), 0, "{shell:?}");
            assert_eq!(place.engine_state(), [""; 0], "{shell:?}");
        }
    }
}

#[test]
fn a_killed_engine_s_container_can_be_stopped_and_removed() {
    need_shells();
    let place = Place::new();
    for shell in SHELLS {
        let script = "trap '' TERM; echo >/ready; while :; do sleep 0.05; done";
        let mut engine = place.engine_command(shell, &["run", "web", "busybox", script]).spawn().unwrap();
        wait_until("it runs", || place.rootfs("web").join("ready").exists());
        wait_until("it is noted", || place.tree.read("ctr/web/status") == "running\n");
        kill(engine.id());
        engine.wait().unwrap();
        assert!(place.says(shell, &["ps"], 0).contains(" running "));
        place.tree.sh(&["sh"], r#"echo '{"stopTimeout":1}' >>ctr/web/config"#);
        place.says(shell, &["rm", "-f", "web"], 0);
        assert_eq!(fs::read_dir(place.tree.path("ctr")).unwrap().count(), 0, "{shell:?}");
        assert_eq!(place.engine_state(), [""; 0], "{shell:?}");
    }
}

/// Ctrl-C reaches the engine and the runtime at once.
#[test]
fn a_signal_ends_the_container() {
    need_shells();
    let place = Place::new();
    for shell in SHELLS {
        let script = "trap 'exit 9' TERM; echo >/ready; while :; do sleep 0.05; done";
        let mut engine = place.engine_command(shell, &["run", "web", "busybox", script]).spawn().unwrap();
        wait_until("it is noted", || place.tree.read("table/ctr").contains("\trunning\t"));
        wait_until("it runs", || place.rootfs("web").join("ready").exists());
        let pid = nix::unistd::Pid::from_raw(engine.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(engine.wait().unwrap().code(), Some(9), "{shell:?}");
        assert_eq!(place.tree.read("ctr/web/status"), "exited\n");
        place.says(shell, &["rm", "web"], 0);
    }
}
