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

/// Fetches what a URL names.
pub(super) type Fetch<'a> = &'a dyn Fn(&str, u64) -> Result<Vec<u8>>;

/// All configurations, merged: files, standard input, and what has a URL.
///
/// # Errors
/// When one cannot be read or is none.
pub(super) fn configuration(configurations: &[PathBuf], fetch: Fetch<'_>) -> Result<Config> {
    let mut merged: Option<Config> = None;
    let mut is_local = false;
    for path in configurations {
        let url = url(path);
        let text = url.map_or_else(|| read(path), |url| fetch(url, YML_MAX)).at(|| input::show(path))?;
        is_local |= path != Path::new(STDIN) && url.is_none();
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

/// What is meant as a URL. A file of such a name is `./http://…`.
fn url(path: &Path) -> Option<&str> {
    path.to_str().filter(|text| text.starts_with("https://") || text.starts_with("http://"))
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
        Some(last) if last != Path::new(STDIN) && url(last).is_none() => Ok(last.with_extension("lock")),
        _ => Err(Error::bad_input("what comes from standard input or a URL has no place beside it for a lock")
            .hint("name one with -o or --lock")),
    }
}
