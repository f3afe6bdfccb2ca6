//! Secure Boot (UEFI 2.10, section 32): what signs an EFI program, and what a machine is told to trust.
//!
//! What signs comes from outside, as identifiers do: a key in a file, or a command. What is signed is one unified kernel image, for no signature
//! covers the initrd and the command line of a boot entry.

mod command;
mod enrolment;
mod key;
mod measured;
mod trust;

pub use command::Command;
pub use enrolment::{Enrolment, OfVariable};
pub use key::Key;
pub(crate) use measured::{chain, predicted};
pub(crate) use trust::{refusal, refusals_of_disk, signers};

use crate::{
    error::{Error, Result},
    loaders::EfiLoader,
};
use formats::{
    Blob, authenticode,
    efivars::signature_list::{self, Entry, Item},
    fat::File,
    signer::{PublicKey, Signer},
    x509::Certificate,
};
use std::sync::Arc;

/// What a user asks for.
#[derive(Clone, Debug, Default)]
pub struct SecureBoot {
    /// What signs.
    pub signing: Option<Signing>,
    /// What machines are to trust.
    pub enrolment: Option<Arc<Enrolment>>,
    /// A first loader that firmware trusts already.
    pub shim: Option<Shim>,
    /// What signs the expected PCR 11.
    pub pcr_key: Option<Arc<dyn Signer + Send + Sync>>,
}

/// What signs EFI programs.
#[derive(Clone, Debug)]
pub struct Signing {
    certificates: Vec<Certificate>,
    signer: Arc<dyn Signer + Send + Sync>,
}

impl Signing {
    /// A signer with its certificate, and behind it those that lead to one that machines trust.
    ///
    /// # Errors
    /// When there is no certificate, firmware takes no such key, or it is another's.
    pub fn new(certificates: Vec<Certificate>, signer: Arc<dyn Signer + Send + Sync>) -> Result<Self> {
        let certificate = certificates.first().ok_or_else(|| Error::bad_input("there is no certificate"))?;
        if certificate.public_key()? != *signer.public_key() {
            return Err(Error::bad_input("is not the key of the certificate"));
        }
        Ok(Self { certificates, signer })
    }

    /// The signer's certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificates[0]
    }

    /// The program, signed; signatures that it has stay.
    ///
    /// # Errors
    /// When it is no EFI program that can be signed, or the signer fails or signs something else.
    pub fn sign(&self, program: &Blob) -> Result<Blob> {
        authenticode::sign(program, &self.certificates, &*self.signer)
    }
}

/// A signature that was made elsewhere, of what [`authenticode::to_be_signed`] says.
#[derive(Clone, Debug)]
pub struct Given {
    /// Whose it is.
    pub public: PublicKey,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Signer for Given {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, _: &[u8; 32]) -> formats::Result<Vec<u8>> {
        Ok(self.signature.clone())
    }
}

/// shim and the program by which it asks its user about keys, which are started in the place of what they start.
#[derive(Clone, Debug)]
pub struct Shim {
    /// shim itself.
    pub shim: Blob,
    /// MokManager.
    pub mok_manager: Option<Blob>,
}

/// The certificates in lists of signatures.
///
/// # Errors
/// When the lists are damaged, or hold anything else.
pub(crate) fn certificates(lists: &[u8]) -> Result<Vec<Certificate>> {
    let certificate = |entry: Entry| match entry.item {
        Item::Certificate(certificate) => Ok(certificate),
        _ => Err(Error::unsupported("a list of signatures has other than certificates in it, which has no form here")),
    };
    signature_list::read(lists)?.into_iter().map(certificate).collect()
}

/// What stands on a boot partition with a signed kernel.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The unified kernel image.
    pub uki: File,
    /// What belongs to it: shim, and what machines are to trust.
    pub others: Vec<File>,
}

impl SecureBoot {
    /// The files of a boot partition, for a signed unified kernel image of an architecture.
    pub(crate) fn signed(&self, uki: Blob, efi: &EfiLoader) -> Signed {
        let enrolment = self.enrolment.as_deref().map(Enrolment::files).unwrap_or_default();
        let Some(Shim { shim, mok_manager }) = &self.shim else {
            return Signed { uki: File::new(efi.path, uki), others: enrolment };
        };
        let beside = |name: &str| format!("/EFI/BOOT/{name}{}.efi", efi.name);
        let manager = mok_manager.iter().map(|manager| File::new(beside("mm"), manager.clone()));
        let others = [File::new(efi.path, shim.clone())].into_iter().chain(manager).chain(enrolment).collect();
        Signed { uki: File::new(beside("grub"), uki), others }
    }
}
