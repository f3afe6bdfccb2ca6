//! What a TPM's registers will hold, told in advance, by what firmware, loader and kernel measure.

use crate::{
    error::{Error, Result},
    image::{Booted, disk::Loaders},
};
use formats::{
    Blob, authenticode,
    efivars::{
        Variable,
        signature_list::{self, Entry, Item},
    },
    pcr::{self, Pcr},
    uki,
};

/// PCR 4, 9 and 11 of a machine that starts these programs one after the other, of which the last is a unified kernel image that boots this;
/// and 7 where the variables of its firmware are known.
///
/// # Errors
/// When a program is none, or none of them is a unified kernel image.
pub(crate) fn predicted(programs: &[Blob], booted: &Booted, variables: Option<&[Variable]>) -> Result<Vec<(u8, Pcr)>> {
    let last = programs.last().filter(|program| uki::probe(program).unwrap_or_default());
    let uki = last.ok_or_else(|| {
        let what = "no unified kernel image is started, and no register is known in advance of a loader's entries";
        Error::unsupported(what).hint("convert it with --sign-key, or to uki")
    })?;
    let digests = programs.iter().map(authenticode::digest).collect::<formats::Result<Vec<_>>>()?;
    let mut pcrs = vec![(4, pcr::applications(&digests))];
    if let Some(variables) = variables {
        pcrs.push((7, pcr::secure_boot(variables, matched(&programs[0], variables)?.as_ref())));
    }
    pcrs.push((9, pcr::linux(&booted.cmdline, &booted.initrd())?));
    pcrs.push((11, pcr::uki(uki)?));
    Ok(pcrs)
}

/// The entry of `db` by which firmware starts a program.
fn matched(program: &Blob, variables: &[Variable]) -> Result<Option<Entry>> {
    let Some(db) = variables.iter().find(|variable| variable.name == "db") else { return Ok(None) };
    let signatures = authenticode::signatures(program)?;
    let is_its = |entry: &Entry| match &entry.item {
        Item::Certificate(certificate) => signatures.iter().any(|signature| signature.is_trusted_by(std::slice::from_ref(certificate))),
        Item::Sha256(digest) => authenticode::digest(program).is_ok_and(|of| of == *digest),
        Item::Other { .. } => false,
    };
    Ok(signature_list::read(&db.data)?.into_iter().find(is_its))
}

/// The programs of a disk that firmware starts by itself, and what those start: a shim its second.
pub(crate) fn chain(loaders: &Loaders) -> Vec<Blob> {
    let Some(first) = loaders.defaults().next() else { return Vec::new() };
    let second = || loaders.uefi.iter().find(|program| program.path.to_ascii_lowercase().contains("/boot/grub"));
    let behind = if first.name == "shim" { second() } else { None };
    [Some(first), behind].into_iter().flatten().map(|program| program.body.clone()).collect()
}
