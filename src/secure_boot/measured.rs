//! What a TPM's registers will hold, told in advance, by what firmware, loader and kernel measure.

use crate::{
    error::{Error, Kind, Result},
    image::{Booted, disk::Loaders, initrd},
};
use bootfs::{
    newc::Header,
    uki::{EXTRA, EXTRAS},
};
use formats::{
    Blob, authenticode,
    efivars::{
        Variable,
        signature_list::{self, Entry, Item},
    },
    pcr::{self, Pcr},
    uki, units,
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
    pcrs.push((9, pcr::linux(&booted.cmdline, &handed_over(uki, booted)?)?));
    pcrs.push((11, pcr::uki(uki)?));
    Ok(pcrs)
}

/// The initrd as our loader hands it over, each part of it filled up to four bytes; behind it stands an archive with what unlocks disks.
fn handed_over(uki: &Blob, booted: &Booted) -> Result<Blob> {
    let mut all = booted.initrd();
    all.pad_to(initrd::ALIGNMENT);
    let mut push = |body: &Blob| {
        all.append(body);
        all.pad_to(initrd::ALIGNMENT);
    };
    let header = |header: Option<Header>| {
        header.map(|header| Blob::bytes(header.bytes())).ok_or_else(|| Error::new(Kind::Bug, "a name is too long"))
    };
    let sections = uki::divide(uki)?;
    let extras = EXTRAS.iter().filter_map(|(name, path)| Some((*path, &sections.iter().find(|(found, _)| found == name)?.1)));
    let mut extras = extras.filter(|(_, body)| !body.is_empty()).peekable();
    if extras.peek().is_some() {
        push(&header(Header::directory(EXTRA))?);
        for (path, body) in extras {
            push(&header(Header::file(path, units::index(body.len())))?);
            push(body);
        }
        push(&header(Header::trailer())?);
    }
    Ok(all)
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
