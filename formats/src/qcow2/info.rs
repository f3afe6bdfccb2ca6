//! What the header says, in the words of `qemu-img info`.

use super::{
    CompressionType,
    header::{COMPATIBLE_LAZY_REFCOUNTS, Checked, incompatible},
    snapshot,
};
use crate::{Blob, Info, Result, info::SnapshotInfo};

pub(super) fn info(file: &Blob) -> Result<Info> {
    let image = Checked::read(file)?;
    let header = &image.header;
    let is_new = header.version.get() >= 3;
    let compression = match image.compression {
        CompressionType::Zlib => "zlib",
        CompressionType::Zstd => "zstd",
    };
    let mut specific = vec![("compat", if is_new { "1.1" } else { "0.10" }.into()), ("compression-type", compression.into())];
    if is_new {
        let lazy = header.compatible_features.get() & COMPATIBLE_LAZY_REFCOUNTS != 0;
        specific.push(("lazy-refcounts", lazy.into()));
    }
    specific.push(("refcount-bits", (1_u64 << image.refcount_order()).into()));
    if is_new {
        specific.push(("corrupt", image.has(incompatible::CORRUPT).into()));
        specific.push(("extended-l2", image.extended_l2.into()));
    }
    if let Some(name) = image.data_file(file)? {
        specific.push(("data-file", String::from_utf8_lossy(&name).into_owned().into()));
    }
    let (backing_file, backing_format) = image.backing_file(file)?.unzip();
    let backing_file = backing_file.map(|name| String::from_utf8_lossy(&name).into_owned());
    let (snapshots, _) = snapshot::table(&image, file)?;
    let snapshots = snapshots.into_iter().map(|s| SnapshotInfo { id: s.id, name: s.name, seconds: s.seconds, size: s.size }).collect();
    let dirty = image.has(incompatible::DIRTY);
    Ok(Info { cluster_size: Some(image.cluster), dirty, backing_file, backing_format: backing_format.flatten(), snapshots, specific })
}
