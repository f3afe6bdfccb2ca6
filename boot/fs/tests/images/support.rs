//! Disk images made by the usual tools, and a device that counts how it is read. A missing tool fails the test.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use bootfs::BlockDevice;

/// A directory that goes away with the test.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bootfs-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file with these contents.
    pub fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, contents).unwrap();
        path
    }

    /// A file of zeros.
    pub fn zeros(&self, name: &str, len: u64) -> PathBuf {
        let path = self.path(name);
        File::create(&path).unwrap().set_len(len).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a tool of the host; the test fails when it is missing or fails.
pub fn run(tool: &str, args: &[&dyn AsRef<std::ffi::OsStr>]) {
    let mut command = Command::new(tool);
    command.args(args.iter().map(|arg| arg.as_ref())).env("MTOOLS_SKIP_CHECK", "1");
    // Debian keeps these two where only root looks.
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    let output = command.output().unwrap_or_else(|error| panic!("{tool} is needed for this test: {error}"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
}

/// `image` as mtools names the file system at byte `offset` of it.
pub fn at(image: &Path, offset: u64) -> String {
    format!("{}@@{offset}", image.display())
}

/// An image file as a device.
pub struct Image {
    file: File,
    sector: u32,
    /// Every read: (first sector, bytes).
    pub reads: Vec<(u64, usize)>,
}

impl Image {
    pub fn open(path: &Path, sector: u32) -> Self {
        Self { file: File::open(path).unwrap(), sector, reads: Vec::new() }
    }
}

impl BlockDevice for Image {
    type Error = io::Error;

    fn sector_size(&self) -> u32 {
        self.sector
    }

    fn sector_count(&self) -> Option<u64> {
        Some(self.file.metadata().unwrap().len() / u64::from(self.sector))
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> io::Result<()> {
        assert_eq!(into.len() % self.sector as usize, 0, "reads are whole sectors");
        self.reads.push((first, into.len()));
        self.file.read_exact_at(into, first * u64::from(self.sector))
    }
}

/// A device in memory that does not know its own size, as a BIOS may not.
pub struct Memory(pub Vec<u8>);

impl BlockDevice for Memory {
    type Error = &'static str;

    fn sector_size(&self) -> u32 {
        512
    }

    fn sector_count(&self) -> Option<u64> {
        None
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), &'static str> {
        let start = usize::try_from(first).ok().and_then(|first| first.checked_mul(512)).ok_or("far out")?;
        let end = start.checked_add(into.len()).ok_or("far out")?;
        into.copy_from_slice(self.0.get(start..end).ok_or("no such sector")?);
        Ok(())
    }
}

/// Bytes that never repeat within a file.
pub fn pattern(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}
