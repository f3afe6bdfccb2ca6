//! Compute Engine's image: a raw disk in a tar of the old GNU format, gzipped ("Manually import boot disks").
//!
//! ```text
//!  gzip( disk.raw: header, sparse map | data | .. | zeros )
//! ```
//! Written so, and read with or without the gzip around it, which is nobody's but the compressor's. The disk has whole GiB.
//!
//! Oracles: GNU tar, gzip.

use crate::{
    Blob, Env, Result,
    compress::{Codec, Encoding},
    tar::{self, Dialect},
    tree::{Content, Inode},
};

const DISK: &str = "disk.raw";

/// The archive of a disk, dated with the environment's time.
///
/// # Errors
/// When the disk cannot be read or the spool not be written.
pub fn pack(disk: &Blob, env: &mut Env) -> Result<Blob> {
    let mut tar = tar::Writer::new(Dialect::OldGnu);
    tar.add(DISK.as_bytes(), &Inode { mtime: env.time.0, ..Inode::new(Content::File(disk.clone()), 0o644) })?;
    Encoding::new(Codec::Gzip, None)?.compress(&tar.finish(), env)
}

/// The raw disk among the files of a tar ([`tar::files`]), if it is such an archive.
pub fn unwrap(files: &[(Vec<u8>, Blob)]) -> Option<Blob> {
    match files {
        [(path, disk)] if path.strip_prefix(b"./").unwrap_or(path) == DISK.as_bytes() => Some(disk.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compress, testing::env, units::MIB};

    #[test]
    fn what_was_packed_is_unwrapped() {
        let mut disk = Blob::zeros(3 * MIB);
        disk.splice(MIB, &Blob::bytes(*b"data"));
        let mut env = env();
        let packed = pack(&disk, &mut env).unwrap();
        assert_eq!(Codec::of(&packed).unwrap(), Codec::Gzip);
        let tar = env.spool.copy(&mut compress::reader(Codec::Gzip, packed.reader()).unwrap()).unwrap();
        let found = unwrap(&tar::files(&tar).unwrap()).unwrap();
        assert_eq!(found.to_vec(u64::MAX).unwrap(), disk.to_vec(u64::MAX).unwrap());
    }

    #[test]
    fn other_files_are_no_disk() {
        let file = |name: &str| (name.as_bytes().to_vec(), Blob::zeros(512));
        assert!(unwrap(&[file("./disk.raw")]).is_some());
        for files in [vec![], vec![file("disk.img")], vec![file("disk.raw"), file("manifest.json")]] {
            assert!(unwrap(&files).is_none());
        }
    }
}
