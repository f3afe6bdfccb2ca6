//! A real guest as a tagged tar: Debian's kernel, its static busybox, and an init that checks everything it was given.

use super::ustar::{Kind, Ustar};
use md5::Digest;
use std::{
    fs,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

/// The guest's architecture, named as Debian names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    Amd64,
    Arm64,
}

impl Arch {
    fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The command line of the tagged tar.
    pub fn cmdline(self) -> &'static str {
        match self {
            Self::Amd64 => "console=tty0 console=ttyS0 panic=-1",
            Self::Arm64 => "console=ttyAMA0 panic=-1",
        }
    }

    /// A file that `tests/setup.sh` downloaded: `kernel`, `busybox` or `version`.
    pub fn debian(self, file: &str) -> PathBuf {
        debian(&format!("{}/{file}", self.name()))
    }
}

/// The kernel of Debian 13 for amd64, with modules: `kernel`, `modules`.
pub fn newer_debian(file: &str) -> PathBuf {
    debian(&format!("amd64-trixie/{file}"))
}

/// nginx, redis and Python with their libraries, as Debian's packages hold them.
pub fn servers() -> PathBuf {
    debian("amd64-servers")
}

/// runc and containerd with their libraries, as Debian's packages hold them.
pub fn containers() -> PathBuf {
    debian("amd64-containers")
}

/// A file of the packages of boot loaders of others.
pub fn foreign_loader(file: &str) -> PathBuf {
    debian(&format!("amd64-loaders/{file}"))
}

fn debian(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/debian").join(path);
    assert!(path.exists(), "{} is missing: run tests/setup.sh", path.display());
    path
}

const INIT: &[u8] = include_bytes!("init.sh");

/// Writes the tagged tar of a guest whose root file system has `random_mib` MiB that do not compress.
///
/// # Errors
/// When the file cannot be written.
pub fn write_tagged_tar(to: &Path, arch: Arch, random_mib: u64) -> io::Result<()> {
    let mut tar = Ustar::new(BufWriter::new(fs::File::create(to)?));
    tar.entry("boot", 0o755, Kind::Directory)?;
    tar.entry("boot/kernel", 0o644, Kind::File(&fs::read(arch.debian("kernel"))?))?;
    tar.entry("boot/cmdline", 0o644, Kind::File(format!("{}\n", arch.cmdline()).as_bytes()))?;
    tar.entry("init", 0o755, Kind::File(INIT))?;
    tar.entry("bin", 0o755, Kind::Directory)?;
    tar.entry("bin/busybox", 0o755, Kind::File(&fs::read(arch.debian("busybox"))?))?;
    tar.entry("dev", 0o755, Kind::Directory)?;
    // The kernel opens it as init's standard streams before anything is mounted.
    tar.entry("dev/console", 0o600, Kind::CharacterDevice(5, 1))?;
    tar.entry("dev/testnull", 0o666, Kind::CharacterDevice(1, 3))?;
    tar.entry("dev/testram", 0o660, Kind::BlockDevice(1, 0))?;
    // A root that is read only cannot be given these by its init.
    tar.entry("proc", 0o755, Kind::Directory)?;
    tar.entry("sys", 0o755, Kind::Directory)?;
    tar.entry("data", 0o755, Kind::Directory)?;
    let mut random = Random::new(random_mib << 20);
    tar.stream("data/random", 0o644, random_mib << 20, &mut random)?;
    let sum = format!("{}  -\n", random.md5());
    tar.entry("data/random.md5", 0o644, Kind::File(sum.as_bytes()))?;
    tar.entry("data/again.md5", 0o644, Kind::HardLink("data/random.md5"))?;
    tar.entry("data/link", 0o777, Kind::Symlink("random.md5"))?;
    tar.entry("data/fifo", 0o640, Kind::Fifo)?;
    tar.owned(1000, 100).entry("data/setuid", 0o4755, Kind::File(b"set-user-ID\n"))?;
    tar.owned(0, 0).entry("data/sticky", 0o1777, Kind::Directory)?;
    tar.entry("no/entry/here/file", 0o644, Kind::File(b"found\n"))?;
    tar.finish()?.flush()
}

/// So many bytes that look random and are always the same, with the checksum of what was read.
pub struct Random {
    left: u64,
    state: u64,
    md5: md5::Md5,
}

impl Random {
    pub fn new(len: u64) -> Self {
        Self { left: len, state: 0x9e37_79b9_7f4a_7c15, md5: md5::Md5::default() }
    }

    fn md5(self) -> String {
        self.md5.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Read for Random {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let len = to.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        for chunk in to[..len].chunks_mut(8) {
            // Marsaglia's xorshift64.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            chunk.copy_from_slice(&self.state.to_le_bytes()[..chunk.len()]);
        }
        self.md5.update(&to[..len]);
        self.left -= len as u64;
        Ok(len)
    }
}
