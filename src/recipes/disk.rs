//! A disk in a container.

use super::{Files, Job, Recipe, heeded_by_disks};
use crate::{
    error::Result,
    layout::Firmware,
    request::{Request, Setting},
};
use formats::{Blob, Env, Format, Identity, Limits, OptionSpec, Plan};

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
    /// Whether it may have large sectors, where the container can hold that.
    pub(crate) may_have_large_sectors: bool,
}

/// A container of disks of the usual sectors alone, as clouds give them to their machines.
#[derive(Debug)]
pub(super) struct UsualSectors(pub(super) Box<dyn Plan>);

impl Plan for UsualSectors {
    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn unit(&self) -> Option<u64> {
        self.0.unit()
    }

    fn encode(&self, disk: &Blob, identity: &Identity, env: &mut Env) -> formats::Result<Blob> {
        self.0.encode(disk, identity, env)
    }
}

impl Recipe for DiskRecipe {
    fn options(&self) -> &'static [OptionSpec] {
        self.container.options()
    }

    fn heeds(&self, request: &Request) -> Vec<&'static Setting> {
        heeded_by_disks(request, self.firmware.and(request.firmware).unwrap_or(self.firmware))
    }

    fn container(&self) -> Option<&'static str> {
        Some(self.container.name())
    }

    fn plan(&self, request: &Request) -> Result<Job> {
        let firmware = self.firmware.and(request.firmware)?;
        let container = self.container;
        let mut plan = container.plan(&request.options_of(container.options(), self.options)?)?;
        if !self.may_have_large_sectors {
            plan = Box::new(UsualSectors(plan));
        }
        let limits = plan.limits().and(Limits::multiple_of(self.size_multiple));
        request.check_disk(&*plan, limits)?;
        Ok(Box::new(move |run| {
            let disk = run.disk(firmware, limits)?;
            let (file, extents) = disk.files(&*plan, &mut run.env)?;
            if let (Some(size), None) = (disk.large_sectors(), container.sector(&file)?) {
                let what = format!("the disk is laid out for sectors of {size} bytes, and a {} file does not say that", container.name());
                run.warn(vec![format!("{what}: whoever attaches it has to, as QEMU by logical_block_size={size}")]);
            }
            Ok(Files { rows: vec![file], extents })
        }))
    }
}
