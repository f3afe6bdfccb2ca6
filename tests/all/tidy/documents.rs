//! What the documents say of the code, held against it.

use super::{files, none, root, rust_files};
use formats::{FORMATS, Format};
use moby::{
    linuxkit::DEVIATIONS,
    outputs::{OUTPUTS, Output},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Modules of `formats/src` that no standard defines.
const SHARED: [&str; 23] = [
    "lib", "blob", "blocks", "calendar", "check", "compare", "crc32c", "dump", "env", "error", "format", "guid", "info", "likeness",
    "numbers", "options", "parallel", "plain", "reading", "spool", "tree", "units", "zeros",
];

fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cells of every row of the table under a heading of a document; all its tables when the heading is empty.
fn rows(document: &str, heading: &str) -> Vec<Vec<String>> {
    let section = document.split("\n## ").find(|section| heading.is_empty() || section.lines().next() == Some(heading));
    let section = if heading.is_empty() { document } else { section.unwrap_or_else(|| panic!("no heading {heading}")) };
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---")).map(cells).collect();
    assert!(rows.len() > 1, "no table under {heading:?}");
    rows
}

/// What is between backticks.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// `src/{a,b}.rs` as `src/a.rs` and `src/b.rs`.
fn expanded(path: &str) -> Vec<String> {
    let Some((head, (choices, tail))) = path.split_once('{').and_then(|(head, rest)| Some((head, rest.split_once('}')?))) else {
        return vec![path.to_owned()];
    };
    choices.split(',').map(|choice| format!("{head}{choice}{tail}")).collect()
}

/// The paths of ARCHITECTURE.md's map.
fn map() -> BTreeSet<String> {
    let rows = rows(&document("ARCHITECTURE.md"), "Where things are");
    rows.iter().flat_map(|row| code(&row[0])).flat_map(expanded).collect()
}

/// ARCHITECTURE.md is the map: a module of the program is in it by its path or by that of its directory.
#[test]
fn the_map_names_every_module() {
    let map = map();
    let is_module = |path: &Path| {
        let depth = path.components().count();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let here =
            path.starts_with("src") && depth <= 3 || ["formats/src", "net/src"].iter().any(|dir| path.starts_with(dir)) && depth == 3;
        here && !matches!(stem, "lib" | "main" | "tests")
    };
    // `src/` alone would be no map.
    let named = |path: &Path| {
        let dir = path.parent().filter(|dir| dir.components().count() > 1).map(|dir| format!("{}/", dir.display()));
        map.contains(&path.display().to_string())
            || dir.is_some_and(|dir| !["formats/src/", "net/src/"].contains(&dir.as_str()) && map.contains(&dir))
    };
    none(
        "modules that ARCHITECTURE.md's map does not name",
        rust_files().filter(|(path, _)| is_module(path) && !named(path)).map(|(path, _)| path.display().to_string()),
    );
}

#[test]
fn the_map_names_nothing_that_is_gone() {
    none("paths of ARCHITECTURE.md's map that are not there", map().into_iter().filter(|path| !root().join(path).exists()));
}

/// Dependencies from a registry of one manifest: what ships, not what tests.
struct Dependencies {
    names: Vec<String>,
    /// Their own options, which may be the name of a crate: `zlib-rs` of `flate2`.
    features: Vec<String>,
}

fn dependencies(manifest: &Path) -> Dependencies {
    let text = fs::read_to_string(manifest).unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
    let (mut names, mut features) = (Vec::new(), Vec::new());
    let mut ships = false;
    for line in text.lines() {
        if let Some(section) = line.strip_prefix('[') {
            ships = section == "dependencies]" || section.starts_with("target.") && section.ends_with(".dependencies]");
        } else if let (true, Some((name, value))) = (ships, line.split_once('='))
            && !value.contains("path =")
        {
            names.push(name.trim().to_owned());
            features.extend(value.split('"').skip(1).step_by(2).map(String::from));
        }
    }
    Dependencies { names, features }
}

/// ARCHITECTURE.md tells of every dependency why it was chosen, and of none that is not there.
#[test]
fn the_table_of_dependencies_is_the_manifests() {
    let boot = fs::read_dir(root().join("boot")).expect("there are loaders");
    let manifests = boot.map(|entry| entry.expect("a name").path().join("Cargo.toml")).filter(|path| path.exists());
    let manifests: Vec<PathBuf> = manifests
        .chain(["Cargo.toml", "formats/Cargo.toml", "formats/zstd/Cargo.toml", "net/Cargo.toml"].map(|path| root().join(path)))
        .collect();
    let all: Vec<Dependencies> = manifests.iter().map(|path| dependencies(path)).collect();
    let names: BTreeSet<&str> = all.iter().flat_map(|one| &one.names).map(String::as_str).collect();
    let features: BTreeSet<&str> = all.iter().flat_map(|one| &one.features).map(String::as_str).collect();
    assert!(names.contains("clap") && names.contains("r-efi") && names.contains("flate2"), "the manifests are read: {names:?}");

    let rows = rows(&document("ARCHITECTURE.md"), "Dependencies");
    let choices = rows.iter().map(|row| row[1].as_str()).filter(|choice| !choice.starts_with("ours"));
    let chosen: BTreeSet<&str> = choices.flat_map(code).collect();
    none("dependencies that ARCHITECTURE.md does not name", names.difference(&chosen).map(|name| (*name).to_owned()));
    let gone = chosen.iter().filter(|name| !names.contains(*name) && !features.contains(*name));
    none("crates of ARCHITECTURE.md's table that are no dependency", gone.map(|name| (*name).to_owned()));
}

/// Every standard has its row in formats/README.md, and every row its module.
#[test]
fn the_table_of_standards_names_every_module() {
    let text = document("formats/README.md");
    let named: BTreeSet<String> = rows(&text, "").iter().flat_map(|row| code(&row[2])).map(String::from).collect();
    let top = rust_files().map(|(path, _)| path).filter(|path| path.parent() == Some(Path::new("formats/src")));
    let modules: BTreeSet<String> = top.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    let wanted = modules.iter().filter(|name| !SHARED.contains(&name.as_str()) && !named.contains(*name));
    none("modules without a row in formats/README.md, which no standard defines or which it lacks", wanted.cloned());
    none("modules of formats/README.md that are not there", named.difference(&modules).cloned());
    none("shared modules that are not there", SHARED.iter().filter(|name| !modules.contains(**name)).map(|name| (*name).to_owned()));
}

/// docs/from-linuxkit.md has every deviation, as help has it.
#[test]
fn the_page_for_users_of_linuxkit_is_the_table() {
    let page = document("docs/from-linuxkit.md");
    let told: Vec<_> =
        rows(&page, "Where a build differs on purpose").into_iter().skip(1).map(|row| (row[0].clone(), row[1].clone())).collect();
    let wanted: Vec<_> = DEVIATIONS.iter().map(|(theirs, ours)| ((*theirs).to_owned(), (*ours).to_owned())).collect();
    assert_eq!(told, wanted);
}

/// docs/formats.md has every output with its files and its firmware, and every container with what we do with it.
#[test]
fn the_page_of_formats_is_the_tables() {
    let page = document("docs/formats.md");
    let told = rows(&page, "Outputs");
    let is_told = |output: &Output| {
        let files: Vec<_> = output.files.iter().map(|suffix| format!("NAME{suffix}")).collect();
        let row = [format!("`{}`", output.name), files.join(", "), output.firmware.to_owned()];
        told.iter().any(|cells| cells[..3] == row && !cells[3].is_empty())
    };
    none("outputs that docs/formats.md lacks or tells otherwise", OUTPUTS.iter().filter(|o| !is_told(o)).map(|o| o.name.to_owned()));

    let told = rows(&page, "Containers");
    let is_told = |format: &&&dyn Format| {
        let use_of = if format.is_written() { "read and written" } else { "read only" };
        let (name, aliases) = (format!("`{}`", format.name()), format.aliases());
        told.iter().any(|cells| cells[0] == name && code(&cells[1]) == aliases && cells[2] == use_of)
    };
    let untold = FORMATS.iter().filter(|format| !is_told(format)).map(|format| format.name().to_owned());
    none("containers that docs/formats.md lacks or tells otherwise", untold);
}

/// The README is a way in; what is long has a page under docs/, which it names, and which says for whom it is.
#[test]
fn the_readme_is_short_and_names_every_page() {
    let readme = document("README.md");
    assert!(readme.lines().count() < 120, "README.md has {} lines", readme.lines().count());
    let pages = fs::read_dir(root().join("docs")).expect("there are pages").map(|entry| entry.expect("a name").file_name());
    let pages: Vec<String> = pages.map(|name| name.into_string().expect("our file names are UTF-8")).collect();
    assert!(pages.len() >= 7, "{pages:?}");
    none("pages that README.md does not name", pages.iter().filter(|name| !readme.contains(&format!("(docs/{name})"))).cloned());
    let is_for = |line: &str| line.trim_start_matches("# ").starts_with("For ");
    let opens = |name: &&String| document(&format!("docs/{name}")).lines().take(2).any(is_for);
    none("pages that do not say for whom they are", pages.iter().filter(|name| !opens(name)).cloned());
}

/// No link of a document leads nowhere.
#[test]
fn links_lead_somewhere() {
    let documents = files().into_iter().filter(|(path, _)| path.extension().is_some_and(|extension| extension == "md"));
    let broken = documents.flat_map(|(path, text)| {
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let dir = root().join(path.parent().unwrap_or(Path::new("")));
        let lost = targets.filter(|target| !target.is_empty() && !target.contains("://") && !dir.join(target).exists());
        lost.map(|target| format!("{}: {target}", path.display())).collect::<Vec<_>>()
    });
    none("links that lead nowhere", broken);
}
