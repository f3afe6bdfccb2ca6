//! Unified kernel images (UAPI.5): where kernel, initrd and command line are in the file.
//!
//! ```text
//!  headers | the EFI loader's sections | .sbat | .osrel | .cmdline | .. | .ucode | .initrd | .. | .linux | signatures
//! ```
//!
//! Firmware starts such a file by itself; a loader for BIOS reads the same bytes out of it, so that a disk has them once.

use core::fmt;
use core::ops::Range;

use crate::pe::Pe;

/// Bytes of the file that [`Uki::parse`] wants to see, or the whole file if it is shorter.
pub const HEAD_LEN: usize = 4096;

/// The section of the kernel.
pub const LINUX: &str = ".linux";
/// The section of the command line.
pub const CMDLINE: &str = ".cmdline";
/// The sections that are an initrd one after the other: microcode first, as the kernel looks for it at the front.
pub const INITRDS: [&str; 2] = [".ucode", ".initrd"];

/// What the initrd is given to unlock disks with: sections, and the files that `systemd-stub` makes of them, in an archive behind it.
pub const EXTRAS: [(&str, &str); 2] = [(".pcrsig", ".extra/tpm2-pcr-signature.json"), (".pcrpkey", ".extra/tpm2-pcr-public-key.pem")];
/// Their directory.
pub const EXTRA: &str = ".extra";

/// Why a file is not booted as a unified kernel image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// There are no headers of a PE file, or they do not end within [`HEAD_LEN`].
    NotPe,
    /// There is no kernel in it.
    NoLinux,
    /// A section lies beyond the end of the file.
    CutShort {
        /// Its name.
        section: &'static str,
        /// Bytes in the file.
        found: u32,
        /// Bytes up to the end of the section.
        required: u64,
    },
    /// The command line is not UTF-8.
    NotText,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotPe => f.write_str("not a unified kernel image (no PE headers in its first 4096 bytes)"),
            Error::NoLinux => f.write_str("not a unified kernel image (no section .linux)"),
            Error::CutShort { section, found, required } => {
                write!(f, "unified kernel image cut short: {found} bytes, {section} ends at byte {required}")
            }
            Error::NotText => f.write_str("command line is not UTF-8 text"),
        }
    }
}

impl core::error::Error for Error {}

/// What is booted of a unified kernel image, as ranges of its file. What it does not have is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uki {
    /// The kernel.
    pub linux: Range<u32>,
    /// The command line, see [`command_line`].
    pub cmdline: Range<u32>,
    /// The sections [`INITRDS`], in this order.
    pub initrds: [Range<u32>; 2],
}

impl Uki {
    /// Finds the sections by `head`, the first bytes of a file of `len` bytes.
    ///
    /// # Errors
    /// [`Error::NotPe`], [`Error::NoLinux`], [`Error::CutShort`].
    pub fn parse(head: &[u8], len: u32) -> Result<Self, Error> {
        let pe = head.get(..HEAD_LEN.min(head.len())).and_then(Pe::parse).ok_or(Error::NotPe)?;
        let find = |section: &'static str| {
            let Some(row) = pe.section(section) else { return Ok(0..0) };
            let Range { start, end } = row.file();
            match (u32::try_from(start), u32::try_from(end)) {
                (Ok(start), Ok(end)) if end <= len => Ok(start..end),
                _ => Err(Error::CutShort { section, found: len, required: end }),
            }
        };
        let [ucode, initrd] = INITRDS;
        let found = Self { linux: find(LINUX)?, cmdline: find(CMDLINE)?, initrds: [find(ucode)?, find(initrd)?] };
        if found.linux.is_empty() { Err(Error::NoLinux) } else { Ok(found) }
    }
}

/// The command line in a section's bytes, without what tools leave at its end.
///
/// # Errors
/// [`Error::NotText`].
pub fn command_line(section: &[u8]) -> Result<&str, Error> {
    let text = core::str::from_utf8(section).map_err(|_| Error::NotText)?;
    Ok(text.trim_end_matches(['\0', '\n', '\r', ' ']))
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::pe::tests::{TABLE_AT, file, put};

    fn parse(file: &[u8]) -> Result<Uki, Error> {
        Uki::parse(file, u32::try_from(file.len()).unwrap())
    }

    #[test]
    fn what_is_booted_is_found_in_any_order() {
        let file = file(&[(".sbat", b"s"), (".linux", &[9; 600]), (".initrd", b"ii"), (".ucode", b"u"), (".cmdline", b"quiet\n")]);
        let uki = parse(&file).unwrap();
        let bytes = |range: &Range<u32>| &file[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert_eq!(bytes(&uki.linux), [9; 600]);
        assert_eq!(uki.initrds.each_ref().map(bytes), [b"u".as_slice(), b"ii"]);
        assert_eq!(command_line(bytes(&uki.cmdline)), Ok("quiet"));
    }

    #[test]
    fn what_it_lacks_is_empty_but_the_kernel() {
        let uki = parse(&file(&[(".linux", b"k")])).unwrap();
        assert_eq!((uki.linux, uki.cmdline, uki.initrds), (1024..1025, 0..0, [0..0, 0..0]));
        let words = |file: &[u8]| parse(file).unwrap_err().to_string();
        assert_eq!(words(&file(&[(".initrd", b"i")])), "not a unified kernel image (no section .linux)");
        assert_eq!(words(&file(&[(".linux", b"")])), "not a unified kernel image (no section .linux)");
        assert_eq!(words(b"#!/bin/sh"), "not a unified kernel image (no PE headers in its first 4096 bytes)");
    }

    #[test]
    fn a_file_cut_short_names_the_section_and_both_lengths() {
        let file = file(&[(".cmdline", b"quiet"), (".linux", &[9; 600])]);
        let error = parse(&file[..1800]).unwrap_err();
        assert_eq!(error.to_string(), "unified kernel image cut short: 1800 bytes, .linux ends at byte 2136");
        let mut wild = file;
        put(&mut wild, TABLE_AT + 40 + 16, &[0xff; 8]);
        assert!(matches!(parse(&wild), Err(Error::CutShort { section: LINUX, .. })));
    }

    #[test]
    fn headers_behind_the_head_are_not_looked_for() {
        let mut far = file(&[(".linux", b"k")]);
        far.splice(0x40..0x40, [0; 4096]);
        put(&mut far, 0x3c, &(0x78u32 + 4096).to_le_bytes());
        assert!(crate::pe::Pe::parse(&far).is_some());
        assert_eq!(parse(&far), Err(Error::NotPe));
    }

    #[test]
    fn a_command_line_is_text() {
        assert_eq!(command_line(b" a  b\r\n\0\0"), Ok(" a  b"));
        assert_eq!(command_line(b""), Ok(""));
        assert_eq!(command_line(b"\xff"), Err(Error::NotText));
    }

    #[test]
    fn mutants_never_panic_and_never_leave_the_file() {
        let sound = file(&[(".linux", &[9; 600]), (".initrd", b"ii"), (".ucode", b"u"), (".cmdline", b"quiet")]);
        let judge = |file: &[u8]| {
            let Ok(Uki { linux, cmdline, initrds: [ucode, initrd] }) = parse(file) else { return };
            for range in [linux, cmdline, ucode, initrd] {
                assert!(range.start <= range.end && usize::try_from(range.end).unwrap() <= file.len());
            }
        };
        for len in 0..sound.len() {
            judge(&sound[..len]);
        }
        for at in 0..1024 {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut mutant = sound.clone();
                mutant[at] = value;
                judge(&mutant);
            }
        }
    }
}
