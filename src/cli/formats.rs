//! `moby formats`: what can be made.

use crate::{
    error::Result,
    outputs::{OUTPUTS, Output, Recipe},
};
use formats::OptionSpec;

/// List every output format, its files and its options
#[derive(Debug, clap::Args)]
pub(super) struct Formats {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// With the options (--opt) of each format
    #[arg(long)]
    options: bool,
}

impl Formats {
    pub(super) fn run(&self) -> Result<()> {
        super::print(&if self.json { json() } else { self.table() })
    }

    fn table(&self) -> String {
        let mut text = format!("{:18} {:44} {:12} {}\n", "FORMAT", "FILES", "FIRMWARE", "WHAT IT IS");
        for output in OUTPUTS {
            text += &format!("{:18} {:44} {:12} {}\n", output.name, files(output).join(" "), output.firmware, output.about);
            for option in self.options.then(|| options(output)).into_iter().flatten() {
                text += &format!("{:20} --opt {}={} [{}]  {}\n", "", option.name, option.values.describe(), option.default, option.help);
            }
        }
        text
    }
}

fn json() -> String {
    let row = |output: &Output| {
        let options: Vec<_> = options(output)
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

fn options(output: &Output) -> &'static [OptionSpec] {
    match &output.recipe {
        Recipe::Disk(disk) => disk.format().options(),
        Recipe::Files(_) => &[],
    }
}
