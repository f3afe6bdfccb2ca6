//! A cpio archive in the form that kernels unpack (Linux `early-userspace/buffer-format.rst`, "newc"), header by header: the files
//! that a loader adds behind an initrd lie elsewhere in memory.
//!
//! ```text
//!  "070701" | 13 numbers of 8 hexadecimal digits | name with its NUL, to a multiple of 4 | body, to a multiple of 4
//! ```

/// Bytes of the numbers with the magic.
const FIELDS_LEN: usize = 110;
/// Room for the names that are made here.
const MAX: usize = FIELDS_LEN + 50;

/// What stands before the body of a file, but for the zeros that align the body.
#[derive(Debug, Clone)]
pub struct Header {
    bytes: [u8; MAX],
    len: usize,
}

impl Header {
    /// Of a directory, for anybody to read.
    #[must_use]
    pub fn directory(path: &str) -> Option<Self> {
        Self::new(path, 0o040_555, 0)
    }

    /// Of a file of `len` bytes, for anybody to read.
    #[must_use]
    pub fn file(path: &str, len: usize) -> Option<Self> {
        Self::new(path, 0o100_444, u32::try_from(len).ok()?)
    }

    /// The end of an archive.
    #[must_use]
    pub fn trailer() -> Option<Self> {
        Self::new("TRAILER!!!", 0, 0)
    }

    /// `None` when the path is too long.
    fn new(path: &str, mode: u32, len: u32) -> Option<Self> {
        let name_len = path.len().checked_add(1)?;
        let total = FIELDS_LEN.checked_add(name_len)?;
        let mut header = Self { bytes: [0; MAX], len: total };
        // Inode, mode, uid, gid, links, mtime, length, device and what it stands for (two numbers each), bytes of the name, no sum.
        let fields = [0, mode, 0, 0, 1, 0, len, 0, 0, 0, 0, u32::try_from(name_len).ok()?, 0];
        let digits = fields.into_iter().flat_map(|field| (0..8u32).rev().map(move |nth| (field >> (nth << 2)) & 0xf));
        let digits = digits.filter_map(|digit| char::from_digit(digit, 16)).filter_map(|digit| u8::try_from(digit).ok());
        let bytes = b"070701".iter().copied().chain(digits).chain(path.bytes());
        // The NUL is there.
        header.bytes.get_mut(..total)?.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Some(header)
    }

    /// The header with the name.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::string::String;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn cpio_reads_what_a_loader_puts_together() {
        let body = b"{\"sha256\": []}\n";
        let headers = [Header::directory(".extra"), Header::file(".extra/tpm2-pcr-signature.json", body.len()), Header::trailer()];
        let [directory, file, trailer] = headers.map(Option::unwrap);
        let mut archive = Vec::new();
        for part in [directory.bytes(), file.bytes(), body, trailer.bytes()] {
            archive.extend(part);
            archive.resize(archive.len().next_multiple_of(4), 0);
        }
        let cpio = |arguments: &[&str]| {
            let mut cpio = Command::new("cpio").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            cpio.stdin.take().unwrap().write_all(&archive).unwrap();
            let output = cpio.wait_with_output().unwrap();
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        };
        let listed = cpio(&["-itv", "--quiet"]);
        let lines: Vec<_> =
            listed.lines().map(|line| (line.split_whitespace().next().unwrap(), line.rsplit(' ').next().unwrap())).collect();
        assert_eq!(lines, [("dr-xr-xr-x", ".extra"), ("-r--r--r--", ".extra/tpm2-pcr-signature.json")], "{listed}");
        assert_eq!(cpio(&["-i", "--quiet", "--to-stdout", ".extra/tpm2*"]).as_bytes(), body);
    }

    #[test]
    fn a_name_too_long_is_refused() {
        assert!(Header::file(&format!("/{}", "n".repeat(48)), 0).is_some());
        assert!(Header::file(&format!("/{}", "n".repeat(49)), 0).is_none());
    }
}
