//! What was measured, as a file for programs, and held against the run that is committed.

use super::{Cost, support::tools::run};
use serde_json::{Map, Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

/// A command of a row of the table.
#[derive(Clone)]
pub struct Row {
    /// What is done.
    pub what: String,
    /// Who does it.
    pub command: String,
    /// Its best.
    pub cost: Cost,
    /// Bytes of what it made.
    pub size: u64,
}

static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

/// Keeps a row for the end.
pub fn record(row: Row) {
    ROWS.lock().expect("nobody panics here").push(row);
}

/// More than this part of the time of the last run is slower.
const SLOWER: f64 = 1.05;

/// Writes everything that was recorded to `bench.json`, and says what got slower since the run that is committed.
pub fn finish(directory: &Path) {
    let rows = ROWS.lock().expect("nobody panics here").clone();
    let (machine, path) = (machine(directory), directory.join("bench.json"));
    let made = json!({
        "machine": machine,
        "commit": commit(),
        "versions": versions(),
        "rows": rows.iter().map(to_json).collect::<Vec<_>>(),
    });
    fs::write(&path, serde_json::to_string_pretty(&made).expect("a value") + "\n").expect("a directory of ours");
    let committed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/last.json");
    println!("\nwritten: {}", path.display());
    match fs::read_to_string(&committed) {
        Ok(text) => compare(&serde_json::from_str(&text).expect("what a run of this wrote"), &machine, &rows),
        Err(_) => println!("there is no {}: copy this one there to have the next compared with it", committed.display()),
    }
}

fn to_json(Row { what, command, cost, size }: &Row) -> Value {
    let rounded = |number: f64| (number.is_finite()).then_some((number * 1000.0).round() / 1000.0);
    json!({"what": what, "command": command, "wall": rounded(cost.wall), "cpu": rounded(cost.cpu), "memory": rounded(cost.memory), "size": size})
}

/// On the same machine seconds are compared, else how often the fastest of the others would have run.
fn compare(last: &Value, machine: &Value, rows: &[Row]) {
    let old: Vec<_> = last["rows"].as_array().into_iter().flatten().filter_map(of_json).collect();
    let is_same = last["machine"] == *machine;
    let unit = if is_same { "s" } else { "times the fastest other command, for that was another machine" };
    println!("held against {}, in {unit}:", last["commit"].as_str().unwrap_or("an unknown commit"));
    let mut slower = 0;
    for row in rows.iter().filter(|row| is_ours(&row.command)) {
        let Some(before) = old.iter().find(|before| (&before.what, &before.command) == (&row.what, &row.command)) else { continue };
        let (before, now) = match is_same {
            true => (before.cost.wall, row.cost.wall),
            false => (in_others(before, &old), in_others(row, rows)),
        };
        if now > before * SLOWER {
            slower += 1;
            println!("slower: {}, {}: {now:.3}, was {before:.3} ({:+.0} %)", row.what, row.command, (now / before - 1.0) * 100.0);
        }
    }
    if slower == 0 {
        println!("nothing got slower by more than {:.0} %", (SLOWER - 1.0) * 100.0);
    }
}

fn of_json(row: &Value) -> Option<Row> {
    let number = |name: &str| row[name].as_f64().unwrap_or(f64::INFINITY);
    let cost = Cost { wall: row["wall"].as_f64()?, cpu: number("cpu"), memory: number("memory") };
    let text = |name: &str| row[name].as_str().map(str::to_owned);
    Some(Row { what: text("what")?, command: text("command")?, cost, size: row["size"].as_u64()? })
}

fn is_ours(command: &str) -> bool {
    command.starts_with("moby")
}

fn in_others(row: &Row, rows: &[Row]) -> f64 {
    let others = rows.iter().filter(|other| other.what == row.what && !is_ours(&other.command));
    row.cost.wall / others.map(|other| other.cost.wall).fold(f64::INFINITY, f64::min)
}

/// What a figure depends on besides programs.
fn machine(directory: &Path) -> Value {
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.split_once(':')?.1.trim().to_owned()))
    };
    json!({
        "processor": field("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": field("/proc/meminfo", "MemTotal"),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()).ok(),
        "file system": run("stat", ["-f", "-c", "%T", directory.to_str().expect("UTF-8")]).trim(),
    })
}

/// The commit, and whether something else was built.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let is_changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    git(&["rev-parse", "HEAD"]).unwrap_or_default() + if is_changed { ", changed" } else { "" }
}

/// The others' versions, by the packages that they are in.
fn versions() -> Map<String, Value> {
    const PACKAGES: [&str; 14] = [
        "coreutils",
        "qemu-utils",
        "qemu-system-x86",
        "libarchive-tools",
        "pigz",
        "gzip",
        "tar",
        "squashfs-tools",
        "erofs-utils",
        "xorriso",
        "syslinux",
        "systemd-boot-efi",
        "umoci",
        "skopeo",
    ];
    let version = |package: &str| {
        let output = Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output().ok()?;
        output.status.success().then(|| (package.to_owned(), String::from_utf8_lossy(&output.stdout).into_owned().into()))
    };
    PACKAGES.into_iter().filter_map(version).collect()
}
