//! A file that takes the place of another has its owner, its mode, its access control list and its labels, as far as the user may
//! give them; where not, it is open to fewer and never to more.

use std::{fs::File, path::Path};

/// Extended attributes that say who may use a file.
#[cfg(target_os = "linux")]
const LABELS: [&str; 2] = ["security.selinux", "security.SMACK64"];
#[cfg(target_os = "linux")]
const ACL: &str = "system.posix_acl_access";

/// Gives `new` the attributes of the file at `old`.
#[cfg(unix)]
pub(super) fn keep(old: &Path, new: &File) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    /// Set-user-ID and set-group-ID: they mean the owner.
    const SET_IDS: u32 = 0o6000;
    const OF_GROUP: u32 = 0o070;
    let (was, is) = (std::fs::metadata(old)?, new.metadata()?);
    let mut mode = was.permissions().mode() & 0o7777;
    if (was.uid(), was.gid()) != (is.uid(), is.gid()) && fchown(new, Some(was.uid()), Some(was.gid())).is_err() {
        mode &= !SET_IDS;
        if was.gid() != is.gid() && fchown(new, None, Some(was.gid())).is_err() {
            mode &= !OF_GROUP;
        }
    }
    if !keep_labels(old, new) {
        // They were the most that the list gives anybody.
        mode &= !OF_GROUP;
    }
    new.set_permissions(PermissionsExt::from_mode(mode))?;
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn keep(_: &Path, _: &File) -> std::io::Result<()> {
    Ok(())
}

/// Whether the access control list is the same now.
#[cfg(target_os = "linux")]
fn keep_labels(old: &Path, new: &File) -> bool {
    use rustix::fs::{XattrFlags, fremovexattr, fsetxattr, getxattr};
    /// Linux's own limit, xattr(7).
    const VALUE_MAX: usize = 64 << 10;
    let mut value = vec![0; VALUE_MAX];
    let mut copy = |name| match getxattr(old, name, &mut value[..]) {
        Ok(len) => Some(fsetxattr(new, name, &value[..len], XattrFlags::empty()).is_ok()),
        Err(_) => None,
    };
    for label in LABELS {
        // Without the right to set it, a new file has the label of its place.
        let _: Option<bool> = copy(label);
    }
    copy(ACL).unwrap_or_else(|| {
        // It may have one from its directory.
        let _: rustix::io::Result<()> = fremovexattr(new, ACL);
        true
    })
}

#[cfg(all(unix, not(target_os = "linux")))]
fn keep_labels(_: &Path, _: &File) -> bool {
    true
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    #[test]
    fn mode_and_owner_stay() {
        let directory = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| directory.path().join(name));
        fs::write(&old, "").unwrap();
        for mode in [0o600, 0o640, 0o4711] {
            fs::set_permissions(&old, PermissionsExt::from_mode(mode)).unwrap();
            let file = File::create(&new).unwrap();
            keep(&old, &file).unwrap();
            assert_eq!(file.metadata().unwrap().mode() & 0o7777, mode);
        }
        let is_root = fs::metadata(&old).unwrap().uid() == 0;
        if is_root {
            std::os::unix::fs::chown(&old, Some(1000), Some(1001)).unwrap();
            let file = File::create(&new).unwrap();
            keep(&old, &file).unwrap();
            let meta = file.metadata().unwrap();
            assert_eq!((meta.uid(), meta.gid()), (1000, 1001));
        }
    }
}
