//! UTF-8 to the UTF-16 of the firmware, in buffers of fixed size.

use crate::KernelError;

/// UTF-16 units of the longest path, with its NUL. FAT names have at most 255 units, and nothing sensible nests deeply.
pub const MAX_PATH: usize = 512;

/// The longest command line that we convert, in UTF-16 units without and with the NUL: kernels take 2047 (x86, arm64).
const MAX_OPTIONS: u32 = 4095;
const OPTIONS_UNITS: usize = 4096;

/// Text in UTF-16 with a NUL at its end: at most `N` units together.
#[derive(Debug, Clone)]
pub struct Utf16<const N: usize> {
    units: [u16; N],
    len: usize,
}

impl<const N: usize> Utf16<N> {
    const fn empty() -> Self {
        Self { units: [0; N], len: 0 }
    }

    /// Converts `text`. `None` when it and a NUL do not fit.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut converted = Self::empty();
        text.chars().try_for_each(|character| converted.push(character))?;
        Some(converted)
    }

    /// Adds one character; `None` when it and a NUL do not fit any more.
    fn push(&mut self, character: char) -> Option<()> {
        let mut buffer = [0; 2];
        let units = character.encode_utf16(&mut buffer);
        let end = self.len.checked_add(units.len()).filter(|end| *end < N)?;
        self.units.get_mut(self.len..end)?.copy_from_slice(units);
        self.len = end;
        Some(())
    }

    /// The text with its NUL.
    #[must_use]
    pub fn with_nul(&self) -> &[u16] {
        self.units.get(..=self.len).unwrap_or_default()
    }
}

/// A path of an entry as the firmware wants it: from the root, with backslashes.
#[derive(Debug, Clone)]
pub struct FilePath(Utf16<MAX_PATH>);

impl FilePath {
    /// Converts the path of a boot entry. `None` when it is empty or too long to exist.
    #[must_use]
    pub fn new(path: &str) -> Option<Self> {
        let mut converted = Self(Utf16::empty());
        // Entries are written for both separators, with or without the first one, and `//` is `/`.
        path.split(['/', '\\']).filter(|name| !name.is_empty()).try_for_each(|name| converted.push(name))?;
        (converted.0.len > 0).then_some(converted)
    }

    /// The file `name` in this directory. `None` when that gets too long to exist.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<Self> {
        let mut child = self.clone();
        child.push(name)?;
        Some(child)
    }

    fn push(&mut self, name: &str) -> Option<()> {
        self.0.push('\\')?;
        name.chars().try_for_each(|character| self.0.push(character))
    }

    /// The path with its NUL.
    #[must_use]
    pub fn with_nul(&self) -> &[u16] {
        self.0.with_nul()
    }
}

/// A command line as the load options of an image.
#[derive(Debug, Clone)]
pub struct LoadOptions(Utf16<OPTIONS_UNITS>);

impl LoadOptions {
    /// No options.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Utf16::empty())
    }

    /// Converts the command line in `parts`, joined by single spaces.
    ///
    /// # Errors
    /// [`KernelError::Setup`] when it is longer than any kernel takes.
    pub fn new<'a>(parts: impl Iterator<Item = &'a str> + Clone) -> Result<Self, KernelError> {
        let too_long = || {
            let found = parts.clone().fold(0usize, |len, part| len.saturating_add(part.len()).saturating_add(1)).saturating_sub(1);
            KernelError::Setup(bootlinux::Error::CommandLine { found, limit: MAX_OPTIONS })
        };
        let mut options = Self::empty();
        for (index, part) in parts.clone().enumerate() {
            let separator = if index > 0 { " " } else { "" };
            let mut characters = separator.chars().chain(part.chars());
            characters.try_for_each(|character| options.0.push(character)).ok_or_else(too_long)?;
        }
        Ok(options)
    }

    /// The options with their NUL.
    #[must_use]
    pub fn with_nul(&self) -> &[u16] {
        self.0.with_nul()
    }
}

#[cfg(test)]
mod tests {
    use std::string::{String, ToString};

    use super::*;

    fn path(text: &str) -> Option<String> {
        FilePath::new(text).map(|path| String::from_utf16(path.with_nul()).unwrap())
    }

    #[test]
    fn paths_of_entries_become_paths_of_the_firmware() {
        assert_eq!(path("/moby/vmlinuz").as_deref(), Some("\\moby\\vmlinuz\0"));
        assert_eq!(path("moby//kernel ä").as_deref(), Some("\\moby\\kernel ä\0"));
        assert_eq!(path("\\EFI\\Linux\\x.efi").as_deref(), Some("\\EFI\\Linux\\x.efi\0"));
        assert_eq!(path(""), None);
        assert_eq!(path("/"), None);
        let child = FilePath::new("/loader/entries").unwrap().child("moby.conf").unwrap();
        assert_eq!(String::from_utf16(child.with_nul()).unwrap(), "\\loader\\entries\\moby.conf\0");
    }

    #[test]
    fn a_path_too_long_is_refused_not_cut() {
        let longest = "a".repeat(MAX_PATH - 2);
        assert_eq!(path(&longest).unwrap().len(), MAX_PATH);
        assert_eq!(path(&(longest + "a")), None);
    }

    #[test]
    fn options_are_joined_by_single_spaces() {
        let options = LoadOptions::new(["root=/dev/sda", "x=\"a b\"", "😀"].into_iter()).unwrap();
        assert_eq!(String::from_utf16(options.with_nul()).unwrap(), "root=/dev/sda x=\"a b\" 😀\0");
        assert_eq!(LoadOptions::new([].into_iter()).unwrap().with_nul(), [0]);
    }

    #[test]
    fn options_too_long_are_refused_with_both_lengths() {
        let half = "x".repeat(2047);
        assert!(LoadOptions::new([half.as_str(), half.as_str()].into_iter()).is_ok());
        let error = LoadOptions::new([half.as_str(), half.as_str(), ""].into_iter()).unwrap_err();
        assert_eq!(error.to_string(), "too long: 4096 bytes, the kernel takes 4095");
    }
}
