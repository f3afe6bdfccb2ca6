//! The table of output names that users give: files, firmware, and the recipe. Adding an output is a row here.

use crate::{
    layout::{self, Firmware},
    names::Named,
    platforms::WHOLE_GIB,
    recipes::{
        AUTH_FILES, DiskRecipe, Docker, EfiVars, Gcp, Iso, KernelInitrd, KernelIso, KernelRoot, Ova, Recipe, SdCard, Tar, TarKernelInitrd,
        Uki, Vagrant,
    },
    request::{self, COMPRESSED, Request, Setting},
    root,
};
use formats::{
    Format, OptionSpec, compress::Codec, efivars::flash, qcow2::Qcow2, raw::Raw, units::SECTOR, vdi::Vdi, vhd::Vhd, vhdx::Vhdx, vmdk::Vmdk,
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
    pub(crate) recipe: &'static dyn Recipe,
}

/// Files that are the same whichever output makes them, so that several may.
pub(crate) const SHARED: &[&str] = &["-kernel", "-cmdline"];

const fn disk(firmware: Firmware, container: &'static dyn Format) -> DiskRecipe {
    DiskRecipe { firmware, container, options: &[], size_multiple: SECTOR, may_have_large_sectors: true }
}

/// Every output, in the order of `moby formats`. The names and files of LinuxKit are kept.
pub static OUTPUTS: &[Output] = &[
    Output {
        name: "qcow2",
        files: &[".qcow2"],
        firmware: "BIOS, UEFI",
        about: "QEMU disk, one for both firmwares",
        recipe: &disk(Firmware::Hybrid, &Qcow2),
    },
    Output {
        name: "qcow2-bios",
        files: &[".qcow2"],
        firmware: "BIOS",
        about: "QEMU disk without EFI loader",
        recipe: &disk(Firmware::Bios, &Qcow2),
    },
    Output {
        name: "qcow2-efi",
        files: &["-efi.qcow2"],
        firmware: "UEFI",
        about: "QEMU disk without BIOS loader",
        recipe: &disk(Firmware::Uefi, &Qcow2),
    },
    Output {
        name: "raw",
        files: &[".img"],
        firmware: "BIOS, UEFI",
        about: "raw disk (sparse), one for both firmwares",
        recipe: &disk(Firmware::Hybrid, &Raw),
    },
    Output {
        name: "raw-bios",
        files: &["-bios.img"],
        firmware: "BIOS",
        about: "raw disk without EFI loader",
        recipe: &disk(Firmware::Bios, &Raw),
    },
    Output {
        name: "raw-efi",
        files: &["-efi.img"],
        firmware: "UEFI",
        about: "raw disk without BIOS loader",
        recipe: &disk(Firmware::Uefi, &Raw),
    },
    Output {
        name: "vhd",
        files: &[".vhd"],
        firmware: "BIOS, UEFI",
        about: "fixed VHD, for Azure and Hyper-V",
        recipe: &disk(Firmware::Hybrid, &Vhd),
    },
    Output {
        name: "dynamic-vhd",
        files: &[".vhd"],
        firmware: "BIOS, UEFI",
        about: "dynamic VHD, for Hyper-V and VirtualBox",
        recipe: &DiskRecipe { options: &[("subformat", "dynamic")], ..disk(Firmware::Hybrid, &Vhd) },
    },
    Output { name: "vhdx", files: &[".vhdx"], firmware: "BIOS, UEFI", about: "VHDX, for Hyper-V", recipe: &disk(Firmware::Hybrid, &Vhdx) },
    Output {
        name: "vmdk",
        files: &[".vmdk"],
        firmware: "BIOS, UEFI",
        about: "streamOptimized VMDK, for vSphere and OpenStack",
        recipe: &disk(Firmware::Hybrid, &Vmdk),
    },
    Output { name: "vdi", files: &[".vdi"], firmware: "BIOS, UEFI", about: "VirtualBox disk", recipe: &disk(Firmware::Hybrid, &Vdi) },
    Output {
        name: "aws",
        files: &[".raw"],
        firmware: "BIOS, UEFI",
        about: "raw disk of whole GiB, for EC2 ImportSnapshot",
        recipe: &DiskRecipe { size_multiple: WHOLE_GIB, may_have_large_sectors: false, ..disk(Firmware::Hybrid, &Raw) },
    },
    Output {
        name: "azure",
        files: &[".vhd"],
        firmware: "BIOS, UEFI",
        about: "fixed VHD for generation 1 and 2",
        recipe: &disk(Firmware::Hybrid, &Vhd),
    },
    Output {
        name: "gcp",
        files: &[".img.tar.gz"],
        firmware: "BIOS, UEFI",
        about: "disk.raw of whole GiB in a gzip'd old GNU tar",
        recipe: &Gcp,
    },
    Output {
        name: "ova",
        files: &[".ova"],
        firmware: "BIOS, UEFI",
        about: "machine and disk for VMware or VirtualBox to import",
        recipe: &Ova,
    },
    Output {
        name: "vagrant-libvirt",
        files: &["-libvirt.box"],
        firmware: "BIOS",
        about: "Vagrant box with a QEMU disk of whole GiB",
        recipe: &Vagrant::Libvirt,
    },
    Output {
        name: "vagrant-virtualbox",
        files: &["-virtualbox.box"],
        firmware: "BIOS",
        about: "Vagrant box with a machine for VirtualBox",
        recipe: &Vagrant::VirtualBox,
    },
    Output {
        name: "iso",
        files: &[".iso"],
        firmware: "BIOS, UEFI",
        about: "CD, and the same file as USB stick or disk",
        recipe: &Iso { firmware: Firmware::Hybrid, is_root: false },
    },
    Output {
        name: "iso-bios",
        files: &[".iso"],
        firmware: "BIOS",
        about: "the same without EFI loader",
        recipe: &Iso { firmware: Firmware::Bios, is_root: false },
    },
    Output {
        name: "iso-efi-initrd",
        files: &["-efi-initrd.iso"],
        firmware: "UEFI",
        about: "the same without BIOS loader",
        recipe: &Iso { firmware: Firmware::Uefi, is_root: false },
    },
    Output {
        name: "iso-efi",
        files: &["-efi.iso"],
        firmware: "UEFI",
        about: "CD that is the root file system itself, no initrd",
        recipe: &Iso { firmware: Firmware::Uefi, is_root: true },
    },
    Output {
        name: "uki",
        files: &[".efi"],
        firmware: "UEFI",
        about: "unified kernel image: kernel, initrd and command line as one EFI application",
        recipe: &Uki,
    },
    Output {
        name: "rpi3",
        files: &["-rpi3.img"],
        firmware: "Pi 3",
        about: "SD card for Raspberry Pi 3, with its firmware from --firmware",
        recipe: &SdCard { board: &layout::RPI3 },
    },
    Output {
        name: "rpi4",
        files: &["-rpi4.img"],
        firmware: "Pi 4",
        about: "SD card for Raspberry Pi 4, with its firmware from --firmware",
        recipe: &SdCard { board: &layout::RPI4 },
    },
    Output {
        name: "kernel+initrd",
        files: &["-kernel", "-initrd.img", "-cmdline"],
        firmware: "direct, iPXE",
        about: "kernel, initrd and command line as files",
        recipe: &KernelInitrd,
    },
    Output {
        name: "kernel+squashfs",
        files: &["-kernel", "-squashfs.img", "-cmdline"],
        firmware: "direct",
        about: "kernel, squashfs root and command line as files",
        recipe: &KernelRoot { root: &root::SQUASHFS },
    },
    Output {
        name: "kernel+erofs",
        files: &["-kernel", "-erofs.img", "-cmdline"],
        firmware: "direct",
        about: "kernel, EROFS root and command line as files",
        recipe: &KernelRoot { root: &root::EROFS },
    },
    Output {
        name: "kernel+iso",
        files: &["-kernel", ".iso", "-cmdline"],
        firmware: "direct",
        about: "root file system as ISO 9660 with Rock Ridge",
        recipe: &KernelIso,
    },
    Output {
        name: "tar-kernel-initrd",
        files: &["-initrd.tar"],
        firmware: "direct, iPXE",
        about: "the same in a tar: kernel, initrd.img, cmdline",
        recipe: &TarKernelInitrd,
    },
    Output { name: "tar", files: &[".tar"], firmware: "none", about: "the tagged tar", recipe: &Tar },
    Output { name: "docker", files: &[".docker"], firmware: "none", about: "the tar with a Dockerfile, for docker build", recipe: &Docker },
];

const fn efi_vars(name: &'static str, files: &'static [&'static str], about: &'static str, recipe: &'static EfiVars) -> Output {
    Output { name, files, firmware: "UEFI", about, recipe }
}

/// What `--efi-vars` can name: outputs that are made beside others, of the user's keys.
pub static EFI_VARS: &[Output] = &[
    efi_vars("qemu", &["-efivars.fd"], "flash of QEMU's OVMF of 4 MB", &EfiVars::Flash(flash::Kind::Ovmf4M)),
    efi_vars("qemu-2m", &["-efivars.fd"], "flash of QEMU's OVMF of 2 MB", &EfiVars::Flash(flash::Kind::Ovmf2M)),
    efi_vars("aavmf", &["-efivars.fd"], "flash of QEMU's firmware for arm64", &EfiVars::Flash(flash::Kind::Aavmf)),
    efi_vars("aws", &["-uefidata.b64"], "UefiData, for EC2 RegisterImage", &EfiVars::Aws),
    efi_vars("gcp", &["-gcp.json"], "shieldedInstanceInitialState, for Compute Engine images.insert", &EfiVars::Gcp),
    efi_vars("azure", &["-azure.json"], "uefiSettings, for image versions of Azure's galleries", &EfiVars::Azure),
    efi_vars("auth", AUTH_FILES, "signed variables and signature lists, for menus of firmware and efi-updatevar", &EfiVars::Auth),
];

/// A row of [`EFI_VARS`].
#[derive(Clone, Copy, Debug)]
pub struct EfiVarsOutput(pub &'static Output);

impl Named for EfiVarsOutput {
    const WHAT: &'static str = "kind of EFI variables";

    fn all() -> Vec<Self> {
        EFI_VARS.iter().map(Self).collect()
    }

    fn name(self) -> &'static str {
        self.0.name
    }

    fn about(self) -> &'static str {
        self.0.about
    }
}

impl Output {
    /// What `--opt` can say of it.
    pub fn options(&self) -> &'static [OptionSpec] {
        self.recipe.options()
    }

    /// What else of a user's wishes it heeds.
    pub(crate) fn heeds(&self, request: &Request) -> Vec<&'static Setting> {
        let mut heeded = self.recipe.heeds(request);
        heeded.extend(self.options().iter().any(|spec| spec.name == COMPRESSED).then_some(&request::COMPRESS));
        if self.is_compressible() {
            heeded.push(&request::COMPRESS_OUTPUT);
            heeded.extend(request.output_compression.map(|_| &request::OUTPUT_LEVEL));
        }
        heeded
    }

    /// Whether it can be compressed as a whole: one file, that is not already.
    pub(crate) fn is_compressible(&self) -> bool {
        self.files.len() == 1 && self.recipe.codec() == Codec::None
    }
}

impl Named for &'static Output {
    const WHAT: &'static str = "format";
    const LISTED_BY: Option<&'static str> = Some("moby formats");

    fn all() -> Vec<Self> {
        OUTPUTS.iter().collect()
    }

    fn name(self) -> &'static str {
        self.name
    }

    fn about(self) -> &'static str {
        self.about
    }
}

/// The output whose single file ends like this file name, or like it before it was compressed; the longest ending wins, the first row among
/// equals.
pub fn by_file_name(name: &str) -> Option<&'static Output> {
    let ending = |name: &str| {
        let single = |o: &&Output| matches!(o.files, [suffix] if name.ends_with(suffix));
        OUTPUTS.iter().rev().filter(single).max_by_key(|o| o.files[0].len())
    };
    ending(name).or_else(|| ending(Codec::of_name(name).0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{names::find, platforms::PLATFORMS};
    use std::collections::HashSet;

    #[test]
    fn every_row_is_sound() {
        let mut names = HashSet::new();
        let request = Request { pi_firmware: vec![formats::fat::File::new("start4.elf", formats::Blob::default())], ..Request::default() };
        for output in OUTPUTS {
            assert!(names.insert(output.name), "{} stands twice", output.name);
            assert!(!output.files.is_empty());
            assert!(output.recipe.plan(&request).is_ok(), "{}", output.name);
        }
    }

    #[test]
    fn every_platform_has_an_output_that_knows_its_options() {
        for platform in PLATFORMS {
            let output: &Output = find(platform.output).unwrap();
            for (key, _) in platform.options {
                assert!(output.options().iter().any(|spec| spec.name == *key), "{} has no {key}", output.name);
            }
            assert!(output.recipe.plan(&Request { platform: Some(platform), ..Request::default() }).is_ok(), "{}", platform.name);
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
        assert_eq!(by_file_name("app.img.zst").unwrap().name, "raw");
        assert_eq!(by_file_name("app-efi.iso.xz").unwrap().name, "iso-efi");
        assert_eq!(by_file_name("app.tar.gz").unwrap().name, "tar");
        assert_eq!(by_file_name("app.img.tar.gz").unwrap().name, "gcp");
        assert!(by_file_name("app.gz").is_none());
    }
}
