//! Each container as QEMU opens it, booted by the test kernel. `tests/nightly` repeats it with Debian, on both firmwares.

use crate::support::{
    images::{CONTAINERS, Images},
    qemu::{Bus, Machine},
};
use std::sync::OnceLock;

fn images() -> &'static Images {
    static IMAGES: OnceLock<Images> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let images = Images::of_test_kernel("boot-containers", 2, "kernel+initrd");
        images.convert_to_containers(&["--initrd-compression", "none"]);
        images
    })
}

#[test]
fn bios_boots_each() {
    for (file, format) in CONTAINERS {
        images().boots_test_kernel(file, format, Bus::VirtioBlk, Machine::bios());
    }
}
