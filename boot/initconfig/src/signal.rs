//! Signals by name: what an image's `StopSignal` may say, signal(7).

/// The names, in the order of their numbers from 1, on every architecture that we boot.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD",
    "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The first and the last real-time signal of libc.
const REAL_TIME: [u8; 2] = [34, 64];

/// The number of a signal: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
pub fn number(name: &[u8]) -> Option<u8> {
    let name = str::from_utf8(name).ok()?;
    if let Ok(number) = name.parse::<u8>() {
        return (1..=REAL_TIME[1]).contains(&number).then_some(number);
    }
    let name = name.strip_prefix("SIG").unwrap_or(name);
    if let Some(place) = NAMES.iter().position(|known| *known == name) {
        return u8::try_from(place).ok()?.checked_add(1);
    }
    let [first, last] = REAL_TIME;
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => first,
        (_, Some("")) => last,
        (Some(more), _) => first.checked_add(more.strip_prefix('+')?.parse().ok()?)?,
        (_, Some(less)) => last.checked_sub(less.strip_prefix('-')?.parse().ok()?)?,
        _ => return None,
    };
    (first..=last).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn names_and_numbers_of_signals() {
        for (name, wanted) in [("SIGTERM", 15), ("TERM", 15), ("9", 9), ("SIGQUIT", 3), ("WINCH", 28), ("SIGSYS", 31)] {
            assert_eq!(number(name.as_bytes()), Some(wanted), "{name}");
        }
        // systemd's.
        assert_eq!(number(b"SIGRTMIN+3"), Some(37));
        assert_eq!(number(b"RTMAX-1"), Some(63));
        for name in ["", "0", "65", "SIG", "sigterm", "RTMIN+31", "RTMAX-31", "RTMIN+", "TERM ", "SIGRTMIN+-1", "\u{fe}"] {
            assert_eq!(number(name.as_bytes()), None, "{name}");
        }
    }
}
