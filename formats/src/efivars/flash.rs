//! EDK2's store of variables in a flash volume (PI 1.8, volume 3, section 3.2; EDK2 `VariableFormat.h` and `WorkingBlockHeader.h`): the
//! second flash device of a virtual machine.
//!
//! ```text
//!  0               0x48          0x64                         store        working              spare
//!  volume header | store header | record | record | .. 0xff | event log | write queue's header | 0xff .. | zeros (AAVMF)
//!  record: header (60 bytes) | name in UTF-16 with NUL | data | 0xff to 4
//! ```
//! Made from nothing, as the firmware's own empty file is. Where there is a platform key, EDK2's own two variables say that Secure Boot is
//! on. Read is the store of any volume, records that were deleted left out; a store without authentication is refused.
//!
//! Oracles: Debian's `OVMF_VARS` and `AAVMF_VARS`, `virt-fw-vars`, OVMF, AAVMF.

use super::{BOOT_SERVICES, Variable, from_utf16, time, utf16};
use crate::{At, Blob, Error, Guid, Result, units};
use std::mem::offset_of;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// EFI_SYSTEM_NV_DATA_FV_GUID, EFI_AUTHENTICATED_VARIABLE_GUID and EDKII_WORKING_BLOCK_SIGNATURE_GUID.
const VOLUME: Guid = Guid::new(0xfff12b8d_7696_4c8b_a985_2747075b4f50);
const STORE: Guid = Guid::new(0xaaf32c78_947b_439a_a180_2e144ec37792);
const QUEUE: Guid = Guid::new(0x9e58292b_7c68_497d_a0ce_6500fd9f1b95);

/// EDK2's own variables: that signatures are verified, and that keys are not changed at will.
const SECURE_BOOT_ENABLE: (&str, Guid, u8) = ("SecureBootEnable", Guid::new(0xf0a30bc7_af08_4556_99c4_001009c93a44), 1);
const CUSTOM_MODE: (&str, Guid, u8) = ("CustomMode", Guid::new(0xc076ec0c_7028_4399_a072_71ee5c448b9f), 0);

/// Flash that was erased.
const ERASED: u8 = 0xff;
/// Records stand at multiples of this.
const ALIGN: usize = 4;
/// [`Record::start`] of a record.
const RECORD: u16 = 0x55aa;
/// [`Record::state`]: VAR_ADDED; the same where a newer one was being written, and that where it is the newer one that counts.
const ADDED: u8 = 0x3f;
const IN_DELETED_TRANSITION: u8 = 0x3e;
/// Largest store that is read, in bytes; OVMF's has 256 KiB.
const STORE_MAX: u64 = 4 * units::MIB;

/// `EFI_FIRMWARE_VOLUME_HEADER` with a block map of one row.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct VolumeHeader {
    /// 0: zeros.
    zero_vector: [u8; 16],
    /// 16: [`VOLUME`].
    file_system: [u8; 16],
    /// 32: bytes.
    length: U64,
    /// 40: `_FVH`.
    signature: [u8; 4],
    /// 44: EFI_FVB_ATTRIBUTES_2.
    attributes: U32,
    /// 48: bytes of this header.
    header_length: U16,
    /// 50: what makes the sum of all its u16 zero.
    checksum: U16,
    /// 52: none.
    ext_header_offset: U16,
    /// 54: zero.
    reserved: u8,
    /// 55: 2.
    revision: u8,
    /// 56: so many blocks of so many bytes.
    blocks: [U32; 2],
    /// 64: zeros.
    end_of_map: [U32; 2],
}
const _: () =
    assert!(size_of::<VolumeHeader>() == 0x48 && offset_of!(VolumeHeader, checksum) == 50 && offset_of!(VolumeHeader, blocks) == 56);

/// `VARIABLE_STORE_HEADER`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct StoreHeader {
    /// 0: [`STORE`].
    signature: [u8; 16],
    /// 16: bytes, from this header on.
    size: U32,
    /// 20: VARIABLE_STORE_FORMATTED and VARIABLE_STORE_HEALTHY.
    format_and_state: [u8; 2],
    /// 22: zeros.
    reserved: [u8; 6],
}
const _: () = assert!(size_of::<StoreHeader>() == 28);
const FORMATTED_AND_HEALTHY: [u8; 2] = [0x5a, 0xfe];

/// `AUTHENTICATED_VARIABLE_HEADER`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Record {
    /// 0: [`RECORD`].
    start: U16,
    /// 2: [`ADDED`].
    state: u8,
    /// 3: zero.
    reserved: u8,
    /// 4: as in [`Variable`].
    attributes: U32,
    /// 8: zero.
    monotonic_count: U64,
    /// 16: EFI_TIME.
    time: [u8; time::LEN],
    /// 32: zero.
    public_key_index: U32,
    /// 36: bytes, with NUL.
    name_size: U32,
    /// 40: bytes.
    data_size: U32,
    /// 44: in mixed-endian order.
    vendor: [u8; 16],
}
const _: () = assert!(size_of::<Record>() == 60 && offset_of!(Record, name_size) == 36 && offset_of!(Record, vendor) == 44);

/// `EFI_FAULT_TOLERANT_WORKING_BLOCK_HEADER`.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct QueueHeader {
    /// 0: [`QUEUE`].
    signature: [u8; 16],
    /// 16: CRC-32 of this header as if sum and state were erased.
    crc: U32,
    /// 20: valid, as 0xfe, and erased bytes.
    state: [u8; 4],
    /// 24: bytes behind this header.
    queue_size: U64,
}
const _: () = assert!(size_of::<QueueHeader>() == 32);

/// Which firmware the file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// OVMF whose flash has 4 MiB: today's.
    Ovmf4M,
    /// OVMF whose flash has 2 MiB.
    Ovmf2M,
    /// For arm64.
    Aavmf,
}

/// The parts of a file, each in bytes.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    store: u64,
    event_log: u64,
    working: u64,
    spare: u64,
    file: u64,
    attributes: u32,
    blocks: [u32; 2],
}

impl Kind {
    /// As the firmware was compiled: EDK2 `OvmfPkg/Include/Fdf/VarStore.fdf.inc`, `ArmVirtPkg/VarStore.fdf.inc`.
    fn sizes(self) -> Sizes {
        let ovmf = Sizes {
            store: 0x4_0000,
            event_log: 0x1000,
            working: 0x1000,
            spare: 0x4_2000,
            file: 0x8_4000,
            attributes: 0x4_feff,
            blocks: [0x84, 0x1000],
        };
        match self {
            Self::Ovmf4M => ovmf,
            Self::Ovmf2M => Sizes { store: 0xe000, spare: 0x1_0000, file: 0x2_0000, blocks: [0x20, 0x1000], ..ovmf },
            // The map speaks of the whole flash, not of the volume.
            Self::Aavmf => Sizes {
                event_log: 0,
                working: 0x4_0000,
                spare: 0x4_0000,
                file: 64 * units::MIB,
                attributes: 0xe36,
                blocks: [0x100, 0x4_0000],
                ..ovmf
            },
        }
    }
}

/// A flash file that holds variables.
///
/// # Errors
/// Unsupported: they are more than the store holds.
pub fn write(kind: Kind, variables: &[Variable]) -> Result<Blob> {
    let sizes = kind.sizes();
    let mut store = [sizes.volume_header().as_bytes(), sizes.store_header().as_bytes()].concat();
    let switches = [SECURE_BOOT_ENABLE, CUSTOM_MODE].map(|(name, vendor, value)| Variable {
        name: name.to_owned(),
        vendor,
        attributes: BOOT_SERVICES,
        time: None,
        data: vec![value],
    });
    let is_among = |name: &str| variables.iter().any(|variable| variable.name == name);
    for variable in variables.iter().chain(switches.iter().filter(|switch| is_among("PK") && !is_among(&switch.name))) {
        store.extend(record(variable)?);
        store.resize(store.len().next_multiple_of(ALIGN), ERASED);
    }
    let (len, room) = (units::bytes(store.len()), sizes.store);
    if len > room {
        return Err(Error::unsupported(format!("the variables need {len} bytes with their headers, the store has {room}")));
    }
    let erased = |bytes: &mut Vec<u8>, len: u64| bytes.resize(units::index(len), ERASED);
    erased(&mut store, room + sizes.event_log);
    store.extend(sizes.queue_header().as_bytes());
    erased(&mut store, room + sizes.event_log + sizes.working + sizes.spare);
    let mut file = Blob::bytes(store);
    file.extend_to(sizes.file);
    Ok(file)
}

impl Sizes {
    fn volume_header(&self) -> VolumeHeader {
        let header = VolumeHeader {
            zero_vector: [0; 16],
            file_system: VOLUME.to_mixed_endian(),
            length: (self.store + self.event_log + self.working + self.spare).into(),
            signature: *b"_FVH",
            attributes: self.attributes.into(),
            header_length: U16::new(0x48),
            checksum: U16::ZERO,
            ext_header_offset: U16::ZERO,
            reserved: 0,
            revision: 2,
            blocks: self.blocks.map(U32::new),
            end_of_map: [U32::ZERO; 2],
        };
        let sum = header.as_bytes().as_chunks().0.iter().fold(0_u16, |sum, unit| sum.wrapping_add(u16::from_le_bytes(*unit)));
        VolumeHeader { checksum: sum.wrapping_neg().into(), ..header }
    }

    fn store_header(&self) -> StoreHeader {
        let size = u32::try_from(self.store - units::bytes(size_of::<VolumeHeader>())).expect("a store is below 4 GiB");
        StoreHeader { signature: STORE.to_mixed_endian(), size: size.into(), format_and_state: FORMATTED_AND_HEALTHY, reserved: [0; 6] }
    }

    fn queue_header(&self) -> QueueHeader {
        let header = QueueHeader {
            signature: QUEUE.to_mixed_endian(),
            crc: u32::MAX.into(),
            state: [ERASED; 4],
            queue_size: (self.working - units::bytes(size_of::<QueueHeader>())).into(),
        };
        QueueHeader { crc: crc32fast::hash(header.as_bytes()).into(), state: [0xfe, ERASED, ERASED, ERASED], ..header }
    }
}

fn record(variable: &Variable) -> Result<Vec<u8>> {
    let name = [utf16(&variable.name), vec![0, 0]].concat();
    let size = |bytes: &[u8]| {
        let large = || Error::unsupported("has 4 GiB, which no store holds").at(format!("variable {}", variable.name));
        u32::try_from(bytes.len()).map(U32::new).map_err(|_| large())
    };
    let header = Record {
        start: RECORD.into(),
        state: ADDED,
        reserved: 0,
        attributes: variable.attributes.into(),
        monotonic_count: U64::ZERO,
        time: time::write(variable.time),
        public_key_index: U32::ZERO,
        name_size: size(&name)?,
        data_size: size(&variable.data)?,
        vendor: variable.vendor.to_mixed_endian(),
    };
    Ok([header.as_bytes(), &name, &variable.data].concat())
}

/// The variables in a flash file, in their order; EDK2's own, too.
///
/// # Errors
/// Bad input: it is no flash file with variables, or is damaged. Unsupported: a store without authentication.
pub fn read(file: &Blob) -> Result<Vec<Variable>> {
    const HEADERS: usize = size_of::<VolumeHeader>() + size_of::<StoreHeader>();
    let no_volume = || Error::bad_input("does not begin with a flash volume of variables (EFI_SYSTEM_NV_DATA_FV)");
    if file.len() < units::bytes(HEADERS) {
        return Err(no_volume());
    }
    let volume: VolumeHeader = zerocopy::transmute!(file.read_array::<{ size_of::<VolumeHeader>() }>(0)?);
    if volume.file_system != VOLUME.to_mixed_endian() || volume.signature != *b"_FVH" {
        return Err(no_volume());
    }
    let at = u64::from(volume.header_length.get());
    let header: StoreHeader = zerocopy::transmute!(file.read_array::<{ size_of::<StoreHeader>() }>(at).at(|| "store")?);
    if header.signature != STORE.to_mixed_endian() {
        let found = Guid::from_mixed_endian(header.signature);
        return Err(Error::unsupported(format!("the store is of type {found}, only authenticated ones are read, {STORE}")));
    }
    let size = u64::from(header.size.get());
    if header.format_and_state != FORMATTED_AND_HEALTHY || size < units::bytes(size_of::<StoreHeader>()) || at + size > file.len() {
        let what = format!("the store has {size} bytes and state {:02x?}, must be healthy and end in the file", header.format_and_state);
        return Err(Error::bad_input(what));
    }
    records(&file.slice(at + units::bytes(size_of::<StoreHeader>())..at + size).to_vec(STORE_MAX)?)
}

fn records(store: &[u8]) -> Result<Vec<Variable>> {
    let mut found: Vec<(u8, Variable)> = Vec::new();
    let mut at = 0;
    while let Some((head, rest)) = store.get(at..).and_then(|rest| Record::read_from_prefix(rest).ok())
        && head.start == RECORD
    {
        let place = || format!("record at {at} of the store");
        let (name_len, data_len) = (units::index(head.name_size.get().into()), units::index(head.data_size.get().into()));
        let split = rest.split_at_checked(name_len).and_then(|(name, rest)| Some((name, rest.get(..data_len)?)));
        let Some((name, data)) = split else {
            return Err(Error::bad_input(format!("name and data of {name_len} and {data_len} bytes reach beyond the store")).at(place()));
        };
        if [ADDED, IN_DELETED_TRANSITION].contains(&head.state) {
            let name = name.strip_suffix(&[0, 0]).ok_or_else(|| Error::bad_input("its name does not end with NUL")).at(place)?;
            let (name, vendor) = (from_utf16(name).at(place)?, Guid::from_mixed_endian(head.vendor));
            let time = time::read(head.time);
            found.push((head.state, Variable { name, vendor, attributes: head.attributes.get(), time, data: data.to_vec() }));
        }
        at = (at + size_of::<Record>() + name_len + data_len).next_multiple_of(ALIGN);
    }
    // Of two of one name the one counts that was written to its end.
    let is_replaced =
        |old: &Variable| found.iter().any(|(state, new)| *state == ADDED && (&new.name, new.vendor) == (&old.name, old.vendor));
    Ok(found.iter().filter(|(state, variable)| *state == ADDED || !is_replaced(variable)).map(|(_, variable)| variable.clone()).collect())
}

#[cfg(test)]
mod tests;
