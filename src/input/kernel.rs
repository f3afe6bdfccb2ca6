//! Kernels as users have them: a bzImage or an Image, packages of a distribution, a directory of an installed system. Told by content.

use super::{Opening, directory, open_plain, show};
use crate::error::{At, Error, Result};
use formats::{
    Blob, Env,
    kernel::Kernel,
    package::{self, KernelPackage, Packages},
};
use std::path::PathBuf;

/// The kernel of files that belong together: one that is booted as it is, or packages and directories of one release.
///
/// # Errors
/// When one cannot be read, or they are not one kernel.
pub fn kernel(paths: &[PathBuf], env: &mut Env) -> Result<KernelPackage> {
    let mut packages = Packages::default();
    for path in paths {
        let place = || format!("--kernel {}", show(path));
        if path.is_dir() {
            let tree = directory::part_of(path, package::may_have_kernel, env)?;
            packages.add_tree(&tree).at(place)?;
            continue;
        }
        let file = open_plain(path, &Opening::default(), env).at(place)?;
        match (package::probe(&file).at(place)?, paths) {
            (Some(kind), _) => packages.add(&file, kind, env).at(place)?,
            (None, [_]) => return bare(file).at(place),
            (None, _) => return Err(not_a_part(&file).at(place())),
        }
    }
    let places: Vec<_> = paths.iter().map(|path| show(path)).collect();
    packages.finish().at(|| format!("--kernel {}", places.join(", ")))
}

/// A kernel as it is booted. It has no modules.
fn bare(kernel: Blob) -> Result<KernelPackage> {
    Kernel::identify(&kernel)?;
    Ok(kernel.into())
}

fn not_a_part(file: &Blob) -> Error {
    match Kernel::identify(file) {
        Ok(_) => Error::bad_input("is a kernel, and others are given with it, must be packages or directories of one release")
            .hint("a directory with vmlinuz and lib/modules goes as one"),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::modules::Modules;
    use std::{fs, path::Path};

    const KERNEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/boot/prebuilt/testkernel.bzimage");

    /// A directory of these files, by their paths.
    fn system(files: &[&str]) -> tempfile::TempDir {
        let desk = tempfile::tempdir().unwrap();
        for file in files {
            let path = desk.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if file.contains("vmlinuz") { fs::copy(KERNEL, path).map(drop) } else { fs::write(path, file) }.unwrap();
        }
        desk
    }

    fn read(paths: &[&Path]) -> Result<KernelPackage> {
        let paths: Vec<_> = paths.iter().map(|path| path.to_path_buf()).collect();
        kernel(&paths, &mut Env::scratch(1))
    }

    #[test]
    fn a_bare_kernel_has_no_modules() {
        let found = read(&[Path::new(KERNEL)]).unwrap();
        assert_eq!(found.kernel.to_vec(1 << 20).unwrap(), fs::read(KERNEL).unwrap());
        assert!(found.release.is_none() && found.modules.names.is_empty());
        let error = read(&[Path::new(KERNEL), Path::new(KERNEL)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("--kernel {KERNEL}: is a kernel, and others are given with it")), "{error}");
        let error = read(&[Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))]).unwrap_err().to_string();
        assert!(error.contains("Cargo.toml: not a Linux kernel"), "{error}");
    }

    #[test]
    fn a_directory_has_a_kernel_and_the_modules_of_its_release() {
        for files in [
            &["vmlinuz-9", "lib/modules/moby-testkernel/kernel/a.ko", "home/vmlinuz"][..],
            &["boot/vmlinuz", "usr/lib/modules/moby-testkernel/kernel/a.ko", "boot/grub/vmlinuz"],
            &["usr/lib/modules/moby-testkernel/vmlinuz", "boot/vmlinuz-9", "usr/lib/modules/moby-testkernel/kernel/a.ko", "usr/lib/other"],
        ] {
            let desk = system(files);
            let found = read(&[desk.path()]).unwrap();
            assert_eq!(found.release.as_deref(), Some("moby-testkernel"), "{files:?}");
            assert_eq!(found.kernel.len(), fs::metadata(KERNEL).unwrap().len());
            assert_eq!(Modules::of(&found.modules).unwrap().names().collect::<Vec<_>>(), ["a"]);
        }
    }

    #[test]
    fn a_directory_without_one_kernel_is_refused() {
        let place = |desk: &tempfile::TempDir, words: &str| {
            let error = read(&[desk.path()]).unwrap_err().to_string();
            assert_eq!(error, format!("--kernel {}: {words}", desk.path().display()));
        };
        place(&system(&["etc/passwd"]), "there is no kernel in it: neither boot/vmlinuz* nor lib/modules/*/vmlinuz");
        place(&system(&["boot/vmlinuz-1", "boot/vmlinuz-2"]), "there are 2 kernels in it, must be one: boot/vmlinuz-1, boot/vmlinuz-2");
        let kernels = ["boot/vmlinuz", "lib/modules/1/a.ko", "lib/modules/2/a.ko"];
        place(&system(&kernels), "there are modules of 2 releases in it, must be of one: 1, 2");
    }
}
