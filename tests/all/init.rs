//! Process 1 of a container image that boots, under Debian's unchanged kernel: what the image's process finds, and how the machine ends.
//! `tests/nightly` has more of it.

use crate::support::{
    container::{self, CMDLINE, Lacks},
    guest::Arch,
    qemu::{Bus, Machine},
    scratch, text,
    tools::{convert_in, finish, moby, run},
};
use formats::tar::{Dialect, Writer};
use initconfig::{
    Config,
    config::{LIMITS, Limit, Restart},
};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

fn boots(initrd: &Path, more: &str) -> Machine {
    Machine::bios().direct(&Arch::Amd64.debian("kernel"), initrd, &format!("{CMDLINE} {more}"))
}

const SHOW: &str = "#!/bin/sh
id; pwd; env | sort; echo \"$# words: $*\"; ulimit -n; ulimit -Hn
ls -l /proc/self/fd/0; echo again > /dev/stdout
cat /proc/mounts /etc/resolv.conf /etc/hosts; stat -c '%n %F' /proc; ls /run; cat /.moby/config
exit 3
";

#[test]
fn a_process_is_as_docker_has_it() {
    let dir = scratch("init-process");
    let config = Config {
        entrypoint: words(&["show"]),
        cmd: words(&["replaced"]),
        env: words(&["TWO=lines\nof it", "EMPTY="]),
        user: b"www-data".to_vec(),
        cwd: b"/var/www/made".to_vec(),
        hostname: b"web".to_vec(),
        limits: [Limit { name: LIMITS[7], soft: 512, hard: 2048 }].into(),
        ..Config::default()
    };
    let initrd = container::initrd(&dir, Arch::Amd64, &config, &[("bin/show", SHOW), ("run/kept/file", "")], Lacks::Nothing);
    let status = dir.join("status");
    let machine = boots(&initrd, "unknown -- \"a b\" c").network("virtio-net-pci", None).port("moby.status", &status);
    let console = machine.run().exited(0).expect("moby: eth0: 10.0.2.15/24 by 10.0.2.2");
    let console = console.expect("uid=33(www-data) gid=33(www-data) groups=").expect("4(adm)").expect("\n/var/www/made\n");
    let console = console.expect("EMPTY=\nHOME=/var/www\nHOSTNAME=web\nPATH=/usr/local/sbin:").expect("TWO=lines\nof it\n");
    let console = console.expect("2 words: a b c\n512\n2048\n").expect("/proc/self/fd/0 -> /dev/null\nagain\n");
    let console = console.expect("proc /proc proc rw,nosuid,nodev,noexec").expect("/dev/shm tmpfs").expect("cgroup2 /sys/fs/cgroup");
    let console = console.expect("nameserver 10.0.2.3\n").expect("127.0.1.1 web\n").expect("/proc directory\nkept\n");
    console.expect("can't open '/.moby/config'").expect("moby: main process: exit 3").expect("Power down");
    assert_eq!(fs::read_to_string(status).unwrap(), "exit 3\n");
}

#[test]
fn it_serves_until_the_power_button_is_pressed() {
    let dir = scratch("init-serves");
    let serve = "#!/bin/sh\ntrap 'echo asked to end; exit 7' TERM\nhttpd -f -h /var/www &\necho serving\nwait\nwait\n";
    let config = Config { entrypoint: words(&["serve"]), user: b"www-data:adm".to_vec(), restart: Restart::OnFailure, ..Config::default() };
    let initrd = container::initrd(&dir, Arch::Amd64, &config, &[("bin/serve", serve)], Lacks::Nothing);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // Not root, and port 80 all the same.
    let machine = boots(&initrd, "").network("virtio-net-pci", Some((port, 80)));
    let console = machine.press_power_at("serving", || {
        let ask = || {
            let mut answer = String::new();
            let mut server = TcpStream::connect(("127.0.0.1", port)).ok()?;
            server.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
            server.read_to_string(&mut answer).ok()?;
            (!answer.is_empty()).then_some(answer)
        };
        // It says that it serves before it does.
        let answer = (0..100).find_map(|_| {
            thread::sleep(Duration::from_millis(200));
            ask()
        });
        assert!(answer.as_ref().is_some_and(|answer| answer.contains("served by the guest")), "{answer:?}");
    });
    console.exited(0).expect("asked to end").expect("moby: main process: exit 7").refuse("started again").expect("Power down");
}

/// The kernel goes on when it has no room for the rest of its initrd.
#[test]
fn too_little_memory_is_told_in_words() {
    let dir = scratch("init-memory");
    let config = Config { entrypoint: words(&["/bin/sh"]), ..Config::default() };
    let zeros = "\0".repeat(128 << 20);
    let initrd = container::initrd(&dir, Arch::Amd64, &config, &[("zeros", &zeros)], Lacks::Nothing);
    run("gzip", ["-1", text(&initrd)]);
    let console = boots(&dir.join("initrd.gz"), "").memory(280).run().exited(0);
    console.expect("moby: the kernel did not unpack the whole initrd: the machine needs more memory").expect("exit 125");
}

/// The disk with a root, as `moby convert` writes it, and the text after `name` in its command line.
fn disk(dir: &Path, arguments: &[&str], name: &str) -> String {
    let root = "#!/bin/sh\ncat /data; echo written > /new; cat /new; cat /proc/mounts; ls /\nexit 4\n";
    let tree = container::image(Arch::Amd64, &[("bin/root", root), ("data", "to be read\n")]).finish();
    let mut tar = Writer::new(Dialect::Pax);
    tar.tree(&tree).unwrap();
    fs::write(dir.join("image.tar"), tar.finish().to_vec(u64::MAX).unwrap()).unwrap();
    let kernel = Arch::Amd64.debian("kernel");
    convert_in(dir, &[&["-f", "raw", "--kernel", text(&kernel), "--cmdline", CMDLINE, "image.tar"], arguments].concat()).success();
    let cmdline = finish(moby().args(["extract", text(&dir.join("image.img")), "cmdline", "--output", "-"])).success().text();
    cmdline.split_once(name).unwrap_or_else(|| panic!("{cmdline}")).1.to_owned()
}

#[test]
fn a_root_on_a_disk_is_found_by_its_partition_and_can_be_written_to() {
    for (kind, bus) in [("squashfs", Bus::VirtioBlk), ("erofs", Bus::VirtioScsi)] {
        let dir = scratch(&format!("init-root-{kind}"));
        let after = disk(&dir, &["--root", kind], "root=");
        let root = after.split(' ').next().unwrap().as_bytes().to_vec();
        let config = Config { entrypoint: words(&["/bin/root"]), root: Some(root), ..Config::default() };
        let initrd = container::initrd(&dir, Arch::Amd64, &config, &[], Lacks::Root);
        let console = boots(&initrd, "").disk(bus, &dir.join("image.img"), "raw").run().exited(0);
        console.expect("to be read\nwritten\n").expect("overlay / overlay rw").expect("moby: main process: exit 4");
    }
}
