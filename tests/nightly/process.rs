//! Container images that boot, in the rarer cases.

use crate::support::{
    container, dhcp,
    guest::Arch,
    qemu::{Bus, Console, Machine},
    scratch, text,
    tools::{convert_in, finish, moby},
};
use serde_json::{Value, json};
use std::{
    net::UdpSocket,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// A machine for an image with this configuration and these files.
fn machine(name: &str, config: Value, files: &[(&str, &str)], arguments: &[&str], more: &str) -> Machine {
    let dir = scratch(&format!("process-{name}"));
    let (layout, kernel) = (container::image(&dir, Arch::Amd64, config, files), container::kernel(&dir, Arch::Amd64));
    let own = ["--kernel", text(&kernel), text(&layout), "--name", "app", "-f", "kernel+initrd"];
    convert_in(&dir, &[&own, arguments].concat()).success();
    Machine::bios().direct(
        &dir.join("app-kernel"),
        &dir.join("app-initrd.img"),
        &format!("console=ttyS0 panic=-1 {} {more}", container::CMDLINE),
    )
}

/// With a script as its process.
fn runs(name: &str, arguments: &[&str], script: &str) -> Console {
    let script = format!("#!/bin/sh\n{script}\n");
    machine(name, json!({"Cmd": ["script"]}), &[("bin/script", &script)], arguments, "").run().exited(0)
}

#[test]
fn a_process_that_fails_is_started_again_ever_later() {
    let script = "n=$(cat /n || echo 0); echo $((n+1)) > /n; echo run $n; [ $n = 2 ]";
    let console = runs("again", &["--restart", "on-failure"], script);
    let console = console.expect("run 0\nmoby: main process: exit 1\nmoby: it is started again in 1 s\nrun 1\n");
    console.expect("again in 2 s\nrun 2\nmoby: main process: exit 0").refuse("again in 4 s");
}

/// busybox init insists on being process 1 as s6 does, and ends the machine by reboot(2).
#[test]
fn an_image_may_have_its_own_process_1() {
    let inittab = [("etc/inittab", "::sysinit:/bin/who\n::once:/bin/poweroff\n"), ("bin/who", "#!/bin/sh\nps\n")];
    let init = || json!({"Entrypoint": ["/bin/init"]});
    let namespace = machine("namespace", init(), &inittab, &["--pid1", "namespace"], "").run().exited(0);
    namespace.expect("    1 root     init\n").expect("moby: main process: exit 0").refuse("kthreadd");
    let whole = machine("whole", init(), &inittab, &["--pid1", "yes"], "").run().exited(0);
    whole.expect("    1 root     init\n").expect("kthreadd").expect("Requesting system poweroff").refuse("moby:");
    // As s6-overlay is: /init is the image's, and ours is elsewhere.
    let own = [inittab[0], inittab[1], ("init", "#!/bin/sh\n[ $$ = 1 ] && exec /bin/init\n")];
    let s6 = machine("s6", json!({"Entrypoint": ["/init"]}), &own, &[], "rdinit=/.moby/init").run().exited(0);
    s6.expect("    1 root     init\n").expect("moby: main process: exit 0").refuse("kthreadd");
}

#[test]
fn what_does_not_end_is_killed_and_what_cannot_be_run_has_dockers_codes() {
    let script = [("bin/deaf", "#!/bin/sh\ntrap '' TERM\necho deaf\nwhile :; do sleep 1; done\n")];
    let console = machine("deaf", json!({"Cmd": ["deaf"], "StopTimeout": 2}), &script, &[], "").press_power_at("deaf", || {});
    console.expect("did not end in time: it is killed\nmoby: main process: exit 137");
    // Words behind `--` are nobody's business before the machine runs.
    let words = |name: &str, words: &str| machine(name, json!({"Cmd": ["sh"]}), &[], &[], &format!("-- {words}")).run().exited(0);
    words("none", "/bin/none").expect("moby: /bin/none: No such file").expect("exit 127");
    words("data", "/etc/passwd").expect("moby: /etc/passwd: Permission denied").expect("exit 126");
}

#[test]
fn a_network_without_a_server_is_not_waited_for() {
    let script = [("bin/script", "#!/bin/sh\necho alive\n")];
    let dead = machine("dead", json!({"Cmd": ["script"]}), &script, &[], "").dead_network().run();
    dead.exited(0).expect("moby: no address in 10 s: the main process starts without one\nalive");
}

/// Of two hundred lies to each request none is believed, shown or fatal.
#[test]
fn a_server_that_lies_does_no_harm() {
    let own = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (guest, server) = (container::free_port(), own.local_addr().unwrap().port());
    let script = [("bin/script", "#!/bin/sh\nip -4 addr show eth0\nhostname\ncat /etc/resolv.conf\n")];
    let machine = machine("lies", json!({"Cmd": ["script"]}), &script, &[], "").wire(guest, server);
    let stop = AtomicBool::new(false);
    let console = thread::scope(|scope| {
        scope.spawn(|| dhcp::lie(&own, &stop));
        let console = machine.run();
        stop.store(true, Ordering::Relaxed);
        console
    });
    console.exited(0).expect("inet 10.9.8.7/24").expect("nameserver 10.9.8.3").expect("moby: main process: exit 0").refuse("\x1b[31m");
}

#[test]
fn addresses_may_be_several_or_given() {
    let script = [("bin/script", "#!/bin/sh\nsleep 5\nip -4 addr\nip route\ncat /etc/resolv.conf\n")];
    let config = || json!({"Cmd": ["script"]});
    let both = machine("both", config(), &script, &[], "").network("virtio-net-pci", None).network("virtio-net-pci", None).run();
    both.exited(0).expect("moby: eth0: 10.0.2.15/24").expect("moby: eth1: 10.0.2.15/24").expect("metric 2").expect("metric 3");
    let given = "ip=10.0.2.77::10.0.2.2:255.255.255.0:given:eth0:off:10.0.2.9";
    let fixed = machine("given", config(), &script, &[], given).network("virtio-net-pci", None).run().exited(0);
    fixed.expect("inet 10.0.2.77/24").expect("default via 10.0.2.2").expect("nameserver 10.0.2.9").refuse("10.0.2.15");
}

#[test]
fn reboot_restarts_the_machine_and_a_terminal_is_one() {
    let restarts = runs("reboot", &[], "trap 'exit 0' TERM; reboot; while :; do sleep 1; done");
    restarts.expect("moby: main process: exit 0").expect("Restarting system");
    runs("tty", &["--tty"], "[ -t 0 ] && echo < /dev/tty && echo terminal $TERM > /dev/tty").expect("terminal linux");
}

/// Drivers that the kernel for clouds does not have: of 4,000 modules the hundred that machines boot with.
#[test]
fn the_kernel_for_every_machine() {
    let dir = scratch("process-every-machine");
    let layout = container::image(&dir, Arch::Amd64, json!({"Cmd": ["sh", "-c", "ls /sys/module/e1000 /sys/module/ahci; exit 6"]}), &[]);
    let kernel = Arch::Amd64.debian("../whole-kernel/linux-image.deb");
    convert_in(&dir, &["--kernel", text(&kernel), text(&layout), "--append", container::CMDLINE, "--root", "erofs", "-o", "app.qcow2"])
        .success();
    let machine = Machine::uefi().disk(Bus::Ahci, &dir.join("app.qcow2"), "qcow2").network("e1000", None);
    machine.run().exited(0).expect("moby: eth0: 10.0.2.15/24").expect("drivers").expect("moby: main process: exit 6");
}

/// A disk with one of Debian's servers, as the image's user.
fn server(name: &str, config: Value, files: &[(&str, &str)], arguments: &[&str]) -> PathBuf {
    let dir = scratch(&format!("process-{name}"));
    let passwd = ("etc/passwd", "root:x:0:0::/root:/bin/sh\nserver:x:101:101::/tmp:/bin/sh\n");
    let tree = container::servers(&[&[passwd, ("etc/group", "server:x:101:\n")], files].concat());
    let (layout, kernel) = (container::layout(&dir, Arch::Amd64, config, &tree), container::kernel(&dir, Arch::Amd64));
    let own = ["--kernel", text(&kernel), text(&layout), "--append", container::CMDLINE, "-o", "app.qcow2"];
    convert_in(&dir, &[&own, arguments].concat()).success();
    dir.join("app.qcow2")
}

/// It answers, and ends at the power button.
fn serves(machine: Machine, disk: &Path, guest: u16, request: &[u8], wanted: &str) -> Console {
    let port = container::free_port();
    let machine = machine.disk(Bus::VirtioBlk, disk, "qcow2").network("virtio-net-pci", Some((port, guest)));
    machine.press_power_at("moby: eth0: 10.0.2.15", || {
        let answer = container::answer(port, request).unwrap_or_default();
        assert!(answer.contains(wanted), "{answer:?}");
    })
}

const HTTP: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

#[test]
fn nginx_serves() {
    let conf = "error_log stderr; pid /tmp/pid; events {} http { access_log off; client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; \
                fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e; server { listen 80; location / { return 200 \"of nginx\"; } } }";
    let config = json!({"Entrypoint": ["nginx", "-c", "/etc/nginx/own.conf"], "Cmd": ["-g", "daemon off;"], "User": "server", "StopSignal": "SIGQUIT"});
    let disk = server("nginx", config, &[("etc/nginx/own.conf", conf)], &[]);
    serves(Machine::bios(), &disk, 80, HTTP, "of nginx").exited(0).expect("moby: main process: exit 0");
}

/// A root in a partition costs no memory.
#[test]
fn redis_serves_in_96_mib() {
    let config = json!({"Entrypoint": ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""], "User": "server"});
    let disk = server("redis", config, &[], &["--root", "squashfs"]);
    serves(Machine::bios().memory(96), &disk, 6379, b"PING\r\n", "+PONG").exited(0).expect("moby: main process: exit 0");
}

/// What it ends with, `moby run` ends with.
#[test]
fn python_serves_one_and_ends() {
    let script = "import os, http.server as h\n\
                  class Own(h.BaseHTTPRequestHandler):\n    def do_GET(self):\n        self.send_response(200)\n        self.end_headers()\n        \
                  self.wfile.write(b'uid %d' % os.getuid())\n\
                  server = h.HTTPServer(('', 80), Own)\nserver.handle_request()\nraise SystemExit(3)\n";
    let config = json!({"Entrypoint": ["python3.11", "/srv/serve.py"], "User": "server:server"});
    let disk = server("python", config, &[("srv/serve.py", script)], &[]);
    let port = container::free_port();
    let asked = thread::spawn(move || container::answer(port, HTTP));
    let done = finish(moby().args(["run", text(&disk), "--uefi", "--accel", "tcg", "--publish", &format!("{port}:80")]));
    assert_eq!(done.code(), 3, "{done}");
    assert!(asked.join().unwrap().unwrap().contains("uid 101"));
}
