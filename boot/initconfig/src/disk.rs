//! The partition that a configuration names, and what file system it holds.

use bootfs::{BlockDevice, Disk, Error, Gpt, gpt::Guid};

/// Reads `6cbb66ac-3f7a-4a5f-a0c1-0e31a0a1d5f1`, in either case, as it stands on a disk: the first three parts the other way round.
pub fn guid(text: &[u8]) -> Option<Guid> {
    let dashes = [8, 13, 18, 23];
    let mut digits = [0; 32];
    let mut places = digits.iter_mut();
    for (at, byte) in text.iter().enumerate() {
        if dashes.contains(&at) {
            if *byte != b'-' {
                return None;
            }
        } else {
            *places.next()? = u8::try_from(char::from(*byte).to_digit(16)?).ok()?;
        }
    }
    if places.next().is_some() {
        return None;
    }
    let mut guid = [0; 16];
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15_usize];
    for (pair, to) in digits.chunks_exact(2).zip(order) {
        if let ([high, low], Some(byte)) = (pair, guid.get_mut(to)) {
            *byte = high << 4 | low;
        }
    }
    Some(guid)
}

/// The number of the partition with this GUID, from 1, as Linux counts them.
///
/// # Errors
/// As [`Gpt::read`] and [`Gpt::partition`] have them.
pub fn partition<D: BlockDevice>(device: D, guid: &Guid) -> Result<Option<u32>, Error<D::Error>> {
    let mut disk = Disk::new(device)?;
    let gpt = Gpt::read(&mut disk)?;
    for index in 0..gpt.entry_count {
        match gpt.partition(&mut disk, index) {
            Ok(Some(partition)) if partition.guid == *guid => return Ok(index.checked_add(1)),
            Err(Error::Device(error)) => return Err(Error::Device(error)),
            // Another that is out of order is none of ours.
            _ => {}
        }
    }
    Ok(None)
}

/// Bytes of a device by which its file system is told.
pub const HEAD: usize = 2048;

/// What Linux calls the file system that a device with this beginning holds.
pub fn file_system(head: &[u8]) -> Option<&'static str> {
    let is = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    match head {
        _ if is(0, b"hsqs") => Some("squashfs"),
        _ if is(1024, &0xe0f5_e1e2_u32.to_le_bytes()) => Some("erofs"),
        _ if is(1080, &[0x53, 0xef]) => Some("ext4"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{file_system, guid, partition};
    use alloc::{vec, vec::Vec};
    use bootfs::{BlockDevice, Crc32};

    const GUID: &[u8] = b"01020304-0506-0708-090a-0B0C0d0e0f10";

    struct Sectors(Vec<u8>);

    impl BlockDevice for Sectors {
        type Error = ();
        fn sector_size(&self) -> u32 {
            512
        }
        fn sector_count(&self) -> Option<u64> {
            Some(self.0.len() as u64 / 512)
        }
        fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), ()> {
            let from = first as usize * 512;
            into.copy_from_slice(self.0.get(from..from + into.len()).ok_or(())?);
            Ok(())
        }
    }

    /// A disk whose third entry is the partition; the second is out of order.
    fn disk() -> Vec<u8> {
        let mut disk = vec![0; 64 * 512];
        for (index, first, id) in [(0, 40_u64, [1; 16]), (1, 400, [2; 16]), (2, 48, guid(GUID).unwrap())] {
            let at = 1024 + index * 128;
            disk[at..at + 16].fill(9);
            disk[at + 16..at + 32].copy_from_slice(&id);
            disk[at + 32..at + 40].copy_from_slice(&first.to_le_bytes());
            disk[at + 40..at + 48].copy_from_slice(&(first + 7).to_le_bytes());
        }
        let sum = |bytes: &[u8]| {
            let mut crc = Crc32::new();
            crc.update(bytes);
            crc.value().to_le_bytes()
        };
        let entries = sum(&disk[1024..1024 + 4 * 128]);
        let header = &mut disk[512..512 + 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[12] = 92;
        header[24] = 1;
        header[72] = 2;
        header[80] = 4;
        header[84] = 128;
        header[88..92].copy_from_slice(&entries);
        let own = sum(header);
        header[16..20].copy_from_slice(&own);
        disk
    }

    #[test]
    fn a_partition_is_found_by_its_guid() {
        assert_eq!(guid(GUID), Some([4, 3, 2, 1, 6, 5, 8, 7, 9, 10, 11, 12, 13, 14, 15, 16]));
        assert_eq!(partition(Sectors(disk()), &guid(GUID).unwrap()), Ok(Some(3)));
        assert_eq!(partition(Sectors(disk()), &[3; 16]), Ok(None));
        assert!(partition(Sectors(vec![0; 4096]), &[3; 16]).is_err());
    }

    #[test]
    fn what_is_no_guid_is_none() {
        for bad in [
            "",
            "01020304",
            "01020304-0506-0708-090a-0b0c0d0e0f1",
            "01020304-0506-0708-090a-0b0c0d0e0f101",
            "01020304x0506-0708-090a-0b0c0d0e0f10",
            "g1020304-0506-0708-090a-0b0c0d0e0f10",
        ] {
            assert_eq!(guid(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn file_systems_are_told_by_their_magic() {
        let head = |at: usize, magic: &[u8]| {
            let mut head = vec![0; super::HEAD];
            head[at..at + magic.len()].copy_from_slice(magic);
            head
        };
        assert_eq!(file_system(&head(0, b"hsqs")), Some("squashfs"));
        assert_eq!(file_system(&head(1024, &[0xe2, 0xe1, 0xf5, 0xe0])), Some("erofs"));
        assert_eq!(file_system(&head(1080, &[0x53, 0xef])), Some("ext4"));
        assert_eq!((file_system(&head(0, b"")), file_system(b"")), (None, None));
    }
}
