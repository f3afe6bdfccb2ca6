//! The order of keys in what Go's yaml writes.

use super::Dialect;
use std::cmp::Ordering;

/// Brings keys into the natural order: numbers by value, letters after other characters.
///
/// Go's own order is not transitive, and its result changes from run to run where that shows. So the keys come sorted by bytes, and
/// each takes the first place that fits it; a sort of the standard library may not be given such an order.
pub(crate) fn natural<'a>(keys: impl IntoIterator<Item = &'a str>, dialect: Dialect) -> Vec<&'a str> {
    let mut ordered: Vec<&str> = Vec::new();
    for key in keys {
        let place = ordered.partition_point(|other| !is_less(key, other, dialect));
        ordered.insert(place, key);
    }
    ordered
}

fn is_less(a: &str, b: &str, dialect: Dialect) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) else { return a.len() < b.len() };
    let after_digit = at > 0 && a[at - 1].is_numeric() && dialect == Dialect::V3;
    match (a[at].is_alphabetic(), b[at].is_alphabetic()) {
        (true, true) => return a[at] < b[at],
        (true, false) => return after_digit,
        (false, true) => return !after_digit,
        (false, false) => {}
    }
    // A zero that differs stands in the middle of a number, or before one.
    let is_inside = (a[at] == '0' || b[at] == '0') && a[..at].iter().rev().take_while(|c| c.is_ascii_digit()).any(|c| *c != '0');
    let (number_a, length_a) = number(&a[at..], i64::from(is_inside));
    let (number_b, length_b) = number(&b[at..], i64::from(is_inside));
    let order = number_a.cmp(&number_b).then(length_a.cmp(&length_b)).then(a[at].cmp(&b[at]));
    order == Ordering::Less
}

/// The digits in front, after what stood before them; and how many.
fn number(chars: &[char], before: i64) -> (i64, usize) {
    let digits = chars.iter().map_while(|c| c.to_digit(10));
    digits.fold((before, 0), |(number, length), digit| (number.wrapping_mul(10).wrapping_add(i64::from(digit)), length + 1))
}
