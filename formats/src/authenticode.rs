//! Authenticode: signatures of PE files, as UEFI firmware verifies them before it starts one (Microsoft's "Windows Authenticode Portable
//! Executable Signature Format"; UEFI 2.10, 32.2.4 and 32.5.3).
//!
//! ```text
//!  headers, but checksum and entry of the table | sections, by where they are | the rest | zeros to 8 | certificate table
//!                                                                                                       u32 length | 0x0200 | 0x0002 | PKCS #7 | zeros to 8
//! ```
//! The digest is over all before the table. Sections stand one behind the other there, from the end of the headers on: then it is the file
//! without 12 bytes, whoever computes it. A file with gaps or overlaps is refused, for what is in them is under no signature.
//! Another signature is appended to the table; those that are there stay.
//!
//! Oracles: `sbverify`, `osslsigncode verify`, OVMF.

use crate::{
    At, Blob, Error, Result,
    cms::{self, Content, SignedData},
    der::{self, Reader, tag},
    pe::Pe,
    signer::{self, SHA_256, Signer},
    units,
    x509::{self, Certificate},
};
use std::ops::Range;

/// SPC_INDIRECT_DATA_OBJID, 1.3.6.1.4.1.311.2.1.4, and SPC_PE_IMAGE_DATA_OBJID, .15.
const INDIRECT_DATA: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 4];
const PE_IMAGE_DATA: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 15];
/// What every program writes as the name of the file.
const FILE_NAME: &str = "<<<Obsolete>>>";

/// `WIN_CERTIFICATE`: u32 length, then wRevision 2.0 and wCertificateType PKCS_SIGNED_DATA.
const ENTRY_HEAD: u64 = 8;
const REVISION: [u8; 2] = [0, 2];
const PKCS_SIGNED_DATA: [u8; 2] = [2, 0];
/// Entries stand at multiples of this.
const ALIGN: u64 = 8;
/// Most bytes of a table: a signature has some 2 KiB.
const TABLE_MAX: u64 = units::MIB;

/// A signature of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The certificates that it carries, the signer's first.
    pub certificates: Vec<Certificate>,
    /// By what it is signed, in words.
    pub algorithm: String,
    /// Whether the digest that is signed is the file's.
    pub digest_matches: bool,
    /// Whether the signature itself is by the key of the first certificate, RSA with SHA-256.
    pub is_valid: bool,
}

impl Signature {
    /// Whether firmware with these certificates in `db` would start the file: it is whole, and `db` has the signer's certificate or one
    /// that stands above it in the chain that the file carries.
    pub fn is_trusted_by(&self, db: &[Certificate]) -> bool {
        self.digest_matches && self.is_valid && x509::leads_to(&self.certificates, db)
    }
}

/// The Authenticode digest of a PE file, SHA-256: what `db` and `dbx` name it by, and what PCR 4 is extended with.
///
/// # Errors
/// Bad input: it is no PE32+ file, or its sections leave gaps, overlap, or reach beyond its end.
pub fn digest(file: &Blob) -> Result<[u8; 32]> {
    Layout::of(file)?.digest(file)
}

/// What a key signs that is elsewhere, by SHA-256. [`sign`] then takes a [`Signer`] that has the answer.
///
/// # Errors
/// As [`digest`].
pub fn to_be_signed(file: &Blob) -> Result<[u8; 32]> {
    let body = indirect_data(&digest(file)?);
    Ok(Content::Attached { kind: INDIRECT_DATA, body: &body }.to_be_signed())
}

/// The file with a signature behind those that it has. The first certificate is the signer's, the others stand between it and a root.
/// What was signed is verified before this returns.
///
/// # Errors
/// As [`digest`]. Bad input: the signer's key is not that of the first certificate, or signs otherwise than it should. Unsupported: a key
/// that firmware does not take. What the signer says.
pub fn sign(file: &Blob, certificates: &[Certificate], signer: &dyn Signer) -> Result<Blob> {
    let layout = Layout::of(file)?;
    let body = indirect_data(&layout.digest(file)?);
    let signed = Content::Attached { kind: INDIRECT_DATA, body: &body }.sign(certificates, signer)?;

    let mut table = layout.table_of(file);
    table.pad_to(ALIGN);
    let entry = cms::wrap(&signed);
    // The length counts the zeros behind it, as `sbsign` has it.
    let len = (ENTRY_HEAD + units::bytes(entry.len())).next_multiple_of(ALIGN);
    let narrow = |value: u64| {
        let limit = || Error::unsupported(format!("the signed file would have {value} bytes, must be below 4 GiB"));
        u32::try_from(value).map(u32::to_le_bytes).map_err(|_| limit())
    };
    table.append(&Blob::bytes([&narrow(len)?[..], &REVISION, &PKCS_SIGNED_DATA, &entry].concat()));
    table.pad_to(ALIGN);
    if table.len() > TABLE_MAX {
        return Err(Error::unsupported(format!("the signatures would have {} bytes, at most {TABLE_MAX} are read", table.len())));
    }

    let mut whole = layout.body_of(file);
    let at = narrow(whole.len())?;
    let directory = [at, narrow(table.len())?].concat();
    narrow(whole.len() + table.len())?;
    whole.replace(layout.directory_at, &Blob::bytes(directory));
    whole.append(&table);
    Ok(whole)
}

/// The signatures of a PE file, in their order; none of one that is not signed.
///
/// # Errors
/// As [`digest`]; bad input, too: the certificate table or a signature is damaged.
pub fn signatures(file: &Blob) -> Result<Vec<Signature>> {
    let layout = Layout::of(file)?;
    if layout.table.is_empty() {
        return Ok(Vec::new());
    }
    let table = layout.table_of(file).to_vec(TABLE_MAX).at(|| "certificate table")?;
    let digest = layout.digest(file)?;
    let mut signatures = Vec::new();
    let mut rest = table.as_slice();
    while !rest.is_empty() {
        let place = || format!("certificate table, entry {}", signatures.len() + 1);
        let (entry, behind) = split_entry(rest).at(place)?;
        signatures.push(read(entry, &digest).at(place)?);
        rest = behind;
    }
    Ok(signatures)
}

/// The PKCS #7 of the first entry of a table, and the entries behind it.
fn split_entry(table: &[u8]) -> Result<(&[u8], &[u8])> {
    let Some(([a, b, c, d, revision @ .., x, y], _)) = table.split_first_chunk::<8>() else {
        return Err(Error::bad_input(format!("has {} bytes, must have at least {ENTRY_HEAD}", table.len())));
    };
    let len = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
    let room = units::bytes(table.len());
    if len < ENTRY_HEAD || len > room {
        return Err(Error::bad_input(format!("length is {len}, must be {ENTRY_HEAD} to {room}")));
    }
    if (*revision, [*x, *y]) != (REVISION, PKCS_SIGNED_DATA) {
        let (revision, kind) = (u16::from_le_bytes(*revision), u16::from_le_bytes([*x, *y]));
        return Err(Error::unsupported(format!("revision is 0x{revision:04x} and type 0x{kind:04x}, only 0x0200 and 0x0002 are read")));
    }
    let next = units::index(len.next_multiple_of(ALIGN).min(room));
    Ok((&table[units::index(ENTRY_HEAD)..units::index(len)], &table[next..]))
}

/// A signature, held against the digest of the file.
fn read(pkcs7: &[u8], digest: &[u8; 32]) -> Result<Signature> {
    let (signed, padding) = SignedData::read(pkcs7)?;
    if units::bytes(padding.len()) >= ALIGN || padding.iter().any(|byte| *byte != 0) {
        return Err(Error::bad_input(format!("{} bytes stand behind the signature, must be less than {ALIGN} zeros", padding.len())));
    }
    if signed.kind != INDIRECT_DATA {
        let found = der::dotted(&signed.kind);
        return Err(Error::bad_input(format!("signs a {found}, must be the digest of a file, {}", der::dotted(INDIRECT_DATA))));
    }
    let body = signed.body.as_deref().ok_or_else(|| Error::bad_input("the digest of the file is missing"))?;
    let mut parts = Reader::new(body);
    parts.take(tag::SEQUENCE, "what is signed")?;
    let mut info = parts.take(tag::SEQUENCE, "digest of the file")?.inside();
    let algorithm = info.take(tag::SEQUENCE, "digest algorithm")?.inside().take(tag::OID, "digest algorithm")?.content;
    let found = info.take(tag::OCTET_STRING, "digest of the file")?.content;
    parts.end("digest of the file")?;
    Ok(Signature {
        digest_matches: algorithm == SHA_256 && found == digest,
        is_valid: signed.is_valid(None),
        algorithm: signed.algorithm,
        certificates: signed.certificates,
    })
}

/// The content of an `SpcIndirectDataContent`.
fn indirect_data(digest: &[u8; 32]) -> Vec<u8> {
    let name: Vec<u8> = FILE_NAME.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let link = der::element(tag::context(0), &[&der::element(tag::context(2), &[&der::element(tag::implicit(0), &[&name])])]);
    // SpcPeImageFlags: none.
    let image = der::sequence(&[&der::bits(&[]), &link]);
    let data = der::sequence(&[&der::oid(PE_IMAGE_DATA), &image]);
    [data, der::sequence(&[&signer::algorithm_identifier(SHA_256), &der::octets(digest)])].concat()
}

/// Where in a PE file what is not hashed is.
#[derive(Debug)]
struct Layout {
    check_sum_at: u64,
    /// The data directory's entry of the certificate table, number 4: u32 where in the file, u32 bytes.
    directory_at: u64,
    /// The certificate table; it is empty, and at the end of the file filled up to 8, when there is none.
    table: Range<u64>,
}

impl Layout {
    fn of(file: &Blob) -> Result<Self> {
        let pe = Pe::read(file)?.ok_or_else(|| Error::bad_input("there are no headers of a PE file"))?;
        let fixed = pe.signed_part(file)?;
        let mut directory = [0; 8];
        file.read_at(fixed.certificates_at, &mut directory)?;
        let [a, b, c, d, len @ ..] = directory;
        let (start, len) = (u64::from(u32::from_le_bytes([a, b, c, d])), u64::from(u32::from_le_bytes(len)));
        let table = match (start, len) {
            (_, 0) => file.len().next_multiple_of(ALIGN)..file.len().next_multiple_of(ALIGN),
            _ if start + len == file.len() && start >= fixed.end && start.is_multiple_of(ALIGN) => start..start + len,
            _ => {
                let (end, len) = (start + len, file.len());
                let what = format!(
                    "the certificate table is at {start} to {end}, must be behind the sections, at a multiple of {ALIGN}, and up to the end of the file at {len}"
                );
                return Err(Error::bad_input(what));
            }
        };
        Ok(Self { check_sum_at: fixed.check_sum_at, directory_at: fixed.certificates_at, table })
    }

    /// Everything before the table, filled up with zeros.
    fn body_of(&self, file: &Blob) -> Blob {
        let mut body = file.slice(0..self.table.start.min(file.len()));
        body.pad_to(ALIGN);
        body
    }

    fn table_of(&self, file: &Blob) -> Blob {
        if self.table.is_empty() { Blob::default() } else { file.slice(self.table.clone()) }
    }

    fn digest(&self, file: &Blob) -> Result<[u8; 32]> {
        let whole = self.body_of(file);
        let mut hashed = whole.slice(0..self.check_sum_at);
        hashed.append(&whole.slice(self.check_sum_at + 4..self.directory_at));
        hashed.append(&whole.slice(self.directory_at + 8..whole.len()));
        hashed.sha256()
    }
}

#[cfg(test)]
mod tests;
