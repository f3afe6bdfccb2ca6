//! Signatures beside an image in its repository, as cosign makes them with a key.
//!
//! | form | the tag | a layer holds | signed is |
//! |---|---|---|---|
//! | simple signing | `sha256-HEX.sig` | the statement; the signature is an annotation | the statement |
//! | bundle 0.3 (cosign 3) | `sha256-HEX`, an index of what refers to the image | a DSSE envelope with statement and signature | the envelope's pre-authentication encoding |
//!
//! A statement names the digest of manifest or index. What is here says which bytes were signed and by which signature; whether the
//! signature is by a key is for who has the key. What certificates vouch for (keyless) is named and not judged.

use super::{
    Descriptor, Digest, Index, Manifest, Store, is_index,
    json::{self, Object},
};
use crate::{At, Error, Result, tree::ShowPath};
use base64::{Engine as _, prelude::BASE64_STANDARD};

/// The media type of a statement in the older form.
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation that holds its signature, in base64.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The type that such a statement says it is of.
const SIMPLE_SIGNING_TYPE: &str = "cosign container image signature";
/// What the media types of all bundles begin with.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// The type of the payload of an envelope.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// What a statement says that signs an image; others say other things of it.
const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// A signature, not yet held against a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// What was signed.
    pub message: Vec<u8>,
    /// The signature: DER of the two numbers for ECDSA, the number for RSA, 64 bytes for Ed25519.
    pub signature: Vec<u8>,
}

/// The tags under which signatures of a manifest or an index stand.
pub fn tags(digest: &Digest) -> [String; 2] {
    let tag = format!("{}-{}", digest.algorithm(), digest.hex());
    [format!("{tag}.sig"), tag]
}

/// Whether a layer is for [`signatures`]: it is then small, and worth fetching.
pub fn is_signature(layer: &Descriptor) -> bool {
    layer.media_type == SIMPLE_SIGNING || layer.media_type.starts_with(BUNDLE)
}

/// The manifests that a descriptor leads to: itself, or those of the index that it is.
///
/// # Errors
/// When one is missing, damaged or malformed.
pub fn manifests(store: &dyn Store, descriptor: &Descriptor) -> Result<Vec<Manifest>> {
    let bytes = store.document(descriptor)?;
    if !is_index(&descriptor.media_type, &bytes) {
        return Ok(vec![Manifest::parse(&bytes).at(|| format!("manifest {}", descriptor.digest))?]);
    }
    let index = Index::parse(&bytes).at(|| format!("index {}", descriptor.digest))?;
    let read = |of: &Descriptor| Manifest::parse(&store.document(of)?).at(|| format!("manifest {}", of.digest));
    index.manifests.iter().map(read).collect()
}

/// The signatures of a digest in a manifest; for what is no signature of it, why it is none.
///
/// # Errors
/// When a layer is missing or damaged.
pub fn signatures(store: &dyn Store, manifest: &Manifest, of: &Digest) -> Result<Vec<Result<Signature>>> {
    let read = |layer: &Descriptor| -> Result<Result<Signature>> {
        let bytes = store.document(layer)?;
        let signature = match layer.media_type == SIMPLE_SIGNING {
            true => simple(bytes, layer.annotation(SIGNATURE), of),
            false => bundle(&bytes, of),
        };
        Ok(signature.at(|| format!("signature {}", layer.digest)))
    };
    manifest.layers.iter().filter(|layer| is_signature(layer)).map(read).collect()
}

/// The older form.
fn simple(message: Vec<u8>, signature: Option<&str>, of: &Digest) -> Result<Signature> {
    let value = json::parse(&message)?;
    let critical = Object::of(&value)?.within("critical")?;
    let kind = critical.text("type")?.unwrap_or_default();
    if kind != SIMPLE_SIGNING_TYPE {
        return Err(Error::bad_input(format!("critical.type is '{}', must be '{SIMPLE_SIGNING_TYPE}'", ShowPath(kind.as_bytes()))));
    }
    let image = critical.within("image")?;
    about(image.text("docker-manifest-digest")?.unwrap_or_default(), of)?;
    let signature = signature.ok_or_else(|| Error::bad_input(format!("the annotation {SIGNATURE} is missing")))?;
    Ok(Signature { signature: base64(signature).at(|| SIGNATURE)?, message })
}

/// The newer form.
fn bundle(bytes: &[u8], of: &Digest) -> Result<Signature> {
    let value = json::parse(bytes)?;
    let object = Object::of(&value)?;
    let material = object.within("verificationMaterial")?;
    if material.get("publicKey").is_none() {
        return Err(Error::unsupported("it is by a certificate, not by a key (keyless)"));
    }
    let envelope = object.within("dsseEnvelope")?;
    let kind = envelope.text("payloadType")?.unwrap_or_default();
    if kind != IN_TOTO {
        return Err(Error::unsupported(format!("payloadType is '{}', must be '{IN_TOTO}'", ShowPath(kind.as_bytes()))));
    }
    let payload = base64(envelope.required("payload", envelope.text("payload")?)?).at(|| "payload")?;
    let list = envelope.required("signatures", envelope.list("signatures")?)?;
    // The specification of bundles: exactly one.
    let [signature] = list.as_slice() else {
        return Err(Error::bad_input(format!("it has {} signatures, must have one", list.len())));
    };
    let signature = Object::of(signature)?;
    let signature = base64(signature.required("sig", signature.text("sig")?)?).at(|| "sig")?;
    statement(&payload, of).at(|| "payload")?;
    // Pre-authentication encoding (DSSE protocol 1.0).
    let message = [format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).as_bytes(), &payload].concat();
    Ok(Signature { message, signature })
}

/// An in-toto statement that signs a digest.
fn statement(payload: &[u8], of: &Digest) -> Result<()> {
    let value = json::parse(payload)?;
    let object = Object::of(&value)?;
    let kind = object.text("predicateType")?.unwrap_or_default();
    if kind != SIGN {
        let shown = ShowPath(kind.as_bytes());
        return Err(Error::bad_input(format!("predicateType is '{shown}', which says something of the image and does not sign it")));
    }
    let mut digests = Vec::new();
    for subject in object.required("subject", object.list("subject")?)? {
        digests.extend(Object::of(subject)?.pairs("digest")?.into_iter().map(|(name, hex)| format!("{name}:{hex}")));
    }
    match digests.iter().find(|digest| *digest == of.as_str()).or(digests.first()) {
        Some(digest) => about(digest, of),
        None => Err(Error::bad_input("subject names no digest")),
    }
}

fn about(digest: &str, of: &Digest) -> Result<()> {
    match digest == of.as_str() {
        true => Ok(()),
        false => Err(Error::bad_input(format!("it is for '{}', not for {of}", ShowPath(digest.as_bytes())))),
    }
}

fn base64(text: &str) -> Result<Vec<u8>> {
    BASE64_STANDARD.decode(text).map_err(|error| Error::bad_input("it is no base64").because(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn digest() -> Digest {
        Digest::sha256(b"an image")
    }

    fn simple_statement(change: impl Fn(&mut Value)) -> Vec<u8> {
        let identity = json!({"docker-reference": "docker.io/lab/app"});
        let mut value = json!({"critical": {"identity": identity, "image": {"docker-manifest-digest": digest().as_str()}, "type": SIMPLE_SIGNING_TYPE}});
        change(&mut value);
        value.to_string().into_bytes()
    }

    fn envelope(change_statement: impl Fn(&mut Value), change: impl Fn(&mut Value)) -> Vec<u8> {
        let subject = json!([{"name": "app", "digest": {"sha256": digest().hex()}}]);
        let mut statement = json!({"_type": "https://in-toto.io/Statement/v1", "subject": subject, "predicateType": SIGN, "predicate": {}});
        change_statement(&mut statement);
        let mut value = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "x"}},
            "dsseEnvelope": {"payload": BASE64_STANDARD.encode(statement.to_string()), "payloadType": IN_TOTO, "signatures": [{"sig": "c2ln"}]},
        });
        change(&mut value);
        value.to_string().into_bytes()
    }

    #[test]
    fn what_is_signed_is_found_in_both_forms() {
        let message = simple_statement(|_| {});
        let found = simple(message.clone(), Some("c2ln"), &digest()).unwrap();
        assert_eq!(found, Signature { message, signature: b"sig".to_vec() });
        let found = bundle(&envelope(|_| {}, |_| {}), &digest()).unwrap();
        assert_eq!(found.signature, b"sig");
        let text = String::from_utf8(found.message).unwrap();
        let (head, payload) = text.split_at(text.find('{').unwrap());
        assert_eq!(head, format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len()));
    }

    #[test]
    fn what_is_no_signature_of_the_image_says_why() {
        let other = Digest::sha256(b"another");
        let refused = |result: Result<Signature>, words: &str| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        refused(simple(simple_statement(|_| {}), Some("c2ln"), &other), "it is for 'sha256:");
        refused(simple(simple_statement(|_| {}), None, &digest()), "annotation");
        refused(simple(simple_statement(|_| {}), Some("?"), &digest()), "no base64");
        refused(simple(simple_statement(|value| value["critical"]["type"] = "atomic".into()), Some("c2ln"), &digest()), "critical.type");
        refused(simple(b"{}".to_vec(), Some("c2ln"), &digest()), "critical is missing");
        refused(bundle(&envelope(|_| {}, |_| {}), &other), "it is for 'sha256:");
        refused(bundle(&envelope(|value| value["predicateType"] = "https://slsa.dev/provenance/v1".into(), |_| {}), &digest()), "slsa");
        refused(bundle(&envelope(|value| value["subject"] = json!([]), |_| {}), &digest()), "names no digest");
        refused(bundle(&envelope(|_| {}, |value| value["verificationMaterial"] = json!({"certificate": {}})), &digest()), "keyless");
        refused(bundle(&envelope(|_| {}, |value| value["dsseEnvelope"]["signatures"] = json!([])), &digest()), "0 signatures");
        refused(
            bundle(&envelope(|_| {}, |value| value["dsseEnvelope"]["payloadType"] = "\u{1b}".into()), &digest()),
            r"payloadType is '\u{1b}'",
        );
    }
}
