use super::*;
use crate::{Silent, testing};
use proptest::prelude::*;
use std::io::{self, Read};

/// Text that compresses about as programs do, and never repeats exactly.
pub(super) fn sample(len: usize) -> Vec<u8> {
    let mut state = 12_345_u32;
    let mut bytes = Vec::with_capacity(len + 16);
    while bytes.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(format!("{:x} {} ", state >> 20, bytes.len() / 1000).as_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub(super) fn written(codec: Codec, level: Option<u32>, blob: &Blob, threads: usize) -> Vec<u8> {
    let mut out = Vec::new();
    Encoding::new(codec, level).unwrap().write(blob, NonZeroUsize::new(threads).unwrap(), &Silent, &mut out).unwrap();
    out
}

pub(super) fn read(codec: Codec, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader(codec, bytes)?.read_to_end(&mut out)?;
    Ok(out)
}

#[test]
fn every_codec_reads_back_and_does_not_depend_on_threads() {
    let mut blob = Blob::from(sample(1_200_000));
    blob.append(&Blob::zeros(9 << 20));
    blob.append(&Blob::from(sample(10)));
    let plain = blob.to_vec(1 << 24).unwrap();
    for codec in Codec::written() {
        let one = written(codec, None, &blob, 1);
        assert!(one == written(codec, None, &blob, 3), "{codec} depends on threads");
        assert_eq!(Codec::sniff(&one), codec);
        assert!(read(codec, &one).unwrap() == plain, "{codec} does not read back");
        assert!(one.len() < plain.len() / 5 || codec == Codec::None, "{codec} has {} bytes", one.len());
    }
}

/// A gap is worked on once, wherever its pieces stand, and that makes no other stream than zeros that are data.
#[test]
fn gaps_are_zeros() {
    let with = |zeros: Blob| {
        let mut blob = Blob::from(sample(700_000));
        blob.append(&zeros);
        blob.append(&Blob::from(sample(10)));
        blob
    };
    let (gap, data) = (with(Blob::zeros(40 << 20)), with(Blob::from(vec![0; 40 << 20])));
    for codec in Codec::written() {
        assert!(written(codec, None, &gap, 3) == written(codec, None, &data, 1), "{codec}");
    }
}

#[test]
fn a_name_tells_a_codec() {
    for (name, rest, codec) in [
        ("x.img.zst", "x.img", Codec::Zstd),
        ("x.gz", "x", Codec::Gzip),
        ("x.xz", "x", Codec::Xz),
        ("x.lz4", "x", Codec::Lz4),
        ("x.bz2", "x", Codec::Bzip2),
        ("x.img", "x.img", Codec::None),
        (".gz", ".gz", Codec::None),
    ] {
        assert_eq!(Codec::of_name(name), (rest, codec));
    }
}

#[test]
fn every_level_reads_back() {
    let plain = sample(100_000);
    let blob = Blob::from(plain.clone());
    for (codec, levels) in [(Codec::Gzip, 1..=9), (Codec::Zstd, 1..=19), (Codec::Xz, 0..=9)] {
        for level in levels {
            assert_eq!(read(codec, &written(codec, Some(level), &blob, 2)).unwrap(), plain, "{codec} level {level}");
        }
    }
}

#[test]
fn what_is_empty_reads_back() {
    for codec in Codec::written() {
        assert_eq!(read(codec, &written(codec, None, &Blob::default(), 2)).unwrap(), b"", "{codec}");
    }
}

#[test]
fn streams_behind_each_other_read_as_one() {
    for codec in Codec::written() {
        let mut twice = written(codec, None, &Blob::from(sample(5000)), 1);
        twice.extend_from_slice(&twice.clone());
        assert_eq!(read(codec, &twice).unwrap(), [sample(5000), sample(5000)].concat(), "{codec}");
    }
    let mut padded = written(Codec::Gzip, None, &Blob::from(sample(5000)), 1);
    padded.resize(200_000, 0);
    assert_eq!(read(Codec::Gzip, &padded).unwrap(), sample(5000));
}

#[test]
fn damage_is_bad_input() {
    for codec in Codec::written().filter(|codec| *codec != Codec::None) {
        let whole = written(codec, None, &Blob::from(sample(50_000)), 1);
        let error = Error::from(read(codec, &whole[..whole.len() - 9]).unwrap_err());
        assert_eq!(error.kind(), crate::Kind::BadInput, "{codec}: {error}");
        assert!(error.to_string().starts_with(&format!("the {codec} data ")), "{error}");
    }
    assert!(reader(Codec::Lzma, &b"\x5d\0\0"[..]).is_err());
}

#[test]
fn levels_are_checked() {
    let refusal = |codec, level| Encoding::new(codec, Some(level)).unwrap_err().to_string();
    assert_eq!(refusal(Codec::Gzip, 10), "level 10 of gzip: it has levels 1 to 9");
    assert_eq!(refusal(Codec::Zstd, 22), "level 22 of zstd: it has levels 1 to 19");
    assert_eq!(refusal(Codec::Lz4, 9), "level 9 of lz4: it has level 1 only");
    assert_eq!(refusal(Codec::None, 1), "level 1 of none: it has no level");
    assert_eq!(refusal(Codec::Bzip2, 1), "bzip2 is read, never written: choose gzip, zstd, xz, lz4 or none");
}

#[test]
fn the_table_makes_the_lists() {
    assert_eq!(CHOICES, ["auto", "gzip", "zstd", "xz", "lz4", "none"]);
    assert_eq!(alternatives(&CHOICES), "auto, gzip, zstd, xz, lz4 or none");
    assert_eq!((Codec::written_as("xz"), Codec::written_as("bzip2"), Codec::written_as("auto")), (Some(Codec::Xz), None, None));
    let best = |known: &[Codec]| Codec::best_of(known);
    assert_eq!((best(&[Codec::Xz, Codec::Gzip]), best(&[Codec::Gzip, Codec::Zstd])), (Codec::Gzip, Codec::Zstd));
    assert_eq!((best(&[Codec::Lzma, Codec::Lz4, Codec::Xz]), best(&[Codec::Lzma]), best(&[])), (Codec::Xz, Codec::Gzip, Codec::Gzip));
}

#[test]
fn compressing_into_the_spool_tells_progress() {
    #[derive(Debug, Default)]
    struct Count(std::sync::atomic::AtomicU64);
    impl Progress for Count {
        fn advance(&self, bytes: u64) {
            self.0.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        }
    }
    let count = Arc::new(Count::default());
    let mut env = Env { progress: count.clone(), ..testing::env() };
    let blob = Blob::from(sample(3_000_000));
    let gzip = Encoding::new(Codec::Gzip, None).unwrap().compress(&blob, &mut env).unwrap();
    assert_eq!(Codec::of(&gzip).unwrap(), Codec::Gzip);
    assert_eq!(count.0.load(std::sync::atomic::Ordering::Relaxed), 3_000_000);
}

#[test]
fn a_frame_is_one_frame() {
    let blob = Blob::from(sample(20 << 20));
    let mut frame = Vec::new();
    zstd::frame(&blob, 3, &Silent, &mut frame).unwrap();
    assert_eq!(frame.windows(4).filter(|w| Codec::sniff(w) == Codec::Zstd).count(), 1);
    assert!(read(Codec::Zstd, &frame).unwrap() == sample(20 << 20));
}

#[test]
fn units_read_back() {
    let plain = sample(65_536);
    for (window, wrapping) in [(12, deflate::Wrapping::Raw), (15, deflate::Wrapping::Zlib)] {
        for level in 1..=9 {
            let unit = deflate::deflate(&plain, level, window, wrapping).unwrap();
            assert_eq!(deflate::inflate(&unit, plain.len(), wrapping).unwrap(), plain);
            assert!(deflate::inflate(&unit, plain.len() - 1, wrapping).is_err());
            assert!(deflate::inflate(&unit, plain.len() + 1, wrapping).is_err());
            assert!(deflate::inflate(&unit[..unit.len() / 2], plain.len(), wrapping).is_err());
        }
    }
    let unit = zstd::unit(&plain, 3).unwrap();
    assert_eq!(zstd::read_unit(&[unit.clone(), vec![0; 100]].concat(), plain.len()).unwrap(), plain);
    assert!(zstd::read_unit(&unit[..100], plain.len()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(codec in prop::sample::select(vec![Codec::Gzip, Codec::Zstd, Codec::Xz, Codec::Lz4, Codec::Lz4Frame, Codec::Lzma, Codec::Bzip2]), at in 0usize..300, junk in prop::collection::vec(any::<u8>(), 1..40)) {
        let mut bytes = match codec {
            Codec::Lz4Frame | Codec::Lzma | Codec::Bzip2 => vec![0; 300],
            codec => written(codec, None, &Blob::from(sample(2000)), 1),
        };
        bytes.splice(at.min(bytes.len())..(at + junk.len()).min(bytes.len()).max(at.min(bytes.len())), junk);
        if let Ok(reader) = reader(codec, &bytes[..]) {
            let _: io::Result<u64> = io::copy(&mut reader.take(1 << 24), &mut io::sink());
        }
    }
}

/// Linux's squashfs takes a frame that ends in an empty block for damaged where that block begins a new page.
#[test]
fn a_bare_zstd_frame_ends_in_data() {
    const EMPTY_LAST: [u8; 3] = [1, 0, 0];
    for len in [1, 4096, 100_000, 131_072, 131_073, 262_144, 1 << 20] {
        for bytes in [vec![7; len], sample(len)] {
            let frame = zstd::bare_unit(&bytes, 3).unwrap();
            assert_ne!(frame[frame.len() - 3..], EMPTY_LAST, "{len}");
            assert!(zstd::read_unit(&frame, len).unwrap() == bytes, "{len}");
        }
    }
}
