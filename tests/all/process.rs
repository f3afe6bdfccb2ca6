//! Container images that boot: Debian's unchanged kernel, process 1 of ours, and an image that nothing was installed into. The guest tells
//! what its process found, and how the machine ended. `tests/nightly` has more of it.

use crate::support::{
    container::{CMDLINE, answer, free_port, image, kernel, tree},
    guest::Arch,
    qemu::{Bus, Machine},
    scratch, text,
    tools::{Finished, convert_in, finish, moby, run},
};
use formats::tar::{Dialect, Writer};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

const QUIET: [&str; 2] = ["--append", CMDLINE];

/// Converts an image with this configuration and these files, into a directory of its own.
fn made(name: &str, arch: Arch, config: Value, files: &[(&str, &str)], arguments: &[&str]) -> (PathBuf, Finished) {
    let dir = scratch(&format!("process-{name}"));
    let (layout, kernel) = (image(&dir, arch, config, files), kernel(&dir, arch));
    let convert = [&["convert", "--kernel", text(&kernel), text(&layout), "--name", "app"], arguments].concat();
    let done = finish(moby().current_dir(&dir).args(convert));
    (dir, done)
}

const SHOW: &str = "#!/bin/sh
id; pwd; env | sort; echo \"$# words: $*\"; ulimit -n; ulimit -Hn
ls -l /proc/self/fd/0; echo again > /dev/stdout
cat /proc/mounts /etc/resolv.conf /etc/hosts; stat -c '%n %F' /proc; ls /run; cat /.moby/config
exit 7
";

fn show() -> Value {
    json!({
        "Entrypoint": ["show"],
        "Cmd": ["a b", "c"],
        "Env": ["TWO=lines\nof it", "EMPTY=", "GIVEN=image"],
        "User": "www-data",
        "WorkingDir": "/var/www/made",
        "StopSignal": "SIGQUIT",
        "Volumes": {"/data": {}},
    })
}

/// On SeaBIOS, as a user starts it: `moby run` ends as the process did.
#[test]
fn a_process_is_as_docker_has_it() {
    let arguments = ["-f", "qcow2,tar", "--env", "GIVEN=user", "--hostname", "web", "--append", CMDLINE];
    let (dir, done) = made("process", Arch::Amd64, show(), &[("bin/show", SHOW), ("run/kept/file", "")], &arguments);
    let done = done.success();
    assert!(done.errors().contains("the image keeps data in /data: here that is memory"), "{done}");
    let machine = finish(moby().args(["run", text(&dir.join("app.qcow2")), "--accel", "tcg"]));
    assert_eq!(machine.code(), 7, "{machine}");
    let console = machine.text().replace('\r', "");
    for words in [
        "moby: eth0: 10.0.2.15/24 by 10.0.2.2",
        "uid=33(www-data) gid=33(www-data) groups=",
        "4(adm)",
        "\n/var/www/made\n",
        "EMPTY=\nGIVEN=user\nHOME=/var/www\nHOSTNAME=web\nPATH=/usr/local/sbin:",
        "TWO=lines\nof it\n",
        "2 words: a b c\n1024\n1048576\n",
        "/proc/self/fd/0 -> /dev/null\nagain\n",
        "proc /proc proc rw,nosuid,nodev,noexec",
        "/dev/shm tmpfs",
        "cgroup2 /sys/fs/cgroup",
        "nameserver 10.0.2.3\n",
        "127.0.1.1 web\n",
        "/proc directory\nkept\n",
        "can't open '/.moby/config'",
        "moby: main process: exit 7",
        "Power down",
    ] {
        assert!(console.contains(words), "{words:?} is not in\n{console}");
    }
    // The tar is the same image once more.
    convert_in(&dir, &["app.tar", "-f", "qcow2", "--name", "again"]).success();
    assert!(fs::read(dir.join("app.qcow2")).unwrap() == fs::read(dir.join("again.qcow2")).unwrap());
    let inspect = finish(moby().args(["inspect", "--json", text(&dir.join("app.tar"))])).success().text();
    let process = &serde_json::from_str::<Value>(&inspect).unwrap()["process"];
    assert_eq!((&process["entrypoint"], &process["user"], &process["stop-signal"]), (&json!(["show"]), &json!("www-data"), &json!(3)));
}

/// From a CD on UEFI; the button asks it to end, and what it ends with counts.
#[test]
fn it_serves_until_the_power_button_is_pressed() {
    let serve = "#!/bin/sh\ntrap 'echo asked to end; exit 7' TERM\nhttpd -f -h /var/www &\necho serving\nwait\nwait\n";
    let config = json!({"Cmd": ["serve"], "User": "www-data:adm"});
    let arguments = [&["-f", "iso", "--restart", "on-failure"], &QUIET[..]].concat();
    let (dir, done) = made("serves", Arch::Amd64, config, &[("bin/serve", serve)], &arguments);
    done.success();
    let port = free_port();
    // Not root, and port 80 all the same.
    let machine = Machine::uefi().disk(Bus::Cd, &dir.join("app.iso"), "raw").network("virtio-net-pci", Some((port, 80)));
    let console = machine.press_power_at("serving", || {
        let answer = answer(port, b"GET / HTTP/1.0\r\n\r\n");
        assert!(answer.as_ref().is_some_and(|answer| answer.contains("served by the guest")), "{answer:?}");
    });
    console.exited(0).expect("asked to end").expect("moby: main process: exit 7").refuse("started again").expect("Power down");
}

const ROOT: &str = "#!/bin/sh\ncat /data; echo written > /new; cat /new; cat /proc/mounts; ls -a /\nexit 4\n";

/// In a partition: the image as it is and nothing of ours, read-only, below a file system in memory; by UEFI and by BIOS.
#[test]
fn a_root_in_a_partition_is_the_image_and_can_be_written_to() {
    let cases: [(&str, &[&str], Machine, Bus, &str); 2] = [
        ("squashfs", &["--verity"], Machine::bios(), Bus::VirtioScsi, "vmxnet3"),
        ("erofs", &["--boot", "uefi"], Machine::uefi(), Bus::Nvme, "virtio-net-pci"),
    ];
    for (kind, more, machine, bus, network) in cases {
        let config = json!({"Entrypoint": ["/bin/root"]});
        let arguments = [&["-f", "raw", "--root", kind, "--tty"], more, &QUIET].concat();
        let (dir, done) = made(&format!("root-{kind}"), Arch::Amd64, config, &[("bin/root", ROOT), ("data", "to be read\n")], &arguments);
        let done = done.success();
        assert!(!done.errors().contains("warning"), "{done}");
        // Process 1, and the modules that machines boot with.
        finish(moby().args(["extract", text(&dir.join("app.img")), "initrd", "-o", text(&dir.join("initrd"))])).success();
        assert!(fs::metadata(dir.join("initrd")).unwrap().len() < 2 << 20);
        let console = machine.disk(bus, &dir.join("app.img"), "raw").network(network, None).run().exited(0);
        let console = console.expect("to be read\nwritten\n").expect("overlay / overlay rw").expect("moby: main process: exit 4");
        console.expect("moby: eth0: 10.0.2.15/24").refuse(".moby\n");
    }
}

/// On arm64, with UEFI; the kernel and its modules out of a directory.
#[test]
fn arm64_boots_by_uefi() {
    let config = json!({"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["id; uname -m; exit 5"], "User": "1000:1000"});
    let (dir, done) = made("arm64", Arch::Arm64, config, &[], &[&["-f", "qcow2"], &QUIET[..]].concat());
    done.success();
    let machine = Machine::arm64().limit(400).disk(Bus::VirtioBlk, &dir.join("app.qcow2"), "qcow2").network("virtio-net-pci", None);
    machine.run().exited(0).expect("10.0.2.15/24").expect("uid=1000 gid=1000").expect("moby: main process: exit 5");
}

/// As a unified kernel image, and as files, of which a machine's owner says more: what stands behind `--` are its arguments.
#[test]
fn kernel_and_initrd_and_a_unified_image_start_it() {
    let config = json!({"Entrypoint": ["echo", "said:"], "Cmd": ["by the image"]});
    let (dir, done) = made("files", Arch::Amd64, config, &[], &[&["-f", "kernel+initrd,uki"], &QUIET[..]].concat());
    done.success();
    let path = |name: &str| dir.join(name);
    let machine = Machine::bios().direct(
        &path("app-kernel"),
        &path("app-initrd.img"),
        &format!("console=ttyS0 panic=-1 {CMDLINE} unknown -- \"a b\" c"),
    );
    machine.run().exited(0).expect("said: a b c\n").expect("exit 0");
    let machine = finish(moby().args(["run", text(&path("app.efi")), "--accel", "tcg"])).success();
    assert!(machine.text().contains("said: by the image"), "{machine}");
}

/// The kernel goes on when it has no room for the rest of its initrd.
#[test]
fn too_little_memory_is_told_in_words() {
    let zeros = "\0".repeat(128 << 20);
    let arguments = [&["-f", "kernel+initrd"], &QUIET[..]].concat();
    let (dir, done) = made("memory", Arch::Amd64, json!({"Entrypoint": ["/bin/sh", "-c", "exit 0"]}), &[("zeros", &zeros)], &arguments);
    done.success();
    let machine =
        Machine::bios().direct(&dir.join("app-kernel"), &dir.join("app-initrd.img"), &format!("console=ttyS0 panic=-1 {CMDLINE}"));
    let console = machine.memory(280).run().exited(0);
    console.expect("moby: the kernel did not unpack the whole initrd: the machine needs more memory").expect("exit 125");
}

/// The root file system of `docker export` has no configuration.
#[test]
fn an_exported_root_says_nothing_of_its_process() {
    let dir = scratch("process-export");
    let mut tar = Writer::new(Dialect::Pax);
    tar.tree(&tree(Arch::Amd64, &[])).unwrap();
    fs::write(dir.join("root.tar"), tar.finish().to_vec(u64::MAX).unwrap()).unwrap();
    let kernel = kernel(&dir, Arch::Amd64);
    let convert =
        |arguments: &[&str]| convert_in(&dir, &[&["root.tar", "--kernel", text(&kernel), "-f", "tar", "-o", "x.tar"], arguments].concat());
    let refused = convert(&["--env", "A=1"]);
    assert!(refused.code() == 3 && refused.errors().contains("--env is for a process that moby starts"), "{refused}");
    convert(&["--entrypoint", r#"["sh", "-c", "exit 3"]"#, "--user", "www-data", "--pid1", "namespace", "--workdir", "tmp"]).success();
    let config = finish(moby().args(["extract", text(&dir.join("x.tar")), ".moby/config", "-o", "-"])).success().text();
    let wanted = "format 1\nentrypoint sh\nentrypoint -c\nentrypoint exit 3\nuser www-data\ncwd /tmp\nstop 15\nstop-timeout 10\ntty no\npid1 namespace\nrestart no\n";
    assert_eq!(config, wanted);
    let own = convert(&["--init", "/bin/init"]).success();
    let cmdline = finish(moby().args(["inspect", text(&dir.join("x.tar"))])).success().text();
    assert!(cmdline.contains("rdinit=/bin/init init=/bin/init"), "{own}{cmdline}");
}

#[test]
fn a_module_that_the_kernel_lacks_is_refused() {
    let (_, done) = made("modules", Arch::Amd64, json!({"Cmd": ["sh"]}), &[], &["-f", "tar", "--modules", "+wiregaurd"]);
    assert!(done.code() == 2 && done.errors().contains("the kernel has no module 'wiregaurd'"), "{done}");
}

#[test]
fn what_could_not_run_is_refused() {
    let dir = scratch("process-refused");
    // Without modules: to unpack a package takes its time.
    let bare = Arch::Amd64.debian("kernel");
    let files = [("bin/script", "#!/bin/none\n"), ("etc/text", "text"), ("bin/arm", "\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\u{37}\0")];
    let refused_by = |code: i32, config: Value, arguments: &[&str], words: &str| {
        let layout = image(&dir, Arch::Amd64, config, &files);
        let done = convert_in(&dir, &[&["--kernel", text(&bare), text(&layout), "--name", "x"], arguments].concat());
        assert!(done.code() == code && done.errors().contains(words) && !dir.join("x.qcow2").exists(), "{words}: {done}");
        fs::remove_dir_all(layout).unwrap();
    };
    let refused = |config, arguments: &[&str], words| refused_by(2, config, arguments, words);
    refused(json!({}), &["--init", "moby"], "nothing says what to run: there is neither Entrypoint nor Cmd");
    refused(json!({"Cmd": ["gone"]}), &[], "the program gone is not in the image");
    refused(json!({"Cmd": ["script"]}), &[], "the program script is a script for /bin/none, which is missing");
    refused(json!({"Cmd": ["/etc/text"]}), &[], "the program /etc/text is neither an ELF program nor a script");
    refused(json!({"Cmd": ["arm"]}), &[], "is a program for another machine");
    refused(json!({"Cmd": ["sh"], "User": "no\u{1b}body"}), &[], "user 'no\\u{1b}body': the image's /etc/passwd has no such user");
    refused(json!({"Cmd": ["sh"], "StopSignal": "SIGNONE"}), &[], "the image's StopSignal 'SIGNONE' is no signal");
    refused_by(3, json!({"Cmd": ["sh"]}), &["--modules", "all"], "--modules: there are no modules with this kernel");
    refused(json!({"Cmd": ["sh"]}), &["--hostname", "a b"], "--hostname");
    for format in ["kernel+squashfs", "kernel+iso", "iso-efi"] {
        refused_by(3, json!({"Cmd": ["sh"]}), &["-f", format, "--tty"], "is started out of an initrd, and here is none");
    }
    refused_by(3, json!({"Cmd": ["sh"]}), &["--init", "none", "--tty"], "--tty is for a process that moby starts");
}

/// A disk is converted as it is.
#[test]
fn a_disk_has_its_process_already() {
    let dir = scratch("process-disk");
    fs::write(dir.join("disk.img"), vec![0; 1 << 20]).unwrap();
    run("sgdisk", ["--clear", text(&dir.join("disk.img"))]);
    for option in [&["--entrypoint", "sh"][..], &["--init", "none"], &["--modules", "all"]] {
        let done = convert_in(&dir, &[&["disk.img", "-f", "qcow2"], option].concat());
        assert!(done.code() == 3 && done.errors().contains(&format!("{} is for a tar, and this is a disk", option[0])), "{done}");
    }
}
