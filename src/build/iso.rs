//! ISOs: those that boot an initrd like a disk, and those that hold the root file system themselves.

use super::{Build, entry, entry_of};
use crate::{
    error::Result,
    image::{Cmdline, Image},
    layout::{Boot, Entry, Iso},
    payload,
};
use formats::{
    Blob, Env, Ids, OptionSpec, Options, Tree, Values,
    iso9660::{self, APPLICATION_MAX, BLOCK, DESCRIPTORS_END, IDENTIFIER_MAX, Volume},
    kernel::Kernel,
};

/// The device that a CD is to Linux: what LinuxKit says too.
const CD: &str = "root=/dev/sr0";

/// The options of every ISO.
pub static OPTIONS: [OptionSpec; 3] = [
    OptionSpec { name: "volume_id", values: Values::Text { max: IDENTIFIER_MAX }, default: "MOBY", help: "volume identifier, the label" },
    OptionSpec { name: "application_id", values: Values::Text { max: APPLICATION_MAX }, default: "MOBY", help: "application identifier" },
    OptionSpec { name: "joliet", values: Values::Flag, default: "off", help: "Unicode names for Windows, besides Rock Ridge's" },
];

impl Build {
    /// The ISO that boots kernel and initrd, on the firmware of its row.
    ///
    /// # Errors
    /// When the image does not make one, or `--boot` contradicts the row.
    pub fn iso(&mut self, row: Boot, options: &Options) -> Result<Blob> {
        let boot = row.and(self.request.boot)?;
        self.payload()?;
        let payload = self.payload.as_ref().expect("it was just made");
        let ids = self.ids_of(payload.digest());
        layout(boot, options, None).image(&entry(payload)?, &ids, self.env.time)
    }

    /// The ISO that boots the kernel with the root file system on the ISO itself.
    ///
    /// # Errors
    /// When the image does not make one, or `--boot` contradicts the row.
    pub fn root_iso(&mut self, row: Boot, options: &Options) -> Result<Blob> {
        let boot = row.and(self.request.boot)?;
        let image = self.source.image()?;
        let entry = root_entry(image, &mut self.env)?;
        let layout = layout(boot, options, Some(&image.rootfs));
        // There is no initrd to hash: the ISO without identifiers stands for its content.
        let ids = self.ids_of(&layout.image(&entry, &Ids::from_seed(&[]), self.env.time)?.sha256()?);
        let iso = layout.image(&entry, &ids, self.env.time)?;
        self.warn_of_losses();
        Ok(iso)
    }

    /// The kernel, the root file system as an ISO that nothing boots from, and the command line as it is.
    ///
    /// # Errors
    /// When ISO 9660 cannot hold a file.
    pub fn kernel_and_root_iso(&mut self, options: &Options) -> Result<(Blob, Blob, Cmdline)> {
        let image = self.source.image()?;
        let volume = Volume {
            tree: &image.rootfs,
            identifier: options.text("volume_id"),
            application: options.text("application_id"),
            time: self.env.time,
            joliet: options.flag("joliet"),
            boot: None,
            start: DESCRIPTORS_END,
            placed: Vec::new(),
            tail: 0,
            size_multiple: BLOCK,
        };
        let (iso, cmdline) = (volume.write()?, image.cmdline.clone());
        self.warn_of_losses();
        Ok((self.kernel_file()?, iso, cmdline))
    }

    fn warn_of_losses(&mut self) {
        let Ok(image) = self.source.image() else { return };
        for warning in payload::lost("an ISO", "1900 to 2155", &iso9660::losses(&image.rootfs)) {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }
}

fn layout<'a>(boot: Boot, options: &'a Options, rootfs: Option<&'a Tree>) -> Iso<'a> {
    Iso { boot, identifier: options.text("volume_id"), application: options.text("application_id"), joliet: options.flag("joliet"), rootfs }
}

/// Kernel and command line; microcode is the only initrd, which Linux takes for none.
fn root_entry(image: &Image, env: &mut Env) -> Result<Entry> {
    let mut cmdline = image.cmdline.clone();
    if !cmdline.has_root() {
        cmdline.append(CD)?;
    }
    let kernel = payload::loadable(&image.kernel, &Kernel::identify(&image.kernel)?, env)?;
    entry_of(&kernel, image.ucode.clone(), &cmdline)
}
