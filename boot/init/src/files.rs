//! Files of the image, of which none is trusted: a name may be a pipe that never answers, a device without an end, or a link to anywhere.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use nix::libc;

/// Longer passwd and group files are nobody's, in bytes.
pub(crate) const TEXT_MAX: u64 = 16 << 20;

/// The bytes of a regular file, at most `max`; an error for anything else, and for a longer one.
pub(crate) fn read(path: impl AsRef<Path>, max: u64) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > max) {
        return Err(io::Error::other(format!("it has more than {max} bytes")));
    }
    Ok(bytes)
}

/// The text of a file of sysfs or procfs, without its line end.
pub(crate) fn word(path: impl AsRef<Path>) -> Option<String> {
    let bytes = read(path, 1 << 16).ok()?;
    Some(String::from_utf8_lossy(bytes.trim_ascii()).into_owned())
}

/// The names in a directory, in their order; none when it is not there.
pub(crate) fn names(path: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Makes sure that there is a directory to mount on, and that it is no link to one.
pub(crate) fn directory(path: &str, mode: u32) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    DirBuilder::new().mode(mode).create(path)?;
    // The mask of process 1 does not count.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Writes a file that is missing or empty, or that still is what we wrote; whether it did. What the image has is the image's.
pub(crate) fn fill(path: &str, text: &[u8], ours: &[u8]) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => return Ok(false),
        Ok(found) if found.len() > 0 && (ours.is_empty() || read(path, TEXT_MAX)? != ours) => return Ok(false),
        _ => {}
    }
    // A link may lead anywhere, or nowhere: its name becomes a file's.
    let new = format!("{path}.moby");
    let _ = fs::remove_file(&new);
    let mut file = File::options().write(true).create_new(true).mode(0o644).open(&new)?;
    file.write_all(text)?;
    fs::rename(&new, path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::{directory, fill, read};
    use std::{env, fs, os::unix::fs::symlink, path::PathBuf};

    fn scratch(name: &str) -> PathBuf {
        let dir = env::temp_dir().join(format!("moby-init-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn only_files_are_read_and_none_without_an_end() {
        let dir = scratch("read");
        fs::write(dir.join("file"), b"text").unwrap();
        symlink("/dev/zero", dir.join("zeros")).unwrap();
        nix::unistd::mkfifo(&dir.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(dir.join("file"), 4).unwrap(), b"text");
        for (name, max) in [("file", 3), ("zeros", 4), ("pipe", 4), ("nothing", 4)] {
            assert!(read(dir.join(name), max).is_err(), "{name}");
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_link_is_no_place_to_mount_on() {
        let dir = scratch("directory");
        let place = dir.join("proc");
        symlink("/etc", &place).unwrap();
        for _ in 0..2 {
            directory(place.to_str().unwrap(), 0o755).unwrap();
            assert!(fs::symlink_metadata(&place).unwrap().is_dir());
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_the_image_wrote_is_kept_and_links_are_not_followed() {
        let dir = scratch("fill");
        let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        fs::write(file("theirs"), "theirs").unwrap();
        fs::write(file("empty"), "").unwrap();
        fs::write(file("elsewhere"), "").unwrap();
        symlink("elsewhere", file("link")).unwrap();
        symlink("nowhere/at/all", file("dangling")).unwrap();
        symlink("/dev/null", file("device")).unwrap();
        for (name, wanted) in [("theirs", false), ("empty", true), ("missing", true), ("link", true), ("dangling", true), ("device", false)]
        {
            assert_eq!(fill(&file(name), b"ours", b"").unwrap(), wanted, "{name}");
        }
        assert_eq!(fs::read(file("elsewhere")).unwrap(), b"");
        // What we wrote may be written again; what somebody changed since may not.
        assert!(fill(&file("empty"), b"new", b"ours").unwrap());
        assert!(!fill(&file("empty"), b"newer", b"ours").unwrap());
        assert_eq!(fs::read(file("empty")).unwrap(), b"new");
        fs::remove_dir_all(dir).unwrap();
    }
}
