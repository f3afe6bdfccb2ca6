//! Numbers for names that would else be the same: identifiers of ISO 9660, short names of FAT.
//!
//! A number stands at the end of a name, which is cut so that both fit; so names that differ where they are cut share their numbers.
//! What one of them has used up is not tried for the next: time stays proportional to the names.

use std::{collections::HashMap, hash::Hash};

/// The next number of each kin: of names that have all in common when a number of so many digits stands behind them.
#[derive(Debug)]
pub(crate) struct Numbers<K>(HashMap<(K, u32), u32>);

impl<K> Default for Numbers<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Numbers<K> {
    /// The first of the names `numbered(n)` that is free, n counting up from `first`; `kin(digits)` is what such names have in common.
    pub(crate) fn free<T>(
        &mut self,
        first: u32,
        kin: impl Fn(u32) -> K,
        numbered: impl Fn(u32) -> T,
        mut is_free: impl FnMut(&T) -> bool,
    ) -> T {
        for digits in 1.. {
            let (least, most) = (if digits == 1 { first } else { 10_u32.pow(digits - 1) }, 10_u32.saturating_pow(digits));
            let next = self.0.entry((kin(digits), digits)).or_insert(least);
            while *next < most {
                let name = numbered(*next);
                *next += 1;
                if is_free(&name) {
                    return name;
                }
            }
        }
        unreachable!("a directory has less than 2^32 names")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, collections::HashSet};

    /// Names of five characters: every stem shares the numbers of all that begin alike.
    #[test]
    fn no_number_is_tried_twice() {
        let (mut numbers, mut taken, tries) = (Numbers::default(), HashSet::new(), Cell::new(0));
        for stem in 0..9000_u32 {
            let stem = format!("n{stem:04}");
            let cut = |digits: u32| stem[..5 - usize::try_from(digits).unwrap()].to_owned();
            let numbered = |n: u32| {
                tries.set(tries.get() + 1);
                format!("{}{n}", cut(n.to_string().len().try_into().unwrap()))
            };
            let name = numbers.free(0, cut, numbered, |name| !taken.contains(name));
            assert!(name.len() == 5 && taken.insert(name));
        }
        assert!(tries.get() < 2 * 9000, "{}", tries.get());
    }
}
