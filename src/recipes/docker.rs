//! The tar with a Dockerfile: `docker build - < NAME.docker`.

use super::{Job, Recipe};
use crate::{
    error::Result,
    linuxkit::T0,
    request::{Request, Setting},
};
use formats::{
    Blob,
    tar::{self, Dialect},
    tree::{Content, Inode},
};

/// What LinuxKit puts before the tar: its init starts the containers.
const DOCKERFILE: &str = "FROM scratch\nCOPY . ./\nRUN rm -f Dockerfile\nENTRYPOINT [\"/bin/rc.init\"]\n";

/// What LinuxKit puts behind a tar that it builds.
const BUILT: &str = "\nFROM scratch\n\nCOPY . ./\n\nENTRYPOINT [\"/bin/rc.init\"]\n";

/// A tar that was built, with a Dockerfile at its end as LinuxKit puts it there.
fn with_dockerfile(tar: &Blob) -> Result<Blob> {
    /// The two blocks of zeros.
    const END: u64 = 1024;
    let mut end = tar::Writer::new(Dialect::Ustar);
    end.add(b"Dockerfile", &Inode { mtime: T0.seconds, ..Inode::new(Content::File(Blob::bytes(BUILT.as_bytes())), 0o644) })?;
    let mut whole = tar.slice(0..tar.len() - END);
    whole.append(&end.finish());
    Ok(whole)
}

/// A build context.
#[derive(Debug)]
pub(crate) struct Docker;

impl Recipe for Docker {
    fn heeds(&self, _: &Request) -> Vec<&'static Setting> {
        Vec::new()
    }

    fn is_tar(&self) -> bool {
        true
    }

    fn plan(&self, _: &Request) -> Result<Job> {
        Ok(Box::new(|run| {
            if let Some(tar) = run.built() {
                return Ok([with_dockerfile(tar)?].into());
            }
            let (image, mtime) = (run.image()?, run.env.time.0);
            let mut tar = tar::Writer::new(Dialect::Pax);
            tar.add(b"Dockerfile", &Inode { mtime, ..Inode::new(Content::File(Blob::bytes(DOCKERFILE.as_bytes())), 0o644) })?;
            tar.tree(&image.rootfs)?;
            let boot = image.whole_boot()?;
            // The root file system has the directory `boot`, and nothing in it.
            for name in boot.names.iter().filter(|name| name.path != b"boot") {
                tar.add(&name.path, &boot.inodes[name.inode])?;
            }
            Ok([tar.finish()].into())
        }))
    }
}
