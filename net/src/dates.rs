//! Moments as protocols write them: in UTC, of the years 1970 to 9999.

use formats::Timestamp;
use std::time::Duration;

const DAY: u64 = 86_400;

/// 9999-12-31 23:59:59: later ones have no date.
const LAST: u64 = 253_402_300_799;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `19941106T084937Z`: ISO 8601 without what stands between.
pub(crate) fn compact(time: Duration) -> String {
    let digits: String = shown(time).chars().filter(char::is_ascii_digit).collect();
    let (date, time) = digits.split_at(8);
    format!("{date}T{time}Z")
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
pub(crate) fn http(time: Duration) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let days = usize::try_from(time.as_secs().min(LAST) / DAY).unwrap_or_default();
    let shown = shown(time);
    let month = shown[5..7].parse::<usize>().map_or("Jan", |month| MONTHS[month - 1]);
    format!("{}, {} {month} {} {} GMT", WEEKDAYS[days % 7], &shown[8..10], &shown[..4], &shown[11..19])
}

/// The moment of [`http`].
pub(crate) fn of_http(text: &str) -> Option<Duration> {
    let words: Vec<&str> = text.trim().split(' ').collect();
    let [_, day, month, year, time, "GMT"] = words[..] else { return None };
    let month = u64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    moment([year.parse().ok()?, month, day.parse().ok()?], time)
}

/// The moment of `1994-11-06T08:49:37Z`, also with parts of seconds and another zone (RFC 3339).
pub(crate) fn of_rfc3339(text: &str) -> Option<Duration> {
    let (date, rest) = text.trim().split_once(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let date: Vec<u64> = date.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let moment = moment(date.try_into().ok()?, time)?;
    let zone = match rest.strip_prefix('.') {
        Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    if matches!(zone, "Z" | "z") {
        return Some(moment);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let [hours, minutes] = [hours, minutes].map(|number| number.parse::<u8>().ok().map(u64::from));
    let away = Duration::from_secs(hours? * 3600 + minutes? * 60);
    match zone.chars().next()? {
        '+' => moment.checked_sub(away),
        '-' => moment.checked_add(away),
        _ => None,
    }
}

/// `1994-11-06 08:49:37 UTC`.
fn shown(time: Duration) -> String {
    Timestamp(i64::try_from(time.as_secs().min(LAST)).unwrap_or_default()).to_string()
}

/// Of year, month and day, and `08:49:37`.
fn moment([year, month, day]: [u64; 3], time: &str) -> Option<Duration> {
    let time: Vec<u64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = time[..] else { return None };
    let is_date = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_date || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    // Years that begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // 0000-03-01 to 1970-01-01.
    Some(Duration::from_secs((days - 719_468) * DAY + hours * 3600 + minutes * 60 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_they_are_read() {
        for (seconds, date, brief) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT", "19941106T084937Z"),
            (1_709_208_000, "Thu, 29 Feb 2024 12:00:00 GMT", "20240229T120000Z"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT", "19700101T000000Z"),
            (LAST, "Fri, 31 Dec 9999 23:59:59 GMT", "99991231T235959Z"),
        ] {
            let time = Duration::from_secs(seconds);
            assert_eq!((http(time).as_str(), compact(time).as_str()), (date, brief));
            assert_eq!(of_http(date), Some(time));
        }
        assert_eq!(compact(Duration::MAX), "99991231T235959Z");
    }

    #[test]
    fn zones_and_parts_of_seconds_are_read() {
        let noon = Some(Duration::from_secs(1_709_208_000));
        for text in [
            "2024-02-29T12:00:00Z",
            "2024-02-29 12:00:00.999999Z",
            "2024-02-29T13:30:00+01:30",
            "2024-02-29T07:00:00.1-05:00",
            "2024-02-29t12:00:00z",
        ] {
            assert_eq!(of_rfc3339(text), noon, "{text}");
        }
        for bad in
            ["", "2024-02-29", "2024-02-29T12:00:00", "2024-13-01T12:00:00Z", "2024-02T12:00:00Z", "2024-02-29T12:00:00+x", "é-2-3T1"]
        {
            assert_eq!(of_rfc3339(bad), None, "{bad}");
        }
    }
}
