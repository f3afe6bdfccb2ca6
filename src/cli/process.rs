//! What is said of the process of a container image, and of who starts it.

use super::values::named;
use crate::{
    error::{Error, Result},
    names::Named,
    process::{Starter, Wishes, Words},
};
use formats::modules::Set;
use initconfig::{
    Config,
    config::{Pid1, Restart},
};
use serde_json::{Value, json};

/// What a container image runs.
#[derive(Debug, clap::Args)]
pub(super) struct ProcessArgs {
    /// What starts the image: moby, a process 1 that runs its Entrypoint and ends the machine with it; none, for the image's own /init;
    /// or a program of the image by its path [default: moby for a container image that says what to run, and with --entrypoint]
    #[arg(long, value_name = "moby|none|PATH", help_heading = "Container")]
    init: Option<Starter>,
    /// What is run in the place of the image's Entrypoint and Cmd: a word, or a list in JSON. The root file system of `docker export`
    /// says nothing of it, and needs this
    #[arg(long, value_name = "WORD|JSON", help_heading = "Container")]
    entrypoint: Option<Words>,
    /// The arguments in the place of the image's Cmd: a word, or a list in JSON
    #[arg(long, value_name = "WORD|JSON", help_heading = "Container")]
    cmd: Option<Words>,
    /// A variable of its environment, beside or in the place of the image's; NAME alone takes this machine's value. Repeatable
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "Container")]
    env: Vec<String>,
    /// As whom it runs, in the place of the image's User: NAME, UID, NAME:GROUP
    #[arg(long, value_name = "USER", help_heading = "Container")]
    user: Option<String>,
    /// Where it begins, in the place of the image's WorkingDir
    #[arg(long, value_name = "DIR", help_heading = "Container")]
    workdir: Option<String>,
    /// Give it the console as its terminal; without it, its standard input is empty
    #[arg(long, help_heading = "Container")]
    tty: bool,
    /// What follows when it ends [default: no]
    #[arg(long, value_name = "WHEN", value_parser = named::<Restart>(), help_heading = "Container")]
    restart: Option<Restart>,
    /// Whether it is process 1 itself [default: auto]
    #[arg(long, value_name = "HOW", value_parser = named::<Pid1>(), help_heading = "Container")]
    pid1: Option<Pid1>,
    /// The machine's name [default: what the network says, or the image, else moby]
    #[arg(long, value_name = "NAME", help_heading = "Container")]
    hostname: Option<String>,
    /// Which modules of the kernel's package go with it: boot, for what machines have; boot and others, as +nf_tables,wireguard; or all
    /// [default: boot]
    #[arg(long, value_name = "boot|+NAME,...|all", help_heading = "Container")]
    modules: Option<Set>,
}

impl ProcessArgs {
    /// What the user wishes.
    ///
    /// # Errors
    /// When a variable has no name.
    pub(super) fn wishes(&self) -> Result<Wishes> {
        Ok(Wishes {
            starter: self.init.clone().unwrap_or_default(),
            entrypoint: self.entrypoint.clone(),
            cmd: self.cmd.clone(),
            env: self.env.iter().filter_map(|text| variable(text).transpose()).collect::<Result<_>>()?,
            user: self.user.clone(),
            workdir: self.workdir.clone(),
            tty: self.tty,
            restart: self.restart,
            pid1: self.pid1,
            hostname: self.hostname.clone(),
            modules: self.modules.clone(),
        })
    }
}

/// A variable as it is given, or this machine's of that name; nothing where there is none.
fn variable(text: &str) -> Result<Option<String>> {
    if text.is_empty() || text.starts_with('=') || text.contains('\0') {
        return Err(Error::bad_input(format!("--env '{}' must be NAME=VALUE, or NAME", text.escape_debug())));
    }
    if text.contains('=') {
        return Ok(Some(text.to_owned()));
    }
    let refuse = |_| Error::bad_input(format!("--env {}: this machine's value is not UTF-8", text.escape_debug()));
    std::env::var_os(text).map(|value| value.into_string().map(|value| format!("{text}={value}")).map_err(refuse)).transpose()
}

/// The process that process 1 of ours runs, or would.
pub(super) fn facts(config: &Config) -> Value {
    let text = |bytes: &[u8]| (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned());
    let texts = |list: &[Vec<u8>]| {
        (!list.is_empty()).then(|| list.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect::<Vec<_>>())
    };
    json!({
        "entrypoint": texts(&config.entrypoint),
        "cmd": texts(&config.cmd),
        "env": texts(&config.env),
        "user": text(&config.user),
        "working-dir": text(&config.cwd),
        "stop-signal": config.stop,
        "tty": config.tty.then_some(true),
        "pid1": config.pid1.name(),
        "restart": config.restart.name(),
        "hostname": text(&config.hostname),
        "root": config.root.as_deref().and_then(text),
        "volumes": texts(&config.volumes),
    })
}
