//! Whether this machine is a virtual one.

use super::firmware::Firmware;

impl Firmware {
    /// What a hypervisor says in place of the processor: CPUID leaf 1, ECX bit 31.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn is_virtual_machine(&self) -> bool {
        core::arch::x86_64::__cpuid(1).ecx >> 31 == 1
    }

    /// What its SMBIOS says: the firmware of a virtual machine knows.
    #[cfg(target_arch = "aarch64")]
    pub(super) fn is_virtual_machine(&self) -> bool {
        use bootefi::smbios::{self, ENTRY_POINT_LEN};
        use core::{ptr, slice};
        use r_efi::efi::Guid;
        const SMBIOS3: Guid = Guid::from_fields(0xf2fd_1544, 0x9794, 0x4a2c, 0x99, 0x2e, &[0xe5, 0xbb, 0xcf, 0x20, 0xe3, 0x94]);
        let tables: *const r_efi::efi::ConfigurationTable = self.table.configuration_table;
        if tables.is_null() {
            return false;
        }
        // SAFETY: the firmware's own list, which is as long as it says.
        let tables = unsafe { slice::from_raw_parts(tables, self.table.number_of_table_entries) };
        let Some(table) = tables.iter().find(|table| table.vendor_guid == SMBIOS3) else { return false };
        // SAFETY: what that GUID stands for begins with an entry point.
        let entry_point = unsafe { table.vendor_table.cast::<[u8; ENTRY_POINT_LEN]>().read_unaligned() };
        let Some((address, len)) = smbios::structures(&entry_point) else { return false };
        let (Ok(address), Ok(len)) = (usize::try_from(address), usize::try_from(len)) else { return false };
        let start: *const u8 = ptr::with_exposed_provenance(address);
        // SAFETY: the firmware says that its structures are there, and changes them no more.
        !start.is_null() && smbios::is_virtual(unsafe { slice::from_raw_parts(start, len) })
    }
}
