//! Files that somebody else uses: QEMU's locks on the images that it has open, and devices that are mounted.
//!
//! QEMU (`block/file-posix.c`) holds read locks of the open file description on single bytes of an image, which is why they tell without
//! being waited for: byte 100 + n says "I use permission n", byte 200 + n "nobody else may use permission n".
//!
//! | n | permission |
//! |---|---|
//! | 0 | to read what is consistent |
//! | 1 | to write |
//! | 3 | to change the length |
//!
//! Only Linux has such locks; elsewhere nothing is asked.

use crate::error::Result;
use std::fs::File;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is read, and nobody may write to it meanwhile.
    Read,
    /// It is written to, and nobody else may use it meanwhile.
    #[cfg(target_os = "linux")]
    Write,
    /// It makes way for another file: who reads it goes on reading the old one, who writes to it would lose what he writes.
    Replace,
}

#[cfg(target_os = "linux")]
mod locks {
    use super::Use;
    use crate::error::{Error, Kind, Result};
    use nix::{
        errno::Errno,
        fcntl::{FcntlArg, fcntl},
        libc,
    };
    use std::fs::File;

    const READ: i64 = 0;
    const WRITE: i64 = 1;
    const RESIZE: i64 = 3;
    /// The first byte of those that say which permissions are used.
    const USED: i64 = 100;
    /// The first byte of those that say which permissions nobody else may use.
    const REFUSED: i64 = 200;

    impl Use {
        fn uses(self) -> &'static [i64] {
            match self {
                Self::Read => &[READ],
                Self::Write => &[READ, WRITE, RESIZE],
                Self::Replace => &[],
            }
        }

        fn refuses(self) -> &'static [i64] {
            match self {
                Self::Read | Self::Replace => &[WRITE, RESIZE],
                Self::Write => &[READ, WRITE, RESIZE],
            }
        }
    }

    fn byte(kind: i32, start: i64) -> libc::flock {
        let [l_type, l_whence] = [kind, libc::SEEK_SET].map(|value| i16::try_from(value).expect("a small constant"));
        libc::flock { l_type, l_whence, l_start: start, l_len: 1, l_pid: 0 }
    }

    /// Whether somebody else has locked a byte. A file system without locks has none.
    fn is_locked(file: &File, start: i64) -> bool {
        let mut found = byte(libc::F_WRLCK, start);
        fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)).is_ok() && i32::from(found.l_type) != libc::F_UNLCK
    }

    pub(super) fn refuse_others(file: &File, to: Use) -> Result<()> {
        let theirs = to.refuses().iter().map(|n| USED + n).chain(to.uses().iter().map(|n| REFUSED + n));
        let Some(found) = theirs.into_iter().find(|start| is_locked(file, *start)) else { return Ok(()) };
        let how = match found {
            201.. => "keeps it from being written to",
            200 => "keeps it from being read",
            100 => "reads it",
            _ => "writes to it",
        };
        let what = format!("is in use: another program has it open, such as QEMU, and {how} (its lock on byte {found})");
        Err(Error::new(Kind::Environment, what))
    }

    pub(super) fn take(file: &File, to: Use) -> Result<()> {
        let ours = to.uses().iter().map(|n| USED + n).chain(to.refuses().iter().map(|n| REFUSED + n));
        for start in ours {
            // Any other error comes from a file system without locks.
            if let Err(Errno::EAGAIN | Errno::EACCES) = fcntl(file, FcntlArg::F_OFD_SETLK(&byte(libc::F_RDLCK, start))) {
                let what = format!("is in use: another program keeps it for itself (its lock on byte {start})");
                return Err(Error::new(Kind::Environment, what));
            }
        }
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod locks {
    use super::{File, Result, Use};

    pub(super) fn refuse_others(_: &File, _: Use) -> Result<()> {
        Ok(())
    }

    pub(super) fn take(_: &File, _: Use) -> Result<()> {
        Ok(())
    }
}

/// Refuses a file that somebody uses in a way that this one does not go with.
///
/// # Errors
/// Says what the other does.
pub(crate) fn refuse_others(file: &File, to: Use) -> Result<()> {
    locks::refuse_others(file, to)
}

/// Takes a file for such a use as long as it is open, so that QEMU leaves it alone. It must be open for reading.
///
/// # Errors
/// As [`refuse_others`].
pub(crate) fn take(file: &File, to: Use) -> Result<()> {
    // First said, then asked: of two that come at once, one sees the other.
    locks::take(file, to)?;
    locks::refuse_others(file, to)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn readers_share_and_writers_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        std::fs::write(&path, "disk").unwrap();
        let open = || File::open(&path).unwrap();
        let (one, other) = (open(), open());
        take(&one, Use::Read).unwrap();
        take(&other, Use::Read).unwrap();
        let error = refuse_others(&open(), Use::Write).unwrap_err();
        assert!(error.kind() == Kind::Environment && error.to_string().contains("reads it (its lock on byte 100)"), "{error}");
        refuse_others(&open(), Use::Replace).unwrap();
        drop((one, other));
        let writer = open();
        take(&writer, Use::Write).unwrap();
        let error = take(&open(), Use::Read).unwrap_err();
        assert!(error.to_string().contains("writes to it (its lock on byte 101)"), "{error}");
        assert!(refuse_others(&open(), Use::Replace).is_err());
        drop(writer);
        take(&open(), Use::Read).unwrap();
    }
}
