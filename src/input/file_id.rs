//! Which file a path leads to.

use std::{fs, path::Path};

/// A file, whatever path leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileId(#[cfg(unix)] (u64, u64), #[cfg(not(unix))] std::path::PathBuf);

impl FileId {
    /// The file that a path leads to; `None` where there is none, as for standard input.
    pub fn of(path: &Path) -> Option<Self> {
        #[cfg(unix)]
        let id = fs::metadata(path).map(|metadata| {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino())
        });
        #[cfg(not(unix))]
        let id = fs::canonicalize(path);
        id.ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_a_file_leads_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        fs::write(&one, "").unwrap();
        fs::write(&other, "").unwrap();
        let dotted = directory.path().join("./one");
        assert_eq!(FileId::of(&one).unwrap(), FileId::of(&dotted).unwrap());
        assert_ne!(FileId::of(&one), FileId::of(&other));
        assert_eq!(FileId::of(&directory.path().join("none")), None);
    }
}
