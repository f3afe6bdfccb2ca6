//! Version comparison, UAPI.10 "Version Format Specification".
//!
//! `~` is looked at before the end of the string, so that `123~rc1` sorts before `123`, as the specification's own
//! description of the tilde ("a suffix that always sorts lower") and systemd have it.

use core::cmp::Ordering;

/// Compares two version strings; the newer one is greater.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        (a, b) = (skip_separators(a), skip_separators(b));
        // A tilde sorts lower than anything, also than the end.
        match (strip(a, b'~'), strip(b, b'~')) {
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            (Some(rest_a), Some(rest_b)) => (a, b) = (rest_a, rest_b),
            (None, None) => {}
        }
        if a.is_empty() || b.is_empty() {
            return (!a.is_empty()).cmp(&!b.is_empty());
        }
        for (mark, alone) in [(b'-', Ordering::Less), (b'^', Ordering::Greater), (b'.', Ordering::Less)] {
            match (strip(a, mark), strip(b, mark)) {
                (Some(_), None) => return alone,
                (None, Some(_)) => return alone.reverse(),
                (Some(rest_a), Some(rest_b)) => (a, b) = (rest_a, rest_b),
                (None, None) => {}
            }
        }
        let numeric = starts_with(a, u8::is_ascii_digit) || starts_with(b, u8::is_ascii_digit);
        let class = if numeric { u8::is_ascii_digit } else { u8::is_ascii_alphabetic };
        let (word_a, rest_a) = split(a, class);
        let (word_b, rest_b) = split(b, class);
        let order = if numeric {
            let (number_a, number_b) = (skip_zeros(word_a), skip_zeros(word_b));
            number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b))
        } else {
            word_a.cmp(word_b)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

fn is_separator(byte: u8) -> bool {
    !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'~' | b'^'))
}

fn skip_separators(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_separator(*first)
    {
        text = rest;
    }
    text
}

fn skip_zeros(mut digits: &[u8]) -> &[u8] {
    while let [b'0', rest @ ..] = digits {
        digits = rest;
    }
    digits
}

fn strip(text: &[u8], mark: u8) -> Option<&[u8]> {
    text.strip_prefix(&[mark])
}

fn starts_with(text: &[u8], class: fn(&u8) -> bool) -> bool {
    text.first().is_some_and(class)
}

/// The longest prefix of one class of characters, and the rest.
fn split(text: &[u8], class: fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !class(byte)).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::compare;
    use core::cmp::Ordering;

    #[test]
    fn examples_of_the_specification() {
        for (a, order, b) in [
            ("11", Ordering::Equal, "11"),
            ("systemd-123", Ordering::Equal, "systemd-123"),
            ("bar-123", Ordering::Less, "foo-123"),
            ("123a", Ordering::Greater, "123"),
            ("123.a", Ordering::Greater, "123"),
            ("123.a", Ordering::Less, "123.b"),
            ("123a", Ordering::Greater, "123.a"),
            ("11α", Ordering::Equal, "11β"),
            ("A", Ordering::Less, "a"),
            ("", Ordering::Less, "0"),
            ("0.", Ordering::Greater, "0"),
            ("0.0", Ordering::Greater, "0"),
            ("1_", Ordering::Equal, "1"),
            ("_1", Ordering::Equal, "1"),
            ("1_", Ordering::Less, "1.2"),
            ("1_2_3", Ordering::Greater, "1.3.3"),
            ("1+", Ordering::Equal, "1"),
            ("123~rc1", Ordering::Less, "123"),
            ("6.1.0-54", Ordering::Less, "6.1.0-56"),
            ("6.9", Ordering::Less, "6.10"),
            ("6.1.0", Ordering::Greater, "6.1"),
            ("007", Ordering::Equal, "7"),
        ] {
            assert_eq!(compare(a, b), order, "{a} against {b}");
            assert_eq!(compare(b, a), order.reverse(), "{b} against {a}");
        }
    }

    #[test]
    fn the_sorted_list_of_kernel_releases() {
        // Ascending.
        let sorted = ["122", "122.9", "123~rc1", "123", "123-a", "123-3", "123-3.1", "123.a-1", "123a-1", "123^1", "124"];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} against {b}");
            }
        }
    }
}
