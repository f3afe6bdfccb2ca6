//! What Compute Engine imports: a disk of whole GiB in a tar.

use super::{Job, Recipe, disk::UsualSectors, heeded_by_disks};
use crate::{
    error::Result,
    platforms::WHOLE_GIB,
    request::{Request, Setting},
};
use formats::{Format, Limits, compress::Codec, gcp, raw::Raw};

/// The archive that Compute Engine imports.
#[derive(Debug)]
pub(crate) struct Gcp;

impl Recipe for Gcp {
    fn heeds(&self, request: &Request) -> Vec<&'static Setting> {
        heeded_by_disks(request, request.firmware)
    }

    fn container(&self) -> Option<&'static str> {
        Some(Raw.name())
    }

    fn codec(&self) -> Codec {
        Codec::Gzip
    }

    fn plan(&self, request: &Request) -> Result<Job> {
        let (firmware, limits, plan) = (request.firmware, Limits::multiple_of(WHOLE_GIB), UsualSectors(Box::new(Raw)));
        request.check_disk(&plan, limits)?;
        Ok(Box::new(move |run| {
            let disk = run.disk(firmware, limits)?.encode(&plan, &mut run.env)?;
            Ok([gcp::pack(&disk, &mut run.env)?].into())
        }))
    }
}
