//! EFI_TIME (UEFI 2.10, 8.3), in UTC and without nanoseconds, as authenticated variables have it.
//!
//! ```text
//!  u16 year | month | day | hour | minute | second | 0 | u32 nanosecond | i16 time zone | daylight | 0
//! ```

use crate::{Timestamp, calendar::Moment};

/// Bytes of a time.
pub(super) const LEN: usize = 16;

/// A time, or the nearest in the years 0 to 9999; zeros where there is none.
pub(super) fn write(time: Option<Timestamp>) -> [u8; LEN] {
    let Some(time) = time else { return [0; LEN] };
    let Moment { year, month, day, hour, minute, second } = Moment::nearest(time);
    let [low, high] = year.to_le_bytes();
    [low, high, month, day, hour, minute, second, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// A time; none where there are zeros, or something that is no time.
pub(super) fn read(bytes: [u8; LEN]) -> Option<Timestamp> {
    let [low, high, month, day, hour, minute, second, ..] = bytes;
    let year = u16::from_le_bytes([low, high]);
    let is_time =
        (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    is_time.then(|| Moment { year, month, day, hour, minute, second }.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        for seconds in [0, 1_709_210_096, 253_402_300_799, -1] {
            assert_eq!(read(write(Some(Timestamp(seconds)))), Some(Timestamp(seconds)));
        }
        assert_eq!(write(Some(Timestamp(1_709_210_096))), [0xe8, 7, 2, 29, 12, 34, 56, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((read(write(None)), write(Some(Timestamp(i64::MAX)))[..3].to_vec()), (None, vec![0x0f, 0x27, 12]));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for (at, value) in [(1, 0xff), (2, 0), (2, 13), (3, 0), (3, 32), (4, 24), (5, 60), (6, 60)] {
            let mut bytes = write(Some(Timestamp(0)));
            bytes[at] = value;
            assert_eq!(read(bytes), None, "byte {at} is {value}");
        }
    }
}
