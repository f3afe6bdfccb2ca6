//! EFI_TIME (UEFI 2.10, 8.3), in UTC and without nanoseconds, as authenticated variables have it.
//!
//! ```text
//!  u16 year | month | day | hour | minute | second | 0 | u32 nanosecond | i16 time zone | daylight | 0
//! ```

use crate::{Timestamp, calendar::Moment};

/// Bytes of a time.
pub(super) const LEN: usize = 16;

/// A time, zeros where there is none.
///
/// # Panics
/// When it is outside of the years 0 to 9999.
pub(super) fn write(time: Option<Timestamp>) -> [u8; LEN] {
    let Some(time) = time else { return [0; LEN] };
    let Moment { year, month, day, hour, minute, second } = Moment::of(time);
    let [low, high] = year.to_le_bytes();
    [low, high, month, day, hour, minute, second, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// A time, none where there are zeros.
pub(super) fn read(bytes: [u8; LEN]) -> Option<Timestamp> {
    let [low, high, month, day, hour, minute, second, ..] = bytes;
    let moment = Moment { year: u16::from_le_bytes([low, high]), month, day, hour, minute, second };
    (bytes != [0; LEN]).then(|| moment.timestamp())
}
