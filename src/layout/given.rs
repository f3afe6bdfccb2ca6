//! A disk that others made. It stays as it is; only where the user wants it larger, or its container or platform takes no disk of that
//! size, it grows, and its partition table with it. For other sectors the table is counted anew.

use super::{SectorSize, Size, recount};
use crate::error::{Error, Result};
use formats::{
    Blob, Limits,
    gpt::Table,
    mbr::Mbr,
    units::{self, SECTOR, show_size},
};

/// A disk as it was given.
#[derive(Clone, Debug)]
pub struct Given {
    /// What the guest sees.
    pub disk: Blob,
    /// Bytes of a logical sector, where the container said so.
    pub sector: Option<u64>,
    /// Where the disk may hold zeros as data: what of it was looked at and holds none.
    pub seen: Option<Blob>,
}

impl From<Blob> for Given {
    fn from(disk: Blob) -> Self {
        Self { disk, sector: None, seen: None }
    }
}

/// The logical sectors that a disk was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sectors {
    /// Bytes of one.
    pub(crate) size: u64,
    /// Whether its partition table counts in them, so that it is not the same disk with others.
    pub(crate) are_counted: bool,
}

impl Sectors {
    /// Those of every disk whose container does not say.
    pub(crate) const USUAL: Self = Self { size: SECTOR, are_counted: false };

    /// Those that a partition table counts in.
    pub(crate) fn counted(size: SectorSize) -> Self {
        Self { size: size.bytes(), are_counted: size != SectorSize::USUAL }
    }
}

/// A disk that suits its container.
#[derive(Clone, Debug)]
pub(crate) struct Fitted {
    pub(crate) disk: Blob,
    pub(crate) sectors: Sectors,
    /// What the user should know.
    pub(crate) notices: Vec<String>,
}

impl Given {
    /// The disk as large as is wanted and as `limits` demand, of the sectors that are wanted: its GPT, where it has one, counts in them and
    /// its backup stands at the new end.
    ///
    /// # Errors
    /// When it is larger than is wanted, or too large, or partitioned so that it cannot have such sectors; when it cannot be read.
    pub(crate) fn fit(&self, wanted: Size, wanted_sectors: Option<SectorSize>, limits: Limits) -> Result<Fitted> {
        let (mut disk, len) = (self.disk.clone(), self.disk.len());
        let (table, sectors, is_recounted) = self.counted(&mut disk, wanted_sectors)?;
        let mut notices = Vec::new();
        let (asked, multiple) = match wanted {
            Size::Auto if wanted_sectors.is_some() => (len, sectors.size),
            Size::Auto => (len, SECTOR),
            Size::More(more) => (len.saturating_add(more), sectors.size),
            Size::Fixed(size) if size < len => return Err(too_small(size, len)),
            Size::Fixed(size) => (size, sectors.size),
        };
        let needed = asked.max(table.as_ref().filter(|_| is_recounted).map_or(0, Table::len_min));
        let multiple = multiple.max(limits.size_multiple);
        let size = units::round_up(needed, multiple)
            .filter(|size| *size <= limits.size_max)
            .ok_or_else(|| Error::unsupported(format!("a disk of {needed} bytes, this format holds at most {}", limits.size_max)))?;
        disk.extend_to(size);
        let is_moved = match &table {
            Some(table) if size > len || is_recounted => Some(table.fit(&mut disk)?),
            _ => None,
        };
        if size > len {
            let done = match is_moved {
                Some(true) => "moved the backup GPT to the new end of the disk",
                Some(false) => "the backup GPT stays where it was, for a partition is where it would have to be",
                None => "nothing else was changed, for there is no sound GPT",
            };
            let why = match multiple {
                _ if size == asked => ", as asked for".to_owned(),
                _ if size == needed => ", as the larger table needs".to_owned(),
                multiple if multiple == sectors.size => ", to whole sectors".to_owned(),
                multiple => format!(": the container or the platform takes multiples of {}", show_size(multiple)),
            };
            notices.push(format!("the disk was grown from {len} to {size} bytes{why}; {done}"));
        }
        if is_recounted {
            notices.push(format!("the GPT was rewritten for sectors of {} bytes", sectors.size));
            notices.extend(recount::warnings(&disk, sectors.size)?);
        }
        Ok(Fitted { disk, sectors, notices })
    }

    /// The table, which counts in the sectors that are wanted, these, and whether it had to be counted anew for that.
    fn counted(&self, disk: &mut Blob, wanted: Option<SectorSize>) -> Result<(Option<Table>, Sectors, bool)> {
        let table = Table::find(disk)?;
        let sectors = self.sectors(table.as_ref())?;
        let Some(wanted) = wanted else { return Ok((table, sectors, false)) };
        let has_others = sectors.size != wanted.bytes();
        let (table, is_recounted) = match table {
            Some(table) if table.block() != wanted.bytes() => (Some(recount::recounted(disk, &table, wanted.bytes())?), true),
            None if has_others && (sectors.are_counted || has_partitions(disk)?) => return Err(not_recounted(wanted)),
            as_it_is => (as_it_is, false),
        };
        let are_counted = wanted != SectorSize::USUAL && (table.is_some() || sectors.are_counted);
        Ok((table, Sectors { size: wanted.bytes(), are_counted }, is_recounted))
    }

    /// The sectors that it was made for.
    fn sectors(&self, table: Option<&Table>) -> Result<Sectors> {
        Ok(match (table, self.sector) {
            (Some(table), None | Some(SECTOR)) => Sectors { size: table.block(), are_counted: table.block() != SECTOR },
            (Some(table), Some(size)) => Sectors { size, are_counted: table.block() == size },
            (None, Some(size)) => Sectors { size, are_counted: size != SECTOR && has_partitions(&self.disk)? },
            (None, None) => Sectors::USUAL,
        })
    }
}

/// An MBR counts in sectors whose size it does not name, and so does what its boot code reads.
fn not_recounted(sectors: SectorSize) -> Error {
    Error::unsupported(format!("the disk has no sound GPT, which alone is rewritten for sectors of {} bytes", sectors.bytes()))
        .hint("leave --sector-size out")
}

/// Nobody knows here what stands at the end of a disk.
fn too_small(wanted: u64, len: u64) -> Error {
    let what = format!("a disk of {wanted} bytes ({}) is too small, the input has {len} ({})", show_size(wanted), show_size(len));
    Error::bad_input(what).hint("a disk can be made larger, not smaller: leave --size out, or say how much more, as in --size +2G")
}

/// Whether there is an MBR with a partition.
fn has_partitions(disk: &Blob) -> Result<bool> {
    if disk.len() < SECTOR {
        return Ok(false);
    }
    Ok(Mbr::parse(&disk.read_array(0)?).is_some_and(|mbr| mbr.has_partitions()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::units::{KIB, MIB};

    /// A legacy MBR, whose only partition has 8 sectors from sector 8.
    fn partitioned(len: u64) -> Blob {
        let mut disk = Blob::zeros(len);
        let record = formats::mbr::PartitionRecord::new(0x83, 8, 8).unwrap();
        disk.splice(0, &Blob::bytes(Mbr::legacy([0; 440], 0, &[record]).to_bytes()));
        disk
    }

    #[test]
    fn a_disk_that_fits_stays_as_it_is() {
        let fitted = Given::from(partitioned(MIB + SECTOR)).fit(Size::Auto, None, Limits::default()).unwrap();
        assert_eq!((fitted.disk.len(), fitted.sectors, fitted.notices), (MIB + SECTOR, Sectors::USUAL, Vec::new()));
    }

    #[test]
    fn what_was_done_is_said() {
        let notice =
            |len, multiple| Given::from(partitioned(len)).fit(Size::Auto, None, Limits::multiple_of(multiple)).unwrap().notices.concat();
        assert_eq!(
            notice(1000, SECTOR),
            "the disk was grown from 1000 to 1024 bytes, to whole sectors; nothing else was changed, for there is no sound GPT"
        );
        assert!(notice(MIB + SECTOR, MIB).contains("takes multiples of 1 MiB"));
    }

    #[test]
    fn only_a_gpt_is_recounted() {
        let fit = |disk: Blob, sector| Given { sector, ..Given::from(disk) }.fit(Size::Auto, Some(SectorSize::LARGE), Limits::default());
        assert!(fit(partitioned(MIB), None).unwrap_err().to_string().contains("no sound GPT"));
        assert!(fit(partitioned(MIB), Some(4 * KIB)).unwrap().sectors.are_counted, "it has them already");
        let plain = fit(Blob::zeros(MIB), None).unwrap();
        assert_eq!(plain.sectors, Sectors { size: 4 * KIB, are_counted: false });
    }

    #[test]
    fn a_size_that_is_asked_for_is_had_or_refused() {
        let fit = |size: &str, multiple| Given::from(partitioned(MIB)).fit(size.parse().unwrap(), None, Limits::multiple_of(multiple));
        for (size, multiple, len, why) in [
            ("3M", SECTOR, 3 * MIB, "as asked for"),
            ("+2M", SECTOR, 3 * MIB, "as asked for"),
            ("+1", SECTOR, MIB + SECTOR, "to whole sectors"),
            ("+1M", 4 * MIB, 4 * MIB, "takes multiples of 4 MiB"),
        ] {
            let Fitted { disk, notices, .. } = fit(size, multiple).unwrap();
            assert!(disk.len() == len && notices.concat().contains(why), "{size}");
        }
        for same in ["1M", "+0", "auto"] {
            assert!(fit(same, SECTOR).unwrap().notices.is_empty());
        }
        let error = fit("1048575", SECTOR).unwrap_err();
        assert_eq!(error.to_string(), "a disk of 1048575 bytes (1023.9 KiB) is too small, the input has 1048576 (1 MiB)");
        assert!(error.hint_text().unwrap().contains("+2G"));
        assert!(fit("+9223372036854775807", SECTOR).is_err());
    }

    #[test]
    fn partitions_are_counted_in_the_sectors_that_the_container_names() {
        let sectors = |disk: Blob, sector| Given { sector, ..Given::from(disk) }.fit(Size::Auto, None, Limits::default()).unwrap().sectors;
        let large = |are_counted| Sectors { size: 4 * KIB, are_counted };
        assert_eq!(sectors(partitioned(MIB), Some(4 * KIB)), large(true));
        assert_eq!(sectors(Blob::zeros(MIB), Some(4 * KIB)), large(false));
        assert_eq!(sectors(partitioned(MIB), Some(SECTOR)), Sectors::USUAL);
    }
}
