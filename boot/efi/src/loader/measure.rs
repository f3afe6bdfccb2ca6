//! Measuring our own sections where there is a TPM (TCG EFI Protocol Specification, section 6), and where confidential computing
//! has its registers instead (UEFI 2.10, section 38.2).

use core::ptr::NonNull;

use bootefi::measure::{self, Event};
use r_efi::efi::{self, Boolean, Status};

use super::failure::{Failure, Reason};
use super::firmware::{Firmware, done};

const TCG2: efi::Guid = efi::Guid::from_fields(0x607f_766c, 0x7455, 0x42be, 0x93, 0x0b, &[0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f]);
const CC: efi::Guid = efi::Guid::from_fields(0x9675_1a3d, 0x72f4, 0x41a6, 0xa7, 0x94, &[0xed, 0x5d, 0x0e, 0x67, 0xae, 0x6b]);

/// `HashLogExtendEvent()` of both protocols: itself, flags, address and length of the bytes, event.
type Extend = unsafe extern "efiapi" fn(*mut Protocol, u64, u64, u64, *const u8) -> Status;

/// Which register a protocol measures into; `None` when there is nothing behind it.
type Register = fn(NonNull<Protocol>) -> Option<u32>;

/// The front of `EFI_TCG2_PROTOCOL` and of `EFI_CC_MEASUREMENT_PROTOCOL`.
#[repr(C)]
struct Protocol {
    get_capability: unsafe extern "efiapi" fn(*mut Protocol, *mut Capability) -> Status,
    get_event_log: usize,
    hash_log_extend_event: Extend,
    /// Of confidential computing alone.
    map_pcr_to_mr_index: unsafe extern "efiapi" fn(*mut Protocol, u32, *mut u32) -> Status,
}

/// `EFI_TCG2_BOOT_SERVICE_CAPABILITY`.
#[repr(C)]
#[derive(Default)]
struct Capability {
    size: u8,
    versions: [u8; 4],
    algorithms: [u32; 2],
    tpm_present: u8,
    sizes: [u16; 2],
    manufacturer: [u32; 3],
}

/// Measures our sections by every protocol there is. A machine without has nothing to say.
pub(super) fn sections(firmware: &Firmware) -> Result<(), Failure<'static>> {
    let find = |name: &str| firmware.own_section(name).ok().flatten();
    let measurers: [(efi::Guid, Register); 2] = [(TCG2, tpm_register), (CC, cc_register)];
    for (guid, register) in measurers {
        let Some(protocol) = firmware.locate::<Protocol>(guid) else { continue };
        let Some(register) = register(protocol) else { continue };
        let measured = measure::sections(register, find, |event, bytes| extend(protocol, event, bytes));
        measured.map_err(|(section, status)| Reason::Firmware("HashLogExtendEvent", status).at(section))?;
    }
    Ok(())
}

/// The register of a TPM, if there is one behind the protocol.
fn tpm_register(protocol: NonNull<Protocol>) -> Option<u32> {
    let len = u8::try_from(size_of::<Capability>()).unwrap_or(u8::MAX);
    let mut capability = Capability { size: len, ..Capability::default() };
    // SAFETY: the firmware's own protocol.
    let get = unsafe { protocol.as_ref() }.get_capability;
    // SAFETY: a local that says how long it is.
    let asked = unsafe { get(protocol.as_ptr(), &raw mut capability) };
    (!asked.is_error() && Boolean::from(capability.tpm_present) != Boolean::FALSE).then_some(measure::REGISTER)
}

/// What stands in for the register of a TPM.
fn cc_register(protocol: NonNull<Protocol>) -> Option<u32> {
    let mut register = 0;
    // SAFETY: the firmware's own protocol, which has this function.
    let map = unsafe { protocol.as_ref() }.map_pcr_to_mr_index;
    // SAFETY: a local.
    let mapped = unsafe { map(protocol.as_ptr(), measure::REGISTER, &raw mut register) };
    (!mapped.is_error()).then_some(register)
}

fn extend(protocol: NonNull<Protocol>, event: &Event, bytes: &[u8]) -> Result<(), Status> {
    let address = u64::try_from(bytes.as_ptr().expose_provenance()).unwrap_or(0);
    let len = u64::try_from(bytes.len()).unwrap_or(0);
    // SAFETY: the firmware's own protocol.
    let extend = unsafe { protocol.as_ref() }.hash_log_extend_event;
    // SAFETY: bytes and event are only read, and the event says how long it is.
    done(unsafe { extend(protocol.as_ptr(), 0, address, len, event.bytes().as_ptr()) })
}
