//! Seconds since 1970 as dates of the Gregorian calendar, in UTC: what FAT, ISO 9660, certificates and firmware store.

use crate::Timestamp;
use std::fmt;

/// Years outside of 0 to 9999 have no date, and are shown as seconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !YEARS.contains(&civil(self.0.div_euclid(DAY)).0) {
            return write!(f, "{} seconds since 1970", self.0);
        }
        let Moment { year, month, day, hour, minute, second } = Moment::of(*self);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

const DAY: i64 = 86_400;
const YEARS: std::ops::RangeInclusive<i64> = 0..=9999;

/// A moment, each part in its range. Years are those of the common era.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) year: u16,
    /// 1 to 12.
    pub(crate) month: u8,
    /// 1 to 31.
    pub(crate) day: u8,
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
}

impl Moment {
    /// The moment of a time within the years 0 to 9999. Panics outside, which clamping before must exclude.
    pub(crate) fn of(Timestamp(seconds): Timestamp) -> Self {
        let (year, month, day) = civil(seconds.div_euclid(DAY));
        let of_day = seconds.rem_euclid(DAY);
        assert!(YEARS.contains(&year), "the year {year} was to be clamped");
        let narrow = |value: i64| u8::try_from(value).expect("every part is in its range");
        Self {
            year: u16::try_from(year).expect("the year has four digits"),
            month: narrow(month),
            day: narrow(day),
            hour: narrow(of_day / 3600),
            minute: narrow(of_day / 60 % 60),
            second: narrow(of_day % 60),
        }
    }
}

impl Moment {
    /// The moment of a time, or the nearest one within the years 0 to 9999.
    pub(crate) fn nearest(Timestamp(seconds): Timestamp) -> Self {
        Self::of(Timestamp(seconds.clamp(-62_167_219_200, 253_402_300_799)))
    }

    /// The time of a moment. Parts outside of their range count on: a 13th month is the next January.
    pub(crate) fn timestamp(self) -> Timestamp {
        let (year, month) = (i64::from(self.year) + (i64::from(self.month) - 1).div_euclid(12), (i64::from(self.month) - 1).rem_euclid(12));
        // Years that begin on 1 March, as in `civil`.
        let (march_year, march_month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
        let days = march_year * 365 + march_year.div_euclid(4) - march_year.div_euclid(100) + march_year.div_euclid(400);
        let days = days + (153 * march_month + 2) / 5 + i64::from(self.day) - 1 - 719_468;
        Timestamp(days * DAY + i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second))
    }
}

/// Year, month and day of a count of days since 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years here begin on 1 March, so that a leap day is the last of its year; eras have 400 years, the first began in year 0.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let shown = |seconds| {
            let Moment { year, month, day, hour, minute, second } = Moment::of(Timestamp(seconds));
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
        };
        for (seconds, date) in [
            (1_709_210_096, "2024-02-29 12:34:56"),
            (951_868_799, "2000-02-29 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (0, "1970-01-01 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
            (-2_208_988_800, "1900-01-01 00:00:00"),
            (-62_167_219_200, "0000-01-01 00:00:00"),
            (253_402_300_799, "9999-12-31 23:59:59"),
        ] {
            assert_eq!(shown(seconds), date);
            assert_eq!(Moment::of(Timestamp(seconds)).timestamp(), Timestamp(seconds));
        }
    }

    #[test]
    fn what_is_outside_becomes_the_first_or_the_last() {
        for (seconds, nearest) in [(i64::MIN, -62_167_219_200), (5, 5), (i64::MAX, 253_402_300_799)] {
            assert_eq!(Moment::nearest(Timestamp(seconds)), Moment::of(Timestamp(nearest)));
        }
    }

    #[test]
    fn what_no_calendar_has_is_some_time_all_the_same() {
        let odd = Moment { year: 2023, month: 13, day: 0, hour: 24, minute: 60, second: 60 };
        assert_eq!(odd.timestamp(), Timestamp(1_704_070_860), "2024-01-01 01:01:00");
    }
}
