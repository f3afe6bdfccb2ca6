//! A compressed blob, unpacked as a whole: on all cores where its format tells where pieces of it begin, as xz does in files that its tool
//! wrote on several.

use super::{
    Codec, read,
    xz::blocks::{Block, blocks},
};
use crate::{Blob, Env, Error, Result, parallel, spool::Room, units};
use std::{io::Read, num::NonZeroUsize};

/// How much of a piece is unpacked at once, in bytes.
const CHUNK: usize = 256 << 10;

/// The content of a compressed blob, less than `max` bytes, kept in the spool.
///
/// # Errors
/// As [`super::reader`], and when it has more.
pub fn unpack(codec: Codec, packed: &Blob, max: u64, env: &mut Env) -> Result<Blob> {
    let bounded = |len: u64| match len < max {
        true => Ok(()),
        false => Err(Error::unsupported(format!("it unpacks to {} or more", units::show_size(max)))),
    };
    if codec == Codec::None {
        return Ok(packed.clone());
    }
    let found = if codec == Codec::Xz { blocks(packed)? } else { None };
    let Some(blocks) = found.filter(|blocks| blocks.len() > 1) else {
        let unpacked = env.spool.copy(&mut super::reader(codec, packed.reader())?.take(max))?;
        return bounded(unpacked.len()).map(|()| unpacked);
    };
    let len = blocks.iter().map(|block| block.at + block.len).max().unwrap_or_default();
    bounded(len)?;
    // As much memory as one decoder is given, however many there are.
    let dictionary = blocks.iter().map(|block| block.dictionary).max().unwrap_or_default().max(1);
    let threads = usize::try_from(read::MEMORY_MAX / dictionary).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN);
    let room = env.spool.room(len)?;
    parallel::map(threads.min(env.threads), blocks, |block| fill(&room, &block))?;
    Ok(room.blob())
}

/// Unpacks a block to its place.
fn fill(room: &Room<'_>, block: &Block) -> Result<()> {
    let mut content = super::stream(Codec::Xz, block.stream.reader())?;
    let (mut chunk, mut done) = (Vec::with_capacity(CHUNK), 0);
    loop {
        chunk.clear();
        content.by_ref().take(units::bytes(CHUNK)).read_to_end(&mut chunk)?;
        let len = units::bytes(chunk.len());
        if len > block.len - done || len == 0 && done < block.len {
            let what = format!("the xz data is damaged: its index has a block of {} bytes, which has {}", block.len, done + len);
            return Err(Error::bad_input(what));
        }
        if len == 0 {
            return Ok(());
        }
        room.write(block.at + done, &chunk)?;
        done += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::{
        tests::{read, sample, written},
        xz,
    };
    use std::io::Write;

    const MAX: u64 = 16 * units::MIB;

    /// Three blocks.
    fn several() -> (Vec<u8>, Vec<u8>) {
        let plain = [sample(3_000_000), vec![0; 1_000_000], sample(1_000_000)].concat();
        let packed = written(Codec::Xz, Some(0), &Blob::from(plain.clone()), 1);
        assert_eq!(blocks(&Blob::from(packed.clone())).unwrap().unwrap().len(), 3);
        (plain, packed)
    }

    fn unpacked(codec: Codec, packed: &[u8], threads: usize) -> Result<Vec<u8>> {
        let mut env = Env::scratch(threads);
        env.spool.write_all(b"what stands before").unwrap();
        unpack(codec, &Blob::bytes(packed), MAX, &mut env)?.to_vec(MAX)
    }

    #[test]
    fn what_is_unpacked_at_once_is_what_is_read() {
        let (plain, packed) = several();
        for threads in [1, 2, 9] {
            assert!(unpacked(Codec::Xz, &packed, threads).unwrap() == plain, "{threads}");
        }
        let small = sample(50_000);
        for codec in Codec::written() {
            let one = written(codec, None, &Blob::from(small.clone()), 1);
            assert!(unpacked(codec, &one, 2).unwrap() == small, "{codec}");
            let two = [one.clone(), one].concat();
            assert!(unpacked(codec, &two, 2).unwrap() == read(codec, &two).unwrap(), "{codec}");
        }
        // A stream of several blocks is followed by another, by padding, by what is nothing.
        for behind in [packed.as_slice(), &[0; 8], &[0; 3], b"garbage"] {
            let whole = [packed.as_slice(), behind].concat();
            assert_eq!(unpacked(Codec::Xz, &whole, 2).ok(), read(Codec::Xz, &whole).ok(), "{}", behind.len());
        }
    }

    #[test]
    fn what_is_damaged_is_so_on_several_cores() {
        let (plain, packed) = several();
        // In the header of the stream and of a block, in blocks, in the index, in the footer.
        for at in (0..24).step_by(2).chain(packed.len() - 40..packed.len()).chain([packed.len() / 3, packed.len() / 2]) {
            let mut broken = packed.clone();
            broken[at] ^= 1;
            match unpacked(Codec::Xz, &broken, 2) {
                Ok(bytes) => assert!(bytes == plain && read(Codec::Xz, &broken).unwrap() == plain, "{at}"),
                Err(error) => assert!(error.to_string().starts_with("the xz data"), "{at}: {error}"),
            }
        }
        for len in [0, 12, packed.len() / 2, packed.len() - 12, packed.len() - 1] {
            assert!(unpacked(Codec::Xz, &packed[..len], 2).is_err(), "{len}");
        }
    }

    #[test]
    fn an_index_that_lies_is_found_out() {
        let (_, packed) = several();
        let file = Blob::from(packed.clone());
        let around = |block: &Block| 12 + units::bytes(xz::end(&[(block.stream.len(), block.len)], [0, 1]).unwrap().len());
        let blocks = blocks(&file).unwrap().unwrap();
        let records: Vec<_> = blocks.iter().map(|block| (block.stream.len() - around(block), block.len)).collect();
        for wrong in [-1_i64, 1, 5_000_000] {
            let mut lying = records.clone();
            let end = xz::end(&lying, [0, 1]).unwrap();
            let body = &packed[..packed.len() - end.len()];
            lying[1].1 = lying[1].1.checked_add_signed(wrong).unwrap();
            let file = [body, &xz::end(&lying, [0, 1]).unwrap()].concat();
            let error = unpacked(Codec::Xz, &file, 2).unwrap_err().to_string();
            assert!(error.starts_with("the xz data is damaged: its index has a block of "), "{error}");
        }
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused() {
        let (plain, packed) = several();
        let refused = |packed: &[u8], max| unpack(Codec::Xz, &Blob::bytes(packed), max, &mut Env::scratch(2)).err();
        let one = written(Codec::Xz, None, &Blob::from(plain.clone()), 1);
        for packed in [packed, one] {
            assert!(refused(&packed, units::bytes(plain.len()) + 1).is_none());
            let error = refused(&packed, units::bytes(plain.len())).unwrap();
            assert_eq!((error.kind(), error.to_string()), (crate::Kind::Unsupported, "it unpacks to 4.7 MiB or more".to_owned()));
        }
    }
}
