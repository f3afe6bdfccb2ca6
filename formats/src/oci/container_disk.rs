//! KubeVirt's containerDisk: a container image whose one file below `disk/` is the disk of a machine.
//!
//! ```text
//!  ustar   disk/             0755  107:107    107 is qemu in KubeVirt's launcher, which opens the file as it lies in the layer
//!          disk/disk.qcow2   0440  107:107    or disk.img, a raw one
//! ```
//! KubeVirt takes qcow2 and raw disks. The layer is not compressed: its bytes are the disk's own ranges between headers.

use crate::{
    Blob, Error, Result, Timestamp,
    tar::{Dialect, Writer},
    tree::{Content, Inode},
};

/// QEMU's user and group in KubeVirt's containers.
const QEMU: u32 = 107;

/// The layer of a disk in a container of this format.
///
/// # Errors
/// When KubeVirt does not take the format, or no header can hold the time.
pub fn layer(format: &str, disk: &Blob, time: Timestamp) -> Result<Blob> {
    let name = match format {
        "qcow2" => "disk/disk.qcow2",
        "raw" => "disk/disk.img",
        other => return Err(Error::unsupported(format!("a containerDisk holds qcow2 or raw, not {other}"))),
    };
    let of_qemu = |content, mode| Inode { uid: QEMU, gid: QEMU, mtime: time.0, ..Inode::new(content, mode) };
    // Records of PAX only for what a header cannot hold: disks above 8 GiB.
    let mut tar = Writer::new(Dialect::Pax);
    tar.add(b"disk", &of_qemu(Content::Directory, 0o755))?;
    tar.add(name.as_bytes(), &of_qemu(Content::File(disk.clone()), 0o440))?;
    Ok(tar.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar;

    #[test]
    fn qemu_may_read_it_and_nothing_is_copied() {
        let mut disk = Blob::bytes(vec![7; 700]);
        disk.append(&Blob::zeros(1 << 30));
        let layer = layer("raw", &disk, Timestamp(5)).unwrap();
        assert!(layer.data_len() < 4096);
        let tree = tar::tree(&layer).unwrap();
        let found: Vec<_> = tree.names.iter().map(|name| (name.path.as_slice(), &tree.inodes[name.inode])).collect();
        let told: Vec<_> = found.iter().map(|(path, inode)| (*path, inode.mode, inode.uid, inode.gid, inode.mtime)).collect();
        assert_eq!(told, [(&b"disk"[..], 0o755, 107, 107, 5), (b"disk/disk.img", 0o440, 107, 107, 5)]);
        let Content::File(body) = &found[1].1.content else { panic!("it is a file") };
        assert_eq!(body.len(), disk.len());
    }

    #[test]
    fn what_kubevirt_does_not_take_is_refused() {
        assert!(layer("vmdk", &Blob::default(), Timestamp(0)).unwrap_err().to_string().contains("qcow2 or raw, not vmdk"));
    }
}
