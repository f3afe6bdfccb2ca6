//! A file and the rules of a store: the parts in which it goes there.
//!
//! ```text
//!  file    │ data │           zeros           │ data │ zeros │
//!  sent    ├───────┬───────┬───────┬───────┬───────┬───────┤    equal parts, those without data marked
//!  skipped ├──────┤                           ├──────┤            the data alone, in whole units
//! ```

use formats::{Blob, Error, Result, units};
use std::ops::Range;

/// What a store asks of the parts of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Parts begin and end at multiples of so many bytes, or at the file's end.
    pub unit: u64,
    /// Bytes of a part, a multiple of the unit; more where there would be too many.
    pub part: u64,
    /// Most bytes of a part.
    pub part_max: u64,
    /// Most parts of a file.
    pub count_max: u64,
    /// What becomes of zeros.
    pub zeros: Zeros,
}

/// What becomes of the parts of a file that have no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeros {
    /// They are parts as others are.
    Sent,
    /// The store has zeros wherever nothing was written.
    Skipped,
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which: the place divided by the size of parts; where zeros are skipped, by the unit.
    pub number: u64,
    /// The bytes.
    pub range: Range<u64>,
    /// Whether there is anything but zeros in it.
    pub has_data: bool,
}

impl Part {
    /// How many bytes.
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether it has no bytes: the only part of an empty file.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl Rules {
    /// How large the parts of a file of so many bytes are.
    ///
    /// # Errors
    /// Unsupported: there would be more or larger ones than the store takes.
    pub fn size(&self, len: u64) -> Result<u64> {
        let least = len.div_ceil(self.count_max);
        let size = units::round_up(least.max(self.part), self.unit).filter(|size| *size <= self.part_max);
        size.ok_or_else(|| {
            let most = units::show_size(self.part_max.saturating_mul(self.count_max));
            Error::unsupported(format!("the file has {}, there may be {most}", units::show_size(len)))
        })
    }

    /// The parts of a file in order. Every byte that is not zero is in exactly one.
    ///
    /// # Errors
    /// As [`Rules::size`].
    pub fn parts<'a>(&self, blob: &'a Blob) -> Result<Box<dyn Iterator<Item = Part> + Send + 'a>> {
        let (unit, len, size) = (self.unit, blob.len(), self.size(blob.len())?);
        let at = move |start: u64, end: u64| start..end.min(len);
        match self.zeros {
            Zeros::Skipped => Ok(Box::new(blob.data_units(unit).flat_map(move |run| {
                let (start, end) = (run.start * unit, run.end * unit);
                (0..(end - start).div_ceil(size)).map(move |nth| start + nth * size).map(move |start| Part {
                    number: start / unit,
                    range: at(start, end.min(start + size)),
                    has_data: true,
                })
            }))),
            Zeros::Sent => {
                let mut data = blob.data_units(size).peekable();
                Ok(Box::new((0..len.div_ceil(size).max(1)).map(move |number| {
                    while data.next_if(|run| run.end <= number).is_some() {}
                    let has_data = data.peek().is_some_and(|run| run.contains(&number));
                    Part { number, range: at(number * size, (number + 1) * size), has_data }
                })))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = units::MIB;

    fn rules(zeros: Zeros) -> Rules {
        Rules { unit: 4, part: 16, part_max: 64, count_max: 20, zeros }
    }

    fn blob(runs: &[(u64, u64)]) -> Blob {
        let mut blob = Blob::default();
        for (zeros, data) in runs {
            blob.append(&Blob::zeros(*zeros));
            blob.append(&Blob::bytes(vec![7; units::index(*data)]));
        }
        blob
    }

    #[test]
    fn equal_parts_say_whether_they_have_data() {
        let file = blob(&[(40, 1), (30, 9)]);
        let all: Vec<_> = rules(Zeros::Sent).parts(&file).unwrap().collect();
        let wanted = [(0..16, false), (16..32, false), (32..48, true), (48..64, false), (64..80, true)];
        assert_eq!(all.iter().map(|part| (part.range.clone(), part.has_data)).collect::<Vec<_>>(), wanted);
        assert_eq!(all.iter().map(|part| part.number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        let empty: Vec<_> = rules(Zeros::Sent).parts(&Blob::default()).unwrap().collect();
        assert_eq!(empty, [Part { number: 0, range: 0..0, has_data: false }]);
    }

    #[test]
    fn what_is_skipped_is_zero() {
        let file = blob(&[(41, 1), (29, 20), (100, 0)]);
        let all: Vec<_> = rules(Zeros::Skipped).parts(&file).unwrap().collect();
        assert_eq!(all.iter().map(|part| part.range.clone()).collect::<Vec<_>>(), [40..44, 68..84, 84..92]);
        assert_eq!(all.iter().map(|part| part.number).collect::<Vec<_>>(), [10, 17, 21]);
    }

    #[test]
    fn larger_files_have_larger_parts() {
        let rules = Rules { unit: 1, part: 8 * MIB, part_max: 5 << 30, count_max: 10_000, zeros: Zeros::Sent };
        assert_eq!(rules.size(0).unwrap(), 8 * MIB);
        assert_eq!(rules.size(80_000 * MIB).unwrap(), 8 * MIB);
        assert_eq!(rules.size(80_000 * MIB + 1).unwrap(), 8 * MIB + 1);
        let error = rules.size((50_000 << 30) + 1).unwrap_err().to_string();
        assert!(error.starts_with("the file has 48.8 TiB, there may be 48.8 TiB"), "{error}");
    }

    proptest! {
        #[test]
        fn every_byte_of_data_is_in_one_part(
            runs in prop::collection::vec((0u64..90, 0u64..40), 0..9),
            tail in 0u64..90,
            skips in any::<bool>(),
            (unit, multiple, most) in (1u64..8, 1u64..6, 1u64..12),
        ) {
            let zeros = if skips { Zeros::Skipped } else { Zeros::Sent };
            let rules = Rules { unit, part: unit * multiple, part_max: u64::MAX >> 1, count_max: most, zeros };
            let mut file = blob(&runs);
            file.append(&Blob::zeros(tail));
            let bytes = file.to_vec(1 << 20).unwrap();
            let parts: Vec<_> = rules.parts(&file).unwrap().collect();
            let mut seen = vec![0; bytes.len()];
            let mut end = 0;
            for part in &parts {
                prop_assert!(part.range.start >= end && (part.range.start < part.range.end || bytes.is_empty()));
                prop_assert_eq!(part.range.start % unit, 0);
                prop_assert!(part.range.end % unit == 0 || part.range.end == file.len());
                end = part.range.end;
                let range = units::index(part.range.start)..units::index(part.range.end);
                prop_assert_eq!(part.has_data, bytes[range.clone()].iter().any(|byte| *byte != 0));
                seen[range].iter_mut().for_each(|count| *count += 1);
            }
            let in_one = |(byte, count): (&u8, &i32)| *count == 1 || skips && *count == 0 && *byte == 0;
            prop_assert!(bytes.iter().zip(&seen).all(in_one));
            if !skips {
                prop_assert!(parts.len() <= usize::try_from(most).unwrap().max(1));
                prop_assert!(parts.iter().rev().skip(1).all(|part| part.len() == rules.size(file.len()).unwrap()));
            }
        }
    }
}
