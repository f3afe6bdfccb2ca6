//! Looking into a unified kernel image.

use super::{booted::Booted, cmdline::Cmdline};
use crate::error::{At, Error, Result};
use formats::{Blob, uki, units};

/// The most bytes of a command line: more than any kernel takes.
pub(super) const CMDLINE_MAX: u64 = 64 * units::KIB;

/// What a unified kernel image boots.
///
/// # Errors
/// When it is damaged, or its command line is none.
pub fn boot(file: &Blob) -> Result<Booted> {
    let sections = uki::divide(file)?;
    let section = |name: &str| sections.iter().find(|(found, _)| found == name).map(|(name, body)| (name.clone(), body.clone()));
    let kernel = section(".linux").ok_or_else(|| Error::bad_input("there is no section .linux"))?;
    let cmdline = section(".cmdline").map(|(_, body)| body.to_vec(CMDLINE_MAX)).transpose()?.unwrap_or_default();
    let cmdline = Cmdline::from_file(&cmdline).at(|| ".cmdline")?;
    Ok(Booted {
        entry: ".linux".to_owned(),
        kernel,
        initrds: [".ucode", ".initrd"].into_iter().filter_map(section).collect(),
        cmdline: cmdline.as_str().to_owned(),
    })
}
