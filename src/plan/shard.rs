//! A part of a plan: of every N rows one, counted from 0.

use crate::error::{Error, Result};
use std::str::FromStr;

/// Every N-th row from row I on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// Reads `I/N`, where either may be the name of a variable behind a `$`: a container without a shell has nobody else to look it up.
    ///
    /// # Errors
    /// When it is none, or a variable is not set.
    pub(crate) fn parse(text: &str, variables: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let wrong = || {
            let what = format!("'{}' must be I/N, two numbers, I counted from 0 and below N", text.escape_debug());
            Error::bad_input(what).hint("as in 0/4, or $SLURM_ARRAY_TASK_ID/4")
        };
        let (index, count) = text.split_once('/').ok_or_else(wrong)?;
        let number = |word: &str| match word.strip_prefix('$') {
            None => word.parse().map_err(|_| wrong()),
            Some(name) => {
                let value = variables(name).ok_or_else(|| Error::bad_input(format!("the variable {} is not set", name.escape_debug())))?;
                let what = || format!("the variable {} is '{}', must be a number", name.escape_debug(), value.escape_debug());
                value.parse().map_err(|_| Error::bad_input(what()))
            }
        };
        let shard = Self { index: number(index)?, count: number(count)? };
        if shard.index >= shard.count {
            let what = format!("there is no part {} of {}: they are counted from 0", shard.index, shard.count);
            return Err(Error::bad_input(what).hint("let the engine count from 0, too"));
        }
        Ok(shard)
    }

    /// Whether a row is in it, by its number from 0.
    pub(crate) fn has(self, row: usize) -> bool {
        row % self.count == self.index
    }
}

/// By the variables of this process.
impl FromStr for Shard {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text, |name| std::env::var(name).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_shard() {
        let shards: Vec<_> = (0..3).map(|index| Shard { index, count: 3 }).collect();
        assert!((0..100).all(|row| shards.iter().filter(|shard| shard.has(row)).count() == 1));
    }

    #[test]
    fn variables_are_looked_up() {
        let variables = |name: &str| Some(name).filter(|name| *name == "ID").map(|_| "2".to_owned());
        assert_eq!(Shard::parse("$ID/4", variables).unwrap(), Shard { index: 2, count: 4 });
        for (text, said) in [
            ("4/4", "there is no part 4 of 4"),
            ("0/0", "there is no part 0 of 0"),
            ("$GONE/4", "the variable GONE is not set"),
            ("1", "must be I/N"),
            ("-1/2", "must be I/N"),
            ("$ID/2", "there is no part 2 of 2"),
        ] {
            let refused = Shard::parse(text, variables).unwrap_err().to_string();
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }
}
