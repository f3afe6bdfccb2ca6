//! Units and the only place where integers change width.

use crate::{Error, Result};

/// Bytes of a sector, where a standard does not say otherwise.
pub const SECTOR: u64 = 512;
/// 2^10.
pub const KIB: u64 = 1 << 10;
/// 2^20.
pub const MIB: u64 = 1 << 20;
/// 2^30.
pub const GIB: u64 = 1 << 30;
/// 2^40.
pub const TIB: u64 = 1 << 40;

/// An index or length of memory. Panics where memory cannot hold it, which a bound checked before must exclude.
pub fn index(value: u64) -> usize {
    usize::try_from(value).expect("a size that was bounded before fits memory")
}

/// A length of memory as bytes on a disk; never loses anything on the targets we support.
pub const fn bytes(value: usize) -> u64 {
    value as u64
}

/// Rounds `value` up to a multiple; `None` above 2^64.
pub const fn round_up(value: u64, multiple: u64) -> Option<u64> {
    value.checked_next_multiple_of(multiple)
}

/// Reads a size as users write it: `4096`, `512M`, `2G`, `64k`, `1GiB`. Suffixes are powers of 1024.
///
/// # Errors
/// Refuses anything else, and sizes above 2^64 - 1.
pub fn parse_size(text: &str) -> Result<u64> {
    let refuse = || Error::unsupported(format!("'{text}' is not a size: write a number with K, M, G or T (powers of 1024), as in 512M"));
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(refuse()),
    };
    let number: u64 = number.parse().map_err(|_| refuse())?;
    number.checked_mul(1 << shift).ok_or_else(refuse)
}

/// Bytes as digests are written: two lower-case digits each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A size for people: `14.2 MiB`, exact when it is a whole number of its unit.
pub fn show_size(size: u64) -> String {
    let units = [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
    match units.iter().find(|(unit, _)| size >= *unit) {
        None => format!("{size} bytes"),
        Some((unit, name)) if size.is_multiple_of(*unit) => format!("{} {name}", size / unit),
        Some((unit, name)) => {
            let tenths = u128::from(size) * 10 / u128::from(*unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("512M").unwrap(), 512 * MIB);
        assert_eq!(parse_size("2g").unwrap(), 2 * GIB);
        assert_eq!(parse_size("4096").unwrap(), 4096);
        for bad in ["", "M", "1X", "-1", "1.5G", "99999999999G", "16777216T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit() {
        assert_eq!(show_size(0), "0 bytes");
        assert_eq!(show_size(64 * KIB), "64 KiB");
        assert_eq!(show_size(MIB + MIB / 4), "1.2 MiB");
    }
}
