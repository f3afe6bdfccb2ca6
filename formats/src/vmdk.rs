//! VMDK: VMware "Virtual Disk Format 5.0", hosted sparse extents. All integers are little-endian, offsets are in sectors.
//!
//! ```text
//!                  0        1            128 or more
//! streamOptimized  | header | descriptor | grain .. | grain table | grain .. | grain table | grain directory | footer | EOS |
//!                             text         each starts with a marker, each grain is a zlib stream, all on sector bounds
//!
//! monolithicSparse | header | descriptor | redundant directory, tables | directory, tables | grain | grain | ...
//!
//! descriptor                      alone, and in other files the extents that it names: sparse ones, or the sectors as they are
//!   monolithicFlat, twoGbMaxExtentFlat, twoGbMaxExtentSparse
//!
//! directory entry ──► table of 512 entries ──► grain of 64 KiB; 0: absent, reads as zeros
//! ```
//! Written: streamOptimized, which vSphere imports and Glance takes, with grains compressed on all cores and grains of zeros
//! left out; monolithicSparse, which hosted products run from; and disks in several files, each by a name. Entries are 32-bit
//! sectors, so no file but a flat one grows past 2 TiB.
//!
//! Read: all of them, those in several files where `Reading::parts` gives the files that a descriptor names.
//!
//! Refused when read: other extents (raw devices), deltas of a parent, ESXi's own sparse kinds
//! (`COWD`, SESparse), compression other than deflate, compressed grains without markers.
//!
//! Oracles: `qemu-img`, 7-Zip, oslo.utils (Glance's rules), dissect.hypervisor.
//!
//! ```
//! use formats::{Blob, Env, Format, Ids, Options, Reading, vmdk::Vmdk};
//!
//! let env = &mut Env::scratch(2);
//! let disk = Blob::bytes(b"content ".repeat(1 << 17));
//! let mut sizes = Vec::new();
//! for subformat in ["streamOptimized", "monolithicSparse"] {
//!     let plan = Vmdk.plan(&Options::parse(Vmdk.options(), [("subformat", subformat)])?)?;
//!     let file = plan.encode(&disk, &Ids::from_seed(b"my disk").into(), env)?;
//!     assert!(Vmdk.probe(&file)?);
//!     assert_eq!(Vmdk.decode(&file, &Reading::default(), env)?.sha256()?, disk.sha256()?);
//!     sizes.push(file.len());
//! }
//! assert!(sizes[0] < sizes[1] / 4, "the former is compressed");
//! # Ok::<(), formats::Error>(())
//! ```

mod descriptor;
mod read;
mod sparse;
mod split;
mod stream;

use crate::{
    Blob, Check, Env, Error, Format, Identity, Info, Limits, OptionSpec, Options, Plan, Reading, Result, Values,
    dump::Dump,
    units::{self, GIB, KIB, SECTOR, TIB},
};
use split::Split;
use std::mem::offset_of;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// The VMDK format.
#[derive(Debug)]
pub struct Vmdk;

static OPTIONS: [OptionSpec; 2] = [
    OptionSpec {
        name: "subformat",
        values: Values::Choice(&["streamOptimized", "monolithicSparse", "monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse"]),
        default: "streamOptimized",
        help: "streamOptimized: compressed, for import; monolithicSparse: for hosted products to run from; the others: in several files",
    },
    OptionSpec {
        name: "compression_level",
        values: Values::Number { min: 2, max: 9 },
        default: "6",
        help: "effort of deflate in streamOptimized",
    },
];

/// Bytes of a grain that we write.
const GRAIN: u64 = 64 * KIB;
/// Entries of a grain table: the only number that the standard allows.
const TABLE_ENTRIES: u64 = 512;
/// Largest disk: what vSphere can attach.
const SIZE_MAX: u64 = 62 * TIB;
/// Largest monolithicSparse disk: all its grains and tables lie below sector 2^32.
const SPARSE_SIZE_MAX: u64 = 2 * TIB - GIB;
/// Where the descriptor is, in sectors. Glance takes no other place.
const DESCRIPTOR_AT: u64 = 1;
/// Sectors of the descriptor, which is padded with zeros.
const DESCRIPTOR_SECTORS: u64 = 20;

/// `SparseExtentHeader`; the footer of a stream is one, too.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    /// 0: `KDMV`.
    magic: [u8; 4],
    /// 4: 1; 2 with grains of zeros; 3 in streams.
    version: U32,
    /// 8: see [`flags`].
    flags: U32,
    /// 12: sectors of the disk, a multiple of the grain.
    capacity: U64,
    /// 20: sectors of a grain: a power of two, at least 8.
    grain_size: U64,
    /// 28: where the descriptor is; 0 without one.
    descriptor_offset: U64,
    /// 36: sectors of the descriptor.
    descriptor_size: U64,
    /// 44: entries of a grain table: 512.
    table_entries: U32,
    /// 48: where the redundant grain directory is.
    redundant_directory: U64,
    /// 56: where the grain directory is; [`DIRECTORY_AT_END`] when only the footer says so.
    directory: U64,
    /// 64: sectors in front of the first grain.
    overhead: U64,
    /// 72: 1 while a program has it open.
    unclean_shutdown: u8,
    /// 73: `\n \r\n`, to see whether a text-mode copy changed line ends.
    line_ends: [u8; 4],
    /// 77: 0 none, 1 deflate.
    compression: U16,
    /// 79: zeros.
    reserved: [u8; 433],
}
const _: () = assert!(size_of::<Header>() == 512 && offset_of!(Header, directory) == 56 && offset_of!(Header, compression) == 77);

/// [`Header::directory`] in the header of a stream.
const DIRECTORY_AT_END: u64 = u64::MAX;

/// Values of [`Header::flags`].
mod flags {
    /// `line_ends` is valid.
    pub(super) const LINE_ENDS: u32 = 1;
    /// There is a redundant grain directory.
    pub(super) const REDUNDANT: u32 = 2;
    /// A table entry of 1 is a grain of zeros.
    pub(super) const ZERO_GRAINS: u32 = 4;
    /// Grains are compressed.
    pub(super) const COMPRESSED: u32 = 1 << 16;
    /// Metadata and grains have markers.
    pub(super) const MARKERS: u32 = 1 << 17;
}

impl Header {
    /// What all headers that we write have in common.
    fn new(disk: &Blob) -> Self {
        Self {
            magic: *b"KDMV",
            version: 1.into(),
            flags: flags::LINE_ENDS.into(),
            capacity: (disk.len() / SECTOR).into(),
            grain_size: (GRAIN / SECTOR).into(),
            descriptor_offset: DESCRIPTOR_AT.into(),
            descriptor_size: DESCRIPTOR_SECTORS.into(),
            table_entries: 512.into(),
            redundant_directory: 0.into(),
            directory: 0.into(),
            overhead: 0.into(),
            unclean_shutdown: 0,
            line_ends: *b"\n \r\n",
            compression: 0.into(),
            reserved: [0; 433],
        }
    }

    fn has(&self, flag: u32) -> bool {
        self.flags.get() & flag != 0
    }

    fn blob(&self) -> Blob {
        Blob::bytes(self.as_bytes())
    }
}

impl Format for Vmdk {
    fn name(&self) -> &'static str {
        "vmdk"
    }

    fn options(&self) -> &'static [OptionSpec] {
        &OPTIONS
    }

    fn has_identifiers(&self) -> bool {
        true
    }

    fn probe(&self, file: &Blob) -> Result<bool> {
        Ok(read::kind(file)?.is_some())
    }

    fn plan(&self, options: &Options) -> Result<Box<dyn Plan>> {
        let level = u32::try_from(options.number("compression_level")).expect("at most 9");
        let subformat = options.word("subformat");
        Ok(Box::new(match split::KINDS.iter().find(|kind| kind.create_type == subformat) {
            Some(kind) => Subformat::Split(Split::new(kind, options.name())?),
            None if subformat == "monolithicSparse" => Subformat::MonolithicSparse,
            None => Subformat::StreamOptimized { level },
        }))
    }

    fn decode(&self, file: &Blob, reading: &Reading<'_>, env: &mut Env) -> Result<Blob> {
        reading.refuse_snapshot(self.name())?;
        read::disk(file, reading, env)
    }

    fn info(&self, file: &Blob) -> Result<Info> {
        read::info(file)
    }

    fn check(&self, file: &Blob, env: &mut Env) -> Result<Check> {
        let mut check = Check::default();
        if check.decoded(self.decode(file, &Reading::default(), env))?.is_some() {
            // A copy that leads nowhere is a finding, not a reason to stop.
            let copies = read::check_copies(file, &mut check).map(|()| Blob::default());
            check.decoded(copies)?;
        }
        Ok(check)
    }

    fn dump(&self, file: &Blob, to: &mut Dump) -> Result<()> {
        read::dump(file, to)
    }
}

/// The sub-formats that we write.
#[derive(Debug)]
enum Subformat {
    StreamOptimized { level: u32 },
    MonolithicSparse,
    Split(Split),
}

impl Plan for Subformat {
    fn limits(&self) -> Limits {
        match self {
            Self::StreamOptimized { .. } => Limits { size_multiple: GRAIN, size_max: SIZE_MAX },
            Self::MonolithicSparse => Limits { size_multiple: GRAIN, size_max: SPARSE_SIZE_MAX },
            Self::Split(split) => split.limits(),
        }
    }

    fn unit(&self) -> Option<u64> {
        match self {
            // Grains of zeros are left out when they are packed.
            Self::StreamOptimized { .. } => None,
            Self::MonolithicSparse => Some(GRAIN),
            Self::Split(split) => split.is_sparse().then_some(GRAIN),
        }
    }

    fn encode(&self, disk: &Blob, identity: &Identity, env: &mut Env) -> Result<Blob> {
        self.limits().assert_hold(disk);
        let ids = identity.ids(env)?;
        match self {
            Self::StreamOptimized { level } => stream::encode(disk, *level, ids, env),
            Self::MonolithicSparse => Ok(sparse::encode(disk, &descriptor::embedded(disk, "monolithicSparse", ids))),
            Self::Split(split) => Ok(split.descriptor(disk, ids)),
        }
    }

    fn extents(&self, disk: &Blob) -> Vec<(String, Blob)> {
        match self {
            Self::Split(split) => split.extents(disk),
            _ => Vec::new(),
        }
    }
}

/// A place in the file as tables store it.
///
/// # Errors
/// Past 2 TiB, which can only be seen once the grains are compressed.
fn sector(offset: u64) -> Result<U32> {
    let past = |_| {
        Error::unsupported("the disk holds so much data that the VMDK file would pass 2 TiB")
            .hint("use another format, such as vhdx or qcow2")
    };
    u32::try_from(offset / SECTOR).map(U32::new).map_err(past)
}

/// Bytes of the grain directory of a disk, in whole sectors.
fn directory_len(disk: &Blob) -> u64 {
    (units::bytes(size_of::<U32>()) * disk.len().div_ceil(GRAIN * TABLE_ENTRIES)).next_multiple_of(SECTOR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::{self, env},
        units::MIB,
    };

    fn encode(disk: &Blob, options: &[(&str, &str)]) -> Blob {
        testing::encode(&Vmdk, disk, options)
    }

    fn sample() -> Blob {
        let mut disk = Blob::zeros(70 * MIB);
        disk.splice(3, &Blob::bytes(*b"first"));
        disk.splice(33 * MIB - 3, &Blob::bytes(*b"middle"));
        disk.splice(40 * MIB, &Blob::bytes(vec![0; 1 << 20]));
        disk.splice(70 * MIB - 1, &Blob::bytes(*b"z"));
        disk
    }

    #[test]
    fn a_disk_survives_both_subformats_in_one_file() {
        for subformat in ["streamOptimized", "monolithicSparse"] {
            let file = encode(&sample(), &[("subformat", subformat)]);
            assert!(Vmdk.probe(&file).unwrap());
            let disk = testing::decode(&Vmdk, &file).unwrap();
            assert_eq!(disk.to_vec(u64::MAX).unwrap(), sample().to_vec(u64::MAX).unwrap(), "{subformat}");
        }
    }

    #[test]
    fn a_stream_leaves_zeros_out() {
        let file = encode(&sample(), &[]);
        let disk = testing::decode(&Vmdk, &file).unwrap();
        assert_eq!(disk.data_units(GRAIN).collect::<Vec<_>>(), [0..1, 527..529, 1119..1120]);
        assert!(file.len() < 80 * KIB, "{}", file.len());
    }

    /// A copy that leads nowhere or elsewhere is a finding, never a reason to stop, and the disk is read all the same.
    #[test]
    fn a_broken_redundant_directory_is_a_finding() {
        let file = encode(&sample(), &[("subformat", "monolithicSparse")]).to_vec(u64::MAX).unwrap();
        let redundant_at = 21 * SECTOR;
        assert_eq!(file[48..56], (redundant_at / SECTOR).to_le_bytes());
        let broken = |at: u64, with: &[u8]| {
            let mut bytes = file.clone();
            bytes[units::index(at)..][..with.len()].copy_from_slice(with);
            let file = Blob::bytes(bytes);
            assert_eq!(testing::decode(&Vmdk, &file).unwrap().read_array(3).unwrap(), *b"first");
            Vmdk.check(&file, &mut env()).unwrap()
        };
        assert_eq!(broken(0, b"K"), Check::default());
        let first_table = redundant_at + SECTOR;
        // In the header, in the directory, in the first table: past the end, past 2^64, at the header, absent.
        for (at, sector) in [
            (48, u64::from(u32::MAX)),
            (48, u64::MAX / 2),
            (48, 0),
            (redundant_at, u64::from(u32::MAX)),
            (redundant_at, 0),
            (first_table, u64::from(u32::MAX)),
            (first_table, 0),
        ] {
            let with = if at == 48 { sector.to_le_bytes().to_vec() } else { sector.to_le_bytes()[..4].to_vec() };
            let check = broken(at, &with);
            assert_eq!((check.corruptions, check.leaks), (1, 0), "{at} {sector}: {:?}", check.messages);
        }
    }

    #[test]
    fn bytes_behind_a_stream_do_not_hide_its_footer() {
        for len in [1, 512, 5000] {
            let mut file = encode(&sample(), &[]);
            file.append(&Blob::bytes(vec![3; len]));
            assert!(crate::compare::same(&testing::decode(&Vmdk, &file).unwrap(), &sample()).unwrap(), "{len}");
        }
    }

    #[test]
    fn header_and_footer_of_a_stream_differ_in_the_directory_only() {
        let file = encode(&sample(), &[]);
        let header: Header = zerocopy::transmute!(file.read_array::<512>(0).unwrap());
        let mut footer: Header = zerocopy::transmute!(file.read_array::<512>(file.len() - 1024).unwrap());
        assert_eq!(header.directory, DIRECTORY_AT_END);
        assert!(footer.directory.get() < file.len() / SECTOR);
        footer.directory = header.directory;
        assert_eq!(header.as_bytes(), footer.as_bytes());
    }

    #[test]
    fn more_effort_makes_no_larger_file() {
        let text: Vec<u8> = (0..300_000_u64).flat_map(|n| (n * n % 1013).to_string().into_bytes()).collect();
        let mut disk = Blob::bytes(text);
        disk.pad_to(MIB);
        assert!(encode(&disk, &[("compression_level", "9")]).len() <= encode(&disk, &[("compression_level", "2")]).len());
    }

    #[test]
    fn entries_past_2_tib_are_an_error_that_names_the_limit() {
        assert_eq!(sector(2 * TIB - 512).unwrap().get(), u32::MAX);
        assert!(sector(2 * TIB).unwrap_err().to_string().contains("2 TiB"));
    }
}
