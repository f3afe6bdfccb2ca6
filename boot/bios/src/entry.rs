//! Hands the machine over to the kernel.

unsafe extern "sysv64" {
    fn enter_kernel(entry: u32, zero_page: u32) -> !;
}

/// Enters the kernel by its 32-bit entry (boot.rst, "32-bit Boot Protocol"); `entry.s` does what Rust cannot say.
///
/// # Safety
/// 1. A kernel's protected-mode code is at `entry`, whole, with `init_size` bytes of free memory from there on.
/// 2. `zero_page` is the address of a filled `struct boot_params`, below 4 GiB like everything it points to.
pub unsafe fn enter(entry: u32, zero_page: u32) -> ! {
    // SAFETY: the caller's promise is the kernel's contract; nothing of ours is needed afterwards.
    unsafe { enter_kernel(entry, zero_page) }
}
