//! Signed data: PKCS #7 1.5 (RFC 2315, 9), which CMS (RFC 5652) calls version 1, as firmware takes it.
//!
//! ```text
//!  SEQ{ version, SET{digest algorithm}, SEQ{content type, [0]{content}}, [0]{certificates},
//!       SET{ SEQ{ version, SEQ{issuer, serial}, digest algorithm, [0]{attributes}, RSA, signature } } }
//! ```
//! Authenticode has it in a ContentInfo, with the content in it and two attributes; an authenticated variable has it bare, the content
//! beside it and no attributes. Read is what has one signer; verified is RSA with SHA-256. No time is written and none is looked at:
//! signing twice gives the same bytes.

use crate::{
    At, Error, Result,
    der::{self, Reader, tag},
    signer::{self, RSA_ENCRYPTION, SHA_256, Signer},
    x509::Certificate,
};
use sha2::{Digest as _, Sha256};

/// 1.2.840.113549.1.7.2.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
/// 1.2.840.113549.1.7.1.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
/// 1.2.840.113549.1.9.3 and .4.
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
/// 1.2.840.113549.1.1.11, which others write in place of [`RSA_ENCRYPTION`].
const RSA_SHA_256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
/// Certificates of a file that are looked at; a chain has three.
const CERTIFICATES_MAX: usize = 32;

/// What is signed.
#[derive(Debug)]
pub(crate) enum Content<'a> {
    /// Something of a type that goes along: the content of a SEQUENCE.
    Attached { kind: &'a [u8], body: &'a [u8] },
    /// Data that stands elsewhere, by its SHA-256.
    Detached([u8; 32]),
}

impl Content<'_> {
    fn kind(&self) -> &[u8] {
        match self {
            Self::Attached { kind, .. } => kind,
            Self::Detached(_) => DATA,
        }
    }

    fn digest(&self) -> [u8; 32] {
        match self {
            Self::Attached { body, .. } => Sha256::digest(body).into(),
            Self::Detached(digest) => *digest,
        }
    }

    /// The attributes that say what the content is, each as it stands in a SET.
    fn attributes(&self) -> [Vec<u8>; 2] {
        let attribute = |name, value| der::sequence(&[&der::oid(name), &der::set(vec![value])]);
        [attribute(CONTENT_TYPE, der::oid(self.kind())), attribute(MESSAGE_DIGEST, der::octets(&self.digest()))]
    }

    /// The attributes that we sign in place of a content that goes along, as a SET.
    fn signed_attributes(&self) -> Option<Vec<u8>> {
        matches!(self, Self::Attached { .. }).then(|| der::set(self.attributes().into()))
    }

    /// What a key signs.
    pub(crate) fn to_be_signed(&self) -> [u8; 32] {
        self.signed_attributes().map_or_else(|| self.digest(), |attributes| Sha256::digest(attributes).into())
    }

    /// Bare signed data. The first certificate is the signer's; all go along.
    ///
    /// # Errors
    /// Bad input: the signer's key is not that of the first certificate, or signed otherwise than it should; what the signer says.
    pub(crate) fn sign(&self, certificates: &[Certificate], signer: &dyn Signer) -> Result<Vec<u8>> {
        let certificate = certificates.first().ok_or_else(|| Error::bad_input("no certificate is given of the key that signs"))?;
        if certificate.public_key()? != *signer.public_key() {
            let what = format!("the key that signs is not the one of the certificate of {}", certificate.subject());
            return Err(Error::bad_input(what));
        }
        let signature = signer::signature(signer, &self.to_be_signed())?;
        let sha256 = signer::algorithm_identifier(SHA_256);
        let content = match self {
            Self::Attached { kind, body } => der::sequence(&[&der::oid(kind), &der::element(tag::context(0), &[&der::sequence(&[body])])]),
            Self::Detached(_) => der::sequence(&[&der::oid(DATA)]),
        };
        // The set without its tag is what was signed.
        let attributes = self.signed_attributes().map(|set| [&[tag::context(0)], &set[1..]].concat()).unwrap_or_default();
        let info = der::sequence(&[
            &der::integer(&[1]),
            &certificate.issuer_and_serial(),
            &sha256,
            &attributes,
            &signer::algorithm_identifier(RSA_ENCRYPTION),
            &der::octets(&signature),
        ]);
        let carried: Vec<_> = certificates.iter().map(Certificate::der).collect();
        Ok(der::sequence(&[
            &der::integer(&[1]),
            &der::set(vec![sha256]),
            &content,
            &der::element(tag::context(0), &carried),
            &der::set(vec![info]),
        ]))
    }
}

/// Signed data in a ContentInfo (RFC 2315, 7).
pub(crate) fn wrap(signed_data: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(SIGNED_DATA), &der::element(tag::context(0), &[signed_data])])
}

/// Signed data, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SignedData {
    /// The type of the content.
    pub(crate) kind: Vec<u8>,
    /// What goes along: the content of its element.
    pub(crate) body: Option<Vec<u8>>,
    /// The signer's first, where it is there.
    pub(crate) certificates: Vec<Certificate>,
    /// By what it is signed, in words.
    pub(crate) algorithm: String,
    /// Whether the first certificate is the signer's, and the algorithms those that are verified here.
    is_verifiable: bool,
    /// The attributes, as a SET.
    attributes: Option<Vec<u8>>,
    signature: Vec<u8>,
}

impl SignedData {
    /// Reads signed data, bare or in a ContentInfo, and what stands behind it.
    ///
    /// # Errors
    /// Bad input: it is damaged, or has another number of signers than one.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let mut reader = Reader::new(bytes);
        let mut outer = reader.take(tag::SEQUENCE, "signed data")?.inside();
        if let Some(kind) = outer.optional(tag::OID)? {
            if kind.content != SIGNED_DATA {
                let found = der::dotted(kind.content);
                return Err(Error::bad_input(format!("type is {found}, must be signed data, {}", der::dotted(SIGNED_DATA))));
            }
            outer = outer.take(tag::context(0), "signed data")?.inside().take(tag::SEQUENCE, "signed data")?.inside();
        }
        Ok((Self::parts(outer)?, reader.rest()))
    }

    fn parts(mut parts: Reader<'_>) -> Result<Self> {
        parts.take(tag::INTEGER, "version")?;
        parts.take(tag::SET, "digest algorithms")?;
        let mut content = parts.take(tag::SEQUENCE, "content")?.inside();
        let kind = content.take(tag::OID, "type of the content")?.content.to_vec();
        let within = content.optional(tag::context(0)).at(|| "content")?;
        let body = within.map(|within| within.inside().next()).transpose().at(|| "content")?.flatten();
        let mut certificates = match parts.optional(tag::context(0)).at(|| "certificates")? {
            Some(set) => read_certificates(set.inside())?,
            None => Vec::new(),
        };
        // Lists of what was revoked: nobody looks at them.
        parts.optional(tag::context(1))?;
        let signers = parts.take(tag::SET, "signers")?.inside().all().at(|| "signers")?;
        parts.end("signed data")?;
        let [signer] = signers.as_slice() else {
            return Err(Error::bad_input(format!("has {} signers, must have one", signers.len())));
        };

        let mut info = signer.inside();
        info.take(tag::INTEGER, "version of the signer")?;
        let name = info.take(tag::SEQUENCE, "issuer and serial number")?.whole;
        let digest = info.take(tag::SEQUENCE, "digest algorithm")?.inside().take(tag::OID, "digest algorithm")?.content;
        let attributes = info.optional(tag::context(0)).at(|| "attributes")?.map(|set| [&[tag::SET], &set.whole[1..]].concat());
        let encryption = info.take(tag::SEQUENCE, "signature algorithm")?.inside().take(tag::OID, "signature algorithm")?.content;
        let signature = info.take(tag::OCTET_STRING, "signature")?.content.to_vec();
        // A timestamp may stand there.
        info.optional(tag::context(1))?;
        info.end("signer")?;

        let at = certificates.iter().position(|certificate| certificate.issuer_and_serial() == name);
        at.into_iter().for_each(|at| certificates[..=at].rotate_right(1));
        let is_known = digest == SHA_256 && [RSA_ENCRYPTION, RSA_SHA_256].contains(&encryption);
        Ok(Self {
            kind,
            body: body.map(|body| body.content.to_vec()),
            certificates,
            algorithm: format!("{} with {}", signer::algorithm_name(encryption), signer::algorithm_name(digest)),
            is_verifiable: at.is_some() && is_known,
            attributes,
            signature,
        })
    }

    /// Whether the signature is that of the first certificate's key: over what goes along, or over what stands elsewhere.
    pub(crate) fn is_valid(&self, detached: Option<[u8; 32]>) -> bool {
        let content = match (&self.body, detached) {
            (Some(body), None) => Content::Attached { kind: &self.kind, body },
            (None, Some(digest)) if self.kind == DATA => Content::Detached(digest),
            _ => return false,
        };
        let signed = match &self.attributes {
            Some(attributes) => says(attributes, &content).then(|| Sha256::digest(attributes).into()),
            None => Some(content.digest()),
        };
        let key = self.certificates.first().filter(|_| self.is_verifiable).and_then(|signer| signer.public_key().ok());
        key.zip(signed).is_some_and(|(key, signed)| key.verify(&signed, &self.signature))
    }
}

fn read_certificates(set: Reader<'_>) -> Result<Vec<Certificate>> {
    let all = set.all().at(|| "certificates")?;
    if all.len() > CERTIFICATES_MAX {
        return Err(Error::bad_input(format!("carries {} certificates, at most {CERTIFICATES_MAX} are read", all.len())));
    }
    all.iter().enumerate().map(|(nth, one)| Certificate::from_der(one.whole).at(|| format!("certificate {}", nth + 1))).collect()
}

/// Whether attributes, among others, say of a content what they must.
fn says(attributes: &[u8], content: &Content<'_>) -> bool {
    let found = Reader::new(attributes).take(tag::SET, "attributes").and_then(|set| set.inside().all());
    found.is_ok_and(|found| content.attributes().iter().all(|wanted| found.iter().any(|one| one.whole == wanted)))
}
