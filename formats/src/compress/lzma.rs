//! LZMA alone, the format before xz; read only. It has one stream and no checksum.

use super::{
    Codec, Linux, Row,
    input::Input,
    read::{self, Decode, Padding, Reading},
};
use crate::units;
use lzma_rust2::LzmaReader;
use std::{
    io::{self, Read},
    mem,
};

pub(super) const ROW: Row = Row {
    codec: Codec::Lzma,
    name: "lzma",
    ending: ".lzma",
    is_magic: is_lzma,
    writing: None,
    reading: Reading {
        unit: "stream",
        open: |input| Box::new(Stream::Outside(input)),
        padding: Padding::None,
        follows: |_| false,
        garbage_ends: false,
    },
    initramfs: Some(Linux { option: "CONFIG_RD_LZMA", text: b"LZMA data is corrupt\0" }),
    squashfs: None,
};

/// LZMA alone has no magic: a byte of properties (always the default ones), the size of the dictionary (32 bits, below
/// 4 GiB a power of 2 or the sum of two), the size of the content (64 bits, all ones where unknown).
fn is_lzma(start: &[u8]) -> bool {
    let Some((&[0x5d, d0, d1, d2, d3, ..], size)) = start.split_at_checked(5).map(|(head, size)| (head, size.first_chunk())) else {
        return false;
    };
    let dictionary = u32::from_le_bytes([d0, d1, d2, d3]);
    size.is_some_and(|size| {
        let size = u64::from_le_bytes(*size);
        dictionary >= 4096 && dictionary.count_ones() <= 2 && (size == u64::MAX || size < units::TIB)
    })
}

enum Stream<'a> {
    Outside(Input<'a>),
    Inside(Box<LzmaReader<Input<'a>>>),
}

impl Read for Stream<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let Self::Inside(reader) = self else { return Ok(0) };
        let n = reader.read(to)?;
        if n == 0
            && !to.is_empty()
            && let Self::Inside(reader) = mem::replace(self, Self::Outside(Input::default()))
        {
            // It reads ahead.
            let (mut input, unused) = reader.into_parts();
            input.unread(unused);
            *self = Self::Outside(input);
        }
        Ok(n)
    }
}

impl<'a> Decode<'a> for Stream<'a> {
    fn begin(&mut self) -> io::Result<()> {
        if let [_, dictionary @ ..] = self.input().peek(5)?
            && let Some(dictionary) = dictionary.first_chunk()
        {
            read::check_dictionary(u32::from_le_bytes(*dictionary).into())?;
        }
        let mut reader = LzmaReader::new_mem_limit(mem::take(self.input()), read::memory_max_kib(), None)?;
        reader.set_relaxed_end_condition(false);
        *self = Self::Inside(Box::new(reader));
        Ok(())
    }

    fn input(&mut self) -> &mut Input<'a> {
        match self {
            Self::Outside(input) => input,
            Self::Inside(reader) => reader.inner_mut(),
        }
    }
}
