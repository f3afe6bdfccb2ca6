//! What a process leaves behind that is interrupted, and what one left that was killed.

use super::destination::Destination;
use crate::{
    error::{At, Result},
    taking_back::Unfinished,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What is unfinished of this process, so that a signal can remove it.
#[derive(Debug)]
pub(super) struct Debris {
    /// Temporary files and new directories.
    pub(super) paths: Vec<PathBuf>,
    /// What is elsewhere.
    pub(super) uploads: Vec<Arc<dyn Destination>>,
}

static DEBRIS: Mutex<Debris> = Mutex::new(Debris { paths: Vec::new(), uploads: Vec::new() });

/// The debris. While this is held, a signal waits.
pub(super) fn lock() -> MutexGuard<'static, Debris> {
    DEBRIS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes everything unfinished that is here, and adds what is elsewhere to what is to be taken back. Called when the program is
/// interrupted, and waits while files take their names. Gives back a guard that keeps new ones from being named.
pub(crate) fn sweep(elsewhere: &mut Vec<Unfinished>) -> impl Drop + use<> {
    let debris = lock();
    for path in &debris.paths {
        // There is nobody left to tell.
        let _: io::Result<()> = fs::remove_file(path);
    }
    for path in &debris.paths {
        // Empty again, the inner ones first.
        let _: io::Result<()> = fs::remove_dir(path);
    }
    elsewhere.extend(
        debris.uploads.iter().cloned().map(|upload| Unfinished { what: upload.to_string(), take_back: Box::new(move || upload.abandon()) }),
    );
    debris
}

/// How many characters stand behind the prefix of a temporary file.
pub(super) const RANDOM: usize = 6;

/// Removes the temporary files with this prefix that a run left which was killed: those that nobody holds.
#[cfg(unix)]
pub(super) fn remove_abandoned(directory: &Path, prefix: &str) {
    let is_temporary = |name: &std::ffi::OsStr| {
        name.to_str().and_then(|name| name.strip_prefix(prefix)).is_some_and(|rest| rest.len() == RANDOM && rest.is_ascii())
    };
    // What cannot be looked at is not ours.
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_temporary(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_file())) {
        let path = entry.path();
        if let Ok(file) = fs::File::open(&path)
            && file.try_lock().is_ok()
        {
            let _: io::Result<()> = fs::remove_file(&path);
        }
    }
}

/// Where a file is not locked while it is written, nobody knows whose it is.
#[cfg(not(unix))]
pub(super) fn remove_abandoned(_: &Path, _: &str) {}

/// Directories that were made for outputs, removed again where nothing came to be in them.
#[derive(Debug)]
pub struct NewDirectories(Vec<PathBuf>);

/// Makes a directory and what of its parents is missing.
///
/// # Errors
/// When it cannot be made.
pub fn make_directory(path: &Path) -> Result<NewDirectories> {
    let missing = path.ancestors().filter(|above| !above.as_os_str().is_empty()).take_while(|above| !above.exists());
    let made = NewDirectories(missing.map(Path::to_owned).collect());
    let mut debris = lock();
    debris.paths.extend(made.0.iter().cloned());
    fs::create_dir_all(path).at(|| format!("cannot make the directory {}", path.display()))?;
    Ok(made)
}

impl Drop for NewDirectories {
    fn drop(&mut self) {
        let mut debris = lock();
        for path in &self.0 {
            // One with an output in it stays.
            let _: io::Result<()> = fs::remove_dir(path);
        }
        debris.paths.retain(|path| !self.0.contains(path));
    }
}
