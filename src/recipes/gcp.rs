//! What Compute Engine imports: a disk of whole GiB in a tar.

use super::{Job, Recipe, heeded_by_disks};
use crate::{
    error::Result,
    platforms::WHOLE_GIB,
    request::{Request, Setting},
};
use formats::{
    Format, Limits,
    compress::{Codec, Encoding},
    raw::Raw,
    tar::{self, Dialect},
    tree::{Content, Inode},
};

/// One member of this name and a disk of whole GiB, in the format that GNU tar calls oldgnu.
#[derive(Debug)]
pub(crate) struct Gcp;

impl Recipe for Gcp {
    fn heeds(&self, request: &Request) -> Vec<&'static Setting> {
        heeded_by_disks(request)
    }

    fn container(&self) -> Option<&'static str> {
        Some(Raw.name())
    }

    fn plan(&self, request: &Request) -> Result<Job> {
        let (firmware, limits) = (request.firmware, Limits::multiple_of(WHOLE_GIB));
        request.size.check(limits)?;
        let encoding = Encoding::new(Codec::Gzip, None)?;
        Ok(Box::new(move |run| {
            let (disk, mtime) = (run.disk(firmware, limits)?.blob, run.env.time.0);
            let mut tar = tar::Writer::new(Dialect::OldGnu);
            tar.add(b"disk.raw", &Inode { mtime, ..Inode::new(Content::File(disk), 0o644) })?;
            Ok(vec![encoding.compress(&tar.finish(), &mut run.env)?])
        }))
    }
}
