//! Who a container's process is: the image spec's `user`, `uid`, `user:group` … read against the
//! rootfs's own /etc/passwd and /etc/group.

use crate::model::error::Refusal;

/// The rootfs's files, as far as it has them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Accounts<'a> {
    /// The content of etc/passwd.
    pub passwd: Option<&'a str>,
    /// The content of etc/group.
    pub group: Option<&'a str>,
}

/// A process's IDs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Further groups.
    pub additional: Vec<u32>,
}

impl Accounts<'_> {
    /// Reads `user[:group]`. Numbers are taken as they are, known or not. Without a group the user's
    /// own is taken, 0 where the files do not know it, and with a user's name all others that have it
    /// as a member.
    ///
    /// # Errors
    /// [`Refusal::NoAccount`] for a name that is not in the files.
    pub fn user(&self, text: &str) -> Result<User, Refusal> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        let user = if user.is_empty() { "0" } else { user };
        let number = number(user);
        let line = lines(self.passwd).find(|fields| match number {
            Some(uid) => id(fields) == Some(uid),
            None => fields[0] == user,
        });
        let uid = number.or_else(|| line.as_ref().and_then(|fields| id(fields)));
        let uid = uid.ok_or_else(|| no_account("user", user, "/etc/passwd"))?;
        let mut found = User { uid, gid: 0, additional: Vec::new() };
        if !group.is_empty() {
            found.gid = self.group(group)?;
            return Ok(found);
        }
        found.gid = line.and_then(|fields| fields.get(3).copied().and_then(self::number)).unwrap_or(0);
        if number.is_none() {
            let is_member = |fields: &Vec<&str>| fields.get(3).is_some_and(|list| list.split(',').any(|m| m == user));
            let groups = lines(self.group).filter(is_member).filter_map(|fields| id(&fields));
            found.additional = groups.filter(|gid| *gid != found.gid).collect();
        }
        Ok(found)
    }

    /// Reads a group: a number, or a name of /etc/group.
    ///
    /// # Errors
    /// [`Refusal::NoAccount`] for a name that is not there.
    pub fn group(&self, group: &str) -> Result<u32, Refusal> {
        let line = || lines(self.group).find(|fields| fields[0] == group);
        let gid = number(group).or_else(|| line().and_then(|fields| id(&fields)));
        gid.ok_or_else(|| no_account("group", group, "/etc/group"))
    }
}

fn no_account(what: &'static str, name: &str, file: &'static str) -> Refusal {
    Refusal::NoAccount { what, name: name.to_owned(), file }
}

/// The fields of each line. A file that is not there has none.
fn lines(text: Option<&str>) -> impl Iterator<Item = Vec<&str>> {
    text.unwrap_or_default().lines().map(|line| line.split(':').collect())
}

/// The third field, the ID in both files.
fn id(fields: &[&str]) -> Option<u32> {
    fields.get(2).copied().and_then(number)
}

/// A decimal ID. The largest number is the kernel's "no ID".
fn number(text: &str) -> Option<u32> {
    let is_decimal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|id| is_decimal && *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Accounts, User};
    use crate::model::error::Refusal;

    const FILES: Accounts<'_> = Accounts {
        passwd: Some("root:x:0:0:root:/root:/bin/sh\n\nbroken:x\nweb:x:33:34:www:/srv:/bin/false\n7:x:70:71::/:\n"),
        group: Some("root:x:0:\nadm:x:4:web,other\nstaff:x:50:other\nweb:x:34:web\nlog:x:60:web\nbad:x:y:web\n"),
    };

    #[test]
    fn users_are_read_by_the_image_specs_rules() {
        for (text, uid, gid, additional) in [
            ("web", 33, 34, &[4, 60][..]),
            ("web:", 33, 34, &[4, 60]),
            ("33", 33, 34, &[]),
            ("web:staff", 33, 50, &[]),
            ("web:77", 33, 77, &[]),
            ("33:adm", 33, 4, &[]),
            ("1000:1001", 1000, 1001, &[]),
            ("1000", 1000, 0, &[]),
            ("root", 0, 0, &[]),
            (":adm", 0, 4, &[]),
            // A number is a number, also where somebody is called so.
            ("7", 7, 0, &[]),
            ("4294967294", 4_294_967_294, 0, &[]),
        ] {
            let expected = User { uid, gid, additional: additional.to_vec() };
            assert_eq!(FILES.user(text), Ok(expected), "{text}");
        }
        let numeric = Accounts::default().user("5:6").unwrap();
        assert_eq!(numeric, User { uid: 5, gid: 6, additional: Vec::new() });
    }

    #[test]
    fn unknown_names_are_refused_in_words() {
        for (text, what, name) in [
            ("nobody", "user", "nobody"),
            ("web:nogroup", "group", "nogroup"),
            ("broken", "user", "broken"),
            ("web:bad", "group", "bad"),
            ("4294967295", "user", "4294967295"),
            ("-1", "user", "-1"),
            ("+1", "user", "+1"),
        ] {
            let refusal = FILES.user(text).unwrap_err();
            assert!(matches!(&refusal, Refusal::NoAccount { .. }), "{text}: {refusal}");
            assert!(refusal.to_string().starts_with(&format!("no {what} {name:?}: ")), "{refusal}");
        }
        let refusal = Accounts::default().user("web").unwrap_err();
        assert!(refusal.to_string().contains("/etc/passwd"), "{refusal}");
    }
}
