//! The drivers that machines of each kind need.

/// A driver that a machine needs: any of these options, each with the name of its module.
#[derive(Debug)]
pub struct Driver {
    /// What it is for.
    pub what: &'static str,
    /// Without it nothing boots; else something is missing.
    pub needed: bool,
    /// Option of the configuration, and module.
    pub any: &'static [(&'static str, &'static str)],
}

const VIRTIO_DISK: Driver =
    Driver { what: "disk", needed: true, any: &[("CONFIG_VIRTIO_BLK", "virtio_blk"), ("CONFIG_SCSI_VIRTIO", "virtio_scsi")] };
const VIRTIO_NET: Driver = Driver { what: "network", needed: false, any: &[("CONFIG_VIRTIO_NET", "virtio_net")] };
const VIRTIO_PCI: Driver = Driver { what: "bus", needed: true, any: &[("CONFIG_VIRTIO_PCI", "virtio_pci")] };
pub(super) const VIRTIO: &[Driver] = &[VIRTIO_PCI, VIRTIO_DISK, VIRTIO_NET];
const NVME: Driver = Driver { what: "disk", needed: true, any: &[("CONFIG_BLK_DEV_NVME", "nvme")] };
pub(super) const HYPERV: &[Driver] = &[
    Driver { what: "bus", needed: true, any: &[("CONFIG_HYPERV", "hv_vmbus")] },
    Driver { what: "disk", needed: true, any: &[("CONFIG_HYPERV_STORAGE", "hv_storvsc")] },
    Driver { what: "network", needed: false, any: &[("CONFIG_HYPERV_NET", "hv_netvsc")] },
];
pub(super) const AZURE: &[Driver] = &[
    Driver { what: "bus", needed: true, any: &[("CONFIG_HYPERV", "hv_vmbus")] },
    Driver { what: "disk", needed: true, any: &[("CONFIG_HYPERV_STORAGE", "hv_storvsc")] },
    Driver { what: "network", needed: false, any: &[("CONFIG_HYPERV_NET", "hv_netvsc")] },
    Driver { what: "provisioning media", needed: false, any: &[("CONFIG_UDF_FS", "udf")] },
];
pub(super) const AWS: &[Driver] = &[NVME, Driver { what: "network", needed: false, any: &[("CONFIG_ENA_ETHERNET", "ena")] }];
pub(super) const GCP: &[Driver] = &[
    Driver { what: "disk", needed: true, any: &[("CONFIG_SCSI_VIRTIO", "virtio_scsi"), ("CONFIG_BLK_DEV_NVME", "nvme")] },
    Driver { what: "network", needed: false, any: &[("CONFIG_VIRTIO_NET", "virtio_net"), ("CONFIG_GVE", "gve")] },
];
pub(super) const VMWARE: &[Driver] = &[
    Driver {
        what: "disk",
        needed: true,
        any: &[
            ("CONFIG_FUSION_SPI", "mptspi"),
            ("CONFIG_VMWARE_PVSCSI", "vmw_pvscsi"),
            ("CONFIG_SATA_AHCI", "ahci"),
            ("CONFIG_BLK_DEV_NVME", "nvme"),
        ],
    },
    Driver {
        what: "network",
        needed: false,
        any: &[("CONFIG_VMXNET3", "vmxnet3"), ("CONFIG_E1000", "e1000"), ("CONFIG_E1000E", "e1000e")],
    },
];
pub(super) const VIRTUALBOX: &[Driver] = &[
    Driver { what: "disk", needed: true, any: &[("CONFIG_SATA_AHCI", "ahci")] },
    Driver { what: "network", needed: false, any: &[("CONFIG_E1000", "e1000"), ("CONFIG_VIRTIO_NET", "virtio_net")] },
];
