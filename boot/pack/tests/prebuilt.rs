//! What the host tool relies on in the committed loaders. That they are what the sources give is `boot/build --check`.

use bootfs::pe::{Pe, ROW_LEN};
use bootfs::stage1::{self, FIRST_SECTOR, LEN, SECTOR_COUNT, SECTOR_SHIFT};

const STAGE1: &[u8] = include_bytes!("../../prebuilt/stage1.bin");
const STAGE2: &[u8] = include_bytes!("../../prebuilt/stage2.bin");

const EFI: [&[u8]; 3] = [
    include_bytes!("../../prebuilt/bootx64.efi"),
    include_bytes!("../../prebuilt/bootaa64.efi"),
    include_bytes!("../../prebuilt/testkernel.bzimage"),
];

/// shim takes the data of an initialised section for bytes of the headers when the file has none.
#[test]
fn sections_without_bytes_in_the_file_are_uninitialised() {
    for file in EFI {
        let table = Pe::parse(file).expect("it is a PE file").table();
        let word = |row: &[u8], at: usize| u32::from_le_bytes(row[at..at + 4].try_into().expect("four bytes"));
        let empty = file[table].chunks_exact(ROW_LEN).filter(|row| word(row, 16) == 0);
        assert!(empty.map(|row| word(row, 36) & 0xe0).all(|contents| contents == 0x80));
    }
}

#[test]
fn stage1_leaves_room_for_bios_and_partition_table() {
    assert_eq!(STAGE1.len(), 512);
    assert_eq!(STAGE1[0], 0xeb, "a short jump, as some BIOSes insist");
    assert_eq!(STAGE1[2], 0x90, "followed by a nop");
    assert!(usize::from(STAGE1[1]) + 2 >= 90, "the jump goes over the BIOS parameter block");
    assert_eq!(STAGE1[3..90], [0; 87]);
    assert_eq!(STAGE1[LEN..510], [0; 70], "disk signature and partition table are the writer's");
    assert_eq!(STAGE1[510..], [0x55, 0xaa]);
}

#[test]
fn stage1_is_patched_after_its_code() {
    // The disk address packet stands in front: 16 bytes, one sector, to 0800:0000.
    assert_eq!(STAGE1[FIRST_SECTOR - 8..FIRST_SECTOR], [16, 0, 1, 0, 0, 0, 0x00, 0x08]);
    assert_eq!(STAGE1[FIRST_SECTOR..LEN], [0; LEN - FIRST_SECTOR]);
    assert_eq!((SECTOR_COUNT, SECTOR_SHIFT), (FIRST_SECTOR + 8, FIRST_SECTOR + 10));
}

#[test]
fn stage2_is_whole_and_any_damage_shows() {
    assert!(stage1::is_stage2(STAGE2));
    for at in [0, STAGE2.len() / 2, STAGE2.len() - 1] {
        let mut damaged = STAGE2.to_vec();
        damaged[at] ^= 0x10;
        assert!(!stage1::is_stage2(&damaged), "damage at {at}");
    }
    assert!(!stage1::is_stage2(&STAGE2[..STAGE2.len() - 4096]));
}
