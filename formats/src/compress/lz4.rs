//! The legacy frame of lz4 (lz4 frame format, "Legacy frame"), which is what Linux unpacks.
//!
//! ```text
//!  02 21 4c 18                            magic
//!  size (32 bits), that many bytes        a block of 8 MiB when unpacked, the last one shorter
//!  ...                                    until the end of the file
//! ```

use super::Work;
use crate::{Error, Kind, Result, units};
use lz4_flex::block;
use std::{
    io::{self, Read, Write},
    ops::Range,
};

pub(super) const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// Bytes in a block when unpacked.
const BLOCK: u64 = 8 * units::MIB;

pub(super) fn write(work: &Work<'_>, to: &mut dyn Write) -> Result<()> {
    to.write_all(&MAGIC)?;
    let compress = |range: Range<u64>| Ok(block::compress(&work.read(&range)?));
    work.each(BLOCK, compress, |block| {
        let size = u32::try_from(block.len()).map_err(|_| Error::new(Kind::Bug, "an lz4 block of 4 GiB"))?;
        to.write_all(&size.to_le_bytes())?;
        Ok(to.write_all(&block)?)
    })
}

/// Reads legacy frames, one after the other. A block of 0 bytes (padding) ends them, as in Linux.
pub(super) struct Legacy<R> {
    from: R,
    block: Vec<u8>,
    done: usize,
    is_over: bool,
}

impl<R: Read> Legacy<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, block: Vec::new(), done: 0, is_over: false }
    }

    fn next_block(&mut self) -> io::Result<()> {
        let mut size = [0; 4];
        // A magic may stand before any block.
        let size = loop {
            let mut found = Vec::with_capacity(size.len());
            self.from.by_ref().take(4).read_to_end(&mut found)?;
            self.is_over = found.iter().all(|byte| *byte == 0);
            if self.is_over {
                return Ok(());
            }
            size = *found.first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
            if size != MAGIC {
                break u64::from(u32::from_le_bytes(size));
            }
        };
        let size_max = units::bytes(block::get_maximum_output_size(units::index(BLOCK)));
        if size > size_max {
            return Err(damaged(format!("a block of {size} bytes, at most {size_max} hold 8 MiB")));
        }
        let mut packed = Vec::new();
        self.from.by_ref().take(size).read_to_end(&mut packed)?;
        if units::bytes(packed.len()) < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.block.resize(units::index(BLOCK), 0);
        let len = block::decompress_into(&packed, &mut self.block).map_err(|e| damaged(e.to_string()))?;
        self.block.truncate(len);
        self.done = 0;
        Ok(())
    }
}

fn damaged(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<R: Read> Read for Legacy<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.done == self.block.len() && !self.is_over {
            self.next_block()?;
        }
        let n = to.len().min(self.block.len() - self.done);
        to[..n].copy_from_slice(&self.block[self.done..self.done + n]);
        self.done += n;
        Ok(n)
    }
}
