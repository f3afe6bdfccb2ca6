//! xz (file format 1.2), one stream of several blocks, each compressed on its own.
//!
//! ```text
//!  stream header, 12 bytes: magic, flags (check: CRC32, as Linux cannot do CRC64), CRC32
//!  block: header, LZMA2 data, padding to 4, check          -- once for each piece
//!  index: 00, number of blocks, for each (unpadded size, uncompressed size), padding to 4, CRC32
//!  stream footer, 12 bytes: CRC32, backward size (of the index), flags, "YZ"
//! ```
//! The compressor makes a whole stream of every piece; of these only the block is kept, and one index is written for all.

use super::Work;
use crate::{Error, Kind, Result, units};
use lzma_rust2::{CheckType, XzOptions, XzWriter};
use std::{io::Write, ops::Range};

/// Header magic, flags: CRC32.
const MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
const FLAGS: [u8; 2] = [0, 1];
/// The smallest dictionary that is asked for.
const DICTIONARY_MIN: u32 = 64 << 10;
/// Of the stream's header and of its footer.
const EDGE_LEN: usize = 12;

/// A block, padded, with its record in the index.
struct Block {
    bytes: Vec<u8>,
    unpadded: u64,
    uncompressed: u64,
}

pub(super) fn write(work: &Work<'_>, to: &mut dyn Write) -> Result<()> {
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
    work.each(piece, compress, |block| {
        records.push((block.unpadded, block.uncompressed));
        Ok(to.write_all(&block.bytes)?)
    })?;
    let index = index(&records);
    to.write_all(&index)?;
    let backward = u32::try_from(index.len() / 4 - 1).map_err(|_| Error::bad_input("too many blocks for the index of an xz file"))?;
    let mut fields = backward.to_le_bytes().to_vec();
    fields.extend(FLAGS);
    to.write_all(&crc32fast::hash(&fields).to_le_bytes())?;
    to.write_all(&fields)?;
    to.write_all(b"YZ")?;
    Ok(())
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
