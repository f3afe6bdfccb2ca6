//! `docs/demo.txt`: what a user types and sees, run again. Only how long it took and what the file system gave for it may differ.
//!
//! A line that begins with `$ ` is a command, one that begins with `# ` a remark; the rest is what was said. `MOBY_BLESS=1` writes it anew.

use crate::support::{
    images::write_test_tar,
    scratch, text,
    tools::{finish, moby, tool},
};
use std::{
    env::{self, var_os},
    fs,
    path::Path,
};

/// A line as it is on every machine.
fn masked(line: &str) -> String {
    let timed = line.rsplit_once(" in ").filter(|(_, time)| time.ends_with(" s"));
    let line = timed.map_or_else(|| line.to_owned(), |(head, _)| format!("{head} in N.N s"));
    // A number, its unit, and these words.
    let stored = line.split_once(" on disk").and_then(|(head, tail)| Some((head.rsplitn(3, ' ').nth(2)?, tail)));
    stored.map(|(head, tail)| format!("{head} N MiB on disk{tail}")).unwrap_or(line)
}

/// What a command says, on both of its outputs in their order.
fn said(command: &str, dir: &Path) -> String {
    let program = moby();
    let programs = Path::new(program.get_program()).parent().expect("it is in a directory");
    let path = format!("{}:{}", text(programs), env::var("PATH").unwrap_or_default());
    let mut shell = tool("sh");
    shell.args(["-c", &format!("exec 2>&1; {command}")]).current_dir(dir).env("PATH", path).env_remove("SOURCE_DATE_EPOCH");
    finish(&mut shell).text().lines().map(|line| masked(line.trim_end()) + "\n").collect()
}

#[test]
fn the_demo_is_as_it_is_told() {
    let dir = scratch("transcript");
    write_test_tar(&dir.join("demo.tar"), 1);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/demo.txt");
    let told = fs::read_to_string(&file).unwrap();
    let mut run = String::new();
    for line in told.lines() {
        if line.starts_with("# ") {
            run += &format!("{line}\n");
        } else if let Some(command) = line.strip_prefix("$ ") {
            run += &format!("{line}\n{}\n", said(command, &dir));
        }
    }
    let run = run.trim_end().to_owned() + "\n";
    assert!(run.matches("\n$ moby ").count() > 5, "there is nothing to run");
    if var_os("MOBY_BLESS").is_some() {
        fs::write(&file, &run).unwrap();
    } else {
        assert_eq!(told, run, "docs/demo.txt no longer holds; if that is meant, MOBY_BLESS=1 writes it");
    }
}

#[test]
fn what_differs_is_masked() {
    assert_eq!(masked("   write: 1.1 MiB in 0.0 s"), "   write: 1.1 MiB in N.N s");
    assert_eq!(masked("    made: x.img, 35 MiB, 1.1 MiB on disk"), "    made: x.img, 35 MiB, N MiB on disk");
    assert_eq!(masked("    done: 1 file, 300 bytes on disk, in 12.5 s"), "    done: 1 file, N MiB on disk, in N.N s");
    assert_eq!(masked("The disks are the same."), "The disks are the same.");
}
