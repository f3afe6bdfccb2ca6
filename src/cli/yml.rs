//! The configurations that a command line names.

use crate::{
    error::{At, Error, Result},
    input::{self, STDIN},
    linuxkit::{self, Config, Packages},
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Most bytes of a configuration.
const YML_MAX: u64 = 16 << 20;

/// All configurations, merged.
///
/// # Errors
/// When one cannot be read or is none.
pub(super) fn configuration(configurations: &[PathBuf]) -> Result<Config> {
    let mut merged: Option<Config> = None;
    let mut is_local = false;
    for path in configurations {
        let text = read(path).at(|| input::show(path))?;
        is_local |= path != Path::new(STDIN);
        let directory = path.parent().unwrap_or(Path::new(""));
        let resolve = |package: &str| linuxkit::package(directory, package);
        let resolve: Option<Packages<'_>> = if is_local { Some(&resolve) } else { None };
        let config = Config::parse(&input::show(path), &text, resolve)?;
        merged = Some(match merged {
            None => config,
            Some(earlier) => earlier.merge(config)?,
        });
    }
    merged.ok_or_else(|| Error::bad_input("there is no configuration"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let from: &mut dyn Read = if path == Path::new(STDIN) { &mut std::io::stdin().lock() } else { &mut File::open(path)? };
    from.take(YML_MAX + 1).read_to_end(&mut text)?;
    match text.len() as u64 <= YML_MAX {
        true => Ok(text),
        false => Err(Error::bad_input(format!("it has more than {YML_MAX} bytes, which is no configuration"))),
    }
}

/// The lock of configurations: the name of the last one, ending in `.lock`.
///
/// # Errors
/// When that is standard input.
pub(super) fn lock_beside(configurations: &[PathBuf]) -> Result<PathBuf> {
    match configurations.last() {
        Some(last) if last != Path::new(STDIN) => Ok(last.with_extension("lock")),
        _ => Err(Error::bad_input("standard input has no name to name a lock after").hint("name one with -o or --lock")),
    }
}
