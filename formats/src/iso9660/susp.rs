//! System use entries: SUSP 1.12 (IEEE P1281) and RRIP 1.12 (IEEE P1282, "Rock Ridge").
//!
//! ```text
//!  entry: signature of 2 letters, length, version 1, data
//!  SP  where SUSP begins          CE  where entries go on        ER  that they are RRIP's
//!  PX  mode, links, owner, serial number    PN  device number    SL  target    NM  name    TF  time
//! ```
//! Entries stand in the system use field of a directory record as far as they fit. The others follow in a continuation area
//! behind the directory; no part of it crosses a block, because Linux reads one at a time.

mod read;

pub(super) use read::{Attributes, start};

use super::{
    BLOCK, narrow,
    record::{Both32, ShortDate},
};
use crate::{
    Error, Result, Timestamp,
    tree::{Content, Device, Inode},
    units,
};
use std::collections::VecDeque;
use zerocopy::IntoBytes;

/// Bytes of an entry before its data.
const HEAD_LEN: usize = 4;
/// Bytes of a CE entry.
const CE_LEN: usize = 28;
/// The longest entry.
const ENTRY_MAX: usize = 255;
/// The longest name that Linux takes; it ignores longer ones.
const NAME_MAX: usize = 253;
/// Bytes of a name in one NM entry.
const NM_MAX: usize = ENTRY_MAX - HEAD_LEN - 1;
/// Bytes of components in one SL entry.
const SL_MAX: usize = ENTRY_MAX - HEAD_LEN - 1;

/// NM, SL and the components of SL: the next one goes on.
const CONTINUE: u8 = 1 << 0;
/// Flags of a component of a target (RRIP 4.1.3.1).
mod component {
    pub(super) const CURRENT: u8 = 1 << 1;
    pub(super) const PARENT: u8 = 1 << 2;
    pub(super) const ROOT: u8 = 1 << 3;
}
/// TF: the time of last modification, in the short form.
const TF_MODIFY: u8 = 1 << 1;

fn entry(signature: &[u8; 2], data: &[&[u8]]) -> Vec<u8> {
    let len = HEAD_LEN + data.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(signature);
    bytes.push(u8::try_from(len).expect("an entry has at most 255 bytes"));
    bytes.push(1);
    data.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// SP: there are SUSP entries, and none skips bytes. The first one of the root's record of itself.
pub(super) fn indicator() -> Vec<u8> {
    entry(b"SP", &[&[0xbe, 0xef, 0]])
}

/// ER: the entries are those of RRIP 1.12, in its own words (RRIP 4.3).
pub(super) fn extensions() -> Vec<u8> {
    const ID: &[u8] = b"IEEE_P1282";
    const DESCRIPTION: &[u8] = b"THE IEEE P1282 PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS";
    const SOURCE: &[u8] = b"PLEASE CONTACT THE IEEE STANDARDS DEPARTMENT, PISCATAWAY, NJ, USA FOR THE P1282 SPECIFICATION.";
    let narrow = |text: &[u8]| u8::try_from(text.len()).expect("a short text");
    entry(b"ER", &[&[narrow(ID), narrow(DESCRIPTION), narrow(SOURCE), 1], ID, DESCRIPTION, SOURCE])
}

/// CE: the entries go on at `offset` of a block, for so many bytes.
fn continuation(block: u32, offset: u32, len: u32) -> Vec<u8> {
    entry(b"CE", &[Both32::from(block).as_bytes(), Both32::from(offset).as_bytes(), Both32::from(len).as_bytes()])
}

/// What RRIP says of an inode: PX and TF, PN and SL where they apply. `serial` is one for each inode, from 1.
///
/// # Errors
/// When Linux would take the device number for another.
pub(super) fn inode(inode: &Inode, links: u32, serial: u32) -> Result<Vec<Vec<u8>>> {
    let numbers = [inode.content.type_bits() | inode.mode, links, inode.uid, inode.gid, serial].map(Both32::from);
    let date = ShortDate::from(Timestamp(inode.mtime));
    let mut entries = vec![entry(b"PX", &[numbers.as_bytes()]), entry(b"TF", &[&[TF_MODIFY], date.as_bytes()])];
    match &inode.content {
        Content::CharacterDevice(device) | Content::BlockDevice(device) => {
            entries.push(entry(b"PN", &[device_number(*device)?.map(Both32::from).as_bytes()]));
        }
        Content::Symlink(target) => entries.extend(symlink(target)),
        Content::Directory | Content::File(_) | Content::Fifo => {}
    }
    Ok(entries)
}

/// High and low half of a device number. Readers disagree: to RRIP, libisofs and libarchive the two are a 64-bit `dev_t`; to
/// Linux, they are major and minor number unless the high half is 0 and the low one above 255, which is an old 16-bit
/// `dev_t`. What all can agree on is written so that they do, the rest is for Linux.
fn device_number(Device { major, minor }: Device) -> Result<[u32; 2]> {
    match (major, minor) {
        (0..=0xfff, 0..=0xff) => Ok([0, major << 8 | minor]),
        (0, _) => Err(Error::bad_input(format!("device 0:{minor}, Linux takes it for another where the minor number is above 255"))),
        (major, minor) => Ok([major, minor]),
    }
}

/// NM: the POSIX name.
///
/// # Errors
/// When Linux would not take it.
pub(super) fn name(name: &[u8]) -> Result<Vec<Vec<u8>>> {
    if name.len() > NAME_MAX {
        return Err(Error::bad_input(format!("a name of {} bytes, Linux takes at most {NAME_MAX} from ISO 9660", name.len())));
    }
    let parts = name.chunks(NM_MAX);
    let last = parts.len() - 1;
    let part = |(nth, part): (usize, &[u8])| entry(b"NM", &[&[if nth == last { 0 } else { CONTINUE }], part]);
    Ok(parts.enumerate().map(part).collect())
}

/// SL: the target of a symbolic link, component by component.
///
/// Where one entry does not hold it, the cut is inside of a component if at all possible: libarchive forgets the slash
/// between an entry's last component and the next entry's first.
fn symlink(target: &[u8]) -> Vec<Vec<u8>> {
    let (mut field, target) = match target {
        [b'/', rest @ ..] => (vec![component::ROOT, 0], rest),
        all => (Vec::new(), all),
    };
    let mut components: VecDeque<_> = target.split(|byte| *byte == b'/').map(|text| Component { text, is_rest: false }).collect();
    if target.is_empty() {
        components.clear();
    }
    let mut entries = Vec::new();
    loop {
        match cut(&components, SL_MAX - field.len()) {
            Cut::Nowhere => {
                components.iter().for_each(|component| field.extend(component.record()));
                entries.push(entry(b"SL", &[&[0], &field]));
                return entries;
            }
            Cut::Before(index) => components.drain(..index).for_each(|component| field.extend(component.record())),
            Cut::Inside(index, at) => {
                components.drain(..index).for_each(|component| field.extend(component.record()));
                let (text, rest) = components[0].text.split_at(at);
                field.extend(record(CONTINUE, text));
                components[0] = Component { text: rest, is_rest: true };
            }
        }
        entries.push(entry(b"SL", &[&[CONTINUE], &field]));
        field.clear();
    }
}

/// A component of a target. An empty one stands for a slash too many, so that nothing is lost.
struct Component<'a> {
    text: &'a [u8],
    /// Whether it began in the entry before.
    is_rest: bool,
}

/// A component record.
fn record(flags: u8, text: &[u8]) -> Vec<u8> {
    [&[flags, u8::try_from(text.len()).expect("at most 248 bytes")], text].concat()
}

impl Component<'_> {
    fn record(&self) -> Vec<u8> {
        match self.text {
            b"." if !self.is_rest => record(component::CURRENT, b""),
            b".." if !self.is_rest => record(component::PARENT, b""),
            text => record(0, text),
        }
    }
}

/// Where an entry ends.
enum Cut {
    /// Everything fits.
    Nowhere,
    /// Before a component.
    Before(usize),
    /// In a component, behind so many bytes.
    Inside(usize, usize),
}

/// The last cut that leaves components of at most `room` bytes.
fn cut(components: &VecDeque<Component<'_>>, mut room: usize) -> Cut {
    const RECORD_HEAD: usize = 2;
    let mut inside = None;
    for (index, component) in components.iter().enumerate() {
        if component.text.len() >= 2 && room > RECORD_HEAD {
            inside = Some(Cut::Inside(index, (room - RECORD_HEAD).min(component.text.len() - 1)));
        }
        match room.checked_sub(RECORD_HEAD + component.text.len()) {
            Some(left) => room = left,
            None => return inside.unwrap_or(Cut::Before(index)),
        }
    }
    Cut::Nowhere
}

/// The continuation areas of a directory's records, one after the other, from some block on.
#[derive(Debug)]
pub(super) struct Continuations {
    first_block: u64,
    bytes: Vec<u8>,
}

impl Continuations {
    pub(super) fn at(first_block: u64) -> Self {
        Self { first_block, bytes: Vec::new() }
    }

    /// What fits of the entries into a system use field of `room` bytes; the rest goes here.
    pub(super) fn fit(&mut self, entries: Vec<Vec<u8>>, room: usize) -> Vec<u8> {
        let (mut here, rest) = split(entries, room);
        if !rest.is_empty() {
            here.extend(self.put(rest));
        }
        here
    }

    /// Puts entries here; the CE entry that leads to them.
    fn put(&mut self, entries: Vec<Vec<u8>>) -> Vec<u8> {
        let block = units::index(BLOCK);
        let (mut part, rest) = split(entries, block);
        let len = part.len() + if rest.is_empty() { 0 } else { CE_LEN };
        if self.bytes.len() % block + len > block {
            self.bytes.resize(self.bytes.len().next_multiple_of(block), 0);
        }
        let start = self.bytes.len();
        self.bytes.resize(start + len, 0);
        if !rest.is_empty() {
            part.extend(self.put(rest));
        }
        self.bytes[start..start + len].copy_from_slice(&part);
        let narrow_len = |len: usize| u32::try_from(len).expect("inside of a block");
        continuation(narrow(self.first_block + units::bytes(start / block)), narrow_len(start % block), narrow_len(len))
    }

    /// The areas.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// As many of the entries as fit into `room` bytes, all or with room for a CE entry; and the others.
fn split(mut entries: Vec<Vec<u8>>, room: usize) -> (Vec<u8>, Vec<Vec<u8>>) {
    let total: usize = entries.iter().map(Vec::len).sum();
    if total <= room {
        return (entries.concat(), Vec::new());
    }
    let mut len = CE_LEN;
    let mut fit = |entry: &Vec<u8>| {
        len += entry.len();
        len <= room
    };
    let rest = entries.split_off(entries.iter().take_while(|entry| fit(entry)).count());
    (entries.concat(), rest)
}
