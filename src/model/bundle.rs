//! The OCI runtime's spec of a container, made from its config and its image's: what makes its
//! directory a bundle.
//!
//! What the container's own spec says holds. The image's config fills what it leaves open, by the
//! image spec's conversion.md, and the runtime's default spec the rest. A `spec` without `ociVersion`
//! is no whole one and is merged into the default; none at all is an empty one. What ctrfs itself
//! adds is root.path, /dev/shm, the three files of [`hosts`] and a host name. The image's volumes
//! are not mounted here, as libpod leaves them to its caller.

use std::mem;

use crate::model::error::Refusal;
use crate::model::hosts::{self, File, HOSTNAME, HOSTS, RESOLV_CONF};
use crate::model::json::{Map, Value, merge, render};
use crate::model::keys::{CTR_CONFIG, Type, check, text, texts};
use crate::model::user::Accounts;

/// What `runc spec` prints, with three differences: no terminal, since nobody may be there to take
/// it; a rootfs that can be written, since that is what a container's own layer is for; and no host
/// name, since each container has its own.
const DEFAULT: &str = include_str!("spec.json");

/// What a bundle is made from.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    /// The container's config.
    pub config: &'a Map<String, Value>,
    /// Its image's config, if it has an image.
    pub image: Option<&'a Map<String, Value>>,
    /// Where its rootfs is mounted.
    pub rootfs: &'a str,
    /// The accounts of that rootfs.
    pub accounts: Accounts<'a>,
    /// The directory for /dev/shm; none where the config wants none.
    pub shm: Option<&'a str>,
    /// The directory with its resolv.conf, hosts and hostname.
    pub run: &'a str,
    /// Whether a user namespace with few IDs is what it will run in.
    pub rootless: bool,
}

/// What is read of a spec.
const SPEC: &[(&str, Type)] = &[
    ("process", Type::Object),
    ("root", Type::Object),
    ("hostname", Type::Text),
    ("mounts", Type::List),
    ("linux", Type::Object),
    ("annotations", Type::TextMap),
];
/// What is read of its process.
const PROCESS: &[(&str, Type)] =
    &[("args", Type::Texts), ("env", Type::Texts), ("cwd", Type::Text), ("user", Type::Object)];
/// What is read of the process's user.
const USER: &[(&str, Type)] = &[("additionalGids", Type::List)];
/// What is read of its root.
const ROOT: &[(&str, Type)] = &[("readonly", Type::Bool)];
/// What is read of its Linux part.
const LINUX: &[(&str, Type)] = &[("namespaces", Type::List)];
/// What is read of an image's config beside [`ANNOTATIONS`].
const IMAGE: &[(&str, Type)] = &[("config", Type::Object), ("os.features", Type::Texts)];
/// What is read of the part that tells how to run it.
const IMAGE_CONFIG: &[(&str, Type)] = &[
    ("User", Type::Text),
    ("ExposedPorts", Type::Object),
    ("Env", Type::Texts),
    ("Entrypoint", Type::Texts),
    ("Cmd", Type::Texts),
    ("WorkingDir", Type::Text),
    ("Labels", Type::TextMap),
    ("StopSignal", Type::Text),
];

/// The keys of an image's config that become annotations by this prefix and their own name.
const ANNOTATIONS: &[(&str, Type)] = &[
    ("os", Type::Text),
    ("architecture", Type::Text),
    ("variant", Type::Text),
    ("os.version", Type::Text),
    ("author", Type::Text),
    ("created", Type::Text),
];
const ANNOTATION_PREFIX: &str = "org.opencontainers.image.";

/// Annotations that make runc, crun or Kata do things on the host. A label of an image is a
/// stranger's word: with such a name it becomes no annotation.
const RUNTIME_PREFIXES: [&str; 4] = ["run.oci.", "org.criu.", "org.systemd.property.", "io.katacontainers."];

/// The spec as it is served.
///
/// # Errors
/// [`Refusal::BadKey`] for a part of the container's spec or the image's config that is not what it
/// must be, [`Refusal::NoAccount`] for a user or group that the rootfs does not know.
pub fn runtime_spec(bundle: &Bundle<'_>) -> Result<Vec<u8>, Refusal> {
    check(CTR_CONFIG, bundle.config)?;
    let none = Map::new();
    let own = object(bundle.config, "spec").unwrap_or(&none);
    check_parts("spec", own, SPEC, &[("process", PROCESS), ("root", ROOT), ("linux", LINUX)])?;
    let own_process = object(own, "process").unwrap_or(&none);
    check_parts("spec.process", own_process, &[], &[("user", USER)])?;
    let image = bundle.image.unwrap_or(&none);
    check_parts("image", image, IMAGE, &[("config", IMAGE_CONFIG)])?;
    check_parts("image", image, ANNOTATIONS, &[])?;
    let defaults = object(image, "config").unwrap_or(&none);

    let is_whole = own.contains_key("ociVersion");
    let mut spec = if is_whole { own.clone() } else { default_spec(bundle, own) };
    let process = enter(&mut spec, "process");
    set_args(process, own_process, bundle.config, defaults);
    set_env(process, own_process, defaults);
    set_cwd(process, own_process, defaults);
    set_user(process, own_process, bundle, defaults)?;
    enter(&mut spec, "root").insert("path".to_owned(), Value::from(bundle.rootfs));
    let has_own_name = is_own_uts(&spec);
    if has_own_name && text(&spec, "hostname").is_none() {
        spec.insert("hostname".to_owned(), Value::from(hosts::hostname(bundle.config)?));
    }
    set_mounts(&mut spec, bundle, has_own_name);
    set_annotations(&mut spec, own, image, defaults);
    Ok(render(&Value::Object(spec)))
}

/// The runtime's default spec with the container's `own` merged into it; environments are merged by
/// name, so the default's stays for [`set_env`] to choose from.
///
/// A user namespace with one group has no group 5 for its terminals; nothing else of the default is
/// refused there (runc 1.1, inside `unshare --user --map-root-user --mount`).
fn default_spec(bundle: &Bundle<'_>, own: &Map<String, Value>) -> Map<String, Value> {
    let mut spec: Map<String, Value> = serde_json::from_str(DEFAULT).expect("tests read this part of the program");
    let env = texts(enter(&mut spec, "process"), "env").into_iter().map(Value::from).collect::<Vec<_>>();
    let mounts = list(&mut spec, "mounts");
    if bundle.shm.is_none() {
        mounts.retain(|mount| !is_at(mount, SHM));
    }
    if bundle.rootless {
        let options = mounts.iter_mut().filter_map(|mount| mount.get_mut("options")?.as_array_mut());
        options.for_each(|options| options.retain(|option| option != "gid=5"));
    }
    let mut spec = Value::Object(spec);
    merge(&mut spec, Value::Object(own.clone()));
    let mut spec = spec.as_object_mut().map(mem::take).expect("an object merged into an object is one");
    list(enter(&mut spec, "process"), "env").extend(env);
    spec
}

/// process.args: the spec's, else the config's entrypoint and command, each else the image's. Who
/// sets an entrypoint of their own does not get the image's command for it, and [""] is no
/// entrypoint, as in podman.
fn set_args(
    process: &mut Map<String, Value>,
    own: &Map<String, Value>,
    config: &Map<String, Value>,
    image: &Map<String, Value>,
) {
    if !texts(own, "args").is_empty() {
        return;
    }
    let (entrypoint, command) = (texts(config, "entrypoint"), texts(config, "command"));
    let is_set = config.get("entrypoint").is_some_and(|value| !value.is_null());
    let mut args = if is_set { entrypoint.clone() } else { texts(image, "Entrypoint") };
    if args == [""] {
        args.clear();
    }
    if command.is_empty() && entrypoint.is_empty() {
        args.extend(texts(image, "Cmd"));
    } else {
        args.extend(command);
    }
    if !args.is_empty() {
        process.insert("args".to_owned(), Value::from(args));
    }
}

/// process.env: by name, the spec's own before the image's before the default's.
fn set_env(process: &mut Map<String, Value>, own: &Map<String, Value>, image: &Map<String, Value>) {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut env: Vec<String> = texts(image, "Env").into_iter().map(str::to_owned).collect();
    for entry in texts(own, "env") {
        match env.iter_mut().find(|known| name(known) == name(entry)) {
            Some(known) => entry.clone_into(known),
            None => env.push(entry.to_owned()),
        }
    }
    for entry in texts(process, "env") {
        if !env.iter().any(|known| name(known) == name(entry)) {
            env.push(entry.to_owned());
        }
    }
    if !env.is_empty() {
        process.insert("env".to_owned(), Value::from(env));
    }
}

/// process.cwd: the spec's, else the image's, else the default's or /. Runtimes want it absolute;
/// images made by hand have it otherwise, and mean it from the root.
fn set_cwd(process: &mut Map<String, Value>, own: &Map<String, Value>, image: &Map<String, Value>) {
    let cwd = match (text(own, "cwd"), text(image, "WorkingDir"), text(process, "cwd")) {
        (Some(_), ..) => return,
        (None, Some(path), _) if path.starts_with('/') => path.to_owned(),
        (None, Some(path), _) => format!("/{path}"),
        (None, None, other) => other.unwrap_or("/").to_owned(),
    };
    process.insert("cwd".to_owned(), Value::from(cwd));
}

/// process.user: the config's `user`, else the spec's, else the image's. The config's goes first, for
/// libpod writes user 0 into every spec and resolves that key when it starts the container. `groups`
/// are added to either.
fn set_user(
    process: &mut Map<String, Value>,
    own: &Map<String, Value>,
    bundle: &Bundle<'_>,
    image: &Map<String, Value>,
) -> Result<(), Refusal> {
    let image_user = text(image, "User").filter(|_| object(own, "user").is_none());
    let mut further = Vec::new();
    let user = enter(process, "user");
    for id in ["uid", "gid"] {
        user.entry(id).or_insert(Value::from(0));
    }
    if let Some(name) = text(bundle.config, "user").or(image_user) {
        let found = bundle.accounts.user(name)?;
        user.insert("uid".to_owned(), Value::from(found.uid));
        user.insert("gid".to_owned(), Value::from(found.gid));
        further = found.additional;
    }
    for group in texts(bundle.config, "groups") {
        further.push(bundle.accounts.group(group)?);
    }
    if !further.is_empty() {
        let groups = list(user, "additionalGids");
        for gid in further.into_iter().map(Value::from) {
            if !groups.contains(&gid) {
                groups.push(gid);
            }
        }
    }
    Ok(())
}

const SHM: &str = "/dev/shm";

/// Binds /dev/shm and the three files, where the spec does not mount something there itself. Its
/// tmpfs for /dev/shm is what ours is there for.
fn set_mounts(spec: &mut Map<String, Value>, bundle: &Bundle<'_>, has_own_name: bool) {
    let is_read_only = object(spec, "root").is_some_and(|root| root.get("readonly") == Some(&Value::Bool(true)));
    let mounts = list(spec, "mounts");
    if let Some(shm) = bundle.shm {
        let ours = bind(SHM, shm, &["nosuid", "noexec", "nodev"]);
        match mounts.iter().position(|mount| is_at(mount, SHM)) {
            None => add(mounts, SHM, ours),
            Some(at) if mounts[at].get("type").and_then(Value::as_str) == Some("tmpfs") => mounts[at] = ours,
            Some(_) => {}
        }
    }
    let options: &[&str] = if is_read_only { &["ro", "nosuid", "noexec", "nodev"] } else { &[] };
    for File { name, destination, .. } in made_files(bundle.config, has_own_name) {
        if !mounts.iter().any(|mount| is_at(mount, destination)) {
            add(mounts, destination, bind(destination, &format!("{}/{name}", bundle.run), options));
        }
    }
}

/// The files that a container gets. A container in somebody else's UTS namespace has that one's
/// name, which is not ours to write down.
fn made_files(config: &Map<String, Value>, has_own_name: bool) -> impl Iterator<Item = File> {
    let files = [RESOLV_CONF, HOSTS, HOSTNAME].into_iter();
    files.filter(move |file| file.is_made(config) && (has_own_name || *file != HOSTNAME))
}

fn bind(destination: &str, source: &str, further: &[&str]) -> Value {
    let options: Vec<&str> = ["bind", "rprivate"].iter().chain(further).copied().collect();
    Value::Object(Map::from_iter([
        ("destination".to_owned(), Value::from(destination)),
        ("type".to_owned(), Value::from("bind")),
        ("source".to_owned(), Value::from(source)),
        ("options".to_owned(), Value::from(options)),
    ]))
}

/// A mount's destination without slashes at its end.
fn destination(mount: &Value) -> Option<&str> {
    mount.get("destination").and_then(Value::as_str).map(|path| path.trim_end_matches('/'))
}

fn is_at(mount: &Value, path: &str) -> bool {
    destination(mount) == Some(path)
}

/// Adds a mount: at the end, but before what is mounted below it, which it would hide.
fn add(mounts: &mut Vec<Value>, path: &str, mount: Value) {
    let is_below = |other: &Value| {
        destination(other).and_then(|other| other.strip_prefix(path)).is_some_and(|rest| rest.starts_with('/'))
    };
    let at = mounts.iter().position(is_below).unwrap_or(mounts.len());
    mounts.insert(at, mount);
}

/// Whether the spec makes a UTS namespace. In one that it joins, or the host's, a host name of ours
/// would be somebody else's (and runc refuses one without such a namespace).
fn is_own_uts(spec: &Map<String, Value>) -> bool {
    let namespaces = object(spec, "linux").and_then(|linux| linux.get("namespaces")).and_then(Value::as_array);
    let is_uts = |namespace: &&Value| namespace.get("type").and_then(Value::as_str) == Some("uts");
    let uts = namespaces.into_iter().flatten().find(is_uts);
    uts.is_some_and(|uts| uts.get("path").and_then(Value::as_str).is_none_or(str::is_empty))
}

/// The spec's annotations before the image's labels before what derives from the image's config.
fn set_annotations(
    spec: &mut Map<String, Value>,
    own: &Map<String, Value>,
    image: &Map<String, Value>,
    defaults: &Map<String, Value>,
) {
    let mut annotations = Map::new();
    let mut derive = |key: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            annotations.insert(format!("{ANNOTATION_PREFIX}{key}"), Value::from(value));
        }
    };
    for (key, _) in ANNOTATIONS {
        derive(key, text(image, key).map(str::to_owned));
    }
    derive("os.features", Some(texts(image, "os.features").join(",")));
    derive("stopSignal", text(defaults, "StopSignal").map(str::to_owned));
    let ports = object(defaults, "ExposedPorts").into_iter().flat_map(Map::keys);
    derive("exposedPorts", Some(ports.map(String::as_str).collect::<Vec<_>>().join(",")));
    let labels = object(defaults, "Labels").into_iter().flatten();
    let is_harmless = |key: &String| !RUNTIME_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    annotations.extend(labels.filter(|(key, _)| is_harmless(key)).map(|(key, value)| (key.clone(), value.clone())));
    annotations.extend(object(own, "annotations").cloned().unwrap_or_default());
    if !annotations.is_empty() {
        spec.insert("annotations".to_owned(), Value::Object(annotations));
    }
}

/// Checks a document and its parts, and names a wrong key by its whole path.
fn check_parts(
    at: &str,
    document: &Map<String, Value>,
    keys: &[(&'static str, Type)],
    parts: &[(&str, &[(&'static str, Type)])],
) -> Result<(), Refusal> {
    let below = |at: String| {
        move |refusal| match refusal {
            Refusal::BadKey { key, rule } => Refusal::BadKey { key: format!("{at}.{key}"), rule },
            other => other,
        }
    };
    check(keys, document).map_err(below(at.to_owned()))?;
    for (part, keys) in parts {
        if let Some(inner) = object(document, part) {
            check(keys, inner).map_err(below(format!("{at}.{part}")))?;
        }
    }
    Ok(())
}

fn object<'a>(document: &'a Map<String, Value>, key: &str) -> Option<&'a Map<String, Value>> {
    document.get(key).and_then(Value::as_object)
}

/// The object under a key, made where there is none.
fn enter<'a>(document: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let slot = document.entry(key).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("made an object just now")
}

/// The array under a key, made where there is none.
fn list<'a>(document: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let slot = document.entry(key).or_insert(Value::Null);
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    slot.as_array_mut().expect("made an array just now")
}

#[cfg(test)]
mod tests {
    use super::{Bundle, runtime_spec};
    use crate::model::error::Refusal;
    use crate::model::json::{Map, Value, parse};
    use crate::model::user::Accounts;

    const WHOLE: &str = r#"{"ociVersion":"1.0.2","process":{"args":["a"],"cwd":"/","user":{"uid":0,"gid":0}}}"#;
    const UTS: &str = r#"{"ociVersion":"1.0.2","linux":{"namespaces":[{"type":"uts"}]}}"#;

    fn map(text: &str) -> Map<String, Value> {
        match parse(text.as_bytes()) {
            Ok(Value::Object(object)) => object,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// The spec of a container, all of it rendered and read again.
    fn made(config: &str, image: &str, change: impl Fn(&mut Bundle<'_>)) -> Result<Value, Refusal> {
        let mut config = map(config);
        config.entry("id").or_insert("0123456789abcdef".repeat(4).into());
        let image = map(image);
        let accounts = Accounts { passwd: Some("web:x:33:34::/:\n"), group: Some("log:x:60:web\n") };
        let (rootfs, shm, run) = ("/p/rootfs", Some("/p/shm"), "/run");
        let mut bundle = Bundle { config: &config, image: Some(&image), rootfs, accounts, shm, run, rootless: false };
        change(&mut bundle);
        let bytes = runtime_spec(&bundle)?;
        assert!(bytes.ends_with(b"}\n"));
        Ok(parse(&bytes).unwrap())
    }

    fn spec(config: &str, image: &str) -> Value {
        made(config, image, |_| {}).unwrap()
    }

    fn mounts(spec: &Value) -> Vec<String> {
        let line = |mount: &Value| {
            let options: Vec<&str> = mount["options"].as_array().unwrap().iter().map(|o| o.as_str().unwrap()).collect();
            format!("{} {} {}", mount["destination"].as_str().unwrap(), mount["source"], options.join(","))
        };
        spec["mounts"].as_array().unwrap().iter().filter(|mount| mount["options"].is_array()).map(line).collect()
    }

    #[test]
    fn args_are_the_specs_or_the_configs_or_the_images() {
        let image = r#"{"config":{"Entrypoint":["/e","-i"],"Cmd":["c"]}}"#;
        let with = |inner: &str| format!(r#"{{"config":{{{inner}}}}}"#);
        for (config, image, args) in [
            ("{}", image, r#"["/e","-i","c"]"#),
            ("{}", &with(r#""Cmd":["c","d"]"#), r#"["c","d"]"#),
            ("{}", &with(r#""Entrypoint":["/e"],"Cmd":null"#), r#"["/e"]"#),
            ("{}", "{}", r#"["sh"]"#),
            (r#"{"command":["x"]}"#, image, r#"["/e","-i","x"]"#),
            (r#"{"command":[],"entrypoint":null}"#, image, r#"["/e","-i","c"]"#),
            (r#"{"entrypoint":["/o"]}"#, image, r#"["/o"]"#),
            (r#"{"entrypoint":[]}"#, image, r#"["c"]"#),
            (r#"{"entrypoint":[""]}"#, image, r#"["sh"]"#),
            (r#"{"entrypoint":[""],"command":["x"]}"#, image, r#"["x"]"#),
            (r#"{"entrypoint":["/o"],"command":["x"]}"#, image, r#"["/o","x"]"#),
            (r#"{"spec":{"process":{"args":["s"]}},"command":["x"]}"#, image, r#"["s"]"#),
            (&format!(r#"{{"spec":{WHOLE},"entrypoint":["/o"]}}"#), image, r#"["a"]"#),
        ] {
            assert_eq!(spec(config, image)["process"]["args"].to_string(), args, "{config} on {image}");
        }
    }

    #[test]
    fn env_is_merged_by_name_and_cwd_has_a_default() {
        let image = r#"{"config":{"Env":["PATH=/i","A=i","B=i=j"],"WorkingDir":"/w"}}"#;
        for (own, env, cwd) in [
            ("{}", r#"["PATH=/i","A=i","B=i=j","TERM=xterm"]"#, "/w"),
            (r#"{"process":{"env":["B=s","C=s"],"cwd":"/s"}}"#, r#"["PATH=/i","A=i","B=s","C=s","TERM=xterm"]"#, "/s"),
            (WHOLE, r#"["PATH=/i","A=i","B=i=j"]"#, "/"),
            (r#"{"ociVersion":"1","process":{"env":["A"]}}"#, r#"["PATH=/i","A","B=i=j"]"#, "/w"),
        ] {
            let process = &spec(&format!(r#"{{"spec":{own}}}"#), image)["process"];
            assert_eq!((process["env"].to_string().as_str(), process["cwd"].as_str()), (env, Some(cwd)), "{own}");
        }
        assert_eq!(spec("{}", r#"{"config":{"WorkingDir":"app"}}"#)["process"]["cwd"], "/app");
        assert_eq!(spec("{}", "{}")["process"]["cwd"], "/");
        assert_eq!(
            spec(r#"{"spec":{"ociVersion":"1"}}"#, "{}")["process"].to_string(),
            r#"{"cwd":"/","user":{"uid":0,"gid":0}}"#
        );
    }

    #[test]
    fn the_user_is_the_configs_or_the_specs_or_the_images() {
        let image = r#"{"config":{"User":"web"}}"#;
        let seven = r#"{"spec":{"process":{"user":{"uid":7,"gid":8,"umask":18,"additionalGids":[60]}}}"#;
        for (config, image, user) in [
            ("{}".to_owned(), image, r#"{"uid":33,"gid":34,"additionalGids":[60]}"#),
            ("{}".to_owned(), r#"{"config":{"User":"5:log"}}"#, r#"{"uid":5,"gid":60}"#),
            ("{}".to_owned(), r#"{"config":{"User":""}}"#, r#"{"uid":0,"gid":0}"#),
            (format!("{seven}}}"), image, r#"{"uid":7,"gid":8,"umask":18,"additionalGids":[60]}"#),
            (format!(r#"{seven},"user":"9"}}"#), image, r#"{"uid":9,"gid":0,"umask":18,"additionalGids":[60]}"#),
            (
                format!(r#"{seven},"groups":["log","61"]}}"#),
                "{}",
                r#"{"uid":7,"gid":8,"umask":18,"additionalGids":[60,61]}"#,
            ),
        ] {
            assert_eq!(spec(&config, image)["process"]["user"].to_string(), user, "{config} on {image}");
        }
        for (config, image, name) in [
            ("{}", r#"{"config":{"User":"ghost"}}"#, "ghost"),
            (r#"{"user":"web:ghosts"}"#, "{}", "ghosts"),
            (r#"{"groups":["crew"]}"#, "{}", "crew"),
        ] {
            let refusal = made(config, image, |_| {}).unwrap_err();
            assert!(matches!(&refusal, Refusal::NoAccount { name: found, .. } if found == name), "{refusal}");
        }
    }

    #[test]
    fn a_whole_spec_changes_only_where_it_must() {
        let own = r#"{"ociVersion":"1.1.0","process":{"terminal":true,"args":["a"],"env":["X=1"],"cwd":"/","user":{"uid":0,"gid":0}},
            "root":{"path":"/old","readonly":true},"hostname":"h","mounts":[{"destination":"/proc","type":"proc","source":"proc"}],
            "linux":{"namespaces":[{"type":"uts"}],"seccomp":{"x":1e400}},"annotations":{"k":"v"}}"#;
        let mut expected = parse(own.as_bytes()).unwrap();
        expected["root"]["path"] = "/p/rootfs".into();
        let mut found = spec(&format!(r#"{{"spec":{own},"UseImageHosts":true,"UseImageResolvConf":true}}"#), "{}");
        let added = found["mounts"].as_array_mut().unwrap().split_off(1);
        assert_eq!(found.to_string(), expected.to_string());
        let destinations: Vec<_> = added.iter().map(|mount| mount["destination"].as_str().unwrap()).collect();
        assert_eq!(destinations, ["/dev/shm", "/etc/hostname"]);
        let etc = r#"{"destination":"/etc/hostname","type":"bind","source":"/run/hostname","options":["bind","rprivate","ro","nosuid","noexec","nodev"]}"#;
        assert_eq!(added[1].to_string(), etc);
    }

    #[test]
    fn mounts_are_added_where_the_spec_has_none() {
        let all = mounts(&spec("{}", "{}"));
        let shm = r#"/dev/shm "/p/shm" bind,rprivate,nosuid,noexec,nodev"#;
        assert_eq!(all[2], shm, "in the place of the default's tmpfs");
        let etc = [r#"/etc/resolv.conf "/run/resolv.conf" bind,rprivate"#, r#"/etc/hosts "/run/hosts" bind,rprivate"#];
        assert_eq!(all[6..], [etc[0], etc[1], r#"/etc/hostname "/run/hostname" bind,rprivate"#]);
        assert!(all[1].ends_with("gid=5"));
        let bare = made("{}", "{}", |bundle| (bundle.shm, bundle.rootless) = (None, true)).unwrap();
        assert!(!bare.to_string().contains("/dev/shm") && !bare.to_string().contains("gid=5"));

        let own = |mounts: &str| format!(r#"{{"spec":{{"ociVersion":"1","mounts":{mounts}}}}}"#);
        let theirs = r#"[{"destination":"/dev/shm/","type":"bind","source":"/s","options":[]},{"destination":"/etc/hosts","source":"/h","options":[]}]"#;
        assert_eq!(mounts(&spec(&own(theirs), "{}")), [r#"/dev/shm/ "/s" "#, r#"/etc/hosts "/h" "#, etc[0]]);
        let below = r#"[{"destination":"/dev","options":[]},{"destination":"/dev/shm/x","options":[]}]"#;
        assert_eq!(mounts(&spec(&own(below), "{}"))[..3], ["/dev null ", shm, "/dev/shm/x null "]);
    }

    #[test]
    fn only_a_uts_namespace_of_its_own_gets_a_name() {
        let config = |spec: &str| format!(r#"{{"spec":{spec},"hostname":"box"}}"#);
        assert_eq!(spec("{}", "{}")["hostname"], "0123456789ab");
        assert_eq!(spec(&config(UTS), "{}")["hostname"], "box");
        assert_eq!(spec(&config(r#"{"hostname":"s"}"#), "{}")["hostname"], "s");
        for other in [WHOLE, &UTS.replace(r#""uts""#, r#""uts","path":"/proc/1/ns/uts""#)] {
            let found = spec(&config(other), "{}");
            assert!(found.get("hostname").is_none() && !found.to_string().contains("/etc/hostname"), "{found}");
        }
    }

    #[test]
    fn annotations_are_the_image_specs() {
        let image = r#"{"os":"linux","architecture":"amd64","author":"","created":"2026-01-02T03:04:05Z","os.features":["a","b"],
            "config":{"StopSignal":"SIGQUIT","ExposedPorts":{"80/tcp":{},"53/udp":{}},
            "Labels":{"tier":"front","org.opencontainers.image.os":"plan9","run.oci.hooks.stdout":"/etc/passwd","k":"image"}}}"#;
        let found = spec(r#"{"spec":{"annotations":{"k":"own"}}}"#, image)["annotations"].to_string();
        let of = |key: &str, value: &str| format!(r#""org.opencontainers.image.{key}":"{value}""#);
        let expected = [
            of("os", "plan9"),
            of("architecture", "amd64"),
            of("created", "2026-01-02T03:04:05Z"),
            of("os.features", "a,b"),
            of("stopSignal", "SIGQUIT"),
            of("exposedPorts", "80/tcp,53/udp"),
            r#""tier":"front","k":"own""#.to_owned(),
        ];
        assert_eq!(found, format!("{{{}}}", expected.join(",")));
        assert!(spec("{}", "{}").get("annotations").is_none());
    }

    #[test]
    fn what_is_no_spec_and_no_image_is_refused_by_its_whole_key() {
        for (config, image, key) in [
            (r#"{"spec":{"mounts":{}}}"#, "{}", "spec.mounts"),
            (r#"{"spec":{"process":{"args":"sh"}}}"#, "{}", "spec.process.args"),
            (r#"{"spec":{"process":{"user":{"additionalGids":1}}}}"#, "{}", "spec.process.user.additionalGids"),
            ("{}", r#"{"config":{"Env":[1]}}"#, "image.config.Env"),
            ("{}", r#"{"os":1}"#, "image.os"),
        ] {
            let refusal = made(config, image, |_| {}).unwrap_err();
            assert!(matches!(&refusal, Refusal::BadKey { key: found, .. } if found == key), "{refusal}");
        }
    }
}
