use super::*;
use crate::{
    Kind,
    signer::{
        PublicKey, Scratch,
        tests::{LIES, Liar},
    },
    x509::tests::{issued, own, with_key},
};
use sha2::{Digest as _, Sha256};
use std::slice;

/// Where the optional header is.
const OPTIONAL: usize = 0x98;
const HEADERS: usize = 0x200;

/// A PE32+ file with sections in these places of the file, and something behind them.
fn pe(sections: &[Range<u32>], tail: usize) -> Vec<u8> {
    let end = sections.iter().map(|at| at.end).max().unwrap_or_default();
    let mut file: Vec<u8> = (0..units::index(end.into()).max(HEADERS) + tail).map(|at| u8::try_from(at % 251).unwrap()).collect();
    file[..HEADERS].fill(0);
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &[0x80]);
    put(0x80, b"PE\0\0");
    put(0x86, &[u8::try_from(sections.len()).unwrap()]);
    put(0x94, &240_u16.to_le_bytes());
    put(OPTIONAL, &0x20b_u16.to_le_bytes());
    put(OPTIONAL + 60, &u32::try_from(HEADERS).unwrap().to_le_bytes());
    put(OPTIONAL + 64, b"SUM!");
    put(OPTIONAL + 108, &[16]);
    for (nth, at) in sections.iter().enumerate() {
        let row = OPTIONAL + 240 + 40 * nth;
        put(row, format!(".s{nth}").as_bytes());
        put(row + 16, &(at.end - at.start).to_le_bytes());
        put(row + 20, &at.start.to_le_bytes());
    }
    file
}

/// Two sections, the second first in the table, a third without bytes in the file, and 3 bytes behind.
fn file() -> Vec<u8> {
    pe(&[0x300..0x420, 0x200..0x300, 0..0], 3)
}

fn signed_by(bytes: &[u8], key: &Scratch) -> Vec<u8> {
    sign(&Blob::bytes(bytes), &[own("test", key)], key).unwrap().to_vec(u64::MAX).unwrap()
}

fn read(bytes: &[u8]) -> Result<Vec<Signature>> {
    signatures(&Blob::bytes(bytes))
}

#[test]
fn the_digest_is_of_all_but_twelve_bytes() {
    let file = file();
    let hashed = [&file[..OPTIONAL + 64], &file[OPTIONAL + 68..OPTIONAL + 144], &file[OPTIONAL + 152..], &[0; 5]].concat();
    assert_eq!(digest(&Blob::bytes(file.as_slice())).unwrap(), <[u8; 32]>::from(Sha256::digest(hashed)));
    assert_eq!(digest(&Blob::bytes(signed_by(&file, &Scratch::one()))).unwrap(), digest(&Blob::bytes(file)).unwrap());
}

#[test]
fn signatures_are_appended_and_come_back() {
    let (one, other) = (Scratch::one(), Scratch::other());
    assert_eq!(read(&file()).unwrap(), []);
    let once = signed_by(&file(), &one);
    assert_eq!(once, signed_by(&file(), &one), "signing twice gives the same bytes");
    let twice = signed_by(&once, &other);
    let found = read(&twice).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], read(&once).unwrap()[0]);
    for (signature, key) in found.iter().zip([&one, &other]) {
        assert!(signature.digest_matches && signature.is_valid);
        assert_eq!((signature.algorithm.as_str(), signature.certificates.as_slice()), ("RSA with SHA-256", &[own("test", key)][..]));
        assert!(signature.is_trusted_by(&[own("test", key)]) && !signature.is_trusted_by(&[]));
        assert!(!signature.is_trusted_by(&[own("test", if signature.certificates[0] == own("test", &one) { &other } else { &one })]));
    }
    // All but the entry of the table is as it was, and nothing more than zeros to 8 stands between.
    let file = file();
    assert_eq!((&once[..OPTIONAL + 144], &once[OPTIONAL + 152..file.len()]), (&file[..OPTIONAL + 144], &file[OPTIONAL + 152..]));
    assert_eq!(once[file.len()..][..5], [0; 5]);
    assert_eq!(twice.len() % 8, 0);
}

#[test]
fn what_is_signed_elsewhere_is_the_same() {
    /// Has the answer.
    #[derive(Debug)]
    struct Answer(PublicKey, [u8; 32], Vec<u8>);
    impl Signer for Answer {
        fn public_key(&self) -> &PublicKey {
            &self.0
        }

        fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>> {
            assert_eq!(*digest, self.1);
            Ok(self.2.clone())
        }
    }
    let (key, file) = (Scratch::one(), file());
    let asked = to_be_signed(&Blob::bytes(file.as_slice())).unwrap();
    let answer = Answer(key.public_key().clone(), asked, key.sign(&asked).unwrap());
    let signed = sign(&Blob::bytes(file.as_slice()), &[own("test", &key)], &answer).unwrap();
    assert_eq!(signed.to_vec(u64::MAX).unwrap(), signed_by(&file, &key));
}

#[test]
fn who_may_not_sign_does_not() {
    let (one, file) = (Scratch::one(), Blob::bytes(file()));
    let refused = |certificates: &[Certificate], signer: &dyn Signer, kind, words: &str| {
        let error = sign(&file, certificates, signer).unwrap_err();
        assert!(error.to_string().contains(words) && error.kind() == kind, "{error:?}");
    };
    refused(&[], &one, Kind::BadInput, "no certificate");
    refused(&[own("o\u{1b}", &Scratch::other())], &one, Kind::BadInput, r"not the one of the certificate of CN=o\u{1b}");
    let p256 = [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let algorithm = der::sequence(&[&der::oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), &p256]);
    let ec = with_key(&own("ec", &one), &der::sequence(&[&algorithm, &der::bits(&[4; 65])]));
    refused(&[ec], &one, Kind::Unsupported, "an EC key (P-256): firmware takes RSA");
    for answer in LIES {
        refused(&[own("test", &one)], &Liar { key: Scratch::one(), answer }, Kind::BadInput, "does not verify");
    }
}

#[test]
fn a_chain_is_carried() {
    let (ca_key, key) = (Scratch::one(), Scratch::other());
    let ca = own("ca", &ca_key);
    let between = issued("between", &ca_key, &ca, &ca_key, true);
    let certificate = issued("signer", &key, &between, &ca_key, false);
    let signed = sign(&Blob::bytes(file()), &[certificate.clone(), between.clone()], &key).unwrap();
    let found = signatures(&signed).unwrap().remove(0);
    assert_eq!(found.certificates, [certificate, between.clone()]);
    assert!(
        found.is_trusted_by(std::slice::from_ref(&ca)) && found.is_trusted_by(&[between]) && !found.is_trusted_by(&[own("other", &key)])
    );
    let without = sign(&Blob::bytes(file()), &found.certificates[..1], &key).unwrap();
    assert!(!signatures(&without).unwrap()[0].is_trusted_by(&[ca]), "what is between is missing");
}

#[test]
fn what_cannot_be_signed_says_why() {
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = file();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let table = |at: u32, len: u32| changed(OPTIONAL + 144, &[at.to_le_bytes(), len.to_le_bytes()].concat());
    for (file, words) in [
        (Vec::new(), "there are no headers"),
        (pe(&[0x200..0x300, 0x308..0x400], 0), "section .s1 is at 776 in the PE file, must be at 768"),
        (pe(slice::from_ref(&(0x208..0x300)), 0), "section .s0 is at 520 in the PE file, must be at 512"),
        (pe(&[0x200..0x300, 0x2f8..0x400], 0), "section .s1 is at 760 in the PE file, must be at 768"),
        (pe(slice::from_ref(&(0x100..0x300)), 0), "section .s0 is at 256 in the PE file, must be at 512"),
        (
            pe(slice::from_ref(&(0x200..0x300)), 0)[..0x2ff].to_vec(),
            "the last section of the PE file would lie beyond its end, at byte 767",
        ),
        (changed(OPTIONAL, &[0x0b, 1]), "is of form 0x10b, only PE32+"),
        (changed(OPTIONAL + 108, &[4]), "the data directory has 4 entries"),
        (changed(0x94, &[151]), "none for certificates"),
        (changed(OPTIONAL + 60, &[0, 1]), "has 256 bytes of headers"),
        (changed(OPTIONAL + 60, &[0xff; 4]), "has 4294967295 bytes of headers"),
        (changed(0x86, &[0xff, 0]), "bytes of headers, must have its section table in them"),
        // The table: before the end of the sections, beyond the end of the file, before it, and at an odd place.
        (table(0x200, 0x223), "the certificate table is at 512 to 1059, must be behind the sections"),
        (table(0x420, 4), "the certificate table is at 1056 to 1060"),
        (table(0x420, u32::MAX), "the certificate table is at 1056 to 4294968351"),
        (table(0x420, 2), "the certificate table is at 1056 to 1058"),
        (table(0x421, 2), "the certificate table is at 1057 to 1059"),
        // Something else than signatures in it.
        (table(0x420, 3), "certificate table, entry 1: has 3 bytes, must have at least 8"),
    ] {
        let error = read(&file).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        let key = Scratch::one();
        // What stands in a table that is where it should be stays whatever it is.
        assert!(words.starts_with("certificate table,") || sign(&Blob::bytes(file), &[own("test", &key)], &key).is_err(), "{words}");
    }
}

#[test]
fn a_damaged_table_says_where() {
    let signed = signed_by(&signed_by(&file(), &Scratch::one()), &Scratch::other());
    let first = file().len().next_multiple_of(8);
    let len = usize::from(u16::from_le_bytes([signed[first], signed[first + 1]]));
    for (at, bytes, words) in [
        (first, &[7_u8, 0][..], "entry 1: length is 7, must be 8 to "),
        (first, &[0xff, 0xff], "entry 1: length is 65535, must be 8 to "),
        (first + 4, &[0, 1], "entry 1: revision is 0x0100 and type 0x0002, only 0x0200 and 0x0002 are read"),
        (first + 8, &[5], "entry 1: signed data: tag is 0x05, must be 0x30"),
        (first + len + 6, &[1], "entry 2: revision is 0x0200 and type 0x0001"),
        (first + len - 1, &[1], "entry 1: "),
    ] {
        let mut damaged = signed.clone();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        match read(&damaged) {
            Ok(found) => panic!("{words}: {found:?}"),
            Err(error) => assert!(error.to_string().contains(&format!("certificate table, {words}")), "{words}: {error}"),
        }
    }
}

#[test]
fn no_changed_file_is_trusted() {
    let key = Scratch::one();
    let (plain, signed, db) = (file().len(), signed_by(&file(), &key), [own("test", &key)]);
    for at in 0..signed.len() {
        let mut damaged = signed.clone();
        damaged[at] ^= 1 << (at % 8);
        let trusted = read(&damaged).is_ok_and(|found| found.iter().any(|signature| signature.is_trusted_by(&db)));
        let is_check_sum = (OPTIONAL + 64..OPTIONAL + 68).contains(&at);
        // In the table much is not signed: who the signer is, and what the certificates are, is.
        assert!(at >= plain || trusted == is_check_sum, "byte {at}");
    }
    for len in 0..signed.len() {
        assert!(read(&signed[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn a_digest_alone_is_no_signature() {
    // The digest of another file, signed well.
    let key = Scratch::one();
    let mut other = file();
    *other.last_mut().unwrap() ^= 1;
    let (other, mut signed) = (signed_by(&other, &key), signed_by(&file(), &key));
    let table = file().len().next_multiple_of(8);
    signed[table..].copy_from_slice(&other[table..]);
    let found = read(&signed).unwrap().remove(0);
    assert!(found.is_valid && !found.digest_matches && !found.is_trusted_by(&[own("test", &key)]));
}
