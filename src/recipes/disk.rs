//! A disk in a container.

use super::{Files, Job, Recipe, heeded_by_disks};
use crate::{
    error::Result,
    layout::Firmware,
    request::{Request, Setting},
};
use formats::{Format, Limits, OptionSpec};

/// A disk in a container.
#[derive(Debug)]
pub(crate) struct DiskRecipe {
    /// Which firmware the disk is for; `--boot` goes before it where this is [`Firmware::Hybrid`].
    pub(crate) firmware: Firmware,
    /// A row of [`formats::FORMATS`].
    pub(crate) container: &'static dyn Format,
    /// Options of the container that make this output what it is.
    pub(crate) options: &'static [(&'static str, &'static str)],
    /// The disk's size is a multiple of this, besides what the container demands.
    pub(crate) size_multiple: u64,
}

impl Recipe for DiskRecipe {
    fn options(&self) -> &'static [OptionSpec] {
        self.container.options()
    }

    fn heeds(&self, request: &Request) -> Vec<&'static Setting> {
        heeded_by_disks(request)
    }

    fn container(&self) -> Option<&'static str> {
        Some(self.container.name())
    }

    fn plan(&self, request: &Request) -> Result<Job> {
        let firmware = self.firmware.and(request.firmware)?;
        let plan = self.container.plan(&request.options_of(self.container.options(), self.options)?)?;
        let limits = plan.limits().and(Limits::multiple_of(self.size_multiple));
        request.size.check(limits)?;
        Ok(Box::new(move |run| {
            let disk = run.disk(firmware, limits)?;
            Ok(Files { rows: vec![disk.encode(&*plan, &mut run.env)?], extents: plan.extents(&disk.blob) })
        }))
    }
}
