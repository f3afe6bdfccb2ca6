//! `moby check`: whether a disk image is sound.

use super::{Global, notes, signing, values::named};
use crate::{
    convert::Reporter,
    error::{At, CHECK_EXIT_CODES, Error, Kind, Result, checked as code},
    image::disk::Loaders,
    input::{self, Opening},
    secure_boot,
};
use formats::{Blob, Check as Findings, Env, Format, Reading, authenticode, pe, plain, x509::Certificate, zip};
use serde_json::{Value, json};
use std::{path::PathBuf, process::ExitCode, sync::Arc};

const EXAMPLES: &str = "\
Examples:
  moby check disk.qcow2
  moby check disk.vhdx --json
  moby check linux.efi --db-cert db.crt              would firmware that trusts this certificate start it?";

/// Check the structures of a disk image, and signatures for Secure Boot
#[derive(Debug, clap::Args)]
#[command(after_help = notes::with_exit_codes(EXAMPLES, "Exit codes, those of qemu-img check", CHECK_EXIT_CODES, "Nothing is repaired."))]
pub(super) struct Check {
    /// A disk image or an EFI program, plain or compressed; - for standard input
    #[arg(value_name = "FILE|-")]
    input: PathBuf,
    /// What the input is [default: told by its content]
    #[arg(long, short = 'f', value_name = "FORMAT", value_parser = named::<&dyn Format>())]
    from: Option<&'static dyn Format>,
    /// Check also an image that another program, such as QEMU, writes to
    #[arg(long)]
    force: bool,
    /// Of an OVA or an archive with several disks, this one: its identifier, or its name there
    #[arg(long, value_name = "ID")]
    disk: Option<String>,
    /// Check also that firmware with Secure Boot on would start it, or the disk in it, when it trusts these certificates
    #[arg(long, value_name = "FILE")]
    db_cert: Vec<PathBuf>,
    /// As JSON, with qemu-img's keys
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(&self, global: &Global) -> ExitCode {
        let checked = super::env(global, &std::env::temp_dir()).and_then(|mut env| self.check(global, &mut env));
        let (format, findings) = match checked {
            Ok(checked) => checked,
            Err(error) if error.kind() == Kind::Unsupported => return super::fail_with(&error, code::NOT_SUPPORTED),
            Err(error) => return super::fail_with(&error, code::INCOMPLETE),
        };
        let text = if self.json { format!("{:#}\n", self.report(format, &findings)) } else { text(&findings) };
        match super::print(&text) {
            Err(error) => super::fail_with(&error, code::INCOMPLETE),
            Ok(()) => ExitCode::from(match findings {
                Findings { corruptions: 1.., .. } => code::CORRUPT,
                Findings { leaks: 1.., .. } => code::LEAKS,
                _ => code::SOUND,
            }),
        }
    }

    fn check(&self, global: &Global, env: &mut Env) -> Result<(&'static str, Findings)> {
        let place = || input::show(&self.input);
        let opening = Opening { disk: self.disk.clone(), force: self.force, ..Opening::default() };
        let mut file = input::open(&self.input, &opening, env)?;
        if self.from.is_none() {
            // A sum of a manifest that is wrong is a finding; what else is wrong is no disk that could be checked.
            match input::packed(&file, &opening, env).at(place) {
                Ok(Some(disk)) => file = disk,
                Ok(None) => {}
                Err(error) if error.kind() == Kind::BadInput => {
                    let mut findings = Findings::default();
                    findings.corrupt(|| error.to_string());
                    return Ok((if zip::probe(&file)? { "zip" } else { "ova" }, findings));
                }
                Err(error) => return Err(error),
            }
        }
        let format: &dyn Format = match self.from.as_ref() {
            Some(format) => *format,
            None if pe::probe(&file)? => return Ok(("efi", self.check_program(&file, env).at(place)?)),
            None => input::probe(&file).at(place)?.ok_or_else(|| {
                Error::unsupported("is of no format that can be checked").hint("say which one it is with --from").at(place())
            })?,
        };
        let step = global.ui().step("check");
        env.progress = Arc::clone(&step);
        let findings = format.check(&file, env).at(place);
        env.progress = Arc::new(formats::Silent);
        let mut findings = match findings {
            // A raw disk has no structures, and signatures all the same.
            Err(error) if error.kind() == Kind::Unsupported && !self.db_cert.is_empty() => Findings::default(),
            findings => findings?,
        };
        if !self.db_cert.is_empty() && findings.corruptions == 0 {
            let disk = format.decode(&file, &Reading::default(), env).at(place)?;
            let loaders = Loaders::of(&disk, &mut env.spool).at(place)?;
            for refusal in secure_boot::refusals_of_disk(&loaders, &signing::certificates(&self.db_cert, env)?).at(place)? {
                findings.corrupt(|| refusal);
            }
        }
        Ok((format.name(), findings))
    }

    /// What is wrong with the signatures of an EFI program: unsigned it is sound, where nobody says what should have signed it.
    fn check_program(&self, program: &Blob, env: &mut Env) -> Result<Findings> {
        let mut findings = Findings::default();
        for signature in authenticode::signatures(program)?.iter().filter(|signature| !(signature.digest_matches && signature.is_valid)) {
            let signer = signature.certificates.first().map(Certificate::subject).unwrap_or_default();
            findings.corrupt(|| format!("the signature of {signer} is not of this program"));
        }
        if !self.db_cert.is_empty()
            && let Some(why) = secure_boot::refusal(program, &signing::certificates(&self.db_cert, env)?)?
        {
            findings.corrupt(|| format!("it {why}"));
        }
        Ok(findings)
    }

    fn report(&self, format: &str, findings: &Findings) -> Value {
        let mut report = json!({
            "filename": self.input.to_string_lossy(),
            "format": format,
            "check-errors": 0,
            "corruptions": findings.corruptions,
            "leaks": findings.leaks,
            "messages": findings.messages,
        });
        if let Some(clusters) = findings.clusters {
            report["image-end-offset"] = clusters.end.into();
            report["total-clusters"] = clusters.total.into();
            report["allocated-clusters"] = clusters.allocated.into();
            report["compressed-clusters"] = clusters.compressed.into();
        }
        report
    }
}

fn text(findings: &Findings) -> String {
    let Findings { corruptions, leaks, messages, clusters } = findings;
    let mut text: String = messages.iter().map(|message| plain::line(message) + "\n").collect();
    let more = (corruptions + leaks).saturating_sub(u64::try_from(messages.len()).unwrap_or(u64::MAX));
    match (corruptions, leaks) {
        (0, 0) => text += "No errors were found.\n",
        _ => text += &format!("{corruptions} corruptions, {leaks} leaks{}.\n", if more > 0 { ", the first of them above" } else { "" }),
    }
    if let Some(clusters) = clusters {
        text +=
            &format!("{} of {} clusters are allocated, {} of them compressed.\n", clusters.allocated, clusters.total, clusters.compressed);
    }
    text
}
