//! VHD: Microsoft "Virtual Hard Disk Image Format Specification", version 1.0 (2006). All integers are big-endian.
//!
//! ```text
//! fixed     | disk ................................................. | footer |
//!
//!           0        512              1536     data - 512     data: 4 KiB aligned
//! dynamic   | footer | dynamic header | BAT .. | sector bitmap | 2 MiB block | bitmap | block | ... | footer |
//!             copy     "cxsparse"       u32 sector of each block's bitmap, 0xffffffff: absent, reads as zeros
//! ```
//! Written: fixed (what Azure takes) and dynamic, whole MiB up to 2040 GiB. The creator is `win `, as Hyper-V writes it: readers
//! know from it that the size is Current Size; for some other creators they take the product of the geometry, which is smaller.
//! Blocks lie so that their data is 4 KiB aligned, as large-sector hosts want it; all bits of a written bitmap are set.
//!
//! Read: both, also where bytes stand behind the footer, and where it has 511 bytes, as before Virtual PC 2004.
//!
//! A differencing disk is read over its parent. Refused when read: types and versions that the standard does not define, footers with a wrong checksum.
//!
//! Oracles: `qemu-img` (which calls it `vpc`), 7-Zip, oslo.utils.
//!
//! ```
//! use formats::{Blob, Env, Format, Ids, Options, Reading, vhd::Vhd};
//!
//! let env = &mut Env::scratch(1);
//! let mut disk = Blob::zeros(64 << 20);
//! disk.splice(1 << 20, &Blob::bytes(*b"content"));
//! let options = Options::parse(Vhd.options(), [("subformat", "dynamic")])?;
//! let plan = Vhd.plan(&options)?;
//! assert_eq!(plan.limits().size_multiple, 1 << 20, "what Azure asks for");
//! let file = plan.encode(&disk, &Ids::from_seed(b"my disk").into(), env)?;
//! assert!(file.len() < 4 << 20, "one block of 2 MiB, header and tables");
//! assert_eq!(Vhd.decode(&file, &Reading::default(), env)?.sha256()?, disk.sha256()?);
//! # Ok::<(), formats::Error>(())
//! ```

mod dynamic;
mod footer;

use crate::{
    Blob, Check, Env, Error, Format, Identity, Info, Limits, OptionSpec, Options, Plan, Reading, Result, Values, blocks,
    dump::Dump,
    units::{GIB, MIB},
};
use dynamic::{ABSENT, DynamicHeader};
use footer::{Footer, disk_type};
use zerocopy::IntoBytes;

/// The VHD format.
#[derive(Debug)]
pub struct Vhd;

static OPTIONS: [OptionSpec; 1] = [OptionSpec {
    name: "subformat",
    values: Values::Choice(&["fixed", "dynamic"]),
    default: "fixed",
    help: "fixed: the whole disk and a footer, for Azure; dynamic: only the blocks that hold data",
}];

/// Largest disk: what the geometry and 32-bit sector numbers of the BAT leave room for.
const SIZE_MAX: u64 = 2040 * GIB;
/// Where the dynamic header is: behind the copy of the footer.
const DYNAMIC_HEADER_AT: u64 = 512;

impl Format for Vhd {
    fn name(&self) -> &'static str {
        "vhd"
    }

    fn options(&self) -> &'static [OptionSpec] {
        &OPTIONS
    }

    fn has_identifiers(&self) -> bool {
        true
    }

    fn probe(&self, file: &Blob) -> Result<bool> {
        Footer::probe(file)
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["vpc"]
    }

    fn plan(&self, options: &Options) -> Result<Box<dyn Plan>> {
        Ok(Box::new(match options.word("subformat") {
            "dynamic" => Subformat::Dynamic,
            _ => Subformat::Fixed,
        }))
    }

    fn decode(&self, file: &Blob, reading: &Reading<'_>, env: &mut Env) -> Result<Blob> {
        reading.refuse_snapshot(self.name())?;
        let footer = Footer::find(file)?;
        match footer.disk_type.get() {
            disk_type::FIXED => fixed_disk(file, &footer),
            disk_type::DYNAMIC | disk_type::DIFFERENCING => {
                footer.agrees_with_copy(file)?;
                dynamic::disk(file, &footer, reading, env)
            }
            other => {
                let what = format!("VHD footer: the disk type is {other}, must be 2 (fixed), 3 (dynamic) or 4 (differencing)");
                Err(Error::unsupported(what))
            }
        }
    }

    fn info(&self, file: &Blob) -> Result<Info> {
        let footer = Footer::find(file)?;
        let kind = match footer.disk_type.get() {
            disk_type::DYNAMIC => "dynamic",
            disk_type::DIFFERENCING => "differencing",
            _ => "fixed",
        };
        let header = if kind == "fixed" { None } else { Some(DynamicHeader::find(file, &footer)?.0) };
        let cluster_size = header.map(|header| header.block_size.get().into());
        let backing_file = match header {
            Some(header) if kind == "differencing" => header.parent_names(file)?.into_iter().next(),
            _ => None,
        };
        let specific = vec![("subformat", kind.into()), ("creator", footer.creator_application.escape_ascii().to_string().into())];
        Ok(Info { cluster_size, backing_file, specific, ..Info::default() })
    }

    /// A dynamic disk has its footer twice.
    fn check(&self, file: &Blob, env: &mut Env) -> Result<Check> {
        let mut check = Check::default();
        if check.decoded(self.decode(file, &Reading::default(), env))?.is_none() {
            return Ok(check);
        }
        let mut read = |at, name: &str| match Footer::read(file, at) {
            Ok(footer) => Some(footer),
            Err(error) => {
                check.corrupt(|| format!("the {name} is damaged: {error}"));
                None
            }
        };
        let footer = read(Footer::place(file)?.unwrap_or(Footer::last(file)), "footer");
        if Footer::find(file)?.disk_type != disk_type::FIXED
            && let (Some(footer), Some(copy)) = (footer, read(0, "copy of the footer"))
            && footer.as_bytes() != copy.as_bytes()
        {
            check.corrupt(|| "the footer and its copy differ".to_owned());
        }
        Ok(check)
    }

    fn dump(&self, file: &Blob, to: &mut Dump) -> Result<()> {
        let footer = Footer::find(file)?;
        to.section("footer", |to| footer.dump(to));
        if footer.disk_type == disk_type::FIXED {
            return Ok(());
        }
        let (header, bat) = DynamicHeader::find(file, &footer)?;
        to.section("dynamic header", |to| header.dump(to));
        to.section("bat", |to| {
            for (block, entry) in (0_u64..).zip(blocks::entries(bat)) {
                match u32::from_be_bytes(entry?) {
                    ABSENT => {}
                    sector => to.field(&format!("block {block}"), format_args!("sector {sector}")),
                }
            }
            Ok(())
        })
    }
}

/// The sub-formats that we write.
#[derive(Debug)]
enum Subformat {
    Fixed,
    Dynamic,
}

impl Plan for Subformat {
    fn limits(&self) -> Limits {
        Limits { size_multiple: MIB, size_max: SIZE_MAX }
    }

    fn unit(&self) -> Option<u64> {
        match self {
            Self::Fixed => None,
            Self::Dynamic => Some(dynamic::BLOCK),
        }
    }

    fn encode(&self, disk: &Blob, identity: &Identity, env: &mut Env) -> Result<Blob> {
        self.limits().assert_hold(disk);
        let ids = identity.ids(env)?;
        Ok(match self {
            Self::Dynamic => dynamic::file(disk, &Footer::new(disk, disk_type::DYNAMIC, ids, env.time)),
            Self::Fixed => {
                let mut file = disk.clone();
                file.append(&Footer::new(disk, disk_type::FIXED, ids, env.time).blob());
                file
            }
        })
    }
}

fn fixed_disk(file: &Blob, footer: &Footer) -> Result<Blob> {
    let (size, room) = (footer.disk_len()?, Footer::place(file)?.unwrap_or(file.len()));
    if size > room {
        return Err(Error::bad_input(format!("VHD footer: the disk has {size} bytes, the file holds only {room}")));
    }
    Ok(file.slice(0..size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::{self, env},
        units::{self, SECTOR},
    };
    use dynamic::{BAT_AT, BLOCK};
    use footer::checksum;

    fn sample() -> Blob {
        let mut disk = Blob::zeros(9 * MIB);
        disk.splice(0, &Blob::bytes(*b"first"));
        disk.splice(5 * MIB - 3, &Blob::bytes(*b"middle"));
        disk.splice(9 * MIB - 1, &Blob::bytes(*b"z"));
        disk
    }

    fn same(a: &Blob, b: &Blob) {
        assert_eq!(a.to_vec(u64::MAX).unwrap(), b.to_vec(u64::MAX).unwrap());
    }

    #[test]
    fn a_disk_survives_both_subformats() {
        for subformat in ["fixed", "dynamic"] {
            let file = testing::encode(&Vhd, &sample(), &[("subformat", subformat)]);
            assert!(Vhd.probe(&file).unwrap());
            same(&testing::decode(&Vhd, &file).unwrap(), &sample());
        }
    }

    #[test]
    fn block_data_is_4_kib_aligned_and_absent_blocks_take_no_space() {
        let file = testing::encode(&Vhd, &sample(), &[("subformat", "dynamic")]);
        let disk = testing::decode(&Vhd, &file).unwrap();
        assert_eq!(disk.data_units(BLOCK).collect::<Vec<_>>(), [0..1, 2..3, 4..5]);
        let footer = Footer::find(&file).unwrap();
        let (_, bat) = DynamicHeader::find(&file, &footer).unwrap();
        let present: Vec<_> = blocks::entries(bat).map(|e| u32::from_be_bytes(e.unwrap())).filter(|e| *e != ABSENT).collect();
        assert_eq!(present.len(), 3);
        assert!(present.iter().all(|sector| (u64::from(*sector) + 1).is_multiple_of(8)));
    }

    #[test]
    fn a_damaged_footer_is_replaced_by_its_copy() {
        let file = testing::encode(&Vhd, &sample(), &[("subformat", "dynamic")]);
        let mut damaged = file.slice(0..file.len() - 512);
        damaged.append(&Blob::bytes([0x55; 512]));
        same(&testing::decode(&Vhd, &damaged).unwrap(), &sample());
    }

    #[test]
    fn two_footers_that_contradict_each_other_are_refused() {
        let file = testing::encode(&Vhd, &sample(), &[("subformat", "dynamic")]);
        let mut smaller = Footer::find(&file).unwrap();
        smaller.current_size = (8 * MIB).into();
        smaller.checksum = 0.into();
        smaller.checksum = checksum(smaller.as_bytes()).into();
        let mut bytes = file.to_vec(u64::MAX).unwrap();
        bytes[..512].copy_from_slice(smaller.as_bytes());
        let error = testing::decode(&Vhd, &Blob::bytes(bytes)).unwrap_err();
        assert!(error.to_string().contains("contradict"), "{error}");
    }

    #[test]
    fn a_check_looks_at_both_footers() {
        let file = testing::encode(&Vhd, &sample(), &[("subformat", "dynamic")]).to_vec(u64::MAX).unwrap();
        let corruptions = |bytes: &[u8]| Vhd.check(&Blob::bytes(bytes), &mut env()).unwrap().corruptions;
        assert_eq!(corruptions(&file), 0);
        for at in [20, file.len() - 500] {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert_eq!(corruptions(&damaged), 1);
        }
        let fixed = testing::encode(&Vhd, &sample(), &[("subformat", "fixed")]);
        assert_eq!(Vhd.check(&fixed, &mut env()).unwrap(), Check::default());
    }

    /// Programs fill files up, and old ones left the last byte of the footer out.
    #[test]
    fn a_footer_is_found_that_is_not_the_last_sector() {
        for subformat in ["fixed", "dynamic"] {
            let file = testing::encode(&Vhd, &sample(), &[("subformat", subformat)]);
            let cut = file.slice(0..file.len() - 1);
            let behind = |len: usize, byte| {
                let mut file = file.clone();
                file.append(&Blob::bytes(vec![byte; len]));
                file
            };
            for file in [cut, behind(1, 9), behind(512, 0), behind(4096, 0), behind(100_000, 7)] {
                assert!(Vhd.probe(&file).unwrap(), "{} bytes", file.len());
                same(&testing::decode(&Vhd, &file).unwrap(), &sample());
                assert_eq!(Vhd.check(&file, &mut env()).unwrap(), Check::default());
            }
        }
    }

    /// The footer of a VHD that lies on a disk is not the disk's.
    #[test]
    fn a_vhd_on_a_disk_does_not_make_it_one() {
        for subformat in ["fixed", "dynamic"] {
            let mut disk = Blob::zeros(MIB);
            disk.append(&testing::encode(&Vhd, &sample(), &[("subformat", subformat)]));
            disk.append(&Blob::zeros(4096));
            assert!(!Vhd.probe(&disk).unwrap(), "{subformat}");
        }
    }

    #[test]
    fn two_blocks_on_one_place_are_refused() {
        let file = testing::encode(&Vhd, &sample(), &[("subformat", "dynamic")]);
        let mut bytes = file.to_vec(u64::MAX).unwrap();
        bytes.copy_within(1536..1540, 1536 + 8);
        let error = testing::decode(&Vhd, &Blob::bytes(bytes)).unwrap_err();
        assert!(error.to_string().contains("two structures"), "{error}");
    }

    #[test]
    fn sectors_with_a_clear_bit_are_zeros() {
        let file = testing::encode(&Vhd, &sample(), &[("subformat", "dynamic")]);
        let bat: [u8; 4] = file.read_array(BAT_AT).unwrap();
        let mut bytes = file.to_vec(u64::MAX).unwrap();
        bytes[units::index(u64::from(u32::from_be_bytes(bat)) * SECTOR)] = 0x7f;
        let disk = testing::decode(&Vhd, &Blob::bytes(bytes)).unwrap();
        assert_eq!(disk.read_array(0).unwrap(), [0; 5]);
    }
}
