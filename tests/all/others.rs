//! Files that others use, own or limit: what a machine has open, what changes meanwhile, whom a file belongs to, what a process may.

use crate::support::{
    images::write_test_tar,
    names, scratch, text,
    tools::{Finished, finish, moby, run, tool},
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

/// A shell that runs the program as `"$@"` after some words of its own.
fn limited(words: &str, arguments: &[&str]) -> Finished {
    finish(tool("sh").args(["-c", &format!("{words} \"$@\"; exit $?"), "sh"]).arg(moby().get_program()).args(arguments))
}

#[track_caller]
fn refused(run: &Finished, code: i32, words: &[&str]) {
    assert_eq!(run.code(), code, "the exit code\n{run}");
    for word in words {
        assert!(run.errors().contains(word), "the message does not name {word:?}\n{run}");
    }
    assert!(!run.errors().contains("panicked"), "{run}");
}

/// Ends a machine with the test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A machine that has a disk open, stopped before its first instruction.
fn machine_with(disk: &Path) -> Running {
    let drive = format!("file={},format=qcow2,if=virtio", disk.display());
    let mut command = tool("qemu-system-x86_64");
    command.args(["-accel", "tcg", "-m", "32", "-display", "none", "-S", "-drive", &drive]);
    let running = Running(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
    let end = Instant::now() + Duration::from_secs(60);
    // QEMU's own tool says when it has it.
    while finish(tool("qemu-img").args(["info", text(disk)])).code() == 0 {
        assert!(Instant::now() < end, "QEMU does not open the disk");
        thread::sleep(Duration::from_millis(50));
    }
    running
}

#[test]
fn a_disk_that_a_machine_writes_to_is_left_alone() {
    let dir = scratch("others-machine");
    let at = |name: &str| dir.join(name);
    run("qemu-img", ["create", "-q", "-f", "qcow2", text(&at("base.qcow2")), "64M"]);
    run("qemu-img", ["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", text(&at("disk.qcow2"))]);
    fs::copy(at("base.qcow2"), at("other.qcow2")).unwrap();
    let _machine = machine_with(&at("disk.qcow2"));
    let before = names(&dir);
    let moby = |arguments: &[&str]| finish(moby().current_dir(&dir).args(arguments));
    let said = ["disk.qcow2", "in use"];
    refused(&moby(&["convert", "-q", "disk.qcow2", "--from", "qcow2", "--follow", "-f", "raw", "-o", "out.img"]), 4, &said);
    refused(&moby(&["compare", "other.qcow2", "disk.qcow2", "--follow"]), 2, &said);
    refused(&moby(&["check", "disk.qcow2"]), 1, &said);
    refused(&moby(&["convert", "-q", "other.qcow2", "-f", "qcow2", "-o", "disk.qcow2"]), 4, &said);
    assert_eq!(names(&dir), before);
    // Its backing file is only read, there and here.
    moby(&["convert", "-q", "base.qcow2", "--from", "qcow2", "-f", "raw", "-o", "base.img"]).success();
    moby(&["convert", "-q", "disk.qcow2", "--from", "qcow2", "--follow", "--force", "-f", "raw", "-o", "out.img"]).success();
    moby(&["check", "disk.qcow2", "--force"]).success();
}

/// An overlay's backing file is an input, too.
#[test]
fn nothing_that_was_followed_is_replaced() {
    let dir = scratch("others-followed");
    let at = |name: &str| dir.join(name);
    run("qemu-img", ["create", "-q", "-f", "qcow2", text(&at("base.qcow2")), "1M"]);
    run("qemu-img", ["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", text(&at("top.qcow2"))]);
    fs::hard_link(at("base.qcow2"), at("same.qcow2")).unwrap();
    let before = fs::read(at("base.qcow2")).unwrap();
    for output in ["base.qcow2", "./same.qcow2", "top.qcow2"] {
        let moby = |arguments: &[&str]| finish(moby().current_dir(&dir).args(arguments).args(["-o", output]));
        let said = [output, "is an input"];
        refused(&moby(&["convert", "-q", "top.qcow2", "--follow", "-f", "qcow2"]), 2, &said);
        refused(&moby(&["extract", "top.qcow2", "disk", "--from", "qcow2", "--follow"]), 2, &said);
    }
    assert!(fs::read(at("base.qcow2")).unwrap() == before);
}

#[test]
fn what_is_replaced_keeps_its_owner_mode_and_list() {
    let dir = scratch("others-owner");
    let (tar, image) = (dir.join("guest.tar"), dir.join("guest.img"));
    write_test_tar(&tar, 1);
    fs::write(&image, "old").unwrap();
    fs::set_permissions(&image, PermissionsExt::from_mode(0o640)).unwrap();
    let is_root = fs::metadata(&image).unwrap().uid() == 0;
    if is_root {
        chown(&image, Some(1000), Some(1001)).unwrap();
    }
    run("setfacl", ["-m", "u:12345:rw", text(&image)]);
    let attributes = || {
        let meta = fs::metadata(&image).unwrap();
        (meta.uid(), meta.gid(), meta.mode() & 0o7777, finish(tool("getfacl").args(["-cnp", text(&image)])).success().text())
    };
    let before = attributes();
    assert!(before.3.contains("user:12345:rw-"), "{}", before.3);
    finish(moby().args(["convert", "-q", "-f", "raw", "-o", text(&image), text(&tar)])).success();
    assert_eq!(attributes(), before);
    assert!(fs::metadata(&image).unwrap().len() > 1 << 20);
}

/// `docker save` that is not done, a download that goes on: half of the old and half of the new is no image.
#[test]
fn an_input_that_changes_meanwhile_is_refused() {
    let dir = scratch("others-change");
    let (tar, image) = (dir.join("guest.tar"), dir.join("guest.img"));
    write_test_tar(&tar, 200);
    let mut child = moby();
    child.args(["convert", "-q", "-f", "raw", "--initrd-compression", "none", "-o", "-", text(&tar)]);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    // It has read what there is in the tar, and is at writing it.
    std::io::Read::read_exact(&mut out, &mut vec![0; 1 << 20]).unwrap();
    fs::File::options().append(true).open(&tar).and_then(|mut file| std::io::Write::write_all(&mut file, &[0; 512])).unwrap();
    let rest = thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()).unwrap());
    let output = child.wait_with_output().unwrap();
    rest.join().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("changed while it was read: somebody wrote to it"), "{said}");
    assert!(!image.exists());
}

#[test]
fn limits_of_the_process_end_with_words_and_leave_nothing() {
    let dir = scratch("others-limits");
    let (tar, out) = (dir.join("guest.tar"), dir.join("out"));
    write_test_tar(&tar, 5);
    fs::create_dir(&out).unwrap();
    let limited_to = |words: &str, codec| {
        limited(words, &["convert", "-q", "-f", "raw", "--initrd-compression", codec, "--dir", text(&out), text(&tar)])
    };
    let limited = |words: &str| limited_to(words, "auto");
    refused(&limited("ulimit -f 2000;"), 4, &["temporary file in", "too large"]);
    refused(&limited_to("ulimit -f 2000;", "none"), 4, &["guest.img", "too large"]);
    refused(&limited("ulimit -n 4;"), 4, &["(os error 24)"]);
    let run = limited("ulimit -v 30000;");
    assert!(run.code() != 0 && !run.errors().trim().is_empty(), "{run}");
    assert_eq!(names(&out), Vec::<String>::new());
}

#[test]
fn a_closed_standard_output_is_said_to_be_closed() {
    let dir = scratch("others-closed");
    let tar = dir.join("guest.tar");
    write_test_tar(&tar, 1);
    let run = finish(
        tool("sh").args(["-c", "\"$@\" >&-", "sh"]).arg(moby().get_program()).args(["convert", "-q", "-f", "raw", "-o", "-"]).arg(&tar),
    );
    refused(&run, 4, &["standard output", "closed"]);
    // What is thrown away on purpose is no error.
    let mut thrown = tool("sh");
    thrown.args(["-c", "\"$@\" >/dev/null", "sh"]).arg(moby().get_program()).args(["convert", "-q", "-f", "raw", "-o", "-"]).arg(&tar);
    finish(&mut thrown).success();
}

/// What is read as it lies needs no place for temporary files, and what is put aside has a limit where the user sets one.
#[test]
fn what_is_put_aside_is_bounded() {
    let dir = scratch("others-aside");
    let tar = dir.join("guest.tar");
    write_test_tar(&tar, 40);
    run("gzip", ["-1k", text(&tar)]);
    let nowhere = |arguments: &[&str]| finish(moby().env("TMPDIR", "/nonexistent").current_dir(&dir).args(arguments));
    nowhere(&["inspect", "guest.tar"]).success();
    nowhere(&["inspect", "--files", "guest.tar"]).success();
    refused(&nowhere(&["inspect", "guest.tar.gz"]), 2, &["/nonexistent"]);
    let packed = |max: &str| finish(moby().current_dir(&dir).args(["inspect", "--max-unpacked", max, "guest.tar.gz"]));
    refused(&packed("16M"), 4, &["guest.tar.gz", "--max-unpacked"]);
    packed("100M").success();
}

/// Names up to the longest that a file may have.
#[test]
fn long_names_are_taken() {
    let dir = scratch("others-names");
    let tar = dir.join("guest.tar");
    write_test_tar(&tar, 1);
    let name: PathBuf = "n".repeat(255).into();
    finish(moby().current_dir(&dir).args(["convert", "-q", "-f", "raw", "guest.tar", "-o"]).arg(&name)).success();
    assert!(fs::metadata(dir.join(name)).unwrap().len() > 1 << 20);
}
