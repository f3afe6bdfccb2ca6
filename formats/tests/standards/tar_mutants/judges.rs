//! What each reader makes of an archive: the same facts from all.

use formats::{
    Blob,
    tar::{Entry, Member, Members},
    tree::{Content, Device, ShowPath},
};
use std::{fmt, io::Read as _, path::Path, process::Stdio};

/// Most bytes of content that are looked at; who has more to say is stopped.
const CONTENT_MAX: u64 = 4 << 20;

/// What a reader says, or why it does not.
pub(super) type Read = Result<Facts, String>;

/// An archive as one reads it.
pub(super) struct Facts {
    pub(super) entries: Vec<Named>,
    /// What is in the files, one behind the other, gaps included.
    content: Vec<u8>,
    /// Whether gaps at the ends of files are missing there: GNU tar cannot make them in a pipe.
    lacks_gaps: bool,
}

impl Facts {
    /// Whether the contents are the same, as far as they can be.
    pub(super) fn has_content_of(&self, other: &Self) -> bool {
        match self.lacks_gaps || other.lacks_gaps {
            true => self.content.iter().filter(|byte| **byte != 0).eq(other.content.iter().filter(|byte| **byte != 0)),
            false => self.content == other.content,
        }
    }
}

impl PartialEq for Facts {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries && self.has_content_of(other)
    }
}

/// One line.
impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, kind, size, mode, owner, mtime, link, device } = self;
        write!(f, "{kind}{mode:04o} {owner:?} {size} {mtime:?} {device:?} {} -> {}", ShowPath(path), ShowPath(link))
    }
}

/// An entry as far as all readers tell of it.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Named {
    path: Vec<u8>,
    kind: char,
    size: u64,
    mode: u32,
    owner: (u64, u64),
    mtime: (i64, u32),
    link: Vec<u8>,
    device: (u64, u64),
}

impl Named {
    /// Its path, without what means nothing.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Whether each fact is that of one of the two.
    pub(super) fn is_of(&self, a: &Self, b: &Self) -> bool {
        (self.path == a.path || self.path == b.path)
            && (self.kind == a.kind || self.kind == b.kind)
            && (self.size == a.size || self.size == b.size)
            && (self.mode == a.mode || self.mode == b.mode)
            && (self.owner == a.owner || self.owner == b.owner)
            && (self.mtime == a.mtime || self.mtime == b.mtime)
            && (self.link == a.link || self.link == b.link)
            && (self.device == a.device || self.device == b.device)
    }
}

/// A path without what means nothing: empty components and dots.
fn plain(path: &[u8]) -> Vec<u8> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect::<Vec<_>>().join(&b'/')
}

/// What we read, and all that we say of it.
pub(super) fn ours(archive: &[u8]) -> (Read, String) {
    let archive = Blob::bytes(archive);
    let mut members = Members::new(&archive);
    let facts = facts(&mut members);
    let said = members.warnings().into_iter().chain(facts.as_ref().err().cloned()).collect::<Vec<_>>().join("; ");
    (facts, said)
}

fn facts(members: &mut Members<'_>) -> Read {
    let mut facts = Facts { entries: Vec::new(), content: Vec::new(), lacks_gaps: false };
    for member in members {
        let Member { path, entry } = member.map_err(|error| error.to_string())?;
        if path.contains(&0) {
            // As every tree that is made of it.
            return Err("its path has a NUL".into());
        }
        let mut named = Named { path: plain(&path), ..Named::default() };
        match entry {
            Entry::HardLink(target) => (named.kind, named.link) = ('h', plain(&target)),
            Entry::Inode(inode) => {
                (named.mode, named.owner) = (inode.mode, (inode.uid.into(), inode.gid.into()));
                named.mtime = (inode.mtime, inode.mtime_nanos);
                let numbers = |device: Device| (device.major.into(), device.minor.into());
                named.kind = match inode.content {
                    Content::Directory => 'd',
                    Content::Fifo => 'p',
                    Content::Symlink(target) => {
                        named.link = target;
                        'l'
                    }
                    Content::CharacterDevice(device) => {
                        named.device = numbers(device);
                        'c'
                    }
                    Content::BlockDevice(device) => {
                        named.device = numbers(device);
                        'b'
                    }
                    Content::File(body) => {
                        named.size = body.len();
                        if body.len() > CONTENT_MAX {
                            return Err("a large file".into());
                        }
                        facts.content.extend(body.to_vec(CONTENT_MAX).map_err(|error| error.to_string())?);
                        '-'
                    }
                };
            }
        }
        facts.entries.push(named);
    }
    Ok(facts)
}

/// Runs a judge: what it writes to standard output and to standard error, where it is content with the archive.
fn run(program: &str, arguments: &[&str], file: &Path) -> Result<(Vec<u8>, Vec<u8>), String> {
    let mut command = std::process::Command::new(program);
    command.args(arguments).arg(file).current_dir(file.parent().unwrap()).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    let mut errors = child.stderr.take().unwrap();
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        errors.read_to_end(&mut text).unwrap();
        text
    });
    let (mut output, mut stdout) = (Vec::new(), child.stdout.take().unwrap());
    stdout.by_ref().take(2 * CONTENT_MAX).read_to_end(&mut output).unwrap();
    // More than that is written by nobody who reads these archives right; the rest finds no reader.
    drop(stdout);
    let status = child.wait().unwrap();
    let errors = errors.join().unwrap();
    match status.success() {
        true => Ok((output, errors)),
        false => Err(format!("{status}: {}", String::from_utf8_lossy(&errors).replace('\n', "; "))),
    }
}

/// GNU tar's list, which goes to standard error where the contents go to standard output.
pub(super) fn gnu_tar(file: &Path) -> Read {
    let arguments = ["-xvvOP", "--full-time", "--numeric-owner", "--quoting-style=c", "--warning=no-timestamp", "-f"];
    let (content, list) = run("tar", &arguments, file)?;
    let lines = list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"tar: "));
    let entries = lines.filter_map(|line| gnu_line(line).transpose()).collect::<Result<_, _>>()?;
    Ok(Facts { entries, content, lacks_gaps: true })
}

/// `-rw-r--r-- 0/0 6 2020-09-13 12:26:40.5 "f"`, behind which `-> "target"` or `link to "target"` may stand; nothing of a label.
fn gnu_line(line: &[u8]) -> Result<Option<Named>, String> {
    let refuse = || format!("a line of GNU tar: {}", line.escape_ascii());
    let quote = line.iter().position(|byte| *byte == b'"').ok_or_else(refuse)?;
    let head = std::str::from_utf8(&line[..quote]).map_err(|_| refuse())?;
    let [modes, owner, size, date, time] = head.split_whitespace().collect::<Vec<_>>().try_into().map_err(|_| refuse())?;
    let (path, behind) = unquoted(&line[quote..]).ok_or_else(refuse)?;
    let link = behind.iter().position(|byte| *byte == b'"').and_then(|at| unquoted(&behind[at..])).map(|(link, _)| link);
    let numbers = |text: &str, at: char| {
        let (a, b) = text.split_once(at)?;
        Some((a.parse().ok()?, b.parse().ok()?))
    };
    let mut named = Named { path: plain(&path), ..Named::default() };
    let kind = modes.chars().next().ok_or_else(refuse)?;
    named.kind = match kind {
        'V' => return Ok(None),
        // It says what is written there; a path that ends so is extracted as a directory.
        'C' | '-' if path.ends_with(b"/") => 'd',
        'C' | '?' => '-',
        kind => kind,
    };
    let link = || link.clone().ok_or_else(refuse);
    match named.kind {
        'h' => {
            named.link = plain(&link()?);
            return Ok(Some(named));
        }
        'l' => named.link = link()?,
        'c' | 'b' => named.device = numbers(size, ',').ok_or_else(refuse)?,
        '-' => named.size = size.parse().map_err(|_| refuse())?,
        _ => {}
    }
    named.mode = mode(modes.as_bytes()).ok_or_else(refuse)?;
    named.owner = numbers(owner, '/').ok_or_else(refuse)?;
    named.mtime = moment(date, time).ok_or_else(refuse)?;
    Ok(Some(named))
}

/// A text in C's quotes, and what is behind it.
fn unquoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut plain, mut rest) = (Vec::new(), text.strip_prefix(b"\"")?);
    loop {
        (_, rest) = match rest {
            [b'"', behind @ ..] => return Some((plain, behind)),
            [b'\\', a @ b'0'..=b'7', b @ b'0'..=b'7', c @ b'0'..=b'7', behind @ ..] => {
                let digit = |byte: &u8| u32::from(byte - b'0');
                (plain.push(u8::try_from(digit(a) * 64 + digit(b) * 8 + digit(c)).ok()?), behind)
            }
            [b'\\', letter, behind @ ..] => {
                let byte = match letter {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    other => *other,
                };
                (plain.push(byte), behind)
            }
            [byte, behind @ ..] => (plain.push(*byte), behind),
            [] => return None,
        };
    }
}

/// The permissions in `-rwsr-xr-t`.
fn mode(text: &[u8]) -> Option<u32> {
    let letters: &[u8; 9] = text.get(1..10)?.try_into().ok()?;
    Some(letters.iter().zip(0..).fold(0, |mode, (letter, place)| {
        let bit = 1 << (8 - place);
        // Set-id and sticky bits stand in the place of the third letters.
        let special = 0o4000 >> (place / 3);
        mode | match letter {
            b'-' => 0,
            b'S' | b'T' => special,
            b's' | b't' => special | bit,
            _ => bit,
        }
    }))
}

/// Seconds since 1970, and nanoseconds.
fn moment(date: &str, time: &str) -> Option<(i64, u32)> {
    let (date, is_before) = date.strip_prefix('-').map_or((date, false), |date| (date, true));
    let [year, month, day] = date.split('-').map(|part| part.parse::<i64>()).collect::<Result<Vec<_>, _>>().ok()?.try_into().ok()?;
    let year = if is_before { -year } else { year };
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let [hour, minute, second] = time.split(':').map(|part| part.parse::<i64>()).collect::<Result<Vec<_>, _>>().ok()?.try_into().ok()?;
    // Days of the civil calendar: a year begins in March, so that February's end is its end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (month * 153 + 2) / 5 + day - 1 - 719_468;
    let nanos = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some((days * 86_400 + hour * 3600 + minute * 60 + second, nanos))
}

/// What bsdtar makes of it: the same archive in its own words, which have nothing odd.
pub(super) fn bsdtar(file: &Path) -> Read {
    let at = format!("@{}", file.file_name().unwrap().to_str().unwrap());
    let mut command = std::process::Command::new("bsdtar");
    command.args(["-cf", "-", "--format=pax", &at]).current_dir(file.parent().unwrap()).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    let output = command.output().unwrap_or_else(|error| panic!("bsdtar does not start: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr).replace('\n', "; ");
    if !output.status.success() || errors.contains("Damaged") {
        return Err(format!("{}: {errors}", output.status));
    }
    let archive = Blob::bytes(output.stdout);
    facts(&mut Members::new(&archive)).map_err(|error| format!("writes what we do not read: {error}"))
}
