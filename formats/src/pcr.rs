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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        efivars::{AUTHENTICATED, signature_list},
        signer::Scratch,
        uki::{self, Section},
        x509::tests::own,
    };

    /// Registers are what a chain of digests makes of zeros.
    fn extended(digests: &[[u8; 32]]) -> [u8; 32] {
        digests.iter().fold([0; 32], |pcr, digest| Sha256::digest([pcr, *digest].concat()).into())
    }

    fn sha256(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    #[test]
    fn applications_extend_by_their_digests() {
        let begun = [sha256(b"Calling EFI Application from Boot Option"), sha256(&[0; 4])];
        assert_eq!(applications(&[]).0, extended(&begun));
        assert_eq!(applications(&[[1; 32], [2; 32]]).0, extended(&[&begun[..], &[[1; 32], [2; 32]]].concat()));
        assert_eq!(Pcr([0xab; 32]).to_string(), "ab".repeat(32));
    }

    #[test]
    fn variables_that_are_absent_are_measured_as_empty() {
        let entry = Entry { owner: Guid::new(1), item: signature_list::Item::Certificate(own("db", &Scratch::one())) };
        let pk = Variable { name: "PK".into(), vendor: GLOBAL, attributes: AUTHENTICATED, time: None, data: vec![9] };
        let event = |vendor: Guid, name: &str, data: &[u8]| {
            let name: Vec<u8> = name.bytes().flat_map(|byte| [byte, 0]).collect();
            let (units, len) = ((name.len() / 2).to_le_bytes(), data.len().to_le_bytes());
            sha256(&[&vendor.to_mixed_endian()[..], &units, &len, &name, data].concat())
        };
        let of = |on: u8, pk: &[u8]| {
            let rest = [event(GLOBAL, "KEK", &[]), event(IMAGE_SECURITY, "db", &[]), event(IMAGE_SECURITY, "dbx", &[]), sha256(&[0; 4])];
            [&[event(GLOBAL, "SecureBoot", &[on]), event(GLOBAL, "PK", pk)][..], &rest].concat()
        };
        assert_eq!(secure_boot(&[], None).0, extended(&of(0, &[])));
        let data = [&Guid::new(1).to_mixed_endian()[..], own("db", &Scratch::one()).der()].concat();
        let matched = event(IMAGE_SECURITY, "db", &data);
        assert_eq!(secure_boot(&[pk], Some(&entry)).0, extended(&[of(1, &[9]), vec![matched]].concat()));
    }

    #[test]
    fn linux_measures_what_it_is_handed() {
        let cmdline = sha256(b"q\0u\0\0\0");
        assert_eq!(linux("qu", &Blob::bytes(*b"initrd")).unwrap().0, extended(&[cmdline, sha256(b"initrd")]));
        assert_eq!(linux("qu", &Blob::default()).unwrap().0, extended(&[cmdline]));
    }

    /// A loader of headers alone, and sections behind it.
    fn image(sections: &[(&'static str, &[u8])]) -> Blob {
        let mut loader = vec![0; 1024];
        loader[..2].copy_from_slice(b"MZ");
        loader[0x3c] = 0x80;
        loader[0x80..0x84].copy_from_slice(b"PE\0\0");
        loader[0x94] = 240;
        for (at, value) in [(0, 0x20b_u32), (32, 4096), (36, 512), (56, 8192), (60, 1024)] {
            loader[0x98 + at..][..4].copy_from_slice(&value.to_le_bytes());
        }
        let sections: Vec<_> = sections.iter().map(|(name, body)| Section { name, body: Blob::bytes(*body) }).collect();
        uki::unite(&Blob::bytes(loader), &sections).unwrap()
    }

    #[test]
    fn sections_are_measured_in_their_own_order() {
        let sections: [(&str, &[u8]); 4] = [(".pcrsig", b"sig"), (".cmdline", b"quiet"), (".other", b"x"), (".linux", &[7; 700])];
        let wanted = extended(&[sha256(b".linux\0"), sha256(&[7; 700]), sha256(b".cmdline\0"), sha256(b"quiet")]);
        assert_eq!(super::uki(&image(&sections)).unwrap().0, wanted);
        let mut file = image(&sections).to_vec(u64::MAX).unwrap();
        // The virtual size of the second section.
        file[0x98 + 240 + 40 + 8 + 1] = 2;
        let error = super::uki(&Blob::bytes(file)).unwrap_err().to_string();
        assert_eq!(error, ".cmdline: has 512 bytes in the file, must have all 517 that are measured");
        assert!(super::uki(&Blob::bytes(*b"MZ")).is_err());
    }

    #[test]
    fn a_policy_is_signed() {
        let (key, pcr) = (Scratch::one(), Pcr([7; 32]));
        let text = signature(&pcr, &key).unwrap();
        assert_eq!(text, signature(&pcr, &key).unwrap());
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let entry = &value["sha256"][0];
        assert_eq!(
            (entry["pcrs"][0].as_u64(), entry["pkfp"].as_str()),
            (Some(11), Some(units::hex(&sha256(&key.public_key().pkcs1())).as_str()))
        );
        let policy = [&[0; 32][..], &[0, 0, 1, 0x7f, 0, 0, 0, 1, 0, 0x0b, 3, 0, 8, 0], &sha256(&[7; 32])].concat();
        assert_eq!(entry["pol"], units::hex(&sha256(&policy)));
        let signature = BASE64_STANDARD.decode(entry["sig"].as_str().unwrap()).unwrap();
        assert!(key.public_key().verify(&sha256(&sha256(&policy)), &signature));
    }
}
