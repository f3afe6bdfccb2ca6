//! SD cards.

use super::{HEEDED_BY_INITRDS, Job, Recipe};
use crate::{
    error::{Error, Result},
    layout::{self, Board, Entry},
    request::{self, Request, Setting},
    run::Run,
};
use formats::{
    Blob, Limits,
    kernel::{Arch, Kernel},
};

/// The card that a board boots.
#[derive(Debug)]
pub(crate) struct SdCard {
    /// What it is for.
    pub(crate) board: &'static Board,
}

impl Recipe for SdCard {
    fn heeds(&self, _: &Request) -> Vec<&'static Setting> {
        let mut heeded = vec![&request::SIZE, &request::FIRMWARE, &request::SEED];
        heeded.extend(HEEDED_BY_INITRDS);
        heeded
    }

    fn plan(&self, request: &Request) -> Result<Job> {
        let board = self.board;
        request.size.check(Limits::default())?;
        if request.pi_firmware.is_empty() {
            return Err(Error::unsupported(format!("a {} needs Raspberry Pi's firmware, which is not ours to give", board.name))
                .hint("give with --firmware the directory boot of Raspberry Pi's repository \"firmware\""));
        }
        Ok(Box::new(move |run| card(run, board).map(|card| [card].into())))
    }
}

fn card(run: &mut Run, board: &'static Board) -> Result<Blob> {
    let image = run.image()?;
    let kernel = Kernel::identify(&image.kernel)?;
    if kernel.arch != Arch::Aarch64 {
        return Err(Error::unsupported(format!("the kernel is for {}, a {} needs one for {}", kernel.arch, board.name, Arch::Aarch64)));
    }
    // The firmware reads a plain `Image`; unlike UEFI it does not start one that unpacks itself.
    let kernel = kernel.unpack(&mut run.env.spool)?;
    let payload = run.payload()?;
    let entry = Entry { kernel, ..payload.entry()? };
    let request = run.request();
    let card = layout::SdCard { board, size: request.size, firmware: &request.pi_firmware, boot: &image.boot };
    card.image(&entry, &run.ids_of(payload.digest()), run.env.time)
}
