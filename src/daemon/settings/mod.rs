//! Mount options: what they may be is in `table`, what was asked for is a [`Settings`].

mod table;

use std::fmt::{self, Write};

use crate::sys::mount::MountFlags;

pub use table::{MOUNT_OPTIONS, MountOption, help};

/// What `-o` asked for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `ro`: nothing can be written through this mount.
    pub read_only: bool,
    /// `noexec`: nothing can be executed through this mount.
    pub no_exec: bool,
    /// `nosymfollow`: symlinks are not followed through this mount.
    pub no_symfollow: bool,
    /// `allow_other`: other users than the one who mounts get in.
    pub allow_other: bool,
    /// `gid=`: the group that may read what is otherwise its owner's alone.
    pub gid: Option<u32>,
    /// `threads=`: how many requests are served at once.
    pub threads: usize,
    /// `cache=`: how much memory the store may use to cache its pages.
    pub cache_bytes: usize,
    /// `runroot=`: the directory for what a reboot may take away.
    pub run_root: Option<String>,
    /// `static-dir=`: where containers keep what lasts.
    pub static_dir: Option<String>,
    /// `tmp-dir=`: where containers keep what a reboot may take away.
    pub tmp_dir: Option<String>,
    /// `graph-root=`: where layers lie.
    pub graph_root: Option<String>,
    /// `graph-driver-name=`: what stacks the layers.
    pub graph_driver_name: Option<String>,
    /// `transient`: every container that is made goes with the boot.
    pub transient: bool,
    /// `remount`: change the flags of the mount that is there.
    pub remount: bool,
}

/// The most threads that `threads=` takes.
pub const MAX_THREADS: usize = 64;

impl Default for Settings {
    fn default() -> Self {
        Self {
            read_only: false,
            no_exec: false,
            no_symfollow: false,
            allow_other: false,
            gid: None,
            threads: 16,
            cache_bytes: 64 << 20,
            run_root: None,
            static_dir: None,
            tmp_dir: None,
            graph_root: None,
            graph_driver_name: None,
            transient: false,
            remount: false,
        }
    }
}

/// A mount option that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionError {
    /// No option has this name.
    Unknown {
        /// The name as given.
        name: String,
        /// The option that was perhaps meant.
        closest: Option<&'static str>,
    },
    /// The option needs a value and has none.
    MissingValue {
        /// The option.
        name: &'static str,
        /// What the value is called.
        value: &'static str,
    },
    /// The option takes no value and was given one.
    UnexpectedValue {
        /// The option.
        name: &'static str,
        /// The value as given.
        value: String,
    },
    /// The value breaks the option's rule.
    BadValue {
        /// The option.
        name: &'static str,
        /// The value as given.
        value: String,
        /// What a value has to be.
        rule: &'static str,
    },
    /// A double quote is opened and not closed.
    OpenQuote {
        /// The text from the quote on.
        text: String,
    },
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, closest: None } => write!(f, "unknown mount option '{name}'"),
            Self::Unknown { name, closest: Some(closest) } => {
                write!(f, "unknown mount option '{name}' (did you mean '{closest}'?)")
            }
            Self::MissingValue { name, value } => {
                write!(f, "mount option '{name}' needs a value: {name}={value}")
            }
            Self::UnexpectedValue { name, value } => {
                write!(f, "mount option '{name}' takes no value, not '{value}'")
            }
            Self::BadValue { name, value, rule } => {
                write!(f, "mount option '{name}': '{value}' is not {rule}")
            }
            Self::OpenQuote { text } => write!(f, "mount options: quote not closed: {text}"),
        }
    }
}

impl std::error::Error for OptionError {}

/// What becomes of an option that the table does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// It is refused.
    Refuse,
    /// It is ignored (`mount -s`).
    Ignore,
}

impl Settings {
    /// Parses a list of options separated by commas; the later of two wins.
    ///
    /// As for mount(8), a value in double quotes may hold commas: `tmp-dir="/a,b"`.
    pub fn parse(text: &str) -> Result<Self, OptionError> {
        Self::parse_with(text, Unknown::Refuse)
    }

    /// Like [`Settings::parse`], with a choice about options that the table does not have.
    pub fn parse_with(text: &str, unknown: Unknown) -> Result<Self, OptionError> {
        let mut settings = Self::default();
        for word in split(text)? {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.replace('"', ""))),
                None => (word, None),
            };
            match MOUNT_OPTIONS.iter().find(|option| option.is_called(name)) {
                Some(option) => option.apply(&mut settings, value)?,
                None if unknown == Unknown::Ignore => {}
                None => {
                    let name = name.to_owned();
                    let closest = table::closest(&name);
                    return Err(OptionError::Unknown { name, closest });
                }
            }
        }
        Ok(settings)
    }

    /// The shortest list of options that parses to these settings; `remount` is left out.
    pub fn to_option_string(&self) -> String {
        let plain = Self::default();
        let mut text = String::from(if self.read_only { "ro" } else { "rw" });
        let flags = [
            (self.no_exec, "noexec"),
            (self.no_symfollow, "nosymfollow"),
            (self.allow_other, "allow_other"),
            (self.transient, "transient"),
        ];
        for (_, name) in flags.iter().filter(|(set, _)| *set) {
            push(&mut text, name, None);
        }
        let numbers = [
            ("gid", self.gid.map(|gid| gid.to_string())),
            ("threads", (self.threads != plain.threads).then(|| self.threads.to_string())),
            ("cache", (self.cache_bytes != plain.cache_bytes).then(|| self.cache_bytes.to_string())),
            ("runroot", self.run_root.clone()),
            ("static-dir", self.static_dir.clone()),
            ("tmp-dir", self.tmp_dir.clone()),
            ("graph-root", self.graph_root.clone()),
            ("graph-driver-name", self.graph_driver_name.clone()),
        ];
        for (name, value) in &numbers {
            if let Some(value) = value {
                push(&mut text, name, Some(value));
            }
        }
        text
    }

    /// The flags of the mount itself.
    pub fn mount_flags(&self) -> MountFlags {
        MountFlags { read_only: self.read_only, no_exec: self.no_exec, no_symfollow: self.no_symfollow }
    }
}

fn push(text: &mut String, name: &str, value: Option<&str>) {
    let _ = match value {
        None => write!(text, ",{name}"),
        Some(value) if value.contains(',') => write!(text, ",{name}=\"{value}\""),
        Some(value) => write!(text, ",{name}={value}"),
    };
}

/// Splits at the commas outside double quotes; empty words are nothing.
fn split(text: &str) -> Result<Vec<&str>, OptionError> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quote = if quote.is_none() { Some(at) } else { None },
            b',' if quote.is_none() => {
                words.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if let Some(at) = quote {
        return Err(OptionError::OpenQuote { text: text[at..].to_owned() });
    }
    words.push(&text[start..]);
    words.retain(|word| !word.is_empty());
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_all_defaults() {
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
        assert_eq!(Settings::parse(",defaults,,rw,").unwrap(), Settings::default());
    }

    #[test]
    fn what_others_pass_on_is_dropped() {
        let passed = "rw,_netdev,nofail,user=joe,noauto,x-systemd.automount,X-mount.mkdir=0755,\
                      comment=\"a,b\",nosuid,nodev,relatime,lazytime,user_id=0,group_id=0";
        assert_eq!(Settings::parse(passed).unwrap(), Settings::default());
    }

    #[test]
    fn the_later_wins() {
        assert!(!Settings::parse("ro,noexec,rw").unwrap().read_only);
        assert!(Settings::parse("rw,ro").unwrap().read_only);
    }

    #[test]
    fn values_are_checked() {
        let bad = |text: &str| match Settings::parse(text) {
            Err(OptionError::BadValue { name, value, .. }) => format!("{name} {value}"),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(bad("threads=0"), "threads 0");
        assert_eq!(bad("threads=65"), "threads 65");
        assert_eq!(bad("cache=12q"), "cache 12q");
        assert_eq!(bad("cache=99999999999g"), "cache 99999999999g");
        assert_eq!(bad("gid=no-such-group"), "gid no-such-group");
        assert_eq!(bad("run-root=here"), "runroot here");
        assert_eq!(Settings::parse("cache=2K").unwrap().cache_bytes, 2048);
        assert_eq!(Settings::parse("gid=root").unwrap().gid, Some(0));
    }

    #[test]
    fn refusals_are_sentences() {
        let say = |text: &str| Settings::parse(text).unwrap_err().to_string();
        assert_eq!(say("allow_othr"), "unknown mount option 'allow_othr' (did you mean 'allow_other'?)");
        assert_eq!(say("qqqqqqq"), "unknown mount option 'qqqqqqq'");
        assert_eq!(say("threads"), "mount option 'threads' needs a value: threads=N");
        assert_eq!(say("gid="), "mount option 'gid' needs a value: gid=GROUP");
        assert_eq!(say("ro=1"), "mount option 'ro' takes no value, not '1'");
        assert_eq!(say("threads=x"), "mount option 'threads': 'x' is not a number from 1 to 64");
        assert_eq!(say("tmp-dir=\"/a,ro"), "mount options: quote not closed: \"/a,ro");
    }

    #[test]
    fn sloppy_ignores_the_unknown_only() {
        assert!(Settings::parse_with("qqq,ro", Unknown::Ignore).unwrap().read_only);
        assert!(Settings::parse_with("qqq,threads=0", Unknown::Ignore).is_err());
    }

    #[test]
    fn settings_survive_the_trip_through_text() {
        let text = "ro,noexec,nosymfollow,allow_other,gid=7,threads=3,cache=5,runroot=/r,\
                    static-dir=/s,tmp-dir=\"/t,u\",graph-root=/g,graph-driver-name=overlay,transient";
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.tmp_dir.as_deref(), Some("/t,u"));
        assert_eq!(Settings::parse(&settings.to_option_string()).unwrap(), settings);
        assert_eq!(Settings::default().to_option_string(), "rw");
    }

    #[test]
    fn the_table_says_each_name_once() {
        let mut names: Vec<_> =
            MOUNT_OPTIONS.iter().flat_map(|option| std::iter::once(option.name).chain(option.alias)).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(help().contains("threads=N"));
    }
}
