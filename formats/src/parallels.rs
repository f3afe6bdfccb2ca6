//! Parallels: the expandable image, version 2, of QEMU's `docs/interop/parallels`. All integers are little-endian. Read, never written.
//!
//! ```text
//! 0        64                  data_off
//! | header | BAT               | cluster | cluster | ..
//!            u32 for each cluster of the disk: where it is in the file, in clusters ("WithouFreSpacExt") or in
//!            sectors ("WithoutFreeSpace", the older one); 0: absent, reads as zeros
//! ```
//! Read: both kinds. Dirty bitmaps, which is all that the format extension holds, are passed over. Refused: other versions, and, unless
//! forced, images that are in use or were not closed properly. Not here: disks of several files under a `DiskDescriptor.xml`.
//!
//! Oracle: `qemu-img check` and `convert`.

use crate::{
    Blob, Check, Env, Error, Format, Info, Reading, Result,
    blocks::{self, Claims},
    check::Clusters,
    dump::Dump,
    error::At,
    units::SECTOR,
};
use std::mem::offset_of;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

/// The Parallels format.
#[derive(Debug)]
pub struct Parallels;

/// An image whose BAT counts sectors, and whose disk has less than 2^32 of them.
const MAGIC: [u8; 16] = *b"WithoutFreeSpace";
/// An image whose BAT counts clusters.
const MAGIC_EXT: [u8; 16] = *b"WithouFreSpacExt";
const VERSION: u32 = 2;
/// Most sectors of a cluster that QEMU reads.
const TRACKS_MAX: u32 = i32::MAX as u32 / 513;

/// The header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    /// 0: [`MAGIC`] or [`MAGIC_EXT`].
    magic: [u8; 16],
    /// 16: [`VERSION`].
    version: U32,
    /// 20: heads and
    heads: U32,
    /// 24: cylinders of the guest's disk.
    cylinders: U32,
    /// 28: sectors of a cluster; older programs used 63 and 504.
    tracks: U32,
    /// 32: entries of the BAT.
    bat_entries: U32,
    /// 36: sectors of the disk; [`MAGIC`]: in the low half.
    sectors: U64,
    /// 44: see [`in_use`].
    in_use: U32,
    /// 48: sector of the first cluster; [`MAGIC`]: 0 where it is the first one behind the BAT.
    data_offset: U32,
    /// 52: see [`FLAG_EMPTY`].
    flags: U32,
    /// 56: sector of the format extension, 0 without one.
    extension_offset: U64,
}
const _: () = assert!(size_of::<Header>() == 64 && offset_of!(Header, sectors) == 36 && offset_of!(Header, extension_offset) == 56);

/// Values of [`Header::in_use`].
mod in_use {
    /// Last closed by a program that knows no format extension.
    pub(super) const OLD: u32 = 0;
    /// Closed.
    pub(super) const CLOSED: u32 = 0x312e_3276;
}

/// [`Header::flags`]: the disk is all zeros.
const FLAG_EMPTY: u32 = 1;

impl Format for Parallels {
    fn name(&self) -> &'static str {
        "parallels"
    }

    fn probe(&self, file: &Blob) -> Result<bool> {
        Ok(file.len() >= 16 && [MAGIC, MAGIC_EXT].contains(&file.read_array(0)?))
    }

    fn decode(&self, file: &Blob, reading: &Reading<'_>, _: &mut Env) -> Result<Blob> {
        reading.refuse_snapshot(self.name())?;
        let (header, mut claims, bat) = Header::read(file)?;
        if header.is_in_use() {
            reading.refuse_unclean(IN_USE).at(|| "Parallels header")?;
        }
        let (size, cluster) = (header.size(), header.cluster());
        let mut disk = Blob::default();
        for (start, entry) in (0_u64..).map(|number| number * cluster).take_while(|start| *start < size).zip(blocks::entries(bat)) {
            let Some(at) = header.place(entry?) else { continue };
            let place = claims.claim(at, cluster.min(size - start), || format!("Parallels cluster of byte {start}"))?;
            disk.extend_to(start);
            disk.append(&file.slice(place));
        }
        disk.extend_to(size);
        claims.finish()?;
        if header.is_empty() && disk.data_len() > 0 {
            return Err(Error::bad_input("the header says that the disk is empty, the BAT names clusters").at("Parallels header"));
        }
        Ok(disk)
    }

    fn info(&self, file: &Blob) -> Result<Info> {
        let (header, ..) = Header::read(file)?;
        Ok(Info { cluster_size: Some(header.cluster()), dirty: header.is_in_use(), ..Info::default() })
    }

    /// Clusters are where the standard wants them; what the file has besides is leaked, unless a format extension may use it.
    fn check(&self, file: &Blob, env: &mut Env) -> Result<Check> {
        let mut check = Check::default();
        if check.decoded(self.decode(file, &Reading { force: true, ..Reading::default() }, env))?.is_none() {
            return Ok(check);
        }
        let (header, _, bat) = Header::read(file)?;
        if header.is_in_use() {
            check.corrupt(|| IN_USE.to_owned());
        }
        let (data_at, cluster) = (header.data_at(), header.cluster());
        let mut used = Clusters { total: header.bat_entries.get().into(), end: data_at, ..Clusters::default() };
        for (number, entry) in (0_u64..).zip(blocks::entries(bat)) {
            let Some(at) = header.place(entry?) else { continue };
            if at < data_at || !(at - data_at).is_multiple_of(cluster) {
                check.corrupt(|| format!("cluster {number} is at byte {at}, must be whole clusters of {cluster} bytes behind {data_at}"));
            }
            used.allocated += 1;
            used.end = used.end.max(at + cluster);
        }
        let present = file.len().saturating_sub(data_at).div_ceil(cluster);
        if present > used.allocated && header.extension_offset == 0 {
            check.leak(present - used.allocated, || format!("the file has {present} clusters, the BAT names {}", used.allocated));
        }
        check.clusters = Some(used);
        Ok(check)
    }

    fn dump(&self, file: &Blob, to: &mut Dump) -> Result<()> {
        let (header, _, bat) = Header::read(file)?;
        to.section("header", |to| header.dump(to));
        to.section("BAT", |to| {
            for (number, entry) in (0_u64..).zip(blocks::entries(bat)) {
                match u32::from_le_bytes(entry?) {
                    0 => {}
                    entry => to.field(&format!("cluster {number}"), entry),
                }
            }
            Ok(())
        })
    }
}

const IN_USE: &str = "the image is in use, or was not closed properly";

impl Header {
    /// The header, the claims of header and BAT, and the BAT.
    fn read(file: &Blob) -> Result<(Self, Claims, Blob)> {
        let header: Self = zerocopy::transmute!(file.read_array::<64>(0).at(|| "Parallels header")?);
        header.check().at(|| "Parallels header")?;
        let mut claims = Claims::on(file);
        claims.claim(0, 64, || "Parallels header".to_owned())?;
        let bat = claims.claim(64, u64::from(header.bat_entries.get()) * 4, || "Parallels BAT".to_owned())?;
        Ok((header, claims, file.slice(bat)))
    }

    fn check(&self) -> Result<()> {
        if ![MAGIC, MAGIC_EXT].contains(&self.magic) {
            return Err(Error::bad_input("it starts with neither WithoutFreeSpace nor WithouFreSpacExt"));
        }
        if self.version != VERSION {
            return Err(Error::unsupported(format!("the version is {}, must be {VERSION}", self.version)));
        }
        let (tracks, clusters) = (self.tracks.get(), u64::from(self.bat_entries.get()));
        if tracks == 0 || tracks > TRACKS_MAX {
            return Err(Error::bad_input(format!("a cluster has {tracks} sectors, must have 1 to {TRACKS_MAX}")));
        }
        let (sectors, sectors_max) = (self.sectors(), clusters.saturating_mul(tracks.into()).min(i64::MAX as u64 / SECTOR));
        if sectors > sectors_max {
            return Err(Error::bad_input(format!(
                "the disk has {sectors} sectors, must have at most {sectors_max}, for the BAT has {clusters} entries"
            )));
        }
        Ok(())
    }

    fn is_ext(&self) -> bool {
        self.magic == MAGIC_EXT
    }

    fn is_in_use(&self) -> bool {
        ![in_use::OLD, in_use::CLOSED].contains(&self.in_use.get())
    }

    fn is_empty(&self) -> bool {
        self.flags.get() & FLAG_EMPTY != 0
    }

    /// Sectors of the disk.
    fn sectors(&self) -> u64 {
        if self.is_ext() { self.sectors.get() } else { self.sectors.get() & 0xffff_ffff }
    }

    /// Bytes of the disk.
    fn size(&self) -> u64 {
        self.sectors() * SECTOR
    }

    /// Bytes of a cluster.
    fn cluster(&self) -> u64 {
        u64::from(self.tracks.get()) * SECTOR
    }

    /// Where clusters begin.
    fn data_at(&self) -> u64 {
        match u64::from(self.data_offset.get()) {
            0 => (64 + u64::from(self.bat_entries.get()) * 4).next_multiple_of(SECTOR),
            sectors => sectors * SECTOR,
        }
    }

    /// Where in the file the cluster of a BAT entry is.
    fn place(&self, entry: [u8; 4]) -> Option<u64> {
        let entry = u64::from(u32::from_le_bytes(entry));
        (entry != 0).then(|| entry * if self.is_ext() { self.cluster() } else { SECTOR })
    }

    fn dump(&self, to: &mut Dump) {
        to.field("magic", self.magic.escape_ascii());
        to.field("sectors of a cluster", self.tracks);
        to.field("bat entries", self.bat_entries);
        to.field("sectors", self.sectors());
        to.hex("in use", self.in_use.get());
        to.field("data offset", self.data_offset);
        to.hex("flags", self.flags.get());
        to.field("extension offset", self.extension_offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{decode, env};

    /// Clusters of 2 sectors: header and BAT in the first one, then data; the disk has 5 sectors, the last 3 of them data.
    fn sample(magic: [u8; 16]) -> Vec<u8> {
        let header = Header {
            magic,
            version: VERSION.into(),
            heads: 16.into(),
            cylinders: 1.into(),
            tracks: 2.into(),
            bat_entries: 3.into(),
            sectors: 5.into(),
            in_use: in_use::CLOSED.into(),
            data_offset: 2.into(),
            flags: 0.into(),
            extension_offset: 0.into(),
        };
        let mut file = vec![7; 3 * 1024];
        file[..1024].fill(0);
        file[..64].copy_from_slice(header.as_bytes());
        let unit = if magic == MAGIC_EXT { 1 } else { 2 };
        (file[68], file[72]) = (2 * unit, unit);
        file
    }

    fn check(file: Vec<u8>) -> (u64, u64) {
        let found = Parallels.check(&Blob::bytes(file), &mut env()).unwrap();
        (found.corruptions, found.leaks)
    }

    fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> Error {
        let mut file = sample(MAGIC_EXT);
        change(&mut file);
        decode(&Parallels, &Blob::bytes(file)).unwrap_err()
    }

    #[test]
    fn both_kinds_are_one_disk() {
        for magic in [MAGIC, MAGIC_EXT] {
            let disk = decode(&Parallels, &Blob::bytes(sample(magic))).unwrap();
            assert_eq!((disk.len(), disk.data_len(), disk.read_array(1023).unwrap()), (5 * 512, 3 * 512, [0, 7]));
            assert_eq!(check(sample(magic)), (0, 0));
        }
        let mut old = sample(MAGIC);
        (old[40], old[48]) = (1, 0);
        assert_eq!(decode(&Parallels, &Blob::bytes(old)).unwrap().len(), 5 * 512, "an old program counts sectors in 32 bits");
    }

    #[test]
    fn clusters_that_the_bat_does_not_name_are_leaked() {
        let mut file = sample(MAGIC_EXT);
        file.resize(5 * 1024, 0);
        assert_eq!(check(file.clone()), (0, 2));
        file[56] = 6;
        assert_eq!(check(file), (0, 0), "they may be bitmaps");
    }

    #[test]
    fn what_was_not_closed_is_read_by_force_only() {
        let error = refusal(|file| file[44..48].copy_from_slice(b"Ynot"));
        assert!(error.to_string().contains("not closed properly") && error.hint_text().unwrap().contains("--force"), "{error}");
        let mut file = sample(MAGIC_EXT);
        file[44..48].copy_from_slice(b"Ynot");
        let forced = Reading { force: true, ..Reading::default() };
        assert_eq!(Parallels.decode(&Blob::bytes(file.clone()), &forced, &mut env()).unwrap().data_len(), 3 * 512);
        assert_eq!(check(file), (1, 0));
    }

    #[test]
    fn a_cluster_between_clusters_is_a_finding() {
        let mut file = sample(MAGIC);
        file[68] = 3;
        file[72] = 0;
        assert_eq!(check(file), (1, 1));
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        assert!(refusal(|file| file[16] = 3).to_string().contains("version is 3"));
        assert!(refusal(|file| file[28] = 0).to_string().contains("a cluster has 0 sectors"));
        assert!(refusal(|file| file[36] = 7).to_string().contains("the disk has 7 sectors"));
        assert!(refusal(|file| file[68] = 1).to_string().contains("two structures"));
        assert!(refusal(|file| file[68] = 3).to_string().contains("past the end"));
        assert!(refusal(|file| file[52] = 1).to_string().contains("is empty"));
    }
}
