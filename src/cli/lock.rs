//! `moby lock`: which images a configuration takes is written down.

use super::{
    Global,
    images::ImageArgs,
    yml::{configuration, lock_beside},
};
use crate::{
    convert::Reporter,
    emit::{self, Manner, Target},
    error::{At, Result},
    images::{self, Lock},
    input::STDIN,
    linuxkit,
};
use formats::{Blob, oci::Platform};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  moby lock app.yml                                  app.lock: every image with its digest
  moby build --locked app.yml -f qcow2               those images, and no others
  moby lock app.yml --arch amd64 --arch arm64 --pull
  moby lock app.yml -o -                             to look at";

/// Write down which images a configuration takes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LockCommand {
    /// Configurations, merged from left to right; - for standard input
    #[arg(value_name = "YML|-", required = true)]
    configurations: Vec<PathBuf>,
    /// The file to write [default: the name of the last configuration, ending in .lock]; - for standard output
    #[arg(long, short, value_name = "FILE|-")]
    output: Option<PathBuf>,
    /// The architectures, as Go names them: amd64, arm64, riscv64, ... [default: this machine's]
    #[arg(long, value_name = "ARCH", value_delimiter = ',', default_value = images::host_arch(), hide_default_value = true)]
    arch: Vec<String>,
    #[command(flatten)]
    images: ImageArgs,
}

impl LockCommand {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let ui = global.ui();
        let output = self.output.clone().map_or_else(|| lock_beside(&self.configurations), Ok)?;
        let config = configuration(&self.configurations, &|url, most| self.images.document(url, most))?;
        let mut env = super::env(global, &std::env::temp_dir())?;
        let sources = self.images.sources(&mut env)?;
        let mut lock = Lock::default();
        let step = ui.step("fetch");
        for arch in &self.arch {
            let platform = Platform::linux(arch);
            for (reference, is_layout) in linuxkit::references(&config) {
                let name = &reference.expanded;
                let found = sources.find(name, &platform, is_layout, &*step).at(|| &reference.written.at)?.image;
                let digest = found.index.map_or(found.manifest.digest, |index| index.digest);
                lock.insert(name, &platform.to_string(), digest);
            }
        }
        drop(step);
        let target = if output == Path::new(STDIN) { Target::Stdout } else { Target::Path(output) };
        emit::emit(&[(target.clone(), Blob::bytes(lock.to_string().into_bytes()).into())], Manner::default(), &formats::Silent)?;
        if target != Target::Stdout {
            ui.note(format_args!("{:>8}: {target}", "made"));
        }
        Ok(())
    }
}
