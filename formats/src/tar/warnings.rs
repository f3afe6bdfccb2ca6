//! What is odd about an archive and no error: each once, however many entries have it.

use crate::tree::ShowPath;
use std::collections::BTreeSet;

/// Different attributes that are told; an archive may have any number.
const TOLD_MAX: usize = 16;

/// What was odd so far.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    /// Where an archive without an end ends.
    no_end: Option<u64>,
    /// The first single block of zeros, and whether the archive goes on behind it.
    single_zeros: Option<(u64, bool)>,
    /// Types that nobody defines.
    types: BTreeSet<u8>,
    /// Attributes that no inode has a place for.
    lost: BTreeSet<String>,
    /// Keywords that stand in global headers and make sense for one entry only.
    global: BTreeSet<String>,
}

impl Warnings {
    pub(super) fn no_end(&mut self, at: u64) {
        self.no_end = Some(at);
    }

    pub(super) fn single_zeros(&mut self, at: u64, goes_on: bool) {
        let (first, _) = self.single_zeros.unwrap_or((at, goes_on));
        self.single_zeros = Some((first, goes_on));
    }

    pub(super) fn unknown_type(&mut self, typeflag: u8) {
        self.types.insert(typeflag);
    }

    /// An attribute that is not kept, as people call it.
    pub(super) fn lost(&mut self, what: &str) {
        note(&mut self.lost, what);
    }

    /// A keyword of a global header that is left out.
    pub(super) fn global(&mut self, keyword: &[u8]) {
        note(&mut self.global, &ShowPath(keyword).to_string());
    }

    /// All of it, in words.
    pub(super) fn texts(&self) -> Vec<String> {
        let no_end = |at: u64| format!("the archive has no end: it may be cut (two blocks of zeros should stand at byte {at})");
        let zeros = |(at, goes_on): (u64, bool)| {
            let then = if goes_on { "what follows is read, too" } else { "what stands behind is no entry, and left out" };
            format!("there is a single block of zeros at byte {at}, and two end an archive: {then}")
        };
        let types = self.types.iter().map(|typeflag| format!("'{}'", typeflag.escape_ascii())).collect::<Vec<_>>().join(", ");
        let list = |of: &BTreeSet<String>| of.iter().cloned().collect::<Vec<_>>().join(", ");
        let mut texts = Vec::from_iter(self.no_end.map(no_end));
        texts.extend(self.single_zeros.map(zeros));
        texts.extend((!types.is_empty()).then(|| format!("entries of the unknown type {types} are taken for files, as POSIX demands")));
        texts.extend((!self.lost.is_empty()).then(|| format!("attributes of entries are not kept: {}", list(&self.lost))));
        let global =
            || format!("global headers say of all entries what can be said of one only, which is left out: {}", list(&self.global));
        texts.extend((!self.global.is_empty()).then(global));
        texts
    }
}

fn note(to: &mut BTreeSet<String>, what: &str) {
    if to.len() < TOLD_MAX {
        to.insert(what.to_owned());
    }
}
