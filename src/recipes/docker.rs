//! The tar with a Dockerfile: `docker build - < NAME.docker`.

use super::{Job, Recipe};
use crate::{
    error::Result,
    request::{Request, Setting},
};
use formats::{
    Blob,
    tar::{self, Dialect},
    tree::{Content, Inode},
};

/// What LinuxKit puts before the tar: its init starts the containers.
const DOCKERFILE: &str = "FROM scratch\nCOPY . ./\nRUN rm -f Dockerfile\nENTRYPOINT [\"/bin/rc.init\"]\n";

/// A build context.
#[derive(Debug)]
pub(crate) struct Docker;

impl Recipe for Docker {
    fn heeds(&self, _: &Request) -> Vec<&'static Setting> {
        Vec::new()
    }

    fn plan(&self, _: &Request) -> Result<Job> {
        Ok(Box::new(|run| {
            let (image, mtime) = (run.image()?, run.env.time.0);
            let mut tar = tar::Writer::new(Dialect::Pax);
            tar.add(b"Dockerfile", &Inode { mtime, ..Inode::new(Content::File(Blob::bytes(DOCKERFILE.as_bytes())), 0o644) })?;
            tar.tree(&image.rootfs)?;
            let boot = image.whole_boot()?;
            // The root file system has the directory `boot`, and nothing in it.
            for name in boot.names.iter().filter(|name| name.path != b"boot") {
                tar.add(&name.path, &boot.inodes[name.inode])?;
            }
            Ok(vec![tar.finish()])
        }))
    }
}
