//! The blocks of a stream, by its index: each can be unpacked without the others.

use super::{BLOCK_HEADER_MAX, EDGE_LEN, FOOTER_MAGIC, MAGIC, end, first_dictionary, next_varint};
use crate::{Blob, Result, units};

/// The longest index that is followed; that of a file of many GiB has some KiB.
const INDEX_MAX: u64 = 64 * units::KIB;

/// A block.
#[derive(Debug)]
pub(in crate::compress) struct Block {
    /// A stream of it alone.
    pub(in crate::compress) stream: Blob,
    /// Where its content is in that of the file, and how long that is.
    pub(in crate::compress) at: u64,
    pub(in crate::compress) len: u64,
    /// The dictionary that it wants, in bytes.
    pub(in crate::compress) dictionary: u64,
}

/// The blocks of a file that is one stream, in order. Of a file that is anything else, or has anything odd, nothing: who reads it front
/// to back says what that is.
pub(in crate::compress) fn blocks(file: &Blob) -> Result<Option<Vec<Block>>> {
    let edge = units::bytes(EDGE_LEN);
    if file.len() < 2 * edge {
        return Ok(None);
    }
    let behind = file.len() - edge;
    let (header, footer): ([u8; EDGE_LEN], [u8; EDGE_LEN]) = (file.read_array(0)?, file.read_array(behind)?);
    let sum = |bytes: &[u8]| crc32fast::hash(bytes).to_le_bytes();
    let is_header = header[..6] == MAGIC && header[8..] == sum(&header[6..8]);
    let is_footer = footer[10..] == FOOTER_MAGIC && footer[..4] == sum(&footer[4..10]) && footer[8..10] == header[6..8];
    let [a, b, c, d] = [4, 5, 6, 7].map(|nth| footer[nth]);
    let len = (u64::from(u32::from_le_bytes([a, b, c, d])) + 1) * 4;
    if !is_header || !is_footer || len > INDEX_MAX.min(behind - edge) {
        return Ok(None);
    }
    let index_at = behind - len;
    let Some(records) = records(&file.slice(index_at..behind).to_vec(len)?) else { return Ok(None) };
    let (mut blocks, mut start, mut at) = (Vec::new(), edge, 0_u64);
    for (unpadded, len) in records {
        let left = index_at - start;
        let (Some(packed), Some(next)) = (unpadded.checked_next_multiple_of(4).filter(|packed| *packed <= left), at.checked_add(len))
        else {
            return Ok(None);
        };
        let mut stream = file.slice(0..edge);
        stream.append(&file.slice(start..start + packed));
        stream.append(&Blob::from(end(&[(unpadded, len)], [header[6], header[7]])?));
        let front = stream.slice(0..stream.len().min(units::bytes(EDGE_LEN + BLOCK_HEADER_MAX))).to_vec(u64::MAX)?;
        let Some(dictionary) = first_dictionary(&front) else { return Ok(None) };
        blocks.push(Block { stream, at, len, dictionary });
        (start, at) = (start + packed, next);
    }
    Ok((start == index_at).then_some(blocks))
}

/// The records of an index (section 4): unpadded and uncompressed sizes.
fn records(index: &[u8]) -> Option<Vec<(u64, u64)>> {
    let (body, sum) = index.split_last_chunk::<4>()?;
    let [0, fields @ ..] = body else { return None };
    if crc32fast::hash(body).to_le_bytes() != *sum {
        return None;
    }
    let mut fields = fields;
    let count = next_varint(&mut fields)?;
    let records: Vec<_> = (0..count).map_while(|_| Some((next_varint(&mut fields)?, next_varint(&mut fields)?))).collect();
    let is_whole = units::bytes(records.len()) == count && fields.len() < 4 && fields.iter().all(|byte| *byte == 0);
    is_whole.then_some(records)
}
