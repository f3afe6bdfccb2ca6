//! Partition tables written by sgdisk.

use std::path::PathBuf;

use crate::support::{Image, Memory, Scratch, run};
use bootfs::gpt::{self, Which};
use bootfs::{Disk, Error, Gpt};

const LEN: usize = 8 << 20;

/// A disk with a BIOS boot partition and an ESP at 1 MiB.
fn disk(scratch: &Scratch) -> PathBuf {
    let image = scratch.zeros("disk.img", LEN as u64);
    run("sgdisk", &[&"-a1", &"-n1:34:2047", &"-t1:ef02", &"-n2:2048:0", &"-t2:ef00", &"-c2:EFI system", &image]);
    image
}

fn esp(gpt: &Gpt, disk: &mut Disk<Memory>) -> gpt::Partition {
    gpt.find(disk, &gpt::ESP).unwrap()
}

#[test]
fn partitions_are_where_sgdisk_put_them() {
    let scratch = Scratch::new();
    let path = disk(&scratch);
    let mut disk = Disk::new(Image::open(&path, 512)).unwrap();
    let gpt = Gpt::read(&mut disk).unwrap();
    assert_eq!((gpt.which, gpt.block, gpt.entry_count), (Which::Primary, 512, 128));
    let esp = gpt.find(&mut disk, &gpt::ESP).unwrap();
    assert_eq!(esp.start, 1 << 20);
    assert_eq!(esp.first_lba, 2048);
    assert_eq!(esp.last_lba, LEN as u64 / 512 - 34);
    assert_eq!(esp.len, LEN as u64 - (1 << 20) - 33 * 512);
    let name: Vec<u16> = esp.name.iter().copied().take_while(|unit| *unit != 0).collect();
    assert_eq!(String::from_utf16(&name).unwrap(), "EFI system");
    let boot = gpt.find(&mut disk, &gpt::BIOS_BOOT).unwrap();
    assert_eq!((boot.first_lba, boot.last_lba), (34, 2047));
    assert!(matches!(gpt.find(&mut disk, &[7; 16]), Err(Error::NoPartition)));
    assert!(gpt.partition(&mut disk, 5).unwrap().is_none());
    assert!(gpt.partition(&mut disk, 128).unwrap().is_none());
}

#[test]
fn a_table_of_512_byte_blocks_is_found_through_larger_sectors() {
    let scratch = Scratch::new();
    let path = disk(&scratch);
    for sector in [2048, 4096] {
        let mut disk = Disk::new(Image::open(&path, sector)).unwrap();
        let gpt = Gpt::read(&mut disk).unwrap();
        assert_eq!(gpt.find(&mut disk, &gpt::ESP).unwrap().start, 1 << 20);
    }
}

#[test]
fn the_backup_serves_when_the_primary_is_damaged() {
    let scratch = Scratch::new();
    let sound = std::fs::read(disk(&scratch)).unwrap();
    for damage in [512 + 40, 512 + 16, 1024 + 130] {
        let mut bytes = sound.clone();
        bytes[damage] ^= 1;
        // The size is not known, so the backup is found by what the damaged primary says.
        let mut disk = Disk::new(Memory(bytes.clone())).unwrap();
        let gpt = Gpt::read(&mut disk).unwrap();
        assert_eq!(gpt.which, Which::Backup, "damage at {damage}");
        assert_eq!(esp(&gpt, &mut disk).start, 1 << 20);
        // Both damaged.
        bytes[LEN - 512 + 40] ^= 1;
        let mut disk = Disk::new(Memory(bytes)).unwrap();
        assert_eq!(Gpt::read(&mut disk).err(), Some(Error::GptDamaged));
    }
    assert_eq!(Error::<&str>::GptDamaged.to_string(), "GPT damaged (bad checksum)");
}

#[test]
fn the_backup_at_the_end_serves_when_the_primary_is_gone() {
    let scratch = Scratch::new();
    let path = disk(&scratch);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..17408].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let mut disk = Disk::new(Image::open(&path, 512)).unwrap();
    let gpt = Gpt::read(&mut disk).unwrap();
    assert_eq!((gpt.which, gpt.find(&mut disk, &gpt::ESP).unwrap().start), (Which::Backup, 1 << 20));
    bytes[LEN - 512..].fill(0);
    assert_eq!(Gpt::read(&mut Disk::new(Memory(bytes)).unwrap()).err(), Some(Error::NoGpt));
}

#[test]
fn an_image_cut_short_is_told_as_such() {
    let scratch = Scratch::new();
    let path = disk(&scratch);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..4 << 20]).unwrap();
    let mut disk = Disk::new(Image::open(&path, 512)).unwrap();
    let gpt = Gpt::read(&mut disk).unwrap();
    assert!(matches!(gpt.find(&mut disk, &gpt::ESP), Err(Error::PastEndOfDisk)));
    assert!(gpt.find(&mut disk, &gpt::BIOS_BOOT).is_ok());
}
