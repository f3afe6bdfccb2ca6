//! Variables of the firmware (UEFI 2.10, sections 3.3 and 8.2), as far as Secure Boot goes.

use core::ptr;

use bootefi::Utf16;
use bootefi::enrol::Key;
use r_efi::efi::{self, Status};

use super::firmware::{Firmware, done};

const GLOBAL: efi::Guid = efi::Guid::from_fields(0x8be4_df61, 0x93ca, 0x11d2, 0xaa, 0x0d, &[0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c]);
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`.
const IMAGES: efi::Guid = efi::Guid::from_fields(0xd719_b2cb, 0x3d3a, 0x4596, 0xa3, 0xbc, &[0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f]);

/// Kept when the power is off, there before and after boot services end, and written only with a signature.
const KEY_ATTRIBUTES: u32 = efi::VARIABLE_NON_VOLATILE
    | efi::VARIABLE_BOOTSERVICE_ACCESS
    | efi::VARIABLE_RUNTIME_ACCESS
    | efi::VARIABLE_TIME_BASED_AUTHENTICATED_WRITE_ACCESS;

/// Units of the longest name here, with its NUL.
type Name = Utf16<16>;

impl Firmware {
    /// Whether the global variable `name`, of one byte, is 1. A firmware without Secure Boot has none of them.
    fn is_on(&self, name: &str) -> bool {
        let Some(name) = Name::new(name) else { return false };
        let (mut guid, mut len, mut value) = (GLOBAL, 1, 0u8);
        let name = name.with_nul().as_ptr().cast_mut();
        // SAFETY: the table is valid; runtime services always exist.
        let get = unsafe { (*self.table.runtime_services).get_variable };
        // SAFETY: a name with its NUL, and locals with room for one byte.
        let status = unsafe { get(name, &raw mut guid, ptr::null_mut(), &raw mut len, (&raw mut value).cast()) };
        !status.is_error() && len == 1 && value == 1
    }

    /// Whether images are verified before they start.
    pub(super) fn has_secure_boot(&self) -> bool {
        self.is_on("SecureBoot")
    }

    /// Whether keys are taken from anybody.
    pub(super) fn is_in_setup_mode(&self) -> bool {
        self.is_on("SetupMode")
    }

    /// Writes the variable of `key`; `update` is signed.
    pub(super) fn write_key(&self, key: Key, update: &[u8]) -> Result<(), Status> {
        let name = Name::new(key.name()).ok_or(Status::INVALID_PARAMETER)?;
        let mut guid = if key.is_of_images() { IMAGES } else { GLOBAL };
        let (name, bytes) = (name.with_nul().as_ptr().cast_mut(), update.as_ptr().cast_mut().cast());
        // SAFETY: the table is valid; runtime services always exist.
        let set = unsafe { (*self.table.runtime_services).set_variable };
        // SAFETY: a name with its NUL, a local, and bytes that are only read.
        done(unsafe { set(name, &raw mut guid, KEY_ATTRIBUTES, update.len(), bytes) })
    }
}
