//! The simplest tar that can hold a root file system: POSIX ustar headers, written by hand so that the program's own reader is judged.

use std::io::{self, Read, Write};

/// Writes a tar, entry by entry. All entries have one time.
pub struct Ustar<W: Write> {
    to: W,
    uid: u32,
    gid: u32,
}

/// The type of an entry, with what only that type has.
pub enum Kind<'a> {
    File(&'a [u8]),
    HardLink(&'a str),
    Symlink(&'a str),
    CharacterDevice(u32, u32),
    BlockDevice(u32, u32),
    Directory,
    Fifo,
    /// A type flag that POSIX does not know.
    Other(u8),
}

/// Modification time of every entry.
const MTIME: u64 = 1_234_567_890;

impl<W: Write> Ustar<W> {
    pub fn new(to: W) -> Self {
        Self { to, uid: 0, gid: 0 }
    }

    /// Who owns the entries from here on.
    pub fn owned(&mut self, uid: u32, gid: u32) -> &mut Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub fn entry(&mut self, path: &str, mode: u32, kind: Kind<'_>) -> io::Result<()> {
        let (flag, target, body, device): (u8, &str, &[u8], _) = match kind {
            Kind::File(body) => (b'0', "", body, (0, 0)),
            Kind::HardLink(target) => (b'1', target, b"", (0, 0)),
            Kind::Symlink(target) => (b'2', target, b"", (0, 0)),
            Kind::CharacterDevice(major, minor) => (b'3', "", b"", (major, minor)),
            Kind::BlockDevice(major, minor) => (b'4', "", b"", (major, minor)),
            Kind::Directory => (b'5', "", b"", (0, 0)),
            Kind::Fifo => (b'6', "", b"", (0, 0)),
            Kind::Other(flag) => (flag, "", b"", (0, 0)),
        };
        self.header(path, mode, flag, target, body.len() as u64, device)?;
        self.body(body.len() as u64, &mut &body[..])
    }

    /// A regular file of `len` bytes.
    pub fn stream(&mut self, path: &str, mode: u32, len: u64, from: &mut dyn Read) -> io::Result<()> {
        self.header(path, mode, b'0', "", len, (0, 0))?;
        self.body(len, from)
    }

    /// PAX records for the next entry.
    pub fn records(&mut self, records: &[(&str, &str)]) -> io::Result<()> {
        let record = |(keyword, value): &(&str, &str)| {
            let payload = keyword.len() + value.len() + 3;
            let len = (payload + 1..).find(|len| payload + len.to_string().len() == *len).unwrap_or_default();
            format!("{len} {keyword}={value}\n")
        };
        let text: String = records.iter().map(record).collect();
        self.header("PaxHeaders/x", 0o644, b'x', "", text.len() as u64, (0, 0))?;
        self.body(text.len() as u64, &mut text.as_bytes())
    }

    /// Two blocks of zeros, and the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&[0; 1024])?;
        Ok(self.to)
    }

    fn header(&mut self, path: &str, mode: u32, flag: u8, target: &str, len: u64, device: (u32, u32)) -> io::Result<()> {
        let mut header = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, path.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        put(108, format!("{:07o}", self.uid).as_bytes());
        put(116, format!("{:07o}", self.gid).as_bytes());
        put(124, format!("{len:011o}").as_bytes());
        put(136, format!("{MTIME:011o}").as_bytes());
        put(148, b"        ");
        put(156, &[flag]);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}", device.0).as_bytes());
        put(337, format!("{:07o}", device.1).as_bytes());
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.to.write_all(&header)
    }

    fn body(&mut self, len: u64, from: &mut dyn Read) -> io::Result<()> {
        let copied = io::copy(from, &mut self.to)?;
        assert_eq!(copied, len, "the length in the header is the body's");
        io::copy(&mut io::repeat(0).take(len.next_multiple_of(512) - len), &mut self.to)?;
        Ok(())
    }
}
