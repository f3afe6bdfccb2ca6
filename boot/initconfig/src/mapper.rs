//! What device-mapper is asked for, Linux `include/uapi/linux/dm-ioctl.h`, version 4: a device of one read-only target.
//!
//! ```text
//!    0  version: 4, 0, 0 (12)    16  where data begins    28  flags     48  name (128)    312  start, sectors: 8 each   328  status, next
//!   12  length                   20  targets: 1           40  device   176  UUID (129)    336  target (16)              352  parameters, 0
//! ```

use alloc::vec::Vec;

/// Bytes of `struct dm_ioctl`.
const HEADER: usize = 312;
const READ_ONLY: u32 = 1;

/// A line of a table, as dmsetup(8) has it: `0 SECTORS TARGET PARAMETERS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    sectors: u64,
    target: Vec<u8>,
    parameters: Vec<Vec<u8>>,
}

/// A request, by the number of its ioctl, and the bytes that it is given and gives back.
pub type Request = (u8, Vec<u8>);

impl Table {
    /// Reads a line.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
        let start = words.next()?;
        let sectors = str::from_utf8(words.next()?).ok()?.parse().ok()?;
        let target = words.next().filter(|target| target.len() < 16)?.to_vec();
        (start == b"0").then(|| Self { sectors, target, parameters: words.map(<[u8]>::to_vec).collect() })
    }

    /// The parameters; devices are among them.
    pub fn parameters_mut(&mut self) -> &mut [Vec<u8>] {
        &mut self.parameters
    }

    /// The requests that make a device of this name, in their order: `DM_DEV_CREATE`, `DM_TABLE_LOAD`, `DM_DEV_SUSPEND` to resume.
    pub fn requests(&self, name: &str) -> [Request; 3] {
        let mut data = [0_u64, self.sectors].map(u64::to_ne_bytes).concat();
        data.extend([0; 8]);
        data.extend(&self.target);
        data.resize(40, 0);
        data.extend(self.parameters.join(&b' '));
        data.push(0);
        data.resize(data.len().next_multiple_of(8), 0);
        [(3, request(name, 0, 0, &[])), (9, request(name, 1, READ_ONLY, &data)), (6, request(name, 0, 0, &[]))]
    }
}

fn request(name: &str, targets: u32, flags: u32, data: &[u8]) -> Vec<u8> {
    let mut request = Vec::with_capacity(HEADER.saturating_add(data.len()));
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let words = [4, 0, 0, length(HEADER.saturating_add(data.len())), length(HEADER), targets, 0, flags];
    words.iter().for_each(|word| request.extend(word.to_ne_bytes()));
    request.resize(48, 0);
    request.extend(name.bytes().take(127));
    request.resize(HEADER, 0);
    request.extend(data);
    request
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn a_table_becomes_requests() {
        let mut table = Table::parse(b"0 8 verity 1 PARTUUID=a PARTUUID=b 4096").unwrap();
        table.parameters_mut()[1] = b"254:1".to_vec();
        let requests = table.requests("root");
        assert_eq!(requests.each_ref().map(|(number, bytes)| (*number, bytes.len())), [(3, 312), (9, 376), (6, 312)]);
        let load = &requests[1].1;
        assert_eq!(u32::from_ne_bytes(load[12..16].try_into().unwrap()) as usize, load.len());
        assert_eq!((&load[48..53], &load[336..343]), (b"root\0".as_slice(), b"verity\0".as_slice()));
        assert!(load[352..].starts_with(b"1 254:1 PARTUUID=b 4096\0"));
        assert_eq!(load[320], 8);
    }

    #[test]
    fn what_is_no_table_is_none() {
        for bad in ["", "0", "0 x verity", "8 8 verity", "0 8", "0 8 a-target-of-16-xx"] {
            assert_eq!(Table::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
