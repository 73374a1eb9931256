//! The runtime configuration: five settings that the first opener fixes and later ones must match.

/// One of the five, in the order in which they are checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    /// libpod's directory for static files.
    StaticDir,
    /// libpod's directory for temporary files.
    TmpDir,
    /// The volatile directory of the store.
    RunRoot,
    /// The directory of layers.
    GraphRoot,
    /// The storage driver.
    GraphDriverName,
}

impl Setting {
    /// All, in order.
    pub const ALL: [Setting; 5] =
        [Setting::StaticDir, Setting::TmpDir, Setting::RunRoot, Setting::GraphRoot, Setting::GraphDriverName];

    /// Its key in the store, its entry in the tree and its mount option.
    pub const fn name(self) -> &'static str {
        match self {
            Setting::StaticDir => "static-dir",
            Setting::TmpDir => "tmp-dir",
            Setting::RunRoot => "run-root",
            Setting::GraphRoot => "graph-root",
            Setting::GraphDriverName => "graph-driver-name",
        }
    }

    /// Whether it is a path.
    pub const fn is_path(self) -> bool {
        !matches!(self, Setting::GraphDriverName)
    }
}

/// What comes of comparing one setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Never stored: store this.
    Store(String),
    /// They agree.
    Match,
    /// They do not.
    Mismatch,
}

/// libpod's five rules: `stored` is absent until somebody opened the store, `given` is "" when this
/// opener does not say, `default` is "" where there is none. Present but empty is not absent.
pub fn compare(stored: Option<&str>, given: &str, default: &str) -> Verdict {
    match stored {
        None if given.is_empty() => Verdict::Store(default.to_owned()),
        None => Verdict::Store(given.to_owned()),
        Some(stored) if stored == given => Verdict::Match,
        Some(stored) if given.is_empty() && !default.is_empty() && stored == default => Verdict::Match,
        Some("") if !default.is_empty() && given == default => Verdict::Match,
        Some(_) => Verdict::Mismatch,
    }
}

/// A path in the form that is stored: inside `store` relative to it, with a leading "./", so that a
/// moved store still matches.
pub fn to_stored(path: &str, store: &str) -> String {
    match path.strip_prefix(store) {
        Some("") => ".".to_owned(),
        Some(rest) if rest.starts_with('/') => format!(".{rest}"),
        _ => path.to_owned(),
    }
}

/// The path that a stored form means now.
pub fn from_stored(stored: &str, store: &str) -> String {
    match stored.strip_prefix('.') {
        Some("") => store.to_owned(),
        Some(rest) if rest.starts_with('/') => format!("{store}{rest}"),
        _ => stored.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, compare, from_stored, to_stored};

    #[test]
    fn the_five_rules() {
        assert_eq!(compare(None, "/x", "/d"), Verdict::Store("/x".into()));
        assert_eq!(compare(None, "", "/d"), Verdict::Store("/d".into()));
        assert_eq!(compare(None, "", ""), Verdict::Store(String::new()));
        assert_eq!(compare(Some("/x"), "/x", "/d"), Verdict::Match);
        assert_eq!(compare(Some(""), "", ""), Verdict::Match);
        assert_eq!(compare(Some("/d"), "", "/d"), Verdict::Match);
        assert_eq!(compare(Some(""), "/d", "/d"), Verdict::Match);
        for (stored, given, default) in
            [("/x", "/y", "/d"), ("/x", "", "/d"), ("", "/x", "/d"), ("/x", "", ""), ("/d/", "/d", "/d")]
        {
            assert_eq!(compare(Some(stored), given, default), Verdict::Mismatch, "{stored:?} {given:?} {default:?}");
        }
    }

    #[test]
    fn paths_inside_the_store_move_with_it() {
        assert_eq!(to_stored("/s/graph", "/s"), "./graph");
        assert_eq!(to_stored("/s", "/s"), ".");
        assert_eq!(to_stored("/sx", "/s"), "/sx");
        assert_eq!(from_stored("./graph", "/t"), "/t/graph");
        assert_eq!(from_stored(".", "/t"), "/t");
        assert_eq!(from_stored("/x", "/t"), "/x");
    }
}
