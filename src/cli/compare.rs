//! `moby compare`: whether two disks have the same content, whatever containers they are in.

use super::{Global, files, notes, values::named};
use crate::{
    convert::Reporter,
    error::{At, COMPARE_EXIT_CODES, Error, Result, compared as code},
    input::{self, Input, Opening},
};
use formats::{Blob, Env, compare::first_difference};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  moby compare disk.raw disk.qcow2
  moby compare a.vmdk b.vhdx --strict
  moby compare --files old.tar new.qcow2";

const REMARK: &str = "A longer disk is the same when it has only zeros where the other has ended, unless --strict is given.";

/// Compare the content of two disks, of any two formats
#[derive(Debug, clap::Args)]
#[command(after_help = notes::with_exit_codes(EXAMPLES, "Exit codes, those of qemu-img compare", COMPARE_EXIT_CODES, REMARK))]
pub(super) struct Compare {
    /// A disk, plain or compressed
    #[arg(value_name = "A")]
    first: PathBuf,
    /// Another one
    #[arg(value_name = "B")]
    second: PathBuf,
    /// What A is [default: told by its content]
    #[arg(long, short = 'f', value_name = "FORMAT", value_parser = named::<input::Kind>())]
    from: Option<input::Kind>,
    /// What B is [default: told by its content]
    #[arg(long, short = 'F', value_name = "FORMAT", value_parser = named::<input::Kind>())]
    second_from: Option<input::Kind>,
    /// Compare the files instead: kernel, command line, microcode and root file system of two tars, two disks, or one of each
    #[arg(long, conflicts_with = "strict")]
    files: bool,
    /// The sizes must be the same, too
    #[arg(long, short)]
    strict: bool,
    /// A snapshot of B; --snapshot is for A
    #[arg(long, value_name = "NAME", help_heading = "Reading")]
    second_snapshot: Option<String>,
    #[command(flatten)]
    reading: super::ReadingArgs,
}

impl Compare {
    pub(super) fn run(&self, global: &Global) -> ExitCode {
        if self.files {
            return match self.compare_files(global) {
                Ok(code) => ExitCode::from(code),
                Err(error) => super::fail_with(&error, code::NOT_OPENED),
            };
        }
        let opened = super::env(global, &std::env::temp_dir()).and_then(|mut env| {
            let [of_first, of_second] = self.openings();
            let first = disk(&self.first, self.from, &of_first, &mut env)?;
            let second = disk(&self.second, self.second_from, &of_second, &mut env)?;
            Ok((first, second, env))
        });
        let (first, second, env) = match opened {
            Ok(opened) => opened,
            Err(error) => return super::fail_with(&error, code::NOT_OPENED),
        };
        match self.compare(&first, &second, global, env) {
            Ok(code) => ExitCode::from(code),
            Err(error) => super::fail_with(&error, code::NOT_READ),
        }
    }

    fn openings(&self) -> [Opening; 2] {
        let of_second = Opening { snapshot: self.second_snapshot.clone(), ..self.reading.of(&self.second) };
        [self.reading.of(&self.first), of_second]
    }

    fn compare_files(&self, global: &Global) -> Result<u8> {
        let mut env = super::env(global, &std::env::temp_dir())?;
        let [of_first, of_second] = self.openings();
        let first = input::read_any(&self.first, self.from, &of_first, &mut env)?.input;
        let second = input::read_any(&self.second, self.second_from, &of_second, &mut env)?.input;
        of_first.refuse_unless_heeded(&[&first, &second])?;
        of_second.refuse_unless_heeded(&[&first, &second])?;
        let first = first.image(&mut env).at(|| input::show(&self.first))?;
        let second = second.image(&mut env).at(|| input::show(&self.second))?;
        let lines = files::differences(&first, &second, &env)?;
        if lines.is_empty() {
            super::print("The files are the same.\n")?;
            return Ok(code::SAME);
        }
        super::print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
        Ok(code::DIFFERENT)
    }

    fn compare(&self, first: &Blob, second: &Blob, global: &Global, mut env: Env) -> Result<u8> {
        let (a, b) = (first.len(), second.len());
        if a != b && self.strict {
            super::print(&format!("The sizes differ: {a} and {b} bytes.\n"))?;
            return Ok(code::DIFFERENT);
        }
        let step = global.ui().step("compare");
        env.progress = Arc::clone(&step);
        let difference = first_difference(first, second, &env)?;
        drop((env, step));
        match difference {
            None if a != b => super::print(&format!("The disks are the same but for zeros at the end: {a} and {b} bytes.\n"))?,
            None => super::print("The disks are the same.\n")?,
            Some(at) if at >= a.min(b) => {
                super::print(&format!("The sizes differ, {a} and {b} bytes, and the longer disk has data at offset {at}.\n"))?;
            }
            Some(at) => super::print(&format!("The disks differ at offset {at}.\n"))?,
        }
        Ok(if difference.is_none() { code::SAME } else { code::DIFFERENT })
    }
}

fn disk(path: &Path, from: Option<input::Kind>, opening: &Opening, env: &mut Env) -> Result<Blob> {
    let place = || input::show(path);
    match input::read(path, from, opening, env)?.input {
        Input::Disk { disk, .. } => Ok(disk),
        Input::Uki(_) => {
            Err(Error::bad_input("is a unified kernel image, must be a disk").hint("compare the files in it with --files").at(place()))
        }
        Input::Container(_) => {
            Err(Error::bad_input("is a container image, must be a disk").hint("compare the files in it with --files").at(place()))
        }
        Input::Tar(_) => Err(Error::bad_input("is a tar, must be a disk").hint("compare the files of tars with --files").at(place())),
    }
}
