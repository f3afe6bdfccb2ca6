//! Zstandard frames (RFC 8878), by the library `structured-zstd`.
//!
//! A crate of its own, because most of the library's code is generic or inline: whoever uses it compiles it. Here it is compiled once,
//! and not again with every test of what stands on it.

use std::{
    error::Error,
    fmt,
    io::{self, Read, Write},
};
use structured_zstd::{
    decoding::{BlockDecodingStrategy, ContentChecksum, FrameDecoder, errors::FrameDecoderError},
    encoding::{CompressionContext, CompressionLevel},
};

/// A frame in the making. Its output is given with each call.
pub struct Encoder(CompressionContext);

impl Encoder {
    /// A frame of `len` bytes of content, which its header says, with or without a checksum.
    ///
    /// # Errors
    /// Only by a fault of the library.
    #[inline(never)]
    pub fn new(level: i32, len: u64, has_checksum: bool) -> io::Result<Self> {
        let mut context = CompressionContext::new(CompressionLevel::from_level(level));
        context.set_pledged_content_size(len).and_then(|()| context.set_content_checksum(has_checksum))?;
        Ok(Self(context))
    }

    /// Takes some of the content; gives how much.
    ///
    /// # Errors
    /// When the output cannot be written.
    #[inline(never)]
    pub fn write(&mut self, to: &mut dyn Write, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(to, bytes)
    }

    /// Ends the frame.
    ///
    /// # Errors
    /// When the output cannot be written, or the content had another length than was said.
    #[inline(never)]
    pub fn finish(&mut self, to: &mut dyn Write) -> io::Result<()> {
        self.0.finish_frame(to)
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// Reads frames, one after the other. Its input is given with each call.
pub struct Decoder(FrameDecoder);

impl Decoder {
    /// A decoder before its first frame.
    #[inline(never)]
    pub fn new() -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_content_checksum(ContentChecksum::Verify);
        Self(decoder)
    }

    /// Begins with the frame at which the input stands.
    ///
    /// # Errors
    /// When no frame begins there, its window is too large, or the input cannot be read.
    #[inline(never)]
    pub fn begin(&mut self, input: &mut dyn Read) -> io::Result<()> {
        self.0.reset(input).map_err(io::Error::other)
    }

    /// Some of the content; nothing once the frame is over, its length and its checksum right.
    ///
    /// # Errors
    /// When the frame is damaged or the input cannot be read.
    #[inline(never)]
    pub fn read(&mut self, input: &mut dyn Read, to: &mut [u8]) -> io::Result<usize> {
        while self.0.can_collect() == 0 && !self.0.is_finished() {
            self.0.decode_blocks(&mut *input, BlockDecodingStrategy::UptoBlocks(1)).map_err(io::Error::other)?;
        }
        let n = self.0.read(to)?;
        if n == 0 && !to.is_empty() {
            self.0.verify_content_size().and_then(|()| self.0.verify_content_checksum()).map_err(io::Error::other)?;
        }
        Ok(n)
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

/// Whether a decoder failed because a frame wants a larger window than it takes.
pub fn is_window_too_large(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(FrameDecoderError::WindowSizeTooBig { .. }))
}
