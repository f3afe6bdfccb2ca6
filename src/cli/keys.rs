//! `moby keys`: keys of one's own for Secure Boot. The one command that takes randomness.

use super::{Global, signing::OWNER};
use crate::{
    convert::Reporter,
    emit,
    error::{At, Error, Kind, Result},
    input,
    names::Named,
    secure_boot::Key,
};
use formats::{Guid, Timestamp, x509::Certificate};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

const EXAMPLES: &str = "\
Examples:
  moby keys keys                                     PK, KEK and db, each as .key and .crt
  moby convert app.tar -f qcow2 --secure-boot keys   signed; a virtual machine without keys takes these
  moby convert app.tar -f qcow2 --secure-boot keys --efi-vars qemu

Keep the .key files where no machine that starts the images can read them. A file that is there is never replaced.";

/// Make keys of one's own for Secure Boot: the platform key, the key exchange key and the key that signs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Keys {
    /// Where they go; made where it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// What the certificates are called, before PK, KEK and db
    #[arg(long, value_name = "TEXT", default_value = "moby")]
    name: String,
    /// Length of the keys
    #[arg(long, value_name = "BITS", default_value = "2048", value_parser = super::values::named::<Bits>())]
    bits: Bits,
}

/// A length of keys that firmware takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bits(usize);

impl Named for Bits {
    const WHAT: &'static str = "length";

    fn all() -> Vec<Self> {
        vec![Self(2048), Self(3072), Self(4096)]
    }

    fn name(self) -> &'static str {
        match self.0 {
            3072 => "3072",
            4096 => "4096",
            _ => "2048",
        }
    }

    fn about(self) -> &'static str {
        match self.0 {
            2048 => "what all firmware takes",
            _ => "",
        }
    }
}

/// What no certificate of ours expires before: RFC 5280, 4.1.2.5, has this for those without an end.
const NEVER: Timestamp = Timestamp(253_402_300_799);

impl Keys {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let ui = global.ui();
        let from = super::source_date_epoch()?;
        let names = ["PK", "KEK", "db"];
        let paths = names.iter().flat_map(|name| ["key", "crt"].map(|ending| format!("{name}.{ending}"))).chain([OWNER.to_owned()]);
        for path in paths.map(|name| self.directory.join(name)) {
            if path.symlink_metadata().is_ok() {
                return Err(Error::bad_input("exists already").hint("name a directory without keys").at(input::show(&path)));
            }
        }
        // All of it is made before anything is written.
        let step = ui.step("make");
        let mut files = Vec::new();
        for name in names {
            let key = Key::generate(self.bits.0)?;
            let called = format!("{} {name}", self.name);
            let certificate = Certificate::self_signed(&called, random()?, from, NEVER, &key).at(|| "--name")?;
            files.push((format!("{name}.key"), key.pem()?, 0o600));
            files.push((format!("{name}.crt"), certificate.pem(), 0o644));
        }
        files.push((OWNER.to_owned(), format!("{}\n", Guid::random(random()?)), 0o644));
        drop(step);
        let directory = emit::make_directory(&self.directory)?;
        for (name, text, mode) in files {
            let path = self.directory.join(name);
            write(&path, &text, mode).at(|| input::show(&path))?;
            ui.note(format_args!("{:>8}: {}", "made", input::show(&path)));
        }
        drop(directory);
        Ok(())
    }
}

fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::new(Kind::Environment, "the system has no randomness").because(error.to_string()))?;
    Ok(bytes)
}

/// A file that was not there, for its owner alone where the mode says so from the beginning.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _: u32 = mode;
    let written = options.open(path)?.write_all(text.as_bytes());
    written.map_err(|error| {
        // The error is what matters.
        let _: std::io::Result<()> = fs::remove_file(path);
        error.into()
    })
}
