//! Who a process is: an image's `User` looked up in the image's passwd and group, as Docker does (moby/sys, `user.GetExecUser`).
//!
//! `NAME`, `UID`, `NAME:GROUP`, `UID:GID` and their mixtures. A name must be in the file; a number need not be. A user without a group has the
//! group of passwd, and all that name him in group; with a group he has that one alone. Lines that cannot be read are passed over.

use alloc::vec::Vec;

/// What a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// All groups, that one among them.
    pub groups: Vec<u32>,
    /// The directory that `HOME` names.
    pub home: Vec<u8>,
}

/// Why a user is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A name that passwd does not have.
    NoUser,
    /// A name that group does not have.
    NoGroup,
    /// A number past 2^31 - 1.
    OutOfRange,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NoUser => "the image's /etc/passwd has no such user",
            Self::NoGroup => "the image's /etc/group has no such group",
            Self::OutOfRange => "a number of a user or group has to be 0 to 2147483647",
        })
    }
}

impl core::error::Error for Error {}

/// Groups of one process, as many as Linux takes.
const GROUPS_MAX: usize = 65536;

impl Identity {
    /// Looks up `user` in the text of `/etc/passwd` and `/etc/group`, which may be empty.
    ///
    /// # Errors
    /// [`Error`]
    pub fn find(user: &[u8], passwd: &[u8], group: &[u8]) -> Result<Self, Error> {
        let mut parts = user.splitn(2, |byte| *byte == b':');
        let (user, wanted) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let uid = if user.is_empty() { Some(0) } else { number(user) };
        let by_number = |fields: &Fields| uid.is_some() && fields.number(2) == uid;
        let entry = lines(passwd).find(|fields| by_number(fields) || uid.is_none() && fields.text(0) == user);
        let mut found = match entry {
            Some(fields) => {
                let (Some(uid), gid) = (fields.number(2), fields.number(3).unwrap_or(0)) else { return Err(Error::NoUser) };
                Self { uid, gid, groups: Vec::new(), home: fields.text(5).to_vec() }
            }
            None => Self { uid: uid.ok_or(Error::NoUser)?, gid: 0, groups: Vec::new(), home: Vec::new() },
        };
        if found.home.is_empty() {
            found.home = b"/".to_vec();
        }
        if wanted.is_empty() {
            let name = entry.map(|fields| fields.text(0)).filter(|name| !name.is_empty());
            let names = |fields: &Fields| fields.text(3).split(|byte| *byte == b',').any(|member| Some(member) == name);
            found.groups = lines(group).filter(names).filter_map(|fields| fields.number(2)).take(GROUPS_MAX - 1).collect();
        } else {
            let gid = number(wanted);
            let named = lines(group).find(|fields| if gid.is_some() { fields.number(2) == gid } else { fields.text(0) == wanted });
            found.gid = named.and_then(|fields| fields.number(2)).or(gid).ok_or(Error::NoGroup)?;
        }
        if !found.groups.contains(&found.gid) {
            found.groups.insert(0, found.gid);
        }
        let limit = u32::try_from(i32::MAX).unwrap_or(u32::MAX);
        if found.uid > limit || found.groups.iter().any(|gid| *gid > limit) {
            return Err(Error::OutOfRange);
        }
        Ok(found)
    }
}

/// A line of either file.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn text(self, at: usize) -> &'a [u8] {
        self.0.split(|byte| *byte == b':').nth(at).unwrap_or_default()
    }

    fn number(self, at: usize) -> Option<u32> {
        number(self.text(at))
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = Fields<'_>> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).map(Fields)
}

fn number(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    // A number that is too large is a number all the same, and out of range.
    digits.then(|| str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Error, Identity};

    const PASSWD: &[u8] = b"# users\nroot:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:\nodd\n8:x:1008:8::/eight:\nnohome:x:9:9\n";
    const GROUP: &[u8] = b"root:x:0:\nadm:x:4:syslog,www-data\nwww-data:x:33:\nssl:x:99:www-data,\n7:x:77:\n";

    fn found(user: &str) -> Result<(u32, u32, alloc::vec::Vec<u32>, alloc::string::String), Error> {
        let found = Identity::find(user.as_bytes(), PASSWD, GROUP)?;
        Ok((found.uid, found.gid, found.groups, alloc::string::String::from_utf8(found.home).unwrap()))
    }

    /// As `user.GetExecUser` reads such files.
    #[test]
    fn users_are_found_as_docker_finds_them() {
        for (user, uid, gid, groups, home) in [
            ("", 0, 0, [0].as_slice(), "/root"),
            ("root", 0, 0, &[0], "/root"),
            ("www-data", 33, 33, &[33, 4, 99], "/var/www"),
            ("33", 33, 33, &[33, 4, 99], "/var/www"),
            ("www-data:adm", 33, 4, &[4], "/var/www"),
            ("www-data:4", 33, 4, &[4], "/var/www"),
            ("1000", 1000, 0, &[0], "/"),
            ("1000:1000", 1000, 1000, &[1000], "/"),
            ("1000:adm", 1000, 4, &[4], "/"),
            // A number is a number, whatever a user is called.
            ("8", 8, 0, &[0], "/"),
            ("0:7", 0, 7, &[7], "/root"),
            ("nohome", 9, 9, &[9], "/"),
            (":adm", 0, 4, &[4], "/root"),
        ] {
            assert_eq!(found(user), Ok((uid, gid, groups.to_vec(), home.into())), "{user}");
        }
    }

    #[test]
    fn who_is_nobody_is_an_error() {
        assert_eq!(found("nobody"), Err(Error::NoUser));
        assert_eq!(found("odd"), Err(Error::NoUser));
        assert_eq!(found("root:nogroup"), Err(Error::NoGroup));
        assert_eq!(found("root:"), found("root"));
        assert_eq!(found("4294967296"), Err(Error::OutOfRange));
        assert_eq!(found("2147483648"), Err(Error::OutOfRange));
        assert_eq!(found("0:2147483648"), Err(Error::OutOfRange));
        assert_eq!(found("-1"), Err(Error::NoUser));
    }

    #[test]
    fn an_image_without_files_knows_numbers() {
        let found = Identity::find(b"65532:65532", b"", b"").unwrap();
        assert_eq!((found.uid, found.gid, found.home), (65532, 65532, b"/".to_vec()));
        assert_eq!(Identity::find(b"app", b"", b""), Err(Error::NoUser));
        assert_eq!(Identity::find(b"", b"", b"").unwrap().uid, 0);
    }
}
