//! ZIP archives (PKWARE's APPNOTE 6.3.10), read: what disks and machines are handed around in. `rawzip` finds the files, ZIP64 included; the
//! decoders and the check of lengths and sums are ours.
//!
//! Oracles: Python's zipfile, 7-Zip.

use crate::{
    Blob, Error, Kind, Result,
    compress::{self, Codec},
    units,
};
use crc32fast::Hasher;
use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, ReaderAt, ZipLocator};
use std::io::{self, BufReader, Read};

/// Whether a file is an archive, and no empty one: its first file begins it.
///
/// # Errors
/// When it cannot be read.
pub fn probe(file: &Blob) -> Result<bool> {
    Ok(file.len() > 4 && file.read_array(0)? == *b"PK\x03\x04")
}

/// A regular file of an archive.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its path, as it stands there.
    pub path: Vec<u8>,
    /// Bytes of its content.
    pub len: u64,
    crc: u32,
    method: Method,
    packed: Blob,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Deflate,
    /// As a stream of this codec, or as it is.
    Codec(Codec),
}

/// Most bytes of a directory's record, its path and its extra fields: all lengths have 16 bits.
const RECORD_MAX: usize = 1 << 18;

/// The regular files of an archive that has at most so many.
///
/// # Errors
/// When the directory or a header is damaged, when there are more files, or when one is encrypted or compressed as nothing here reads.
pub fn files(archive: &Blob, max: usize) -> Result<Vec<Member>> {
    let mut buffer = vec![0; RECORD_MAX];
    let opened = ZipLocator::new().locate_in_reader(Bytes(archive), &mut buffer, archive.len()).map_err(|(_, error)| damaged(error))?;
    let mut entries = opened.entries(&mut buffer);
    let mut members = Vec::new();
    while let Some(entry) = entries.next_entry().map_err(damaged)? {
        if entry.is_dir() {
            continue;
        }
        if members.len() == max {
            return Err(Error::unsupported(format!("has more than {max} files")));
        }
        let path: Vec<u8> = entry.file_path().as_ref().to_vec();
        let place = || crate::tree::ShowPath(&path).to_string();
        if entry.flags().is_encrypted() {
            return Err(Error::unsupported("is encrypted").at(place()));
        }
        let method = method(entry.compression_method()).map_err(|error| error.at(place()))?;
        let (from, to) = opened.get_entry(entry.wayfinder()).map_err(|error| damaged(error).at(place()))?.compressed_data_range();
        if from > to || to > archive.len() {
            return Err(Error::bad_input(format!("lies at {from} to {to}, beyond the archive's {} bytes", archive.len())).at(place()));
        }
        let (len, crc) = (entry.uncompressed_size_hint(), entry.crc32());
        members.push(Member { len, crc, method, packed: archive.slice(from..to), path });
    }
    Ok(members)
}

fn method(method: CompressionMethod) -> Result<Method> {
    Ok(match method {
        CompressionMethod::STORE => Method::Codec(Codec::None),
        CompressionMethod::DEFLATE => Method::Deflate,
        CompressionMethod::BZIP2 => Method::Codec(Codec::Bzip2),
        CompressionMethod::ZSTD => Method::Codec(Codec::Zstd),
        CompressionMethod::XZ => Method::Codec(Codec::Xz),
        other => return Err(Error::unsupported(format!("is compressed by {other:?}, which is not read"))),
    })
}

impl Member {
    /// Its content. At the end it is an error where length or sum are others than the archive's.
    ///
    /// # Errors
    /// When the content begins wrong.
    pub fn reader(&self) -> Result<impl Read + Send + '_> {
        let packed = BufReader::with_capacity(1 << 18, self.packed.reader());
        let inner: Box<dyn Read + Send + '_> = match self.method {
            Method::Codec(Codec::None) => Box::new(packed),
            Method::Codec(codec) => Box::new(compress::reader(codec, packed)?),
            Method::Deflate => Box::new(DeflateDecoder::new(packed)),
        };
        // One byte more, so that too much is told from enough.
        Ok(Verified { inner: inner.take(self.len.saturating_add(1)), crc: Hasher::new(), len: 0, wanted: (self.len, self.crc) })
    }
}

/// Content on its way, held against what was announced.
struct Verified<R> {
    inner: R,
    crc: Hasher,
    len: u64,
    wanted: (u64, u32),
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let damaged = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                io::Error::other(Error::bad_input("damaged compressed data").because(error))
            }
            _ => error,
        };
        let n = self.inner.read(to).map_err(damaged)?;
        self.crc.update(&to[..n]);
        self.len += units::bytes(n);
        let (len, crc) = self.wanted;
        let is_over = n == 0 && !to.is_empty();
        let wrong = |what| Err(io::Error::other(Error::bad_input(what)));
        if self.len > len || (is_over && self.len < len) {
            let found = if self.len > len { "more".to_owned() } else { self.len.to_string() };
            return wrong(format!("there are {found} bytes, {len} were announced"));
        }
        match self.crc.clone().finalize() {
            found if is_over && found != crc => wrong(format!("the CRC-32 is {found:08x}, {crc:08x} was announced")),
            _ => Ok(n),
        }
    }
}

/// A blob as `rawzip` reads files.
struct Bytes<'a>(&'a Blob);

impl ReaderAt for Bytes<'_> {
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        let n = to.len().min(usize::try_from(self.0.len().saturating_sub(offset)).unwrap_or(usize::MAX));
        self.0.read_at(offset, &mut to[..n])?;
        Ok(n)
    }
}

fn damaged(error: rawzip::Error) -> Error {
    Error::new(Kind::BadInput, "damaged ZIP archive").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of one file, by the writer of `rawzip`.
    fn archive(path: &str, body: &[u8], method: CompressionMethod) -> Vec<u8> {
        use std::io::Write;
        let mut bytes = Vec::new();
        let mut writer = rawzip::ZipArchiveWriter::new(&mut bytes);
        let (mut entry, config) = writer.new_file(path).compression_method(method).start().unwrap();
        let descriptor = if method == CompressionMethod::STORE {
            let mut to = config.wrap(&mut entry);
            to.write_all(body).unwrap();
            to.finish().unwrap().1
        } else {
            let mut to = config.wrap(flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::default()));
            to.write_all(body).unwrap();
            let (encoder, descriptor) = to.finish().unwrap();
            encoder.finish().unwrap();
            descriptor
        };
        entry.finish(descriptor).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn content(bytes: &[u8]) -> Result<Vec<u8>> {
        let members = files(&Blob::bytes(bytes), 9)?;
        let mut content = Vec::new();
        members[0].reader()?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn stored_and_deflated_files_come_back() {
        let body: Vec<_> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for method in [CompressionMethod::STORE, CompressionMethod::DEFLATE] {
            let bytes = archive("dir/disk.img", &body, method);
            assert!(probe(&Blob::bytes(bytes.as_slice())).unwrap());
            let found = files(&Blob::bytes(bytes.as_slice()), 1).unwrap();
            assert_eq!((found[0].path.as_slice(), found[0].len), (&b"dir/disk.img"[..], 400_000));
            assert!(content(&bytes).unwrap() == body);
            assert!(files(&Blob::bytes(bytes), 0).unwrap_err().to_string().contains("more than 0 files"));
        }
    }

    #[test]
    fn damage_is_an_error_and_no_other_content() {
        let body: Vec<_> = (0..2_000_u32).flat_map(u32::to_le_bytes).collect();
        for method in [CompressionMethod::STORE, CompressionMethod::DEFLATE] {
            let whole = archive("a", &body, method);
            for at in 0..whole.len() {
                let mut broken = whole.clone();
                broken[at] ^= 1 << (at % 8);
                match content(&broken) {
                    Ok(found) => assert!(found == body, "byte {at}"),
                    Err(error) => assert!(matches!(error.kind(), Kind::BadInput | Kind::Unsupported), "byte {at}: {error:?}"),
                }
            }
            for len in 0..whole.len() {
                assert!(content(&whole[..len]).is_err(), "{len} bytes");
            }
        }
    }
}
