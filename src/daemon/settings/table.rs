//! One table of mount options, which the parser, the help text and the manual's test read.

use std::fmt::Write;

use crate::sys::process::group_id;

use super::{MAX_THREADS, OptionError, Settings};

/// One line of the table of mount options.
#[derive(Debug)]
pub struct MountOption {
    /// The name; one that ends in `*` stands for all names that begin so.
    pub name: &'static str,
    /// Another name for the same.
    pub alias: Option<&'static str>,
    /// What the value is called in the help text; `None` if there is no value.
    pub value: Option<&'static str>,
    /// One line for people; empty for options that are accepted and do nothing here.
    pub help: &'static str,
    effect: Effect,
}

/// Changes one setting, or says what rule the value breaks.
type Setter = fn(&mut Settings, &str) -> Result<(), &'static str>;

#[derive(Debug)]
enum Effect {
    /// Accepted, with or without a value, because mount(8), fstab(5) or systemd pass it on.
    Nothing,
    Flag(fn(&mut Settings)),
    Value(Setter),
}

const fn flag(name: &'static str, help: &'static str, set: fn(&mut Settings)) -> MountOption {
    MountOption { name, alias: None, value: None, help, effect: Effect::Flag(set) }
}

const fn value(name: &'static str, value: &'static str, help: &'static str, set: Setter) -> MountOption {
    MountOption { name, alias: None, value: Some(value), help, effect: Effect::Value(set) }
}

const fn ignored(name: &'static str) -> MountOption {
    MountOption { name, alias: None, value: None, help: "", effect: Effect::Nothing }
}

/// All mount options, in the order of the help text.
pub static MOUNT_OPTIONS: &[MountOption] = &[
    flag("ro", "mount read-only", |s| s.read_only = true),
    flag("rw", "mount read-write (default)", |s| s.read_only = false),
    flag("allow_other", "let other users in; without it, only the user who mounts", |s| {
        s.allow_other = true;
    }),
    value("gid", "GROUP", "the group that may read config, data and the like (mode 0640)", |s, v| {
        s.gid = Some(v.parse().ok().or_else(|| group_id(v)).ok_or("a group's name or number")?);
        Ok(())
    }),
    value("threads", "N", "requests served at once, 1 to 64 (default 16)", |s, v| {
        s.threads = threads(v).ok_or("a number from 1 to 64")?;
        Ok(())
    }),
    value("cache", "SIZE", "memory for the store's pages, with k, m or g (default 64m)", |s, v| {
        s.cache_bytes = size(v).ok_or("a size in bytes, or with k, m or g behind it")?;
        Ok(())
    }),
    MountOption {
        alias: Some("run-root"),
        ..value("runroot", "DIR", "for what a reboot may take away (default /run/ctrfs-UUID)", |s, v| {
            directory(&mut s.run_root, v)
        })
    },
    value("static-dir", "DIR", "where containers keep what lasts", |s, v| directory(&mut s.static_dir, v)),
    value("tmp-dir", "DIR", "where containers keep what a reboot may take away", |s, v| directory(&mut s.tmp_dir, v)),
    value("graph-root", "DIR", "where layers lie", |s, v| directory(&mut s.graph_root, v)),
    value("graph-driver-name", "NAME", "what stacks the layers", |s, v| {
        s.graph_driver_name = Some(v.to_owned());
        Ok(())
    }),
    flag("transient", "make every new container volatile: it goes with the boot", |s| s.transient = true),
    flag("noexec", "let nothing be executed", |s| s.no_exec = true),
    flag("exec", "undo noexec (default)", |s| s.no_exec = false),
    flag("nosymfollow", "follow no symlinks", |s| s.no_symfollow = true),
    flag("symfollow", "undo nosymfollow (default)", |s| s.no_symfollow = false),
    flag("remount", "change ro, rw, exec, noexec of the mount that is there", |s| s.remount = true),
    // nosuid and nodev are always on.
    ignored("nosuid"),
    ignored("suid"),
    ignored("nodev"),
    ignored("dev"),
    ignored("defaults"),
    ignored("auto"),
    ignored("noauto"),
    ignored("nofail"),
    ignored("_netdev"),
    ignored("user"),
    ignored("nouser"),
    ignored("users"),
    ignored("nousers"),
    ignored("owner"),
    ignored("noowner"),
    ignored("group"),
    ignored("nogroup"),
    ignored("uhelper"),
    ignored("helper"),
    ignored("async"),
    ignored("sync"),
    ignored("dirsync"),
    ignored("atime"),
    ignored("noatime"),
    ignored("diratime"),
    ignored("nodiratime"),
    ignored("relatime"),
    ignored("norelatime"),
    ignored("strictatime"),
    ignored("nostrictatime"),
    ignored("lazytime"),
    ignored("nolazytime"),
    ignored("iversion"),
    ignored("noiversion"),
    ignored("mand"),
    ignored("nomand"),
    ignored("silent"),
    ignored("loud"),
    // The kernel shows these of a FUSE mount, so `mount -o remount` passes them back.
    ignored("user_id"),
    ignored("group_id"),
    ignored("default_permissions"),
    ignored("comment"),
    ignored("x-*"),
    ignored("X-*"),
];

impl MountOption {
    pub(super) fn is_called(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => self.name == name || self.alias == Some(name),
        }
    }

    pub(super) fn apply(&self, settings: &mut Settings, value: Option<String>) -> Result<(), OptionError> {
        let name = self.name;
        match (&self.effect, value) {
            (Effect::Nothing, _) => Ok(()),
            (Effect::Flag(set), None) => {
                set(settings);
                Ok(())
            }
            (Effect::Flag(_), Some(value)) => Err(OptionError::UnexpectedValue { name, value }),
            (Effect::Value(set), Some(value)) if !value.is_empty() => {
                set(settings, &value).map_err(|rule| OptionError::BadValue { name, value, rule })
            }
            (Effect::Value(_), _) => {
                let value = self.value.unwrap_or("VALUE");
                Err(OptionError::MissingValue { name, value })
            }
        }
    }
}

/// The table as text for `--help`.
pub fn help() -> String {
    let mut text = String::from("Mount options (-o, separated by commas):\n");
    let (told, silent): (Vec<_>, Vec<_>) = MOUNT_OPTIONS.iter().partition(|option| !option.help.is_empty());
    for option in told {
        let mut left = option.name.to_owned();
        if let Some(value) = option.value {
            let _ = write!(left, "={value}");
        }
        let _ = writeln!(text, "  {left:<24} {}", option.help);
    }
    text.push_str("\nAccepted and ignored, since mount(8) and fstab(5) pass them on:\n");
    let names: Vec<&str> = silent.iter().map(|option| option.name).collect();
    for line in names.chunks(8) {
        let _ = writeln!(text, "  {}", line.join(" "));
    }
    text
}

fn threads(text: &str) -> Option<usize> {
    text.parse().ok().filter(|threads| (1..=MAX_THREADS).contains(threads))
}

fn size(text: &str) -> Option<usize> {
    let (digits, unit) = match text.to_ascii_lowercase().as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1 << 10),
        b'm' => (&text[..text.len() - 1], 1 << 20),
        b'g' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

// The daemon's working directory is /, so that a relative path would not mean what was typed.
fn directory(setting: &mut Option<String>, path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("an absolute path");
    }
    *setting = Some(path.to_owned());
    Ok(())
}

/// The option whose name looks most like this one, if one does.
pub(super) fn closest(name: &str) -> Option<&'static str> {
    MOUNT_OPTIONS
        .iter()
        .flat_map(|option| std::iter::once(option.name).chain(option.alias))
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.len() - 1)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, left out or changed to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
