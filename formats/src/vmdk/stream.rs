//! Writing streamOptimized ("Stream-Optimized Compressed Sparse Extents"): front to back, the directory and the footer last.

use super::{DIRECTORY_AT_END, GRAIN, Header, TABLE_ENTRIES, descriptor, directory_len, flags, sector};
use crate::{
    Blob, Env, Ids, Result, Spool, Stage,
    blocks::Table,
    compress::deflate::{self, Wrapping},
    parallel,
    units::{self, KIB, SECTOR},
    zeros,
};
use std::{io::Write, mem::offset_of};
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

/// Where the first grain is; header and descriptor lie before it.
const OVERHEAD: u64 = 64 * KIB;
/// Log2 of how far a grain's stream looks back: all of what zlib can.
const WINDOW_BITS: u8 = 15;

/// In front of a grain: the sector where it is on the disk and the bytes of the zlib stream that follows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct GrainMarker {
    /// 0: sector of the disk.
    pub(super) sector: U64,
    /// 8: bytes that follow; never 0, which makes it a [`Marker`].
    pub(super) size: U32,
}
const _: () = assert!(size_of::<GrainMarker>() == 12);

/// In front of metadata, a sector of its own.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Marker {
    /// 0: sectors of metadata that follow.
    sectors: U64,
    /// 8: 0, which tells it from a grain.
    size: U32,
    /// 12: 0 end of stream, 1 grain table, 2 grain directory, 3 footer.
    kind: U32,
    /// 16: zeros.
    reserved: [u8; 496],
}
const _: () = assert!(size_of::<Marker>() == 512 && offset_of!(Marker, kind) == 12);

impl Marker {
    const END_OF_STREAM: u32 = 0;
    const GRAIN_TABLE: u32 = 1;
    const GRAIN_DIRECTORY: u32 = 2;
    const FOOTER: u32 = 3;

    fn new(kind: u32, len: u64) -> Self {
        Self { sectors: (len / SECTOR).into(), size: 0.into(), kind: kind.into(), reserved: [0; 496] }
    }

    fn blob(kind: u32, len: u64) -> Blob {
        Blob::bytes(Self::new(kind, len).as_bytes())
    }
}

/// A stream of a disk, compressed at `level`.
pub(super) fn encode(disk: &Blob, level: u32, ids: &Ids, env: &mut Env) -> Result<Blob> {
    let mut header = Header::new(disk);
    header.version = 3.into();
    header.flags = (flags::LINE_ENDS | flags::COMPRESSED | flags::MARKERS).into();
    header.directory = DIRECTORY_AT_END.into();
    header.overhead = (OVERHEAD / SECTOR).into();
    header.compression = 1.into();
    let mut file = header.blob();
    file.append(&descriptor::embedded(disk, "streamOptimized", ids));
    file.extend_to(OVERHEAD);

    let Env { spool, threads, progress, .. } = env;
    let mark = spool.position();
    let mut tables = Tables { start: OVERHEAD, mark, spool, table: None, directory: Table::filled_with(0) };
    let stage = Stage::new(&**progress, disk.data_units(GRAIN).map(|run| (run.end - run.start) * GRAIN).sum());
    let grains = disk.data_units(GRAIN).flatten().map(Ok);
    let work = |grain| {
        let made = compress(disk, grain, level)?.map(|bytes| (grain, bytes));
        stage.advance(GRAIN);
        Ok(made)
    };
    parallel::ordered(*threads, grains, work, |made| made.map_or(Ok(()), |(grain, bytes)| tables.put(grain, &bytes)))?;
    stage.finish();
    let directory = tables.finish(directory_len(disk))?;
    file.append(&spool.since(mark));

    file.append(&Marker::blob(Marker::GRAIN_DIRECTORY, directory.len()));
    header.directory = u64::from(sector(file.len())?.get()).into();
    file.append(&directory);
    file.append(&Marker::blob(Marker::FOOTER, SECTOR));
    file.append(&header.blob());
    file.append(&Marker::blob(Marker::END_OF_STREAM, 0));
    Ok(file)
}

/// A grain with its marker, padded to whole sectors; nothing when it is zeros. It is always a full grain, even at the end.
fn compress(disk: &Blob, grain: u64, level: u32) -> Result<Option<Vec<u8>>> {
    let mut plain = vec![0; units::index(GRAIN)];
    let at = grain * GRAIN;
    disk.read_at(at, &mut plain)?;
    if zeros::is_zero(&plain) {
        return Ok(None);
    }
    let packed = deflate::deflate(&plain, level, WINDOW_BITS, Wrapping::Zlib)?;
    let marker = GrainMarker { sector: (at / SECTOR).into(), size: u32::try_from(packed.len()).expect("about a grain at most").into() };
    let mut made = [marker.as_bytes(), &packed].concat();
    made.resize(made.len().next_multiple_of(units::index(SECTOR)), 0);
    Ok(Some(made))
}

/// Grains and grain tables on their way into the spool.
struct Tables<'a> {
    /// Where in the file the spool's part starts, and where that part starts in the spool.
    start: u64,
    mark: u64,
    spool: &'a mut Spool,
    /// The table that is being filled and its number.
    table: Option<(u64, [U32; 512])>,
    directory: Table,
}

impl Tables<'_> {
    fn here(&self) -> u64 {
        self.start + self.spool.position() - self.mark
    }

    /// Adds a compressed grain; grains come in ascending order.
    fn put(&mut self, grain: u64, bytes: &[u8]) -> Result<()> {
        let number = grain / TABLE_ENTRIES;
        if self.table.as_ref().is_some_and(|(current, _)| *current != number) {
            self.write_table()?;
        }
        let entry = sector(self.here())?;
        let (_, table) = self.table.get_or_insert((number, [U32::ZERO; 512]));
        table[units::index(grain % TABLE_ENTRIES)] = entry;
        Ok(self.spool.write_all(bytes)?)
    }

    /// Writes the table that is being filled, if there is one.
    fn write_table(&mut self) -> Result<()> {
        if let Some((number, table)) = self.table.take() {
            let marker = Marker::new(Marker::GRAIN_TABLE, units::bytes(size_of_val(&table)));
            self.spool.write_all(&[marker.as_bytes(), table.as_bytes()].concat())?;
            let entry = sector(self.here() - units::bytes(size_of_val(&table)))?;
            self.directory.put(number * 4, entry.as_bytes().to_vec());
        }
        Ok(())
    }

    /// The grain directory, once everything is written.
    fn finish(mut self, directory_len: u64) -> Result<Blob> {
        self.write_table()?;
        Ok(self.directory.finish(directory_len))
    }
}
