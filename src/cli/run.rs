//! `moby run`: QEMU is started on an image, with firmware, drive and console that suit it.

use super::Global;
use crate::{
    convert::{self, Conversion, Look},
    emit::{self, Manner, Target},
    error::{At, Error, Kind, Result},
    image::disk,
    input::{self, Input, Opening},
    names::find,
    request::Request,
};
use formats::{
    Blob, Env, gpt, iso9660,
    kernel::{Arch, Kernel},
    units::{SECTOR, parse_size, show_size},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const EXAMPLES: &str = "\
Examples:
  moby run app.qcow2                                 on BIOS, its console here; Ctrl-A X ends it
  moby run app.iso --uefi
  moby run app.qcow2 --efi-vars app-efivars.fd       with Secure Boot on
  moby run app.tar --memory 2G --publish 8080:80     a tagged tar becomes a disk first
  moby run app.qcow2 --disk data.img --keep          what the guest writes stays
  moby run web.qcow2 --publish 8080:80               a container image: ends with the exit code of its process
  moby run app.qcow2 --dry-run                       the command, to be changed and run by hand";

/// Start QEMU on an image
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// A disk, an ISO, a unified kernel image or a tagged tar
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// Start it by BIOS (SeaBIOS) [default where the image has a loader for it]
    #[arg(long, conflicts_with = "uefi")]
    bios: bool,
    /// Start it by UEFI (OVMF, AAVMF)
    #[arg(long)]
    uefi: bool,
    /// Start it by UEFI with these variables, as --efi-vars of convert writes them: with keys in them, only what they trust starts
    #[arg(long, value_name = "FILE", conflicts_with = "bios")]
    efi_vars: Option<PathBuf>,
    /// Memory: 512M, 2G (powers of 1024)
    #[arg(long, default_value = "1G", value_name = "SIZE", value_parser = memory)]
    memory: u64,
    /// Processors
    #[arg(long, default_value = "2", value_name = "N")]
    cpus: std::num::NonZeroUsize,
    /// Another disk, behind the image's own. Repeatable
    #[arg(long = "disk", value_name = "FILE")]
    disks: Vec<PathBuf>,
    /// A TCP port of this machine that leads to one of the guest's. Repeatable
    #[arg(long, value_name = "HOST:GUEST", value_parser = ports)]
    publish: Vec<(u16, u16)>,
    /// Who executes the guest [default: kvm or hvf where the machine has it, else tcg]
    #[arg(long, value_name = "ACCEL", value_parser = ["kvm", "hvf", "tcg"])]
    accel: Option<String>,
    /// Let the guest write to its disks; without it what it writes is thrown away
    #[arg(long)]
    keep: bool,
    /// Print the command and run nothing
    #[arg(long)]
    dry_run: bool,
}

/// What is started, understood.
struct Subject {
    /// The file that QEMU opens.
    file: PathBuf,
    /// What QEMU calls its container; nothing of a unified kernel image.
    format: Option<&'static str>,
    is_cd: bool,
    /// Bytes of the sectors that its partition table counts in.
    sector: u64,
    arch: Arch,
    has_bios_loader: bool,
    /// Whether its loader has keys for a firmware without any, and restarts the machine then.
    has_keys: bool,
}

/// Where distributions keep firmware: code, and what the variables begin with.
const OVMF: &[(&str, &str)] = &[
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"),
    ("/opt/homebrew/share/qemu/edk2-x86_64-code.fd", "/opt/homebrew/share/qemu/edk2-i386-vars.fd"),
];
const AAVMF: &[(&str, &str)] = &[
    ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
    ("/usr/share/edk2/aarch64/QEMU_CODE.fd", "/usr/share/edk2/aarch64/QEMU_VARS.fd"),
    ("/usr/share/qemu/edk2-aarch64-code.fd", "/usr/share/qemu/edk2-arm-vars.fd"),
    ("/opt/homebrew/share/qemu/edk2-aarch64-code.fd", "/opt/homebrew/share/qemu/edk2-arm-vars.fd"),
];

impl Run {
    pub(super) fn run(&self, global: &Global) -> ExitCode {
        self.machine(global).map_or_else(|error| super::fail(&error), ExitCode::from)
    }

    /// Runs the machine to its end. What the process of a container image ended with is what this ends with.
    fn machine(&self, global: &Global) -> Result<u8> {
        let scratch = tempfile::tempdir().at(|| "cannot create a directory for temporary files")?;
        let mut env = super::env(global, scratch.path())?;
        let subject = self.subject(scratch.path(), &mut env, global)?;
        let mut command = self.command(&subject, scratch.path(), &mut env)?;
        if self.dry_run {
            super::print(&format!("{}\n", command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")))?;
            return Ok(0);
        }
        let status = scratch.path().join("status");
        command.extend(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=status,name=moby.status"].map(String::from));
        command.extend(["-chardev".into(), format!("file,id=status,path={}", escaped(&status))]);
        let (program, arguments) = command.split_first().ok_or_else(|| Error::new(Kind::Bug, "a command without a program"))?;
        let missing = |error: std::io::Error| {
            let package = if subject.arch == Arch::Aarch64 { "qemu-system-arm" } else { "qemu-system-x86" };
            let error = Error::new(Kind::Environment, format!("{program} cannot be run")).because(error);
            error.hint(format!("it is in Debian's package {package}, in QEMU elsewhere"))
        };
        let ended = Command::new(program).args(arguments).status().map_err(missing)?;
        match ended.success() {
            true => Ok(said(&fs::read_to_string(status).unwrap_or_default())),
            false => {
                let hint = "where KVM is at fault, --accel tcg goes without it; --dry-run shows the command";
                Err(Error::new(Kind::Io, format!("{program} ended with {ended}")).hint(hint))
            }
        }
    }

    fn subject(&self, scratch: &Path, env: &mut Env, global: &Global) -> Result<Subject> {
        let place = || input::show(&self.image);
        let opened = input::read(&self.image, None, &Opening::default(), env)?.input;
        match &opened {
            Input::Uki(file) => {
                let arch = Kernel::identify(&crate::image::uki::boot(file).at(place)?.kernel.1).at(place)?.arch;
                Ok(Subject {
                    file: self.image.clone(),
                    format: None,
                    is_cd: false,
                    sector: SECTOR,
                    arch,
                    has_bios_loader: false,
                    has_keys: false,
                })
            }
            Input::Disk { format, file, disk, .. } => {
                if !is_the_file(file, &self.image) {
                    let what = "it is packed, QEMU wants it unpacked";
                    return Err(Error::unsupported(what).hint("convert it first: moby convert IMAGE -f qcow2").at(place()));
                }
                let file = self.image.clone();
                of_disk(file, qemu_name(format.name()), disk, env)
            }
            Input::Tar(_) | Input::Container(_) => {
                let conversion = Conversion::new(vec![find("qcow2")?], Request::default())?;
                let source = convert::source(&opened, conversion.request(), Look::Before, env).at(place)?;
                let artifacts = conversion.run(source, super::env(global, scratch)?, &global.ui())?;
                let disk = artifacts.into_iter().flat_map(|artifact| artifact.files).next().unwrap_or_default();
                let file = scratch.join("image.qcow2");
                emit::emit(&[(Target::Path(file.clone()), disk.into())], Manner::default(), &formats::Silent)?;
                let Input::Disk { disk, .. } = input::read(&file, None, &Opening::default(), env)?.input else {
                    return Err(Error::new(Kind::Bug, "a disk of ours is none"));
                };
                of_disk(file, "qcow2", &disk, env)
            }
        }
    }

    /// The command: the program, and its arguments.
    fn command(&self, subject: &Subject, scratch: &Path, env: &mut Env) -> Result<Vec<String>> {
        let is_arm = subject.arch == Arch::Aarch64;
        let is_uefi = self.uefi || self.efi_vars.is_some() || is_arm || !self.bios && !subject.has_bios_loader;
        if self.bios && is_arm {
            return Err(Error::unsupported("--bios: machines of aarch64 have none").hint("leave it out"));
        }
        let (program, machine) = match (is_arm, is_uefi) {
            (true, _) => ("qemu-system-aarch64", "virt"),
            (false, true) => ("qemu-system-x86_64", "q35"),
            (false, false) => ("qemu-system-x86_64", "pc"),
        };
        let accel = self.accel.as_deref().unwrap_or_else(|| accelerator(subject.arch));
        let mut words: Vec<String> = [program, "-machine", &format!("{machine},accel={accel}")].map(String::from).into();
        words.extend(["-cpu", if accel == "tcg" { "max" } else { "host" }, "-m", &show_mib(self.memory)].map(String::from));
        words.extend(["-smp", &self.cpus.to_string(), "-nographic"].map(String::from));
        words.extend((!is_uefi || !subject.has_keys).then(|| "-no-reboot".to_owned()));
        if is_uefi {
            words.extend(self.firmware(if is_arm { AAVMF } else { OVMF }, is_arm, scratch)?);
        }
        let writes = if self.keep { "" } else { ",snapshot=on" };
        match subject.format {
            None => words.extend(["-kernel".into(), subject.file.display().to_string()]),
            Some(_) if subject.is_cd => {
                words.extend(["-drive".into(), format!("media=cdrom,readonly=on,format=raw,file={}", escaped(&subject.file))]);
            }
            Some(format) if subject.sector == SECTOR => {
                words.extend(["-drive".into(), format!("if=virtio,format={format},file={}{writes}", escaped(&subject.file))]);
            }
            // The one drive of large sectors that SeaBIOS boots from.
            Some(format) => {
                let sizes = format!("logical_block_size={0},physical_block_size={0}", subject.sector);
                words.extend(["-drive".into(), format!("if=none,id=disk,format={format},file={}{writes}", escaped(&subject.file))]);
                words.extend(["-device".into(), format!("nvme,serial=moby,drive=disk,{sizes}")]);
            }
        }
        for disk in &self.disks {
            let Input::Disk { format, .. } = input::read(disk, None, &Opening::default(), env)?.input else {
                return Err(Error::bad_input("it is no disk").at(format!("--disk {}", disk.display())));
            };
            words.extend(["-drive".into(), format!("if=virtio,format={},file={}{writes}", qemu_name(format.name()), escaped(disk))]);
        }
        let forwards: String = self.publish.iter().map(|(host, guest)| format!(",hostfwd=tcp::{host}-:{guest}")).collect();
        words.extend(["-nic".into(), format!("user,model=virtio-net-pci{forwards}")]);
        Ok(words)
    }

    /// The drives of a firmware. Its variables are a copy, but for the user's where writes are kept.
    fn firmware(&self, known: &[(&str, &str)], is_arm: bool, scratch: &Path) -> Result<Vec<String>> {
        let (code, vars) = known.iter().find(|(code, vars)| Path::new(code).exists() && Path::new(vars).exists()).ok_or_else(|| {
            let (what, package) = if is_arm { ("AAVMF", "qemu-efi-aarch64") } else { ("OVMF", "ovmf") };
            let places: Vec<_> = known.iter().map(|(code, _)| *code).collect();
            let error = Error::new(Kind::Environment, format!("there is no UEFI firmware ({what}) at {}", places.join(", ")));
            error.hint(format!("it is in Debian's package {package}"))
        })?;
        let vars = self.efi_vars.as_deref().unwrap_or(Path::new(vars));
        let own = if self.keep && self.efi_vars.is_some() { vars.to_owned() } else { scratch.join("vars.fd") };
        if own != vars {
            fs::copy(vars, &own).at(|| vars.display().to_string())?;
        }
        let drive = |mode: &str, file: &Path| ["-drive".to_owned(), format!("if=pflash,format=raw{mode},file={}", escaped(file))];
        Ok([drive(",readonly=on", Path::new(code)), drive("", &own)].concat())
    }
}

fn of_disk(file: PathBuf, format: &'static str, disk: &Blob, env: &mut Env) -> Result<Subject> {
    // A disk of others has no kernel that we find; it is taken for one of this machine's.
    let kernel = disk::boot_any(disk, &mut env.spool).and_then(|booted| Kernel::identify(&booted.kernel.1));
    let arch = kernel.map_or(if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 }, |kernel| kernel.arch);
    let loaders = disk::Loaders::of(disk, &mut env.spool)?;
    // What nobody knows how to start, a BIOS may.
    let has_bios_loader = loaders.bios.is_some() || !loaders.has_default(None);
    let sector = gpt::sector_of(disk)?;
    let has_keys = disk::esp_file(disk, "/loader/keys/auto/PK.auth", &mut env.spool).is_ok();
    Ok(Subject { file, format: Some(format), is_cd: format == "raw" && iso9660::probe(disk)?, sector, arch, has_bios_loader, has_keys })
}

/// Whether a container is the file itself, and not what was unpacked of it.
fn is_the_file(container: &Blob, path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.len() == container.len())
}

/// What QEMU calls a container of ours.
fn qemu_name(name: &'static str) -> &'static str {
    if name == "vhd" { "vpc" } else { name }
}

fn accelerator(arch: Arch) -> &'static str {
    let is_native = cfg!(target_arch = "x86_64") && arch == Arch::X86_64 || cfg!(target_arch = "aarch64") && arch == Arch::Aarch64;
    let kvm = || fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    match (is_native, cfg!(target_os = "macos")) {
        (true, true) => "hvf",
        (true, false) if kvm() => "kvm",
        _ => "tcg",
    }
}

/// A path in an option of QEMU's.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// What process 1 said on its port that the image's process ended with: the last word counts, for it may have been started again.
fn said(status: &str) -> u8 {
    status.lines().filter_map(|line| line.strip_prefix("exit ")?.parse().ok()).next_back().unwrap_or(0)
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn show_mib(bytes: u64) -> String {
    format!("{}M", bytes >> 20)
}

fn memory(text: &str) -> Result<u64, String> {
    let size = parse_size(text).map_err(|error| error.to_string())?;
    match size >> 20 {
        0 => Err(format!("{} is less than any machine has", show_size(size))),
        _ => Ok(size),
    }
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let ports = text.split_once(':').and_then(|(host, guest)| Some((host.parse().ok()?, guest.parse().ok()?)));
    ports.ok_or_else(|| "it must be two ports, as 8080:80".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_a_shell_whole() {
        assert_eq!(["a-b=c,d", "", "it's", "a b"].map(quoted), ["a-b=c,d", "''", r"'it'\''s'", "'a b'"]);
        assert_eq!(escaped(Path::new("a,b")), "a,,b");
    }

    #[test]
    fn the_last_word_of_a_guest_counts() {
        assert_eq!(["", "exit 3\n", "exit 1\nexit 0\n", "exit 7\nexit", "exit 300\n", "exit 125"].map(said), [0, 3, 0, 7, 0, 125]);
    }

    #[test]
    fn sizes_and_ports_are_read() {
        assert_eq!((memory("2G"), ports("8080:80")), (Ok(2 << 30), Ok((8080, 80))));
        for bad in ["8080", "1:2:3", ":80", "70000:1"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
        assert!(memory("1k").is_err());
    }
}
