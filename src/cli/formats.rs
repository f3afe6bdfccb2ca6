//! `moby formats`: what can be made.

use crate::{
    error::Result,
    outputs::{OUTPUTS, Output},
    platforms::{PLATFORMS, Platform},
};
use formats::units::show_size;

/// List every output format, its files and its options
#[derive(Debug, clap::Args)]
pub(super) struct Formats {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// With the options (--opt) of each format
    #[arg(long)]
    options: bool,
    /// The platforms that --target names, instead of formats
    #[arg(long, conflicts_with = "options")]
    targets: bool,
}

impl Formats {
    pub(super) fn run(&self) -> Result<()> {
        super::print(&match (self.targets, self.json) {
            (false, false) => self.table(),
            (false, true) => json(),
            (true, false) => platforms_table(),
            (true, true) => platforms_json(),
        })
    }

    fn table(&self) -> String {
        let mut text = format!("{:18} {:44} {:12} {}\n", "FORMAT", "FILES", "FIRMWARE", "WHAT IT IS");
        for output in OUTPUTS {
            text += &format!("{:18} {:44} {:12} {}\n", output.name, files(output).join(" "), output.firmware, output.about);
            for option in self.options.then(|| output.options()).into_iter().flatten() {
                text += &format!("{:20} --opt {}={} [{}]  {}\n", "", option.name, option.values.describe(), option.default, option.help);
            }
        }
        text
    }
}

fn json() -> String {
    let row = |output: &Output| {
        let options: Vec<_> = output
            .options()
            .iter()
            .map(|o| serde_json::json!({"name": o.name, "values": o.values.describe(), "default": o.default, "help": o.help}))
            .collect();
        serde_json::json!({"name": output.name, "files": files(output), "firmware": output.firmware, "about": output.about, "options": options})
    };
    let rows: Vec<_> = OUTPUTS.iter().map(row).collect();
    format!("{:#}\n", serde_json::Value::from(rows))
}

fn files(output: &Output) -> Vec<String> {
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
