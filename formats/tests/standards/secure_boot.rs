//! Signatures, certificates, variables and registers of Secure Boot, held against the programs that others use: sbsigntool, osslsigncode,
//! openssl, efitools, virt-firmware, AWS's uefivars and systemd-measure.
//!
//! Keys are made by `openssl` in the test, and it signs with them, too: as keys do that are elsewhere.

mod keys;
mod registers;
mod signatures;
mod stores;

use crate::support::Desk;
use formats::{
    Blob, Result, Timestamp,
    signer::{PublicKey, Signer},
    uki,
    x509::Certificate,
};
use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

/// 2024-02-29 12:34:56.
const TIME: Timestamp = Timestamp(1_709_210_096);
/// 2050-01-01, in the other way to write a time.
const END: Timestamp = Timestamp(2_524_608_000);

/// What a shell says that runs in a directory, where nothing may fail.
fn shell(desk: &Desk, commands: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-ec", &format!("set -o pipefail; exec 2>&1; {commands}")]).current_dir(desk.path("")).env("TZ", "UTC");
    let output = command.output().expect("there is a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{commands}: {}; tests/setup.sh installs what the tests need\n{text}", output.status);
    text
}

/// Whether commands succeed that are there.
fn succeeds(desk: &Desk, commands: &str) -> bool {
    shell(desk, &format!("if {commands}; then echo yes; else [ $? -lt 126 ]; echo no; fi")).trim_end().ends_with("yes")
}

/// A private key in a file, which `openssl` signs with.
#[derive(Debug)]
struct Key {
    path: PathBuf,
    public: PublicKey,
}

impl Key {
    /// A new key `NAME.key`, and its certificate by itself, `NAME.crt` in PEM.
    fn new(desk: &Desk, name: &str, bits: u32) -> (Self, Certificate) {
        shell(desk, &format!("openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:{bits} -out {name}.key"));
        shell(desk, &format!("openssl pkey -in {name}.key -pubout -outform DER -out {name}.pub"));
        let public = PublicKey::from_spki(&fs::read(desk.path(&format!("{name}.pub"))).unwrap()).unwrap();
        let key = Self { path: desk.path(&format!("{name}.key")), public };
        let certificate = Certificate::self_signed(name, [0x80; 16], TIME, END, &key).unwrap();
        fs::write(desk.path(&format!("{name}.crt")), certificate.pem()).unwrap();
        (key, certificate)
    }
}

impl Signer for Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>> {
        let mut openssl = Command::new("openssl");
        openssl.args(["pkeyutl", "-sign", "-pkeyopt", "digest:sha256", "-pkeyopt", "rsa_padding_mode:pkcs1", "-inkey"]).arg(&self.path);
        let mut child = openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        child.stdin.take().expect("it is piped").write_all(digest)?;
        Ok(child.wait_with_output()?.stdout)
    }
}

/// A unified kernel image of the loader that ships.
fn image() -> Blob {
    let prebuilt = |name: &str| Blob::bytes(fs::read(format!("{}/../boot/prebuilt/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap());
    let section = |name, body| uki::Section { name, body };
    let sections = [
        section(".osrel", Blob::bytes(*b"ID=moby\n")),
        section(".cmdline", Blob::bytes(*b"console=ttyS0")),
        section(".initrd", Blob::bytes(vec![7; 100_001])),
        section(".linux", prebuilt("testkernel.bzimage")),
    ];
    uki::unite(&prebuilt("bootx64.efi"), &sections).unwrap()
}
