use super::*;
use crate::{
    Timestamp,
    efivars::{AUTHENTICATED, GLOBAL},
};

const KINDS: [Kind; 3] = [Kind::Ovmf4M, Kind::Ovmf2M, Kind::Aavmf];

/// Where the first record is, and how long its header.
const FIRST: usize = 0x48 + 28;
const HEAD: usize = 60;

fn plain(name: &str, data: &[u8]) -> Variable {
    Variable { name: name.into(), vendor: GLOBAL, attributes: BOOT_SERVICES, time: None, data: data.to_vec() }
}

fn bytes(variables: &[Variable]) -> Vec<u8> {
    write(Kind::Ovmf2M, variables).unwrap().to_vec(u64::MAX).unwrap()
}

fn read_bytes(bytes: &[u8]) -> Result<Vec<Variable>> {
    read(&Blob::bytes(bytes))
}

#[test]
fn what_is_written_comes_back() {
    let signed = Variable { attributes: AUTHENTICATED, time: Some(Timestamp(1_709_210_096)), ..plain("KEK", &[7; 1001]) };
    let variables = [plain("ü✓", &[1]), plain("", &[]), signed];
    for kind in KINDS {
        let file = write(kind, &variables).unwrap();
        assert_eq!((file.len(), file.data_len() < 1 << 20), (kind.sizes().file, true), "{kind:?}");
        assert_eq!(read(&file).unwrap(), variables, "{kind:?}");
        assert_eq!(read(&write(kind, &[]).unwrap()).unwrap(), [], "{kind:?}");
        let words = file.read_array::<0x48>(0).unwrap();
        let sum = words.as_chunks().0.iter().fold(0_u16, |sum, unit| sum.wrapping_add(u16::from_le_bytes(*unit)));
        assert_eq!(sum, 0, "{kind:?}");
    }
}

#[test]
fn a_platform_key_turns_secure_boot_on() {
    let pk = plain("PK", &[1]);
    let found = read_bytes(&bytes(std::slice::from_ref(&pk))).unwrap();
    let of = |(name, vendor, value): (&str, Guid, u8)| Variable { vendor, ..plain(name, &[value]) };
    assert_eq!(found, [pk.clone(), of(SECURE_BOOT_ENABLE), of(CUSTOM_MODE)]);
    let off = Variable { data: vec![0], ..of(SECURE_BOOT_ENABLE) };
    assert_eq!(read_bytes(&bytes(&[pk.clone(), off.clone()])).unwrap(), [pk, off, of(CUSTOM_MODE)]);
}

#[test]
fn what_a_store_does_not_hold_is_refused() {
    let room = 0xe000 - FIRST - HEAD - 4;
    assert_eq!(read_bytes(&bytes(&[plain("a", &vec![1; room])])).unwrap().len(), 1);
    let error = write(Kind::Ovmf2M, &[plain("a", &vec![1; room + 1])]).unwrap_err().to_string();
    assert!(error.contains("the variables need 57348 bytes with their headers, the store has 57344"), "{error}");
}

#[test]
fn deleted_records_are_left_out() {
    let whole = bytes(&[plain("a", &[1]), plain("b", &[2]), plain("a", &[3])]);
    let second = FIRST + HEAD + 8;
    let with = |states: [u8; 3]| {
        let mut file = whole.clone();
        for (nth, state) in states.into_iter().enumerate() {
            file[FIRST + 2 + nth * (second - FIRST)] = state;
        }
        read_bytes(&file).unwrap().into_iter().map(|variable| variable.data[0]).collect::<Vec<_>>()
    };
    // Deleted; its header alone was written; about to be replaced, before and after the newer one is there.
    assert_eq!((with([0x3d, 0x3f, 0x3c]), with([0x7f, 0x3f, 0x3f])), (vec![2], vec![2, 3]));
    assert_eq!((with([0x3e, 0x3f, 0x3f]), with([0x3e, 0x3f, 0x7f])), (vec![2, 3], vec![1, 2]));
}

#[test]
fn what_is_no_store_says_why() {
    let whole = bytes(&[plain("a", &[1])]);
    let changed = |at: usize, with: &[u8]| {
        let mut file = whole.clone();
        file[at..at + with.len()].copy_from_slice(with);
        file
    };
    for (file, words) in [
        (Vec::new(), "does not begin with a flash volume"),
        (changed(40, b"X"), "does not begin with a flash volume"),
        (changed(16, &[0]), "does not begin with a flash volume"),
        (changed(48, &[0xff, 0xff]), "the store is of type ffffffff-ffff-ffff-ffff-ffffffffffff, only authenticated"),
        (changed(0x48, &Guid::new(0xddcf3616_3275_4164_98b6_fe85707ffe7d).to_mixed_endian()), "the store is of type ddcf3616"),
        (changed(0x48 + 16, &[0xff; 4]), "the store has 4294967295 bytes and state [5a, fe], must be healthy and end in the file"),
        (changed(0x48 + 16, &[27, 0, 0, 0]), "the store has 27 bytes"),
        (changed(0x48 + 20, &[0]), "the store has 57272 bytes and state [00, fe]"),
        (changed(FIRST + 36, &[0xff; 4]), "record at 0 of the store: name and data of 4294967295 and 1 bytes reach beyond the store"),
        (changed(FIRST + 40, &[0xff; 4]), "record at 0 of the store: name and data of 4 and 4294967295 bytes reach beyond the store"),
        (changed(FIRST + HEAD + 2, &[1]), "record at 0 of the store: its name does not end with NUL"),
        (changed(FIRST + 36, &[3]), "record at 0 of the store: the name of a variable is no UTF-16"),
        (changed(FIRST + HEAD, &[0, 0xd8]), "record at 0 of the store: the name of a variable is no UTF-16"),
    ] {
        let error = read_bytes(&file).unwrap_err().to_string();
        assert!(error.starts_with(words), "{error}");
    }
    for len in (0..whole.len()).step_by(97) {
        assert!(read_bytes(&whole[..len]).is_err() || len >= 0xe000, "{len} bytes");
    }
}
