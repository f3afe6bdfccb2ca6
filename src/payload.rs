//! `Payload`: what a loader is given: kernel, initrd and command line.
//!
//! ```text
//!  initrd = microcode (an early cpio, as it is) ++ archive, compressed ++ archive, compressed ++ ... ++ zeros to 4
//! ```
//! Linux unpacks archives one after the other, each compressed as one stream, and refuses a second zstd frame in one
//! archive. A zstd frame cannot be made by several cores. So with zstd the tree becomes several whole archives of about
//! 8 MiB, side by side on all cores. The other codecs are made of pieces inside of one stream, for one archive.

mod archives;

use crate::{
    error::{Error, Kind, Result},
    image::{Cmdline, Image, Init, initrd::ALIGNMENT},
    layout::Entry,
    losses,
    names::Named,
};
use formats::{
    Blob, Env, Tree,
    compress::{Codec, Encoding},
    cpio,
    kernel::{Facts, Form, Kernel},
};
use sha2::{Digest, Sha256};
use std::thread;

/// What a loader is given.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    /// The kernel as loaders take it, see [`loadable`].
    pub kernel: Blob,
    /// The initrd; `None` when there is nothing to put into one.
    pub initrd: Option<Blob>,
    /// The command line.
    pub cmdline: Cmdline,
    digest: [u8; 32],
    warnings: Vec<String>,
}

/// How the initrd shall be compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitrdCompression {
    /// With zstd if the kernel has it, else with gzip.
    #[default]
    Auto,
    /// With this codec.
    Fixed(Codec),
}

impl Named for InitrdCompression {
    const WHAT: &'static str = "initrd compression";

    fn all() -> Vec<Self> {
        [Self::Auto].into_iter().chain(Codec::written().map(Self::Fixed)).collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fixed(codec) => codec.name(),
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Auto => "the best that the kernel takes",
            Self::Fixed(_) => "",
        }
    }
}

impl Payload {
    /// Makes the initrd of an image, for a kernel that says this of itself: it is only asked where it matters what it can unpack.
    ///
    /// # Errors
    /// When the kernel is none, an initrd cannot hold a file (the error names it), the level is not one of the codec, or
    /// reading or spooling fails.
    pub(crate) fn build(
        image: &Image,
        compression: InitrdCompression,
        level: Option<u32>,
        facts: Option<&Result<Facts>>,
        env: &mut Env,
    ) -> Result<Self> {
        let kernel = Kernel::identify(&image.kernel)?;
        image.cmdline.check(kernel.cmdline_max())?;
        let mut warnings = Vec::new();
        let codec = choose(compression, facts, &mut warnings);
        let encoding = Encoding::new(codec, level)?;
        warnings.extend(losses::warnings("an initrd", "1970 to 2106", &cpio::losses(&image.rootfs)));
        let kernel = loadable(&image.kernel, &kernel, env)?;
        let (initrd, kernel_digest) = thread::scope(|scope| {
            let digest = scope.spawn(|| kernel.sha256());
            let initrd = initrd(image, encoding, env);
            (initrd, digest.join())
        });
        let (initrd, initrd_digest) = initrd?;
        let kernel_digest = kernel_digest.map_err(|_| Error::new(Kind::Bug, "hashing the kernel panicked"))??;
        let mut digest = Sha256::new_with_prefix(kernel_digest);
        digest.update(initrd_digest);
        digest.update(image.cmdline.as_str());
        Ok(Self { kernel, initrd, cmdline: image.cmdline.clone(), digest: digest.finalize().into(), warnings })
    }

    /// What is left of the payload when the root file system is elsewhere: an initrd has the microcode alone. `root` is a
    /// digest of that file system.
    ///
    /// # Errors
    /// When the kernel or the microcode is none, or reading or spooling fails.
    pub(crate) fn without_rootfs(image: &Image, root: &[u8; 32], env: &mut Env) -> Result<Self> {
        let kernel = loadable(&image.kernel, &Kernel::identify(&image.kernel)?, env)?;
        let mut initrd = Blob::default();
        let mut digest = Sha256::new_with_prefix(kernel.sha256()?);
        push_ucode(image, &mut initrd, &mut digest)?;
        digest.update(root);
        digest.update(image.cmdline.as_str());
        Ok(Self {
            kernel,
            initrd: (!initrd.is_empty()).then_some(initrd),
            cmdline: image.cmdline.clone(),
            digest: digest.finalize().into(),
            warnings: Vec::new(),
        })
    }

    /// It as a boot entry, started by our loader.
    ///
    /// # Errors
    /// When there is no loader for the kernel.
    pub(crate) fn entry(&self) -> Result<Entry> {
        Entry::new(&self.kernel, self.initrd.clone(), self.cmdline.as_str())
    }

    /// A value that is the same for the same payload, made while the initrd was: SHA-256 over those of its parts.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// What the user should know about the initrd.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

/// A kernel as loaders take it: neither firmware nor ours unpack a compressed `Image`; every other kernel unpacks itself.
///
/// # Errors
/// When it is damaged, or the spool cannot be written.
pub(crate) fn loadable(kernel: &Blob, identified: &Kernel, env: &mut Env) -> Result<Blob> {
    match identified.form {
        Form::CompressedImage => identified.unpack(&mut env.spool),
        Form::BzImage { .. } | Form::Image | Form::Zboot => Ok(kernel.clone()),
    }
}

/// The codec, and what there is to say about the choice.
fn choose(compression: InitrdCompression, facts: Option<&Result<Facts>>, warnings: &mut Vec<String>) -> Codec {
    let codecs = match facts {
        Some(Ok(facts)) => facts.initramfs_codecs.as_slice(),
        Some(Err(_)) | None => &[],
    };
    match compression {
        InitrdCompression::Fixed(codec) => {
            if codec != Codec::None && !codecs.is_empty() && !codecs.contains(&codec) {
                let has: Vec<_> = codecs.iter().map(|codec| codec.name()).collect();
                warnings.push(format!("the kernel cannot unpack an initrd compressed with {codec}: it has {}", has.join(", ")));
            }
            codec
        }
        InitrdCompression::Auto => {
            match facts {
                Some(Err(error)) => warnings.push(format!("the initrd is compressed with gzip, as the kernel cannot be asked: {error}")),
                Some(Ok(_)) if codecs.is_empty() => {
                    warnings.push("the initrd is compressed with gzip, as the kernel does not say what it can unpack".into());
                }
                _ => {}
            }
            Codec::best_of(codecs)
        }
    }
}

fn initrd(image: &Image, encoding: Encoding, env: &mut Env) -> Result<(Option<Blob>, [u8; 32])> {
    let mut initrd = Blob::default();
    let mut digest = Sha256::new();
    push_ucode(image, &mut initrd, &mut digest)?;
    let mut push = |tree: &Tree| {
        if tree.names.is_empty() {
            return Ok::<_, Error>(());
        }
        // Where Linux may look for the next one.
        initrd.pad_to(ALIGNMENT);
        for (archive, of_archive) in archives::compressed(tree, encoding, env)? {
            initrd.append(&archive);
            digest.update(of_archive);
        }
        Ok(())
    };
    match Init::of(&image.rootfs)? {
        Some(init) => init.parts()?.iter().try_for_each(push)?,
        None => push(&image.rootfs)?,
    }
    initrd.pad_to(ALIGNMENT);
    Ok(((!initrd.is_empty()).then_some(initrd), digest.finalize().into()))
}

/// The early cpio that an initrd begins with.
fn push_ucode(image: &Image, initrd: &mut Blob, digest: &mut Sha256) -> Result<()> {
    if let Some(ucode) = &image.ucode {
        check_early(ucode)?;
        initrd.append(ucode);
        initrd.pad_to(ALIGNMENT);
        digest.update(ucode.sha256()?);
    }
    Ok(())
}

/// Microcode is looked for before anything can be unpacked: only a plain archive is any use.
fn check_early(ucode: &Blob) -> Result<()> {
    let mut members = cpio::Members::new(ucode);
    match members.next() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error.at("CPU microcode")),
        None => Err(Error::bad_input("CPU microcode: not a cpio archive (newc), or a compressed one")),
    }
}

#[cfg(test)]
mod tests;
