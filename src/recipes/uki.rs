//! Unified kernel images: everything that boots in one EFI application.

use super::{HEEDED_BY_INITRDS, Job, Recipe};
use crate::{
    error::Result,
    layout::Firmware,
    request::{self, Request, Root, Setting},
    run::Run,
    unified,
};
use formats::Blob;

/// The kernel, its initrd and its command line as one EFI application.
#[derive(Debug)]
pub(crate) struct Uki;

impl Recipe for Uki {
    fn heeds(&self, _: &Request) -> Vec<&'static Setting> {
        let mut heeded = vec![&request::BOOT, &request::SIGN, &request::PCR_KEY];
        heeded.extend(HEEDED_BY_INITRDS);
        heeded
    }

    fn plan(&self, request: &Request) -> Result<Job> {
        Firmware::Uefi.and(request.firmware)?;
        Ok(Box::new(|run| made(run).map(|uki| [uki].into())))
    }
}

fn made(run: &mut Run) -> Result<Blob> {
    let (entry, _) = run.entry(Root::Initrd)?;
    Firmware::Uefi.of(&entry)?;
    match entry.signed {
        Some(signed) => Ok(signed.uki.body),
        None => unified::unite(&entry, &*run.image()?, &run.request().secure_boot),
    }
}
