//! QED: QEMU's `docs/interop/qed_spec`. All integers are little-endian. Read, never written: QEMU itself recommends qcow2.
//!
//! ```text
//!  header, backing file name | L1 table | L2 tables | clusters ..     all of whole clusters, the tables of `table_size` each
//!
//!  L1 entry ──► L2 table ──► cluster; 0: absent, what lies below is read; 1 in an L2 table: zeros
//! ```
//! Read: all of it; backing files only where `Reading::parts` gives them. Refused by name: unknown features, and, unless forced, images
//! that are marked as in need of a check.
//!
//! Oracle: `qemu-img check` and `convert`.

use crate::{
    Blob, Check, Env, Error, Format, Info, Reading, Result,
    blocks::{self, Claims},
    check::Clusters,
    dump::Dump,
    error::At,
    tree::ShowPath,
    units::{self, KIB, MIB, SECTOR},
};
use std::mem::offset_of;
use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

/// The QED format.
#[derive(Debug)]
pub struct Qed;

const MAGIC: [u8; 4] = *b"QED\0";
/// Cluster sizes.
const CLUSTERS: std::ops::RangeInclusive<u64> = 4 * KIB..=64 * MIB;
/// Clusters of a table.
const TABLES: std::ops::RangeInclusive<u64> = 1..=16;
/// Longest name of a backing file that QEMU reads.
const NAME_MAX: u64 = 1023;
/// An entry of an L2 table: the cluster reads as zeros.
const ENTRY_ZERO: u64 = 1;

/// The header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    /// 0: `QED\0`.
    magic: [u8; 4],
    /// 4: bytes of a cluster: a power of two.
    cluster_size: U32,
    /// 8: clusters of an L1 or L2 table: a power of two.
    table_size: U32,
    /// 12: clusters of the header.
    header_size: U32,
    /// 16: see [`feature`].
    features: U64,
    /// 24: bits that a reader may leave alone; none is defined.
    compat_features: U64,
    /// 32: bits that a writer clears when it does not know them; none is defined.
    autoclear_features: U64,
    /// 40: where the L1 table is.
    l1_table_offset: U64,
    /// 48: bytes of the disk.
    image_size: U64,
    /// 56: where the name of the backing file is.
    backing_filename_offset: U32,
    /// 60: bytes of that name.
    backing_filename_size: U32,
}
const _: () = assert!(size_of::<Header>() == 64 && offset_of!(Header, features) == 16 && offset_of!(Header, image_size) == 48);

/// Values of [`Header::features`].
mod feature {
    /// The disk is an overlay.
    pub(super) const BACKING_FILE: u64 = 1;
    /// The image is in use, or was not closed properly.
    pub(super) const NEED_CHECK: u64 = 2;
    /// What lies below is raw, whatever it looks like.
    pub(super) const BACKING_FORMAT_NO_PROBE: u64 = 4;
}

/// What the tables speak of, in the order of the disk.
enum Found {
    /// An L2 table, which is at this byte.
    Table(u64),
    /// The cluster of this byte of the disk reads as zeros, whatever lies below.
    Zeros(u64),
    /// The cluster of this byte of the disk is at that byte of the file.
    Data(u64, u64),
}

impl Format for Qed {
    fn name(&self) -> &'static str {
        "qed"
    }

    fn probe(&self, file: &Blob) -> Result<bool> {
        Ok(file.len() >= 4 && file.read_array(0)? == MAGIC)
    }

    fn decode(&self, file: &Blob, reading: &Reading<'_>, env: &mut Env) -> Result<Blob> {
        reading.refuse_snapshot(self.name())?;
        let header = Header::read(file)?;
        if header.has(feature::NEED_CHECK) {
            reading.refuse_unclean("the image needs a check: it is in use, or was not closed properly").at(|| "QED header")?;
        }
        let (size, cluster) = (header.image_size.get(), header.cluster());
        let below = match header.backing_file(file)? {
            Some((name, format)) => reading.below(&name, format, size, env)?,
            None => Blob::zeros(size),
        };
        let mut disk = Blob::default();
        let claims = header.clusters(file, size, |claims, found| {
            let (Found::Zeros(start) | Found::Data(start, _)) = found else { return Ok(()) };
            disk.append(&below.slice(disk.len()..start));
            let len = cluster.min(size - start);
            match found {
                Found::Data(_, at) => disk.append(&file.slice(claims.claim(at, len, || "its data".to_owned())?)),
                _ => disk.extend_to(start + len),
            }
            Ok(())
        })?;
        claims.finish()?;
        disk.append(&below.slice(disk.len()..size));
        Ok(disk)
    }

    fn info(&self, file: &Blob) -> Result<Info> {
        let header = Header::read(file)?;
        let (backing_file, format) = header.backing_file(file)?.unzip();
        let backing_file = backing_file.map(|name| String::from_utf8_lossy(&name).into_owned());
        let dirty = header.has(feature::NEED_CHECK);
        let backing_format = format.flatten().map(str::to_owned);
        Ok(Info { cluster_size: Some(header.cluster()), dirty, backing_file, backing_format, ..Info::default() })
    }

    /// "Consistency checking": every cluster is referred to once, and what no table refers to is leaked. Clusters behind the end of the
    /// disk count as well.
    fn check(&self, file: &Blob, _: &mut Env) -> Result<Check> {
        let mut check = Check::default();
        let mut used = Clusters::default();
        let result = Header::read(file).and_then(|header| {
            let (cluster, table_len) = (header.cluster(), header.table_len());
            let mut clusters = (header.len() + table_len) / cluster;
            used.total = header.image_size.get().div_ceil(cluster);
            used.end = header.l1_table_offset.get().saturating_add(table_len);
            let claims = header.clusters(file, u64::MAX, |claims, found| {
                let place = match found {
                    Found::Table(at) => at..at + table_len,
                    Found::Zeros(_) => return Ok(()),
                    Found::Data(_, at) => {
                        used.allocated += 1;
                        claims.claim(at, cluster, || "its data".to_owned())?
                    }
                };
                clusters += (place.end - place.start) / cluster;
                used.end = used.end.max(place.end);
                Ok(())
            })?;
            claims.finish()?;
            Ok((file.len() / cluster).saturating_sub(clusters))
        });
        match result {
            Ok(0) => {}
            Ok(leaked) => check.leak(leaked, || format!("{leaked} clusters that no table refers to")),
            Err(error) => drop(check.decoded(Err(error))?),
        }
        check.clusters = Some(used);
        Ok(check)
    }

    fn dump(&self, file: &Blob, to: &mut Dump) -> Result<()> {
        let header = Header::read(file)?;
        to.section("header", |to| header.dump(to));
        if let Some((name, _)) = header.backing_file(file)? {
            to.field("backing file", ShowPath(&name));
        }
        to.section("clusters", |to| {
            let claims = header.clusters(file, header.image_size.get(), |_, found| {
                match found {
                    Found::Table(at) => to.field("table", at),
                    Found::Zeros(start) => to.field(&format!("byte {start}"), "zeros"),
                    Found::Data(start, at) => to.field(&format!("byte {start}"), at),
                }
                Ok(())
            })?;
            claims.finish()
        })
    }
}

impl Header {
    fn read(file: &Blob) -> Result<Self> {
        let header: Self = zerocopy::transmute!(file.read_array::<64>(0).at(|| "QED header")?);
        header.check().at(|| "QED header")?;
        Ok(header)
    }

    fn check(&self) -> Result<()> {
        if self.magic != MAGIC {
            return Err(Error::bad_input("it does not start with QED\\0"));
        }
        let known = feature::BACKING_FILE | feature::NEED_CHECK | feature::BACKING_FORMAT_NO_PROBE;
        if self.features.get() & !known != 0 {
            return Err(Error::unsupported(format!("unknown features {:#x}", self.features.get() & !known)));
        }
        let (cluster, table, size) = (self.cluster(), u64::from(self.table_size.get()), self.image_size.get());
        if !cluster.is_power_of_two() || !CLUSTERS.contains(&cluster) {
            return Err(Error::bad_input(format!("the cluster size is {cluster}, must be a power of two from 4 KiB to 64 MiB")));
        }
        if !table.is_power_of_two() || !TABLES.contains(&table) {
            return Err(Error::bad_input(format!("a table has {table} clusters, must have 1, 2, 4, 8 or 16")));
        }
        let entries = self.entries();
        let size_max = entries.saturating_mul(entries).saturating_mul(cluster).min(i64::MAX as u64);
        if !size.is_multiple_of(SECTOR) || size > size_max {
            return Err(Error::bad_input(format!("the disk has {size} bytes, must be whole sectors, at most {size_max} bytes")));
        }
        Ok(())
    }

    fn has(&self, feature: u64) -> bool {
        self.features.get() & feature != 0
    }

    /// Bytes of a cluster.
    fn cluster(&self) -> u64 {
        self.cluster_size.get().into()
    }

    /// Bytes of a table.
    fn table_len(&self) -> u64 {
        self.cluster() * u64::from(self.table_size.get())
    }

    /// Entries of a table.
    fn entries(&self) -> u64 {
        self.table_len() / 8
    }

    /// Bytes of the header and what belongs to it.
    fn len(&self) -> u64 {
        self.cluster() * u64::from(self.header_size.get())
    }

    /// The backing file and its format where that is said.
    fn backing_file(&self, file: &Blob) -> Result<Option<(Vec<u8>, Option<&'static str>)>> {
        if !self.has(feature::BACKING_FILE) {
            return Ok(None);
        }
        let (at, len) = (u64::from(self.backing_filename_offset.get()), u64::from(self.backing_filename_size.get()));
        if len > NAME_MAX || at + len > self.len() {
            let what = format!("it has {len} bytes at {at}, must have at most {NAME_MAX}, and end in the {} of the header", self.len());
            return Err(Error::bad_input(what).at("QED backing file name"));
        }
        let mut name = vec![0; units::index(len)];
        file.read_at(at, &mut name).at(|| "QED backing file name")?;
        let format = self.has(feature::BACKING_FORMAT_NO_PROBE).then_some("raw");
        Ok(Some((name, format)))
    }

    /// Calls `each` with everything before byte `end` of the disk that the tables speak of. Gives back the claims of header and tables, to
    /// which `each` may add.
    fn clusters(&self, file: &Blob, end: u64, mut each: impl FnMut(&mut Claims, Found) -> Result<()>) -> Result<Claims> {
        let (cluster, table_len) = (self.cluster(), self.table_len());
        let mut claims = Claims::on(file);
        claims.claim(0, self.len(), || "QED header".to_owned())?;
        let l1 = claims.claim(self.l1_table_offset.get(), table_len, || "QED L1 table".to_owned())?;
        self.check_aligned(l1.start).at(|| "QED L1 table")?;
        let firsts = (0_u64..).map(|number| number.saturating_mul(self.entries() * cluster)).take_while(|first| *first < end);
        for (first, entry) in firsts.zip(blocks::entries(file.slice(l1))) {
            let at = u64::from_le_bytes(entry?);
            if at == 0 {
                continue;
            }
            let table = self.check_aligned(at).and_then(|()| claims.claim(at, table_len, || "the table".to_owned()));
            let table = table.at(|| format!("QED L2 table of byte {first}"))?;
            each(&mut claims, Found::Table(at))?;
            let starts = (0_u64..).map(|number| first.saturating_add(number * cluster)).take_while(|start| *start < end);
            for (start, entry) in starts.zip(blocks::entries(file.slice(table))) {
                let read = match u64::from_le_bytes(entry?) {
                    0 => Ok(()),
                    ENTRY_ZERO => each(&mut claims, Found::Zeros(start)),
                    at => self.check_aligned(at).and_then(|()| each(&mut claims, Found::Data(start, at))),
                };
                read.at(|| format!("QED cluster of byte {start}"))?;
            }
        }
        Ok(claims)
    }

    fn check_aligned(&self, at: u64) -> Result<()> {
        if at.is_multiple_of(self.cluster()) {
            return Ok(());
        }
        Err(Error::bad_input(format!("it is at byte {at}, must be at a multiple of the cluster size, {}", self.cluster())))
    }

    fn dump(&self, to: &mut Dump) {
        to.field("cluster size", self.cluster_size);
        to.field("table size", self.table_size);
        to.field("header size", self.header_size);
        to.hex("features", self.features.get());
        to.hex("compat features", self.compat_features.get());
        to.hex("autoclear features", self.autoclear_features.get());
        to.field("l1 table offset", self.l1_table_offset);
        to.field("image size", self.image_size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{decode, env};

    /// Clusters of 4 KiB: header, L1 table, L2 table, data; the disk has 3 of them, data, absent, zeros.
    fn sample() -> Vec<u8> {
        let header = Header {
            magic: MAGIC,
            cluster_size: 4096.into(),
            table_size: 1.into(),
            header_size: 1.into(),
            features: 0.into(),
            compat_features: 0.into(),
            autoclear_features: 0.into(),
            l1_table_offset: 4096.into(),
            image_size: (3 * 4096).into(),
            backing_filename_offset: 64.into(),
            backing_filename_size: 4.into(),
        };
        let mut file = vec![0; 4 * 4096];
        file[..64].copy_from_slice(header.as_bytes());
        file[64..68].copy_from_slice(b"base");
        for (at, value) in [(4096, 2 * 4096), (2 * 4096, 3 * 4096), (2 * 4096 + 16, ENTRY_ZERO)] {
            file[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        file[3 * 4096..].fill(7);
        file
    }

    fn check(file: Vec<u8>) -> (u64, u64) {
        let found = Qed.check(&Blob::bytes(file), &mut env()).unwrap();
        (found.corruptions, found.leaks)
    }

    fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> Error {
        let mut file = sample();
        change(&mut file);
        decode(&Qed, &Blob::bytes(file)).unwrap_err()
    }

    #[test]
    fn data_is_where_the_tables_say() {
        let disk = decode(&Qed, &Blob::bytes(sample())).unwrap();
        assert_eq!((disk.len(), disk.data_len(), disk.read_array(4095).unwrap()), (3 * 4096, 4096, [7, 0]));
        assert_eq!(check(sample()), (0, 0));
    }

    #[test]
    fn a_cluster_that_nobody_refers_to_is_leaked() {
        let mut file = sample();
        file.resize(6 * 4096, 0);
        assert_eq!(check(file), (0, 2));
    }

    #[test]
    fn a_place_that_is_used_twice_is_refused() {
        for at in [4096_u64, 8192, 3 * 4096] {
            let error = refusal(|file| file[2 * 4096 + 8..2 * 4096 + 16].copy_from_slice(&at.to_le_bytes()));
            assert!(error.to_string().contains("overlap"), "{at}: {error}");
        }
    }

    #[test]
    fn what_needs_a_check_is_read_by_force_only() {
        let error = refusal(|file| file[16] = 2);
        assert!(error.to_string().contains("not closed properly") && error.hint_text().unwrap().contains("--force"), "{error}");
        let mut file = sample();
        file[16] = 2;
        let forced = Reading { force: true, ..Reading::default() };
        assert_eq!(Qed.decode(&Blob::bytes(file), &forced, &mut env()).unwrap().data_len(), 4096);
    }

    #[test]
    fn overlays_and_unknown_features_are_refused_by_name() {
        assert!(refusal(|file| file[16] = 1).to_string().contains("'base'"));
        assert!(refusal(|file| file[16] = 8).to_string().contains("unknown features 0x8"));
        assert!(refusal(|file| (file[16], file[61]) = (1, 9)).to_string().contains("at most 1023"));
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        assert!(refusal(|file| file[4] = 1).to_string().contains("cluster size is 4097"));
        assert!(refusal(|file| file[8] = 3).to_string().contains("a table has 3"));
        assert!(refusal(|file| file[48] = 1).to_string().contains("whole sectors"));
        assert!(refusal(|file| file[55] = 1).to_string().contains("at most"));
        assert!(refusal(|file| file[2 * 4096] = 8).to_string().contains("multiple of the cluster size"));
        assert!(refusal(|file| file[4096 + 4] = 8).to_string().contains("past the end"));
    }
}
