//! What a TPM's registers will hold, told in advance, by what firmware, loader and kernel measure.

use crate::{
    error::{Error, Result},
    image::{Booted, disk::Loaders},
};
use formats::{
    Blob, authenticode,
    efivars::Variable,
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
        let signatures = authenticode::signatures(&programs[0])?;
        pcrs.push((7, pcr::secure_boot(variables, &signatures)?));
    }
    pcrs.push((9, pcr::linux(&booted.cmdline, &booted.initrd())?));
    pcrs.push((11, pcr::uki(uki)?));
    Ok(pcrs)
}

/// The programs of a disk that firmware starts by itself, and what those start: a shim its second.
pub(crate) fn chain(loaders: &Loaders) -> Vec<Blob> {
    let Some(first) = loaders.defaults().next() else { return Vec::new() };
    let second = || loaders.uefi.iter().find(|program| program.path.to_ascii_lowercase().contains("/boot/grub"));
    let behind = if first.name == "shim" { second() } else { None };
    [Some(first), behind].into_iter().flatten().map(|program| program.body.clone()).collect()
}
