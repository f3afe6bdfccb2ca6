//! A directory of firmware that is put beside the kernel as it is.

use crate::error::{At, Error, Result};
use formats::{Blob, blob::Backing, fat::File};
use std::{fs, path::Path};

/// How deep a directory is followed: a Raspberry Pi's has `overlays/`.
const DEPTH_MAX: usize = 2;

/// Every file of a directory and of those in it, by its path below it, in the order of the paths.
///
/// # Errors
/// When something cannot be read, or a name is not UTF-8, which FAT could not hold.
pub fn firmware(directory: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    collect(directory, "", DEPTH_MAX, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    match files.is_empty() {
        true => Err(Error::bad_input("there is no file in it").at(directory.display())),
        false => Ok(files),
    }
}

fn collect(directory: &Path, below: &str, depth: usize, files: &mut Vec<File>) -> Result<()> {
    let place = || directory.display().to_string();
    for entry in fs::read_dir(directory).at(place)? {
        let entry = entry.at(place)?;
        let name =
            entry.file_name().into_string().map_err(|name| Error::bad_input(format!("the name {name:?} is not UTF-8")).at(place()))?;
        let (path, at) = (entry.path(), format!("{below}{name}"));
        let metadata = fs::metadata(&path).at(|| path.display())?;
        if metadata.is_dir() && depth > 1 {
            collect(&path, &format!("{at}/"), depth - 1, files)?;
        } else if metadata.is_file() {
            let file = fs::File::open(&path).at(|| path.display())?;
            files.push(File::new(at, Blob::file(Backing::of_others(file)?, 0, metadata.len())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_order_with_their_directories() {
        let directory = tempfile::tempdir().unwrap();
        let put = |path: &str| fs::write(directory.path().join(path), path).unwrap();
        fs::create_dir_all(directory.path().join("overlays/deeper")).unwrap();
        ["start4.elf", "overlays/disable-bt.dtbo", "overlays/deeper/no", "fixup4.dat"].into_iter().for_each(put);
        let files = firmware(directory.path()).unwrap();
        assert_eq!(
            files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
            ["fixup4.dat", "overlays/disable-bt.dtbo", "start4.elf"]
        );
        assert_eq!(files[2].body.to_vec(99).unwrap(), b"start4.elf");
    }

    #[test]
    fn nothing_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(firmware(directory.path()).unwrap_err().to_string().ends_with("there is no file in it"));
        assert!(firmware(&directory.path().join("none")).is_err());
    }
}
