//! QEMU under control: a machine is described, booted, watched on its serial console and always ended.
//!
//! Without KVM ([`accel`]) a guest is slow and a busy host makes it slower, so no test asserts a time: limits only end what hangs. At most
//! as many guests run at once as the host has cores, whatever number of tests and test binaries asks for them.

pub mod accel;

use super::{text, tools};
use std::{
    env, fmt, fs,
    fs::File,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// The board, which is QEMU's machine type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// i440FX: the machine of most clouds.
    Pc,
    /// Intel Q35: PCI Express, AHCI.
    Q35,
    /// The arm64 machine.
    Virt,
}

/// The firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS.
    SeaBios,
    /// OVMF in a 2 MiB flash.
    Ovmf2M,
    /// OVMF in a 4 MiB flash.
    Ovmf4M,
    /// The same with variables that no guest can write to but by its rules: system management mode.
    OvmfGuarded,
    /// AAVMF, for arm64.
    Aavmf,
}

/// How the disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    VirtioBlk,
    VirtioScsi,
    Ahci,
    Nvme,
    /// With sectors of 4096 bytes.
    NvmeLarge,
    /// With sectors of 4096 bytes.
    VirtioBlkLarge,
    Usb,
    /// As a CD in an AHCI drive.
    Cd,
    /// As a CD in a virtio-scsi drive.
    CdScsi,
    /// As a CD in a USB drive.
    CdUsb,
}

/// A virtual machine to be.
#[derive(Clone, Debug)]
pub struct Machine {
    board: Board,
    firmware: Firmware,
    memory_mib: u32,
    cpu: Option<&'static str>,
    disks: Vec<String>,
    direct: Vec<String>,
    limit: Duration,
    echo: bool,
    shows_firmware: bool,
    /// The variables of its firmware; blank ones of its own without.
    variables: Option<PathBuf>,
    tpm: Option<PathBuf>,
    restarts: bool,
    /// Devices beside the disks.
    devices: Vec<String>,
}

/// What a machine said until it was ended.
pub struct Console {
    /// Everything on the first serial port; carriage returns and escape sequences are taken out.
    pub serial: String,
    /// The 80x25 text screen of a PC at the end, when the machine did not leave by itself.
    pub screen: Option<String>,
    /// QEMU's exit code, when the guest left by itself.
    pub exit: Option<i32>,
}

/// Guests that print faster than this have gone mad.
const SERIAL_MAX: usize = 16 << 20;

impl Machine {
    pub fn new(board: Board, firmware: Firmware) -> Self {
        Self {
            board,
            firmware,
            memory_mib: 512,
            cpu: None,
            disks: Vec::new(),
            direct: Vec::new(),
            limit: Duration::from_secs(240),
            echo: false,
            shows_firmware: false,
            variables: None,
            tpm: None,
            restarts: false,
            devices: Vec::new(),
        }
    }

    /// A PC with SeaBIOS.
    pub fn bios() -> Self {
        Self::new(Board::Pc, Firmware::SeaBios)
    }

    /// A Q35 with OVMF.
    pub fn uefi() -> Self {
        Self::new(Board::Q35, Firmware::Ovmf4M)
    }

    /// A Q35 with OVMF as it is where Secure Boot matters.
    pub fn guarded() -> Self {
        Self::new(Board::Q35, Firmware::OvmfGuarded)
    }

    /// An arm64 machine.
    pub fn arm64() -> Self {
        Self::new(Board::Virt, Firmware::Aavmf)
    }

    pub fn memory(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    pub fn cpu(mut self, model: &'static str) -> Self {
        self.cpu = Some(model);
        self
    }

    /// Ends a guest that says nothing useful for so long.
    pub fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Has SeaBIOS say on the serial console what it says on the screen.
    pub fn firmware_on_serial(mut self) -> Self {
        self.shows_firmware = true;
        self
    }

    /// Takes the variables of its firmware from this file, and writes them there.
    pub fn variables(mut self, file: &Path) -> Self {
        self.variables = Some(file.to_owned());
        self
    }

    /// Has a TPM, whose emulator listens at this socket.
    pub fn tpm(mut self, socket: &Path) -> Self {
        self.tpm = Some(socket.to_owned());
        self
    }

    /// Goes on when the guest restarts it.
    pub fn restarts(mut self) -> Self {
        self.restarts = true;
        self
    }

    /// Has a network card of this model on a network of its own, with a DHCP server; a port of the host leads to one of the guest.
    pub fn network(mut self, model: &str, forwarded: Option<(u16, u16)>) -> Self {
        let id = format!("n{}", self.devices.len());
        let forward = forwarded.map(|(host, guest)| format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}")).unwrap_or_default();
        self.devices.extend(["-netdev".into(), format!("user,id={id}{forward}"), "-device".into(), format!("{model},netdev={id}")]);
        self
    }

    /// Has a network card on a wire that ends nowhere.
    pub fn dead_network(mut self) -> Self {
        self.devices.extend(["-netdev", "hubport,id=dead,hubid=1", "-device", "virtio-net-pci,netdev=dead"].map(String::from));
        self
    }

    /// Has a network card on a wire whose frames are datagrams between two ports of this machine: its own, and that of whoever is at the
    /// other end.
    pub fn wire(mut self, own: u16, other: u16) -> Self {
        let end = |name: &str, port: u16| format!("{name}.type=inet,{name}.host=127.0.0.1,{name}.port={port}");
        let wire = format!("dgram,id=wire,{},{}", end("local", own), end("remote", other));
        self.devices.extend(["-netdev".into(), wire, "-device".into(), "virtio-net-pci,netdev=wire".into()]);
        self
    }

    /// Has a virtio port of this name; what the guest writes there goes to the file.
    pub fn port(mut self, name: &str, to: &Path) -> Self {
        let file = format!("file,id=port,path={}", text(to).replace(',', ",,"));
        self.devices.extend(["-device", "virtio-serial-pci", "-chardev", &file].map(String::from));
        self.devices.extend(["-device".into(), format!("virtserialport,chardev=port,name={name}")]);
        self
    }

    /// Shows the console as it comes, for people.
    pub fn echo(mut self) -> Self {
        self.echo = true;
        self
    }

    /// Attaches a disk image; the guest's writes are thrown away. `format` is QEMU's name of the container.
    pub fn disk(mut self, bus: Bus, image: &Path, format: &str) -> Self {
        // The order of the disks is the order of booting, behind a kernel that is booted directly, which is 0.
        let place = self.disks.len();
        let id = format!("d{place}");
        let image = text(image).replace(',', ",,");
        let (read, device): (&str, &[&str]) = match bus {
            Bus::VirtioBlk => ("snapshot=on", &["virtio-blk-pci,drive="]),
            Bus::VirtioScsi => ("snapshot=on", &["virtio-scsi-pci", "scsi-hd,drive="]),
            Bus::Ahci => ("snapshot=on", &["ahci,id=ahci", "ide-hd,bus=ahci.0,drive="]),
            Bus::Nvme => ("snapshot=on", &["nvme,serial=moby,drive="]),
            Bus::NvmeLarge => ("snapshot=on", &["nvme,serial=moby,logical_block_size=4096,physical_block_size=4096,drive="]),
            Bus::VirtioBlkLarge => ("snapshot=on", &["virtio-blk-pci,logical_block_size=4096,physical_block_size=4096,drive="]),
            Bus::Usb => ("snapshot=on", &["qemu-xhci", "usb-storage,drive="]),
            Bus::Cd => ("media=cdrom,readonly=on", &["ahci,id=ahci", "ide-cd,bus=ahci.0,drive="]),
            Bus::CdScsi => ("media=cdrom,readonly=on", &["virtio-scsi-pci", "scsi-cd,drive="]),
            Bus::CdUsb => ("media=cdrom,readonly=on", &["qemu-xhci", "usb-storage,drive="]),
        };
        self.disks.extend(["-drive".into(), format!("if=none,id={id},format={format},file={image},{read}")]);
        for device in device {
            // Index 0 is that of a kernel without a disk.
            let end = if device.ends_with('=') { format!("{id},bootindex={}", place + 1) } else { String::new() };
            self.disks.extend(["-device".into(), format!("{device}{end}")]);
        }
        self
    }

    /// Boots a kernel and an initrd as a machine's owner would, instead of a disk.
    pub fn direct(mut self, kernel: &Path, initrd: &Path, cmdline: &str) -> Self {
        self.direct = ["-kernel", text(kernel), "-initrd", text(initrd), "-append", cmdline].map(String::from).into();
        self
    }

    /// Runs the machine until a line contains `goal`, until it leaves by itself, or until its time is up, which fails the test.
    pub fn run_until(&self, goal: &str) -> Console {
        let _slot = Slot::take();
        let dir = Directory::new();
        let mut guest = Guest::start(self, &dir);
        guest.watch(goal, self.limit, self.echo)
    }

    /// Runs the machine until a line contains `goal`, does something, presses its power button, and waits until it leaves by itself.
    pub fn press_power_at(&self, goal: &str, act: impl FnOnce()) -> Console {
        let _slot = Slot::take();
        let dir = Directory::new();
        let mut guest = Guest::start(self, &dir);
        let before = guest.watch(goal, self.limit, self.echo);
        act();
        guest.ask_monitor("system_powerdown");
        let after = guest.watch("\0 never printed", self.limit, self.echo);
        Console { serial: before.serial + &after.serial, ..after }
    }

    /// Runs the machine until it leaves by itself.
    pub fn run(&self) -> Console {
        self.run_until("\0 never printed")
    }

    fn command(&self, dir: &Path) -> Command {
        let (program, board, accel) = match self.board {
            Board::Pc => ("qemu-system-x86_64", "pc", accel::of_a_pc()),
            Board::Q35 => ("qemu-system-x86_64", "q35", accel::of_a_pc()),
            Board::Virt => ("qemu-system-aarch64", "virt", "tcg"),
        };
        let mut command = tools::tool(program);
        // `-nodefaults`: no floppy, no network card and its boot ROM, no second disk controller.
        let graphics = if self.shows_firmware { ",graphics=off" } else { "" };
        let smm = if self.firmware == Firmware::OvmfGuarded { ",smm=on" } else { "" };
        command.args(["-machine", &format!("{board},accel={accel}{graphics}{smm}"), "-nodefaults", "-display", "none"]);
        command.args(["-action", if self.restarts { "reboot=reset" } else { "reboot=shutdown" }]);
        if self.firmware == Firmware::OvmfGuarded {
            command.args(["-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1"]);
        }
        if let Some(socket) = &self.tpm {
            command.args(["-chardev", &format!("socket,id=tpm,path={}", text(socket)), "-tpmdev", "emulator,id=tpm0,chardev=tpm"]);
            command.args(["-device", "tpm-tis,tpmdev=tpm0"]);
        }
        command.args(["-m", &self.memory_mib.to_string(), "-serial", "stdio"]);
        command.args(["-monitor", &format!("unix:{},server=on,wait=off", text(&dir.join("monitor")))]);
        match (self.board, self.cpu) {
            (_, Some(model)) => drop(command.args(["-cpu", model])),
            (Board::Virt, None) => drop(command.args(["-cpu", "cortex-a57"])),
            _ => drop(command.args(["-cpu", "max"])),
        }
        if self.board != Board::Virt {
            command.args(["-vga", "std", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]);
        }
        let firmware = |code: &str, vars: &str| {
            let own = self.variables.clone().unwrap_or_else(|| {
                let own = dir.join("vars.fd");
                fs::copy(vars, &own).unwrap_or_else(|error| panic!("{vars}: {error}; tests/setup.sh installs it"));
                own
            });
            [format!("if=pflash,format=raw,readonly=on,file={code}"), format!("if=pflash,format=raw,file={}", text(&own))]
        };
        let flash = match self.firmware {
            Firmware::SeaBios => Vec::new(),
            Firmware::Ovmf2M => firmware("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd").into(),
            Firmware::Ovmf4M => firmware("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd").into(),
            Firmware::OvmfGuarded => firmware("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd").into(),
            // This one checks signatures where it has keys.
            Firmware::Aavmf if self.variables.is_some() => firmware("/usr/share/AAVMF/AAVMF_CODE.ms.fd", "").into(),
            Firmware::Aavmf => firmware("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd").into(),
        };
        for drive in flash {
            command.args(["-drive", &drive]);
        }
        // A kernel that QEMU loads by itself takes the first place in the boot order.
        let taken = if self.direct.is_empty() { "" } else { ",bootindex=0" };
        command.args(self.disks.iter().map(|argument| argument.strip_suffix(taken).unwrap_or(argument))).args(&self.direct);
        command.args(&self.devices);
        command
    }
}

/// A running QEMU; dropping it ends it.
struct Guest {
    child: Child,
    shown: String,
    monitor: PathBuf,
    serial: mpsc::Receiver<Vec<u8>>,
    errors: PathBuf,
    has_text_screen: bool,
}

impl Guest {
    fn start(machine: &Machine, dir: &Directory) -> Self {
        let mut command = machine.command(&dir.0);
        let errors = dir.0.join("stderr");
        let stderr = File::create(&errors).expect("a file for QEMU's own messages");
        let shown = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("{shown} cannot be run: {error}; tests/setup.sh installs QEMU"));
        let mut stdout = child.stdout.take().expect("a pipe");
        let (send, serial) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                if send.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        let has_text_screen = machine.firmware == Firmware::SeaBios;
        Self { child, shown, monitor: dir.0.join("monitor"), serial, errors, has_text_screen }
    }

    fn watch(&mut self, goal: &str, limit: Duration, echo: bool) -> Console {
        let end = Instant::now() + limit;
        let mut raw = Vec::new();
        loop {
            match self.serial.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(more) => {
                    if echo {
                        print!("{}", plain(&more));
                    }
                    raw.extend(more);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait().expect("QEMU can be waited for");
                    return Console { serial: plain(&raw), screen: None, exit: status.code() };
                }
                Err(mpsc::RecvTimeoutError::Timeout) => self.fail(&raw, &format!("{goal:?} was not seen in {limit:?}")),
            }
            // Only whole lines: what comes next is then never cut in the middle.
            let lines = &raw[..raw.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)];
            let tail = &lines[lines.len().saturating_sub(64 << 10)..];
            if plain(tail).contains(goal) {
                let screen = self.has_text_screen.then(|| self.screen());
                return Console { serial: plain(&raw), screen, exit: None };
            }
            if raw.len() > SERIAL_MAX {
                self.fail(&raw, "the guest prints without end");
            }
        }
    }

    fn fail(&mut self, raw: &[u8], why: &str) -> ! {
        let screen = if self.has_text_screen { self.screen() } else { String::new() };
        let errors = fs::read_to_string(&self.errors).unwrap_or_default();
        let serial = plain(raw);
        panic!("{why}\n$ {}\n-- screen\n{screen}\n-- qemu\n{errors}\n-- serial\n{serial}", self.shown)
    }

    /// Has QEMU's monitor do something.
    fn ask_monitor(&self, command: &str) {
        let Ok(mut monitor) = UnixStream::connect(&self.monitor) else { return };
        monitor.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        // The second prompt comes when the first command is done.
        writeln!(monitor, "{command}").expect("QEMU's monitor listens");
        let (mut answer, mut buffer) = (Vec::new(), [0; 1024]);
        while String::from_utf8_lossy(&answer).matches("(qemu) ").count() < 2 {
            match monitor.read(&mut buffer) {
                Ok(n @ 1..) => answer.extend(&buffer[..n]),
                _ => break,
            }
        }
    }

    /// The VGA text buffer: 25 rows of 80 cells of character and attribute.
    fn screen(&self) -> String {
        let file = self.monitor.with_file_name("screen");
        self.ask_monitor(&format!("pmemsave 0xb8000 4000 \"{}\"", text(&file)));
        let cells = fs::read(&file).unwrap_or_default();
        let rows = cells.chunks(160).map(|row| row.iter().step_by(2).map(|byte| char::from(*byte)).collect::<String>());
        rows.map(|row| row.trim_end_matches([' ', '\0']).to_owned() + "\n").collect()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have left already: then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Console {
    /// Fails the test, showing the console, unless the serial console has the text.
    #[track_caller]
    pub fn expect(self, text: &str) -> Self {
        assert!(self.serial.contains(text), "{text:?} is not on the serial console\n{self}");
        self
    }

    /// Fails the test, showing both, unless the text screen has the text too.
    #[track_caller]
    pub fn expect_on_screen(self, text: &str) -> Self {
        // A long line goes on in the next row.
        let screen = self.screen.as_deref().unwrap_or_default().replace('\n', "");
        assert!(screen.contains(text), "{text:?} is not on the screen\n{self}");
        self
    }

    /// Fails the test, showing the console, when the text is there.
    #[track_caller]
    pub fn refuse(self, text: &str) -> Self {
        assert!(!self.serial.contains(text), "{text:?} is on the serial console\n{self}");
        self
    }

    /// Fails the test unless the guest left by itself with that exit code.
    #[track_caller]
    pub fn exited(self, code: i32) -> Self {
        assert_eq!(self.exit, Some(code), "QEMU's exit code\n{self}");
        self
    }
}

impl fmt::Display for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-- screen\n{}\n-- serial\n{}", self.screen.as_deref().unwrap_or("(none)"), self.serial)
    }
}

/// Console bytes without carriage returns, NULs and ANSI escape sequences, with which firmware draws.
fn plain(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut bytes = bytes.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            // CSI: parameters and intermediates up to a final byte. Anything else after ESC is one byte.
            0x1b => {
                if bytes.next() == Some(b'[') {
                    while bytes.next().is_some_and(|byte| !(0x40..=0x7e).contains(&byte)) {}
                }
            }
            b'\r' | 0 => {}
            _ => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A directory for one guest's sockets and firmware variables, short enough for a socket address.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("moby-qemu-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The right to run a guest: a lock on one of as many files as there are cores.
struct Slot(#[expect(dead_code, reason = "the lock lives as long as the file is open")] File);

impl Slot {
    fn take() -> Self {
        let count = thread::available_parallelism().map_or(1, usize::from);
        let files: Vec<File> = (0..count).map(|slot| open_lock(&format!("qemu-slot-{slot}"))).collect();
        loop {
            if let Some(file) = files.iter().position(|file| file.try_lock().is_ok()) {
                return Self(files.into_iter().nth(file).expect("a position is inside"));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn open_lock(name: &str) -> File {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    File::options().create(true).truncate(false).write(true).open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
