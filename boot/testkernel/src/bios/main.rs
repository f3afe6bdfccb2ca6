//! The BIOS half: a flat protected-mode kernel behind its 16-bit setup (setup.s, head.s, bios.ld).
//!
//! `kernel_main` is entered by head.s
//!
//! 1. in long mode, the first 4 GiB mapped one to one, interrupts off, no IDT: a fault resets the machine;
//! 2. on a stack of 128 KiB in .bss, .bss zeroed, relocations applied;
//! 3. with the address of [`EntryState`], filled from the registers that the loader left.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(missing_docs, reason = "a program; its lines are documented in the library")]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
#[path = "../serial.rs"]
mod serial;

#[cfg(target_os = "none")]
mod kernel {
    use core::arch::{asm, global_asm};
    use core::fmt::Write as _;
    use core::slice;

    use testkernel::{Arrival, CMDLINE_SIZE, Crc32, EXIT_FAULT, EXIT_OK, EXIT_PANIC, Escaped, HEADER_LEN, ZERO_PAGE_LEN, ZeroPage};

    use super::serial::{Serial, exit_qemu};

    global_asm!(include_str!("setup.s"), options(att_syntax));
    global_asm!(include_str!("head.s"), options(att_syntax));

    /// What head.s found on entry; its `entry_state`.
    #[repr(C)]
    struct EntryState {
        boot_params: u32,
        load_address: u32,
        ebx: u32,
        ebp: u32,
        edi: u32,
        eflags: u32,
        segments: [u16; 4],
    }

    unsafe extern "C" {
        /// The setup header as it is in the file, copied into head.s by the packer.
        #[link_name = "header_copy"]
        safe static HEADER_COPY: [u8; HEADER_LEN];
    }

    #[unsafe(no_mangle)]
    extern "sysv64" fn kernel_main(state: &EntryState) -> ! {
        let mut serial = Serial::new();
        let ok = report(state, &mut serial);
        let _ = writeln!(serial, "TESTKERNEL done");
        exit(if ok { EXIT_OK } else { EXIT_FAULT })
    }

    /// Prints all there is to say; `true` when the zero page was without fault.
    fn report(state: &EntryState, serial: &mut Serial) -> bool {
        // head.s and setup.s agree on EBX = 1; a loader must leave 0 there.
        let by_setup = state.ebx == 1;
        let entry = if by_setup { "16-bit" } else { "32-bit" };
        let _ = writeln!(serial, "\nTESTKERNEL firmware bios\nTESTKERNEL entry {entry}");
        let _ = writeln!(serial, "TESTKERNEL kernel at {:#x}", state.load_address);

        // SAFETY: boot_params is the address of the zero page by the boot protocol, below 4 GiB and so mapped; nothing
        // writes to it.
        let page = unsafe { slice::from_raw_parts(pointer(u64::from(state.boot_params)), ZERO_PAGE_LEN) };
        let Some(page) = page.first_chunk() else { return false };
        let page = ZeroPage::new(page);

        let cmdline = cmdline(page.cmd_line_ptr());
        let _ = writeln!(serial, "TESTKERNEL cmdline [{}]", Escaped(cmdline.unwrap_or_default()));
        for (start, length, kind) in page.e820() {
            let end = start.saturating_add(length);
            let _ = match kind {
                1 => writeln!(serial, "TESTKERNEL memory {start:#x}-{end:#x} usable"),
                _ => writeln!(serial, "TESTKERNEL memory {start:#x}-{end:#x} type {kind}"),
            };
        }
        let mut ok = true;
        let arrival = Arrival {
            header: &HEADER_COPY,
            load_address: u64::from(state.load_address),
            boot_params: u64::from(state.boot_params),
            registers: [if by_setup { 0 } else { state.ebx }, state.ebp, state.edi],
            eflags: state.eflags,
            segments: state.segments,
        };
        page.judge(&arrival, cmdline.map(<[u8]>::len), &mut |fault| {
            ok = false;
            let _ = writeln!(serial, "TESTKERNEL zero-page fault: {fault}");
        });
        if ok {
            let _ = writeln!(serial, "TESTKERNEL zero-page ok");
        }
        report_initrd(page, serial);
        ok
    }

    fn report_initrd(page: ZeroPage<'_>, serial: &mut Serial) {
        let Some((start, len)) = page.initrd() else {
            let _ = writeln!(serial, "TESTKERNEL initrd none");
            return;
        };
        if !page.is_ram(start, len) {
            let _ = writeln!(serial, "TESTKERNEL initrd {len} bytes not in RAM at {start:#x}");
            return;
        }
        // SAFETY: [start, start + len) is RAM by the map, below 4 GiB as both fields have 32 bits, and nothing writes to it.
        let initrd = unsafe { slice::from_raw_parts(pointer(start), usize::try_from(len).unwrap_or(0)) };
        let crc = Crc32::new().of(initrd);
        let _ = writeln!(serial, "TESTKERNEL initrd {len} bytes crc32 {crc:08x} at {start:#x}");
    }

    /// The command line at `at` up to its NUL; `None` without a NUL within `cmdline_size` + 1 bytes.
    fn cmdline(at: u64) -> Option<&'static [u8]> {
        // SAFETY: any address below 4 GiB is mapped, and reading it has no effect; a pointer to no RAM is judged a fault.
        let bytes = unsafe { slice::from_raw_parts(pointer(at.max(1)), CMDLINE_SIZE + 1) };
        let end = bytes.iter().position(|&byte| byte == 0)?;
        bytes.get(..end)
    }

    /// The physical address `at`, which is also its virtual address.
    fn pointer(at: u64) -> *const u8 {
        core::ptr::with_exposed_provenance(usize::try_from(at).unwrap_or(usize::MAX))
    }

    /// Leaves QEMU, or turns the machine off, or resets it.
    fn exit(code: u8) -> ! {
        exit_qemu(code);
        let pm1a_control: u16 = 0x604; // where SeaBIOS puts it, on pc and q35 alike
        let soft_off: u16 = 1 << 13; // SLP_EN, type 0 = S5
        // SAFETY: turns the machine off; touches no memory.
        unsafe { asm!("out dx, ax", in("dx") pm1a_control, in("ax") soft_off, options(nomem, nostack)) };
        // SAFETY: the reset line of the keyboard controller; touches no memory.
        unsafe { asm!("out 0x64, al", in("al") 0xfeu8, options(nomem, nostack)) };
        loop {
            // SAFETY: waits for the reset.
            unsafe { asm!("hlt", options(nomem, nostack)) };
        }
    }

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        let _ = writeln!(Serial::new(), "TESTKERNEL panic");
        exit(EXIT_PANIC)
    }
}
