//! Directory records (ECMA-119, 9.1) and the numbers of ECMA-119 (7), which stand in both byte orders.

use crate::{Timestamp, calendar::Moment};
use std::mem::offset_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian, little_endian};

/// A 16-bit number in both byte orders (7.2.3).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Both16 {
    little: little_endian::U16,
    big: big_endian::U16,
}

/// A 32-bit number in both byte orders (7.3.3).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Both32 {
    little: little_endian::U32,
    big: big_endian::U32,
}

impl From<u16> for Both16 {
    fn from(value: u16) -> Self {
        Self { little: value.into(), big: value.into() }
    }
}

impl From<u32> for Both32 {
    fn from(value: u32) -> Self {
        Self { little: value.into(), big: value.into() }
    }
}

/// Recording date and time of 7 bytes (9.1.5).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct ShortDate {
    /// 0: years since 1900.
    year: u8,
    /// 1: 1 to 12.
    month: u8,
    /// 2: 1 to 31.
    day: u8,
    /// 3: 0 to 23.
    hour: u8,
    /// 4: 0 to 59.
    minute: u8,
    /// 5: 0 to 59.
    second: u8,
    /// 6: offset from Greenwich in quarters of an hour: 0.
    offset: i8,
}

impl Both32 {
    /// The number; where the two differ, the first one counts.
    pub(super) fn get(self) -> u32 {
        self.little.get()
    }
}

/// Seconds of a quarter of an hour, the unit of offsets from Greenwich.
pub(super) const ZONE_UNIT: i64 = 900;

impl ShortDate {
    /// The time.
    pub(super) fn timestamp(self) -> Timestamp {
        let Self { year, month, day, hour, minute, second, offset } = self;
        let Timestamp(local) = Moment { year: 1900 + u16::from(year), month, day, hour, minute, second }.timestamp();
        Timestamp(local - i64::from(offset) * ZONE_UNIT)
    }
}

impl From<Timestamp> for ShortDate {
    fn from(Timestamp(seconds): Timestamp) -> Self {
        let Moment { year, month, day, hour, minute, second } =
            Moment::of(Timestamp(seconds.clamp(*super::TIMES.start(), *super::TIMES.end())));
        let year = u8::try_from(year - 1900).expect("the time was clamped");
        Self { year, month, day, hour, minute, second, offset: 0 }
    }
}

/// File flags (9.1.6).
pub(super) mod flags {
    /// The file is a directory.
    pub(in super::super) const DIRECTORY: u8 = 1 << 1;
    /// Another section of the file follows.
    pub(in super::super) const MULTI_EXTENT: u8 = 1 << 7;
}

/// A directory record without its identifier and system use field.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Fixed {
    /// 0: bytes of the record, even.
    pub(super) length: u8,
    /// 1: 0.
    pub(super) extended_attribute_length: u8,
    /// 2: block of the extent; 0 when there are no data.
    pub(super) extent: Both32,
    /// 10: bytes of the extent.
    pub(super) data_length: Both32,
    /// 18: when the file was last changed.
    pub(super) date: ShortDate,
    /// 25: see [`flags`].
    pub(super) flags: u8,
    /// 26: 0, not interleaved.
    pub(super) file_unit_size: u8,
    /// 27: 0, not interleaved.
    pub(super) interleave_gap_size: u8,
    /// 28: 1.
    pub(super) volume_sequence_number: Both16,
    /// 32: bytes of the identifier that follows.
    pub(super) identifier_length: u8,
}

const _: () = assert!(size_of::<Fixed>() == FIXED_LEN && offset_of!(Fixed, date) == 18 && offset_of!(Fixed, volume_sequence_number) == 28);

/// Bytes of a record before its identifier.
pub(super) const FIXED_LEN: usize = 33;

impl From<[u8; FIXED_LEN]> for Fixed {
    fn from(bytes: [u8; FIXED_LEN]) -> Self {
        zerocopy::transmute!(bytes)
    }
}

/// The longest record that is even.
const LENGTH_MAX: usize = 254;

/// A directory record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// File identifier; one byte of 0 for the directory itself, of 1 for its parent.
    pub(super) identifier: &'a [u8],
    pub(super) extent: u32,
    pub(super) data_length: u32,
    pub(super) date: ShortDate,
    pub(super) flags: u8,
}

impl Record<'_> {
    /// The identifier of a directory's record of itself.
    pub(super) const SELF: &'static [u8] = &[0];
    /// The identifier of a directory's record of its parent.
    pub(super) const PARENT: &'static [u8] = &[1];

    fn identifier_room(&self) -> usize {
        // A padding byte makes the system use field begin at an even place.
        self.identifier.len() + usize::from(self.identifier.len().is_multiple_of(2))
    }

    /// Bytes that a system use field may have.
    pub(super) fn system_use_max(&self) -> usize {
        LENGTH_MAX - FIXED_LEN - self.identifier_room()
    }

    /// The record with a system use field that is no longer than it may be.
    pub(super) fn bytes(&self, system_use: &[u8]) -> Vec<u8> {
        let length = (FIXED_LEN + self.identifier_room() + system_use.len()).next_multiple_of(2);
        let narrow = |len: usize| u8::try_from(len).expect("a record has at most 254 bytes");
        let fixed = Fixed {
            length: narrow(length),
            extended_attribute_length: 0,
            extent: self.extent.into(),
            data_length: self.data_length.into(),
            date: self.date,
            flags: self.flags,
            file_unit_size: 0,
            interleave_gap_size: 0,
            volume_sequence_number: 1.into(),
            identifier_length: narrow(self.identifier.len()),
        };
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(fixed.as_bytes());
        bytes.extend_from_slice(self.identifier);
        bytes.resize(FIXED_LEN + self.identifier_room(), 0);
        bytes.extend_from_slice(system_use);
        bytes.resize(length, 0);
        bytes
    }
}
