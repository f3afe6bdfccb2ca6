use super::*;
use crate::{
    Blob,
    compress::{
        CODECS,
        tests::{read, sample, written},
        zstd,
    },
};
use ::bzip2::{Compression, write::BzEncoder};
use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};
use lzma_rust2::{LzmaOptions, LzmaWriter};
use proptest::prelude::*;
use std::io::{Read, Write};

fn compressed() -> impl Iterator<Item = Codec> {
    CODECS.iter().map(|row| row.codec).filter(|codec| *codec != Codec::None)
}

/// A stream of any codec, by us or by its library.
fn packed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Lz4Frame => {
            let info = FrameInfo::new().block_mode(BlockMode::Linked).content_checksum(true);
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Lzma => {
            let mut encoder = LzmaWriter::new_use_header(Vec::new(), &LzmaOptions::with_preset(1), None).unwrap();
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Bzip2 => {
            let mut encoder = BzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        codec => written(codec, None, &Blob::from(bytes.to_vec()), 1),
    }
}

fn skippable_frame(magic: u8, len: u8) -> Vec<u8> {
    let head = [magic, 0x2a, 0x4d, 0x18, len, 0, 0, 0];
    [&head[..], &vec![0x5a; usize::from(len)]].concat()
}

/// Kind and words of a refusal.
fn refusal(codec: Codec, bytes: &[u8]) -> (Kind, String) {
    let error = Error::from(read(codec, bytes).unwrap_err());
    (error.kind(), error.to_string())
}

#[test]
fn lz4_frames_of_both_kinds_and_skippable_ones_read_as_one() {
    let (frame, legacy) = (packed(Codec::Lz4Frame, &sample(70_000)), packed(Codec::Lz4, &sample(9000)));
    let (front, back) = (skippable_frame(0x50, 4), skippable_frame(0x5f, 0));
    for (codec, parts) in [
        (Codec::Lz4Frame, vec![&frame, &frame]),
        (Codec::Lz4, vec![&legacy, &frame, &legacy, &legacy]),
        (Codec::Lz4Frame, vec![&frame, &legacy, &frame]),
        (Codec::Lz4Frame, vec![&front, &back, &frame, &back, &legacy, &front, &back]),
        (Codec::Lz4, vec![&back, &legacy, &front, &frame, &back]),
    ] {
        let plain = |part| match part {
            _ if part == &frame => sample(70_000),
            _ if part == &legacy => sample(9000),
            _ => Vec::new(),
        };
        let whole: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
        assert_eq!(Codec::of(&Blob::from(whole.clone())).unwrap(), codec);
        assert!(read(codec, &whole).unwrap() == parts.into_iter().flat_map(plain).collect::<Vec<_>>(), "{codec}");
    }
}

#[test]
fn zstd_skips_what_pzstd_and_others_put_between_frames() {
    let frame = packed(Codec::Zstd, &sample(5000));
    let (front, back) = (skippable_frame(0x50, 4), skippable_frame(0x5e, 200));
    let whole = Blob::from([front.clone(), back.clone(), frame.clone(), back.clone(), frame, front.clone()].concat());
    assert_eq!(Codec::of(&whole).unwrap(), Codec::Zstd);
    assert_eq!(read(Codec::Zstd, &whole.to_vec(1 << 20).unwrap()).unwrap(), [sample(5000), sample(5000)].concat());
    // Nothing else is a file without content.
    assert_eq!(Codec::of(&Blob::from(front.clone())).unwrap(), Codec::Zstd);
    assert_eq!(read(Codec::Zstd, &front).unwrap(), b"");
    assert!(refusal(Codec::Zstd, &back[..100]).1.contains("ends too early"));
}

#[test]
fn behind_skippable_frames_stands_zstd_or_lz4_or_nothing_known() {
    let behind = |frames: usize, next: &[u8]| {
        let mut bytes = skippable_frame(0x53, 9).repeat(frames);
        bytes.extend(next);
        Codec::of(&Blob::from(bytes)).unwrap()
    };
    assert_eq!(behind(1000, &packed(Codec::Zstd, b"x")), Codec::Zstd);
    assert_eq!(behind(1, &packed(Codec::Gzip, b"x")), Codec::None);
    assert_eq!(behind(1, b"something else"), Codec::None);
    // A file of a million frames is not looked through.
    assert_eq!(behind(1_000_000, &packed(Codec::Lz4, b"x")), Codec::None);
}

#[test]
fn a_flipped_bit_never_gives_other_bytes() {
    let plain = sample(300);
    for codec in [Codec::Gzip, Codec::Zstd, Codec::Xz, Codec::Lz4Frame, Codec::Bzip2] {
        let whole = packed(codec, &plain);
        let mut refused = 0;
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match read(codec, &flipped) {
                Ok(read) => assert!(read == plain, "{codec}: bit {bit} is not noticed"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > whole.len() * 7, "{codec}: {refused} flips of {} bytes are refused", whole.len());
    }
    let unit = zstd::unit(&plain, 3).unwrap();
    for byte in 20..unit.len() {
        let mut flipped = unit.clone();
        flipped[byte] ^= 1;
        assert!(zstd::read_unit(&flipped, plain.len()).map_or(true, |read| read == plain), "byte {byte} of a unit is not noticed");
    }
}

#[test]
fn a_unit_has_the_length_that_was_announced() {
    let (one, two) = (sample(3000), sample(2000));
    let frames = [zstd::unit(&one, 3).unwrap(), zstd::unit(&two, 3).unwrap(), vec![0; 99]].concat();
    assert!(zstd::read_unit(&frames, 5000).unwrap() == [one, two].concat());
    for len in [2999, 3001, 4999, 5001] {
        assert!(zstd::read_unit(&frames, len).is_err(), "{len}");
    }
}

/// A legacy frame of lz4 has no end: behind a whole block it may as well be over.
#[test]
fn what_is_cut_off_is_an_error() {
    let plain = sample(3000);
    for codec in compressed() {
        let whole = packed(codec, &plain);
        for len in 0..whole.len() {
            if codec == Codec::Lz4 && [0, 4].contains(&len) {
                continue;
            }
            let (kind, text) = refusal(codec, &whole[..len]);
            assert_eq!((kind, text.contains("ends too early")), (Kind::BadInput, true), "{codec}, {len} bytes: {text}");
        }
        // A second stream that is cut off, wherever that is.
        let twice = whole.repeat(2);
        for len in (whole.len() + 1..twice.len()).filter(|len| codec != Codec::Lz4 || *len != whole.len() + 4) {
            let (kind, text) = refusal(codec, &twice[..len]);
            let place = format!("at byte {}", whole.len());
            assert!(kind == Kind::BadInput && (codec == Codec::Lz4 || text.contains(&place)), "{codec}, {len} bytes: {text}");
        }
    }
}

/// As the codecs' own tools: gzip passes over zeros and xz over multiples of 4, gzip and bzip2 warn of the rest.
#[test]
fn what_stands_behind_is_named_or_told() {
    let plain = sample(3000);
    for codec in compressed() {
        for (behind, zeros) in
            [(&b"GARBAGE, garbage"[..], false), (b"\0", true), (&[0; 4], true), (&[0; 70_000], true), (b"\0\0\0\0\0\0\0\0GARBAGE", false)]
        {
            let whole = packed(codec, &plain);
            let bytes = [&whole[..], behind].concat();
            let is_padding = zeros && (codec == Codec::Gzip || codec == Codec::Xz && behind.len() % 4 == 0);
            if is_padding {
                assert!(read(codec, &bytes).unwrap() == plain, "{codec}, {} zeros", behind.len());
                continue;
            }
            let (kind, text) = refusal(codec, &bytes);
            assert_eq!(kind, Kind::BadInput);
            assert!(
                text.starts_with(&format!("behind the {codec} data")) && text.contains(" at byte ") || text.contains("up to byte"),
                "{text}"
            );
            let mut tolerant = reader(codec, &bytes[..]).unwrap().tolerant();
            let mut content = Vec::new();
            let result = tolerant.read_to_end(&mut content);
            if matches!(codec, Codec::Gzip | Codec::Bzip2) {
                let garbage = tolerant.garbage().unwrap();
                let skipped = if codec == Codec::Gzip { behind.iter().take_while(|byte| **byte == 0).count() } else { 0 };
                assert_eq!(garbage.at, units::bytes(whole.len() + skipped));
                assert!(content == plain && result.is_ok());
            } else {
                assert!(result.is_err(), "{codec}");
            }
        }
    }
    let text = refusal(Codec::Zstd, &[packed(Codec::Zstd, b"x"), packed(Codec::Gzip, b"x")].concat()).1;
    let at = packed(Codec::Zstd, b"x").len();
    assert_eq!(text, format!("behind the zstd data stands something else: 1f 8b 08 00 at byte {at}, must be another frame or the end"));
}

#[test]
fn a_stream_says_how_much_it_took() {
    let plain = sample(100_000);
    for codec in compressed() {
        let whole = packed(codec, &plain);
        let next = if codec == Codec::Lz4 { vec![0; 4] } else { whole.clone() };
        for behind in [vec![], next, b"070701 is the magic of cpio".repeat(9000)] {
            let bytes = [whole.clone(), behind].concat();
            let mut stream = stream(codec, &bytes[..]).unwrap();
            let mut content = Vec::new();
            stream.read_to_end(&mut content).unwrap();
            assert!(content == plain, "{codec}");
            assert_eq!(stream.taken(), units::bytes(whole.len()), "{codec}");
        }
    }
}

/// Gives a byte at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = to.len().min(1);
        self.0.read(&mut to[..n])
    }
}

#[test]
fn a_slow_input_reads_the_same() {
    let plain = sample(20_000);
    for codec in compressed() {
        let mut twice = packed(codec, &plain);
        if codec != Codec::Lzma {
            twice.extend(twice.clone());
        }
        let mut content = Vec::new();
        reader(codec, Slow(&twice)).unwrap().read_to_end(&mut content).unwrap();
        assert!(content == read(codec, &twice).unwrap() && content.starts_with(&plain), "{codec}");
    }
}

#[test]
fn very_many_empty_streams_neither_recurse_nor_take_long() {
    const COUNT: usize = 100_000;
    for codec in compressed().filter(|codec| *codec != Codec::Lzma) {
        let begun = std::time::Instant::now();
        let mut many = packed(codec, b"").repeat(COUNT);
        many.extend(packed(codec, b"end"));
        assert_eq!(read(codec, &many).unwrap(), b"end", "{codec}");
        assert!(begun.elapsed().as_secs() < 60, "{codec} takes {:?}", begun.elapsed());
    }
    let skippable = [skippable_frame(0x51, 0).repeat(COUNT), packed(Codec::Zstd, b"end")].concat();
    assert_eq!(read(Codec::Zstd, &skippable).unwrap(), b"end");
    // Blocks of one byte, each of which has room for 8 MiB.
    let blocks = [packed(Codec::Lz4, b""), [2, 0, 0, 0, 0x10, b'x'].repeat(COUNT)].concat();
    assert_eq!(read(Codec::Lz4, &blocks).unwrap(), vec![b'x'; COUNT]);
}

#[test]
fn a_window_beyond_all_bounds_is_not_called_damage() {
    // Window descriptors of 2 GiB and more (RFC 8878 section 3.1.1.1.2).
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0xa8];
    frame.extend([1, 0, 0]);
    let (kind, text) = refusal(Codec::Zstd, &frame);
    assert_eq!((kind, text.contains("too much memory")), (Kind::Unsupported, true), "{text}");
    let mut lzma = packed(Codec::Lzma, b"x");
    lzma[1..5].copy_from_slice(&(1_u32 << 31).to_le_bytes());
    assert!(text.contains("134217728"), "the most that is taken: {text}");
    let mut xz = packed(Codec::Xz, b"x");
    // Behind the stream's header: the size of the block's header, no sizes, one filter, LZMA2, one byte of properties.
    assert_eq!(xz[12..17], [2, 0, 0x21, 1, xz[16]][..]);
    xz[16] = 37;
    let crc = crc32fast::hash(&xz[12..20]).to_le_bytes();
    xz[20..24].copy_from_slice(&crc);
    for (codec, bytes) in [(Codec::Lzma, lzma), (Codec::Xz, xz)] {
        let (kind, text) = refusal(codec, &bytes);
        let is_said = |size: &str| text.contains(&format!("a dictionary of {size}, at most 256 MiB"));
        assert!(kind == Kind::Unsupported && (is_said("2 GiB") || is_said("1.5 GiB")), "{text}");
    }
    let unit = crate::compress::zstd::read_unit(&frame, 1).unwrap_err();
    assert!(unit.kind() == Kind::Unsupported && unit.to_string().contains("134217728"), "{unit}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However a content is cut into streams, and whatever of the allowed stands between them.
    #[test]
    fn any_split_reads_back(cuts in prop::collection::vec(0usize..=40_000, 0..4), fill in prop::collection::vec(0u8..8, 5)) {
        let plain = sample(40_000);
        let mut cuts = [vec![0, plain.len()], cuts].concat();
        cuts.sort_unstable();
        for codec in compressed().filter(|codec| *codec != Codec::Lzma) {
            let mut whole = Vec::new();
            for (range, fill) in cuts.windows(2).zip(fill.iter().cycle()) {
                let skippable = skippable_frame(0x50 + fill, 7 * fill);
                match codec {
                    Codec::Zstd | Codec::Lz4 | Codec::Lz4Frame => whole.extend(skippable.repeat(usize::from(fill % 3))),
                    _ => {}
                }
                whole.extend(packed(codec, &plain[range[0]..range[1]]));
                match codec {
                    Codec::Gzip => whole.resize(whole.len() + usize::from(*fill), 0),
                    Codec::Xz => whole.resize(whole.len() + 4 * usize::from(*fill), 0),
                    _ => {}
                }
            }
            prop_assert_eq!(Codec::of(&Blob::from(whole.clone())).unwrap(), codec);
            prop_assert!(read(codec, &whole).unwrap() == plain, "{}", codec);
        }
    }
}
