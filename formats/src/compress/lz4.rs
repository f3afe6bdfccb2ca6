//! lz4 frames. What is written is the legacy frame (lz4 frame format, "Legacy frame"), which is what Linux unpacks.
//!
//! ```text
//!  02 21 4c 18                            magic
//!  size (32 bits), that many bytes        a block of 8 MiB when unpacked, the last one shorter
//!  ...                                    until the end of the file
//! ```
//! A file has frames of either kind, and skippable ones, in any order.

use super::{
    Codec, Linux, Row, Work, Writing,
    input::{Input, is_skippable},
    read::{Decode, Padding, Reading},
};
use crate::{Error, Kind, Result, units};
use lz4_flex::{block, frame::FrameDecoder};
use std::{
    io::{self, Read, Write},
    mem,
    ops::Range,
};

pub(super) const ROW: Row = Row {
    codec: Codec::Lz4,
    name: "lz4",
    ending: ".lz4",
    is_magic: |start| start.starts_with(&LEGACY),
    writing: Some(Writing { levels: 1..=1, default: 1, write }),
    reading: READING,
    initramfs: Some(Linux { option: "CONFIG_RD_LZ4", text: b"chunk length is longer than allocated\0" }),
    squashfs: Some(Linux { option: "CONFIG_SQUASHFS_LZ4", text: b"SQUASHFS error: Failed to initialise LZ4 decompressor\n" }),
};

/// The current frame; read only.
pub(super) const FRAME_ROW: Row = Row {
    codec: Codec::Lz4Frame,
    name: "lz4 frame",
    ending: ".lz4",
    is_magic: |start| start.starts_with(&FRAME),
    writing: None,
    reading: READING,
    initramfs: None,
    squashfs: None,
};

const READING: Reading = Reading {
    unit: "frame",
    open: |input| Box::new(Frames::Outside(input)),
    padding: Padding::None,
    follows: |next| next.starts_with(&LEGACY) || next.starts_with(&FRAME) || is_skippable(next),
    garbage_ends: false,
};

const LEGACY: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
const FRAME: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Bytes in a block when unpacked.
const BLOCK: u64 = 8 * units::MIB;

fn write(work: &Work<'_>, to: &mut dyn Write) -> Result<()> {
    to.write_all(&LEGACY)?;
    let compress = |range: Range<u64>| Ok(block::compress(&work.read(&range)?));
    work.each(BLOCK, 0, compress, |block| {
        let size = u32::try_from(block.len()).map_err(|_| Error::new(Kind::Bug, "an lz4 block of 4 GiB"))?;
        to.write_all(&size.to_le_bytes())?;
        Ok(to.write_all(&block)?)
    })
}

/// Reads frames, each with its checksums where it has them, and the skippable frames in front of them.
enum Frames<'a> {
    Outside(Input<'a>),
    Frame(Box<FrameDecoder<Input<'a>>>),
    Legacy(Legacy<'a>),
}

impl Read for Frames<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = match self {
            Self::Outside(_) => return Ok(0),
            Self::Frame(decoder) => {
                let n = decoder.read(to)?;
                // It takes the end of its input for the end of a frame.
                if n == 0 && decoder.get_ref().is_exhausted() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                n
            }
            Self::Legacy(legacy) => legacy.read(to)?,
        };
        if n == 0 && !to.is_empty() {
            *self = Self::Outside(mem::take(self.input()));
        }
        Ok(n)
    }
}

impl<'a> Decode<'a> for Frames<'a> {
    fn begin(&mut self) -> io::Result<()> {
        let mut input = mem::take(self.input());
        let skipped = input.skip_frames()?;
        let next = input.peek(FRAME.len())?;
        *self = if next == LEGACY {
            Self::Legacy(Legacy { input, block: Vec::new(), len: 0, done: 0 })
        } else if skipped && next.is_empty() {
            Self::Outside(input)
        } else {
            Self::Frame(Box::new(FrameDecoder::new(input)))
        };
        Ok(())
    }

    fn input(&mut self) -> &mut Input<'a> {
        match self {
            Self::Outside(input) | Self::Legacy(Legacy { input, .. }) => input,
            Self::Frame(decoder) => decoder.get_mut(),
        }
    }
}

/// A legacy frame. It ends where no block can begin: at the end, at zeros (padding, as in Linux), and at a size that no block has,
/// which may be another magic.
struct Legacy<'a> {
    input: Input<'a>,
    /// Room for a block, once there is one.
    block: Vec<u8>,
    /// Bytes of the present block, and how many were given out.
    len: usize,
    done: usize,
}

impl Legacy<'_> {
    /// Whether there was another block.
    fn next_block(&mut self) -> io::Result<bool> {
        let size_max = block::get_maximum_output_size(units::index(BLOCK));
        // A magic may stand before any block.
        while self.input.peek(LEGACY.len())? == LEGACY {
            self.input.skip(units::bytes(LEGACY.len()))?;
        }
        let start = self.input.peek(4)?;
        if start.iter().all(|byte| *byte == 0) {
            return Ok(false);
        }
        let size = u32::from_le_bytes(*start.first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > size_max {
            return Ok(false);
        }
        self.input.skip(4)?;
        let mut packed = Vec::new();
        self.input.by_ref().take(units::bytes(size)).read_to_end(&mut packed)?;
        if packed.len() < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Zeros that are asked for at once cost nothing before they are written to.
        if self.block.is_empty() {
            self.block = vec![0; units::index(BLOCK)];
        }
        self.len = block::decompress_into(&packed, &mut self.block).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        self.done = 0;
        Ok(true)
    }
}

impl Read for Legacy<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.done == self.len && self.next_block()? {}
        let n = to.len().min(self.len - self.done);
        to[..n].copy_from_slice(&self.block[self.done..self.done + n]);
        self.done += n;
        Ok(n)
    }
}
