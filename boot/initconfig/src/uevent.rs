//! What the kernel tells of devices that come and go: a uevent of the kernel's own netlink group, `lib/kobject_uevent.c`.
//!
//! `add@/devices/...`, then `KEY=VALUE`, a zero byte behind each.

/// The kernel's multicast group.
pub const GROUP: u32 = 1;

/// A uevent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uevent<'a> {
    /// `add`, `remove`, `change`.
    pub action: &'a [u8],
    /// What kind of device it is: `net`, `input`, `block`.
    pub subsystem: &'a [u8],
    /// By which modules are chosen.
    pub modalias: Option<&'a [u8]>,
}

impl<'a> Uevent<'a> {
    /// Reads a message; none when it is not the kernel's.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let mut parts = message.split(|byte| *byte == 0);
        let head = parts.next()?;
        let action = head.get(..head.iter().position(|byte| *byte == b'@')?)?;
        let mut event = Self { action, subsystem: b"", modalias: None };
        for part in parts {
            if let Some(value) = part.strip_prefix(b"SUBSYSTEM=") {
                event.subsystem = value;
            } else if let Some(value) = part.strip_prefix(b"MODALIAS=") {
                event.modalias = Some(value);
            }
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::Uevent;

    #[test]
    fn a_message_of_the_kernel_is_read_and_no_other() {
        let message = b"add@/devices/pci0000:00/virtio0\0ACTION=add\0SUBSYSTEM=virtio\0MODALIAS=virtio:d00000001v00001AF4\0SEQNUM=7\0";
        let event = Uevent::parse(message).unwrap();
        assert_eq!((event.action, event.subsystem), (b"add".as_slice(), b"virtio".as_slice()));
        assert_eq!(event.modalias, Some(b"virtio:d00000001v00001AF4".as_slice()));
        // udev's own, which goes to another group.
        assert_eq!(Uevent::parse(b"libudev\0\xfe\xed\xca\xfe"), None);
        assert_eq!(Uevent::parse(b""), None);
    }
}
