//! Signatures of programs, certificates, and the variables of firmware. What is read and can be written reads back alike; nothing that was
//! changed is trusted.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use formats::{
    Blob, Env, Guid, Kind, Result, Timestamp, authenticode,
    efivars::{
        AUTHENTICATED, IMAGE_SECURITY, Keys, Variable, authenticated, aws,
        flash::{self, Kind as Flash},
        signature_list::{self, Entry, Item},
    },
    pcr,
    signer::Scratch,
    units,
    x509::Certificate,
};
use std::sync::LazyLock;

/// Keys of a machine, by keys that everybody knows.
struct Known {
    one: Scratch,
    other: Scratch,
    certificate: Certificate,
    variables: Vec<Variable>,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let (one, other) = (Scratch::one(), Scratch::other());
    let certificate = own("one", &one);
    let (pk, kek, db) = (certificate.clone(), vec![own("other", &other)], vec![certificate.clone()]);
    let keys = Keys { owner: Guid::new(7), pk, kek, db, dbx: vec![Item::Sha256([1; 32]), Item::Sha256([2; 32])] };
    Known { variables: keys.variables(), one, other, certificate }
});

fn own(name: &str, key: &Scratch) -> Certificate {
    Certificate::self_signed(name, [9; 16], Timestamp(0), Timestamp(2_650_000_000), key).expect("a key that signs")
}

fn bytes(blob: &Blob) -> Vec<u8> {
    blob.to_vec(u64::MAX).expect("it is in memory")
}

/// A program with a signature, and with two.
pub(super) fn programs(pe: &[u8]) -> Vec<Vec<u8>> {
    let once = authenticode::sign(&Blob::bytes(pe), std::slice::from_ref(&KNOWN.certificate), &KNOWN.one).expect("a program of ours");
    let twice = authenticode::sign(&once, &[own("other", &KNOWN.other)], &KNOWN.other).expect("a program of ours");
    vec![pe.to_vec(), bytes(&once), bytes(&twice)]
}

/// A signature that is trusted is over the digest of the file as it is: none is of what was changed.
pub(super) fn read_program(file: &[u8], _: &mut Env) -> Result<()> {
    let file = Blob::bytes(file);
    let measured = pcr::uki(&file).map(drop);
    let digest = authenticode::digest(&file)?;
    let found = authenticode::signatures(&file);
    if let Ok(found) = &found {
        let db = std::slice::from_ref(&KNOWN.certificate);
        assert!(found.iter().all(|signature| !signature.is_trusted_by(db) || signature.digest_matches && signature.is_valid));
        let signed = authenticode::sign(&file, db, &KNOWN.one).expect("its signatures are sound");
        let again = authenticode::signatures(&signed).expect("what was just written");
        assert_eq!(again[..found.len()], found[..], "what was there stays");
        assert!(again.len() == found.len() + 1 && again[found.len()].is_trusted_by(db));
        assert_eq!(authenticode::digest(&signed).expect("what was just written"), digest);
    }
    found.map(drop).and(measured)
}

pub(super) fn certificates() -> Vec<Vec<u8>> {
    let (one, other) = (&KNOWN.certificate, own("other", &KNOWN.other));
    vec![one.der().to_vec(), other.der().to_vec(), [one.pem(), other.pem()].concat().into_bytes()]
}

pub(super) fn read_certificates(file: &[u8], _: &mut Env) -> Result<()> {
    for certificate in Certificate::read(file)? {
        assert_eq!(Certificate::read(certificate.pem().as_bytes()).expect("what was just written"), std::slice::from_ref(&certificate));
        drop((certificate.subject(), certificate.issuer(), certificate.public_key()));
    }
    Ok(())
}

pub(super) fn lists() -> Vec<Vec<u8>> {
    let other = Entry { owner: Guid::new(1), item: Item::Other { kind: Guid::new(2), data: vec![3; 9] } };
    let more = signature_list::write_entries(&[other]);
    KNOWN.variables.iter().map(|variable| [&variable.data[..], &more].concat()).collect()
}

pub(super) fn read_list(file: &[u8], _: &mut Env) -> Result<()> {
    let entries = signature_list::read(file)?;
    assert!(entries.len() <= file.len() / 16, "{} entries", entries.len());
    assert_eq!(signature_list::read(&signature_list::write_entries(&entries)).expect("what was just written"), entries);
    Ok(())
}

pub(super) fn updates() -> Vec<Vec<u8>> {
    let update =
        |variable| authenticated::write(variable, &KNOWN.certificate, &KNOWN.one, Timestamp(1_709_210_096)).expect("a key that signs");
    KNOWN.variables.iter().map(update).collect()
}

/// The only variable that is trusted is the one that was signed.
pub(super) fn read_update(file: &[u8], _: &mut Env) -> Result<()> {
    let update = authenticated::read(file, "db", IMAGE_SECURITY, AUTHENTICATED)?;
    let is_signed = KNOWN.variables.iter().any(|variable| variable.name == "db" && variable.data == update.variable.data);
    assert!(is_signed || !update.is_trusted_by(std::slice::from_ref(&KNOWN.certificate)), "a changed variable is trusted");
    Ok(())
}

pub(super) fn flash_files() -> Vec<Vec<u8>> {
    let file = |kind| flash::write(kind, &KNOWN.variables).expect("room for them");
    // The records are at its beginning, and all of it is as small as can be.
    vec![bytes(&file(Flash::Ovmf2M)), bytes(&file(Flash::Ovmf4M).slice(0..0x4_0000))]
}

/// What fits is written and reads back alike; a platform key brings switches with it.
pub(super) fn read_flash(file: &[u8], _: &mut Env) -> Result<()> {
    let variables = flash::read(&Blob::bytes(file))?;
    match flash::write(Flash::Aavmf, &variables) {
        Ok(written) => {
            let back = flash::read(&written).expect("what was just written");
            assert_eq!(back[..variables.len()], variables[..]);
        }
        Err(error) => assert!(error.kind() == Kind::Unsupported && units::bytes(file.len()) >= 0x4_0000, "{error}"),
    }
    Ok(())
}

pub(super) fn aws_texts() -> Vec<Vec<u8>> {
    let text = aws::write(&KNOWN.variables).expect("it is in memory");
    vec![text.into_bytes(), content(&KNOWN.variables), content(&KNOWN.variables[3..])]
}

/// As a text, and as what is in one.
pub(super) fn read_aws(file: &[u8], _: &mut Env) -> Result<()> {
    let variables = aws::read(&String::from_utf8_lossy(file)).or_else(|_| aws::read(&sealed(file)))?;
    let text = aws::write(&variables).expect("it is in memory");
    assert_eq!(aws::read(&text).expect("what was just written"), variables);
    Ok(())
}

/// Variables as they are compressed.
fn content(variables: &[Variable]) -> Vec<u8> {
    let counted = |bytes: &[u8]| [&units::bytes(bytes.len()).to_le_bytes()[..], bytes].concat();
    let one = |v: &Variable| {
        let head = [counted(v.name.as_bytes()), counted(&v.data), v.vendor.to_mixed_endian().to_vec(), v.attributes.to_le_bytes().to_vec()];
        [head.concat(), vec![0; 16], counted(&[0; 32])].concat()
    };
    [units::bytes(variables.len()).to_le_bytes().to_vec(), variables.iter().flat_map(one).collect()].concat()
}

/// The text with this content: zlib of stored blocks (RFC 1950, RFC 1951), and the right sums, else nothing behind these would be reached.
fn sealed(content: &[u8]) -> String {
    let stored = content.chunks(0xffff).flat_map(|chunk| {
        let len = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes(), chunk].concat()
    });
    let (a, b) = content.iter().fold((1_u32, 0_u32), |(a, b), byte| ((a + u32::from(*byte)) % 65_521, (a + u32::from(*byte) + b) % 65_521));
    let zlib: Vec<u8> = [0x78, 1].into_iter().chain(stored).chain([1, 0, 0, 0xff, 0xff]).chain((b << 16 | a).to_be_bytes()).collect();
    let summed = [&[0; 4], &zlib[..]].concat();
    BASE64_STANDARD.encode([b"AMZNUEFI", &crc32c::crc32c(&summed).to_le_bytes()[..], &summed].concat())
}
