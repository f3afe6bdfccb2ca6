//! `moby formats`: what can be made.

use super::values::named;
use crate::{
    error::Result,
    outputs::{OUTPUTS, Output},
    platforms::{PLATFORMS, Platform},
    root::ROOT_FILE_SYSTEMS,
};
use formats::{OptionSpec, units::show_size};

/// List every output format, its files and its options
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  moby formats\n  moby formats qcow2\n  moby formats --targets --json")]
pub(super) struct Formats {
    /// One format: its files, its firmware and its options
    #[arg(value_name = "FORMAT", value_parser = named::<&Output>(), hide_possible_values = true)]
    format: Option<&'static Output>,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// The options (--opt), and which formats have them
    #[arg(long, conflicts_with = "format")]
    options: bool,
    /// The platforms that --target names, instead of formats
    #[arg(long, conflicts_with_all = ["format", "options"])]
    targets: bool,
}

impl Formats {
    pub(super) fn run(&self) -> Result<()> {
        super::print(&match self.format {
            Some(format) if self.json => format!("{:#}\n", json(format)),
            Some(format) => one(format),
            None => match (self.targets, self.json) {
                (false, false) if self.options => options(),
                (false, false) => table(),
                (false, true) => format!("{:#}\n", OUTPUTS.iter().map(json).collect::<serde_json::Value>()),
                (true, false) => platforms_table(),
                (true, true) => platforms_json(),
            },
        })
    }
}

fn table() -> String {
    let mut text = format!("{:18} {:44} {:12} {}\n", "FORMAT", "FILES", "FIRMWARE", "WHAT IT IS");
    for output in OUTPUTS {
        text += &format!("{:18} {:44} {:12} {}\n", output.name, files(output).join(" "), output.firmware, output.about);
    }
    text
}

/// All about one format.
fn one(output: &Output) -> String {
    let targets: Vec<_> = PLATFORMS.iter().filter(|platform| platform.output == output.name).map(|platform| platform.name).collect();
    let facts = [("files", files(output).join(" ")), ("firmware", output.firmware.to_owned()), ("targets", targets.join(" "))];
    let facts = facts.iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| format!("{key:14} {value}\n"));
    let mut text = format!("{}: {}\n\n{}", output.name, output.about, facts.collect::<String>());
    if !output.options().is_empty() {
        text += &format!("\n{}", option_lines(output.options()));
    }
    text
}

/// Every set of options once, behind the names of those that have it.
fn options() -> String {
    let sets = option_sets();
    let text = sets.iter().map(|(names, specs)| format!("{}\n{}", names.join(", "), option_lines(specs)));
    text.collect::<Vec<_>>().join("\n")
}

fn option_lines(specs: &[OptionSpec]) -> String {
    let line = |spec: &OptionSpec| format!("  {}\n      {}\n", option(spec), spec.help);
    specs.iter().map(line).collect()
}

/// An option, its values and its default.
pub(super) fn option(spec: &OptionSpec) -> String {
    format!("--opt {}={} [default: {}]", spec.name, spec.values.describe(), spec.default)
}

/// Every set of options, with what has it: outputs, and roots in a partition.
pub(super) fn option_sets() -> Vec<(Vec<String>, &'static [OptionSpec])> {
    let of_outputs = OUTPUTS.iter().map(|output| (output.name.to_owned(), output.options()));
    let of_roots = ROOT_FILE_SYSTEMS.iter().map(|root| (format!("--root {}", root.name), root.options));
    let named = |specs: &'static [OptionSpec]| specs.iter().map(|spec| (spec.name, spec.help));
    let mut sets: Vec<(Vec<String>, &'static [OptionSpec])> = Vec::new();
    for (name, specs) in of_outputs.chain(of_roots).filter(|(_, specs)| !specs.is_empty()) {
        match sets.iter_mut().find(|(_, other)| named(other).eq(named(specs))) {
            Some((names, _)) => names.push(name),
            None => sets.push((vec![name], specs)),
        }
    }
    sets
}

fn json(output: &Output) -> serde_json::Value {
    let option = |o: &OptionSpec| serde_json::json!({"name": o.name, "values": o.values.describe(), "default": o.default, "help": o.help});
    let options: Vec<_> = output.options().iter().map(option).collect();
    serde_json::json!({"name": output.name, "files": files(output), "firmware": output.firmware, "about": output.about, "options": options})
}

/// The names of an output's files.
pub(super) fn files(output: &Output) -> Vec<String> {
    output.files.iter().map(|suffix| format!("NAME{suffix}")).collect()
}

fn platforms_table() -> String {
    let mut text = format!("{:14} {:8} {:10} {:28} {}\n", "TARGET", "FORMAT", "SIZE OF", "CONSOLES (x86)", "WHAT IT IS");
    for platform in PLATFORMS {
        let (size, consoles) = (show_size(platform.size_multiple), platform.consoles.x86.join(" "));
        text += &format!("{:14} {:8} {size:10} {consoles:28} {}\n", platform.name, platform.output, platform.about);
    }
    text
}

fn platforms_json() -> String {
    let row = |platform: &Platform| {
        let options: serde_json::Map<_, _> = platform.options.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        serde_json::json!({
            "name": platform.name, "format": platform.output, "about": platform.about, "size-multiple": platform.size_multiple,
            "options": options, "consoles": {"x86": platform.consoles.x86, "arm64": platform.consoles.arm64},
        })
    };
    let rows: Vec<_> = PLATFORMS.iter().map(row).collect();
    format!("{:#}\n", serde_json::Value::from(rows))
}
