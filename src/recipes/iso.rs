//! ISOs: those that boot an initrd like a disk, and those that hold the root file system themselves.

use super::{HEEDED_BY_INITRDS, Job, Recipe, heeded_by_signed, kernel::cmdline_file};
use crate::{
    bootable::Start,
    error::Result,
    image::Image,
    layout::{self, Entry, Firmware},
    losses, payload,
    request::{self, Request, Root, Setting},
    run::Run,
};
use formats::{
    Blob, Env, Ids, OptionSpec, Options, Tree, Values,
    iso9660::{self, APPLICATION_MAX, BLOCK, DESCRIPTORS_END, IDENTIFIER_MAX, Volume},
    kernel::Kernel,
};

/// The device that a CD is to Linux: what LinuxKit says too.
const CD: &str = "root=/dev/sr0";

static OPTIONS: [OptionSpec; 3] = [
    OptionSpec { name: "volume_id", values: Values::Text { max: IDENTIFIER_MAX }, default: "MOBY", help: "volume identifier, the label" },
    OptionSpec { name: "application_id", values: Values::Text { max: APPLICATION_MAX }, default: "MOBY", help: "application identifier" },
    OptionSpec { name: "joliet", values: Values::Flag, default: "off", help: "Unicode names for Windows, besides Rock Ridge's" },
];

/// A CD that boots.
#[derive(Debug)]
pub(crate) struct Iso {
    /// Which firmware boots it; `--boot` goes before it where this is [`Firmware::Hybrid`].
    pub(crate) firmware: Firmware,
    /// Whether the root file system stands on the CD itself, and not in an initrd.
    pub(crate) is_root: bool,
}

impl Recipe for Iso {
    fn options(&self) -> &'static [OptionSpec] {
        &OPTIONS
    }

    fn heeds(&self, request: &Request) -> Vec<&'static Setting> {
        let mut heeded = vec![&request::BOOT, &request::SEED];
        if !self.is_root {
            heeded.extend(HEEDED_BY_INITRDS);
            heeded.extend(heeded_by_signed(request, self.firmware.and(request.firmware).unwrap_or(self.firmware)));
        }
        heeded
    }

    fn plan(&self, request: &Request) -> Result<Job> {
        let (firmware, options) = (self.firmware.and(request.firmware)?, request.options_of(&OPTIONS, &[])?);
        Ok(match self.is_root {
            true => Box::new(move |run| root_iso(run, firmware, &options).map(|iso| [iso].into())),
            false => Box::new(move |run| {
                let (entry, ids) = run.entry(Root::Initrd)?;
                run.doubt_stub(firmware, &entry);
                Ok([layout(firmware, &options, None).image(&entry, &ids, run.env.time)?].into())
            }),
        })
    }
}

/// The ISO that boots the kernel with the root file system on the ISO itself.
fn root_iso(run: &mut Run, firmware: Firmware, options: &Options) -> Result<Blob> {
    run.refuse_init()?;
    let image = run.image()?;
    let entry = root_entry(&image, &mut run.env)?;
    run.doubt(Start::Mounted)?;
    run.doubt_stub(firmware, &entry);
    let (layout, time) = (layout(firmware, options, Some(&image.rootfs)), run.env.time);
    // There is no initrd to hash: the ISO without identifiers stands for its content.
    let content = if run.request().seed.is_none() { layout.image(&entry, &Ids::from_seed(&[]), time)?.sha256()? } else { [0; 32] };
    let iso = layout.image(&entry, &run.ids_of(&content), time)?;
    warn_of_losses(run, &image);
    Ok(iso)
}

/// Kernel and command line; microcode is the only initrd, which Linux takes for none.
fn root_entry(image: &Image, env: &mut Env) -> Result<Entry> {
    let mut cmdline = image.cmdline.clone();
    if !cmdline.has_root() {
        cmdline.append(CD)?;
    }
    let kernel = payload::loadable(&image.kernel, &Kernel::identify(&image.kernel)?, env)?;
    Entry::new(&kernel, image.ucode.clone(), cmdline.as_str())
}

fn layout<'a>(firmware: Firmware, options: &'a Options, rootfs: Option<&'a Tree>) -> layout::Iso<'a> {
    let (identifier, application) = (options.text("volume_id"), options.text("application_id"));
    layout::Iso { firmware, identifier, application, joliet: options.flag("joliet"), rootfs }
}

fn warn_of_losses(run: &mut Run, image: &Image) {
    run.warn(losses::warnings("an ISO", "1900 to 2155", &iso9660::losses(&image.rootfs)));
}

/// The kernel, the root file system as an ISO that nothing boots from, and the command line as it is.
#[derive(Debug)]
pub(crate) struct KernelIso;

impl Recipe for KernelIso {
    fn options(&self) -> &'static [OptionSpec] {
        &OPTIONS
    }

    fn heeds(&self, _: &Request) -> Vec<&'static Setting> {
        vec![&request::DECOMPRESS_KERNEL]
    }

    fn plan(&self, request: &Request) -> Result<Job> {
        let options = request.options_of(&OPTIONS, &[])?;
        Ok(Box::new(move |run| {
            run.refuse_init()?;
            let image = run.image()?;
            let volume = Volume {
                tree: &image.rootfs,
                identifier: options.text("volume_id"),
                application: options.text("application_id"),
                time: run.env.time,
                joliet: options.flag("joliet"),
                boot: None,
                start: DESCRIPTORS_END,
                placed: Vec::new(),
                tail: 0,
                size_multiple: BLOCK,
            };
            let iso = volume.write()?;
            warn_of_losses(run, &image);
            Ok([run.kernel_file()?, iso, cmdline_file(&image.cmdline)].into())
        }))
    }
}
