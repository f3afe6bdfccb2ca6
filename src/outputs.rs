//! The table of output names that users give: each a layout, a container and file names, or files made another way.

use crate::{
    build::{Build, ISO_OPTIONS, Setting},
    error::{Error, Result},
    image::Cmdline,
    layout::{self, Boot},
    payload::Payload,
    root::{self, RootFs},
};
use formats::{
    Blob, FORMATS, Format, Limits, OptionSpec, Options, Values,
    compress::{Codec, Encoding},
    ova::{self, Firmware, Flavour, Machine},
    tar::{self, Dialect},
    tree::{Content, Inode},
    units::{GIB, SECTOR},
};

/// One output that `--format` can name.
#[derive(Debug)]
pub struct Output {
    /// What the user says.
    pub name: &'static str,
    /// What follows the image's name in the name of each file, in the order that the recipe gives them.
    pub files: &'static [&'static str],
    /// Which firmware boots it.
    pub firmware: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// How it is made.
    pub recipe: Recipe,
}

/// How an output is made.
#[derive(Debug)]
pub enum Recipe {
    /// A disk in a container: one file.
    Disk(Disk),
    /// Anything else: one blob for each file.
    Files(Files),
}

/// Files made another way.
#[derive(Debug)]
pub struct Files {
    /// Makes one blob for each file.
    pub make: fn(&mut Build, &Options) -> Result<Vec<Blob>>,
    /// What `--opt` can say of it.
    pub options: &'static [OptionSpec],
    /// What else of a user's wishes it heeds.
    pub settings: &'static [Setting],
}

/// What every disk of ours heeds.
const DISK: &[Setting] = &[Setting::Boot, Setting::Size, Setting::DataPart, Setting::Root];
/// What every other output with a loader of ours heeds.
const LOADER: &[Setting] = &[Setting::Boot];
/// What an SD card heeds.
const SD_CARD: &[Setting] = &[Setting::Size, Setting::Firmware];
/// What an output heeds whose kernel is a file of its own.
const KERNEL: &[Setting] = &[Setting::DecompressKernel];

/// A disk in a container.
#[derive(Debug)]
pub struct Disk {
    /// Which firmware the disk is for; `--boot` goes before it where this is [`Boot::Hybrid`].
    pub boot: Boot,
    /// Name of a row of [`FORMATS`].
    pub container: &'static str,
    /// Options of the container that make this output what it is.
    pub options: &'static [(&'static str, &'static str)],
    /// The disk's size is a multiple of this, besides what the container demands.
    pub size_multiple: u64,
}

impl Recipe {
    /// The disk, where this makes one.
    pub fn disk(&self) -> Option<&Disk> {
        match self {
            Self::Disk(disk) => Some(disk),
            Self::Files(_) => None,
        }
    }

    /// What `--opt` can say of it.
    pub fn option_specs(&self) -> &'static [OptionSpec] {
        match self {
            Self::Disk(disk) => disk.format().options(),
            Self::Files(files) => files.options,
        }
    }

    /// What a user can ask for that it heeds and others do not.
    pub fn settings(&self) -> &'static [Setting] {
        match self {
            Self::Disk(_) => DISK,
            Self::Files(files) => files.settings,
        }
    }

    /// All options: those that make the output what it is, then the user's, as far as they are this output's.
    ///
    /// # Errors
    /// When a value is not one of the option's.
    pub fn options(&self, users: &[(String, String)]) -> Result<Options> {
        let own = self.disk().map_or(&[][..], |disk| disk.options);
        let users = users.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        Options::parse_known(self.option_specs(), own.iter().copied().chain(users))
    }
}

impl Disk {
    /// The container. Panics when the table names one that does not exist, which a test excludes.
    pub fn format(&self) -> &'static dyn Format {
        formats::format(self.container).unwrap_or_else(|| panic!("no {} in {FORMATS:?}", self.container))
    }
}

/// Files that heed these settings and options.
const fn files(
    settings: &'static [Setting],
    options: &'static [OptionSpec],
    make: fn(&mut Build, &Options) -> Result<Vec<Blob>>,
) -> Recipe {
    Recipe::Files(Files { make, options, settings })
}

const fn disk(boot: Boot, container: &'static str) -> Recipe {
    disk_with(boot, container, &[], SECTOR)
}

const fn disk_with(boot: Boot, container: &'static str, options: &'static [(&'static str, &'static str)], size_multiple: u64) -> Recipe {
    Recipe::Disk(Disk { boot, container, options, size_multiple })
}

/// Every output, in the order of `moby formats`. The names and files of LinuxKit are kept.
pub static OUTPUTS: &[Output] = &[
    Output {
        name: "qcow2",
        files: &[".qcow2"],
        firmware: "BIOS, UEFI",
        about: "QEMU disk, one for both firmwares",
        recipe: disk(Boot::Hybrid, "qcow2"),
    },
    Output {
        name: "qcow2-bios",
        files: &[".qcow2"],
        firmware: "BIOS",
        about: "QEMU disk without EFI loader",
        recipe: disk(Boot::Bios, "qcow2"),
    },
    Output {
        name: "qcow2-efi",
        files: &["-efi.qcow2"],
        firmware: "UEFI",
        about: "QEMU disk without BIOS loader",
        recipe: disk(Boot::Uefi, "qcow2"),
    },
    Output {
        name: "raw",
        files: &[".img"],
        firmware: "BIOS, UEFI",
        about: "raw disk (sparse), one for both firmwares",
        recipe: disk(Boot::Hybrid, "raw"),
    },
    Output {
        name: "raw-bios",
        files: &["-bios.img"],
        firmware: "BIOS",
        about: "raw disk without EFI loader",
        recipe: disk(Boot::Bios, "raw"),
    },
    Output {
        name: "raw-efi",
        files: &["-efi.img"],
        firmware: "UEFI",
        about: "raw disk without BIOS loader",
        recipe: disk(Boot::Uefi, "raw"),
    },
    Output {
        name: "vhd",
        files: &[".vhd"],
        firmware: "BIOS, UEFI",
        about: "fixed VHD, for Azure and Hyper-V",
        recipe: disk(Boot::Hybrid, "vhd"),
    },
    Output {
        name: "dynamic-vhd",
        files: &[".vhd"],
        firmware: "BIOS, UEFI",
        about: "dynamic VHD, for Hyper-V and VirtualBox",
        recipe: disk_with(Boot::Hybrid, "vhd", &[("subformat", "dynamic")], SECTOR),
    },
    Output { name: "vhdx", files: &[".vhdx"], firmware: "BIOS, UEFI", about: "VHDX, for Hyper-V", recipe: disk(Boot::Hybrid, "vhdx") },
    Output {
        name: "vmdk",
        files: &[".vmdk"],
        firmware: "BIOS, UEFI",
        about: "streamOptimized VMDK, for vSphere and OpenStack",
        recipe: disk(Boot::Hybrid, "vmdk"),
    },
    Output { name: "vdi", files: &[".vdi"], firmware: "BIOS, UEFI", about: "VirtualBox disk", recipe: disk(Boot::Hybrid, "vdi") },
    Output {
        name: "aws",
        files: &[".raw"],
        firmware: "BIOS, UEFI",
        about: "raw disk of whole GiB, for EC2 ImportSnapshot",
        recipe: disk_with(Boot::Hybrid, "raw", &[], GIB),
    },
    Output {
        name: "azure",
        files: &[".vhd"],
        firmware: "BIOS, UEFI",
        about: "fixed VHD for generation 1 and 2",
        recipe: disk(Boot::Hybrid, "vhd"),
    },
    Output {
        name: "gcp",
        files: &[".img.tar.gz"],
        firmware: "BIOS, UEFI",
        about: "disk.raw of whole GiB in a gzip'd old GNU tar",
        recipe: files(DISK, &[], gcp),
    },
    Output {
        name: "ova",
        files: &[".ova"],
        firmware: "BIOS, UEFI",
        about: "machine and disk for VMware or VirtualBox to import",
        recipe: files(DISK, &OVA_OPTIONS, ova),
    },
    Output {
        name: "iso",
        files: &[".iso"],
        firmware: "BIOS, UEFI",
        about: "CD, and the same file as USB stick or disk",
        recipe: files(LOADER, &ISO_OPTIONS, |build, options| Ok(vec![build.iso(Boot::Hybrid, options)?])),
    },
    Output {
        name: "iso-bios",
        files: &[".iso"],
        firmware: "BIOS",
        about: "the same without EFI loader",
        recipe: files(LOADER, &ISO_OPTIONS, |build, options| Ok(vec![build.iso(Boot::Bios, options)?])),
    },
    Output {
        name: "iso-efi-initrd",
        files: &["-efi-initrd.iso"],
        firmware: "UEFI",
        about: "the same without BIOS loader",
        recipe: files(LOADER, &ISO_OPTIONS, |build, options| Ok(vec![build.iso(Boot::Uefi, options)?])),
    },
    Output {
        name: "iso-efi",
        files: &["-efi.iso"],
        firmware: "UEFI",
        about: "CD that is the root file system itself, no initrd",
        recipe: files(LOADER, &ISO_OPTIONS, |build, options| Ok(vec![build.root_iso(Boot::Uefi, options)?])),
    },
    Output {
        name: "uki",
        files: &[".efi"],
        firmware: "UEFI",
        about: "unified kernel image: kernel, initrd and command line as one EFI application",
        recipe: files(LOADER, &[], |build, _| Ok(vec![build.uki()?])),
    },
    Output {
        name: "rpi3",
        files: &["-rpi3.img"],
        firmware: "Pi 3",
        about: "SD card for Raspberry Pi 3, with its firmware from --firmware",
        recipe: files(SD_CARD, &[], |build, _| Ok(vec![build.sd_card(&layout::RPI3)?])),
    },
    Output {
        name: "rpi4",
        files: &["-rpi4.img"],
        firmware: "Pi 4",
        about: "SD card for Raspberry Pi 4, with its firmware from --firmware",
        recipe: files(SD_CARD, &[], |build, _| Ok(vec![build.sd_card(&layout::RPI4)?])),
    },
    Output {
        name: "kernel+initrd",
        files: &["-kernel", "-initrd.img", "-cmdline"],
        firmware: "direct, iPXE",
        about: "kernel, initrd and command line as files",
        recipe: files(KERNEL, &[], kernel_initrd),
    },
    Output {
        name: "kernel+squashfs",
        files: &["-kernel", "-squashfs.img", "-cmdline"],
        firmware: "direct",
        about: "kernel, squashfs root and command line as files",
        recipe: files(KERNEL, root::SQUASHFS.options, kernel_squashfs),
    },
    Output {
        name: "tar-kernel-initrd",
        files: &["-initrd.tar"],
        firmware: "direct, iPXE",
        about: "the same in a tar: kernel, initrd.img, cmdline",
        recipe: files(KERNEL, &[], tar_kernel_initrd),
    },
    Output {
        name: "docker",
        files: &[".docker"],
        firmware: "none",
        about: "the tar with a Dockerfile, for docker build",
        recipe: files(&[], &[], docker),
    },
    Output {
        name: "kernel+iso",
        files: &["-kernel", ".iso", "-cmdline"],
        firmware: "direct",
        about: "root file system as ISO 9660 with Rock Ridge",
        recipe: files(KERNEL, &ISO_OPTIONS, kernel_iso),
    },
    Output {
        name: "kernel+erofs",
        files: &["-kernel", "-erofs.img", "-cmdline"],
        firmware: "direct",
        about: "kernel, EROFS root and command line as files",
        recipe: files(KERNEL, root::EROFS.options, kernel_erofs),
    },
];

/// The output called `name`.
///
/// # Errors
/// When there is none; the error lists all names.
pub fn output(name: &str) -> Result<&'static Output> {
    let known = || OUTPUTS.iter().map(|o| o.name).collect::<Vec<_>>().join(", ");
    let unknown = || Error::unsupported(format!("format '{name}' is unknown, the formats are: {}", known()));
    OUTPUTS.iter().find(|o| o.name == name).ok_or_else(unknown)
}

/// The output whose single file ends like this file name; the longest ending wins, the first row among equals.
pub fn by_file_name(name: &str) -> Option<&'static Output> {
    let single = |o: &&Output| matches!(o.files, [suffix] if name.ends_with(suffix));
    OUTPUTS.iter().rev().filter(single).max_by_key(|o| o.files[0].len())
}

fn kernel_initrd(build: &mut Build, _options: &Options) -> Result<Vec<Blob>> {
    let kernel = build.kernel_file()?;
    let payload = build.payload()?;
    Ok(vec![kernel, initrd_file(payload), cmdline_file(&payload.cmdline)])
}

fn kernel_squashfs(build: &mut Build, options: &Options) -> Result<Vec<Blob>> {
    kernel_root(build, &root::SQUASHFS, options)
}

/// The command line is left as it is: whoever starts the machine knows what device the root will be.
fn kernel_root(build: &mut Build, root: &'static RootFs, options: &Options) -> Result<Vec<Blob>> {
    let root = build.root(root, options)?;
    Ok(vec![build.kernel_file()?, root, cmdline_file(&build.image()?.cmdline)])
}

fn tar_kernel_initrd(build: &mut Build, _options: &Options) -> Result<Vec<Blob>> {
    let mtime = build.time().0;
    let kernel = build.kernel_file()?;
    let payload = build.payload()?;
    let mut tar = tar::Writer::new(Dialect::Pax);
    for (name, body) in [("kernel", &kernel), ("initrd.img", &initrd_file(payload)), ("cmdline", &cmdline_file(&payload.cmdline))] {
        tar.add(name.as_bytes(), &Inode { mtime, ..Inode::new(Content::File(body.clone()), 0o644) })?;
    }
    Ok(vec![tar.finish()])
}

static OVA_OPTIONS: [OptionSpec; 4] = [
    OptionSpec { name: "flavour", values: Values::Choice(&["vmware", "virtualbox"]), default: "vmware", help: "whose machine it is" },
    OptionSpec {
        name: "firmware",
        values: Values::Choice(&["auto", "bios", "efi"]),
        default: "auto",
        help: "auto: UEFI on VMware where the disk has it, else BIOS",
    },
    OptionSpec { name: "cpus", values: Values::Number { min: 1, max: 128 }, default: "2", help: "processors" },
    OptionSpec { name: "memory", values: Values::Number { min: 64, max: 1 << 24 }, default: "1024", help: "MiB of memory" },
];

/// A machine with a streamOptimized VMDK, the only kind of disk that both importers take.
fn ova(build: &mut Build, options: &Options) -> Result<Vec<Blob>> {
    let flavour = if options.word("flavour") == "vmware" { Flavour::Vmware } else { Flavour::VirtualBox };
    let firmware = match (options.word("firmware"), flavour, build.boot()) {
        ("bios", ..) | ("auto", _, Boot::Bios) | ("auto", Flavour::VirtualBox, Boot::Hybrid) => Firmware::Bios,
        (_, Flavour::Vmware, _) => Firmware::Efi,
        (_, Flavour::VirtualBox, _) => {
            return Err(Error::unsupported("an OVA cannot tell VirtualBox to use UEFI")
                .hint("leave out --boot uefi and firmware=efi; the machine's settings have \"Enable EFI\" after the import"));
        }
    };
    let machine = Machine { flavour, firmware, cpus: options.number("cpus"), memory_mib: options.number("memory") };
    let vmdk = &formats::vmdk::Vmdk;
    let (disk, file) = build.contain(build.boot(), vmdk, &Options::defaults(vmdk.options()), Limits::default())?;
    Ok(vec![ova::package(&machine, disk.len(), &file, build.time())?])
}

fn kernel_iso(build: &mut Build, options: &Options) -> Result<Vec<Blob>> {
    let (kernel, iso, cmdline) = build.kernel_and_root_iso(options)?;
    Ok(vec![kernel, iso, cmdline_file(&cmdline)])
}

fn kernel_erofs(build: &mut Build, options: &Options) -> Result<Vec<Blob>> {
    kernel_root(build, &root::EROFS, options)
}

/// What LinuxKit puts before the tar: its init starts the containers.
const DOCKERFILE: &str = "FROM scratch\nCOPY . ./\nRUN rm -f Dockerfile\nENTRYPOINT [\"/bin/rc.init\"]\n";

/// A build context: `docker build - < NAME.docker`.
fn docker(build: &mut Build, _: &Options) -> Result<Vec<Blob>> {
    let mtime = build.time().0;
    let image = build.image()?;
    let mut tar = tar::Writer::new(Dialect::Pax);
    tar.add(b"Dockerfile", &Inode { mtime, ..Inode::new(Content::File(Blob::bytes(DOCKERFILE.as_bytes())), 0o644) })?;
    tar.tree(&image.rootfs)?;
    // The root file system has the directory `boot`, and nothing in it.
    for name in image.boot.names.iter().filter(|name| name.path != b"boot") {
        tar.add(&name.path, &image.boot.inodes[name.inode])?;
    }
    Ok(vec![tar.finish()])
}

/// Compute Engine wants one member of this name and a disk of whole GiB, in the format that GNU tar calls oldgnu.
fn gcp(build: &mut Build, _options: &Options) -> Result<Vec<Blob>> {
    let mtime = build.time().0;
    let disk = build.disk_of_multiple(GIB)?;
    let mut tar = tar::Writer::new(Dialect::OldGnu);
    tar.add(b"disk.raw", &Inode { mtime, ..Inode::new(Content::File(disk), 0o644) })?;
    Ok(vec![build.compress(&tar.finish(), Encoding::new(Codec::Gzip, None)?)?])
}

/// An image without a root file system has an empty initrd.
fn initrd_file(payload: &Payload) -> Blob {
    payload.initrd.clone().unwrap_or_default()
}

/// As LinuxKit writes it: the text alone, without a newline.
fn cmdline_file(cmdline: &Cmdline) -> Blob {
    Blob::bytes(cmdline.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_row_is_sound() {
        let mut names = HashSet::new();
        for output in OUTPUTS {
            assert!(names.insert(output.name), "{} stands twice", output.name);
            assert!(!output.files.is_empty());
            output.recipe.options(&[]).unwrap();
            if output.recipe.disk().is_some() {
                assert_eq!(output.files.len(), 1);
            }
        }
    }

    #[test]
    fn a_file_name_tells_the_format() {
        assert_eq!(by_file_name("app.qcow2").unwrap().name, "qcow2");
        assert_eq!(by_file_name("app-efi.qcow2").unwrap().name, "qcow2-efi");
        assert_eq!(by_file_name("app.img").unwrap().name, "raw");
        assert_eq!(by_file_name("app.iso").unwrap().name, "iso");
        assert_eq!(by_file_name("app-efi.iso").unwrap().name, "iso-efi");
        assert!(by_file_name("app").is_none());
    }
}
