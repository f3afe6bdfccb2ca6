//! The parts of the EFI loader that need no firmware: judging and laying out a kernel, what is measured and handed to it, enrolling
//! keys, converting paths and text.
//!
//! Standards: UEFI 2.10, Boot Loader Specification and Unified Kernel Image (UAPI.1, UAPI.5), boot.rst and booting.rst of
//! Linux. No `unsafe`, no allocation; tested on the host.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

#[cfg(test)]
extern crate std;

pub mod device_path;
pub mod enrol;
mod kernel;
mod mapping;
pub mod measure;
pub mod smbios;
mod text;

pub use kernel::{Architecture, KernelError, Needs};
pub use mapping::{Mapping, PAGE, Protection};
pub use text::{FilePath, LoadOptions, MAX_PATH, Utf16};

/// Bytes of zeros between an initrd of `len` bytes and the next one: both loaders align each to four bytes.
#[must_use]
pub const fn initrd_padding(len: u64) -> u64 {
    len.wrapping_neg() & 3
}

#[cfg(test)]
mod tests {
    pub(crate) fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
        file[at..at + bytes.len()].copy_from_slice(bytes);
    }

    #[test]
    fn initrds_are_padded_to_four_bytes() {
        let padded = [0, 1, 2, 3, 4, 5].map(|len| len + super::initrd_padding(len));
        assert_eq!(padded, [0, 4, 4, 4, 4, 8]);
    }
}
