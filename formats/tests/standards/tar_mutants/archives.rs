//! Archives that no writer makes, always the same of one seed.

/// Marsaglia's xorshift64*, and how many odd things it may still put into an archive: who does two at once is refused for two reasons.
pub(super) struct Random {
    state: u64,
    odd: usize,
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Self { state: seed << 1 | 1, odd: 0 };
        random.state = (0..8).fold(0, |sum: u64, _| sum.rotate_left(13) ^ random.next()) | 1;
        random.odd = if random.once_in(6) { 2 } else { 1 };
        random
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// Once in so many times, as long as anything odd may still be.
    fn oddly(&mut self, n: usize) -> bool {
        let is_odd = self.odd > 0 && self.once_in(n);
        self.odd -= usize::from(is_odd);
        is_odd
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next()).unwrap() % n
    }

    /// Once in so many times.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

const BLOCK: usize = 512;
const NAMES: [&[u8]; 10] =
    [b"a", b"b", b"dir/c", b"./d", b"/abs", b"x//y", b"with space", b"quo\"te\\", "gr\u{f6}\u{df}e".as_bytes(), b"new\nline"];
const TYPES: &[u8] = b"00000000112234567755";

/// A name; one that ends as those of directories is odd for all but them.
fn name(random: &mut Random) -> &'static [u8] {
    if random.oddly(12) { random.of(&[b"dir/".as_slice(), b"."]) } else { random.of(&NAMES) }
}

/// A header, field by field, as it will be written.
#[derive(Clone)]
struct Header([u8; BLOCK]);

impl Header {
    fn new(name: &[u8], typeflag: u8, size: usize) -> Self {
        let mut header = Self([0; BLOCK]);
        let name = &name[..name.len().min(100)];
        header.0[..name.len()].copy_from_slice(name);
        for (at, value) in [(100, 0o644), (108, 0), (116, 0)] {
            header.put(at, format!("{value:07o}").as_bytes());
        }
        header.put(124, format!("{size:011o}").as_bytes());
        header.put(136, b"13727410000");
        header.0[156] = typeflag;
        header.put(257, b"ustar\x0000");
        header
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Fills the checksum in, in one of the ways in which it is written.
    fn sealed(mut self, random: &mut Random) -> Vec<u8> {
        self.0[148..156].fill(b' ');
        let is_signed = random.once_in(20);
        let sum: i64 = self.0.iter().map(|byte| if is_signed { i64::from(byte.cast_signed()) } else { i64::from(*byte) }).sum();
        let sum = if random.oddly(200) { sum + 1 } else { sum };
        let text = match random.below(12) {
            0 => format!("{sum:07o}\0"),
            1 => format!(" {sum:5o} \0"),
            2 => format!("{sum:5o}\0 0"),
            3 => format!("{sum:o}\0"),
            _ => format!("{sum:06o}\0 "),
        };
        let len = text.len().min(8);
        self.put(148, &text.as_bytes()[..len]);
        self.0.to_vec()
    }
}

/// A number in a field, in one of the ways that are met.
fn number(random: &mut Random, len: usize, value: u64) -> Vec<u8> {
    let digits = len - 1;
    let octal = format!("{value:o}").into_bytes();
    let padded = |pad: u8, octal: &[u8], len: usize| [vec![pad; len.saturating_sub(octal.len())], octal.to_vec()].concat();
    let base_256 = |value: i64| {
        let mut field = [vec![if value < 0 { 0xff } else { 0 }; len.saturating_sub(8)], value.to_be_bytes().to_vec()].concat();
        field.drain(..field.len() - len);
        field[0] |= 0x80;
        field
    };
    let style = if random.oddly(3) { random.below(14) } else { 14 };
    let mut field = match style {
        0 => padded(b' ', &octal, digits),
        1 => padded(b'0', &octal, len),
        2 => [octal, b" ".to_vec()].concat(),
        3 => [octal, b"\0 7 rest".to_vec()].concat(),
        4 => padded(0, &octal, digits),
        5 => [b"\0".to_vec(), padded(b'0', &octal, digits)].concat(),
        6 => [b"\0\0".to_vec(), octal].concat(),
        7 => base_256(value.cast_signed()),
        8 => base_256(-value.cast_signed()),
        9 => [padded(b' ', &octal, digits - 1), b"  ".to_vec()].concat(),
        10 => [octal, b"x".to_vec()].concat(),
        11 => [b"-".to_vec(), octal].concat(),
        12 => [b"\t".to_vec(), octal].concat(),
        13 => vec![random.of(b" \0"); len],
        _ => padded(b'0', &octal, digits),
    };
    field.resize(len, 0);
    field
}

fn record(keyword: &str, value: &[u8]) -> Vec<u8> {
    let payload = keyword.len() + value.len() + 3;
    let len = (payload + 1..).find(|len| payload + len.to_string().len() == *len).unwrap();
    [format!("{len} {keyword}=").as_bytes(), value, b"\n"].concat()
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// Records as they are met, and some that are not.
fn records(random: &mut Random, size: usize, most: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..1 + random.below(most) {
        let off = random.below(3 * BLOCK);
        let large = random.next().to_string();
        let (keyword, value): (&str, Vec<u8>) = match random.below(24) {
            0..4 => ("path", name(random).to_vec()),
            4 => ("path", [b"long/".repeat(40), b"end".to_vec()].concat()),
            5 => ("linkpath", name(random).to_vec()),
            6 | 7 => ("size", size.to_string().into_bytes()),
            8 if random.oddly(2) => ("size", off.to_string().into_bytes()),
            9 | 10 => (
                "mtime",
                random.of(&["1", "1600000000.5", "1600000000.123456789", "0", "99999999999", "-1", "1.", "1600000000.0000000019"]).into(),
            ),
            11 => ("uid", random.of(&["0", "7", "65534", "2097152", "4294967294"]).into()),
            12 => ("gid", random.of(&["0", "7", "65534", "2097152", "4294967294"]).into()),
            13 if random.oddly(2) => ("uid", large.into_bytes()),
            14 => ("atime", b"1600000000.25".to_vec()),
            15 if random.oddly(1) => (random.of(&["path", "linkpath", "uid", "mtime", "size"]), Vec::new()),
            16 => ("SCHILY.xattr.user.x", b"value".to_vec()),
            17 => ("SCHILY.ino", b"77".to_vec()),
            18 => ("comment", b"a=b\nc".to_vec()),
            19 => (random.of(&["SCHILY.fflags", "MSWINDOWS.rawsd", "uname", "hdrcharset"]), b"BINARY".to_vec()),
            20 if random.oddly(2) => ("path", b"a\0b".to_vec()),
            21 if random.oddly(1) => ("mtime", random.of(&["x", "1e3", "1.5.5", " 1"]).into()),
            _ => ("gname", b"wheel".to_vec()),
        };
        let mut text = record(keyword, &value);
        if random.oddly(12) {
            let at = random.below(text.len());
            text[at] = random.of(b"0 1=\nx\0");
        }
        all.extend(text);
    }
    if random.oddly(15) {
        all.extend(vec![0; 1 + random.below(20)]);
    }
    all
}

/// Headers that say something of what stands behind them.
fn extensions(random: &mut Random, size: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..if random.oddly(3) { 2 + random.below(2) } else { random.below(2) } {
        let (typeflag, content) = match random.below(9) {
            0..5 => (if random.oddly(12) { b'X' } else { b'x' }, records(random, size, 4)),
            5 | 6 => (b'L', [name(random), b"\0".as_slice()].concat()),
            7 => (b'K', [name(random), b"\0".as_slice()].concat()),
            // Of two global records GNU tar takes the first, bsdtar none; the last counts, says POSIX.
            _ if random.oddly(1) => (b'g', records(random, size, 1)),
            _ => (b'x', records(random, size, 4)),
        };
        let name: &[u8] = if typeflag.is_ascii_uppercase() && typeflag != b'X' { b"././@LongLink" } else { b"PaxHeaders/x" };
        let mut header = Header::new(name, typeflag, content.len());
        if name.starts_with(b".") {
            header.put(257, b"ustar  \0");
        }
        all.extend(header.sealed(random));
        all.extend(padded(content));
    }
    all
}

/// A sparse file in one of the four formats, and what goes wrong with its map.
fn sparse(random: &mut Random) -> Vec<u8> {
    let mut map: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    for _ in 0..1 + random.below(6) {
        at += BLOCK * random.below(9);
        let len = BLOCK * (1 + random.below(3));
        map.push((at, len));
        at += len;
    }
    if let Some(last) = map.last_mut().filter(|_| random.once_in(2)) {
        last.1 -= random.below(BLOCK);
    }
    let mut real = map.last().map_or(0, |(at, len)| at + len) + [0, 0, 5000][random.below(3)];
    let data: Vec<u8> =
        (0..map.iter().map(|(_, len)| *len).sum::<usize>()).map(|nth| b'a' + u8::try_from(nth / 300 % 26).unwrap()).collect();
    if random.oddly(2) {
        match random.below(4) {
            0 => real = real.saturating_sub(random.below(2000)),
            1 => map[0].0 += random.below(3000),
            2 => map[0].1 = random.below(3000),
            _ => map.push((random.below(9000), random.below(600))),
        }
    }
    let numbers = map.iter().flat_map(|(at, len)| [at.to_string(), len.to_string()]).collect::<Vec<_>>();
    let real_text = real.to_string();
    let version = random.below(4);
    if version == 0 {
        let mut header = Header::new(b"sparse", b'S', data.len());
        header.put(257, b"ustar  \0");
        let field = |value: usize| format!("{value:011o}\0").into_bytes();
        let segment = |(at, len): &(usize, usize)| [field(*at), field(*len)].concat();
        for (nth, pair) in map.iter().take(4).enumerate() {
            header.put(386 + 24 * nth, &segment(pair));
        }
        header.0[482] = u8::from(map.len() > 4);
        header.put(483, &field(real));
        let more: Vec<u8> = map.iter().skip(4).flat_map(segment).collect();
        return [header.sealed(random), padded(more), padded(data)].concat();
    }
    let mut text = match version {
        1 => {
            let pairs = map.iter().flat_map(|(at, len)| {
                [record("GNU.sparse.offset", at.to_string().as_bytes()), record("GNU.sparse.numbytes", len.to_string().as_bytes())]
            });
            let head = [record("GNU.sparse.size", real_text.as_bytes()), record("GNU.sparse.numblocks", map.len().to_string().as_bytes())];
            head.into_iter().chain(pairs).collect::<Vec<_>>().concat()
        }
        2 => [
            record("GNU.sparse.size", real_text.as_bytes()),
            record("GNU.sparse.numblocks", map.len().to_string().as_bytes()),
            record("GNU.sparse.name", b"dir/named"),
            record("GNU.sparse.map", numbers.join(",").as_bytes()),
        ]
        .concat(),
        _ => [
            record("GNU.sparse.major", b"1"),
            record("GNU.sparse.minor", b"0"),
            record("GNU.sparse.name", b"dir/named"),
            record("GNU.sparse.realsize", real_text.as_bytes()),
        ]
        .concat(),
    };
    if random.once_in(8) {
        text.extend(record("mtime", b"5"));
    }
    let lines = format!("{}\n{}\n", map.len(), numbers.join("\n")).into_bytes();
    let stored = if version == 3 { [padded(lines), data].concat() } else { data };
    let header = Header::new(b"GNUSparseFile.0/sparse", b'0', stored.len()).sealed(random);
    [Header::new(b"PaxHeaders/x", b'x', text.len()).sealed(random), padded(text), header, padded(stored)].concat()
}

/// One entry with what belongs to it.
fn entry(random: &mut Random) -> Vec<u8> {
    if random.once_in(8) {
        return sparse(random);
    }
    let typeflag = match random.below(12) {
        0 => 0,
        // A line feed would end GNU tar's line.
        1 | 2 if random.oddly(2) => u8::try_from(11 + random.below(245)).unwrap(),
        3 if random.oddly(1) => random.of(b"DVZAEINM"),
        _ => random.of(TYPES),
    };
    let has_content = matches!(typeflag, 0 | b'0' | b'7' | b'D' | b'A' | b'E' | b'I' | b'N' | b'Z') || random.oddly(25);
    let len = if has_content { [0, 1, 6, 511, 512, 513, 1500][random.below(7)] } else { 0 };
    let content = vec![b'c'; len];
    let claims = if random.oddly(25) { random.below(2000) } else { len };
    let path: &[u8] = if typeflag == b'5' && random.once_in(2) { b"dir/" } else { name(random) };
    let mut header = Header::new(path, typeflag, claims);
    match random.below(12) {
        0 => header.put(257, b"ustar  \0"),
        1 => header.put(257, &[0; 8]),
        2 => header.put(257, b"ustar\0\0\0"),
        3 if random.oddly(1) => header.put(257, b"ustar 00"),
        4 => header.put(345, b"pre/fix"),
        5 if random.oddly(1) => header.put(345, &[b'p'; 155]),
        6 => header.put(0, &[b'n'; 100]),
        _ => {}
    }
    if matches!(typeflag, b'1' | b'2' | b'K') || random.oddly(20) {
        header.put(157, name(random));
    }
    if matches!(typeflag, b'3' | b'4') {
        header.put(329, &number(random, 8, 1));
        header.put(337, &number(random, 8, 3));
    }
    for (at, len, values) in [
        (100, 8, [0o644, 0o755, 0o4755, 0o1777, 0, 0o100_644]),
        (108, 8, [0, 1, 1000, 65_534, 0, 2_097_151]),
        (116, 8, [0, 1, 1000, 65_534, 0, 2_097_151]),
        (136, 12, [0, 1, 1_600_000_000, 8_589_934_591, 0, 4_000_000_000]),
    ] {
        // Of a second name nobody looks at them.
        if typeflag != b'1' && random.once_in(3) {
            let value = random.of(&values);
            header.put(at, &number(random, len, value));
        }
    }
    if random.once_in(3) {
        let value = u64::try_from(claims).unwrap();
        header.put(124, &number(random, 12, value));
    }
    if random.oddly(15) {
        let at = random.below(BLOCK);
        header.0[at] = u8::try_from(random.below(256)).unwrap();
    }
    [extensions(random, len), header.sealed(random), padded(content)].concat()
}

/// A whole archive, most of the time, and whether more than one thing is odd about it.
pub(super) fn archive(random: &mut Random) -> (Vec<u8>, bool) {
    let odd = random.odd;
    let mut all = Vec::new();
    for _ in 0..1 + random.below(4) {
        all.extend(entry(random));
        if random.oddly(40) {
            all.extend([0; BLOCK]);
        }
    }
    let end = if random.oddly(2) { random.below(5) } else { 5 };
    match end {
        0 => {}
        1 => all.extend([0; BLOCK]),
        2 => all.extend([vec![0; 2 * BLOCK], vec![b'r'; 700]].concat()),
        3 => all.extend([vec![0; 2 * BLOCK], entry(random), vec![0; 2 * BLOCK]].concat()),
        4 => all.truncate(random.below(all.len() + 1)),
        _ => all.extend([0; 20 * BLOCK]),
    }
    (all, odd - random.odd > 1)
}
