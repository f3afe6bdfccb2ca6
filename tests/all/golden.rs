//! Golden files: what is in every output of one small tar, as text, and the checksum of every byte of it.
//!
//! They move only when what we write moves; the commit that moves them says why. `MOBY_BLESS=1` writes them anew.

use crate::support::{
    images::test_kernel,
    scratch, tagged_tar, text,
    tools::{finish, moby, run},
};
use formats::{Blob, Result, dump::Dump, erofs, iso9660, squashfs};
use moby::outputs::{OUTPUTS, Output};
use std::{
    env::var_os,
    fs,
    path::{Path, PathBuf},
};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden/outputs")
}

/// Raspberry Pi's cards need another kernel and files of others: `tests/sd_card.rs` has them.
fn outputs() -> impl Iterator<Item = &'static Output> {
    OUTPUTS.iter().filter(|output| !output.name.starts_with("rpi"))
}

fn file_names(output: &Output) -> impl Iterator<Item = String> {
    output.files.iter().map(|suffix| format!("{}{suffix}", output.name))
}

fn dumped(path: &Path, dump: impl Fn(&Blob, &mut Dump) -> Result<()>) -> String {
    let mut to = Dump::new();
    dump(&Blob::from(fs::read(path).unwrap()), &mut to).unwrap();
    to.finish()
}

/// The checksums of an output's files, made by so many threads.
fn sums(dir: &Path, output: &Output, threads: &str) -> String {
    let arguments = ["convert", "-q", "in.tar", "--name", output.name, "-f", output.name, "-j", threads];
    finish(moby().current_dir(dir).env_remove("SOURCE_DATE_EPOCH").args(arguments)).success();
    file_names(output).map(|name| run("sh", ["-c", "cd \"$1\" && sha256sum \"$2\"", "sh", text(dir), &name])).collect()
}

/// What is in an output, as far as there is a reader of ours for it.
fn described(dir: &Path, name: &str) -> Option<String> {
    let path = dir.join(name);
    if name.ends_with("-squashfs.img") {
        return Some(dumped(&path, squashfs::dump));
    }
    if name.ends_with("-erofs.img") {
        return Some(dumped(&path, erofs::dump));
    }
    let inspected = finish(moby().current_dir(dir).args(["inspect", name]));
    if inspected.code() != 0 {
        return None;
    }
    // How much room a file takes is the file system's business.
    let mut text: String =
        inspected.text().lines().filter(|line| !line.starts_with("actual-size ")).map(|line| format!("{line}\n")).collect();
    if name.ends_with(".iso") {
        text += &dumped(&path, iso9660::dump);
    }
    Some(text)
}

#[test]
fn every_output_is_as_it_was() {
    let dir = scratch("golden");
    let tar = tagged_tar::tagged_tar(&Blob::bytes(fs::read(test_kernel()).unwrap()), "console=ttyS0 quiet", &tagged_tar::odd_rootfs());
    tagged_tar::write(&tar, &dir.join("in.tar")).unwrap();
    let bless = var_os("MOBY_BLESS").is_some();
    let mut moved = Vec::new();
    let mut check = |file: &str, text: &str| {
        if bless {
            fs::create_dir_all(golden()).unwrap();
            fs::write(golden().join(file), text).unwrap();
        } else if fs::read_to_string(golden().join(file)).unwrap_or_default() != text {
            moved.push(file.to_owned());
        }
    };
    let mut all = String::new();
    for output in outputs() {
        let of_one = sums(&dir, output, "1");
        assert_eq!(of_one, sums(&dir, output, "3"), "the number of threads decides");
        all += &of_one;
        for name in file_names(output) {
            if let Some(text) = described(&dir, &name) {
                check(&format!("{name}.dump"), &text);
            }
            fs::remove_file(dir.join(name)).unwrap();
        }
    }
    check("SHA256SUMS", &all);
    assert!(moved.is_empty(), "golden files that no longer hold: {moved:?}; if that is meant, MOBY_BLESS=1 writes them");
}
