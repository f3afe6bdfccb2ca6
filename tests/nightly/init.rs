//! Process 1 of a container image that boots, in the rarer cases.

use crate::support::{
    container::{self, CMDLINE, Lacks},
    guest::Arch,
    qemu::{Console, Machine},
    scratch,
};
use initconfig::{
    Config,
    config::{Pid1, Restart},
};

fn config(word: &str) -> Config {
    Config { entrypoint: [word.as_bytes().to_vec()].into(), ..Config::default() }
}

fn machine(name: &str, config: &Config, files: &[(&str, &str)], more: &str) -> Machine {
    let initrd = container::initrd(&scratch(&format!("init-{name}")), Arch::Amd64, config, files, Lacks::Nothing);
    Machine::bios().direct(&Arch::Amd64.debian("kernel"), &initrd, &format!("{CMDLINE} {more}"))
}

/// With a script as its process.
fn runs(name: &str, config: &Config, script: &str) -> Console {
    machine(name, config, &[("bin/script", &format!("#!/bin/sh\n{script}\n"))], "").run().exited(0)
}

#[test]
fn a_process_that_fails_is_started_again_ever_later() {
    let config = Config { restart: Restart::OnFailure, ..config("script") };
    let console = runs("again", &config, "n=$(cat /n || echo 0); echo $((n+1)) > /n; echo run $n; [ $n = 2 ]");
    let console = console.expect("run 0\nmoby: main process: exit 1\nmoby: it is started again in 1 s\nrun 1\n");
    console.expect("again in 2 s\nrun 2\nmoby: main process: exit 0").refuse("again in 4 s");
}

/// busybox init insists on being process 1 as s6 does, and ends the machine by reboot(2). It calls itself `init`, whatever it was called.
#[test]
fn an_image_may_have_its_own_process_1() {
    let inittab = [("etc/inittab", "::sysinit:/bin/who\n::once:/bin/poweroff\n"), ("bin/who", "#!/bin/sh\nps\n")];
    let namespace = machine("namespace", &Config { pid1: Pid1::Namespace, ..config("/bin/init") }, &inittab, "").run().exited(0);
    namespace.expect("    1 root     init\n").expect("moby: main process: exit 0").refuse("kthreadd");
    let whole = machine("whole", &Config { pid1: Pid1::Yes, ..config("/bin/init") }, &inittab, "").run().exited(0);
    whole.expect("    1 root     init\n").expect("kthreadd").expect("Requesting system poweroff").refuse("moby:");
}

#[test]
fn what_does_not_end_is_killed_and_what_cannot_be_run_has_dockers_codes() {
    let deaf = Config { stop_timeout: 2, ..config("/bin/deaf") };
    let script = [("bin/deaf", "#!/bin/sh\ntrap '' TERM\necho deaf\nwhile :; do sleep 1; done\n")];
    let console = machine("deaf", &deaf, &script, "").press_power_at("deaf", || {});
    console.expect("did not end in time: it is killed\nmoby: main process: exit 137");
    runs("none", &config("/bin/none"), "").expect("moby: /bin/none: No such file").expect("exit 127");
    runs("data", &config("/etc/passwd"), "").expect("moby: /etc/passwd: Permission denied").expect("exit 126");
    let nobody = Config { user: b"no\x1bbody".to_vec(), ..config("script") };
    runs("nobody", &nobody, "").expect("moby: user \"no\\x1bbody\": the image's /etc/passwd has no such user").expect("exit 125");
}

#[test]
fn a_network_without_a_server_is_not_waited_for() {
    let dead = machine("dead", &config("script"), &[("bin/script", "#!/bin/sh\necho alive\n")], "").dead_network().run();
    dead.exited(0).expect("moby: no address in 10 s: the main process starts without one\nalive");
}

#[test]
fn addresses_may_be_several_or_given() {
    let script = [("bin/script", "#!/bin/sh\nsleep 5\nip -4 addr\nip route\ncat /etc/resolv.conf\n")];
    let both = machine("both", &config("script"), &script, "").network("virtio-net-pci", None).network("virtio-net-pci", None).run();
    both.exited(0).expect("moby: eth0: 10.0.2.15/24").expect("moby: eth1: 10.0.2.15/24").expect("metric 2").expect("metric 3");
    let given = "ip=10.0.2.77::10.0.2.2:255.255.255.0:given:eth0:off:10.0.2.9";
    let fixed = machine("given", &config("script"), &script, given).network("virtio-net-pci", None).run().exited(0);
    fixed.expect("inet 10.0.2.77/24").expect("default via 10.0.2.2").expect("nameserver 10.0.2.9").refuse("10.0.2.15");
}

#[test]
fn reboot_restarts_the_machine_and_a_terminal_is_one() {
    let restarts = runs("reboot", &config("script"), "trap 'exit 0' TERM; reboot; while :; do sleep 1; done");
    restarts.expect("moby: main process: exit 0").expect("Restarting system");
    let tty = Config { tty: true, ..config("script") };
    runs("tty", &tty, "[ -t 0 ] && echo < /dev/tty && echo terminal $TERM > /dev/tty").expect("terminal linux");
}

#[test]
fn arm64() {
    let initrd = container::initrd(
        &scratch("init-arm64"),
        Arch::Arm64,
        &Config { user: b"1000:1000".to_vec(), ..config("script") },
        &[("bin/script", "#!/bin/sh\nid\nexit 5\n")],
        Lacks::Nothing,
    );
    let machine = Machine::arm64().limit(400).network("virtio-net-pci", None);
    let console = machine.direct(&Arch::Arm64.debian("kernel"), &initrd, "console=ttyAMA0 panic=-1").run();
    console.exited(0).expect("10.0.2.15/24").expect("uid=1000 gid=1000").expect("moby: main process: exit 5");
}
