//! Device paths (UEFI 2.10, section 10): reading one by its nodes, and making the three that a loader needs.

use crate::FilePath;
use crate::text::MAX_PATH;

/// Bytes in the longest device path that we make.
pub const MAX: usize = 2048;

const NODE_HEADER_LEN: usize = 4;
const END: [u8; NODE_HEADER_LEN] = [0x7f, 0xff, 4, 0];

/// `LINUX_EFI_INITRD_MEDIA_GUID` of include/linux/efi.h, 5568e427-68fc-4f3d-ac74-ca555231cc68: where a kernel looks for its
/// initrd.
const INITRD_MEDIA: [u8; 16] = [0x27, 0xe4, 0x68, 0x55, 0xfc, 0x68, 0x3d, 0x4f, 0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68];

/// A device path in a buffer of its own, aligned as a firmware may expect.
#[derive(Debug, Clone)]
#[repr(C, align(8))]
pub struct DevicePath {
    bytes: [u8; MAX],
    len: usize,
}

/// Length of the node whose header is `header` (type, subtype, length); `None` at the end of the whole path, or when the
/// node contradicts itself.
#[must_use]
pub fn node_len(header: [u8; NODE_HEADER_LEN]) -> Option<usize> {
    let [kind, subtype, low, high] = header;
    let len = usize::from(u16::from_le_bytes([low, high]));
    (len >= NODE_HEADER_LEN && (kind, subtype) != (0x7f, 0xff)).then_some(len)
}

impl DevicePath {
    const fn empty() -> Self {
        Self { bytes: [0; MAX], len: 0 }
    }

    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.bytes.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    /// The header of a node with `body` bytes behind it.
    fn push_header(&mut self, kind: u8, subtype: u8, body: usize) -> Option<()> {
        let [low, high] = u16::try_from(body.checked_add(NODE_HEADER_LEN)?).ok()?.to_le_bytes();
        self.push(&[kind, subtype, low, high])
    }

    /// The file `path` on the device whose path's nodes (without the end) are `device`. `None` when it gets too long.
    #[must_use]
    pub fn file(device: &[u8], path: &FilePath) -> Option<Self> {
        let mut made = Self::empty();
        made.push(device)?;
        let units = path.with_nul();
        debug_assert!(units.len() <= MAX_PATH, "a FilePath is bounded");
        made.push_header(0x04, 0x04, units.len().checked_mul(2)?)?;
        units.iter().try_for_each(|unit| made.push(&unit.to_le_bytes()))?;
        made.push(&END)?;
        Some(made)
    }

    /// `[start, start + len)` of memory, of EFI loader data.
    #[must_use]
    pub fn memory(start: u64, len: u64) -> Option<Self> {
        let mut made = Self::empty();
        made.push_header(0x01, 0x03, 20)?;
        made.push(&2u32.to_le_bytes())?;
        made.push(&start.to_le_bytes())?;
        made.push(&start.checked_add(len)?.checked_sub(1)?.to_le_bytes())?;
        made.push(&END)?;
        Some(made)
    }

    /// The vendor media path of the initrd.
    #[must_use]
    pub fn initrd() -> Option<Self> {
        let mut made = Self::empty();
        made.push_header(0x04, 0x03, INITRD_MEDIA.len())?;
        made.push(&INITRD_MEDIA)?;
        made.push(&END)?;
        Some(made)
    }

    /// The whole path, with its end.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_its_device_its_name_and_the_end() {
        let path = DevicePath::file(&[0x04, 0x01, 6, 0, 7, 7], &FilePath::new("/k").unwrap()).unwrap();
        let expected = [0x04, 0x01, 6, 0, 7, 7, 0x04, 0x04, 10, 0, b'\\', 0, b'k', 0, 0, 0, 0x7f, 0xff, 4, 0];
        assert_eq!(path.bytes(), expected);
    }

    #[test]
    fn memory_names_its_last_byte() {
        let path = DevicePath::memory(0x10_0000, 0x2000).unwrap();
        let mut expected = std::vec![0x01, 0x03, 24, 0, 2, 0, 0, 0];
        expected.extend(0x10_0000u64.to_le_bytes());
        expected.extend(0x10_1fffu64.to_le_bytes());
        expected.extend([0x7f, 0xff, 4, 0]);
        assert_eq!(path.bytes(), expected);
        assert!(DevicePath::memory(0, 0).is_none());
    }

    #[test]
    fn the_initrd_path_is_the_one_of_linux() {
        let path = DevicePath::initrd().unwrap();
        assert_eq!(path.bytes()[..8], [0x04, 0x03, 20, 0, 0x27, 0xe4, 0x68, 0x55]);
        assert_eq!(path.bytes().len(), 24);
    }

    #[test]
    fn a_device_too_long_is_refused() {
        assert!(DevicePath::file(&[0; MAX], &FilePath::new("/k").unwrap()).is_none());
    }

    #[test]
    fn nodes_end_at_the_end_and_at_nonsense() {
        assert_eq!(node_len([4, 4, 10, 0]), Some(10));
        assert_eq!(node_len([0x7f, 0x01, 4, 0]), Some(4), "the end of an instance is not the end");
        assert_eq!(node_len(END), None);
        assert_eq!(node_len([4, 4, 3, 0]), None);
    }
}
