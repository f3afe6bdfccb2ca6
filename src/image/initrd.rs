//! An initrd taken apart: microcode in front, then archives, compressed or not, that Linux unpacks one after the other
//! (`early-userspace/buffer-format.rst`). What `src/payload.rs` puts together.

use crate::error::{At, Error, Result};
use formats::{
    Blob, Spool, Tree,
    compress::{self, Codec},
    cpio,
    tree::Builder,
    units,
};
use std::io::Read;

/// Where the kernel looks for microcode in an early archive (x86/microcode.rst).
const MICROCODE: &[u8] = b"kernel/x86/microcode";
/// Most bytes that an initrd unpacks to.
const UNPACKED_MAX: u64 = 64 * units::GIB;
/// Linux finds an early cpio, and everything behind it, at multiples of this, and an initrd of ours ends at one.
pub(crate) const ALIGNMENT: u64 = 4;

/// What is in an initrd.
#[derive(Debug, Default)]
pub struct Initrd {
    /// The early archive with CPU microcode, with the zeros behind it.
    pub ucode: Option<Blob>,
    /// What the guest finds as its root.
    pub rootfs: Tree,
    /// How the last archive is compressed.
    pub codec: Option<Codec>,
}

impl Initrd {
    /// Takes an initrd apart. What is compressed goes to the spool.
    ///
    /// # Errors
    /// When an archive or a compressed stream is damaged, or its members make no file system.
    pub fn read(initrd: &Blob, spool: &mut Spool) -> Result<Self> {
        let mut this = Self::default();
        let mut tree = Builder::default();
        let mut at = 0;
        while let Some(start) = first_set(&initrd.slice(at..initrd.len()))? {
            at += start;
            at += this.part(&initrd.slice(at..initrd.len()), &mut tree, spool).at(|| format!("byte {at}"))?;
        }
        this.rootfs = tree.finish();
        Ok(this)
    }

    /// What an initrd begins with, as Linux has it (`init/initramfs.c`): archives, or one compressed stream of whole archives.
    /// Says where it ends.
    fn part(&mut self, initrd: &Blob, tree: &mut Builder, spool: &mut Spool) -> Result<u64> {
        let codec = Codec::of(initrd)?;
        let taken = if codec == Codec::None {
            let len = archives(initrd, tree, &mut self.ucode)?;
            if len == 0 {
                return Err(Error::bad_input("the initrd goes on with neither a cpio archive nor a compressed one"));
            }
            len
        } else {
            let (archive, taken) = unpack(codec, initrd, spool).at(|| format!("{codec} archive"))?;
            let len = archives(&archive, tree, &mut None).at(|| format!("{codec} archive"))?;
            if first_set(&archive.slice(len..archive.len()))?.is_some() {
                return Err(Error::bad_input(format!("behind {len} bytes of cpio archives stands something else")).at(codec));
            }
            taken
        };
        self.codec = Some(codec);
        Ok(taken)
    }
}

/// Adds the archives at the front of a blob to a tree, and says where they end. The first may be microcode.
fn archives(blob: &Blob, tree: &mut Builder, ucode: &mut Option<Blob>) -> Result<u64> {
    let mut members = cpio::Members::new(blob);
    let mut archive = Vec::new();
    let mut number = 1;
    let mut start = 0;
    loop {
        let member = members.next().transpose()?;
        if member.is_none() || members.archives() > number {
            let end = member.as_ref().map_or_else(|| members.position(), |member| member.at);
            let early = number == 1 && ucode.is_none() && is_microcode(&archive);
            let members = std::mem::take(&mut archive);
            if early {
                *ucode = Some(blob.slice(start..end));
            } else {
                cpio::add_to(members, tree)?;
            }
            (number, start) = (number + 1, end);
        }
        match member {
            Some(member) => archive.push(member),
            None if members.is_inside() => {
                let error = Error::bad_input("a cpio archive ends without its trailer");
                return Err(error.hint("Linux unpacks each compressed stream on its own: one has to hold whole archives"));
            }
            None => return Ok(members.position()),
        }
    }
}

const S_IFREG: u32 = 0o100_000;

/// Whether an archive has microcode and nothing else.
fn is_microcode(members: &[cpio::Member]) -> bool {
    let is_file = |member: &&cpio::Member| member.kind() == S_IFREG;
    let leads_there = |path: &[u8]| path == b"." || MICROCODE.starts_with(path) || path.starts_with(MICROCODE);
    members.iter().any(|member| is_file(&member)) && members.iter().all(|member| leads_there(&member.name))
}

/// The content of the stream that a blob begins with, and how long that is. A second frame or member is unpacked on its own.
fn unpack(codec: Codec, blob: &Blob, spool: &mut Spool) -> Result<(Blob, u64)> {
    let mut stream = compress::stream(codec, blob.reader())?;
    let unpacked = spool.copy(&mut Read::by_ref(&mut stream).take(UNPACKED_MAX))?;
    if unpacked.len() == UNPACKED_MAX {
        return Err(Error::bad_input(format!("it unpacks to {} or more", units::show_size(UNPACKED_MAX))));
    }
    Ok((unpacked, stream.taken()))
}

/// Where the first byte that is not 0 stands.
fn first_set(blob: &Blob) -> Result<Option<u64>> {
    let mut chunk = [0; 4096];
    let mut at = 0;
    while at < blob.len() {
        let len = units::index((blob.len() - at).min(units::bytes(chunk.len())));
        blob.read_at(at, &mut chunk[..len])?;
        if let Some(place) = chunk[..len].iter().position(|byte| *byte != 0) {
            return Ok(Some(at + units::bytes(place)));
        }
        at += units::bytes(len);
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
