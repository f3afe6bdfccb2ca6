//! How blocks are compressed, and what the compressor options say of it.

use super::{METADATA, Settings};
use crate::{
    Result,
    compress::{
        Codec,
        deflate::{self, Wrapping},
        xz, zstd,
    },
};
use zerocopy::{
    Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

/// zlib's window, which is also the largest.
const WINDOW_BITS: u8 = 15;
/// What `mksquashfs` and therefore a reader assume where there are no options.
const GZIP_ASSUMED: u32 = 9;
const ZSTD_ASSUMED: u32 = 15;

/// Compressor options of gzip.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct GzipOptions {
    /// 0: 1 to 9.
    compression_level: U32,
    /// 4: base 2 logarithm.
    window_size: U16,
    /// 6: bit mask of zlib's strategies that were tried; 0 for its default alone.
    strategies: U16,
}

/// Compressor options of lz4, which must be there.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Lz4Options {
    /// 0: 1, the block format.
    version: U32,
    /// 4: bit 0 says that the high-compression mode was used.
    flags: U32,
}

impl Settings {
    /// The `compression` of the superblock. An image without compression still has to name one; every kernel knows zlib.
    pub(super) fn id(&self) -> u16 {
        match self.codec {
            Codec::Xz => 4,
            Codec::Lz4 => 5,
            Codec::Zstd => 6,
            _ => 1,
        }
    }

    /// The compressor options, empty where a reader need not know more.
    pub(super) fn compressor_options(&self) -> Vec<u8> {
        match self.codec {
            Codec::Gzip if self.level != GZIP_ASSUMED => {
                GzipOptions { compression_level: self.level.into(), window_size: u16::from(WINDOW_BITS).into(), strategies: 0.into() }
                    .as_bytes()
                    .to_vec()
            }
            Codec::Zstd if self.level != ZSTD_ASSUMED => self.level.to_le_bytes().to_vec(),
            Codec::Lz4 => Lz4Options { version: 1.into(), flags: 0.into() }.as_bytes().to_vec(),
            _ => Vec::new(),
        }
    }

    /// A block compressed, `None` where that makes it no smaller.
    pub(super) fn pack(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        let packed = match self.codec {
            Codec::Gzip => deflate::deflate(bytes, self.level, WINDOW_BITS, Wrapping::Zlib)?,
            Codec::Zstd => zstd::bare_unit(bytes, self.level)?,
            // Without options the kernel makes room for a dictionary of one block.
            Codec::Xz => xz::unit(bytes, self.level, self.block_size.max(METADATA))?,
            Codec::Lz4 => lz4_flex::block::compress(bytes),
            _ => return Ok(None),
        };
        Ok((packed.len() < bytes.len()).then_some(packed))
    }
}
