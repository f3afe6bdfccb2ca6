//! The snapshot table: "Snapshots" of the specification.

use super::{L1_MAX, header::Checked};
use crate::{
    Blob, Error, Result,
    blocks::Claims,
    error::At,
    units::{self, MIB},
};
use std::mem::offset_of;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    big_endian::{U16, U32, U64},
};

/// Most snapshots that QEMU reads.
const SNAPSHOTS_MAX: u32 = 65_536;
/// Largest snapshot table that QEMU reads.
const TABLE_MAX: u64 = 64 * MIB;
/// Most bytes of extra data that QEMU reads.
const EXTRA_MAX: u64 = 1024;

/// The fixed part of an entry.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    /// 0: where the L1 table is.
    l1_table_offset: U64,
    /// 8: entries of the L1 table.
    l1_size: U32,
    /// 12: bytes of the identifier.
    id_size: U16,
    /// 14: bytes of the name.
    name_size: U16,
    /// 16: when it was taken: seconds since 1970.
    date_seconds: U32,
    /// 20: and nanoseconds.
    date_nanoseconds: U32,
    /// 24: how long the guest had run, in nanoseconds.
    vm_clock: U64,
    /// 32: bytes of the guest's state, unless the extra data says so.
    vm_state_size: U32,
    /// 36: bytes of extra data, which follows: 8 of the state's size, 8 of the disk's, and more.
    extra_size: U32,
}
const _: () = assert!(size_of::<Entry>() == 40 && offset_of!(Entry, extra_size) == 36);

/// An internal snapshot.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) l1_at: u64,
    pub(super) l1_entries: u64,
    /// Bytes of the disk when it was taken.
    pub(super) size: u64,
    /// When it was taken: seconds since 1970.
    pub(super) seconds: u32,
    extra_size: u64,
}

impl Snapshot {
    /// Whether it says how large state and disk are.
    pub(super) fn is_complete(&self) -> bool {
        self.extra_size >= 16
    }
}

/// All snapshots of a file, and how many bytes their table has.
pub(super) fn table(image: &Checked, file: &Blob) -> Result<(Vec<Snapshot>, u64)> {
    let (count, start) = (image.header.nb_snapshots.get(), image.header.snapshots_offset.get());
    if count > SNAPSHOTS_MAX {
        return Err(Error::bad_input(format!("qcow2 header: {count} snapshots, at most {SNAPSHOTS_MAX}")));
    }
    let mut snapshots = Vec::new();
    let mut at = start;
    for number in 0..count {
        let (snapshot, len) = entry(image, file, at).at(|| format!("qcow2 snapshot {number}"))?;
        snapshots.push(snapshot);
        at += len.next_multiple_of(8);
        if at - start > TABLE_MAX {
            return Err(Error::bad_input(format!("the qcow2 snapshot table has more than {TABLE_MAX} bytes")));
        }
    }
    Ok((snapshots, at - start))
}

/// The snapshot of this name, or else of this identifier.
pub(super) fn find(image: &Checked, file: &Blob, wanted: &str) -> Result<Snapshot> {
    let (snapshots, _) = table(image, file)?;
    let found = snapshots.iter().find(|s| s.name == wanted).or_else(|| snapshots.iter().find(|s| s.id == wanted));
    found.cloned().ok_or_else(|| {
        let names: Vec<_> = snapshots.iter().take(20).map(|s| format!("'{}'", s.name.escape_debug())).collect();
        let known = if names.is_empty() { "there are none".to_owned() } else { format!("there are {}", names.join(", ")) };
        Error::bad_input(format!("there is no snapshot '{wanted}': {known}"))
    })
}

fn entry(image: &Checked, file: &Blob, at: u64) -> Result<(Snapshot, u64)> {
    let entry: Entry = zerocopy::transmute!(file.read_array::<40>(at)?);
    let (extra_size, id_size, name_size) =
        (u64::from(entry.extra_size.get()), u64::from(entry.id_size.get()), u64::from(entry.name_size.get()));
    if extra_size > EXTRA_MAX {
        return Err(Error::bad_input(format!("{extra_size} bytes of extra data, at most {EXTRA_MAX}")));
    }
    let extra_at = at + units::bytes(size_of::<Entry>());
    let size = if extra_size >= 16 { u64::from_be_bytes(file.read_array(extra_at + 8)?) } else { image.size() };
    let text = |at, len: u64| -> Result<String> {
        let mut bytes = vec![0; units::index(len)];
        file.read_at(at, &mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let id_at = extra_at + extra_size;
    let snapshot = Snapshot {
        id: text(id_at, id_size)?,
        name: text(id_at + id_size, name_size)?,
        l1_at: entry.l1_table_offset.get(),
        l1_entries: entry.l1_size.get().into(),
        size,
        seconds: entry.date_seconds.get(),
        extra_size,
    };
    image.check_aligned(snapshot.l1_at, "its L1 table")?;
    Claims::on(file).claim(snapshot.l1_at, snapshot.l1_entries * 8, || "its L1 table".to_owned())?;
    let needed = image.l1_entries(size);
    if size > i64::MAX.unsigned_abs() || snapshot.l1_entries < needed || snapshot.l1_entries * 8 > L1_MAX {
        let found = format!("a disk of {size} bytes and {} L1 entries, must be {needed} to {}", snapshot.l1_entries, L1_MAX / 8);
        return Err(Error::bad_input(found));
    }
    Ok((snapshot, id_at + id_size + name_size - at))
}
