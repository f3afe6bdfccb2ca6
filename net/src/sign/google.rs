//! What a service account of Google's says of itself: a JSON Web Token (RFC 7519) signed with RS256 (RFC 7518, 3.3), good for an hour.
//!
//! What computes TLS signs it: where that does not run, Google is not reached anyway.

use crate::{secret::Secret, tls::provider};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use formats::{Error, Kind, Result};
use rustls::{
    SignatureScheme,
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::{Signer, SigningKey},
};
use serde_json::json;
use std::{fmt, sync::Arc, time::Duration};

/// The longest that Google takes.
const GOOD: u64 = 3600;

/// A service account.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) email: String,
    /// What Google calls the key.
    id: Option<String>,
    key: Arc<dyn SigningKey>,
}

/// Nothing of the key.
impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("email", &self.email).finish_non_exhaustive()
    }
}

impl Account {
    /// An account with its private key, in PEM.
    ///
    /// # Errors
    /// Bad input: it is no RSA key. Environment: the processor is too old.
    pub(crate) fn new(email: &str, id: Option<&str>, pem: &Secret) -> Result<Self> {
        let bad = || Error::bad_input(format!("the private key of {email} is no RSA key in PEM (BEGIN PRIVATE KEY)"));
        let der = PrivateKeyDer::from_pem_slice(pem.told().as_bytes()).map_err(|_| bad())?;
        let key = provider()?.key_provider.load_private_key(der).map_err(|_| bad())?;
        signer(&*key).ok_or_else(bad)?;
        Ok(Self { email: email.to_owned(), id: id.map(str::to_owned), key })
    }
}

/// A token for the token server `audience`, by which it gives another one for scopes, separated by blanks.
///
/// # Errors
/// Never, but what computes it does not know that.
pub(crate) fn assertion(account: &Account, scope: &str, audience: &str, now: Duration) -> Result<Secret> {
    let mut header = json!({"alg": "RS256", "typ": "JWT"});
    if let Some(id) = &account.id {
        header["kid"] = json!(id);
    }
    let from = now.as_secs();
    let claims = json!({"iss": account.email, "scope": scope, "aud": audience, "iat": from, "exp": from.saturating_add(GOOD)});
    let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = format!("{header}.{claims}");
    let failed = || Error::new(Kind::Bug, format!("the key of {} does not sign", account.email));
    let signature = signer(&*account.key).ok_or_else(failed)?.sign(text.as_bytes()).map_err(|error| failed().because(error))?;
    Ok(Secret::new(format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))))
}

/// None when the key is of another algorithm.
fn signer(key: &dyn SigningKey) -> Option<Box<dyn Signer>> {
    key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::{fs, path::Path, process::Command};

    fn openssl(directory: &Path, command: &str) {
        let done = Command::new("sh").args(["-ec", command]).current_dir(directory).output().unwrap();
        assert!(done.status.success(), "{command}: {done:?}");
    }

    /// An RSA key as Google hands it out, and in the older form.
    fn keys(directory: &Path) -> [Secret; 2] {
        openssl(
            directory,
            "openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out new; openssl pkey -in new -pubout -out public",
        );
        openssl(directory, "openssl pkey -in new -traditional -out old");
        ["new", "old"].map(|name| Secret::new(fs::read_to_string(directory.join(name)).unwrap()))
    }

    #[test]
    fn openssl_verifies_what_is_said() {
        let dir = tempfile::tempdir().unwrap();
        for key in keys(dir.path()) {
            let account = Account::new("a@b.iam.gserviceaccount.com", Some("0123"), &key).unwrap();
            let token = assertion(&account, "one two", "https://oauth2.googleapis.com/token", Duration::from_secs(1_709_208_000)).unwrap();
            let (text, signature) = token.told().rsplit_once('.').unwrap();
            fs::write(dir.path().join("text"), text).unwrap();
            fs::write(dir.path().join("signature"), BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
            openssl(dir.path(), "openssl dgst -sha256 -verify public -signature signature text");
            let parts: Vec<Value> =
                text.split('.').map(|part| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()).collect();
            assert_eq!(parts[0], json!({"alg": "RS256", "typ": "JWT", "kid": "0123"}));
            let claims = json!({
                "iss": "a@b.iam.gserviceaccount.com", "scope": "one two", "aud": "https://oauth2.googleapis.com/token",
                "iat": 1_709_208_000, "exp": 1_709_211_600
            });
            assert_eq!(parts[1], claims);
        }
    }

    #[test]
    fn other_keys_are_refused_and_none_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        openssl(dir.path(), "openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key");
        let curve = fs::read_to_string(dir.path().join("key")).unwrap();
        for bad in [curve.as_str(), "geheim", "-----BEGIN PRIVATE KEY-----\nZ2VoZWlt\n-----END PRIVATE KEY-----\n"] {
            let error = Account::new("a@b", None, &Secret::new(bad)).unwrap_err();
            assert_eq!(error.to_string(), "the private key of a@b is no RSA key in PEM (BEGIN PRIVATE KEY)");
        }
        let [key, _] = keys(dir.path());
        assert_eq!(format!("{:?}", Account::new("a@b", None, &key).unwrap()), "Account { email: \"a@b\", .. }");
    }
}
