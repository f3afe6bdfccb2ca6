//! KVM where it works, else TCG, QEMU's own translator. `MOBY_ACCEL=kvm` or `MOBY_ACCEL=tcg` decides instead.

use super::{Directory, text, tools};
use std::{
    env, fs,
    process::Stdio,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// A boot sector that leaves QEMU by its debug exit: `mov al, 0x10; out 0xf4, al`.
const LEAVES: [u8; 4] = [0xb0, 0x10, 0xe6, 0xf4];
/// What QEMU makes of that: twice the value, plus one.
const LEFT: i32 = 0x21;
/// TCG takes a fraction of a second to that boot sector, and so does KVM on a real machine. Inside of some virtual ones KVM takes longer
/// than TCG for everything a firmware does.
const PATIENCE: Duration = Duration::from_secs(3);

/// The accelerator of a PC, by QEMU's name; found out once a process.
pub fn of_a_pc() -> &'static str {
    static FOUND: OnceLock<&str> = OnceLock::new();
    FOUND.get_or_init(|| match env::var("MOBY_ACCEL").as_deref() {
        Ok("kvm") => "kvm",
        Ok("tcg") => "tcg",
        Ok(other) => panic!("MOBY_ACCEL is {other:?}: it has to be kvm or tcg"),
        Err(_) if kvm_boots() => "kvm",
        Err(_) => "tcg",
    })
}

/// Whether a guest runs under KVM. That `/dev/kvm` can be opened is not enough: hosts that are virtual themselves may refuse a
/// processor's registers later.
fn kvm_boots() -> bool {
    if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let dir = Directory::new();
    let disk = dir.0.join("disk");
    let mut sector = [0; 512];
    sector[..LEAVES.len()].copy_from_slice(&LEAVES);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    fs::write(&disk, sector).unwrap_or_else(|error| panic!("{}: {error}", disk.display()));
    let mut command = tools::tool("qemu-system-x86_64");
    command.args(["-machine", "pc,accel=kvm", "-cpu", "max", "-nodefaults", "-display", "none", "-no-reboot"]);
    command.args(["-drive", &format!("if=ide,format=raw,file={}", text(&disk))]);
    command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}; tests/setup.sh installs QEMU"));
    let end = Instant::now() + PATIENCE;
    loop {
        match child.try_wait().expect("QEMU can be waited for") {
            Some(status) => return status.code() == Some(LEFT),
            None if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}
