//! `moby plan`: the rows of a matrix, told to whoever runs them, or run.

use super::{Cli, Command, Global, making::Makes, metadata, usage};
use crate::{
    emit::{self, Manner, Target},
    error::{self, At, Error, Kind, Result},
    input::{self, STDIN},
    names,
    plan::{self, Row, Shard},
};
use formats::{Blob, Silent};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    ffi::OsString,
    fs::File,
    io::Read,
    iter,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Most bytes of a matrix.
const MATRIX_MAX: u64 = 4 << 20;
/// Most rows that GitHub takes.
const GITHUB_MAX: usize = 256;

const EXAMPLES: &str = "\
Examples:
  moby plan matrix.toml                              which rows there are, and what they write
  moby plan matrix.toml --json                       the same for programs, with command lines and keys
  moby plan matrix.toml --run                        all of it, one row after the other
  moby plan matrix.toml --run --row app-qcow2        one row, by its name
  moby plan matrix.toml --run --shard 0/4            the first of four parts, which are counted from 0
  moby plan matrix.toml --run --shard '$JOB_COMPLETION_INDEX/4'
  moby plan matrix.toml --github                     for GitHub's fromJSON, in one line

A matrix is TOML: inputs ([[input]] with path, name, args), lists format and target, of which every combination is a row, dir, args, metadata = true for a \
file ID.json beside the outputs of each row, and include and exclude as in GitHub's matrices. Paths count from the current directory.

The key of a row is a hash of moby's version, its command line and the content of the files that it names; a row has none (null) when it reads what may change \
without notice, such as an image by its tag. A row is not made again whose outputs are in a store, each with that key, or, with metadata = true, whose file says \
that they were made with it.

A row that fails does not stop the others. The exit code is then that of the failure where trying again helps most: see docs/many-machines.md.";

/// Show the rows of a matrix of inputs, formats and platforms, or make them, all or a part
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PlanCommand {
    /// The matrix (TOML); - for standard input
    #[arg(value_name = "MATRIX|-")]
    matrix: PathBuf,
    /// As JSON: a list of rows with id, args, outputs and key
    #[arg(long)]
    json: bool,
    /// As a matrix of GitHub's, in one line: {"include": [...]}
    #[arg(long, conflicts_with = "json")]
    github: bool,
    /// Write the list to this file; - for standard output
    #[arg(long, short, value_name = "FILE|-", conflicts_with = "run")]
    output: Option<PathBuf>,
    /// Make the outputs of the rows
    #[arg(long, conflicts_with_all = ["json", "github"])]
    run: bool,
    /// Of every N rows only one, from row I on, which is counted from 0; each may be a variable: $AWS_BATCH_JOB_ARRAY_INDEX/8
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Only the row of this name. Repeatable
    #[arg(long = "row", value_name = "ID")]
    rows: Vec<String>,
}

/// A row with its command line understood.
struct Leaf {
    row: Row,
    cli: Cli,
    outputs: Vec<Target>,
}

impl PlanCommand {
    pub(super) fn run(&self, global: &Global) -> ExitCode {
        let done = self.leaves(global).and_then(|leaves| match self.run {
            true => Ok(run(&leaves, global)),
            false => self.tell(&leaves).map(|()| ExitCode::SUCCESS),
        });
        done.unwrap_or_else(|error| super::fail(&error))
    }

    /// The rows that are asked for: of those that are named, or of all, what is in the shard.
    fn leaves(&self, global: &Global) -> Result<Vec<Leaf>> {
        let name = input::show(&self.matrix);
        let rows = plan::rows(&name, &read(&self.matrix).at(|| &name)?)?;
        let leaves: Vec<Leaf> = rows.into_iter().map(|row| Leaf::new(row, global)).collect::<Result<_>>()?;
        refuse_clashes(&leaves)?;
        let ids: Vec<_> = leaves.iter().map(|leaf| leaf.row.id.as_str()).collect();
        if let Some(unknown) = self.rows.iter().find(|id| !ids.contains(&id.as_str())) {
            return Err(names::unknown("row", unknown, &ids).at(&name));
        }
        let is_named = |leaf: &Leaf| self.rows.is_empty() || self.rows.contains(&leaf.row.id);
        let named = leaves.into_iter().filter(is_named).enumerate();
        Ok(named.filter(|(number, _)| self.shard.is_none_or(|shard| shard.has(*number))).map(|(_, leaf)| leaf).collect())
    }

    fn tell(&self, leaves: &[Leaf]) -> Result<()> {
        if self.github && leaves.len() > GITHUB_MAX {
            let what = format!("GitHub takes {GITHUB_MAX} rows, these are {}", leaves.len());
            return Err(Error::unsupported(what).hint("let every job run a part: --run --shard I/N"));
        }
        let rows = || leaves.iter().map(|leaf| leaf.json()).collect::<Result<Value>>();
        let text = match (self.json, self.github) {
            (true, _) => format!("{:#}\n", rows()?),
            (_, true) => format!("{}\n", json!({"include": rows()?})),
            _ => table(leaves),
        };
        match self.output.as_deref().filter(|path| *path != Path::new(STDIN)) {
            None => super::print(&text),
            Some(path) => {
                let file = (Target::Path(path.to_owned()), Blob::bytes(text.into_bytes()).into());
                emit::emit(&[file], Manner::default(), &Silent).map(drop)
            }
        }
    }
}

fn read(path: &Path) -> Result<String> {
    let mut text = String::new();
    let from: &mut dyn Read = if path == Path::new(STDIN) { &mut std::io::stdin().lock() } else { &mut File::open(path)? };
    from.take(MATRIX_MAX + 1).read_to_string(&mut text)?;
    match formats::units::bytes(text.len()) <= MATRIX_MAX {
        true => Ok(text),
        false => Err(Error::bad_input(format!("it has more than {MATRIX_MAX} bytes, which is no matrix"))),
    }
}

impl Leaf {
    /// # Errors
    /// When the command line of the row is refused; the words that are to blame are named.
    fn new(row: Row, global: &Global) -> Result<Self> {
        let mut cli = parse(&row.args()).map_err(|error| error.at(row.blame(|args| parse(args).is_err())))?;
        let outputs = outputs(&cli).at(|| row.blame(|args| parse(args).is_ok_and(|cli| outputs(&cli).is_err())))?;
        if outputs.contains(&Target::Stdout) {
            let place = row.blame(writes_standard_output);
            return Err(Error::bad_input("a row writes files, and not standard output").hint("leave it out").at(place));
        }
        cli.global.within(global);
        Ok(Self { row, cli, outputs })
    }

    fn json(&self) -> Result<Value> {
        let outputs: Vec<_> = self.outputs.iter().map(Target::to_string).collect();
        let key = maker(&self.cli)?.key(&self.cli.global).at(|| self.row.place())?;
        Ok(json!({"id": self.row.id, "args": self.row.args(), "outputs": outputs, "key": key}))
    }

    /// Whether its outputs are there already, so that nothing is to be made: as its key tells, or because what is there is to stay.
    fn is_made(&self) -> Result<bool> {
        let is_missing = |target: &Target| matches!(target, Target::Path(path) if !path.exists());
        if self.outputs.iter().any(is_missing) {
            return Ok(false);
        }
        let maker = maker(&self.cli)?;
        let key = maker.key(&self.cli.global)?;
        for target in &self.outputs {
            // Elsewhere a file tells by itself of what it was made.
            if let Target::Remote(there) = target
                && (key.is_none() || there.key().at(|| there)? != key)
            {
                return Ok(false);
            }
        }
        if self.outputs.iter().all(|target| matches!(target, Target::Remote(_))) {
            return Ok(true);
        }
        match &maker.making().metadata_file {
            _ if maker.making().no_clobber => Ok(true),
            Some(file) => Ok(key.is_some_and(|key| metadata::tells_made(file, &key))),
            None => Ok(false),
        }
    }

    /// Makes its outputs where they are not there, and says whether they were.
    fn run(&self) -> Result<bool> {
        let is_made = self.is_made()?;
        if !is_made {
            maker(&self.cli)?.make(&self.cli.global)?;
        }
        Ok(is_made)
    }
}

/// A command line behind the program's name.
fn parse(args: &[String]) -> Result<Cli> {
    Cli::of(iter::once("moby").chain(args.iter().map(String::as_str)).map(OsString::from)).map_err(|refused| match refused.use_stderr() {
        true => usage::error(&refused),
        false => Error::bad_input("asks for help or the version, and makes nothing"),
    })
}

/// The command of a command line.
fn maker(cli: &Cli) -> Result<&dyn Makes> {
    match &cli.command {
        Command::Convert(command) => Ok(&**command),
        Command::Build(command) => Ok(&**command),
        _ => Err(Error::new(Kind::Bug, "a row that makes nothing")),
    }
}

/// What a command line would write.
fn outputs(cli: &Cli) -> Result<Vec<Target>> {
    maker(cli)?.targets()
}

fn writes_standard_output(args: &[String]) -> bool {
    parse(args).and_then(|cli| outputs(&cli)).is_ok_and(|outputs| outputs.contains(&Target::Stdout))
}

/// Refuses two rows that would write one file: which of them were there in the end, nobody could tell.
fn refuse_clashes(leaves: &[Leaf]) -> Result<()> {
    let mut written: HashMap<String, &Leaf> = HashMap::new();
    for leaf in leaves {
        for output in &leaf.outputs {
            if let Some(first) = written.insert(output.to_string(), leaf) {
                let what = format!("the rows {} and {} would both write {output}", first.row.id, leaf.row.id);
                let hint = "give one of them another name: name of an input, or of an include with its input and format";
                return Err(Error::bad_input(what).hint(hint).at(leaf.row.place()));
            }
        }
    }
    Ok(())
}

/// Makes all rows, one after the other, and tells of those that fail. The exit code is that of the failure where trying again helps most.
fn run(leaves: &[Leaf], global: &Global) -> ExitCode {
    let ui = global.ui();
    let (mut there, mut failed) = (0, Vec::new());
    for leaf in leaves {
        let id = &leaf.row.id;
        match leaf.run() {
            Ok(true) => {
                ui.note(format_args!("{:>8}: {id} is there already", "row"));
                there += 1;
            }
            Ok(false) => ui.note(format_args!("{:>8}: {id}", "row")),
            Err(error) => {
                failed.push(error.kind());
                super::tell(&error.at(format!("row {id}")));
            }
        }
    }
    let (count, bad) = (leaves.len(), failed.len());
    let noun = if count == 1 { "row" } else { "rows" };
    ui.note(format_args!("{:>8}: {count} {noun}: {} made, {there} there already, {bad} failed", "plan", count - there - bad));
    // Of several that are alike the first.
    failed.into_iter().rev().max_by_key(|kind| error::hope(*kind)).map_or(ExitCode::SUCCESS, error::exit_code)
}

/// For people: what there is, and what it writes.
fn table(leaves: &[Leaf]) -> String {
    let width = leaves.iter().map(|leaf| leaf.row.id.len()).max().unwrap_or_default();
    let line = |leaf: &Leaf| {
        let outputs: Vec<_> = leaf.outputs.iter().map(Target::to_string).collect();
        formats::plain::line(&format!("{:width$}  {}", leaf.row.id, outputs.join(" "))) + "\n"
    };
    format!("{:width$}  OUTPUTS\n", "ROW") + &leaves.iter().map(line).collect::<String>()
}
