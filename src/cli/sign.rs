//! `moby sign`: an EFI program gets a signature.

use super::{
    Global,
    signing::{self, SigningArgs},
};
use crate::{
    convert::Reporter,
    emit::{self, Manner, Target},
    error::{At, Error, Result},
    input::{self, FileId, Opening, STDIN},
    secure_boot::{Given, Signing},
    targets,
};
use formats::{Blob, Silent, authenticode};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  moby sign linux.efi --sign-key db.key --sign-cert db.crt -o linux.signed.efi
  moby sign linux.efi --sign-command 'openssl pkeyutl -sign -inkey db.key -pkeyopt digest:sha256' --sign-cert db.crt
  moby sign linux.efi --sign-cert db.crt --to-be-signed digest        32 bytes, for a key that is elsewhere
  moby sign linux.efi --sign-cert db.crt --signature signature        with what that key made of them";

/// Sign an EFI program for Secure Boot: a unified kernel image, a loader, a kernel
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Sign {
    /// The program; signatures that it has stay
    #[arg(value_name = "FILE.efi|-")]
    input: PathBuf,
    /// The signed program [default: FILE.signed.efi]; - for standard output
    #[arg(long, short, value_name = "FILE|-", conflicts_with = "to_be_signed")]
    output: Option<PathBuf>,
    /// Fail when the output exists, instead of replacing it
    #[arg(long)]
    no_clobber: bool,
    #[command(flatten)]
    signing: SigningArgs,
    /// Write the SHA-256 that is to be signed (RSA, PKCS #1 v1.5) to this file, and no program; - for standard output
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["sign_key", "sign_command", "signature"], help_heading = "Secure Boot")]
    to_be_signed: Option<PathBuf>,
    /// The signature of that, as bytes
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sign_key", "sign_command"], help_heading = "Secure Boot")]
    signature: Option<PathBuf>,
}

impl Sign {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let ui = global.ui();
        let target = self.target()?;
        let mut env = super::env(global, &std::env::temp_dir())?;
        let program = input::open_plain(&self.input, &Opening::default(), &mut env).at(|| input::show(&self.input))?;
        let inputs: Vec<_> = FileId::of(&self.input).into_iter().chain(self.signing.files().filter_map(FileId::of)).collect();
        targets::refuse_inputs([&target], &inputs)?;
        let body = if self.to_be_signed.is_some() {
            Blob::bytes(authenticode::to_be_signed(&program).at(|| input::show(&self.input))?)
        } else {
            let signing = self.signing(&mut env)?;
            let step = ui.step("sign");
            let signed = signing.sign(&program).at(|| input::show(&self.input))?;
            drop(step);
            signed
        };
        let manner = Manner { no_clobber: self.no_clobber, ..Manner::default() };
        emit::emit(&[(target.clone(), body.into())], manner, &Silent)?;
        if target != Target::Stdout {
            ui.note(format_args!("{:>8}: {target}", "made"));
        }
        Ok(())
    }

    fn signing(&self, env: &mut formats::Env) -> Result<Signing> {
        let Some(path) = &self.signature else {
            let none = || {
                Error::bad_input("there is nothing to sign with")
                    .hint("--sign-key FILE --sign-cert FILE, or --sign-command, or --signature")
            };
            return self.signing.signing(env)?.ok_or_else(none);
        };
        let certificates = self.signing.certificates(env)?;
        let first = certificates
            .first()
            .ok_or_else(|| Error::bad_input("--signature needs the certificate of its key").hint("--sign-cert FILE"))?;
        let signer = Given { public: first.public_key()?, signature: signing::read(path, env)? };
        Signing::new(certificates, Arc::new(signer))
    }

    fn target(&self) -> Result<Target> {
        let is_stdin = self.input == Path::new(STDIN);
        match self.to_be_signed.as_ref().or(self.output.as_ref()) {
            Some(path) if path == Path::new(STDIN) => Ok(Target::Stdout),
            Some(path) => Ok(Target::Path(path.clone())),
            None if is_stdin => Err(Error::bad_input("standard input has no name to call the output after").hint("name it with -o")),
            None => {
                let stem = self
                    .input
                    .extension()
                    .filter(|ending| ending.eq_ignore_ascii_case("efi"))
                    .map_or(self.input.clone(), |_| self.input.with_extension(""));
                let mut name = stem.into_os_string();
                name.push(".signed.efi");
                Ok(Target::Path(name.into()))
            }
        }
    }
}
