//! The command line: one file a command under `cli/`; nothing else prints.

mod build;
mod cache;
mod check;
mod compare;
mod completion;
mod convert;
mod extract;
mod files;
mod formats;
mod images;
mod inspect;
mod keys;
mod lint;
mod lock;
mod making;
mod man;
mod metadata;
mod notes;
mod place;
mod plan;
mod process;
#[cfg(feature = "net")]
mod pull;
#[cfg(feature = "net")]
mod push;
#[cfg(feature = "net")]
mod registries;
mod run;
mod sign;
mod signing;
mod spool;
#[cfg(feature = "net")]
mod stores;
mod usage;
mod values;
mod yml;

use crate::{
    emit,
    error::{self, Error, Kind, Result},
    input,
    plan::Digests,
    taking_back::{WITHIN, take_back},
    ui,
};
use ::formats::{Env, Timestamp, oci::Reference, plain::Plain, units};
use clap::{Parser, Subcommand};
use std::{
    ffi::OsString,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

const ABOUT: &str = "Build LinuxKit images, turn them into disks and kernels that boot, and look into them";

const EXAMPLES: &str = "\
Examples:
  moby build app.yml -f qcow2                        a LinuxKit configuration, to a disk that boots
  moby convert image.tar --format qcow2              image.qcow2, boots on BIOS and UEFI
  moby convert image.tar -f raw,kernel+initrd        several outputs, one pass over the tar
  linuxkit build --format tar --o - app.yml | moby convert - -o app.qcow2
  docker export box | moby convert - --kernel vmlinuz --cmdline console=ttyS0 -o box.img
  moby inspect image.tar                             what is inside
  moby extract image.qcow2 tar -o image.tar          what was put in
  moby compare disk.vmdk disk.qcow2                  the same content?
  moby check disk.qcow2                              sound?
  moby lint image.vhd --target azure                 fit to upload?
  moby formats                                       every output format";

/// What help says behind the options.
fn notes() -> String {
    let remark = "The exit codes of compare and check are those of qemu-img: see their --help.";
    notes::with_exit_codes(EXAMPLES, "Exit codes", error::EXIT_CODES, remark)
}

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "moby", version, about = ABOUT, after_help = notes(), propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// What a command line says, the name of the program first.
    fn of(args: impl IntoIterator<Item = OsString>) -> std::result::Result<Self, clap::Error> {
        let line = long_dashes(args);
        let mut cli = Self::try_parse_from(&line)?;
        cli.global.line = line.into_iter().skip(1).collect();
        Ok(cli)
    }
}

/// Options of every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global")]
struct Global {
    /// The whole command line behind the program's name
    #[arg(skip)]
    line: Vec<OsString>,
    /// What the files hold that it names
    #[arg(skip)]
    digests: Arc<Digests>,
    /// Say nothing but errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// How to show progress, on standard error
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "STYLE")]
    progress: ui::Style,
    /// Threads that work at once; the result does not depend on it [default: all cores]
    #[arg(long, short = 'j', global = true, value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,
    /// Most bytes that a run puts aside for what it unpacks and makes: 512M, 2G [default: all but an eighth of the file system, at most
    /// 1 GiB, which stays free]
    #[arg(long, global = true, value_name = "SIZE", value_parser = units::parse_size)]
    max_unpacked: Option<u64>,
}

impl Global {
    fn ui(&self) -> ui::Ui {
        ui::Ui::new(if self.quiet { ui::Style::None } else { self.progress })
    }

    /// Takes over what another command line says, which runs this one, and what it knows.
    fn within(&mut self, outer: &Self) {
        self.digests = Arc::clone(&outer.digests);
        self.quiet |= outer.quiet;
        self.progress = outer.progress;
        self.threads = self.threads.or(outer.threads);
        self.max_unpacked = self.max_unpacked.or(outer.max_unpacked);
    }

    fn threads(&self) -> std::num::NonZeroUsize {
        let all = || std::thread::available_parallelism().unwrap_or(std::num::NonZeroUsize::MIN);
        self.threads.unwrap_or_else(all)
    }
}

/// How a disk is opened, for every command that opens one.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Reading")]
struct ReadingArgs {
    /// An internal snapshot of a qcow2 image, by its name or number, and not its present state
    #[arg(long, value_name = "NAME")]
    snapshot: Option<String>,
    /// Of an OVA or an archive with several disks, this one: its identifier, or its name there
    #[arg(long, value_name = "ID")]
    disk: Option<String>,
    /// Open the other files that the image names: backing files, external data, extents. Only for images that you trust
    #[arg(long)]
    follow: bool,
    /// Read also an image that is marked dirty or corrupt, or that another program, such as QEMU, writes to
    #[arg(long)]
    force: bool,
    /// Of an archive or a layout with several container images, this one
    #[arg(long, value_name = "NAME")]
    image: Option<Reference>,
}

impl ReadingArgs {
    /// For the image of this path: its neighbours are looked for beside it.
    fn of(&self, path: &Path) -> input::Opening {
        let directory = || path.parent().map(Path::to_owned).unwrap_or_default();
        let (snapshot, disk, image) = (self.snapshot.clone(), self.disk.clone(), self.image.clone());
        input::Opening { snapshot, disk, force: self.force, follow: self.follow.then(directory), image, ..input::Opening::default() }
    }
}

/// How a tar is opened, for the commands that take it for what it is: the `--strict` of `compare` is that of `qemu-img`.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Reading")]
struct StrictArgs {
    /// Refuse a tar that could be read only with a warning: one without its end, one with attributes that are not kept
    #[arg(long)]
    strict: bool,
}

/// Where images are kept that were pulled.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Images")]
struct CacheArgs {
    /// Where pulled images are kept, also LinuxKit's own cache [default: $LINUXKIT_CACHE, else moby in the user's cache directory]
    #[arg(long, value_name = "DIR", global = true)]
    cache: Option<std::path::PathBuf>,
}

impl CacheArgs {
    fn path(&self) -> Result<std::path::PathBuf> {
        let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(std::path::PathBuf::from);
        let home = || of("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache"))).map(|cache| cache.join("moby"));
        let path = self.cache.clone().or_else(|| of("LINUXKIT_CACHE")).or_else(home);
        path.ok_or_else(|| Error::new(Kind::Environment, "there is no home directory to keep a cache in").hint("name one with --cache"))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(Box<build::Build>),
    Lock(Box<lock::LockCommand>),
    Plan(plan::PlanCommand),
    Convert(Box<convert::Convert>),
    #[cfg(feature = "net")]
    Pull(pull::Pull),
    #[cfg(feature = "net")]
    Push(Box<push::PushCommand>),
    Cache(cache::CacheCommand),
    Run(run::Run),
    Keys(keys::Keys),
    Sign(sign::Sign),
    Inspect(inspect::Inspect),
    Extract(extract::Extract),
    Check(check::Check),
    Compare(compare::Compare),
    Lint(lint::Lint),
    Formats(formats::Formats),
    Completion(completion::Completion),
    Man(man::Man),
}

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    hear_of_limits();
    if let Err(error) = ctrlc::set_handler(interrupted) {
        return fail(&Error::new(Kind::Environment, "cannot catch signals").because(error));
    }
    let cli = match Cli::of(std::env::args_os()) {
        Ok(cli) => cli,
        Err(refused) if refused.use_stderr() && refused.kind() != clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return fail(&usage::error(&refused));
        }
        Err(help) => help.exit(),
    };
    let result = match &cli.command {
        Command::Build(command) => command.run(&cli.global),
        Command::Lock(command) => command.run(&cli.global),
        Command::Plan(command) => return command.run(&cli.global),
        Command::Convert(command) => command.run(&cli.global),
        #[cfg(feature = "net")]
        Command::Pull(command) => command.run(&cli.global),
        #[cfg(feature = "net")]
        Command::Push(command) => command.run(&cli.global),
        Command::Cache(command) => command.run(&cli.global),
        Command::Run(command) => return command.run(&cli.global),
        Command::Keys(command) => command.run(&cli.global),
        Command::Sign(command) => command.run(&cli.global),
        Command::Inspect(command) => command.run(&cli.global),
        Command::Extract(command) => command.run(&cli.global),
        Command::Lint(command) => command.run(&cli.global),
        Command::Check(command) => return command.run(&cli.global),
        Command::Compare(command) => return command.run(&cli.global),
        Command::Formats(command) => command.run(),
        Command::Completion(command) => command.run(),
        Command::Man(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// A file that would become larger than the process may make it (`ulimit -f`) is an error with words, and no sudden death.
#[cfg(target_os = "linux")]
fn hear_of_limits() {
    use nix::sys::signal::{SigSet, Signal};
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGXFSZ);
    // The threads to come have it from this one. Where it fails, the process dies as any does.
    let _: nix::Result<()> = signals.thread_block();
}

#[cfg(not(target_os = "linux"))]
fn hear_of_limits() {}

/// Ctrl-C, or a request to end: leaves nothing half-written, or says what.
fn interrupted() {
    let mut elsewhere = Vec::new();
    let _named_no_more = emit::sweep(&mut elsewhere);
    #[cfg(feature = "net")]
    let _under_way = crate::push::sweep(&mut elsewhere);
    for left in take_back(elsewhere, WITHIN) {
        tell(&left.at("interrupted, and something may be left"));
    }
    std::process::exit(130);
}

fn fail(error: &Error) -> ExitCode {
    tell(error);
    error::exit_code(error.kind())
}

/// For the commands whose exit codes are `qemu-img`'s.
fn fail_with(error: &Error, code: u8) -> ExitCode {
    tell(error);
    ExitCode::from(code)
}

fn tell(error: &Error) {
    let mut to = io::stderr().lock();
    // Standard error may be closed; the exit code still tells.
    let _: io::Result<()> = writeln!(to, "moby: error: {error}");
    if let Some(hint) = error.hint_text() {
        let _: io::Result<()> = writeln!(to, "  hint: {}", Plain(hint));
    }
}

/// Takes LinuxKit's old spellings with a single dash (`-format aws`), which would otherwise read as `-f ormat`.
fn long_dashes(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    const OLD: [&str; 9] = ["-format", "-name", "-dir", "-size", "-arch", "-cache", "-pull", "-docker", "-decompress-kernel"];
    let modern = |arg: OsString| match arg.to_str() {
        Some("--o") => OsString::from("--output"),
        Some(text) if OLD.contains(&text.split_once('=').map_or(text, |(key, _)| key)) => OsString::from(format!("-{text}")),
        _ => arg,
    };
    args.into_iter().map(modern).collect()
}

/// What a run may not invent. The spool is an unlinked file in `directory`.
fn env(global: &Global, directory: &Path) -> Result<Env> {
    Ok(Env {
        spool: spool::in_directory(directory, global),
        time: source_date_epoch()?,
        threads: global.threads(),
        progress: Arc::new(global.ui()),
    })
}

/// The time for formats that demand one: `SOURCE_DATE_EPOCH`, else 0, never the clock.
fn source_date_epoch() -> Result<Timestamp> {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    match std::env::var(NAME) {
        Err(_) => Ok(Timestamp::default()),
        Ok(text) => text
            .parse()
            .map(Timestamp)
            .map_err(|_| Error::new(Kind::BadInput, format!("{NAME} is '{text}', must be a number of seconds since 1970"))),
    }
}

/// Prints what a command was asked for. A reader that has seen enough is no error.
fn print(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn linuxkit_spellings_are_taken() {
        let args = ["moby", "convert", "-format", "qcow2", "-size=2G", "-f", "raw", "--o", "-"].map(OsString::from);
        assert_eq!(long_dashes(args), ["moby", "convert", "--format", "qcow2", "--size=2G", "-f", "raw", "--output", "-"]);
    }
}
