//! L1 and L2 tables: which part of the disk is where ("Cluster mapping").

use super::{
    entry,
    header::{Checked, incompatible},
};
use crate::{
    Blob, Error, Result,
    blocks::{self, Claims},
    units::SECTOR,
};
use std::{collections::VecDeque, ops::Range};

/// Subclusters of a cluster with an extended L2 entry.
const SUBCLUSTERS: u64 = 32;

/// A state of the disk: the present one, or a snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// Where its L1 table is.
    pub(super) l1_at: u64,
    /// Bytes of the disk.
    pub(super) size: u64,
}

impl State {
    pub(super) fn present(image: &Checked) -> Self {
        Self { l1_at: image.header.l1_table_offset.get(), size: image.size() }
    }
}

/// A part of the disk.
#[derive(Debug)]
pub(super) struct Piece {
    /// First byte on the disk.
    pub(super) at: u64,
    /// Bytes on the disk.
    pub(super) len: u64,
    /// Where they come from.
    pub(super) from: Stored,
}

/// Where a part of the disk comes from.
#[derive(Debug)]
pub(super) enum Stored {
    /// The bytes from here on, in the file that has the data.
    Plain(u64),
    /// A packed cluster: these bytes of the file.
    Packed(Range<u64>),
    /// Zeros, whatever lies below.
    Zeros,
}

impl Piece {
    /// Whether `next` simply goes on.
    fn continues(&self, next: &Self) -> bool {
        self.at + self.len == next.at
            && match (&self.from, &next.from) {
                (Stored::Plain(at), Stored::Plain(next)) => at + self.len == *next,
                (Stored::Zeros, Stored::Zeros) => true,
                _ => false,
            }
    }
}

/// What the tables lay claim to, in the file and in the file that has the data.
#[derive(Debug)]
pub(super) struct Storage {
    /// The file that has the data.
    pub(super) data: Blob,
    tables: Claims,
    /// Claims on another file; in its absence data is claimed like tables.
    outside: Option<Claims>,
}

impl Storage {
    /// Tables and data in one file.
    pub(super) fn within(file: &Blob) -> Self {
        Self { data: file.clone(), tables: Claims::on(file), outside: None }
    }

    /// Data in a file of its own.
    pub(super) fn outside(file: &Blob, data: Blob) -> Self {
        Self { tables: Claims::on(file), outside: Some(Claims::on(&data)), data }
    }

    fn data(&mut self, at: u64, len: u64) -> Result<u64> {
        let claims = self.outside.as_mut().unwrap_or(&mut self.tables);
        claims.claim(at, len, || "its data".to_owned()).map(|place| place.start)
    }

    /// Checks that nothing was claimed twice.
    pub(super) fn finish(self) -> Result<()> {
        self.tables.finish()?;
        self.outside.map_or(Ok(()), Claims::finish)
    }
}

/// Everything that the tables speak of, in the order of the disk. Parts that read as zeros are left out unless there is something
/// below that they hide (`with_zeros`).
pub(super) fn pieces<'a>(
    image: &'a Checked,
    file: &'a Blob,
    state: &'a State,
    storage: &'a mut Storage,
    with_zeros: bool,
) -> Result<impl Iterator<Item = Result<Piece>> + Send + 'a> {
    let l1 = storage.tables.claim(state.l1_at, image.l1_entries(state.size) * 8, || "qcow2 L1 table".to_owned())?;
    let mut l1 = (0_u64..).zip(blocks::entries(file.slice(l1)));
    let mut table: Option<(u64, L2Entries)> = None;
    let mut walk = Walk { image, storage, size: state.size, with_zeros, found: VecDeque::new() };
    Ok(std::iter::from_fn(move || {
        loop {
            if let Some(piece) = walk.found.pop_front() {
                return Some(Ok(piece));
            }
            if let Some((at, entries)) = &mut table {
                let start = *at;
                *at += image.cluster;
                match entries.next() {
                    Some(entry) if start < walk.size => {
                        let read = entry.and_then(|entry| walk.cluster(start, entry));
                        if let Err(error) = read {
                            return Some(Err(error.at(format!("qcow2 cluster of byte {start}"))));
                        }
                    }
                    _ => table = None,
                }
                continue;
            }
            let (number, entry) = l1.next()?;
            match entry.and_then(|entry| walk.l2_table(file, u64::from_be_bytes(entry))) {
                Ok(entries) => table = entries.map(|entries| (number * image.covered(), entries)),
                Err(error) => return Some(Err(error.at(format!("qcow2 L1 entry {number}")))),
            }
        }
    }))
}

/// The entries of an L2 table, each as an extended one.
pub(super) type L2Entries = Box<dyn Iterator<Item = Result<[u8; 16]>> + Send>;

/// The entries of an L2 table as extended ones.
pub(super) fn l2_entries(image: &Checked, table: Blob) -> L2Entries {
    if image.extended_l2 {
        return Box::new(blocks::entries(table));
    }
    Box::new(blocks::entries::<8>(table).map(|entry| {
        entry.map(|entry| {
            let mut wide = [0; 16];
            wide[..8].copy_from_slice(&entry);
            wide
        })
    }))
}

/// The two halves of an extended L2 entry: the entry proper and the subcluster bitmap.
pub(super) fn halves(entry: [u8; 16]) -> (u64, u64) {
    let [value, bitmap]: [zerocopy::big_endian::U64; 2] = zerocopy::transmute!(entry);
    (value.get(), bitmap.get())
}

/// Where a packed cluster is. Its length is known in sectors only, and the last one may be shared with the next cluster.
pub(super) fn packed_place(image: &Checked, value: u64) -> Range<u64> {
    let shift = entry::packed_offset_bits(image.cluster);
    let at = value & ((1 << shift) - 1);
    let additional = (value & (entry::COMPRESSED - 1)) >> shift;
    at..(at / SECTOR + additional + 1) * SECTOR
}

/// A walk over the tables.
struct Walk<'a> {
    image: &'a Checked,
    storage: &'a mut Storage,
    size: u64,
    with_zeros: bool,
    found: VecDeque<Piece>,
}

impl Walk<'_> {
    /// The entries of the table that an L1 entry points to.
    fn l2_table(&mut self, file: &Blob, l1: u64) -> Result<Option<L2Entries>> {
        let at = l1 & entry::OFFSET;
        if at == 0 {
            return Ok(None);
        }
        self.check_aligned(at)?;
        let place = self.storage.tables.claim(at, self.image.cluster, || "the L2 table".to_owned())?;
        Ok(Some(l2_entries(self.image, file.slice(place))))
    }

    fn check_aligned(&self, at: u64) -> Result<()> {
        self.image.check_aligned(at, "what it points to")
    }

    fn zeros(&mut self, at: u64, len: u64) {
        if self.with_zeros {
            self.found.push_back(Piece { at, len, from: Stored::Zeros });
        }
    }

    fn plain(&mut self, at: u64, len: u64, place: u64) -> Result<()> {
        let place = self.storage.data(place, len)?;
        self.found.push_back(Piece { at, len, from: Stored::Plain(place) });
        Ok(())
    }

    /// What the entry of the cluster at `start` of the disk says.
    fn cluster(&mut self, start: u64, entry: [u8; 16]) -> Result<()> {
        let (value, bitmap) = halves(entry);
        let len = self.image.cluster.min(self.size - start);
        if value & entry::COMPRESSED != 0 {
            return self.packed(start, len, value);
        }
        let at = value & entry::OFFSET;
        // In a file of its own, data may be at 0; then only the other bit says that it is there.
        let is_allocated = at != 0 || self.image.has(incompatible::EXTERNAL_DATA) && value & entry::COPIED != 0;
        if self.image.extended_l2 {
            return self.subclusters(start, len, is_allocated.then_some(at), bitmap);
        }
        if self.image.header.version.get() >= 3 && value & entry::ZERO != 0 {
            self.zeros(start, len);
        } else if is_allocated {
            self.check_aligned(at)?;
            self.plain(start, len, at)?;
        }
        Ok(())
    }

    /// The low half of the bitmap says which subclusters have data, the high half which read as zeros.
    fn subclusters(&mut self, start: u64, len: u64, at: Option<u64>, bitmap: u64) -> Result<()> {
        let (allocated, zero) = (bitmap & 0xffff_ffff, bitmap >> 32);
        if allocated & zero != 0 || allocated != 0 && at.is_none() {
            return Err(Error::bad_input(format!("its subcluster bitmap {bitmap:#x} contradicts itself")));
        }
        let at = at.unwrap_or(0);
        self.check_aligned(at)?;
        let each = self.image.cluster / SUBCLUSTERS;
        for n in (0..SUBCLUSTERS).take_while(|n| n * each < len) {
            let (skip, len) = (n * each, each.min(len - n * each));
            if allocated >> n & 1 != 0 {
                self.plain(start + skip, len, at + skip)?;
            } else if zero >> n & 1 != 0 {
                self.zeros(start + skip, len);
            }
        }
        Ok(())
    }

    fn packed(&mut self, at: u64, len: u64, value: u64) -> Result<()> {
        if self.image.has(incompatible::EXTERNAL_DATA) {
            return Err(Error::bad_input("it is packed, which data in another file must not be"));
        }
        let place = packed_place(self.image, value);
        let sure = (place.end - SECTOR).max(place.start) + 1 - place.start;
        self.storage.tables.claim(place.start, sure, || "its data".to_owned())?;
        self.found.push_back(Piece { at, len, from: Stored::Packed(place) });
        Ok(())
    }
}

/// Pieces that go on where the last one ended become one.
pub(super) fn joined(pieces: impl Iterator<Item = Result<Piece>> + Send) -> impl Iterator<Item = Result<Piece>> + Send {
    let mut pieces = pieces.peekable();
    std::iter::from_fn(move || {
        let mut piece = match pieces.next()? {
            Ok(piece) => piece,
            error => return Some(error),
        };
        while let Some(Ok(next)) = pieces.next_if(|next| next.as_ref().is_ok_and(|next| piece.continues(next))) {
            piece.len += next.len;
        }
        Some(Ok(piece))
    })
}
