//! The kernel's command line, as Linux cuts it (`lib/cmdline.c`, `next_arg`): words between white space, in which quotes keep spaces.
//!
//! It is read here and not from the arguments of process 1, because those hold words before `--`, too, that the kernel did not know.

use alloc::vec::Vec;

/// The kernel's command line.
#[derive(Debug, Clone, Copy)]
pub struct Cmdline<'a>(&'a [u8]);

impl<'a> Cmdline<'a> {
    /// What `/proc/cmdline` says.
    pub fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The value of the last parameter of this name before `--`.
    pub fn value(&self, name: &str) -> Option<Vec<u8>> {
        let words = self.words().take_while(|word| word != b"--");
        words.filter_map(|word| word.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec)).last()
    }

    /// The words behind `--`.
    pub fn arguments(&self) -> Vec<Vec<u8>> {
        self.words().skip_while(|word| word != b"--").skip(1).collect()
    }

    fn words(&self) -> impl Iterator<Item = Vec<u8>> + use<'a> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            rest = rest.trim_ascii_start();
            let mut quoted = false;
            let end = rest.iter().position(|byte| {
                quoted ^= *byte == b'"';
                byte.is_ascii_whitespace() && !quoted
            });
            let (word, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
            rest = after;
            (!word.is_empty()).then(|| unquoted(word))
        })
    }
}

/// Takes away the quotes around a word, and those around the value of a parameter.
fn unquoted(word: &[u8]) -> Vec<u8> {
    let trim = |text: &[u8]| match text.strip_prefix(b"\"") {
        Some(inside) => inside.strip_suffix(b"\"").unwrap_or(inside).to_vec(),
        None => text.to_vec(),
    };
    let mut halves = word.splitn(2, |byte| *byte == b'=');
    match (halves.next(), halves.next()) {
        (Some(name), Some(value)) if !name.starts_with(b"\"") => [name, b"=", &trim(value)].concat(),
        _ => trim(word),
    }
}

#[cfg(test)]
mod tests {
    use super::Cmdline;

    /// `next_arg` and `parse_args` of Linux 6.1.
    #[test]
    fn words_are_cut_as_the_kernel_does() {
        let arguments = |text: &str| Cmdline::new(text.as_bytes()).arguments();
        assert_eq!(arguments("console=ttyS0 single -- --port 80\n"), [b"--port".as_slice(), b"80"]);
        assert_eq!(arguments("quiet --  \"a b\" c=\"d e\" f\"g h\"i"), [b"a b".as_slice(), b"c=d e", b"f\"g h\"i"]);
        assert_eq!(arguments("a -- b -- c"), [b"b".as_slice(), b"--", b"c"]);
        assert_eq!(arguments("-- \"open end"), [b"open end".as_slice()]);
        assert!(arguments("--x a=-- \"-- b\"").is_empty());
        assert!(arguments("").is_empty());
    }

    #[test]
    fn the_last_value_counts_and_none_behind_the_dashes() {
        let line = Cmdline::new(b"ip=off x=1 ip=dhcp -- ip=none");
        assert_eq!(line.value("ip").as_deref(), Some(b"dhcp".as_slice()));
        assert_eq!(line.value("i"), None);
        assert_eq!(Cmdline::new(b"dm=\"a b\" c").value("dm").as_deref(), Some(b"a b".as_slice()));
    }
}
