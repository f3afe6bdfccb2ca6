//! Whether firmware with Secure Boot on would start a program (UEFI 2.10, section 32.4.2).

use crate::{
    error::{At, Result},
    image::disk::Loaders,
};
use formats::{
    Blob, Kind,
    authenticode::{self, Signature},
    x509::Certificate,
};

/// Why a machine that trusts these certificates would refuse a program; nothing where it would start it.
///
/// # Errors
/// When it cannot be read, or is no EFI program.
pub(crate) fn refusal(program: &Blob, db: &[Certificate]) -> Result<Option<String>> {
    let signatures = authenticode::signatures(program)?;
    if signatures.iter().any(|signature| signature.is_trusted_by(db)) {
        return Ok(None);
    }
    Ok(Some(if signatures.is_empty() {
        "is not signed".to_owned()
    } else if signatures.iter().any(|signature| signature.digest_matches && signature.is_valid) {
        format!("is signed by {}, which none of the certificates leads to", names(&signatures).join(" and "))
    } else {
        "was changed after it was signed".to_owned()
    }))
}

/// Whose certificates signed a program.
///
/// # Errors
/// As [`refusal`].
pub(crate) fn signers(program: &Blob) -> Result<Vec<String>> {
    Ok(names(&authenticode::signatures(program)?))
}

fn names(signatures: &[Signature]) -> Vec<String> {
    signatures.iter().filter_map(|signature| signature.certificates.first()).map(Certificate::subject).collect()
}

/// Why a machine that trusts these certificates would refuse what it starts of a disk by itself: a line for each program.
///
/// # Errors
/// When the disk cannot be read.
pub(crate) fn refusals_of_disk(loaders: &Loaders, db: &[Certificate]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for program in loaders.defaults() {
        match refusal(&program.body, db).at(|| &program.path) {
            Ok(why) => found.extend(why.map(|why| format!("{} {why}", program.path))),
            Err(error) if error.kind() == Kind::BadInput => found.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    if loaders.defaults().next().is_none() {
        found.push("there is no program that firmware starts by itself".to_owned());
    }
    Ok(found)
}
