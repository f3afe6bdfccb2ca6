//! Metadata blocks: streams and tables cut into 8 KiB, each compressed on its own.
//!
//! ```text
//!  header, 16 bits: bytes that follow; bit 15: they are not compressed
//!  bytes
//! ```
//! A place in a stream is a reference: where its block begins, from the begin of the stream, and where it is in that block
//! when unpacked.

use super::{METADATA, Settings};
use crate::{Error, Result, parallel, units};
use std::num::NonZeroUsize;

/// The header's bit for bytes as they are.
const STORED: u16 = 1 << 15;

/// A place in a stream of metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// Where its block begins, in bytes from the begin of the compressed stream.
    pub(super) block: u32,
    /// Where it is in the block, unpacked: less than 8 KiB.
    pub(super) offset: u16,
}

impl Reference {
    /// As inode references are stored.
    pub(super) fn packed(self) -> u64 {
        u64::from(self.block) << 16 | u64::from(self.offset)
    }
}

/// A stream of metadata in the making.
pub(super) struct Stream<'a> {
    settings: &'a Settings,
    /// Complete blocks.
    packed: Vec<u8>,
    /// Where each complete block begins in `packed`, and where the next one will.
    starts: Vec<u32>,
    /// What is in no complete block yet: less than 8 KiB.
    rest: Vec<u8>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        Self { settings, packed: Vec::new(), starts: vec![0], rest: Vec::new() }
    }

    /// How many bytes were put in: the place of the next.
    pub(super) fn position(&self) -> u64 {
        units::bytes(self.starts.len() - 1) * u64::from(METADATA) + units::bytes(self.rest.len())
    }

    /// The reference to a place in what was put in already, or right behind it.
    pub(super) fn reference(&self, position: u64) -> Reference {
        let block = self.starts[units::index(position / u64::from(METADATA))];
        let offset = u16::try_from(position % u64::from(METADATA)).expect("8 KiB fit 16 bits");
        Reference { block, offset }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        let size = block_len();
        while self.rest.len() + bytes.len() >= size {
            let (head, tail) = bytes.split_at(size - self.rest.len());
            self.rest.extend_from_slice(head);
            let block = block(&self.rest, self.settings)?;
            self.rest.clear();
            self.keep(&block)?;
            bytes = tail;
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// As [`Stream::push`] into an empty stream, on all cores.
    pub(super) fn push_on(&mut self, bytes: &[u8], threads: NonZeroUsize) -> Result<()> {
        assert!(self.position() == 0, "a stream that is not empty");
        let whole = bytes.chunks_exact(block_len());
        self.rest = whole.remainder().to_vec();
        let settings = self.settings;
        parallel::ordered(threads, whole.map(Ok), |piece| block(piece, settings), |block| self.keep(&block))
    }

    fn keep(&mut self, block: &[u8]) -> Result<()> {
        self.packed.extend_from_slice(block);
        let next = u32::try_from(self.packed.len());
        self.starts.push(next.map_err(|_| Error::bad_input("more than 4 GiB of compressed metadata, squashfs holds no more"))?);
        Ok(())
    }

    /// The blocks, one after the other.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        if !self.rest.is_empty() {
            let block = block(&self.rest, self.settings)?;
            self.keep(&block)?;
        }
        Ok(self.packed)
    }
}

fn block_len() -> usize {
    units::index(METADATA.into())
}

fn block(bytes: &[u8], settings: &Settings) -> Result<Vec<u8>> {
    let packed = settings.pack(bytes)?;
    let (stored, body) = packed.as_deref().map_or((STORED, bytes), |packed| (0, packed));
    let len = u16::try_from(body.len()).expect("8 KiB fit 16 bits");
    Ok([&(len | stored).to_le_bytes(), body].concat())
}

/// The compressor options as they stand behind the superblock: one block that is never compressed.
pub(super) fn stored_block(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).expect("options of a few bytes");
    [&(len | STORED).to_le_bytes(), bytes].concat()
}

/// A table of equal entries: its blocks, to be put at `at`, and then the index of where each block is.
pub(super) fn table(entries: &[u8], at: u64, settings: &Settings) -> Result<(Vec<u8>, Vec<u8>)> {
    let (mut blocks, mut index) = (Vec::new(), Vec::new());
    for piece in entries.chunks(block_len()) {
        index.extend((at + units::bytes(blocks.len())).to_le_bytes());
        blocks.extend(block(piece, settings)?);
    }
    Ok((blocks, index))
}
