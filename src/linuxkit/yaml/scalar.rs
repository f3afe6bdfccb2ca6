//! What a plain scalar means: the rules of Go's yaml, which reads `yes` as a text, `0644` as a number and a date as a text.

use super::Value;
use crate::error::{Error, Result};

/// The key that merges.
pub(super) const MERGE: &str = "<<";

/// The value of a scalar: plain or quoted, with or without one of YAML's own tags.
///
/// # Errors
/// A tag that does not fit.
pub(super) fn value(text: &str, is_plain: bool, tag: Option<&str>) -> Result<Value> {
    let value = match (tag, is_plain) {
        (None, true) | (Some("int" | "float" | "bool" | "null" | "timestamp"), _) => resolve(text),
        _ => Value::Text(text.to_owned()),
    };
    let fits = match (tag, &value) {
        (Some("binary"), _) => {
            return Err(Error::unsupported("a !!binary text is not supported").hint("keep the bytes in a file, and name it as source"));
        }
        (Some("float"), Value::Integer(number, _)) => {
            // As Go does: what a double cannot hold is rounded.
            #[expect(clippy::cast_precision_loss)]
            let number = *number as f64;
            return Ok(Value::Float(number, text.to_owned()));
        }
        (Some("int"), value) => matches!(value, Value::Integer(..)),
        (Some("float"), value) => matches!(value, Value::Float(..)),
        (Some("bool"), value) => matches!(value, Value::Flag(_)),
        (Some("null"), value) => *value == Value::Null,
        (Some("timestamp"), _) => is_timestamp(text),
        _ => true,
    };
    if fits { Ok(value) } else { Err(Error::bad_input(format!("{value} is no !!{}", tag.unwrap_or_default()))) }
}

/// The meaning of a plain scalar without a tag.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Flag(true),
        "false" | "False" | "FALSE" => Value::Flag(false),
        ".nan" | ".NaN" | ".NAN" => Value::Float(f64::NAN, text.to_owned()),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Value::Float(f64::INFINITY, text.to_owned()),
        "-.inf" | "-.Inf" | "-.INF" => Value::Float(f64::NEG_INFINITY, text.to_owned()),
        _ => number(text).unwrap_or_else(|| Value::Text(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Value> {
    let float = |digits: &str| {
        let number = digits.parse().ok().filter(|number: &f64| number.is_finite());
        number.filter(|_| is_float(digits)).map(|number| Value::Float(number, text.to_owned()))
    };
    match text.as_bytes().first()? {
        b'.' => float(text),
        b'0'..=b'9' | b'+' | b'-' if !is_timestamp(text) => {
            let digits = text.replace('_', "");
            integer(&digits).map(|number| Value::Integer(number, text.to_owned())).or_else(|| float(&digits))
        }
        _ => None,
    }
}

/// Of 64 bits, with or without a sign: decimal, or by its prefix.
fn integer(digits: &str) -> Option<i128> {
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    let (radix, plain) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    let is_signed = plain.starts_with(['+', '-']) && !(digits.starts_with("0b") && radix == 2);
    let number = i128::from_str_radix(plain, radix).ok().filter(|_| !is_signed)?;
    let number = if digits.starts_with('-') { -number } else { number };
    // With a sign Go tries 64 bits with a sign only.
    let max = if digits.starts_with('+') { i128::from(i64::MAX) } else { i128::from(u64::MAX) };
    (i128::from(i64::MIN)..=max).contains(&number).then_some(number)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(mantissa, exponent)| (mantissa, Some(exponent)));
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent_fits && digits(whole) && digits(part) && !(whole.is_empty() && part.is_empty())
}

/// A date, with or without a time: no number, though it begins with one.
pub(super) fn is_timestamp(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't', ' ']).map(|(date, time)| (date, Some(time))).or(Some((text, None))) else {
        return false;
    };
    let is_spaced = text[date.len()..].starts_with(' ');
    is_date(date)
        && match time {
            None => true,
            Some(time) if is_spaced => clock(time.trim_start_matches(' ')) == Some(""),
            Some(time) => clock(time).is_some_and(is_zone),
        }
}

/// One or two digits up to a limit, and what follows them.
fn two_digits(text: &str, min: u32, max: u32) -> Option<(u32, &str)> {
    let length = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(length);
    digits.parse().ok().filter(|number| (min..=max).contains(number)).map(|number| (number, rest))
}

fn is_date(text: &str) -> bool {
    let parsed = || {
        let (year, rest) = text.split_once('-').filter(|(year, _)| year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()))?;
        let (month, rest) = two_digits(rest, 1, 12)?;
        let (day, rest) = two_digits(rest.strip_prefix('-')?, 1, 31)?;
        Some((year.parse::<u32>().ok()?, month, day)).filter(|_| rest.is_empty())
    };
    parsed().is_some_and(|(year, month, day)| {
        let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
        day <= match month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    })
}

/// Hours, minutes, seconds, a fraction; what follows them.
fn clock(text: &str) -> Option<&str> {
    let (_, rest) = two_digits(text, 0, 23)?;
    let (_, rest) = two_digits(rest.strip_prefix(':')?, 0, 59)?;
    let (_, rest) = two_digits(rest.strip_prefix(':')?, 0, 59)?;
    match rest.strip_prefix(['.', ',']) {
        Some(part) if part.starts_with(|c: char| c.is_ascii_digit()) => Some(part.trim_start_matches(|c: char| c.is_ascii_digit())),
        _ => Some(rest),
    }
}

fn is_zone(text: &str) -> bool {
    let offset = || {
        let (hour, minute) = text.strip_prefix(['+', '-'])?.split_once(':')?;
        Some(hour.len() == 2 && minute.len() == 2 && two_digits(hour, 0, 24)?.1.is_empty() && two_digits(minute, 0, 60)?.1.is_empty())
    };
    text == "Z" || offset().unwrap_or(false)
}

/// What YAML 1.1 took for a number to the base of 60: `1:30`.
pub(super) fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let first = parts.next().unwrap_or_default();
    let starts = first.starts_with(|c: char| c.is_ascii_digit()) && first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let rest: Vec<_> = parts.collect();
    let is_sixty = |part: &str| match part.as_bytes() {
        [digit] => digit.is_ascii_digit(),
        [ten, digit] => (b'0'..=b'5').contains(ten) && digit.is_ascii_digit(),
        _ => false,
    };
    let Some((last, others)) = rest.split_last() else { return false };
    let (whole, part) = last.split_once('.').unwrap_or((last, ""));
    starts && others.iter().all(|part| is_sixty(part)) && is_sixty(whole) && part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// What YAML 1.1 took for a flag, and 1.2 does not.
pub(super) fn is_old_flag(text: &str) -> bool {
    let words = ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF"];
    words.contains(&text)
}
