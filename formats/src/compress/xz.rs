//! xz (file format 1.2), one stream of several blocks, each compressed on its own.
//!
//! ```text
//!  stream header, 12 bytes: magic, flags (check: CRC32, as Linux cannot do CRC64), CRC32
//!  block: header, LZMA2 data, padding to 4, check          -- once for each piece
//!  index: 00, number of blocks, for each (unpadded size, uncompressed size), padding to 4, CRC32
//!  stream footer, 12 bytes: CRC32, backward size (of the index), flags, "YZ"
//! ```
//! The compressor makes a whole stream of every piece; of these only the block is kept, and one index is written for all.

pub(super) mod blocks;

use super::{
    Codec, Linux, Row, Work, Writing,
    input::Input,
    read::{self, Decode, Padding, Reading},
};
use crate::{Error, Kind, Result, units};
use lzma_rust2::{CheckType, XzOptions, XzReader, XzWriter};
use std::{
    io::{self, Read, Write},
    mem,
    ops::Range,
};

pub(super) const ROW: Row = Row {
    codec: Codec::Xz,
    name: "xz",
    ending: ".xz",
    is_magic: |start| start.starts_with(&MAGIC),
    writing: Some(Writing { levels: 0..=9, default: 6, write }),
    reading: Reading {
        unit: "stream",
        open: |input| Box::new(Streams(opened(input))),
        padding: Padding::Multiple(4),
        follows: |next| next.starts_with(&MAGIC) || MAGIC.starts_with(next),
        garbage_ends: false,
    },
    initramfs: Some(Linux { option: "CONFIG_RD_XZ", text: b"XZ-compressed data is corrupt\0" }),
    squashfs: Some(Linux { option: "CONFIG_SQUASHFS_XZ", text: b"SQUASHFS error: Failed to initialise xz decompressor\n" }),
};

/// Header magic, flags: CRC32.
const MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const FLAGS: [u8; 2] = [0, 1];
const FOOTER_MAGIC: [u8; 2] = *b"YZ";
/// The smallest dictionary that is asked for.
const DICTIONARY_MIN: u32 = 64 << 10;
/// Of the stream's header and of its footer.
const EDGE_LEN: usize = 12;
/// Most bytes of the header of a block.
const BLOCK_HEADER_MAX: usize = 1024;

/// A block, padded, with its record in the index.
#[derive(Clone)]
struct Block {
    bytes: Vec<u8>,
    unpadded: u64,
    uncompressed: u64,
}

fn write(work: &Work<'_>, to: &mut dyn Write) -> Result<()> {
    let mut options = XzOptions::with_preset(work.level);
    options.set_check_sum_type(CheckType::Crc32);
    let len = u32::try_from(work.blob.len()).unwrap_or(u32::MAX);
    let needed = len.max(DICTIONARY_MIN).checked_next_power_of_two().unwrap_or(u32::MAX);
    options.lzma_options.dict_size = options.lzma_options.dict_size.min(needed);
    // Several dictionaries to a block lose little to its fresh start; two keep memory low.
    let piece = 2 * u64::from(options.lzma_options.dict_size).max(units::MIB);
    to.write_all(&MAGIC)?;
    to.write_all(&FLAGS)?;
    to.write_all(&crc32fast::hash(&FLAGS).to_le_bytes())?;
    let mut records = Vec::new();
    let compress = |range: Range<u64>| block(&work.read(&range)?, options.clone());
    work.each(piece, 0, compress, |block| {
        records.push((block.unpadded, block.uncompressed));
        Ok(to.write_all(&block.bytes)?)
    })?;
    Ok(to.write_all(&end(&records, FLAGS)?)?)
}

/// The index of these blocks, and the footer.
pub(super) fn end(records: &[(u64, u64)], flags: [u8; 2]) -> Result<Vec<u8>> {
    let mut end = index(records);
    let backward = u32::try_from(end.len() / 4 - 1).map_err(|_| Error::bad_input("too many blocks for the index of an xz file"))?;
    let fields = [backward.to_le_bytes().as_slice(), &flags].concat();
    end.extend(crc32fast::hash(&fields).to_le_bytes());
    end.extend(fields);
    end.extend(FOOTER_MAGIC);
    Ok(end)
}

/// A unit (a block of squashfs, say) as a stream of its own, with CRC32 and a dictionary of so many bytes.
///
/// # Errors
/// Only by a fault of the compressor.
pub(crate) fn unit(bytes: &[u8], level: u32, dictionary: u32) -> Result<Vec<u8>> {
    let mut options = XzOptions::with_preset(level);
    options.set_check_sum_type(CheckType::Crc32);
    options.lzma_options.dict_size = dictionary;
    stream(bytes, options)
}

fn stream(bytes: &[u8], options: XzOptions) -> Result<Vec<u8>> {
    let bug = |error| Error::new(Kind::Bug, "xz compression failed").because(error);
    let mut writer = XzWriter::new(Vec::with_capacity(bytes.len() / 2), options).map_err(bug)?;
    writer.write_all(bytes).map_err(bug)?;
    writer.finish().map_err(bug)
}

fn block(bytes: &[u8], options: XzOptions) -> Result<Block> {
    let mut stream = stream(bytes, options)?;
    cut(&mut stream)
        .map(|unpadded| Block { bytes: stream, unpadded, uncompressed: units::bytes(bytes.len()) })
        .ok_or_else(|| Error::new(Kind::Bug, "the xz compressor did not give a stream of one block"))
}

/// Leaves of a stream only its block; the unpadded size of this, from the index.
fn cut(stream: &mut Vec<u8>) -> Option<u64> {
    let footer = stream.len().checked_sub(EDGE_LEN)?;
    let backward = u32::from_le_bytes(*stream.get(footer + 4..)?.first_chunk()?);
    let index = footer.checked_sub((usize::try_from(backward).ok()? + 1) * 4)?;
    let [0, 1, record @ ..] = stream.get(index..footer)? else { return None };
    let unpadded = varint(record)?;
    stream.truncate(index);
    stream.drain(..EDGE_LEN.min(index));
    (units::bytes(stream.len()) == unpadded.next_multiple_of(4)).then_some(unpadded)
}

fn index(records: &[(u64, u64)]) -> Vec<u8> {
    let mut index = vec![0];
    push_varint(&mut index, units::bytes(records.len()));
    for (unpadded, uncompressed) in records {
        push_varint(&mut index, *unpadded);
        push_varint(&mut index, *uncompressed);
    }
    index.resize(index.len().next_multiple_of(4), 0);
    index.extend(crc32fast::hash(&index).to_le_bytes());
    index
}

/// A multibyte integer (section 1.2): 7 bits a byte, the lowest first, the top bit says that more follow.
fn push_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

fn varint(bytes: &[u8]) -> Option<u64> {
    let len = bytes.iter().take(9).position(|byte| byte & 0x80 == 0)? + 1;
    Some(bytes[..len].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)))
}

/// The dictionary that the first block of a stream wants, where it has one (3.1.5 and 5.3.1).
fn first_dictionary(stream: &[u8]) -> Option<u64> {
    const LZMA2: u64 = 0x21;
    let [1..=u8::MAX, flags, fields @ ..] = stream.get(EDGE_LEN..)? else { return None };
    let mut fields = fields;
    // The sizes of the block that are there, then each filter: what it is, the size of its properties, and these.
    for _ in 0..(flags >> 6).count_ones() {
        next_varint(&mut fields)?;
    }
    for _ in 0..=flags & 3 {
        let (filter, len) = (next_varint(&mut fields)?, usize::try_from(next_varint(&mut fields)?).ok()?);
        let (properties, rest) = fields.split_at_checked(len)?;
        if let (LZMA2, [bits @ 0..=40]) = (filter, properties) {
            return Some(if *bits == 40 { u32::MAX.into() } else { u64::from(2 | bits & 1) << (bits / 2 + 11) });
        }
        fields = rest;
    }
    None
}

fn next_varint(fields: &mut &[u8]) -> Option<u64> {
    let value = varint(fields)?;
    *fields = &fields[fields.iter().position(|byte| byte & 0x80 == 0)? + 1..];
    Some(value)
}

/// Reads streams, each with the checks of its blocks and of its index.
struct Streams<'a>(XzReader<Input<'a>>);

fn opened(input: Input<'_>) -> XzReader<Input<'_>> {
    XzReader::new_mem_limit(input, false, read::memory_max_kib())
}

impl Read for Streams<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read(to)
    }
}

impl<'a> Decode<'a> for Streams<'a> {
    fn begin(&mut self) -> io::Result<()> {
        let mut input = mem::take(self.0.inner_mut());
        let dictionary = first_dictionary(input.peek(EDGE_LEN + BLOCK_HEADER_MAX)?);
        self.0 = opened(input);
        dictionary.map_or(Ok(()), read::check_dictionary)
    }

    fn input(&mut self) -> &mut Input<'a> {
        self.0.inner_mut()
    }
}
