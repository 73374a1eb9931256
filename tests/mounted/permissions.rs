//! Who may do what in the tree: one table, walked by really becoming each of the users.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{CTRFS, Mounted, is_alive, succeed, text, wait_until};
use crate::tools::make_imaged;

/// What kind of entry; a file of the tree that is in none of these fails the test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    Directory,
    /// Where a container's files are.
    Mountpoint,
    /// May hold secrets, and can be written.
    Secret,
    /// May hold secrets, and is never written.
    Record,
    /// Anybody's to read.
    Value,
    /// Anybody's to read, and never written.
    Shown,
}
use Class::{Directory, Mountpoint, Record, Secret, Shown, Value};

struct Row {
    class: Class,
    mode: u32,
    /// The mode with gid=.
    mode_with_gid: u32,
    /// What each may do: r to read or list, w to write or make entries.
    owner: &'static str,
    group: &'static str,
    other: &'static str,
}

/// The permissions of the tree with allow_other; ctrfs(5) shows the same table.
///
/// `owner` is the user who mounts, and root; `group` is the group of gid=, and without that option
/// there is none. Without allow_other only the user who mounts sees anything, and root does not.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    Row { class: Directory, mode: 0o755, mode_with_gid: 0o755, owner: "rw", group: "r", other: "r" },
    Row { class: Mountpoint, mode: 0o750, mode_with_gid: 0o750, owner: "rw", group: "r", other: "" },
    Row { class: Secret,    mode: 0o600, mode_with_gid: 0o640, owner: "rw", group: "r", other: ""  },
    Row { class: Record,    mode: 0o600, mode_with_gid: 0o640, owner: "r",  group: "r", other: ""  },
    Row { class: Value,     mode: 0o644, mode_with_gid: 0o644, owner: "rw", group: "r", other: "r" },
    Row { class: Shown,     mode: 0o444, mode_with_gid: 0o444, owner: "r",  group: "r", other: "r" },
];

/// Which class an entry is in, by its path with IDs left out.
const ENTRIES: &[(&str, Class)] = &[
    ("control", Secret),
    ("create/ctr", Secret),
    ("create/pod", Secret),
    ("create/image", Secret),
    ("create/sandbox", Secret),
    ("refusals", Record),
    ("check", Shown),
    ("version", Shown),
    ("table/*", Shown),
    ("exited/*", Shown),
    ("runtime-config/*", Shown),
    ("ctr/*/config", Secret),
    ("ctr/*/metadata", Secret),
    ("ctr/*/uidmap", Value),
    ("ctr/*/gidmap", Value),
    ("ctr/*/flags/*", Value),
    ("ctr/*/digests", Shown),
    ("ctr/*/raw", Record),
    ("ctr/*/health", Shown),
    ("ctr/*/state", Value),
    ("ctr/*/name", Value),
    ("ctr/*/names", Value),
    ("ctr/*/status", Value),
    ("ctr/*/pid", Value),
    ("ctr/*/exit-code", Value),
    ("ctr/*/netns", Value),
    ("ctr/*/mounted", Value),
    ("ctr/*/config.json", Record),
    ("ctr/*/rootfs", Mountpoint),
    ("ctr/*/shm", Mountpoint),
    ("ctr/*/size-rw", Shown),
    ("ctr/*/size-rootfs", Shown),
    ("pod/*/config", Secret),
    ("pod/*/raw", Record),
    ("pod/*/health", Shown),
    ("pod/*/state", Value),
    ("pod/*/name", Value),
    ("pod/*/status", Shown),
    ("image/*/*", Shown),
    ("layer/*/*", Shown),
];

fn class_of(path: &str, is_dir: bool) -> Class {
    match ENTRIES.iter().find(|(pattern, class)| pattern_fits(pattern, path) && is_dir == (*class == Mountpoint)) {
        Some((_, class)) => *class,
        None if is_dir => Directory,
        None => panic!("{path} is in no class"),
    }
}

fn pattern_fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len() && pattern.iter().zip(&path).all(|(word, part)| *word == "*" || word == part)
}

/// A user of the machine, or of a user namespace.
#[derive(Clone, Copy, Debug)]
struct User {
    uid: u32,
    gid: u32,
    /// A supplementary group.
    group: Option<u32>,
}

const GID: u32 = 4242;
const ROOT: User = User { uid: 0, gid: 0, group: None };
const OWNER: User = User { uid: 4001, gid: 4001, group: None };
const MEMBER: User = User { uid: 4002, gid: 4002, group: Some(GID) };
const OTHER: User = User { uid: 4003, gid: 4003, group: None };

/// Evaluates each argument and prints "ok" or the name of the errno.
const PROBE: &str = r"
import errno, os, sys
def read(path):
    fd = os.open(path, os.O_RDONLY)
    while os.read(fd, 65536): pass
def write(path, text=b''):
    fd = os.open(path, os.O_WRONLY)
    if text: os.write(fd, text)
def make(path):
    if not os.access(path, os.W_OK | os.X_OK): os.open(path + '/none', os.O_WRONLY | os.O_CREAT | os.O_EXCL)
def mode(path, wanted):
    found = os.stat(path).st_mode & 0o7777
    assert found == wanted, '%s is %o' % (path, found)
for statement in sys.stdin.read().split('\0'):
    try:
        eval(statement)
        print('ok')
    except OSError as error:
        print(errno.errorcode[error.errno])
";

impl User {
    fn command(self) -> Command {
        let mut command = Command::new("setpriv");
        // A python3 in some home is not for everybody.
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.arg(format!("--reuid={}", self.uid)).arg(format!("--regid={}", self.gid));
        match self.group {
            Some(group) => command.arg(format!("--groups={group}")),
            None => command.arg("--clear-groups"),
        };
        command
    }

    /// What becomes of each statement when this user tries it.
    fn tries(self, statements: &[String]) -> Vec<String> {
        let mut command = self.command();
        command.args(["python3", "-c", PROBE]);
        answers(command, statements)
    }
}

fn answers(mut command: Command, statements: &[String]) -> Vec<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("setpriv and python3 are needed (Debian packages util-linux, python3)");
    let input = statements.join("\0");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    let answers: Vec<String> = text(&output).lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), statements.len(), "{}", text(&output));
    answers
}

/// A store with something in every directory, and the paths of all its entries but symlinks.
fn filled() -> (Mounted, Vec<String>) {
    let tree = Mounted::new();
    fs::create_dir(tree.path("pod/front")).unwrap();
    fs::create_dir(tree.path("pod/front/containers/web")).unwrap();
    let web = tree.id("web");
    let created = tree
        .sh(&["sh"], &format!(r#"exec 3<>create/ctr; echo '{{"name":"db","dependencies":["{web}"]}}' >&3; cat <&3"#));
    assert!(created.status.success(), "{}", text(&created));
    make_imaged(&tree);
    let removed = tree.sh(&["sh"], "mkdir ctr/gone; echo 1 > ctr/gone/exit-code; rm ctr/gone");
    assert!(removed.status.success(), "{}", text(&removed));
    let mut paths = vec![String::new()];
    let mut next = 0;
    while let Some(directory) = paths.get(next).cloned() {
        next += 1;
        if !tree.path(&directory).is_dir() {
            continue;
        }
        for entry in fs::read_dir(tree.path(&directory)).unwrap() {
            let entry = entry.unwrap();
            if !entry.file_type().unwrap().is_symlink() {
                let name = entry.file_name().into_string().unwrap();
                paths.push(if directory.is_empty() { name } else { format!("{directory}/{name}") });
            }
        }
    }
    assert!(paths.len() > 50, "{paths:?}");
    (tree, paths)
}

/// The statements that the table is about, with what must become of each.
fn expected(at: &Path, paths: &[String], is_dir: impl Fn(&str) -> bool, who: Who, gid: bool) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for path in paths {
        let directory = is_dir(path);
        let class = class_of(path, directory);
        let row = TABLE.iter().find(|row| row.class == class).unwrap();
        let rights = match who {
            Who::Owner => row.owner,
            Who::Group if gid => row.group,
            Who::Group | Who::Other => row.other,
            Who::Nobody => "",
        };
        let full = at.join(path);
        let may = |right: char| (if rights.contains(right) { "ok" } else { "EACCES" }).to_owned();
        let (read, write) = if directory { ("os.listdir", "make") } else { ("read", "write") };
        rows.push((format!("{read}({full:?})"), may('r')));
        rows.push((format!("{write}({full:?})"), may('w')));
        // The modes are there for all to see who see anything.
        let mode = if gid { row.mode_with_gid } else { row.mode };
        let seen = if matches!(who, Who::Nobody) { "EACCES" } else { "ok" };
        rows.push((format!("mode({full:?}, 0o{mode:o})"), seen.to_owned()));
    }
    rows
}

/// Which column of the table a user is in.
#[derive(Clone, Copy, Debug)]
enum Who {
    Owner,
    Group,
    Other,
    /// Sees nothing.
    Nobody,
}

/// Compares a user's attempts with the table.
#[track_caller]
fn walk(what: &str, expected: &[(String, String)], tries: impl Fn(&[String]) -> Vec<String>) {
    let statements: Vec<String> = expected.iter().map(|(statement, _)| statement.clone()).collect();
    let answers = tries(&statements);
    let wrong: Vec<_> = expected
        .iter()
        .zip(&answers)
        .filter(|((_, wanted), answer)| wanted != *answer)
        .map(|((statement, wanted), answer)| format!("{statement}: {answer}, not {wanted}"))
        .collect();
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

/// The options of a mount, and whether others get in, and whether there is a group.
const MOUNTS: &[(&str, bool, bool)] = &[
    ("rw", false, false),
    ("gid=4242", false, true),
    ("allow_other", true, false),
    ("allow_other,gid=4242", true, true),
];

fn columns(owner: User, allow_other: bool) -> Vec<(User, Who)> {
    let shut = |who| if allow_other { who } else { Who::Nobody };
    let mut columns = vec![(owner, Who::Owner), (MEMBER, shut(Who::Group)), (OTHER, shut(Who::Other))];
    if owner.uid != ROOT.uid {
        columns.push((ROOT, shut(Who::Owner)));
    }
    columns
}

fn needs_root() {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    let host_root = nix::unistd::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"]);
    assert!(host_root, "this test becomes other users and so must be root (leave it out with --skip root_)");
}

#[test]
fn who_mounts_may_do_what_the_table_says() {
    let (tree, paths) = filled();
    let directories: Vec<String> = paths.iter().filter(|path| tree.path(path).is_dir()).cloned().collect();
    tree.unmount();
    // In a namespace that maps one user, no group but one's own can be named.
    for (options, gid) in [("rw", false), ("gid=0", true), ("allow_other,gid=0", true)] {
        succeed(tree.mount_command(options));
        let expected = expected(&tree.at, &paths, |path| directories.iter().any(|d| d == path), Who::Owner, gid);
        walk(options, &expected, |statements| {
            let mut command = Command::new("python3");
            command.args(["-c", PROBE]);
            answers(command, statements)
        });
        tree.unmount();
    }
}

#[test]
fn root_each_user_may_do_what_the_table_says() {
    needs_root();
    let (tree, paths) = filled();
    let directories: Vec<String> = paths.iter().filter(|path| tree.path(path).is_dir()).cloned().collect();
    tree.unmount();
    for owner in [ROOT, OWNER] {
        give(&tree, owner.uid);
        for (options, allow_other, gid) in MOUNTS {
            mount_as(&tree, owner, options);
            for (user, who) in columns(owner, *allow_other) {
                let is_dir = |path: &str| directories.iter().any(|directory| directory == path);
                let expected = expected(&tree.at, &paths, is_dir, who, *gid);
                walk(&format!("{options}, mounted by {}: {user:?}", owner.uid), &expected, |s| user.tries(s));
            }
            tree.unmount();
        }
    }
}

/// Mounts as a user who may do nothing else that root may.
fn mount_as(tree: &Mounted, user: User, options: &str) {
    let mut command = user.command();
    if user.uid != 0 {
        command.args(["--inh-caps=+sys_admin", "--ambient-caps=+sys_admin"]);
    }
    succeed(command.arg(CTRFS).arg("mount").arg(&tree.store).arg(&tree.at).args(["-o", options]));
}

fn give(tree: &Mounted, uid: u32) {
    succeed(Command::new("chown").arg("-R").arg(format!("{uid}:{uid}")).args([&tree.store, &tree.at]));
}

#[test]
fn root_only_the_owner_changes_anything() {
    needs_root();
    let (tree, _) = filled();
    tree.unmount();
    mount_as(&tree, ROOT, "allow_other,gid=4242");
    let (before, id) = (tree.read("table/ctr"), tree.id("db"));
    let at = |below: &str| format!("{:?}", tree.path(below));
    let changes = [
        format!("os.mkdir({})", at("ctr/new")),
        format!("os.mkdir({})", at("pod/new")),
        format!("os.mkdir({})", at("pod/front/containers/new")),
        format!("os.rmdir({})", at(&format!("ctr/{id}"))),
        format!("os.remove({})", at("ctr/db")),
        format!("os.remove({})", at("name/db")),
        format!("os.rename({}, {})", at("name/db"), at("name/old")),
        format!("write({}, b'running\\n')", at("ctr/db/status")),
        format!("write({}, b'{{}}')", at("ctr/db/config")),
        format!("write({}, b'{{}}')", at("create/ctr")),
        format!("write({}, b'{{}}')", at("create/image")),
        format!("write({}, b'1\\n')", at("ctr/imaged/mounted")),
        format!("os.mkdir({})", at("image-name/localhost/new")),
        format!("os.symlink('small:latest', {})", at("image-name/localhost/new:1")),
        format!("os.remove({})", at("image-name/localhost/small:latest")),
        format!("write({}, b'{{}}')", at("control")),
        format!("os.truncate({}, 0)", at("ctr/db/state")),
        format!("os.utime({}, (1, 1))", at("ctr/db/state")),
    ];
    for user in [MEMBER, OTHER] {
        for (change, answer) in changes.iter().zip(user.tries(&changes)) {
            let wanted = if change.starts_with("os.utime") { "EPERM" } else { "EACCES" };
            assert_eq!(answer, wanted, "{user:?}: {change}");
        }
    }
    assert_eq!(tree.read("table/ctr"), before);
    assert_eq!(tree.read("refusals"), "", "the kernel refuses, and does not ask");
    // The owner may; one ID is enough to see that the statements are sound.
    assert_eq!(ROOT.tries(&changes[..1]), ["ok"]);
    assert!(tree.path("name/new").exists());
}

/// A process that holds a user namespace with many users, and a mount namespace, open.
struct Namespace(Child);

impl Namespace {
    const FIRST: u32 = 100_000;

    fn new() -> Namespace {
        let mut holder = Command::new("unshare")
            .args(["--user", "--mount", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is needed (Debian package util-linux)");
        // The line comes once the namespaces are there.
        holder.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        for map in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{map}", holder.id()), format!("0 {} 65536", Namespace::FIRST)).unwrap();
        }
        Namespace(holder)
    }

    /// The command of this user inside.
    fn command(&self, user: User) -> Command {
        let inside = user.command();
        let mut command = Command::new("nsenter");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.args(["--user", "--mount", "--target", &self.0.id().to_string()]);
        command.arg(inside.get_program()).args(inside.get_args());
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn root_each_user_of_a_namespace_may_do_what_the_table_says() {
    needs_root();
    let (tree, paths) = filled();
    let directories: Vec<String> = paths.iter().filter(|path| tree.path(path).is_dir()).cloned().collect();
    let is_dir = |path: &str| directories.iter().any(|directory| directory == path);
    tree.unmount();
    give(&tree, Namespace::FIRST);
    let namespace = Namespace::new();
    for (options, allow_other, gid) in MOUNTS {
        let mut mount = namespace.command(ROOT);
        succeed(mount.arg(CTRFS).arg("mount").arg(&tree.store).arg(&tree.at).args(["-o", options]));
        for (user, who) in columns(ROOT, *allow_other) {
            let expected = expected(&tree.at, &paths, is_dir, who, *gid);
            walk(&format!("{options}, in a namespace: {user:?}"), &expected, |statements| {
                let mut command = namespace.command(user);
                command.args(["python3", "-c", PROBE]);
                answers(command, statements)
            });
        }
        // Root of the machine is outside of the namespace, and nobody there.
        let from_outside = Path::new("/proc").join(namespace.0.id().to_string()).join("root");
        let at = from_outside.join(tree.at.strip_prefix("/").unwrap());
        let expected = expected(&at, &paths, is_dir, Who::Nobody, *gid);
        walk(&format!("{options}, from outside"), &expected, |statements| ROOT.tries(statements));

        let processes = [tree.keeper(), tree.server()];
        succeed(namespace.command(ROOT).arg(CTRFS).arg("umount").arg(&tree.at));
        wait_until("keeper and server end", || !processes.iter().any(|pid| is_alive(*pid)));
    }
}
