//! What machines boot with: the modules of [`super::Set::Boot`]. What a kernel lacks of it, it lacks; what is built in needs no module.

/// What they are for, and their names.
static BOOT: &[(&str, &[&str])] = &[
    ("virtio", &["virtio_pci", "virtio_mmio", "virtio_console", "virtio_rng", "virtio_balloon", "vmw_vsock_virtio_transport"]),
    ("shared directories", &["virtiofs", "9p", "9pnet_virtio"]),
    ("disks", &["virtio_blk", "virtio_scsi", "nvme", "ahci", "ata_piix", "mptspi", "vmw_pvscsi", "sd_mod", "sr_mod"]),
    ("USB", &["xhci_pci", "usb_storage"]),
    ("Xen", &["xen_blkfront", "xen_netfront"]),
    ("Hyper-V", &["hv_vmbus", "hv_storvsc", "hv_netvsc", "hv_utils"]),
    ("networks", &["virtio_net", "e1000", "e1000e", "vmxnet3", "ixgbevf", "ena", "gve"]),
    ("buttons", &["button", "evdev", "gpio_keys"]),
    ("clocks", &["ptp_kvm"]),
    ("roots", &["squashfs", "erofs", "overlay", "dm_mod", "dm_verity"]),
    ("file systems", &["ext4", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8", "isofs"]),
    // Of ext4 and others: they ask for it by this name while they mount.
    ("sums", &["crc32c"]),
];

/// Their names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BOOT.iter().flat_map(|(_, names)| names.iter().copied())
}
