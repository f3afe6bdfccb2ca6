//! gzip (RFC 1952), one member made of pieces: Linux refuses a second member.
//!
//! Each piece is deflated on its own, with the 32 KiB before it as dictionary, and ends in a sync flush, so that the next
//! piece begins at a byte. An empty last block closes the member. The CRC32 is put together from those of the pieces.

use super::{
    Codec, Linux, Row, Work, Writing, deflate,
    input::Input,
    read::{Decode, Padding, Reading},
};
use crate::{Error, Kind, Result, units};
use flate2::{Compress, Compression, FlushCompress, bufread::GzDecoder};
use std::{
    io::{self, Read, Write},
    mem,
    ops::Range,
};

pub(super) const ROW: Row = Row {
    codec: Codec::Gzip,
    name: "gzip",
    ending: ".gz",
    is_magic: |start| matches!(start, [0x1f, 0x8b, 8, ..]),
    writing: Some(Writing { levels: 1..=9, default: 6, write }),
    reading: Reading {
        unit: "member",
        open: |input| Box::new(Members::new(input)),
        padding: Padding::Multiple(1),
        follows: |next| matches!(next, [0x1f] | [0x1f, 0x8b, ..]),
        garbage_ends: true,
    },
    initramfs: Some(Linux { option: "CONFIG_RD_GZIP", text: b"Not a gzip file\0" }),
    squashfs: Some(Linux { option: "CONFIG_SQUASHFS_ZLIB", text: b"SQUASHFS error: Failed to allocate zlib workspace\n" }),
};

/// Bytes of input in a piece. Larger ones repeat less of the dictionary, smaller ones occupy more cores.
const PIECE: u64 = 512 * units::KIB;
/// How far deflate looks back.
const WINDOW: u64 = 32 * units::KIB;
/// An empty block with fixed codes that is marked as the last.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// A deflated piece and the CRC32 of its input.
#[derive(Clone)]
struct Piece {
    deflated: Vec<u8>,
    crc: crc32fast::Hasher,
}

fn write(work: &Work<'_>, to: &mut dyn Write) -> Result<()> {
    // Magic, deflate, no flags, no time, XFL (2 best, 4 fastest), OS Unix.
    let effort = match work.level {
        9 => 2,
        1 => 4,
        _ => 0,
    };
    to.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, effort, 3])?;
    let mut crc = crc32fast::Hasher::new();
    let deflate = |range: Range<u64>| {
        let from = range.start.saturating_sub(WINDOW);
        piece(&work.read(&(from..range.end))?, range.start - from, work.level)
    };
    work.each(PIECE, WINDOW, deflate, |piece| {
        crc.combine(&piece.crc);
        Ok(to.write_all(&piece.deflated)?)
    })?;
    to.write_all(&LAST_BLOCK)?;
    to.write_all(&crc.finalize().to_le_bytes())?;
    // ISIZE is modulo 2^32: the lower half.
    to.write_all(&work.blob.len().to_le_bytes()[..4])?;
    Ok(())
}

fn piece(bytes: &[u8], dictionary: u64, level: u32) -> Result<Piece> {
    let (dictionary, bytes) = bytes.split_at(units::index(dictionary));
    let mut compress = Compress::new(Compression::new(level), false);
    if !dictionary.is_empty() {
        compress.set_dictionary(dictionary).map_err(|e| Error::new(Kind::Bug, "deflate refused its dictionary").because(e))?;
    }
    let mut deflated = Vec::with_capacity(bytes.len() / 2);
    deflate::run(&mut compress, bytes, FlushCompress::Sync, &mut deflated)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(bytes);
    Ok(Piece { deflated, crc })
}

/// Reads members, each with its CRC32 and its length.
struct Members<'a>(GzDecoder<Input<'a>>);

impl<'a> Members<'a> {
    fn new(input: Input<'a>) -> Self {
        // A decoder reads a header as soon as it is made, and this is not yet the time for that.
        let mut decoder = GzDecoder::new(Input::default());
        decoder.reset(input);
        Self(decoder)
    }
}

impl Read for Members<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read(to)
    }
}

impl<'a> Decode<'a> for Members<'a> {
    fn begin(&mut self) -> io::Result<()> {
        let input = mem::take(self.0.get_mut());
        self.0.reset(input);
        Ok(())
    }

    fn input(&mut self) -> &mut Input<'a> {
        self.0.get_mut()
    }
}
