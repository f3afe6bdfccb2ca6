//! Volume descriptors: ECMA-119, 8; Joliet 1.0 for the supplementary one.

use super::{
    BLOCK, Volume,
    directory::Hierarchy,
    identifier::Names,
    narrow,
    record::{Both16, Both32},
};
use crate::{Timestamp, calendar::Moment, units};
use std::mem::offset_of;
use zerocopy::{Immutable, IntoBytes, KnownLayout, Unaligned, big_endian, little_endian};

/// What every descriptor begins with (8.1).
pub(super) const STANDARD_IDENTIFIER: [u8; 5] = *b"CD001";

const PRIMARY: u8 = 1;
const SUPPLEMENTARY: u8 = 2;
const TERMINATOR: u8 = 255;

/// UCS-2, level 3 (Joliet).
const UCS2_LEVEL_3: &[u8] = b"%/E";

/// Date and time as 16 digits (8.4.26.1).
#[derive(Clone, Copy, Debug, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LongDate {
    /// 0: year, month, day, hour, minute, second, hundredths; all "0" when there is no date.
    digits: [u8; 16],
    /// 16: offset from Greenwich in quarters of an hour: 0.
    offset: i8,
}

impl LongDate {
    const NONE: Self = Self { digits: [b'0'; 16], offset: 0 };
}

impl From<Timestamp> for LongDate {
    fn from(Timestamp(seconds): Timestamp) -> Self {
        /// 0001-01-01 00:00:00 to 9999-12-31 23:59:59.
        const RANGE: (i64, i64) = (-62_135_596_800, 253_402_300_799);
        let Moment { year, month, day, hour, minute, second } = Moment::of(Timestamp(seconds.clamp(RANGE.0, RANGE.1)));
        let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00");
        Self { digits: text.as_bytes().try_into().expect("16 digits"), offset: 0 }
    }
}

/// Primary and supplementary volume descriptor (8.4, 8.5).
#[derive(Clone, Copy, Debug, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct VolumeDescriptor {
    /// 0: 1 primary, 2 supplementary.
    kind: u8,
    /// 1: "CD001".
    standard_identifier: [u8; 5],
    /// 6: 1.
    version: u8,
    /// 7: 0.
    volume_flags: u8,
    /// 8: whose business the system area is.
    system_identifier: [u8; 32],
    /// 40: name of the volume.
    volume_identifier: [u8; 32],
    /// 72: 0.
    unused_72: [u8; 8],
    /// 80: blocks of the volume.
    volume_space_size: Both32,
    /// 88: character set of a supplementary descriptor.
    escape_sequences: [u8; 32],
    /// 120: 1.
    volume_set_size: Both16,
    /// 124: 1.
    volume_sequence_number: Both16,
    /// 128: 2048.
    logical_block_size: Both16,
    /// 132: bytes of a path table.
    path_table_size: Both32,
    /// 140: block of the little-endian path table.
    l_path_table: little_endian::U32,
    /// 144: 0, there is no second one.
    optional_l_path_table: little_endian::U32,
    /// 148: block of the big-endian path table.
    m_path_table: big_endian::U32,
    /// 152: 0, there is no second one.
    optional_m_path_table: big_endian::U32,
    /// 156: directory record of the root directory.
    root: [u8; 34],
    /// 190: spaces, as the identifiers and file names that follow where we have none.
    volume_set_identifier: [u8; 128],
    /// 318: who publishes.
    publisher_identifier: [u8; 128],
    /// 446: who prepared the data.
    data_preparer_identifier: [u8; 128],
    /// 574: what made the volume.
    application_identifier: [u8; 128],
    /// 702: names of files in the root: the copyright,
    copyright_file: [u8; 37],
    /// 739: the abstract
    abstract_file: [u8; 37],
    /// 776: and the bibliography.
    bibliographic_file: [u8; 37],
    /// 813: when the volume was made.
    creation: LongDate,
    /// 830: when it was changed last.
    modification: LongDate,
    /// 847: none.
    expiration: LongDate,
    /// 864: none.
    effective: LongDate,
    /// 881: 1.
    file_structure_version: u8,
    /// 882: 0.
    reserved: [u8; 1166],
}

const _: () = assert!(
    size_of::<VolumeDescriptor>() == 2048
        && offset_of!(VolumeDescriptor, volume_space_size) == 80
        && offset_of!(VolumeDescriptor, m_path_table) == 148
        && offset_of!(VolumeDescriptor, application_identifier) == 574
        && offset_of!(VolumeDescriptor, creation) == 813
        && offset_of!(VolumeDescriptor, file_structure_version) == 881
);

/// Text as a hierarchy's character set has it, filled up with spaces.
fn text<const N: usize>(names: Names, text: &str) -> [u8; N] {
    match names {
        Names::Iso => padded(text.bytes(), b" "),
        // Half as many characters fit: the rest is cut off.
        Names::Joliet => padded(text.encode_utf16().flat_map(u16::to_be_bytes), &[0, b' ']),
    }
}

fn padded<const N: usize>(text: impl Iterator<Item = u8>, fill: &[u8]) -> [u8; N] {
    // An odd byte at the end of a field of 16-bit characters stays 0.
    let whole = N / fill.len() * fill.len();
    let mut field = [0; N];
    let bytes = text.chain(fill.iter().copied().cycle()).take(whole);
    for (to, byte) in field.iter_mut().zip(bytes) {
        *to = byte;
    }
    field
}

/// The descriptor of a volume of so many blocks, for one of its hierarchies.
pub(super) fn volume(volume: &Volume<'_>, hierarchy: &Hierarchy<'_>, blocks: u64) -> Vec<u8> {
    let names = hierarchy.names();
    let (l_path_table, m_path_table, path_table_size) = hierarchy.path_tables();
    let descriptor = VolumeDescriptor {
        kind: if names == Names::Iso { PRIMARY } else { SUPPLEMENTARY },
        standard_identifier: STANDARD_IDENTIFIER,
        version: 1,
        volume_flags: 0,
        system_identifier: text(names, "LINUX"),
        volume_identifier: text(names, volume.identifier),
        unused_72: [0; 8],
        volume_space_size: narrow(blocks).into(),
        escape_sequences: if names == Names::Iso { [0; 32] } else { padded(UCS2_LEVEL_3.iter().copied(), &[0]) },
        volume_set_size: 1.into(),
        volume_sequence_number: 1.into(),
        logical_block_size: u16::try_from(BLOCK).expect("2048").into(),
        path_table_size: path_table_size.into(),
        l_path_table: l_path_table.into(),
        optional_l_path_table: 0.into(),
        m_path_table: m_path_table.into(),
        optional_m_path_table: 0.into(),
        root: hierarchy.root().bytes(&[]).try_into().expect("the root's record has 34 bytes"),
        volume_set_identifier: text(names, ""),
        publisher_identifier: text(names, ""),
        data_preparer_identifier: text(names, ""),
        application_identifier: text(names, volume.application),
        copyright_file: text(names, ""),
        abstract_file: text(names, ""),
        bibliographic_file: text(names, ""),
        creation: volume.time.into(),
        modification: volume.time.into(),
        expiration: LongDate::NONE,
        effective: LongDate::NONE,
        file_structure_version: 1,
        reserved: [0; 1166],
    };
    descriptor.as_bytes().to_vec()
}

/// The last descriptor (8.3).
pub(super) fn terminator() -> Vec<u8> {
    let mut bytes = vec![TERMINATOR];
    bytes.extend(STANDARD_IDENTIFIER);
    bytes.push(1);
    bytes.resize(units::index(BLOCK), 0);
    bytes
}
