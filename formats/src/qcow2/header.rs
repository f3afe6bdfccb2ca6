//! The header: "Header" of the specification.

use super::{CompressionType, L1_MAX};
use crate::{Blob, Error, Result, error::At, units};
use std::{mem::offset_of, ops::Range};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    big_endian::{U32, U64},
};

pub(super) const MAGIC: [u8; 4] = *b"QFI\xfb";
/// Bytes of the header of version 2.
pub(super) const V2_LEN: usize = 72;
/// Bytes of the header of version 3 that every writer writes.
const V3_LEN_MIN: u32 = 104;

/// The header of version 3, as we write it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    /// 0: `QFI\xfb`.
    pub(super) magic: [u8; 4],
    /// 4: 2 or 3.
    pub(super) version: U32,
    /// 8: where the name of the backing file is; 0 without one.
    pub(super) backing_file_offset: U64,
    /// 16: bytes of that name.
    pub(super) backing_file_size: U32,
    /// 20: log2 of the cluster size, 9 to 21.
    pub(super) cluster_bits: U32,
    /// 24: bytes of the disk.
    pub(super) size: U64,
    /// 32: 0 none, 1 AES, 2 LUKS.
    pub(super) crypt_method: U32,
    /// 36: entries of the L1 table.
    pub(super) l1_size: U32,
    /// 40: where the L1 table is.
    pub(super) l1_table_offset: U64,
    /// 48: where the refcount table is.
    pub(super) refcount_table_offset: U64,
    /// 56: clusters of the refcount table.
    pub(super) refcount_table_clusters: U32,
    /// 60: number of snapshots.
    pub(super) nb_snapshots: U32,
    /// 64: where the snapshot table is.
    pub(super) snapshots_offset: U64,
    /// 72, from here on version 3: see [`incompatible`].
    pub(super) incompatible_features: U64,
    /// 80: see [`COMPATIBLE_LAZY_REFCOUNTS`].
    pub(super) compatible_features: U64,
    /// 88: bits that a writer clears when it does not know them.
    pub(super) autoclear_features: U64,
    /// 96: log2 of the bits of a refcount, 4 where we write.
    pub(super) refcount_order: U32,
    /// 100: bytes of the header, 112 where we write.
    pub(super) header_length: U32,
    /// 104: 0 zlib, 1 zstd.
    pub(super) compression_type: u8,
    /// 105: zeros.
    pub(super) padding: [u8; 7],
}

const _: () = assert!(
    size_of::<Header>() == 112
        && offset_of!(Header, size) == 24
        && offset_of!(Header, incompatible_features) == V2_LEN
        && offset_of!(Header, compression_type) == V3_LEN_MIN as usize
);

/// Values of [`Header::incompatible_features`].
pub(super) mod incompatible {
    /// Refcounts may be wrong; they are not looked at.
    pub(in crate::qcow2) const DIRTY: u64 = 1;
    /// Something was found to be wrong with the image.
    pub(in crate::qcow2) const CORRUPT: u64 = 2;
    /// Clusters are in another file.
    pub(in crate::qcow2) const EXTERNAL_DATA: u64 = 4;
    /// `compression_type` is not 0.
    pub(in crate::qcow2) const COMPRESSION_TYPE: u64 = 8;
    /// L2 entries have 16 bytes and 32 subclusters each.
    pub(in crate::qcow2) const EXTENDED_L2: u64 = 16;
}

/// [`Header::compatible_features`]: refcounts may be updated late.
pub(super) const COMPATIBLE_LAZY_REFCOUNTS: u64 = 1;

/// [`Header::autoclear_features`]: the bitmaps are right.
const AUTOCLEAR_BITMAPS: u64 = 1;
/// [`Header::autoclear_features`]: the file that has the data is the disk as it is.
const AUTOCLEAR_DATA_FILE_RAW: u64 = 2;

/// What a reader needs to know, checked.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) header: Header,
    /// Bytes of a cluster.
    pub(super) cluster: u64,
    pub(super) compression: CompressionType,
    pub(super) extended_l2: bool,
}

impl Checked {
    /// Reads and checks the header of a file.
    ///
    /// # Errors
    /// When it is malformed or asks for what we do not read.
    pub(super) fn read(file: &Blob) -> Result<Self> {
        let header = Header::read(file)?;
        if header.magic != MAGIC {
            return Err(Error::bad_input("no qcow2: it does not start with QFI\\xfb"));
        }
        let image = header.check().at(|| "qcow2 header")?;
        image.refuse_unknown_features(file).at(|| "qcow2 header")?;
        Ok(image)
    }

    /// Structures begin where clusters begin.
    pub(super) fn check_aligned(&self, at: u64, what: &str) -> Result<()> {
        if at.is_multiple_of(self.cluster) && i64::try_from(at).is_ok() {
            return Ok(());
        }
        let what = format!("{what} is at byte {at}, must be a multiple of the cluster size, {}, and below 2^63", self.cluster);
        Err(Error::bad_input(what))
    }

    /// Log2 of the bits of a refcount.
    pub(super) fn refcount_order(&self) -> u32 {
        if self.header.version.get() == 2 { 4 } else { self.header.refcount_order.get() }
    }

    /// Bytes of the disk.
    pub(super) fn size(&self) -> u64 {
        self.header.size.get()
    }

    /// Bytes of an L2 entry.
    pub(super) fn entry_len(&self) -> u64 {
        if self.extended_l2 { 16 } else { 8 }
    }

    /// Bytes of the disk that an L2 table is about.
    pub(super) fn covered(&self) -> u64 {
        self.cluster * (self.cluster / self.entry_len())
    }
}

impl Header {
    /// The header, with what version 2 lacks filled in.
    fn read(file: &Blob) -> Result<Self> {
        let mut bytes = [0; size_of::<Self>()];
        let (old, new) = bytes.split_at_mut(V2_LEN);
        file.read_at(0, old).at(|| "qcow2 header")?;
        if old[..8] != [b'Q', b'F', b'I', 0xfb, 0, 0, 0, 2] {
            // The last field may be absent, then other data follows.
            let len = new.len().min(units::index(file.len()) - V2_LEN);
            file.read_at(units::bytes(V2_LEN), &mut new[..len])?;
        }
        let mut header: Self = zerocopy::transmute!(bytes);
        if header.header_length.get() < 112 {
            header.compression_type = 0;
        }
        Ok(header)
    }

    fn check(self) -> Result<Checked> {
        let version = self.version.get();
        if !(2..=3).contains(&version) {
            return Err(Error::unsupported(format!("version {version}, must be 2 or 3")));
        }
        self.check_features()?;
        let bits = self.cluster_bits.get();
        if !(9..=21).contains(&bits) {
            return Err(Error::bad_input(format!("cluster_bits is {bits}, must be 9 to 21")));
        }
        let compression = match self.compression_type {
            0 => CompressionType::Zlib,
            1 => CompressionType::Zstd,
            other => return Err(Error::unsupported(format!("compression type {other}, must be 0 (zlib) or 1 (zstd)"))),
        };
        let is_said = self.incompatible_features.get() & incompatible::COMPRESSION_TYPE != 0;
        if version == 3 && is_said != (self.compression_type != 0) {
            let what =
                format!("compression type {}, and the incompatible feature that speaks of it contradicts that", self.compression_type);
            return Err(Error::bad_input(what));
        }
        let extended_l2 = self.incompatible_features.get() & incompatible::EXTENDED_L2 != 0;
        if extended_l2 && bits < 14 {
            return Err(Error::bad_input(format!("cluster_bits is {bits}, must be at least 14 with extended L2 entries")));
        }
        let checked = Checked { header: self, cluster: 1 << bits, compression, extended_l2 };
        checked.check_l1()
    }

    fn check_features(&self) -> Result<()> {
        if self.crypt_method.get() != 0 {
            return Err(Error::unsupported("the disk is encrypted, which is not read").hint("decrypt it first: qemu-img convert"));
        }
        if self.version.get() == 2 {
            return Ok(());
        }
        let length = self.header_length.get();
        let cluster = 1_u32.checked_shl(self.cluster_bits.get()).unwrap_or(u32::MAX);
        if length < V3_LEN_MIN || !length.is_multiple_of(8) || length > cluster {
            let what = format!("the header has {length} bytes, must be {V3_LEN_MIN} to a cluster and a multiple of 8");
            return Err(Error::bad_input(what));
        }
        let order = self.refcount_order.get();
        if order > 6 {
            return Err(Error::bad_input(format!("refcount_order is {order}, must be 0 to 6")));
        }
        Ok(())
    }
}

impl Checked {
    /// Names the features that a reader would have to know, by the file's own table of names where it has one ("Feature name table").
    fn refuse_unknown_features(&self, file: &Blob) -> Result<()> {
        use incompatible::{COMPRESSION_TYPE, CORRUPT, DIRTY, EXTENDED_L2, EXTERNAL_DATA};
        /// Bytes of a row: what kind of feature, which bit, and its name.
        const ROW: usize = 48;
        let features = self.header.incompatible_features.get();
        let unknown = features & !(DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2);
        if self.header.version.get() == 2 || unknown == 0 {
            return Ok(());
        }
        let table = self.extension(file, extension::FEATURE_NAMES).unwrap_or_default().unwrap_or_default();
        let names = table.as_chunks::<ROW>().0.iter().filter_map(|[kind, bit, name @ ..]| {
            let is_meant = *kind == 0 && 1_u64.checked_shl(u32::from(*bit)).is_some_and(|bit| unknown & bit != 0);
            is_meant.then(|| String::from_utf8_lossy(name.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned())
        });
        let names = names.collect::<Vec<_>>().join(", ");
        let named = if names.is_empty() { String::new() } else { format!(", which it calls '{names}'") };
        Err(Error::unsupported(format!("unknown incompatible features {unknown:#x}{named}")).hint("convert it with the QEMU that made it"))
    }

    /// Entries that the L1 table of a disk must have.
    pub(super) fn l1_entries(&self, size: u64) -> u64 {
        size.div_ceil(self.covered())
    }

    fn check_l1(self) -> Result<Self> {
        let (size, entries) = (self.size(), u64::from(self.header.l1_size.get()));
        if i64::try_from(size).is_err() {
            return Err(Error::bad_input(format!("the disk has {size} bytes, must be below 2^63")));
        }
        let needed = self.l1_entries(size);
        if entries < needed || entries * 8 > L1_MAX {
            let what = format!("the L1 table has {entries} entries, must have {needed} to {}", L1_MAX / 8);
            return Err(Error::bad_input(what));
        }
        let places = [
            (self.header.l1_table_offset.get(), "the L1 table"),
            (self.header.refcount_table_offset.get(), "the refcount table"),
            (self.header.snapshots_offset.get(), "the snapshot table"),
        ];
        places.into_iter().try_for_each(|(at, what)| self.check_aligned(at, what))?;
        if self.header.backing_file_offset.get() > self.cluster {
            let at = self.header.backing_file_offset;
            return Err(Error::bad_input(format!("the name of the backing file is at byte {at}, must be in the first cluster")));
        }
        Ok(self)
    }
}

/// Types of header extensions.
mod extension {
    pub(super) const END: u32 = 0;
    pub(super) const BACKING_FORMAT: u32 = 0xe279_2aca;
    pub(super) const FEATURE_NAMES: u32 = 0x6803_f857;
    pub(super) const BITMAPS: u32 = 0x2385_2875;
    pub(super) const DATA_FILE: u32 = 0x4441_5441;
}

/// Longest name of another file.
const NAME_MAX: u64 = 1023;

/// The other files that a header names.
impl Checked {
    /// The backing file and its format, where the disk is an overlay.
    pub(super) fn backing_file(&self, file: &Blob) -> Result<Option<(Vec<u8>, Option<String>)>> {
        let Header { backing_file_offset, backing_file_size, .. } = self.header;
        if backing_file_offset == 0 {
            return Ok(None);
        }
        let name = read_name(file, backing_file_offset.get(), backing_file_size.get().into()).at(|| "qcow2 backing file name")?;
        let format = self.extension(file, extension::BACKING_FORMAT)?;
        Ok(Some((name, format.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))))
    }

    /// The file that has the data, where this one has none.
    pub(super) fn data_file(&self, file: &Blob) -> Result<Option<Vec<u8>>> {
        if !self.has(incompatible::EXTERNAL_DATA) {
            return Ok(None);
        }
        let name = self.extension(file, extension::DATA_FILE)?;
        name.map(Some).ok_or_else(|| Error::bad_input("qcow2 header: the data is in another file, which it does not name"))
    }

    /// Number, offset and length of the bitmap directory, where there is a valid one.
    pub(super) fn bitmaps(&self, file: &Blob) -> Result<Option<(u32, u64, u64)>> {
        let Some(bytes) = self.extension(file, extension::BITMAPS)? else { return Ok(None) };
        let bytes =
            <[u8; 24]>::try_from(bytes).map_err(|_| Error::bad_input("the bitmaps extension has not 24 bytes").at("qcow2 header"))?;
        if self.header.version.get() < 3 || self.header.autoclear_features.get() & AUTOCLEAR_BITMAPS == 0 {
            return Ok(None);
        }
        let [number, reserved, len_high, len_low, at_high, at_low]: [U32; 6] = zerocopy::transmute!(bytes);
        if reserved != 0 {
            return Err(Error::bad_input("the reserved field of the bitmaps extension is not 0").at("qcow2 header"));
        }
        let join = |high: U32, low: U32| u64::from(high.get()) << 32 | u64::from(low.get());
        Ok(Some((number.get(), join(at_high, at_low), join(len_high, len_low))))
    }

    /// Whether there is said to be another file that has the data as it is, and there is none.
    pub(super) fn is_raw_without_file(&self) -> bool {
        let is_raw = self.header.version.get() >= 3 && self.header.autoclear_features.get() & AUTOCLEAR_DATA_FILE_RAW != 0;
        is_raw && !self.has(incompatible::EXTERNAL_DATA)
    }

    /// Whether an incompatible feature is on.
    pub(super) fn has(&self, feature: u64) -> bool {
        self.header.version.get() >= 3 && self.header.incompatible_features.get() & feature != 0
    }

    /// The content of the first header extension of a type.
    fn extension(&self, file: &Blob, wanted: u32) -> Result<Option<Vec<u8>>> {
        let found = self.extensions(file)?.into_iter().find(|(kind, _)| *kind == wanted);
        found.map(|(_, place)| file.slice(place).to_vec(self.cluster)).transpose()
    }

    /// Types and places of all header extensions ("Header extensions"). They end in the first cluster, in front of the name of the
    /// backing file.
    pub(super) fn extensions(&self, file: &Blob) -> Result<Vec<(u32, Range<u64>)>> {
        let name_at = self.header.backing_file_offset.get();
        let (limit, file_end) = (if name_at == 0 { self.cluster } else { name_at }, file.len());
        let mut at = if self.header.version.get() == 2 { units::bytes(V2_LEN) } else { self.header.header_length.get().into() };
        let mut found = Vec::new();
        while at < limit && at + 8 <= file_end {
            let [kind, len]: [U32; 2] = zerocopy::transmute!(file.read_array::<8>(at)?);
            let (from, end) = (at + 8, at + 8 + u64::from(len.get()));
            if end > limit.min(file_end) {
                let what =
                    format!("extension {kind:#x} of {len} bytes reaches past byte {}, where the extensions end", limit.min(file_end));
                return Err(Error::bad_input(what).at("qcow2 header"));
            }
            if kind == extension::END {
                break;
            }
            found.push((kind.get(), from..end));
            at = end.next_multiple_of(8);
        }
        Ok(found)
    }
}

fn read_name(file: &Blob, at: u64, len: u64) -> Result<Vec<u8>> {
    if len > NAME_MAX {
        return Err(Error::bad_input(format!("it has {len} bytes, at most {NAME_MAX}")));
    }
    let mut name = vec![0; units::index(len)];
    file.read_at(at, &mut name)?;
    Ok(name)
}
