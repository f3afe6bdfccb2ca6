//! The command as its users meet it: exit codes, messages, and files that are never half written.

use crate::support::{
    guest::Arch,
    images::{test_kernel, write_test_tar},
    names, scratch, text,
    tools::{Finished, finish, moby, run, tool},
    ustar::{Kind, Ustar},
};
use formats::{
    Blob,
    tar::{Dialect, Writer},
    tree::{Content, Inode},
};
use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A tar with a kernel, and then what `more` adds.
fn tar_with(path: &Path, more: impl FnOnce(&mut Ustar<File>)) {
    let mut tar = Ustar::new(File::create(path).unwrap());
    tar.entry("boot/kernel", 0o644, Kind::File(&fs::read(test_kernel()).unwrap())).unwrap();
    tar.entry("boot/cmdline", 0o644, Kind::File(b"quiet\n")).unwrap();
    more(&mut tar);
    tar.finish().unwrap();
}

fn convert(input: &Path, arguments: &[&str]) -> Finished {
    finish(moby().args(["convert", "--quiet"]).args(arguments).arg(input))
}

/// Fails unless the run ended with `code`, named every one of `words`, and left `dir` as it was.
#[track_caller]
fn refused(run: Finished, code: i32, words: &[&str], dir: &Path, before: &[String]) {
    assert_eq!(run.code(), code, "the exit code\n{run}");
    for word in words {
        assert!(run.errors().contains(word), "the message does not name {word:?}\n{run}");
    }
    assert!(run.stdout.is_empty(), "chatter on standard output\n{run}");
    assert!(!run.errors().contains("panicked"), "a panic\n{run}");
    assert_eq!(names(dir), before, "files came or went\n{run}");
}

/// Bad inputs: what spoils the tar, the exit code, and the words the message must have.
#[test]
fn bad_input_is_refused_by_name() {
    type Spoil = fn(&mut Ustar<File>);
    let cases: &[(&str, Spoil, i32, &[&str])] = &[
        ("two-kernels", |tar| tar.entry("./boot/kernel", 0o644, Kind::File(b"x")).unwrap(), 2, &["boot/kernel"]),
        ("dots", |tar| tar.entry("etc/../../passwd", 0o644, Kind::File(b"x")).unwrap(), 2, &["etc/../../passwd"]),
        ("dangling", |tar| tar.entry("etc/hard", 0o644, Kind::HardLink("etc/nothing")).unwrap(), 2, &["etc/hard", "etc/nothing"]),
        ("type", |tar| tar.entry("etc/strange", 0o644, Kind::Other(b'M')).unwrap(), 3, &["etc/strange"]),
    ];
    for (name, spoil, code, words) in cases {
        let dir = scratch(&format!("cli-bad-{name}"));
        let tar = dir.join("guest.tar");
        tar_with(&tar, spoil);
        refused(convert(&tar, &["--dir", text(&dir), "--format", "qcow2"]), *code, words, &dir, &names(&dir));
    }
}

#[test]
fn a_tar_without_a_kernel_is_refused() {
    let dir = scratch("cli-no-kernel");
    let path = dir.join("guest.tar");
    let mut tar = Ustar::new(File::create(&path).unwrap());
    tar.entry("etc/hostname", 0o644, Kind::File(b"x")).unwrap();
    tar.finish().unwrap();
    refused(convert(&path, &["--dir", text(&dir), "--format", "qcow2"]), 2, &["boot/kernel"], &dir, &names(&dir));
}

#[test]
fn a_truncated_member_is_refused_by_name() {
    let dir = scratch("cli-truncated");
    let tar = dir.join("guest.tar");
    tar_with(&tar, |tar| tar.entry("etc/long", 0o644, Kind::File(&[7; 100_000])).unwrap());
    let file = File::options().write(true).open(&tar).unwrap();
    file.set_len(file.metadata().unwrap().len() - 50_000).unwrap();
    refused(convert(&tar, &["--dir", text(&dir), "--format", "qcow2"]), 2, &["etc/long"], &dir, &names(&dir));
    let stdin = finish(moby().args(["convert", "--quiet", "-", "--name", "x", "--dir", text(&dir)]).arg("--format=qcow2"));
    refused(stdin, 2, &[], &dir, &names(&dir));
}

#[test]
fn what_is_not_a_tar_is_refused() {
    let dir = scratch("cli-not-a-tar");
    let noise = dir.join("guest.tar");
    fs::write(&noise, [0x5a; 4096]).unwrap();
    refused(convert(&noise, &["--dir", text(&dir), "--format", "raw"]), 2, &["guest.tar"], &dir, &names(&dir));
    let nowhere = dir.join("nowhere.tar");
    refused(convert(&nowhere, &["--dir", text(&dir), "--format", "raw"]), 2, &["nowhere.tar"], &dir, &names(&dir));
}

#[test]
fn wrong_usage_is_refused() {
    let dir = scratch("cli-usage");
    let tar = dir.join("guest.tar");
    tar_with(&tar, |_| ());
    let before = names(&dir);
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--format", "nonsense"], 2, "nonsense"),
        (&["--format", "raw", "--size", "1M"], 2, "MiB"),
        (&["--format", "raw", "--size", "many"], 2, "many"),
        (&["--format", "raw,qcow2", "-o", "-"], 2, "-o"),
        (&["--nonsense"], 2, "--nonsense"),
    ];
    for (arguments, code, word) in cases {
        let run = finish(moby().current_dir(&dir).args(["convert", "--quiet", "guest.tar"]).args(*arguments));
        refused(run, *code, &[word], &dir, &before);
    }
}

/// Both are NAME.qcow2. The input is not even looked at.
#[test]
fn two_outputs_of_one_name_are_refused_before_any_work() {
    let dir = scratch("cli-collision");
    let nowhere = dir.join("guest.tar");
    refused(convert(&nowhere, &["--dir", text(&dir), "--format", "qcow2,qcow2-bios"]), 2, &["guest.qcow2"], &dir, &[]);
}

#[test]
fn bios_cannot_boot_arm64() {
    let dir = scratch("cli-arm64");
    let path = dir.join("guest.tar");
    let mut tar = Ustar::new(File::create(&path).unwrap());
    tar.entry("boot/kernel", 0o644, Kind::File(&fs::read(Arch::Arm64.debian("kernel")).unwrap())).unwrap();
    tar.finish().unwrap();
    refused(convert(&path, &["--dir", text(&dir), "--format", "raw-bios"]), 3, &["BIOS"], &dir, &names(&dir));
}

/// The documentation of LinuxKit has single-dash spellings to this day.
#[test]
fn linuxkits_old_spellings_work() {
    let dir = scratch("cli-spellings");
    let tar = dir.join("guest.tar");
    tar_with(&tar, |_| ());
    finish(moby().args(["convert", "-format", "raw", "-name", "old", "-dir", text(&dir), "-size", "200M"]).arg(&tar)).success();
    assert_eq!(fs::metadata(dir.join("old.img")).unwrap().len(), 200 << 20);
}

#[test]
fn an_existing_file_is_replaced_by_a_finished_one_only() {
    let dir = scratch("cli-existing");
    let (good, bad) = (dir.join("good.tar"), dir.join("bad.tar"));
    tar_with(&good, |_| ());
    tar_with(&bad, |tar| tar.entry("a/../b", 0o644, Kind::Fifo).unwrap());
    let image = dir.join("guest.img");
    fs::write(&image, b"old").unwrap();
    let before = names(&dir);
    refused(convert(&bad, &["--format", "raw", "-o", text(&image)]), 2, &["a/../b"], &dir, &before);
    assert_eq!(fs::read(&image).unwrap(), b"old");
    convert(&good, &["--format", "raw", "-o", text(&image)]).success();
    let made = fs::read(&image).unwrap();
    assert!(made.len() > 1 << 20);
    fs::write(&image, b"old").unwrap();
    convert(&good, &["--format", "raw", "--sync", "-o", text(&image)]).success();
    assert!(fs::read(&image).unwrap() == made, "--sync makes another file");
    assert_eq!(names(&dir), before, "debris");
}

#[test]
fn quiet_is_quiet() {
    let dir = scratch("cli-quiet");
    let tar = dir.join("guest.tar");
    tar_with(&tar, |_| ());
    let run = convert(&tar, &["--dir", text(&dir), "--format", "raw,kernel+initrd"]).success();
    assert!(run.stdout.is_empty() && run.stderr.is_empty(), "{run}");
    assert_eq!(names(&dir), ["guest-cmdline", "guest-initrd.img", "guest-kernel", "guest.img", "guest.tar"]);
    assert_eq!(fs::read(dir.join("guest-cmdline")).unwrap().trim_ascii_end(), b"quiet");
    assert!(fs::read(dir.join("guest-kernel")).unwrap() == fs::read(test_kernel()).unwrap());
}

/// What a step did in the end is what was announced: for images and disks, packed and plain, several outputs in one run.
#[test]
fn progress_ends_at_its_total() {
    let dir = scratch("cli-progress");
    write_test_tar(&dir.join("guest.tar"), 3);
    finish(moby().current_dir(&dir).args(["convert", "-q", "guest.tar", "-f", "vmdk,raw"])).success();
    run("gzip", ["-k", text(&dir.join("guest.img"))]);
    for (input, outputs) in [
        ("guest.tar", "qcow2,raw,vmdk,iso,uki"),
        ("guest.tar", "kernel+squashfs,kernel+erofs,gcp,kernel+initrd"),
        ("guest.vmdk", "qcow2,vhd"),
        ("guest.img.gz", "vdi"),
    ] {
        let out = dir.join("out");
        let arguments = ["convert", "--progress", "json", input, "-f", outputs, "--dir", text(&out)];
        let told = finish(moby().current_dir(&dir).args(arguments)).success().errors();
        let steps: Vec<serde_json::Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let finished: Vec<_> = steps.iter().filter(|step| step["finished"] == true && step["done"] != 0).collect();
        assert!(finished.iter().any(|step| step["step"] == "write"), "{told}");
        for step in finished {
            assert_eq!(step["done"], step["total"], "{input} to {outputs}: {step}");
        }
    }
}

/// A device that is always full, and a file system that becomes full: in mid-write, with an old file in the way.
#[test]
fn a_full_disk_is_said_to_be_full() {
    let dir = scratch("cli-full");
    let tar = dir.join("guest.tar");
    write_test_tar(&tar, 5);
    refused(convert(&tar, &["--format", "raw", "-o", "/dev/full"]), 4, &["/dev/full"], &dir, &names(&dir));

    let mount = dir.join("small");
    fs::create_dir(&mount).unwrap();
    // A mount of its own that ends with the shell; after the run the shell shows what is there.
    let script = "mount -t tmpfs -o size=4m tmpfs \"$1\" && echo old >\"$1\"/guest.qcow2 || exit 99
        \"$2\" convert --quiet --format qcow2 --initrd-compression none --dir \"$1\" \"$3\"; code=$?
        ls -A \"$1\"; cat \"$1\"/guest.qcow2; exit $code";
    let mut shell = tool("unshare");
    shell.args(["-rm", "sh", "-c", script, "sh", text(&mount)]).arg(moby().get_program()).arg(&tar);
    let run = finish(&mut shell);
    assert_eq!(run.code(), 4, "the exit code\n{run}");
    assert!(run.errors().contains("space"), "the message does not speak of space\n{run}");
    assert_eq!(run.text(), "guest.qcow2\nold\n", "debris, or the old file is gone\n{run}");
}

#[test]
fn a_closed_pipe_is_said_to_be_closed() {
    let dir = scratch("cli-pipe");
    let tar = dir.join("guest.tar");
    write_test_tar(&tar, 5);
    let mut child = moby()
        .args(["convert", "--quiet", "--format", "raw", "-o", "-", text(&tar)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 512]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{message}");
    assert!(message.contains("standard output"), "{message}");
}

/// Waits until a file in a directory, with or without a name, has been made so large.
fn wait_for_writing(dir: &Path, size: u64, child: &mut Child) {
    let end = Instant::now() + Duration::from_secs(120);
    let opened = PathBuf::from(format!("/proc/{}/fd", child.id()));
    let is_large = |path: PathBuf| {
        fs::read_link(&path).is_ok_and(|file| file.starts_with(dir)) && fs::metadata(&path).is_ok_and(|metadata| metadata.len() > size)
    };
    while !fs::read_dir(&opened).is_ok_and(|opened| opened.flatten().any(|entry| is_large(entry.path()))) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was seen writing");
        assert!(Instant::now() < end, "nothing is written");
        thread::sleep(Duration::from_micros(200));
    }
}

/// A directory with an old file, and a conversion into it that takes a while to write.
fn slow_conversion(name: &str) -> (PathBuf, Child) {
    let dir = scratch(name);
    let out = dir.join("out");
    fs::create_dir(&out).unwrap();
    let tar = dir.join("guest.tar");
    write_test_tar(&tar, 400);
    fs::write(out.join("guest.img"), b"old").unwrap();
    let mut command = moby();
    command.args([
        "convert",
        "--quiet",
        "--format",
        "raw,raw-bios,raw-efi",
        "--initrd-compression",
        "none",
        "--dir",
        text(&out),
        text(&tar),
    ]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_writing(&out.canonicalize().unwrap(), 400 << 20, &mut child);
    (out, child)
}

fn send(child: &Child, signal: &str) {
    finish(tool("kill").args([signal, &child.id().to_string()])).success();
}

/// Interrupted: by the exit code or by the signal itself.
fn assert_interrupted(status: ExitStatus) {
    assert!(status.code() == Some(130) || status.signal() == Some(2), "{status}");
}

#[test]
fn an_interrupt_while_writing_leaves_everything_as_it_was() {
    let (out, mut child) = slow_conversion("cli-sigint");
    send(&child, "-INT");
    assert_interrupted(child.wait().unwrap());
    assert_eq!(names(&out), ["guest.img"], "debris");
    assert_eq!(fs::read(out.join("guest.img")).unwrap(), b"old");
    fs::remove_dir_all(out.parent().unwrap()).unwrap();
}

#[test]
fn an_interrupt_while_reading_leaves_nothing() {
    let dir = scratch("cli-sigint-reading");
    let mut command = moby();
    command.args(["convert", "--quiet", "--format", "raw", "--name", "guest", "--dir", text(&dir), "-"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let tar = dir.with_extension("tar");
    write_test_tar(&tar, 2);
    let half = fs::read(&tar).unwrap();
    // More than a pipe holds: when all of it is taken, it is being read.
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(&half[..1 << 20]).unwrap();
    send(&child, "-INT");
    // The pipe stays open: an end would be an end of the input.
    assert_interrupted(child.wait().unwrap());
    drop(pipe);
    assert_eq!(names(&dir), Vec::<String>::new());
}

/// Nothing can tidy up after SIGKILL; but there is nothing to tidy up.
#[test]
fn a_kill_while_writing_leaves_everything_as_it_was() {
    let (out, mut child) = slow_conversion("cli-sigkill");
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(fs::read(out.join("guest.img")).unwrap(), b"old");
    assert_eq!(names(&out), ["guest.img"], "debris");
    fs::remove_dir_all(out.parent().unwrap()).unwrap();
}

/// What is in a root file system can be seen before a kernel is chosen for it.
#[test]
fn a_tar_without_a_kernel_is_looked_into() {
    let dir = scratch("cli-rootfs");
    let path = dir.join("rootfs.tar");
    let mut tar = Ustar::new(File::create(&path).unwrap());
    tar.entry("etc/hostname", 0o644, Kind::File(b"box\n")).unwrap();
    tar.finish().unwrap();
    let ours = |arguments: &[&str]| finish(moby().current_dir(&dir).args(arguments));
    assert!(ours(&["inspect", "rootfs.tar"]).success().text().contains("files          1"));
    assert!(ours(&["inspect", "--files", "rootfs.tar"]).success().text().contains("etc/hostname"));
    assert_eq!(ours(&["extract", "rootfs.tar", "etc/hostname"]).success().text(), "box\n");
    ours(&["compare", "--files", "rootfs.tar", "rootfs.tar"]).success();
    let refused = ours(&["extract", "rootfs.tar", "kernel"]);
    assert!(refused.code() == 2 && refused.errors().contains("there is no kernel in it"), "{refused}");
}

/// Whatever a file says of itself is shown, and nothing of it is executed by a terminal or stands elsewhere than it was written.
#[test]
fn what_a_file_says_is_only_shown() {
    const NAME: &str = "x\u{1b}[2J\u{202e}y\nz";
    let dir = scratch("cli-escapes");
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    fs::write(path("raw"), vec![0; 4 << 20]).unwrap();
    run("sgdisk", ["-n", "1:2048:4095", "-c", &format!("1:{NAME}"), &path("raw")]);
    run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", &path("raw"), &path("disk.qcow2")]);
    run("qemu-img", ["snapshot", "-c", "a\u{1b}[2J\u{202e}b", &path("disk.qcow2")]);
    let mut writer = Writer::new(Dialect::Pax);
    let body = Inode::new(Content::File(Blob::bytes(&b"text"[..])), 0o644);
    writer.add(format!("etc/{NAME}").as_bytes(), &body).unwrap();
    writer.add(b"boot/cmdline", &Inode::new(Content::File(Blob::bytes(NAME.as_bytes())), 0o644)).unwrap();
    fs::write(path("image.tar"), writer.finish().to_vec(1 << 20).unwrap()).unwrap();
    let commands: [&[&str]; 9] = [
        &["inspect", &path("disk.qcow2")],
        &["inspect", "--from", "raw", &path("raw")],
        &["inspect", &path("image.tar")],
        &["inspect", "--files", &path("image.tar")],
        &["inspect", "--duplicates", &path("image.tar")],
        &["lint", &path("disk.qcow2"), "--target", NAME],
        &["extract", &path("image.tar"), NAME, "-o", "-"],
        &["convert", &path("image.tar"), "-f", "docker", "--opt", NAME, "-o", &path("out")],
        &["inspect", &path(NAME)],
    ];
    for command in commands {
        let done = finish(moby().args(command));
        let said = done.text() + &done.errors();
        assert!(!said.contains('\u{1b}') && !said.contains('\u{202e}') && !said.contains("y\nz"), "{command:?}: {said:?}");
        assert!(!said.is_empty(), "{command:?} says nothing");
    }
}
