//! SD cards.

use super::{Build, entry};
use crate::{
    error::{Error, Result},
    layout::{Board, Entry, SdCard},
};
use formats::{
    Blob,
    kernel::{Arch, Kernel},
};

impl Build {
    /// The card that this board boots.
    ///
    /// # Errors
    /// When the kernel is not for it, or the firmware that the user gave is not enough.
    pub fn sd_card(&mut self, board: &'static Board) -> Result<Blob> {
        let image = self.source.image()?;
        let kernel = Kernel::identify(&image.kernel)?;
        if kernel.arch != Arch::Aarch64 {
            return Err(Error::unsupported(format!("the kernel is for {}, a {} needs one for aarch64", kernel.arch, board.name)));
        }
        if self.request.firmware.is_empty() {
            return Err(Error::unsupported(format!("a {} needs Raspberry Pi's firmware, which is not ours to give", board.name))
                .hint("give with --firmware the directory boot of Raspberry Pi's repository \"firmware\""));
        }
        // The firmware reads a plain `Image`; unlike UEFI it does not start one that unpacks itself.
        let kernel = kernel.unpack(&mut self.env.spool)?;
        let payload = self.payload()?;
        let (entry, digest) = (Entry { kernel, ..entry(payload)? }, *payload.digest());
        let card = SdCard { board, size: self.request.size, firmware: &self.request.firmware, boot: &self.source.image()?.boot };
        card.image(&entry, &self.ids_of(&digest), self.env.time)
    }
}
