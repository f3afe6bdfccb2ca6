//! Platform configuration registers of a TPM 2.0, told in advance: what firmware (TCG PC Client Platform Firmware Profile 1.06, section 3),
//! Linux and our loader (UAPI.7) extend them with. All are of SHA-256.
//!
//! | register | extended with |
//! |---|---|
//! | 4 | the applications that firmware starts, by their Authenticode digests |
//! | 7 | the variables of Secure Boot, and the entry of `db` that the application was started by |
//! | 9 | Linux: command line and initrd |
//! | 11 | the sections of a unified kernel image, by name and content |
//!
//! Extending is SHA-256 over the register and the digest of the event; registers begin with zeros. What is told of 4 and 7 is what firmware
//! extends at least: drivers of cards, other applications and more variables come on top. A policy that PCR 11 satisfies is signed as
//! `systemd-measure` does.
//!
//! Oracles: a TPM's registers after booting, `systemd-measure`.

use crate::{
    At, Blob, Error, Guid, Result,
    efivars::{self, GLOBAL, IMAGE_SECURITY, Variable, signature_list::Entry},
    pe::Pe,
    signer::{self, Signer},
    units,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// EV_SEPARATOR: what stands between the firmware's own events and those of what it starts.
const SEPARATOR: [u8; 4] = [0; 4];
/// EV_EFI_ACTION of PCR 4.
const CALLING: &[u8] = b"Calling EFI Application from Boot Option";

/// The sections that are measured, in their order; `.pcrsig` depends on them.
const MEASURED: [&str; 11] =
    [".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey", ".profile"];

/// A register, or what it will be. Shown as hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pcr(pub [u8; 32]);

impl Pcr {
    /// Extends it with a digest.
    pub fn extend(&mut self, digest: [u8; 32]) {
        self.0 = Sha256::new().chain_update(self.0).chain_update(digest).finalize().into();
    }

    fn event(&mut self, event: &[u8]) {
        self.extend(Sha256::digest(event).into());
    }
}

impl fmt::Display for Pcr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&units::hex(&self.0))
    }
}

/// PCR 4 after firmware has started these applications, one from the other, by their Authenticode digests.
pub fn applications(digests: &[[u8; 32]]) -> Pcr {
    let mut pcr = Pcr::default();
    pcr.event(CALLING);
    pcr.event(&SEPARATOR);
    digests.iter().for_each(|digest| pcr.extend(*digest));
    pcr
}

/// PCR 7 with these variables: Secure Boot is on where there is a platform key. `matched` is the entry of `db` that the application was
/// started by.
pub fn secure_boot(variables: &[Variable], matched: Option<&Entry>) -> Pcr {
    let data = |name| variables.iter().find(|variable| variable.name == name).map_or(&[][..], |variable| &variable.data);
    let is_on = u8::from(!data("PK").is_empty());
    let mut pcr = Pcr::default();
    pcr.event(&variable_data(GLOBAL, "SecureBoot", &[is_on]));
    for (vendor, name) in [(GLOBAL, "PK"), (GLOBAL, "KEK"), (IMAGE_SECURITY, "db"), (IMAGE_SECURITY, "dbx")] {
        pcr.event(&variable_data(vendor, name, data(name)));
    }
    pcr.event(&SEPARATOR);
    if let Some(entry) = matched {
        pcr.event(&variable_data(IMAGE_SECURITY, "db", &entry.signature_data()));
    }
    pcr
}

/// UEFI_VARIABLE_DATA (TCG PC Client Platform Firmware Profile 1.06, 10.4.1).
fn variable_data(vendor: Guid, name: &str, data: &[u8]) -> Vec<u8> {
    let name = efivars::utf16(name);
    let lengths = [units::bytes(name.len() / 2), units::bytes(data.len())].map(u64::to_le_bytes).concat();
    [&vendor.to_mixed_endian()[..], &lengths, &name, data].concat()
}

/// PCR 9 after Linux has started with this command line and this initrd.
///
/// # Errors
/// When the initrd cannot be read.
pub fn linux(cmdline: &str, initrd: &Blob) -> Result<Pcr> {
    let mut pcr = Pcr::default();
    pcr.event(&[efivars::utf16(cmdline), vec![0, 0]].concat());
    if !initrd.is_empty() {
        pcr.extend(initrd.sha256()?);
    }
    Ok(pcr)
}

/// PCR 11 after a unified kernel image has started: of no phases that an init would add.
///
/// # Errors
/// Bad input: it is no such image, or a section reaches beyond its end. Unsupported: a section whose end is not in the file.
pub fn uki(file: &Blob) -> Result<Pcr> {
    let sections = Pe::read(file)?.ok_or_else(|| Error::bad_input("there are no headers of a PE file"))?.sections(file)?;
    let mut pcr = Pcr::default();
    for name in MEASURED {
        if let Some(section) = sections.iter().find(|section| section.name == name) {
            if section.virtual_size > section.body.len() {
                let (there, len) = (section.body.len(), section.virtual_size);
                return Err(Error::unsupported(format!("has {there} bytes in the file, must have all {len} that are measured")).at(name));
            }
            pcr.event(format!("{name}\0").as_bytes());
            pcr.extend(section.body.sha256().at(|| name)?);
        }
    }
    Ok(pcr)
}

/// A policy that is met when PCR 11 has this value, signed: the content of `.pcrsig`, and of `/.extra/tpm2-pcr-signature.json`.
///
/// # Errors
/// What the signer says, or that it signed otherwise than it should.
pub fn signature(pcr11: &Pcr, signer: &dyn Signer) -> Result<String> {
    // TPM 2.0 part 3, 23.7: TPM2_PolicyPCR over a TPML_PCR_SELECTION of one register of SHA-256, TPM_ALG_SHA256.
    const POLICY_PCR: [u8; 4] = [0, 0, 0x01, 0x7f];
    const SELECTION: [u8; 10] = [0, 0, 0, 1, 0, 0x0b, 3, 0, 1 << (11 - 8), 0];
    let values = Sha256::digest(pcr11.0);
    let policy = Sha256::new().chain_update([0; 32]).chain_update(POLICY_PCR).chain_update(SELECTION).chain_update(values).finalize();
    // What is signed is the policy, as a message.
    let signature = signer::signature(signer, &Sha256::digest(policy).into())?;
    let fingerprint = Sha256::digest(signer.public_key().pkcs1());
    let entry = json!({
        "pcrs": [11],
        "pkfp": units::hex(&fingerprint),
        "pol": units::hex(&policy),
        "sig": BASE64_STANDARD.encode(signature),
    });
    Ok(format!("{}\n", json!({ "sha256": [entry] })))
}
