//! What an unpacked kernel says about itself, found by its strings in one pass and in little memory.

use crate::{
    Blob, Result,
    compress::{CODECS, Codec, Linux, Row},
    units,
};
use flate2::read::GzDecoder;
use memchr::memmem;
use std::io::Read;

/// How much is searched at once.
const CHUNK: usize = 1 << 20;
/// The most that is kept of a chunk to find what lies across its end: a configuration and the markers around it.
const OVERLAP: usize = 256 << 10;
/// The longest configuration, as text.
const CONFIG_MAX: u64 = 4 * units::MIB;
/// `kernel/configs.c`: what stands around the configuration, gzip.
const CONFIG_START: &[u8] = b"IKCFG_ST";
const CONFIG_END: &[u8] = b"IKCFG_ED";
/// `init/version.c`: the line that the kernel prints first.
const BANNER: &[u8] = b"Linux version ";
const BANNER_MAX: usize = 512;

/// What a kernel says about itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `Linux version 6.1.0-...`, as the kernel prints it.
    pub banner: Option<String>,
    /// The configuration it was built with, where it has that in it (`CONFIG_IKCONFIG=y`).
    pub config: Option<Config>,
    /// What it can unpack its initramfs with, besides [`Codec::None`]. [`Codec::Lz4`] is the legacy frame.
    pub initramfs_codecs: Vec<Codec>,
    /// What it can read squashfs with; empty where that is not built in.
    pub squashfs_codecs: Vec<Codec>,
}

impl Facts {
    /// The first two numbers of its version.
    pub fn version(&self) -> Option<(u32, u32)> {
        let version = self.banner.as_deref()?.strip_prefix("Linux version ")?;
        let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    }
}

/// A kernel's configuration: the text of its `.config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config(String);

impl From<String> for Config {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Config {
    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The value of an option by its full name (`CONFIG_RD_ZSTD`): `y`, `m`, a number, a string in quotes; `None` if not set.
    pub fn get(&self, option: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='))
    }
}

/// What the module of squashfs reads it with; it has the words of a kernel in which that is built in.
///
/// # Errors
/// When it cannot be read.
pub fn squashfs_codecs(module: &Blob) -> Result<Vec<Codec>> {
    facts(&mut module.reader()).map(|facts| facts.squashfs_codecs)
}

pub(super) fn facts(kernel: &mut dyn Read) -> Result<Facts> {
    let mut search = Search::default();
    let mut window = Vec::with_capacity(CHUNK + OVERLAP);
    loop {
        let read = (&mut *kernel).take(units::bytes(CHUNK)).read_to_end(&mut window)?;
        search.look_at(&window);
        if read == 0 {
            return Ok(search.finish());
        }
        window.drain(..window.len().saturating_sub(OVERLAP));
    }
}

#[derive(Default)]
struct Search {
    /// Whether the decompressor of each codec was found, for an initramfs and for squashfs. What unpacks the kernel itself stands
    /// outside of what is searched.
    initramfs: [bool; CODECS.len()],
    squashfs: [bool; CODECS.len()],
    banner: Option<String>,
    config: Option<Config>,
}

impl Search {
    fn look_at(&mut self, window: &[u8]) {
        let has = |linux: &Option<Linux>| linux.is_some_and(|linux| memmem::find(window, linux.text).is_some());
        for ((row, initramfs), squashfs) in CODECS.iter().zip(&mut self.initramfs).zip(&mut self.squashfs) {
            *initramfs = *initramfs || has(&row.initramfs);
            *squashfs = *squashfs || has(&row.squashfs);
        }
        if self.banner.is_none() {
            self.banner = memmem::find_iter(window, BANNER).find_map(|at| banner(&window[at..]));
        }
        if self.config.is_none() {
            self.config = memmem::find_iter(window, CONFIG_START).find_map(|at| config(&window[at + CONFIG_START.len()..]));
        }
    }

    fn finish(self) -> Facts {
        let Self { initramfs, squashfs, banner, config } = self;
        let codecs = |found: &[bool], linux: fn(&Row) -> Option<Linux>, subsystem| {
            let has = |(row, found): &(&Row, &bool)| match (&config, linux(row)) {
                (Some(config), Some(linux)) => config.get(subsystem) == Some("y") && config.get(linux.option) == Some("y"),
                (None, Some(_)) => **found,
                (_, None) => false,
            };
            CODECS.iter().zip(found).filter(has).map(|(row, _)| row.codec).collect()
        };
        let initramfs_codecs = codecs(&initramfs, |row| row.initramfs, "CONFIG_BLK_DEV_INITRD");
        let squashfs_codecs = codecs(&squashfs, |row| row.squashfs, "CONFIG_SQUASHFS");
        Facts { banner, config, initramfs_codecs, squashfs_codecs }
    }
}

/// The banner, and not the format string that it is printed with elsewhere.
fn banner(text: &[u8]) -> Option<String> {
    let end = text.iter().take(BANNER_MAX).position(|byte| matches!(byte, b'\n' | 0))?;
    let line = std::str::from_utf8(&text[..end]).ok()?;
    (!line.contains('%')).then(|| line.to_owned())
}

fn config(text: &[u8]) -> Option<Config> {
    let end = memmem::find(text, CONFIG_END)?;
    let mut config = String::new();
    GzDecoder::new(&text[..end]).take(CONFIG_MAX).read_to_string(&mut config).ok()?;
    Some(Config(config))
}
