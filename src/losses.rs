//! What an archive or a file system could not hold of a tree, as warnings.

use formats::tree::{Losses, ShowPath};

/// How many names a warning gives.
const NAMES_MAX: usize = 5;

/// Warnings about what does not fit `what`, which has times of these years.
pub(crate) fn warnings(what: &str, years: &str, losses: &Losses) -> Vec<String> {
    let mut warnings = Vec::new();
    if !losses.xattrs.is_empty() {
        let mut names: Vec<_> = losses.xattrs.iter().flat_map(|(_, names)| names).map(|name| ShowPath(name).to_string()).collect();
        names.sort();
        names.dedup();
        let files = list(losses.xattrs.iter().map(|(path, _)| path.as_slice()));
        warnings.push(format!("{what} does not hold extended attributes: {} stay behind, of {files}", names.join(", ")));
    }
    if !losses.times.is_empty() {
        let files = list(losses.times.iter().map(Vec::as_slice));
        warnings.push(format!("{what} has times from {years}: moved there for {files}"));
    }
    warnings
}

/// The first few paths, and how many more there are.
fn list<'a>(paths: impl ExactSizeIterator<Item = &'a [u8]>) -> String {
    let more = paths.len().saturating_sub(NAMES_MAX);
    let mut text = paths.take(NAMES_MAX).map(|path| ShowPath(path).to_string()).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
