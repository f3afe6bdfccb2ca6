//! Recipes: how outputs are made, one module each. A row of [`crate::outputs`] has one.

mod disk;
mod docker;
mod efi_vars;
mod gcp;
mod iso;
mod kernel;
mod ova;
mod sd_card;
mod tar;
mod uki;
mod vagrant;

pub(crate) use disk::DiskRecipe;
pub(crate) use docker::Docker;
pub(crate) use efi_vars::{AUTH_FILES, EfiVars};
pub(crate) use gcp::Gcp;
pub(crate) use iso::{Iso, KernelIso};
pub(crate) use kernel::{KernelInitrd, KernelRoot, TarKernelInitrd};
pub(crate) use ova::Ova;
pub(crate) use sd_card::SdCard;
pub(crate) use tar::Tar;
pub(crate) use uki::Uki;
pub(crate) use vagrant::Vagrant;

use crate::{
    error::Result,
    layout::Firmware,
    request::{self, Request, Setting},
    root::Root,
    run::Run,
};
use formats::{Blob, OptionSpec, compress::Codec};
use std::fmt;

/// How an output is made.
pub(crate) trait Recipe: fmt::Debug + Sync {
    /// What `--opt` can say of it.
    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    /// What else of a user's wishes it heeds.
    fn heeds(&self, request: &Request) -> Vec<&'static Setting>;

    /// Whether it is the tagged tar, of which no more need be known.
    fn is_tar(&self) -> bool {
        false
    }

    /// The container of the disk that it makes, where it makes one.
    fn container(&self) -> Option<&'static str> {
        None
    }

    /// What compresses the whole of its file, where that is a part of what it is.
    fn codec(&self) -> Codec {
        Codec::None
    }

    /// The work, understood: all that can be refused without the input is refused here.
    ///
    /// # Errors
    /// When an option has a wrong value, or what the user asks for contradicts the output.
    fn plan(&self, request: &Request) -> Result<Job>;
}

/// Makes the files of an output.
pub(crate) type Job = Box<dyn Fn(&mut Run) -> Result<Files>>;

/// The files of an output.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Those of its row.
    pub(crate) rows: Vec<Blob>,
    /// Those that the first names, by their names.
    pub(crate) extents: Vec<(String, Blob)>,
}

impl<const N: usize> From<[Blob; N]> for Files {
    fn from(rows: [Blob; N]) -> Self {
        Self { rows: rows.into(), extents: Vec::new() }
    }
}

/// What every disk of ours heeds that is for this firmware.
fn heeded_by_disks(request: &Request, firmware: Firmware) -> Vec<&'static Setting> {
    let mut heeded = vec![
        &request::BOOT,
        &request::SIZE,
        &request::SECTOR_SIZE,
        &request::PART,
        &request::CLOUD_INIT,
        &request::DATA_PART,
        &request::ROOT,
        &request::SEED,
    ];
    match request.root {
        Root::Auto | Root::Initrd => heeded.extend(HEEDED_BY_INITRDS),
        Root::Partition(_) => heeded.push(&request::VERITY),
    }
    heeded.extend(heeded_by_signed(request, firmware));
    heeded
}

/// What the boot partition heeds of Secure Boot: BIOS checks no signature, and keys without a signature would keep the machine from starting.
fn heeded_by_signed(request: &Request, firmware: Firmware) -> Vec<&'static Setting> {
    let is_signed = request.secure_boot.signing.is_some();
    match firmware {
        Firmware::Bios => Vec::new(),
        _ if is_signed => vec![&request::SIGN, &request::ENROLL_KEYS, &request::SHIM, &request::PCR_KEY],
        _ => vec![&request::SIGN],
    }
}

/// What every initrd heeds.
const HEEDED_BY_INITRDS: [&Setting; 2] = [&request::COMPRESSION, &request::LEVEL];
