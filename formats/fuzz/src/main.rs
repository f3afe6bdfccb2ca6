//! A deterministic mutator on stable Rust.
//!
//! ```text
//! cargo run --profile fuzz --bin mutate -- [--executions N] [--seconds N] [--seed N] [--only NAME]    every third reads what is no disk, every 20th writes
//! cargo run --profile fuzz --bin mutate -- --against-qemu N [--seed N] [--only NAME]    what we read, qemu-img has to read alike
//! cargo run --profile fuzz --bin mutate -- --check-against-qemu N [--seed N]    what we say of a qcow2, qemu-img check has to say
//! ```
//! NAME is that of a format or of a reader, as the table at the end of a run has them.
//!
//! The corpus is made by `qemu-img` (QEMU 7.2), small images in every sub-format; what is mutated is what is not zero. Three of four
//! mutants with checksums (VHD, VHDX and its log) get them right again, else nothing behind these would be reached. A find (a panic,
//! more than [`PATIENCE`], a peak above [`MEMORY_MAX`], other bytes) is named, its input written beside the program.

mod corpus;
mod mutants;
mod packages;
mod qemu;
mod readers;
mod verdicts;

use corpus::{Image, Random};
use formats::{Blob, FORMATS, Format};
use readers::Reader;
use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Longest time for one execution.
const PATIENCE: Duration = Duration::from_secs(5);
/// Highest peak of resident memory in KiB, corpus and all.
const MEMORY_MAX: u64 = 256 << 10;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut executions, mut seed, mut seconds, mut mutants, mut judged, mut only) = (100_000_u64, 1_u64, u64::MAX, 0_u64, 0_u64, None);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        match (name.as_str(), value.parse()) {
            ("--executions", Ok(value)) => executions = value,
            ("--seed", Ok(value)) => seed = value,
            ("--seconds", Ok(value)) => seconds = value,
            ("--against-qemu", Ok(value)) => mutants = value,
            ("--check-against-qemu", Ok(value)) => judged = value,
            ("--only", _) => only = Some(value),
            _ => {
                eprintln!(
                    "usage: mutate [--executions N [--seconds N] | --against-qemu N | --check-against-qemu N] [--seed N] [--only NAME]"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    let is_wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
    let corpus: Vec<Image> = corpus::all().into_iter().filter(|image| is_wanted(image.format.name())).collect();
    let readers: Vec<Reader> = readers::all().into_iter().filter(|reader| is_wanted(reader.name)).collect();
    if corpus.is_empty() && (readers.is_empty() || mutants + judged > 0) {
        eprintln!("mutate: no format and no reader is called that");
        return ExitCode::FAILURE;
    }
    let random = Random::new(seed);
    let finds = if mutants > 0 {
        qemu::compare(&corpus, mutants, random)
    } else if judged > 0 {
        verdicts::compare(&corpus, judged, random)
    } else {
        Run::new(seed, corpus, readers).all(executions, Duration::from_secs(seconds), random)
    };
    if finds == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What became of the executions of one kind.
#[derive(Default)]
struct Tally {
    executions: u64,
    /// Those that gave a disk: how far the mutants come.
    accepted: u64,
    time: Duration,
    longest: Duration,
}

struct Run {
    seed: u64,
    /// None when one reader alone is wanted.
    corpus: Vec<Image>,
    /// None when one format alone is wanted.
    readers: Vec<Reader>,
    finds: u64,
    tallies: BTreeMap<String, Tally>,
}

impl Run {
    fn new(seed: u64, corpus: Vec<Image>, readers: Vec<Reader>) -> Self {
        Self { seed, corpus, readers, finds: 0, tallies: BTreeMap::new() }
    }

    /// Executes, and gives the number of finds.
    fn all(mut self, wanted: u64, time: Duration, mut random: Random) -> u64 {
        let since = Instant::now();
        let deaf = |reader: &&Reader| !fuzz::with_env(|env| reader.reads_what_is_whole(env));
        for name in self.readers.iter().filter(deaf).map(|reader| reader.name).collect::<Vec<_>>() {
            self.find(0, &format!("read {name}: what is whole is refused"), &[]);
        }
        let mut executions = 0;
        while executions < wanted && since.elapsed() < time {
            let turn = executions;
            executions += 1;
            if self.corpus.is_empty() || turn % 3 == 0 && !self.readers.is_empty() {
                self.read(turn, &mut random);
            } else {
                self.disk(turn, &mut random);
            }
            if turn % 64 == 0 && peak() > MEMORY_MAX {
                self.find(turn, &format!("a peak of {} KiB, in this turn or the 63 before", peak()), &[]);
                break;
            }
            if turn % 1_000_000 == 999_999 {
                println!("{} executions, {} finds, {:.0} s", turn + 1, self.finds, since.elapsed().as_secs_f64());
            }
        }
        for (kind, Tally { executions, accepted, time, longest }) in &self.tallies {
            println!("{kind:16} {executions:>9} executions, {accepted:>9} accepted, {:>6.0} s, longest {longest:?}", time.as_secs_f64());
        }
        let Self { seed, finds, .. } = self;
        println!("{executions} executions, seed {seed}, {finds} finds, {:.0} s, peak {} KiB", since.elapsed().as_secs_f64(), peak());
        finds
    }

    fn disk(&mut self, turn: u64, random: &mut Random) {
        let image = random.below(self.corpus.len());
        // What is only read is read in this turn, too.
        if turn.is_multiple_of(20) && self.corpus[image].format.is_written() {
            self.encode(turn, self.corpus[image].format, random);
        } else {
            self.decode(turn, image, random);
        }
    }

    fn encode(&mut self, turn: u64, format: &dyn Format, random: &mut Random) {
        let bytes: Vec<u8> = (0..2 + random.below(7)).flat_map(|_| random.next().to_le_bytes()).collect();
        self.execution(turn, &format!("encode {}", format.name()), || fuzz::encode_as(format, &bytes), || bytes.clone());
    }

    fn decode(&mut self, turn: u64, image: usize, random: &mut Random) {
        let image = &self.corpus[image];
        let (file, beside) = mutants::mutated(image, random);
        // Now and then in the eyes of a format that it is not of.
        let format = if turn % 50 == 1 { FORMATS[random.below(FORMATS.len())] } else { image.format };
        let bytes = |blob: &Blob| blob.to_vec(u64::MAX).expect("it is in memory");
        self.execution(
            turn,
            &format!("decode {}", format.name()),
            || fuzz::decode_as(format, &file, &beside).is_some(),
            || [bytes(&file), bytes(&beside)].concat(),
        );
    }

    fn read(&mut self, turn: u64, random: &mut Random) {
        let reader = random.below(self.readers.len());
        let (name, bytes) = (self.readers[reader].name, self.readers[reader].mutant(random));
        // Moved out, for the tally is ours too.
        let readers = std::mem::take(&mut self.readers);
        self.execution(turn, &format!("read {name}"), || fuzz::with_env(|env| readers[reader].reads(&bytes, env)), || bytes.clone());
        self.readers = readers;
    }

    fn execution(&mut self, turn: u64, kind: &str, work: impl FnOnce() -> bool, input: impl Fn() -> Vec<u8>) {
        let began = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(work));
        let took = began.elapsed();
        let tally = self.tallies.entry(kind.to_owned()).or_default();
        tally.executions += 1;
        tally.accepted += u64::from(matches!(result, Ok(true)));
        tally.time += took;
        tally.longest = tally.longest.max(took);
        if result.is_err() {
            self.find(turn, &format!("{kind}: a panic"), &input());
        } else if took > PATIENCE {
            self.find(turn, &format!("{kind}: {took:?}"), &input());
        }
    }

    fn find(&mut self, turn: u64, what: &str, input: &[u8]) {
        let path = format!("find-{}-{turn}", self.seed);
        println!("turn {turn}, {what}; the input is in {path}");
        fs::write(path, input).expect("the directory can be written");
        self.finds += 1;
    }
}

/// The highest resident memory so far in KiB; 0 where the system does not say.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
