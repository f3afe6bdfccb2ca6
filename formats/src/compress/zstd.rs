//! Zstandard (RFC 8878).

use super::{
    Codec, Linux, Row, Work, Writing,
    input::{Input, is_skippable},
    read::{Decode, Padding, Reading},
};
use crate::{Blob, Error, Kind, Progress, Result, units};
use std::{
    io::{self, Read, Write},
    ops::Range,
};
use zstd::Decoder;

pub(super) const ROW: Row = Row {
    codec: Codec::Zstd,
    name: "zstd",
    ending: ".zst",
    is_magic: |start| start.starts_with(&MAGIC),
    // Above, the window grows to 128 MiB, and the guest needs as much to unpack.
    writing: Some(Writing { levels: 1..=19, default: 3, write }),
    reading: Reading {
        unit: "frame",
        open: |input| Box::new(Frames::new(input)),
        padding: Padding::None,
        follows: |next| next.starts_with(&MAGIC) || is_skippable(next),
        garbage_ends: false,
    },
    initramfs: Some(Linux { option: "CONFIG_RD_ZSTD", text: b"ZSTD-compressed data is corrupt\0" }),
    squashfs: Some(Linux { option: "CONFIG_SQUASHFS_ZSTD", text: b"SQUASHFS error: Failed to allocate zstd workspace\n" }),
};

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Bytes of input in a frame of a stream.
const PIECE: u64 = 8 * units::MIB;
/// How much a single frame reads at once.
const CHUNK: u64 = 256 * units::KIB;

fn write(work: &Work<'_>, to: &mut dyn Write) -> Result<()> {
    if work.blob.is_empty() {
        return Ok(to.write_all(&unit(&[], work.level)?)?);
    }
    let compress = |range: Range<u64>| unit(&work.read(&range)?, work.level);
    work.each(PIECE, 0, compress, |frame| Ok(to.write_all(&frame)?))
}

/// A unit (a qcow2 cluster, say) as one frame.
///
/// # Errors
/// Only by a fault of the compressor.
pub fn unit(bytes: &[u8], level: u32) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() / 2 + 64);
    let mut encoder = Encoder::new(&mut out, units::bytes(bytes.len()), level, true)?;
    encoder.write_all(bytes).and_then(|()| encoder.finish())?;
    Ok(out)
}

/// A frame with the same content that is longer: by `missing` bytes, which is less than 4, or more, if that is congruent to it
/// modulo 4. Behind its header it gets empty blocks of 3 bytes each (RFC 8878, section 3.1.1.2).
///
/// The program `zstd` minds zeros behind the last frame of a file, where Linux does not.
///
/// # Errors
/// When the frame cannot be read.
pub fn lengthened(frame: &Blob, missing: u64) -> Result<Blob> {
    const EMPTY_RAW_BLOCK: [u8; 3] = [0; 3];
    let [descriptor] = frame.read_array(4)?;
    let header = units::bytes(header_len(descriptor));
    let blocks = EMPTY_RAW_BLOCK.repeat(units::index((4 - missing % 4) % 4));
    let mut longer = frame.slice(0..header);
    longer.append(&Blob::bytes(blocks));
    longer.append(&frame.slice(header..frame.len()));
    Ok(longer)
}

/// A unit as one frame for the kernel's file systems: without a checksum, and with data in its last block.
///
/// squashfs gives the decompressor pages for the output, and takes it for damage when it asks for input after the last of them
/// is full. The compressor marks an empty block as the last one when a unit is whole blocks, and that does.
///
/// # Errors
/// Only by a fault of the compressor.
pub(crate) fn bare_unit(bytes: &[u8], level: u32) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() / 2 + 64);
    let mut encoder = Encoder::new(&mut out, units::bytes(bytes.len()), level, false)?;
    encoder.write_all(bytes).and_then(|()| encoder.finish())?;
    end_in_data(&mut out).ok_or_else(|| Error::new(Kind::Bug, "the zstd compressor did not give a frame"))?;
    Ok(out)
}

/// Bytes before the first block, as the frame header's descriptor says (RFC 8878 section 3.1.1.1).
fn header_len(descriptor: u8) -> usize {
    let is_single_segment = descriptor & 1 << 5 != 0;
    let dictionary_id = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content_size = [usize::from(is_single_segment), 2, 4, 8][usize::from(descriptor >> 6)];
    5 + usize::from(!is_single_segment) + dictionary_id + content_size
}

/// Takes an empty last block off a frame without checksum, and marks the one before it as the last (RFC 8878 section 3.1.1.2).
fn end_in_data(frame: &mut Vec<u8>) -> Option<()> {
    const LAST: u8 = 1;
    let descriptor = *frame.get(4)?;
    let mut at = header_len(descriptor);
    let mut before = None;
    loop {
        let [low, middle, high] = *frame.get(at..)?.first_chunk()?;
        let header = u32::from_le_bytes([low, middle, high, 0]);
        let (kind, size) = (header >> 1 & 3, usize::try_from(header >> 3).ok()?);
        if low & LAST != 0 {
            if let (0, Some(before)) = (size, before) {
                frame.truncate(at);
                frame[before] |= LAST;
            }
            return Some(());
        }
        before = Some(at);
        // A block of one repeated byte (1) holds that byte alone.
        at += 3 + if kind == 1 { 1 } else { size };
    }
}

/// The unit that frames hold, which has `len` bytes. What follows them is ignored.
///
/// # Errors
/// When a frame is damaged, its window is larger than any that is taken, or they hold more or less than `len` bytes.
pub fn read_unit(frame: &[u8], len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    fill_unit(frame, &mut bytes).map_err(|error| match error.get_ref() {
        Some(inner) if zstd::is_window_too_large(inner) => Error::unsupported("zstd data that wants too much memory").because(error),
        _ => Error::bad_input("damaged zstd data").because(error),
    })?;
    Ok(bytes)
}

fn fill_unit(frame: &[u8], unit: &mut [u8]) -> io::Result<()> {
    let mut frames = Frames::new(Input::new(frame));
    let mut done = 0;
    while done < unit.len() {
        frames.begin()?;
        loop {
            match frames.read(&mut unit[done..])? {
                0 if done < unit.len() => break,
                // The checksum is looked at once no more comes.
                0 if frames.read(&mut [0])? > 0 => return Err(io::Error::other(format!("more than {done} bytes"))),
                0 => return Ok(()),
                n => done += n,
            }
        }
    }
    Ok(())
}

/// Reads frames, each with its checksum where it has one, and the skippable frames in front of them.
struct Frames<'a> {
    input: Input<'a>,
    decoder: Decoder,
    is_inside: bool,
}

impl<'a> Frames<'a> {
    fn new(input: Input<'a>) -> Self {
        Self { input, decoder: Decoder::new(), is_inside: false }
    }
}

impl Read for Frames<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if !self.is_inside {
            return Ok(0);
        }
        let n = self.decoder.read(&mut self.input, to)?;
        self.is_inside = n > 0 || to.is_empty();
        Ok(n)
    }
}

impl<'a> Decode<'a> for Frames<'a> {
    fn begin(&mut self) -> io::Result<()> {
        let skipped = self.input.skip_frames()?;
        // Behind skippable frames there need not be another.
        self.is_inside = !(skipped && self.input.peek(1)?.is_empty());
        if self.is_inside {
            self.decoder.begin(&mut self.input)?;
        }
        Ok(())
    }

    fn input(&mut self) -> &mut Input<'a> {
        &mut self.input
    }
}

/// Writes a whole blob, however long, as one frame, in little memory. Tells `progress` of its bytes, which the caller announced.
///
/// # Errors
/// When the blob cannot be read or the frame not be written.
pub fn frame(blob: &Blob, level: u32, progress: &dyn Progress, to: &mut dyn Write) -> Result<()> {
    let mut encoder = Encoder::new(to, blob.len(), level, true)?;
    let mut chunk = vec![0; units::index(CHUNK.min(blob.len()))];
    let mut at = 0;
    while at < blob.len() {
        let len = CHUNK.min(blob.len() - at);
        let chunk = &mut chunk[..units::index(len)];
        blob.read_at(at, chunk)?;
        encoder.write_all(chunk)?;
        progress.advance(len);
        at += len;
    }
    Ok(encoder.finish()?)
}

/// A frame in the making, and where it goes.
struct Encoder<'a> {
    frame: zstd::Encoder,
    /// What of it is to be written. The library would tell of an output that takes nothing more in words of its own.
    done: Vec<u8>,
    to: &'a mut dyn Write,
}

impl<'a> Encoder<'a> {
    /// A frame of `len` bytes, which its header says.
    fn new(to: &'a mut dyn Write, len: u64, level: u32, has_checksum: bool) -> Result<Self> {
        let level = i32::try_from(level).map_err(|_| Error::unsupported(format!("level {level} of zstd")))?;
        Ok(Self { frame: zstd::Encoder::new(level, len, has_checksum)?, done: Vec::new(), to })
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.frame.write(&mut self.done, bytes)?;
            bytes = &bytes[taken..];
            self.pass_on()?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.frame.finish(&mut self.done)?;
        self.pass_on()
    }

    fn pass_on(&mut self) -> io::Result<()> {
        self.to.write_all(&self.done)?;
        self.done.clear();
        Ok(())
    }
}
