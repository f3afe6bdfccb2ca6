//! Shell patterns, fnmatch(3) without flags: what `modules.alias` says of the devices that a module drives.
//!
//! `*`, `?`, `[a-f]`, `[!x]`, `\` before a literal. A bracket without an end stands for itself. Character classes such as `[:alpha:]` are not
//! known: no module has one.

/// Whether a text is of a pattern. The time is at most the product of both lengths.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Where to go on when what follows the last `*` does not match: that `*` takes one byte more.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some(after) = pattern.strip_prefix(b"*") {
            pattern = after;
            retry = Some((pattern, text));
            continue;
        }
        match (pattern.is_empty(), text.split_first()) {
            (true, None) => return true,
            (false, Some((byte, rest))) => {
                if let Some(after) = one(pattern, *byte) {
                    (pattern, text) = (after, rest);
                    continue;
                }
            }
            _ => {}
        }
        let Some((after, from)) = retry else { return false };
        let Some((_, rest)) = from.split_first() else { return false };
        (pattern, text) = (after, rest);
        retry = Some((after, rest));
    }
}

/// The pattern behind its first element, if that is of this byte.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (first, rest) = pattern.split_first()?;
    match first {
        b'?' => Some(rest),
        b'[' => match bracket(rest, byte) {
            Some((is_in, after)) => is_in.then_some(after),
            None => (byte == b'[').then_some(rest),
        },
        // Before nothing it is of nothing.
        b'\\' => rest.split_first().filter(|(literal, _)| **literal == byte).map(|(_, after)| after),
        literal => (*literal == byte).then_some(rest),
    }
}

/// Whether a byte is in a bracket, behind whose `[` this begins, and what follows the bracket; none when it has no end.
fn bracket(pattern: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let negated = pattern.strip_prefix(b"!").or_else(|| pattern.strip_prefix(b"^"));
    let mut rest = negated.unwrap_or(pattern);
    let (mut is_in, mut first) = (false, true);
    loop {
        let (low, after) = literal(rest)?;
        if rest.first() == Some(&b']') && !first {
            return Some((is_in != negated.is_some(), after));
        }
        first = false;
        rest = after;
        let high = match rest.strip_prefix(b"-") {
            Some(behind) if behind.first() != Some(&b']') => {
                let (high, after) = literal(behind)?;
                rest = after;
                high
            }
            _ => low,
        };
        is_in |= (low..=high).contains(&byte);
    }
}

/// A byte, or the one behind a backslash.
fn literal(pattern: &[u8]) -> Option<(u8, &[u8])> {
    match pattern {
        [b'\\', byte, rest @ ..] | [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    /// What fnmatch(3) of glibc says of them.
    #[test]
    fn patterns_match_as_fnmatch_does() {
        let virtio = "virtio:d00000001v00001AF4";
        for (pattern, text, wanted) in [
            ("virtio:d00000001v*", virtio, true),
            ("virtio:d00000002v*", virtio, false),
            ("pci:v00008086d*sv*sd*bc02sc00i*", "pci:v00008086d000010D3sv00008086sd00000000bc02sc00i00", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("?", "", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a]", "b", true),
            ("[]]", "]", true),
            ("[a", "[a", true),
            ("[a-]", "-", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", false),
            ("input:b*v*p*e*-e*1,*k*7[4-6],*", "input:b0019v0000p0001e0000-e0,1,k74,ramlsfw", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), wanted, "{pattern} {text}");
        }
    }

    /// What takes a matcher that tries everything an age.
    #[test]
    fn no_pattern_takes_long() {
        let pattern = b"a*".repeat(500);
        let text = b"a".repeat(20_000);
        assert!(matches(&pattern, &text));
        assert!(!matches(&[pattern.as_slice(), b"b"].concat(), &text));
    }
}
