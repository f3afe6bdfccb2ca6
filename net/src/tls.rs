//! TLS: what computes it, and whom it trusts.
//!
//! The computing is `graviola`'s, Rust and inline assembly, which wants a processor of some ten years at most and ends the program on an
//! older one; so that is looked at first. [`provider`] is the one place that would have to change for another.

use formats::{At, Error, Kind, Result};
use rustls::crypto::CryptoProvider;
use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

/// Whose certificates are taken.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// A PEM file with the authorities, instead of the machine's. Where the machine has none, Mozilla's are compiled in.
    pub ca: Option<PathBuf>,
    /// More such files, instead of the machine's, too.
    pub authorities: Vec<PathBuf>,
    /// Whether anybody's certificate is taken, unseen.
    pub is_blind: bool,
    /// PEM files with authorities for one host (`host[:port]`) beside those.
    pub hosts: Vec<(String, PathBuf)>,
    /// Directories as Docker's `certs.d`: `host[:port]/*.crt` are authorities for that host. Those that do not exist hold none.
    pub directories: Vec<PathBuf>,
}

/// How a host is spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) config: TlsConfig,
    /// What the machine's own certificates had wrong, for the one who then wonders why a host is not trusted.
    pub(crate) complaints: String,
}

impl Roots {
    /// The files that hold authorities for one host alone.
    ///
    /// # Errors
    /// When a directory is there and cannot be read.
    pub(crate) fn of_host(&self, host: &str) -> Result<Vec<PathBuf>> {
        let mut files: Vec<_> = self.hosts.iter().filter(|(name, _)| name == host).map(|(_, file)| file.clone()).collect();
        for dir in self.directories.iter().map(|dir| dir.join(host)).filter(|dir| dir.is_dir()) {
            let mut inside = Vec::new();
            for entry in fs::read_dir(&dir).at(|| dir.display())? {
                inside.push(entry.at(|| dir.display())?.path());
            }
            inside.retain(|path| path.extension().is_some_and(|extension| extension == "crt"));
            inside.sort();
            files.append(&mut inside);
        }
        Ok(files)
    }

    /// Whom to trust, with what these files add.
    ///
    /// # Errors
    /// When this processor is too old for TLS (environment), or a file cannot be read or holds no certificate.
    pub(crate) fn tls(&self, added: &[PathBuf]) -> Result<Tls> {
        let builder = TlsConfig::builder().unversioned_rustls_crypto_provider(provider()?);
        let mut own = Vec::new();
        for file in added.iter().chain(&self.ca).chain(&self.authorities) {
            own.append(&mut certificates(file)?);
        }
        let mut complaints = String::new();
        if self.is_blind {
            return Ok(Tls { config: builder.disable_verification(true).build(), complaints });
        }
        if self.ca.is_none() && self.authorities.is_empty() {
            let native = rustls_native_certs::load_native_certs();
            for error in &native.errors {
                let _ = write!(complaints, "; of this machine's certificates: {error}");
            }
            if native.certs.is_empty() && own.is_empty() {
                return Ok(Tls { config: builder.root_certs(RootCerts::WebPki).build(), complaints });
            }
            own.extend(native.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()));
        }
        Ok(Tls { config: builder.root_certs(RootCerts::from(own)).build(), complaints })
    }
}

/// The certificates of a PEM file.
fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>> {
    let text = fs::read(file).at(|| file.display())?;
    let mut found = Vec::new();
    for item in ureq::tls::parse_pem(&text) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(Error::bad_input("is no PEM file").because(error.to_string()).at(file.display())),
        }
    }
    if found.is_empty() {
        return Err(Error::bad_input("holds no certificate in PEM (BEGIN CERTIFICATE)").at(file.display()));
    }
    Ok(found)
}

/// What computes TLS. There is one, so that connections can be shared.
///
/// # Errors
/// When this processor is too old for it (environment).
pub(crate) fn provider() -> Result<Arc<CryptoProvider>> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let missing = missing();
    if !missing.is_empty() {
        let error = Error::new(Kind::Environment, format!("TLS is not to be had on this processor, which lacks {}", missing.join(", ")));
        return Err(error.hint("plain HTTP works: name a mirror that has it, http://HOST; or pull on another machine"));
    }
    Ok(Arc::clone(PROVIDER.get_or_init(|| Arc::new(implementation()))))
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn implementation() -> CryptoProvider {
    rustls_graviola::default_provider()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn implementation() -> CryptoProvider {
    unreachable!("`missing` says that there is none")
}

/// What `graviola` wants of the processor and this one has not: it would panic.
fn missing() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let wanted = [
        ("ADX", std::arch::is_x86_feature_detected!("adx")),
        ("AES", std::arch::is_x86_feature_detected!("aes")),
        ("AVX", std::arch::is_x86_feature_detected!("avx")),
        ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
        ("BMI1", std::arch::is_x86_feature_detected!("bmi1")),
        ("PCLMULQDQ", std::arch::is_x86_feature_detected!("pclmulqdq")),
    ];
    #[cfg(target_arch = "aarch64")]
    let wanted = [
        ("NEON", std::arch::is_aarch64_feature_detected!("neon")),
        ("AES", std::arch::is_aarch64_feature_detected!("aes")),
        ("PMULL", std::arch::is_aarch64_feature_detected!("pmull")),
        ("SHA2", std::arch::is_aarch64_feature_detected!("sha2")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let wanted = [("what moby's TLS is written for: x86-64 or arm64", false)];
    wanted.into_iter().filter(|(_, is_there)| !is_there).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_host_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().join("h:5000");
        fs::create_dir(&host).unwrap();
        for name in ["b.crt", "a.crt", "client.cert", "client.key"] {
            fs::write(host.join(name), "").unwrap();
        }
        let roots = Roots {
            hosts: vec![("h:5000".to_owned(), "x.pem".into()), ("h".to_owned(), "y.pem".into())],
            directories: vec!["absent".into(), dir.path().to_owned()],
            ..Roots::default()
        };
        assert_eq!(roots.of_host("h:5000").unwrap(), [PathBuf::from("x.pem"), host.join("a.crt"), host.join("b.crt")]);
        assert_eq!(roots.of_host("h").unwrap(), [PathBuf::from("y.pem")]);
    }

    /// Under `qemu-x86_64 -cpu Haswell` it is the other case.
    #[test]
    fn an_old_processor_is_told_of() {
        match Roots::default().tls(&[]) {
            Ok(_) => assert_eq!(missing(), [""; 0]),
            Err(error) => assert!(error.kind() == Kind::Environment && error.to_string().contains("processor, which lacks "), "{error}"),
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = certificates(file.path()).unwrap_err();
        assert!(error.to_string().contains("holds no certificate"), "{error}");
    }
}
