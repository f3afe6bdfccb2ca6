//! qcow2: QEMU's `docs/interop/qcow2`, versions 2 and 3. All integers are big-endian.
//!
//! ```text
//!  header | refcount table | refcount blocks | L1 table | L2 tables | clusters .. | packed clusters ..
//!
//!  L1 entry ──► L2 table of one cluster ──► cluster, or a packed one at any byte; 0: absent, reads as zeros
//! ```
//! Written: version 3, or 2 with `compat=0.10`, everything in the order drawn, each cluster with the refcount that it has. Only
//! the L2 tables that point to something exist, so a sparse disk costs little however large it is. Packed clusters (raw deflate
//! with a window of 4 KiB, or one zstd frame) are made on all cores; one that does not shrink is stored as it is, one of zeros
//! not at all.
//!
//! Read: clusters plain, packed and zero, extended L2 entries, internal snapshots by name. Backing files and external data files only
//! where `Reading::parts` gives them. Refused by name: encryption, unknown incompatible features, and, unless forced, images that
//! are marked dirty or corrupt. Refcounts are not looked at, but by a check, which compares all of them.
//!
//! Oracle: `qemu-img check`, `compare` and `convert`.
//!
//! ```
//! use formats::{Blob, Env, Format, Ids, Options, Reading, qcow2::Qcow2};
//!
//! let env = &mut Env::scratch(2);
//! let disk = Blob::bytes(b"content ".repeat(1 << 18));
//! let options = Options::parse(Qcow2.options(), [("compressed", "on"), ("compression_type", "zstd")])?;
//! let file = Qcow2.plan(&options)?.encode(&disk, &Ids::from_seed(b"my disk").into(), env)?;
//! assert!(Qcow2.probe(&file)? && file.len() < disk.len() / 4);
//! assert_eq!(Qcow2.decode(&file, &Reading::default(), env)?.sha256()?, disk.sha256()?);
//! # Ok::<(), formats::Error>(())
//! ```

mod check;
mod decode;
mod encode;
mod header;
mod info;
mod snapshot;
mod tables;

use crate::{
    Blob, Check, Env, Format, Identity, Info, Limits, OptionSpec, Options, Plan, Reading, Result, Values,
    dump::Dump,
    units::{MIB, SECTOR},
};

/// The qcow2 format.
#[derive(Debug)]
pub struct Qcow2;

static OPTIONS: [OptionSpec; 6] = [
    OptionSpec {
        name: "cluster_size",
        values: Values::PowerOfTwo { min: 512, max: 2 * MIB },
        default: "64K",
        help: "bytes of a cluster, the unit of allocation",
    },
    OptionSpec { name: "compressed", values: Values::Flag, default: "off", help: "compress the clusters, as qemu-img convert -c" },
    OptionSpec {
        name: "compression_type",
        values: Values::Choice(&["zlib", "zstd"]),
        default: "zlib",
        help: "zstd is faster and smaller, and needs QEMU 5.1 or later",
    },
    OptionSpec {
        name: "compression_level",
        values: Values::Number { min: 0, max: 19 },
        default: "0",
        help: "effort: 1 to 9 for zlib, 1 to 19 for zstd, 0 for the usual one",
    },
    OptionSpec { name: "compat", values: Values::Choice(&["1.1", "0.10"]), default: "1.1", help: "0.10: version 2, for QEMU before 1.1" },
    OptionSpec {
        name: "lazy_refcounts",
        values: Values::Flag,
        default: "off",
        help: "let QEMU put off refcount updates, so that a crash is followed by a repair",
    },
];

/// Largest L1 table that QEMU reads, in bytes.
const L1_MAX: u64 = 32 * MIB;

impl Format for Qcow2 {
    fn name(&self) -> &'static str {
        "qcow2"
    }

    fn options(&self) -> &'static [OptionSpec] {
        &OPTIONS
    }

    fn probe(&self, file: &Blob) -> Result<bool> {
        Ok(file.len() >= 4 && file.read_array(0)? == header::MAGIC)
    }

    fn plan(&self, options: &Options) -> Result<Box<dyn Plan>> {
        Ok(Box::new(encode::Settings::new(options)?))
    }

    fn decode(&self, file: &Blob, reading: &Reading<'_>, env: &mut Env) -> Result<Blob> {
        decode::disk(file, reading, env)
    }

    fn check(&self, file: &Blob, env: &mut Env) -> Result<Check> {
        check::check(file, env)
    }

    fn info(&self, file: &Blob) -> Result<Info> {
        info::info(file)
    }

    fn dump(&self, file: &Blob, to: &mut Dump) -> Result<()> {
        decode::dump(file, to)
    }
}

impl Plan for encode::Settings {
    fn limits(&self) -> Limits {
        let any = Limits::default().size_max;
        let size_max = (L1_MAX / 8).checked_mul(self.covered_by_l2()).map_or(any, |max| max.min(any));
        Limits { size_multiple: SECTOR, size_max }
    }

    fn unit(&self) -> Option<u64> {
        self.looked_for()
    }

    fn encode(&self, disk: &Blob, _: &Identity, env: &mut Env) -> Result<Blob> {
        self.limits().assert_hold(disk);
        encode::file(disk, self, env)
    }
}

/// How clusters are packed; the numbers are those of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CompressionType {
    /// 0: raw deflate.
    Zlib,
    /// 1: a zstd frame.
    Zstd,
}

/// Bits of an L1 or L2 entry.
mod entry {
    /// The refcount of what it points to is exactly 1. Never set for a packed cluster.
    pub(super) const COPIED: u64 = 1 << 63;
    /// L2: the cluster is packed.
    pub(super) const COMPRESSED: u64 = 1 << 62;
    /// L2 of version 3 without extended entries: the cluster reads as zeros.
    pub(super) const ZERO: u64 = 1;
    /// L1: bits that are 0.
    pub(super) const RESERVED_L1: u64 = 0x7f00_0000_0000_01ff;
    /// L2, of a cluster that is not packed: bits that are 0.
    pub(super) const RESERVED_L2: u64 = 0x3f00_0000_0000_01fe;
    /// Byte offset in the file; bits 9 to 55.
    pub(super) const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

    /// How many low bits of the entry of a packed cluster are its byte offset; from there to bit 61 stands the number of
    /// additional sectors that it touches.
    pub(super) fn packed_offset_bits(cluster: u64) -> u32 {
        62 - (cluster.ilog2() - 8)
    }
}

#[cfg(test)]
mod tests;
