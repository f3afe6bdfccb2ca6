//! Certificates: X.509 version 3 (RFC 5280), in DER or in PEM (RFC 7468), as far as who starts signed programs looks at them.
//!
//! ```text
//!  SEQ{ SEQ{ [0]{version}, serial, algorithm, issuer, SEQ{not before, not after}, subject, public key, .., [3]{extensions} },
//!       algorithm, signature }
//! ```
//! Issuer, serial number, subject and key are kept as they stand: signatures and names are compared by bytes. Of the extensions only the
//! basic constraints are looked at, as firmware does: no purpose, no revocation, no validity. Written: certificates of one's own key.
//!
//! Oracles: `openssl x509`, `openssl verify`.

mod name;

use crate::{
    At, Error, Result, Timestamp,
    calendar::Moment,
    der::{self, Element, Reader, tag},
    signer::{self, PublicKey, Signer},
    units,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha1::{Digest as _, Sha1};
use sha2::{Sha256, Sha384, Sha512};
use std::fmt;

/// 2.5.29.14, 2.5.29.15 and 2.5.29.19.
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 14];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
/// 1.2.840.113549.1.1.11, and with SHA-384 and SHA-512 .12 and .13.
const RSA_SHA_256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
const RSA_SHA_384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12];
const RSA_SHA_512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13];

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// A certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    /// What is signed.
    signed: Vec<u8>,
    serial: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    not_after: Timestamp,
    /// `SubjectPublicKeyInfo`.
    public_key: Vec<u8>,
    /// Whether it says that its key may sign certificates.
    is_authority: bool,
    /// The content of the identifier.
    algorithm: Vec<u8>,
    signature: Vec<u8>,
}

impl Certificate {
    /// Reads one in DER, or every `CERTIFICATE` of a PEM; there is at least one.
    ///
    /// # Errors
    /// Bad input: there is none, or one is damaged.
    pub fn read(bytes: &[u8]) -> Result<Vec<Self>> {
        let text = String::from_utf8_lossy(bytes);
        let blocks = text.split(BEGIN).skip(1).map(|rest| rest.split_once(END).map(|(block, _)| block));
        let certificates = blocks.enumerate().map(|(nth, block)| {
            let block = block.ok_or_else(|| Error::bad_input(format!("has no {END}")));
            block.and_then(Self::from_base64).at(|| format!("certificate {}", nth + 1))
        });
        match certificates.collect::<Result<Vec<_>>>()? {
            none if none.is_empty() && bytes.first() == Some(&tag::SEQUENCE) => Ok(vec![Self::from_der(bytes)?]),
            none if none.is_empty() => Err(Error::bad_input("is no certificate, in DER or in PEM (BEGIN CERTIFICATE)")),
            some => Ok(some),
        }
    }

    fn from_base64(text: &str) -> Result<Self> {
        let text: String = text.split_ascii_whitespace().collect();
        let der = BASE64_STANDARD.decode(text).map_err(|error| Error::bad_input("is no base64").because(error.to_string()))?;
        Self::from_der(&der)
    }

    /// Reads exactly one in DER.
    pub(crate) fn from_der(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let mut certificate = reader.take(tag::SEQUENCE, "certificate")?.inside();
        reader.end("certificate")?;
        let signed = certificate.take(tag::SEQUENCE, "what is certified")?;
        let algorithm = certificate.take(tag::SEQUENCE, "algorithm")?;
        let signature = certificate.take(tag::BIT_STRING, "signature")?;
        certificate.end("certificate")?;

        let mut fields = signed.inside();
        // Version 1 has none.
        fields.optional(tag::context(0))?;
        let serial = fields.take(tag::INTEGER, "serial number")?;
        if fields.take(tag::SEQUENCE, "algorithm")? != algorithm {
            return Err(Error::bad_input("names another algorithm than its signature").at("what is certified"));
        }
        let issuer = fields.take(tag::SEQUENCE, "issuer")?;
        let mut validity = fields.take(tag::SEQUENCE, "validity")?.inside();
        validity.next()?;
        let not_after = validity.next()?.map_or_else(|| Err(Error::bad_input("is missing")), |time| read_time(&time)).at(|| "not after")?;
        let subject = fields.take(tag::SEQUENCE, "subject")?;
        let public_key = fields.take(tag::SEQUENCE, "public key")?;
        fields.optional(tag::implicit(1))?;
        fields.optional(tag::implicit(2))?;
        let extensions = fields.optional(tag::context(3))?;
        fields.end("certificate")?;
        // What has no extensions says nothing of it; only the certificates of roots from before 1999 have none, and those sign.
        let is_authority = match extensions {
            Some(extensions) => is_authority(&extensions)?,
            None => issuer == subject,
        };
        Ok(Self {
            der: bytes.to_vec(),
            signed: signed.whole.to_vec(),
            serial: serial.whole.to_vec(),
            issuer: issuer.whole.to_vec(),
            subject: subject.whole.to_vec(),
            not_after,
            public_key: public_key.whole.to_vec(),
            is_authority,
            algorithm: algorithm.inside().take(tag::OID, "algorithm")?.content.to_vec(),
            signature: der::whole_bytes(&signature, "signature")?.to_vec(),
        })
    }

    /// A certificate of a key by this key itself, which may sign others: version 3, valid from one time to another, in the years 0
    /// to 9999.
    ///
    /// # Errors
    /// What the signer says, or that it signed otherwise than it should.
    pub fn self_signed(common_name: &str, serial: [u8; 16], from: Timestamp, to: Timestamp, signer: &dyn Signer) -> Result<Self> {
        let name = name::common_name(common_name);
        let algorithm = signer::algorithm_identifier(RSA_SHA_256);
        let public_key = signer.public_key();
        let extension = |oid, is_critical: bool, value: &[u8]| {
            let critical: &[u8] = if is_critical { &[tag::BOOLEAN, 1, 0xff] } else { &[] };
            der::sequence(&[&der::oid(oid), critical, &der::octets(value)])
        };
        let extensions = [
            extension(BASIC_CONSTRAINTS, true, &der::sequence(&[&[tag::BOOLEAN, 1, 0xff]])),
            // digitalSignature and keyCertSign: bits 0 and 5.
            extension(KEY_USAGE, true, &[tag::BIT_STRING, 2, 2, 0x84]),
            // Section 4.2.1.2, the first way.
            extension(SUBJECT_KEY_IDENTIFIER, false, &der::octets(&Sha1::digest(public_key.pkcs1()))),
        ];
        let signed = der::sequence(&[
            &der::element(tag::context(0), &[&der::integer(&[2])]),
            &der::integer(&serial),
            &algorithm,
            &name,
            &der::sequence(&[&write_time(from), &write_time(to)]),
            &name,
            &public_key.spki(),
            &der::element(tag::context(3), &[&der::sequence(&[&extensions.concat()])]),
        ]);
        let signature = signer::signature(signer, &Sha256::digest(&signed).into())?;
        Self::from_der(&der::sequence(&[&signed, &algorithm, &der::bits(&signature)]))
    }

    /// In DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// In PEM, with a line feed at its end.
    pub fn pem(&self) -> String {
        der::pem("CERTIFICATE", &self.der)
    }

    /// Whose key it is: a distinguished name (RFC 4514). It may have any characters.
    pub fn subject(&self) -> String {
        name::show(&self.subject)
    }

    /// Who signed it, as [`Certificate::subject`].
    pub fn issuer(&self) -> String {
        name::show(&self.issuer)
    }

    /// The last second of its validity, which firmware does not look at.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Its key.
    ///
    /// # Errors
    /// Unsupported: a key of another algorithm or size than firmware takes, by its name.
    pub fn public_key(&self) -> Result<PublicKey> {
        PublicKey::from_spki(&self.public_key)
    }

    /// SHA-256 of its DER: its fingerprint.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    /// Issuer and serial number, by which signatures name it (RFC 2315, 6.7).
    pub(crate) fn issuer_and_serial(&self) -> Vec<u8> {
        der::sequence(&[&self.issuer, &self.serial])
    }

    /// Whether the key of `issuer` signed this.
    fn is_issued_by(&self, issuer: &Self) -> bool {
        let verified = |algorithm, digest: &[u8]| issuer.public_key().is_ok_and(|key| key.verify_by(algorithm, digest, &self.signature));
        issuer.subject == self.issuer
            && issuer.is_authority
            && match self.algorithm.as_slice() {
                RSA_SHA_256 => verified(signer::SHA_256, &Sha256::digest(&self.signed)),
                RSA_SHA_384 => verified(signer::SHA_384, &Sha384::digest(&self.signed)),
                RSA_SHA_512 => verified(signer::SHA_512, &Sha512::digest(&self.signed)),
                _ => false,
            }
    }
}

/// Whether one of `trusted` is the first of `certificates`, or stands above it: each signed the one below, and those between are carried.
/// The first is the signer's. Firmware stops at any that it trusts, a root or not.
pub(crate) fn leads_to(certificates: &[Certificate], trusted: &[Certificate]) -> bool {
    let Some((signer, carried)) = certificates.split_first() else { return false };
    let mut carried: Vec<_> = carried.iter().collect();
    let mut reached = vec![signer];
    while let Some(below) = reached.pop() {
        if trusted.iter().any(|above| above == below || below.is_issued_by(above)) {
            return true;
        }
        // Each is reached once, whoever issued whom.
        reached.extend(carried.extract_if(.., |above| below.is_issued_by(above)));
    }
    false
}

/// Subject and fingerprint.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({:?}, {})", self.subject(), units::hex(&self.sha256()))
    }
}

/// Basic constraints (4.2.1.9): whether `cA` is set.
fn is_authority(extensions: &Element<'_>) -> Result<bool> {
    for extension in extensions.inside().take(tag::SEQUENCE, "extensions")?.inside().all().at(|| "extensions")? {
        let mut parts = extension.inside();
        if parts.take(tag::OID, "extension")?.content == BASIC_CONSTRAINTS {
            parts.optional(tag::BOOLEAN)?;
            let value = parts.take(tag::OCTET_STRING, "basic constraints")?;
            let mut constraints = value.inside().take(tag::SEQUENCE, "basic constraints")?.inside();
            return Ok(constraints.optional(tag::BOOLEAN)?.is_some_and(|is| is.content == [0xff]));
        }
    }
    Ok(false)
}

/// A time (4.1.2.5): two digits of the year until 2049, four from 2050 on.
fn write_time(time: Timestamp) -> Vec<u8> {
    let Moment { year, month, day, hour, minute, second } = Moment::nearest(time);
    let rest = format!("{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
    match year {
        1950..2050 => der::element(tag::UTC_TIME, &[format!("{:02}{rest}", year % 100).as_bytes()]),
        _ => der::element(tag::GENERALIZED_TIME, &[format!("{year:04}{rest}").as_bytes()]),
    }
}

fn read_time(time: &Element<'_>) -> Result<Timestamp> {
    let malformed = || Error::bad_input("must be a time in UTC, as in 500101000000Z or 20500101000000Z");
    let digits = time.content.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit)).ok_or_else(malformed)?;
    let (year, rest) = match (time.tag, digits.len()) {
        (tag::UTC_TIME, 12) => digits.split_at(2),
        (tag::GENERALIZED_TIME, 14) => digits.split_at(4),
        _ => return Err(malformed()),
    };
    let number = |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    let year = match (year.len(), number(year)) {
        (2, year @ ..50) => 2000 + year,
        (2, year) => 1900 + year,
        (_, year) => year,
    };
    // Two digits are no more than 99.
    let parts: Vec<u8> = rest.chunks(2).filter_map(|two| u8::try_from(number(two)).ok()).collect();
    let [month, day, hour, minute, second] = parts[..] else { return Err(malformed()) };
    Ok(Moment { year, month, day, hour, minute, second }.timestamp())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Kind, signer::Scratch};

    const FROM: Timestamp = Timestamp(1_700_000_000);
    /// In 2053: both ways to write a time are in a certificate.
    const TO: Timestamp = Timestamp(2_650_000_000);

    /// A certificate of a key by itself.
    pub(crate) fn own(name: &str, key: &Scratch) -> Certificate {
        Certificate::self_signed(name, [0xaa; 16], FROM, TO, key).unwrap()
    }

    /// A certificate of a key by the key of another certificate.
    pub(crate) fn issued(name: &str, key: &Scratch, by: &Certificate, signer: &Scratch, is_authority: bool) -> Certificate {
        let algorithm = signer::algorithm_identifier(RSA_SHA_256);
        let constraints: &[u8] = if is_authority { &[tag::BOOLEAN, 1, 0xff] } else { &[] };
        let constraints = der::sequence(&[&der::oid(BASIC_CONSTRAINTS), &der::octets(&der::sequence(&[constraints]))]);
        let signed = der::sequence(&[
            &der::element(tag::context(0), &[&der::integer(&[2])]),
            &der::integer(name.as_bytes()),
            &algorithm,
            &by.subject,
            &der::sequence(&[&write_time(FROM), &write_time(TO)]),
            &name::common_name(name),
            &key.public_key().spki(),
            &der::element(tag::context(3), &[&der::sequence(&[&constraints])]),
        ]);
        let signature = signer.sign(&Sha256::digest(&signed).into()).unwrap();
        Certificate::from_der(&der::sequence(&[&signed, &algorithm, &der::bits(&signature)])).unwrap()
    }

    /// A certificate with another public key in it, as it stands in a SubjectPublicKeyInfo.
    pub(crate) fn with_key(certificate: &Certificate, spki: &[u8]) -> Certificate {
        Certificate { public_key: spki.to_vec(), ..certificate.clone() }
    }

    #[test]
    fn what_is_written_comes_back() {
        let key = Scratch::one();
        let made = own("moby db", &key);
        assert_eq!(made, own("moby db", &key), "nothing is random");
        assert_eq!((made.subject(), made.issuer()), ("CN=moby db".into(), "CN=moby db".into()));
        assert_eq!((made.not_after(), made.public_key().unwrap()), (TO, key.public_key().clone()));
        assert!(made.is_authority && made.is_issued_by(&made));
        assert_eq!(made.sha256(), <[u8; 32]>::from(Sha256::digest(made.der())));
        assert_eq!(Certificate::read(made.der()).unwrap(), std::slice::from_ref(&made));

        let two = format!("0 text\r\n{}more{}", made.pem().replace('\n', "\r\n"), own("another", &Scratch::other()).pem());
        let read = Certificate::read(two.as_bytes()).unwrap();
        assert_eq!(read.iter().map(Certificate::subject).collect::<Vec<_>>(), ["CN=moby db", "CN=another"]);
        assert!(made.pem().lines().all(|line| line.len() <= 64));
    }

    #[test]
    fn a_signer_that_lies_gets_no_certificate() {
        use crate::signer::tests::{LIES, Liar};
        for answer in LIES {
            assert!(Certificate::self_signed("x", [1; 16], FROM, TO, &Liar { key: Scratch::one(), answer }).is_err());
        }
    }

    #[test]
    fn what_is_no_certificate_says_why() {
        let pem = own("moby db", &Scratch::one()).pem();
        for (bytes, words) in [
            (String::new(), "is no certificate, in DER or in PEM"),
            (Scratch::one().public_key().bits().to_string(), "is no certificate"),
            (pem.replace(END, ""), "certificate 1: has no -----END CERTIFICATE-----"),
            (pem.replace("MII", "?"), "certificate 1: is no base64"),
            (format!("{pem}{BEGIN}\nMAA=\n{END}"), "certificate 2: what is certified: is missing"),
        ] {
            let error = Certificate::read(bytes.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with(words) && error.kind() == Kind::BadInput, "{error}");
        }
    }

    #[test]
    fn damage_is_an_error_or_another_certificate() {
        let made = own("moby db", &Scratch::one());
        for len in 0..made.der().len() {
            assert!(Certificate::from_der(&made.der()[..len]).is_err(), "{len} bytes");
        }
        for at in 0..made.der().len() {
            let mut damaged = made.der().to_vec();
            damaged[at] ^= 1 << (at % 8);
            if let Ok(other) = Certificate::from_der(&damaged) {
                assert!(other != made && other.sha256() != made.sha256(), "byte {at}");
                assert!(at % 16 > 0 || !other.is_issued_by(&made), "byte {at}");
                drop((other.subject(), other.issuer(), other.public_key()));
            }
        }
        assert!(Certificate::from_der(&[made.der(), &[0]].concat()).is_err());
    }

    #[test]
    fn a_chain_leads_to_what_is_trusted() {
        let (root_key, key) = (Scratch::one(), Scratch::other());
        let root = own("root", &root_key);
        let between = issued("between", &root_key, &root, &root_key, true);
        let signer = issued("signer", &key, &between, &root_key, false);
        let stranger = own("root", &key);
        let chain = [signer.clone(), between.clone()];
        for trusted in [&root, &between, &signer] {
            assert!(leads_to(&chain, &[stranger.clone(), trusted.clone()]), "{trusted:?}");
        }
        assert!(!leads_to(&chain, std::slice::from_ref(&stranger)), "another key of the same name");
        assert!(!leads_to(&chain, &[]) && !leads_to(&[], std::slice::from_ref(&root)));
        assert!(!leads_to(&chain[..1], std::slice::from_ref(&root)), "what is between is not carried");
        let no_authority = issued("between", &root_key, &root, &root_key, false);
        assert!(!leads_to(&[signer.clone(), no_authority], std::slice::from_ref(&root)), "it may not sign");
        let forged = Certificate { signature: vec![1; 256], ..between };
        assert!(!leads_to(&[signer, forged], &[root]), "nobody signed it");
        // Each issues the other.
        let circle = [stranger.clone(), stranger.clone(), stranger];
        assert!(!leads_to(&circle, &[]));
    }

    #[test]
    fn times_have_two_digits_or_four() {
        for (time, wanted) in [
            (0, &b"\x17\x0d700101000000Z"[..]),
            (2_524_607_999, b"\x17\x0d491231235959Z"),
            (2_524_608_000, b"\x18\x0f20500101000000Z"),
            (-631_152_001, b"\x18\x0f19491231235959Z"),
            (253_402_300_799, b"\x18\x0f99991231235959Z"),
        ] {
            assert_eq!(write_time(Timestamp(time)), wanted);
            let element = Reader::new(wanted).next().unwrap().unwrap();
            assert_eq!(read_time(&element).unwrap(), Timestamp(time));
        }
        for bad in [&b"\x17\x0b7001010000Z"[..], b"\x17\x0d70010100000xZ", b"\x18\x0d700101000000Z", b"\x17\x0c700101000000", b"\x04\x00"] {
            assert!(read_time(&Reader::new(bad).next().unwrap().unwrap()).is_err(), "{bad:?}");
        }
    }
}
