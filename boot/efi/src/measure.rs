//! What a unified kernel image measures of itself into PCR 11: UAPI.7 (Linux TPM PCR Registry), as `systemd-stub` does.
//!
//! Of each section two events: its name with a NUL, then its bytes as they are in memory. Nothing else can change what is booted,
//! so PCR 12 stays as it is. Events are those of the TCG EFI Protocol Specification, section 6.4, which confidential computing
//! (UEFI 2.10, section 38) has as well.

use crate::text::Utf16;

/// The register.
pub const REGISTER: u32 = 11;

/// What is measured, in this order. Signatures of PCR 11 are not: they would have to sign themselves.
pub const SECTIONS: [&str; 11] =
    [".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey", ".profile"];

/// Bytes of the longest name of a section with its NUL.
const NAME_MAX: usize = 9;
const HEADER_LEN: usize = 18;
const EVENT_MAX: usize = HEADER_LEN + 2 * NAME_MAX;
/// `EV_IPL`: what a loader measures.
const EV_IPL: u32 = 13;

/// An event for the log: `EFI_TCG2_EVENT` or `EFI_CC_EVENT`.
///
/// ```text
///  u32 bytes of all | u32 14, bytes of the header | u16 version 1 | u32 register | u32 type | name in UTF-16 with its NUL
/// ```
#[derive(Debug, Clone)]
pub struct Event {
    bytes: [u8; EVENT_MAX],
    len: usize,
}

impl Event {
    /// The event of a section. `None` when its name is longer than names are.
    fn new(register: u32, section: &str) -> Option<Self> {
        let name = Utf16::<NAME_MAX>::new(section)?;
        let name = name.with_nul().iter().flat_map(|unit| unit.to_le_bytes());
        let len = HEADER_LEN.checked_add(name.clone().count())?;
        let fields = [u32::try_from(len).ok()?, 14].into_iter().flat_map(u32::to_le_bytes).chain(1u16.to_le_bytes());
        let fields = fields.chain([register, EV_IPL].into_iter().flat_map(u32::to_le_bytes)).chain(name);
        let mut event = Self { bytes: [0; EVENT_MAX], len };
        event.bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        Some(event)
    }

    /// The whole event.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Measures what `find` finds into `register` by `extend`, which is given an event and the bytes that are hashed.
///
/// # Errors
/// The first of `extend`, with the section that was to be measured.
pub fn sections<'s, E>(
    register: u32,
    find: impl Fn(&str) -> Option<&'s [u8]>,
    mut extend: impl FnMut(&Event, &[u8]) -> Result<(), E>,
) -> Result<(), (&'static str, E)> {
    for section in SECTIONS {
        let (Some(bytes), Some(event)) = (find(section), Event::new(register, section)) else { continue };
        let mut name = [0; NAME_MAX];
        name.iter_mut().zip(section.bytes()).for_each(|(to, from)| *to = from);
        let name = name.get(..=section.len()).unwrap_or_default();
        extend(&event, name).and_then(|()| extend(&event, bytes)).map_err(|error| (section, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn an_event_is_what_the_specification_draws() {
        let mut expected = std::vec![32, 0, 0, 0, 14, 0, 0, 0, 1, 0, 11, 0, 0, 0, 13, 0, 0, 0];
        expected.extend(b".\0l\0i\0n\0u\0x\0\0\0");
        assert_eq!(Event::new(REGISTER, ".linux").unwrap().bytes(), expected);
        assert_eq!(Event::new(4, ".cmdline").unwrap().bytes().len(), 36, "eight characters and a NUL");
        assert!(Event::new(4, ".cmdlines").is_none());
        assert!(SECTIONS.iter().all(|section| Event::new(REGISTER, section).is_some()));
    }

    #[test]
    fn the_sections_that_exist_are_measured_in_order_names_first() {
        let find = |name: &str| [(".sbat", &b"s"[..]), (".initrd", b"i"), (".linux", b"k")].into_iter().find(|found| found.0 == name);
        let mut hashed = Vec::new();
        let extend = |event: &Event, bytes: &[u8]| {
            hashed.push((event.bytes()[18..].iter().copied().step_by(2).collect::<Vec<_>>(), bytes.to_vec()));
            Ok::<_, ()>(())
        };
        sections(REGISTER, |name| find(name).map(|found| found.1), extend).unwrap();
        let expected = [(".linux\0", "k"), (".initrd\0", "i"), (".sbat\0", "s")];
        let expected = expected.into_iter().flat_map(|(name, body)| [(name, name), (name, body)]);
        assert_eq!(hashed, expected.map(|(name, bytes)| (name.into(), bytes.into())).collect::<Vec<(Vec<u8>, Vec<u8>)>>());
    }

    #[test]
    fn the_first_failure_ends_it() {
        let mut calls = 0;
        let outcome = sections(
            REGISTER,
            |_| Some(b"x"),
            |_, _| {
                calls += 1;
                if calls == 4 { Err(7) } else { Ok(()) }
            },
        );
        assert_eq!((outcome, calls), (Err((".osrel", 7)), 4));
    }
}
