//! How an archive is read, judged by GNU tar and bsdtar: archives that no writer made, by the thousand, entry by entry.
//!
//! Where the two agree, we agree with them. Where they differ, or one of them refuses, we read as one that reads, or refuse; where both refuse,
//! we do. What is otherwise is decided: [`DECISIONS`].
//!
//! `make test` tries a few from always the same seed; `make differential` tries [`MUTANTS`] many, from [`SEED`].

mod archives;
mod judges;

use archives::Random;
use judges::{Facts, Named, Read};
use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// The variables that say how many, and from which seed.
const MUTANTS: &str = "MOBY_MUTANTS";
const SEED: &str = "MOBY_SEED";
/// The variable that names a directory for those that are read otherwise.
const KEEP: &str = "MOBY_KEEP";
/// How many where nobody says it: some seconds.
const FEW: u64 = 400;
/// How many differences are shown.
const SHOWN: usize = 40;

/// Where we read otherwise than both, known by what one of us says or by what stands in the archive, and why.
const DECISIONS: &[(&str, &str)] = &[
    ("there is a single block of zeros", "both end there, and what follows is lost; we go on, and say so"),
    (
        "global headers say of all entries",
        "GNU tar gives every file the one name or size, bsdtar ignores the rest, too; we keep names and owners",
    ),
    (
        "access control lists of Solaris",
        "GNU tar makes a file of each, bsdtar refuses what it does not understand; it is no file, and we say that it is lost",
    ),
    ("has a NUL", "both cut a name at a NUL in a PAX record; nobody who made it expects that, and readers written in Go refuse it"),
    ("\\u{0}", "both cut a number at a NUL in a PAX record, too"),
    ("value expected; h", "GNU tar looks at the numbers of a second name, which are those of the first"),
    ("its link target is empty", "both list a link to nothing, and no file system holds one"),
    ("must be decimal seconds", "both take the digits of a malformed time for all of it; we refuse it, as they do malformed numbers"),
    (
        "a sparse segment other than the last",
        "both lay blocks out that no writer makes, where others would read on at the next whole block",
    ),
    ("its sparse segments have", "both take padding for data that is not there"),
    ("its sparse segments reach to", "both make a file that is larger than it says"),
    ("its size is '-0\\x00", "GNU tar takes it for base 64, bsdtar for a sign, and both are 0 by luck"),
    ("Skipping to next header", "both complain of bytes behind what has no content, and go on with the next header; so do we"),
    ("uid=\n", "an empty value takes a record back, as POSIX says; both refuse an empty number"),
    ("gid=\n", "an empty value takes a record back, as POSIX says; both refuse an empty number"),
    ("mtime=\n", "an empty value takes a record back, as POSIX says; both refuse an empty number"),
    ("size=\n", "an empty value takes a record back, as POSIX says; both refuse an empty number"),
];

#[test]
fn mutants_are_read_as_gnu_tar_and_bsdtar_read_them() {
    let number = |name: &str, default| env::var(name).map_or(default, |text| text.parse().unwrap());
    let (count, seed) = (number(MUTANTS, FEW), number(SEED, 1));
    let desk = tempfile::tempdir().unwrap();
    let next = AtomicU64::new(0);
    let (differences, tally) = (Mutex::new(Vec::new()), Mutex::new(BTreeMap::new()));
    let work = |worker: usize| {
        let file = desk.path().join(format!("{worker}.tar"));
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= count {
                return;
            }
            let (archive, is_odder) = archives::archive(&mut Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ nth));
            let verdict = judged(&archive, is_odder, &file);
            if let Verdict::Differs(how) = &verdict {
                keep(&archive, nth);
                differences.lock().unwrap().push(format!("mutant {nth} of seed {seed}: {how}"));
            }
            *tally.lock().unwrap().entry(verdict.name()).or_insert(0_u64) += 1;
        }
    };
    let workers = thread::available_parallelism().map_or(1, |cores| cores.get());
    thread::scope(|scope| {
        (0..workers).for_each(|worker| drop(scope.spawn(move || work(worker))));
    });
    let (differences, tally) = (differences.into_inner().unwrap(), tally.into_inner().unwrap());
    for (name, count) in &tally {
        println!("{count:>7} {name}");
    }
    let all = tally.values().sum::<u64>();
    let shown = differences[..differences.len().min(SHOWN)].join("\n");
    assert!(differences.is_empty(), "{} of {all} are read otherwise:\n{shown}", differences.len());
    assert!(tally.get("all agree").is_some_and(|agreed| agreed * 3 > all), "most mutants are no archives any more: {tally:?}");
}

/// Leaves a mutant that is read otherwise in a directory, where one is named.
fn keep(archive: &[u8], nth: u64) {
    if let Some(directory) = env::var_os(KEEP) {
        fs::write(Path::new(&directory).join(format!("{nth}.tar")), archive).unwrap();
    }
}

enum Verdict {
    AllAgree,
    AllRefuse,
    AsOne,
    WeRefuse,
    RefusedTwice,
    Decided(&'static str),
    Differs(String),
}

impl Verdict {
    fn name(&self) -> &'static str {
        match self {
            Self::AllAgree => "all agree",
            Self::AllRefuse => "all refuse",
            Self::AsOne => "they differ, and we read as one of them",
            Self::WeRefuse => "they differ, and we refuse",
            Self::RefusedTwice => "what is odd in more than one way is refused, and we read it",
            Self::Decided(why) => why,
            Self::Differs(_) => "DIFFERENT",
        }
    }
}

/// Who is right about an archive.
fn judged(archive: &[u8], is_odder: bool, file: &Path) -> Verdict {
    fs::write(file, archive).unwrap();
    let (ours, said) = judges::ours(archive);
    let (gnu, bsd) = (judges::gnu_tar(file), judges::bsdtar(file));
    match (&ours, &gnu, &bsd) {
        (Ok(ours), Ok(gnu), Ok(bsd)) if ours == gnu && ours == bsd => return Verdict::AllAgree,
        (Err(_), Err(_), Err(_)) => return Verdict::AllRefuse,
        (Err(_), gnu, bsd) if gnu.is_err() || bsd.is_err() || gnu != bsd => return Verdict::WeRefuse,
        (Ok(ours), gnu, bsd) if is_of(ours, gnu, bsd) => return Verdict::AsOne,
        _ => {}
    }
    let refusals = [&gnu, &bsd].into_iter().filter_map(|read| read.as_ref().err()).cloned().collect::<String>();
    let stands = |words: &str| {
        said.contains(words) || refusals.contains(words) || archive.windows(words.len()).any(|bytes| bytes == words.as_bytes())
    };
    match DECISIONS.iter().find(|(words, _)| stands(words)) {
        Some((_, why)) => Verdict::Decided(why),
        None if is_odder && ours.is_ok() && (gnu.is_err() || bsd.is_err()) => Verdict::RefusedTwice,
        None => {
            // Only where they differ.
            let all = [&ours, &gnu, &bsd].map(|read| read.as_ref().ok());
            let is_told = |nth: usize| {
                let mut known = all.iter().flatten().map(|facts| facts.entries.get(nth));
                let first = known.next();
                known.any(|other| Some(other) != first)
            };
            let show = |read: &Read| match read {
                Ok(facts) => {
                    let told =
                        facts.entries.iter().enumerate().filter(|(nth, _)| is_told(*nth)).map(|(_, entry)| entry).collect::<Vec<_>>();
                    format!("{} entries {told:?}", facts.entries.len())
                }
                Err(error) => format!("refuses: {error}"),
            };
            Verdict::Differs(format!("\n  ours {}\n  GNU  {}\n  bsd  {}\n  said {said}", show(&ours), show(&gnu), show(&bsd)))
        }
    }
}

/// Whether every fact is that of one of them, as far as they have as many entries; else whether all are those of one, but for entries that
/// both have.
fn is_of(ours: &Facts, gnu: &Read, bsd: &Read) -> bool {
    match (gnu, bsd) {
        (Ok(gnu), Ok(bsd)) if ours.entries.len() == gnu.entries.len() && gnu.entries.len() == bsd.entries.len() => {
            let theirs = gnu.entries.iter().zip(&bsd.entries);
            ours.entries.iter().zip(theirs).all(|(ours, (gnu, bsd))| ours.is_of(gnu, bsd))
                && (ours.has_content_of(gnu) || ours.has_content_of(bsd))
        }
        _ => [(gnu, bsd), (bsd, gnu)].into_iter().any(|(theirs, others)| {
            let others = others.as_ref().map_or(&[][..], |others| &others.entries);
            theirs.as_ref().is_ok_and(|theirs| {
                let both = |their: &Named| others.iter().find(|other| other.path() == their.path()).unwrap_or(their).clone();
                ours.entries.len() == theirs.entries.len()
                    && ours.entries.iter().zip(&theirs.entries).all(|(ours, their)| ours.is_of(their, &both(their)))
                    && ours.has_content_of(theirs)
            })
        }),
    }
}
