//! An SD card that a Raspberry Pi boots: its firmware's files and Linux's, in one FAT32 partition.
//!
//! ```text
//!  0      4 MiB                                                              size
//!  MBR    FAT32: firmware, config.txt, cmdline.txt, kernel8.img, initrd.img,
//!         device trees, overlays/
//! ```
//! The boot ROM of a Pi 3 reads an MBR and a partition of type 0x0b or 0x0c, no GPT. The firmware is not ours to give: it comes from the
//! user, who may put a `config.txt` beside it, whose lines go behind ours and so win over them.
//!
//! Standards: Raspberry Pi documentation, "config.txt" and "Boot folder contents". Oracles: `sfdisk`, `fsck.vfat`, mtools.

use super::{Entry, ROOM_MIN, Size};
use crate::error::{Error, Result};
use formats::{
    Blob, Ids, Timestamp, Tree,
    fat::{File, Volume},
    mbr::{FAT32_LBA, Mbr, NOT_BOOTABLE, PartitionRecord},
    tree::Content,
    units::{self, KIB, MIB, SECTOR},
};

/// Where the partition begins: Raspberry Pi OS's own place, a multiple of a card's erase blocks.
const START: u64 = 4 * MIB;
/// What Raspberry Pi OS formats with: nothing smaller is known to be read by every boot ROM.
const CLUSTER_MIN: u64 = 2 * KIB;
/// The most of a `config.txt` that is taken.
const CONFIG_MAX: u64 = 64 * KIB;

const CONFIG: &str = "config.txt";
const KERNEL: &str = "kernel8.img";
const INITRD: &str = "initrd.img";
const CMDLINE: &str = "cmdline.txt";

/// A model, and what its firmware is called.
#[derive(Debug)]
pub struct Board {
    /// For people.
    pub name: &'static str,
    /// Without these files of its firmware it does not start.
    needs: &'static [&'static str],
    /// What its second stage is called, which has variants: start4x.elf, fixup4x.dat.
    stages: [&'static str; 2],
    /// What the names of its device trees begin with, Raspberry Pi's and Linux's.
    trees: &'static [&'static str],
}

/// Raspberry Pi 3, with Compute Module 3 and Zero 2 W.
pub static RPI3: Board = Board {
    name: "Raspberry Pi 3",
    needs: &["bootcode.bin", "start.elf", "fixup.dat"],
    stages: ["start", "fixup"],
    trees: &["bcm2710-", "bcm2837-"],
};

/// Raspberry Pi 4, with 400 and Compute Module 4.
pub static RPI4: Board =
    Board { name: "Raspberry Pi 4", needs: &["start4.elf", "fixup4.dat"], stages: ["start4", "fixup4"], trees: &["bcm2711-"] };

/// How a card is laid out.
#[derive(Debug)]
pub struct SdCard<'a> {
    /// What it is for.
    pub board: &'static Board,
    /// Its size.
    pub size: Size,
    /// The user's firmware.
    pub firmware: &'a [File],
    /// The image's `boot/`, where the kernel's device trees are.
    pub boot: &'a Tree,
}

impl SdCard<'_> {
    /// The card that boots `entry`, whose kernel is a plain arm64 `Image`.
    ///
    /// # Errors
    /// When the firmware or the device trees are not the board's, a file is too large for FAT, or the card is too small.
    pub fn image(&self, entry: &Entry, ids: &Ids, time: Timestamp) -> Result<Blob> {
        entry.check_cmdline()?;
        let volume = Volume {
            label: "MOBY".to_owned(),
            serial: ids.serial("SD card"),
            time,
            sector: SECTOR,
            hidden_sectors: u32::try_from(START / SECTOR).expect("the partition is near the start of the card"),
            fat32_only: true,
            cluster_min: CLUSTER_MIN,
            files: self.files(entry)?,
            directories: Vec::new(),
        };
        let usual = START + volume.size_for(ROOM_MIN)?;
        let (size, end) = match self.size {
            Size::Auto => (usual, usual),
            Size::More(more) => (usual.saturating_add(more) / MIB * MIB, usual),
            Size::Fixed(size) => {
                let needed = START + volume.size_for(0)?;
                if size < needed {
                    let what = format!("a card of {} is too small, {} are needed", units::show_size(size), units::show_size(needed));
                    return Err(Error::bad_input(what).hint(format!("use --size {}M or --size auto", needed.div_ceil(MIB))));
                }
                (size / MIB * MIB, size / MIB * MIB)
            }
        };
        let mut card = Blob::zeros(size);
        let partition = PartitionRecord::new(FAT32_LBA, START / SECTOR, (end - START) / SECTOR)?;
        card.splice(0, &Blob::bytes(Mbr::legacy(NOT_BOOTABLE, ids.serial("disk"), &[partition]).to_bytes()));
        card.splice(START, &volume.write(end - START)?.volume);
        Ok(card)
    }

    fn files(&self, entry: &Entry) -> Result<Vec<File>> {
        let mut files: Vec<File> = self.firmware.iter().filter(|file| self.is_of_board(&file.path)).cloned().collect();
        if let Some(missing) = self.board.needs.iter().find(|name| !files.iter().any(|file| file.path == **name)) {
            return Err(Error::bad_input(format!("the firmware has no {missing}, without which a {} does not start", self.board.name))
                .hint("give with --firmware the directory boot of Raspberry Pi's repository \"firmware\""));
        }
        for file in self.device_trees() {
            // The kernel's own go before those that came with the firmware, for another kernel.
            files.retain(|firmware| !firmware.path.eq_ignore_ascii_case(&file.path));
            files.push(file);
        }
        let trees: Vec<&str> = files.iter().map(|file| file.path.as_str()).filter(|path| self.is_tree(path)).collect();
        if trees.is_empty() {
            let names: Vec<_> = self.board.trees.iter().map(|prefix| format!("{prefix}*.dtb")).collect();
            let what = format!("there is no device tree of a {}: {}", self.board.name, names.join(" or "));
            return Err(Error::bad_input(what).hint("put those of the kernel into the tar's boot/dtb, or others beside the firmware"));
        }
        // Linux's own trees have other names than those of Raspberry Pi's kernel, except on a Pi 4.
        let is_upstream = trees.iter().all(|path| !path.starts_with(self.board.trees[0]));
        files.push(File::new(CONFIG, self.config(entry, is_upstream)?));
        files.push(File::new(CMDLINE, Blob::from(format!("{}\n", entry.cmdline.trim()).into_bytes())));
        files.push(File::new(KERNEL, entry.kernel.clone()));
        files.extend(entry.initrd.iter().map(|initrd| File::new(INITRD, initrd.clone())));
        Ok(files)
    }

    /// Whether a file of the firmware goes onto the card as it is: the directory that Raspberry Pi gives out has kernels, and is for
    /// all models.
    fn is_of_board(&self, path: &str) -> bool {
        // `start` must not take start4.elf, which is another board's.
        let is_stage = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()));
        self.board.needs.contains(&path)
            || self.board.stages.into_iter().any(is_stage)
            || self.is_tree(path)
            || path.starts_with("overlays/")
            || path.starts_with("armstub")
            || path.starts_with("LICENCE")
    }

    fn is_tree(&self, path: &str) -> bool {
        path.ends_with(".dtb") && self.board.trees.iter().any(|prefix| path.starts_with(prefix))
    }

    /// The board's device trees and all overlays that the image has in `boot/`, wherever they are there.
    fn device_trees(&self) -> Vec<File> {
        let mut files: Vec<File> = Vec::new();
        for name in &self.boot.names {
            let Content::File(body) = &self.boot.inodes[name.inode].content else { continue };
            let Ok(path) = std::str::from_utf8(&name.path) else { continue };
            let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
            let at = match file {
                tree if self.is_tree(tree) => tree.to_owned(),
                overlay if overlay.ends_with(".dtbo") || path.ends_with("overlays/overlay_map.dtb") => format!("overlays/{overlay}"),
                _ => continue,
            };
            if files.iter().all(|file| !file.path.eq_ignore_ascii_case(&at)) {
                files.push(File::new(at, body.clone()));
            }
        }
        files
    }

    /// What the firmware is told.
    fn config(&self, entry: &Entry, is_upstream: bool) -> Result<Blob> {
        let mut text = format!("# {}\narm_64bit=1\nenable_uart=1\nkernel={KERNEL}\n", self.board.name);
        if entry.initrd.is_some() {
            text += &format!("initramfs {INITRD} followkernel\n");
        }
        if is_upstream {
            text += "upstream_kernel=1\n";
        }
        let mut config = Blob::from(text.into_bytes());
        if let Some(file) = self.firmware.iter().find(|file| file.path == CONFIG) {
            if file.body.len() > CONFIG_MAX {
                return Err(Error::bad_input(format!(
                    "the firmware's {CONFIG} has {} bytes, at most {CONFIG_MAX} are taken",
                    file.body.len()
                )));
            }
            config.append(&Blob::bytes(*b"\n[all]\n"));
            config.append(&file.body);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loaders::EFI_LOADERS;
    use formats::tree::{Builder, Inode};

    fn firmware(names: &[&str]) -> Vec<File> {
        names.iter().map(|name| File::new(*name, Blob::bytes(name.as_bytes()))).collect()
    }

    fn tree(paths: &[&str]) -> Tree {
        let mut builder = Builder::default();
        for path in paths {
            builder.add(path.as_bytes(), Inode::new(Content::File(Blob::bytes(*b"the kernel's")), 0o644)).unwrap();
        }
        builder.finish()
    }

    fn entry() -> Entry {
        Entry {
            title: "Linux".to_owned(),
            version: None,
            efi: &EFI_LOADERS[1],
            loader: EFI_LOADERS[1].application(),
            kernel: Blob::bytes(*b"Image"),
            initrd: Some(Blob::bytes(*b"cpio")),
            cmdline: "console=ttyS0,115200".to_owned(),
            cmdline_max: None,
            has_efi_stub: true,
            signed: None,
            root: Vec::new(),
        }
    }

    const ALL: &[&str] = &[
        "LICENCE.broadcom",
        "bcm2710-rpi-3-b.dtb",
        "bcm2711-rpi-4-b.dtb",
        "bootcode.bin",
        "cmdline.txt",
        "fixup.dat",
        "fixup4.dat",
        "fixup4x.dat",
        "fixup_x.dat",
        "kernel8.img",
        "overlays/disable-bt.dtbo",
        "start.elf",
        "start4.elf",
        "start4x.elf",
        "start_x.elf",
    ];

    fn files(board: &'static Board, names: &[&str], boot: &[&str]) -> Result<Vec<File>> {
        SdCard { board, size: Size::Auto, firmware: &firmware(names), boot: &tree(boot) }.files(&entry())
    }

    fn paths(files: &[File]) -> Vec<&str> {
        files.iter().map(|file| file.path.as_str()).collect()
    }

    fn text(files: &[File], path: &str) -> String {
        String::from_utf8(files.iter().find(|file| file.path == path).unwrap().body.to_vec(9999).unwrap()).unwrap()
    }

    #[test]
    fn each_board_gets_its_own_firmware() {
        let three = files(&RPI3, ALL, &[]).unwrap();
        let common = ["overlays/disable-bt.dtbo", "start.elf", "start_x.elf", "config.txt", "cmdline.txt", "kernel8.img", "initrd.img"];
        let front = ["LICENCE.broadcom", "bcm2710-rpi-3-b.dtb", "bootcode.bin", "fixup.dat", "fixup_x.dat"];
        assert_eq!(paths(&three), [&front[..], &common].concat());
        assert_eq!(text(&three, "kernel8.img"), "Image");
        let four = files(&RPI4, ALL, &[]).unwrap();
        let own = ["bcm2711-rpi-4-b.dtb", "fixup4.dat", "fixup4x.dat", "overlays/disable-bt.dtbo", "start4.elf", "start4x.elf"];
        assert_eq!(paths(&four)[1..7], own);
    }

    #[test]
    fn the_kernels_device_trees_go_before_the_firmwares() {
        let boot = ["boot/dtb/broadcom/bcm2711-rpi-4-b.dtb", "boot/dtb/overlays/disable-bt.dtbo", "boot/dtb/arm/juno.dtb"];
        let files = files(&RPI4, ALL, &boot).unwrap();
        assert_eq!(text(&files, "bcm2711-rpi-4-b.dtb"), "the kernel's");
        assert_eq!(text(&files, "overlays/disable-bt.dtbo"), "the kernel's");
        assert!(!paths(&files).contains(&"juno.dtb"));
        assert!(!text(&files, "config.txt").contains("upstream"));
    }

    #[test]
    fn the_firmware_is_told_of_linux_own_names() {
        let names: Vec<_> = ALL.iter().copied().filter(|name| !name.starts_with("bcm")).collect();
        let files = files(&RPI3, &names, &["boot/dtb/broadcom/bcm2837-rpi-3-b.dtb"]).unwrap();
        let config =
            "# Raspberry Pi 3\narm_64bit=1\nenable_uart=1\nkernel=kernel8.img\ninitramfs initrd.img followkernel\nupstream_kernel=1\n";
        assert_eq!(text(&files, "config.txt"), config);
    }

    #[test]
    fn a_users_config_wins() {
        let files = files(&RPI4, &[ALL, &["config.txt"]].concat(), &[]).unwrap();
        assert!(text(&files, "config.txt").ends_with("followkernel\n\n[all]\nconfig.txt"));
        assert_eq!(text(&files, "cmdline.txt"), "console=ttyS0,115200\n");
    }

    #[test]
    fn what_is_missing_is_named() {
        let refusal = |names: &[&str]| files(&RPI4, names, &[]).unwrap_err().to_string();
        assert_eq!(refusal(&["start4.elf"]), "the firmware has no fixup4.dat, without which a Raspberry Pi 4 does not start");
        assert_eq!(refusal(&["start4.elf", "fixup4.dat"]), "there is no device tree of a Raspberry Pi 4: bcm2711-*.dtb");
        let firmware = firmware(ALL);
        let card = SdCard { board: &RPI4, size: Size::Fixed(MIB), firmware: &firmware, boot: &Tree::default() };
        let error = card.image(&entry(), &Ids::from_seed(b""), Timestamp(0)).unwrap_err();
        assert!(error.to_string().starts_with("a card of 1 MiB is too small"), "{error}");
    }
}
