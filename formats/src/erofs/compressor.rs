//! What compresses files (`available_compr_algs`), and what readers are told of it.
//!
//! ```text
//!  behind the superblock: | 14 | z_erofs_lz4_cfgs |  or  | 6 | z_erofs_zstd_cfgs |
//! ```
//! A piece of a file becomes an LZ4 block, or a frame of Zstandard (RFC 8878). Linux reserves one window for all frames of a
//! volume, of the size said here and at most 1 MiB, and refuses a frame that wants more; ours want what the piece has.

use super::{BLOCK, lz4hc};
use crate::{
    Error, Options, Result,
    compress::{Codec, Encoding, zstd},
};
use lz4_flex::block;
use std::mem::offset_of;
use zerocopy::{Immutable, IntoBytes, KnownLayout, Unaligned, little_endian::U16};

/// How far back matches of LZ4 reach.
const DISTANCE_MAX: u16 = u16::MAX;
/// Of zstd, where none is asked for: a root is written once and read often.
const ZSTD_LEVEL: u32 = 6;
/// `ZSTD_WINDOWLOG_ABSOLUTEMIN`: what the smallest window has, 1 KiB.
const WINDOW_BITS_MIN: u32 = 10;

/// `struct z_erofs_lz4_cfgs` with the length before it.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Lz4Config {
    /// 0: bytes that follow: 14.
    len: U16,
    /// 2: how far back matches reach.
    max_distance: U16,
    /// 4: most blocks of a piece of compressed data.
    max_pcluster_blocks: U16,
    /// 6: zeros.
    reserved: [u8; 10],
}
const _: () = assert!(size_of::<Lz4Config>() == 16);

/// `struct z_erofs_zstd_cfgs` with the length before it.
#[derive(IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ZstdConfig {
    /// 0: bytes that follow: 6.
    len: U16,
    /// 2: 0: a frame in each piece.
    format: u8,
    /// 3: of the largest window, the binary logarithm less [`WINDOW_BITS_MIN`].
    window_log: u8,
    /// 4: zeros.
    reserved: [u8; 4],
}
const _: () = assert!(size_of::<ZstdConfig>() == 8 && offset_of!(ZstdConfig, window_log) == 3);

/// What compresses the files of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compressor {
    /// LZ4, fast.
    Lz4,
    /// LZ4, small.
    Lz4Hc,
    /// Zstandard.
    Zstd {
        /// 1 to 19.
        level: u32,
    },
}

impl Compressor {
    /// The one that options name, if any.
    ///
    /// # Errors
    /// When it has no such level.
    pub(super) fn of(options: &Options) -> Result<Option<Self>> {
        let level = options.number_or_auto("erofs_level");
        let word = options.word("erofs_compression");
        if word == "zstd" {
            let level = level.map_or(ZSTD_LEVEL, |level| u32::try_from(level).expect("at most 19"));
            let level = Encoding::new(Codec::Zstd, Some(level))?.level();
            return Ok(Some(Self::Zstd { level }));
        }
        if let Some(level) = level {
            return Err(Error::unsupported(format!("erofs_level {level} of {word}: only zstd has levels")));
        }
        Ok(match word {
            "lz4" => Some(Self::Lz4),
            "lz4hc" => Some(Self::Lz4Hc),
            _ => None,
        })
    }

    /// `Z_EROFS_COMPRESSION_`: its number in a file's map header, and its bit in the superblock.
    pub(super) fn algorithm(self) -> u8 {
        match self {
            Self::Lz4 | Self::Lz4Hc => 0,
            Self::Zstd { .. } => 3,
        }
    }

    /// What readers need to know where pieces have so many bytes.
    pub(super) fn config(self, piece: u64) -> Vec<u8> {
        match self {
            Self::Lz4 | Self::Lz4Hc => {
                // What is compressed has at least one block less than the piece.
                let max_pcluster_blocks = u16::try_from(piece / BLOCK - 1).expect("at most PIECE_MAX").into();
                Lz4Config { len: 14.into(), max_distance: DISTANCE_MAX.into(), max_pcluster_blocks, reserved: [0; 10] }.as_bytes().to_vec()
            }
            Self::Zstd { .. } => {
                let window_log = u8::try_from(piece.ilog2() - WINDOW_BITS_MIN).expect("PIECE_MAX gives 10, the most that Linux takes");
                ZstdConfig { len: 6.into(), format: 0, window_log, reserved: [0; 4] }.as_bytes().to_vec()
            }
        }
    }

    /// A piece, compressed.
    pub(super) fn unit(self, plain: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Lz4 => Ok(block::compress(plain)),
            Self::Lz4Hc => Ok(lz4hc::compress(plain)),
            // It says how long its content is, as `fsck.erofs` demands. A checksum would never be looked at: Linux stops reading
            // when it has the last byte of the file.
            Self::Zstd { level } => zstd::bare_unit(plain, level),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{erofs::OPTIONS, units};

    fn of(pairs: &[(&str, &str)]) -> Result<Option<Compressor>> {
        Compressor::of(&Options::parse(&OPTIONS, pairs.iter().copied()).unwrap())
    }

    #[test]
    fn levels_are_of_zstd() {
        let zstd = ("erofs_compression", "zstd");
        assert_eq!(of(&[zstd]).unwrap(), Some(Compressor::Zstd { level: ZSTD_LEVEL }));
        assert_eq!(of(&[zstd, ("erofs_level", "19")]).unwrap(), Some(Compressor::Zstd { level: 19 }));
        assert_eq!(of(&[]).unwrap(), Some(Compressor::Lz4));
        for word in ["lz4", "lz4hc", "none"] {
            let error = of(&[("erofs_compression", word), ("erofs_level", "9")]).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("only zstd"), "{error}");
        }
    }

    #[test]
    fn readers_learn_the_window() {
        let zstd = Compressor::Zstd { level: 1 };
        assert_eq!(zstd.config(128 * units::KIB), [6, 0, 0, 7, 0, 0, 0, 0]);
        assert_eq!(zstd.config(units::MIB), [6, 0, 0, 10, 0, 0, 0, 0]);
        assert_eq!(Compressor::Lz4.config(128 * units::KIB)[..6], [14, 0, 255, 255, 31, 0]);
    }

    /// The window that a frame asks for, and the size it says its content has (RFC 8878, section 3.1.1.1).
    fn window_and_size(frame: &[u8]) -> (u64, u64) {
        assert_eq!(frame[..4], [0x28, 0xb5, 0x2f, 0xfd]);
        let descriptor = frame[4];
        assert_eq!(descriptor & 0b1_1111, 0, "no checksum, no dictionary");
        let is_single_segment = descriptor & 1 << 5 != 0;
        let at = if is_single_segment { 5 } else { 6 };
        let field = |len: usize| (0..len).rev().fold(0, |value, nth| value << 8 | u64::from(frame[at + nth]));
        let size = match (descriptor >> 6, is_single_segment) {
            (0, true) => field(1),
            (1, _) => field(2) + 256,
            (2, _) => field(4),
            (3, _) => field(8),
            _ => panic!("the frame does not say its size"),
        };
        let (exponent, mantissa) = (frame[5] >> 3, u64::from(frame[5] & 7));
        let window = 1 << (WINDOW_BITS_MIN + u32::from(exponent));
        (if is_single_segment { size } else { window + window / 8 * mantissa }, size)
    }

    #[test]
    fn no_frame_wants_a_larger_window_than_readers_have() {
        for piece in [8 * units::KIB, 128 * units::KIB, units::MIB] {
            for len in [5000, piece - 1, piece].map(units::index) {
                let text: Vec<u8> = (0_u64..).flat_map(|n| (n * n % 1000).to_string().into_bytes()).take(len).collect();
                for level in [1, 3, ZSTD_LEVEL, 13, 19] {
                    let (window, size) = window_and_size(&Compressor::Zstd { level }.unit(&text).unwrap());
                    assert!(window <= piece && size == units::bytes(len), "{len} bytes at level {level}: window {window}, size {size}");
                }
            }
        }
    }
}
