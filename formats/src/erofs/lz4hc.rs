//! An encoder of LZ4 blocks (LZ4 block format, 2022) that takes its time: the longest match at every byte by hash chains,
//! then the cheapest way through them. What it writes is read as fast as any LZ4 block.
//!
//! ```text
//!  token: literals << 4 | match length - 4 | more of the literals' number | literals | distance (16 bits) | more of the length
//!         15 of either means that bytes follow, which are added, up to and with the first below 255
//! ```
//! The last sequence is literals alone, at least 5; no match starts in the last 12 bytes.

/// The shortest match.
const MATCH_MIN: usize = 4;
/// The last bytes of a block, which are literals.
const LITERALS_AT_END: usize = 5;
/// No match starts here, counted from the end.
const NO_MATCH_AT_END: usize = 12;
/// How far back a match may be.
const DISTANCE_MAX: usize = 65_535;
/// How many earlier places are looked at for each byte.
const TRIES: u32 = 32;
/// A match of this length is good: its end is looked for in fewer places.
const GOOD: usize = 8;
/// How many these are.
const TRIES_IF_GOOD: u32 = 8;
/// A match of this length is good enough: its end is not looked for anywhere else.
const ENOUGH: usize = 64;
/// Places of the table of latest places.
const HASH_BITS: u32 = 15;
/// What a nibble of the token can say.
const NIBBLE: usize = 15;

/// The block that unpacks to `plain`, which is shorter than 4 GiB.
pub(super) fn compress(plain: &[u8]) -> Vec<u8> {
    let matches = longest_matches(plain);
    let lengths = cheapest(&matches, plain.len());
    let mut block = Vec::with_capacity(plain.len() / 2);
    let (mut at, mut literals) = (0, 0);
    while at < plain.len() {
        match wide(lengths[at]) {
            0 => at += 1,
            len => {
                let distance = matches[at].distance;
                sequence(&mut block, &plain[literals..at], Some((len, distance)));
                at += len;
                literals = at;
            }
        }
    }
    sequence(&mut block, &plain[literals..], None);
    block
}

/// A match that ends as far behind a place as any.
#[derive(Clone, Copy, Debug, Default)]
struct Match {
    /// 0: there is none.
    len: u32,
    distance: u16,
}

fn wide(value: u32) -> usize {
    usize::try_from(value).expect("memory has 32 bits at least")
}

fn narrow(value: usize) -> u32 {
    u32::try_from(value).expect("a block is shorter than 4 GiB")
}

/// The longest match at every byte.
fn longest_matches(plain: &[u8]) -> Vec<Match> {
    let mut found = vec![Match::default(); plain.len()];
    let starts = plain.len().saturating_sub(NO_MATCH_AT_END);
    let end = plain.len().saturating_sub(LITERALS_AT_END);
    // The latest place of each hash, and how far before each place the one before it is; 0 is none or too far.
    let mut latest = vec![u32::MAX; 1 << HASH_BITS];
    let mut steps = vec![0_u16; starts];
    for at in 0..starts {
        let slot = &mut latest[hash(plain, at)];
        // What is too far is not needed, and u32::MAX is too far.
        steps[at] = at.checked_sub(wide(*slot)).and_then(|step| u16::try_from(step).ok()).unwrap_or_default();
        *slot = narrow(at);
        // The match of the byte before goes on here, one shorter.
        let before = at.checked_sub(1).map(|before| found[before]).unwrap_or_default();
        let known = Match { len: before.len.saturating_sub(1), ..before };
        found[at] = if wide(known.len) >= ENOUGH { known } else { longest_match(&plain[..end], at, &steps, known) };
    }
    found
}

fn hash(plain: &[u8], at: usize) -> usize {
    let word = plain[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    wide(word.wrapping_mul(2_654_435_761) >> (u32::BITS - HASH_BITS))
}

/// Follows the chain of places with the same hash for a match longer than the known one.
fn longest_match(plain: &[u8], at: usize, steps: &[u16], known: Match) -> Match {
    let mut best = known;
    let here = &plain[at..];
    let mut place = at;
    let tries = if wide(known.len) >= GOOD { TRIES_IF_GOOD } else { TRIES };
    for _ in 0..tries {
        let step = usize::from(steps[place]);
        place -= step;
        if step == 0 || at - place > DISTANCE_MAX {
            break;
        }
        // A longer one has the next byte right.
        let next = wide(best.len);
        if here.get(next).is_none_or(|byte| plain[place + next] != *byte) {
            continue;
        }
        let len = same(here, &plain[place..]);
        if len >= MATCH_MIN && len > next {
            let distance = u16::try_from(at - place).expect("at most DISTANCE_MAX");
            best = Match { len: narrow(len), distance };
            if len >= ENOUGH {
                break;
            }
        }
    }
    if wide(best.len) < MATCH_MIN { Match::default() } else { best }
}

/// How many bytes are the same from the start.
fn same(a: &[u8], b: &[u8]) -> usize {
    let ((words_a, _), (words_b, _)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let whole = words_a.iter().zip(words_b).take_while(|(a, b)| a == b).count() * 8;
    whole + a[whole..].iter().zip(&b[whole..]).take_while(|(a, b)| a == b).count()
}

/// How long the match is that each byte had best start; 0 for literals. Found from the end: what a place costs is known once
/// all places behind it are.
fn cheapest(matches: &[Match], len: usize) -> Vec<u32> {
    let mut lengths = vec![0; len];
    let mut costs = vec![0_u32; len + 1];
    // Literals from a place on, until the next match.
    let mut literals = 0;
    for at in (0..len).rev() {
        literals += 1;
        let more = literals >= NIBBLE && (literals - NIBBLE).is_multiple_of(255);
        let mut best = costs[at + 1] + 1 + u32::from(more);
        let longest = wide(matches[at].len);
        // Every shorter match is as near. Of a long one only the whole is worth a look.
        let shortest = if longest >= ENOUGH { longest } else { MATCH_MIN };
        for len in shortest..=longest {
            let cost = costs[at + len] + 3 + narrow(more_bytes(len - MATCH_MIN));
            if cost <= best {
                (best, lengths[at]) = (cost, narrow(len));
            }
        }
        if lengths[at] > 0 {
            literals = 0;
        }
        costs[at] = best;
    }
    lengths
}

/// Bytes that follow for what a nibble cannot say.
fn more_bytes(value: usize) -> usize {
    if value < NIBBLE { 0 } else { 1 + (value - NIBBLE) / 255 }
}

fn sequence(block: &mut Vec<u8>, literals: &[u8], of: Option<(usize, u16)>) {
    let nibble = |value: usize| u8::try_from(value.min(NIBBLE)).expect("4 bits");
    let rest = of.map_or(0, |(len, _)| len - MATCH_MIN);
    block.push(nibble(literals.len()) << 4 | nibble(rest));
    put_more(block, literals.len());
    block.extend_from_slice(literals);
    if let Some((_, distance)) = of {
        block.extend_from_slice(&distance.to_le_bytes());
        put_more(block, rest);
    }
}

fn put_more(block: &mut Vec<u8>, value: usize) {
    if let Some(mut left) = value.checked_sub(NIBBLE) {
        while let Err(_) | Ok(255) = u8::try_from(left) {
            block.push(255);
            left -= 255;
        }
        block.extend(u8::try_from(left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lz4_flex::block;
    use proptest::prelude::*;

    /// Unpacks, and fails where the end is not as the format demands.
    fn unpacked(packed: &[u8], len: usize) -> Vec<u8> {
        block::decompress(packed, len).unwrap()
    }

    fn text(len: usize) -> Vec<u8> {
        (0_u64..).flat_map(|n| format!("line {n}, {}\n", n * 7919 % 1000).into_bytes()).take(len).collect()
    }

    #[test]
    fn every_length_comes_back() {
        for len in (0..600).chain([4095, 4096, 65_535, 65_536, 131_072]) {
            for plain in [text(len), vec![0; len], (0..len).map(|n| n.to_le_bytes()[0]).collect()] {
                assert!(unpacked(&compress(&plain), len) == plain, "{len}");
            }
        }
    }

    #[test]
    fn the_end_is_literals() {
        // One match that could go on to the end: it ends 5 bytes before.
        let packed = compress(&[7; 100]);
        assert_eq!(packed, [0x1f, 7, 1, 0, 75, 0x50, 7, 7, 7, 7, 7]);
        assert_eq!(compress(&[7; 12])[0], 0xc0);
    }

    #[test]
    fn it_beats_the_fast_encoder() {
        let plain = text(131_072);
        let (slow, fast) = (compress(&plain).len(), block::compress(&plain).len());
        assert!(slow * 10 < fast * 9, "{slow} of {fast}");
    }

    proptest! {
        #[test]
        fn anything_comes_back(pieces in prop::collection::vec((prop::collection::vec(0_u8..4, 0..40), 1_usize..30), 0..60)) {
            let mut plain = Vec::new();
            for (piece, times) in pieces {
                (0..times).for_each(|_| plain.extend_from_slice(&piece));
                let again = plain.len() / 3..plain.len() / 2;
                plain.extend_from_within(again);
                plain.truncate(300_000);
            }
            prop_assert!(unpacked(&compress(&plain), plain.len()) == plain);
        }
    }
}
