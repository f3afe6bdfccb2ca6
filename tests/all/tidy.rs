//! House rules, as far as a program can judge them.

mod circles;
mod dependencies;
mod documents;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Past this many lines a file is split by part of the standard.
const LINES_MAX: usize = 700;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file that git knows or would add: path from the root, and content.
fn files() -> Vec<(PathBuf, String)> {
    let listed = Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root()).output();
    let listed = listed.expect("git can be run");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).expect("our file names are UTF-8");
    let read = |path: &str| Some((PathBuf::from(path), fs::read_to_string(root().join(path)).ok()?));
    let files: Vec<_> = paths.lines().filter_map(read).collect();
    assert!(files.len() > 20, "git lists only {} text files", files.len());
    files
}

fn rust_files() -> impl Iterator<Item = (PathBuf, String)> {
    files().into_iter().filter(|(path, _)| path.extension().is_some_and(|extension| extension == "rs"))
}

/// Fails with every finding, one a line.
fn none(what: &str, findings: impl IntoIterator<Item = String>) {
    let findings: Vec<_> = findings.into_iter().collect();
    assert!(findings.is_empty(), "{what}:\n{}", findings.join("\n"));
}

/// `path:line: text` of every line that has one of the words.
fn lines_with<'a>(path: &'a Path, text: &'a str, words: &'a [String]) -> impl Iterator<Item = String> + 'a {
    let hit = |line: &str| words.iter().any(|word| line.contains(word.as_str()));
    text.lines()
        .enumerate()
        .filter(move |(_, line)| hit(line))
        .map(move |(n, line)| format!("{}:{}: {}", path.display(), n + 1, line.trim()))
}

/// Words put together here, so that this file is not its own finding.
fn words(halves: &[(&str, &str)]) -> Vec<String> {
    halves.iter().map(|(a, b)| format!("{a}{b}")).collect()
}

#[test]
fn unsafe_code_stays_in_the_boot_programs() {
    let bare = ["boot/bios/", "boot/efi/", "boot/testkernel/"];
    let words = words(&[("unsafe", " {"), ("unsafe", " fn "), ("unsafe", " impl"), ("unsafe", " extern"), ("#[unsafe", "(")]);
    let elsewhere = rust_files().filter(|(path, _)| !bare.iter().any(|dir| path.starts_with(dir)));
    let found = elsewhere.flat_map(|(path, text)| lines_with(&path, &text, &words).collect::<Vec<_>>());
    // Process 1 has one: device-mapper has no other door than ioctl.
    let (of_init, others): (Vec<_>, Vec<_>) = found.partition(|line| line.starts_with("boot/init/src/verity.rs:"));
    none("unsafe code outside boot/{bios,efi,testkernel}", others);
    assert_eq!(of_init.len(), 1, "{of_init:?}");
}

#[test]
fn nothing_is_left_for_later() {
    let words = words(&[("todo", "!("), ("unimpl", "emented!("), ("FIX", "ME"), ("XX", "X:"), ("#[ign", "ore"), ("db", "g!(")]);
    none("unfinished work", rust_files().flat_map(|(path, text)| lines_with(&path, &text, &words).collect::<Vec<_>>()));
}

/// Nothing names the machine it was written on.
#[test]
fn no_path_of_one_machine() {
    let words = words(&[("/wo", "rk/"), ("/ro", "ot/"), ("/home", "/"), ("../sha", "red"), ("/tmp/", "wt")]);
    none("paths of one machine", files().into_iter().flat_map(|(path, text)| lines_with(&path, &text, &words).collect::<Vec<_>>()));
}

#[test]
fn every_module_has_a_head() {
    // A module's own `tests.rs` goes by the head of the module.
    let modules = rust_files().filter(|(path, _)| !path.ends_with("tests.rs"));
    let headless = modules.filter(|(_, text)| !text.starts_with("//!"));
    none("files that do not begin with `//!`", headless.map(|(path, _)| path.display().to_string()));
}

#[test]
fn no_module_is_called_after_nothing() {
    let vague = ["util", "utils", "helper", "helpers", "manager", "common", "misc"];
    let named = |path: &Path| vague.iter().any(|name| path.file_stem().is_some_and(|stem| stem == *name));
    none("vague names", rust_files().filter(|(path, _)| named(path)).map(|(path, _)| path.display().to_string()));
}

#[test]
fn files_stay_readable() {
    let long = rust_files().filter(|(_, text)| text.lines().count() > LINES_MAX);
    none("split by part of the standard", long.map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count())));
}

#[test]
fn no_binary_from_elsewhere() {
    let listed = Command::new("git").args(["ls-files"]).current_dir(root()).output().expect("git can be run");
    let paths = String::from_utf8(listed.stdout).expect("our file names are UTF-8");
    let binary = |path: &&str| fs::read(root().join(path)).is_ok_and(|bytes| bytes.contains(&0));
    let ours = |path: &&str| path.starts_with("boot/prebuilt/") || path.starts_with("fixtures/");
    none("binary files outside boot/prebuilt and fixtures", paths.lines().filter(binary).filter(|path| !ours(path)).map(String::from));
}

/// Every prebuilt loader has its line in SHA256SUMS, and the line is right.
#[test]
fn prebuilt_loaders_are_what_their_sums_say() {
    let sums = Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(root().join("boot/prebuilt")).output();
    let sums = sums.expect("sha256sum can be run");
    assert!(sums.status.success(), "{}{}", String::from_utf8_lossy(&sums.stdout), String::from_utf8_lossy(&sums.stderr));
    let listed = fs::read_to_string(root().join("boot/prebuilt/SHA256SUMS")).expect("there is a list");
    let prebuilt = fs::read_dir(root().join("boot/prebuilt")).expect("there are prebuilt loaders");
    let names = prebuilt.map(|entry| entry.expect("a name").file_name().into_string().expect("our file names are UTF-8"));
    let binary = |name: &String| fs::read(root().join("boot/prebuilt").join(name)).is_ok_and(|bytes| bytes.contains(&0));
    none("files without a sum", names.filter(binary).filter(|name| !listed.contains(name.as_str())));
}

/// Documentation begins with an example, which `cargo test` runs.
#[test]
fn every_container_that_is_written_has_an_example() {
    let lacks = |name: &&str| {
        let text = fs::read_to_string(root().join(format!("formats/src/{name}.rs"))).expect("a module is called as its format is");
        !(text.contains("\n//! ```\n//! use formats::") && text.contains(".plan(") && text.contains(".decode(&file"))
    };
    let written = formats::FORMATS.iter().filter(|format| format.is_written()).map(|format| format.name());
    none("modules without an example that writes and reads", written.filter(lacks).map(String::from));
}

/// A circle has no top to read from, and nothing in it can be taken away by itself.
#[test]
fn no_modules_import_each_other_in_a_circle() {
    let circles = ["src", "formats/src", "net/src"].into_iter().flat_map(|dir| {
        let mut modules = circles::Modules::default();
        for (path, text) in rust_files().filter(|(path, _)| !path.ends_with("tests.rs")) {
            if let Ok(inside) = path.strip_prefix(dir) {
                modules.add(dir, inside.to_str().expect("our file names are UTF-8"), &text);
            }
        }
        modules.circles()
    });
    none("modules that import each other in a circle", circles);
}
