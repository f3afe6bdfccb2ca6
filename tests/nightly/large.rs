//! Sizes that matter to a loader, with the test kernel, which looks at no more than it must.

use crate::support::{
    images::Images,
    qemu::{Bus, Machine},
};

/// More than real ones have. A real kernel gets a tenth of it, in `debian`: it looks at every byte, which takes it long.
#[test]
fn an_initrd_of_1_gb_arrives_whole() {
    let images = Images::of_test_kernel("nightly-1000", 1000, "kernel+initrd,raw");
    images.boots_test_kernel("guest.img", "raw", Bus::Ahci, Machine::bios().memory(3072));
    images.boots_test_kernel("guest.img", "raw", Bus::VirtioBlk, Machine::uefi().memory(3072));
    images.remove();
}

#[test]
fn a_unified_kernel_image_of_200_mb_arrives_whole() {
    Images::unified_boots("nightly-uki-200", 200);
}

/// From 32 MiB on El Torito cannot say how long the FAT volume is; from 128 MiB on it is FAT32.
#[test]
fn an_iso_that_el_torito_cannot_measure_is_read_whole() {
    Images::large_cd_boots("nightly-iso-40", 40);
    Images::large_cd_boots("nightly-iso-200", 200);
}
