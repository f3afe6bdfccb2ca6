//! `moby lint`: why a platform would refuse an image, or not boot it.

use super::{Global, values::named};
use crate::{
    error::{At, Error, Result},
    input::{self, Input},
    lint::{self, Finding, Severity, Subject},
    platforms::Platform,
};
use formats::plain;
use serde_json::json;
use std::path::PathBuf;

/// Say, before an upload, why a platform would refuse a disk or not boot it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  moby lint image.vhd --target azure
  moby lint image.qcow2 --target openstack --json
  moby lint image.vhd --target azure --secure-boot

One line for each rule that is broken: the rule, what was found, what is needed, what to do. \
A line that begins with \"unknown\" is about what cannot be told: what the loaders of others start is in files that are not read. \
The exit code is 2 when the platform would refuse the disk or not boot it, 0 when that is unknown, and when there are only warnings or nothing.

`moby formats --targets` lists the platforms. The rules are those that they document; nothing was tried on them.")]
pub(super) struct Lint {
    /// A disk, plain or compressed; - for standard input
    #[arg(value_name = "IMAGE|-")]
    input: PathBuf,
    /// The platform
    #[arg(long, short, value_name = "PLATFORM", value_parser = named::<&Platform>(), hide_possible_values = true)]
    target: &'static Platform,
    /// What the input is [default: told by its content]
    #[arg(long, value_name = "FORMAT", value_parser = named::<input::Kind>())]
    from: Option<input::Kind>,
    /// On machines with Secure Boot on
    #[arg(long)]
    secure_boot: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reading: super::ReadingArgs,
}

impl Lint {
    pub(super) fn run(&self, global: &Global) -> Result<()> {
        let mut env = super::env(global, &std::env::temp_dir())?;
        let place = || input::show(&self.input);
        let findings = match input::read(&self.input, self.from, &self.reading.of(&self.input), &mut env)?.input {
            Input::Uki(_) => return Err(Error::bad_input("is a unified kernel image, must be a disk").at(place())),
            Input::Container(_) => return Err(Error::bad_input("is a container image, must be a disk").at(place())),
            Input::Tar(_) => {
                let hint = format!("make the disk first: moby convert {} --target {}", place(), self.target.name);
                return Err(Error::bad_input("is a tar, must be a disk").hint(hint).at(place()));
            }
            Input::Disk { format, file, disk, .. } => {
                lint::lint(&Subject { format, file: &file, disk: &disk }, self.target, self.secure_boot, &mut env).at(place)?
            }
        };
        super::print(&if self.json { json(&findings) } else { text(&findings) })?;
        match findings.iter().filter(|finding| finding.severity == Severity::Error).count() {
            0 => Ok(()),
            errors => Err(Error::bad_input(format!("{} does not suit {}: {errors} of its rules are broken", place(), self.target.name))),
        }
    }
}

fn text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "Nothing was found.\n".to_owned();
    }
    findings.iter().map(|finding| line(finding) + "\n").collect()
}

/// A finding, in a line.
pub(super) fn line(finding: &Finding) -> String {
    let Finding { severity, rule, found, needed, fix } = finding;
    plain::line(&format!("{} {rule}: found {found}; needed {needed}; fix: {fix}", name(*severity)))
}

fn json(findings: &[Finding]) -> String {
    let row = |finding: &Finding| {
        let Finding { severity, rule, found, needed, fix } = finding;
        json!({"severity": name(*severity), "rule": rule, "found": found, "needed": needed, "fix": fix})
    };
    format!("{:#}\n", serde_json::Value::from_iter(findings.iter().map(row)))
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Unknown => "unknown",
        Severity::Warning => "warning",
    }
}
