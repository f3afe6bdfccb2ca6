//! bzip2, read only: streams, one behind the other, each with its CRC32.

use super::{
    Codec, Linux, Row,
    input::Input,
    read::{Decode, Padding, Reading},
};
use ::bzip2::bufread::BzDecoder;
use std::{
    io::{self, Read},
    mem,
};

pub(super) const ROW: Row = Row {
    codec: Codec::Bzip2,
    name: "bzip2",
    ending: ".bz2",
    is_magic: |start| matches!(start, [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..]),
    writing: None,
    reading: Reading {
        unit: "stream",
        open: |input| Box::new(Streams(BzDecoder::new(input))),
        padding: Padding::None,
        // A stream without blocks has no magic of one.
        follows: |next| matches!(next, [b'B'] | [b'B', b'Z'] | [b'B', b'Z', b'h'] | [b'B', b'Z', b'h', b'1'..=b'9', ..]),
        garbage_ends: true,
    },
    initramfs: Some(Linux { option: "CONFIG_RD_BZIP2", text: b"Compressed file ends unexpectedly\0" }),
    squashfs: None,
};

struct Streams<'a>(BzDecoder<Input<'a>>);

impl Read for Streams<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read(to)
    }
}

impl<'a> Decode<'a> for Streams<'a> {
    fn begin(&mut self) -> io::Result<()> {
        self.0 = BzDecoder::new(mem::take(self.0.get_mut()));
        Ok(())
    }

    fn input(&mut self) -> &mut Input<'a> {
        self.0.get_mut()
    }
}
