//! Images that mean harm: each is built within little memory, or refused with words that name what is wrong.

use crate::support::{
    layouts, scratch, text,
    tools::{Finished, finish, moby, tool},
    ustar::{Kind, Ustar},
};
use formats::{
    Blob,
    oci::Digest,
    tar::{Dialect, Writer},
    tree::{Content, Inode},
    units::MIB,
};
use serde_json::json;
use std::{fs, path::Path};

/// All that the program may map, stacks and code too: bytes.
const MEMORY: u64 = 320 * MIB;

fn file(body: impl Into<Blob>) -> Inode {
    Inode::new(Content::File(body.into()), 0o644)
}

fn tar(names: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Blob {
    let mut writer = Writer::new(Dialect::Pax);
    names.into_iter().for_each(|name| writer.add(name.as_ref(), &file(Blob::default())).unwrap());
    writer.finish()
}

/// A config for layers that are what they say.
fn config(tars: &[Blob]) -> Vec<u8> {
    let ids: Vec<_> = tars.iter().map(|tar| Digest::sha256(&tar.to_vec(u64::MAX).unwrap()).to_string()).collect();
    json!({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ids}}).to_string().into_bytes()
}

/// Builds a yml whose only image has this config and these layers.
fn build(directory: &Path, config: &[u8], layers: &[Vec<u8>], more: &[&str]) -> Finished {
    let layout = directory.join("layout");
    layouts::write_index(&layout_of(&layout), &[layouts::image(&layout, "test/it:1", config, layers)]);
    fs::write(directory.join("it.yml"), "init: [test/it:1]\n").unwrap();
    let mut command = tool("prlimit");
    command.arg(format!("--as={MEMORY}")).arg(moby().get_program()).args([
        "build",
        "--offline",
        "--arch",
        "amd64",
        "-f",
        "tar",
        "-o",
        "out.tar",
    ]);
    let images = format!("oci-layout:{}", layout.display());
    finish(command.args(["--images", &images, "it.yml"]).args(more).env("TMPDIR", directory).current_dir(directory))
}

fn layout_of(layout: &Path) -> std::path::PathBuf {
    fs::create_dir_all(layout).unwrap();
    layout.to_owned()
}

/// Refused with these words, none of which is for a terminal to execute, and nothing made.
fn refused(directory: &Path, done: &Finished, words: &[&str]) {
    assert_eq!(done.code(), 2, "{done}");
    words.iter().for_each(|word| assert!(done.errors().contains(word), "{word} is not in\n{done}"));
    assert!(!done.errors().contains('\u{1b}') && !directory.join("out.tar").exists(), "{done}");
}

/// Half a GiB of zeros in a few MiB: they take no memory, and no room on the disk but what the result has.
#[test]
fn a_bomb_is_unpacked_within_bounds() {
    let directory = scratch("hostile-bomb");
    let mut writer = Writer::new(Dialect::Pax);
    writer.add(b"zeros", &file(Blob::zeros(512 * MIB))).unwrap();
    let tar = writer.finish();
    let packed = layouts::packed(&tar);
    assert!(packed.len() < 8 << 20);
    build(&directory, &config(&[tar]), std::slice::from_ref(&packed), &[]).success();
    assert!(fs::metadata(directory.join("out.tar")).unwrap().len() > 512 * MIB);
    fs::remove_file(directory.join("out.tar")).unwrap();
    // Another one than was promised.
    let done = build(&directory, &config(&[Blob::default()]), &[packed], &[]);
    refused(&directory, &done, &["image docker.io/test/it:1: layer sha256:", "diff_id"]);
}

/// What a name costs is bounded: no more than a kilobyte, with all that the program has.
#[test]
fn many_entries_are_bounded() {
    let directory = scratch("hostile-entries");
    let tar = tar((0..200_000).map(|nth| format!("d/{nth}")));
    build(&directory, &config(std::slice::from_ref(&tar)), &[layouts::packed(&tar)], &[]).success();
    let members = finish(tool("tar").args(["-tf", text(&directory.join("out.tar"))])).success();
    assert!(members.text().lines().count() > 200_000);
}

/// A few MiB that ask for the names of a tree that nobody has: what they cost ends at a limit, whatever is around them.
#[test]
fn long_names_are_bounded() {
    use std::{io::Write, process::Stdio};
    let directory = scratch("hostile-long-names");
    let packed = fs::File::create(directory.join("long.tar.gz")).unwrap();
    let mut gzip = tool("gzip").arg("-1").stdin(Stdio::piped()).stdout(packed).spawn().unwrap();
    let mut tar = Ustar::new(std::io::BufWriter::new(gzip.stdin.take().unwrap()));
    let deep = format!("{}/", "d".repeat(255)).repeat(15);
    for nth in 0..40_000 {
        tar.records(&[("path", &format!("{deep}{nth:0>255}"))]).unwrap();
        tar.entry("x", 0o644, Kind::File(b"")).unwrap();
    }
    tar.finish().unwrap().flush().unwrap();
    gzip.wait().unwrap();
    let mut command = tool("prlimit");
    command.arg(format!("--as={MEMORY}")).arg(moby().get_program()).args(["inspect", "long.tar.gz"]);
    let done = finish(command.env("TMPDIR", &directory).current_dir(&directory));
    refused(&directory, &done, &["long.tar.gz: entry ddd", "have more than 128 MiB, at most that is taken"]);
    fs::remove_file(directory.join("long.tar.gz")).unwrap();
}

#[test]
fn what_claims_more_than_there_is_is_refused() {
    let directory = scratch("hostile-claims");
    let mut bytes = tar(["file"]).to_vec(MIB).unwrap();
    // A size of 2^60, in base 256.
    bytes[124..136].copy_from_slice(&[&[0x80, 0, 0, 0][..], &(1_u64 << 60).to_be_bytes()].concat());
    let sum: u32 = (0..512).map(|at| if (148..156).contains(&at) { 32 } else { u32::from(bytes[at]) }).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let claim = Blob::bytes(bytes.as_slice());
    for layers in ["linuxkit", "oci"] {
        let done = build(&directory, &config(std::slice::from_ref(&claim)), &[layouts::packed(&claim)], &["--layers", layers]);
        refused(&directory, &done, &["image docker.io/test/it:1: layer", "file"]);
    }
    // A layer that its manifest calls larger than it is.
    let tar = tar(["file"]);
    let layout = layout_of(&directory.join("layout"));
    let entry = layouts::image(&layout, "test/it:1", &config(std::slice::from_ref(&tar)), &[layouts::packed(&tar)]);
    let hex = entry["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let manifest = fs::read_to_string(layout.join("blobs/sha256").join(hex)).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    manifest["layers"][0]["size"] = (1_u64 << 60).into();
    let manifest = manifest.to_string();
    let digest = Digest::sha256(manifest.as_bytes());
    fs::write(layout.join("blobs/sha256").join(digest.hex()), &manifest).unwrap();
    let mut entry = entry;
    (entry["digest"], entry["size"]) = (digest.as_str().into(), manifest.len().into());
    layouts::write_index(&layout, &[entry]);
    let done = finish(
        moby()
            .args(["build", "--offline", "-f", "tar", "-o", "out.tar", "--images", "oci-layout:layout", "it.yml"])
            .current_dir(&directory),
    );
    refused(&directory, &done, &["docker.io/test/it:1", "1152921504606846976"]);
}

#[test]
fn names_that_lead_outside_end_at_the_tar() {
    let directory = scratch("hostile-names");
    for name in ["../outside", "/../../outside", "a/../../outside"] {
        let tar = tar([name]);
        build(&directory, &config(std::slice::from_ref(&tar)), &[layouts::packed(&tar)], &["--no-sbom"]).success();
        // The tar is LinuxKit's; who makes a file system of it says no.
        let done = finish(moby().args(["convert", "out.tar", "-f", "docker", "-o", "out.docker"]).current_dir(&directory));
        assert!(matches!(done.code(), 0 | 2), "{done}");
        assert!(done.code() == 2 || !fs::read(directory.join("out.docker")).unwrap().windows(2).any(|pair| pair == b".."), "{done}");
        fs::remove_file(directory.join("out.tar")).unwrap();
        let done = build(&directory, &config(std::slice::from_ref(&tar)), &[layouts::packed(&tar)], &["--layers", "oci"]);
        assert!(matches!(done.code(), 0 | 2) && !directory.join("../outside").exists(), "{done}");
        let _ = fs::remove_file(directory.join("out.tar"));
    }
}

#[test]
fn whiteouts_of_everything_are_no_harm() {
    let directory = scratch("hostile-whiteouts");
    let below = tar(["kept"]);
    for name in [".wh.", ".wh..", ".wh...", "/.wh.", "./.wh../x", "a/.wh..", ".wh./"] {
        let above = tar([name]);
        let layers = [layouts::packed(&below), layouts::packed(&above)];
        build(&directory, &config(&[below.clone(), above.clone()]), &layers, &[]).success();
        fs::remove_file(directory.join("out.tar")).unwrap();
        let done = build(&directory, &config(&[below.clone(), above]), &layers, &["--layers", "oci"]);
        assert!(done.code() == 0 || done.code() == 2 && done.errors().contains("docker.io/test/it:1: layer"), "{name}: {done}");
        let _ = fs::remove_file(directory.join("out.tar"));
    }
}

#[test]
fn documents_and_names_that_mean_harm_are_refused() {
    let directory = scratch("hostile-documents");
    let nested = format!("{{\"config\":{}", "[".repeat(10_000));
    refused(&directory, &build(&directory, nested.as_bytes(), &[], &[]), &["docker.io/test/it:1", "it is no JSON"]);
    for name in ["test/it:1\\e[2J", "test/\\u202eti", "\\0"] {
        fs::write(directory.join("it.yml"), format!("init: [\"{name}\"]\n")).unwrap();
        let done = finish(moby().args(["build", "--offline", "-f", "tar", "-o", "out.tar", "it.yml"]).current_dir(&directory));
        refused(&directory, &done, &["it.yml:1:"]);
    }
    fs::write(directory.join("it.yml"), format!("init: {}", "[".repeat(100_000))).unwrap();
    let done = finish(moby().args(["build", "--offline", "-f", "tar", "-o", "out.tar", "it.yml"]).current_dir(&directory));
    refused(&directory, &done, &["it.yml:1:"]);
}
