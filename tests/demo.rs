//! `make demo`: a yml becomes a disk that runs its containers, first under BIOS, then under UEFI.
//!
//! LinuxKit's images are on the internet. So that the demo needs nothing from there but Debian, it makes images of its own, of Debian's
//! cloud kernel, busybox, runc and containerd, and serves them from a registry on this machine. Every container says what it finds.

mod support;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};
use support::{
    qemu::accel::of_a_pc,
    registry::Registry,
    scratch,
    system::{self, SAID},
    text,
    tools::{moby, run},
};

/// Runs a command of ours, shows it, and gives what it printed.
fn show(dir: &Path, arguments: &[&str]) -> Vec<String> {
    println!("\n$ moby {}", arguments.join(" "));
    let mut command: Command = moby();
    command.args(arguments).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("moby can be run");
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("it is a pipe")).split(b'\n') {
        let line = String::from_utf8_lossy(&line.expect("a pipe can be read")).trim_end().to_owned();
        println!("{line}");
        lines.push(line);
    }
    assert!(child.wait().expect("it was started").success(), "moby {} failed", arguments.join(" "));
    lines
}

fn main() {
    let dir = scratch("demo");
    system::write(&dir);
    let registry = Registry::start(&scratch("demo-registry"));
    for name in system::IMAGES {
        registry.push(&dir.join("images"), name);
    }
    println!("\n$ cat system.yml\n{}", run("cat", [text(&dir.join("system.yml"))]));

    let mirror = registry.mirror();
    show(&dir, &["build", "system.yml", "-f", "qcow2", "--cache", "cache", "--mirror", &mirror]);
    for (firmware, found) in [("--bios", "bios"), ("--uefi", "efi")] {
        // Where KVM is there and does not work, `moby run` takes it all the same.
        let console = show(&dir, &["run", "system.qcow2", firmware, "--memory", "1536M", "--accel", of_a_pc()]);
        let says = |wanted: &str| console.iter().any(|line| line.contains(wanted));
        assert!(says(&format!("SYSTEM init on {found}")) && !says("SYSTEM BAD"), "the system did not start as it should");
        SAID.iter().for_each(|line| assert!(says(line), "nobody said: {line}"));
    }
    println!("\n{} ran its containers on BIOS and on UEFI.", dir.join("system.qcow2").display());
}
