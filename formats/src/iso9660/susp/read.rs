//! System use entries read back: what RRIP says of a file.

use super::{
    super::{
        BLOCK,
        record::{Both32, ShortDate},
    },
    CONTINUE, HEAD_LEN, TF_MODIFY, component,
};
use crate::{Blob, Error, Result, Timestamp, calendar::Moment, tree::Device};
use zerocopy::FromBytes;

/// The most continuation areas of one record.
const AREAS_MAX: usize = 64;
/// Longest name and target, of all entries together: what a tree takes.
const TEXT_MAX: usize = 4096;
/// TF: times are those of volume descriptors, 17 bytes, and not of records, 7.
const TF_LONG: u8 = 1 << 7;

/// What RRIP says of a file.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Attributes {
    /// PX: type and permissions.
    pub(in super::super) mode: Option<u32>,
    /// PX: names of the file.
    pub(in super::super) links: u32,
    pub(in super::super) uid: u32,
    pub(in super::super) gid: u32,
    /// PX: the same for all names of a file; RRIP 1.12 has it.
    pub(in super::super) serial: Option<u32>,
    /// PN.
    pub(in super::super) device: Option<Device>,
    /// NM.
    pub(in super::super) name: Option<Vec<u8>>,
    /// SL.
    pub(in super::super) target: Option<Vec<u8>>,
    /// TF: last modification.
    pub(in super::super) mtime: Option<Timestamp>,
    /// CL: the block where a directory that was moved is.
    pub(in super::super) child: Option<u32>,
    /// RE: the directory was moved here.
    pub(in super::super) is_relocated: bool,
    /// ZF: the content is zisofs's.
    pub(in super::super) is_compressed: bool,
    /// SL: a slash stands before the next component.
    slash: bool,
}

/// Whether the root's record of itself says that there are SUSP entries, and how many bytes stand before them in the other records.
pub(in super::super) fn start(system_use: &[u8]) -> Option<usize> {
    match system_use {
        [b'S', b'P', 7, 1, 0xbe, 0xef, skip, ..] => Some(usize::from(*skip)),
        _ => None,
    }
}

impl Attributes {
    /// Reads the entries of a record's system use field, and where they go on.
    ///
    /// # Errors
    /// When they cannot be read, go on without end, or have a name or target without end.
    pub(in super::super) fn read(volume: &Blob, system_use: &[u8]) -> Result<Self> {
        let mut attributes = Self::default();
        let mut area = system_use.to_vec();
        for _ in 0..AREAS_MAX {
            match attributes.area(&area)? {
                None => return Ok(attributes),
                Some((block, offset, len)) => {
                    // No part of an area crosses a block, as Linux reads one at a time.
                    let start = u64::from(block) * BLOCK + u64::from(offset);
                    if u64::from(len) > BLOCK || start + u64::from(len) > volume.len() {
                        return Err(Error::bad_input(format!("{len} bytes of Rock Ridge entries would go on at byte {start}")));
                    }
                    area = volume.slice(start..start + u64::from(len)).to_vec(BLOCK)?;
                }
            }
        }
        Err(Error::bad_input(format!("its Rock Ridge entries go on in more than {AREAS_MAX} places")))
    }

    /// Takes in one area; where the entries go on.
    fn area(&mut self, mut area: &[u8]) -> Result<Option<(u32, u32, u32)>> {
        let mut next = None;
        while let [a, b, len, _version, ..] = *area {
            let Some((entry, rest)) = area.split_at_checked(usize::from(len)).filter(|(entry, _)| entry.len() >= HEAD_LEN) else { break };
            let data = &entry[HEAD_LEN..];
            match &[a, b] {
                b"ST" => break,
                b"CE" => next = numbers(data).map(|[block, offset, len]: [u32; 3]| (block, offset, len)),
                other => self.entry(other, data)?,
            }
            area = rest;
        }
        Ok(next)
    }

    fn entry(&mut self, signature: &[u8; 2], data: &[u8]) -> Result<()> {
        match signature {
            b"PX" => {
                if let Some([mode, links, uid, gid]) = numbers(data) {
                    (self.mode, self.links, self.uid, self.gid) = (Some(mode), links, uid, gid);
                }
                self.serial = numbers::<5>(data).map(|[.., serial]| serial);
            }
            b"PN" => self.device = numbers(data).map(|[high, low]| device(high, low)),
            b"NM" => {
                // The directory itself and its parent have names of their own.
                if let [0 | CONTINUE, text @ ..] = data {
                    append(self.name.get_or_insert_default(), text)?;
                }
            }
            b"SL" => {
                let mut components = data.get(1..).unwrap_or_default();
                while let [flags, len, rest @ ..] = components {
                    let Some((text, rest)) = rest.split_at_checked(usize::from(*len)) else { break };
                    self.component(*flags, text)?;
                    components = rest;
                }
                self.target.get_or_insert_default();
            }
            b"TF" => self.mtime = modified(data).or(self.mtime),
            b"CL" => self.child = numbers(data).map(|[block]| block),
            b"RE" => self.is_relocated = true,
            b"ZF" => self.is_compressed = true,
            _ => {}
        }
        Ok(())
    }

    fn component(&mut self, flags: u8, text: &[u8]) -> Result<()> {
        let target = self.target.get_or_insert_default();
        if self.slash {
            append(target, b"/")?;
        }
        // genisoimage has it also in the middle, for two slashes.
        if flags & component::ROOT != 0 {
            self.slash = false;
            return append(target, b"/");
        }
        self.slash = flags & CONTINUE == 0;
        match flags & (component::CURRENT | component::PARENT) {
            0 => append(target, text),
            component::CURRENT => append(target, b"."),
            _ => append(target, b".."),
        }
    }
}

fn append(to: &mut Vec<u8>, text: &[u8]) -> Result<()> {
    to.extend_from_slice(text);
    match to.len() {
        0..=TEXT_MAX => Ok(()),
        len => Err(Error::bad_input(format!("a name or target of {len} bytes or more"))),
    }
}

/// The first numbers of an entry.
fn numbers<const N: usize>(data: &[u8]) -> Option<[u32; N]> {
    let (numbers, _) = <[Both32; N]>::read_from_prefix(data).ok()?;
    Some(numbers.map(|number| number.get()))
}

/// As Linux takes it: [`super::inode`] says why.
fn device(high: u32, low: u32) -> Device {
    match high {
        0 => Device { major: low >> 8, minor: low & 0xff },
        major => Device { major, minor: low },
    }
}

/// The time of last modification, behind that of creation if there is one.
fn modified(data: &[u8]) -> Option<Timestamp> {
    let (flags, times) = data.split_first()?;
    if flags & TF_MODIFY == 0 {
        return None;
    }
    let nth = usize::from(flags & 1);
    if flags & TF_LONG == 0 {
        return Some(ShortDate::read_from_prefix(times.get(nth * 7..)?).ok()?.0.timestamp());
    }
    let time = times.get(nth * 17..)?.first_chunk::<17>()?;
    let digits = |range: std::ops::Range<usize>| std::str::from_utf8(&time[range]).ok()?.parse::<u16>().ok();
    let narrow = |range| u8::try_from(digits(range)?).ok();
    let moment = Moment {
        year: digits(0..4)?,
        month: narrow(4..6)?,
        day: narrow(6..8)?,
        hour: narrow(8..10)?,
        minute: narrow(10..12)?,
        second: narrow(12..14)?,
    };
    let Timestamp(local) = moment.timestamp();
    Some(Timestamp(local - i64::from(time[16].cast_signed()) * super::super::record::ZONE_UNIT))
}
