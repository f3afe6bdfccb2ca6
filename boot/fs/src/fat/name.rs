//! Names in a directory: 8.3 and long.

use core::fmt;

/// UTF-8 bytes of the longest long name: 255 UTF-16 units of at most three bytes.
const MAX: usize = 765;

/// A name in UTF-8.
#[derive(Clone)]
pub struct Name {
    utf8: [u8; MAX],
    len: usize,
}

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.utf8.get(..self.len).unwrap_or_default();
        // Only whole characters are ever pushed.
        core::str::from_utf8(bytes).unwrap_or_default()
    }

    pub(crate) const fn empty() -> Self {
        Self { utf8: [0; MAX], len: 0 }
    }

    fn push(&mut self, character: char) {
        let mut buffer = [0; 4];
        let bytes = character.encode_utf8(&mut buffer).as_bytes();
        let end = self.len.saturating_add(bytes.len());
        if let Some(to) = self.utf8.get_mut(self.len..end) {
            to.copy_from_slice(bytes);
            self.len = end;
        }
    }

    /// A name from any text, cut after the last whole character that fits.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut name = Self::empty();
        text.chars().for_each(|character| name.push(character));
        name
    }

    /// A long name from its UTF-16 units; what is not Unicode becomes U+FFFD.
    #[must_use]
    pub fn long(units: &[u16]) -> Self {
        let mut name = Self::empty();
        for character in char::decode_utf16(units.iter().copied().take_while(|unit| *unit != 0)) {
            name.push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        name
    }

    /// An 8.3 name. `case` is byte 12 of the entry: bit 3 and 4 say that base and extension are lower case (Windows NT).
    /// Bytes over 127 depend on a code page that nobody recorded: they become U+FFFD.
    pub(super) fn short(raw: &[u8; 11], case: u8) -> Self {
        let mut name = Self::empty();
        let (base, extension) = raw.split_at(8);
        for (part, lower) in [(base, case & 8 != 0), (extension, case & 16 != 0)] {
            let len = part.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last.saturating_add(1));
            let part = part.get(..len).unwrap_or_default();
            if !part.is_empty() && name.len > 0 {
                name.push('.');
            }
            for byte in part {
                name.push(match byte {
                    0x80.. | 0x05 => char::REPLACEMENT_CHARACTER,
                    byte if lower => char::from(byte.to_ascii_lowercase()),
                    byte => char::from(*byte),
                });
            }
        }
        name
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
