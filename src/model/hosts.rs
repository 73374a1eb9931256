//! What a container sees of names: resolv.conf, hosts and hostname, made from the host's files and
//! the container's config. The caller reads and writes the files.

use std::net::{IpAddr, Ipv6Addr};

use crate::model::error::Refusal;
use crate::model::json::{Map, Value};
use crate::model::keys::{CTR_CONFIG, Type, check, is_set, text, texts};

/// One of the three files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct File {
    /// Its name in the container's run directory.
    pub name: &'static str,
    /// Where the container has it.
    pub destination: &'static str,
    /// The key that says that the image's own file is to stay.
    keep: &'static str,
}

impl File {
    /// Whether a container with this config gets the file; else its image's stays.
    pub fn is_made(self, config: &Map<String, Value>) -> bool {
        !is_set(config, self.keep)
    }
}

/// The resolver's file.
pub const RESOLV_CONF: File = File { name: "resolv.conf", destination: "/etc/resolv.conf", keep: "UseImageResolvConf" };
/// The table of hosts.
pub const HOSTS: File = File { name: "hosts", destination: "/etc/hosts", keep: "UseImageHosts" };
/// The container's own name.
pub const HOSTNAME: File = File { name: "hostname", destination: "/etc/hostname", keep: "useImageHostname" };

/// How many digits of its ID name a container's host, as podman has it.
const SHORT_ID: usize = 12;
/// The longest host name, in bytes (`HOST_NAME_MAX`).
const MAX_HOSTNAME: usize = 64;

/// A container's resolv.conf, from the host's. What the config does not set stays as the host has it,
/// byte for byte where it sets nothing.
///
/// A list with "." leaves no search list, and no search line: one without a value is no line that
/// resolv.conf(5) knows. Without a line the list is the host name's domain, and a container's own
/// host name has none unless it was given one.
///
/// # Errors
/// [`Refusal::BadKey`] for a value that would not be one word of the file.
pub fn resolv_conf(base: &str, config: &Map<String, Value>) -> Result<String, Refusal> {
    check(CTR_CONFIG, config)?;
    let [search, servers, options] = ["dnsSearch", "dnsServer", "dnsOption"].map(|key| texts(config, key));
    if search.is_empty() && servers.is_empty() && options.is_empty() {
        return Ok(base.to_owned());
    }
    let searches = if search.contains(&".") { Vec::new() } else { vec![format!("search {}", search.join(" "))] };
    let each = |keyword, values: &[&str]| values.iter().map(|value| format!("{keyword} {value}")).collect();
    // The last of search and domain wins, so one of ours takes the place of both.
    let parts: [(&[&str], bool, Vec<String>); 3] = [
        (&["search", "domain"], !search.is_empty(), searches),
        (&["nameserver"], !servers.is_empty(), each("nameserver", &servers)),
        (&["options"], !options.is_empty(), each("options", &options)),
    ];
    let mut rest: Vec<&str> = base.lines().collect();
    let mut lines = Vec::new();
    for (keywords, is_ours, ours) in parts {
        let theirs: Vec<&str>;
        (theirs, rest) = rest.into_iter().partition(|line| keywords.contains(&keyword(line)));
        if is_ours {
            lines.extend(ours);
        } else {
            lines.extend(theirs.into_iter().map(str::to_owned));
        }
    }
    lines.extend(rest.into_iter().map(str::to_owned));
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

/// A line's keyword, which must start it; "" for a comment or an indented line.
fn keyword(line: &str) -> &str {
    line.split([' ', '\t']).next().unwrap_or_default()
}

/// A container's hosts, from the host's: a line for each of `hostsAdd` behind them.
///
/// # Errors
/// [`Refusal::BadKey`] for an entry that is not NAME:ADDRESS.
pub fn hosts(base: &str, config: &Map<String, Value>) -> Result<String, Refusal> {
    check(CTR_CONFIG, config)?;
    let mut lines = base.to_owned();
    if !base.is_empty() && !base.ends_with('\n') {
        lines.push('\n');
    }
    for (names, address) in texts(config, "hostsAdd").into_iter().filter_map(entry) {
        lines.push_str(&format!("{address} {}\n", names.replace(';', " ")));
    }
    Ok(lines)
}

/// A container's host name: the spec's, else the config's, else the first 12 digits of its ID. The
/// file has it as it is, without a newline.
///
/// # Errors
/// [`Refusal::BadKey`] for one that no host can have.
pub fn hostname(config: &Map<String, Value>) -> Result<String, Refusal> {
    check(CTR_CONFIG, config)?;
    let spec = config.get("spec").and_then(Value::as_object);
    let id = text(config, "id").unwrap_or_default();
    let name = spec.and_then(|spec| text(spec, "hostname")).or_else(|| text(config, "hostname"));
    let name = name.unwrap_or_else(|| id.get(..SHORT_ID).unwrap_or(id));
    if !is_hostname(name) {
        return Err(Refusal::BadKey { key: "hostname".to_owned(), rule: Type::Hostname.rule() });
    }
    Ok(name.to_owned())
}

/// The names, separated by ';', and the address of an entry of `hostsAdd`. The first ':' parts them,
/// since an IPv6 address has more of them.
pub fn entry(text: &str) -> Option<(&str, &str)> {
    let (names, address) = text.split_once(':')?;
    (names.split(';').all(is_word) && is_address(address)).then_some((names, address))
}

/// Whether this is an IP address; an IPv6 one may name its zone.
pub fn is_address(text: &str) -> bool {
    match text.split_once('%') {
        Some((address, zone)) => address.parse::<Ipv6Addr>().is_ok() && is_word(zone),
        None => text.parse::<IpAddr>().is_ok(),
    }
}

/// Whether this is one word of a line: no white space, nothing that begins a comment.
pub fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '#')
}

/// Whether a host can have this name.
pub fn is_hostname(text: &str) -> bool {
    is_word(text) && text.len() <= MAX_HOSTNAME && !text.contains('/')
}

#[cfg(test)]
mod tests {
    use super::{entry, hostname, hosts, is_address, is_hostname, resolv_conf};
    use crate::model::error::Refusal;
    use crate::model::json::{Map, Value, parse};

    const BASE: &str = "# made by hand\nnameserver 10.0.0.1\nsearch a.example b.example\nnameserver ::1\noptions ndots:2\n\
        sortlist 10.0.0.0\ndomain old.example\nsearchx y\n nameserver 9.9.9.9\n";

    fn config(text: &str) -> Map<String, Value> {
        match parse(text.as_bytes()) {
            Ok(Value::Object(object)) => object,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn resolv_conf_changes_what_the_config_sets() {
        let rest = "# made by hand\nsortlist 10.0.0.0\nsearchx y\n nameserver 9.9.9.9\n";
        let (search, servers, options) = (
            "search a.example b.example\ndomain old.example\n",
            "nameserver 10.0.0.1\nnameserver ::1\n",
            "options ndots:2\n",
        );
        for (given, expected) in [
            (
                r#"{"dnsServer":["1.1.1.1","fe80::1%eth0"]}"#,
                format!("{search}nameserver 1.1.1.1\nnameserver fe80::1%eth0\n{options}{rest}"),
            ),
            (r#"{"dnsSearch":["x","y"]}"#, format!("search x y\n{servers}{options}{rest}")),
            (r#"{"dnsSearch":["x","."]}"#, format!("{servers}{options}{rest}")),
            (
                r#"{"dnsOption":["ndots:5","rotate"]}"#,
                format!("{search}{servers}options ndots:5\noptions rotate\n{rest}"),
            ),
        ] {
            assert_eq!(resolv_conf(BASE, &config(given)), Ok(expected), "{given}");
        }
        for nothing in ["{}", r#"{"dnsServer":[],"dnsSearch":null}"#] {
            assert_eq!(resolv_conf("search x\r\n\tnameserver", &config(nothing)).unwrap(), "search x\r\n\tnameserver");
        }
        assert_eq!(resolv_conf("", &config(r#"{"dnsSearch":["x"]}"#)).unwrap(), "search x\n");
    }

    #[test]
    fn hosts_lines_have_the_address_first_and_whole() {
        let given = config(r#"{"hostsAdd":["db:10.0.0.2","six:fd00::1:2","a;b:::1"]}"#);
        let ours = "10.0.0.2 db\nfd00::1:2 six\n::1 a b\n";
        for (base, start) in [("", ""), ("127.0.0.1 localhost", "127.0.0.1 localhost\n"), ("# x\n", "# x\n")] {
            assert_eq!(hosts(base, &given), Ok(format!("{start}{ours}")));
            assert_eq!(hosts(base, &Map::new()), Ok(start.to_owned()));
        }
    }

    #[test]
    fn hostnames_are_the_specs_or_the_configs_or_the_ids() {
        for (given, name) in [
            (r#"{"spec":{"hostname":"s"},"hostname":"c"}"#, "s"),
            (r#"{"spec":{"hostname":""},"hostname":"c"}"#, "c"),
            (r#"{"spec":null,"hostname":""}"#, "0123456789ab"),
        ] {
            let mut given = config(given);
            given.insert("id".to_owned(), "0123456789abcdef".repeat(4).into());
            assert_eq!(hostname(&given).unwrap(), name);
        }
        for bad in ["a/b", "a\nb", "a b", &"x".repeat(65)] {
            let spec = Value::Object(Map::from_iter([("hostname".to_owned(), bad.into())]));
            let refusal = hostname(&Map::from_iter([("spec".to_owned(), spec)])).unwrap_err();
            assert!(matches!(&refusal, Refusal::BadKey { key, .. } if key == "hostname"), "{refusal}");
        }
        assert!(is_hostname(&"x".repeat(64)) && !is_hostname(""));
    }

    #[test]
    fn values_that_would_be_no_word_of_a_line_are_refused() {
        for (key, bad) in [
            ("hostsAdd", r#"["db"]"#),
            ("hostsAdd", r#"["db:"]"#),
            ("hostsAdd", r#"[":10.0.0.1"]"#),
            ("hostsAdd", r#"["db:host-gateway"]"#),
            ("hostsAdd", r#"["db:10.0.0.1\n6.6.6.6 bank"]"#),
            ("hostsAdd", r#"["d b:10.0.0.1"]"#),
            ("hostsAdd", r#"["a;:10.0.0.1"]"#),
            ("dnsServer", r#"["dns.example"]"#),
            ("dnsServer", r#"["1.1.1.1%eth0"]"#),
            ("dnsServer", r#"["fe80::1%e 0"]"#),
            ("dnsSearch", r#"["a b"]"#),
            ("dnsSearch", r#"["a\nnameserver 6.6.6.6"]"#),
            ("dnsOption", r#"[""]"#),
            ("hostname", r#""a/b""#),
        ] {
            let given = config(&format!(r#"{{"{key}":{bad}}}"#));
            for made in [resolv_conf("", &given), hosts("", &given), hostname(&given)] {
                assert!(
                    matches!(&made, Err(Refusal::BadKey { key: found, .. }) if found == key),
                    "{key} {bad}: {made:?}"
                );
            }
        }
    }

    #[test]
    fn entries_part_at_the_first_colon() {
        assert_eq!(entry("db:fd00::1"), Some(("db", "fd00::1")));
        assert_eq!(entry("fd00::1"), None);
        assert!(is_address("::ffff:1.2.3.4") && !is_address("1.2.3") && !is_address("fe80::1%"));
    }
}
