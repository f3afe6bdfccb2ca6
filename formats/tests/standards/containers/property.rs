//! What must hold for every row of `FORMATS`, with every option that the row lists, for any disk.

use crate::support::{decode, env, identity};
use formats::{Blob, FORMATS, Format, Kind, Options, Values, dump::Dump, units};
use proptest::prelude::*;

/// A value that `values` accepts; `choice` picks which. Texts are left alone.
fn value(values: &Values, choice: u64) -> Option<String> {
    let pick = |words: &[&str]| words[units::index(choice % units::bytes(words.len()))].to_owned();
    Some(match values {
        Values::Choice(words) => pick(words),
        Values::Flag => pick(&["on", "off"]),
        Values::PowerOfTwo { min, max } => {
            let steps = u64::from(max.ilog2() - min.ilog2()) + 1;
            (min << (choice % steps)).to_string()
        }
        Values::Number { min, max } | Values::NumberOrAuto { min, max } => (min + choice % (max - min + 1)).to_string(),
        Values::Text { .. } => return None,
    })
}

/// Options by chance.
fn options(format: &dyn Format, choices: &[u64]) -> Options {
    let pairs = format.options().iter().zip(choices).filter_map(|(spec, choice)| Some((spec.name, value(&spec.values, *choice)?)));
    let pairs: Vec<_> = pairs.collect();
    Options::parse(format.options(), pairs.iter().map(|(key, value)| (*key, value.as_str()))).unwrap()
}

/// Pieces of data between gaps, some of them zeros.
fn disk(pieces: &[(u64, u8, usize)], unit: u64) -> Blob {
    let mut disk = Blob::default();
    for (gap, byte, len) in pieces {
        disk.append(&Blob::zeros(*gap));
        disk.append(&Blob::bytes(vec![*byte; *len]));
    }
    disk.append(&Blob::bytes([1]));
    disk.pad_to(unit);
    disk
}

/// Whether two blobs hold the same bytes; what is a gap in both is not looked at.
fn same(a: &Blob, b: &Blob) -> bool {
    const UNIT: u64 = 64 * units::KIB;
    let equal = |unit: u64| {
        let read = |blob: &Blob| blob.slice(unit * UNIT..((unit + 1) * UNIT).min(blob.len())).to_vec(UNIT).unwrap();
        read(a) == read(b)
    };
    a.len() == b.len() && a.data_units(UNIT).chain(b.data_units(UNIT)).flatten().all(equal)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_disk_survives_every_format(
        pieces in prop::collection::vec((0u64..3_000_000, prop_oneof![Just(0u8), any::<u8>()], 1usize..200_000), 0..6),
        choices in prop::collection::vec(any::<u64>(), 12),
    ) {
        for format in FORMATS.iter().filter(|format| format.is_written()) {
            let options = options(*format, &choices);
            let plan = match format.plan(&options) {
                // Some options exclude each other.
                Err(error) if error.kind() == Kind::Unsupported => continue,
                plan => plan.unwrap(),
            };
            let disk = disk(&pieces, plan.limits().size_multiple);
            let file = plan.encode(&disk, &identity(), &mut env(2)).unwrap();
            let again = plan.encode(&disk, &identity(), &mut env(1)).unwrap();
            prop_assert!(same(&file, &again), "{} {options:?}: not the same bytes twice", format.name());
            let decoded = decode(*format, &file, 2).unwrap();
            prop_assert!(same(&decoded, &disk), "{} {options:?}", format.name());
            format.dump(&file, &mut Dump::new()).unwrap();
            for other in FORMATS.iter().filter(|other| other.name() != "raw") {
                prop_assert_eq!(other.probe(&file).unwrap(), other.name() == format.name(), "{} {:?}", format.name(), options);
            }
        }
    }
}
